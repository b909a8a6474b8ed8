"""Training through the public API: what is learned, the History, and what a Trainer keeps between calls."""

import copy
import io
import pickle
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import reference

import mlpfast
from mlpfast import SGD, Adam, Layer, Network, Trainer, _pace, _progress, activations, callbacks, losses
from mlpfast.datasets import load_digits, load_mnist
from mlpfast.schedules import Cosine

LOSSES = {  # loss: an output activation that fits it
    "cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
    "half_squared_error": "tanh",
    "squared_error": "identity",
}
RULES = {"plain": {}, "momentum": dict(momentum=0.9), "nesterov": dict(momentum=0.7, nesterov=True)}


def copy_of(net):
    return [p.copy() for p in net.parameters]


def assert_same(got, wanted):
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(g, w)


def problem(loss, n=53, n_in=6, n_out=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_in))
    if loss == "cross_entropy":
        return X, reference.one_hot(np.abs(X[:, :n_out]).argmax(axis=1), n_out)
    return X, reference.sigmoid(X @ rng.normal(size=(n_in, n_out)))


def network(loss="cross_entropy", dtype="float64", seed=0, sizes=(6, 9, 7, 4)):
    return Network(sizes, activation="tanh", output=LOSSES[loss], dtype=dtype, seed=seed)


# ---- training succeeds


@pytest.mark.parametrize("output, loss", [("sigmoid", "binary_cross_entropy"), ("tanh", "half_squared_error")])
@pytest.mark.parametrize("seed", range(20))
def test_xor_is_learned_to_zero_errors(seed, output, loss):
    X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    net = Network([2, 8, 1], activation="tanh", output=output, seed=seed)
    trainer = Trainer(net, loss, SGD(lr=0.3, momentum=0.9), batch_size=4, seed=seed)
    if output == "tanh":
        trainer.fit(X, 2 * y - 1, epochs=500)
        assert ((net.predict(X)[:, 0] > 0) == y).all()
    else:
        history = trainer.fit(X, y, epochs=500)
        assert ((net.predict(X)[:, 0] > 0.5) == y).all()
        assert history["accuracy"][-1] == 1


def test_the_digits_are_learned():
    X, y = load_digits()
    test = np.arange(len(X)) % 5 == 0
    X_train, y_train, X_test, y_test = X[~test], y[~test], X[test], y[test]
    net = Network([64, 64, 10], output="softmax", seed=0)
    trainer = Trainer(net, optimizer=SGD(lr=0.1, momentum=0.9), batch_size=32, seed=0)
    history = trainer.fit(X_train, y_train, epochs=20)
    assert history["accuracy"][-1] > 0.99
    assert (net.predict(X_test).argmax(axis=1) == y_test).mean() > 0.95
    assert trainer.evaluate(X_test, y_test)["accuracy"] > 0.95


@pytest.mark.mnist
@pytest.mark.skipif(mlpfast.show_config("dicts")["isa"] == "generic", reason="the generic kernels take minutes")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mnist(mnist_folder, seed):
    X_train, y_train, X_test, y_test = load_mnist(mnist_folder)
    assert X_train.dtype == np.uint8
    X_train, X_test = X_train.reshape(len(X_train), -1), X_test.reshape(len(X_test), -1)
    net = Network([784, 128, 10], output="softmax", seed=seed, input_scale=1 / 255)
    rate = Cosine(0.5, total=5 * 938, per="step")  # with a constant rate accuracies vary by 0.004 between seeds
    trainer = Trainer(net, optimizer=SGD(lr=rate), batch_size=64, seed=seed)
    trainer.fit(X_train, y_train, epochs=5)
    # Over 30 seeds the mean is 0.9786, the standard deviation 0.0008: the bound is 4.6 deviations below.
    assert trainer.evaluate(X_test, y_test)["accuracy"] >= 0.975


# ---- losses and parameters follow the NumPy twin


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [53, 16, 1])  # 53 examples: the last of 16 is a minibatch of 5
def test_the_loss_history_is_the_references(loss, rule, batch_size):
    X, y = problem(loss)
    net = network(loss)
    layers = reference.layers_of(net)
    settings = dict(lr=0.02, l1=1e-3, l2=1e-2)
    wanted = reference.train(layers, X, y, loss, batch_size=batch_size, epochs=6, **settings, **RULES[rule])
    trainer = Trainer(net, loss, SGD(lr=0.02, **RULES[rule]), batch_size=batch_size, shuffle=False, l1=1e-3, l2=1e-2)
    history = trainer.fit(X, y, epochs=6)
    assert history["loss"] == pytest.approx(wanted, rel=1e-9, abs=0)
    for p, w in zip(net.parameters, reference.flat(layers), strict=True):
        np.testing.assert_allclose(p, w, rtol=1e-9, atol=1e-12)
    assert history["loss"][-1] < history["loss"][0]


