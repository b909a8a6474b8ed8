"""The settings of a benchmark run, given to every section."""

import os
import sys
import time
from dataclasses import dataclass, field

from .cases import CASES


def cores():
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@dataclass
class Settings:
    """quick: shorter epochs, fewer sizes, no torch.compile. mnist: folder of the MNIST files, or None."""

    cases: list = field(default_factory=lambda: list(CASES.values()))
    rounds: int = 9
    quick: bool = False
    only_mlpfast: bool = False
    mnist: str | None = None
    start: float = field(default_factory=time.perf_counter)

    def minibatches(self, case):
        """The number of minibatches in a timed epoch of that case."""
        return max(4, case.minibatches // 16) if self.quick else case.minibatches

    def chosen(self, names):
        """The named cases that were selected."""
        return [case for case in self.cases if case.name in names]

    def say(self, text):
        """Print progress."""
        print(f"[{time.perf_counter() - self.start:5.0f} s] {text}", file=sys.stderr, flush=True)
