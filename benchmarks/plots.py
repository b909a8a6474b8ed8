"""The training cases as bars, the sweep as lines.

python -m benchmarks.plots FOLDER draws cases.png and sweep.png from results.md.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

from .report import SWEEP, TRAINING, from_markdown, shown  # noqa: E402


def draw(sections, path):
    """Plot the training cases to path and the sweep to sweep.png in the same folder, if they were measured."""
    for section in sections:
        if section.title == TRAINING:
            save(bars(section), path)
        elif section.title == SWEEP:
            save(lines(section), path.with_name("sweep.png"))


def save(figure, path):
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def bars(section):
    """For each case a bar per program: the time of a step relative to mlpfast, labelled in us."""
    cases = list(dict.fromkeys(row[0] for row in section.rows))
    programs = list(dict.fromkeys(row[1] for row in section.rows))
    colours = dict(zip(programs, pyplot.get_cmap("tab20").colors, strict=False))
    figure, all_axes = pyplot.subplots(len(cases), 1, figsize=(8, 0.5 + 1.9 * len(cases)), squeeze=False)
    for axes, case in zip(all_axes[:, 0], cases, strict=True):
        rows = [row for row in section.rows if row[0] == case][::-1]  # the fastest on top
        names, us, ratios = ([row[i] for row in rows] for i in (1, 2, -1))
        drawn = axes.barh(names, ratios, color=[colours[name] for name in names])
        labels = [f" {shown(ratio)}x, {shown(time)} us" for ratio, time in zip(ratios, us, strict=True)]
        axes.bar_label(drawn, labels=labels, fontsize=7)
        axes.set_title(case, fontsize=9, loc="left")
        axes.margins(x=0.2)
        axes.tick_params(labelsize=7)
    all_axes[-1, 0].set_xlabel("time of a training step, mlpfast = 1")
    figure.tight_layout()
    return figure


def lines(section):
    """A line for each batch: the fraction of the peak over width."""
    figure, axes = pyplot.subplots(figsize=(8, 5))
    widths, *columns = zip(*section.rows, strict=True)
    colours = pyplot.get_cmap("viridis")
    for i, (batch, fractions) in enumerate(zip(section.columns[1:], columns, strict=True)):
        colour = colours(i / max(1, len(columns) - 1))
        axes.plot([int(width) for width in widths], fractions, marker=".", color=colour, label=batch)
    axes.set_xscale("log", base=2)
    axes.set_xticks([8, 16, 32, 64, 128, 256, 512, 1024], labels=[8, 16, 32, 64, 128, 256, 512, 1024])
    axes.set_ylim(0, 1)
    axes.set_xlabel("width of the layers")
    axes.set_ylabel("fraction of the peak")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure


def draw_results(folder):
    results = Path(__file__).with_name("results.md").read_text(encoding="utf-8")
    draw(from_markdown(results)[0], Path(folder) / "cases.png")


if __name__ == "__main__":
    draw_results(sys.argv[1])
