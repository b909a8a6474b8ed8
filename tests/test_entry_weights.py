"""Weights of the entries of y: sample_weight (n, K), targets that are missing, class_weight of several labels."""

import numpy as np
import pytest
import reference

from mlpfast import LBFGS, SGD, Adam, NaturalGradient, Network, Rprop, Trainer, activations, backprop, losses

LOSSES = {  # with the output that each is tried with
    losses.HalfSquaredError: "tanh", losses.SquaredError: "identity", losses.AbsoluteError: "identity",
    losses.Huber: "identity", losses.Quantile: "softplus", losses.LogCosh: "softmax", losses.Poisson: "exp",
    losses.BinaryCrossEntropy: "sigmoid",
}
every_loss = pytest.mark.parametrize("kind", LOSSES, ids=lambda kind: kind.__name__)
both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])


def problem(n=45, dtype="float64", seed=0):
    """X, y of 0 and 1, NaN in some entries and in a whole row, and weights with zeros."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, 4)).astype(dtype), rng.integers(2, size=(n, 3)).astype(dtype)
    missing = rng.random(y.shape) < 0.3
    missing[7] = True
    missing[8] = False
    weight = rng.uniform(0.2, 3, size=y.shape)
    weight[rng.random(y.shape) < 0.1] = 0
    return X, np.where(missing, np.nan, y).astype(dtype), weight


def network(output, dtype="float64", n_out=3):
    net = Network([4, 6, n_out], activation="tanh", output=output, dtype=dtype, seed=1)
    net.layers[0].b[...] = np.linspace(-0.5, 0.5, 6)
    return net


def flat(gradients):
    return [g for pair in gradients for g in pair]


def of_reference(net, loss, X, y, weight):
    """(the loss, its residuals at the outputs), term by term; NaN in y has weight 0."""
    z = backprop.forward(net, X).z[-1]
    output, weight = net.layers[-1].activation, np.where(np.isnan(y), 0, weight)
    of, terms, derivatives = reference.LOSSES[loss.name]
    settings = reference.Settings(loss.parameter, loss.label_smoothing, output)
    out, known = (z if of == "z" else reference.ACTIVATIONS[output](z)), np.nan_to_num(y)
    delta = weight * derivatives(out, known, settings)
    value = (weight * terms(out, known, settings)).sum() / weight.mean(axis=1).sum()
    return value, delta if of == "z" else reference.through(output, z, delta)


@every_loss
def test_losses_and_residuals_are_the_references(kind):
    loss, (X, y, weight) = kind(missing="ignore"), problem()
    net = network(LOSSES[kind])
    value, delta = of_reference(net, loss, X, y, weight)
    assert Trainer(net, loss).evaluate(X, y, sample_weight=weight)["loss"] == pytest.approx(value, rel=1e-12)
    unweighted, residuals = of_reference(net, loss, X, y, np.ones(y.shape))
    np.testing.assert_allclose(backprop.residuals(net, X, y, loss)[-1], residuals, rtol=1e-10, atol=1e-13)
    assert Trainer(net, loss).evaluate(X, y)["loss"] == pytest.approx(unweighted, rel=1e-12)
    grads = backprop.gradients(net, X, y, loss, sample_weight=weight, mean_weight=1.0)
    np.testing.assert_allclose(grads[-1][1], delta.sum(axis=0) / len(X), rtol=1e-9, atol=1e-13)


@every_loss
def test_gradients_are_central_differences(kind):
    X, y, _ = problem(9)
    assert backprop.check_gradients(network(LOSSES[kind]), X, y, kind(missing="ignore"), inputs=True) < 5e-6


@every_loss
def test_they_are_those_of_pytorch(kind):
    """The loss of each entry, times its weight, summed."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    loss, (X, y, weight) = kind(missing="ignore"), problem()
    net = network(LOSSES[kind])
    weight = np.where(np.isnan(y), 0, weight)
    z, y0, w = (torch.tensor(a) for a in (backprop.forward(net, X).z[-1], np.nan_to_num(y), weight))
    z.requires_grad_()
    output = {"identity": lambda z: z, "softmax": lambda z: torch.softmax(z, 1), "softplus": f.softplus}
    a = output.get(LOSSES[kind], getattr(torch, LOSSES[kind], None))(z)
    terms = {
        "half_squared_error": lambda: f.mse_loss(a, y0, reduction="none") / 2,
        "squared_error": lambda: f.mse_loss(a, y0, reduction="none"),
        "absolute_error": lambda: f.l1_loss(a, y0, reduction="none"),
        "huber": lambda: f.huber_loss(a, y0, reduction="none"),
        "quantile": lambda: torch.maximum(-0.5 * (a - y0), 0.5 * (a - y0)),
        "log_cosh": lambda: torch.log(torch.cosh(a - y0)),
        "poisson": lambda: f.poisson_nll_loss(a, y0, log_input=False, reduction="none", eps=0),
        "binary_cross_entropy": lambda: f.binary_cross_entropy_with_logits(z, y0, reduction="none"),
    }[loss.name]()
    (terms * w).sum().backward()
    got = backprop.gradients(net, X, y, loss, sample_weight=weight, mean_weight=1 / len(X))[-1][1]
    np.testing.assert_allclose(got, z.grad.numpy().sum(axis=0), rtol=1e-9, atol=1e-12)


