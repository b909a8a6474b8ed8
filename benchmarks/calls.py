"""The time of a call, after a warmup. Nothing of mlpfast is imported: other libraries can be timed without it."""

import gc
import time
from contextlib import contextmanager

import numpy as np

# Waiting threads of other libraries spin for a while (OpenBLAS for some 30 ms). So a turn starts with at least this
# much untimed work: then they are idle, and the caches hold the data of this turn.
WARM_SECONDS = 0.05
LEAST_SECONDS = 0.05  # of timed work in a turn
MOST_CALLS = 20_000   # most single calls timed in a turn


@contextmanager
def no_garbage_collection():
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def run_for(work, seconds):
    """Call work until that time has passed, at least once -> (seconds, calls)."""
    start, calls = time.perf_counter(), 0
    while True:
        work()
        calls += 1
        spent = time.perf_counter() - start
        if spent >= seconds:
            return spent, calls


def seconds_of(work, least=LEAST_SECONDS):
    """Seconds a call of work takes: the mean over enough calls."""
    with no_garbage_collection():
        run_for(work, WARM_SECONDS)
        seconds, calls = run_for(work, least)
    return seconds / calls


def percentiles_of_calls(work, seconds=0.3):
    """(p50, p99) of single calls in us. Reading the clock, some 0.05 us, is part of each."""
    clock, ends = time.perf_counter_ns, []
    with no_garbage_collection():
        _, calls = run_for(work, WARM_SECONDS)
        calls = int(min(MOST_CALLS, max(100, calls * seconds / WARM_SECONDS)))
        for _ in range(calls):
            start = clock()
            work()
            ends.append(clock() - start)
    return np.percentile(ends, [50, 99]) / 1e3
