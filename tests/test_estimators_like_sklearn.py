"""mlpfast.estimators are what scikit-learn's MLPClassifier and MLPRegressor are: its own checks and tests, and with the
same random_state the same losses, scores and predictions."""

import re
import warnings

import numpy as np
import pytest
from processes import run_python

sklearn = pytest.importorskip("sklearn", minversion="1.7", reason="the extra sklearn has it")

import sklearn.neural_network as theirs  # noqa: E402
from scipy.sparse import csr_array  # noqa: E402
from sklearn import datasets  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from mlpfast.estimators import MLPClassifier, MLPRegressor  # noqa: E402
from mlpfast.estimators._held_out import held_out_rows  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

THEIRS = {MLPClassifier: theirs.MLPClassifier, MLPRegressor: theirs.MLPRegressor}
X, labels = datasets.load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
rng = np.random.default_rng(0)
numbers = X @ rng.normal(size=(4, 3)) + 0.1 * rng.normal(size=(150, 3))
several = (numbers > 0).astype(int)
weights = rng.uniform(0, 3, 150)
weights[::7] = 0
PROBLEMS = {
    "classes": (MLPClassifier, labels), "two classes": (MLPClassifier, labels > 0), "labels": (MLPClassifier, several),
    "number": (MLPRegressor, numbers[:, 0]), "numbers": (MLPRegressor, numbers),
}
SETTINGS = {
    "adam": {}, "adam with alpha": {"alpha": 1.0}, "sgd": {"solver": "sgd"},
    "without momentum": {"solver": "sgd", "momentum": 0.0},
    "without nesterov": {"solver": "sgd", "nesterovs_momentum": False},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 0.05,
                 "n_iter_no_change": 2},
    "minibatches": {"batch_size": 60, "alpha": 0.1}, "not shuffled": {"shuffle": False, "batch_size": 40},
    "epsilon": {"epsilon": 1e-3},
    "layers": {"hidden_layer_sizes": (20, 10), "activation": "tanh"}, "logistic": {"activation": "logistic"},
}


def both(kind, y, sample_weight=None, **settings):
    """Our estimator and scikit-learn's, fitted alike for 30 epochs."""
    usual = {"random_state": 1, "max_iter": 30, "hidden_layer_sizes": (25,), "tol": 0.0, "n_iter_no_change": 1000}
    return [each(**{**usual, **settings}).fit(X, y, sample_weight) for each in (kind, THEIRS[kind])]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_losses_and_predictions_are_those_of_scikit_learn(problem, setting):
    kind, y = PROBLEMS[problem]
    for sample_weight in (None, weights):
        ours, other = both(kind, y, sample_weight, **SETTINGS[setting])
        np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-9)
        assert (ours.n_iter_, ours.t_, ours.n_outputs_) == (other.n_iter_, other.t_, other.n_outputs_)
        assert ours.out_activation_ == other.out_activation_ and ours.best_loss_ == min(ours.loss_curve_)
        for mine, its in zip(ours.coefs_ + ours.intercepts_, other.coefs_ + other.intercepts_, strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(ours.score(X, y), other.score(X, y), rtol=1e-9)


def test_the_poisson_loss_is_that_of_scikit_learn():
    y = rng.poisson(np.exp(numbers[:, 0] / 3))
    for sample_weight in (None, weights):
        ours, other = both(MLPRegressor, y, sample_weight, loss="poisson", batch_size=40)
        np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-9)
        np.testing.assert_allclose(ours.predict(X), other.predict(X), rtol=1e-6)


