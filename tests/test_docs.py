"""The programs in README.md and docs/ run, and print the output shown below them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)
PROGRAMS = {
    f"{page.name}-{i}": match.groups()
    for page in PAGES
    for i, match in enumerate(PROGRAM.finditer(page.read_text(encoding="utf-8")))
}


def test_there_are_programs():
    assert {"README.md-0", "training.md-0", "backpropagation.md-0"} <= set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, tmp_path, monkeypatch, capsys):
    program, printed = PROGRAMS[name]
    monkeypatch.chdir(tmp_path)
    exec(compile(program, name, "exec"), {"__name__": "__main__"})
    if printed is not None:
        assert capsys.readouterr().out == printed


def anchors(page):
    """Of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link, anchor in re.findall(r"\]\(([^)#:]+)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        to = page.parent / link
        assert to.exists(), link
        assert not anchor or anchor in anchors(to), f"{link}#{anchor}"


@pytest.mark.parametrize(
    "name, command",
    [("run", "pip install -e . && python -m mlpfast"), ("test", 'pip install ".[test]" && pytest tests')],
)
def test_commands(name, command):
    assert PAGES[0].read_text(encoding="utf-8").count(f"<!-- command: {name} -->\n```sh\n{command}\n```\n") == 1


def test_the_front_door_is_one_page():
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 150
