"""What both estimators share: the network behind coefs_ and intercepts_, fitting, and raw predictions."""

from __future__ import annotations

import inspect
import operator
import os
import warnings
from contextlib import contextmanager
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import activations
from .._config import checked_threads
from .._core import Data
from .._examples import examples, selected
from ..layer import Layer
from ..network import Network
from ..trainer import Trainer
from ._fitting import Fitting
from ._full_batch import fit_lbfgs, loss_and_gradient
from ._held_out import held_out_rows
from ._rows import Rows, SparseRows, blocks_of
from ._sklearn import BaseEstimator, available_if
from ._solvers import solver_of

if TYPE_CHECKING:
    from .._types import Array, ArrayLike, PathLike
    from ..history import History

OURS = {"logistic": "sigmoid"}  # scikit-learn's names of activations
THEIRS = {ours: theirs for theirs, ours in OURS.items()}
OF_SOLVERS = (  # arguments
    "learning_rate", "learning_rate_init", "power_t", "momentum", "nesterovs_momentum", "beta_1", "beta_2", "epsilon",
    "max_fun",
)


class BaseMLP(BaseEstimator):
    """Parameters are documented in the subclasses. __init__ keeps them, fit checks them."""

    _network: Any  # Network, None until it is needed
    _views: Any  # coefs_ and intercepts_ as they were when the network was linked with them
    _made_of: Any  # the parameters that the network was made of
    _trainer: Any
    _trained_with: Any  # the parameters that the Trainer was made of
    _optimizer: Any  # a Solver
    _in_training: Any  # the network, while it is trained
    _saved_state: Any  # of a pickle: what partial_fit goes on from
    _history: Any
    validation_scores_: list[float] | None
    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({*activations.NAMES, "logistic"}), activations.Activation, list, tuple],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "input_dropout": [Interval(Real, 0, 1, closed="left")],
        "input_noise": [Interval(Real, 0, None, closed="left")],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "n_jobs": [Integral, None],
    }
    n_layers_: int
    coefs_: list[Array]
    intercepts_: list[Array]
    loss_curve_: list[float]
    best_validation_score_: float | None
    best_loss_: float | None
    n_iter_: int
    t_: int
    loss_: float
    out_activation_: str
    n_outputs_: int
    n_features_in_: int

    def _keep(self, parameters):
        """What __init__ was given, locals(), as attributes."""
        for name, value in parameters.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    # ---- The network ----

    @property
    def network_(self) -> Network:
        """The mlpfast.Network behind coefs_ and intercepts_, which are views of its parameters.

        AttributeError, scikit-learn's NotFittedError, before fit.

        >>> import mlpfast
        >>> X, y = mlpfast.datasets.load_digits()
        >>> estimator = mlpfast.estimators.MLPClassifier(max_iter=100, tol=1e-2, random_state=0).fit(X, y)
        >>> estimator.network_
        <Network 64-100-10, float32>
        """
        check_is_fitted(self)
        return self._present_network()

    def _present_network(self):
        """The network, with what the caller has put into coefs_ and intercepts_ since."""
        network, views = self.__dict__.get("_network"), self.__dict__.get("_views")
        if network is None or views is None or self._made_of != self._settings_of_network():
            return self._new_network()
        given = [*self.coefs_, *self.intercepts_]
        if len(given) != len(views):
            return self._new_network()
        for array, view in zip(given, views, strict=True):
            if array is not view:
                array = np.asarray(array)
                if array.shape != view.shape:
                    return self._new_network()
                view[...] = array
                self._relink()
        return network

    def _settings_of_network(self):
        return self.activation, self.dropout, self.input_dropout, self.input_noise

    def _new_network(self):
        """A network for coefs_ and intercepts_, which become views of it."""
        coefs, intercepts = ([np.asarray(array) for array in arrays] for arrays in (self.coefs_, self.intercepts_))
        shapes = [W.shape for W in coefs]
        if not _go_together(shapes, [b.shape for b in intercepts]):
            raise ValueError(
                "coefs_ and intercepts_ must be matrices and vectors of layers one above the other, got shapes "
                f"{shapes} and {[b.shape for b in intercepts]}"
            )
        units = [*self._hidden_activations(len(coefs) - 1), OURS.get(self.out_activation_, self.out_activation_)]
        dropouts = [*self._dropouts(len(coefs) - 1), 0.0]
        layers = [
            Layer(n_in, n_out, unit, dropout=dropout)
            for (n_in, n_out), unit, dropout in zip(shapes, units, dropouts, strict=True)
        ]
        dtype = coefs[0].dtype if coefs[0].dtype == np.float32 else np.float64
        network = Network._bare(
            layers, dtype=dtype, seed=0, input_dropout=self.input_dropout, input_noise=self.input_noise
        )
        before = self.__dict__.get("_network")
        slopes = {} if before is None else {l: layer.slopes for l, layer in enumerate(before.layers)}
        for l, (layer, W, b) in enumerate(zip(layers, coefs, intercepts, strict=True)):
            layer.W[...], layer.b[...] = W, b
            if layer.slopes is not None:
                learned = slopes.get(l)
                usable = learned is not None and learned.shape == layer.slopes.shape
                layer.slopes[...] = learned if usable else layer._unit.alpha
        self._link(network, self._settings_of_network())
        return network

    def _link(self, network, made_of):
        """made_of: what _settings_of_network was when it was made."""
        self._network, self._made_of = network, made_of
        self._views = [layer.W for layer in network.layers] + [layer.b for layer in network.layers]
        self._relink()

    def _relink(self):
        n = len(self._views) // 2
        self.coefs_, self.intercepts_ = self._views[:n], self._views[n:]

    def _loss_name(self):
        return self.loss if isinstance(self.loss, str) else self.loss.name

    def _hidden_activations(self, n):
        given = self.activation
        if isinstance(given, (list, tuple)):
            if len(given) != n:
                raise ValueError(f"activation must have one entry for each of the {n} hidden layers, got {len(given)}")
        else:
            given = [given] * n
        return [OURS.get(each, each) if isinstance(each, str) else each for each in given]

    def _dropouts(self, n):
        given = self.dropout
        if not isinstance(given, (list, tuple)):
            return [given] * n
        if len(given) != n:
            raise ValueError(f"dropout must have one entry for each of the {n} hidden layers, got {len(given)}")
        return list(given)

    def _initialize(self, n_features, dtype):
        """First weights and the attributes of training: those of scikit-learn for the same random_state."""
        sizes = self.hidden_layer_sizes
        sizes = [*sizes] if hasattr(sizes, "__iter__") else [sizes]
        if not all(size > 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        units = [n_features, *(operator.index(size) for size in sizes), self.n_outputs_]
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(units)
        coefs, intercepts = [], []
        # Glorot and Bengio (2010)
        factor = 2.0 if self.activation in ("logistic", "sigmoid") else 6.0
        for n_in, n_out in zip(units, units[1:], strict=False):
            bound = np.sqrt(factor / (n_in + n_out))
            coefs.append(self._random_state.uniform(-bound, bound, (n_in, n_out)).astype(dtype))
            intercepts.append(self._random_state.uniform(-bound, bound, n_out).astype(dtype))
        self.coefs_, self.intercepts_ = coefs, intercepts
        self._network = self._trainer = None
        self._saved_state = None
        if self.solver != "lbfgs":
            self._begin_curves(anew=True)

    def _begin_curves(self, anew=False):
        """What a stochastic solver counts; unless anew, only what a fit with other parameters has not begun."""
        early, anew = self.early_stopping, anew or not hasattr(self, "loss_curve_")
        if anew:
            self.loss_curve_, self._no_improvement_count = [], 0
        if anew or early == (getattr(self, "validation_scores_", None) is None):
            self.validation_scores_ = [] if early else None
            self.best_validation_score_ = -np.inf if early else None
            self.best_loss_ = None if early else np.inf

    # ---- Fitting ----

    def fit(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: ArrayLike | None = None,
        validation_data: Any = None,
    ) -> Self:
        """Fit the model to X and y.

        X: array-like or sparse matrix (n, n_features). A float64 or float32 array in C order is not copied.
        y: labels (n,), or of several labels in a row 0 and 1 (n, K); of a regressor numbers (n,) or (n, n_outputs).
        sample_weight (n,): of the rows, or None.
        validation_data: (X, y) or (X, y, sample_weight), whose loss and metrics history_ has after each epoch, and
            which early_stopping uses in place of a part of X. A sparse X becomes dense as a whole here, and with
            metrics, or an optimizer of all rows at once, that of training too.

        ValueError or TypeError for arguments that do not fit, those of the constructor too; a fit that is refused
        leaves the estimator as it was.

        >>> import mlpfast
        >>> X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
        >>> estimator = mlpfast.estimators.MLPClassifier(tol=1e-2, random_state=0)
        >>> estimator = estimator.fit(X, y, validation_data=(X_test, y_test))
        >>> estimator.n_iter_, round(estimator.history_["val_accuracy"][-1], 2)
        (38, 0.88)
        """
        return self._fit(X, y, sample_weight, validation_data=validation_data)

    def _fit(self, X, y, sample_weight, incremental=False, validation_data=None):
        with self._unchanged_if_refused():
            self._validate_params()
            self._check_together(incremental, validation_data)
            first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
            X, y = validate_data(
                self, X, y, accept_sparse=("csr", "csc"), multi_output=True, dtype=(np.float64, np.float32), reset=first
            )
            X = X.tocsr() if issparse(X) else X
            weight = None if sample_weight is None else _check_sample_weight(sample_weight, X)
            y = self._encoded(y, incremental, first)
            weight = self._with_class_weight(y, weight)
            self._random_state = check_random_state(self.random_state)
            if first:
                self._initialize(X.shape[1], self._network_dtype(X))
            network = self._present_network()
            self._train(network, X, y, weight, first, incremental, validation_data)
            if network._core.first_not_finite() >= 0 or not (
                self.early_stopping or np.isfinite(getattr(self, "loss_", 0.0))  # there is none before the first epoch
            ):
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain large values and need to "
                    "be preprocessed."
                )
        return self

    def _train(self, network, X, y, weight, first, incremental, validation_data):
        self._before_training(y, weight, first)
        try:
            y = self._scaled(y)
            if self.solver == "lbfgs" and self.optimizer is None:
                fit_lbfgs(self, network, X, y, weight)
            else:
                self._fit_stochastic(network, X, y, weight, incremental, validation_data)
        finally:
            self._after_training(network)

    @contextmanager
    def _unchanged_if_refused(self):
        """After an exception all is as it was, unless the network from before has been trained already."""
        before = dict(self.__dict__)
        network = before.get("_network")
        # target_scaling may scale the last layer, and back, which changes last places.
        last = [] if network is None else [(p, p.copy()) for p in (network.layers[-1].W, network.layers[-1].b)]
        try:
            yield
        except BaseException:
            if network is None or self.__dict__.get("_in_training") is not network:
                for name in self.__dict__.keys() - before.keys():
                    delattr(self, name)
                self.__dict__.update(before)
                for parameter, value in last:
                    parameter[...] = value
            raise
        finally:
            if "_in_training" in self.__dict__:
                self._in_training = None

    def _network_dtype(self, X):
        if isinstance(self.dtype, str) and self.dtype == "auto":
            return X.dtype
        dtype = np.dtype(self.dtype)
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be 'auto', float32 or float64, got {self.dtype!r}")
        return dtype

    def _check_together(self, incremental, validation_data):
        """Parameters that exclude each other."""
        if self.optimizer is not None and self.solver != "adam":
            raise ValueError(f"optimizer and solver must not both be given, got {self.optimizer!r} and {self.solver!r}")
        if self.optimizer is not None:
            self._check_nothing_of_solvers()
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.solver == "lbfgs" and self.optimizer is None:
            for name in ("dropout", "input_dropout", "input_noise", "clip_norm", "callbacks", "metrics"):
                if np.any(getattr(self, name)):
                    raise ValueError(f"{name} needs a stochastic solver, 'adam' or 'sgd', got solver='lbfgs'")
            if validation_data is not None:
                raise ValueError("validation_data needs a stochastic solver, 'adam' or 'sgd', got solver='lbfgs'")

    def _check_nothing_of_solvers(self):
        """An optimizer would take no notice of the solvers' arguments."""
        usual = inspect.signature(type(self).__init__).parameters
        for name in OF_SOLVERS:
            given = getattr(self, name)
            if name in usual and given != usual[name].default:
                raise ValueError(
                    f"{name} must not be given with optimizer, whose own arguments take its place, as in "
                    f"AdamW(lr=0.01), got {given!r}"
                )

    def _new_trainer(self, network, solver, batch_size):
        disturbed = np.any(self.dropout) or self.input_dropout or self.input_noise
        trainer = Trainer(
            network, self._core_loss(), solver.optimizer, batch_size=batch_size,
            seed=int(self._random_state.randint(2**31)) if disturbed else 0, threads=self._threads(),
            clip_norm=self.clip_norm, weighting="minibatch" if self._class_weight() is None else "data",
            check_finite=False,
        )
        trainer._sum_l2 = self.alpha > 0
        return trainer

    def _batch_size(self, n):
        if self.batch_size == "auto":
            return 200
        if self.batch_size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=7
            )
        return int(self.batch_size)

    def _threads(self):
        if self.n_jobs is None:
            return None
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self.n_jobs == 0:
            raise ValueError("n_jobs == 0 has no meaning")
        return max(1, min(processors, self.n_jobs if self.n_jobs > 0 else processors + 1 + self.n_jobs))

    def _trainer_for(self, network, n, total, incremental):
        """(Trainer, Solver). partial_fit goes on with the solver of earlier calls and the state of its optimizer."""
        before, saved = (self.__dict__.get(name) if incremental else None for name in ("_trainer", "_saved_state"))
        solver = solver_of(self) if before is None else self._optimizer
        batch_size = self._batch_size(n) if solver.is_stochastic else None
        made_of = (
            batch_size, self._threads(), self.clip_norm, self._class_weight() is None, self.loss, self.alpha > 0
        )
        if before is not None and before.network is network and self._trained_with == made_of:
            trainer = before
        else:
            trainer = self._new_trainer(network, solver, batch_size)
            if before is not None:
                saved = {"state": before.state, "lr": solver.learning_rate}
            if saved is not None and _same_form(saved["state"], trainer.state):
                trainer.state = saved["state"]
                if solver.optimizer.lr != saved["lr"]:
                    solver.optimizer.lr = saved["lr"]
        if not solver.is_stochastic:
            trainer.l2 = self.alpha / total
        self._trainer, self._optimizer, self._trained_with, self._saved_state = trainer, solver, made_of, None
        return trainer, solver

    def _fit_stochastic(self, network, X, y, weight, incremental, validation_data):
        training, held_out = self._split(X, y, weight, validation_data)
        X, y, weight, chosen = training
        n = X.shape[0] if chosen is None else len(chosen)
        total = n if weight is None else float((weight if chosen is None else weight[chosen]).sum())
        trainer, solver = self._trainer_for(network, n, total, incremental)
        self._begin_curves()
        if issparse(X) and (self.metrics or not solver.is_stochastic):  # which need all rows at once
            X = X.toarray()
        random_state = self._random_state if self.shuffle else None
        rows: Rows
        if issparse(X):
            rows = SparseRows(trainer, X, y, weight, random_state, self.alpha)
        else:
            data = examples(X, y, network, trainer.loss, sample_weight=weight, keep_y=bool(self.metrics))
            if chosen is not None:
                (_, held), *others = held_out
                held_out = ((data.X, held), *others)  # X as the core reads it
                data = selected(data, chosen, network.input_scale)
            rows = Rows(trainer, data, random_state, self.alpha)
        Fitting(self, trainer, solver, rows, held_out, incremental).run(validation_data)

    def _split(self, X, y, weight, validation_data):
        """((X, y, weight, rows or None for all), (X, y, weight) to score early stopping on, or None)"""
        if not self.early_stopping:
            return (X, y, weight, None), None
        if validation_data is not None:
            return (X, y, weight, None), self._checked_validation(validation_data)
        kept, held = held_out_rows(X.shape[0], self.validation_fraction, self._strata(y), self._random_state)
        if len(held) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        of_held, of_kept = (None if weight is None else weight[rows] for rows in (held, kept))
        if issparse(X):
            return (X[kept], y[kept], of_kept, None), (X[held], y[held], of_held)
        held = np.sort(held)  # reading them in place takes less memory than a copy
        return (X, y, weight, kept), ((X, held), y[held], None if weight is None else weight[held])

    def _checked_validation(self, validation_data):
        try:
            X, y, *weight = validation_data
            (weight,) = weight or (None,)
        except (TypeError, ValueError):
            raise ValueError("validation_data must be (X, y) or (X, y, sample_weight)") from None
        X, y = validate_data(
            self, X, y, accept_sparse=("csr", "csc"), multi_output=True, dtype=(np.float64, np.float32), reset=False
        )
        weight = None if weight is None else _check_sample_weight(weight, X)
        return X, self._scaled(self._codes(y)), weight

    def _check_solver(self):
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    def _loss_grad_lbfgs(self, packed, X, y, sample_weight, *buffers):
        """The objective and its gradient at the parameters `packed`, coefs then intercepts. buffers are scikit-learn's,
        unused."""
        return loss_and_gradient(self, self._present_network(), packed, X, y, sample_weight)

    # ---- Predicting ----

    def _outputs(self, X):
        """The network's outputs for X, checked."""
        if "coefs_" not in self.__dict__:  # check_is_fitted takes ten times as long as a prediction
            check_is_fitted(self)
        network = self._present_network()
        if type(X) is np.ndarray and X.ndim == 2 and not hasattr(self, "feature_names_in_") and self._is_plain(X):
            return network.predict(X, threads=self._threads())
        X = validate_data(self, X, accept_sparse=("csr", "csc"), dtype=(np.float64, np.float32), reset=False)
        return self._predicted(network, X)

    def _is_plain(self, X):
        """Whether X is what validate_data would return, and holds finite numbers."""
        if X.dtype not in (np.float64, np.float32) or X.shape[1] != self.n_features_in_ or len(X) == 0:
            return False
        with np.errstate(all="ignore"):
            return bool(np.isfinite(np.add.reduce(X, axis=None)))

    def _predicted(self, network, X):
        """X: checked; or (X, rows), some rows of a dense X."""
        if isinstance(X, tuple):
            return network._core.outputs(Data(X[0], 1.0, x_rows=X[1]), checked_threads(self._threads()))
        if not issparse(X):
            return network.predict(X, threads=self._threads())
        out = np.empty((X.shape[0], network.n_out), network.dtype)
        for rows, block in blocks_of(X.tocsr()):
            network.predict(block, out=out[rows], threads=self._threads())
        return out

    # ---- Files and pictures ----

    @property
    def history_(self) -> History:
        """The History of the last fit: "loss" as mlpfast counts it, without the penalty, metrics, and those of
        validation_data as "val_...". An AttributeError after solver="lbfgs", or before fit.

        >>> import mlpfast
        >>> X, y = mlpfast.datasets.load_digits()
        >>> estimator = mlpfast.estimators.MLPClassifier(tol=1e-2, random_state=0).fit(X, y)
        >>> list(estimator.history_), estimator.history_.n_epochs
        (['loss', 'accuracy'], 37)
        """
        if self.__dict__.get("_history") is None:
            kind = type(self).__name__
            raise AttributeError(f"{kind} has no history_ before a stochastic solver fits it; files do not hold it")
        return self._history

    def plot(self, path: PathLike | None = None, ax: Any = None) -> Any:
        """Plot history_ -> matplotlib's Axes; path, ax as in History.plot.

        AttributeError as for history_, ImportError without matplotlib.

        >>> import mlpfast
        >>> X, y = mlpfast.datasets.load_digits()
        >>> axes = mlpfast.estimators.MLPClassifier(tol=1e-2, random_state=0).fit(X, y).plot("loss.png")
        >>> axes.get_ylabel()
        'loss'
        """
        return self.history_.plot(path, ax)

    def save(self, path: PathLike, *, sync: bool = True) -> None:
        """Write parameters, network, classes and names of features to a file without any code, which
        mlpfast.estimators.load reads, and mlpfast.load_network as well. path and sync as in Network.save.

        scikit-learn's NotFittedError before fit, OSError for a file that cannot be written, and a UserWarning for
        arguments that it does not hold.

        >>> import mlpfast
        >>> X, y = mlpfast.datasets.load_digits()
        >>> estimator = mlpfast.estimators.MLPClassifier(tol=1e-2, random_state=0).fit(X, y)
        >>> estimator.save("digits.safetensors")
        >>> bool((mlpfast.estimators.load("digits.safetensors").predict(X) == estimator.predict(X)).all())
        True
        """
        from ._files import save

        check_is_fitted(self)
        save(self, path, sync)

    def to_onnx(self, path: PathLike) -> None:
        """The network as an ONNX model, as in mlpfast.exchange.to_onnx: its outputs are the probabilities of
        classes_ (of two classes that of the second), or predictions.

        path: of the file. scikit-learn's NotFittedError before fit; other errors as in to_onnx.

        >>> import mlpfast
        >>> X, y = mlpfast.datasets.load_digits()
        >>> mlpfast.estimators.MLPClassifier(tol=1e-2, random_state=0).fit(X, y).to_onnx("digits.onnx")
        >>> mlpfast.exchange.from_onnx("digits.onnx")
        <Network 64-100-10, float32>
        """
        from ..exchange import to_onnx

        to_onnx(self.network_, path)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        trainer, solver = state.pop("_trainer", None), state.pop("_optimizer", None)
        network = state.pop("_network", None)
        for name in ("_views", "_trained_with", "_in_training"):
            state.pop(name, None)
        if "coefs_" in state:
            state["coefs_"] = [np.array(W, order="C") for W in state["coefs_"]]
            state["intercepts_"] = [np.array(b, order="C") for b in state["intercepts_"]]
        if trainer is not None and solver is not None:
            state["_saved_state"] = {"state": trainer.state, "lr": solver.learning_rate}
        if "_history" in state:
            state["_history"] = None if state["_history"] is None else dict(state["_history"])
        if network is not None and any(layer.slopes is not None or layer._unit.traits.is_custom
                                       for layer in network.layers):
            state["_network"] = network  # coefs_ and intercepts_ are not all of it
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.__dict__.get("_history") is not None:
            from ..history import History

            self._history = History(self._history)
        if self.__dict__.get("_network") is not None:
            self._link(self._network, self._made_of)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _go_together(coefs, intercepts):
    """Whether arrays of these shapes are weights and biases of layers one above the other."""
    if not coefs or len(coefs) != len(intercepts) or any(len(shape) != 2 for shape in coefs):
        return False
    above = [n_in for n_in, _ in coefs[1:]]
    return [n_out for _, n_out in coefs[:-1]] == above and [(n_out,) for _, n_out in coefs] == intercepts


def _same_form(state, other):
    """Whether one state of a Trainer can take the place of another."""
    forms = [
        {name: [np.shape(each) for each in value] if isinstance(value, list) else None for name, value in one.items()}
        for one in (state, other)
    ]
    return forms[0] == forms[1]


def partial_fit_is_there(estimator: Any) -> bool:
    return estimator._check_solver()


available_for_stochastic = available_if(partial_fit_is_there)
