"""MLPRegressor: losses of numbers, and targets that are standardised while it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.sparse import issparse
from scipy.special import xlogy
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import column_or_1d

from .. import losses
from ._base import BaseMLP, available_for_stochastic
from ._sklearn import RegressorMixin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._types import AnyLoss, AnyOptimizer, Array, ArrayLike, Metrics

NAMES = ("squared_error", "poisson", "absolute_error", "huber", "quantile", "log_cosh")


class MLPRegressor(RegressorMixin, BaseMLP):
    """A multilayer perceptron that learns numbers: scikit-learn's MLPRegressor, on mlpfast's core.

    Arguments and attributes of scikit-learn's class have its names, defaults and meaning; they are described there, and
    in short with MLPClassifier: hidden_layer_sizes, solver, learning_rate, learning_rate_init, power_t, momentum,
    nesterovs_momentum, beta_1, beta_2, epsilon, max_fun, alpha, batch_size, max_iter, tol, n_iter_no_change,
    early_stopping, validation_fraction, shuffle, random_state, warm_start, verbose.
    Those beyond are as of MLPClassifier, activation, optimizer, dropout, input_dropout, input_noise, clip_norm,
    callbacks, metrics, n_jobs and dtype, and:

    loss: "squared_error", which is 1/2 r^2 as in scikit-learn, "poisson"; also "absolute_error", "huber", "quantile",
        "log_cosh", or an object of mlpfast.losses such as Quantile(0.9).
    target_scaling: True standardises each column of y while the network learns, and folds mean and deviation into the
        last layer afterwards, so that predictions, files and exports are in the unit of y. Not with "poisson".

    The constructor checks nothing; fit raises ValueError or TypeError for arguments that do not fit.

    >>> import mlpfast
    >>> X, y = [[i / 10] for i in range(40)], [i / 5 for i in range(40)]  # y = 2 x
    >>> estimator = mlpfast.estimators.MLPRegressor(target_scaling=True, max_iter=1000, random_state=0)
    >>> round(estimator.fit(X, y).score(X, y), 2)
    1.0
    """

    _target: tuple | None  # mean and scale of y, with target_scaling
    _parameter_constraints: dict = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(NAMES)), losses.Loss],
        "target_scaling": ["boolean"],
    }
    n_outputs_: int
    out_activation_: str

    def __init__(
        self,
        loss: AnyLoss = "squared_error",
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
        optimizer: AnyOptimizer | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
        target_scaling: bool = False,
        clip_norm: float | None = None,
        callbacks: Any = None,
        metrics: Metrics = (),
        n_jobs: int | None = None,
        dtype: Any = "auto",
    ) -> None:
        self._keep(locals())

    # ---- Targets ----

    def _encoded(self, y, incremental, first):
        """y (n, n_outputs) in float32 or float64."""
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if first:
            self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]
            self.out_activation_ = "exp" if self._loss_name() == "poisson" else "identity"
            self._target = None
        return self._codes(y)

    def _codes(self, y):
        y = y.toarray() if issparse(y) else np.asarray(y)
        if y.dtype.kind not in "biuf":
            y = y.astype(np.float64)
        y = y.reshape(len(y), -1)
        if y.shape[1] != self.n_outputs_:
            raise ValueError(f"y must have one column for each of the {self.n_outputs_} outputs, got {y.shape[1]}")
        return y

    def _strata(self, y):
        return None

    def _class_weight(self):
        return None

    def _with_class_weight(self, y, weight):
        return weight

    def _before_training(self, y, weight, first):
        if not self.target_scaling:
            self._target = None
            return
        if self.out_activation_ != "identity":
            raise ValueError(f"target_scaling must be False for loss {self._loss_name()!r}, got True")
        if first or self.__dict__.get("_target") is None:
            mean, scale = _mean_and_scale(y.astype(np.float64), weight)
            self._target = mean, scale
            if first:
                return
        mean, scale = self._target  # type: ignore[misc]
        last = self._network.layers[-1]
        last.W[...], last.b[...] = last.W / scale, (last.b - mean) / scale

    def _scaled(self, y):
        return y if self._target is None else (y - self._target[0]) / self._target[1]

    def _after_training(self, network):
        if self._target is not None:
            mean, scale = self._target
            last = network.layers[-1]
            last.W[...], last.b[...] = last.W * scale, last.b * scale + mean

    # ---- What is learned ----

    def _core_loss(self):
        if self.loss == "squared_error":
            return "half_squared_error"
        if not isinstance(self.loss, str) and self.loss.y_columns(self.n_outputs_) != self.n_outputs_:
            raise ValueError(f"loss must have one output for each column of y, got {self.loss!r}")
        return self.loss

    def _loss_factor(self):
        """scikit-learn 1.7 to 1.9 report the squared error as a mean over the outputs, and learn from its sum."""
        return 1 / self.n_outputs_ if self.loss == "squared_error" else 1.0

    def _loss_offsets(self, rows):
        """What scikit-learn's loss has more than the core's for each row: its Poisson loss is 0 where the prediction is
        right, y log(y) - y beside ours."""
        if self._loss_name() != "poisson":
            return None
        y = np.asarray(rows.targets(), np.float64)
        return (xlogy(y, y) - y).sum(axis=1)

    def _score_of(self, outputs, y, weight):
        from sklearn.metrics import r2_score

        return r2_score(y, outputs, sample_weight=weight)

    # ---- Predicting ----

    def predict(self, X: ArrayLike) -> Array:
        """The predictions (n,), or of several outputs (n, n_outputs), for X (n, n_features).

        ValueError for an X that does not fit; scikit-learn's NotFittedError before fit.

        >>> import mlpfast
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 2.0, 4.0, 6.0]
        >>> estimator = mlpfast.estimators.MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", random_state=0)
        >>> estimator.fit(X, y).predict([[1.0], [3.0]]).round(1)
        array([2., 6.])
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    @available_for_stochastic
    def partial_fit(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """One epoch over X and y, as in fit.

        X, y, sample_weight, shapes and errors as for fit; AttributeError with solver="lbfgs".

        >>> import mlpfast
        >>> estimator = mlpfast.estimators.MLPRegressor(random_state=0)
        >>> estimator.partial_fit([[0.0], [1.0]], [0.0, 2.0]).partial_fit([[2.0], [3.0]], [4.0, 6.0]).t_
        4
        """
        return self._fit(X, y, sample_weight, incremental=True)


def _mean_and_scale(y, weight):
    """Of the columns of y (n, n_outputs) in float64; the scale of a constant is 1."""
    mean = np.average(y, axis=0, weights=weight)
    with np.errstate(over="ignore"):
        scale = np.sqrt(np.average(np.square(y - mean), axis=0, weights=weight))
    if not np.isfinite(scale).all():
        raise ValueError(f"y must hold smaller numbers for target_scaling=True, got {np.abs(y).max():g}")
    rounding = 10 * np.finfo(np.float64).eps * np.abs(mean)
    return mean, np.where(scale > rounding, scale, 1.0)
