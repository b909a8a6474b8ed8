"""Minibatches of several chunks: each thread processes whole chunks of a small network, with the same bits."""

import numpy as np
import pytest
import reference
from test_same_bits import assert_same_bits

from mlpfast import SGD, Adam, Layer, Network, RMSprop, Trainer, backprop
from mlpfast.activations import Custom, PReLU

CHUNK = 1024  # the default of Trainer(chunk_rows=...)
DTYPES = ["float32", "float64"]


def problem(dtype="float32", n=7 * CHUNK + 300):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 9)).astype(dtype), rng.integers(4, size=n), rng.uniform(0.1, 2, size=n)


def mixed_layers():
    mask = np.random.default_rng(2).random((18, 12)) < 0.6
    return [Layer(9, 18, "relu", dropout=0.2), Layer(18, 12, "prelu", mask=mask, l2=1e-2), Layer(12, 7, "softmax"),
            Layer(7, 5, "gelu", trainable=False), Layer(5, 4, "softmax", bias=False)]


def mixed_network(dtype):
    return Network(mixed_layers(), dtype=dtype, seed=3, input_noise=0.1, input_dropout=0.1)


SETTINGS = {
    "momentum, penalties": dict(optimizer=SGD(lr=0.1, momentum=0.9, nesterov=True), l1=1e-3, l2=1e-2),
    "adam, limits": dict(optimizer=Adam(lr=0.01), clip_value=0.01, max_norm=1.0),
    "rmsprop": dict(optimizer=RMSprop(lr=0.01)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_chunks_by_any_threads_have_the_same_bits(settings, dtype):
    X, y, weight = problem(dtype)

    def trained(threads, **more):
        net = mixed_network(dtype)
        trainer = Trainer(net, batch_size=7 * CHUNK, seed=4, threads=threads, **SETTINGS[settings], **more)
        history = trainer.fit(X, y, epochs=2, sample_weight=weight)
        return net.parameters, history

    wanted, history = trained(1)
    for threads in (2, 3, 7):  # 7: fewer than two chunks per thread, so the threads share each phase
        parameters, other = trained(threads)
        assert_same_bits(parameters, wanted)
        assert other == history
    phases, other = trained(2, clip_norm=1e30)  # the norm is computed, but nothing is clipped
    assert_same_bits(phases, wanted)
    assert other == history


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", [dict(), dict(optimizer=Adam(lr=0.01)), dict(clip_norm=1.0)], ids=str)
def test_masked_weights_are_plus_zero_whatever_was_written_there(settings, dtype):
    """Multiplying by the mask could give -0 or +0, depending on how the sum was formed."""
    X, _, _ = problem(dtype, 4 * CHUNK)
    mask = np.random.default_rng(0).random((9, 6)) < 0.5
    found = []
    for threads in (1, 2, 3, 7):
        net = Network([Layer(9, 6, mask=mask)], dtype=dtype, seed=0)
        net.layers[0].W[...] = np.where(mask, 0.5, -0.0)
        trainer = Trainer(net, "squared_error", batch_size=None, seed=0, threads=threads, **settings)
        (dW, _), = backprop.gradients(net, X, X[:, :6], "squared_error")
        assert not np.signbit(dW[~mask]).any()
        trainer.step(X, X[:, :6])
        assert not np.signbit(net.layers[0].W[~mask]).any() and not net.layers[0].W[~mask].any()
        found.append([p.tobytes() for p in net.parameters])
    assert found == found[:1] * 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 5 * CHUNK - 3])
def test_a_step_of_chunks_is_the_step_from_gradients(n, dtype):
    X, y, weight = (part[:n] for part in problem(dtype))
    net = Network([9, 20, 3, 4], activation="tanh", output="softmax", dtype=dtype, seed=5)
    parameters = [p.copy() for p in net.parameters]
    rule = dict(lr=0.1, momentum=0.9)
    velocities = [np.zeros_like(p) for p in parameters]
    trainer = Trainer(net, optimizer=SGD(**rule), l2=0.1, threads=1)
    for _ in range(2):
        grads = backprop.gradients(net, X, y, "cross_entropy", l2=0.1, sample_weight=weight)
        for p, v, g in zip(parameters, velocities, reference.flat(grads), strict=True):
            reference.sgd(p, v, g, **rule)
        trainer.step(X, y, sample_weight=weight)
        assert_same_bits(net.parameters, parameters)


