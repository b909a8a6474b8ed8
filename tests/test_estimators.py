"""What mlpfast.estimators have beyond scikit-learn's classes; how they go with its tools, threads, files and memory."""

import copy
import io
import pickle
import threading
import tracemalloc
import warnings

import numpy as np
import pytest
from bad_files import bytes_of
from processes import run_python

import mlpfast
from mlpfast import _core, losses, schedules

sklearn = pytest.importorskip("sklearn", minversion="1.7", reason="the extra sklearn has it")

from scipy import sparse  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from mlpfast import estimators  # noqa: E402
from mlpfast.callbacks import EarlyStopping  # noqa: E402
from mlpfast.estimators import MLPClassifier, MLPRegressor  # noqa: E402
from mlpfast.files import summary  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, labels = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
names = np.array(["setosa", "versicolor", "virginica"])[labels]
rng = np.random.default_rng(0)
numbers = X @ rng.normal(size=(4, 2)) + 0.1 * rng.normal(size=(150, 2))
SMALL = {"hidden_layer_sizes": (10,), "max_iter": 20, "random_state": 0}


def same_parameters(one, other):
    pairs = zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


# ---- With scikit-learn's tools ----


def test_it_goes_into_pipelines_searches_and_several_processes():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL, learning_rate_init=0.05))
    assert pipeline.fit(X, names).score(X, names) > 0.9
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=3, n_jobs=2).fit(X, names)
    assert search.best_params_ and search.best_score_ > 0.8
    alone, apart = (cross_val_score(pipeline, X, names, cv=3, n_jobs=n) for n in (1, 2))
    assert (alone == apart).all()


def test_a_trainer_in_its_tools_is_refused_with_a_message_that_names_the_estimators():
    trainer = mlpfast.Trainer(mlpfast.Network([4, 3], output="softmax", seed=0))
    before = [p.copy() for p in trainer.network.parameters]
    with pytest.raises(TypeError, match="mlpfast.estimators has MLPClassifier"):
        make_pipeline(StandardScaler(), trainer).fit(X, labels)
    with pytest.raises(TypeError, match="mlpfast.estimators has MLPClassifier"):
        GridSearchCV(trainer, {}).fit(X, labels)
    with pytest.raises(TypeError, match="mlpfast.estimators has MLPClassifier"):
        trainer.score(X, labels)
    assert all((a == b).all() for a, b in zip(before, trainer.network.parameters, strict=True))


def test_names_of_columns_are_checked():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = MLPClassifier(**SMALL).fit(table, names)
    assert list(model.feature_names_in_) == ["a", "b", "c", "d"]
    assert (model.predict(table) == MLPClassifier(**SMALL).fit(X, names).predict(X)).all()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[["b", "a", "c", "d"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


def test_sample_weight_is_routed():
    weights = np.where(labels == 0, 5.0, 0.5)
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(**SMALL).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        routed = cross_val_score(model, X, labels, cv=3, params={"sample_weight": weights})
        plain = cross_val_score(MLPClassifier(**SMALL), X, labels, cv=3)
    assert (routed != plain).any()


def test_clones_copies_and_pickles_go_on_with_the_same_bits():
    model = MLPClassifier(**SMALL, batch_size=32).partial_fit(X, names, classes=np.unique(names))
    assert clone(model).get_params() == model.get_params() and not hasattr(clone(model), "coefs_")
    others = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    for _ in range(2):
        model.partial_fit(X, names)
        for other in others:
            other.partial_fit(X, names)
    assert all(same_parameters(model, other) for other in others)
    assert all((model.predict_proba(X) == other.predict_proba(X)).all() for other in others)
    assert all(other.loss_curve_ == model.loss_curve_ and other.t_ == model.t_ for other in others)


def test_skops_files():
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    model = MLPClassifier(**SMALL).fit(X, names)
    data = skops.dumps(model)
    again = skops.loads(data, trusted=skops.get_untrusted_types(data=data))
    assert (again.predict_proba(X) == model.predict_proba(X)).all()


def test_the_representation_in_notebooks():
    html = MLPClassifier(alpha=0.5)._repr_html_()
    assert "MLPClassifier" in html and "alpha" in html and repr(MLPClassifier(alpha=0.5)) == "MLPClassifier(alpha=0.5)"


# ---- Forms of X and y ----


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix])
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {"shuffle": False}])
def test_sparse_rows_give_the_bits_of_dense_ones(form, settings):
    thin = np.where(np.abs(X) > 0.8, X, 0)
    dense, other = (MLPClassifier(**SMALL, **settings, batch_size=32).fit(each, names) for each in (thin, form(thin)))
    assert same_parameters(dense, other)
    assert (dense.predict_proba(thin) == other.predict_proba(form(thin))).all()
    weights = rng.uniform(0.5, 2, 150)
    dense, other = (MLPRegressor(**SMALL, **settings).fit(each, numbers, weights) for each in (thin, form(thin)))
    assert same_parameters(dense, other)


