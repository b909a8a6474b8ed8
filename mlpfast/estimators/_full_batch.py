"""Solver "lbfgs": scipy's L-BFGS-B over all parameters, as in scikit-learn, with the core's gradient."""

import numpy as np
from scipy.sparse import issparse

from .. import _core
from .._config import checked_threads
from .._examples import examples
from .._fpmode import in_default_mode
from ..trainer import Trainer
from ._rows import BLOCK_BYTES, blocks_of


def fit_lbfgs(estimator, network, X, y, weight):
    from scipy.optimize import minimize
    from sklearn.utils.optimize import _check_optimize_result

    objective = Objective(estimator, network, X, y, weight)
    start = objective.read()
    try:
        result = minimize(
            objective, start, method="L-BFGS-B", jac=True,
            options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
        )
    except BaseException:
        objective.write(start)
        raise
    estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    estimator.loss_ = result.fun
    estimator._history = None
    objective.write(result.x)


def loss_and_gradient(estimator, network, packed, X, y, weight):
    objective = Objective(estimator, network, X, y, weight)
    before = objective.read()
    try:
        return objective(packed)
    finally:
        objective.write(before)


class Objective:
    """J = sum of weights times losses / sum of weights + alpha/2 sum W^2 / sum of weights, of packed parameters
    theta = [W_1, ..., W_L, b_1, ..., b_L] in float64."""

    def __init__(self, estimator, network, X, y, weight):
        self.network, self.alpha = network, estimator.alpha
        self.trainer = Trainer(
            network, estimator._core_loss(), batch_size=None, threads=estimator._threads(), check_finite=False
        )
        self.settings = self.trainer._settings()
        self.total = float(len(y) if weight is None else weight.sum())
        self.weights = [layer.W for layer in network.layers]
        self.biases = [layer.b for layer in network.layers]
        if any(layer.slopes is not None for layer in network.layers):
            raise ValueError("activation 'prelu' needs a stochastic solver, 'adam' or 'sgd', got solver='lbfgs'")
        self.X, self.y, self.weight = X, y, weight
        in_blocks = issparse(X) and X.shape[0] * X.shape[1] * 8 > BLOCK_BYTES
        self.dense = None if in_blocks else list(self._blocks())

    def _blocks(self):
        """Each block of rows as a Data."""
        for rows, block in blocks_of(self.X):
            weight = None if self.weight is None else self.weight[rows]
            yield examples(
                block, self.y[rows], self.network, self.trainer.loss, sample_weight=weight, all_zero=True
            )

    def read(self):
        return np.concatenate([p.ravel() for p in self.weights + self.biases], dtype=np.float64)

    def write(self, theta):
        at = 0
        for p in self.weights + self.biases:
            p[...] = theta[at : at + p.size].reshape(p.shape)
            at += p.size

    @in_default_mode
    def __call__(self, theta):
        self.write(theta)
        loss, gradient = 0.0, np.zeros(len(theta))
        options = _core.gradient_options(scale=1 / self.total)
        for data in self.dense or self._blocks():
            _, result, parts = self.trainer._core.gradient(
                data, self.settings, checked_threads(self.trainer.threads), options
            )
            loss += result["loss_sum"]
            gradient += np.concatenate([p.ravel() for p in parts[::2] + parts[1::2]])
        if self.alpha:
            n = sum(W.size for W in self.weights)
            of_weights = theta[:n]
            loss += self.alpha / 2 * float(of_weights @ of_weights)
            gradient[:n] += self.alpha / self.total * of_weights
        return loss / self.total, gradient
