"""What docs/extensions does with docstrings and links. The step `docs` of .ci/checks.mk builds the site itself."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def extension(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/extensions/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docstrings, pages = extension("docstrings"), extension("pages")


@pytest.mark.parametrize(
    "code, broken",
    [
        ("sklearn.neural_network.MLPClassifier", "sklearn.|neural_|network.|MLPClassifier"),
        ("Network([64, 32])", "Network(|[64, 32])"),
        ("Trainer(batch_size=64)", "Trainer(|batch_|size=|64)"),
        ("coefs_", "coefs_"),
        ("_forward", "_forward"),
        ("...", "..."),
        ("1e-05", "1e-05"),
        ("__init__", "__init__"),
    ],
)
def test_long_names_break_between_their_parts(code, broken):
    pytest.importorskip("docutils")
    made = extension("breaks").breakable(f'<code class="long"><span class="pre">{code}</span></code>')
    assert re.sub(r"<(?!wbr)[^>]*>", "", made).replace("<wbr>", "|") == broken


def test_sphinx_writes_these_breaks_and_holds_punctuation(tmp_path):
    pytest.importorskip("sphinx")
    (tmp_path / "index.rst").write_text("Title\n=====\n\n``a_long.name`` of :math:`x`, and :math:`y` too\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-C", "-D", "extensions=breaks", ".", "made"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "docs/extensions")}
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    made = (tmp_path / "made/index.html").read_text(encoding="utf-8")
    assert "a_<wbr>long.<wbr>name" in made
    assert made.count("whole") == 1 and re.search(r'class="whole">.*x.*</span>,</span> and', made)


@pytest.mark.parametrize(
    "docstring, made",
    [
        ("Sizes |x| of W_l, *args, a_.", r"Sizes \|x\| of W_l, \*args, a\_."),
        ("As `step` of mlpfast.Trainer.", "As ``step`` of ``mlpfast.Trainer``."),
        ("X (n, 2), y: both\n    go on\nand more", "``X (n, 2), y``\n    both\n    go on\n\nand more"),
        ("In words\nseed: a number", "In words\n\n``seed``\n    a number"),
        ("In words\nother: no argument", "In words\nother: no argument"),
        ("Thus\n\n    d z = W^T", "Thus\n\n.. code-block:: none\n\n    d z = W^T"),
        ("Thus\n\n    x = f(1)\n    y = x", "Thus\n\n.. code-block:: python\n\n    x = f(1)\n    y = x"),
        ("Thus\n\n>>> a*b\n6", "Thus\n\n>>> a*b\n6"),
    ],
)
def test_docstrings_become_restructured_text(docstring, made):
    assert "\n".join(docstrings.converted(docstring.splitlines(), {"X", "seed"})).strip() == made


@pytest.mark.parametrize(
    "text, made",
    [
        ("[a](files.md#format)", "[a](files.md#format)"),
        ("[security](../SECURITY.md)", "[security](project/security.md)"),
        ("[xor](../examples/xor.py)", "[xor](gallery/xor.rst)"),
        ("[all](../examples/)", "[all](gallery/index.rst)"),
        ("[C](../examples/c/predict.c), [h](../csrc/mlpfast.h)", "[C](../examples/c/predict.c), [h](api/c.md)"),
        ("[files.md](files.md) and [there](https://a.b/c.md)", "[](files.md) and [there](https://a.b/c.md)"),
    ],
)
def test_links_of_pages_lead_to_pages(text, made):
    assert pages.relinked(text, ROOT / "docs", ROOT / "docs") == made


def test_links_of_files_elsewhere_lead_from_their_pages():
    folder = ROOT / "docs/project"
    assert pages.relinked("[v](../docs/vocabulary.md)", ROOT / "benchmarks", folder) == "[v](../vocabulary.md)"
    assert pages.relinked("![c](cases.png), [all](results.md)", ROOT / "benchmarks", folder) == (
        "![c](cases.png), [all](results.md)"
    )
