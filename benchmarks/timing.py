"""Comparable times: all programs in turn (A B C A B C ...)."""

import time
from dataclasses import dataclass
from functools import partial

import numpy as np

from mlpfast.benchmark import peak_gflops

from .calls import seconds_of
from .cases import Case
from .settings import cores


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
