"""MLPClassifier: labels and class numbers, losses of classes, probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn import get_config
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import column_or_1d

from .. import losses
from .._scalars import real_number
from .._targets import by_class
from ._base import BaseMLP, available_for_stochastic
from ._sklearn import ClassifierMixin, available_if

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._types import AnyLoss, AnyOptimizer, Array, ArrayLike, Metrics

LOG_LOSSES = ("log_loss", "cross_entropy", "binary_cross_entropy")
NAMES = ("half_squared_error", "squared_error", "hinge", "absolute_error", "huber", "log_cosh")  # others of classes


def _has_probabilities(estimator):
    if estimator.__dict__.get("out_activation_", estimator._output_name()) == "identity":
        raise AttributeError(f"loss {estimator.loss!r} has no probabilities")
    return True


def _has_no_probabilities(estimator):
    if estimator._output_name() != "identity":
        raise AttributeError(f"loss {estimator.loss!r} has probabilities: predict_proba")
    return True


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multilayer perceptron that learns classes: scikit-learn's MLPClassifier, on mlpfast's core.

    Arguments and attributes of scikit-learn's class have its names, defaults and meaning; they are described there, and
    are in short:

    hidden_layer_sizes: the widths of the hidden layers.
    solver: "adam", "sgd" or "lbfgs".
    alpha: the factor of the penalty of the squared weights, which is divided by the rows of a minibatch.
    batch_size: rows of a minibatch; "auto" is 200, or all rows if there are fewer.
    learning_rate_init: the rate of "adam", and the first one of "sgd".
    learning_rate: of "sgd": "constant", "invscaling", divided by (t + 1)^power_t after t rows, or "adaptive", divided
        by 5 whenever training would end.
    power_t: the exponent of "invscaling".
    momentum, nesterovs_momentum: of "sgd".
    beta_1, beta_2, epsilon: of "adam".
    max_iter, max_fun: the most epochs, and the most calls of the loss by "lbfgs".
    tol, n_iter_no_change: training ends when the loss has not improved by more than tol for so many epochs in a row.
    early_stopping, validation_fraction: with True, that fraction of the rows is held out, and the score on it counts in
        place of the loss.
    shuffle, random_state: of the rows in each epoch; random_state also determines the first weights.
    warm_start: True goes on from the parameters of the last fit.
    verbose: True prints the loss of each epoch.

    Those beyond:

    activation: also any name of mlpfast.activations, an object such as LeakyReLU(0.1), or a list with one for each
        hidden layer.
    loss: "log_loss", the cross entropy; or "hinge", "half_squared_error" and others of mlpfast.losses, by name or as an
        object such as CrossEntropy(label_smoothing=0.1).
    optimizer: of mlpfast, a name or an object such as AdamW(lr=schedules.Cosine(...)); it takes the place of solver and
        its parameters.
    dropout: of the hidden layers, a probability or a list.
    input_dropout, input_noise: as of mlpfast.Network.
    class_weight: {label: weight}, or "balanced"; of several labels in a row a list of dicts. It multiplies
        sample_weight, and a weight then means the same in every minibatch (weighting="data" of mlpfast.Trainer).
    clip_norm: limits the 2-norm of each step's gradient, or None.
    callbacks, metrics: of mlpfast.Trainer.fit; history_ has the metrics.
    n_jobs: threads; None chooses by the amount of work, -1 is one for each processor. It changes no bit.
    dtype: "auto", the dtype of X if it is float32 or float64, else float64; or one of both.

    network_: the mlpfast.Network. coefs_ and intercepts_ are views of its parameters.
    history_: a mlpfast.History.

    The constructor checks nothing; fit raises ValueError or TypeError for arguments that do not fit.

    >>> import mlpfast
    >>> X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
    >>> estimator = mlpfast.estimators.MLPClassifier(hidden_layer_sizes=(64,), tol=1e-3, random_state=0)
    >>> round(estimator.fit(X, y).score(X_test, y_test), 2)
    0.89
    >>> [W.shape for W in estimator.coefs_]
    [(64, 64), (64, 10)]
    """

    _kind: str  # of the labels, as type_of_target says
    _parameter_constraints: dict = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({*LOG_LOSSES, *NAMES}), losses.Loss],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }
    classes_: Any
    out_activation_: str
    n_outputs_: int

    def __init__(
        self,
        hidden_layer_sizes: ArrayLike = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
        loss: AnyLoss = "log_loss",
        optimizer: AnyOptimizer | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
        class_weight: Mapping[Any, float] | ArrayLike | None = None,
        clip_norm: float | None = None,
        callbacks: Any = None,
        metrics: Metrics = (),
        n_jobs: int | None = None,
        dtype: Any = "auto",
    ) -> None:
        self._keep(locals())

    # ---- Labels ----

    def _encoded(self, y, incremental, first):
        """y as the core takes it: class numbers (n,), or of several labels in a row numbers (n, K)."""
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._set_classes(y)
        else:
            self._check_classes(unique_labels(y))
        if not hasattr(self, "out_activation_") or first:
            self._set_outputs()
        return self._codes(y)

    def _set_classes(self, y):
        plain = type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "biuU" and y.dtype.isnative
        if plain:  # what type_of_target does takes longer
            self.classes_ = np.unique(y)
            self._kind, self._sparse_labels = "binary" if len(self.classes_) < 3 else "multiclass", False
            return
        kind = type_of_target(y, input_name="y")
        if "multioutput" in kind:
            raise ValueError("Multioutput target data is not supported with label binarization")
        self._kind, self._sparse_labels = kind, issparse(y)
        self.classes_ = unique_labels(y)

    def _set_outputs(self):
        n = len(self.classes_)
        self.n_outputs_ = n if self._kind != "binary" else 1
        self.out_activation_ = self._output_name()

    def _output_name(self):
        """The output activation, by scikit-learn's names."""
        name = self._loss_name()
        if name == "hinge":
            return "identity"
        return "softmax" if self.__dict__.get("_kind") == "multiclass" else "logistic"

    def _check_classes(self, classes):
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _codes(self, y):
        if self._kind.startswith("multilabel"):
            dense = y.toarray() if issparse(y) else np.asarray(y)
            return dense.astype(np.float32)
        if y.ndim == 2 and y.shape[1] == 1:
            y = y.ravel()
        codes = np.searchsorted(self.classes_, y)
        codes[codes == len(self.classes_)] = 0
        unknown = self.classes_[codes] != y
        if np.any(unknown):
            raise ValueError(f"y contains previously unseen labels: {np.unique(np.asarray(y)[unknown])}")
        return codes.astype(np.int32)

    def _class_numbers(self, y):
        """y as it was before _scaled."""
        return y.argmax(axis=1) if y.ndim == 2 and self._kind == "multiclass" else y

    def _strata(self, codes):
        """What a validation set is stratified by; None for several labels in a row, and where there are too few rows to
        hold out one of each of more than two classes."""
        codes = self._class_numbers(codes)
        if codes.ndim == 2:
            return None
        counts = np.bincount(codes)
        fewest, classes = counts[counts > 0].min(), np.count_nonzero(counts)
        if self._kind == "binary":
            return codes if fewest > 1 else codes.astype(bool).astype(str)  # refused, with scikit-learn's message
        enough = fewest > 1 and len(codes) * self.validation_fraction >= classes
        return codes if enough else None

    def _class_weight(self):
        return self.class_weight

    def _with_class_weight(self, codes, weight):
        if self.class_weight is None:
            return weight
        given = self.class_weight
        if isinstance(given, dict) and codes.ndim == 1:
            numbers = {label: number for number, label in enumerate(self.classes_.tolist())}
            unknown = [label for label in given if label not in numbers]
            if unknown:
                raise ValueError(f"class_weight must hold labels of y, got {unknown[0]!r}")
            given = {
                numbers[label]: real_number(f"class_weight[{label!r}]", value, least=0)
                for label, value in given.items()
            }
        each = compute_sample_weight(given, codes)
        odd = ~(np.isfinite(each) & (each >= 0))
        if odd.any() or not each.any():
            got = f"{each[odd][0]} for a label of y" if odd.any() else "0 for all labels of y"
            raise ValueError(f"class_weight must hold finite numbers >= 0, not all of them 0, got {got}")
        return each if weight is None else each * weight

    # ---- What is learned ----

    def _core_loss(self):
        given = self.loss
        name = self._loss_name()
        if name not in LOG_LOSSES:
            return given
        kind = losses.CrossEntropy if self._kind == "multiclass" else losses.BinaryCrossEntropy
        return kind(label_smoothing=0.0 if isinstance(given, str) else given.label_smoothing)

    def _before_training(self, y, weight, first):
        pass

    def _after_training(self, network):
        pass

    def _scaled(self, y):
        """Class numbers as rows with a single 1, for losses that do not take numbers of classes."""
        if self._kind != "multiclass":
            return y
        loss = losses.checked(self._core_loss(), self._network)
        if by_class(loss, self._network) or loss.traits.is_custom:
            return y
        return (y[:, None] == np.arange(len(self.classes_))).astype(np.float32)

    def _loss_factor(self):
        return 1.0

    def _loss_offsets(self, rows):
        return None

    def _score_of(self, outputs, codes, weight):
        """The share of rows that are right."""
        codes = self._class_numbers(codes)
        if codes.ndim == 2:
            right = ((outputs > self._threshold()) == (codes > 0.5)).all(axis=1)
        else:
            right = self._numbers(outputs) == codes
        return np.average(right, weights=weight)

    # ---- Predicting ----

    def _threshold(self):
        return 0.0 if self.out_activation_ == "identity" else 0.5

    def _numbers(self, outputs):
        """Class numbers (n,) from the network's outputs."""
        if outputs.shape[1] == 1:
            return (outputs[:, 0] > self._threshold()).astype(np.intp)
        return outputs.argmax(axis=1)

    def predict(self, X: ArrayLike) -> Any:
        """The predicted classes (n,), or of several labels in a row 0 and 1 (n, n_classes), for X (n, n_features).

        ValueError for an X that does not fit; scikit-learn's NotFittedError before fit.

        >>> import mlpfast
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 10, ["low", "low", "high", "high"] * 10
        >>> estimator = mlpfast.estimators.MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
        >>> estimator.predict([[0.5], [2.5]])
        array(['low', 'high'], dtype='<U4')
        """
        outputs = self._outputs(X)
        if self._kind.startswith("multilabel"):
            labels = (outputs > self._threshold()).astype(int)
            if not self._sparse_labels:
                return labels
            return csr_array(labels) if get_config().get("sparse_interface") == "sparray" else csr_matrix(labels)
        if len(self.classes_) == 1:
            return np.repeat(self.classes_, len(outputs))
        return self.classes_[self._numbers(outputs)]

    @available_if(_has_probabilities)
    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities (n, n_classes) of classes_, for X (n, n_features).

        Errors as for predict; AttributeError for loss="hinge".

        >>> import mlpfast
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 10, ["low", "low", "high", "high"] * 10
        >>> estimator = mlpfast.estimators.MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
        >>> estimator.classes_, estimator.predict_proba([[0.5], [2.5]]).round(2)
        (array(['high', 'low'], dtype='<U4'), array([[0., 1.],
               [1., 0.]]))
        """
        outputs = self._outputs(X)
        if outputs.shape[1] > 1:
            return outputs
        both = np.empty((len(outputs), 2), outputs.dtype)
        both[:, 1:] = outputs
        np.subtract(1, outputs[:, 0], out=both[:, 0])
        return both

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: ArrayLike) -> Array:
        """log(predict_proba(X)).

        X (n, n_features) and errors as for predict_proba.

        >>> import mlpfast
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 10, ["low", "low", "high", "high"] * 10
        >>> estimator = mlpfast.estimators.MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
        >>> estimator.predict_log_proba([[0.5]]).shape
        (1, 2)
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    @available_if(_has_no_probabilities)
    def decision_function(self, X: ArrayLike) -> Array:
        """With loss="hinge": the outputs (n, n_classes), of two classes (n,), for X (n, n_features). Positive ones are
        for a class, of two for the second.

        Errors as for predict; AttributeError for other losses, which have predict_proba.

        >>> import mlpfast
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 10, [0, 0, 1, 1] * 10
        >>> estimator = mlpfast.estimators.MLPClassifier((8,), loss="hinge", max_iter=500, random_state=0).fit(X, y)
        >>> estimator.decision_function([[0.0], [3.0]]) > 0
        array([False,  True])
        """
        outputs = self._outputs(X)
        return outputs if outputs.shape[1] > 1 else outputs[:, 0]

    @available_for_stochastic
    def partial_fit(
        self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None, classes: ArrayLike | None = None,
    ) -> Self:
        """One epoch over X and y, as in fit. classes: all labels that there will be, for the first call.

        X, y, sample_weight, shapes and errors as for fit; ValueError for a label that is not among classes,
        AttributeError with solver="lbfgs".

        >>> import mlpfast
        >>> X, y = mlpfast.datasets.load_digits()
        >>> estimator = mlpfast.estimators.MLPClassifier(random_state=0)
        >>> for first in range(0, 1500, 500):
        ...     estimator = estimator.partial_fit(X[first:first + 500], y[first:first + 500], classes=range(10))
        >>> estimator.t_
        1500
        """
        with self._unchanged_if_refused():
            self._validate_params()
            if _check_partial_fit_first_call(self, classes):
                labels = y if type_of_target(y).startswith("multilabel") else classes
                self._set_classes(np.asarray(labels) if not issparse(labels) else labels)
                self._set_outputs()
            return self._fit(X, y, sample_weight, incremental=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
