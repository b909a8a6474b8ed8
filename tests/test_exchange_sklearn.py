"""scikit-learn: the same predictions there, and back."""

import warnings

import numpy as np
import pytest
from processes import run_python

from mlpfast import Layer, Network, activations, schedules

sklearn = pytest.importorskip("sklearn", reason="the extra sklearn has it")

from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler  # noqa: E402

from mlpfast.exchange import from_sklearn, to_sklearn  # noqa: E402

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}
rng = np.random.default_rng(0)
X = 3 * rng.normal(size=(60, 5)) + 1


def fitted(estimator, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        return estimator.fit(X, y)


def assert_close(got, wanted, tolerance):
    np.testing.assert_allclose(got, wanted.reshape(got.shape), rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("kind", ["classes", "two classes", "labels", "a number", "numbers", "a rate"])
def test_predictions_of_estimators(kind, activation, dtype):
    settings = {"hidden_layer_sizes": (7, 4), "activation": activation, "max_iter": 5, "random_state": 0}
    given = X.astype(dtype)
    y = {
        "classes": rng.integers(3, size=60),
        "two classes": rng.integers(2, size=60),
        "labels": rng.integers(2, size=(60, 3)),
        "a number": X[:, 0],
        "numbers": X[:, :2],
        "a rate": np.abs(X[:, 0]),
    }[kind]
    if kind == "a rate":
        if "loss" not in MLPRegressor().get_params() or sklearn.__version__ < "1.7":
            pytest.skip("this scikit-learn has no Poisson loss")
        settings["loss"] = "poisson"
    if kind in ("classes", "two classes", "labels"):
        estimator = fitted(MLPClassifier(**settings), given, y)
        wanted = estimator.predict_proba(given)
        wanted = wanted[:, 1:] if kind == "two classes" else wanted
    else:
        estimator = fitted(MLPRegressor(**settings), given, y.astype(dtype))
        wanted = estimator.predict(given)
    net = from_sklearn(estimator)
    assert net.dtype == dtype and net.layers[-1]._unit.name == {
        "classes": "softmax",
        "two classes": "sigmoid",
        "labels": "sigmoid",
        "a rate": "exp",
    }.get(kind, "identity")
    assert_close(net.predict(given), wanted, TOLERANCE[dtype])
    again = to_sklearn(net)
    assert type(again) is type(estimator)
    for mine, theirs in zip(
        [*again.coefs_, *again.intercepts_], [*estimator.coefs_, *estimator.intercepts_], strict=True
    ):
        assert mine.dtype == theirs.dtype and mine.tobytes() == np.ascontiguousarray(theirs).tobytes()
    np.testing.assert_array_equal(again.predict(given), estimator.predict(given))
    if isinstance(estimator, MLPClassifier):
        np.testing.assert_array_equal(again.predict_proba(given), estimator.predict_proba(given))


@pytest.mark.parametrize(
    "scalers",
    [
        [StandardScaler()],
        [MinMaxScaler((-1, 2))],
        [MinMaxScaler(), StandardScaler()],
        [StandardScaler(with_mean=False)],
        [StandardScaler(with_std=False), "passthrough"],
    ],
)
def test_scalers_are_part_of_the_network(scalers):
    y = rng.integers(3, size=60)
    pipeline = fitted(make_pipeline(*scalers, MLPClassifier((6,), max_iter=5, random_state=0)), X, y)
    net = from_sklearn(pipeline)
    assert_close(net.predict(X), pipeline.predict_proba(X), 1e-12)
    assert net.layers[0].W.tobytes() == np.ascontiguousarray(pipeline[-1].coefs_[0]).tobytes()
    assert_close((X - net.input_transform[0]) / net.input_transform[1], pipeline[:-1].transform(X), 1e-12)
    assert_close(to_sklearn(net).predict_proba(X), pipeline.predict_proba(X), 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity", "exp"])
@pytest.mark.parametrize("n_out", [1, 3])
def test_networks_as_estimators(n_out, output, dtype):
    if output == "softmax" and n_out == 1:
        return
    net = Network([Layer(5, 6, "tanh", bias=False), Layer(6, n_out, output)], dtype=dtype, seed=0)
    estimator = to_sklearn(net)
    given = X.astype(dtype)
    if output in ("softmax", "sigmoid"):
        assert type(estimator) is MLPClassifier
        wanted = net.predict(given)
        wanted = np.hstack([1 - wanted, wanted]) if n_out == 1 else wanted
        assert_close(estimator.predict_proba(given), wanted, TOLERANCE[dtype])
        by_class = (wanted > 0.5).astype(int) if output == "sigmoid" and n_out > 1 else wanted.argmax(axis=1)
        np.testing.assert_array_equal(estimator.predict(given), by_class)
    else:
        assert type(estimator) is MLPRegressor
        assert_close(estimator.predict(given), net.predict(given), TOLERANCE[dtype])
    again = from_sklearn(estimator)
    assert again.predict(given).tobytes() == net.predict(given).tobytes()


def test_names_of_classes_and_further_training():
    net = Network([5, 6, 3], activation="tanh", output="softmax", seed=0)
    estimator = to_sklearn(net, classes=["a", "b", "c"])
    names = estimator.predict(X)
    np.testing.assert_array_equal(names, np.array(["a", "b", "c"])[net.predict(X).argmax(axis=1)])
    assert estimator.score(X, names) == 1
    estimator.set_params(warm_start=True, max_iter=3)
    before = estimator.coefs_[0].copy()
    fitted(estimator, X, names)
    assert not np.array_equal(estimator.coefs_[0], before) and estimator.score(X, names) > 0.9


def test_a_network_of_one_layer_and_pixels():
    net = Network([5, 3], output="softmax", dtype="float64", seed=0, input_scale=1 / 255)
    pixels = np.random.default_rng(0).integers(256, size=(20, 5)).astype(np.uint8)
    assert_close(to_sklearn(net).predict_proba(pixels), net.predict(pixels), 1e-13)


@pytest.mark.parametrize("input_scale", [1.0, 1 / 255])
def test_a_transform_of_the_inputs(input_scale):
    settings = {"input_scale": input_scale, "input_transform": (np.linspace(-1, 1, 5), np.linspace(0.5, 2, 5))}
    net = Network([5, 4, 3], activation="tanh", output="softmax", dtype="float64", seed=0, **settings)
    given = X if input_scale == 1 else np.random.default_rng(0).integers(256, size=(20, 5)).astype(np.uint8)
    assert_close(to_sklearn(net).predict_proba(given), net.predict(given), 1e-13)


def test_what_cannot_be_carried_over_is_named():
    y = rng.integers(2, size=60)
    mask = np.eye(5, 3, dtype=bool)
    for message, call in [
        (
            "a LogisticRegression cannot be carried over: supported are MLPClassifier",
            lambda: from_sklearn(LogisticRegression()),
        ),
        ("must be fitted", lambda: from_sklearn(MLPClassifier())),
        (
            "a Normalizer cannot",
            lambda: from_sklearn(fitted(make_pipeline(Normalizer(), MLPClassifier((3,), max_iter=2)), X, y)),
        ),
        (
            "without clip",
            lambda: from_sklearn(fitted(make_pipeline(MinMaxScaler(clip=True), MLPClassifier((3,), max_iter=2)), X, y)),
        ),
        (
            "layer 1 has the activation 'gelu'",
            lambda: to_sklearn(Network([5, 4, 3], activation="gelu", output="softmax")),
        ),
        (
            "layer 2 has the activation 'relu'",
            lambda: to_sklearn(Network([Layer(5, 4, "tanh"), Layer(4, 3, "relu"), Layer(3, 2)])),
        ),
        ("layer 1 has a mask", lambda: to_sklearn(Network([Layer(5, 3, mask=mask)]))),
        (
            "the output has the activation 'per_output'",
            lambda: to_sklearn(Network([5, 3], output=activations.PerOutput([(0, "exp"), (slice(1, 3), "softmax")]))),
        ),
        ("the output has the activation 'relu'", lambda: to_sklearn(Network([5, 3], output="relu"))),
        (
            "classes must be 3 different labels in ascending order",
            lambda: to_sklearn(Network([5, 3], output="softmax"), classes=[2, 1, 0]),
        ),
        ("classes are for a classifier", lambda: to_sklearn(Network([5, 3]), classes=[0, 1, 2])),
        ("one sigmoid output", lambda: to_sklearn(Network([5, 2], output="softmax"))),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_settings_of_the_training_are_named():
    layers = [Layer(5, 4, l2=0.1, trainable=False, dropout=schedules.Step(0.3)), Layer(4, 3)]
    names = "l2 of layer 1, dropout of layer 1, trainable of layer 1, input_dropout of the network"
    with pytest.warns(UserWarning, match=f"scikit-learn has no {names}, which"):
        to_sklearn(Network(layers, input_dropout=0.1))


def test_the_library_is_imported_when_it_is_used():
    program = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import mlpfast\n"
        "try: mlpfast.exchange.to_sklearn(mlpfast.Network([2, 3]))\n"
        "except ImportError as error: print(error)\n"
    )
    assert run_python(program) == 'sklearn is needed for this: pip install "mlpfast[sklearn]"\n'
