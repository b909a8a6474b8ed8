"""Invalid arguments are refused: the message names the argument, what it got and what it needs, and nothing changes."""

import pickle

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from processes import run_python

import mlpfast
from mlpfast import (
    SGD,
    Adam,
    AdamW,
    Layer,
    Network,
    RMSprop,
    Trainer,
    activations,
    backprop,
    diagnostics,
    losses,
    plots,
    schedules,
)

REFUSED = (ValueError, TypeError)


def make_network(dtype="float32", output="softmax", n_out=3, seed=0):
    return Network([4, 5, n_out], activation="tanh", output=output, dtype=dtype, seed=seed)


def example_data(n=6, dtype="float32"):
    return np.random.default_rng(0).normal(size=(n, 4)).astype(dtype), np.arange(n) % 3


@pytest.fixture
def net():
    """A network whose parameters must have the same bits after the test."""
    net = make_network()
    before = [p.tobytes() for p in net.parameters]
    yield net
    assert [p.tobytes() for p in net.parameters] == before


def refused(parts, call, *args, **kwargs):
    """call must raise ValueError or TypeError with all parts in its message."""
    with pytest.raises(REFUSED) as caught:
        call(*args, **kwargs)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {caught.value}"


# ---- X

X, Y = example_data()
BAD_X = {
    "one dimension": (X[0], ["(n, 4)", "(4,)"]),
    "three dimensions": (X[None], ["(n, 4)", "(1, 6, 4)"]),
    "a number": (3.0, ["(n, 4)", "()"]),
    "too narrow": (X[:, :3], ["(n, 4)", "(6, 3)"]),
    "too wide": (np.ones((6, 5)), ["(n, 4)", "(6, 5)"]),
    "no columns": (np.ones((6, 0)), ["(n, 4)", "(6, 0)"]),
    "objects": (X.astype(object), ["object"]),
    "None": (None, ["None"]),
    "strings": ([["a", "b", "c", "d"]] * 6, ["<U1"]),
    "complex": (X + 1j, ["complex"]),
    "dates": (np.zeros((6, 4), "M8[s]"), ["datetime64"]),
    "ragged": ([[1, 2, 3, 4], [1, 2]], []),
    "whole numbers too large": ([[10**30] * 4] * 6, ["object"]),
    "structured": (np.zeros((6, 4), [("a", "f4")]), ["dtype"]),
}


@pytest.mark.parametrize("name", BAD_X)
def test_x_that_does_not_fit(net, name):
    bad, parts = BAD_X[name]
    trainer = Trainer(net)
    refused(["X", *parts], net.predict, bad)
    refused(["X", *parts], net, bad)
    refused(["X", *parts], trainer.fit, bad, Y)
    refused(["X", *parts], trainer.step, bad, Y)
    refused(["X", *parts], trainer.evaluate, bad, Y)
    refused(["X", *parts], trainer.fit, X, Y, validation_data=(bad, Y))
    refused(["X", *parts], backprop.forward, net, bad)
    for call in (backprop.residuals, backprop.gradients, backprop.check_gradients):
        refused(["X", *parts], call, net, bad, Y, "cross_entropy")
    assert trainer.epoch == 0


PIXELS = np.arange(24).reshape(6, 4) * 10  # int64


@pytest.mark.parametrize("bad", [PIXELS, PIXELS.tolist(), PIXELS.astype(np.uint16), PIXELS.astype(">i4"), PIXELS > 9],
                         ids=["int64", "lists", "uint16", "big-endian", "bool"])
def test_pixels_that_input_scale_would_miss(bad):
    net = Network([4, 5, 3], output="softmax", seed=0, input_scale=1 / 255)
    before, full = [p.tobytes() for p in net.parameters], Trainer(net, optimizer="natural_gradient", batch_size=None)
    trainer, parts = Trainer(net), ["X must be uint8 or floating point", str(np.asarray(bad).dtype.newbyteorder("=")),
                                    "0.00392157", "numpy.uint8"]
    for call in (trainer.fit, trainer.step, trainer.evaluate, full.fit, full.step):
        refused(parts, call, bad, Y)
    refused(parts, trainer.fit, PIXELS.astype(np.uint8), Y, validation_data=(bad, Y))
    refused(parts, net.predict, bad)
    refused(parts, net.predict, bad[:1], threads=1)
    refused(parts, backprop.forward, net, bad)
    for call in (backprop.residuals, backprop.gradients, backprop.check_gradients, diagnostics.gradient_flow,
                 plots.residuals):
        refused(parts, call, net, bad, Y, "cross_entropy")
    refused(parts, trainer.fit, X, Y, callbacks=diagnostics.GradientFlow(bad, Y))
    of_two = Network([2, 3], input_scale=0.5, seed=0)
    refused(["X must be uint8"], plots.decision_boundary, of_two, np.asarray(bad)[:, :2], Y)
    net.input_scale = 1  # accepted arguments are not changed either
    trainer.fit(X, Y, callbacks=diagnostics.GradientFlow(bad, Y))
    assert before != [p.tobytes() for p in net.parameters]


def test_x_without_rows(net):
    trainer, empty, labels = Trainer(net), np.empty((0, 4), np.float32), np.empty(0, int)
    for call in (trainer.fit, trainer.step, trainer.evaluate):
        refused(["X", "(0, 4)", "row"], call, empty, labels)
    refused(["validation_data", "(0, 4)"], trainer.fit, X, Y, validation_data=(empty, labels))
    refused(["X", "(0, 4)"], backprop.gradients, net, empty, labels, "cross_entropy")
    assert net.predict(empty).shape == (0, 3)


@pytest.mark.parametrize("bad", [None, 5, X, (X,), (X, Y, -Y - 1.0), (X, Y, Y[1:]), (X, Y, Y, Y), "ab"])
def test_validation_data_that_is_no_pair(net, bad):
    if bad is not None:
        refused(["validation_data"], Trainer(net).fit, X, Y, validation_data=bad)


# ---- y

