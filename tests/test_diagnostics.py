"""Gradient flow: sizes in each layer, the verdict, the callback and the plots."""

import math
import sys

import numpy as np
import pytest
from processes import run_python

from mlpfast import SGD, Layer, Network, Trainer, activations, backprop, losses
from mlpfast.diagnostics import GradientFlow, gradient_flow

LOSS = "half_squared_error"


def data(n=40, n_in=6, n_out=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n_in)), rng.normal(size=(n, n_out))


def deep(activation, init="auto", layers=12, width=64, seed=0):
    hidden = [Layer(width, width, activation, init=init) for _ in range(layers - 1)]
    return Network([*hidden, Layer(width, 3)], seed=seed)


def flow_of(net):
    return gradient_flow(net, *data(64, net.n_in, net.n_out), LOSS)


# ---- sizes and shares


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sizes_are_root_mean_squares(dtype):
    X, y = data()
    net = Network([6, 9, 5, 3], activation="tanh", dtype=dtype, seed=1)
    a, sizes = X, []
    for layer in net.layers:
        z = a @ layer.W + layer.b
        below, a = a, np.tanh(z) if layer.activation == "tanh" else z
        sizes.append([below, a, z])
    delta, wanted = a - y, []
    for layer, (below, a, z) in zip(net.layers[::-1], sizes[::-1], strict=True):
        if layer.activation == "tanh":
            delta = delta * (1 - a**2)
        arrays = a, z, delta, below.T @ delta / len(X)
        wanted.insert(0, [math.sqrt((array**2).mean()) for array in arrays])
        delta = delta @ layer.W.T
    got = [(layer.a, layer.z, layer.delta, layer.dW) for layer in gradient_flow(net, X, y, LOSS).layers]
    np.testing.assert_allclose(got, wanted, rtol=1e-5 if dtype == "float32" else 1e-12)


def test_dW_is_without_penalties_but_masked():
    X, y = data()
    mask = np.random.default_rng(0).random((6, 3)) < 0.5
    net = Network([Layer(6, 3, l2=10.0, l1=10.0, mask=mask)], dtype="float64", seed=0)
    wanted = X.T @ (X @ net.layers[0].W - y) / len(X) * mask
    assert gradient_flow(net, X, y, LOSS).layers[0].dW == pytest.approx(math.sqrt((wanted**2).mean()), rel=1e-12)


def shares(activation, z):
    """(saturated, dead) of a layer whose z are these numbers (rows, units)."""
    z = np.array(z, float)
    net = Network([Layer(z.shape[1], z.shape[1], activation, bias=False)], dtype="float64")
    net.layers[0].W[...] = np.eye(z.shape[1])
    layer = gradient_flow(net, z, z, LOSS).layers[0]
    return layer.saturated, layer.dead


@pytest.mark.parametrize("activation, edge", [
    ("sigmoid", math.log(0.98734 / 0.01266)), ("tanh", math.atanh(0.974679)), ("softsign", 3.47213), ("hard_sigmoid", 3)
])
def test_saturated_is_a_flat_derivative(activation, edge):
    """Limits computed by hand: where g' is 5 % of the largest; for hard_sigmoid its corners."""
    inside, outside = edge - 1e-3, edge + 1e-3
    assert shares(activation, [[inside, -inside, 0, outside], [-outside, 99, -99, 0]])[0] == 0.5


def test_shares_of_units_and_entries():
    z = [[-1.0, 2.0, -3.0, 0.0], [-2.0, -5.0, 1.0, -1.0]]  # units 0 and 3 are never active; z = 0 is not
    for activation in ("relu", "leaky_relu", "prelu", "elu", "selu", "gelu", "softplus", "hard_swish"):
        assert shares(activation, z)[1] == 0.5, activation
    assert shares("sign", z)[0] == 1
    for activation, which in [("relu", 0), ("sigmoid", 1), ("identity", 0), ("identity", 1), ("softmax", 0)]:
        assert math.isnan(shares(activation, z)[which]), activation


# ---- the verdict


