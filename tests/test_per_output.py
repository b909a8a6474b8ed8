"""losses.PerOutput and activations.PerOutput: parts of the outputs with a loss and an activation of their own."""

import pickle

import numpy as np
import pytest
import reference
from test_gradient_and_apply import assert_a_step_has_the_bits_of_the_explicit_path

from mlpfast import (
    LBFGS,
    SGD,
    Adam,
    Layer,
    NaturalGradient,
    Network,
    Trainer,
    activations,
    backprop,
    diagnostics,
    losses,
)
from mlpfast.callbacks import EarlyStopping

both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])
# Outputs, loss, factor; columns of y: a class, a number, two of 0 and 1, a count, two numbers, one for two quantiles.
PARTS = [
    (slice(0, 3), losses.CrossEntropy(0.1), 1.0), (3, losses.Huber(0.5), 0.5),
    (slice(4, 6), "binary_cross_entropy", 2.0), (6, "poisson"), (slice(7, 11), "gaussian_nll", 0.3),
    (slice(11, 13), losses.Quantile([0.2, 0.7]), 1.5),
]
SINGLE = [  # columns of the outputs and of y, loss, factor; the quantiles apart
    (slice(0, 3), slice(0, 1), losses.CrossEntropy(0.1), 1.0), (slice(3, 4), slice(1, 2), losses.Huber(0.5), 0.5),
    (slice(4, 6), slice(2, 4), losses.BinaryCrossEntropy(), 2.0), (slice(6, 7), slice(4, 5), losses.Poisson(), 1.0),
    (slice(7, 11), slice(5, 7), losses.GaussianNLL(), 0.3),
    (slice(11, 12), slice(7, 8), losses.Quantile(0.2), 1.5), (slice(12, 13), slice(7, 8), losses.Quantile(0.7), 1.5),
]
ACTIVATIONS = [  # where any goes with the loss, others than identity
    (slice(0, 3), "softmax"), (3, "tanh"), (slice(4, 6), "sigmoid"), (6, "softplus"), (slice(7, 11), "identity"),
    (slice(11, 13), activations.LeakyReLU(0.3)),
]
OUTPUTS = {
    "logits": "identity", "its own": losses.PerOutput(PARTS).output, "others": activations.PerOutput(ACTIVATIONS),
}
every_output = pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)


def problem(n=40, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    y = np.column_stack([
        rng.integers(3, size=n), rng.normal(size=n), rng.integers(2, size=(n, 2)), rng.poisson(2, size=n),
        rng.normal(size=(n, 2)), rng.normal(size=n),
    ])
    return rng.normal(size=(n, 5)).astype(dtype), y


def network(output="identity", dtype="float64", **settings):
    return Network([5, 9, 13], activation="tanh", output=output, dtype=dtype, seed=1, **settings)


def of_reference(net, X, y, weight=None):
    """(the losses of the rows, delta_L), each part by the reference's formula for it."""
    z = backprop.forward(net, X).z[-1]
    total, delta = np.zeros(len(X)), np.zeros(z.shape)
    for out, columns, loss, factor in SINGLE:
        activation = losses.activation_of(net.layers[-1]._unit, out.start, out.stop - out.start)
        truth = reference.one_hot(y[:, 0].astype(int), 3) if loss.name == "cross_entropy" else y[:, columns]
        rule = (activation.name, loss.parameter, loss.label_smoothing)
        w = np.ones((len(X), 1)) if weight is None else weight[:, columns]
        alpha = (activation.alpha,) if activation.parameters else ()
        if alpha:
            of, terms, slopes = reference.LOSSES[loss.name]
            a, settings = reference.ACTIVATIONS[activation.name](z[:, out], *alpha), reference.Settings(*rule[1:], "")
            value = terms(a, truth, settings).sum(axis=1)
            residual = reference.through(activation.name, z[:, out], slopes(a, truth, settings), *alpha)
        else:
            value = reference.losses(loss.name, z[:, out], truth, *rule)
            residual = reference.last_residual(loss.name, z[:, out], truth, *rule)
        if w.shape[1] == 1:
            total, delta[:, out] = total + factor * w[:, 0] * value, factor * w * residual
        else:  # term by term
            of, terms, _ = reference.LOSSES[loss.name]
            total = total + factor * (w * terms(z[:, out], truth, reference.Settings(*rule[1:], ""))).sum(axis=1)
            delta[:, out] = factor * residual * (np.hstack([w, w]) if loss.name == "gaussian_nll" else w)
    return total, delta


@every_output
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_and_its_residual_are_the_sums_of_the_references(output, weighted):
    X, y = problem()
    net, loss = network(output), losses.PerOutput(PARTS)
    weight = np.random.default_rng(1).uniform(0, 2, size=y.shape) if weighted else None
    value, delta = of_reference(net, X, y, weight)
    total = len(X) if weight is None else weight.mean(axis=1).sum()
    got = Trainer(net, loss).evaluate(X, y, sample_weight=weight)["loss"]
    assert got == pytest.approx(value.sum() / total, rel=1e-12)
    if not weighted:
        np.testing.assert_allclose(backprop.residuals(net, X, y, loss)[-1], delta, rtol=1e-10, atol=1e-13)
    grads = backprop.gradients(net, X, y, loss, sample_weight=weight)
    np.testing.assert_allclose(grads[-1][1], delta.sum(axis=0) / total, rtol=1e-9, atol=1e-13)


@every_output
def test_gradients_are_central_differences(output):
    X, y = problem(9)
    assert backprop.check_gradients(network(output), X, y, losses.PerOutput(PARTS), inputs=True) < 5e-6


@both_types
@every_output
def test_a_fused_step_has_the_bits_of_the_explicit_path(output, dtype):
    X, y = problem(dtype=dtype)
    loss, weight = losses.PerOutput(PARTS), np.random.default_rng(1).uniform(0, 2, size=y.shape)
    for rule in ({}, dict(sample_weight=weight[:, 0]), dict(sample_weight=weight, mean_weight=0.7)):
        assert_a_step_has_the_bits_of_the_explicit_path(lambda: network(output, dtype), loss, X, y, **rule)


@both_types
@pytest.mark.parametrize("kind, output", [("huber", "tanh"), ("binary_cross_entropy", "sigmoid"), ("poisson", "exp")])
def test_one_part_is_the_loss_alone(kind, output, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 5)).astype(dtype), rng.integers(2, size=(50, 4))
    nets = []
    for loss in (kind, losses.PerOutput([(slice(0, 4), kind)])):
        nets.append(Network([5, 7, 4], activation="tanh", output=output, dtype=dtype, seed=0))
        Trainer(nets[-1], loss, "adam", batch_size=8, seed=0).fit(X, y, epochs=2)
    for p, q in zip(nets[0].parameters, nets[1].parameters, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-6 if dtype == "float64" else 1e-3, atol=1e-6)


