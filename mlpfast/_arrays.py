"""Arrays of numbers from what callers give, X among them, and where in it a number is not finite."""

import sys
from typing import NamedTuple

import numpy as np

from . import _core

INPUT_TYPES = (np.float32, np.float64, np.uint8)  # read by the core as they are
LOOKED_AT = 2**16  # numbers at a time, in the search for one that is not finite
CHANGED = "X held NaN or infinity, which another thread has changed since"  # for messages


def _remedy(array):
    """What makes numbers of an array that holds none."""
    texts = array.dtype.kind in "US" or array.dtype.kind == "O" and any(isinstance(x, str) for x in array.flat[:100])
    if texts:
        return ": numpy.unique(y, return_inverse=True) makes class numbers of class names"
    return ': its astype("float64"), of a table to_numpy(dtype="float64"), is one' if array.dtype.kind == "O" else ""


def refuse_masked(name, value):
    """A masked array, or a list with one in it, may hide numbers, and NumPy would bring them back."""
    if type(value) is np.ndarray or "numpy.ma" not in sys.modules:  # its import takes milliseconds
        return
    parts = value if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
        raise TypeError(f"{name} must show all its numbers, got a masked array: fill it, or leave out what is masked")


def number_array(name, value):
    """value as an array of numbers (bool counts), with a shape and dtype that no other thread can change.

    Object, string, complex and masked arrays raise TypeError.
    """
    refuse_masked(name, value)
    if hasattr(value, "toarray"):  # scipy.sparse
        raise TypeError(f"{name} must be a dense array, got a {type(value).__name__}: its toarray() is one")
    try:
        array = np.asanyarray(value)
    except ValueError as error:  # ragged nested lists
        raise ValueError(f"{name} must be a rectangular array: {error}") from None
    refuse_masked(name, array)  # what an object's __array__ gave
    array = np.ndarray.view(array, np.ndarray)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got an array of dtype {array.dtype}{_remedy(array)}")
    return array


def inputs(X, network, name="X"):
    """X as a C-contiguous (n, n_in) array of a type the core reads; a view of the caller's where that is one."""
    X = number_array(name, X)
    if X.ndim != 2 or X.shape[1] != network.n_in:
        raise ValueError(f"{name} must have shape (n, {network.n_in}), got {X.shape}")
    dtype = X.dtype.newbyteorder("=")
    if network.input_scale != 1 and dtype != np.uint8 and dtype.kind != "f":
        raise TypeError(
            f"{name} must be uint8 or floating point where input_scale is not 1 (it is {network.input_scale:g}), got "
            f"{dtype}, which would not be scaled: give pixels from 0 to 255 as numpy.asarray(X, numpy.uint8), or scale "
            "the numbers yourself and give floats"
        )
    if dtype not in INPUT_TYPES:
        dtype = network.dtype
    return np.require(X, dtype, ["C", "A"])


class Origin(NamedTuple):
    """Where the X of a Data is from: the argument's name and value, and the numbers of its rows, unless it is all."""

    name: str
    X: object
    rows: np.ndarray | None = None


def not_finite(data, network, rows=None):
    """What the first number of X is, in the caller's array, that is not finite in the network's dtype, as words for a
    message; None where there is none. rows: numbers of those of data to look at, in ascending order; None for all."""
    n, some = len(data) if rows is None else len(rows), max(1, LOOKED_AT // network.n_in)
    for first in range(0, n, some):
        data.check(network._core)  # the array is the caller's
        block = data.X[slice(first, first + some) if rows is None else rows[first : first + some]]
        bad = ~np.isfinite(_core.gather(block, network.input_scale, network.dtype))
        if bad.any():
            i, column = (int(index) for index in np.argwhere(bad)[0])
            row = first + i if rows is None else int(rows[first + i])
            return _described(data.origin, row, column, block[i, column], network)
    return None


def _described(origin, row, column, number, network):
    row = row if origin.rows is None else int(origin.rows[row])
    why = ""
    if np.isfinite(number):
        scaled = f" times input_scale {network.input_scale:g}" if number.dtype == np.uint8 else ""
        why = f"{scaled}, too large for {network.dtype}"
    return f"{origin.name}[{row}, {column}]{_label(origin.X, column)} is {number}{why}"


def _label(X, column):
    """The name of a table's column, for messages."""
    return f" (column {list(X.columns)[column]!r})" if hasattr(X, "columns") else ""
