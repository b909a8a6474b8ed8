"""Sources (mlpfast.data) as the core reads data: their blocks, checked against a network and a loss."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from . import _core, _reading
from ._ahead import each_ahead, in_a_thread
from ._arrays import inputs
from ._core import Data
from ._examples import examples
from ._targets import classes, is_one_hot
from ._weights import balanced, counted, has_labels, summed, weights_of_rows

HEAD_ROWS = 1024  # looked at before anything begins
FIELDS = ("X", "labels", "targets", "weights", "entries", "y")


def is_source(value):
    """Whether it follows the protocol of mlpfast.data."""
    if type(value) is np.ndarray:
        return False
    # Not hasattr(value, ...): a property may have to read the first rows.
    if not (hasattr(type(value), "n_features") or "n_features" in getattr(value, "__dict__", ())):
        return False
    return hasattr(value, "read") or hasattr(value, "blocks")


def in_place(source):
    """Whether it stands for arrays that the core reads where they lie."""
    return getattr(source, "in_place", False) is True


def refuse_dataset(X):
    """TypeError for what has rows by number, but is no array and no source."""
    if is_source(X) or isinstance(X, (np.ndarray, list, tuple)):
        return
    if any(hasattr(X, name) for name in ("__array__", "keys", "toarray")):  # arrays and tables, dense or sparse
        return
    if hasattr(X, "__getitem__") and hasattr(X, "__len__") and not isinstance(X, (str, bytes)):
        raise TypeError(
            f"X must be an array of numbers, or a source, got a {type(X).__name__} object: rows by number are a "
            "source, mlpfast.data.BatchSource(dataset)"
        )


class Buffer:
    """Memory for some rows of Data, whose arrays have the dtypes and widths of another Data's."""

    def __init__(self, like, rows):
        self.like, self.rows = like, rows
        self.arrays: dict[str, np.ndarray] = {}  # made when they are needed
        self.spans: list[tuple] = []  # (its first row here, the numbers of its rows in the source) of each piece

    def put(self, at, numbers, data):
        if not self.arrays:
            arrays = {name: getattr(self.like, name) for name in FIELDS}
            self.arrays = {name: np.empty((self.rows, *a.shape[1:]), a.dtype) for name, a in arrays.items()
                           if a is not None}
        if at == 0:
            self.spans = []
        self.spans.append((at, numbers))
        for name, array in self.arrays.items():
            array[at : at + len(data)] = getattr(data, name)

    def data(self, rows, scale):
        X, labels, targets, weights, entries, y = (
            self.arrays[name][:rows] if name in self.arrays else None for name in FIELDS
        )
        return Data(X, scale, labels, targets, weights, y, entries=entries)


def in_turn(pieces, buffers):
    """Fill two buffers in turn with pieces, (numbers of the rows in the source, Data): yields (buffer, its rows) of one
    that is full, and at the end of what is left. buffers[1] is the one that was yielded before."""
    filled = 0
    for numbers, data in pieces:
        at = 0
        while at < len(data):
            some = slice(at, at + buffers[0].rows - filled)
            piece = part_of(data, some)
            buffers[0].put(filled, numbers[some], piece)
            filled, at = filled + len(piece), at + len(piece)
            if filled == buffers[0].rows:
                yield buffers[0], filled
                buffers.reverse()
                filled = 0
    if filled:
        yield buffers[0], filled
        buffers.reverse()


class Place(NamedTuple):
    """Where the rows of a Data come from, as _arrays.Origin."""

    source: object
    spans: list

    def at(self, row, column):
        first, numbers = next(span for span in reversed(self.spans) if span[0] <= row)
        names = getattr(self.source, "features", None)
        named = "" if names is None else f" ({list(names)[column]!r})"
        return f"X in {_reading.where(self.source, int(numbers[row - first]))}, column {column}{named},"