def test_history_is_a_dict_of_one_number_for_each_epoch():
    X, y = problem("cross_entropy")
    history = Trainer(network()).fit(X, y, epochs=3, validation_data=(X[:9], y[:9]))
    assert isinstance(history, mlpfast.History) and isinstance(history, dict)
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(len(values) == 3 for values in history.values())
    assert all(0 <= a <= 1 for a in history["accuracy"])
    X, y = problem("squared_error")
    assert set(Trainer(network("squared_error"), "squared_error").fit(X, y)) == {"loss"}


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("loss", LOSSES)
def test_evaluate_is_the_reference(loss, dtype, tolerance):
    X, y = problem(loss, n=301)
    if loss == "binary_cross_entropy":
        y = (y > 0.5).astype(float)
        y[::3] = y[::3] * 0.8 + 0.1
    net = network(loss, dtype)
    before = copy_of(net)
    layers = reference.layers_of(net)
    z = reference.forward(layers, X)[0][-1]
    for weight in (None, np.linspace(0, 3, 301)):
        got = Trainer(net, loss).evaluate(X, y, sample_weight=weight)
        wanted = {"loss": reference.objective(layers, X, y, loss, sample_weight=weight)}
        if loss.endswith("cross_entropy"):
            right = reference.correct(loss, z, y)
            wanted["accuracy"] = np.average(right, weights=weight)
        if loss == "binary_cross_entropy":  # its rows have several labels here
            wanted["exact_match"] = np.average(right == 1, weights=weight)
        assert got == pytest.approx(wanted, rel=tolerance, abs=0)
    assert_same(net.parameters, before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output, loss", [
    ("sigmoid", "binary_cross_entropy"), ("identity", "binary_cross_entropy"), ("sigmoid", "half_squared_error"),
    ("identity", "half_squared_error"), ("tanh", "squared_error"),
])
def test_class_numbers_are_one_hot_rows(output, loss, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 4)), rng.integers(3, size=90)
    nets = [Network([4, 5, 3], output=output, dtype=dtype, seed=0) for _ in range(3)]
    forms, seen, histories = (y, y.astype(float), np.eye(3)[y]), [], []
    for net, form in zip(nets, forms, strict=True):
        trainer = Trainer(net, loss, batch_size=16, seed=0)
        histories.append(trainer.fit(
            X, form, epochs=3, class_weight="balanced", validation_split=0.3, stratify=True, metrics=("mse", "accuracy")
        ))
        trainer.step(X, form)
        trainer.evaluate(X, form, metrics=lambda y, yhat: seen.append(y) or 0.0)
    assert histories[0] == histories[1] == histories[2] and histories[0]["val_accuracy"][-1] > 0
    for net in nets[1:]:
        assert_same(net.parameters, nets[0].parameters)
    for got, form in zip(seen, forms, strict=True):
        assert got.dtype == form.dtype and got.shape == form.shape


def test_step_returns_the_mean_loss_before_its_update():
    X, y = problem("cross_entropy")
    net = network()
    trainer = Trainer(net, optimizer=SGD(lr=0.5))
    losses = []
    for _ in range(3):
        before = trainer.evaluate(X, y)["loss"]
        losses.append(trainer.step(X, y))
        assert losses[-1] == pytest.approx(before, rel=1e-12)
    assert losses == sorted(losses, reverse=True)


def test_the_accuracy_of_an_epoch_is_taken_before_each_update():
    X, y = problem("cross_entropy")
    net = network()
    trainer = Trainer(net, batch_size=len(X), optimizer=SGD(lr=0.5))
    before = trainer.evaluate(X, y)
    history = trainer.fit(X, y)
    assert {name: values[0] for name, values in history.items()} == pytest.approx(before, rel=1e-12)


@pytest.mark.parametrize("form", ["labels", "float labels", "bool", "list", "int8", "one-hot int", "one-hot float32"])
def test_forms_of_labels(form):
    X, _ = problem("cross_entropy", n_out=2)
    labels = (X[:, 0] > 0).astype(int)
    y = {
        "labels": labels,
        "float labels": labels.astype(float),
        "bool": labels.astype(bool),
        "list": labels.tolist(),
        "int8": labels.astype(np.int8),
        "one-hot int": np.eye(2, dtype=int)[labels],
        "one-hot float32": np.eye(2, dtype=np.float32)[labels],
    }[form]
    results = []
    for each in (labels, y):
        net = network(sizes=(6, 5, 2))
        history = Trainer(net, seed=0, batch_size=8).fit(X, each, epochs=2)
        results.append((history, net.parameters))
    assert results[0][0]["accuracy"] == results[1][0]["accuracy"]
    assert results[0][0]["loss"] == pytest.approx(results[1][0]["loss"], rel=1e-12)
    for p, w in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(p, w, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "half_squared_error", "squared_error"])
def test_one_output_takes_targets_of_one_or_two_dimensions(loss):
    X, y = problem(loss, n_out=1)
    nets = [network(loss, sizes=(6, 5, 1)) for _ in range(2)]
    Trainer(nets[0], loss, seed=0).fit(X, y)
    Trainer(nets[1], loss, seed=0).fit(X, y[:, 0])
    assert_same(nets[0].parameters, nets[1].parameters)


# ---- the order of the examples


def rows_updated(trainer, X, y):
    """Each example moves its own row of W towards y by lr / (size of its minibatch): returns these distances."""
    W = trainer.network.layers[0].W
    W[...] = 0
    trainer.fit(X, y)
    return W[:, 0].copy()


def test_every_epoch_has_a_fresh_order_of_all_examples():
    n, batch_size = 23, 20
    net = Network([Layer(n, 1, bias=False, init="zeros")], dtype="float64")
    X, y = np.eye(n), np.ones(n)
    trainer = Trainer(net, "half_squared_error", SGD(lr=1.0), batch_size=batch_size, seed=3)
    last = []
    for _ in range(30):
        W = rows_updated(trainer, X, y)
        assert sorted(set(W)) == [1 / 20, 1 / 3]  # every row once: 20 in the first minibatch, 3 in the last
        assert (W == 1 / 3).sum() == 3
        last.append(tuple(np.flatnonzero(W == 1 / 3)))
    assert len(set(last)) > 25
    assert set().union(*last) == set(range(n))


