"""The child processes of threads.py and neighbours.py.

    train CASE THREADS EPOCHS    prints "ready", waits for a line, trains, prints the seconds it took
    forever                      prints "ready" and trains until it is killed
    idle                         trains, then prints the CPU usage of an idle second, as a fraction of a core
"""

import sys
import time

from .cases import CASES, Problem
from .contenders.ours import Mlpfast


def train(name, threads, epochs):
    contender = Mlpfast(Problem.random(CASES[name]), threads=int(threads))
    contender.epoch()
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    for _ in range(int(epochs)):
        contender.epoch()
    print(time.perf_counter() - start)


def idle():
    contender = Mlpfast(Problem.random(CASES["mnist"]))
    contender.epoch()
    start, used = time.perf_counter(), time.process_time()
    time.sleep(1)
    print((time.process_time() - used) / (time.perf_counter() - start))


def forever():
    from .neighbours import EPOCH, our_training

    work = our_training(EPOCH, None)
    print("ready", flush=True)
    while True:
        work()


if __name__ == "__main__":
    {"train": train, "forever": forever, "idle": idle}[sys.argv[1]](*sys.argv[2:])