@both_types
@every_loss
@pytest.mark.parametrize("chunk_rows", [1024, 16])
def test_a_fused_step_has_the_bits_of_the_explicit_path(kind, dtype, chunk_rows):
    loss, (X, y, weight) = kind(missing="ignore"), problem(dtype=dtype)
    settings = dict(optimizer=SGD(0.25), chunk_rows=chunk_rows, l2=0.01)
    nets = [network(LOSSES[kind], dtype) for _ in range(4)]
    rule = dict(sample_weight=weight, mean_weight=0.7)
    stepped = [Trainer(nets[i], loss, threads=threads, **settings) for i, threads in ((0, 1), (1, 3))]
    assert len({trainer.step(X, y, **rule) for trainer in stepped}) == 1
    halves = Trainer(nets[2], loss, **settings)
    halves.apply(halves.gradient(X, y, **rule)[1])
    if chunk_rows == 1024:
        grads = flat(backprop.gradients(nets[3], X, y, loss, l2=0.01, **rule))
        for p, g in zip(nets[3].parameters, grads, strict=True):
            p[...] = p - p.dtype.type(0.25) * g
    for net in nets[1:] if chunk_rows == 1024 else nets[1:3]:
        for p, q in zip(nets[0].parameters, net.parameters, strict=True):
            np.testing.assert_array_equal(p, q)


@both_types
@every_loss
def test_what_the_missing_numbers_are_does_not_matter(kind, dtype):
    """NaN counts like any number with the weight 0, also where an output is not finite."""
    X, y, weight = problem(dtype=dtype)
    results = []
    for filling in (np.nan, 1.0, 0.0):
        loss = kind(missing="ignore") if filling != filling else kind()
        filled, weights = np.where(np.isnan(y), filling, y), np.where(np.isnan(y), 0, weight)
        net = network(LOSSES[kind], dtype)
        trainer = Trainer(net, loss, "adam", batch_size=8, seed=0)
        history = trainer.fit(X, filled, epochs=2, sample_weight=weights, metrics=("mae", "mse"))
        results.append((dict(history), [p.tobytes() for p in net.parameters]))
    assert results[0] == results[1] == results[2]
    loss, net = kind(missing="ignore"), network("identity" if kind is losses.BinaryCrossEntropy else "softplus", dtype)
    net.layers[-1].b[2] = np.inf
    y[:, 2] = np.nan
    assert np.isfinite(Trainer(net, loss).evaluate(X, y)["loss"])
    assert np.isfinite(backprop.residuals(net, X, y, loss)[-1]).all()


@every_loss
def test_without_missing_numbers_nothing_changes(kind):
    X, y, _ = problem()
    y, nets, histories = np.nan_to_num(y), [], []
    for loss in (kind(), kind(missing="ignore")):
        nets.append(network(LOSSES[kind]))
        histories.append(Trainer(nets[-1], loss, batch_size=8, seed=0).fit(X, y))
    assert histories[0] == histories[1]
    for p, q in zip(nets[0].parameters, nets[1].parameters, strict=True):
        np.testing.assert_array_equal(p, q)


