"""LBFGS compared with SciPy on the NumPy reference and with scikit-learn; NaturalGradient with dense Fisher
matrices."""

import contextlib
import itertools
import os
import signal
import sys
import threading

import numpy as np
import pytest
import reference

from mlpfast import (
    LBFGS,
    SGD,
    Adam,
    Layer,
    NaturalGradient,
    Network,
    Trainer,
    _core,
    _sharing,
    activations,
    backprop,
    full_batch,
    losses,
    schedules,
)
from mlpfast._examples import examples as checked_examples

CE, BCE, HALF = "cross_entropy", "binary_cross_entropy", "half_squared_error"
PAIRS = [("softmax", CE), ("identity", CE), ("sigmoid", BCE), ("identity", BCE), ("identity", HALF)]
every_pair = pytest.mark.parametrize("output, loss", PAIRS)


def examples(loss, n=40, n_out=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    if loss == CE:
        return X, rng.integers(n_out, size=n)
    return X, rng.integers(2, size=(n, n_out)) if loss == BCE else rng.normal(size=(n, n_out))


def network(output="softmax", hidden="tanh", dtype="float64", n_out=3):
    """With special cases: a mask, a layer without a bias, a prelu, penalties of a layer."""
    mask = np.random.default_rng(1).random((5, 7)) < 0.7
    net = Network([Layer(5, 7, hidden, mask=mask, l2=0.02), Layer(7, 6, activations.PReLU(0.3), bias=False),
                   Layer(6, n_out, output)], dtype=dtype, seed=3)
    for p in net.parameters[1::2]:
        p[...] += np.linspace(-0.2, 0.2, p.size).reshape(p.shape)
    net.layers[0].W = np.array(net.layers[0].W)
    return net


def copies(net):
    return [np.array(p) for p in net.parameters]


def assert_same(net, parameters):
    for got, wanted in zip(net.parameters, parameters, strict=True):
        np.testing.assert_array_equal(got, wanted)


def lbfgs(net, loss=HALF, *args, l2=0.0, **kwargs):
    pytest.importorskip("scipy")
    return Trainer(net, loss, LBFGS(*args, **kwargs), batch_size=None, l2=l2)


def natural(net, loss, l2=0.0, threads=None, **kwargs):
    return Trainer(net, loss, NaturalGradient(**kwargs), batch_size=None, l2=l2, threads=threads)


# ---- Shared by both optimizers


@every_pair
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_objective_is_the_twins(output, loss, dtype):
    X, y = examples(loss, n=2500)  # three chunks
    weights = np.random.default_rng(2).random(2500)
    net = Network([5, 8, 3], activation="tanh", output=output, dtype=dtype, seed=1)
    trainer = Trainer(net, loss, LBFGS(), l2=0.1, batch_size=None)
    data = checked_examples(X, y, net, trainer.loss, sample_weight=weights)
    J, g = full_batch.Objective(trainer, data).value_and_gradient()
    layers, y = reference.layers_of(net), np.eye(3)[y] if loss == CE else y
    wanted = reference.flat(reference.gradients(layers, X, y, loss, l2=0.1, sample_weight=weights))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    assert J == pytest.approx(reference.objective(layers, X, y, loss, l2=0.1, sample_weight=weights), rel=tolerance)
    np.testing.assert_allclose(g, np.concatenate([w.ravel() for w in wanted]), rtol=0, atol=tolerance)


@every_pair
def test_the_gradient_of_every_kind_of_parameter(output, loss):
    (X, y), net = examples(loss), network(output)
    trainer = Trainer(net, loss, LBFGS(), l2=0.1, batch_size=None)
    _, g = full_batch.Objective(trainer, checked_examples(X, y, net, trainer.loss)).value_and_gradient()
    wanted = [d.ravel() for layer in backprop.gradients(net, X, y, loss, l2=0.1) for d in layer if d is not None]
    np.testing.assert_allclose(g, np.concatenate(wanted), rtol=1e-12, atol=1e-15)


# ---- L-BFGS


@pytest.mark.parametrize("loss, output", [(CE, "softmax"), (HALF, "tanh"), ("log_cosh", "identity")])
def test_lbfgs_goes_the_way_of_scipy_on_the_numpy_twin(loss, output):
    optimize = pytest.importorskip("scipy.optimize")
    X, y = examples(loss)
    net = Network([5, 8, 3], activation="tanh", output=output, dtype="float64", seed=1)
    layers, weights = reference.layers_of(net), np.random.default_rng(2).random(len(X))
    targets = np.eye(3)[y] if loss == CE else y
    rule = {"l2": 0.01, "sample_weight": weights}

    def objective(theta):
        at = 0
        for p in reference.flat(layers):
            p[...] = theta[at : at + p.size].reshape(p.shape)
            at += p.size
        gradients = reference.flat(reference.gradients(layers, X, targets, loss, **rule))
        return reference.objective(layers, X, targets, loss, **rule), np.concatenate([g.ravel() for g in gradients])

    losses = []

    def note(theta):
        objective(theta)
        losses.append(reference.objective(layers, X, targets, loss, sample_weight=weights))

    start = np.concatenate([p.ravel() for p in reference.flat(layers)])
    result = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", callback=note,
                               options={"maxiter": 20, "maxcor": 7, "maxls": 50, "ftol": 0, "gtol": 0})
    trainer = lbfgs(net, loss, history=7, tolerance=0, l2=0.01)
    ours = trainer.fit(X, y, epochs=20, sample_weight=weights)["loss"]
    np.testing.assert_allclose(ours, losses, rtol=1e-6)
    np.testing.assert_allclose(np.concatenate([p.ravel() for p in net.parameters]), result.x, rtol=0, atol=1e-5)
    assert trainer.optimizer.message is None
    assert trainer.state == {"epoch": 20, "steps": 20, "updates": [20, 20], "chunk_rows": 1024}


