"""Forked children train and predict on threads of their own, with the parent's bits, and parent and children go on.

    python tests/stress/forks.py [--forks 1000] [--seconds 20]

Each way of forking gets its share; a child that has not answered after that many seconds is hung, and killed. Prints a
line for each way and one for all; the exit code is 0 if every fork went well.
"""

import argparse
import hashlib
import multiprocessing
import os
import platform
import select
import signal
import sys
import threading
import warnings
from contextlib import contextmanager, nullcontext

os.environ.setdefault("MLPFAST_OVERSUBSCRIBE", "1")  # two threads even on one processor

import all_rows
import numpy as np

import mlpfast
from mlpfast import Network, Trainer

X = np.linspace(-1, 1, 500 * 64, dtype=np.float32).reshape(500, 64)
y = np.arange(500) % 10
many = np.tile(X[:, :9], (3, 1)), np.tile(y, 3)  # two chunks for the full-batch optimizers
WELL = b"well"


def train_on_all_rows(threads):
    """With each optimizer that does, in threads of Python's; small, since plain C is slow."""
    net = Network([9, 6, 10], output="softmax", seed=0)
    for taking_all in all_rows.trainers(net, threads=threads):
        taking_all.fit(*many, epochs=1)
    return net


def work():
    """A digest of what training and predicting on two threads, and on as many as they like, give."""
    digest = hashlib.sha256()
    for threads in (2, None):
        net = Network([64, 96, 10], output="softmax", seed=0)
        Trainer(net, seed=0, threads=threads).fit(X, y)
        small = train_on_all_rows(threads)
        for array in [*small.parameters, *net.parameters, net.predict(X, threads=threads)]:
            digest.update(array.tobytes())
    return digest.hexdigest()


def threads_now():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None


shared = []  # networks that other threads of the parent are training


def answer(expected):
    """In a child: returns b"well", or a description of the failure."""
    try:
        if work() != expected:
            return b"other bits"
        if mlpfast.show_config("dicts")["threading"] != "none" and threads_now() == 1:
            return b"no threads of its own"
        for net in shared:
            Trainer(net, seed=0, threads=2).step(X, y)
        return WELL
    except BaseException as error:
        return repr(error).encode()


def fork(child, seconds):
    """What child() -> bytes answers in a forked process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        said = b"died"
        try:
            said = child()
        finally:
            os.write(writer, said)
            os._exit(0)
    os.close(writer)
    said = b""
    while select.select([reader], [], [], seconds)[0]:
        part = os.read(reader, 4096)
        said += part
        if not part:
            break
    else:
        said = b"hung"
        os.kill(pid, signal.SIGKILL)
    os.close(reader)
    status = os.waitpid(pid, 0)[1]
    return said if said == b"hung" or status == 0 else b"exit status %d" % status


# ---- the ways of forking: (expected digest, seconds) -> an answer


def plain(expected, seconds):
    return fork(lambda: answer(expected), seconds)


def twice(expected, seconds):
    """A child's child, and the child after it."""
    def child():
        said = answer(expected)
        said = fork(lambda: answer(expected), seconds / 2) if said == WELL else said
        return answer(expected) if said == WELL else said

    return fork(child, seconds)


def in_another_thread(function):
    said = []
    thread = threading.Thread(target=lambda: said.append(function()))
    thread.start()
    thread.join()
    return said[0]


def from_a_thread(expected, seconds):
    """The thread that forks has never had helpers; the main thread has."""
    return in_another_thread(lambda: plain(expected, seconds))


def from_a_thread_at_work(expected, seconds):
    """It has called on threads of its own, and ends after the fork, in parent and child."""
    def run():
        work()
        return plain(expected, seconds)

    return in_another_thread(run)


def spawned(expected, answers):
    answers.send_bytes(answer(expected))


def by_multiprocessing(expected, seconds):
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=spawned, args=(expected, sender))
    process.start()
    said = receiver.recv_bytes() if receiver.poll(seconds) else b"hung"
    if said == b"hung":
        process.kill()
    process.join()
    return said if process.exitcode == 0 or said == b"hung" else b"exit code %d" % process.exitcode


@contextmanager
def others_training():
    """Two other threads train meanwhile, each a network of its own, in minibatches and on all rows at once."""
    over, begun = threading.Event(), threading.Barrier(3)

    def train(net):
        trainer = Trainer(net, seed=0, threads=2, batch_size=100)
        begun.wait()
        while not over.is_set():
            trainer.fit(X, y, epochs=3)
            train_on_all_rows(2)

    shared[:] = [Network([64, 256, 256, 10], output="softmax", seed=i) for i in range(2)]
    threads = [threading.Thread(target=train, args=(net,)) for net in shared]
    for thread in threads:
        thread.start()
    begun.wait()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        shared.clear()


WAYS = {  # name: (function, what runs in the parent meanwhile)
    "fork": (plain, nullcontext),
    "fork of a fork": (twice, nullcontext),
    "fork in a thread": (from_a_thread, nullcontext),
    "fork in a thread that has trained": (from_a_thread_at_work, nullcontext),
    "multiprocessing": (by_multiprocessing, nullcontext),
    "fork while others train": (plain, others_training),
    "multiprocessing while others train": (by_multiprocessing, others_training),
}


def run(count, seconds):
    """Runs that many forks; returns how many succeeded."""
    expected = work()
    well = done = 0
    for number, (name, (way, meanwhile)) in enumerate(WAYS.items(), 1):
        share = count * number // len(WAYS) - done
        with meanwhile():
            answers = [fork_and_go_on(way, expected, seconds) for _ in range(share)]
        bad = [said.decode(errors="replace") for said in answers if said != WELL]
        print(f"{name}: {share - len(bad)} of {share}" + (f", e.g. {bad[0]}" if bad else ""), flush=True)
        well, done = well + share - len(bad), done + share
    return well


def fork_and_go_on(way, expected, seconds):
    said = way(expected, seconds)
    return said if said != WELL or work() == expected else b"the parent got other bits"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forks", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    well = run(options.forks, options.seconds)
    config = mlpfast.show_config("dicts")
    print(f"forks: {well} of {options.forks} went well ({config['compiler']}, {config['isa']}, "
          f"threads from {config['threading']}, Python {platform.python_version()})")
    return 0 if well == options.forks else 1


if __name__ == "__main__":
    sys.exit(main())