@both_types
def test_rows_with_equal_weights_in_all_columns_are_rows_with_that_weight(dtype):
    X, y, weight = problem(dtype=dtype)
    y, nets, histories = np.nan_to_num(y), [], []
    for given in (weight[:, 0], np.repeat(weight[:, :1], 3, axis=1)):
        nets.append(network("sigmoid", dtype))
        trainer = Trainer(nets[-1], "binary_cross_entropy", Adam(0.01), batch_size=8, seed=0)
        histories.append(trainer.fit(X, y, epochs=3, sample_weight=given))
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-5)
    for p, q in zip(nets[0].parameters, nets[1].parameters, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-5)


def test_a_row_without_a_number_takes_no_place():
    X, y, _ = problem()
    y[::3] = np.nan
    kept = ~np.isnan(y).all(axis=1)
    nets, histories = [], []
    for rows in (slice(None), kept):
        nets.append(network("identity"))
        trainer = Trainer(nets[-1], losses.Huber(missing="ignore"), batch_size=4, seed=0)
        histories.append(trainer.fit(X[rows], y[rows], epochs=2))
    assert histories[0] == histories[1]
    for p, q in zip(nets[0].parameters, nets[1].parameters, strict=True):
        np.testing.assert_array_equal(p, q)


def test_one_output():
    X, y, _ = problem()
    y[7, 0] = np.nan
    net = network("identity", n_out=1)
    trainer, known = Trainer(net, losses.SquaredError(missing="ignore")), ~np.isnan(y[:, 0])
    got = trainer.evaluate(X, y[:, 0], metrics=["mae", "r2"])
    assert got == pytest.approx(trainer.evaluate(X[known], y[known, 0], metrics=["mae", "r2"]), rel=1e-12)


def test_metrics_are_those_of_the_entries_that_count():
    X, y, weight = problem()
    metrics = pytest.importorskip("sklearn.metrics")
    net, w = network("sigmoid"), np.where(np.isnan(y), 0, weight)
    yhat, known = net.predict(X), w > 0
    names = ["mae", "mse", "accuracy", "exact_match", "r2"]
    got = Trainer(net, losses.BinaryCrossEntropy(missing="ignore")).evaluate(X, y, weight, metrics=names)
    each = y[known], yhat[known]
    assert got["mae"] == pytest.approx(metrics.mean_absolute_error(*each, sample_weight=w[known]))
    assert got["mse"] == pytest.approx(metrics.mean_squared_error(*each, sample_weight=w[known]))
    right = each[0] == (each[1] > 0.5)
    assert got["accuracy"] == pytest.approx(np.average(right, weights=w[known]))
    columns = [
        metrics.r2_score(y[k, j], yhat[k, j], sample_weight=w[k, j]) for j in range(3) for k in [known[:, j]]
    ]
    assert got["r2"] == pytest.approx(np.mean(columns))
    all_right = ((y == (yhat > 0.5)) | ~known).all(axis=1)
    assert got["exact_match"] == pytest.approx(np.average(all_right, weights=w.mean(axis=1)))
    # The same from the predictions, for a loss that counts nothing itself.
    other = Trainer(net, losses.HalfSquaredError(missing="ignore")).evaluate(X, y, weight, metrics=names)
    assert {name: other[name] for name in names} == pytest.approx({name: got[name] for name in names})


def test_validation_has_its_own_missing_numbers():
    X, y, weight = problem(60)
    net = network("identity")
    trainer = Trainer(net, losses.Huber(missing="ignore"), seed=4)
    history = trainer.fit(X, y, sample_weight=weight, validation_split=0.3, metrics="mae")
    split = Trainer(network("identity"), losses.Huber(missing="ignore"), seed=4)
    with_data = split.fit(X, y, sample_weight=weight, validation_data=(X, y, weight), metrics="mae")
    assert with_data["val_mae"] == [split.evaluate(X, y, weight, metrics="mae")["mae"]]
    assert np.isfinite(history["val_loss"] + history["val_mae"]).all()


@pytest.mark.parametrize("optimizer", [LBFGS(max_iterations=5), Rprop(), NaturalGradient()], ids=str)
def test_all_rows_at_once(optimizer):
    if isinstance(optimizer, LBFGS):
        pytest.importorskip("scipy")
    X, y, weight = problem()
    results = []
    for factor in (1, 2):  # twice the weights are the same problem
        net = network("identity")
        trainer = Trainer(net, losses.HalfSquaredError(missing="ignore"), optimizer, batch_size=None, chunk_rows=16)
        results.append(trainer.fit(X, y, epochs=5, sample_weight=factor * weight)["loss"])
    assert results[0][-1] < results[0][0]
    np.testing.assert_allclose(*results, rtol=1e-7)


