"""Work on many items, shared with helping threads of Python's for as long as it lasts.

concurrent.futures would do for all but the rare: an executor waits for ever for a thread that dies at its birth for
want of memory, and in a process that a signal handler has forked, and refuses to work at the end of the interpreter.
"""

import _thread
import contextlib
from typing import Any

from . import _core
from ._fpmode import in_default_mode

AT_A_TIME = 8  # items for each thread, whose results are all in memory


def in_order(function, items, threads):
    """function(item) of each, in their order; an exception is that of the first item that has one.

    The calling thread works too. Where the system refuses helpers it works with fewer, and alone in a forked child.
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
        self.left = list(reversed(range(len(items))))  # pop takes the first of them, and no two threads the same
        self.done: list[Any] = [None] * len(items)  # (result,) or an exception
        self.helping = [False] * helpers
        self.bell = _thread.allocate_lock()  # open when a helper has ended
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
            # One that had no helper after all, who may be in the process that this one was forked from.
            yield self.function(self.items[k]) if done is None else done[0]

    def call_helpers(self):
        for number in range(len(self.helping)):
            try:
                _thread.start_new_thread(self.help, (number,))
            except RuntimeError:  # the system has no more
                return

    def await_helpers(self):
        """No thread is left at work, whatever happens to this one."""
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
            with contextlib.suppress(RuntimeError):  # open already
                self.bell.release()

    def work(self):
        while self.left:
            try:
                k = self.left.pop()
            except IndexError:  # another was faster
                return
            try:
                self.done[k] = (self.function(self.items[k]),)
            except Exception as error:
                self.done[k] = error
                self.left.clear()  # those before it have been begun
