"""Pages that lie elsewhere in the repository, and links as they stand in Markdown, which also work on a code host.

The files of ELSEWHERE become pages of the folder project/, which the build writes. In every page a link to a file
outside of docs/ leads to its page, to the page of the gallery, or else to a copy of the file.
"""

import os
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
NAMED_AS_FILE = re.compile(r"\[[\w./]+\.md\](?=\([^):]+\.md[#)])")
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")

ELSEWHERE = {  # the file: the page
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "benchmarks/results.md": "project/results.md",
    "csrc/mlpfast.h": "api/c.md",
}


def target(link, folder):
    """The link of a page in folder, a part of the repository -> the file of docs/ or of the repository."""
    to = os.path.relpath((folder / link).resolve(), ROOT)
    if to in ("benchmarks/cases.png", "benchmarks/sweep.png"):
        return DOCS / "project" / Path(to).name
    if to in ELSEWHERE:
        return DOCS / ELSEWHERE[to]
    if example := re.fullmatch(r"examples/(\w+)\.py", to):
        return DOCS / "gallery" / f"{example[1]}.rst" if example[1] != "shared" else ROOT / to
    if to in ("examples", "examples/"):
        return DOCS / "gallery" / "index.rst"
    return ROOT / to


def relinked(text, folder, page_folder):
    """The text of a file in folder, as that of a page in page_folder."""
    def link(found):
        return found[1] + os.path.relpath(target(found[2], folder), page_folder) + found[3]
    return LINK.sub(link, NAMED_AS_FILE.sub("[]", text))  # without a text of its own a link shows the title


def write_pages(app):
    for file, page in ELSEWHERE.items():
        if page.startswith("project/"):
            page = DOCS / page
            page.parent.mkdir(exist_ok=True)
            text = relinked((ROOT / file).read_text(encoding="utf-8"), (ROOT / file).parent, page.parent)
            if not page.exists() or page.read_text(encoding="utf-8") != text:  # else Sphinx would read it again
                page.write_text(text, encoding="utf-8")


def read(app, name, content):
    path = Path(app.env.doc2path(name))
    if path.suffix == ".md" and path.parent.name != "project":
        content[0] = relinked(content[0], path.parent, path.parent)


def setup(app):
    app.connect("builder-inited", write_pages)
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
