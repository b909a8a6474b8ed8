"""SIGINT at random moments of fit, and exceptions from callbacks: how soon they come out, and what they leave.

    python tests/stress/signals.py [ROUNDS]        200 of each by default

Each round trains a random network, is interrupted, and must have left exactly the parameters after a whole minibatch,
step of NaturalGradient, or iteration of LBFGS: a twin that trains on that many has the same bits, and both go on with
the same bits.
"""

import os
import random
import signal
import sys
import threading
import time

import all_rows
import numpy as np

from mlpfast import LBFGS, SGD, Adam, Network, Trainer

LONG = 10**9  # epochs: never reached
OPTIMIZERS = [lambda: SGD(lr=1e-3, momentum=0.9), lambda: Adam(1e-4), *all_rows.OPTIMIZERS]


def problem(seed):
    """(a function that makes the trainer, X, y): the same one whenever it is called."""
    r, numbers = random.Random(seed), np.random.default_rng(seed)
    n, n_in = r.choice([500, 5_000]), r.randint(1, 80)
    optimizer = OPTIMIZERS[seed // 2 % len(OPTIMIZERS)]
    takes_all = optimizer in all_rows.OPTIMIZERS
    if optimizer is LBFGS:  # it must not have converged before the signal comes
        n, n_in = 5_000, max(n_in, 40)
    X, y = numbers.normal(size=(n, n_in)).astype(np.float32), numbers.integers(3, size=n)
    sizes = [n_in, *(r.randint(1, 150) for _ in range(r.randint(0, 3))), 3]
    if optimizer is LBFGS:
        sizes[1:1] = [100]
    batch, threads = r.choice([1, 7, 64, n]), r.choice([None, 1, 2, 3])

    def trainer():
        dropout = 0.1 * (seed % 2 and not takes_all)
        net = Network(sizes, activation="tanh", output="softmax", seed=seed, dropout=dropout)
        return Trainer(net, optimizer=optimizer(), batch_size=None if takes_all else batch, shuffle=False, seed=seed,
                       threads=threads)

    return trainer, X, y


def train_exactly(trainer, X, y, steps):
    """Train a fresh trainer on its first `steps` minibatches, as epochs in the order of the rows."""
    epochs, rest = divmod(steps, -(-len(X) // (trainer.batch_size or len(X))))
    if epochs:
        trainer.fit(X, y, epochs=epochs)
    if rest:
        trainer.fit(X[: rest * trainer.batch_size], y[: rest * trainer.batch_size])
    return trainer


def same(one, other):
    pairs = zip(one.network.parameters, other.network.parameters, strict=True)
    return all(p.tobytes() == q.tobytes() for p, q in pairs)


def check(trainer, new, X, y):
    """Whether trainer is where a new one is after as many minibatches, and both go on alike."""
    twin = train_exactly(new(), X, y, trainer.steps)
    if not same(trainer, twin):
        return False
    for each in (trainer, twin):
        each.epoch = 0
        each.fit(X[:200], y[:200])
    return same(trainer, twin)


class SignalSoon:
    """A callback: as the first epoch begins, a clock starts that will send SIGINT."""

    def __init__(self, seconds):
        self.sent = None
        self.timer = threading.Timer(seconds, self.send)

    def send(self):
        self.sent = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)

    def on_epoch_begin(self, trainer, epoch):
        if epoch == 0:
            self.timer.start()


def interrupted(seed, again=False):
    """One round with SIGINT -> (seconds until fit raised, whether all was well).

    A step on all rows is counted by a line of Python of its own. The signal may come just before it, once.
    """
    new, X, y = problem(seed)
    trainer, soon = new(), SignalSoon(random.Random(-1 - seed).uniform(0, 0.06))
    try:
        trainer.fit(X, y, epochs=LONG, callbacks=[soon])
    except KeyboardInterrupt:
        seconds = time.perf_counter() - soon.sent
        well = check(trainer, new, X, y)
        if not well and not again and trainer.batch_size is None:
            uncounted = same(trainer, train_exactly(new(), X, y, trainer.steps + 1))
            well = uncounted and all(interrupted(seed, again=True)[1] for _ in range(4))
        return seconds, well
    finally:
        soon.timer.join()
    return 0.0, False


class Enough(Exception):
    pass


class Raises:
    def __init__(self, epoch, at):
        self.epoch, self.at = epoch, at

    def on_epoch_begin(self, trainer, epoch):
        self.at == "begin" and self.act(epoch)

    def on_epoch_end(self, trainer, epoch, logs):
        self.at == "end" and self.act(epoch)

    def act(self, epoch):
        if epoch == self.epoch:
            self.raised = time.perf_counter()
            raise Enough


def raised(seed):
    """One round with an exception from a callback -> (seconds until fit raised it, whether all was well)."""
    new, X, y = problem(seed)
    X, y = X[:300], y[:300]
    trainer, callback = new(), Raises(seed % 3, ("begin", "end")[seed // 3 % 2])
    try:
        trainer.fit(X, y, epochs=4, callbacks=[callback])
    except Enough:
        seconds = time.perf_counter() - callback.raised
        epochs = callback.epoch + (callback.at == "end")
        return seconds, trainer.epoch == epochs and check(trainer, new, X, y)
    return 0.0, False


def main(rounds):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, run in (("SIGINT", interrupted), ("exceptions from callbacks", raised)):
        results = [run(seed) for seed in range(rounds)]
        times = sorted(seconds for seconds, _ in results)
        good = sum(well for _, well in results)
        print(f"{name}: {good} of {rounds} left a whole step and went on; until the exception "
              f"p50 {1e3 * times[rounds // 2]:.1f} ms, p99 {1e3 * times[rounds * 99 // 100]:.1f} ms, "
              f"worst {1e3 * times[-1]:.1f} ms", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