def test_a_natural_step_of_weighted_entries_solves_the_weighted_least_squares():
    X, y, weight = problem()
    net = Network([4, 3], dtype="float64", seed=0)
    trainer = Trainer(net, losses.HalfSquaredError(missing="ignore"), NaturalGradient(damping=0, cg_tolerance=1e-12),
                      batch_size=None)
    trainer.fit(X, y, sample_weight=weight)
    A = np.column_stack([X, np.ones(len(X))])
    for j in range(3):
        root = np.sqrt(np.where(np.isnan(y[:, j]), 0, weight[:, j]))
        solved = np.linalg.lstsq(A * root[:, None], np.nan_to_num(y[:, j]) * root, rcond=None)[0]
        np.testing.assert_allclose([*net.layers[0].W[:, j], net.layers[0].b[j]], solved, rtol=1e-6)


# ---- class weights of several labels


def test_balanced_labels_are_as_heavy_as_their_opposites():
    X, y, weight = problem(200)
    y, n_1 = np.nan_to_num(y), np.nan_to_num(y).sum(axis=0)
    wanted = np.where(y == 1, len(y) / (2 * n_1), len(y) / (2 * (len(y) - n_1)))
    assert_same_training(X, y, dict(class_weight="balanced"), dict(sample_weight=wanted))
    signs = 2 * y - 1
    assert_same_training(X, signs, dict(class_weight="balanced"), dict(sample_weight=wanted))
    of_1, of_all = (weight * y).sum(axis=0), weight.sum(axis=0)
    wanted = np.where(y == 1, of_all / (2 * of_1), of_all / (2 * (of_all - of_1)))
    assert_same_training(
        X, y, dict(class_weight="balanced", sample_weight=weight), dict(sample_weight=weight * wanted))


def test_balanced_is_scikit_learns_for_each_column():
    utils = pytest.importorskip("sklearn.utils.class_weight")
    X, y, _ = problem(100)
    y = np.nan_to_num(y)
    wanted = np.column_stack([utils.compute_sample_weight("balanced", column) for column in y.T])
    assert_same_training(X, y, dict(class_weight="balanced"), dict(sample_weight=wanted))


def test_a_column_of_one_kind_has_the_weight_one():
    X, y, _ = problem(50)
    y = np.nan_to_num(y)
    y[:, 0], y[:, 1] = 0, 1
    y[0, 2], y[1, 2] = 0, 1
    n_1 = y[:, 2].sum()
    wanted = np.ones(y.shape)
    wanted[:, 2] = np.where(y[:, 2] == 1, 50 / (2 * n_1), 50 / (2 * (50 - n_1)))
    assert_same_training(X, y, dict(class_weight="balanced"), dict(sample_weight=wanted))


def test_classes_in_one_hot_rows_are_not_labels():
    X, _, weight = problem(90)
    which = np.random.default_rng(0).integers(3, size=90) // 2  # 0 twice as often as 1; 2 never
    y, n = np.eye(3)[which], np.bincount(which)
    assert_same_training(X, y, dict(class_weight="balanced"), dict(sample_weight=(90 / (2 * n))[which]))
    heavy = np.bincount(which, weight.mean(axis=1))  # a row counts with the mean over its entries
    wanted = weight * (heavy.sum() / (2 * heavy))[which][:, None]
    assert_same_training(X, y, dict(class_weight="balanced", sample_weight=weight), dict(sample_weight=wanted))


def test_labels_that_are_missing_do_not_count():
    X, y, _ = problem(100)
    n, n_1 = (~np.isnan(y)).sum(axis=0), np.nansum(y, axis=0)
    wanted = np.where(y == 1, n / (2 * n_1), n / (2 * (n - n_1)))
    loss = losses.BinaryCrossEntropy(missing="ignore")
    assert_same_training(X, y, dict(class_weight="balanced"), dict(sample_weight=wanted), loss)


def test_one_column_of_two_classes_may_be_missing():
    X, y, _ = problem(100)
    y, known = y[:, :1].copy(), ~np.isnan(y[:, 0])
    nets, histories = [], []
    for rows, loss in ((slice(None), losses.BinaryCrossEntropy(missing="ignore")), (known, "binary_cross_entropy")):
        nets.append(network("sigmoid", n_out=1))
        trainer = Trainer(nets[-1], loss, batch_size=16, seed=0)
        histories.append(trainer.fit(X[rows], y[rows], class_weight="balanced"))
    assert histories[0] == histories[1]
    for p, q in zip(nets[0].parameters, nets[1].parameters, strict=True):
        np.testing.assert_array_equal(p, q)


