"""Metrics: known values, scikit-learn's, and how fit and evaluate report them."""

import functools

import numpy as np
import pytest

from mlpfast import SGD, Network, Trainer, metrics
from mlpfast.metrics import TopK


def classes(n=60, k=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(k, size=n), rng.dirichlet(np.ones(k), size=n)


def numbers(n=60, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, k)) * [1, 10, 100][:k] + 5
    return y, y + rng.normal(size=(n, k))


def trainer_for(loss, k=3, dtype="float64"):
    output = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}.get(loss, "identity")
    net = Network([4, 6, k], activation="tanh", output=output, dtype=dtype, seed=0)
    return Trainer(net, loss, SGD(lr=0.05), batch_size=16, seed=0)


def problem(loss, n=60, k=3):
    X = np.random.default_rng(1).normal(size=(n, 4))
    if loss == "cross_entropy":
        return X, X[:, :k].argmax(axis=1)
    if loss == "binary_cross_entropy":
        return X, (X[:, :k] > 0).astype(float)
    return X, X[:, :k] * 2 + 1


WEIGHT = np.linspace(0, 3, 60)

# ---- values


def test_known_values():
    yhat = np.array([[0.1, 0.6, 0.3], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]])
    y = np.array([1, 2, 1, 1])
    assert metrics.accuracy(y, yhat) == 0.25  # of equal outputs the first is the larger
    assert metrics.accuracy(np.array([1, 2, 1, 0]), yhat) == 0.5
    assert TopK(1)(y, yhat) == 0.25 and TopK(2)(y, yhat) == 0.75 and TopK(3)(y, yhat) == 1
    assert metrics.accuracy(np.eye(3)[y], yhat) == 0.25
    assert metrics.accuracy(y, yhat, [4, 1, 1, 2]) == 0.5
    bits, out = np.array([0, 1, 1, 0]), np.array([[0.2], [0.4], [0.9], [np.nan]])
    assert metrics.accuracy(bits, out) == 0.5 and metrics.accuracy(bits, out, [1, 0, 1, 0]) == 1
    assert metrics.accuracy(2 * bits[:3] - 1, out[:3]) == pytest.approx(2 / 3)  # parted at 0, not at 1/2
    y, yhat = np.array([[1.0], [2], [3], [6]]), np.array([[1.0], [2], [5], [5]])
    assert metrics.mae(y, yhat) == 0.75 and metrics.mse(y, yhat) == 1.25
    assert metrics.r2(y, yhat) == pytest.approx(1 - 5 / 14)
    assert metrics.mae(y, yhat, [1, 1, 0, 2]) == 0.5 and metrics.mse(y[:, 0], yhat[:, 0]) == 1.25
    assert metrics.r2(np.ones(3), np.ones(3)) == 1 and metrics.r2(np.ones(3), np.arange(3.0)) == 0


def test_nan_is_never_right():
    yhat = np.array([[np.nan, 0.5, 0.1], [0.9, np.nan, 0.1], [np.nan] * 3])
    assert TopK(2)(np.array([0, 2, 1]), yhat) == 0
    assert TopK(3)(np.array([0, 0, 1]), yhat) == 0
    assert np.isnan(metrics.mae(np.ones((3, 3)), yhat)) and np.isnan(metrics.r2(np.eye(3), yhat))


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_numbers_are_scikit_learns(weight):
    sklearn = pytest.importorskip("sklearn.metrics")
    for k in (1, 3):
        y, yhat = numbers(k=k)
        for ours, theirs in [
            (metrics.mae, sklearn.mean_absolute_error), (metrics.mse, sklearn.mean_squared_error),
            (metrics.r2, sklearn.r2_score),
        ]:
            assert ours(y, yhat, weight) == pytest.approx(theirs(y, yhat, sample_weight=weight), rel=1e-12)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_shares_are_scikit_learns(weight):
    sklearn = pytest.importorskip("sklearn.metrics")
    y, yhat = classes()
    wanted = sklearn.accuracy_score(y, yhat.argmax(axis=1), sample_weight=weight)
    assert metrics.accuracy(y, yhat, weight) == pytest.approx(wanted, rel=1e-12)
    for k in (1, 2, 4):
        wanted = sklearn.top_k_accuracy_score(y, yhat, k=k, sample_weight=weight)
        assert TopK(k)(y, yhat, weight) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_columns_count_as_scikit_learn_counts_them(dtype):
    sklearn = pytest.importorskip("sklearn.metrics")
    y, yhat = numbers()
    y[:, 0] = 2
    y[:, 1] = yhat[:, 1] = 3
    y, yhat = y.astype(dtype), yhat.astype(dtype)
    assert metrics.r2(y, yhat) == pytest.approx(sklearn.r2_score(y.astype(float), yhat.astype(float)), rel=1e-9)


