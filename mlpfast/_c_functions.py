"""Functions in C for networks as one C file: those of csrc/ and of c_template/, each with what it uses.

The sources are read as they are laid out: an item at file scope (a macro, a type, an array or a function) begins in the
first column, and the comment lines right above belong to it.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
CORE = HERE / "csrc", HERE.parent / "csrc"  # in a wheel (setup.py copies it), and beside the package
# What a later file defines replaces what an earlier one does.
FILES = ("simd/generic.h", "kernels/math.inc.h", "kernels/columns.inc.h", "kernels/activation.inc.h", "layers.c")

NAMES = (
    re.compile(r"#define (\w+)"),
    re.compile(r"typedef (?:\w+ )+(\w+)(?:;|\()"),  # also of a function
    re.compile(r"typedef struct \{.*\} (\w+);", re.S),
    re.compile(r"static const \w+ (\w+)\["),
    re.compile(r"(?:\w+ )+\*?(\w+)\("),
)
WORD = re.compile(r"\b[A-Za-z_]\w*")
COMMENT = re.compile(r"//.*")


def functions_for(code, real_bits, defined):
    """The text of all functions, types and macros that `code` uses, and that these use, in the order of the sources,
    for float (real_bits 32) or double (64). defined: names that stand elsewhere."""
    by_name = {_name(item): item for file in FILES for item in _items(lines_for(source(file), real_bits))}
    wanted: set[str] = set()
    todo = [code]
    while todo:
        new = set(WORD.findall(COMMENT.sub("", todo.pop()))) & by_name.keys() - wanted - defined
        wanted |= new
        todo += [by_name[name] for name in new]
    return _joined([item for name, item in by_name.items() if name in wanted])


def _joined(items):
    """Definitions of one line stand together, longer ones apart."""
    text = ""
    for one, following in zip(items, [*items[1:], "\n\n"], strict=True):
        are_lines = one.count("\n") == 1 and following.count("\n") == 1
        text += one if are_lines else one + "\n"
    return text


def source(file):
    """The text of a file of c_template/, or of csrc/."""
    for folder in (HERE / "c_template", *CORE):
        if (folder / file).exists():
            return (folder / file).read_text(encoding="utf-8")
    raise FileNotFoundError(f"mlpfast's {file} is in neither {CORE[0]} nor {CORE[1]}: install mlpfast again")


def lines_for(text, real_bits):
    """The lines that `#if REAL_BITS == 32`, its `#else` and `#endif` leave; those of other conditions are kept."""
    open_ifs: list[bool | None] = []  # whether the lines are wanted, or None for other conditions
    for line in text.splitlines():
        if line.startswith("#if"):
            open_ifs.append(real_bits == 32 if line.startswith("#if REAL_BITS == 32") else None)
            if open_ifs[-1] is not None:
                continue
        elif line.startswith("#else") and open_ifs[-1] is not None:
            open_ifs[-1] = not open_ifs[-1]
            continue
        elif line.startswith("#endif") and open_ifs.pop() is not None:
            continue
        if False not in open_ifs:
            yield line


def _items(lines):
    """Each item with its comment, and a line end."""
    item: list[str] = []
    for line in lines:
        before_code = not item or item[-1].startswith("//")
        is_directive = line.startswith("#") and not line.startswith("#define")
        if before_code and (not line or is_directive):
            item = []  # a comment by itself; what conditions surround is taken as if they were met
            continue
        item.append(line)
        if not line.startswith("//") and _is_whole(_code(item)):
            yield "\n".join(item) + "\n"
            item = []


def _is_whole(code):
    if code.startswith("#"):
        return not code.endswith("\\")
    return code.count("{") == code.count("}") and code.endswith((";", "}"))


def _code(lines):
    return COMMENT.sub("", "\n".join(lines)).strip()


def _name(item):
    code = _code([item])
    for pattern in NAMES:
        if match := pattern.match(code):
            return match[1]
    raise ValueError(f"what is at file scope in mlpfast's C source must be a definition, got {code!r}")