WRONG_LABELS = {
    "too short": (Y[:-1], ["X has 6", "y has 5"]),
    "too long": (np.zeros(7, int), ["X has 6", "y has 7"]),
    "a number": (1, ["y"]),
    "label too large": ([0, 1, 2, 3, 0, 1], ["0 to 2", "3", "position 3"]),
    "label negative": ([0, 1, 2, 0, 0, -1], ["0 to 2", "-1", "position 5"]),
    "label of 64 bits": (np.array([0, 1, 2**32, 0, 0, 1]), ["4294967296", "position 2"]),
    "unsigned label": (np.array([0, 1, 2**63, 0, 0, 1], np.uint64), ["9223372036854775808", "position 2"]),
    "label not whole": ([0, 1, 0.5, 0, 0, 1], ["whole", "0.5", "position 2"]),
    "label NaN": ([0, np.nan, 2, 0, 0, 1], ["whole", "nan", "position 1"]),
    "label infinite": ([0, np.inf, 2, 0, 0, 1], ["inf", "position 1"]),
    "label huge": ([0, 1e300, 2, 0, 0, 1], ["1e+300", "position 1"]),
    "too few classes": (np.eye(2)[[0, 1, 0, 1, 0, 1]], ["(n, 3)", "(6, 2)"]),
    "too many classes": (np.eye(4)[[0, 1, 2, 3, 0, 1]], ["(n, 3)", "(6, 4)"]),
    "labels in a column": (Y[:, None], ["(n, 3)", "(6, 1)"]),
    "three dimensions": (np.ones((6, 3, 1)) / 3, ["(n, 3)", "(6, 3, 1)"]),
    "negative probability": ([[1.5, -0.5, 0]] * 6, ["row 0", "column"]),
    "rows that do not sum to 1": ([[0.5, 0.4, 0]] * 6, ["row 0", "0.9"]),
    "probability NaN": ([[0.5, np.nan, 0.5]] * 6, ["nan", "row 0", "column 1"]),
    "objects": (np.array([0, 1, 2, 0, 1, 2], object), ["object"]),
    "strings": (["a", "b", "c", "a", "b", "c"], ["<U1"]),
    "None": (None, ["None", "whole arrays", "Trainer.step"]),
}


def refused_y(net, loss, bad, parts):
    trainer = Trainer(net, loss)
    for call in (trainer.fit, trainer.step, trainer.evaluate):
        refused(["y", *parts], call, X, bad)
    for call in (backprop.residuals, backprop.gradients, backprop.check_gradients):
        refused(["y", *parts], call, net, X, bad, loss)
    assert trainer.epoch == 0


@pytest.mark.parametrize("name", WRONG_LABELS)
def test_labels_that_do_not_fit(net, name):
    refused_y(net, "cross_entropy", *WRONG_LABELS[name])


def test_validation_labels_that_do_not_fit(net):
    trainer = Trainer(net)
    refused(["validation_data", "0 to 2", "5"], trainer.fit, X, Y, validation_data=(X, Y + 5))
    refused(["validation_data", "6", "5"], trainer.fit, X, Y, validation_data=(X, Y[:5]))
    assert trainer.epoch == 0


WRONG_TARGETS = {
    "too few columns": (np.zeros((6, 2)), ["(n, 3)", "(6, 2)"]),
    "one dimension": (np.full(6, 0.5), ["class numbers", "0.5", "(n, 3)"]),
    "one dimension and no class": (np.arange(6), ["class numbers from 0 to 2", "3 at position 3", "(n, 3)"]),
    "NaN": (np.full((6, 3), np.nan), ["nan", "row 0", "column 0"]),
    "infinite": (np.full((6, 3), np.inf), ["inf", "row 0", "column 0"]),
    "too short": (np.zeros((5, 3)), ["X has 6", "y has 5"]),
    "objects": (np.zeros((6, 3), object), ["object"]),
}


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "half_squared_error", "squared_error"])
@pytest.mark.parametrize("name", WRONG_TARGETS)
def test_targets_that_do_not_fit(loss, name):
    net = make_network(output="sigmoid")
    before = [p.copy() for p in net.parameters]
    refused_y(net, loss, *WRONG_TARGETS[name])
    for p, was in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(p, was)


@pytest.mark.parametrize("bad", [1.5, -0.1, 2])
def test_binary_targets_outside_0_and_1(bad):
    y = np.zeros((6, 3))
    y[4, 1] = bad
    refused_y(make_network(output="sigmoid"), "binary_cross_entropy", y, ["0 to 1", str(bad), "row 4", "column 1"])


def test_targets_too_large_for_float32():
    net, y = make_network(output="identity"), np.full((6, 3), 1e300)
    refused(["y", "1e+300", "finite"], Trainer(net, "squared_error").fit, X, y)
    refused(["y", "1e+300", "finite"], backprop.gradients, net, X, y, "squared_error")


# ---- weights

BAD_SAMPLE_WEIGHT = {
    "negative": ([1, 1, -1, 1, 1, 1], ["-1", "position 2"]),
    "NaN": ([1, np.nan, 1, 1, 1, 1], ["nan", "position 1"]),
    "infinite": ([1, 1, 1, 1, 1, np.inf], ["inf", "position 5"]),
    "all zero": (np.zeros(6), ["zero"]),
    "zero in float32": (np.full(6, 1e-300), ["sample_weight"]),
    "infinite in float32": (np.full(6, 1e300), ["sample_weight"]),
    "too short": (np.ones(5), ["6", "5"]),
    "a column": (np.ones((6, 1)), ["(n,)", "(6, 1)"]),
    "a number": (1.0, ["(n,)", "()"]),
    "objects": (np.ones(6, object), ["object"]),
    "strings": (["a"] * 6, ["<U1"]),
}


@pytest.mark.parametrize("name", BAD_SAMPLE_WEIGHT)
def test_sample_weight_that_does_not_fit(net, name):
    bad, parts = BAD_SAMPLE_WEIGHT[name]
    trainer = Trainer(net)
    for call in (trainer.fit, trainer.evaluate):
        refused(["sample_weight", *parts], call, X, Y, sample_weight=bad)
    if name == "all zero":  # a single minibatch may have zero weight: test_weights.py
        return
    refused(["sample_weight", *parts], trainer.step, X, Y, sample_weight=bad)
    refused(["sample_weight", *parts], backprop.gradients, net, X, Y, "cross_entropy", sample_weight=bad)


@pytest.mark.parametrize("bad, parts", [
    ([1.0, 2.0], ["(3,)", "(2,)"]), ({5: 1.0}, ["5"]), ({0: -1.0}, ["-1"]), ({0: np.nan}, ["nan"]),
    ({"a": 1.0}, ["'a'"]), ({0: "a"}, ["'a'"]), ("even", ["balanced", "'even'"]), (2.0, ["(3,)"]),
    ([1.0, -2.0, 1.0], ["-2", "position 1"]),
    (np.ones(3, object), ["object"]), ({0: 0, 1: 0, 2: 0}, ["zero"]),
], ids=str)
def test_class_weight_that_does_not_fit(net, bad, parts):
    name = "weight" if parts == ["zero"] else "class_weight"
    refused([name, *parts], Trainer(net).fit, X, Y, class_weight=bad)


