"""An iterator that runs ahead in a thread of its own, by one item."""

import queue
import threading

from . import _core
from ._fpmode import in_default_mode

LOOK_SECONDS = 0.1  # how often a waiting caller looks whether the thread is there at all
LEAVE_SECONDS = 0.05  # how long to wait for a thread after an exception: a source may block for ever


class Ahead:
    """begin(ahead) -> the iterator, a generator, which should end soon once ahead.stopped.

    The iterator goes on after an item as soon as that has been taken, so that it may use two buffers in turn; after
    None, which is an item without memory, at once. Without memory for a thread it runs in the caller's.
    """

    def __init__(self, begin):
        self.stopped, self.forks = False, _core.forks()
        self.items = begin(self)
        self.made: queue.SimpleQueue = queue.SimpleQueue()
        self.taken: queue.SimpleQueue = queue.SimpleQueue()
        self.thread: threading.Thread | None = threading.Thread(target=self.run, name="mlpfast-reader", daemon=True)
        try:
            self.thread.start()
        except RuntimeError:  # no more threads available
            self.thread = None

    @in_default_mode
    def run(self):
        try:
            for item in self.items:
                self.made.put((item, None))
                if item is not None:
                    self.taken.get()
                if self.stopped:
                    break
            self.items.close()
        except BaseException as error:  # also a KeyboardInterrupt that a generator of the caller's raises
            self.made.put((None, error))
        else:
            self.made.put((None, None))

    def is_here(self):
        """Whether its thread can run: a forked child does not have it."""
        return self.forks == _core.forks()

    def take(self):
        """The next item; None at the end, and in a forked child, see is_here. Raises the iterator's exception. Signals
        are handled while it waits."""
        if self.thread is None:
            return next(self.items, None)
        while self.is_here():
            try:
                item, error = self.made.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if error is not None:
                raise error
            if item is not None:
                self.taken.put(None)
            return item
        return None

    def close(self, patient):
        """End the iterator, and wait for the thread: if patient for the block it is reading, else a moment, after which
        it ends by itself as soon as the source returns."""
        self.stopped = True
        if self.thread is None:
            self.items.close()
        elif self.is_here():
            self.taken.put(None)
            self.thread.join(LEAVE_SECONDS)
            while patient and self.thread.is_alive():
                self.thread.join(LOOK_SECONDS)


def each_ahead(begin):
    """The items of an iterator as of Ahead, which is closed at the end."""
    ahead, patient = Ahead(begin), False
    try:
        while True:
            item = ahead.take()
            if item is None:
                if not ahead.is_here():
                    raise RuntimeError("a source cannot be read on in a child that was forked while it was being read")
                patient = True
                return
            yield item
    finally:
        ahead.close(patient)


def in_a_thread(function):
    """function(ahead), which is not None, computed by another thread, so that signals are handled meanwhile."""

    def once(ahead):
        yield function(ahead)

    (result,) = each_ahead(once)
    return result
