"""Shared by the examples: command-line options and plots."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from mlpfast import History

IN_THE_NOTEBOOK = "in the notebook"


def options(doc: str | None) -> argparse.Namespace:
    """--quick and --plot FILE; doc, the example's own docstring, is the help. A notebook, which has no command line, is
    quick and shows its plot below the cell."""
    if "ipykernel" in sys.modules:
        return argparse.Namespace(quick=True, plot=IN_THE_NOTEBOOK)
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds instead of up to a minute")
    parser.add_argument("--plot", metavar="FILE.png", help='draw it; needs pip install "mlpfast[plots]"')
    return parser.parse_args()


def figure(columns: int = 1) -> Any:
    """The Axes of a new figure, one or a row of them."""
    from mlpfast.plots import pyplot

    return pyplot().subplots(1, columns, figsize=(5 * columns, 4), layout="constrained")[1]


def save(ax: Any, path: str) -> None:
    if path != IN_THE_NOTEBOOK:
        ax.figure.savefig(path, dpi=150)


def save_curves(path: str, histories: Mapping[str, History], number: str, yscale: str = "linear") -> None:
    """Draw a number of several Histories, {label: History}, against the epoch."""
    ax = figure()
    for label, history in histories.items():
        ax.plot(history[number], label=label)
    ax.set(xlabel="epoch", ylabel=f"training {number}", yscale=yscale)
    ax.legend()
    save(ax, path)