@pytest.mark.parametrize("call, parts", [
    (lambda: Network([Layer(4, 3, l1=1e39)]), ["l1", "float32", "1e+39"]),
    (lambda: Network([Layer(4, 3, l2=1e-320)], dtype="float64"), ["l2", "float64"]),
    (lambda: Network([4, 3], output=activations.LeakyReLU(1e39)), ["alpha", "float32"]),
    (lambda: Network([4, 3], output=activations.PReLU(-1e39)), ["alpha", "float32"]),
    (lambda: Trainer(make_network(output="identity"), losses.Huber(1e-320)), ["delta", "float32"]),
    (lambda: Trainer(make_network(output="identity"), losses.Loss("huber")), ["loss", "'huber'"]),
    (lambda: Trainer(make_network(output="identity"), losses.Loss("custom")), ["loss", "'custom'"]),
    (lambda: Network([4, 3], output=activations.Activation("foo")), ["output", "'foo'"]),
    (lambda: Network([4, 3], output=activations.Activation("elu")), ["output", "'elu'"]),
    (lambda: setattr(make_network(), "input_scale", np.nan), ["input_scale", "nan"]),
    (lambda: setattr(make_network(), "input_scale", "x"), ["input_scale", "'x'"]),
    (lambda: setattr(Trainer(make_network()), "optimizer", None), ["optimizer", "NoneType"]),
    (lambda: Trainer(make_network(), optimizer=RMSprop(rho=1e-320)).fit(X, Y), ["rho", "float32"]),
    (lambda: Trainer(make_network(), optimizer=Adam(eps=1e39)).fit(X, Y), ["eps", "float32"]),
    (lambda: Trainer(make_network()).fit(X, Y, class_weight={0: 1e40}), ["sample_weight times class_weight", "1e+40"]),
    (lambda: Trainer(make_network()).fit(X, Y, class_weight={-1: 2.0}), ["class_weight", "-1"]),
    (lambda: Trainer(make_network(n_out=1, output="sigmoid"), "binary_cross_entropy").fit(
        X, Y % 2, class_weight={-1: 2.0, 0: 1.0}), ["class_weight", "-1 and 0"]),
    (lambda: Trainer(make_network()).fit(X, Y, stop_at={1: 2}), ["stop_at", "{1: 2}"]),
    (lambda: backprop.check_gradients(make_network(), X, Y, "cross_entropy", step=np.nan), ["step", "nan"]),
], ids=range(19))
def test_numbers_and_names_that_would_be_noticed_late(call, parts):
    refused(parts, call)


def test_rates_of_a_schedule_are_checked_as_they_come():
    net = make_network()
    before = [p.copy() for p in net.parameters]
    steep = schedules.Warmup(3, schedules.Constant(20.0))
    trainer = Trainer(net, optimizer=AdamW(steep, weight_decay=0.15))
    with pytest.raises(ValueError, match="weight_decay must be < 1 / lr"):
        trainer.fit(X, Y, epochs=2)
    net = make_network()

    class Explodes:
        per = "step"

        def at(self, t):
            return 0.1 if t < 2 else 1e39

    with pytest.raises(ValueError, match="lr must be from .* float32"):
        Trainer(net, optimizer=SGD(Explodes()), batch_size=1).fit(X, Y)
    for p, was in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(p, was)


@pytest.mark.parametrize("thing, name", [
    (activations.ELU(1.0), "alpha"), (activations.PReLU(), "shared"), (activations.Custom(np.sin, np.cos), "forward"),
    (losses.Huber(2.0), "delta"), (losses.CrossEntropy(), "label_smoothing"), (losses.Loss("hinge"), "parameter"),
], ids=str)
def test_activations_and_losses_are_fixed(thing, name):
    with pytest.raises(AttributeError, match=f"{name} cannot be changed: make a new {type(thing).__name__}"):
        setattr(thing, name, 1)
    again = pickle.loads(pickle.dumps(thing))
    assert repr(again) == repr(thing) and vars(again) == vars(thing)


def test_settings_changed_in_a_callback_are_named():
    for name, value, part in (("seed", -1, "seed must be >= 0"), ("seed", "x", "seed must be"),
                              ("shuffle", "no", "shuffle must be")):
        trainer = Trainer(make_network())
        setattr(trainer, name, value)
        with pytest.raises((ValueError, TypeError), match=part):
            trainer.fit(X, Y)
    trainer = Trainer(make_network())
    with pytest.raises(ValueError, match="seed must be >= 0"):
        trainer.fit(X, Y, epochs=2, callbacks=[lambda trainer, *_: setattr(trainer, "seed", -1)])


@pytest.mark.parametrize("settings", [dict(activation="tanh"), dict(output="softmax"), dict(dropout=0.5)], ids=str)
def test_layers_have_settings_of_their_own(settings):
    refused([*settings, "widths", "Layers"], Network, [Layer(4, 3), Layer(3, 2)], **settings)


def test_sparse_input_is_named(net):
    sparse = pytest.importorskip("scipy.sparse")
    refused(["X", "dense", "csr", "toarray"], net.predict, sparse.csr_matrix(np.eye(4)))


def test_class_weight_without_classes(net):
    soft = np.full((len(X), 3), 1 / 3)
    refused(["class_weight", "probabilities"], Trainer(net).fit, X, soft, class_weight=[1.0, 1.0, 1.0])
    numbers = Trainer(Network([4, 3]), "squared_error")
    refused(["class_weight", "squared_error"], numbers.fit, X, 2 * np.eye(3)[Y], class_weight=[1.0, 1.0, 1.0])
    bits = Trainer(Network([4, 3], output="sigmoid"), "binary_cross_entropy")
    refused(["class_weight", "(3,)", "(2,)"], bits.fit, X, 1 - np.eye(3)[Y], class_weight=[1.0, 1.0])
    refused(["class_weight", "balanced", "{0: 2}"], bits.fit, X, 1 - np.eye(3)[Y], class_weight={0: 2})
    refused(["class_weight", "probabilities"], bits.fit, X, soft, class_weight="balanced")


# ---- names, sizes and rates