def test_sparse_rows_become_dense_by_blocks(monkeypatch):
    from mlpfast.estimators import _full_batch, _rows

    whole = [MLPClassifier(**SMALL, batch_size=16, solver=solver).fit(sparse.csr_array(X), labels)
             for solver in ("adam", "lbfgs")]
    for module in (_rows, _full_batch):
        monkeypatch.setattr(module, "BLOCK_BYTES", 2000)
    for model in whole:
        parts = clone(model).fit(sparse.csr_array(X), labels)
        np.testing.assert_allclose(parts.coefs_[0], model.coefs_[0], rtol=1e-9)
        np.testing.assert_allclose(parts.predict_proba(sparse.csr_array(X)), model.predict_proba(X), rtol=1e-9)


def test_labels_of_any_kind():
    for y in (names, names.astype(object), labels - 1, labels > 0, labels + 0.0, sparse.csr_array(numbers > 0)):
        model = MLPClassifier(**{**SMALL, "max_iter": 100}, learning_rate_init=0.02).fit(X, y)
        predicted = model.predict(X)
        if sparse.issparse(y):
            assert sparse.issparse(predicted) and (predicted != y).mean() < 0.1
        else:
            assert set(predicted) <= set(y) and (predicted == y).mean() > 0.9
            assert model.classes_.dtype == y.dtype or y.dtype == object
    with pytest.raises(TypeError, match="not supported between instances"):  # as scikit-learn
        MLPClassifier().fit(X[:2], np.array(["a", 1], dtype=object))
    with pytest.raises(ValueError, match="Unknown label type"):
        MLPClassifier().fit(X, numbers[:, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float32_stays_float32(dtype):
    model = MLPRegressor(**SMALL).fit(X.astype(dtype), numbers)
    assert model.predict(X.astype(dtype)).dtype == dtype and model.coefs_[0].dtype == dtype
    other = "float64" if dtype == "float32" else "float32"
    assert MLPRegressor(**SMALL, dtype=other).fit(X.astype(dtype), numbers).network_.dtype == other
    with pytest.raises(ValueError, match="dtype must be"):
        MLPRegressor(dtype="int8").fit(X, numbers)


def test_plain_arrays_are_checked_on_the_short_way_too():
    model = MLPClassifier(**SMALL).fit(X, labels)
    for bad, message in ((np.full((1, 4), np.nan), "NaN"), (np.full((1, 4), np.inf), "infinity"),
                         (np.zeros((1, 5)), "5 features"), (np.zeros(4), "1D"), (np.zeros((0, 4)), "0 sample")):
        with pytest.raises(ValueError, match=message):
            model.predict_proba(bad)
    large = np.full((1, 4), 1e308)  # whose sum is infinite
    assert np.isfinite(model.predict_proba(large)).all()
    strided, lists = np.asfortranarray(X)[::2], X[::2].tolist()
    assert (model.predict_proba(strided) == model.predict_proba(lists)).all()


# ---- Beyond ----


def test_an_activation_and_a_dropout_for_each_layer():
    settings = {**SMALL, "hidden_layer_sizes": (8, 6)}
    model = MLPClassifier(**settings, activation=["tanh", mlpfast.activations.LeakyReLU(0.2)], dropout=[0.0, 0.3])
    layers = model.fit(X, labels).network_.layers
    assert [layer.activation_name if hasattr(layer, "activation_name") else layer._unit.name for layer in layers] == [
        "tanh", "leaky_relu", "softmax"
    ]
    assert [layer.dropout for layer in layers] == [0.0, 0.3, 0.0]
    for wrong in ({"activation": ["tanh"]}, {"dropout": [0.1]}):
        with pytest.raises(ValueError, match="one entry for each of the 2 hidden layers"):
            MLPClassifier(**{**settings, **wrong}).fit(X, labels)


def test_slopes_of_a_prelu_are_kept_by_pickles_and_files(tmp_path):
    model = MLPClassifier(**SMALL, activation="prelu", learning_rate_init=0.05).fit(X, labels)
    assert (model.network_.layers[0].slopes != 0.25).any()
    model.save(tmp_path / "model")
    for again in (pickle.loads(pickle.dumps(model)), estimators.load(tmp_path / "model")):
        assert (again.predict_proba(X) == model.predict_proba(X)).all()


def test_class_weights_are_weights_of_rows_that_mean_the_same_in_every_minibatch():
    settings = {**SMALL, "batch_size": 32}
    weight = {"setosa": 3.0, "versicolor": 0.5, "virginica": 1.0}
    by_class = MLPClassifier(**settings, class_weight=weight).fit(X, names)
    network = mlpfast.Network([4, 10, 3], output="softmax", dtype="float64", seed=0)
    first = MLPClassifier(**settings)
    first._random_state, first.n_outputs_ = np.random.RandomState(0), 3
    first._initialize(4, np.float64)
    for layer, W, b in zip(network.layers, first.coefs_, first.intercepts_, strict=True):
        layer.W[...], layer.b[...] = W, b
    trainer = mlpfast.Trainer(network, optimizer=mlpfast.Adam(epsilon_hat=True))
    each = np.array([weight[name] for name in names])
    state = first._random_state
    order = np.arange(150)
    for _ in range(20):
        order = order[state.permutation(150)]
        for rows in np.split(order, range(32, 150, 32)):
            trainer.l2 = 1e-4 / (len(rows) * each.mean())
            trainer.step(X[rows], labels[rows], sample_weight=each[rows], mean_weight=each.mean())
    np.testing.assert_allclose(by_class.coefs_[0], network.layers[0].W, rtol=1e-9)
    balanced = MLPClassifier(**settings, class_weight="balanced").fit(X[:120], names[:120])
    assert balanced.score(X, names) > 0.3
    with pytest.raises(ValueError, match="class_weight must hold labels of y, got 'rosa'"):
        MLPClassifier(class_weight={"rosa": 1}).fit(X, names)


@pytest.mark.parametrize(
    "loss", ["hinge", "half_squared_error", "huber", "log_cosh", losses.CrossEntropy(label_smoothing=0.1)]
)
def test_losses_of_classes(loss):
    settings = {**SMALL, "max_iter": 150, "learning_rate_init": 0.02}
    for y in (labels, labels > 0):
        model = MLPClassifier(**settings, loss=loss, early_stopping=loss == "huber", n_iter_no_change=50).fit(X, y)
        assert model.score(X, y) > 0.9
        assert hasattr(model, "predict_proba") == (loss != "hinge")
        model.set_params(loss="log_loss")
        assert hasattr(model, "predict_proba") == (loss != "hinge")  # it is the fitted network's


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "log_cosh", losses.Quantile(0.9)])
def test_losses_of_numbers(loss):
    y = numbers[:, 0]
    model = MLPRegressor(**{**SMALL, "max_iter": 300}, learning_rate_init=0.02, loss=loss).fit(X, y)
    if isinstance(loss, str):
        assert model.score(X, y) > 0.95
    else:
        assert 0.8 < (y < model.predict(X)).mean()
    with pytest.raises(ValueError, match="needs 2 outputs for each column of y"):
        MLPRegressor(loss=losses.Quantile([0.1, 0.9])).fit(X, y)