class Stream:
    """source: as mlpfast.data describes it. class_weight: as for fit. keep_y: as for examples.

    head: a Data of its first rows, of the kind of all others. n: the number of rows, or None. mean_weight: of all rows
    with weight, 0 for that of each minibatch; leaves_out: whether rows of weight 0 are to be left out.
    """

    def __init__(self, source, network, loss, name="X", class_weight=None, keep_y=False):
        if loss.traits.joins:
            raise ValueError(f"{loss.name!r} joins rows of all data, which a source does not have at once: give arrays")
        if source.n_features != network.n_in:
            raise ValueError(f"{name} must have {network.n_in} features, got a source with {source.n_features}")
        self.n = _reading.rows_in(source, name)
        self.source, self.network, self.loss, self.name, self.keep_y = source, network, loss, name, keep_y
        self.mean_weight, self.leaves_out = 0.0, False
        self.class_weight = None if isinstance(class_weight, str) else class_weight
        self.always_weighted = _may_be_missing(loss)
        self.head: Any = None
        self.head = in_a_thread(self._first_rows)
        if class_weight is not None and has_labels(self.head.truth, loss):
            raise ValueError("class_weight of several labels in a row needs all rows at once: give arrays")
        if isinstance(class_weight, str):
            self.class_weight = self._balanced(class_weight)
        if self.class_weight is not None:
            self.head = in_a_thread(self._first_rows)

    def __len__(self):
        return self.n or 0

    @property
    def weights(self):
        return self.head.weights

    @property
    def seeks_rows(self):
        return hasattr(self.source, "read")

    def checked(self, block):
        """A Data of a block of the source, with rows of weight 0. A SourceError names the first row that is wrong."""
        try:
            return self._checked(block)
        except (ValueError, TypeError) as error:
            block, error = self._first_wrong(block, error)
            with _reading.naming(self.source, int(block.rows[0])):
                raise error

    def _checked(self, block):
        if block.y is None:
            raise ValueError("y must be there for training and evaluation, got None: what is the source's target?")
        data = examples(block.X, block.y, self.network, self.loss, sample_weight=block.weight,
                        class_weight=self.class_weight, all_zero=True, keep_y=self.keep_y)
        data = self._with_weights(data)
        if self.head is not None:
            self._check_kind(data)
        return data

    def _first_wrong(self, block, error):
        """The smallest part of a wrong block, by halves, that is wrong too, and its error."""
        found = True
        while found and len(block.rows) > 1:
            found, half = False, len(block.rows) // 2
            for some in (slice(0, half), slice(half, None)):
                part = _reading.Block(*(None if array is None else array[some] for array in block))
                try:
                    self._checked(part)
                except (ValueError, TypeError) as own:
                    block, error, found = part, own, True
                    break
        return block, error

    def _with_weights(self, data):
        """The same, with weights of 1 where a loss that leaves out what is missing has found nothing to leave out."""
        if not self.always_weighted or data.entries is not None:
            return data
        rows, columns = data.targets.shape
        weights = np.ones(rows, self.network.dtype) if data.weights is None else data.weights
        entries = np.repeat(weights[:, None], columns, axis=1)
        return Data(data.X, self.network.input_scale, data.labels, data.targets, weights, data.y, entries=entries)

    def _check_kind(self, data):
        for name in FIELDS:
            mine, first = getattr(data, name), getattr(self.head, name)
            got, needed = (None if array is None else (array.dtype, array.shape[1:]) for array in (mine, first))
            if got != needed:
                what = {"labels": "y", "targets": "y", "entries": "weight", "weights": "weight"}.get(name, name)
                raise ValueError(f"{what} must be of one kind in all rows: it is {_kind(got)}, in the "
                                 f"first {_kind(needed)}")
        if self.head.one_hot and not is_one_hot(data.targets):
            raise ValueError("y must be one-hot in all rows, as in the first, got other rows")

    def _first_rows(self, ahead):
        self.head, pieces = None, self._pieces(ahead)
        first = next(pieces, None)
        if first is None:
            raise ValueError(f"{self.name} must have at least one row, got a source without any")
        self.head = first[1]  # for the kinds of its arrays alone
        buffer, rows = next(in_turn(itertools.chain([first], pieces), [Buffer(self.head, HEAD_ROWS)]))
        pieces.close()
        return buffer.data(rows, self.network.input_scale)

    def finished(self, buffer, rows):
        """The Data of what is in a buffer, as the core takes it."""
        data = buffer.data(rows, self.network.input_scale)
        data.one_hot, data.mean_weight = self.head.one_hot, self.mean_weight
        data.origin = Place(self.source, buffer.spans)
        return data

    def in_order(self):
        """A Data of some rows after the other, read ahead, in the order of the source."""
        return each_ahead(self._in_order)

    def _in_order(self, ahead):
        buffers = [Buffer(self.head, _reading.rows_at_once(self.source)) for _ in range(2)]
        for buffer, rows in in_turn(self._pieces(ahead), buffers):
            yield self.finished(buffer, rows)

    def _pieces(self, ahead):
        for block in _reading.read_all(self.source):
            if ahead.stopped:
                return
            yield block.rows, self.checked(block)

    # ---- Passes over all rows beforehand ----

    def weigh(self):
        """Find the mean weight of the rows that have weight -> (how many they are, how many all are, which they are
        (int64), or None where single rows cannot be had); one pass. It has the bits of that of arrays."""
        total, count, rows, chosen = 0.0, 0, 0, []
        for data in self.in_order():
            total = summed(data.weights, total)
            there = np.flatnonzero(data.weights)
            count += len(there)
            if self.seeks_rows:
                chosen.append(there + rows)
            rows += len(data)
        if count == 0:
            raise ValueError(self.without_weight())
        self.mean_weight = total / count
        return count, rows, np.concatenate(chosen) if self.seeks_rows else None

    def without_weight(self):
        """The message where no row has weight."""
        hint = ", or y NaN" if self.always_weighted else ""
        return f"sample_weight of {self.name} must not be zero{hint} for every example"

    def _balanced(self, class_weight):
        """class_weight "balanced" as an array (K,); one pass."""
        if class_weight != "balanced":
            raise ValueError(f'class_weight must be "balanced", a dict or an array (K,), got {class_weight!r}')
        y = self.head.truth
        width = max(2, self.network.n_out if y.ndim == 1 else y.shape[1])
        return balanced(in_a_thread(lambda ahead: self._counted(ahead, np.zeros(width))))

    def _counted(self, ahead, counts):
        for block in _reading.read_all(self.source):
            if ahead.stopped:
                break
            y = self.checked(block).truth
            which = classes(y, self.network, self.loss, "class_weight")
            counts = counted(counts, which, weights_of_rows(block.weight, y, self.loss))
        return counts

    def truth(self):
        """y of all rows, as `Data.truth`; one pass."""
        return np.concatenate([np.array(data.truth) for data in self.in_order()])


