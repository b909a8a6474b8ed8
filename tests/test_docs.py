"""The programs in README.md and in every page of docs/ run, and print the output shown below them; links lead
somewhere, and the pages of the API have every public name.
"""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import mlpfast

ROOT = Path(__file__).resolve().parents[1]
MADE = ("_build", "gallery", "pictures", "project")  # by the build of the site, from what is tested elsewhere
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.relative_to(ROOT / "docs").parts[0] not in MADE),
]


def name_of(page):
    return page.relative_to(page.parent if page.parent == ROOT else ROOT / "docs").as_posix()


PROGRAM = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)
PROGRAMS = {
    f"{name_of(page)}-{i}": match.groups()
    for page in PAGES
    for i, match in enumerate(PROGRAM.finditer(page.read_text(encoding="utf-8")))
}


def test_there_are_programs():
    assert {"README.md-0", "index.md-0", "training.md-0", "backpropagation.md-0"} <= set(PROGRAMS)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_program_escapes(page):
    """In another fence, under another name or within a list, it would not be found."""
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^ *(?:```+|~~~+) *\{?(?:code-block\}|python|py|pycon|ipython)", text, re.M | re.I)
    assert len(fences) == len(PROGRAM.findall(text))
    assert ">>> " not in text  # that of docstrings


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


def draws(link, text):
    """Whether the build of the site makes that picture: a program of the page, or an example (extensions/pages.py)."""
    name = Path(link).stem
    return f'"{name}.png"' in text or (ROOT / "examples" / f"{name}.py").exists()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link, anchor in re.findall(r"\]\(([^)#:]+)(?:#([^)]*))?\)", text):
        to = page.parent / link
        assert to.exists() or re.fullmatch(r"pictures/\w+\.png", link) and draws(link, text), link
        assert not anchor or anchor in anchors(to), f"{link}#{anchor}"


def in_the_api(page):
    """The objects that a page of the API describes."""
    text = page.read_text(encoding="utf-8")
    found = []
    for kind, name in re.findall(r"^\.\. (automodule|autoclass|autofunction|data):: mlpfast\.(\S+)", text, re.M):
        if kind == "automodule":
            module = importlib.import_module(f"mlpfast.{name}")
            found += [getattr(module, public) for public in public_names(module)]
        else:
            found.append(getattr(mlpfast, name))
    return found


def public_names(module):
    made_here = (n for n, thing in vars(module).items() if getattr(thing, "__module__", None) == module.__name__)
    return getattr(module, "__all__", [name for name in made_here if not name.startswith("_")])


def test_the_api_has_every_public_name():
    for library in ("sklearn", "matplotlib", "scipy"):
        pytest.importorskip(library)
    pages = sorted((ROOT / "docs/api").glob("*.rst"))
    described = [thing for page in pages for thing in in_the_api(page)]
    automodules = re.findall(r"automodule:: (\S+)", "".join(page.read_text(encoding="utf-8") for page in pages))
    for name in mlpfast.__all__:
        thing = getattr(mlpfast, name)
        if inspect.ismodule(thing):
            assert thing.__name__ in automodules, name
        else:
            assert any(thing is other for other in described), name


def test_every_page_of_the_api_is_in_its_index():
    index = (ROOT / "docs/api/index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs/api").iterdir():
        assert page.stem == "index" or f"\n{page.stem}\n" in index, page.name


@pytest.mark.parametrize(
    "name, command",
    [("run", "pip install -e . && python -m mlpfast"), ("test", 'pip install ".[test]" && pytest tests')],
)
def test_commands(name, command):
    assert PAGES[0].read_text(encoding="utf-8").count(f"<!-- command: {name} -->\n```sh\n{command}\n```\n") == 1


def test_the_front_door_is_one_page():
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 150