@pytest.mark.parametrize("kind, loss, output", [("MLPClassifier", CE, "softmax"), ("MLPRegressor", HALF, "identity")])
def test_lbfgs_reaches_the_loss_of_scikit_learn(kind, loss, output):
    sklearn = pytest.importorskip("sklearn.neural_network")
    rng = np.random.default_rng(5)
    X = rng.normal(size=(150, 4))
    y = rng.integers(3, size=150) if loss == CE else np.sin(X).sum(axis=1)
    theirs = getattr(sklearn, kind)(hidden_layer_sizes=(10,), activation="tanh", solver="lbfgs", alpha=5.0, max_iter=1,
                                    warm_start=True, tol=1e-4, random_state=0)
    with pytest.warns(match="lbfgs failed to converge"):
        theirs.fit(X, y)
    net = Network([4, 10, 3 if loss == CE else 1], activation="tanh", output=output, dtype="float64")
    for layer, W, b in zip(net.layers, theirs.coefs_, theirs.intercepts_, strict=True):
        layer.W, layer.b = W, b
    theirs.set_params(max_iter=400).fit(X, y)
    l2 = 5.0 / len(X)
    trainer = lbfgs(net, loss, tolerance=1e-4, l2=l2)
    trainer.fit(X, y, epochs=400)
    ours = trainer.evaluate(X, y)["loss"] + l2 / 2 * sum((layer.W**2).sum() for layer in net.layers)
    assert ours == pytest.approx(theirs.loss_, rel=1e-3)


