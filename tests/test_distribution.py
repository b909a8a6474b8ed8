"""The source distribution contains every file of the tests, and the licence names its contents."""

from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINES = [line.split() for line in (ROOT / "MANIFEST.in").read_text().splitlines()]
MANIFEST = [words for words in LINES if words[0] != "prune"]
MADE = {ROOT / words[1] for words in LINES if words[0] == "prune"}  # by the build of the site, where it has run


def taken(words):
    """{pattern: files} of a line."""
    if words[0] == "include":
        return {pattern: set(ROOT.glob(pattern)) for pattern in words[1:]}
    assert words[0] == "recursive-include"
    return {pattern: set((ROOT / words[1]).rglob(pattern)) for pattern in words[2:]}


@pytest.mark.parametrize("words", MANIFEST, ids=" ".join)
def test_every_pattern_finds_something(words):
    assert [pattern for pattern, files in taken(words).items() if not files] == []


@pytest.mark.parametrize("folder", ["csrc", "docs", "tests", "benchmarks", "examples"])
def test_no_file_is_left_out(folder):
    packed = set().union(*(files for words in MANIFEST for files in taken(words).values()))
    made = {"__pycache__", "build", ".pytest_cache", ".benchmarks"}
    files = {path for path in (ROOT / folder).rglob("*") if path.is_file() and not made & set(path.parts)}
    files = {path for path in files if MADE.isdisjoint(path.parents)}
    assert files and sorted(files - packed) == []


def test_the_licence_names_the_data():
    said = metadata.metadata("mlpfast")
    assert said["License-Expression"] == "BSD-3-Clause AND CC-BY-4.0"
    assert said.get_all("License-File") == ["LICENSE", "mlpfast/digits/README.md"]