def test_without_shuffle_the_order_is_that_of_the_rows():
    net = Network([Layer(23, 1, bias=False, init="zeros")], dtype="float64")
    trainer = Trainer(net, "half_squared_error", SGD(lr=1.0), batch_size=20, shuffle=False)
    for _ in range(2):
        assert_same([rows_updated(trainer, np.eye(23), np.ones(23))], [np.repeat([1 / 20, 1 / 3], [20, 3])])


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_fit_again_goes_on_training(rule, shuffle):
    X, y = problem("cross_entropy")
    results = []
    for parts in ([5], [2, 3], [1, 1, 1, 1, 1]):
        net = network(dtype="float32")
        trainer = Trainer(net, optimizer=SGD(lr=0.1, **RULES[rule]), batch_size=10, shuffle=shuffle, seed=4)
        losses = [loss for epochs in parts for loss in trainer.fit(X, y, epochs=epochs)["loss"]]
        results.append((losses, net.parameters))
    for losses, parameters in results[1:]:
        assert losses == results[0][0]
        assert_same(parameters, results[0][1])


def test_settings_may_change_between_calls():
    X, y = problem("cross_entropy")
    net = network()
    trainer = Trainer(net, optimizer=SGD(lr=0.1), shuffle=False, batch_size=53)
    trainer.fit(X, y)
    trainer.optimizer.lr, trainer.l2 = 0.01, 0.1
    layers = reference.layers_of(net)
    trainer.fit(X, y)
    reference.train(layers, X, y, "cross_entropy", batch_size=53, epochs=1, lr=0.01, l2=0.1)
    for p, w in zip(net.parameters, reference.flat(layers), strict=True):
        np.testing.assert_allclose(p, w, rtol=1e-12, atol=1e-14)


def test_validation_is_what_evaluate_says():
    X, y = problem("cross_entropy")
    net = network()
    trainer = Trainer(net)
    said = []
    history = trainer.fit(
        X[:40], y[:40], epochs=3, validation_data=(X[40:], y[40:]),
        callbacks=[lambda trainer, epoch, logs: said.append(trainer.evaluate(X[40:], y[40:]))],
    )
    assert history["val_loss"] == [each["loss"] for each in said]
    assert history["val_accuracy"] == [each["accuracy"] for each in said]
    undisturbed = network()
    Trainer(undisturbed, seed=trainer.seed).fit(X[:40], y[:40], epochs=3)
    assert_same(net.parameters, undisturbed.parameters)


# ---- weights of examples and classes


@pytest.mark.parametrize("weighting", ["data", "minibatch"])
@pytest.mark.parametrize("loss", LOSSES)
def test_sample_weight_is_the_references(loss, weighting):
    X, y = problem(loss)
    weight = np.random.default_rng(1).uniform(0, 4, size=len(X))
    weight[5] = 0
    net = network(loss)
    layers = reference.layers_of(net)
    rule = dict(sample_weight=weight, weighting=weighting)
    wanted = reference.train(layers, X, y, loss, batch_size=16, epochs=4, lr=0.05, **rule)
    trainer = Trainer(net, loss, SGD(lr=0.05), batch_size=16, shuffle=False, weighting=weighting)
    assert trainer.fit(X, y, epochs=4, sample_weight=weight)["loss"] == pytest.approx(wanted, rel=1e-9, abs=0)
    for p, w in zip(net.parameters, reference.flat(layers), strict=True):
        np.testing.assert_allclose(p, w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_weight_two_is_a_row_twice_and_weight_zero_is_no_row(loss):
    X, y = problem(loss, n=20)
    counts = np.array([2, 1, 0, 3, 1] * 4)
    weighted, repeated = network(loss), network(loss)
    Trainer(weighted, loss, batch_size=100).fit(X, y, epochs=5, sample_weight=counts)
    Trainer(repeated, loss, batch_size=100).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0), epochs=5)
    for p, w in zip(weighted.parameters, repeated.parameters, strict=True):
        np.testing.assert_allclose(p, w, rtol=1e-10, atol=1e-12)


def test_sample_weights_follow_their_rows_through_the_shuffle():
    """Rows of weight zero have wrong labels, which must not affect training."""
    X, y = problem("cross_entropy", n=200)
    labels = y.argmax(axis=1)
    weight = np.ones(200)
    weight[::4] = 0
    noisy = np.where(weight == 0, (labels + 1) % 4, labels)
    nets = [network(), network()]
    for net, each in zip(nets, (labels, noisy), strict=True):
        Trainer(net, batch_size=7, seed=0).fit(X, each, epochs=3, sample_weight=weight)
    assert_same(nets[0].parameters, nets[1].parameters)


def test_a_minibatch_of_weight_zero_changes_nothing():
    X, y = problem("cross_entropy", n=30)
    weight = np.repeat([1.0, 0.0, 1.0], 10)
    net, without = network(), network()
    Trainer(net, batch_size=10, shuffle=False).fit(X, y, sample_weight=weight)
    kept = weight > 0
    Trainer(without, batch_size=10, shuffle=False).fit(X[kept], y[kept])
    assert_same(net.parameters, without.parameters)


@pytest.mark.parametrize("given", [{0: 2.0, 3: 0.5}, [2.0, 1.0, 1.0, 0.5], "balanced"], ids=str)
def test_class_weight_is_the_sample_weight_of_each_label(given):
    X, y = problem("cross_entropy")
    labels = y.argmax(axis=1)
    each = np.array([2.0, 1.0, 1.0, 0.5])
    sample = np.linspace(1, 2, len(X))
    if given == "balanced":
        each = sample.sum() / (4 * np.bincount(labels, weights=sample, minlength=4))
    by_class, by_sample = network(), network()
    first = Trainer(by_class, seed=0).fit(X, labels, epochs=2, class_weight=given, sample_weight=sample)
    second = Trainer(by_sample, seed=0).fit(X, labels, epochs=2, sample_weight=each[labels] * sample)
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-12)
    for p, w in zip(by_class.parameters, by_sample.parameters, strict=True):
        np.testing.assert_allclose(p, w, rtol=0, atol=1e-14)