@pytest.mark.parametrize("activation, init, verdict", [
    ("sigmoid", "xavier_normal", "vanishing"),
    ("relu", "lecun_normal", "vanishing"),  # a factor of 1 / sqrt 2 per layer: 45 over 11 layers
    ("relu", "normal", "exploding"),
    ("relu", "he_normal", "healthy"),
    ("tanh", "xavier_normal", "healthy"),
    ("selu", "auto", "healthy"),
    ("sign", "auto", "vanishing"),
])
def test_verdicts(activation, init, verdict):
    layers = 20 if init == "lecun_normal" else 12
    for seed in range(3):
        assert flow_of(deep(activation, init, layers, seed=seed)).verdict == verdict


def test_the_ratio_is_known_where_layers_scale():
    """Orthogonal layers times c: |delta| grows by c per layer for any widths, unlike its RMS."""
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    for c, verdict in [(0.5, "healthy"), (0.2, "vanishing"), (5.0, "exploding")]:
        net = Network([8, 8, 8, 8, 2], activation="identity", dtype="float64", seed=0)
        for layer in net.layers:
            layer.W[...] = c * Q[:, :layer.n_out]
        flow = flow_of(net)
        assert flow.ratio == pytest.approx(c**3, rel=1e-12) and flow.per_layer == pytest.approx(c, rel=1e-12)
        assert flow.verdict == verdict


def test_widths_alone_are_no_verdict():
    for sizes in ([10, 60_000, 3], [10, 3000, 30, 300, 3], [10, 3, 3000, 3]):
        assert flow_of(Network(sizes, seed=0)).verdict == "healthy", sizes


def test_frozen_layers_do_not_count():
    layers = [Layer(6, 50, "sign", init="normal", trainable=False), Layer(50, 20, "relu"), Layer(20, 3)]
    flow = flow_of(Network(layers, seed=0))
    assert flow.layers[0].delta == 0 and flow.verdict == "healthy"
    frozen = [Layer(6, 4, trainable=False), Layer(4, 3, trainable=False)]
    assert flow_of(Network(frozen, seed=0)).verdict == "healthy"


def test_numbers_that_are_not_finite_and_an_error_of_zero():
    net = Network([6, 4, 3], seed=0)
    net.layers[0].W[0, 0] = np.inf
    assert flow_of(net).verdict == "exploding"
    net = Network([6, 4, 3], seed=0)
    X = data()[0]
    flow = gradient_flow(net, X, net.predict(X), LOSS)
    assert math.isnan(flow.ratio) and flow.verdict == "healthy"


def test_the_table():
    lines = str(flow_of(deep("relu", "he_normal", layers=3))).splitlines()
    assert lines[0].split() == "layer shape activation rms a rms z rms delta rms dW saturated dead".split()
    assert [line.split()[0] for line in lines[1:-1]] == ["1", "2", "3"]
    assert "64 -> 64" in lines[1] and lines[1].split()[-3:] == ["-", "0", "%"] and lines[3].split()[-2:] == ["-", "-"]
    assert lines[-1].startswith("healthy: |delta_1| / |delta_3| = ") and "vanishing below 0.01" in lines[-1]


def test_arguments_are_checked():
    net = deep("relu", layers=2)
    with pytest.raises(ValueError, match=r"X must have shape \(n, 64\), got \(40, 6\)"):
        gradient_flow(net, *data(), LOSS)
    with pytest.raises(ValueError, match="loss must be one of"):
        gradient_flow(net, *data(), "none")
    with pytest.raises(ValueError, match="every must be >= 1, got 0"):
        GradientFlow(*data(), every=0)


# ---- the callback


def test_the_callback_reports_every_so_many_epochs_and_changes_nothing():
    X, y = data()
    watch = GradientFlow(X[:20], y[:20], every=3)
    results = []
    for callbacks in ([], [watch]):
        net = Network([6, 8, 3], seed=0)
        history = Trainer(net, LOSS, SGD(0.1), batch_size=8, seed=0).fit(X, y, epochs=7, callbacks=callbacks)
        results.append([history["loss"], *(p.tolist() for p in net.parameters)])
    assert results[0] == results[1]
    assert watch.epochs == [2, 5] and len(watch.reports) == 2
    assert watch.reports[0].layers != watch.reports[1].layers


