"""Sample weights: for a minibatch, for an epoch, rows of weight 0, and class weights."""

import numpy as np
import pytest
import reference

from mlpfast import SGD, Adam, NaturalGradient, Network, Trainer, backprop, schedules

CE = "cross_entropy"


def problem(n=60, dtype="float64", seed=0):
    """X, class numbers, and weights of which every fifth is 0."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(dtype)
    weight = rng.uniform(0.1, 4, size=n)
    weight[::5] = 0
    return X, rng.integers(3, size=n), weight


def network(dtype="float64", **settings):
    return Network([5, 7, 3], activation="tanh", output="softmax", dtype=dtype, seed=1, **settings)


def mean_of(weight, dtype="float64"):
    """S / N: the sum in row order, in float64, of the weights in the dtype of the network."""
    weight = np.asarray(weight, dtype)
    return float(np.cumsum(weight, dtype=np.float64)[-1]) / np.count_nonzero(weight)


def assert_same(net, other):
    for p, q in zip(net.parameters, other.parameters, strict=True):
        np.testing.assert_array_equal(p, q)


# ---- a weight means the same in every minibatch


@pytest.mark.parametrize("batch_size", [None, 256, 64, 32])
def test_balanced_classes_are_even_in_minibatches_of_any_size(batch_size):
    """A constant input and one positive row in 200: the balanced loss is minimal at p = 1/2."""
    X, y = np.zeros((20_000, 1)), (np.arange(20_000) % 200 == 7).astype(int)
    net = Network([1, 1], output="sigmoid", dtype="float64", seed=0)
    rate = 2.0 if batch_size is None else schedules.InverseTime(0.02, 0.3)
    trainer = Trainer(net, "binary_cross_entropy", SGD(rate), batch_size=batch_size, seed=0)
    trainer.fit(X, y, epochs=30, class_weight="balanced")
    assert net.predict(X[:1])[0, 0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("size", [7, 16, 48])
def test_the_mean_gradient_of_an_epoch_is_that_of_the_weighted_loss(size):
    X, y, weight = problem()
    X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
    net = network()
    wanted = backprop.gradients(net, X, y, CE, sample_weight=weight)
    sums = [[np.zeros_like(g) for g in pair] for pair in wanted]
    for first in range(0, len(X), size):
        part = slice(first, first + size)
        rows = len(X[part])
        each = backprop.gradients(net, X[part], y[part], CE, sample_weight=weight[part], mean_weight=mean_of(weight))
        for total, pair in zip(sums, each, strict=True):
            for t, g in zip(total, pair, strict=True):
                t += rows / len(X) * g
    for total, pair in zip(sums, wanted, strict=True):
        for t, g in zip(total, pair, strict=True):
            np.testing.assert_allclose(t, g, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", [
    dict(optimizer=SGD(0.1, 0.9)), dict(optimizer=Adam(0.01), l2=0.01), dict(optimizer=SGD(0.1), clip_norm=0.1),
    dict(optimizer=SGD(0.1), threads=3),
], ids=["momentum", "adam", "clipped", "threads"])
@pytest.mark.parametrize("n, size", [(60, 16), (9_000, 4_000)], ids=["small", "runs"])
def test_a_minibatch_of_fit_is_a_step_with_the_mean_weight(n, size, settings, dtype):
    X, y, weight = problem(n, dtype)
    net, stepped = network(dtype), network(dtype)
    Trainer(net, CE, batch_size=size, shuffle=False, **settings).fit(X, y, sample_weight=weight)
    trainer, kept = Trainer(stepped, CE, **settings), np.flatnonzero(weight)
    for first in range(0, len(kept), size):
        rows = kept[first : first + size]
        trainer.step(X[rows], y[rows], sample_weight=weight[rows], mean_weight=mean_of(weight, dtype))
    assert_same(net, stepped)


@pytest.mark.parametrize("mean_weight", [None, 0.7])
def test_gradients_are_those_of_a_step_and_the_references(mean_weight):
    X, y, weight = problem()
    net = network()
    layers = reference.layers_of(net)
    rule = dict(l2=0.1, sample_weight=weight, mean_weight=mean_weight)
    got = [g for pair in backprop.gradients(net, X, y, CE, **rule) for g in pair]
    wanted = reference.flat(reference.gradients(layers, X, reference.one_hot(y, 3), CE, **rule))
    before = [p.copy() for p in net.parameters]
    Trainer(net, CE, SGD(1.0), l2=0.1).step(X, y, sample_weight=weight, mean_weight=mean_weight)
    for g, w, p, b in zip(got, wanted, net.parameters, before, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-14)
        np.testing.assert_array_equal(p, b - g)


def test_mean_weight_counts_without_weights_too():
    X, y, _ = problem()
    net = network()
    plain, tenth = (backprop.gradients(net, X, y, CE, mean_weight=m) for m in (None, 10))
    for pair, other in zip(plain, tenth, strict=True):
        for g, h in zip(pair, other, strict=True):
            np.testing.assert_allclose(h, g / 10, rtol=1e-12)


def test_a_natural_gradients_step_divides_by_the_mean_weight():
    X, y, weight = problem()
    nets = [network(), network()]
    for net, factor in zip(nets, (1, 2), strict=True):  # doubling the weights and their mean gives the same step
        trainer = Trainer(net, CE, NaturalGradient(damping=1.0), batch_size=None)
        trainer.step(X, y, sample_weight=factor * weight, mean_weight=factor * 3.0)
    for p, q in zip(nets[0].parameters, nets[1].parameters, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-9, atol=1e-12)
    other = network()
    Trainer(other, CE, NaturalGradient(damping=1.0), batch_size=None).step(X, y, sample_weight=weight)
    assert not np.allclose(other.layers[0].W, nets[0].layers[0].W, rtol=1e-6)


# ---- rows of weight 0


@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_of_weight_zero_take_no_place(shuffle):
    X, y, weight = problem(50)
    net, without = network(), network()
    trainer, other = (Trainer(each, CE, SGD(0.1), batch_size=10, seed=3, shuffle=shuffle) for each in (net, without))
    got = trainer.fit(X, y, epochs=3, sample_weight=weight)
    wanted = other.fit(X[weight > 0], y[weight > 0], epochs=3, sample_weight=weight[weight > 0])
    assert trainer.steps == other.steps == 3 * 4
    assert got == wanted
    assert_same(net, without)


def test_a_minibatch_keeps_its_places_where_it_divides_by_its_own_weights():
    X, y, weight = problem(50)
    trainer = Trainer(network(), CE, batch_size=10, weighting="minibatch")
    trainer.fit(X, y, sample_weight=weight)
    assert trainer.steps == 5


def test_rates_of_steps_are_those_of_the_rows_with_weight():
    X, y, weight = problem(50)
    nets, asked = [network(), network()], []

    class Rate(schedules.Exponential):
        def at(self, t):
            asked.append(t)
            return super().at(t)

    for net, kept in zip(nets, (slice(None), weight > 0), strict=True):
        rate = Rate(0.5, 0.3, per="step")
        Trainer(net, CE, SGD(rate), batch_size=10, seed=3).fit(X[kept], y[kept], epochs=2, sample_weight=weight[kept])
        assert max(asked) == 7  # the 40 rows with weight make 8 steps; a schedule must see no more
    assert_same(*nets)


@pytest.mark.parametrize("mean_weight", [None, 2.0])
def test_a_step_without_weight_has_no_gradient_of_the_data(mean_weight):
    """Momentum and penalties still act."""
    X, y, _ = problem()
    net = network()
    trainer = Trainer(net, CE, SGD(0.1, 0.9), l2=0.5)
    trainer.step(X, y)
    velocities, before = trainer.state["velocity"], [p.copy() for p in net.parameters]
    assert trainer.step(X, y, sample_weight=np.zeros(len(X)), mean_weight=mean_weight) == 0.0
    for p, b, v in zip(net.parameters, before, velocities, strict=True):
        np.testing.assert_allclose(p, b - 0.1 * (0.9 * v + (0.5 * b if p.ndim == 2 else 0)), rtol=1e-12, atol=1e-15)
    loss, penalties = trainer.gradient(X, y, np.zeros(len(X)), mean_weight)
    assert loss == 0.0
    for g, p in zip(penalties, net.parameters, strict=True):
        np.testing.assert_array_equal(g, 0.5 * p if p.ndim == 2 else 0 * p)
    nothing = backprop.gradients(net, X, y, CE, sample_weight=np.zeros(len(X)), mean_weight=mean_weight)
    assert not any(g.any() for pair in nothing for g in pair)


@pytest.mark.parametrize("weights", [
    dict(sample_weight=np.zeros(60)), dict(class_weight=[0.0, 0.0, 0.0]),
    dict(sample_weight=np.zeros(60), class_weight="balanced"),
], ids=["samples", "classes", "both"])
@pytest.mark.parametrize("batch_size", [None, 8])
def test_no_weight_at_all_is_refused_by_fit(weights, batch_size):
    X, y, _ = problem()
    net = network()
    before = [p.copy() for p in net.parameters]
    with pytest.raises(ValueError, match="must not be zero for every example"):
        Trainer(net, CE, batch_size=batch_size).fit(X, y, **weights)
    for p, b in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(p, b)


# ---- classes


def test_balanced_counts_rows_by_their_sample_weight():
    X, y, weight = problem()
    each = weight.sum() / (3 * np.bincount(y, weights=weight))
    nets = [network(), network()]
    Trainer(nets[0], CE, seed=0).fit(X, y, sample_weight=weight, class_weight="balanced")
    Trainer(nets[1], CE, seed=0).fit(X, y, sample_weight=weight * each[y])
    assert_same(*nets)


def test_balanced_is_scikit_learns():
    utils = pytest.importorskip("sklearn.utils.class_weight")
    X, y, weight = problem()
    y, weight = np.where(y == 1, 0, y), np.where(y == 1, 0, weight)  # no row of class 1, some of class 0 have weight 0
    try:
        wanted = utils.compute_class_weight("balanced", classes=np.array([0, 2]), y=y, sample_weight=weight)
    except TypeError:
        pytest.skip("this scikit-learn counts rows without their weights")
    from mlpfast._weights import class_weights

    got = class_weights("balanced", y, 3, sample_weight=weight)
    np.testing.assert_allclose(got[[0, 2]], wanted, rtol=1e-12)


# ---- refused weights


@pytest.mark.parametrize("bad, error", [
    (0, ValueError), (-1.0, ValueError), (np.nan, ValueError), (np.inf, ValueError), (1e40, ValueError),
    ("1", TypeError), (True, TypeError), ([1.0], TypeError),
], ids=str)
def test_a_mean_weight_that_is_none(bad, error):
    X, y, weight = problem()
    net = network()
    before = [p.copy() for p in net.parameters]
    with pytest.raises(error, match="mean_weight must be"):
        Trainer(net, CE).step(X, y, sample_weight=weight, mean_weight=bad)
    with pytest.raises(error, match="mean_weight must be"):
        backprop.gradients(net, X, y, CE, mean_weight=bad)
    for p, b in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(p, b)


def test_a_weighting_that_is_none():
    with pytest.raises(ValueError, match="weighting must be one of data, minibatch, got 'rows'"):
        Trainer(network(), CE, weighting="rows")
    X, y, weight = problem()
    trainer = Trainer(network(), CE)
    trainer.weighting = "rows"
    with pytest.raises(ValueError, match="weighting must be one of"):
        trainer.fit(X, y, sample_weight=weight)