def test_an_optimizer_with_a_schedule():
    optimizer = mlpfast.AdamW(lr=schedules.Exponential(0.05, 0.9))
    model = MLPClassifier(**SMALL, optimizer=optimizer, batch_size=16).fit(X, labels)
    assert model.score(X, labels) > 0.9 and optimizer.lr.at(0) == 0.05
    for name in ("rmsprop", "lbfgs", "rprop"):
        assert MLPClassifier(**{**SMALL, "max_iter": 50}, optimizer=name).fit(X, labels).score(X, labels) > 0.5
    with pytest.raises(ValueError, match="optimizer and solver must not both be given"):
        MLPClassifier(solver="sgd", optimizer="adam").fit(X, labels)


def test_the_history_of_a_fit_with_validation_data_metrics_and_callbacks(tmp_path):
    pytest.importorskip("matplotlib")
    seen = []
    model = MLPClassifier(**SMALL, metrics=["top_2"], callbacks=lambda trainer, epoch, logs: seen.append(logs))
    model.fit(X[::2], names[::2], validation_data=(X[1::2], names[1::2]))
    assert set(model.history_) >= {"loss", "accuracy", "top_2", "val_loss", "val_accuracy", "val_top_2"}
    assert len(seen) == len(model.history_["loss"]) == model.n_iter_ == 20
    assert model.history_["val_accuracy"][-1] == pytest.approx(model.score(X[1::2], names[1::2]))
    model.plot(tmp_path / "history.png")
    assert (tmp_path / "history.png").stat().st_size > 1000
    with pytest.raises(AttributeError, match="history_"):
        MLPClassifier().history_  # noqa: B018


def test_early_stopping_scores_the_validation_data_that_is_given():
    model = MLPClassifier(**{**SMALL, "max_iter": 60}, early_stopping=True)
    model.fit(X[::2], labels[::2], validation_data=(X[1::2], labels[1::2]))
    assert model.best_validation_score_ == max(model.validation_scores_) == model.score(X[1::2], labels[1::2])


