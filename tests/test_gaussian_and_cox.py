"""gaussian_nll and cox_ph, whose y has another shape than the outputs: against formulas, PyTorch, published values."""

import numpy as np
import pytest
import reference
from test_gradient_and_apply import assert_a_step_has_the_bits_of_the_explicit_path

from mlpfast import LBFGS, SGD, Network, Trainer, backprop, losses

both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])


def problem(loss, n=40, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(dtype)
    if loss == "gaussian_nll":
        return X, rng.normal(size=(n, 2))
    return X, np.column_stack([rng.integers(1, n // 3, size=n), rng.random(n) < 0.6]).astype(float)


def network(loss, dtype="float64"):
    return Network([5, 9, 4 if loss == "gaussian_nll" else 1], activation="tanh", dtype=dtype, seed=1)


every_loss = pytest.mark.parametrize("loss", ["gaussian_nll", "cox_ph"])


@every_loss
def test_a_loss_and_its_residual_are_the_references(loss):
    X, y = problem(loss)
    net = network(loss)
    z = backprop.forward(net, X).z[-1]
    assert Trainer(net, loss).evaluate(X, y)["loss"] == pytest.approx(
        reference.losses(loss, z, y, "identity").mean(), rel=1e-12)
    wanted = reference.last_residual(loss, z, y, "identity")
    np.testing.assert_allclose(backprop.residuals(net, X, y, loss)[-1], wanted, rtol=1e-10, atol=1e-13)


@every_loss
def test_gradients_are_central_differences(loss):
    X, y = problem(loss, 12)
    net, h = network(loss), 1e-6
    found, dX = backprop.gradients(net, X, y, loss, inputs=True)
    trainer = Trainer(net, loss)

    def slopes(array):
        numeric = np.empty(array.shape)
        for at in np.ndindex(array.shape):
            before, sides = array[at], []
            for side in (h, -h):
                array[at] = before + side
                sides.append(trainer.evaluate(X, y)["loss"])
            array[at] = before
            numeric[at] = (sides[0] - sides[1]) / (2 * h)
        return numeric

    for p, g in zip(net.parameters, [g for pair in found for g in pair], strict=True):
        np.testing.assert_allclose(g, slopes(p), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(dX, len(X) * slopes(X), rtol=1e-6, atol=1e-7)


@both_types
@every_loss
def test_a_fused_step_has_the_bits_of_the_explicit_path(loss, dtype):
    X, y = problem(loss, dtype=dtype)
    weight = np.random.default_rng(2).uniform(0, 2, size=len(X))
    for rule in ({}, dict(sample_weight=weight, mean_weight=0.8)):
        assert_a_step_has_the_bits_of_the_explicit_path(lambda: network(loss, dtype), loss, X, y, **rule)


@every_loss
def test_float32_is_float64_within_rounding(loss):
    X, y = problem(loss)
    single, double = network(loss, "float32"), network(loss)
    for mine, other in zip(double.parameters, single.parameters, strict=True):
        mine[...] = other
    X = X.astype(np.float32)
    a, b = (Trainer(net, loss).evaluate(X, y)["loss"] for net in (single, double))
    assert a == pytest.approx(b, rel=1e-5)
    for g, w in zip(backprop.residuals(single, X, y, loss), backprop.residuals(double, X, y, loss), strict=True):
        np.testing.assert_allclose(g, w, atol=2e-5 * np.abs(w).max())


@both_types
@every_loss
def test_large_outputs_have_finite_losses_and_residuals(loss, dtype):
    X = np.eye(5, dtype=dtype)
    net = Network([5, 4 if loss == "gaussian_nll" else 1], dtype=dtype, seed=0)
    net.layers[0].W[...] = np.array([1e4, -1e4, 0, 500, -500], dtype)[:, None]
    if loss == "gaussian_nll":
        net.layers[0].W[:, :2] = [[0, 1], [1e4, 0], [-1e4, 3], [0, 0], [1, 0]]
        y = net.predict(X)[:, :2].astype(float)
        y[2:] += 1
        net.layers[0].W[4, 2:] = -20
    else:
        y = np.array([[5, 1], [1, 1], [5, 1], [2, 0], [7, 1]])
    assert np.isfinite(Trainer(net, loss).evaluate(X, y)["loss"])
    delta = backprop.residuals(net, X, y, loss)[-1]
    assert np.isfinite(delta).all() and delta.any()


# ---- gaussian_nll


def test_the_gaussian_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    X, y = problem("gaussian_nll")
    weight = np.random.default_rng(3).uniform(0, 2, size=y.shape)
    net = network("gaussian_nll")
    z = torch.tensor(backprop.forward(net, X).z[-1], requires_grad=True)
    terms = torch.nn.functional.gaussian_nll_loss(
        z[:, :2], torch.tensor(y), torch.exp(z[:, 2:]), reduction="none", eps=1e-12)
    (terms * torch.tensor(weight)).sum().backward()
    trainer = Trainer(net, losses.GaussianNLL())
    wanted = (terms.detach().numpy() * weight).sum() / weight.mean(axis=1).sum()
    assert trainer.evaluate(X, y, sample_weight=weight)["loss"] == pytest.approx(wanted, rel=1e-12)
    got = backprop.gradients(net, X, y, "gaussian_nll", sample_weight=weight, mean_weight=1 / len(X))[-1][1]
    np.testing.assert_allclose(got, z.grad.numpy().sum(axis=0), rtol=1e-9)


def test_the_gaussian_finds_mean_and_variance_and_leaves_out_missing_numbers():
    y = np.random.default_rng(0).normal(3, 2, size=1000)
    y[:500:2] = np.nan
    net = Network([1, 2], dtype="float64", seed=0)
    loss = losses.GaussianNLL(missing="ignore")
    trainer = Trainer(net, loss, SGD(0.5), batch_size=None)
    trainer.fit(np.zeros((1000, 1)), y, epochs=500)
    mean, log_variance = net.predict(np.zeros((1, 1)))[0]
    assert mean == pytest.approx(np.nanmean(y), rel=1e-3)
    assert np.exp(log_variance) == pytest.approx(np.nanvar(y), rel=1e-3)
    got = trainer.evaluate(np.zeros((1000, 1)), y, metrics="mae")
    assert got["mae"] == pytest.approx(np.nanmean(np.abs(y - mean)))


# ---- cox_ph


def test_cox_has_the_published_values_of_efrons_method():
    """The first test data of Therneau and Grambsch, "Modeling Survival Data" (2000), appendix E.1, which R's survival
    package checks itself with: the log likelihood at 0, and the estimate."""
    X = np.array([1.0, 1, 1, 0, 0, 0])[:, None]
    y = np.array([[1, 1], [1, 0], [6, 1], [6, 1], [8, 0], [9, 1]])
    net = Network([1, 1], dtype="float64", seed=0)
    trainer, W = Trainer(net, losses.CoxPH()), net.layers[0].W
    W[...] = 0
    assert -6 * trainer.evaluate(X, y)["loss"] == pytest.approx(-4.276666, abs=1e-6)
    W[...] = 1.676857
    assert backprop.gradients(net, X, y, "cox_ph")[0][0][0, 0] == pytest.approx(0, abs=1e-6)


def test_cox_is_that_of_statsmodels():
    duration = pytest.importorskip("statsmodels.duration.hazard_regression")
    X, y = problem("cox_ph")
    net = Network([5, 1], dtype="float64", seed=0)
    model = duration.PHReg(y[:, 0], X, status=y[:, 1], ties="efron")
    wanted = model.loglike(net.layers[0].W[:, 0].copy())
    assert Trainer(net, "cox_ph").evaluate(X, y)["loss"] == pytest.approx(-wanted / len(X), rel=1e-10)


def test_weights_of_cox_are_the_references():
    X, y = problem("cox_ph")
    weight = np.random.default_rng(1).uniform(0, 2, size=len(X))
    weight[::5] = 0
    net = network("cox_ph")
    z = backprop.forward(net, X).z[-1]
    value, delta = reference.cox(z, y, weight)
    got = Trainer(net, "cox_ph").evaluate(X, y, sample_weight=weight)["loss"]
    assert got == pytest.approx(value.sum() / weight.sum(), rel=1e-12)
    grads = backprop.gradients(net, X, y, "cox_ph", sample_weight=weight)
    hidden = backprop.forward(net, X).a[0]
    np.testing.assert_allclose(grads[1][0], hidden.T @ delta / weight.sum(), rtol=1e-9, atol=1e-12)
    kept = weight > 0
    without = Trainer(net, "cox_ph").evaluate(X[kept], y[kept], sample_weight=weight[kept])["loss"]
    assert got == pytest.approx(without, rel=1e-12)


def test_only_the_order_of_the_times_counts():
    """Also of times that float32 cannot tell apart."""
    X, y = problem("cox_ph", dtype="float32")
    net = network("cox_ph", "float32")
    trainer = Trainer(net, "cox_ph")
    later = y.copy()
    later[:, 0] = 2.0**40 + y[:, 0]
    assert trainer.evaluate(X, y) == trainer.evaluate(X, later)
    assert trainer.evaluate(X, y)["loss"] == pytest.approx(
        trainer.evaluate(X[::-1].copy(), y[::-1].copy())["loss"], rel=1e-6)
    assert trainer.evaluate(X, y * [0, 1])["loss"] > trainer.evaluate(X, y)["loss"]


@both_types
def test_a_minibatch_of_cox_is_one_loss(dtype):
    """Chunks and threads do not cut it."""
    X, y = problem("cox_ph", 300, dtype)
    results = []
    for chunk_rows, threads in ((1024, 1), (1024, 3)):
        net = network("cox_ph", dtype)
        Trainer(net, "cox_ph", batch_size=100, seed=0, threads=threads, chunk_rows=chunk_rows).fit(X, y, epochs=2)
        results.append([p.copy() for p in net.parameters])
    for p, q in zip(*results, strict=True):
        np.testing.assert_array_equal(p, q)
    net = network("cox_ph", dtype)
    whole, parts = (Trainer(net, "cox_ph", chunk_rows=rows).gradient(X, y) for rows in (1024, 16))
    assert whole[0] == pytest.approx(parts[0], rel=1e-12)
    assert whole[0] == pytest.approx(Trainer(net, "cox_ph").evaluate(X, y)["loss"], rel=1e-6)
    for g, h in zip(whole[1], parts[1], strict=True):
        np.testing.assert_allclose(g, h, rtol=1e-3, atol=1e-5)


def test_cox_trains_and_validates():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    time = rng.exponential(np.exp(-X[:, 0] + 0.5 * X[:, 1]))
    censored = rng.exponential(2.0, size=400)
    y = np.column_stack([np.minimum(time, censored), time <= censored])
    net = Network([3, 1], dtype="float64", seed=0)
    trainer = Trainer(net, losses.CoxPH(), "adam", batch_size=None, seed=0)
    trainer.optimizer.lr = 0.05
    history = trainer.fit(X, y, epochs=200, validation_split=0.2)
    np.testing.assert_allclose(net.layers[0].W[:, 0], [1, -0.5, 0], atol=0.25)
    assert history["val_loss"][-1] < history["val_loss"][0]
    pytest.importorskip("scipy")
    other = Network([3, 1], dtype="float64", seed=0)
    Trainer(other, "cox_ph", LBFGS(), batch_size=None, chunk_rows=64).fit(X, y)
    trainer.fit(X, y, epochs=400)
    np.testing.assert_allclose(other.layers[0].W, net.layers[0].W, atol=1e-2)


def test_without_an_event_there_is_nothing_to_learn():
    X, y = problem("cox_ph")
    y[:, 1] = 0
    net = network("cox_ph")
    assert Trainer(net, "cox_ph").step(X, y) == 0
    assert not any(g.any() for pair in backprop.gradients(net, X, y, "cox_ph") for g in pair)


@pytest.mark.parametrize("call, message", [
    (lambda: Trainer(Network([2, 3]), "gaussian_nll"), "needs two outputs for each column of y, mean and log variance"),
    (lambda: Trainer(Network([2, 2], output="tanh"), "gaussian_nll"), "needs an output activation of identity"),
    (lambda: Trainer(Network([2, 2]), "cox_ph"), "needs one output, the log hazard, got 2"),
    (lambda: Trainer(Network([2, 2]), "gaussian_nll").fit(np.eye(2), np.eye(2)), r"\(n,\) or \(n, 1\)"),
    (lambda: Trainer(Network([2, 1]), "cox_ph").fit(np.eye(2), [1, 2]), r"y must have shape \(n, 2\)"),
    (lambda: Trainer(Network([2, 1]), "cox_ph").fit(np.eye(2), [[1, 2], [1, 1]]), "and events 0 or 1, got 2 in row 0"),
    (lambda: Trainer(Network([2, 1]), "cox_ph").fit(np.eye(2), [[np.nan, 1], [1, 1]]), "got nan in row 0, column 0"),
    (lambda: Trainer(Network([2, 1]), "cox_ph").fit(np.eye(2), np.eye(2), sample_weight=np.eye(2)), r"shape \(n,\)"),
    (lambda: Trainer(Network([2, 1]), "cox_ph").evaluate(np.eye(2), np.eye(2), metrics="mae"), "goes with no output"),
    (lambda: Trainer(Network([2, 1]), "coxph"), "did you mean 'cox_ph'"),
])
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_output_that_is_not_finite_is_an_error_that_changes_nothing():
    X, y = problem("cox_ph")
    net = network("cox_ph")
    net.layers[-1].b[0] = np.nan
    before = [p.copy() for p in net.parameters]
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        Trainer(net, "cox_ph").step(X, y)
    for p, b in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(p, b)


@pytest.mark.parametrize("hazard", [2000.0, 1e300])
@both_types
def test_rows_of_weight_0_do_not_enter_cox_whatever_their_hazard(dtype, hazard):
    net = Network([1, 1], dtype=dtype, seed=0)
    net.layers[0].W[...] = 1
    X = np.array([[min(hazard, float(np.finfo(dtype).max))], [1], [2], [3]])
    y, weight = np.array([[5, 1], [1, 1], [2, 1], [3, 0.0]]), [0, 1, 1, 1]
    trainer = Trainer(net, "cox_ph", SGD(0.1), batch_size=None)
    assert trainer.evaluate(X, y, sample_weight=weight) == trainer.evaluate(X[1:], y[1:])
    found, = backprop.gradients(net, X, y, "cox_ph", sample_weight=weight)
    wanted, = backprop.gradients(net, X[1:], y[1:], "cox_ph")
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6)
    loss = trainer.step(X, y, sample_weight=weight)
    assert loss == pytest.approx(reference.losses("cox_ph", X[1:], y[1:], "identity").mean(), rel=1e-6)
    assert np.isfinite(net.layers[0].W).all()


def test_a_loss_of_cox_that_overflows_is_noticed():
    net = Network([1, 1], dtype="float64", seed=0)
    net.layers[0].W[...] = 1
    trainer = Trainer(net, "cox_ph", SGD(0.1), batch_size=None)
    with pytest.raises(FloatingPointError, match="the loss is inf"):
        trainer.step([[1.7e308], [-1.7e308]], [[1, 0], [0, 1.0]])
    assert net.layers[0].W == 1


def test_a_derivative_that_overflows_is_noticed_where_the_loss_does_not():
    net = Network([1, 2], seed=0)  # m = 0 and s = -176: e^-s is infinite in float32
    net.layers[0].W[...], net.layers[0].b[...] = 0, [0, -176]
    trainer = Trainer(net, "gaussian_nll", SGD(0.1))
    with pytest.raises(FloatingPointError, match="derivative of the loss"):
        trainer.step([[1.0]], [[1e-37]])
    assert np.array_equal(net.layers[0].b, [0, -176])
    assert np.isinf(backprop.residuals(net, [[1.0]], [[1e-37]], "gaussian_nll")[0][0, 0])


def test_y_of_cox_is_named_as_it_was_given():
    with pytest.raises(ValueError, match=r"y must have shape \(n, 2\) for loss 'cox_ph', got \(4,\)"):
        Trainer(Network([1, 1]), "cox_ph", batch_size=None).fit(np.ones((4, 1)), np.ones(4))


def test_the_gradient_of_a_bias_that_cox_does_not_depend_on_is_no_error():
    X, y = problem("cox_ph", 12)
    assert backprop.check_gradients(network("cox_ph"), X, y, "cox_ph") < 1e-5