def test_lbfgs_ends_at_the_minimum():
    X, y = examples(HALF)
    net = Network([5, 3], dtype="float64", seed=0)
    trainer = lbfgs(net, HALF, tolerance=1e-9)
    history = trainer.fit(X, y, epochs=1000)
    assert 2 < len(history["loss"]) < 100 and trainer.optimizer.message and trainer.epoch == len(history["loss"])
    wanted = np.linalg.lstsq(np.c_[X, np.ones(len(X))], y, rcond=None)[0]
    np.testing.assert_allclose(np.vstack([net.layers[0].W, net.layers[0].b]), wanted, atol=1e-7)
    before = copies(net)
    calls = []
    trainer.optimizer.tolerance = 1e-3
    again = trainer.fit(X, y, epochs=5, callbacks=[lambda *_: calls.append(1)])
    assert len(again["loss"]) == len(calls) == 1 and again["loss"] == history["loss"][-1:]
    assert_same(net, before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lbfgs_lowers_the_loss_of_both_types(dtype):
    (X, y), net = examples(CE), network(dtype=dtype)
    losses = lbfgs(net, CE).fit(X, y, epochs=60)["loss"]
    assert losses[-1] < 0.3 * losses[0]


class Events:
    def __init__(self, stop_at=None):
        self.seen, self.stop_at = [], stop_at

    def on_epoch_begin(self, trainer, epoch):
        self.seen.append(("begin", epoch))

    def on_epoch_end(self, trainer, epoch, logs):
        self.seen.append(("end", epoch))
        return epoch == self.stop_at

    def on_fit_end(self, trainer):
        self.seen.append("over")


def test_without_epochs_lbfgs_goes_to_its_end():
    X, y = examples(CE)
    assert lbfgs(network(), CE, max_iterations=7).fit(X, y).n_epochs == 7
    trainer = lbfgs(network(), CE, tolerance=1e-2, l2=0.1)
    assert 1 < trainer.fit(X, y).n_epochs < 500 and "CONVERGENCE" in trainer.optimizer.message


def test_lbfgs_goes_by_what_a_callback_changes():
    X, y = examples(CE)
    changed = lbfgs(network(), CE)

    def change(trainer, epoch, logs):
        trainer.l2 = 0.5

    changed.fit(X, y, epochs=1, callbacks=[change])
    again = lbfgs(changed.network, CE, l2=0.5)
    wanted = again.fit(X, y, epochs=3)
    history = lbfgs(network(), CE).fit(X, y, epochs=4, callbacks=[change])
    assert history["loss"][1:] == wanted["loss"]

    def swap(trainer, epoch, logs):
        trainer.optimizer = "adam"

    with pytest.raises(ValueError, match="optimizer must stay LBFGS"):
        lbfgs(network(), CE).fit(X, y, epochs=3, callbacks=[swap])
    with pytest.raises(ValueError, match="l1 must be 0 for LBFGS"):
        lbfgs(network(), CE).fit(X, y, epochs=3, callbacks=[lambda t, *_: setattr(t, "l1", 0.1)])


def test_a_callback_may_change_between_minibatches_and_all_rows():
    (X, y), parts = examples(CE), [Adam(0.01), NaturalGradient(), Adam(0.02)]
    one, other = (Trainer(network(), CE, parts[0], batch_size=None, seed=0) for _ in range(2))

    def change(trainer, epoch, logs):
        trainer.optimizer = parts[min(epoch + 1, 2)]

    history = one.fit(X, y, epochs=3, callbacks=change)
    for part, loss in zip(parts, history["loss"], strict=True):
        other.optimizer = part
        assert other.fit(X, y)["loss"] == [loss]
    assert_same(one.network, copies(other.network))
    with pytest.raises(ValueError, match="step needs an optimizer of minibatches, got LBFGS: use fit"):
        one.fit(X, y, epochs=2, callbacks=lambda trainer, *_: setattr(trainer, "optimizer", LBFGS()))


def test_the_objective_of_a_natural_gradient_epoch_is_that_before_its_step():
    (X, y), net = examples(CE), network()
    trainer = Trainer(net, CE, NaturalGradient(lr=0.5), batch_size=None, l2=0.3)
    for _ in range(2):
        loss = trainer.evaluate(X, y)["loss"]
        penalty = sum((0.3 + layer.l2) / 2 * np.square(layer.W, dtype=np.float64).sum() for layer in net.layers)
        history = trainer.fit(X, y)
        assert history["objective"][0] == pytest.approx(loss + penalty, rel=1e-6)
    trainer = Trainer(Network([net.n_in, net.n_out]), CE, NaturalGradient(), batch_size=None)
    assert "objective" not in trainer.fit(X, y)


def test_epochs_of_lbfgs_are_like_all_others():
    (X, y), net, events = examples(CE), network(), Events(stop_at=5)
    trainer, loss_after = lbfgs(net, CE), []
    callbacks = [events, lambda trainer, epoch, logs: loss_after.append(trainer.evaluate(X, y)["loss"])]
    validation = examples(CE, seed=1)
    history = trainer.fit(X, y, epochs=3, callbacks=callbacks, validation_data=validation)
    more = trainer.fit(X, y, epochs=10, callbacks=callbacks)
    rounds = [(name, epoch) for epoch in range(6) for name in ("begin", "end")]
    assert events.seen == [*rounds[:6], "over", *rounds[6:], "over"]
    assert history["loss"] + more["loss"] == loss_after and trainer.epoch == 6
    assert set(history) == {"loss", "accuracy", "objective", "val_loss", "val_accuracy"}
    assert len(history["val_loss"]) == 3 and trainer.steps == 6 and set(trainer.state["updates"]) == {6}
    trainer.optimizer.max_iterations = 2
    assert trainer.fit(X, y, epochs=10).n_epochs == 2


class Reset:
    """Sets the parameters at the end of epoch 2, or at the beginning of epoch 3."""

    def __init__(self, values, at_begin):
        self.values, self.at_begin = values, at_begin

    def on_epoch_begin(self, trainer, epoch):
        if self.at_begin and epoch == 3:
            self.reset(trainer.network)

    def on_epoch_end(self, trainer, epoch, logs):
        if not self.at_begin and epoch == 2:
            self.reset(trainer.network)

    def reset(self, net):
        for p, value in zip(net.parameters, self.values, strict=True):
            p[...] = value


@pytest.mark.parametrize("at_begin", [True, False])
def test_lbfgs_begins_anew_from_parameters_that_a_callback_has_set(at_begin):
    X, y = examples(CE)
    start, net, other = copies(network()), network(), network()
    reset = Reset(start, at_begin)
    history = lbfgs(net, CE).fit(X, y, epochs=7, callbacks=[reset])
    wanted = lbfgs(other, CE).fit(X, y, epochs=4)
    assert history["loss"][3:] == wanted["loss"]
    assert_same(net, copies(other))
    if not at_begin:
        other = network()
        lbfgs(other, CE).fit(X, y, epochs=3, callbacks=[reset])  # the end of fit does not undo the reset
        assert_same(other, start)


@pytest.mark.parametrize("make", [lbfgs, natural])
def test_frozen_layers_and_masked_weights_stay(make):
    X, y = examples(CE)
    mask = np.random.default_rng(1).random((7, 6)) < 0.5
    frozen = {"trainable": False}
    net = Network([Layer(5, 7, "tanh", **frozen), Layer(7, 6, "tanh", mask=mask), Layer(6, 6, "tanh", **frozen),
                   Layer(6, 3, "softmax")], dtype="float64", seed=3)
    before = copies(net)
    settings = {"damping": 0.1} if make is natural else {}
    losses = make(net, CE, **settings).fit(X, y, epochs=10)["loss"]
    assert losses[-1] < 0.97 * losses[0]
    same = [np.array_equal(p, q) for p, q in zip(net.parameters, before, strict=True)]
    assert same == [True, True, False, False, True, True, False, False]
    assert not net.layers[1].W[~mask].any() and (net.layers[1].W[mask] != before[2][mask]).all()


def test_a_line_search_that_fails_ends_the_fit(monkeypatch):
    optimize = pytest.importorskip("scipy.optimize")
    (X, y), net, whole = examples(CE), network(), []

    def minimize(fun, x, callback, **_):
        callback(x - 0.1 * fun(x)[1])
        fun(x + 1)
        return optimize.OptimizeResult(message="ABNORMAL")

    monkeypatch.setattr(optimize, "minimize", minimize)
    trainer = lbfgs(net, CE)
    history = trainer.fit(X, y, epochs=50, callbacks=[lambda *_: whole.append(copies(net))])
    assert history.n_epochs == len(whole) == 2 and trainer.optimizer.message == "ABNORMAL"
    assert history["loss"] == [trainer.evaluate(X, y)["loss"]] * 2
    assert_same(net, whole[0])


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_line_search_leaves_the_last_whole_iteration(error, monkeypatch):
    X, y = examples(CE)
    net, whole = network(), []
    at = full_batch._Search.at
    calls = []

    def interrupted(self, theta):
        result = at(self, theta)
        calls.append(1)
        if len(calls) == 6:
            raise error
        return result

    monkeypatch.setattr(full_batch._Search, "at", interrupted)
    with pytest.raises(error):
        lbfgs(net, CE).fit(X, y, epochs=50, callbacks=[lambda *_: whole.append(copies(net))])
    assert whole
    assert_same(net, whole[-1])
    calls.extend([1] * 10)
    lbfgs(net, CE).fit(X, y, epochs=2)  # training can continue


def test_lbfgs_without_scipy(monkeypatch):
    (X, y), net = examples(CE), network()
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r'pip install "mlpfast\[lbfgs\]"'):
        Trainer(net, CE, "lbfgs", batch_size=None).fit(X, y)


