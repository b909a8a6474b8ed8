"""Plots of training, residuals, gradient flow, decision boundaries and computational graphs, with matplotlib:
pip install "mlpfast[plots]".

Each function draws into ax, or into a new figure, and returns the Axes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _kernels, backprop
from ._arrays import inputs, number_array
from ._fpmode import in_default_mode
from ._scalars import one_of, real_number
from ._targets import class_labels
from .activations import PerOutput
from .diagnostics import Report
from .network import Network

__all__ = ["decision_boundary", "gradient_flow", "graph", "residuals"]

if TYPE_CHECKING:
    from ._types import AnyLoss, ArrayLike, PathLike
    from .graph import Graph
    from .history import History


def pyplot() -> Any:
    """matplotlib.pyplot, imported on first use."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "mlpfast[plots]"') from error
    return plt


def _axes(ax):
    return pyplot().subplots()[1] if ax is None else ax


@in_default_mode
def residuals(net: Network, X: ArrayLike, y: ArrayLike, loss: AnyLoss, ax: Any = None, *, bins: int = 50) -> Any:
    """The distribution of |delta_l| over examples and units: a histogram per layer on a logarithmic axis, with the
    share of zeros in the legend.

    net, X (n, n_in), y, loss: as in backprop.residuals.
    ax: Axes to draw into.

    bins: how many a histogram has.

    ValueError if all residuals are 0 or not finite, and as backprop.residuals does; ImportError without matplotlib.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> net = mlpfast.Network([64, 32, 10], output="softmax", seed=0)
    >>> axes = mlpfast.plots.residuals(net, X, y, "cross_entropy")
    >>> axes.figure.savefig("residuals.png")
    """
    sizes = [np.abs(delta).ravel() for delta in backprop.residuals(net, X, y, loss)]
    positive = [size[np.isfinite(size) & (size > 0)].astype(np.float64) for size in sizes]
    if not any(map(len, positive)):
        raise ValueError("net must have a residual that is finite and not zero to be drawn, got none on X, y")
    exponents = np.log10(np.concatenate(positive))
    low, high = exponents.min(), exponents.max()
    edges = np.logspace(low - 0.01, high + 0.01, bins + 1)
    ax = _axes(ax)
    for number, (size, kept) in enumerate(zip(sizes, positive, strict=True), 1):
        zero = 100 * np.mean(size == 0)
        label = f"layer {number}" + (f", {zero:.0f} % zero" if zero else "")
        ax.stairs(np.histogram(kept, edges)[0] / len(size), edges, label=label)
    ax.set(xscale="log", xlabel=r"$|\delta|$", ylabel="share of entries")
    ax.legend()
    return ax


@in_default_mode
def gradient_flow(report: Report, ax: Any = None) -> Any:
    """RMS of delta and dW in each layer of report, a diagnostics.Report, with its verdict as the title. The verdict is
    based on |delta|: with the same length, a wide layer has a lower RMS.

    ax: Axes to draw into. TypeError for what is no Report; ImportError without matplotlib.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> net = mlpfast.Network([64, 32, 10], output="softmax", seed=0)
    >>> report = mlpfast.diagnostics.gradient_flow(net, X, y, "cross_entropy")
    >>> mlpfast.plots.gradient_flow(report).get_title()
    'healthy, a factor of 0.908 a layer'
    """
    if not isinstance(report, Report):
        hint = ": diagnostics.gradient_flow(net, X, y, loss) makes one" if isinstance(report, Network) else ""
        raise TypeError(f"report must be a diagnostics.Report, got {type(report).__name__}{hint}")
    ax = _axes(ax)
    numbers = range(1, len(report.layers) + 1)
    for name, label in (("delta", r"$\delta$"), ("dW", "dW")):
        ax.plot(numbers, [getattr(layer, name) for layer in report.layers], "o-", label=label)
    ax.set(yscale="log", xlabel="layer", ylabel="RMS", xticks=numbers)
    ax.set_title(f"{report.verdict}, a factor of {report.per_layer:.3g} a layer")
    ax.legend()
    return ax