def test_they_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    f, (X, y) = torch.nn.functional, problem()
    net, t = network(), torch.tensor(y)
    z = torch.tensor(backprop.forward(net, X).z[-1], requires_grad=True)
    loss = (
        f.cross_entropy(z[:, :3], t[:, 0].long(), label_smoothing=0.1, reduction="sum")
        + 0.5 * f.huber_loss(z[:, 3], t[:, 1], delta=0.5, reduction="sum")
        + 2 * f.binary_cross_entropy_with_logits(z[:, 4:6], t[:, 2:4], reduction="sum")
        + f.poisson_nll_loss(z[:, 6], t[:, 4], reduction="sum")
        + 0.3 * f.gaussian_nll_loss(z[:, 7:9], t[:, 5:7], torch.exp(z[:, 9:11]), reduction="sum", eps=1e-12)
    )
    for q, column in ((0.2, 11), (0.7, 12)):
        r = z[:, column] - t[:, 7]
        loss = loss + 1.5 * torch.maximum(-q * r, (1 - q) * r).sum()
    loss.backward()
    assert Trainer(net, losses.PerOutput(PARTS)).evaluate(X, y)["loss"] == pytest.approx(loss.item() / 40, rel=1e-12)
    delta = backprop.residuals(net, X, y, losses.PerOutput(PARTS))[-1]
    np.testing.assert_allclose(delta, z.grad.numpy(), rtol=1e-10, atol=1e-13)


@both_types
def test_predictions_have_the_activations_of_the_parts(dtype):
    X, _ = problem(37, dtype)
    net, plain = network(OUTPUTS["others"], dtype), network(dtype=dtype)
    z = plain.predict(X)
    wanted = np.column_stack([
        reference.softmax(z[:, :3].astype(float)), np.tanh(z[:, 3]), reference.sigmoid(z[:, 4:6]),
        reference.softplus(z[:, 6]), z[:, 7:11], np.where(z[:, 11:] > 0, z[:, 11:], 0.3 * z[:, 11:]),
    ])
    got = net.predict(X)
    np.testing.assert_allclose(got, wanted, rtol=1e-5 if dtype == "float32" else 1e-12)
    for split in (net.predict(X, threads=3), np.vstack([net.predict(X[:5]), net.predict(X[5:])])):
        np.testing.assert_array_equal(split, got)
    np.testing.assert_array_equal(backprop.forward(net, X).a[-1], got)
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(X), got)
    assert again.layers[-1].activation == net.layers[-1].activation
    many = np.repeat(X, 200, axis=0)
    np.testing.assert_array_equal(net.predict(many)[::200], got)


