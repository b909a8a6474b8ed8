"""The peak arithmetic rate of the machine, as a limit for measured speeds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from . import _core
from ._config import MOST_THREADS, get_num_threads
from ._scalars import float_dtype, real_number, whole_number

__all__ = ["peak_gflops"]

if TYPE_CHECKING:
    import numpy.typing as npt


def peak_gflops(threads: int | None = None, dtype: npt.DTypeLike = "float32", *, seconds: float = 0.05) -> float:
    """The peak rate of this machine in GFLOP/s (10^9 floating-point operations per second) for fused multiply-adds.

    threads: number of threads, at most that of processors; None: get_num_threads().
    dtype: "float32" or "float64". The instruction set is the one in use (see show_config).
    seconds: duration of the measurement, whose result is the best of many rounds of about 50 us.

    A multiply-add counts as two operations: a product of (B, n_in) with (n_in, n_out) has 2 B n_in n_out.

    ValueError or TypeError for an argument that does not fit.

    >>> import mlpfast
    >>> mlpfast.benchmark.peak_gflops(threads=1, seconds=0.001) > 0.1
    True
    """
    threads = get_num_threads() if threads is None else whole_number("threads", threads, least=1, most=MOST_THREADS)
    dtype = float_dtype(dtype)
    end = time.perf_counter() + real_number("seconds", seconds, above=0)
    best = 0.0
    while (left := end - time.perf_counter()) > 0 or best == 0:  # in short calls, to respond to Ctrl-C
        best = max(best, _core.peak_flops(dtype, threads, min(max(left, 0), 0.1)))
    return best / 1e9