def test_an_array_weighs_the_ones():
    X, y, weight = problem(100)
    y, of_ones = np.nan_to_num(y), np.array([0.5, 2.0, 7.0])
    assert_same_training(X, y, dict(class_weight=of_ones, sample_weight=weight),
                         dict(sample_weight=weight * np.where(y == 1, of_ones, 1)))


def test_an_array_weighs_the_ones_as_pos_weight_does():
    torch = pytest.importorskip("torch")
    X, y, _ = problem(50)
    y, pos_weight = np.nan_to_num(y), np.array([0.5, 2.0, 7.0])
    net = network("sigmoid")
    z = torch.tensor(backprop.forward(net, X).z[-1], requires_grad=True)
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(pos_weight), reduction="sum")(z, torch.tensor(y))
    loss.backward()
    before = net.layers[-1].b.copy()
    history = Trainer(net, "binary_cross_entropy", SGD(1.0), batch_size=None).fit(X, y, class_weight=pos_weight)
    total = np.where(y == 1, pos_weight, 1).mean(axis=1).sum()  # the sum of the rows' weights
    assert history["loss"][0] == pytest.approx(loss.item() / total, rel=1e-12)
    np.testing.assert_allclose(before - net.layers[-1].b, z.grad.numpy().sum(axis=0) / total, rtol=1e-9)


def assert_same_training(X, y, given, wanted, loss="binary_cross_entropy"):
    nets, histories = [], []
    for weights in (given, wanted):
        nets.append(network("sigmoid"))
        histories.append(Trainer(nets[-1], loss, batch_size=16, seed=0).fit(X, y, epochs=2, **weights))
    assert set(histories[0]) >= {"loss", "accuracy"}
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-12)
    for p, q in zip(nets[0].parameters, nets[1].parameters, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-10, atol=1e-12)


# ---- what is refused


@pytest.mark.parametrize("call, message", [
    (lambda X, y, w: Trainer(network("identity"), "huber").fit(X, y),
     r"y must hold finite numbers, got nan in row \d+, column \d; losses.Huber\(delta=1.0, missing='ignore'\) leaves"),
    (lambda X, y, w: Trainer(network("sigmoid"), "binary_cross_entropy").fit(X, y), r"losses.BinaryCrossEntropy\("),
    (lambda X, y, w: Trainer(network("softmax")).fit(X, y), r"got nan in row \d+, column \d$"),
    (lambda X, y, w: Trainer(network("identity"), losses.Huber(missing="ignore")).fit(X, np.where(y == 1, np.inf, y)),
     "got inf"),
    (lambda X, y, w: Trainer(network("identity"), losses.Huber(missing="ignore")).fit(X, y * np.nan),
     "y holds no number"),
    (lambda X, y, w: Trainer(network("identity"), "huber").step(X, w, w[:, :2]), r"\(45, 3\), the shape of y"),
    (lambda X, y, w: Trainer(network("softmax")).step(X, w / w.sum(axis=1)[:, None], w), r"shape \(n,\) for"),
    (lambda X, y, w: Trainer(network("identity"), "huber").step(X, w, -w), r"got -.* at row \d+, column \d"),
    (lambda X, y, w: Trainer(network("identity"), "huber").fit(X, w, sample_weight=0 * w), "not be zero for every"),
    (lambda X, y, w: Trainer(network("sigmoid"), "binary_cross_entropy").fit(X, w > 1, class_weight="even"),
     "class_weight must be .balanced"),
    (lambda X, y, w: losses.Huber(missing="drop"), "missing must be None or \"ignore\", got 'drop'"),
    (lambda X, y, w: losses.Loss("hinge", missing="ignore"), "classes such as losses.Huber, got it for Loss.'hinge'"),
    (lambda X, y, w: losses.Huber(missing=True), "missing must be None or \"ignore\", got True"),
])
def test_what_is_refused(call, message):
    X, y, weight = problem()
    weight += 0.01
    weight[0] = 0
    weight[0, 0] = 1
    with pytest.raises(ValueError, match=message):
        call(X, y, weight)