def test_metrics_are_those_of_each_part():
    X, y = problem(60)
    metrics = pytest.importorskip("sklearn.metrics")
    loss = losses.PerOutput(PARTS)
    weight = np.random.default_rng(1).uniform(0.1, 2, size=y.shape)
    for output in ("identity", loss.output):
        net = network(output)
        z, w = net.predict(X), weight.T
        got = Trainer(net, loss).evaluate(X, y, weight, metrics=["accuracy", "top_2", "mae", "r2", "exact_match"])
        binary = z[:, 4:6] > (0 if output == "identity" else 0.5)
        wanted = {
            "accuracy[0]": metrics.accuracy_score(y[:, 0], z[:, :3].argmax(axis=1), sample_weight=w[0]),
            "top_2[0]": metrics.top_k_accuracy_score(y[:, 0], z[:, :3], k=2, sample_weight=w[0]),
            "accuracy[2]": np.average(binary == y[:, 2:4], weights=weight[:, 2:4]),
            "mae[1]": metrics.mean_absolute_error(y[:, 1], z[:, 3], sample_weight=w[1]),
            "r2[1]": metrics.r2_score(y[:, 1], z[:, 3], sample_weight=w[1]),
            "mae[3]": metrics.mean_absolute_error(y[:, 4], z[:, 6], sample_weight=w[4]),
            "mae[4]": np.average(abs(y[:, 5:7] - z[:, 7:9]), weights=weight[:, 5:7]),
            "mae[5][0]": metrics.mean_absolute_error(y[:, 7], z[:, 11], sample_weight=w[7]),
            "mae[5][1]": metrics.mean_absolute_error(y[:, 7], z[:, 12], sample_weight=w[7]),
        }
        assert {name: got[name] for name in wanted} == pytest.approx(wanted)
        assert set(got) >= {"exact_match[0]", "exact_match[2]", "r2[3]", "r2[4]", "r2[5][0]"}


def test_names_of_parts_have_a_direction_and_functions_see_all_of_y():
    X, y = problem(60)
    seen = []

    def own(y, yhat, sample_weight):
        seen.append((y.shape, yhat.shape, sample_weight.shape))
        return 1.0

    stop = EarlyStopping("val_accuracy[0]", patience=2)
    trainer = Trainer(network(OUTPUTS["its own"]), losses.PerOutput(PARTS), seed=0)
    history = trainer.fit(X, y, epochs=9, validation_split=0.5, metrics=["accuracy", "mae", own], callbacks=[stop],
                          sample_weight=np.ones(y.shape))
    assert stop.best == max(history["val_accuracy[0]"])
    assert set(seen) == {((30, 8), (30, 13), (30,))}
    with pytest.raises(ValueError, match=r"got 'val_accuracy\[0\]'; it needs metrics='accuracy'"):
        trainer.fit(X, y, validation_split=0.5, callbacks=[stop])


@pytest.mark.parametrize("optimizer", [LBFGS(max_iterations=4), Adam(0.01)], ids=str)
def test_training_lowers_the_loss(optimizer):
    X, y = problem(200)
    y[::7, 1] = np.nan
    parts = [*PARTS[:1], (3, losses.Huber(0.5, missing="ignore"), 0.5), *PARTS[2:]]
    trainer = Trainer(network(OUTPUTS["others"]), losses.PerOutput(parts), optimizer, seed=0, chunk_rows=64,
                      batch_size=None if isinstance(optimizer, LBFGS) else 32)
    history = trainer.fit(X, y, epochs=4)
    assert history["loss"][-1] < history["loss"][0]
    report = diagnostics.gradient_flow(trainer.network, X, y, losses.PerOutput(parts))
    assert report.layers[-1].activation == "per_output"


def test_the_columns_of_y_are_in_the_order_of_the_parts():
    rng = np.random.default_rng(0)
    X, y, nets = rng.normal(size=(60, 5)), rng.normal(size=(60, 4)), []
    parts = losses.PerOutput([(slice(2, 6), losses.Quantile([0.2, 0.7]), 2.0), (slice(0, 2), "huber")])
    apart = losses.PerOutput([
        (0, "huber"), (1, "huber"), *((2 + i, losses.Quantile(q), 2.0) for i, q in enumerate([0.2, 0.7, 0.2, 0.7]))])
    for loss, targets in ((parts, y), (apart, y[:, [2, 3, 0, 0, 1, 1]])):
        nets.append(Network([5, 7, 6], activation="tanh", dtype="float64", seed=0))
        Trainer(nets[-1], loss, batch_size=16, seed=0).fit(X, targets)
    for p, q in zip(nets[0].parameters, nets[1].parameters, strict=True):
        np.testing.assert_array_equal(p, q)