@in_default_mode
def decision_boundary(
    net: Network, X: ArrayLike, y: ArrayLike, ax: Any = None, *, resolution: int = 200, threshold: float | None = None,
) -> Any:
    """The class that a network of two inputs predicts around X (n, 2), and the points of X coloured by their class y:
    class numbers (n,) or one-hot rows. With one output there are two classes, 0 and 1 or -1 and 1, and predictions
    above threshold are 1; None: 1/2 for a sigmoid, 0 for other activations.

    net: a Network.
    ax: Axes to draw into.
    resolution: points of the grid along each side.

    ValueError for another number of inputs, or classes that the network does not have; ImportError without matplotlib.

    >>> import mlpfast
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = mlpfast.Network([2, 8, 1], activation="tanh", output="sigmoid", seed=0)
    >>> trainer = mlpfast.Trainer(net, "binary_cross_entropy", mlpfast.Adam(lr=0.05), seed=0)
    >>> history = trainer.fit(X, y, epochs=200)
    >>> axes = mlpfast.plots.decision_boundary(net, X, y)
    >>> axes.figure.savefig("xor.png")
    """
    if backprop.checked_network(net).n_in != 2:
        raise ValueError(f"net must have 2 inputs to be drawn, got {net.n_in}")
    if isinstance(net.layers[-1].activation, PerOutput):
        raise ValueError(
            "net must have outputs for the classes of one y to be drawn, got one whose parts are of several kinds: "
            f"output {net.layers[-1].activation!r}"
        )
    X = _kernels.gather(inputs(X, net), net.input_scale, np.float64)  # as the network sees it
    y = number_array("y", y)
    if len(y) != len(X):
        raise ValueError(f"y must have one entry for each row of X: X has {len(X)}, y has {len(y)}")
    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.1 * (high - low) + 1e-3
    x0, x1 = np.linspace(low - margin, high + margin, resolution).T
    grid = np.stack(np.meshgrid(x0, x1), axis=-1)  # [row, column] is the point (x0[column], x1[row])
    if threshold is not None and net.n_out > 1:
        raise ValueError(f"threshold needs a network of one output, got one of {net.n_out}")
    threshold = _threshold(net) if threshold is None else real_number("threshold", threshold)
    decided = _classes(net.predict(grid.reshape(-1, 2)), threshold).reshape(resolution, resolution)
    n_classes = max(net.n_out, 2)
    truth = _true_classes(y, net.n_out, n_classes)
    ax = _axes(ax)
    colours = [f"C{k % 10}" for k in range(n_classes)]
    for k in np.unique(decided):  # one by one: between the numbers 0 and 2 a contour plot would paint a strip of 1
        ax.contourf(x0, x1, decided == k, levels=[0.5, 1.5], colors=colours[k], alpha=0.3)
    for k in np.unique(truth):
        ax.scatter(*X[truth == k].T, s=12, color=colours[k], edgecolors="k", linewidths=0.3, label=f"class {k}")
    ax.set(xlabel="$x_1$", ylabel="$x_2$")
    ax.legend()
    return ax


def graph(graph: Graph, direction: str = "both", ax: Any = None) -> Any:
    """A computational graph, a graph.Graph, from left to right: on each wire the value above in green, and the gradient
    of the output below in red; of arrays their 2-norms, as |2.5|. A graph without values has names and shapes alone.

    direction: "forward" leaves out the gradients, "backward" the values, and its arrows point back. Without ax the
        figure is as large as the graph needs; in an ax that is smaller all of it is. What does not fit into a row of 14
        inches goes on in the next one, beginning with the names of what comes from the row before; the name alone also
        stands for edges from far away.

    ax: Axes to draw into.

    TypeError for what is no Graph, ValueError for another direction; ImportError without matplotlib.

    >>> import mlpfast
    >>> net = mlpfast.Network([2, 3, 1], seed=0)
    >>> axes = mlpfast.plots.graph(net.graph("half_squared_error", X=[[1.0, 2.0]], y=[0.5]))
    >>> axes.figure.savefig("graph.png")
    """
    from . import _graph_drawing
    from .graph import Graph

    if not isinstance(graph, Graph):
        hint = ": its graph() is one" if isinstance(graph, Network) else ""
        raise TypeError(f"graph must be a graph.Graph, got {type(graph).__name__}{hint}")
    one_of("direction", direction, ("both", "forward", "backward"))
    plt = pyplot()
    layout = _graph_drawing.Layout(graph, values=direction != "backward", gradients=direction != "forward")
    if ax is None:
        ax = plt.figure(figsize=(layout.width, layout.height)).add_axes((0, 0, 1, 1))
    _graph_drawing.draw(layout, ax, direction)
    return ax


