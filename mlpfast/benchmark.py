"""The limit that speeds are measured against."""

import time

from . import _core
from ._config import MOST_THREADS, get_num_threads
from ._scalars import float_dtype, real_number, whole_number


def peak_gflops(threads=None, dtype="float32", *, seconds=0.05):
    """The most GFLOP/s (10^9 floating-point operations a second) this machine reaches with fused multiply-adds alone.

    threads: running at once, never more than there are processors; None takes as many as get_num_threads().
    dtype: "float32" or "float64". The instruction set is the one in use (see show_config).
    seconds: how long to try; the best of many rounds of some 50 us counts.

    A multiply-add counts as two operations. A layer's product of (B, n_in) with (n_in, n_out) is 2 B n_in n_out.
    """
    threads = get_num_threads() if threads is None else whole_number("threads", threads, least=1, most=MOST_THREADS)
    dtype = float_dtype(dtype)
    end = time.perf_counter() + real_number("seconds", seconds, above=0)
    best = 0.0
    while (left := end - time.perf_counter()) > 0 or best == 0:  # in pieces, so that Ctrl-C is answered
        best = max(best, _core.peak_flops(dtype, threads, min(max(left, 0), 0.1)))
    return best / 1e9
