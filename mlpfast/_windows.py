"""The rows of a source that minibatches are made of, window by window, in the order of an epoch.

A source of rows (`read`) is read in the order that arrays have. Of a source of blocks, the blocks come in a random
order, and rows are shuffled within a window of shuffle_rows rows, rounded down to whole minibatches, so that none lies
in two windows. If all rows fit in one, that is the order of arrays too. Everything is fixed by seed and epoch.
"""

import numpy as np

from ._ahead import Ahead
from ._reading import read_blocks, read_rows, rows_at_once, starts_of_blocks
from ._scalars import flag, one_of, whole_number
from ._streams import Buffer, in_turn, part_of, shuffled
from .minibatches import WEIGHTINGS, RowsOfEpochs, Window, check_mean_weight

WINDOW_BYTES = 2**28  # of X and y of the rows that are shuffled together
BLOCKS = -1  # the "window" whose order is that of the blocks


class WindowsOfSource(RowsOfEpochs):
    """Of a Stream."""

    def __init__(self, trainer, stream, accumulate=1, mean_weight=None):
        if trainer.batch_size is None:
            raise ValueError(
                "batch_size must be a number for a source: None takes all rows as one minibatch, which must be arrays"
            )
        self.data, self.accumulate = stream, accumulate
        self.stream = stream
        self.n, self.chosen = _use_weights(trainer, stream, mean_weight)
        self.shuffles = flag("shuffle", trainer.shuffle)
        self.batch_rows = trainer.batch_size * accumulate
        self.chunk_rows = trainer.batch_size if accumulate > 1 else None
        self.starts = starts_of_blocks(stream.source)
        self.rows = self._window_rows()
        self.ahead: Ahead | None = None
        self.next: tuple | None = None  # (seed, epoch, minibatch) of the Window that it gives next
        self.until = 0  # the epoch after the last one that it reads

    @property
    def window_rows(self):
        return self.rows if self.mixes else None

    @property
    def mixes(self):
        """Whether rows are shuffled within windows."""
        return self.shuffles and not self.stream.seeks_rows

    def _window_rows(self):
        head, source = self.stream.head, self.stream.source
        arrays = [a for a in (head.X, head.labels, head.targets, head.weights, head.entries) if a is not None]
        given = getattr(source, "shuffle_rows", None)
        if not self.mixes:
            rows = rows_at_once(source)
        elif given is not None:
            rows = whole_number("shuffle_rows", given, least=1)
        else:
            rows = WINDOW_BYTES // sum(a.itemsize * (a.shape[1] if a.ndim == 2 else 1) for a in arrays)
        rows = max(rows // self.batch_rows, 1) * self.batch_rows
        return rows if self.n is None else min(rows, -(-self.n // self.batch_rows) * self.batch_rows)

    # ---- For the loop, in the caller's thread ----

    def windows(self, seed, epoch, done, run):
        """Of the epochs of `run` the first rows may be read before the one before has ended."""
        while True:
            window = self._take(seed, epoch, done, run.left)
            if window is None:
                break
            done = window.end
            yield window
        if done == 0:
            raise ValueError("the source must have at least one row with weight, got none")

    def _take(self, seed, epoch, done, left):
        """The Window that begins with minibatch `done`; None after the last one."""
        while True:
            if not self._goes_on_at(seed, epoch, done):
                self.close(patient=True)
                self.until = epoch + left
                self.ahead = Ahead(lambda ahead: self._epochs(ahead, seed, epoch, done, left))
            assert self.ahead is not None
            window = self.ahead.take()
            if self.ahead.is_here():  # else this is a forked child
                break
        self.next = (seed, epoch + 1, 0) if window is None else (seed, epoch, window.end)
        return window

    def _goes_on_at(self, seed, epoch, done):
        """Whether the Window that begins there is the next to be taken."""
        there = self.next == (seed, epoch, done) and epoch < self.until
        return self.ahead is not None and there and self.ahead.is_here()

    def close(self, patient):
        ahead, self.ahead = self.ahead, None
        if ahead is not None:
            ahead.close(patient)

    def __exit__(self, kind, *_):
        self.close(patient=kind is None)

    # ---- In the reader's thread ----

    def _epochs(self, ahead, seed, epoch, done, left):
        """The Windows of `left` epochs; None after each epoch."""
        buffers = [Buffer(self.stream.head, self.rows) for _ in range(2)]
        for number in range(epoch, epoch + left):
            yield from self._epoch(ahead, buffers, seed, number, done)
            yield None
            done = 0

    def _epoch(self, ahead, buffers, seed, epoch, done):
        start = done * self.batch_rows
        begin = start - start % self.rows if self.mixes else start
        number, skip, first = begin // self.rows, start - begin, done  # skip: rows of a window that are done
        for buffer, rows in in_turn(self._pieces(ahead, seed, epoch, begin), buffers):
            if rows > skip:
                order = shuffled(rows, seed, epoch, number)[skip:] if self.mixes else None
                end = first + -(-(rows - skip) // self.batch_rows)
                yield Window(self.stream.finished(buffer, rows), order, first, end)
                first = end
            number, skip = number + 1, 0

    def _pieces(self, ahead, seed, epoch, begin):
        """(numbers of the rows, Data) of one block after the other, from row `begin` of the epoch on, without the rows
        to leave out."""
        blocks, late = self._blocks(seed, epoch, begin)
        for block in blocks:
            if ahead.stopped:
                return
            data, numbers = self.stream.checked(block), block.rows
            if self.stream.leaves_out:
                data, numbers = _with_weight(data, numbers)
            some = slice(late, None)
            late = max(0, late - len(data))
            if len(numbers[some]):
                yield numbers[some], part_of(data, some)

    def _blocks(self, seed, epoch, begin):
        """(the Blocks of an epoch, how many of their rows lie before row `begin` of it)"""
        source, exact = self.stream.source, not self.stream.leaves_out
        if self.stream.seeks_rows:
            order = self.chosen
            if self.shuffles:
                order = shuffled(self.n, seed, epoch, rows=self.chosen)
            elif order is None:
                order = np.arange(self.n)
            order = order[begin:] if exact else order
            some = (read_rows(source, order[i : i + self.rows]) for i in range(0, len(order), self.rows))
            return some, 0 if exact else begin
        if self.starts is None:
            return read_blocks(source), begin
        order = np.arange(len(self.starts) - 1)
        if self.shuffles and self.n > self.rows:
            order = shuffled(len(order), seed, epoch, BLOCKS)
        if not exact:
            return read_blocks(source, order), begin
        ends = np.cumsum(np.diff(self.starts)[order])
        first = int(np.searchsorted(ends, begin, side="right"))
        return read_blocks(source, order[first:]), begin - (int(ends[first - 1]) if first else 0)


def _use_weights(trainer, stream, mean_weight):
    """Tell stream its mean weight -> (how many rows there are to train on, None if unknown; their numbers, None for all
    or where single rows cannot be had)."""
    by_data = one_of("weighting", trainer.weighting, WEIGHTINGS) == "data"
    stream.mean_weight = check_mean_weight(trainer, mean_weight)
    if not by_data or stream.weights is None:
        return stream.n, None
    if mean_weight is not None:
        stream.leaves_out = True
        return stream.n, None
    count, rows, chosen = stream.weigh()
    stream.leaves_out = chosen is None and count < rows
    return count, chosen if count < rows else None


def _with_weight(data, numbers):
    there = np.flatnonzero(data.weights)
    if len(there) == len(data):
        return data, numbers
    return part_of(data, there), np.asarray(numbers)[there]
