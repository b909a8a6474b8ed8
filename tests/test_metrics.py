"""Metrics: known values, scikit-learn's, and how fit and evaluate report them."""

import functools

import numpy as np
import pytest

from mlpfast import SGD, Layer, Network, Trainer, callbacks, losses, metrics
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
    net = Network([4, 6, k], activation="tanh", output=output, init="xavier_normal", dtype=dtype, seed=0)
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
    assert metrics.accuracy(y, yhat) == 0.25  # of equal outputs the first counts as the largest
    assert metrics.accuracy(np.array([1, 2, 1, 0]), yhat) == 0.5
    assert TopK(1)(y, yhat) == 0.25 and TopK(2)(y, yhat) == 0.75 and TopK(3)(y, yhat) == 1
    assert metrics.accuracy(np.eye(3)[y], yhat) == 0.25
    assert metrics.accuracy(y, yhat, [4, 1, 1, 2]) == 0.5
    bits, out = np.array([0, 1, 1, 0]), np.array([[0.2], [0.4], [0.9], [np.nan]])
    assert metrics.accuracy(bits, out) == 0.5 and metrics.accuracy(bits, out, [1, 0, 1, 0]) == 1
    assert metrics.accuracy(2 * bits[:3] - 1, out[:3]) == pytest.approx(2 / 3)  # threshold 0, not 1/2
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
    more = {"exact_match"} if loss == "binary_cross_entropy" else set()  # its rows have several labels each
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
    ("cross_entropy", [named_loss], ["'loss'", "library's own", "`name`"]),
    ("cross_entropy", [named_objective], ["'objective'", "library's own", "`name`"]),
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
    assert trainer.epoch == 0 or "must return" in str(caught.value)  # a return value is checked only after the epoch


@pytest.mark.parametrize("weights", [{"sample_weight": WEIGHT}, {"class_weight": "balanced"}])
def test_a_function_that_takes_weights_is_given_them(weights):
    def own(y, yhat, sample_weight=None):
        seen.append(sample_weight)
        return metrics.accuracy(y, yhat, sample_weight)

    X, y = problem("cross_entropy")
    seen, trainer = [], trainer_for("cross_entropy")
    trainer.optimizer = SGD(lr=1e-12)  # so small that an epoch's accuracy is that of the initial network
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
    """The upper class alone does not determine whether the lower is 0 or -1."""
    X, _ = problem("squared_error")
    y = np.where(X[:, 0] > 0.3, 1.0, -1.0)
    upper, trainer = (X[y == 1], y[y == 1]), trainer_for("squared_error", 1)
    parts = [(X, y), upper] if part else [upper, (X, y)]
    history = trainer.fit(*parts[0], validation_data=parts[1], metrics="accuracy")
    wanted = (trainer.network.predict(upper[0]) > 0).mean()
    assert 0 < wanted < 1 and history["val_accuracy" if part else "accuracy"] == [pytest.approx(wanted)]


@pytest.mark.parametrize("name", ["accuracy", "loss", "objective", "lr", "momentum", "exact_match", "mae", "mse", "r2",
                                  "top_3", "val_loss", "val_f1"])
@pytest.mark.parametrize("by", ["__name__", "name"])
def test_names_of_the_librarys_own_numbers_are_refused_for_functions(name, by):
    def own(y, yhat):
        return 0.0

    setattr(own, by, name)
    X, y = problem("cross_entropy")
    trainer = trainer_for("cross_entropy")
    for call in (trainer.fit, trainer.evaluate):
        with pytest.raises(ValueError) as caught:
            call(X, y, metrics=own)
        for part in ("metrics", repr(name), "another __name__", "`name`"):
            assert part in str(caught.value)
    assert trainer.epoch == 0
    own.name = "mine"
    assert "mine" in trainer.evaluate(X, y, metrics=[own, "top_3", metrics.accuracy, TopK(2)])


def test_a_name_that_is_no_text_is_none():
    def own(y, yhat):
        return 0.0

    own.name = 7
    X, y = problem("cross_entropy")
    assert "own" in trainer_for("cross_entropy").evaluate(X, y, metrics=own)


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


# ---- metrics get y as the caller gave it


