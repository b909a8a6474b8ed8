"""Backpropagation against central differences, the NumPy reference, a lecture's example and PyTorch."""

import functools
import itertools

import numpy as np
import pytest
import reference

from mlpfast import Layer, Network, Trainer, _kernels, activations, backprop, diagnostics, losses, set_num_threads

ACTIVATIONS = ["identity", "relu", "sigmoid", "tanh", "softmax"]
PAIRS = [  # every loss with every output activation that fits it
    *itertools.product(["cross_entropy"], ["softmax", "identity"]),
    *itertools.product(["binary_cross_entropy"], ["sigmoid", "identity"]),
    *itertools.product(["half_squared_error", "squared_error"], ACTIVATIONS),
]
SIZES = [3, 5, 4, 6, 3]
B = 4


def combinations():
    for loss, output in PAIRS:
        yield pytest.param("relu", output, loss, 1, id=f"{output}-{loss}-1")
        for hidden, depth in itertools.product(ACTIVATIONS, (2, 3, 4)):
            yield pytest.param(hidden, output, loss, depth, id=f"{hidden}-{output}-{loss}-{depth}")


every_combination = pytest.mark.parametrize("hidden, output, loss, depth", list(combinations()))


def targets(loss, rng):
    if loss == "cross_entropy":
        return reference.softmax(rng.normal(size=(B, SIZES[-1])))
    return rng.uniform(0.1, 0.9, size=(B, SIZES[-1]))


def far_from_kinks(net, X):
    z = [z for z, layer in zip(backprop.forward(net, X).z, net.layers, strict=True) if layer.activation == "relu"]
    return all(np.abs(each).min() > 1e-3 for each in z)


