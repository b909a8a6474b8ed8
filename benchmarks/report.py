"""Results as text, Markdown and JSON, compared with the targets."""

import json
import re
from dataclasses import asdict, dataclass, field

from .cases import TARGETS

TRAINING, SWEEP = "Training steps", "Fraction of the peak over width and batch"  # titles that plots and README.md need


@dataclass
class Section:
    """A table. rows: lists of str, int, float or None, with an entry per column.

    figures: {case: {what: number}}, compared with targets; raw: all measurements, for the JSON file and plots.
    """

    name: str
    title: str
    columns: list
    rows: list = field(default_factory=list)
    figures: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    raw: dict = field(default_factory=dict)

    def figure(self, case, what, value):
        self.figures.setdefault(case, {})[what] = value


def verdicts(section):
    """[(target, measured, reached)] of that section's targets that were measured."""
    return [
        (target, self_measured, target.reached(self_measured))
        for target in TARGETS
        if target.section == section.name
        and (self_measured := section.figures.get(target.case, {}).get(target.what)) is not None
    ]


def shown(value):
    """A cell: three significant digits."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:,.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def verdict_line(target, measured, reached):
    word = "reached" if reached else "MISSED"
    return f"{word}: {target.case}, {target.what} {shown(measured)}, {target.sense} {shown(target.limit)}"


# ---- For a terminal ----


def text(section):
    cells = [[shown(value) for value in row] for row in [section.columns, *section.rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(section.columns))]
    numeric = [any(isinstance(row[i], (int, float)) for row in section.rows) for i in range(len(widths))]
    lines = [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, numeric, strict=True))
        for row in cells
    ]
    ends = [verdict_line(*verdict) for verdict in verdicts(section)] + [f"note: {note}" for note in section.notes]
    return "\n".join(["", section.title, "", *(line.rstrip() for line in lines), "", *ends])


# ---- For results.md ----


def markdown(sections, machine):
    """The whole report. It depends only on `sections`, so it can be rendered again from a JSON file."""
    head = ["# Results", "", *(f"- {name}: {value}" for name, value in machine.items())]
    missed = [(section, verdict) for section in sections for verdict in verdicts(section) if not verdict[2]]
    total = sum(len(verdicts(section)) for section in sections)
    head += ["", f"Targets: {total - len(missed)} of {total} reached."]
    head += [f"- {section.name}: {verdict_line(*verdict)}" for section, verdict in missed]
    return "\n".join([*head, *(_markdown_section(section) for section in sections), ""])


def _markdown_section(section):
    right = [any(isinstance(row[i], (int, float)) for row in section.rows) for i in range(len(section.columns))]
    lines = ["", f"## {section.title}", "", _markdown_row(section.columns)]
    lines.append(_markdown_row(["---:" if r else "---" for r in right]))
    lines += [_markdown_row(row) for row in section.rows]
    if results := verdicts(section):
        lines += ["", "| case | target | needs | measured | |", "|---|---|---|---:|---|"]
        lines += [
            _markdown_row([t.case, t.what, f"{t.sense} {shown(t.limit)}", value, "reached" if ok else "**MISSED**"])
            for t, value, ok in results
        ]
    if section.notes:
        lines += ["", *(f"- {note}" for note in section.notes)]
    return "\n".join(lines)


def _markdown_row(row):
    return "| " + " | ".join(shown(value).replace("|", "\\|") for value in row) + " |"


def from_markdown(text):
    """-> (sections, machine): the tables of such a report, in the digits that it shows, and nothing else of it."""
    head, *parts = re.split(r"^## ", text, flags=re.M)
    machine = dict(re.findall(r"^- ([^:\n]+): (.*)$", head.partition("Targets: ")[0], re.M))
    return [_section_from_markdown(part) for part in parts], machine


def _section_from_markdown(text):
    title, table = text.splitlines()[0], re.search(r"(^\|.*\n)+", text, re.M)[0].splitlines()
    cells = [[cell.replace("\\|", "|") for cell in re.split(r" (?<!\\)\| ", f"{line[1:]} ")[:-1]] for line in table]
    cells = [[cell.strip() for cell in row] for row in cells]
    right = [mark == "---:" for mark in cells[1]]
    rows = [[_number(cell) if r else cell for cell, r in zip(row, right, strict=True)] for row in cells[2:]]
    return Section(title, title, cells[0], rows)


def _number(cell):
    return None if cell == "-" else float(cell.replace(",", ""))


# ---- For programs ----


def to_json(sections, machine):
    return json.dumps({"machine": machine, "sections": [asdict(section) for section in sections]}, indent=1)


def from_json(text):
    """-> (sections, machine)."""
    content = json.loads(text)
    return [Section(**section) for section in content["sections"]], content["machine"]
