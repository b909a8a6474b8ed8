"""Arrays that users give, as NumPy arrays of numbers: X, tables, `out`; and which number of X is not finite.

Tables and columns of pandas and polars are recognised by their attributes; neither library is imported.
"""

import os
import sys
from typing import NamedTuple

import numpy as np

from . import _kernels
from ._fpmode import SilentErrors

INPUT_TYPES = (np.float32, np.float64, np.uint8)  # of X, which the core reads without conversion
SEARCHED_AT_ONCE = 2**16  # numbers of X, for one that is not finite
TABLE_BYTES = 2**25  # of the numbers of a table; larger ones are read some rows at a time
CHANGED = "X held NaN or infinity, which another thread has changed since"  # for messages


def refuse_masked(name, value):
    """TypeError for a masked array, or a list of some, with masked numbers, which NumPy would convert unmasked."""
    if type(value) is np.ndarray or "numpy.ma" not in sys.modules:  # its import takes milliseconds
        return
    parts = value if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
        raise TypeError(f"{name} must show all its numbers, got a masked array: fill it, or leave out what is masked")


def number_array(name, value):
    """value as an array of real numbers or bool, a new object, whose shape and dtype no other thread can change.

    Texts, objects, complex numbers and masked arrays raise TypeError, missing values of a table ValueError.
    """
    array = np.ndarray.view(value if type(value) is np.ndarray else _array(name, value), np.ndarray)
    if array.dtype.kind in "biuf":
        return array
    if array.ndim == 0 and name.split()[-1] in ("X", "y"):
        got = "None" if value is None else f"a {type(value).__name__} object"
        raise TypeError(f"{name} must be an array of numbers, got {got}{_what_it_may_be(name, value)}")
    raise TypeError(f"{name} must hold real numbers, got an array of dtype {array.dtype}{_remedy(name, array)}")


def _what_it_may_be(name, value):
    """Advice for what is no array, or ""."""
    from ._streams import is_source  # imports this module

    if isinstance(value, (str, os.PathLike)) and name.endswith("X"):
        return ": of a file, numpy.load(path, mmap_mode='r') or a source such as mlpfast.data.ParquetSource(path, ...)"
    if isinstance(value, (str, bytes, dict)):
        return ""
    if is_source(value):
        return ": a source goes to fit, evaluate or predict in place of X, and to fit as validation_data"
    return (
        ": X and y are whole arrays, of which Trainer.step takes one minibatch at a time; what yields minibatches "
        "is a source, mlpfast.data.GeneratorSource(lambda: ...)"
    )


def converted(name, array, dtype):
    """array in dtype, C-contiguous; ValueError if a number is too large for it. Numbers that are too small become 0."""
    with SilentErrors():
        result = np.asarray(array, dtype, order="C")
    if array.dtype.kind == "f" and np.finfo(array.dtype).max > np.finfo(dtype).max:
        lost = np.isinf(result) & np.isfinite(array)
        if lost.any():
            at = np.unravel_index(np.argmax(lost), lost.shape)
            where = f" at {[int(i) for i in at]}" if at else ""
            raise ValueError(f"{name} must hold numbers that {dtype} can hold, got {array[at]!s}{where}")
    return result


def _array(name, value):
    """value as an array of any dtype."""
    refuse_masked(name, value)
    if hasattr(value, "toarray"):  # scipy.sparse
        raise TypeError(f"{name} must be a dense array, got a {type(value).__name__}: its toarray() is one")
    if _is_table(value) and not _is_plain(value):
        return _of_table(name, value)
    if _is_column(value):
        return _of_column(name, value)
    try:
        array = np.asanyarray(value)
    except ValueError as error:  # ragged nested lists
        raise ValueError(f"{name} must be a rectangular array: {error}") from None
    refuse_masked(name, array)  # returned by an object's __array__
    return array


