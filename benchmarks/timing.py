"""Comparable times: all programs in turn (A B C A B C ...), each with a warmup before its clock starts."""

import gc
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from mlpfast.benchmark import peak_gflops

from .cases import Case
from .settings import cores

# Waiting threads of other libraries spin for a while (OpenBLAS for some 30 ms). So a turn starts with at least this
# much untimed work: then they are idle, and the caches hold the data of this turn.
WARM_SECONDS = 0.05
LEAST_SECONDS = 0.05  # of timed work in a turn
MOST_CALLS = 20_000   # most single calls timed in a turn


class AllCores:
    """Keeps all cores busy before measurements.

    The cores of a virtual machine that was idle, or busy with one thread, may share one core of the host, and are
    separated only after a second or two of work on all of them. Otherwise results would depend on the previous program.
    """

    FIRST_SECONDS, MOST_SECONDS, ENOUGH = 3, 2, 0.9
    most = 0.0  # GFLOP/s of all cores, the best seen

    def wake(self):
        """Keep all cores busy until they reach together what they have reached before, or for two seconds."""
        start = time.perf_counter()
        limit = self.MOST_SECONDS if self.most else self.FIRST_SECONDS
        while time.perf_counter() - start < limit:
            now = peak_gflops(cores(), seconds=0.02)
            if limit == self.MOST_SECONDS and now >= self.ENOUGH * self.most:
                break
            self.most = max(self.most, now)


all_cores = AllCores()


def in_turn(turns, rounds):
    """{name: function -> a value, or several} -> {name: array (rounds, ...)}, by A B C A B C ..."""
    values = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            all_cores.wake()
            values[name].append(turn())
    return {name: np.array(row) for name, row in values.items()}


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


# ---- Training steps, in turn with the peak rate ----


@dataclass
class Times:
    """Results of timing training contenders. us: {name: (rounds,) us per step}; peak: (rounds,) GFLOP/s."""

    case: Case
    us: dict
    peak: np.ndarray

    def median(self, name):
        return float(np.median(self.us[name]))

    def best(self, name):
        return float(np.min(self.us[name]))

    def gflops(self, name):
        return float(np.median(self.case.flops() / self.us[name] / 1e3))

    def of_peak(self, name):
        """Per round, so that temporary slowness of the machine affects both."""
        return float(np.median(self.case.flops() / self.us[name] / 1e3 / self.peak))

    def ratio(self, name, other):
        """The time of name relative to other, per round."""
        return float(np.median(self.us[name] / self.us[other]))

    def raw(self):
        us = {name: values.tolist() for name, values in self.us.items()}
        return {"us a step": us, "peak GFLOP/s": self.peak.tolist()}


def us_a_step(contender, problem):
    contender.ready(problem.order(0))
    return 1e6 * seconds_of(contender.epoch) / problem.steps


def race(problem, contenders, rounds, threads=None):
    """Train all contenders in turn, {name: contender} on that problem or one of the same size -> Times.

    The peak of that many threads (all cores if None) in the problem's dtype is one of the turns.
    """
    peak = partial(peak_gflops, threads or cores(), problem.case.dtype)
    turns = {"peak": peak, **{name: partial(us_a_step, c, problem) for name, c in contenders.items()}}
    values = in_turn(turns, rounds)
    return Times(problem.case, {name: values[name] for name in contenders}, values["peak"])
