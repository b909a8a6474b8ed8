"""Blocks of rows of any source, and errors that say where they were."""

import contextlib
import numbers
from typing import Any, NamedTuple

import numpy as np

from ._fpmode import CallersTurn

MISSING = object()
READ_BYTES = 2**22  # of X, that are read at once where rows can be had singly


class SourceError(ValueError):
    """A source could not be read, or what it gave does not fit: says where. __cause__ is the exception behind it.

    >>> import mlpfast
    >>> source = mlpfast.data.GeneratorSource(lambda: [([[1.0]], [0]), ([[2.0], [3.0]], [1])])
    >>> trainer = mlpfast.Trainer(mlpfast.Network([1, 1]), "half_squared_error")
    >>> try:
    ...     trainer.fit(source)
    ... except mlpfast.data.SourceError as error:
    ...     print(error)
    <lambda>, row 1: y must have one entry for each row of X: X has 2, y has 1
    """


class InBlock(ValueError):
    """What is wrong with a row of a block that is being made: the row's number in it, from 0."""

    def __init__(self, row, message):
        super().__init__(message)
        self.row = row


class Block(NamedTuple):
    """rows: their numbers in the source, a range or int64 (n,). y and weight: None if there are none."""

    rows: Any
    X: Any
    y: Any
    weight: Any


class Subset:
    """Some rows of a source with `read`, ascending."""

    def __init__(self, source, rows):
        self.source, self.rows, self.n, self.n_features = source, rows, len(rows), source.n_features
        self.features = getattr(source, "features", None)

    def read(self, rows):
        return self.source.read(self.rows[rows])

    def where(self, row):
        return where(self.source, int(self.rows[row]))


def where(source, row):
    """Of a row, for messages."""
    own = getattr(source, "where", None)
    return f"row {row} of {type(source).__name__}" if own is None else own(row)


@contextlib.contextmanager
def naming(source, rows):
    """Exceptions say where they come from. rows: the number of the first row of a block, or those of all its rows."""
    try:
        yield
    except (SourceError, MemoryError):
        raise
    except Exception as error:
        at = error.row if isinstance(error, InBlock) else 0
        place = where(source, rows + at if isinstance(rows, int) else int(rows[at]))
        if not (isinstance(rows, int) or isinstance(error, InBlock) or len(rows) == 1):
            place += f", or one of the rows behind it up to {rows[-1]}"
        kind = "" if type(error) in (ValueError, TypeError, InBlock) else f"{type(error).__name__}: "
        behind = error.__cause__ if isinstance(error, InBlock) and error.__cause__ else error
        raise SourceError(f"{place}: {kind}{error}") from behind


def starts_of_blocks(source):
    """The number of the first row of each block, and of all rows; None if the blocks cannot be had in any order."""
    sizes = getattr(source, "block_rows", None)
    if hasattr(source, "read") or sizes is None:
        return None
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64))])


def rows_in(source, name):
    """The number of rows, checked; None if it is unknown."""
    n, starts = getattr(source, "n", MISSING), starts_of_blocks(source)
    if not (n is None or isinstance(n, numbers.Integral)):
        got = "none" if n is MISSING else repr(n)
        raise TypeError(f"n of {name} must be the number of its rows, or None, got {got}")
    if n is None and hasattr(source, "read"):
        raise ValueError(f"n of {name} must be a number for a source with `read`, got None")
    if starts is not None and n is not None and starts[-1] != n:
        raise ValueError(f"block_rows of {name} must add up to n, {n}, got {int(starts[-1])}")
    n = int(starts[-1]) if n is None and starts is not None else n
    if n is not None and n < 1:
        raise ValueError(f"{name} must have at least one row, got a source with {n}")
    return n


def rows_at_once(source):
    return max(1, READ_BYTES // (8 * source.n_features))


def read_rows(source, rows):
    """The Block of these rows (int64), in their order."""
    ascending = np.argsort(rows, kind="stable")
    sorted_rows = rows[ascending]
    with naming(source, sorted_rows):
        with CallersTurn():
            item = source.read(sorted_rows)
    with naming(source, int(sorted_rows[0])):
        parts = parts_of(item, len(rows))
        if (ascending[1:] > ascending[:-1]).all():
            return Block(rows, *parts)
        back = np.empty_like(ascending)
        back[ascending] = np.arange(len(back))
        return Block(rows, *(None if part is None else np.asarray(part)[back] for part in parts))


def read_blocks(source, order=None):
    """The Blocks of a source with `blocks`, in that order of blocks; None: all as they lie."""
    starts = starts_of_blocks(source)
    places = None if starts is None else range(len(starts) - 1) if order is None else order
    row, count, items = 0, 0, None
    while True:
        wanted = None
        if places is not None and count < len(places):
            number = int(places[count])
            row, wanted = int(starts[number]), int(starts[number + 1] - starts[number])
        with naming(source, row):
            with CallersTurn():
                if items is None:
                    items = iter(source.blocks(order))
                item = next(items, None)
            if item is None:
                _check_all_came(source, places, count, row)
                return
            if places is not None and wanted is None:
                raise ValueError(f"blocks must yield {len(places)} blocks, as block_rows says, got more")
            parts = parts_of(item, wanted)
            if places is None and source.n is not None and row + len(parts[0]) > source.n:
                raise ValueError(f"blocks must yield {source.n} rows, as n says, got more")
        if len(parts[0]):
            yield Block(range(row, row + len(parts[0])), *parts)
        row, count = row + len(parts[0]), count + 1


def _check_all_came(source, places, count, rows):
    if places is not None and count < len(places):
        raise ValueError(f"blocks must yield {len(places)} blocks, as block_rows says, got {count}")
    if places is None and source.n is not None and rows != source.n:
        raise ValueError(f"blocks must yield {source.n} rows, as n says, got {rows}")


def read_all(source):
    """All Blocks in the order of the rows."""
    if not hasattr(source, "read"):
        yield from read_blocks(source)
        return
    some = rows_at_once(source)
    for first in range(0, source.n, some):
        yield read_rows(source, np.arange(first, min(first + some, source.n)))


def parts_of(item, wanted=None):
    """(X, y, weight) of what a source gives. wanted: the number of rows, if that is known."""
    parts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
    if item is None or hasattr(item, "keys") and not hasattr(item, "__array__"):
        raise TypeError(f"a source must give (X, y) or (X, y, weight), got a {type(item).__name__} object")
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"a source must give (X, y) or (X, y, weight), got {len(parts)} parts")
    for name, part in zip(("X", "y", "weight"), parts, strict=False):
        if part is not None and not hasattr(part, "__len__"):
            raise TypeError(f"a source must give arrays of several rows, got {type(part).__name__} as {name}")
    n = len(parts[0])
    for name, part in zip(("y", "weight"), parts[1:], strict=False):
        if part is not None and len(part) != n:
            raise ValueError(f"{name} must have one entry for each row of X: X has {n}, {name} has {len(part)}")
    if wanted is not None and n != wanted:
        raise ValueError(f"a block must have {wanted} rows, got {n}")
    return (*parts, None, None)[:3]