def noted(seen):
    def note(y, yhat):
        seen.append(y)
        return 0.0

    return note


TWO_CLASSES = [("binary_cross_entropy", "identity"), ("hinge", "identity"), ("perceptron", "identity")]


@pytest.mark.parametrize("form", [
    (-1.0, 1.0), (0, 1), (False, True), (np.int8(-1), np.int8(1)), (-1.0, np.longdouble(1)),
], ids=str)
@pytest.mark.parametrize("loss, output", TWO_CLASSES)
def test_functions_see_y_as_it_was_given(loss, output, form):
    X = np.random.default_rng(0).normal(size=(200, 4))
    y, seen = np.where(X[:, 0] > 0, form[1], form[0]), []
    trainer = Trainer(Network([4, 6, 1], output=output, seed=0), loss, SGD(lr=0.1), seed=0)
    trainer.fit(X, y, epochs=20, validation_data=(X[:50], y[:50, None]), metrics=noted(seen))
    trainer.evaluate(X, y.tolist(), metrics=noted(seen))
    for got in seen[:-1]:
        wanted = y[: len(got), None]
        assert got.dtype == y.dtype and got.shape == wanted.shape and (got == wanted).all()
    assert (seen[-1] == y[:, None]).all()
    accuracy = trainer.evaluate(X, y, metrics=lambda y, yhat: np.mean(y == np.where(yhat > 0, form[1], form[0])))
    assert accuracy["<lambda>"] == pytest.approx(accuracy["accuracy"]) and accuracy["accuracy"] > 0.9


@pytest.mark.parametrize("loss, y", [
    ("cross_entropy", np.arange(60, dtype=">i8") % 3), ("cross_entropy", (np.arange(60) % 3).astype("float16")),
    ("hinge", np.arange(60, dtype=np.uint8) % 3), ("binary_cross_entropy", np.arange(60, dtype=np.int16) % 3),
    ("half_squared_error", np.arange(180, dtype=np.int64).reshape(60, 3)),
    ("hinge", np.eye(3, dtype=bool)[np.arange(60) % 3]), ("squared_error", np.float32(0.1) * np.ones((60, 3), "f4")),
], ids=lambda value: value if isinstance(value, str) else f"{value.dtype} {value.shape}")
def test_y_keeps_its_dtype_and_the_order_of_the_rows(loss, y):
    X, seen = problem(loss)[0], []
    trainer = trainer_for(loss, dtype="float32")
    trainer.fit(X, y, epochs=2, validation_split=0.25, metrics=noted(seen))
    rows = {tuple(x): i for i, x in enumerate(np.float32(X))}
    trainer.fit(X, y, validation_data=(X[::-1], y[::-1]), metrics=noted(seen))
    assert [len(got) for got in seen] == [45, 15, 45, 15, 60, 60] and len(rows) == 60
    assert all(got.dtype == y.dtype for got in seen)
    np.testing.assert_array_equal(seen[4], y)
    np.testing.assert_array_equal(seen[5], y[::-1])


def test_y_cannot_be_changed_from_outside():
    X, y = problem("squared_error", k=1)
    y, seen, wanted = y[:, 0].copy(), [], y.copy()

    def spoil(trainer, epoch, logs):
        y[...] = np.nan

    trainer_for("squared_error", 1).fit(X, y, epochs=3, metrics=noted(seen), callbacks=spoil)
    for got in seen:
        np.testing.assert_array_equal(got, wanted)


# ---- one label in a row, or several


def network_of_rows(output="identity"):
    """Without relu, whose outputs may be exactly 0, on the boundary."""
    return Network([4, 6, 3], activation="tanh", output=output, dtype="float64", seed=1)


ROWS = {"one-hot": np.eye(3)[[0, 1, 2, 1]], "signs": 2 * np.eye(3)[[0, 1, 2, 1]] - 1}
MANY = {"bits": np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]]), "signs": 2 * np.eye(3)[[0, 1, 2, 1]] - 1}
MANY["signs"][0] = 1