# ---- evaluate and fit


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("loss, names", [
    ("cross_entropy", ("accuracy", "top_1", "top_2")),
    ("binary_cross_entropy", ("accuracy", "mae", "r2")),
    ("half_squared_error", ("mae", "mse", "r2", "accuracy")),
])
def test_evaluate(loss, names, weight):
    X, y = problem(loss)
    trainer = trainer_for(loss)
    plain = trainer.evaluate(X, y, sample_weight=weight)
    got = trainer.evaluate(X, y, sample_weight=weight, metrics=names)
    more = {"exact_match"} if loss == "binary_cross_entropy" else set()  # its rows have several labels
    assert got == {**got, **plain} and set(got) == {"loss", *names} | more
    yhat = trainer.network.predict(X)
    for name in set(got) - {"loss"}:
        function = TopK(int(name[4:])) if name.startswith("top") else metrics.BY_NAME[name]
        assert got[name] == pytest.approx(function(y, yhat, weight), rel=1e-12)
    if loss == "cross_entropy":
        assert got["top_1"] == pytest.approx(got["accuracy"])


def test_fit_reports_metrics_of_the_data_and_of_the_validation_data():
    X, y = problem("squared_error")
    said, of_data, trainer = [], [], trainer_for("squared_error")
    history = trainer.fit(
        X[:40], y[:40], epochs=3, validation_data=(X[40:], y[40:]), metrics=["mae", "r2"],
        callbacks=[
            lambda t, *_: said.append(t.evaluate(X[40:], y[40:], metrics=["mae", "r2"])),
            lambda t, *_: of_data.append(t.evaluate(X[:40], y[:40], metrics=["mae", "r2"])),
        ],
    )
    assert list(history) == ["loss", "mae", "r2", "val_loss", "val_mae", "val_r2"]
    for name in ("mae", "r2"):
        assert history[name] == [each[name] for each in of_data]
    for name in ("loss", "mae", "r2"):
        assert history["val_" + name] == [each[name] for each in said]
    undisturbed = trainer_for("squared_error")
    undisturbed.fit(X[:40], y[:40], epochs=3)
    np.testing.assert_array_equal(trainer.network.predict(X), undisturbed.network.predict(X))


def test_validation_data_may_have_weights():
    X, y = problem("cross_entropy")
    history = trainer_for("cross_entropy").fit(X, y, validation_data=(X, y, WEIGHT), metrics=["top_2"])
    trainer = trainer_for("cross_entropy")
    trainer.fit(X, y)
    wanted = trainer.evaluate(X, y, sample_weight=WEIGHT, metrics=["top_2"])
    assert {name: history["val_" + name][0] for name in wanted} == wanted != trainer.evaluate(X, y, metrics=["top_2"])


@pytest.mark.parametrize("low", [0, -1])
def test_accuracy_of_one_output_and_any_loss(low):
    X, _ = problem("squared_error")
    y = np.where(X[:, 0] > 0.3, 1.0, low)
    trainer = trainer_for("huber", 1)
    history = trainer.fit(X, y, epochs=20, metrics="accuracy")
    right = (trainer.network.predict(X)[:, 0] > (low + 1) / 2) == (y == 1)
    assert history["accuracy"][-1] == pytest.approx(right.mean()) and right.mean() > 0.7


def test_accuracy_is_free_for_the_cross_entropies():
    X, y = problem("cross_entropy")
    assert set(trainer_for("cross_entropy").fit(X, y, metrics="accuracy")) == {"loss", "accuracy"}
    assert set(trainer_for("cross_entropy").fit(X, y, metrics=("accuracy", "top_2"))) == {"loss", "accuracy", "top_2"}


def test_functions_are_metrics():
    X, y = problem("cross_entropy")
    trainer, seen = trainer_for("cross_entropy", dtype="float32"), []

    def worst(y, yhat):
        seen.append((y, yhat))
        return yhat[np.arange(len(y)), y].min()

    got = trainer.evaluate(X, y, metrics=[worst, TopK(2), "top_3"])
    assert got["worst"] == trainer.network.predict(X)[np.arange(60), y].min() and got["top_3"] == 1
    assert type(got["worst"]) is float
    np.testing.assert_array_equal(seen[0][0], y)
    trainer.evaluate(X, np.eye(3)[y], metrics=lambda y, yhat: seen.append((y, yhat)) or 1)
    assert seen[1][0].shape == seen[1][1].shape == (60, 3) and seen[1][1].dtype == np.float32
    history = trainer.fit(X, y, validation_data=(X, y), metrics=worst)
    assert len(history["val_worst"]) == 1 and history["worst"] == history["val_worst"]


