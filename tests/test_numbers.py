"""Extreme numbers: NaN affects only its row, logits of 1e30 give no NaN, and uninitialised memory is never read."""

import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpfast import Layer, Network, Trainer, _core, activations, backprop, losses, optimizers

ACTIVATIONS = activations.NAMES


# ---- NaN


@settings(max_examples=150)
@given(st.data())
def test_a_nan_reaches_its_own_row_alone(data):
    sizes = data.draw(st.lists(st.sampled_from([1, 2, 7, 16, 17, 33, 70]), min_size=2, max_size=4))
    n = data.draw(st.sampled_from([1, 2, 13, 64, 113, 300]))
    row, column = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, sizes[0] - 1))
    dtype, activation = data.draw(st.sampled_from(["float32", "float64"])), data.draw(st.sampled_from(ACTIVATIONS))
    threads = data.draw(st.sampled_from([None, 1, 2, 3, 7]))
    net = Network(sizes, activation=activation, output=activation, dtype=dtype, seed=0)
    X = np.random.default_rng(n).normal(size=(n, sizes[0])).astype(dtype)
    wanted = net.predict(X, threads=threads)
    X[row, column] = np.nan
    got = net.predict(X, threads=threads)
    assert np.isnan(got[row]).all()
    got[row] = wanted[row]
    assert got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("row", [0, 15, 16, 63, 200])
def test_a_nan_reaches_the_loss_and_residuals_of_its_own_row_alone(row, dtype):
    net = Network([9, 33, 5], output="softmax", dtype=dtype, seed=0)
    X, y = np.random.default_rng(0).normal(size=(201, 9)).astype(dtype), np.arange(201) % 5
    wanted = backprop.residuals(net, X, y, "cross_entropy")
    X[row, 3] = np.nan
    for got, was in zip(backprop.residuals(net, X, y, "cross_entropy"), wanted, strict=True):
        assert np.isnan(got[row]).all()
        got[row] = was[row]
        assert got.tobytes() == was.tobytes()
    others = np.arange(201) != row
    assert np.isnan(Trainer(net, check_finite=False).evaluate(X, y)["loss"])
    assert np.isfinite(Trainer(net).evaluate(X[others], y[others])["loss"])


# ---- large logits

HUGE = {"float32": 3e38, "float64": 1.7e308}  # the difference of two of them overflows
LOSSES = [*_core.LOSSES, losses.CrossEntropy(label_smoothing=0.1), losses.BinaryCrossEntropy(label_smoothing=0.1)]
OUTPUTS = ["identity", "softmax", "sigmoid", "exp", "softplus", "tanh"]


def logits(size, dtype):
    """All combinations of -size, 0 and size on three outputs."""
    return np.array(np.meshgrid(*[[-size, 0, size]] * 3), dtype).reshape(3, -1).T


def network_of_logits(output, dtype):
    net = Network([Layer(3, 3, output, init="zeros")], dtype=dtype)
    net.layers[0].W = np.eye(3)
    return net


def truths(loss, n):
    """All forms of y for that loss: labels, one-hot or signs, and probabilities."""
    row = _core.LOSSES[getattr(loss, "name", loss)]
    if row.by_class:
        yield np.arange(n) % 3
    hot = np.eye(3)[np.arange(n) % 3]
    if row.y == _core.Y_SIGNS:
        yield 2 * hot - 1
    else:
        yield hot
        yield np.full((n, 3), 1 / 3)


def go_together(loss, output):
    try:
        return losses.checked(loss, network_of_logits(output, "float32")) is not None
    except ValueError:
        return False


PAIRS = [(loss, output) for loss in LOSSES for output in OUTPUTS if go_together(loss, output)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e30, "huge"])
@pytest.mark.parametrize("loss, output", PAIRS, ids=str)
def test_large_logits_give_no_nan(loss, output, size, dtype):
    net = network_of_logits(output, dtype)
    trainer = Trainer(net, loss)
    Z = logits(HUGE[dtype] if size == "huge" else size, dtype)
    for y in truths(loss, len(Z)):
        for i in range(len(Z)):
            value = trainer.evaluate(Z[i : i + 1], y[i : i + 1])["loss"]
            assert np.isfinite(value) or value == np.inf, (Z[i], y[i], value)
        for delta in backprop.residuals(net, Z, y, loss):
            assert not np.isnan(delta).any()
    assert not np.isnan(net.predict(Z)).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("by_label", [True, False])
