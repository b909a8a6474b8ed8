"""History.plot, with matplotlib and without."""

import io
import sys

import numpy as np
import pytest

from mlpfast import History


def history():
    got = History()
    for i in range(3):
        got.append({"loss": 3.0 - i, "accuracy": i / 4, "objective": 4.0 - i, "val_loss": 3.5 - i, "lr": 0.1,
                    "momentum": 0.9})
    return got


def lines(ax):
    return {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in ax.get_lines()}


def test_losses_on_one_axis_and_metrics_on_the_other():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    ax = figure.subplots()
    assert history().plot(ax=ax) is ax
    left, right = figure.axes
    assert lines(left) == {
        "loss": ([1, 2, 3], [3, 2, 1]), "objective": ([1, 2, 3], [4, 3, 2]), "val_loss": ([1, 2, 3], [3.5, 2.5, 1.5]),
    }
    assert lines(right) == {"accuracy": ([1, 2, 3], [0, 0.25, 0.5])}
    styles = {line.get_label(): (line.get_color(), line.get_linestyle()) for each in figure.axes
              for line in each.get_lines()}
    colors = [styles[name][0] for name in ("loss", "objective", "accuracy")]
    assert len(set(colors)) == 3 and {styles[name][1] for name in ("loss", "objective", "accuracy")} == {"-"}
    assert styles["val_loss"] == (styles["loss"][0], "--")
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["loss", "objective", "val_loss", "accuracy"]


def test_a_large_legend_is_outside():
    figure_class = pytest.importorskip("matplotlib.figure").Figure
    for more, outside in (({}, False), ({"val_loss": 2.0, "val_accuracy": 0.5}, True)):
        got = History()
        got.append({"loss": 1.0, "accuracy": 0.5, **more})
        figure = figure_class(layout="constrained")
        ax = got.plot(ax=figure.subplots())
        figure.savefig(io.BytesIO())  # places it
        legend, inner = figure.axes[-1].get_legend().get_window_extent(), ax.get_window_extent()
        assert (legend.y0 >= inner.y1) == outside
        assert legend.y1 <= figure.bbox.y1 and legend.x0 >= 0 and legend.x1 <= figure.bbox.x1


def test_one_epoch_is_a_point():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    got = History()
    got.append({"loss": 1.0, "accuracy": 0.5})
    ax = got.plot(ax=figure.subplots())
    assert [line.get_marker() for each in figure.axes for line in each.get_lines()] == ["o", "o"]
    assert [tick for tick in ax.get_xticks() if ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]] == [1]
    assert {line.get_marker() for line in history().plot(ax=ax).get_lines()[1:]} == {"None"}


def test_losses_alone_have_one_axis():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    got = History()
    got.append({"loss": 1.0})
    got.append({"loss": np.nan})
    got.plot(ax=figure.subplots())
    assert len(figure.axes) == 1


@pytest.mark.parametrize("ending, start", [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
@pytest.mark.parametrize("into", ["a new figure", "ax"])
def test_a_picture_is_written(tmp_path, ending, start, into):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    path = tmp_path / f"history.{ending}"
    history().plot(path, ax=figure.subplots() if into == "ax" else None)
    assert path.read_bytes().startswith(start)


def test_a_new_figure_can_be_shown(monkeypatch):
    pytest.importorskip("matplotlib").use("agg")
    from matplotlib import pyplot

    ax = history().plot()
    assert pyplot.gcf() is ax.figure and len(lines(ax)) == 3
    pyplot.close(ax.figure)
    history().plot(path=None, ax=None)
    pyplot.close("all")


@pytest.mark.parametrize("path", [None, "history.png"])
def test_without_matplotlib_it_says_what_to_install(monkeypatch, path):
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "mlpfast\[plots\]"'):
        history().plot(path)


def test_axes_in_the_place_of_the_path():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    with pytest.raises(TypeError, match="path must be that of a file to write, got Axes: ax= takes Axes"):
        history().plot(figure.subplots())


def test_nothing_to_plot():
    with pytest.raises(ValueError, match="history must have at least one epoch"):
        History().plot()