# ---- Natural gradient


def dense(net, X, loss, weights=None):
    """F from the Jacobian of z_L by central differences, and the trainable parameters' views."""
    parameters = [p for layer in net.layers if layer.trainable for p in layer.parameters]
    columns = []
    for p in parameters:
        for index in np.ndindex(p.shape):
            kept = p[index]
            ends = []
            for h in (1e-6, -1e-6):
                p[index] = kept + h
                ends.append(backprop.forward(net, X).z[-1])
            p[index] = kept
            columns.append((ends[0] - ends[1]) / 2e-6)
    J = np.stack(columns, axis=2)  # (B, n_L, number of parameters)
    for layer, start in zip(net.layers, _starts(net), strict=True):
        if layer.mask is not None and layer.trainable:
            J[:, :, start : start + layer.W.size][:, :, ~layer.mask.ravel()] = 0
    z = backprop.forward(net, X).z[-1]
    H = reference.softmax_jacobian(z)
    if loss != CE:
        h = reference.DERIVATIVES["sigmoid"](z) if loss == BCE else np.ones_like(z)
        H = h[:, :, None] * np.eye(z.shape[1])
    w = np.ones(len(X)) if weights is None else weights
    return np.einsum("b,bip,bij,bjq->pq", w / w.sum(), J, H, J, optimize=True)


def _starts(net):
    sizes = [layer.n_parameters if layer.trainable else 0 for layer in net.layers]
    return np.cumsum([0, *sizes[:-1]])


def direction(F):
    """A random v; 0 for masked weights, like all gradients."""
    return np.random.default_rng(4).normal(size=len(F)) * (F.diagonal() != 0)