def test_the_cross_entropy_of_large_logits_is_exact(by_label, dtype):
    net, Z = network_of_logits("identity", dtype), logits(1e30, dtype)
    trainer, labels = Trainer(net), np.arange(len(Z)) % 3
    of_label = Z[np.arange(len(Z)), labels].astype("float64")
    most = Z.max(axis=1).astype("float64")
    wanted = most - of_label + np.log((Z == Z.max(axis=1, keepdims=True)).sum(axis=1))
    for i in range(len(Z)):
        y = labels[i : i + 1] if by_label else np.eye(3)[labels[i : i + 1]]
        assert trainer.evaluate(Z[i : i + 1], y)["loss"] == pytest.approx(wanted[i], rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e30, "huge"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_and_derivatives_of_large_numbers_are_no_nan(activation, size, dtype):
    Z = logits(HUGE[dtype] if size == "huge" else size, dtype)
    net = Network([Layer(3, 3, activation, init="zeros"), Layer(3, 1)], dtype=dtype, seed=0)
    net.layers[0].W = np.eye(3)
    tape = backprop.forward(net, Z)
    assert not np.isnan(tape.a[0]).any()
    if activation != "exp":  # exp overflows to infinity, and so do the residuals
        assert not np.isnan(backprop.residuals(net, Z, np.zeros(len(Z)), "absolute_error")[0]).any()


# ---- subnormal numbers


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the core knows no mode without them here")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 3])
def test_subnormal_numbers_are_zero(dtype, threads):
    """In X and in W, as results, and in backprop; the smallest normal number is kept."""
    tiny, smallest = np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal
    sizes = np.array([smallest, tiny / 2, tiny, 3 * tiny], dtype)
    X = np.tile(np.concatenate([sizes, -sizes])[:, None], (40, 1))
    normal = np.where(np.abs(X) >= tiny, X, 0)
    large = np.dtype(dtype).type(2.0**40)
    net = Network([Layer(1, 1, bias=False)], dtype=dtype)
    net.layers[0].W = large
    np.testing.assert_array_equal(net.predict(X, threads=threads), normal * large)
    np.testing.assert_array_equal(backprop.forward(net, X).a[0], normal * large)
    for w in X[:8, 0]:
        net.layers[0].W = w
        wanted = large * (w if abs(w) >= tiny else 0)
        np.testing.assert_array_equal(net.predict(np.full((90, 1), large), threads=threads), np.full((90, 1), wanted))
    net.layers[0].W = 0.5
    half = np.where(np.abs(X) > tiny, X / 2, 0)
    np.testing.assert_array_equal(net.predict(X, threads=threads), half)
    np.testing.assert_array_equal(backprop.forward(net, X).a[0], half)


@pytest.mark.parametrize("call", ["activation", "loss", "callback", "metric"])
def test_functions_of_the_callers_have_subnormal_numbers(call):
    seen = []

    def looks(result):
        seen.append((np.array([1e-300]) * 1e-10).item())
        return result

    layer = Layer(2, 2, activations.Custom(lambda z: looks(z), lambda z: looks(np.ones_like(z))))
    own = losses.Custom(lambda y, yhat: looks(yhat[:, 0]), lambda y, yhat: looks(np.ones_like(yhat)))
    net = Network([layer, Layer(2, 1)] if call == "activation" else [2, 1], seed=0)
    trainer = Trainer(net, own if call == "loss" else "squared_error", seed=0)
    settings = {
        "callback": {"callbacks": [lambda *_: looks(None)]}, "metric": {"metrics": [lambda y, yhat: looks(0.0)]}
    }.get(call, {})
    trainer.fit(np.ones((5, 2)), np.ones(5), **settings)
    assert seen and set(seen) == {1e-310}


# ---- padding


def behind(array):
    """The padding between the rows of a parameter or state."""
    if array.ndim == 1 or array.strides[0] == array.shape[1] * array.itemsize:
        return np.empty(0, array.dtype)
    gap = array.strides[0] // array.itemsize - array.shape[1]
    wide = (array.shape[0], array.shape[1] + gap)
    return np.lib.stride_tricks.as_strided(array, wide, array.strides)[:, array.shape[1] :]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", sorted({*optimizers.BY_NAME} - {"lbfgs", "natural_gradient"}))
@pytest.mark.parametrize("limits", [
    {}, dict(clip_norm=0.01), dict(max_norm=0.5), dict(clip_value=1e-3, l1=1e-3, l2=1e-2),
], ids=str)
def test_what_stands_between_the_rows_never_shows(limits, optimizer, dtype):
    """NaN in the padding of W, mask and states gives the same bits as zeros."""
    results = []
    for filling in (0, np.nan):
        rng = np.random.default_rng(0)
        mask = rng.random((9, 33)) < 0.7
        net = Network([Layer(9, 33, "prelu", mask=mask), Layer(33, 17, "tanh"), Layer(17, 5, "softmax")], dtype=dtype,
                      seed=0)
        size = None if optimizer == "rprop" else 16
        trainer = Trainer(net, optimizer=optimizer, batch_size=size, seed=0, threads=3, **limits)
        states = [array for arrays in trainer._core.views_of_state() for array in arrays]
        masks = [net._core.mask(l) for l in range(3) if net._core.mask(l) is not None]
        padded = [array for array in (*net.parameters, *states, *masks) if behind(array).size]
        assert len(padded) >= 3
        for array in padded:
            behind(array)[...] = filling
        X, y = rng.normal(size=(50, 9)).astype(dtype), np.arange(50) % 5
        history = trainer.fit(X, y, epochs=2, validation_data=(X, y))
        found = [*net.parameters, net.predict(X), *backprop.residuals(net, X, y, "cross_entropy")]
        found += [a for grads in backprop.gradients(net, X, y, "cross_entropy", l1=0.1, l2=0.1) for a in grads]
        results.append(([np.ascontiguousarray(a).tobytes() for a in found], dict(history)))
        assert np.isfinite(history["loss"]).all()
        if filling != 0:
            assert all(np.isnan(behind(array)).all() for array in padded)  # padding is not written either
    assert results[0] == results[1]
