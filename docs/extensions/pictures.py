"""Pictures, of which none is committed.

pictures/NAME.png is what a program of the page writes as "NAME.png", or else examples/NAME.py draws it; those of the
benchmarks are drawn by benchmarks/plots.py.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import imagesize  # Sphinx itself needs it
from docutils import nodes

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
PROGRAM = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
PICTURE = re.compile(r"\]\(pictures/(\w+)\.png\)")


def draw(name, page):
    """docs/pictures/NAME.png, unless it is there and newer than what draws it: a program in the page, or an example."""
    programs = PROGRAM.findall(page.read_text(encoding="utf-8"))
    program = next((text for text in programs if f'"{name}.png"' in text), None)
    example, picture = ROOT / "examples" / f"{name}.py", DOCS / "pictures" / f"{name}.png"
    if picture.exists() and picture.stat().st_mtime > (page if program else example).stat().st_mtime:
        return
    picture.parent.mkdir(exist_ok=True)
    how = ["-c", program] if program else [example, "--quick", "--plot", picture]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, *how], check=True, stdout=subprocess.DEVNULL, cwd=folder,
                       env={**os.environ, "MPLBACKEND": "agg"})
        if program:
            shutil.move(Path(folder) / picture.name, picture)


def draw_benchmarks(app):
    """From results.md. The package is found by its file: ROOT on sys.path would hide the installed mlpfast."""
    folder = ROOT / "benchmarks"
    spec = importlib.util.spec_from_file_location(
        "benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules["benchmarks"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    (DOCS / "project").mkdir(exist_ok=True)
    importlib.import_module("benchmarks.plots").draw_results(DOCS / "project")


def read(app, name, content):
    for picture in PICTURE.findall(content[0]):
        draw(picture, Path(app.env.doc2path(name)))


def mark_wide_pictures(app, doctree, page):
    """So that they keep their size on a telephone, and scroll (static/site.css)."""
    pictures = [node for node in doctree.findall() if node.tagname in ("image", "imgsgnode")]
    for node in pictures:
        width, height = imagesize.get(Path(app.srcdir) / node["uri"].lstrip("/"))
        if width < 2 * height:
            continue
        if isinstance(node.parent, nodes.paragraph):
            node.parent["classes"].append("wide-picture")
        else:
            box = nodes.container(classes=["wide-picture"])
            node.replace_self(box)
            box += node


def setup(app):
    app.connect("builder-inited", draw_benchmarks)
    app.connect("source-read", read)
    app.connect("doctree-resolved", mark_wide_pictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
