"""A map over items on temporary Python threads.

concurrent.futures fails in rare cases: an executor waits forever for a thread that could not start for lack of memory,
or in a child forked by a signal handler, and it refuses work during interpreter shutdown.
"""

import _thread
import contextlib
from typing import Any

from . import _core
from ._fpmode import in_default_mode

AT_A_TIME = 8  # items per thread and round: their results are in memory at the same time


def in_order(function, items, threads):
    """Yields function(item) for each item in order; of several exceptions, raises that of the first item.

    The calling thread works too. If threads cannot be started it uses fewer, and in a forked child none.
    """
    threads = min(threads, len(items))
    if threads <= 1:
        yield from map(function, items)
        return
    for i in range(0, len(items), AT_A_TIME * threads):
        yield from _Shared(function, items[i : i + AT_A_TIME * threads], threads - 1).results()


class _Shared:
    def __init__(self, function, items, helpers):
        self.function, self.items = function, items
        self.left = list(reversed(range(len(items))))  # pop() is atomic and returns the first remaining item
        self.done: list[Any] = [None] * len(items)  # (result,) or an exception
        self.helping = [False] * helpers
        self.bell = _thread.allocate_lock()  # released when a helper has finished
        self.bell.acquire()
        self.forks = _core.forks()

    def results(self):
        try:
            self.call_helpers()
            self.work()
        finally:
            self.left.clear()
            self.await_helpers()
        for k, done in enumerate(self.done):
            if isinstance(done, Exception):
                raise done
            # None: a helper took the item, but exists only in the parent process.
            yield self.function(self.items[k]) if done is None else done[0]

    def call_helpers(self):
        for number in range(len(self.helping)):
            try:
                _thread.start_new_thread(self.help, (number,))
            except RuntimeError:  # no more threads available
                return

    def await_helpers(self):
        """Wait until no helper is running, even if this thread is interrupted."""
        try:
            while self.is_helped():
                self.bell.acquire(timeout=0.05)
        except BaseException:  # an interrupt
            self.await_helpers()
            raise

    def is_helped(self):
        return any(self.helping) and self.forks == _core.forks()

    @in_default_mode
    def help(self, number):
        self.helping[number] = True
        try:
            self.work()
        finally:
            self.helping[number] = False
            with contextlib.suppress(RuntimeError):  # already released
                self.bell.release()

    def work(self):
        while self.left:
            try:
                k = self.left.pop()
            except IndexError:  # another thread took the last item
                return
            try:
                self.done[k] = (self.function(self.items[k]),)
            except Exception as error:
                self.done[k] = error
                self.left.clear()  # all earlier items have been started