OWN = losses.Custom(lambda y, yhat: ((yhat - y) ** 2).sum(axis=1), lambda y, yhat: 2 * (yhat - y))


@pytest.mark.parametrize("loss, low", [
    ("binary_cross_entropy", 0), ("binary_cross_entropy", -1), ("hinge", -1), ("perceptron", 0),
    ("cross_entropy", None),
    ("squared_error", 0), ("squared_error", -1), ("squared_error", None), (OWN, 0), (OWN, -1), (OWN, None),
    ("hinge", None),
], ids=lambda value: getattr(value, "name", str(value)))
@pytest.mark.parametrize("given", [{1: 3.0}, [2.0, 3.0], "balanced"], ids=str)
def test_class_weight_of_two_classes_and_of_one_hot_rows(given, loss, low):
    rng = np.random.default_rng(0)
    X, classes = rng.normal(size=(20, 3)), np.repeat([0, 1], [15, 5])
    y = np.eye(2)[classes] if low is None else np.where(classes, 1, low)
    if isinstance(given, dict):
        given = {low or 0: 2.0, **given}
    each = np.array([20 / 30, 20 / 10]) if given == "balanced" else np.array([2.0, 3.0])
    output = "softmax" if loss == "cross_entropy" else "identity"
    nets = [Network([3, 2 if low is None else 1], output=output, seed=1, dtype="float64") for _ in range(2)]
    Trainer(nets[0], loss, seed=0).fit(X, y, class_weight=given)
    Trainer(nets[1], loss, seed=0).fit(X, y, sample_weight=each[classes])
    assert_same(nets[0].parameters, nets[1].parameters)


# ---- layers and their parameters


def test_a_frozen_layer_stays_and_the_others_learn():
    for frozen in range(3):
        layers = [Layer(a, b, g, trainable=l != frozen)
                  for l, (a, b, g) in enumerate([(6, 9, "tanh"), (9, 7, "relu"), (7, 4, "softmax")])]
        net = Network(layers, dtype="float64", seed=0)
        free = reference.layers_of(net)
        before = copy_of(net)
        X, y = problem("cross_entropy")
        Trainer(net, optimizer=SGD(lr=0.1, momentum=0.9), batch_size=53, l2=0.1, l1=0.1).step(X, y)
        reference.train(free, X, y, "cross_entropy", batch_size=53, epochs=1, lr=0.1, l2=0.1, l1=0.1)
        for i, (p, was, wanted) in enumerate(zip(net.parameters, before, reference.flat(free), strict=True)):
            if i // 2 == frozen:
                np.testing.assert_array_equal(p, was)
            else:
                np.testing.assert_allclose(p, wanted, rtol=1e-12, atol=1e-14)
                assert np.abs(p - was).max() > 0


def test_a_wholly_frozen_network_stays():
    net = Network([Layer(6, 3, "tanh", trainable=False), Layer(3, 4, "softmax", trainable=False)], seed=0)
    before = copy_of(net)
    X, y = problem("cross_entropy")
    history = Trainer(net, batch_size=8).fit(X, y, epochs=2)
    assert_same(net.parameters, before)
    assert history["loss"][0] == pytest.approx(history["loss"][1], rel=1e-6)


def test_a_wholly_frozen_network_stays_in_several_chunks():
    X, y = np.ones((5000, 3), np.float32), np.zeros((5000, 2))
    for n in range(1, 40):  # several sizes: a faulty step would read whatever memory follows the layers
        sizes = [3] + [2] * n
        net = Network([Layer(*two, trainable=False) for two in zip(sizes, sizes[1:], strict=False)], seed=0)
        trainer, before = Trainer(net, "squared_error", batch_size=None), copy_of(net)
        trainer.fit(X, y)
        assert_same(net.parameters, before)
        assert not any(gradient.any() for gradient in trainer.gradient(X, y)[1])


def test_layers_without_bias():
    net = Network([Layer(6, 5, "tanh", bias=False), Layer(5, 4, "softmax", bias=False)], dtype="float64", seed=0)
    assert [layer.b for layer in net.layers] == [None, None]
    assert len(net.parameters) == 2 and net.n_parameters == 6 * 5 + 5 * 4
    np.testing.assert_array_equal(net.predict(np.zeros((2, 6))), np.full((2, 4), 0.25))
    X, y = problem("cross_entropy")
    layers = reference.layers_of(net)
    wanted = reference.train(layers, X, y, "cross_entropy", batch_size=10, epochs=3, lr=0.1, momentum=0.9)
    trainer = Trainer(net, optimizer=SGD(lr=0.1, momentum=0.9), batch_size=10, shuffle=False)
    assert trainer.fit(X, y, epochs=3)["loss"] == pytest.approx(wanted, rel=1e-9)


def test_the_parameters_are_live_views():
    net = network()
    X, _ = problem("cross_entropy")
    before = net.predict(X)
    W, b = net.layers[1].W, net.layers[1].b
    W[2, 3] += 1
    b[...] = 0.5
    assert net.layers[1].W[2, 3] == W[2, 3] and net.parameters[2][2, 3] == W[2, 3]
    assert not np.array_equal(net.predict(X), before)
    np.testing.assert_allclose(net.predict(X), reference.forward(reference.layers_of(net), X)[1][-1], rtol=1e-12)
    was = W.copy()
    Trainer(net).fit(X, problem("cross_entropy")[1])
    assert not np.array_equal(W, was)
    np.testing.assert_array_equal(W, net.layers[1].W)


