"""Mean and deviation of the columns of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._ahead import in_a_thread
from .._fpmode import in_default_mode
from .._reading import read_all, where
from .._streams import is_source
from .arrays import ArraySource

if TYPE_CHECKING:
    from .._types import Array, Source

__all__ = ["standardize"]


@in_default_mode
def standardize(source: Source) -> tuple[Array, Array]:
    """(mean, scale), float64 (n_features,) each, of the columns of X: for Network(..., input_transform=(mean, scale)),
    which then predicts from X as it is. source may be an array or a table, too.

    One pass in the order of the rows, in the memory of a block. Each block's mean and sum of squares of deviations are
    joined to those of all before by the formulas of Chan, Golub and LeVeque, "Algorithms for computing the sample
    variance" (1983). scale is the standard deviation over n, as in scikit-learn's StandardScaler, and 1 for a column of
    equal numbers. uint8 is taken as it is: with input_scale s give (s * mean, s * scale). ValueError for NaN and
    infinity.

    source: any of this module, or one of your own.

    >>> import numpy as np
    >>> import mlpfast
    >>> source = mlpfast.data.ArraySource(np.array([[1.0, 10.0], [3.0, 10.0]]))
    >>> mean, scale = mlpfast.data.standardize(source)
    >>> mean, scale
    (array([ 2., 10.]), array([1., 1.]))
    >>> net = mlpfast.Network([2, 1], input_transform=(mean, scale))
    """
    if not is_source(source):
        source = ArraySource(source)
    return in_a_thread(lambda ahead: _mean_and_scale(source, ahead))


def _mean_and_scale(source, ahead):
    n, mean, squares = 0, np.zeros(source.n_features), np.zeros(source.n_features)
    least, most = np.full(len(mean), np.inf), np.full(len(mean), -np.inf)
    for block in read_all(source):
        if ahead.stopped:
            break
        X = np.asarray(block.X, np.float64)
        if X.ndim != 2 or X.shape[1] != len(mean):
            raise ValueError(f"{where(source, int(block.rows[0]))}: X must have shape (n, {len(mean)}), got {X.shape}")
        k, own = len(X), X.mean(axis=0)
        if not np.isfinite(own).all() and not (finite := np.isfinite(X)).all():
            i, j = (int(index) for index in np.argwhere(~finite)[0])
            raise ValueError(f"{where(source, int(block.rows[i]))}, column {j}: X is {X[i, j]}")
        away = own - mean
        squares += np.square(X - own).sum(axis=0) + np.square(away) * (n * k / (n + k))
        mean += away * (k / (n + k))
        least, most = np.minimum(least, X.min(axis=0)), np.maximum(most, X.max(axis=0))
        n += k
    if n == 0:
        raise ValueError("source must have at least one row, got none")
    scale = np.sqrt(squares / n)  # rounding errors, where all numbers are equal
    return mean, np.where((least == most) | (scale == 0), 1.0, scale)