def test_the_last_report_is_of_the_network_as_it_is():
    X, y = data()
    net, watch = Network([6, 8, 3], seed=0), GradientFlow(X, y)
    Trainer(net, LOSS, SGD(0.1), seed=0).fit(X, y, epochs=2, callbacks=[watch])
    assert str(watch.reports[-1]) == str(gradient_flow(net, X, y, LOSS)) and watch.epochs == [0, 1]


# ---- plots


@pytest.fixture
def plots():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    from mlpfast import plots

    yield plots
    pyplot.close("all")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_residuals_are_drawn_as_a_histogram_for_each_layer(plots):
    X, y = data()
    net = Network([6, 9, 5, 3], activation="relu", dtype="float64", seed=1)
    ax = plots.residuals(net, X, y, LOSS, bins=20)
    deltas = backprop.residuals(net, X, y, LOSS)
    assert len(ax.patches) == 3 and ax.get_xscale() == "log"
    zeros = [np.mean(delta == 0) for delta in deltas]
    assert legend(ax) == [f"layer 1, {100 * zeros[0]:.0f} % zero", f"layer 2, {100 * zeros[1]:.0f} % zero", "layer 3"]
    for patch, zero in zip(ax.patches, zeros, strict=True):
        shares, edges, _ = patch.get_data()
        assert len(shares) == 20 and shares.sum() == pytest.approx(1 - zero)  # no value lies outside the bins
    last, edges, _ = ax.patches[2].get_data()
    np.testing.assert_allclose(last, np.histogram(np.abs(deltas[2]), edges)[0] / deltas[2].size)
    with pytest.raises(ValueError, match="a residual that is finite and not zero"):
        plots.residuals(net, X, net.predict(X), LOSS)


def test_gradient_flow_is_drawn_as_lines_of_delta_and_dW(plots):
    flow = flow_of(deep("sigmoid", "xavier_normal", layers=6))
    ax = plots.gradient_flow(flow)
    drawn = [line.get_ydata() for line in ax.lines]
    np.testing.assert_array_equal(drawn, [[l.delta for l in flow.layers], [l.dW for l in flow.layers]])
    assert legend(ax) == [r"$\delta$", "dW"] and ax.get_title().startswith("vanishing") and ax.get_yscale() == "log"
    assert ax.get_xlabel() == "layer" and list(ax.lines[0].get_xdata()) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("output, n_out, y", [
    ("sigmoid", 1, [0, 1, 1, 1]), ("identity", 1, [-1, 1, 1, 1]), ("softmax", 2, [0, 1, 1, 1]),
    ("softmax", 2, [[1, 0], [0, 1], [0, 1], [0, 1]]),
], ids=["sigmoid", "identity", "softmax", "one-hot"])
def test_the_boundary_lies_where_the_network_parts(plots, output, n_out, y):
    """A network with x_1 > 0 as class 1, set by hand."""
    net = Network([2, n_out], output=output, seed=0)
    net.layers[0].W[...] = [[1.0] if n_out == 1 else [-1.0, 1.0], [0.0] * n_out]
    X = np.array([[-1, 0], [1, 0], [1, 1], [0.5, 0.5]])
    own = plots.pyplot().subplots()[1]
    ax = plots.decision_boundary(net, X, y, own, resolution=100)
    assert ax is own and legend(ax) == ["class 0", "class 1"]
    first, second, *points = ax.collections
    assert [len(scatter.get_offsets()) for scatter in points] == [1, 3]
    (left,), (right,) = first.get_paths(), second.get_paths()
    assert left.vertices[:, 0].max() < 0.03 and right.vertices[:, 0].min() > -0.03
    assert left.vertices[:, 0].min() < -1 and right.vertices[:, 0].max() > 1  # with a margin


def test_a_given_threshold(plots):
    logistic = activations.Custom(lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2)
    net = Network([Layer(2, 1, logistic)], seed=0)
    net.layers[0].W[...] = [[1.0], [0.0]]
    ax = plots.decision_boundary(net, [[-1, 0], [1, 0]], [0, 1], resolution=100, threshold=0.5)
    (left,), (right,) = (region.get_paths() for region in ax.collections[:2])
    assert left.vertices[:, 0].max() < 0.03 and right.vertices[:, 0].min() > -0.03
    with pytest.raises(TypeError, match="threshold must be a number"):
        plots.decision_boundary(net, [[-1, 0], [1, 0]], [0, 1], threshold="half")