def test_known_values_of_shares():
    yhat = np.array([[0.4, 0.3, 0.2], [0.6, 0.9, 0.7], [0.9, 0.1, 0.2], [-0.3, -0.1, -0.2]])
    for y in [*ROWS.values(), np.array([0, 1, 2, 1])]:
        assert metrics.accuracy(y, yhat) == metrics.exact_match(y, yhat) == TopK(1)(y, yhat) == 0.75
    assert metrics.accuracy(MANY["bits"], yhat) == pytest.approx((1 / 3 + 0 + 2 / 3 + 2 / 3) / 4)
    assert metrics.accuracy(MANY["signs"], yhat) == pytest.approx((1 + 1 / 3 + 1 / 3 + 2 / 3) / 4)
    assert metrics.exact_match(MANY["bits"], yhat) == 0 and metrics.exact_match(MANY["signs"], yhat) == 0.25
    assert metrics.exact_match(MANY["signs"], yhat, [3, 1, 0, 0]) == 0.75
    assert metrics.accuracy(MANY["signs"], yhat, [3, 1, 0, 0]) == pytest.approx((3 + 1 / 3) / 4)
    assert metrics.exact_match([1, 0], [[0.6], [0.7]]) == metrics.accuracy([1, 0], [[0.6], [0.7]]) == 0.5


def test_a_row_with_nan_is_never_right():
    yhat = np.array([[0.9, np.nan, 0.1], [0.1, 0.9, 0.2], [0.9, 0.1, np.nan], [np.nan] * 3])
    for y in (np.array([0, 1, 0, 0]), np.eye(3)[[0, 1, 0, 0]]):
        for name, metric in {**metrics.BY_NAME, "top_3": TopK(3), "top_2": TopK(2)}.items():
            if name in ("accuracy", "exact_match", "top_2", "top_3"):
                assert metric(y, yhat) == 0.25, name
    several = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert metrics.accuracy(several, yhat) == metrics.exact_match(several, yhat) == 0.25


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("loss, output, y", [
    ("cross_entropy", "softmax", "classes"), ("cross_entropy", "identity", "one-hot"), ("hinge", "identity", "classes"),
    ("hinge", "identity", "one-hot"), ("perceptron", "identity", "signs"),
    ("binary_cross_entropy", "sigmoid", "classes"),
    ("binary_cross_entropy", "identity", "several"), ("hinge", "identity", "several"),
])
def test_nan_is_never_right_in_training_and_evaluation(loss, output, y, weight):
    X = np.random.default_rng(0).normal(size=(60, 4))
    classes = X[:, :3].argmax(axis=1)
    y = {"classes": classes, "one-hot": np.eye(3)[classes], "signs": 2 * np.eye(3)[classes] - 1,
         "several": (X[:, :3] > 0) * 1.0}[y]
    net = Network([Layer(4, 3, output, trainable=False)], seed=0)  # otherwise NaN would get into W
    net.layers[0].W[:3] = 5 * np.eye(3)
    net.layers[0].W[3] = net.layers[0].b[...] = 0
    trainer = Trainer(net, loss, SGD(lr=1e-30), batch_size=None, check_finite=False)
    assert trainer.evaluate(X, y, sample_weight=weight)["accuracy"] == 1
    X[7] = np.nan
    wanted = 1 - (1 / 60 if weight is None else weight[7] / weight.sum())
    logs = trainer.fit(X, y, sample_weight=weight, validation_data=(X, y, weight))
    for name in set(logs) & {"accuracy", "exact_match", "val_accuracy", "val_exact_match"}:
        assert logs[name] == [pytest.approx(wanted)], name
    net.layers[0].b[...] = np.nan
    assert {name: value for name, value in trainer.evaluate(X, y, metrics="exact_match").items() if name != "loss"} == {
        "accuracy": 0, "exact_match": 0}