def inputs(X, network, name="X"):
    """X as a C-contiguous (n, n_in) array of a dtype that the core reads, without a copy if it is one already."""
    X = number_array(name, X)
    if X.ndim != 2 or X.shape[1] != network.n_in:
        advice = ": of one row x it is x.reshape(1, -1)" if X.shape == (network.n_in,) else ""
        raise ValueError(f"{name} must have shape (n, {network.n_in}), got {X.shape}{advice}")
    dtype = X.dtype.newbyteorder("=")
    if network.input_scale != 1 and dtype != np.uint8 and dtype.kind != "f":
        raise TypeError(
            f"{name} must be uint8 or floating point where input_scale is not 1 (it is {network.input_scale:g}), got "
            f"{dtype}, which would not be scaled: give pixels from 0 to 255 as numpy.asarray(X, numpy.uint8), or scale "
            "the numbers yourself and give floats"
        )
    if dtype not in INPUT_TYPES:  # an input transform is computed in float64
        return converted(name, X, network.dtype if network.input_transform is None else np.float64)
    return np.require(X, dtype, ["C", "A"])


def check_length(name, array, n):
    if len(array) != n:
        columns = array.ndim == 2 and array.shape[1] == n  # a list of several y, as Keras has it
        hint = f"; numpy.column_stack({name}) makes columns of its {len(array)} rows" if columns else ""
        raise ValueError(f"{name} must have one entry for each row of X: X has {n}, {name} has {len(array)}{hint}")


def output_array(out, shape, dtype, others):
    """out, if the core can write to it: of exactly that shape and dtype, C-contiguous, writable, and without memory in
    common with the other arrays."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    refuse_masked("out", out)
    given, out = out, np.ndarray.view(out, np.ndarray)  # a subclass may report other properties
    if out.shape != shape or out.dtype != dtype or not out.dtype.isnative:
        raise ValueError(f"out must have shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}")
    if not out.flags.c_contiguous or not out.flags.aligned:
        raise ValueError("out must be C-contiguous, got an array with other strides")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")
    for name, other in others:
        if isinstance(other, np.ndarray) and np.may_share_memory(out, other):
            raise ValueError(f"out must not overlap {name}")
    return given


# ---- Tables and their columns ----


def _is_table(value):
    return all(hasattr(value, name) for name in ("columns", "dtypes", "to_numpy"))


def is_large_table(value):
    """Whether it is a table of pandas or polars whose numbers, as a whole, would be copied into much memory."""
    if not (_is_table(value) and (hasattr(value, "iloc") or hasattr(value, "get_columns"))):
        return False
    rows, columns = value.shape
    return 8 * rows * columns > TABLE_BYTES and not _lies_by_rows(value)


def _lies_by_rows(table):
    """Whether the core can read its memory in place, as that of a table made of an array."""
    kinds = set(table.dtypes)
    if not hasattr(table, "iloc") or len(kinds) > 1 or not kinds <= set(map(np.dtype, INPUT_TYPES)):
        return False
    columns = [table.iloc[:, number].to_numpy() for number in range(table.shape[1])]
    size = columns[0].itemsize
    begins = [column.__array_interface__["data"][0] - number * size for number, column in enumerate(columns)]
    return len(set(begins)) == 1 and all(column.strides == (len(columns) * size,) for column in columns)


def _is_plain(table):
    """Whether NumPy converts it to numbers itself, without a copy if possible."""
    kinds = {dtype.kind if isinstance(dtype, np.dtype) else "O" for dtype in table.dtypes}
    return kinds <= set("iuf") or kinds == {"b"}


def _is_column(value):
    """Whether it is a column, or an array of pandas, of a dtype that NumPy does not have."""
    return hasattr(value, "to_numpy") and not isinstance(getattr(value, "dtype", None), (np.dtype, type(None)))


def _of_table(name, table):
    labels = list(table.columns)
    columns = [column for _, column in table.items()] if hasattr(table, "items") else table.get_columns()
    arrays = [_of_column(name, column, label) for column, label in zip(columns, labels, strict=True)]
    refused = [number for number, array in enumerate(arrays) if array.dtype.kind not in "biuf" or array.ndim != 1]
    if refused:  # preferably one with objects that are not numbers
        number = next((number for number in refused if not all(map(_reads, arrays[number].flat))), refused[0])
        got, remedy = f"{columns[number].dtype} in column {labels[number]!r}", _remedy(name, arrays[number], number)
        raise TypeError(f"{name} must hold real numbers, got {got}{remedy}")
    dtypes = {array.dtype for array in arrays}
    # uint8 only if all columns are: otherwise input_scale would apply.
    dtype = np.result_type(*dtypes) if len(dtypes) == 1 else np.result_type(np.int8, *dtypes)
    result = np.empty((len(table), len(arrays)), dtype)
    for number, array in enumerate(arrays):
        result[:, number] = array
    return result


def _of_column(name, column, label=None):
    """A column as an array of any dtype; label: its name in a table. ValueError for missing values."""
    if isinstance(column.dtype, np.dtype):
        return np.asarray(column)
    missing = np.asarray(column.is_null() if hasattr(column, "is_null") else column.isna())  # polars, pandas
    if missing.any():
        where = "" if label is None else f" in column {label!r}"
        to_nan = name == "y" and hasattr(column, "isna")
        hint = ', or, for missing="ignore", pass its to_numpy(dtype=float, na_value=np.nan)' if to_nan else ""
        raise ValueError(
            f"{name} must have no missing values, got one{where} in row {int(missing.argmax())}: fill them, or leave "
            f"their rows out{hint}"
        )
    own = getattr(column.dtype, "numpy_dtype", None)  # nullable dtypes of pandas have one
    return np.asarray(column.to_numpy() if own is None else column.to_numpy(dtype=own))


# ---- Advice for messages about arrays without numbers ----


def _remedy(name, array, column=None):
    """Advice how to make numbers of such an array, or "". column: the number of the table's column that it is."""
    if array.dtype.kind not in "USTO":
        return ""
    at = next((index for index, item in np.ndenumerate(array) if not _reads(item)), None)
    if at is None:
        return ': its astype("float64"), of a table to_numpy(dtype="float64"), is one'
    item, others = array[at], array[:, at[1]] if array.ndim == 2 else array.flat
    item = item.item() if isinstance(item, np.generic) else item  # str in messages, not numpy.str_
    at = at if column is None else (*at, column)
    what = f": {name}[{', '.join(map(str, at))}] is {item!r}" if at else f": it is {item!r}"
    if type(item).__name__ in ("NoneType", "NAType", "NaTType"):
        return f"{what}, a missing value: fill it, or leave its row out"
    if not isinstance(item, (str, bytes)):
        return what
    of = name.split()[-1]  # "validation_data X"
    if of != "X":
        return ": numpy.unique(y, return_inverse=True) makes class numbers of class names" if of == "y" else what
    if any(map(_reads, others)):
        return f"{what} among numbers: if it stands for a missing value, put a number there, or leave its row out"
    return f"{what}: give each value of the column a column of 0 and 1 (one-hot encoding), or leave the column out"