def product(trainer, X, y, v, weights=None):
    """(F v, g) as computed by the module."""
    data = checked_examples(X, y, trainer.network, trainer.loss, sample_weight=weights)
    objective = full_batch.Objective(trainer, data)
    _, g = objective.value_and_gradient()
    return full_batch.Fisher(objective)(v), g


HIDDEN = [
    *sorted(set(reference.ACTIVATIONS) - {"exp"}), activations.PReLU(0.2, shared=True), activations.ELU(0.5),
    activations.Custom(np.sin, np.cos),
]


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_fisher_products_with_every_hidden_activation(hidden):
    (X, y), net = examples(CE, n=12), network(hidden=hidden)
    F = dense(net, X, CE)
    v = direction(F)
    np.testing.assert_allclose(product(natural(net, CE), X, y, v)[0], F @ v, rtol=0, atol=1e-7 * np.abs(F @ v).max())


@every_pair
def test_fisher_products_with_every_output(output, loss):
    X, y = examples(loss, n=12)
    weights = np.random.default_rng(6).random(12)
    layers = [Layer(5, 4, "tanh", trainable=False), Layer(4, 6, "softmax"), Layer(6, 5, "gelu", trainable=False),
              Layer(5, 3, output)]
    for net in (Network(layers, dtype="float64", seed=2), network(output)):
        F = dense(net, X, loss, weights)
        v = direction(F)
        trainer = natural(net, loss)
        trainer.chunk_rows = 5
        data = checked_examples(X, y, net, trainer.loss)
        assert [len(chunk) for chunk in full_batch.Objective(trainer, data).chunks] == [5, 5, 2]
        got = product(trainer, X, y, v, weights)[0]
        np.testing.assert_allclose(got, F @ v, rtol=0, atol=1e-7 * np.abs(F @ v).max())


@every_pair
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_natural_step_is_that_of_a_dense_solve(output, loss, dtype):
    X, y = examples(loss, n=30)
    weights = np.random.default_rng(6).random(30)
    net, twin = network(output, dtype=dtype), network(output)
    trainer = natural(net, loss, l2=0.03, lr=0.7, damping=0.1, cg_iterations=500, cg_tolerance=1e-12)
    _, g = product(natural(twin, loss, l2=0.03), X, y, np.zeros(net.n_parameters), weights)
    penalties = [np.full(p.size, (p.ndim == 2) * (0.03 + layer.l2)) for layer in twin.layers for p in layer.parameters]
    F = dense(twin, X, loss, weights) + np.diag(np.concatenate(penalties) + 0.1)
    theta = np.concatenate([p.ravel() for p in twin.parameters])
    before = trainer.evaluate(X, y, sample_weight=weights)["loss"]
    assert trainer.fit(X, y, sample_weight=weights)["loss"] == [before]
    got = np.concatenate([p.ravel() for p in net.parameters])
    tolerance = 1e-4 if dtype == "float32" else 1e-6
    np.testing.assert_allclose(got, theta - 0.7 * np.linalg.solve(F, g), rtol=0, atol=tolerance)


def test_one_step_of_linear_regression_is_the_least_squares_solution():
    X, y = examples(HALF)
    net = Network([5, 3], dtype="float64", seed=0)
    natural(net, HALF, damping=1e-12).fit(X, y)
    wanted = np.linalg.lstsq(np.c_[X, np.ones(len(X))], y, rcond=None)[0]
    np.testing.assert_allclose(np.vstack([net.layers[0].W, net.layers[0].b]), wanted, atol=1e-5)


def test_logistic_regression_is_newtons_method():
    X, y = examples(BCE, n_out=1)
    net = Network([5, 1], output="sigmoid", dtype="float64", seed=0)
    trainer = natural(net, BCE, l2=0.1, damping=0, cg_tolerance=1e-12)
    A, theta = np.c_[X, np.ones(len(X))], np.append(net.layers[0].W[:, 0], net.layers[0].b)
    penalty = np.diag([0.1] * 5 + [0])
    for _ in range(6):
        p = reference.sigmoid(A @ theta)
        hessian = (A.T * (p * (1 - p))) @ A / len(X) + penalty
        theta = theta - np.linalg.solve(hessian, A.T @ (p - y[:, 0]) / len(X) + penalty @ theta)
        trainer.fit(X, y)
        np.testing.assert_allclose(np.append(net.layers[0].W[:, 0], net.layers[0].b), theta, rtol=1e-8)
    assert np.abs(A.T @ (reference.sigmoid(A @ theta) - y[:, 0]) / len(X) + penalty @ theta).max() < 1e-12