# ---- several quantiles


@both_types
def test_quantiles_are_losses_of_one_quantile_each(dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 5)).astype(dtype), rng.normal(size=(60, 2))
    loss = losses.Quantile([0.1, 0.5, 0.9])
    nets = []
    apart = losses.PerOutput([(3 * j + i, losses.Quantile(q)) for j in (0, 1) for i, q in enumerate(loss.q)])
    for each in (loss, apart):
        nets.append(Network([5, 7, 6], activation="tanh", dtype=dtype, seed=0))
        targets = y if each is loss else np.repeat(y, 3, axis=1)
        Trainer(nets[-1], each, batch_size=16, seed=0).fit(X, targets, epochs=2)
    for p, q in zip(nets[0].parameters, nets[1].parameters, strict=True):
        np.testing.assert_array_equal(p, q)


def test_quantiles_of_a_constant_input_are_the_samples():
    y = np.random.default_rng(0).exponential(size=2001)
    loss, net = losses.Quantile([0.1, 0.5, 0.9]), Network([1, 3], dtype="float64", seed=0)
    trainer = Trainer(net, loss, SGD(1.0), batch_size=None)
    for rate in (1.0, 0.1, 0.01):
        trainer.optimizer.lr = rate
        trainer.fit(np.zeros((2001, 1)), y, epochs=300)
    np.testing.assert_allclose(net.predict(np.zeros((1, 1)))[0], np.quantile(y, loss.q), atol=0.02)


def test_quantiles_can_be_sorted_and_missing():
    loss = losses.Quantile((0.1, 0.9), missing="ignore")
    yhat = np.array([[2, 1, 3, 4], [0, 5, 9, 7]], np.float32)
    ordered = loss.sorted(yhat)
    np.testing.assert_array_equal(ordered, [[1, 2, 3, 4], [0, 5, 7, 9]])
    assert ordered.dtype == np.float32 and yhat[0, 0] == 2
    np.testing.assert_array_equal(losses.Quantile(0.3).sorted(yhat), yhat)
    with pytest.raises(ValueError, match=r"yhat must have shape \(n, k 2\)"):
        loss.sorted(yhat[:, :3])
    X, y = np.random.default_rng(0).normal(size=(2, 30, 2))
    net, known = Network([2, 4], dtype="float64", seed=0), np.ones(30, bool)
    y[:7], known[:7] = np.nan, False
    trainer = Trainer(net, loss)
    assert trainer.evaluate(X, y) == pytest.approx(trainer.evaluate(X[known], y[known]))
    y[7, 1] = np.nan
    assert backprop.check_gradients(net, X, y, loss) < 5e-6
    got = trainer.evaluate(X, y, metrics="mae")
    assert got["mae[0]"] == pytest.approx(np.nanmean(abs(net.predict(X)[:, ::2] - y)))


# ---- what is refused


def per(*parts, **_):
    return losses.PerOutput(parts)


