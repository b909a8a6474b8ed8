"""Version, number of threads, and build configuration."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any, Literal, overload

import numpy as np

from . import _core
from ._scalars import whole_number

__version__ = f"{_core.VERSION // 10**6}.{_core.VERSION // 1000 % 1000}.{_core.VERSION % 1000}"  # of csrc/mlpfast.h

MOST_THREADS = 256  # as in csrc/threads.h

_most_threads = None  # the argument of set_num_threads


def get_num_threads() -> int:
    """The largest number of threads of a call without `threads`: the limit of set_num_threads, else OpenMP's default
    (OMP_NUM_THREADS, or all processors), limited by the process's CPU affinity and, in a container, its CPU quota.

    >>> import mlpfast
    >>> mlpfast.set_num_threads(1)
    >>> mlpfast.get_num_threads()
    1
    >>> mlpfast.set_num_threads(None)
    """
    return _most_threads or _core.max_threads()


def set_num_threads(n: int | None) -> None:
    """Limit calls without a `threads` argument to n threads; None restores the default.

    Small jobs use fewer. The number of threads does not affect results.

    n is from 1 to 256, else ValueError or TypeError.

    >>> import mlpfast
    >>> mlpfast.set_num_threads(2)
    >>> mlpfast.get_num_threads()
    2
    >>> mlpfast.set_num_threads(None)
    """
    global _most_threads
    _most_threads = None if n is None else whole_number("n", n, least=1, most=MOST_THREADS)


def checked_threads(threads: int | None) -> int:
    """A `threads` argument in the core's form: n > 0 is n; None depends on the amount of work, limited by
    set_num_threads (encoded as a negative number) or by OpenMP's default (0)."""
    if threads is None:
        return -(_most_threads or 0)
    return whole_number("threads", threads, least=1, most=MOST_THREADS)


def get_include() -> str:
    """The folder of mlpfast.h, for programs in C, C++ and Cython.

    FileNotFoundError if mlpfast was installed without its C library.

    >>> import os
    >>> import mlpfast
    >>> "mlpfast.h" in os.listdir(mlpfast.get_include())
    True
    """
    return _installed("include", "mlpfast")


def get_library_dir() -> str:
    """The folder of the static library libmlpfast.a, with pkgconfig/mlpfast.pc and cmake/mlpfast in it.

    FileNotFoundError if mlpfast was installed without its C library.

    >>> import os
    >>> import mlpfast
    >>> "libmlpfast.a" in os.listdir(mlpfast.get_library_dir())
    True
    """
    return _installed("lib")


def _installed(*names):
    folder = os.path.join(os.path.dirname(__file__), *names)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"mlpfast was installed without its C library: there is no folder {folder!r}")
    return folder


def compiler_flags() -> tuple[list[str], list[str]]:
    """([flags to compile a C program], [flags to link it]); those of the system's libraries are in mlpfast.pc."""
    folder = get_library_dir()
    with open(os.path.join(folder, "pkgconfig", "mlpfast.pc"), encoding="utf-8") as file:
        (libs,) = [line.removeprefix("Libs: ").split() for line in file if line.startswith("Libs: ")]
    return [f"-I{get_include()}"], [f"-L{folder}", *libs[1:]]


def slow(config: dict[str, Any]) -> list[str]:
    """What makes this build slow, a line for each."""
    lines = []
    if config["isa_available"] == ["generic"]:
        lines.append("kernels in plain C alone, which are several times slower: this machine, or this build, has no "
                     "others")
    if config["threading"] == "none":
        lines.append("no threads: mlpfast was built without OpenMP and pthreads")
    return lines


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, Any]: ...
def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Print the build and run-time configuration as JSON; with mode="dicts" return it as a dict instead. ValueError for
    another mode than "stdout" and "dicts".

    >>> import mlpfast
    >>> config = mlpfast.show_config(mode="dicts")
    >>> config["version"] == mlpfast.__version__
    True
    >>> list(config)
    ['version', 'isa', 'isa_available', 'threading', 'processors', 'threads', 'compiler', 'numpy', 'python', 'platform']
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f'mode must be "stdout" or "dicts", got {mode!r}')
    config = {
        "version": __version__,
        "isa": _core.isa(),
        "isa_available": _core.isa_available(),
        "threading": _core.threading(),  # "openmp", "pthreads", "windows" or "none"
        "processors": _core.processors(),  # that this process may use
        "threads": get_num_threads(),
        "compiler": _core.compiler(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
    }
    if mode == "dicts":
        return config
    import json  # here, to keep the import of mlpfast fast

    print(json.dumps(config, indent=2))
    return None
