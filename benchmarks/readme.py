"""The table of README.md, from results.md: python -m benchmarks.readme writes it there."""

import re
from pathlib import Path

from .cases import CASES
from .report import TRAINING, from_markdown, shown

README = Path(__file__).resolve().parents[1] / "README.md"
RESULTS = Path(__file__).with_name("results.md")
SHOWN = ("tiny", "digits", "mnist", "mnist2", "keras")
OTHERS = {  # in the table: how the programs of results.md that it stands for begin
    "JAX": ("JAX",), "NumPy": ("NumPy",), "scikit-learn": ("scikit-learn",), "PyTorch": ("PyTorch", "torch.compile"),
}
PART = re.compile(r"(<!-- speed: .*? -->\n).*?(<!-- end of speed -->)", re.S)


def speed(results):
    """The lines between the two marks: machine, date, and a table."""
    sections, machine = from_markdown(results)
    (training,) = (section for section in sections if section.title == TRAINING)
    lines = [
        f"A training step in float32 on {machine['cores']} cores of an {machine['CPU']}, {machine['date']}, and how",
        "many times as long others take: each at its best setting, PyTorch and NumPy with one or two threads, JAX with",
        "the whole epoch in one compiled call.",
        "",
        f"| network, rows of a minibatch | mlpfast, us | {' | '.join(OTHERS)} |",
        f"|---|{'---:|' * (1 + len(OTHERS))}",
    ]
    for name in SHOWN:
        rows = {row[1]: dict(zip(training.columns, row, strict=True)) for row in training.rows if row[0] == name}
        ours = rows["mlpfast"]["us a step"]
        times = [min(row["times mlpfast"] for program, row in rows.items() if program.startswith(beginnings))
                 for beginnings in OTHERS.values()]
        case = CASES[name]
        ratios = [f"{ratio:.{0 if ratio >= 10 else 1}f}" for ratio in times]
        cells = [f"{'-'.join(map(str, case.sizes))}, {case.batch}", shown(ours), *ratios]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(["", *lines, "", ""])


def with_speed(readme, results):
    """README.md with that part as the results have it."""
    if len(PART.findall(readme)) != 1:
        raise ValueError("README.md must have <!-- speed: ... --> and <!-- end of speed --> once, in this order")
    return PART.sub(lambda found: found[1] + speed(results) + found[2], readme)


if __name__ == "__main__":
    text = with_speed(README.read_text(encoding="utf-8"), RESULTS.read_text(encoding="utf-8"))
    README.write_text(text, encoding="utf-8")
