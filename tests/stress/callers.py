"""Many Python threads at once: each trains and predicts with a network of its own, and all predict with one they share.

    python tests/stress/callers.py [THREADS [CALLS]]        64 threads, 10,000 calls of each kind by default

Whatever the others do, each must get the bits it gets alone.
"""

import hashlib
import sys
import threading
import time

import all_rows
import numpy as np

from mlpfast import Adam, Network, Trainer

X = np.random.default_rng(0).normal(size=(64, 24)).astype(np.float32)
Y = np.arange(64) % 5
MANY_X, MANY_Y = np.tile(X, (17, 1)), np.tile(Y, 17)  # two chunks for the full-batch optimizers


class Caller:
    """The work of one thread, and its result."""

    def __init__(self, number, shared, calls):
        self.number, self.shared, self.calls, self.errors = number, shared, calls, []
        self.bits = hashlib.sha256()

    def run(self):
        try:
            self.work()
        except BaseException as error:
            self.errors.append(repr(error))

    def work(self):
        net = Network([24, 16 + self.number % 7, 5], output="softmax", seed=self.number)
        trainer = Trainer(net, optimizer=Adam(), seed=self.number, batch_size=8)
        out = np.empty((64, 5), np.float32)
        for call in range(self.calls):
            rows = slice(call % 50, call % 50 + 1 + call % 13)
            trainer.threads = 1 + (call % 20 == 19)
            self.bits.update(np.float64(trainer.step(X[rows], Y[rows])).tobytes())
            self.bits.update(net.predict(X[rows]).tobytes())
            self.bits.update(self.shared.predict(X[rows], out=out[: rows.stop - rows.start]).tobytes())
            if call % 20 == 19:
                trainer.fit(X, Y)
                self.bits.update(self.shared.predict(X, threads=2).tobytes())
            if call % 100 == 39:
                for taking_all in all_rows.trainers(net, threads=2):
                    taking_all.fit(MANY_X, MANY_Y, epochs=1)
        for p in net.parameters:
            self.bits.update(p.tobytes())


def run(count, calls):
    """(how many of `count` threads got the bits they get alone, what was raised)"""
    # Large enough that predicting several rows releases the GIL, and small enough that fewer rows keep it.
    shared = Network([24, 200, 200, 5], output="softmax", seed=99)
    together = [Caller(i, shared, calls) for i in range(count)]
    threads = [threading.Thread(target=caller.run) for caller in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = [Caller(i, shared, calls) for i in range(count)]
    for caller in alone:
        caller.run()
    good = sum(a.bits.digest() == b.bits.digest() for a, b in zip(together, alone, strict=True))
    return good, [error for caller in together + alone for error in caller.errors]


def main(count, calls):
    start = time.perf_counter()
    good, errors = run(count, calls)
    seconds = time.perf_counter() - start
    print(f"{count} threads, {calls} calls each of step, predict and predict of a shared network: {good} of {count} "
          f"with the bits they get alone, {len(errors)} errors {errors[:3]}, {seconds:.0f} s")


if __name__ == "__main__":
    sys.setswitchinterval(1e-5)
    given = [int(a) for a in sys.argv[1:]]
    main(*given, *(64, 10_000)[len(given) :])