@pytest.mark.parametrize("problem", ["two classes", "labels", "number", "numbers"])
def test_early_stopping_holds_out_the_same_rows(problem):
    kind, y = PROBLEMS[problem]
    for sample_weight in (None, weights):
        ours, other = both(kind, y, sample_weight, early_stopping=True, max_iter=40, tol=1e-4, n_iter_no_change=5)
        np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-9)
        np.testing.assert_allclose(ours.validation_scores_, other.validation_scores_, rtol=1e-6)
        assert ours.best_loss_ is None and ours.n_iter_ == other.n_iter_
        np.testing.assert_allclose(ours.predict(X), other.predict(X), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("counts", [(7, 3), (2, 50), (11, 12, 13), (40, 2, 3, 5)])
def test_rows_are_held_out_as_by_train_test_split(counts):
    strata = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    for fraction in (0.1, 0.3, 0.5):
        if np.ceil(fraction * len(strata)) < len(counts):
            continue
        found = held_out_rows(len(strata), fraction, strata, np.random.RandomState(3))
        wanted = train_test_split(
            np.arange(len(strata)), test_size=fraction, stratify=strata, random_state=np.random.RandomState(3)
        )
        for rows, its in zip(found, wanted, strict=True):
            assert rows.tolist() == its.tolist()


def test_early_stopping_holds_out_the_same_share_of_each_class():
    y = np.repeat([0, 1, 2], [100, 30, 20])
    held_out = []

    class Looking(MLPClassifier):
        def _strata(self, codes):
            held_out.append(super()._strata(codes))
            return held_out[-1]

    Looking(early_stopping=True, validation_fraction=0.2, max_iter=2).fit(X, y)
    assert (held_out[0] == y).all()
    Looking(early_stopping=True, max_iter=2).fit(X[:30], y[[*range(27), 120, 121, 149]])
    assert held_out[1] is None  # a class of one row


@pytest.mark.parametrize("problem", PROBLEMS)
def test_lbfgs_goes_the_way_of_scikit_learn(problem):
    if problem == "numbers":
        pytest.skip("scikit-learn's objective is not that of its gradient: scikit-learn#8349")
    kind, y = PROBLEMS[problem]
    ours, other = both(kind, y, weights, solver="lbfgs", alpha=0.1, max_iter=20)
    assert ours.n_iter_ == other.n_iter_
    np.testing.assert_allclose(ours.loss_, other.loss_, rtol=1e-6)
    np.testing.assert_allclose(ours.coefs_[0], other.coefs_[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_and_warm_start_go_on_as_in_scikit_learn(solver):
    curves = []
    for kind in (MLPClassifier, theirs.MLPClassifier):
        estimator = kind((10,), solver=solver, random_state=3, learning_rate_init=0.01, batch_size=32)
        for part in (slice(0, 80), slice(80, 150), slice(0, 150)):
            estimator.partial_fit(X[part], labels[part], classes=[0, 1, 2])
        estimator.set_params(warm_start=True, max_iter=5).fit(X, labels)
        curves.append(estimator.loss_curve_)
    np.testing.assert_allclose(*curves, rtol=1e-9)
    assert len(curves[0]) == 8


@pytest.mark.parametrize("change", [{"batch_size": 20}, {"activation": "tanh"}, {"alpha": 0.0}])
@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_parameters_that_are_set_between_fits_count_as_in_scikit_learn(method, change):
    curves, probabilities = [], []
    for kind in (MLPClassifier, theirs.MLPClassifier):
        estimator = kind((10,), random_state=3, warm_start=True, max_iter=3, alpha=0.1).fit(X, labels)
        estimator.set_params(**change)
        probabilities.append(estimator.predict_proba(X))
        for _ in range(2):
            getattr(estimator, method)(X, labels)
        curves.append(estimator.loss_curve_)
    np.testing.assert_allclose(*probabilities, rtol=1e-9)
    np.testing.assert_allclose(*curves, rtol=1e-9)


@pytest.mark.parametrize("form", ["sparse numbers", "labels of another byte order", "sizes"])
def test_odd_arguments_are_taken_as_in_scikit_learn(form):
    if form == "sizes":
        for kind in (MLPClassifier, theirs.MLPClassifier):
            with pytest.raises(TypeError, match="integer"):
                kind((2.5,)).fit(X, labels)
        return
    sparse_numbers = form == "sparse numbers"
    ours, other = both(*(MLPRegressor, csr_array(numbers)) if sparse_numbers else (MLPClassifier, labels.astype(">i8")))
    np.testing.assert_allclose(ours.predict(X), other.predict(X), rtol=1e-6)
    assert ours.predict(X).dtype == other.predict(X).dtype


def test_sparse_labels_are_predicted_in_the_form_of_scikit_learn():
    ours, other = both(MLPClassifier, csr_array(several))
    assert type(ours.predict(X)) is type(other.predict(X)) and (ours.predict(X) != other.predict(X)).nnz == 0


def test_verbose_prints_what_scikit_learn_prints(capsys):
    settings = {"random_state": 0, "max_iter": 40, "solver": "sgd", "learning_rate": "adaptive", "tol": 0.05,
                "n_iter_no_change": 3, "verbose": True, "learning_rate_init": 0.1}
    printed = []
    for kind in (MLPClassifier, theirs.MLPClassifier):
        kind(**settings).fit(X, labels)
        printed.append(capsys.readouterr().out)
    assert "Setting learning rate to" in printed[0] and printed[0] == printed[1]


# ---- scikit-learn's own checks ----

# None can be met by a solver that holds rows out, or takes some away at random: scikit-learn's own classes with
# early_stopping fail the same ones.
WEIGHTS_ARE_ROWS = {
    f"check_sample_weight_equivalence_on_{what}_data": "rows and weights draw other numbers" for what in
    ("dense", "sparse")
}
NO_PARTIAL_FIT = {
    name: "partial_fit refuses early_stopping" for name in
    ("check_fit_score_takes_y", "check_n_features_in_after_fitting", "check_estimators_partial_fit_n_features")
}
INSTANCES = {
    "MLPClassifier()": (MLPClassifier(), {}), "MLPRegressor()": (MLPRegressor(), {}),
    **{
        f"{kind.__name__} {name}": (kind(random_state=0, **settings), expected)
        for kind in (MLPClassifier, MLPRegressor)
        for name, settings, expected in (
            ("sgd", {"solver": "sgd"}, {}),
            ("lbfgs", {"solver": "lbfgs", "hidden_layer_sizes": (10,), "max_iter": 40, "alpha": 0.01}, {}),
            ("early_stopping", {"early_stopping": True, "validation_fraction": 0.4},
             {**WEIGHTS_ARE_ROWS, **NO_PARTIAL_FIT}),
            ("dropout", {"dropout": 0.1}, WEIGHTS_ARE_ROWS),
        )
    },
}


def expected_of(estimator):
    return next(expected for each, expected in INSTANCES.values() if each is estimator)


@parametrize_with_checks([each for each, _ in INSTANCES.values()], expected_failed_checks=expected_of)
def test_checks_of_scikit_learn(estimator, check):
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):  # whose threads wait for each other
        warnings.simplefilter("ignore")
        check(estimator)


def test_the_tests_of_scikit_learn_pass():
    """All of them, on our classes."""
    printed = run_python("""
        import sys, pytest
        sys.exit(pytest.main([
            "-q", "-c", "/dev/null", "-p", "sklearns_own_tests", "-p", "no:cacheprovider", "--pyargs",
            "sklearn.neural_network.tests.test_mlp",
        ]))
    """)
    (counts,) = re.findall(r"^(?:\d+ \w+(?:, )?)+(?= in )", printed, re.MULTILINE)
    assert re.fullmatch(r"\d+ passed(, \d+ warnings?)?", counts) and int(counts.split()[0]) >= 59
