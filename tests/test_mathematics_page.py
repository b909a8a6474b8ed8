"""The code that docs/mathematics.md quotes stands in the files that it names."""

import re
import textwrap
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "mathematics.md").read_text(encoding="utf-8")


def test_the_lines_it_quotes_are_those_of_the_code():
    quotes = list(re.finditer(r":\n\n```py\n(.*?)^```\n", PAGE, re.M | re.S))
    assert len(quotes) == 6
    for quote in quotes:
        file = re.findall(r"\]\((\.\./\S+?\.py)\)", PAGE[: quote.start()])[-1]  # the last link before it
        code = (DOCS / file).read_text(encoding="utf-8")
        assert any(f"\n{textwrap.indent(quote[1], indent)}" in code for indent in ("", "    ")), quote[1]