BAD_SETTINGS = [
    (lambda: Layer(0, 3), ["n_in", "0"]),
    (lambda: Layer(3, -1), ["n_out", "-1"]),
    (lambda: Layer(3, 2**31), ["n_out", "2147483648"]),
    (lambda: Layer(2.5, 3), ["n_in", "2.5"]),
    (lambda: Layer("3", 3), ["n_in", "'3'"]),
    (lambda: Layer(True, 3), ["n_in", "True"]),
    (lambda: Layer(3, 3, "gauss"), ["activation", "'gauss'", "relu", "softmax"]),
    (lambda: Layer(3, 3, "RELU"), ["activation", "'RELU'"]),
    (lambda: Layer(3, 3, None), ["activation", "Custom", "None"]),
    (lambda: Layer(3, 3, init="ones"), ["init", "'ones'", "he_normal", "zeros"]),
    (lambda: Layer(3, 3, bias_init="ones"), ["bias_init", "'ones'", "torch", "auto"]),
    (lambda: Network([3, 3], init="ones"), ["init", "'ones'", "torch", "auto"]),
    (lambda: Network([3, 3], output_init="ones"), ["output_init", "'ones'", "torch", "auto"]),
    (lambda: Network([3, 3], bias_init=None), ["bias_init", "NoneType"]),
    (lambda: Network([Layer(3, 3)], bias_init="ones"), ["bias_init", "'ones'", "torch", "auto"]),
    (lambda: Layer(3, 3, bias=1), ["bias", "1"]),
    (lambda: Layer(3, 3, trainable="yes"), ["trainable", "'yes'"]),
    (lambda: Layer(3, 3, dropout=-0.1), ["dropout", "-0.1"]),
    (lambda: Layer(3, 3, dropout=1.0), ["dropout", "1.0"]),
    (lambda: Network([4]), ["sizes_or_layers", "[4]"]),
    (lambda: Network([]), ["sizes_or_layers", "[]"]),
    (lambda: Network(4), ["sizes_or_layers", "4"]),
    (lambda: Network([4, 0, 3]), ["sizes_or_layers[1] must be", "0"]),
    (lambda: Network([4, -2]), ["sizes_or_layers", "-2"]),
    (lambda: Network([4, 2.0]), ["sizes_or_layers", "2.0"]),
    (lambda: Network(["2", "3"]), ["sizes_or_layers[0]", "'2'"]),
    (lambda: Network([Layer(4, 3), Layer(2, 1)]), ["sizes_or_layers[1]", "2", "3"]),
    (lambda: Network([Layer(4, 3), 2]), ["sizes_or_layers", "2", "position 1"]),
    (lambda: Network([Layer(3, 3)] * 2), ["sizes_or_layers[1]"]),
    (lambda: Network([*make_network().layers]), ["sizes_or_layers[0]"]),
    (lambda: Network([4, 3], activation="selu?"), ["activation", "'selu?'", "tanh"]),
    (lambda: Network([4, 3], output="Softmax"), ["output", "'Softmax'", "softmax"]),
    (lambda: Network([4, 3], dtype="float16"), ["dtype", "'float16'", "float32"]),
    (lambda: Network([4, 3], dtype="no such"), ["dtype", "'no such'", "float64"]),
    (lambda: Network([4, 3], dtype=int), ["dtype", "int", "float64"]),
    (lambda: Network([4, 3], seed=-1), ["seed", "-1"]),
    (lambda: Network([4, 3], seed=2**64), ["seed", str(2**64)]),
    (lambda: Network([4, 3], seed=1.5), ["seed", "1.5"]),
    (lambda: Network([4, 3], input_scale=np.nan), ["input_scale", "nan"]),
    (lambda: Network([4, 3], input_scale="1/255"), ["input_scale", "'1/255'"]),
    (lambda: SGD(lr=0), ["lr", "0"]),
    (lambda: SGD(lr=-0.1), ["lr", "-0.1"]),
    (lambda: SGD(lr=np.inf), ["lr", "inf"]),
    (lambda: SGD(lr=np.nan), ["lr", "nan"]),
    (lambda: SGD(lr="0.1"), ["lr", "'0.1'"]),
    (lambda: SGD(lr=10**400), ["lr"]),
    (lambda: SGD(momentum=1.0), ["momentum", "1.0"]),
    (lambda: SGD(momentum=-0.5), ["momentum", "-0.5"]),
    (lambda: SGD(momentum=None), ["momentum", "None"]),
    (lambda: SGD(nesterov=True), ["nesterov", "momentum"]),
    (lambda: SGD(momentum=0.9, nesterov="yes"), ["nesterov", "'yes'"]),
    (lambda: Trainer("net"), ["network", "str"]),
    (lambda: Trainer(make_network(), "focal"), ["loss", "'focal'", "cross_entropy", "squared_error"]),
    (lambda: Trainer(make_network(), None), ["loss", "Custom", "None"]),
    (lambda: Trainer(make_network(output="sigmoid")), ["cross_entropy", "softmax", "'sigmoid'"]),
    (lambda: Trainer(make_network(output="relu"), "binary_cross_entropy"), ["loss", "sigmoid", "'relu'"]),
    (lambda: Trainer(make_network(n_out=1)), ["cross_entropy", "2", "1"]),
    (lambda: Trainer(make_network(), optimizer="adagrad?"), ["optimizer", "'adagrad?'", "sgd"]),
    (lambda: Trainer(make_network(), optimizer=0.1), ["optimizer", "float"]),
    (lambda: Trainer(make_network(), optimizer=SGD), ["optimizer", "the class SGD: call it"]),
    (lambda: Trainer(make_network(), batch_size=0), ["batch_size", "0"]),
    (lambda: Trainer(make_network(), batch_size=-3), ["batch_size", "-3"]),
    (lambda: Trainer(make_network(), batch_size=2.5), ["batch_size", "2.5"]),
    (lambda: Trainer(make_network(), batch_size=2**63), ["batch_size", str(2**63)]),
    (lambda: Trainer(make_network(), shuffle=1), ["shuffle", "1"]),
    (lambda: Trainer(make_network(), seed=-1), ["seed", "-1"]),
    (lambda: Trainer(make_network(), threads=0), ["threads", "0"]),
    (lambda: Trainer(make_network(), threads=10**6), ["threads", "1000000"]),
    (lambda: Trainer(make_network(), threads=1.0), ["threads", "1.0"]),
    (lambda: Trainer(make_network(), l1=-1), ["l1", "-1"]),
    (lambda: Trainer(make_network(), l2=np.nan), ["l2", "nan"]),
    (lambda: Trainer(make_network(), l2=np.inf), ["l2", "inf"]),
    (lambda: Trainer(make_network(), check_finite=0), ["check_finite", "0"]),
    (lambda: mlpfast.set_num_threads(0), ["n", "0"]),
    (lambda: mlpfast.set_num_threads("2"), ["n", "'2'"]),
    (lambda: mlpfast.show_config("json"), ["mode", "'json'", "dicts"]),
]


@pytest.mark.parametrize("number", range(len(BAD_SETTINGS)))
def test_settings_that_do_not_fit(number):
    call, parts = BAD_SETTINGS[number]
    refused(parts, call)


@pytest.mark.parametrize("name, bad", [
    ("epochs", 0), ("epochs", -1), ("epochs", 1.5), ("epochs", True), ("progress", "yes"),
    ("callbacks", [3]), ("callbacks", 3),
])
def test_arguments_of_fit_that_do_not_fit(net, name, bad):
    shown = bad[0] if isinstance(bad, list) else bad
    refused([name, repr(shown)], Trainer(net).fit, X, Y, **{name: bad})