def test_a_view_outlives_its_network():
    W = Network([50, 50], seed=0).layers[0].W
    b = Trainer(Network([50, 50], seed=0), "squared_error").network.layers[0].b
    np.testing.assert_array_equal(W, Network([50, 50], seed=0).layers[0].W)
    assert not b.any()


# ---- initial weights

STANDARD_DEVIATION = {
    "xavier_normal": lambda n_in, n_out: np.sqrt(2 / (n_in + n_out)),
    "xavier_uniform": lambda n_in, n_out: np.sqrt(2 / (n_in + n_out)),
    "he_normal": lambda n_in, n_out: np.sqrt(2 / n_in),
    "he_uniform": lambda n_in, n_out: np.sqrt(2 / n_in),
    "lecun_normal": lambda n_in, n_out: np.sqrt(1 / n_in),
    "normal": lambda n_in, n_out: 1.0,
    "uniform": lambda n_in, n_out: np.sqrt(1 / (3 * n_in)),
}


@pytest.mark.parametrize("n_in, n_out", [(300, 400), (1000, 120)])
@pytest.mark.parametrize("init", STANDARD_DEVIATION)
def test_initial_weights(init, n_in, n_out):
    net = Network([Layer(n_in, n_out, init=init)], dtype="float64", seed=17)
    W = net.layers[0].W / STANDARD_DEVIATION[init](n_in, n_out)
    n = W.size
    assert abs(W.mean()) < 5 / np.sqrt(n)
    if "uniform" in init:
        assert np.abs(W).max() <= np.sqrt(3) and np.abs(W).max() > 0.999 * np.sqrt(3)
        assert abs(W.std() - 1) < 5 * np.sqrt(0.2 / n)
        expected = np.full(10, n / 10)
        counts = np.histogram(W, bins=10, range=(-np.sqrt(3), np.sqrt(3)))[0]
    else:
        assert abs(W.std() - 1) < 5 * np.sqrt(0.5 / n)
        cuts = [-1.2815515655446004, -0.5244005127080409, 0, 0.5244005127080409, 1.2815515655446004]
        expected = np.array([0.1, 0.2, 0.2, 0.2, 0.2, 0.1]) * n
        counts = np.histogram(W, bins=[-np.inf, *cuts, np.inf])[0]
    assert ((counts - expected) ** 2 / expected).sum() < 35  # chi-squared, 9 or 5 degrees: p < 1e-4
    assert abs(np.corrcoef(W[:-1].ravel(), W[1:].ravel())[0, 1]) < 5 / np.sqrt(n)
    assert abs(np.corrcoef(W[:, :-1].ravel(), W[:, 1:].ravel())[0, 1]) < 5 / np.sqrt(n)
    assert not net.layers[0].b.any()


def test_zeros_and_the_names():
    assert not Network([Layer(5, 4, init="zeros")]).layers[0].W.any()
    for init in [*STANDARD_DEVIATION, "zeros", "auto"]:
        assert Layer(2, 2, init=init).init == init


def assert_within(a, half):
    """a is uniform within that half width, or 0 if it is 0."""
    np.testing.assert_array_less(np.abs(a), half * (1 + 1e-12) + 1e-300)
    if half:
        z = a / half * np.sqrt(3)
        assert abs(z.mean()) < 5 / np.sqrt(z.size) and abs(z.std() - 1) < 5 * np.sqrt(0.2 / z.size)
        assert np.abs(z).max() > np.sqrt(3) * (1 - 20 / z.size)


STARTS = {  # sqrt(n_in) times the half width of the first W, n_in times the variance of a hidden W
    **dict.fromkeys(["relu", "leaky_relu", "prelu"], (0.5, 1.5)),
    **dict.fromkeys(["gelu", "gelu_tanh", "silu", "mish", "softplus", "hard_swish"], (1, 2)),
    **dict.fromkeys(["sigmoid", "hard_sigmoid"], (2, 16)),
}


@pytest.mark.parametrize("n_in, least", [(4, 0), (50, 1 / 12), (784, 1 / 12), (2000, 0)])
@pytest.mark.parametrize("activation", activations.NAMES)
def test_auto_goes_by_place_activation_and_inputs(activation, n_in, least):
    net = Network([n_in, 400, 300, 70], activation=activation, output=activation, dtype="float64", seed=3)
    first, hidden = STARTS.get(activation, (1, 1))
    (W1, b1), (W2, b2), (W3, b3) = ((layer.W, layer.b) for layer in net.layers)
    assert_within(W1, max(first / np.sqrt(n_in), least) if n_in < 2000 else np.sqrt(6 / n_in))
    assert_within(b1, 1 / np.sqrt(n_in))
    assert_within(W2, np.sqrt(3 * hidden / 400))
    assert_within(W3, np.sqrt(6 / 370 if activation in ("softmax", "sigmoid") else 3 / 300))
    assert not b2.any() and not b3.any()
    assert not np.array_equal(b1 / abs(b1).max(), W1[0] / abs(W1[0]).max())


@pytest.mark.parametrize("init", ["auto", "he_normal"])
def test_no_number_of_a_large_layer_is_drawn_twice(init):
    (layer,) = Network([300, 300], init=init, dtype="float64", seed=0).layers  # more numbers than one block of draws
    assert len(np.unique(layer.W)) == layer.W.size


def test_auto_has_these_numbers():
    """They are the same on every machine and in every version, unless the changelog says otherwise."""
    net = Network([2, 2, 1], dtype="float64", seed=1)
    np.testing.assert_allclose(net.layers[0].W, [[0.01399304, 0.35041169], [0.20250536, 0.30237208]], atol=5e-9)
    np.testing.assert_allclose(net.layers[0].b, [-0.06407849, 0.18108941], atol=5e-9)


