"""The rows that an estimator trains on: their order, the penalty of each minibatch, and minibatches of sparse X."""

import numpy as np
from scipy.sparse import issparse

from .._arrays import number_array
from .._examples import examples
from .._targets import forms_of
from .._weights import weights as checked_weights
from ..minibatches import TrainingRows, Window

BLOCK_BYTES = 2**22  # of dense rows at once, of sparse X


class Rows(TrainingRows):
    """In the order of scikit-learn: shuffled by a RandomState, each epoch from the order of the one before.

    alpha: the penalty of a minibatch is alpha/2 sum W^2, divided like its loss by the sum of its weights.
    """

    def __init__(self, trainer, data, random_state, alpha):
        super().__init__(trainer, data)
        self.random_state, self.alpha, self.present, self.table = random_state, alpha, None, None
        self.n_layers = len(trainer.network.layers)
        self.weighting = trainer.weighting

    def order_of_epoch(self):
        """The numbers of the rows in the order of the next epoch; None for all as they stand."""
        if self.random_state is None:
            return self.chosen
        if self.present is None:
            self.present = np.arange(self.n) if self.chosen is None else self.chosen.copy()
        self.random_state.shuffle(self.present)  # the order before, taken in the order of permutation(n)
        return self.present

    def windows(self, seed, epoch, done, run):
        return (Window(self.data, self.order_of_epoch(), 0, self.batches),)

    def l2_of(self, first, count):
        if self.table is None or self.row_weights() is not None:  # else every epoch has the same
            divisors = self.sums_of_weights()
            shares = np.divide(self.alpha, divisors, out=np.zeros(len(divisors)), where=divisors > 0)
            self.table = np.repeat(shares, self.n_layers).reshape(-1, self.n_layers)
        return self.table[first : first + count]

    def mean_of(self, each):
        """The mean over the epoch of numbers (n,) of the rows, weighted within each minibatch, as losses are."""
        weights = self.row_weights()
        if weights is None:
            return float(each.mean())
        products = each * weights if self.present is None else (each * weights)[self.present]
        starts, rows = self.minibatches()
        sums = np.add.reduceat(products, starts)
        divisors = self.sums_of_weights()
        return float((rows * np.divide(sums, divisors, out=np.zeros(len(sums)), where=divisors > 0)).sum() / self.n)

    def row_weights(self):
        return self.data.weights

    def targets(self):
        """y (n, k) of the rows, in their own order."""
        return self.data.targets

    def minibatches(self):
        """(the first row of each in the order of the epoch, how many rows it has)"""
        starts = np.arange(0, self.n, self.batch_rows)
        return starts, np.minimum(self.batch_rows, self.n - starts)

    def sums_of_weights(self):
        """What the gradient of each minibatch of the epoch is divided by."""
        starts, rows = self.minibatches()
        weights = self.row_weights()
        if weights is None:
            return rows.astype(np.float64)
        if self.weighting == "data":
            return rows * (self.data.mean_weight or 1.0)
        weights = weights if self.present is None else weights[self.present]
        return np.add.reduceat(weights.astype(np.float64), starts)


class SparseRows(Rows):
    """Of a sparse X (n, n_in), in CSR form: blocks of whole minibatches become dense, one at a time."""

    def __init__(self, trainer, X, y, weights, random_state, alpha):
        self.network, self.loss = trainer.network, trainer.loss
        forms_of(number_array("y", y), self.network, self.loss)  # all of y and weights is checked before any is used
        checked_weights(weights, None, y, self.network, self.loss, len(y))
        by_data = trainer.weighting == "data" and weights is not None
        if by_data and not weights.all():
            rows = np.flatnonzero(weights)
            X, y, weights = X[rows], y[rows], weights[rows]
        self.X, self.y, self.weights = X, y, weights
        data = examples(X[:1].toarray(), y[:1], self.network, self.loss)  # of which TrainingRows asks what all have
        super().__init__(trainer, data, random_state, alpha)
        if by_data:
            data.mean_weight = float(weights.mean(dtype=np.float64))
        self.n = X.shape[0]
        self.batch_rows = min(trainer.batch_size or self.n, self.n)
        self.batches = -(-self.n // self.batch_rows)

    def row_weights(self):
        return self.weights

    def targets(self):
        return self.y

    def windows(self, seed, epoch, done, run):
        order, step = self.order_of_epoch(), max(1, BLOCK_BYTES // (self.batch_rows * self.X.shape[1] * 8))
        for first in range(0, self.batches, step):
            end = min(first + step, self.batches)
            rows = slice(first * self.batch_rows, end * self.batch_rows)
            yield Window(self._dense(rows if order is None else order[rows]), None, first, end)

    def _dense(self, rows):
        weight = None if self.weights is None else self.weights[rows]
        block = examples(
            self.X[rows].toarray(), self.y[rows], self.network, self.loss, sample_weight=weight, all_zero=True
        )
        if self.data.mean_weight:
            block.mean_weight = self.data.mean_weight
        return block


def blocks_of(X):
    """(rows, dense X of these rows) of a sparse X, block by block; all of a dense one."""
    if not issparse(X):
        yield slice(0, len(X)), X
        return
    step = max(1, BLOCK_BYTES // (max(1, X.shape[1]) * 8))
    for first in range(0, X.shape[0], step):
        rows = slice(first, min(first + step, X.shape[0]))
        yield rows, X[rows].toarray()
