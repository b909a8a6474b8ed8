"""Docstrings as they stand in the source, plain text, as reStructuredText for autodoc.

What help() shows is not written for Sphinx. Its conventions are few, and each has a form there:

    name: what it is            a line that starts with an argument or attribute: an entry of a definition list,
        and goes on             whose further lines are indented
    >>> code                    doctest blocks stay as they are
    an indented block           a literal block: formulas, tables, code
    *args, W_l, |delta|         characters that mean something to Sphinx are escaped

A module gets a table of its public names besides. The texts in examples/ are of the same kind.
"""

import inspect
import re

NAME = r"\*{0,2}\w+(?:\.\w+)*(?:=[\w.\"'-]+)?(?: \([^()]*\))?"
ITEM = re.compile(rf"({NAME}(?:(?:, | and | or ){NAME})*): (.*)")
SPECIAL = re.compile(r"[\\*|]|(?<=\w)_(?!\w)")
CODE = re.compile(r"(`+)([^`]+)\1")
OBJECT = re.compile(r"(?<![^\s(])(mlpfast(?:\.[a-zA-Z]\w*)+)(?=[\s.,;:)]|$)")
TEXT_OF_EXAMPLE = re.compile(r"(^=+\n+|SOURCE LINES \d+-\d+\n\n)(?!\.\. )(.*?)(?=^\.\. )", re.M | re.S)


def text(line):
    """Escaped; code between backquotes, and names of mlpfast, which become links (links.py), as literals."""
    parts = CODE.split(line)  # text, backquotes, code, text, ...
    parts[0::3] = [OBJECT.sub(r"``\1``", SPECIAL.sub(r"\\\g<0>", part)) for part in parts[0::3]]
    parts[1::3], parts[2::3] = [""] * len(parts[1::3]), [f"``{code}``" for code in parts[2::3]]
    return "".join(parts)


def blocks(lines):
    """Runs of lines, without the blank ones between them."""
    block = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line.rstrip())
        elif block:
            yield block
            block = []


def entries(block, names):
    """("item" or "text", head, lines) of a block that starts at the margin."""
    kind, head, lines = None, None, []
    for line in block:
        found = ITEM.fullmatch(line)
        known = found and re.findall(r"\w+", found[1])[0] in names
        if found and (known or kind != "text"):
            if kind:
                yield kind, head, lines
            kind, head, lines = "item", found[1], [found[2]]
        elif kind is None or (kind == "item" and not line.startswith(" ")):
            if kind:
                yield kind, head, lines
            kind, head, lines = "text", None, [line]
        else:
            lines.append(line.strip())
    yield kind, head, lines


def literal(block):
    """A block of code, coloured if it is Python: one line of code alone rather is a formula."""
    code = inspect.cleandoc("\n".join(block))
    try:
        compile(code, "a docstring", "exec")
        language = "python" if "\n" in code and re.search(r"[=(]", code) else "none"
    except SyntaxError:
        language = "none"
    return [f".. code-block:: {language}", "", *(f"    {line}" for line in code.splitlines()), ""]


def converted(lines, names=()):
    """The lines of a docstring -> those of the same in reStructuredText. names: arguments and attributes."""
    made = []
    for block in blocks(lines):
        if block[0].lstrip().startswith(">>>"):
            made += [*inspect.cleandoc("\n".join(block)).splitlines(), ""]
        elif block[0].startswith(" "):
            made += literal(block)
        else:
            for kind, head, text_of in entries(block, names):
                if kind == "item":
                    made += [f"``{head}``", *(f"    {text(line)}" for line in text_of), ""]
                else:
                    made += [*map(text, text_of), ""]
    return made


def names_of(thing):
    """Arguments and attributes that its docstring may describe."""
    try:
        arguments = set(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        arguments = set()
    return arguments | set(getattr(thing, "__annotations__", ())) | set(dir(thing) if inspect.isclass(thing) else ())


def process(app, what, name, thing, options, lines):
    lines[:] = converted(lines, names_of(thing))
    if what == "module" and hasattr(thing, "__all__"):
        lines += [".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   {public}" for public in thing.__all__ if not inspect.ismodule(getattr(thing, public))] + [""]


def skip(app, what, name, thing, skipped, options):
    """What there is only for the message that says what to use instead (`Trainer.predict`, `Network.fit`), and the
    fields of a NamedTuple, which are its arguments."""
    function = thing.fget if isinstance(thing, property) else thing
    if getattr(function, "__name__", None) == "refuse" or type(thing).__name__ == "_tuplegetter":
        return True
    try:
        return True if [*inspect.signature(function).parameters] == ["self", "_", "__"] else None
    except (TypeError, ValueError):
        return None


def read(app, page, content):
    """The texts of a page of the gallery: the docstring of an example is text as well."""
    if page.startswith("gallery/") and page != "gallery/index":
        content[0] = TEXT_OF_EXAMPLE.sub(lambda m: m[1] + "\n".join([*converted(m[2].splitlines()), ""]), content[0])


def setup(app):
    app.connect("source-read", read)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