def _may_be_missing(loss):
    return bool(loss.missing or any(part.loss.missing for part in loss.parts))


def part_of(data, rows):
    """Some rows of data, a slice or int64, as views of its arrays or copies. For Buffer.put."""
    arrays = (getattr(data, name) for name in FIELDS)
    X, labels, targets, weights, entries, y = (None if array is None else array[rows] for array in arrays)
    return Data(X, 1.0, labels, targets, weights, y, entries=entries)


def _kind(of):
    return "missing" if of is None else f"{of[0]} with rows of shape {of[1]}"


def inputs_in_order(source, network):
    """X of some rows after the other, as the core reads it, read ahead; for predictions."""
    if source.n_features != network.n_in:
        raise ValueError(f"X must have {network.n_in} features, got a source with {source.n_features}")

    def begin(ahead):
        some = _reading.rows_at_once(source)
        for block in _reading.read_all(source):
            for first in range(0, len(block.X), some):
                if ahead.stopped:
                    return
                with _reading.naming(source, int(block.rows[first])):
                    # A copy: the source may give the same memory for its next block.
                    X = np.array(inputs(np.asarray(block.X)[first : first + some], network))
                yield X

    return each_ahead(begin)


def shuffled(n, seed, epoch, window=0, rows=None):
    """Of a window's rows, or of blocks: the numbers 0 .. n-1, or `rows`, in a random order. Window 0 has the order of
    arrays of that many rows."""
    order = np.empty(n, np.int64)
    _core.shuffle(order, (seed + window * WEYL) % 2**64, epoch, rows)
    return order


WEYL = 0x9E3779B97F4A7C15  # the golden ratio in 64 bits: windows have seeds far from those that users choose
