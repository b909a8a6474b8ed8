"""Sources of what functions and datasets of the caller's give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._attributes import Closed
from .._reading import InBlock, naming, parts_of
from .._scalars import flag, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .._types import Array

__all__ = ["BatchSource", "GeneratorSource"]


class GeneratorSource(Closed):
    """Whatever an iterator yields: (X, y) or (X, y, weight) of any numbers of rows, which are cut and joined to
    minibatches.

    make_iterator: called anew for each epoch, for a look at the first rows before the training, and for each pass that
        must be made; it returns an iterator, or anything that can be iterated, as a generator function does, or
        `lambda: data_loader` with PyTorch's DataLoader. It may be called before the epoch before has ended.
    n: the number of rows, if known: then a progress bar can say how much is left, and another number is an error.
    n_features: the columns of X; None looks at the first rows.
    shuffle_rows: how many rows are shuffled together, where the Trainer shuffles; None: what fits in 256 MB. 1 leaves
        the order to the iterator.

    TypeError for what cannot be called, ValueError or TypeError for numbers that do not fit. What the iterator yields
    is checked when it is read, with a SourceError.

    >>> import numpy as np
    >>> import mlpfast
    >>> def batches():
    ...     for i in range(4):
    ...         X = np.random.default_rng(i).normal(size=(100, 2))
    ...         yield X, X[:, 0] > X[:, 1]
    >>> source = mlpfast.data.GeneratorSource(batches, n=400)
    >>> net = mlpfast.Network([2, 8, 1], output="sigmoid", seed=0)
    >>> history = mlpfast.Trainer(net, "binary_cross_entropy", "adam", seed=0).fit(source, epochs=2)
    >>> source
    <GeneratorSource of batches, 400 rows>
    """

    n: int | None
    shuffle_rows: int | None
    make_iterator: Callable[[], Iterable[Any]]

    def __init__(
        self,
        make_iterator: Callable[[], Iterable[Any]],
        n: int | None = None,
        *,
        n_features: int | None = None,
        shuffle_rows: int | None = None,
    ) -> None:
        if not callable(make_iterator):
            raise TypeError(
                "make_iterator must be a function, which is called anew for each epoch and returns an iterator, got "
                f"{type(make_iterator).__name__}: of a DataLoader or a list it is `lambda: it`"
            )
        self.make_iterator = make_iterator
        self.n = None if n is None else whole_number("n", n, least=1)
        self.shuffle_rows = None if shuffle_rows is None else whole_number("shuffle_rows", shuffle_rows, least=1)
        self._last: Iterator[Any] | None = None  # what it has returned
        self._n_features = None if n_features is None else whole_number("n_features", n_features, least=1)

    @property
    def n_features(self) -> int:
        """The columns of X; without the argument those of the first rows, which an iterator is made for. ValueError if
        it has none."""
        if self._n_features is None:
            with naming(self, 0):
                item = next(self.blocks(None), None)
                if item is None:
                    raise ValueError("make_iterator must return an iterator with rows, got none")
                shape = np.shape(parts_of(item)[0])
                if len(shape) != 2:
                    raise ValueError(f"X must have shape (n, n_features), got {shape}")
                self._n_features = shape[1]
        return self._n_features

    def blocks(self, order: Array | None) -> Iterator[Any]:
        """A new iterator of make_iterator; ValueError if it is the same as the last one."""
        given = self.make_iterator()
        if not hasattr(given, "__iter__") and not hasattr(given, "__getitem__"):
            raise TypeError(f"make_iterator must return an iterator, got {given!r}")
        items = iter(given)
        if items is given and items is self._last:
            raise ValueError("make_iterator must return a new iterator each time, got the same one again")
        self._last = items
        return items

    def where(self, row: int) -> str:
        """A text for messages: the function and the row."""
        return f"{_name(self.make_iterator)}, row {row}"

    def __repr__(self) -> str:
        return f"<GeneratorSource of {_name(self.make_iterator)}, {'?' if self.n is None else self.n} rows>"


class BatchSource(Closed):
    """Anything with __len__ and __getitem__, whose items are (x, y) or (x, y, weight) of one row, for predictions
    also x, such as PyTorch's TensorDataset and Subset. An x of several dimensions, an image, is taken line by line.

    An object with __getitems__, as PyTorch has it, is asked for several rows at once; and one that says
    `by_array=True` for an int64 array of rows, as arrays and TensorDataset understand it.

    dataset: that object. TypeError for one without these methods, ValueError for an empty one.

    >>> import mlpfast
    >>> rows = [([0.0, 1.0], 0), ([2.0, 3.0], 1), ([4.0, 5.0], 1)]
    >>> source = mlpfast.data.BatchSource(rows)
    >>> source
    <BatchSource of list, 3 rows, 2 features>
    >>> mlpfast.Network([2, 1], init="zeros").predict(source).shape
    (3, 1)
    """

    dataset: Any
    n: int
    by_array: bool
    n_features: int

    def __init__(self, dataset: Any, *, by_array: bool | None = None) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(f"dataset must have __len__ and __getitem__, got {type(dataset).__name__}")
        self.dataset, self.n = dataset, len(dataset)
        if self.n == 0:
            raise ValueError("dataset must have at least one row, got none")
        # A TensorDataset gives the rows of an array of numbers at once.
        self.by_array = hasattr(dataset, "tensors") if by_array is None else flag("by_array", by_array)
        with naming(self, 0):
            self.n_features = np.asarray(parts_of_row(dataset[0])[0]).size

    def read(self, rows: Array) -> tuple[Any, ...]:
        """(X, y) or (X, y, weight) of these rows."""
        if self.by_array:
            X, *others = map(np.asarray, self.dataset[rows])
        else:
            wanted = rows.tolist()
            several = getattr(self.dataset, "__getitems__", None)
            items = list(map(self._item, range(len(wanted)), wanted)) if several is None else several(wanted)
            X, *others = map(_stacked, zip(*map(parts_of_row, items), strict=True))
        return X.reshape(len(rows), -1), *others

    def _item(self, place, row):
        try:
            return self.dataset[row]
        except Exception as error:
            raise InBlock(place, f"{type(error).__name__}: {error}") from error

    def where(self, row: int) -> str:
        """A text for messages: the dataset and the row."""
        return f"{_name(self.dataset)}[{row}]"

    def __repr__(self) -> str:
        return f"<BatchSource of {_name(self.dataset)}, {self.n} rows, {self.n_features} features>"


def _stacked(parts):
    """One part of several items, of one shape, as an array."""
    arrays = list(map(np.asarray, parts))
    for place, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise InBlock(place, f"items must have one shape, got {array.shape}, in others {arrays[0].shape}")
    return np.stack(arrays)


def parts_of_row(item: Any) -> tuple[Any, ...]:
    if hasattr(item, "__array__"):  # x alone, for predictions
        return (item,)
    if not isinstance(item, (tuple, list)) or not 1 <= len(item) <= 3:
        raise TypeError(f"an item of the dataset must be (x, y) or (x, y, weight), got {type(item).__name__}")
    return tuple(item)


def _name(thing):
    return getattr(thing, "__qualname__", None) or type(thing).__name__