@pytest.mark.parametrize("name, bad", [("lr", -1.0), ("lr", "x"), ("momentum", 2.0), ("l1", -1.0), ("l2", np.nan)])
def test_settings_changed_to_nonsense_are_found_by_the_next_call(net, name, bad):
    trainer = Trainer(net)
    setattr(trainer if name[:1] == "l" and name != "lr" else trainer.optimizer, name, bad)
    refused([name, repr(bad)], trainer.fit, X, Y)
    refused([name, repr(bad)], trainer.step, X, Y)


@pytest.mark.parametrize("bad", [0, -2, 1.5, "2", 10**6])
def test_threads_of_predict(net, bad):
    refused(["threads", repr(bad)], net.predict, X, threads=bad)


@pytest.mark.parametrize("settings, parts", [
    (dict(l1=-1.0), ["l1", "-1.0"]), (dict(l2=np.inf), ["l2", "inf"]), (dict(l2="x"), ["l2", "'x'"]),
], ids=str)
def test_penalties_of_backprop(net, settings, parts):
    refused(parts, backprop.gradients, net, X, Y, "cross_entropy", **settings)


@pytest.mark.parametrize("loss, parts", [
    ("focal", ["loss", "'focal'"]), ("binary_cross_entropy", ["loss", "sigmoid", "softmax"]),
    (3, ["loss", "Huber()", "3"]),
])
def test_losses_of_backprop(net, loss, parts):
    for call in (backprop.residuals, backprop.gradients, backprop.check_gradients):
        refused(parts, call, net, X, Y, loss)


def test_a_parameter_of_another_shape_is_refused(net):
    with pytest.raises(ValueError):
        net.layers[0].W = np.ones((5, 4))
    with pytest.raises(AttributeError):
        Layer(2, 2).W  # noqa: B018
    with pytest.raises(AttributeError, match="bias=False"):
        Network([Layer(2, 2, bias=False)]).layers[0].b = 1


# ---- out=


def read_only(array):
    array.flags.writeable = False
    return array


BAD_OUT = {
    "other dtype": (lambda: np.empty((6, 3), np.float64), ["float32", "float64"]),
    "other byte order": (lambda: np.empty((6, 3), np.dtype(np.float32).newbyteorder()), ["float32"]),
    "too few rows": (lambda: np.empty((5, 3), np.float32), ["(6, 3)", "(5, 3)"]),
    "too many columns": (lambda: np.empty((6, 4), np.float32), ["(6, 3)", "(6, 4)"]),
    "flat": (lambda: np.empty(18, np.float32), ["(6, 3)", "(18,)"]),
    "Fortran order": (lambda: np.empty((6, 3), np.float32, order="F"), ["contiguous"]),
    "every other row": (lambda: np.empty((12, 3), np.float32)[::2], ["contiguous"]),
    "unaligned": (lambda: np.empty(73, np.uint8)[1:].view(np.float32).reshape(6, 3), ["out"]),
    "read-only": (lambda: read_only(np.empty((6, 3), np.float32)), ["read-only"]),
    "a list": (lambda: [[0.0] * 3] * 6, ["list"]),
    "objects": (lambda: np.empty((6, 3), object), ["float32", "object"]),
}


@pytest.mark.parametrize("name", BAD_OUT)
def test_out_that_does_not_fit(net, name):
    make, parts = BAD_OUT[name]
    out = make()
    before = np.array(out)
    refused(["out", *parts], net.predict, X, out=out)
    np.testing.assert_array_equal(np.array(out), before)


def test_out_that_overlaps_x(net):
    memory = np.zeros(60, np.float32)
    memory[: X.size] = X.ravel()
    before = memory.copy()
    for first in (0, 6, 23):
        out = memory[first : first + 18].reshape(6, 3)
        refused(["out", "X", "overlap"], net.predict, memory[:24].reshape(6, 4), out=out)
    np.testing.assert_array_equal(memory, before)
    apart = memory[24 : 24 + 18].reshape(6, 3)
    np.testing.assert_array_equal(net.predict(memory[:24].reshape(6, 4), out=apart), net.predict(X))


@pytest.mark.parametrize("view", [lambda m: m[:48].reshape(6, 8)[:, ::2], lambda m: m[:24].reshape(4, 6).T],
                         ids=["strided", "Fortran"])
def test_out_that_overlaps_an_x_that_must_be_copied(net, view):
    memory = np.ones(60, np.float32)
    refused(["out", "X", "overlap"], net.predict, view(memory), out=memory[:18].reshape(6, 3))
    np.testing.assert_array_equal(memory, 1)


def test_out_that_overlaps_the_parameters():
    net = Network([3, 4, 3], seed=0)
    before = [p.copy() for p in net.parameters]
    X = np.ones((4, 3), np.float32)
    refused(["out", "parameters", "overlap"], net.predict, X, out=net.layers[1].W)
    refused(["out", "parameters", "overlap"], net.predict, X[:1], out=net.layers[1].b.reshape(1, 3))
    for p, was in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(p, was)


def test_out_is_filled_and_returned(net):
    out = np.full((6, 3), np.nan, np.float32)
    assert net.predict(X, out=out) is out
    np.testing.assert_array_equal(out, net.predict(X))


# ---- numbers that are not finite


def position(i, shape):
    array = np.zeros(shape, bool)
    array.flat[i] = True
    return array


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 39, 40 * 21 + 7, 40 * 37 - 1])  # 37 rows of 40 numbers
def test_x_that_is_not_finite_stops_training(dtype, bad, at):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(37, 40)).astype(dtype), rng.integers(3, size=37)
    nets = [Network([40, 7, 3], output="softmax", dtype=dtype, seed=0) for _ in range(2)]
    trainer, undisturbed = (Trainer(each, batch_size=10, shuffle=False) for each in nets)
    for each in (trainer, undisturbed):
        each.fit(X, y, epochs=2)
    broken = np.where(position(at, X.shape), bad, X).astype(dtype)
    where = rf"X\[{at // 40}, {at % 40}\] is {bad}; "
    with pytest.raises(FloatingPointError, match=f"epoch 2, minibatch {at // 400}: {where}.*loss"):
        trainer.fit(broken, y, epochs=5)
    first = at // 400 * 10  # first row of the minibatch that contains it
    for row in range(0, first, 10):
        undisturbed.step(X[row : row + 10], y[row : row + 10])
    for p, wanted in zip(nets[0].parameters, nets[1].parameters, strict=True):
        np.testing.assert_array_equal(p, wanted)
        assert np.isfinite(p).all()
    trainer.fit(X, y)
    with pytest.raises(FloatingPointError, match=where):
        trainer.step(broken, y)
    assert all(np.isfinite(p).all() for p in nets[0].parameters)