def test_natural_steps_count_and_take_minibatches():
    X, y = examples(CE)
    one, other = natural(network(), CE), natural(network(), CE)
    events = Events()
    history = one.fit(X, y, epochs=3, validation_data=(X, y), callbacks=[events])
    assert history["loss"] == [other.step(X, y) for _ in range(3)]
    assert history["val_loss"][:-1] == history["loss"][1:]
    assert one.state == {"epoch": 3, "steps": 3, "updates": [3, 3, 3], "chunk_rows": 1024}
    assert other.state == {"epoch": 0, "steps": 3, "updates": [3, 3, 3], "chunk_rows": 1024}
    assert events.seen == [*((name, epoch) for epoch in range(3) for name in ("begin", "end")), "over"]
    assert_same(one.network, copies(other.network))


def test_a_natural_step_takes_the_rate_of_a_schedule():
    X, y = examples(CE)
    one, other = natural(network(), CE, lr=schedules.Exponential(0.8, 0.5)), natural(network(), CE)
    one.fit(X, y, epochs=3)
    for epoch in range(3):
        other.optimizer.lr = 0.8 * np.exp(-0.5 * epoch)
        other.fit(X, y)
    for got, wanted in zip(one.network.parameters, other.network.parameters, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9)


@pytest.mark.parametrize("make", [lbfgs, natural])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_on_any_number_of_threads(make, dtype, monkeypatch):
    X, y = examples(CE, n=4500)  # five chunks
    results = []
    for threads in (1, 2, 5):
        net = network(dtype=dtype)
        trainer = make(net, CE, l2=1e-3)
        monkeypatch.setattr(full_batch, "threads_for", lambda *_, threads=threads: threads)
        results.append((copies(net), trainer.fit(X, y, epochs=4), copies(net)))
        assert any((p != q).any() for p, q in zip(results[-1][0], results[-1][2], strict=True))
    for _, history, parameters in results[1:]:
        assert history == results[0][1]
        for got, wanted in zip(parameters, results[0][2], strict=True):
            np.testing.assert_array_equal(got, wanted)