def _threshold(net):
    return 0.5 if net.layers[-1]._unit.traits.share else 0


def _classes(yhat, threshold):
    """Class numbers from outputs (n, n_out)."""
    return yhat.argmax(axis=1) if yhat.shape[1] > 1 else (yhat[:, 0] > threshold).astype(np.int64)


def _true_classes(y, n_out, n_classes):
    """Class numbers from y; ValueError if it holds numbers of another kind."""
    if y.ndim == 2 and y.shape[1] == n_classes:
        ones = y == 1
        if (ones.sum(axis=1) != 1).any() or not np.isin(y[~ones], (0, -1)).all():
            raise ValueError("y must be class numbers (n,) or one-hot rows to be drawn, got rows that are not one-hot")
        return ones.argmax(axis=1)
    if y.ndim == 2 and y.shape[1] == n_out:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(f"y must be class numbers (n,) or one-hot rows (n, {n_classes}), got shape {y.shape}")
    if n_out > 1:
        return class_labels(np.array(y), n_classes)
    if not (np.isin(y, (0, 1)).all() or np.isin(y, (-1, 1)).all()):
        raise ValueError("y must hold the classes 0 and 1, or -1 and 1, of a network of one output, got other numbers")
    return (y > 0).astype(np.int64)


# ---- History.plot


@in_default_mode
def plot_history(history: History, path: PathLike | None = None, ax: Any = None) -> Any:
    """See History.plot."""
    if not history.n_epochs:
        raise ValueError("history must have at least one epoch to plot, got none")
    if not (path is None or isinstance(path, (str, os.PathLike)) or hasattr(path, "write")):
        raise TypeError(f"path must be that of a file to write, got {type(path).__name__}: ax= takes Axes")
    figure = None
    if ax is None:
        figure, ax = _figure(interactive=path is None)
    losses = [name for name in history if name.removeprefix("val_") in ("loss", "objective")]
    others = [name for name in history if name not in (*losses, "lr", "momentum")]
    own = dict.fromkeys(name.removeprefix("val_") for name in losses + others)
    colors = {name: f"C{i % 10}" for i, name in enumerate(own)}
    lines = _draw(ax, history, losses, colors)
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    front = ax
    if others:
        front = ax.twinx()
        lines += _draw(front, history, others, colors)
        front.set_ylabel("metrics")
    # In front, or lines would cross it; a large one above the axes, or it would hide lines.
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 3} if len(lines) > 3 else {}
    front.legend(lines, [line.get_label() for line in lines], **place)
    if path is not None:
        (figure or ax.figure).savefig(path)
    return ax


def _figure(interactive):
    """A new figure and its Axes; only an interactive one is registered with pyplot, which keeps its figures."""
    try:
        if interactive:
            from matplotlib import pyplot

            return pyplot.subplots(layout="constrained")
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('History.plot needs matplotlib: pip install "mlpfast[plots]"') from error
    figure = Figure(layout="constrained")
    return figure, figure.subplots()


def _draw(ax, history, names, colors):
    """A line per name, dashed in the same colour for validation; epochs are labelled from 1. One epoch is a point."""
    return [
        ax.plot(
            range(1, len(history[name]) + 1), history[name], "--" if name.startswith("val_") else "-",
            color=colors[name.removeprefix("val_")], label=name, marker="o" if len(history[name]) == 1 else None,
        )[0]
        for name in names
    ]