def test_x_too_large_for_float32(net):
    for call in (Trainer(net).fit, Trainer(net).evaluate):
        with pytest.raises(FloatingPointError, match=r"X\[0, 0\] is 1e\+300, too large for float32"):
            call(np.full((6, 4), 1e300), Y)
    net.input_scale = 1e38
    with pytest.raises(FloatingPointError, match=r"X\[5, 1\] is 9 times input_scale 1e\+38, too large for float32"):
        Trainer(net).fit(position(21, (6, 4)).astype(np.uint8) * np.uint8(9), Y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["half_squared_error", "squared_error"])
def test_a_loss_that_becomes_infinite_stops_training(dtype, loss):
    net = Network([4, 8, 3], dtype=dtype, seed=0)
    X, y = np.random.default_rng(0).normal(size=(50, 4)), np.ones((50, 3))
    trainer = Trainer(net, loss, SGD(lr=1e3), batch_size=10, seed=0)
    with pytest.raises(FloatingPointError, match="(?s)epoch [0-9]+.*loss is (inf|nan)"):
        trainer.fit(X, y, epochs=1000)
    assert all(np.isfinite(p).all() for p in net.parameters)
    assert all(np.isfinite(values).all() for values in trainer.history.values())


def test_a_first_loss_that_is_infinite_changes_nothing():
    net = Network([4, 3], seed=0)
    net.layers[0].W[...] = 1e30
    before = [p.copy() for p in net.parameters]
    for call in (Trainer(net, "squared_error").fit, Trainer(net, "squared_error").step):
        with pytest.raises(FloatingPointError, match="epoch 0.*loss is inf"):
            call(np.ones((6, 4)), np.ones((6, 3)))
        for p, was in zip(net.parameters, before, strict=True):
            np.testing.assert_array_equal(p, was)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble", ">f4"])
@pytest.mark.parametrize("look", [np.asarray, np.asfortranarray, lambda X: X[::-1][::-1], list])
@pytest.mark.parametrize("loss", ["cross_entropy", losses.Custom(lambda y, yhat: yhat[:, 0] - yhat[:, 1],
                                                                 lambda y, yhat: np.full(yhat.shape, [1, -1, 0.0]))])
def test_the_first_number_that_is_not_finite_is_found(look, dtype, loss):
    X, y = example_data(3000, dtype)
    X[2001, 3] = X[2100, 0] = np.nan
    X, bad = look(X), r"X\[2001, 3\] is nan"
    net = make_network()
    for more in (dict(), dict(shuffle=False, threads=2), dict(batch_size=None)):
        trainer = Trainer(net, loss, **more)
        with pytest.raises(FloatingPointError, match=bad if more else r"X\[(2001, 3|2100, 0)\] is nan"):
            trainer.fit(X, y)  # shuffled: either of the two may come first
        for call in (trainer.step, trainer.evaluate):
            with pytest.raises(FloatingPointError, match=bad):
                call(X, y)
        with pytest.raises(FloatingPointError, match=bad):
            trainer.evaluate(X, y, metrics=lambda y, yhat: 1 / 0)  # the metric must not raise first


@pytest.mark.parametrize("settings", [{}, {"validation_split": 0.1}], ids=str)
def test_a_number_far_down_is_found(settings):
    """Beyond what the search looks at first."""
    X, y = example_data(40_000)
    X[30_001, 2] = np.nan
    with pytest.raises(FloatingPointError, match=r"minibatch 0: X\[30001, 2\] is nan"):
        Trainer(make_network(), seed=1, batch_size=None).fit(X, y, **settings)


def test_the_row_is_the_callers_with_a_validation_split():
    (X, y), kept = example_data(60), set()
    for row in range(60):
        broken = X.copy()
        broken[row, 1] = np.nan
        with pytest.raises(FloatingPointError, match=rf" X\[{row}, 1\] is nan") as caught:
            Trainer(make_network(), seed=3, batch_size=7).fit(broken, y, validation_split=0.3)
        if "validation" not in str(caught.value):
            kept.add(row)
    assert len(kept) == 42  # for the other rows the error was raised by the validation


def test_a_row_without_weight_is_not_the_one_that_is_named():
    X, y = example_data(60)
    weight = np.ones(60)
    weight[[5, 40]] = 0
    X[5, 0] = X[33, 2] = np.nan
    with pytest.raises(FloatingPointError, match=r"X\[33, 2\] is nan"):
        Trainer(make_network(), batch_size=7).fit(X, y, sample_weight=weight)


def test_the_row_that_is_named_is_one_of_the_minibatch():
    X, y = example_data(60)
    order = np.empty(60, np.int64)
    mlpfast._core.shuffle(order, 3, 0)
    bad = sorted(order[20:])[:3]  # the first of them in X is not the first in the order
    first = next(row for row in order if row in bad)
    X[bad, 1] = np.nan
    with pytest.raises(FloatingPointError, match=rf"minibatch {list(order).index(first)}: X\[{first}, 1\] is nan"):
        Trainer(make_network(), seed=3, batch_size=1).fit(X, y)
    assert first != bad[0]


def test_a_loss_that_is_nan_because_the_weights_are_is_returned():
    net = make_network()
    net.layers[0].W[0, 0] = np.nan
    assert np.isnan(Trainer(net).evaluate(X, Y)["loss"])
    net.layers[0].W[0, 0] = 1
    broken = np.where(position(6, X.shape), np.nan, X)
    assert np.isnan(Trainer(net, check_finite=False).evaluate(broken, Y)["loss"])
    with pytest.raises(FloatingPointError, match=r"^the loss is nan, as X\[1, 2\] is nan; check_finite=False"):
        Trainer(net).evaluate(broken, Y)


def test_without_check_finite_training_goes_on():
    X, y = example_data(30)
    X[17, 2] = np.nan
    net = make_network()
    trainer = Trainer(net, batch_size=5, shuffle=False, check_finite=False)
    history = trainer.fit(X, y, epochs=2, validation_data=(X, y))
    assert len(history["loss"]) == 2 and np.isnan(history["loss"]).all()
    assert np.isnan(trainer.step(X, y))
    assert np.isnan(net.layers[0].W).any()
    net = make_network()
    Trainer(net, batch_size=5, check_finite=False).fit(X[:15], y[:15])
    assert all(np.isfinite(p).all() for p in net.parameters)


def test_a_validation_loss_that_is_not_finite_stops_training():
    X, y = example_data()
    broken = X.copy()
    broken[0, 0] = np.nan
    net = make_network()
    with pytest.raises(FloatingPointError, match="(?s)epoch 0.*validation.*nan"):
        Trainer(net).fit(X, y, epochs=3, validation_data=(broken, y))
    assert all(np.isfinite(p).all() for p in net.parameters)