@functools.cache
def example(hidden, output, loss, depth):
    """A float64 network and data: no relu near its kink, and a nonzero gradient in every parameter array."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        net = Network(SIZES[-1 - depth :], activation=hidden, output=output, dtype="float64", seed=seed)
        for layer in net.layers:
            layer.W[...] = rng.normal(size=layer.W.shape) * 0.8
            layer.b[...] = rng.normal(size=layer.b.shape) * 0.3
        X, y = rng.normal(size=(B, net.n_in)), targets(loss, rng)
        grads = reference.flat(reference.gradients(reference.layers_of(net), X, y, loss))
        if far_from_kinks(net, X) and all(np.abs(g).max() > 1e-6 for g in grads):
            return net, X, y
    raise AssertionError("no seed gives an example that differences can be trusted on")


def central_differences(layers, parameter, J, h=1e-5):
    numeric = np.empty_like(parameter)
    for index in np.ndindex(parameter.shape):
        w = parameter[index]
        parameter[index] = w + h
        above = J(layers)
        parameter[index] = w - h
        below = J(layers)
        parameter[index] = w
        numeric[index] = (above - below) / (2 * h)
    return numeric


def assert_same_gradients(got, wanted, tolerance):
    """Errors are relative to the largest number in the array, which must not be zero."""
    for g, w in zip(got, wanted, strict=True):
        assert g.shape == w.shape
        size = np.abs(w).max()
        assert size > 0
        np.testing.assert_allclose(g, w, rtol=0, atol=tolerance * size)


@every_combination
def test_gradients_are_central_differences(hidden, output, loss, depth):
    net, X, y = example(hidden, output, loss, depth)
    layers = reference.layers_of(net)

    def J(layers):
        return reference.objective(layers, X, y, loss)

    numeric = [central_differences(layers, p, J) for p in reference.flat(layers)]
    assert_same_gradients(reference.flat(backprop.gradients(net, X, y, loss)), numeric, 1e-4)


@every_combination
def test_gradients_of_the_inputs_are_central_differences(hidden, output, loss, depth):
    """Of the sum of the weighted losses: the gradient of a row depends on neither 1/B nor other rows."""
    net, X, y = example(hidden, output, loss, depth)
    X, weights = X.copy(), np.array([1.0, 2.5, 0.0, 0.7])

    def weighted_sum(X):
        return weights @ reference.losses(loss, reference.forward(reference.layers_of(net), X)[0][-1], y, output)

    settings = {"l1": 0.1, "l2": 0.2, "sample_weight": weights}
    grads, dX = backprop.gradients(net, X, y, loss, inputs=True, **settings)
    assert_same_gradients([dX], [central_differences(X, X, weighted_sum)], 1e-4)
    for got, wanted in zip(grads, backprop.gradients(net, X, y, loss, **settings), strict=True):
        assert [g.tobytes() for g in got] == [w.tobytes() for w in wanted]


@every_combination
def test_every_step_of_backpropagation_is_the_references(hidden, output, loss, depth):
    net, X, y = example(hidden, output, loss, depth)
    layers = reference.layers_of(net)
    tape, (z, a) = backprop.forward(net, X), reference.forward(layers, X)
    np.testing.assert_array_equal(tape.X, X)
    assert len(tape.z) == len(tape.a) == depth
    for got, wanted in zip([*tape.z, *tape.a], [*z, *a], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-14)
    deltas = backprop.residuals(net, X, y, loss)
    assert len(deltas) == depth
    assert_same_gradients(deltas, reference.residuals(layers, X, y, loss), 1e-12)
    for settings in ({}, {"l2": 0.3}, {"l1": 0.2}, {"l1": 0.1, "l2": 0.2, "sample_weight": [1.0, 2.5, 0.0, 0.7]}):
        got = backprop.gradients(net, X, y, loss, **settings)
        wanted = reference.gradients(layers, X, y, loss, **settings)
        assert_same_gradients(reference.flat(got), reference.flat(wanted), 1e-12)


@pytest.mark.parametrize("loss, output", PAIRS)
def test_float32_gradients_are_the_references_within_rounding(loss, output):
    rng = np.random.default_rng(1)
    net = Network([9, 17, 3], activation="tanh", output=output, seed=5)
    X, y = rng.normal(size=(50, 9)).astype(np.float32), rng.uniform(size=(50, 3)).astype(np.float32)
    if loss == "cross_entropy":
        y = reference.one_hot(rng.integers(3, size=50), 3)
    wanted = reference.gradients(reference.layers_of(net), X, y, loss)
    got = backprop.gradients(net, X, y, loss)
    assert all(g.dtype == np.float32 for g in reference.flat(got))
    assert_same_gradients(reference.flat(got), reference.flat(wanted), 1e-5)


def test_labels_are_one_hot_rows():
    net, X, _ = example("tanh", "softmax", "cross_entropy", 3)
    labels = np.array([2, 0, 1, 2])
    by_label = backprop.residuals(net, X, labels, "cross_entropy")
    by_row = backprop.residuals(net, X, reference.one_hot(labels, 3), "cross_entropy")
    for got, wanted in zip(by_label, by_row, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("loss, output", [("cross_entropy", "softmax"), ("cross_entropy", "identity"),
                                          ("binary_cross_entropy", "sigmoid"), ("binary_cross_entropy", "identity"),
                                          ("half_squared_error", "identity")])
def test_the_canonical_pairs_have_the_residual_yhat_minus_y(loss, output):
    net, X, y = example("tanh", output, loss, 2)
    yhat = backprop.forward(net, X).a[-1]
    if output == "identity" and loss != "half_squared_error":
        yhat = (reference.softmax if loss == "cross_entropy" else reference.sigmoid)(yhat)
    np.testing.assert_allclose(backprop.residuals(net, X, y, loss)[-1], yhat - y, rtol=0, atol=1e-14)


def test_a_layer_without_bias_has_no_bias_gradient():
    net = Network([Layer(3, 4, "tanh", bias=False), Layer(4, 2, "softmax")], dtype="float64", seed=0)
    X, y = np.random.default_rng(0).normal(size=(5, 3)), [0, 1, 1, 0, 1]
    (dW, db), (_, db_last) = backprop.gradients(net, X, y, "cross_entropy")
    assert db is None and db_last.shape == (2,)
    wanted = reference.gradients(reference.layers_of(net), X, reference.one_hot(y, 2), "cross_entropy")
    np.testing.assert_allclose(dW, wanted[0][0], rtol=1e-12)


def test_l1_has_the_derivative_zero_at_zero():
    net = Network([3, 17], dtype="float64", seed=0)
    net.layers[0].W[...] = 0
    net.layers[0].W[1, ::2] = [2.0, -2.0, -0.0] * 3
    X, y = np.zeros((2, 3)), np.zeros((2, 17))
    ((dW, _),) = backprop.gradients(net, X, y, "half_squared_error", l1=0.5)
    np.testing.assert_array_equal(dW, 0.5 * np.sign(net.layers[0].W))


def test_backprop_changes_no_parameter():
    net, X, y = example("relu", "softmax", "cross_entropy", 3)
    before = [p.copy() for p in net.parameters]
    backprop.gradients(net, X, y, "cross_entropy", l1=0.1, l2=0.1)
    backprop.check_gradients(net, X, y, "cross_entropy")
    for p, was in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(p, was)


# ---- d loss / dX


@pytest.fixture
def any_number_of_threads():
    yield set_num_threads
    set_num_threads(None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_of_a_row_of_inputs_has_the_same_bits_among_any_others(dtype, any_number_of_threads):
    net = Network([70, 1500, 9], activation="tanh", output="softmax", dtype=dtype, seed=0)
    rng = np.random.default_rng(0)
    X, y, weights = rng.normal(size=(97, 70)), rng.integers(9, size=97), rng.uniform(0.5, 2, size=97)

    def gradient(rows, **settings):
        got = backprop.gradients(net, X[rows], y[rows], "cross_entropy", inputs=True, sample_weight=weights[rows],
                                 **settings)[1]
        assert got.dtype == net.dtype and got.shape == X[rows].shape and got.any(axis=1).all()
        return got.tobytes()

    whole = gradient(slice(None))
    assert whole == b"".join(gradient(slice(i, i + 5)) for i in range(0, 97, 5))
    assert whole == gradient(slice(None), mean_weight=3.0, l1=0.1, l2=0.1)
    for threads in (1, 2, 3):
        any_number_of_threads(threads)
        assert gradient(slice(None)) == whole


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_of_uint8_inputs_is_that_of_the_numbers_given(dtype):
    net = Network([6, 5, 3], activation="tanh", output="softmax", dtype=dtype, seed=0, input_scale=1 / 255)
    images, y = np.random.default_rng(0).integers(256, size=(8, 6), dtype=np.uint8), np.arange(8) % 3
    scaled = (images.astype(dtype) / 255).astype(dtype)
    of_scaled = backprop.gradients(net, scaled, y, "cross_entropy", inputs=True)[1]  # input_scale applies to uint8 only
    with np.errstate(all="raise"):
        got = backprop.gradients(net, images, y, "cross_entropy", inputs=True)[1]
    assert got.dtype == net.dtype and np.abs(got).max() > 1e-5
    np.testing.assert_allclose(got, of_scaled / 255, rtol=1e-4, atol=1e-6 / 255)
    assert backprop.check_gradients(net, images, y, "cross_entropy", inputs=True) < 1e-5
    net.input_scale = float(np.finfo(dtype).tiny)
    with np.errstate(all="raise"):  # the product is subnormal
        assert np.abs(backprop.gradients(net, images, y, "cross_entropy", inputs=True)[1]).max() < net.input_scale


def test_gradients_know_nothing_of_dropout_and_noise():
    noisy = Network([Layer(4, 8, "tanh", dropout=0.5), Layer(8, 2)], seed=1, input_dropout=0.5, input_noise=1.0)
    plain = Network([Layer(4, 8, "tanh"), Layer(8, 2)], seed=1)
    X, y = np.random.default_rng(3).normal(size=(2, 5, 4))
    got, wanted = (backprop.gradients(n, X, y[:, :2], "squared_error", inputs=True) for n in (noisy, plain))
    for mine, other in zip([*reference.flat(got[0]), got[1]], [*reference.flat(wanted[0]), wanted[1]], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_the_gradient_of_the_inputs_through_masks_slopes_and_what_is_frozen():
    rng = np.random.default_rng(5)
    mask = rng.random((5, 12)) < 0.5
    mask[2] = False
    sine = activations.Custom(np.sin, np.cos)
    layers = [Layer(5, 12, activations.PReLU(-0.3), mask=mask, trainable=False), Layer(12, 7, sine, bias=False, l2=0.1),
              Layer(7, 6, activations.PReLU(0.1, shared=True)), Layer(6, 3, "softmax")]
    net = Network(layers, dtype="float64", seed=0)
    net.layers[0].b = rng.normal(size=12)  # so that units without inputs are not at the kink
    X, y = rng.normal(size=(6, 5)), rng.integers(3, size=6)
    assert backprop.check_gradients(net, X, y, "cross_entropy", inputs=True) < 1e-6
    dX = backprop.gradients(net, X, y, "cross_entropy", inputs=True)[1]
    assert (dX[:, 2] == 0).all() and dX[:, [0, 1, 3, 4]].any(axis=0).all()


def test_the_slope_of_an_output_is_that_of_a_loss_which_is_the_output():
    net = Network([3, 20, 2], activation="tanh", dtype="float64", seed=4)
    X = np.random.default_rng(6).normal(size=(10, 3))
    second = losses.Custom(lambda y, yhat: yhat[:, 1], lambda y, yhat: np.zeros_like(yhat) + [0, 1])
    got = backprop.gradients(net, X, np.zeros(10), second, inputs=True)[1]
    (W_1, b_1, _), (W_2, _, _) = reference.layers_of(net)
    np.testing.assert_allclose(got, ((1 - np.tanh(X @ W_1 + b_1) ** 2) * W_2[:, 1]) @ W_1.T, rtol=1e-12)


@pytest.mark.parametrize("function", [backprop.gradients, backprop.check_gradients])
def test_inputs_is_true_or_false(function):
    net, X, y = example("tanh", "softmax", "cross_entropy", 2)
    with pytest.raises(TypeError, match="inputs must be True or False, got 1"):
        function(net, X, y, "cross_entropy", inputs=1)


@pytest.mark.parametrize("function", [
    backprop.forward, backprop.residuals, backprop.gradients, backprop.check_gradients, diagnostics.gradient_flow,
])
def test_a_trainer_is_refused_with_what_is_needed(function):
    trainer, X, y = Trainer(Network([3, 2], output="softmax", seed=0)), np.zeros((4, 3)), np.zeros(4, int)
    arguments = [X] if function is backprop.forward else [X, y, "cross_entropy"]
    with pytest.raises(TypeError, match="net must be a Network, got Trainer: pass trainer.network"):
        function(trainer, *arguments)
    with pytest.raises(TypeError, match="net must be a Network, got int$"):
        function(3, *arguments)


# ---- check_gradients


@pytest.mark.parametrize("loss, output", PAIRS)
def test_check_gradients_finds_nothing(loss, output):
    net, X, y = example("tanh", output, loss, 3)
    assert 0 < backprop.check_gradients(net, X, y, loss) < 1e-6


def test_check_gradients_takes_a_float32_network():
    net = Network([4, 6, 3], activation="tanh", output="softmax", seed=1)
    X = np.random.default_rng(2).normal(size=(7, 4)).astype(np.float32)
    assert 0 < backprop.check_gradients(net, X, [0, 1, 2, 0, 1, 2, 0], "cross_entropy") < 1e-6


@pytest.mark.parametrize("layer, which", list(itertools.product(range(3), range(2))))
@pytest.mark.parametrize("wrong", [lambda g: g * 1.01, lambda g: -g, lambda g: g * 0, lambda g: g * np.nan],
                         ids=["1 % off", "sign", "zero", "NaN"])
def test_check_gradients_finds_a_wrong_gradient(monkeypatch, layer, which, wrong):
    net, X, y = example("tanh", "softmax", "cross_entropy", 3)
    right = backprop.gradients

    def with_a_mistake(*args, **kwargs):
        grads = right(*args, **kwargs)
        grads[layer][which].flat[-1] = wrong(grads[layer][which].flat[-1])
        return grads

    monkeypatch.setattr(backprop, "gradients", with_a_mistake)
    assert not backprop.check_gradients(net, X, y, "cross_entropy") < 1e-3


@pytest.mark.parametrize("wrong", [lambda g: g * 1.01, lambda g: g / B], ids=["1 % off", "1/B"])
def test_check_gradients_finds_a_wrong_gradient_of_the_inputs(monkeypatch, wrong):
    net, X, y = example("tanh", "softmax", "cross_entropy", 3)
    assert 0 < backprop.check_gradients(net, X, y, "cross_entropy", inputs=True) < 1e-6
    right = backprop._input_gradient
    monkeypatch.setattr(backprop, "_input_gradient", lambda *args: wrong(right(*args)))
    assert not backprop.check_gradients(net, X, y, "cross_entropy", inputs=True) < 1e-3


# ---- against published values and other programs


def test_the_example_of_the_slide():
    """x = [-1, -2], w = [2, -3], b = -3 through a sigmoid, d loss / d yhat = 1. The identity layer below has dx as
    its residual too."""
    net = Network([Layer(2, 2), Layer(2, 1, "sigmoid")], dtype="float64", bias_init="zeros")
    net.layers[0].W[...] = np.eye(2)
    net.layers[1].W[:, 0] = [2, -3]
    net.layers[1].b[...] = -3
    x = np.array([[-1.0, -2.0]])
    yhat = net.predict(x)
    y = yhat - 1  # the half squared error has d loss / d yhat = yhat - y = 1
    np.testing.assert_allclose(yhat, [[0.73]], atol=0.005)
    dx, delta = backprop.residuals(net, x, y, "half_squared_error")
    (_, (dW, db)), dX = backprop.gradients(net, x, y, "half_squared_error", inputs=True)
    np.testing.assert_allclose(delta, [[0.1966]], atol=5e-5)
    np.testing.assert_allclose(dx, [[0.3932, -0.5898]], atol=5e-5)
    np.testing.assert_allclose(dX, [[0.3932, -0.5898]], atol=5e-5)
    np.testing.assert_allclose(dW, [[-0.1966], [-0.3932]], atol=5e-5)
    np.testing.assert_allclose(db, [0.1966], atol=5e-5)


def torch_losses(torch):
    f = torch.nn.functional
    return {
        "cross_entropy": lambda z, yhat, y: f.cross_entropy(z, y, reduction="sum"),
        "binary_cross_entropy": lambda z, yhat, y: f.binary_cross_entropy_with_logits(z, y, reduction="sum"),
        "half_squared_error": lambda z, yhat, y: 0.5 * f.mse_loss(yhat, y, reduction="sum"),
        "squared_error": lambda z, yhat, y: f.mse_loss(yhat, y, reduction="sum"),
    }


@pytest.mark.parametrize("loss, output", PAIRS)
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_gradients_are_those_of_pytorch(hidden, output, loss):
    torch = pytest.importorskip("torch")
    net, X, y = example(hidden, output, loss, 3)
    functions = {"identity": lambda z: z, "relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
                 "softmax": lambda z: torch.softmax(z, dim=1)}
    parameters = [torch.tensor(np.array(p), requires_grad=True) for p in net.parameters]
    a = torch.tensor(X)
    for layer, W, b in zip(net.layers, parameters[::2], parameters[1::2], strict=True):
        z = a @ W + b
        a = functions[layer.activation](z)
    (torch_losses(torch)[loss](z, a, torch.tensor(y)) / B).backward()
    wanted = [p.grad.numpy() for p in parameters]
    assert_same_gradients(reference.flat(backprop.gradients(net, X, y, loss)), wanted, 1e-12)


# ---- The page of backprop.py, and the core


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [
    *sorted(reference.ACTIVATIONS), activations.PReLU(0.2), activations.PReLU(0.2, shared=True), activations.ELU(0.5),
    activations.Custom(np.sin, np.cos),
], ids=str)
def test_what_the_page_shows_is_what_the_core_does(hidden, dtype):
    """a_below^T delta and its sum over the rows, from backprop.residuals, are the core's gradients bit for bit."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 9)).astype(dtype), rng.integers(4, size=50)
    mask = rng.random((20, 13)) < 0.7
    for loss, output in [("cross_entropy", "softmax"), ("squared_error", "softmax"), ("hinge", "identity")]:
        layers = [Layer(9, 20, hidden, bias=False), Layer(20, 13, hidden, mask=mask, trainable=False)]
        net = Network([*layers, Layer(13, 4, output)], dtype=dtype, seed=1)
        tape, deltas = backprop.forward(net, X), backprop.residuals(net, X, y, loss)
        gradients = backprop.gradients(net, X, y, loss)
        for layer, a_below, delta, pair in zip(net.layers, [tape.X, *tape.a], deltas, gradients, strict=False):
            dW = _kernels.weight_gradient(layer.W, layer._mask_of_core(), a_below, delta, 1 / len(X), 0, 0)
            assert dW.tobytes() == pair[0].tobytes()
            assert (pair[1] is None) == (layer.b is None)
            assert pair[1] is None or pair[1].tobytes() == _kernels.scaled_sum(delta, 1 / len(X)).tobytes()