OWN = Custom(lambda z: np.where(z > 0, z, 0.1 * z), lambda z: np.where(z > 0, 1.0, 0.1))


@pytest.mark.parametrize("hidden", [PReLU(shared=True), OWN])
def test_what_takes_whole_minibatches_has_one_result_for_any_threads(hidden):
    X, y, _ = problem("float64")
    results = []
    for threads in (1, 2):
        net = Network([Layer(9, 6, hidden), Layer(6, 4, "softmax")], dtype="float64", seed=6)
        Trainer(net, batch_size=None, shuffle=False, threads=threads).fit(X, y, epochs=2)
        results.append(net.parameters)
    assert_same_bits(*results)
    grads = backprop.gradients(net, X, y, "cross_entropy")[0]
    parameters = [p for p in (net.layers[0].W, net.layers[0].b, net.layers[0].slopes) if p is not None]
    wanted = [p - g for p, g in zip(parameters, grads, strict=True)]
    Trainer(net, optimizer=SGD(lr=1.0), batch_size=None, shuffle=False, threads=2).fit(X, y)
    assert_same_bits(parameters, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_many_rows_are_those_of_the_reference(dtype):
    X, y, weight = problem(dtype)
    net = Network([9, 20, 3, 4], activation="tanh", output="softmax", dtype=dtype, seed=7)
    layers = reference.layers_of(net)
    wanted = reference.flat(reference.gradients(layers, X, np.eye(4)[y], "cross_entropy", sample_weight=weight))
    lr = 2.0**-3
    before = [p.astype(np.float64) for p in net.parameters]
    Trainer(net, optimizer=SGD(lr=lr), batch_size=None, shuffle=False).fit(X, y, sample_weight=weight)
    for old, new, g in zip(before, net.parameters, wanted, strict=True):
        np.testing.assert_allclose((old - new) / lr, g, atol=3e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("row", [0, 2 * CHUNK + 5, 7 * CHUNK + 299])
def test_a_bad_row_in_any_chunk_leaves_everything_as_it_was(row, threads):
    X, y, _ = problem()
    net = Network([9, 6, 4], output="softmax", seed=8)
    trainer = Trainer(net, optimizer=Adam(), batch_size=None, shuffle=False, threads=threads)
    trainer.fit(X, y)
    before, state = [p.copy() for p in net.parameters], trainer.state
    X[row, 3] = np.nan
    with pytest.raises(FloatingPointError, match=rf"minibatch 0: X\[{row}, 3\] is nan"):
        trainer.fit(X, y)
    assert_same_bits(net.parameters, before)
    assert trainer.steps == 1
    X[row, 3] = 0
    trainer.fit(X, y)
    twin = Trainer(Network([9, 6, 4], output="softmax", seed=8), optimizer=Adam(), batch_size=None, shuffle=False)
    for p, q in zip(twin.network.parameters, before, strict=True):
        p[...] = q
    twin.state = state
    twin.fit(X, y)
    assert_same_bits(net.parameters, twin.network.parameters)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_loss_that_is_not_finite_is_reported_alike_by_any_threads(threads):
    X, _, _ = problem()
    y = np.zeros((len(X), 1))
    y[3 * CHUNK] = 1e30
    net = Network([9, 6, 1], output="identity", seed=9)
    with pytest.raises(FloatingPointError, match="minibatch 0: the loss is inf"):
        Trainer(net, "squared_error", batch_size=None, shuffle=False, threads=threads).fit(X, y)


def test_rooms_of_different_shapes_follow_each_other():
    X, y, _ = problem()
    net, twin = (Network([9, 6, 4], output="softmax", seed=10) for _ in range(2))
    trainer, other = Trainer(net, threads=2), Trainer(twin, threads=1)
    for n in (5, 4 * CHUNK, CHUNK, 7 * CHUNK, 1, 2 * CHUNK + 1):
        trainer.step(X[:n], y[:n])
        other.step(X[:n], y[:n])
    assert_same_bits(net.parameters, twin.parameters)