NOT_FINITE_MANY_TIMES = """
import sys
import numpy as np
from mlpfast import Network, Trainer

net = Network([8, 16, 3], output="softmax", seed=0)
X, y = np.zeros((80, 8), np.float32), np.zeros(80, int)
X[40:] = np.nan
for _ in range(300):
    try:
        Trainer(net, batch_size=4, shuffle=False, threads=int(sys.argv[1])).fit(X, y)
        sys.exit("trained on NaN")
    except FloatingPointError:
        pass
assert all(np.isfinite(p).all() for p in net.parameters)
"""


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_all_threads_leave_an_epoch_that_stops(threads):
    """In a process of its own, since a thread that misses the stop makes the others wait forever."""
    run_python(NOT_FINITE_MANY_TIMES, threads, timeout=60)


# ---- inputs of any memory layout give the result of a contiguous copy


def in_every_layout(plain):
    """The same values (n, 4) in different memory layouts."""
    wide = np.zeros((2 * len(plain), 12), plain.dtype)
    wide[::2, 1:9:2] = plain
    unaligned = np.zeros(plain.nbytes + 1, np.uint8)[1:].view(plain.dtype).reshape(plain.shape)
    unaligned[...] = plain
    return {
        "plain": plain,
        "read-only": read_only(plain.copy()),
        "Fortran": np.asfortranarray(plain),
        "strided": wide[::2, 1:9:2],
        "reversed": plain[::-1, ::-1].copy()[::-1, ::-1],
        "big-endian": plain.astype(plain.dtype.newbyteorder(">")),
        "unaligned": unaligned,
        "broadcast": np.broadcast_to(plain[:1], plain.shape),
    }


