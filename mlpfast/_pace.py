"""How many minibatches to let pass between two looks at the clock."""

import time

SECONDS = 0.05  # as often as the core looks for Ctrl-C
MOST = 2**30


class Pace:
    """.stride minibatches take about SECONDS: it doubles while they take less than half of it, and halves when they
    take more than twice as long. It starts with 1."""

    def __init__(self):
        self.stride, self.last = 1, None

    def start(self):
        """The minibatches of the stride begin now."""
        self.last = time.monotonic()

    def look(self):
        """They are done -> the time."""
        now = time.monotonic()
        took = now - (now if self.last is None else self.last)
        if took < SECONDS / 2:
            self.stride = min(2 * self.stride, MOST)
        elif took > 2 * SECONDS:
            self.stride = max(self.stride // 2, 1)
        self.last = now
        return now
