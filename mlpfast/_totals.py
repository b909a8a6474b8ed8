"""Metrics over many rows, some at a time.

Named metrics are computed for blocks of ROWS rows, in the order of the rows, and joined: so that their last places do
not depend on how the rows arrive, and their memory not on how many there are. Functions of the caller's get all rows
together, for which y and the predictions of all rows are kept.
"""

import numpy as np

from . import _core
from . import metrics as known_metrics
from ._examples import selected

ROWS = 2**16  # up to here a metric is one call
WEIGHTS = ("weights", "entries")


def blocks_of(data, network):
    """A Data for each ROWS rows of data, which shares its arrays."""
    if len(data) <= ROWS:
        return [data]
    return (selected(data, slice(i, i + ROWS), network.input_scale) for i in range(0, len(data), ROWS))


class Totals:
    """The sums of named metrics, {name: function} as from metrics.for_outputs. The rows come in their order."""

    def __init__(self, metrics):
        self.metrics, self.sums = metrics, dict.fromkeys(metrics)
        self.block: dict[str, np.ndarray] = {}  # rows that are not counted yet
        self.rows = 0

    def count(self, data, yhat):
        """A block of rows: ROWS, or fewer at the end."""
        self._count({**arrays_of(data, WEIGHTS), "truth": data.truth}, yhat)

    def _count(self, arrays, yhat):
        weights = arrays.get("entries", arrays.get("weights"))
        for name, metric in self.metrics.items():
            some = known_metrics.sums(metric, arrays["truth"], yhat, weights)
            self.sums[name] = known_metrics.joined(self.sums[name], some)

    def add(self, data, yhat):
        """Any number of rows."""
        if not self.metrics:
            return
        arrays, at = {**arrays_of(data, WEIGHTS), "truth": data.truth, "yhat": yhat}, 0
        if not self.block:
            self.block = {name: np.empty((ROWS, *a.shape[1:]), a.dtype) for name, a in arrays.items()}
        while at < len(data):
            some = slice(at, at + ROWS - self.rows)
            n = len(yhat[some])
            for name, a in arrays.items():
                self.block[name][self.rows : self.rows + n] = a[some]
            self.rows, at = self.rows + n, at + n
            if self.rows == ROWS:
                self._count_block()

    def _count_block(self):
        arrays, self.rows = {name: a[: self.rows] for name, a in self.block.items()}, 0
        self._count(arrays, arrays["yhat"])

    def values(self):
        """{name: number}"""
        if self.rows:
            self._count_block()
        return {name: known_metrics.result(sums) for name, sums in self.sums.items()}


class Kept:
    """All rows together, for what needs them: y, weights and predictions, but not X. n: how many, None if unknown."""

    def __init__(self, n):
        self.n, self.rows = n, 0
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, data, yhat):
        arrays = arrays_of(data, (*WEIGHTS, "labels", "targets", "y")) | {"yhat": yhat}
        end = self.rows + len(yhat)
        if end > len(self.arrays.get("yhat", ())):
            self._grow(arrays, self.n if self.n is not None and end <= self.n else 2 * end)
        for name, a in arrays.items():
            self.arrays[name][self.rows : end] = a
        self.rows = end

    def _grow(self, like, rows):
        for name, a in like.items():
            more = np.empty((rows, *a.shape[1:]), a.dtype)
            more[: self.rows] = self.arrays[name][: self.rows] if self.rows else 0
            self.arrays[name] = more

    def all(self):
        """(a Data without columns of X, yhat)"""
        arrays = {name: a[: self.rows] for name, a in self.arrays.items()}
        self.arrays, yhat = {}, arrays.pop("yhat")
        X, one_of = np.empty((len(yhat), 0), yhat.dtype), arrays.get
        data = _core.Data(X, 1.0, one_of("labels"), one_of("targets"), one_of("weights"), one_of("y"),
                          entries=one_of("entries"))
        return data, yhat


def arrays_of(data, names):
    return {name: getattr(data, name) for name in names if getattr(data, name) is not None}