def test_threads_change_no_bit():
    settings = {"hidden_layer_sizes": (640,), "alpha": 0.1, "batch_size": 40, "max_iter": 5, "random_state": 0}
    models = [MLPClassifier(**settings, n_jobs=n).fit(X, labels) for n in (None, 1, 2, -1)]
    assert all(same_parameters(models[0], model) for model in models)
    assert all(model.loss_curve_ == models[0].loss_curve_ for model in models)
    with pytest.raises(ValueError, match="n_jobs == 0"):
        MLPClassifier(n_jobs=0).fit(X, labels)


def test_many_threads_predict_with_one_estimator():
    model = pickle.loads(pickle.dumps(MLPClassifier(**SMALL).fit(X, labels)))  # its network is made at first use
    wanted, found = MLPClassifier(**SMALL).fit(X, labels).predict_proba(X), []
    threads = [threading.Thread(target=lambda: found.append(model.predict_proba(X))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all((each == wanted).all() for each in found)


def test_scaled_targets_give_predictions_in_their_unit(tmp_path):
    y = numbers * [1000, 1e-3] + [5000, 7]
    scaled = (y - y.mean(axis=0)) / y.std(axis=0)
    plain = MLPRegressor(**SMALL).fit(X, scaled)
    model = MLPRegressor(**SMALL, target_scaling=True).fit(X, y)
    np.testing.assert_allclose(model.predict(X), plain.predict(X) * y.std(axis=0) + y.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=1e-9)
    for each, target in ((model, y), (plain, scaled)):
        each.partial_fit(X, target)
    np.testing.assert_allclose(model.predict(X), plain.predict(X) * y.std(axis=0) + y.mean(axis=0), rtol=1e-6)
    model.save(tmp_path / "model")
    again = estimators.load(tmp_path / "model")
    assert (again.predict(X) == model.predict(X)).all()
    assert (mlpfast.load_network(tmp_path / "model").predict(X) == model.predict(X)).all()
    problem, network, by_c = _core.through_c((tmp_path / "model").read_bytes(), X)  # by mlp_network_load of C
    assert problem is None and network == bytes_of(model.network_) and (by_c == model.predict(X)).all()
    with pytest.raises(ValueError, match="target_scaling must be False for loss 'poisson'"):
        MLPRegressor(loss="poisson", target_scaling=True).fit(X, np.abs(y))


def test_coefs_and_intercepts_are_views_of_the_network():
    model = MLPRegressor(**SMALL).fit(X, numbers)
    before = model.predict(X)
    model.intercepts_[-1] += 1
    np.testing.assert_allclose(model.predict(X), before + 1)
    model.coefs_[-1] = np.zeros((10, 2))
    assert (model.predict(X) == model.intercepts_[-1]).all()
    assert (model.network_.layers[-1].W == 0).all() and model.coefs_[-1].base is not None


# ---- Refused calls, and parameters that change between calls ----


def attributes(model):
    """What a refused call must not change, as texts."""
    return {name: repr(value) for name, value in vars(model).items() if name[0] != "_" and name[-1] == "_"}


NARROW, TWO = X[:, :2], labels > 0
REFUSED = {
    "activation": (MLPClassifier, {"activation": ["relu", "relu"]}, (NARROW, TWO)),
    "metrics": (MLPClassifier, {"metrics": ["none such"]}, (NARROW, TWO)),
    "monitor": (MLPClassifier, {"callbacks": [EarlyStopping("none such", mode="min")]}, (NARROW, TWO)),
    "optimizer": (MLPClassifier, {"optimizer": "none such"}, (NARROW, TWO)),
    "sample_weight": (MLPClassifier, {}, (NARROW, TWO, -np.ones(150))),
    "class_weight": (MLPClassifier, {"class_weight": {"none such": 1}}, (NARROW, TWO)),
    "class_weight < 0": (MLPClassifier, {"class_weight": {False: -1.0}}, (NARROW, TWO)),
    "validation_data": (MLPClassifier, {}, (NARROW, TWO, None, (NARROW, names))),
    "early_stopping": (MLPClassifier, {"early_stopping": True}, (NARROW[45:55], labels[45:55])),
    "y of poisson": (MLPRegressor, {"loss": "poisson"}, (sparse.csr_array(NARROW), numbers[:, 0])),
    "scaled": (MLPRegressor, {"target_scaling": True, "loss": "poisson"}, (NARROW, np.abs(numbers))),
    "too large": (MLPRegressor, {"target_scaling": True}, (NARROW, numbers * 1e300)),
    "go on": (MLPRegressor, {"target_scaling": True, "warm_start": True}, (X, numbers, -np.ones(150))),
    "columns": (MLPRegressor, {"target_scaling": True, "warm_start": True}, (X, numbers[:, :1].ravel())),
    "go on, sparse": (MLPClassifier, {"warm_start": True}, (sparse.csr_array(X), labels, np.arange(149.0, -1, -1) - 1)),
    "lbfgs": (MLPClassifier, {"solver": "lbfgs"}, (NARROW, TWO, None, (NARROW, TWO))),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_fit_changes_nothing(case):
    kind, settings, arguments = REFUSED[case]
    usual = {"target_scaling": settings["target_scaling"]} if "warm_start" in settings and kind is MLPRegressor else {}
    model = kind(**SMALL, **usual).fit(X, numbers if kind is MLPRegressor else labels)
    before, predicted, parameters = attributes(model), model.predict(X), model.get_params()
    with pytest.raises((ValueError, TypeError)):
        model.set_params(**settings).fit(*arguments)
    model.set_params(**parameters)
    assert attributes(model) == before and model.predict(X).tobytes() == predicted.tobytes()
    if kind is MLPRegressor:
        with pytest.raises(ValueError, match="sample_weight"):
            model.partial_fit(X, numbers, -np.ones(150))
        assert attributes(model) == before and model.predict(X).tobytes() == predicted.tobytes()


def test_a_refused_first_partial_fit_decides_no_classes():
    model = MLPClassifier(**SMALL)
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(X * np.nan, labels, classes=[0, 1, 2])
    assert not hasattr(model, "classes_")
    assert model.partial_fit(X, names, classes=np.unique(names)).predict(X)[0] in names


def test_scaled_targets_are_scaled_back_after_an_exception():
    def failing(trainer, epoch, logs):
        raise RuntimeError("failing")

    y = 1000 * numbers + 50_000
    model = MLPRegressor(**SMALL, target_scaling=True, warm_start=True).fit(X, y)
    before = model.predict(X)
    with pytest.raises(RuntimeError, match="failing"):
        model.set_params(callbacks=failing).fit(X, y)
    assert 0 < abs(model.predict(X) - before).max() < 1000 < before.min()


def test_float16_targets_are_scaled():
    y = (1000 * numbers).astype(np.float16)
    model = MLPRegressor(**SMALL, target_scaling=True).fit(X, y)
    expected = MLPRegressor(**SMALL, target_scaling=True).fit(X, y.astype(np.float64)).predict(X)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6)


def test_parameters_of_the_network_count_when_they_are_set_between_calls():
    model = MLPClassifier(**SMALL, warm_start=True, activation="prelu").fit(X, labels)
    slopes = model.network_.layers[0].slopes.copy()
    model.set_params(dropout=0.5, input_noise=0.1)
    assert (model.network_.layers[0].slopes == slopes).all() and model.network_.layers[0].dropout == 0.5
    model.set_params(activation="tanh")
    again = pickle.loads(pickle.dumps(model))
    assert (model.predict_proba(X) == again.predict_proba(X)).all()
    assert model.fit(X, labels).network_.layers[0].activation == "tanh"


def test_an_optimizer_belongs_to_the_caller(tmp_path):
    optimizer = mlpfast.SGD(lr=0.3)

    def slower(trainer, epoch, logs):
        trainer.optimizer.lr /= 2

    models = [MLPClassifier(**SMALL, optimizer=optimizer, callbacks=slower).fit(X, labels) for _ in range(2)]
    assert optimizer.lr == 0.3 and same_parameters(*models)
    for given in ("rmsprop", "lbfgs"):
        model = MLPClassifier(**SMALL, optimizer=given).fit(X, labels)
        again = pickle.loads(pickle.dumps(model))
        assert same_parameters(model.partial_fit(X, labels), again.partial_fit(X, labels))
    other = mlpfast.SGD(lr=0.7)
    pickle.loads(pickle.dumps(MLPClassifier(**SMALL, optimizer=optimizer).fit(X, labels))).set_params(
        optimizer=other
    ).partial_fit(X, labels)
    assert other.lr == 0.7


@pytest.mark.parametrize(
    "first, then", [({"solver": "lbfgs"}, {"solver": "adam"}), ({}, {"early_stopping": True}),
                    ({"early_stopping": True}, {"early_stopping": False})],
)
def test_warm_start_goes_on_with_another_solver_or_way_to_stop(first, then):
    model = MLPClassifier(**SMALL, warm_start=True, **first).fit(X, TWO)
    model.set_params(**then).fit(X, TWO)
    early = model.early_stopping
    assert (model.best_loss_ is None, model.validation_scores_ is not None) == (early, early)
    assert len(model.validation_scores_ if early else model.loss_curve_) >= 11


def test_class_weights_mean_the_same_for_sparse_rows():
    thin, weights = np.where(np.abs(X) > 0.8, X, 0), np.where(np.arange(150) % 5, rng.uniform(0.5, 2, 150), 0)
    settings = {**SMALL, "batch_size": 20, "class_weight": {0: 5.0, 1: 0.1, 2: 0.0}}
    for sample_weight in (None, weights):
        dense, other = (MLPClassifier(**settings).fit(each, labels, sample_weight)
                        for each in (thin, sparse.csr_array(thin)))
        np.testing.assert_allclose(dense.coefs_[0], other.coefs_[0], rtol=1e-9)
        np.testing.assert_allclose(dense.loss_curve_, other.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("settings", [{"metrics": ["top_2"]}, {"optimizer": "lbfgs"}])
def test_metrics_and_optimizers_of_all_rows_see_all_sparse_rows(settings):
    thin = sparse.csr_array(np.where(np.abs(X) > 0.8, X, 0))
    dense, other = (MLPClassifier(**SMALL, **settings).fit(each, labels, validation_data=(each, labels))
                    for each in (thin.toarray(), thin))
    assert same_parameters(dense, other) and dense.history_ == other.history_


def test_coefs_that_do_not_go_together_are_refused():
    model = MLPRegressor(**SMALL).fit(X, numbers)
    model.coefs_ = tuple(W.tolist() for W in model.coefs_)
    assert model.predict(X).tobytes() == MLPRegressor(**SMALL).fit(X, numbers).predict(X).tobytes()
    model.coefs_[0] = np.zeros((4, 3))
    with pytest.raises(ValueError, match=r"coefs_ and intercepts_ must be .* got shapes \[\(4, 3\), \(10, 2\)\]"):
        model.predict(X)


def test_clip_norm_limits_steps():
    one, other = (MLPRegressor(**SMALL, solver="sgd", clip_norm=c).fit(X, 10 * numbers) for c in (None, 0.1))
    assert abs(other.coefs_[0]).max() < abs(one.coefs_[0]).max()


def test_ctrl_c_keeps_what_was_learned():
    """In a process of its own: Hypothesis would catch a signal that comes while it collects garbage."""
    printed = run_python("""
        import signal, warnings
        from sklearn.datasets import load_iris
        from mlpfast.estimators import MLPClassifier

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start tests with it ignored
        X, y = load_iris(return_X_y=True)

        class AtTheEnd:
            def on_epoch_end(self, trainer, epoch, logs):
                if epoch == 3:
                    signal.raise_signal(signal.SIGINT)

        class AtOnce:
            def on_epoch_begin(self, trainer, epoch):
                signal.raise_signal(signal.SIGINT)

        for callback in (AtTheEnd(), AtOnce()):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                model = MLPClassifier((10,), max_iter=20, random_state=0, callbacks=callback).fit(X, y)
            print(model.n_iter_, model.predict(X).shape, *(warning.message for warning in caught))
    """)
    assert printed.splitlines() == [f"{n} (150,) Training interrupted by user." for n in (4, 0)]


@pytest.mark.parametrize("settings", [{"solver": "lbfgs"}, {"early_stopping": True}])
def test_what_excludes_each_other_is_refused(settings):
    with pytest.raises((ValueError, AttributeError)):
        MLPClassifier(**settings).partial_fit(X, labels, classes=[0, 1, 2])
    for name, value in (("dropout", 0.5), ("input_noise", 0.1), ("clip_norm", 1.0), ("callbacks", [print]),
                        ("metrics", ["top_2"])):
        if settings.get("solver") == "lbfgs":
            with pytest.raises(ValueError, match=f"{name} needs a stochastic solver"):
                MLPClassifier(**settings, **{name: value}).fit(X, labels)


# ---- Files ----


@pytest.mark.parametrize(
    "y", [names, names.astype(object), labels > 0, labels - 5, numbers > 0],
    ids=["texts", "objects", "bool", "whole", "several"],
)
def test_files_of_classifiers(tmp_path, y):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    settings = {**SMALL, "activation": "tanh", "early_stopping": True, "optimizer": mlpfast.AdamW(lr=0.01)}
    if y.ndim == 1:
        settings |= {"loss": losses.CrossEntropy(label_smoothing=0.1), "class_weight": {y[:1].tolist()[0]: 2.0}}
    model = MLPClassifier(**settings).fit(table, y)
    model.save(tmp_path / "model")
    again = estimators.load(tmp_path / "model")
    assert type(again) is MLPClassifier and (again.predict(table) == model.predict(table)).all()
    assert again.predict_proba(table).tobytes() == model.predict_proba(table).tobytes()
    assert repr(again.get_params()) == repr({**model.get_params(), "hidden_layer_sizes": (10,)})
    assert again.classes_.dtype == model.classes_.dtype and (again.classes_ == model.classes_).all()
    assert list(again.feature_names_in_) == ["a", "b", "c", "d"] and again.loss_curve_ == model.loss_curve_
    assert again.validation_scores_ == model.validation_scores_ and again.n_iter_ == model.n_iter_
    assert "an estimator, MLPClassifier, and its network" in summary(tmp_path / "model")
    with pytest.raises(ValueError, match="feature names"):
        again.predict(table[["b", "a", "c", "d"]])


def test_a_file_names_what_it_does_not_hold(tmp_path):
    model = MLPClassifier(**{**SMALL, "random_state": np.random.RandomState(0)}, callbacks=[lambda *_: None])
    with pytest.warns(UserWarning, match="does not hold its random_state, callbacks"):
        model.fit(X, names).save(tmp_path / "model")
    assert (estimators.load(tmp_path / "model").predict(X) == model.predict(X)).all()


def test_other_and_damaged_files_are_refused(tmp_path):
    model = MLPClassifier(**SMALL).fit(X, names)
    model.save(tmp_path / "model")
    model.network_.save(tmp_path / "network")
    with pytest.raises(ValueError, match="holds a network: load_network reads it"):
        estimators.load(tmp_path / "network")
    with pytest.raises(ValueError, match="holds an estimator: estimators.load reads it"):
        mlpfast.load_trainer(tmp_path / "model")
    whole = (tmp_path / "model").read_bytes()
    wrong = {
        b'"estimator":"MLPClassifier"': b'"estimator":"MLPRegressor" ', b"classes_.0": b"classes_.9",
        b"fitted.n_outputs_": b"fitted.n_outputz_", b"params.max_iter": b"params.max_itex",
        b'"multiclass"': b'"multiclasz"', b'"fitted._kind"': b'"fitted._kinx"',
    }
    for old, new in wrong.items():
        if old in whole:
            (tmp_path / "damaged").write_bytes(whole.replace(old, new))
            with pytest.raises(ValueError, match="damaged"):
                estimators.load(tmp_path / "damaged")
    for at in range(8, len(whole) - 8, 97):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        (tmp_path / "damaged").write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                estimators.load(tmp_path / "damaged").predict(X)
            except ValueError:
                pass
        (tmp_path / "damaged").write_bytes(whole[:at])
        with pytest.raises(ValueError):
            estimators.load(tmp_path / "damaged")


@pytest.mark.parametrize("name, text", [
    ("fitted.n_iter_", "relu"), ("fitted.t_", "none"), ("fitted.t_", None), ("fitted.best_loss_", "none"),
    ("fitted.best_loss_", None), ("fitted.loss_", "relu"), ("fitted._no_improvement_count", "-1"),
    ("fitted.out_activation_", "identity"), ("fitted._sparse_labels", "relu"), ("fitted.n_outputs_", "0x1.8p+1"),
    ("classes_.0", "versicolor"), ("classes_.0", "z"),
])
def test_settings_of_a_file_that_do_not_go_together_are_refused(tmp_path, monkeypatch, name, text):
    from mlpfast.estimators import _files

    def damaging(path, tensors, texts, sync):
        assert texts.pop(f"estimator.{name}")
        save_file(path, tensors, texts if text is None else {**texts, f"estimator.{name}": text}, sync)

    save_file = _files.save_file
    monkeypatch.setattr(_files, "save_file", damaging)
    MLPClassifier(**SMALL).fit(X, names).save(tmp_path / "damaged")
    with pytest.raises(ValueError, match=f"estimator.{name.split('.')[0]}"):
        estimators.load(tmp_path / "damaged")


def test_onnx(tmp_path):
    pytest.importorskip("onnx", reason="the extra onnx has it")
    model = MLPClassifier(**SMALL).fit(X.astype(np.float32), names)
    model.to_onnx(tmp_path / "model.onnx")
    again = mlpfast.exchange.from_onnx(tmp_path / "model.onnx")
    assert (again.predict(X.astype(np.float32)) == model.predict_proba(X.astype(np.float32))).all()


def test_a_pipeline_becomes_a_network_that_scales_its_inputs():
    from mlpfast.exchange import from_sklearn

    raw = 10 * X + 3
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL, activation="prelu")).fit(raw, names)
    np.testing.assert_allclose(from_sklearn(pipeline).predict(raw), pipeline.predict_proba(raw), rtol=1e-12)


# ---- Memory and imports ----


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {"shuffle": False}])
def test_x_is_not_copied(settings):
    large = rng.standard_normal((20_000, 100)).astype(np.float32)
    y = (large[:, 0] > 0).astype(int)
    model = MLPClassifier((8,), random_state=0, max_iter=2, **settings)
    tracemalloc.start()
    try:
        model.fit(large, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.4 * large.nbytes


def test_without_scikit_learn_the_message_names_the_extra():
    printed = run_python("""
        import sys
        sys.modules["sklearn"] = None
        import mlpfast
        try:
            mlpfast.estimators
        except ImportError as error:
            print(error)
    """)
    assert 'pip install "mlpfast[sklearn]"' in printed


def test_fit_says_nothing(capsys):
    MLPClassifier(**SMALL).fit(X, labels)
    assert capsys.readouterr() == ("", "") and io is not None


# ---- What a newcomer tries ----


@pytest.mark.parametrize("value", [-1, float("nan"), "2"])
def test_a_wrong_class_weight_is_named(value):
    with pytest.raises((TypeError, ValueError), match=r"class_weight\['setosa'\]"):
        MLPClassifier(**SMALL, class_weight={"setosa": value}).fit(X, names)


@pytest.mark.parametrize(
    "given", [{"learning_rate_init": 0.1}, {"momentum": 0.5}, {"learning_rate": "adaptive"}, {"max_fun": 10}]
)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_arguments_of_solvers_are_refused_beside_an_optimizer(kind, given):
    (name,) = given
    with pytest.raises(ValueError, match=f"{name} must not be given with optimizer"):
        kind(**SMALL, optimizer="rmsprop", **given).fit(X, labels)


def test_a_hinge_loss_has_a_decision_function():
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.metrics import roc_auc_score

    model = MLPClassifier(**{**SMALL, "max_iter": 200}, loss="hinge").fit(X, labels == 2)
    scores = model.decision_function(X)
    assert scores.shape == (150,) and (model.classes_[(scores > 0).astype(int)] == model.predict(X)).all()
    assert roc_auc_score(labels == 2, scores) > 0.9
    several = MLPClassifier(**SMALL, loss="hinge").fit(X, names)
    assert (several.classes_[several.decision_function(X).argmax(axis=1)] == several.predict(X)).all()
    calibrated = CalibratedClassifierCV(MLPClassifier(**SMALL, loss="hinge"), cv=3).fit(X, names)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    assert not hasattr(MLPClassifier(), "decision_function")  # as scikit-learn's


def test_without_a_history_the_message_names_files(tmp_path):
    MLPClassifier(**SMALL).fit(X, labels).save(tmp_path / "model.safetensors")
    with pytest.raises(AttributeError, match="files do not hold it"):
        estimators.load(tmp_path / "model.safetensors").plot()


def test_each_fit_begins_with_a_new_schedule():
    plateau = schedules.ReduceOnPlateau(1.0, factor=0.5, patience=1)
    model = MLPClassifier(**SMALL, optimizer=mlpfast.SGD(lr=plateau))
    first = model.fit(X, labels).loss_curve_
    assert model.fit(X, labels).loss_curve_ == first and clone(model).fit(X, labels).loss_curve_ == first
    assert plateau.at(0) == 1.0  # the caller's object is as it was


@pytest.mark.parametrize("optimizer", ["rprop", "lbfgs"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_optimizers_of_all_rows(optimizer, form):
    model = MLPRegressor(**SMALL, optimizer=optimizer, alpha=0.1)
    net = clone(model).set_params(optimizer=None, max_iter=1).fit(X, numbers).network_  # the shape; weights below
    first = clone(model).set_params(optimizer=mlpfast.SGD(lr=1e-300), max_iter=1).fit(X, numbers)
    net.load_state_dict(first.network_.state_dict())
    mlpfast.Trainer(net, "half_squared_error", optimizer, batch_size=None, l2=0.1 / len(X)).fit(X, numbers, epochs=20)
    assert model.fit(form(X), numbers).n_iter_ == 20
    np.testing.assert_allclose(model.predict(X), net.predict(X), rtol=1e-6)


def test_validation_data_may_be_sparse():
    dense = MLPClassifier(**SMALL).fit(X, labels, validation_data=(X, labels))
    thin = MLPClassifier(**SMALL).fit(X, labels, validation_data=(sparse.csr_matrix(X), labels))
    assert thin.history_["val_loss"] == dense.history_["val_loss"]


def test_optimizers_of_all_rows_divide_alpha_by_the_weights():
    weights = np.where(labels == 0, 5.0, 2.0)
    settings = {**SMALL, "max_iter": 300, "alpha": 1.0, "activation": "tanh"}
    one = MLPClassifier(**settings, solver="lbfgs").fit(X, labels, weights)
    other = MLPClassifier(**settings, optimizer=mlpfast.LBFGS(tolerance=1e-6)).fit(X, labels, weights)
    np.testing.assert_allclose(other.loss_, one.loss_, rtol=1e-2)  # at nearby minima