def test_three_classes_have_three_regions(plots):
    net = Network([2, 3], output="softmax", seed=0)
    net.layers[0].W[...] = [[-1, 0, 1], [0, 1, 0]]
    ax = plots.decision_boundary(net, [[-1, -1], [0, 1], [1, -1]], [0, 1, 2])
    assert legend(ax) == ["class 0", "class 1", "class 2"]
    for k, region in enumerate(ax.collections[:3]):
        for path in region.get_paths():
            inside = 0.98 * path.vertices + 0.02 * path.vertices.mean(axis=0)
            assert (net.predict(inside).argmax(axis=1) == k).all()  # and no strip of 1 between 0 and 2


def test_decisions_about_pixels_are_drawn_as_the_network_sees_them(plots):
    net = Network([Layer(2, 1, "sigmoid", init="zeros")], input_scale=1 / 255)
    net.layers[0].W, net.layers[0].b = [[1], [0]], -0.5
    ax = plots.decision_boundary(net, np.array([[0, 9], [255, 9]], np.uint8), [0, 1], resolution=100)
    first, second, *points = ax.collections
    np.testing.assert_allclose([p.get_offsets()[0] for p in points], [(0, 9 / 255), (1, 9 / 255)], rtol=1e-6)
    (left,), (right,) = first.get_paths(), second.get_paths()
    assert left.vertices[:, 0].max() == pytest.approx(0.5, abs=0.02) == right.vertices[:, 0].min()


def test_what_cannot_be_drawn_is_refused(plots):
    with pytest.raises(ValueError, match="net must have 2 inputs to be drawn, got 6"):
        plots.decision_boundary(Network([6, 2]), *data())
    with pytest.raises(ValueError, match="X has 2, y has 1"):
        plots.decision_boundary(Network([2, 2]), np.eye(2), [0])
    with pytest.raises(ValueError, match="y must hold class numbers from 0 to 1.*got 7 at position 1"):
        plots.decision_boundary(Network([2, 2]), np.eye(2), [0, 7])
    with pytest.raises(ValueError, match="threshold needs a network of one output, got one of 2"):
        plots.decision_boundary(Network([2, 2]), np.eye(2), [0, 1], threshold=0.3)
    several = losses.PerOutput([(slice(0, 3), "cross_entropy"), (3, "huber")])
    with pytest.raises(ValueError, match="net must have outputs for the classes of one y.*several kinds"):
        plots.decision_boundary(Network([2, 4], output=several.output), np.eye(2), [0, 1])
    with pytest.raises(ValueError, match="y must hold the classes 0 and 1, or -1 and 1.*got other"):
        plots.decision_boundary(Network([2, 1]), np.eye(2), [0.3, 0.7])
    with pytest.raises(ValueError, match="y must be class numbers .* rows that are not one-hot"):
        plots.decision_boundary(Network([2, 2]), np.eye(2), [[0.3, 0.7], [0, 2]])
    with pytest.raises(ValueError, match=r"one-hot rows \(n, 3\), got shape \(2, 2\)"):
        plots.decision_boundary(Network([2, 3]), np.eye(2), np.eye(2))
    with pytest.raises(TypeError, match="report must be a diagnostics.Report, got Network: .*gradient_flow"):
        plots.gradient_flow(Network([2, 2]))


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    from mlpfast import plots

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "mlpfast\[plots\]"'):
        plots.gradient_flow(flow_of(deep("relu", layers=2)))


def test_importing_mlpfast_does_not_import_what_it_may_never_need():
    program = """
import sys, mlpfast
late = [m for m in ("matplotlib", "mlpfast.plots", "mlpfast.diagnostics", "mlpfast.datasets") if m in sys.modules]
mlpfast.plots.pyplot, mlpfast.diagnostics.GradientFlow
print(late, "matplotlib" in sys.modules, {"plots", "diagnostics"} <= set(dir(mlpfast)))
"""
    assert run_python(program).split("\n")[0] == "[] False True"
