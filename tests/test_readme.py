"""What README.md shows must work."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)


def test_there_are_programs():
    assert PROGRAMS


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_program(program, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    variables = {"__name__": "__main__"}
    exec(compile(program, "README.md", "exec"), variables)
    if "accuracy" in variables:
        assert variables["accuracy"] > 0.9


@pytest.mark.parametrize(
    "name, command",
    [("run", "pip install -e . && python -m mlpfast"), ("test", 'pip install ".[test]" && pytest tests')],
)
def test_commands(name, command):
    assert README.count(f"<!-- command: {name} -->\n```sh\n{command}\n```\n") == 1