def test_a_function_is_called_by_its_name():
    class Mine:
        name = "share_of_zeros"

        def __call__(self, y, yhat):
            return np.array((y == 0).mean())

    X, y = problem("cross_entropy")
    assert trainer_for("cross_entropy").evaluate(X, y, metrics=[Mine()])["share_of_zeros"] == (y == 0).mean()


def test_scikit_learns_functions_are_metrics():
    sklearn = pytest.importorskip("sklearn.metrics")
    X, y = problem("squared_error", k=1)
    for form in (y, y[:, 0]):
        got = trainer_for("squared_error", 1).evaluate(X, form, metrics=["r2", sklearn.r2_score])
        assert got["r2"] == pytest.approx(got["r2_score"], rel=1e-12)


def test_a_metric_may_spoil_what_it_is_given():
    X, y = problem("squared_error")

    def spoils(y, yhat):
        y *= 100
        yhat[...] = 7
        return 0.0

    spoilt, undisturbed = (trainer_for("squared_error") for _ in range(2))
    got = spoilt.fit(X, y, epochs=3, validation_data=(X, y), metrics=[spoils, "mae"])
    wanted = undisturbed.fit(X, y, epochs=3, validation_data=(X, y), metrics="mae")
    for name in wanted:
        assert got[name] == wanted[name]


@pytest.mark.parametrize("n", [3, 7, 10, 49])
def test_r2_of_a_constant(n):
    y = np.full((n, 1), 0.1)
    assert metrics.r2(y, y) == 1 and metrics.r2(y, y + 0.01) == 0
    assert metrics.r2(y, y + 0.01, np.linspace(1, 2, n)) == 0
    with_another, weight = np.append(y, 5.0), np.append(np.ones(n), 0)
    assert metrics.r2(with_another, np.append(y, 0.0), weight) == 1


def test_the_exception_of_a_metric_passes_through():
    def fails(y, yhat):
        raise ZeroDivisionError("from the metric")

    X, y = problem("cross_entropy")
    trainer = trainer_for("cross_entropy")
    with pytest.raises(ZeroDivisionError, match="from the metric"):
        trainer.fit(X, y, epochs=3, validation_data=(X, y), metrics=fails)
    assert trainer.epoch == 1
    trainer.fit(X, y)


def named_loss(y, yhat):
    return 0.0


named_loss.name = "loss"


def named_objective(y, yhat):
    return 0.0


named_objective.name = "objective"