def test_they_show_that_they_ignore_missing_numbers():
    assert repr(losses.Huber(2, missing="ignore")) == "Huber(delta=2.0, missing='ignore')"
    assert repr(losses.SquaredError(missing="ignore")) == "SquaredError(missing='ignore')"
    assert repr(losses.SquaredError()) == "SquaredError()"
    trainer = Trainer(network("identity"), losses.SquaredError(missing="ignore"))
    assert "SquaredError(missing='ignore')" in trainer.summary()
    with pytest.raises(AttributeError, match="missing cannot be changed"):
        losses.Huber().missing = "ignore"


def overflowing(kind):
    """A network whose first output overflows, and its loss."""
    loss = losses.HalfSquaredError(missing="ignore")
    if kind == "per_output":
        parts = slice(0, 2)
        net = Network([1, 2], output=activations.PerOutput([(parts, "exp")]), seed=0)
        loss = losses.PerOutput([(parts, loss)])
    elif kind == "custom":
        net = Network([1, 2], output=activations.Custom(np.exp, np.exp), seed=0)
    else:
        net = Network([1, 2], output=activations.PReLU() if kind == "prelu" else kind, seed=0)
    net.layers[0].W[...] = [[3e38, 0.1]] if kind == "prelu" else [[1000, 0.1]]
    return net, loss


@pytest.mark.parametrize("way", ["missing", "sample_weight"])
@pytest.mark.parametrize("kind", ["exp", "per_output", "custom", "prelu"])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_an_entry_without_weight_adds_nothing_though_its_output_overflows(kind, way):
    X = np.ones((4, 1)) * (-10 if kind == "prelu" else 1)
    y = np.array([[np.nan if way == "missing" else 1.0, 1.0]] * 4)
    weight = np.array([[0, 1.0]] * 4) if way == "sample_weight" else None
    net, loss = overflowing(kind)
    first = net.layers[0].W[0, 0].copy()
    trainer = Trainer(net, loss, SGD(0.1))
    twin, _ = overflowing(kind)  # where it does not overflow
    twin.layers[0].W[...] = 0.1
    other = Trainer(twin, loss, SGD(0.1))
    residual = backprop.residuals(net, X, np.where(weight == 0, np.nan, y) if weight is not None else y, loss)[-1]
    assert np.array_equal(residual[:, 0], np.zeros(4)) and np.isfinite(residual).all()
    for one in (trainer, other):
        one.fit(X, y, sample_weight=weight, epochs=2)
    assert net.layers[0].W[0, 0] == first and net.layers[0].b[0] == 0
    for p, q in zip(net.parameters, twin.parameters, strict=True):
        assert np.array_equal(p[..., 1], q[..., 1])
        assert np.isfinite(p).all()


@pytest.mark.parametrize("loss, y, weight", [
    (losses.PerOutput([(0, "absolute_error", 1e30)]), 0.0, [[1e30]]),
    (losses.PerOutput([(0, "squared_error", 3e38)]), -0.9, None), ("half_squared_error", 1e10, [1e30]),
], ids=["factor and weight", "factor", "weight of a row"])
def test_a_derivative_that_overflows_is_noticed_where_the_loss_does_not(loss, y, weight):
    net = Network([1, 1], seed=0)
    net.layers[0].W[...] = 1e-25
    trainer = Trainer(net, loss, SGD(0.1))
    with pytest.raises(FloatingPointError, match="derivative of the loss"):
        trainer.step([[1.0]], [[y]], sample_weight=weight, mean_weight=1)
    assert net.layers[0].W == np.float32(1e-25)


def test_messages_speak_of_what_is_missing():
    net, loss, X = Network([1, 1], seed=0), losses.HalfSquaredError(missing="ignore"), np.ones((4, 1))
    with pytest.raises(ValueError, match="^y holds no number"):
        Trainer(net, loss).fit(X, np.full(4, np.nan))
    with pytest.raises(ValueError, match="^validation_data y holds no number"):
        Trainer(net, loss).fit(X, np.ones(4), validation_data=(X, np.full(4, np.nan)))
    with pytest.raises(ValueError, match="metrics: y with missing entries goes with accuracy.* got 'own'"):
        def own(y, yhat):
            return 0.0
        Trainer(net, loss).evaluate(X, [1, np.nan, 2, 3], metrics=own)
