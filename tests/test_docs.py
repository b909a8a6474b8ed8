"""The programs in README.md and in every page of docs/ run, and print the output shown below them; links lead
somewhere, and the pages of the API have every public name.
"""

import importlib.util
import inspect
import re
import shutil
import subprocess
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
IN_ORDER = ROOT / "docs/getting_started.md"  # its programs go on from one another
QUOTING = ROOT / "docs/mathematics.md"  # in fences called py, which test_mathematics_page.py compares with the files
PROGRAMS = {
    f"{name_of(page)}-{i}": match.groups()
    for page in PAGES
    if page != IN_ORDER
    for i, match in enumerate(PROGRAM.finditer(page.read_text(encoding="utf-8")))
}


OPTIONAL = {"sklearn", "torch", "keras", "tensorflow", "jax", "pyarrow"}  # a page may show what others do


def test_there_are_programs():
    assert {"README.md-0", "index.md-0", "training.md-0", "backpropagation.md-0"} <= set(PROGRAMS)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_program_escapes(page):
    """In another fence, under another name or within a list, it would not be found."""
    text = page.read_text(encoding="utf-8")
    if page == QUOTING:
        text = re.sub(r"^```py$", "```", text, flags=re.M)
    fences = re.findall(r"^ *(?:```+|~~~+) *\{?(?:code-block\}|python|py|pycon|ipython)", text, re.M | re.I)
    assert len(fences) == len(PROGRAM.findall(text))
    assert ">>> " not in text  # that of docstrings


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name, tmp_path, monkeypatch, capsys):
    program, printed = PROGRAMS[name]
    monkeypatch.chdir(tmp_path)
    try:
        exec(compile(program, name, "exec"), {"__name__": "__main__"})
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        pytest.skip(f"needs {error.name}")
    if printed is not None:
        assert capsys.readouterr().out == printed


def test_getting_started(tmp_path, monkeypatch, capsys):
    """Its programs, one after the other, and the C program at the end, whose answer is that of the network."""
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    text, names = IN_ORDER.read_text(encoding="utf-8"), {"__name__": "__main__"}
    for program, printed in PROGRAM.findall(text):
        if "to_onnx" not in program or importlib.util.find_spec("onnx"):
            exec(compile(program, IN_ORDER.name, "exec"), names)
            assert capsys.readouterr().out == printed
    code, command, printed = re.search(r"```c\n(.*?)```\n\n```sh\n(.*?)```\n\n```text\n(.*?)```", text, re.S).groups()
    if shutil.which("gcc"):
        Path("main.c").write_text(code)
        assert subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout == printed
        probability = names["net"].predict(names["X_test"][:1])[0]
        assert printed.split()[0] == f"{probability.argmax()}," and printed.split()[-1] == f"{probability.max():.4f}"


def anchors(page):
    """Of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def draws(link, text):
    """Whether the build of the site makes that picture, from a program of the page or an example."""
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
