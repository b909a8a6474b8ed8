"""Fixtures of the pytest suite: checks results, measures times, and notes the work that they are for."""

from functools import cache

import pytest

import mlpfast


@cache
def peak(threads, dtype):
    return mlpfast.benchmark.peak_gflops(threads, dtype, seconds=0.2)


@pytest.fixture
def note(benchmark):
    """note(threads, flops=..., bytes=..., dtype=...): the work of a call, for extra_info."""

    def note(threads, *, flops=0, moved=0, dtype="float32"):
        info = benchmark.extra_info
        info.update(threads=threads, ISA=mlpfast.show_config(mode="dicts")["isa"])
        if not benchmark.stats:  # with --benchmark-disable nothing is timed
            return
        seconds = benchmark.stats["median"]
        if moved:
            info["GB/s"] = round(moved / seconds / 1e9, 2)
        if flops:
            info["GFLOP/s"] = round(flops / seconds / 1e9, 2)
            cores = threads if isinstance(threads, int) else mlpfast.get_num_threads()
            info["of peak"] = round(flops / seconds / 1e9 / peak(cores, dtype), 3)

    return note


@pytest.fixture
def one_blas_thread():
    """NumPy's BLAS on one thread, as the kernels are -> the number of threads to note."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield "as BLAS likes"
        return
    with threadpool_limits(1, user_api="blas"):
        yield 1
