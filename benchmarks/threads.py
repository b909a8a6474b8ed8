"""Threads: scaling, two programs at the same time, and idle threads."""

import subprocess
import sys
import threading
import time

import numpy as np

from . import ROOT
from .calls import no_garbage_collection
from .cases import CASES, Problem
from .contenders.ours import Mlpfast
from .report import Section
from .settings import cores
from .timing import race

MANY = (4, 16)
QUICK_CASES = ["tiny", "mnist", "keras"]


def counts(settings):
    """Every case with each number of threads up to the cores, the default, and more threads than cores."""
    fixed = range(1, cores() + 1)
    names = {threads: f"{threads} thread{'s'[: threads > 1]}" for threads in sorted({*fixed, *MANY})}
    columns = ["case", "default, us", *(f"{name}, us" for name in names.values()), "default / best"]
    section = Section("threads", "Threads: us a step", columns)
    for case in settings.chosen(QUICK_CASES) if settings.quick else settings.cases:
        settings.say(f"threads: {case.name}")
        problem = Problem.random(case, settings.minibatches(case))
        makers = {"default": None, **{name: threads for threads, name in names.items()}}
        made = {name: Mlpfast(problem, threads=threads) for name, threads in makers.items()}
        times = race(problem, made, settings.rounds)
        best = min((names[threads] for threads in fixed), key=times.median)
        ratio = times.ratio("default", best)
        section.rows.append([case.name, *(times.median(name) for name in made), ratio])
        section.figure(case.name, "default / best", ratio)
        for threads in MANY:
            section.figure(case.name, f"{threads} threads / best", times.ratio(names[threads], best))
        section.raw[case.name] = times.raw()
    section.notes.append(f"best: the best number of threads from 1 to {cores()}, the cores")
    if settings.quick:
        section.notes.append(f"--quick: of the cases {', '.join(QUICK_CASES)} those that were asked for")
    return section


# ---- Two at once ----

CASE, THREADS = CASES["mnist"], 2  # two processes with two threads each


def sharing(settings):
    columns = ["what", "seconds at once", "fair share, s", "time at once / fair share"]
    section = Section("sharing", "Sharing the cores", columns)
    epochs = 4 if settings.quick else 8
    rounds = min(settings.rounds, 5)
    for name, measure in [("two processes", processes), ("two Python threads", python_threads)]:
        settings.say(f"sharing: {name}")
        pairs = np.array([measure(epochs) for _ in range(rounds)])
        add_pairs(section, name, pairs)
    settings.say("sharing: two Python threads of one thread each")
    pairs = np.array([python_threads(epochs, threads=1) for _ in range(rounds)])
    pairs[:, 1] /= min(2, cores())
    add_pairs(section, "two Python threads, threads=1", pairs)

    settings.say("sharing: an idle process")
    idle = [float(worker("idle").communicate()[0]) for _ in range(min(rounds, 3))]
    section.figure("idle after fit", "of a core", float(np.median(idle)))
    section.raw["idle after fit"] = idle
    section.notes += [
        f"{CASE.describe()}, {epochs} epochs of {CASE.minibatches} steps",
        "two processes ask for two threads each; their fair share is twice the time of one alone",
        "two Python threads train a network each, with the default choice of threads; their fair share is the time of "
        "one after the other. With threads=1 it is that time divided by the cores",
        f"idle after fit: {np.median(idle):.4f} of a core, over a second",
    ]
    return section


def add_pairs(section, name, pairs):
    """pairs (rounds, 2): seconds at once, fair share."""
    ratio = float(np.median(pairs[:, 0] / pairs[:, 1]))
    section.rows.append([name, float(np.median(pairs[:, 0])), float(np.median(pairs[:, 1])), ratio])
    section.figure(name, "time at once / fair share", ratio)
    section.raw[name] = pairs.tolist()


def worker(*arguments):
    """Another process that runs benchmarks.worker."""
    command = [sys.executable, "-m", "benchmarks.worker", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def processes(epochs):
    """(seconds of two at once, twice the seconds of one alone)."""
    alone = max(seconds_of_workers(1, epochs))
    return max(seconds_of_workers(2, epochs)), 2 * alone


def seconds_of_workers(n, epochs):
    running = [worker("train", CASE.name, THREADS, epochs) for _ in range(n)]
    for process in running:
        assert process.stdout.readline() == "ready\n", "a worker did not start"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [float(process.communicate()[0]) for process in running]


def python_threads(epochs, threads=None):
    """(seconds of two networks in two Python threads, seconds of one after the other)."""
    problem = Problem.random(CASE)
    pair = [Mlpfast(problem, threads=threads) for _ in range(2)]

    def train(contender, epochs=epochs):
        for _ in range(epochs):
            contender.epoch()

    for contender in pair:
        train(contender, 1)
    with no_garbage_collection():
        start = time.perf_counter()
        for contender in pair:
            train(contender)
        between = time.perf_counter()
        at_work = [threading.Thread(target=train, args=[contender]) for contender in pair]
        for thread in at_work:
            thread.start()
        for thread in at_work:
            thread.join()
        end = time.perf_counter()
    return end - between, between - start
