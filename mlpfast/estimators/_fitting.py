"""A call of fit or partial_fit with a stochastic solver: epochs, loss curve, and when to stop, as scikit-learn counts
them. Trainer.fit does the epochs, and calls this after each."""

import math
import warnings

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning

from .. import metrics as known_metrics
from .._examples import examples
from ..callbacks import all_of


class Fitting:
    """held_out: (X, y, weight) that early stopping scores, or None."""

    def __init__(self, estimator, trainer, solver, rows, held_out, incremental):
        self.estimator, self.trainer, self.solver, self.rows = estimator, trainer, solver, rows
        self.held_out, self.incremental = held_out, incremental
        self.best = None if held_out is None else self._parameters()  # of the best validation score
        self.offsets = estimator._loss_offsets(rows)
        self.converged = False

    def _parameters(self):
        return [parameter.copy() for parameter in self.trainer.network.parameters]

    def run(self, validation_data):
        estimator, trainer = self.estimator, self.trainer
        estimator.n_iter_ = 0
        metrics = known_metrics.checked(estimator.metrics)
        validation = self._validation(validation_data, metrics)
        epochs = 1 if self.incremental else estimator.max_iter
        given = [self, *all_of(estimator.callbacks, None)]
        try:
            trainer._fit_on(self.rows, validation, epochs, metrics, given)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        else:
            if estimator.n_iter_ == estimator.max_iter and not (self.converged or self.incremental):
                _warn_not_converged(estimator.max_iter)
        estimator._history = trainer.history
        if self.best is not None:
            for parameter, value in zip(trainer.network.parameters, self.best, strict=True):
                parameter[...] = value

    def _validation(self, validation_data, metrics):
        if validation_data is None:
            return None
        X, y, weight = self.estimator._checked_validation(validation_data)
        X = X.toarray() if issparse(X) else X
        names = tuple(f"validation_data {part}" for part in ("X", "y", "sample_weight"))
        return examples(
            X, y, self.trainer.network, self.trainer.loss, sample_weight=weight, names=names,
            keep_y=known_metrics.need_y(metrics),
        )

    def on_epoch_end(self, trainer, epoch, logs):
        """Count an epoch -> whether to stop."""
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.loss_ = self._loss(logs)
        estimator.t_ += self.rows.n
        estimator.loss_curve_.append(estimator.loss_)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        self._observe()
        self.solver.iteration_ends(trainer, estimator.t_)
        self.converged |= estimator._no_improvement_count > estimator.n_iter_no_change and self._stops()
        return self.converged

    def _loss(self, logs):
        counted = self.trainer._core.counted
        if counted is None:  # an optimizer of all rows
            return logs.get("objective", logs["loss"])
        rows = counted["rows"]
        loss = counted["row_loss_sum"] / rows * self.estimator._loss_factor() + counted["row_l2_sum"] / rows
        return loss if self.offsets is None else loss + self.rows.mean_of(self.offsets)

    def _observe(self):
        """Count the epochs without an improvement of the validation score, or of the loss."""
        estimator = self.estimator
        if self.held_out is None:
            loss = estimator.loss_curve_[-1]
            improved = not loss > estimator.best_loss_ - estimator.tol
            if loss < estimator.best_loss_:
                estimator.best_loss_ = loss
        else:
            score = self._score()
            estimator.validation_scores_.append(score)
            if estimator.verbose:
                print(f"Validation score: {score:f}")
            improved = not score < estimator.best_validation_score_ + estimator.tol
            if score > estimator.best_validation_score_:
                self.best, estimator.best_validation_score_ = self._parameters(), score
        estimator._no_improvement_count = 0 if improved else estimator._no_improvement_count + 1

    def _score(self):
        X, y, weight = self.held_out
        outputs = self.estimator._predicted(self.trainer.network, X)
        if not np.isfinite(outputs).all():
            return math.nan
        return float(self.estimator._score_of(outputs, y, weight))

    def _stops(self):
        estimator = self.estimator
        what = "Training loss" if self.held_out is None else "Validation score"
        epochs = f"{estimator.n_iter_no_change} consecutive epochs"
        message = f"{what} did not improve more than tol={estimator.tol:f} for {epochs}."
        if self.solver.trigger_stopping(self.trainer, message, estimator.verbose):
            return True
        estimator._no_improvement_count = 0
        return False


def _warn_not_converged(max_iter):
    warnings.warn(
        f"Stochastic Optimizer: Maximum iterations ({max_iter}) reached and the optimization hasn't converged yet.",
        ConvergenceWarning, stacklevel=5,
    )