@pytest.mark.parametrize("output, loss", [
    ("sigmoid", "binary_cross_entropy"), ("sigmoid", "half_squared_error"), ("identity", "squared_error"),
    ("identity", "hinge"), ("identity", "perceptron"), ("sigmoid", "custom"),
])
def test_one_hot_rows_go_by_the_largest_output(output, loss):
    X = np.random.default_rng(3).normal(size=(300, 4))
    y = np.eye(3)[X[:, :3].argmax(axis=1)]
    if loss == "custom":
        loss = losses.Custom(lambda y, yhat: ((yhat - y) ** 2).sum(axis=1), lambda y, yhat: 2 * (yhat - y))
    net = Network([4, 3], output=output, seed=0)
    net.layers[0].W[:3], net.layers[0].W[3], net.layers[0].b[...] = np.eye(3), 0, -10
    trainer = Trainer(net, loss, SGD(lr=1e-12), seed=0)
    got = trainer.evaluate(X, y, metrics=("accuracy", "top_1", "exact_match"))
    assert got["accuracy"] == got["top_1"] == got["exact_match"] == 1
    history = trainer.fit(X, y, validation_split=0.2, metrics=("accuracy", "top_1"))
    assert history["accuracy"] == history["val_accuracy"] == [1] and "exact_match" not in history


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("loss", ["binary_cross_entropy", "hinge", "perceptron"])
@pytest.mark.parametrize("batch_size", [7, None])
def test_several_labels_have_a_share_and_a_strict_count(loss, batch_size, weight):
    X, y = problem("binary_cross_entropy")
    trainer = Trainer(network_of_rows(), loss, SGD(lr=1e-12), batch_size=batch_size, seed=0)
    history = trainer.fit(X, y, sample_weight=weight, validation_data=(X[:30], y[:30]))
    assert list(history) == ["loss", "accuracy", "exact_match", "val_loss", "val_accuracy", "val_exact_match"]
    right = (trainer.network.predict(X) > 0) == (y == 1)
    said = trainer.evaluate(X, y, sample_weight=weight)
    for got in (said, {name: history[name][0] for name in said}):
        assert got["accuracy"] == pytest.approx(np.average(right.mean(axis=1), weights=weight), rel=1e-12)
        assert got["exact_match"] == pytest.approx(np.average(right.all(axis=1), weights=weight), rel=1e-12)
        assert 0 < got["exact_match"] < got["accuracy"] < 1
    assert history["val_exact_match"] == [right[:30].all(axis=1).mean()]


def test_a_number_of_exact_matches_can_be_followed():
    X, y = problem("binary_cross_entropy")
    stopping = callbacks.EarlyStopping("val_exact_match", patience=30)
    trainer = trainer_for("binary_cross_entropy")
    history = trainer.fit(
        X, y, epochs=40, validation_data=(X, y), callbacks=stopping, stop_at={"exact_match": 2.0}
    )
    assert stopping.best == max(history["val_exact_match"]) and history.n_epochs == 40
    with pytest.raises(ValueError, match="monitor must be one of .*'exact_match'.*metrics='exact_match'"):
        trainer_for("squared_error").fit(X, y, callbacks=callbacks.EarlyStopping("exact_match"))
    assert "exact_match" in trainer_for("cross_entropy").fit(X, np.arange(60) % 3, metrics="exact_match")


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "half_squared_error"])
@pytest.mark.parametrize("several_in", ["training", "validation"])
def test_one_name_means_one_thing_in_a_fit(loss, several_in):
    X, several = problem("binary_cross_entropy")
    one = np.eye(3)[X[:, :3].argmax(axis=1)]
    parts = [(X, several), (X, one)] if several_in == "training" else [(X, one), (X, several)]
    trainer = Trainer(network_of_rows("sigmoid"), loss, SGD(lr=1e-12), seed=0)
    asked = ("accuracy", "exact_match")
    history = trainer.fit(*parts[0], validation_data=parts[1], metrics=asked)
    sides = trainer.network.predict(X) > 0.5
    for prefix, (_, y) in zip(("", "val_"), parts, strict=True):
        right = sides == (y == 1)
        assert history[prefix + "accuracy"][0] == pytest.approx(right.mean(), rel=1e-12)
        assert history[prefix + "exact_match"][0] == pytest.approx(right.all(axis=1).mean(), rel=1e-12)
    assert trainer.evaluate(X, one, metrics=asked)["accuracy"] != pytest.approx((sides == (one == 1)).mean())


def test_class_numbers_and_rows_of_several_labels_do_not_go_together():
    X, y = problem("binary_cross_entropy")
    trainer = trainer_for("hinge")
    with pytest.raises(ValueError, match="one form, got class numbers and rows"):
        trainer.fit(X, X[:, :3].argmax(axis=1), validation_data=(X, y))
    assert trainer.epoch == 0