def threads_at_work(trainer, X, y, monkeypatch, expected=1):
    """The thread of each chunk of one epoch; the first chunks wait until the requested number of threads is running."""
    seen, gradient, all_there = [], full_batch.Objective.gradient, threading.Barrier(expected, timeout=60)
    number = itertools.count()

    def noted(self, chunk):
        seen.append(threading.get_ident())
        if next(number) < expected:
            all_there.wait()
        return gradient(self, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(full_batch.Objective, "gradient", noted)
        trainer.fit(X, y, epochs=1)
    return seen


@pytest.mark.parametrize("make", [lbfgs, natural])
def test_large_chunks_are_shared_among_threads(make, monkeypatch):
    monkeypatch.setattr(_core, "threads_for", lambda asked, flops: 1 if flops < 1e6 else 3)
    net = Network([5, 5000, 3], seed=0)
    X, y = examples(HALF, n=3000)
    seen = threads_at_work(make(net, HALF), X, y, monkeypatch, expected=3)
    assert len(set(seen[:3])) == 3 and threading.get_ident() in seen[:3]  # the first pass: helpers differ by pass
    assert set(threads_at_work(make(network("identity"), HALF), X, y, monkeypatch)) == {threading.get_ident()}


@pytest.mark.parametrize("make, hidden, loss", [
    (lbfgs, "tanh", "custom"), (lbfgs, "custom", HALF), (natural, "custom", HALF),
])
def test_custom_functions_are_called_in_the_callers_thread(make, hidden, loss, monkeypatch):
    monkeypatch.setattr(_core, "threads_for", lambda *_: 4)
    seen = set()

    def noted(result):
        seen.add(threading.get_ident())
        return result

    if hidden == "custom":
        hidden = activations.Custom(lambda z: noted(np.tanh(z)), lambda z: noted(1 - np.tanh(z) ** 2))
    if loss == "custom":
        loss = losses.Custom(lambda y, yhat: noted(((yhat - y) ** 2).sum(axis=1) / 2), lambda y, yhat: noted(yhat - y))
    trainer = make(Network([Layer(5, 4, hidden), Layer(4, 3, "identity")], seed=0), loss)
    trainer.threads = 4
    trainer.fit(*examples(HALF, n=3000), epochs=1)
    assert seen == {threading.get_ident()}


def test_the_first_error_of_a_chunk_ends_the_others(monkeypatch):
    monkeypatch.setattr(full_batch, "threads_for", lambda *_: 2)
    X, y = examples(HALF, n=20_000)
    X[1500:] = np.nan
    trainer, calls = lbfgs(Network([5, 4, 3], dtype="float64", seed=0), HALF), []
    gradient, before = full_batch.Objective.gradient, (copies(trainer.network), threading.active_count())
    monkeypatch.setattr(full_batch.Objective, "gradient", lambda *args: calls.append(1) or gradient(*args))
    with pytest.raises(FloatingPointError, match=r"epoch 0: X\[1500, 0\] is nan"):
        trainer.fit(X, y)
    assert len(calls) < 20 and threading.active_count() == before[1]
    assert_same(trainer.network, before[0])


def fork_into(children):
    """children: receives the results of os.fork."""
    children.append(os.fork())
    signal.alarm(0 if children[0] else 60)  # a child that hangs is killed, and the test fails


@contextlib.contextmanager
def goes_well_in_both(children):
    """The body calls fork_into(children) once. It must not raise in the parent or in the child, which exits after
    it."""
    try:
        yield
    except BaseException:
        if children == [0]:
            os._exit(1)
        raise
    if children == [0]:
        os._exit(0)
    assert os.waitpid(children[0], 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_forked_by_a_callback_goes_on(monkeypatch):
    monkeypatch.setattr(full_batch, "threads_for", lambda *_: 2)
    (X, y), nets = examples(CE, n=3000), [network(), network()]
    lbfgs(nets[0], CE).fit(X, y, epochs=4)
    children = []

    class Forks(Events):
        def on_epoch_end(self, trainer, epoch, logs):
            if epoch == 1:
                fork_into(children)

    with goes_well_in_both(children):
        lbfgs(nets[1], CE).fit(X, y, epochs=4, callbacks=[Forks()])
        assert_same(nets[1], copies(nets[0]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_forked_while_a_helper_works_goes_on():
    """Forked by a signal handler: the child repeats what the helper had begun, and waits for nothing."""
    caller, begun, forked, children = threading.get_ident(), threading.Event(), threading.Event(), []

    def work(i):
        if threading.get_ident() != caller:
            begun.set()
            assert forked.wait(60)
        elif not children:
            assert begun.wait(60)
            fork_into(children)
            forked.set()
        return i * i

    with goes_well_in_both(children):
        assert list(_sharing.in_order(work, list(range(12)), 2)) == [i * i for i in range(12)]


@pytest.mark.parametrize("start", [lambda *_: 0, None], ids=["died at its birth", "refused"])
def test_a_helper_that_does_not_come_is_not_missed(start, monkeypatch):
    def refused(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_sharing._thread, "start_new_thread", start or refused)
    assert list(_sharing.in_order(lambda i: i * i, list(range(50)), 3)) == [i * i for i in range(50)]


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_results_and_errors_come_in_the_order_of_the_items(threads):
    def inverse(i):
        return 1 / (i % 40 - 30)

    assert list(_sharing.in_order(inverse, list(range(30)), threads)) == [1 / (i - 30) for i in range(30)]
    before = threading.active_count()
    got = []
    with pytest.raises(ZeroDivisionError):
        for result in _sharing.in_order(inverse, list(range(200)), threads):
            got.append(result)
    assert got == [1 / (i - 30) for i in range(30)] and threading.active_count() == before


def test_an_interrupt_waits_for_the_helpers(monkeypatch):
    """The interrupt reaches the calling thread while another is working."""
    caller, begun, came, ended = threading.get_ident(), threading.Event(), threading.Event(), []

    def work(i):
        if threading.get_ident() != caller:
            begun.set()
            assert came.wait(60)
            _core.shuffle(np.empty(1_000_000, np.int64), 0, 0)
            ended.append(i)
        else:
            came.set()
            assert begun.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(_sharing.in_order(work, [1, 2], 2))
    assert len(ended) == 1


def test_a_stop_iteration_of_a_callback_passes_through():
    def stop(trainer, epoch, logs):
        raise StopIteration("from a callback")

    trainer = lbfgs(network(), CE)
    with pytest.raises(StopIteration, match="from a callback"):
        trainer.fit(*examples(CE), callbacks=[stop])
    assert trainer.epoch == 1


# ---- Refused calls change nothing


@pytest.mark.parametrize("make", [lbfgs, natural])
@pytest.mark.parametrize("bad, message", [(np.nan, r"epoch 0: X\[7, 2\] is nan;"), (1e200, "epoch 0: the loss is inf")])
def test_numbers_that_are_not_finite_change_nothing(make, bad, message):
    X, y = examples(HALF)
    net = Network([5, 4, 3], dtype="float64", seed=0)
    before = copies(net)
    X[7, 2] = bad
    with pytest.raises(FloatingPointError, match=message):
        make(net, HALF).fit(X, y)
    assert_same(net, before)
    make(net, HALF).fit(*examples(HALF))


def test_a_natural_step_out_of_range_changes_nothing():
    (X, y), net = examples(HALF), Network([5, 3], seed=0)
    before = copies(net)
    with pytest.raises(FloatingPointError, match="gradient or step is not finite"):
        natural(net, HALF, lr=3e38, damping=1e-3).fit(100 * X, 1e6 * y)
    assert_same(net, before)


def test_an_interrupted_natural_step_changes_nothing(monkeypatch):
    (X, y), net = examples(CE), network()
    before = copies(net)
    trainer = natural(net, CE)

    def interrupted(*_):
        raise KeyboardInterrupt

    for name in ("conjugate_gradients", "jacobian_product"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(full_batch, name, interrupted)
            trainer.fit(X, y)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        check = full_batch.Objective.check
        patch.setattr(full_batch.Objective, "check", lambda self, J, v: check(self, J, v) or interrupted())
        trainer.fit(X, y)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        write, calls = full_batch.Variables.write, []

        def after_writing(self, theta):
            write(self, theta)
            calls.append(1)
            if len(calls) == 1:
                raise KeyboardInterrupt

        patch.setattr(full_batch.Variables, "write", after_writing)
        trainer.fit(X, y)
    assert_same(net, before)
    trainer.fit(X, y)


def simple(**kwargs):
    return Network([5, 4, 3], output="softmax", seed=0, **kwargs)


@pytest.mark.parametrize("optimizer", [LBFGS(), NaturalGradient()], ids=["lbfgs", "natural"])
@pytest.mark.parametrize("make, message", [
    (lambda o: Trainer(simple(), CE, o), "batch_size must be None for .*, got 64"),
    (lambda o: Trainer(simple(), CE, o, batch_size=None, l1=0.1), "l1 must be 0 for .*differentiable.*, got 0.1"),
    (lambda o: Trainer(simple(), CE, o, batch_size=None, clip_value=1.0), "clip_value must be None for .*, got 1.0"),
    (lambda o: Trainer(simple(), CE, o, batch_size=None, clip_norm=1.0), "clip_norm must be None for .*, got 1.0"),
    (lambda o: Trainer(simple(), CE, o, batch_size=None, max_norm=1.0), "max_norm must be None for .*, got 1.0"),
    (lambda o: Trainer(simple(dropout=0.5), CE, o, batch_size=None), "dropout of layer 1 must be 0 for .*, got 0.5"),
    (lambda o: Trainer(simple(input_noise=0.2), CE, o, batch_size=None), "input_noise must be 0 for .*, got 0.2"),
    (lambda o: Trainer(simple(input_dropout=0.2), CE, o, batch_size=None), "input_dropout must be 0 for"),
    (lambda o: Trainer(Network([Layer(5, 3, "softmax", l1=0.3)]), CE, o, batch_size=None), "l1 of layer 1 must be 0"),
    (lambda o: Trainer(Network([Layer(5, 3, "softmax", trainable=False)]), CE, o, batch_size=None),
     "network must have a trainable layer"),
])
def test_what_needs_minibatches_or_is_not_smooth_is_refused(optimizer, make, message):
    trainer = make(optimizer)
    before = copies(trainer.network)
    with pytest.raises(ValueError, match=message):
        trainer.fit(*examples(CE))
    assert_same(trainer.network, before)


@pytest.mark.parametrize("output, loss", [("tanh", HALF), ("sigmoid", HALF), ("softmax", HALF), ("identity", "huber"),
                                          ("identity", "squared_error"), ("exp", "poisson")])
def test_pairs_without_a_simple_fisher_matrix_are_refused(output, loss):
    X, y = examples(HALF)
    with pytest.raises(ValueError, match=f"loss and output must be one of softmax .*got {output} \\+ {loss}"):
        natural(Network([5, 3], output=output), loss).fit(X, abs(y))


@pytest.mark.parametrize("make, message", [
    (lambda: LBFGS(max_iterations=0), "max_iterations must be >= 1"),
    (lambda: LBFGS(history=2.5), "history must be a whole number"),
    (lambda: LBFGS(tolerance=-1), "tolerance must be >= 0"),
    (lambda: NaturalGradient(lr=0), "lr must be > 0"),
    (lambda: NaturalGradient(damping=-1), "damping must be >= 0"),
    (lambda: NaturalGradient(cg_iterations=0), "cg_iterations must be >= 1"),
    (lambda: NaturalGradient(cg_tolerance=1), "cg_tolerance must be < 1"),
    (lambda: lbfgs(simple(), CE).step(*examples(CE)), "step needs an optimizer of minibatches, got LBFGS"),
])
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_one_trainer_at_a_time():
    (X, y), net = examples(CE), network()
    net._core.begin_training()
    for make in (lbfgs, natural):
        with pytest.raises(RuntimeError, match="trained by the call that this one is made from"):
            make(net, CE).fit(X, y)
    net._core.end_training()
    Trainer(net, CE, SGD(0.1)).fit(X, y)
