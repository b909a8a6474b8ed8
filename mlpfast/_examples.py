"""X, y and weights of a call, checked and put together as a Data, which the core reads; and some rows of a Data."""

from ._arrays import Origin, check_length, inputs, number_array
from ._core import Data
from ._targets import forms_of
from ._weights import weights


def examples(X, y, network, loss, *, sample_weight=None, class_weight=None, names=("X", "y", "sample_weight"),
             all_zero=False, keep_y=False):
    """A Data of X and y, checked against each other and the network. X is used in place where possible; y and the
    weights are private copies.

    all_zero: whether all weights may be 0. keep_y: whether the Data keeps y as it was given, for functions that users
    give; for a Custom loss it always does.
    """
    origin, X = Origin(names[0], X), inputs(X, network, names[0])
    y = number_array(names[1], y)
    if y.ndim == 0:
        raise ValueError(f"{names[1]} must have shape (n,) or (n, {network.n_out}), got a single number")
    check_length(names[1], y, len(X))
    if len(X) == 0:
        raise ValueError(f"{names[0]} must have at least one row, got shape {X.shape}")
    y, labels, targets = forms_of(y, network, loss, names[1], keep_y or loss.traits.is_custom)
    data = Data(X, network.input_scale, labels, targets, None, y)
    weight, entries = weights(sample_weight, class_weight, data.truth, network, loss, len(X), names[2], all_zero)
    if weight is not None:
        data = Data(X, network.input_scale, labels, targets, weight, y, entries=entries)
    data.origin = origin
    return data


def selected(data, rows, scale, weights=None):
    """Some rows of data, with these weights, of rows and entries, or for None their own. rows: a slice, for which X
    becomes a view, or ascending row numbers (int64), for which X stays whole."""
    labels, targets, y, *own = (
        None if array is None else array[rows]
        for array in (data.labels, data.targets, data.y, data.weights, data.entries)
    )
    of_rows, entries = own if weights is None else weights
    X, x_rows = data.X, rows
    if data.x_rows is not None:
        x_rows = data.x_rows[rows]
    elif isinstance(rows, slice):
        X, x_rows = data.X[rows], None
    chosen = Data(X, scale, labels, targets, of_rows, y, data.one_hot, x_rows, entries)
    chosen.origin = data.origin
    return chosen
