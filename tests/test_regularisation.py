"""Dropout, input noise, penalties of a layer, masks: their effect on a step, with the same bits for any threads and
instruction set.
"""

import pickle
import statistics

import numpy as np
import pytest
from reference import philox

from mlpfast import SGD, Adagrad, Adam, AdamW, Layer, Network, RMSprop, Trainer, activations, backprop

LOSS = "half_squared_error"
both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])


def words(seed, step, stream, rows, cols):
    """The words of csrc/kernels/random.inc.h for a matrix."""
    key = seed & 0xFFFFFFFF, seed >> 32
    return np.array([
        [philox((j // 64 * 16 + j % 16, i, step, stream), key)[j % 64 // 16] for j in range(cols)] for i in range(rows)
    ])


def kept(seed, step, layer, shape, p):
    """The factors by which dropout multiplies the outputs of that layer (-1: the input)."""
    drawn = words(seed, step, (4 << 24) + layer + 1, *shape)
    return np.where(drawn < int((1 - p) * 2**32), 1 / (1 - p), 0)


def test_philox_is_that_of_the_paper():
    """The known answers of the authors' library Random123."""
    assert philox((0, 0, 0, 0), (0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    full = 0xFFFFFFFF
    assert philox([full] * 4, [full] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def twin_step(net, X, y, seed, step, lr, input_keep=None):
    """One step of plain SGD on the half squared error, with dropout after the hidden layers, in NumPy."""
    x = X if input_keep is None else X * input_keep
    a, inputs, gs = x, [], []
    layers = net.layers
    for l, layer in enumerate(layers):
        inputs.append(a)
        z = a @ layer.W + layer.b
        g = np.tanh(z) if layer.activation == "tanh" else z
        keep = kept(seed, step, l, g.shape, layer.dropout) if layer.dropout else 1
        gs.append(((1 - g**2) if layer.activation == "tanh" else 1) * keep)
        a = g * keep
    delta = (a - y) * gs[-1]
    result = []
    for l in range(len(layers) - 1, -1, -1):
        layer = layers[l]
        dW = inputs[l].T @ delta / len(X) + layer.l2 * layer.W + layer.l1 * np.sign(layer.W)
        db = delta.sum(axis=0) / len(X)
        if l:
            below = delta @ layer.W.T * gs[l - 1]
        result.insert(0, (layer.W - lr * dW, layer.b - lr * db))
        delta = below
    return [p for pair in result for p in pair]


@pytest.mark.parametrize("hidden", ["tanh", "identity"])
def test_a_step_with_dropout_is_the_papers(hidden):
    rng = np.random.default_rng(0)
    layers = [Layer(9, 70, hidden, dropout=0.5), Layer(70, 33, hidden, dropout=0.2, l2=0.1, l1=0.01), Layer(33, 4)]
    net = Network(layers, dtype="float64", seed=1)
    X, y = rng.normal(size=(17, 9)), rng.normal(size=(17, 4))
    trainer = Trainer(net, LOSS, SGD(0.1), seed=12345678901234)
    for step in range(3):
        wanted = twin_step(net, X, y, 12345678901234, step, 0.1)
        trainer.step(X, y)
        for got, want in zip(net.parameters, wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


def test_dropout_of_the_input():
    rng = np.random.default_rng(1)
    net = Network([Layer(70, 5, "tanh"), Layer(5, 2)], dtype="float64", seed=1, input_dropout=0.3)
    X, y = rng.normal(size=(6, 70)), rng.normal(size=(6, 2))
    wanted = twin_step(net, X, y, 7, 0, 0.1, kept(7, 0, -1, X.shape, 0.3))
    Trainer(net, LOSS, SGD(0.1), seed=7).step(X, y)
    for got, want in zip(net.parameters, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def noise_of(dtype, rows=200, cols=130, deviation=1.0):
    """The noise: a linear network on zeros, whose gradient is the sum of its inputs."""
    net = Network([Layer(cols, 1, bias=False, init="zeros")], dtype=dtype, input_noise=deviation)
    out, trainer = np.empty((rows, cols)), Trainer(net, LOSS, SGD(1.0), seed=3)
    for i in range(rows):  # one row at a time: step i uses row 0 of draw i
        net.layers[0].W[...] = 0
        trainer.step(np.zeros((1, cols)), [[-1.0]])
        out[i] = -net.layers[0].W[:, 0]
    return out


@both_types
def test_noise_is_normal(dtype):
    noise = noise_of(dtype)
    inverse = np.vectorize(statistics.NormalDist().inv_cdf)
    drawn = np.array([words(3, i, 5 << 24, 1, 130)[0] for i in range(200)])
    beyond = ((drawn >> 1) + 0.5) / 2**32  # tail probability; the last bit chooses the side
    wanted = np.where(drawn & 1, 1, -1) * inverse(beyond)
    np.testing.assert_allclose(noise, wanted, rtol=3e-6 if dtype == "float32" else 3e-7, atol=2e-7)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    np.testing.assert_allclose(noise_of(dtype, 2, deviation=0.25), 0.25 * noise[:2], rtol=1e-6)


def test_noise_comes_before_dropout_of_the_input():
    net = Network([Layer(70, 1, bias=False, init="zeros")], dtype="float64", input_noise=1.0, input_dropout=0.3)
    Trainer(net, LOSS, SGD(1.0), seed=3).step(np.zeros((1, 70)), [[-1.0]])
    wanted = noise_of("float64", 1, 70)[0] * kept(3, 0, -1, (1, 70), 0.3)[0]
    np.testing.assert_allclose(-net.layers[0].W[:, 0], wanted, rtol=1e-12)
    assert 0 < np.count_nonzero(wanted) < 70


EVERY_HIDDEN = sorted(set(activations.NAMES) - {"sign"}) + [
    activations.PReLU(0.3, shared=True), activations.LeakyReLU(0.2), activations.Custom(np.sin, np.cos)
]


@pytest.mark.parametrize("hidden", EVERY_HIDDEN, ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_with_all_of_it_is_the_gradient_of_its_objective(hidden, threads):
    """Central differences over all parameters, with the same random numbers each time, since these depend on the steps
    before."""
    rng = np.random.default_rng(8)
    X, y, weights = rng.normal(size=(9, 5)), rng.normal(size=(9, 4)), rng.uniform(0.2, 3, size=9)
    mask = rng.random((7, 6)) < 0.7
    layers = [Layer(5, 7, hidden, dropout=0.4, l1=0.03, l2=0.05), Layer(7, 6, hidden, dropout=0.4, mask=mask),
              Layer(6, 4, "softmax")]
    net = Network(layers, dtype="float64", seed=0, input_dropout=0.2, input_noise=0.3)
    for layer in net.layers:
        layer.W, layer.b = 0.5 * layer.W, rng.normal(size=layer.n_out) * 0.3
    trainer = Trainer(net, LOSS, SGD(1.0), seed=11, threads=threads, l1=0.02, l2=0.1)
    start = [np.array(p) for p in net.parameters]

    def step():  # -> J before the step
        before = [np.array(p) for p in net.parameters]
        trainer.steps = 3
        J = trainer.step(X, y, sample_weight=weights)
        J += sum((0.1 + layer.l2) / 2 * (W**2).sum() + (0.02 + layer.l1) * np.abs(W).sum()
                 for layer, W in zip(net.layers, [p for p in before if p.ndim == 2], strict=True))
        return J, before

    def objective_at(p, i, value):
        p[i] = value
        J, before = step()
        for parameter, number in zip(net.parameters, before, strict=True):
            parameter[...] = number
        return J

    step()
    gradients = [p - q for p, q in zip(start, net.parameters, strict=True)]
    for p, q in zip(net.parameters, start, strict=True):
        p[...] = q
    for p, gradient in zip(net.parameters, gradients, strict=True):
        for i in np.ndindex(p.shape):
            w = p[i]
            if p.shape == mask.shape and not mask[i]:
                assert gradient[i] == 0
                continue
            numeric = (objective_at(p, i, w + 1e-6) - objective_at(p, i, w - 1e-6)) / 2e-6
            p[i] = w
            assert gradient[i] == pytest.approx(numeric, rel=1e-5, abs=1e-7)


def trained(dtype="float32", optimizer=None, threads=1, seed=5, **network):
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(90, 11)), rng.normal(size=(90, 3))
    layers = [Layer(11, 100, "relu", dropout=0.5), Layer(100, 9, "softmax", dropout=0.1),
              Layer(9, 66, "prelu", dropout=0.3), Layer(66, 3)]
    net = Network(layers, dtype=dtype, seed=1, **network)
    trainer = Trainer(net, LOSS, optimizer or Adam(0.01), batch_size=16, seed=seed, threads=threads)
    history = trainer.fit(X, y, epochs=2)
    return [history["loss"], *(np.array(p) for p in net.parameters)]


@both_types
def test_the_same_bits_on_any_number_of_threads(dtype):
    first = trained(dtype, input_dropout=0.1, input_noise=0.2)
    for threads in (2, 3, 7):
        for got, wanted in zip(trained(dtype, threads=threads, input_dropout=0.1, input_noise=0.2), first, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_another_seed_or_step_draws_other_numbers():
    assert trained(seed=5)[0] != trained(seed=6)[0]
    a = words(1, 0, 4 << 24, 1, 64)
    for other in (words(2, 0, 4 << 24, 1, 64), words(1, 1, 4 << 24, 1, 64), words(1, 0, 5 << 24, 1, 64)):
        assert (a != other).all()


def test_a_seed_that_is_changed_later_is_that_of_the_next_step():
    X, y = np.random.default_rng(3).normal(size=(5, 4)), np.ones((5, 2))
    results = []
    for seed, later in ((1, 2), (2, 2)):
        net = Network([Layer(4, 8, "tanh", dropout=0.5), Layer(8, 2)], seed=1)
        trainer = Trainer(net, LOSS, SGD(0.1), seed=seed)
        trainer.step(X, 0 * y)
        net.layers[0].W, net.layers[0].b, net.layers[1].W, net.layers[1].b = 0.1, 0.1, 0.2, 0.3
        trainer.seed = later
        trainer.step(X, y)
        results.append(np.array(net.layers[0].W))
    np.testing.assert_array_equal(*results)
    trainer.seed = -1
    with pytest.raises(ValueError, match="seed must be >= 0"):
        trainer.fit(X, y)


def test_a_probability_too_small_to_matter_drops_nothing():
    X, y = np.random.default_rng(3).normal(size=(5, 4)), np.ones((5, 2))
    results = []
    for p in (0.0, 1e-17):
        net = Network([Layer(4, 8, "tanh", dropout=p), Layer(8, 2)], seed=1, dtype="float64")
        Trainer(net, LOSS, SGD(0.1)).step(X, y)
        results.append(np.array(net.layers[0].W))
    np.testing.assert_array_equal(*results)


def test_predict_and_evaluate_know_nothing_of_dropout():
    X = np.random.default_rng(3).normal(size=(5, 4))
    with_it = Network([Layer(4, 8, "tanh", dropout=0.5), Layer(8, 2)], seed=1, input_dropout=0.5, input_noise=1.0)
    without = Network([Layer(4, 8, "tanh"), Layer(8, 2)], seed=1)
    np.testing.assert_array_equal(with_it.predict(X), without.predict(X))
    assert Trainer(with_it, LOSS).evaluate(X, X[:, :2]) == Trainer(without, LOSS).evaluate(X, X[:, :2])


# ---- Monte Carlo dropout


def sampled(net, X, seed, samples):
    """The samples in NumPy: (samples, n, n_out)."""
    result = []
    for k in range(samples):
        a = X * kept(seed, k, -1, X.shape, net.input_dropout) if net.input_dropout else X
        for l, layer in enumerate(net.layers):
            a = a @ layer.W + layer.b
            a = np.tanh(a) if layer.activation == "tanh" else a
            a = a * kept(seed, k, l, a.shape, layer.dropout) if layer.dropout else a
        result.append(a)
    return np.array(result)


@pytest.mark.parametrize("input_dropout", [0.0, 0.2])
def test_monte_carlo_dropout_is_mean_and_deviation_of_samples(input_dropout):
    layers = [Layer(9, 70, "tanh", dropout=0.5), Layer(70, 33, "tanh", dropout=0.2), Layer(33, 4)]
    net = Network(layers, dtype="float64", seed=1, input_dropout=input_dropout)
    X = np.random.default_rng(0).normal(size=(40, 9))
    wanted = sampled(net, X, 77, 6)
    mean, deviation = net.predict(X, dropout=True, samples=6, seed=77)
    np.testing.assert_allclose(mean, wanted.mean(axis=0), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(deviation, wanted.std(axis=0), rtol=1e-11, atol=1e-13)


def test_monte_carlo_dropout_has_the_same_bits_in_any_split_into_threads():
    net = Network([30, 64, 64, 3], dropout=0.5, seed=1, input_dropout=0.1)
    X = np.random.default_rng(1).random((700, 30), dtype=np.float32)
    first = net.predict(X, dropout=True, samples=3, seed=5, threads=1)
    for threads in (2, 3, 7):
        for got, wanted in zip(net.predict(X, dropout=True, samples=3, seed=5, threads=threads), first, strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert (net.predict(X, dropout=True, samples=3, seed=6)[0] != first[0]).any()


# ---- masks


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, 0.9), Adam(0.1), AdamW(0.1, weight_decay=0.5), RMSprop(0.1),
                                       Adagrad(0.1)], ids=str)
def test_masked_weights_stay_zero_under_every_optimizer(optimizer):
    rng = np.random.default_rng(4)
    mask = rng.random((6, 40)) < 0.3
    net = Network([Layer(6, 40, "tanh", mask=mask), Layer(40, 2)], dtype="float64", seed=0)
    X, y = rng.normal(size=(30, 6)), rng.normal(size=(30, 2))
    before = np.array(net.layers[0].W)
    assert not before[~mask].any() and before[mask].all()
    dW = backprop.gradients(net, X, y, LOSS, l2=0.1)[0][0]
    assert not dW[~mask].any() and dW[mask].all()
    assert backprop.check_gradients(net, X, y, LOSS) < 5e-6
    Trainer(net, LOSS, optimizer, batch_size=7, l1=0.01, l2=0.01).fit(X, y, epochs=3)
    after = net.layers[0].W
    assert not after[~mask].any() and (after != before)[mask].all()


@pytest.mark.parametrize("settings", [{}, {"clip_norm": 1.0}], ids=str)
def test_what_is_written_to_masked_weights_is_zero_after_a_step(settings):
    mask = np.random.default_rng(0).random((6, 40)) < 0.3
    net = Network([Layer(6, 40, "tanh", mask=mask), Layer(40, 2)], seed=0)
    net.layers[0].W[...] = 0.5
    Trainer(net, LOSS, **settings).step(np.ones((3, 6)), np.ones((3, 2)))
    assert not net.layers[0].W[~mask].any() and net.layers[0].W[mask].all()


def test_a_mask_may_be_sparse_and_a_written_W_is_masked():
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.random.default_rng(5).random((5, 7)) < 0.4
    layer = Layer(5, 7, mask=sparse.csr_matrix(dense))
    net = Network([layer], seed=0)
    np.testing.assert_array_equal(layer.mask, dense)
    layer.W = 1
    np.testing.assert_array_equal(layer.W, dense)
    assert repr(layer) == f"Layer(5, 7, 'identity', mask=<{dense.sum()} of 35>)"
    assert net.n_parameters == 42


@pytest.mark.parametrize("settings", [{"dropout": 0.3}, {"l1": 0.2, "l2": 0.1}, {"mask": np.eye(3, 4, dtype=bool)}],
                         ids=lambda settings: "-".join(settings))
def test_settings_of_a_layer_survive_a_pickle(settings):
    net = Network([Layer(3, 4, "relu", **settings), Layer(4, 2)], seed=0, input_noise=0.5, input_dropout=0.25)
    again = pickle.loads(pickle.dumps(net))
    for name, value in settings.items():
        np.testing.assert_array_equal(getattr(again.layers[0], name), value)
    assert (again.input_noise, again.input_dropout) == (0.5, 0.25)


def test_penalties_of_a_layer_add_to_the_trainers():
    rng = np.random.default_rng(6)
    X, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))

    def after(layer_l2, trainer_l2):
        net = Network([Layer(3, 2, l2=layer_l2, l1=layer_l2)], dtype="float64", seed=0)
        Trainer(net, LOSS, l2=trainer_l2, l1=trainer_l2).step(X, y)
        return np.array(net.layers[0].W)

    np.testing.assert_array_equal(after(0.25, 0.5), after(0.0, 0.75))
    assert (after(0.25, 0.5) != after(0.25, 0.0)).all()


@pytest.mark.parametrize("make, message", [
    (lambda: Layer(2, 2, dropout=1.0), "dropout must be < 1"),
    (lambda: Layer(2, 2, l2=-1), "l2 must be >= 0"),
    (lambda: Layer(2, 3, mask=np.ones((3, 2), bool)), "mask must be a boolean matrix of shape .2, 3., got bool of"),
    (lambda: Layer(2, 3, mask=np.ones((2, 3))), "mask must be a boolean matrix of shape .2, 3., got float64"),
    (lambda: Network([Layer(2, 3), Layer(3, 1, dropout=0.5)]), "dropout must be 0 for the last layer"),
    (lambda: Network([2, 3], input_noise=-1), "input_noise must be >= 0"),
    (lambda: Network([2, 3], input_dropout=1), "input_dropout must be < 1"),
    (lambda: Network([2, 3, 1], dropout="x"), "dropout must be a number"),
    (lambda: Network([2, 3], dropout=1.0), "dropout must be < 1"),
    (lambda: Network([2, 3]).predict(np.ones((1, 2)), seed=3), "samples and seed need dropout=True"),
    (lambda: Network([2, 3]).predict(np.ones((1, 2)), samples=3), "samples and seed need dropout=True"),
    (lambda: Trainer(Network([2, 3]), clip_norm=float("nan")), "clip_norm must be > 0"),
    (lambda: Trainer(Network([2, 3]), clip_value=-1), "clip_value must be > 0"),
    (lambda: Trainer(Network([2, 3]), max_norm=0), "max_norm must be > 0"),
    (lambda: Network([2, 3, 1]).predict(np.ones((1, 2)), dropout=True), "needs a layer with dropout"),
    (lambda: Network([2, 3, 1], dropout=0.5).predict(np.ones((1, 2)), dropout=1), "dropout must be True or False"),
    (lambda: Network([2, 3, 1], dropout=0.5).predict(np.ones((1, 2)), dropout=True, samples=0), "samples must be >= 1"),
])
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


