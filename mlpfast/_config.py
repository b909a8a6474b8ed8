"""Version, threads and what the library was built with."""

import platform
import sys

import numpy as np

from . import _core
from ._scalars import whole_number

__version__ = "0.1.0"

MOST_THREADS = 256  # as in csrc/team.c

_most_threads = None  # what set_num_threads was given


def get_num_threads():
    """The largest number of threads a call takes by itself: what set_num_threads was given, else OpenMP's default
    (OMP_NUM_THREADS, or all processors), but no more than this process may use by its affinity and, in a container, its
    CPU quota."""
    return _most_threads or _core.max_threads()


def set_num_threads(n):
    """Let calls without a `threads` argument of their own take at most n threads; None restores the default.

    Small jobs take fewer. The number of threads never changes a result.
    """
    global _most_threads
    _most_threads = None if n is None else whole_number("n", n, least=1, most=MOST_THREADS)


def checked_threads(threads):
    """A `threads` argument as the core takes it: n > 0 is n; None leaves it to the work, up to what set_num_threads was
    given (a negative number) or to what OpenMP would take (0)."""
    if threads is None:
        return -(_most_threads or 0)
    return whole_number("threads", threads, least=1, most=MOST_THREADS)


def show_config(mode="stdout"):
    """Print how mlpfast was built and what it uses here; with mode="dicts" return it as a dict instead."""
    if mode not in ("stdout", "dicts"):
        raise ValueError(f'mode must be "stdout" or "dicts", got {mode!r}')
    config = {
        "version": __version__,
        "isa": _core.isa(),
        "isa_available": _core.isa_available(),
        "openmp": _core.has_openmp(),
        "processors": _core.processors(),  # that this process may use
        "threads": get_num_threads(),
        "compiler": _core.compiler(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
    }
    if mode == "dicts":
        return config
    import json  # here, because importing mlpfast should cost next to nothing

    print(json.dumps(config, indent=2))
