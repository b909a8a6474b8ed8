"""SIGKILL at random moments of a training that saves checkpoints: each time the file loads, and the run that goes on
from it ends with the bits of one that was never killed.

    python tests/stress/kill.py [1000] [seed]

One of four kinds of training, with another number of threads each time, is begun again after each kill until it ends.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import mlpfast
from mlpfast import SGD, Adam, Network, Trainer, callbacks, datasets, schedules

FILE = "run.safetensors"


def training(kind, threads=None):
    """(Trainer, arguments of fit but epochs and resume), the same ones each time."""
    X, y = datasets.load_digits()
    net = Network([64, 48, 32, 10], output="softmax", dropout=0.2 if kind % 2 else 0.0, seed=kind, input_scale=1 / 16)
    plateau = schedules.ReduceOnPlateau(0.05, factor=0.5, patience=1, min_delta=0.02)
    optimizer = [SGD(plateau, momentum=0.9), Adam(schedules.Cosine(0.01, 600, per="step")), SGD(lr=0.1),
                 SGD(schedules.Warmup(3, plateau), momentum=0.5)][kind]
    trainer = Trainer(net, optimizer=optimizer, batch_size=24, seed=kind, threads=threads)
    stopping = callbacks.EarlyStopping(patience=3, min_delta=0.005)
    own = [stopping, callbacks.LearningRateLogger()]
    return trainer, {"X": X, "y": y, "validation_split": 0.25, "callbacks": own}


EPOCHS = 12


def finish(kind, path, threads=None, seconds=None, between=0.0):
    """Train, or go on, to the end."""
    trainer, given = training(kind, threads)
    checkpoint = callbacks.Checkpoint(path, every=1, seconds=seconds)
    pause = Pause(between)
    trainer.fit(**{**given, "callbacks": [*given["callbacks"], pause, checkpoint]}, epochs=EPOCHS, resume=path)
    return trainer


class Pause:
    """Makes epochs longer, so that there is time to be killed in."""

    every_batches = 5

    def __init__(self, seconds):
        self.seconds = seconds

    def on_batch_end(self, trainer, epoch, batch, logs):
        time.sleep(self.seconds)


def outcome(trainer):
    """What must be the same: parameters, History and state."""
    state = [array.tobytes() for name in trainer.optimizer.states for array in trainer.state[name]]
    return [p.tobytes() for p in trainer.network.parameters], dict(trainer.history), trainer.steps, state


# ---- Killing ----


def spawned(kind, path, threads, seconds):
    """A process that trains, killed so many seconds after it has begun -> whether it had not ended."""
    command = [sys.executable, __file__, "train", str(kind), path, str(threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # "begun"
        time.sleep(seconds)
        process.kill()
    return process.returncode == -signal.SIGKILL


def forked(kind, path, threads, seconds):
    """The same, without the time that Python and NumPy take to begin."""
    process = os.fork()
    if process == 0:
        try:
            train(kind, path, threads)
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def train(kind, path, threads):
    finish(kind, path, threads, seconds=0.02, between=0.001)


def killed_until_done(kind, folder, draw, kills, begin, most):
    """Kill the training up to so many times -> (kills that hit, what is wrong or None)."""
    path, hits = os.path.join(folder, FILE), 0
    while hits < kills:
        if not begin(kind, path, draw.choice((1, 2)), draw.random() * most):
            break
        hits += 1
        if os.path.exists(path):
            try:
                mlpfast.load_trainer(path)
            except Exception as error:
                return hits, f"kill {hits}: {error!r}"
    if outcome(finish(kind, path)) != uninterrupted(kind):
        return hits, "other bits than the run that was not killed"
    left = set(os.listdir(folder)) - {FILE}
    return hits, f"left {left}" if left else None


_known: dict = {}


def uninterrupted(kind):
    if kind not in _known:
        with tempfile.TemporaryDirectory() as folder:
            _known[kind] = outcome(finish(kind, os.path.join(folder, FILE)))
    return _known[kind]


def run(kills, seed=0, folder=None, begin=spawned, most=0.35):
    """(kills that hit, [what went wrong])"""
    draw, hits, wrong = random.Random(seed), 0, []
    for number in itertools.count():
        if hits >= kills:
            return hits, wrong
        with tempfile.TemporaryDirectory(dir=folder) as own:
            kind = number % 4
            more, problem = killed_until_done(kind, own, draw, min(kills - hits, 10), begin, most)
            hits += more
            if problem:
                wrong.append(f"kind {kind}: {problem}")


def main(kills=1000, seed=0):
    start = time.perf_counter()
    hits, wrong = run(kills, seed)
    print(f"{hits} kills, {len(wrong)} wrong, {time.perf_counter() - start:.0f} s", *wrong, sep="\n")
    return not wrong


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        kind, path, threads = sys.argv[2:]
        print("begun", flush=True)
        train(int(kind), path, int(threads))
    else:
        sys.exit(not main(*map(int, sys.argv[1:])))