def _reads(item):
    """Whether float converts it to the same number."""
    if isinstance(item, np.complexfloating):  # would lose its imaginary part, with a warning
        return False
    try:
        float(item)
    except Exception:  # an object may raise anything
        return False
    return True


# ---- Which number of X is not finite ----


class Origin(NamedTuple):
    """The argument that the X of a Data was made from: its name and value."""

    name: str
    X: object

    def at(self, row, column):
        """Where a number of X is, for messages."""
        return f"{self.name}[{row}, {column}]{_label(self.X, column)}"


def not_finite(data, network, rows=None):
    """The first number of X that is not finite in the network's dtype, described for a message by its place in the
    array that was given; None if there is none. rows: the rows of data to search, ascending; None for all."""
    numbers = data.x_rows  # rows of X, None for all
    if rows is not None:
        numbers = rows if numbers is None else numbers[rows]
    n, some = len(data) if numbers is None else len(numbers), max(1, SEARCHED_AT_ONCE // network.n_in)
    for first in range(0, n, some):
        data.check(network._core)  # another thread may have changed the array
        block = data.X[slice(first, first + some) if numbers is None else numbers[first : first + some]]
        bad = ~np.isfinite(_kernels.gather(block, network.input_scale, network.dtype, network.input_transform))
        if bad.any():
            i, column = (int(index) for index in np.argwhere(bad)[0])
            row = first + i if numbers is None else int(numbers[first + i])
            return _described(data.origin, row, column, block[i, column], network)
    return None


def _described(origin, row, column, number, network):
    why = ""
    if np.isfinite(number):
        scaled = f" times input_scale {network.input_scale:g}" if number.dtype == np.uint8 else ""
        scaled += "" if network.input_transform is None else " after input_transform"
        why = f"{scaled}, too large for {network.dtype}"
    return f"{origin.at(row, column)} is {number}{why}"


def _label(X, column):
    """The name of a table's column, for messages."""
    return f" (column {list(X.columns)[column]!r})" if _is_table(X) else ""