BAD = [
    ("cross_entropy", ("f1",), ["accuracy, mae, mse, r2", "top_", "'f1'"]),
    ("cross_entropy", ("top_x",), ["top_", "'top_x'"]),
    ("cross_entropy", ("top_0",), ["k", "0"]),
    ("cross_entropy", ("top_4",), ["'top_4'", "4 outputs", "3"]),
    ("cross_entropy", ("mae",), ["'mae'", "(n, 3)", "(n,)"]),
    ("cross_entropy", 3, ["metrics", "3"]),
    ("cross_entropy", [3], ["metrics", "3"]),
    ("cross_entropy", [TopK], ["metrics", "TopK"]),
    ("cross_entropy", ("top_2", "top_2"), ["different names", "top_2, top_2"]),
    ("cross_entropy", [lambda y, yhat: 0, lambda y, yhat: 1], ["different names", "<lambda>"]),
    ("cross_entropy", [named_loss], ["different names", "'loss'"]),
    ("cross_entropy", [named_objective], ["different names", "'objective'"]),
    ("cross_entropy", [lambda y, yhat: yhat], ["'<lambda>'", "number"]),
    ("cross_entropy", [lambda y, yhat: None], ["'<lambda>'", "None"]),
    ("squared_error 1", ("accuracy",), ["'accuracy'", "one output", "0 and 1"]),
    ("squared_error 1", ("top_1",), ["'top_1'", "2 outputs", "1"]),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_metrics_that_do_not_fit(number):
    loss, given, parts = BAD[number]
    loss, k = loss.split()[0], 1 if loss.endswith("1") else 3
    X, y = problem(loss, k=k)
    trainer = trainer_for(loss, k)
    for call in (trainer.evaluate, lambda *a, **kw: trainer.fit(*a, validation_data=(X, y), **kw)):
        with pytest.raises((ValueError, TypeError)) as caught:
            call(X, y, metrics=given)
        for part in parts:
            assert part in str(caught.value), f"{part!r} is not in {caught.value}"
    assert trainer.epoch == 0 or "must return" in str(caught.value)  # what a function returns is seen late


@pytest.mark.parametrize("weights", [{"sample_weight": WEIGHT}, {"class_weight": "balanced"}])
def test_a_function_that_takes_weights_is_given_them(weights):
    def own(y, yhat, sample_weight=None):
        seen.append(sample_weight)
        return metrics.accuracy(y, yhat, sample_weight)

    X, y = problem("cross_entropy")
    seen, trainer = [], trainer_for("cross_entropy")
    trainer.optimizer = SGD(lr=1e-12)  # the accuracy of an epoch is that of the network before it
    history = trainer.fit(X, y, validation_data=(X, y), metrics=own, **weights)
    balanced = (len(y) / (3 * np.bincount(y)))[y]
    np.testing.assert_array_equal(seen[0], weights.get("sample_weight", balanced))
    assert seen[1] is None
    assert history["own"] == pytest.approx(history["accuracy"]) and history["own"] != history["val_own"]
    assert history["val_own"] == pytest.approx(history["val_accuracy"])


def required(y, yhat, sample_weight):
    return 0.0


def by_place(y, yhat, sample_weight=None, /):
    return 0.0


def all_the_rest(y, yhat, *sample_weight):
    return 0.0


def without_y(sample_weight, yhat):
    return 0.0


@functools.wraps(required)
def wrapper(y, yhat):
    return 0.0


@pytest.mark.parametrize("metric, weighted, part", [
    (required, False, r"called with \(y, yhat\), got required\(y, yhat, sample_weight\)"),
    (by_place, True, "without one"), (all_the_rest, True, "without one"), (wrapper, True, "without one"),
    (without_y, True, r"called with \(y, yhat, sample_weight=w\), got without_y\(sample_weight, yhat\)"),
    ("accuracy", False, "needs classes as y"),
])
def test_what_cannot_be_called_is_refused_before_an_epoch(metric, weighted, part):
    X, _ = problem("squared_error")
    y = np.where(X[:, 0] > 0, 1.0, 0.0)
    y[-1] = 0.5 if metric == "accuracy" else 0
    trainer = trainer_for("squared_error", 1)
    with pytest.raises(ValueError, match=part):
        trainer.fit(X, y, metrics=metric, sample_weight=WEIGHT if weighted else None)
    with pytest.raises(ValueError, match="needs classes as y" if metric == "accuracy" else part):
        trainer.fit(X[:9], y[:9], validation_data=(X, y, WEIGHT if weighted else None), metrics=metric)
    assert trainer.epoch == 0


@pytest.mark.parametrize("part", [0, 1])
def test_accuracy_goes_by_the_classes_of_all_the_data(part):
    """The upper class alone does not tell what the other one is called."""
    X, _ = problem("squared_error")
    y = np.where(X[:, 0] > 0.3, 1.0, -1.0)
    upper, trainer = (X[y == 1], y[y == 1]), trainer_for("squared_error", 1)
    parts = [(X, y), upper] if part else [upper, (X, y)]
    history = trainer.fit(*parts[0], validation_data=parts[1], metrics="accuracy")
    wanted = (trainer.network.predict(upper[0]) > 0).mean()
    assert 0 < wanted < 1 and history["val_accuracy" if part else "accuracy"] == [pytest.approx(wanted)]


def test_a_function_is_not_told_of_weights():
    X, y = problem("cross_entropy")
    with pytest.raises(ValueError, match="sample_weight and class_weight go with accuracy.* got '<lambda>'"):
        trainer_for("cross_entropy").evaluate(X, y, sample_weight=WEIGHT, metrics=lambda y, yhat: 0)
    with pytest.raises(ValueError, match="sample_weight and class_weight go with accuracy.* got '<lambda>'"):
        trainer_for("cross_entropy").fit(X, y, sample_weight=WEIGHT, metrics=lambda y, yhat: 0)
    history = trainer_for("cross_entropy").fit(
        X, y, sample_weight=WEIGHT, validation_data=(X, y), metrics=["top_2", lambda y, yhat: 0]
    )
    assert set(history) == {"loss", "accuracy", "top_2", "val_loss", "val_accuracy", "val_top_2", "val_<lambda>"}


@pytest.mark.parametrize("bad", [0, 1.5, "3"])
def test_k_must_be_a_whole_number(bad):
    with pytest.raises((ValueError, TypeError), match="k must be"):
        TopK(bad)