def test_a_network_of_one_layer_has_an_output():
    (layer,) = Network([50, 40], output="softmax", dtype="float64", seed=0).layers
    assert_within(layer.W, np.sqrt(6 / 90))
    assert not layer.b.any()


def test_torch_is_that_of_nn_linear_for_weights_and_biases():
    net = Network([90, 80, 70], init="torch", dtype="float64", seed=0)
    for layer in net.layers:
        assert_within(layer.W, 1 / np.sqrt(layer.n_in))
        assert_within(layer.b, 1 / np.sqrt(layer.n_in))
    streams = [p.ravel()[:70] / abs(p).max() for p in net.parameters]
    correlations = np.corrcoef(streams)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.5
    with_uniform = Network([90, 80, 70], init="uniform", bias_init="torch", dtype="float64", seed=0)
    assert_same(with_uniform.parameters, net.parameters)


@pytest.mark.parametrize("init, output_init, bias_init", [
    ("he_normal", None, "auto"), ("he_normal", "zeros", "normal"), ("auto", "he_uniform", "zeros"),
    ("auto", None, "torch"), ("torch", "xavier_normal", "auto"), ("normal", "torch", "auto"), ("zeros", "auto", "auto"),
])
def test_a_network_names_them_for_layers_that_do_not(init, output_init, bias_init):
    """Widths, Layers without init and Layers with init start with the same parameters."""
    named = dict(init=init, output_init=output_init, bias_init=bias_init)
    net = Network([30, 20, 10, 5], activation="tanh", seed=1, **named)
    shapes = [(30, 20, "tanh"), (20, 10, "tanh"), (10, 5)]
    silent = Network([Layer(*shape) for shape in shapes], seed=1, **named)
    inits = [init, init, output_init or init]
    own = [Layer(*shape, init=each, bias_init=bias_init) for shape, each in zip(shapes, inits, strict=True)]
    others = dict.fromkeys(named, "he_uniform") if "auto" not in (*inits, bias_init) else {}
    assert_same(silent.parameters, net.parameters)
    assert_same(Network(own, seed=1, **others).parameters, net.parameters)
    assert [layer.init for layer in net.layers] == inits and net.layers[0].bias_init == bias_init
    if bias_init == "auto" and "auto" not in inits:
        assert all(layer.b.any() == (layer.init == "torch") for layer in net.layers)


def test_layers_without_a_bias_or_with_a_mask_start_too():
    mask = np.eye(6, 5, dtype=bool)
    net = Network([Layer(6, 5, bias=False, mask=mask), Layer(5, 4, bias_init="normal")], seed=0, init="torch")
    assert net.layers[0].b is None and not net.layers[0].W[~mask].any() and net.layers[0].W[mask].all()
    assert abs(net.layers[1].b).max() > 1 / np.sqrt(5)  # the limit of PyTorch's uniform biases


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "elu", "selu", "tanh"])
def test_twenty_layers_of_64_train(activation):
    X, y = mlpfast.datasets.load_digits()
    net = Network([64] * 21 + [10], activation=activation, output="softmax", seed=0)
    history = Trainer(net, optimizer=Adam(), batch_size=32, seed=0).fit(X, y, epochs=12)
    assert history["accuracy"][-1] > 0.8  # 0.1 is chance


# ---- copies


