"""Arrays, memory maps and tables as a source: rows are taken by index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import INPUT_TYPES, check_length, number_array
from .._attributes import Closed
from .._reading import InBlock

if TYPE_CHECKING:
    from .._types import Array

__all__ = ["ArraySource"]


class ArraySource(Closed):
    """X (n, n_features) and y, arrays of which nothing is copied as a whole.

    C-contiguous float32, float64 and uint8, also of a memory map (`numpy.load(path, mmap_mode="r")`), are trained on in
    place, with the speed and the bits of fit(X, y). Rows of other arrays, such as slices of columns, whole numbers or
    float16, and of tables of pandas and polars, are read in the order of the epoch some at a time, with the same bits
    as their conversion as a whole. y and sample_weight are as for fit, which takes them from here; y None is for
    predict.

    ValueError or TypeError for other shapes, and for lengths that differ.

    >>> import numpy as np
    >>> import mlpfast
    >>> np.save("X.npy", np.arange(12.0).reshape(6, 2))
    >>> source = mlpfast.data.ArraySource(np.load("X.npy", mmap_mode="r"), [0, 1, 0, 1, 0, 1])
    >>> source
    <ArraySource of 6 rows, 2 features>
    >>> net = mlpfast.Network([2, 1], output="sigmoid", seed=0)
    >>> history = mlpfast.Trainer(net, "binary_cross_entropy", batch_size=2, seed=0).fit(source, epochs=2)
    """

    _elsewhere = {"weight": "it is called sample_weight", "weights": "it is called sample_weight"}

    n: int
    n_features: int
    X: Any
    y: Any
    sample_weight: Any
    columns: list[Any] | None
    features: list[str] | None

    def __init__(self, X: Any, y: Any = None, sample_weight: Any = None) -> None:
        self.columns = self.features = None
        if hasattr(X, "columns") and hasattr(X, "dtypes"):
            self.columns = [_column(X, number, name) for number, name in enumerate(X.columns)]
            self.features, self.n, self.X = [str(name) for name in X.columns], len(X), X
            # As _arrays.py: uint8 only if all columns are, otherwise input_scale would apply.
            kinds = {self._some(number, slice(0, 1)).dtype for number in range(len(self.columns))}
            self._dtype = np.result_type(*kinds) if len(kinds) == 1 else np.result_type(np.int8, *kinds)
        else:
            self.X = number_array("X", X)
            if self.X.ndim != 2:
                raise ValueError(f"X must have shape (n, n_features), got {self.X.shape}")
            self.n = len(self.X)
        self.n_features = self.X.shape[1]
        self.y = None if y is None else number_array("y", y)
        self.sample_weight = None if sample_weight is None else number_array("sample_weight", sample_weight)
        for name in ("y", "sample_weight"):
            if getattr(self, name) is not None:
                check_length(name, getattr(self, name), self.n)

    @property
    def in_place(self) -> bool:
        """Whether the core reads X where it lies."""
        if self.columns is not None:
            return False
        flags = self.X.flags
        return self.X.dtype in INPUT_TYPES and self.X.dtype.isnative and flags.c_contiguous and flags.aligned

    def read(self, rows: Array) -> tuple[Any, ...]:
        """(X, y, sample_weight) of these rows, with None for what there is not."""
        y, weight = (None if a is None else a[rows] for a in (self.y, self.sample_weight))
        if self.columns is None:
            return self.X[rows], y, weight
        X = np.empty((len(rows), len(self.columns)), self._dtype)
        for number in range(len(self.columns)):
            X[:, number] = self._some(number, rows)
        return X, y, weight

    def _some(self, number, rows):
        """Of a column, as an array of numbers."""
        assert self.columns is not None and self.features is not None
        column = self.columns[number]
        if isinstance(column, np.ndarray):
            return column[rows]
        some, name = column.iloc[rows], self.features[number]
        if hasattr(some.dtype, "na_value") and (missing := np.asarray(some.isna())).any():
            raise InBlock(int(missing.argmax()), f"X has a missing value in column {name!r}: fill them, or leave their "
                          "rows out")
        return number_array(f"X, column {name!r},", some)

    def check(self) -> None:
        """TypeError or ValueError if a column holds what is no number: column by column."""
        for column in self.columns or ():
            if not isinstance(column, np.ndarray):
                number_array(f"X, column {column.name!r},", column)

    def where(self, row: int) -> str:
        """A text for messages: the row and X."""
        return f"row {row} of X"

    def __repr__(self) -> str:
        return f"<ArraySource of {self.n} rows, {self.n_features} features>"


def _column(table, number, name):
    """A column as an array of the table's memory; one of pandas without such memory as it is."""
    if not hasattr(table, "iloc"):
        return number_array(f"X, column {name!r},", table[name])
    column = table.iloc[:, number]
    return column.to_numpy() if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf" else column
