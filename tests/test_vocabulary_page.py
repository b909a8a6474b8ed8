"""docs/vocabulary.md lists every activation, loss and optimizer, and the tests that it names exist."""

import re
from pathlib import Path

import pytest

from mlpfast import activations, losses, optimizers, schedules

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "vocabulary.md").read_text(encoding="utf-8")


def first_cells(title):
    """The names in backticks in the first cells of that section's table."""
    section = PAGE.split(f"\n## {title}")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (.*?) \|", section, re.M)
    return {name.split("(")[0] for cell in cells for name in re.findall("`(.*?)`", cell)}


@pytest.mark.parametrize("title, names", [
    ("Activations", {*activations.NAMES, *activations.OTHER_NAMES}),
    ("Losses", set(losses.NAMES)),
    ("Optimizers", {kind.__name__ for kind in optimizers.BY_NAME.values()} | {"Trainer"}),
    ("Learning rates", {kind.__name__ for kind in schedules.Schedule.__subclasses__()}),
])
def test_each_name_has_its_row(title, names):
    assert first_cells(title) == names


def test_the_tests_it_names_exist():
    here = {path: path.read_text(encoding="utf-8") for path in [*TESTS.glob("test_*.py"), *TESTS.glob("c/test_*.c")]}
    function = re.compile(r"^(?:def|static void) (test_\w+)\(", re.M)
    there = {path.name for path in here} | {name for text in here.values() for name in function.findall(text)}
    named = set(re.findall(r"`(test_\w+(?:\.\w+)?)`", PAGE))
    assert len(named) > 80 and sorted(named - there) == []