@pytest.mark.parametrize("clone", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))],
                         ids=["deepcopy", "copy", "pickle"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copies_of_a_network_stand_alone(clone, dtype):
    layers = [Layer(6, 5, "tanh", bias=False), Layer(5, 7, "relu", trainable=False), Layer(7, 4, "softmax")]
    net = Network(layers, dtype=dtype, seed=9, input_scale=0.5)
    X, y = problem("cross_entropy")
    Trainer(net).fit(X, y)
    twin = clone(net)
    assert_same(twin.parameters, net.parameters)
    assert (twin.dtype, twin.seed, twin.input_scale, twin.n_parameters) == (net.dtype, 9, 0.5, net.n_parameters)
    assert [repr(layer) for layer in twin.layers] == [repr(layer) for layer in net.layers]
    images = np.arange(12, dtype=np.uint8).reshape(2, 6)
    assert_same([twin.predict(images)], [net.predict(images)])
    before = copy_of(net)
    Trainer(twin, seed=0).fit(X, y)
    assert_same(net.parameters, before)
    Trainer(net, seed=0).fit(X, y)
    assert_same(twin.parameters, net.parameters)


def test_a_pickle_from_before_biases_had_an_initializer_loads():
    net = Network([5, 4, 3], seed=2)
    state = net.__getstate__()
    for _, settings in state["layers"]:
        del settings["bias_init"]
    twin, layer = Network.__new__(Network), Layer(2, 3)
    twin.__setstate__(state)
    assert_same(twin.parameters, net.parameters)
    del layer.__dict__["bias_init"]
    old = pickle.loads(pickle.dumps(layer))
    assert old.bias_init == "auto" and repr(old) == repr(Layer(2, 3)) and Network([old]).layers[0].W.shape == (2, 3)


def test_a_trainer_has_a_short_repr():
    trainer = Trainer(Network([4, 3, 2], output="softmax"), optimizer=SGD(lr=0.5), batch_size=5)
    trainer.fit(np.zeros((12, 4)), np.zeros(12, int), epochs=2)
    assert repr(trainer) == (
        "<Trainer of a 4-3-2 network: cross_entropy, SGD(lr=0.5, momentum=0.0, nesterov=False), batch_size=5; "
        "2 epochs, 6 steps done>"
    )


# ---- progress and callbacks


def test_nothing_is_printed_unless_asked_for(capfd):
    X, y = problem("cross_entropy")
    Trainer(network()).fit(X, y, epochs=3, validation_data=(X, y))
    assert capfd.readouterr() == ("", "")


def test_progress_without_tqdm_is_a_line_per_epoch(capsys, monkeypatch):
    for name in ("tqdm", "tqdm.auto", "tqdm.std"):
        monkeypatch.setitem(sys.modules, name, None)
    X, y = problem("cross_entropy")
    history = Trainer(network()).fit(X, y, epochs=3, validation_data=(X, y), progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for number, line in enumerate(lines):
        assert re.search(r" \d+:\d\d in all  " if number == 2 else r" \d+:\d\d left  ", line)
        names = re.findall(r"[a-z]\w+(?= \d\.)", line)
        assert names == ["val_loss", "loss", "val_accuracy", "accuracy"]
        assert f"{number + 1}/3" in line
        assert f"{history['loss'][number]:.4f}" in line
        assert f"{history['val_accuracy'][number]:.4f}" in line


def test_progress_with_tqdm_is_a_bar(capsys):
    pytest.importorskip("tqdm")
    X, y = problem("cross_entropy")
    history = Trainer(network()).fit(X, y, epochs=3, validation_data=(X, y), progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "3/3" in err
    assert f"val_accuracy={history['val_accuracy'][-1]:.4f}" in err and "loss=" in err


@pytest.mark.parametrize("bar", [True, False])
def test_progress_of_a_fit_that_goes_on_counts_all_epochs(tmp_path, capsys, monkeypatch, bar):
    if bar:
        pytest.importorskip("tqdm")
    else:
        for name in ("tqdm", "tqdm.auto", "tqdm.std"):
            monkeypatch.setitem(sys.modules, name, None)
    X, y = problem("cross_entropy")
    path = tmp_path / "run"
    for epochs, first in ((2, 1), (5, 3), (5, None)):
        clock = Clock(0.5)
        monkeypatch.setattr(_progress, "time", clock)
        Trainer(network(), seed=0).fit(
            X, y, epochs=epochs, callbacks=callbacks.Checkpoint(path), resume=path, progress=True
        )
        out, err = capsys.readouterr()
        if bar:
            assert f"{epochs}/{epochs}|" in err.split("\r")[-1] and (first != 3 or "\r2/5|" in err)
            assert f"{epochs + 1}/" not in err and (first is not None or "4/5|" not in err)
        else:
            assert re.findall(r"epoch (\d)/", out) == [str(n) for n in range(first or 6, epochs + 1)]
            seconds = [int(s) for s in re.findall(r"0:0(\d) left", out)]
            assert seconds == sorted(seconds, reverse=True)


@pytest.mark.parametrize("columns", [80, 60, 30])
def test_a_bar_shows_what_matters_and_cuts_no_number(columns, monkeypatch):
    pytest.importorskip("tqdm")
    from tqdm.std import tqdm

    out = io.StringIO()
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(
        tqdm=lambda **given: tqdm(**given, file=out, ncols=columns - 1, mininterval=0)))
    X, y = problem("cross_entropy")
    history = Trainer(network(), l2=0.1).fit(X, y, epochs=100, validation_data=(X, y), metrics="top_2", progress=True)
    last = out.getvalue().split("\r")[-1].rstrip()
    numbers = [f"{name}={history[name][-1]:.4f}" for name in ("val_loss", "loss", "val_accuracy", "accuracy")]
    assert len(last) < columns and last.startswith("100/100|")
    assert last.endswith(", ".join(numbers[: {80: 3, 60: 2, 30: 1}[columns]])) or columns == 30


class Clock:
    """In place of the module time: each look takes `step` seconds."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def monotonic(self):
        self.now += self.step
        return self.now


def test_progress_without_tqdm_has_lines_within_long_epochs(capsys, monkeypatch):
    for name in ("tqdm", "tqdm.auto", "tqdm.std"):
        monkeypatch.setitem(sys.modules, name, None)
    clock = Clock(4.0)
    monkeypatch.setattr(_progress, "time", clock)
    monkeypatch.setattr(_pace, "time", clock)
    X, y = problem("cross_entropy")
    X, y = X[:40], y[:40]
    twin, trainer = (Trainer(network(), batch_size=5, seed=0) for _ in range(2))
    history = trainer.fit(X, y, epochs=2, progress=True)
    lines = capsys.readouterr().out.splitlines()
    within = [line for line in lines if "%" in line]
    assert len(lines) > 4 and len(lines) - len(within) == 2 and all(" rows/s  loss " in line for line in lines)
    form = r"epoch 1/2  (\d+)%  \d+:\d\d left  \d+ rows/s  loss \d\.\d{4}  accuracy .*"
    first = re.fullmatch(form, within[0])
    assert first and int(first[1]) in (12, 25, 37) and within[0] < within[1]  # by minibatches of 5 of 40 rows
    assert history == twin.fit(X, y, epochs=2)
    assert_same(trainer.network.parameters, twin.network.parameters)


def test_a_bar_moves_within_an_epoch(monkeypatch):
    pytest.importorskip("tqdm")
    from tqdm.std import tqdm

    out, clock = io.StringIO(), Clock(0.2)
    monkeypatch.setattr(_pace, "time", clock)
    monkeypatch.setattr(_progress, "time", clock)
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(
        tqdm=lambda **given: tqdm(**given, file=out, ncols=79, mininterval=0)))
    X, y = problem("cross_entropy")
    Trainer(network(), batch_size=5, seed=0).fit(X[:40], y[:40], epochs=2, validation_data=(X, y), progress=True)
    shown = [line.strip() for line in out.getvalue().split("\r") if line.strip()]
    within = [line for line in shown if " rows/s" in line]
    assert [line[:3] for line in within] == ["0/2"] * 7 + ["1/2"] * 7
    assert all(re.search(r"<\d\d:\d\d, \S+ rows/s, loss=\d\.\d{4}", line) for line in within)
    assert "val_loss=" in within[-1] and len({line[4:].split("|")[0] for line in within}) > 10  # the bar itself
    assert shown[-1].startswith("2/2|") and "val_loss=" in shown[-1]


@pytest.mark.parametrize("number, text", [(0, "0"), (950.4, "950"), (999.7, "1k"), (1234, "1.23k"), (99_960, "100k"),
                                          (456_789, "457k"), (7.6e6, "7.6M"), (3e9, "3G"), (5e13, "50000G")])
def test_a_short_number(number, text):
    assert _progress.short(number) == text


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3600, "1:00:00"),
                                           (100000, "27:46:40")])
def test_a_time_as_on_a_clock(seconds, text):
    assert _progress.clock(seconds) == text


def test_the_numbers_shown_first():
    names = ["loss", "accuracy", "f1", "objective", "lr", "val_loss", "val_accuracy", "val_f1", "val_only"]
    wanted = ["val_loss", "loss", "val_accuracy", "accuracy", "val_f1", "f1", "val_only", "objective", "lr"]
    assert _progress.in_order(names) == wanted


class Recorder:
    def __init__(self):
        self.calls = []

    def on_epoch_begin(self, trainer, epoch):
        self.calls.append(("begin", trainer, epoch))

    def on_epoch_end(self, trainer, epoch, logs):
        self.calls.append(("end", trainer, epoch, dict(logs)))


def test_callbacks_are_called_around_each_epoch():
    X, y = problem("cross_entropy")
    recorder, ends = Recorder(), []
    trainer = Trainer(network())

    def at_the_end(trainer, epoch, logs):
        ends.append(epoch)

    history = trainer.fit(X, y, epochs=2, callbacks=[recorder, at_the_end], validation_data=(X, y))
    logs = [{name: values[i] for name, values in history.items()} for i in range(2)]
    assert recorder.calls == [("begin", trainer, 0), ("end", trainer, 0, logs[0]),
                              ("begin", trainer, 1), ("end", trainer, 1, logs[1])]
    trainer.fit(X, y, callbacks=[at_the_end])
    assert ends == [0, 1, 2]


def test_a_callback_with_one_method_is_enough():
    class Begins:
        epochs = []

        def on_epoch_begin(self, trainer, epoch):
            self.epochs.append(epoch)

    X, y = problem("cross_entropy")
    Trainer(network()).fit(X, y, epochs=2, callbacks=[Begins()])
    assert Begins.epochs == [0, 1]


def test_true_from_a_callback_stops_training():
    X, y = problem("cross_entropy")
    later = []

    def stop(trainer, epoch, logs):
        return epoch == 2

    net, wanted = network(), network()
    history = Trainer(net, seed=0).fit(X, y, epochs=10, callbacks=[stop, lambda *args: later.append(args[1])])
    assert len(history["loss"]) == 3
    assert later == [0, 1, 2]
    Trainer(wanted, seed=0).fit(X, y, epochs=3)
    assert_same(net.parameters, wanted.parameters)
    assert len(Trainer(net).fit(X, y, epochs=4, callbacks=[lambda *_: 1])["loss"]) == 4  # only True stops


@pytest.mark.parametrize("where, done", [("on_epoch_begin", 1), ("on_epoch_end", 2)])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_in_a_callback_leaves_a_usable_network(where, done, error):
    class Fails:
        pass

    def fail(trainer, epoch, logs=None):
        if epoch == 1:
            raise error("from the callback")

    callback = Fails()
    setattr(callback, where, fail)
    X, y = problem("cross_entropy")
    net, wanted = network(), network()
    trainer, undisturbed = (Trainer(each, optimizer=SGD(0.1, momentum=0.9), seed=0) for each in (net, wanted))
    with pytest.raises(error, match="from the callback"):
        trainer.fit(X, y, epochs=5, callbacks=[callback])
    undisturbed.fit(X, y, epochs=done)
    assert_same(net.parameters, wanted.parameters)
    trainer.fit(X, y, epochs=2)
    undisturbed.fit(X, y, epochs=2)
    assert_same(net.parameters, wanted.parameters)


@pytest.mark.parametrize("wish", [True, np.bool_(True)])
def test_a_callback_ends_training_with_numpys_true_as_well(wish):
    X, y = problem("cross_entropy")
    assert Trainer(network()).fit(X, y, epochs=5, callbacks=[lambda *_: wish]).n_epochs == 1


def test_fit_inside_a_callback_keeps_the_histories_apart():
    X, y = problem("cross_entropy")
    inner = []
    history = Trainer(network()).fit(X, y, epochs=3, callbacks=[lambda t, *_: inner.append(t.fit(X, y))])
    assert history.n_epochs == 3 and [h.n_epochs for h in inner] == [1, 1, 1]


def test_nan_reaches_the_residuals_of_its_own_row_alone():
    net = Network([3, 5, 2], output="softmax", seed=0)
    X = np.ones((4, 3))
    X[2] = np.nan
    for delta in mlpfast.backprop.residuals(net, X, [0, 1, 0, 1], "cross_entropy"):
        assert np.isnan(delta[2]).all() and np.isfinite(delta[[0, 1, 3]]).all()