@pytest.mark.parametrize("layout", in_every_layout(np.zeros((2, 4), np.float32)))
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int8", "uint16", "int64", "bool"])
@pytest.mark.parametrize("network_dtype", ["float32", "float64"])
def test_any_layout_gives_what_a_plain_copy_gives(network_dtype, dtype, layout):
    whole = np.random.default_rng(0).integers(0, 100, size=(21, 4))
    X = in_every_layout(whole.astype(dtype))[layout]
    plain = np.array(X, dtype, order="C")
    if dtype != "uint8":
        plain = plain.astype(network_dtype)
    y = np.arange(21) % 3
    results = []
    for each in (plain, X):
        net = make_network(network_dtype)
        before = np.array(each)
        history = Trainer(net, batch_size=5, seed=0).fit(each, y, validation_data=(each, y))
        results.append((history, [*net.parameters, net.predict(each), *backprop.forward(net, each).a]))
        np.testing.assert_array_equal(each, before)
    assert results[0][0] == results[1][0]
    for got, wanted in zip(results[1][1], results[0][1], strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_lists_are_arrays(net):
    np.testing.assert_array_equal(net.predict(X.tolist()), net.predict(X))
    np.testing.assert_array_equal(net.predict([list(row) for row in X]), net.predict(X))
    np.testing.assert_array_equal(net.predict([[1, 2, 3, 4]]), net.predict(np.array([[1, 2, 3, 4]], np.float32)))


SHARED = make_network()


NUMBERS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
OTHERS = ["c8", "c16", "U3", "S2", "M8[s]", "m8[s]", "O"]


@settings(max_examples=300)
@given(st.data())
def test_predict_takes_or_refuses_any_array(data):
    dtype = np.dtype(data.draw(st.sampled_from(NUMBERS + OTHERS))).newbyteorder(data.draw(st.sampled_from("<>")))
    shapes = st.one_of(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
                       st.tuples(st.integers(0, 40), st.just(4)))
    shape = data.draw(shapes)
    raw = data.draw(st.binary(min_size=16, max_size=64))
    if dtype.kind == "O":
        X = np.full(shape, 1.0, object)
    else:
        size = int(np.prod(shape)) * dtype.itemsize
        X = np.frombuffer((raw * (size // len(raw) + 1))[:size], dtype).reshape(shape)
        if dtype.kind == "b":
            X = np.frombuffer(raw[:1] * X.size, np.uint8).reshape(shape) % 2 == 1
    if X.ndim and data.draw(st.booleans()):
        X = X[..., ::-1]
    if X.ndim != 2 or X.shape[1] != 4 or dtype.kind not in "biuf":
        refused(["X"], SHARED.predict, X)
        return
    with np.errstate(all="ignore"):
        plain = np.array(X, np.uint8 if X.dtype == np.uint8 else np.float32, order="C")
    np.testing.assert_array_equal(SHARED.predict(X), SHARED.predict(plain))


@settings(max_examples=100)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=5), st.integers(0, 40), st.booleans())
def test_networks_of_any_shape_predict_what_the_reference_predicts(sizes, n, double):
    dtype = "float64" if double else "float32"
    net = Network(sizes, activation="tanh", output="sigmoid", dtype=dtype, seed=n)
    X = np.random.default_rng(n).normal(size=(n, sizes[0])).astype(dtype)
    wanted = reference.forward(reference.layers_of(net), X)[1][-1]
    assert net.predict(X).dtype == dtype and net.predict(X).shape == (n, sizes[-1])
    np.testing.assert_allclose(net.predict(X), wanted, rtol=0, atol=1e-5 if dtype == "float32" else 1e-13)


# ---- attributes that cannot be changed after construction


def test_a_layer_of_a_network_keeps_its_settings():
    net = Network([3, 4, 2], seed=0)
    for name, value in [("dropout", 0.1), ("activation", "tanh"), ("n_in", 9), ("bias", False)]:
        with pytest.raises(AttributeError, match=name):
            setattr(net.layers[0], name, value)


@pytest.mark.parametrize("name, value", [("dtype", "float64"), ("n_in", 9), ("n_out", 9), ("layers", [])])
def test_a_network_keeps_its_shape(name, value):
    with pytest.raises(AttributeError):
        setattr(Network([3, 4, 2]), name, value)


@pytest.mark.parametrize("name", ["network", "loss", "batch_size"])
def test_a_trainer_keeps_what_it_was_made_for(name):
    with pytest.raises(AttributeError):
        setattr(Trainer(Network([3, 4, 2])), name, None)


def test_a_rate_beyond_the_dtype_is_refused():
    net = Network([3, 4, 2], seed=0)
    with pytest.raises(ValueError, match="lr must be from .* got 1e\\+300"):
        Trainer(net, optimizer=SGD(lr=1e300)).fit(np.ones((4, 3)), [0, 1, 0, 1])


def test_a_trainer_says_that_it_cannot_be_pickled():
    with pytest.raises(TypeError, match="pickle its network"):
        pickle.dumps(Trainer(Network([3, 4, 2])))


@pytest.mark.parametrize("y, remedy", [
    (["cat", "dog", "cat"], "numpy.unique"),
    (np.array(["cat", "dog", "cat"], object), "numpy.unique"),
    (np.array([0, 1, 2], object), "astype"),
])
def test_what_holds_no_numbers_is_refused_with_a_remedy(y, remedy):
    X, _ = example_data(3)
    with pytest.raises(TypeError, match=f"y must hold real numbers.*{remedy}"):
        Trainer(make_network()).fit(X, y)


@pytest.mark.parametrize("bad, what", [
    ([["1", "?"], ["2", "3"]], "X[0, 1] is '?' among numbers: if it stands for a missing value"),
    (np.array([[1, 2], ["?", 3.0]], object), "X[1, 0] is '?' among numbers: if it stands for a missing value"),
    ([["1", "red"], ["2", "?"]], "X[0, 1] is 'red': give each value of the column a column of 0 and 1"),
    ([["1", "2"], ["2", "3"]], "astype"), ([[b"1", b"x"]] * 2, "X[0, 1] is b'x': give each value"),
    (np.array([[1.0, 2.0], [None, 3.0]]), "X[1, 0] is None, a missing value"),
    (np.array([[1.0, 2.0], [3.0, {}]]), "X[1, 1] is {}"),
], ids=range(7))
def test_what_in_x_is_no_number_is_named(bad, what):
    net = Network([2, 3], output="softmax", seed=0)
    trainer = Trainer(net)
    for call in (trainer.fit, trainer.step, trainer.evaluate, lambda X, y: net.predict(X)):
        refused(["X must hold real numbers", what], call, bad, [0, 1])
    refused(["validation_data X must hold", what], trainer.fit, np.ones((2, 2)), [0, 1], validation_data=(bad, [0, 1]))
    with pytest.raises(TypeError) as caught:
        trainer.fit(bad, [0, 1])
    assert "unique" not in str(caught.value)  # that message is about y


def test_generators_are_refused_with_what_is_supported(net):
    """Generators of minibatches, as other libraries accept them."""
    class Loader:
        def __iter__(self):
            yield X, Y

        def __len__(self):
            return 1

    trainer, parts = Trainer(net), ["whole arrays", "one minibatch", "Trainer.step"]
    for minibatches in ((pair for pair in [(X, Y)]), Loader(), zip([X], [Y], strict=True), map(abs, X)):
        got = ["X must be an array", type(minibatches).__name__, *parts]
        refused(got, trainer.fit, minibatches)
        refused(got, trainer.fit, minibatches, None)
        refused(got, trainer.fit, minibatches, Y)
        refused(got, trainer.evaluate, minibatches, Y)
        refused(["y must be an array", *parts], trainer.fit, X, minibatches)
    refused(["y must be an array of numbers, got None", *parts], trainer.fit, X)


def test_what_is_no_sequence_of_minibatches_is_not_told_about_them(net):
    of_file = r": of a file, numpy.load\(path, mmap_mode='r'\) or a source such as .*"
    for bad, hint in (("digits.csv", of_file), ({"X": X}, "")):
        with pytest.raises(TypeError, match=f"X must be an array of numbers, got a {type(bad).__name__} object{hint}$"):
            net.predict(bad)


def test_y_of_another_form_comes_with_the_way_to_the_right_one(net):
    refused(["class numbers from 0 to 2", "got 3 at position 2: they count from 1, and y - 1 from 0"],
            Trainer(net).fit, X, Y + 1)
    refused(["(n,) with class numbers", "got (6, 1)", "numpy.ravel(y) is (n,)"], Trainer(net).fit, X, Y.reshape(-1, 1))
    two = make_network(output="identity", n_out=2)
    refused(["X has 6, y has 2", "numpy.column_stack(y) makes columns of its 2 rows"],
            Trainer(two, "huber").fit, X, [np.arange(6.0), np.arange(6.0)])


def test_what_a_message_shows_is_not_long(net):
    with pytest.raises(TypeError, match="stratify must be True or False, got array") as caught:
        Trainer(net).fit(X, Y, validation_split=0.5, stratify=np.arange(900))
    assert len(str(caught.value)) < 150 and "\n" not in str(caught.value)
    refused(["lr must be a number, got [array("], SGD, net.parameters)


def test_an_argument_in_the_place_of_another_is_named(net, tmp_path):
    refused(["loss must be a loss, got the optimizer 'adam': optimizer='adam'"], Trainer, net, "adam")
    refused(["loss must be a loss, got the optimizer SGD(lr=0.01"], Trainer, net, SGD())
    refused(["callbacks must hold objects, got the class EarlyStopping: call it"],
            Trainer(net).fit, X, Y, callbacks=mlpfast.callbacks.EarlyStopping)
    refused(["resume must be the path of a file", "got True"], Trainer(net).fit, X, Y, resume=True)
    refused(["metrics must be one of", "or a function of (y, yhat), got 'auc'"], Trainer(net).fit, X, Y, metrics="auc")
    refused(["output must be a name", "got None: 'identity' changes nothing"], Network, [2, 1], output=None)


@pytest.mark.parametrize("name, meant", [
    ("MSELoss", "'half_squared_error' or 'squared_error'"), ("log_loss", "'cross_entropy' or 'binary_cross_entropy'"),
    ("BCEWithLogitsLoss", "'binary_cross_entropy'"), ("L1Loss", "'absolute_error'"), ("SmoothL1Loss", "'huber'"),
])
def test_losses_by_their_names_elsewhere(net, name, meant):
    refused([f"got {name!r}: did you mean {meant}?"], Trainer, net, name)


def test_nan_in_the_validation_data_is_named():
    X, y = example_data()
    with pytest.raises(FloatingPointError, match=r"epoch 0: the validation loss is nan; .*_data X\[0, 0\] is nan"):
        Trainer(make_network()).fit(X, y, validation_data=(np.full_like(X, np.nan), y))


def test_the_default_loss_is_named_where_it_does_not_fit_numbers():
    named = "'cross_entropy' is the default loss of Trainer, for numbers: 'half_squared_error'"
    with pytest.raises(ValueError, match=named):
        Trainer(Network([1, 1]))
    with pytest.raises(ValueError, match=named):
        Trainer(Network([1, 2], output="tanh"))
    for y in ([0.5, 1.0], [[0.5, 1.0], [2.0, 3.0]], [[0.5, 1.0], [1.0, 1.0]]):
        with pytest.raises(ValueError, match=named):
            Trainer(Network([1, 2])).fit(np.ones((2, 1)), y)


def test_a_class_of_a_loss_or_an_activation_is_to_be_called():
    with pytest.raises(TypeError, match="got the class Huber: call it"):
        Trainer(Network([1, 1]), losses.Huber)
    with pytest.raises(TypeError, match="got the class Custom: call it"):
        Network([1, 1], output=activations.Custom)