@pytest.mark.parametrize("call, message", [
    (lambda: per(), "must have at least one part"),
    (lambda: losses.PerOutput("huber"), "parts must be a list such as"),
    (lambda: per((0, "huber", 1, 2)), "parts must be a list such as"),
    (lambda: per((0, "huber"), (2, "huber")), "got output 1 never"),
    (lambda: per((1, "huber")), "got output 0 never"),
    (lambda: per((slice(0, 3), "huber"), (2, "huber")), "got output 2 several times"),
    (lambda: per((slice(0, 3, 2), "huber")), r"parts\[0\] must be a number or a slice with an end"),
    (lambda: per((slice(0, None), "huber")), r"parts\[0\] must be a number or a slice with an end"),
    (lambda: per((slice(2, 2), "huber")), "at least one of them"),
    (lambda: per((-1, "huber")), r"parts\[0\] must be outputs from 0 on"),
    (lambda: per((1.5, "huber")), r"parts\[0\] must be a number or a slice, got 1.5"),
    (lambda: per((True, "huber")), r"parts\[0\] must be a number or a slice, got True"),
    (lambda: per((0, "huber", 0)), r"parts\[0\] factor must be > 0"),
    (lambda: per((0, "hubert")), r"parts\[0\] must be one of .*did you mean 'huber'"),
    (lambda: per((0, "cross_entropy")), "needs at least 2 outputs"),
    (lambda: per((slice(0, 3), "gaussian_nll")), "needs two outputs for each column"),
    (lambda: per((0, losses.CoxPH())), r"parts\[0\] must have a loss of the library for single rows"),
    (lambda: per((0, losses.Custom(np.sin, np.cos))), r"parts\[0\] must have a loss of the library"),
    (lambda: per((0, per((0, "huber")))), r"parts\[0\] must have a loss of the library"),
    (lambda: activations.PerOutput([(0, "prelu")]), r"parts\[0\] must be an activation of the library without"),
    (lambda: activations.PerOutput([(0, "tanh", 1)]), "parts must be a list such as"),
    (lambda: Layer(3, 4, activations.PerOutput([(slice(0, 3), "tanh")])), "must have parts of all 4 outputs"),
    (lambda: Network([Layer(3, 1, activations.PerOutput([(0, "tanh")])), Layer(1, 1)]), "that of the last layer"),
    (lambda: Trainer(network(OUTPUTS["its own"]), "huber"), "loss must be a PerOutput for a network with a PerOutput"),
    (lambda: Trainer(network(OUTPUTS["its own"]), losses.Custom(np.sin, np.cos)), "loss must be a PerOutput"),
    (lambda: Trainer(network(), per((slice(0, 3), "huber"))), "needs 3 outputs, got 13"),
    (lambda: Trainer(network("softmax"), losses.PerOutput(PARTS)), "needs an output activation with the same parts"),
    (lambda: Trainer(network("tanh"), losses.PerOutput(PARTS)), "needs an output activation of softmax or identity"),
    (lambda: Trainer(network("prelu"), per((slice(0, 13), "huber"))), "without learned slopes, got PReLU"),
    (lambda: Trainer(network(OUTPUTS["its own"]), per((slice(0, 2), "huber"), (slice(2, 13), "huber"))), "same parts"),
    (lambda: Trainer(network("softmax"), losses.Quantile(np.arange(1, 14) / 14)), "activation for each output, got"),
    (lambda: Trainer(network(), losses.Quantile([0.2, 0.4])), "needs 2 outputs for each column of y, got 13"),
    (lambda: losses.Quantile([0.5, 0.2]), "q must hold ascending numbers"),
    (lambda: losses.Quantile([]), "q must hold ascending numbers"),
    (lambda: losses.Quantile([0.5, 1]), r"q\[1\] must be < 1"),
    (lambda: Trainer(network(), losses.PerOutput(PARTS), NaturalGradient(), batch_size=None).fit(*problem()),
     "loss and output must be one of"),
    (lambda: Trainer(network(), losses.PerOutput(PARTS)).fit(problem()[0], problem()[1][:, :7]), r"shape \(n, 8\)"),
    (lambda: Trainer(network(), losses.PerOutput(PARTS)).fit(*problem(), class_weight="balanced"), "class_weight"),
    (lambda: Trainer(network(), losses.PerOutput(PARTS)).evaluate(*problem(), metrics="spam"), "spam"),
    (lambda: Trainer(network(), per((slice(0, 13), "huber"))).evaluate(np.eye(5), np.eye(13)[:5], metrics="top_3"),
     "goes with no output"),
    (lambda: Trainer(network(), losses.PerOutput(PARTS), SGD(), batch_size=4).step(
        problem()[0], problem()[1] + [3, 0, 0, 0, 0, 0, 0, 0]), "class numbers from 0 to 2, got .* column 0"),
    (lambda: Trainer(network(), losses.PerOutput(PARTS)).step(
        problem()[0], problem()[1] - [0, 0, 0, 0, 99, 0, 0, 0]), "finite numbers >= 0, got .* column 4"),
    (lambda: Trainer(Network([2, 2]), per((0, losses.Huber(missing="ignore")), (1, "huber"))).step(
        np.eye(2), [[np.nan, 1], [1, np.nan]]), "finite numbers, got nan in row 1, column 1"),
    (lambda: Trainer(network(activations.PerOutput([(slice(0, 12), "sign"), (12, "tanh")])), per(
        (slice(0, 12), "huber"), (12, "huber"))).step(np.eye(5), np.eye(13)[:5]), "whose 0 stops every gradient"),
])
def test_what_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_reprs_can_be_evaluated():
    names = {**vars(losses), "PerOutput": losses.PerOutput}
    loss = losses.PerOutput(PARTS)
    assert repr(eval(repr(loss), names)) == repr(loss)
    output = activations.PerOutput(ACTIVATIONS)
    assert eval(repr(output), {**vars(activations)}) == output != loss.output
