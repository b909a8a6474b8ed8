"""Calls beside other threads, processes and limits, with the default number of threads and with one, in turns.

`python -m benchmarks.neighbours [WORD ...]` measures the situations whose names have one of these words, all of them
in some three minutes.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np

from mlpfast import SGD, Trainer, _core

from . import report
from .calls import no_garbage_collection
from .cases import SEED, Case, Problem
from .quota import Unavailable, quota
from .settings import Settings
from .threads import worker

# ---- The work: a function without arguments for each program ----

STEP = Case("step", (784, 128, 10), 64, 1)
EPOCH = Case("epoch", (64, 128, 10), 64, 64)
FEW_ROWS = Case("few rows", (784, 256, 128, 10), 10, 1)
MANY_ROWS = Case("many rows", (64, 128, 10), 4096, 1)


def our_training(case, threads):
    problem = Problem.random(case, lr=1e-6)  # small: the same minibatch again and again
    trainer = Trainer(case.network(), case.loss, SGD(lr=problem.lr), batch_size=case.batch, seed=SEED, threads=threads)
    if problem.steps == 1:
        return partial(trainer.step, problem.X, problem.y)
    return partial(trainer.fit, problem.X, problem.y)


def our_prediction(case, threads):
    problem, network = Problem.random(case), case.network()
    out = np.empty((len(problem.X), network.n_out), network.dtype)
    return partial(network.predict, problem.X, out=out, threads=threads)


def with_torch(case):
    """PyTorch with its own threads, eager; None where it is not installed."""
    try:
        from .contenders import with_torch as module
    except ImportError:
        return None
    problem = Problem.random(case, lr=1e-6)
    if case in PREDICTED:
        return module.servers(problem)["PyTorch"]
    contender = module.Torch(problem)
    contender.ready(problem.order(0))
    return contender.epoch


PREDICTED = [FEW_ROWS, MANY_ROWS]


def programs(case, settings):
    """{name: function that does the work once}"""
    ours = our_prediction if case in PREDICTED else our_training
    made = {"default": ours(case, None), "one thread": ours(case, 1)}
    torch = None if settings.only_mlpfast else with_torch(case)
    return made if torch is None else {**made, "PyTorch": torch}


# ---- Around the calls ----

BUSY = "import sys\nprint(flush=True)\nwhile True:\n    pass"


@contextmanager
def alive(child):
    """That process, as long as the calls are made, after it has printed a line."""
    try:
        child.stdout.readline()
        yield
    finally:
        child.kill()
        child.wait()


def busy(prepare=None):
    return alive(subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True, preexec_fn=prepare))


def idle_priority():
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def training():
    """Another process that trains with mlpfast's default number of threads."""
    return alive(worker("forever"))


@contextmanager
def one_processor():
    """All threads of this process on one processor."""
    before = os.sched_getaffinity(0)
    pin({min(before)})
    try:
        yield
    finally:
        pin(before)


def pin(processors):
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), processors)


# ---- Before and with each call ----

MATRIX = np.ones((600, 600))


def multiply():
    MATRIX @ MATRIX  # afterwards the threads of NumPy's BLAS spin for a while


def multiply_with_torch():
    import torch

    x = torch.ones(600, 600)
    x @ x


def in_a_new_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def of_clients(work, clients=64, calls=4):
    """So many threads at once. They need networks of their own to train; they predict with one."""
    threads = [threading.Thread(target=lambda: [work() for _ in range(calls)]) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_an_event_loop(work):
    asyncio.run(asyncio.to_thread(work))


def joblib_programs(case, settings):
    """An epoch in each of two processes of loky."""
    return {"default": partial(in_joblib, case, None), "one thread": partial(in_joblib, case, 1)}


def in_joblib(case, threads):
    from joblib import Parallel, delayed

    Parallel(n_jobs=2)(delayed(train_often)(case, threads) for _ in range(2))


MADE = {}  # what the processes of loky keep from call to call


def train_often(case, threads, epochs=8):
    key = case.name, threads
    work = MADE[key] = MADE.get(key) or our_training(case, threads)
    for _ in range(epochs):
        work()


@dataclass
class Situation:
    """calls of `case`, `together` in each time that is taken, with before() before and around() around all of them.

    how(work) makes a call; programs: see the function of that name.
    """

    name: str
    case: Case
    around: object = nullcontext
    before: object = None
    how: object = None
    together: int = 1
    calls: int = 20
    programs: object = programs


def sleep(milliseconds):
    return partial(time.sleep, milliseconds / 1e3)


SITUATIONS = [
    Situation("nothing else, back to back", STEP, calls=200),
    Situation("after 20 ms of sleep", STEP, before=sleep(20)),
    Situation("after a NumPy matmul", STEP, before=multiply),
    Situation("16 steps after a NumPy matmul", STEP, before=multiply, together=16),
    Situation("256 steps after a NumPy matmul", STEP, before=multiply, together=256, calls=5),
    Situation("10 rows after a NumPy matmul", FEW_ROWS, before=multiply),
    Situation("after a PyTorch matmul", STEP, before=multiply_with_torch),
    Situation("one busy process", EPOCH, around=busy, calls=60),
    Situation("one busy process, nice 19", EPOCH, around=partial(busy, partial(os.nice, 19)), calls=60),
    Situation("one busy process, SCHED_IDLE", EPOCH, around=partial(busy, idle_priority), calls=60),
    Situation("another process that trains", EPOCH, around=training, calls=60),
    Situation("pinned to one processor", STEP, around=one_processor, calls=100),
    Situation("CPU quota 0.5", EPOCH, around=partial(quota, 0.5), calls=60),
    Situation("CPU quota 1", EPOCH, around=partial(quota, 1), calls=60),
    Situation("CPU quota 1.5", EPOCH, around=partial(quota, 1.5), calls=60),
    Situation("a Python thread for each request", MANY_ROWS, how=in_a_new_thread, calls=50),
    Situation("64 client threads", MANY_ROWS, how=of_clients, calls=5),
    Situation("a call every 5 ms", STEP, before=sleep(5), calls=100),
    Situation("asyncio.to_thread every 5 ms", STEP, before=sleep(5), how=in_an_event_loop, calls=50),
    Situation("joblib, two processes of loky", EPOCH, programs=joblib_programs, calls=5),
]


# ---- Measuring ----


def turn(situation, work):
    """-> (us of each call, CPU time per call in us)."""
    call = work if situation.how is None else partial(situation.how, work)
    times = []
    for _ in range(3):
        call()
    with no_garbage_collection():
        used = time.process_time()
        for _ in range(situation.calls):
            if situation.before:
                situation.before()
            start = time.perf_counter()
            for _ in range(situation.together):
                call()
            times.append(1e6 * (time.perf_counter() - start) / situation.together)
        used = time.process_time() - used
    return times, 1e6 * used / situation.calls / situation.together


def measured(situation, settings):
    """{program: (us of all calls, CPU us of each round)}."""
    made = situation.programs(situation.case, settings)
    values = {name: ([], []) for name in made}
    with situation.around():
        for _ in range(settings.rounds):
            for name, (times, used) in values.items():
                getattr(made[name], "ready", lambda: None)()
                more, cpu = turn(situation, made[name])
                times.append(more)
                used.append(cpu)
    return {name: (np.array(times), np.array(used)) for name, (times, used) in values.items()}


COLUMNS = ["situation", "default, us", "p99", "one thread, us", "p99", "PyTorch, us", "p99", "default / one thread",
           "CPU, default / one thread"]


def neighbours(settings, words=()):
    section = report.Section("neighbours", "Beside other programs and threads", COLUMNS)
    chosen = [s for s in SITUATIONS if not words or any(word in s.name for word in words)]
    for situation in chosen:
        try:
            add(section, situation, measured(situation, settings))
            settings.say(f"{situation.name}: default / one thread {report.shown(section.rows[-1][-2])}")
        except (Unavailable, ImportError, AttributeError) as error:
            section.notes.append(f"not measured: {situation.name}: {error}")
    if not words:
        settings.say("neighbours: threads that are made")
        section.figure("step and predict on 16 threads", "new threads a pair", new_threads_a_pair())
    section.notes += [
        f"a call is a step ({STEP.describe()}), an epoch ({EPOCH.describe()}, {EPOCH.minibatches} steps), or the "
        f"prediction of {FEW_ROWS.batch} rows of 784-256-128-10 or {MANY_ROWS.batch} of 64-128-10",
        "medians and 99th percentiles of all calls; the ratios are medians over the rounds",
        "CPU time is that of this process",
    ]
    return section


def add(section, situation, values):
    middle = {name: float(np.median(times)) for name, (times, _) in values.items()}
    last = {name: float(np.percentile(times, 99)) for name, (times, _) in values.items()}
    (default, cpu), (one, one_cpu) = values["default"], values["one thread"]
    ratio = float(np.median(np.median(default, axis=1) / np.median(one, axis=1)))
    cpu_ratio = float(np.median(cpu / one_cpu))
    cells = [x for name in ("default", "one thread", "PyTorch") for x in (middle.get(name), last.get(name))]
    section.rows.append([situation.name, *cells, ratio, cpu_ratio])
    section.figure(situation.name, "default / one thread", ratio)
    section.figure(situation.name, "CPU, default / one thread", cpu_ratio)
    section.raw[situation.name] = {name: times.tolist() for name, (times, _) in values.items()}


def new_threads_a_pair(pairs=50):
    """The number of threads that a step and a prediction on 16 threads in turn make, once there are some."""
    _core.allow_oversubscription(True)
    try:
        step, predict = our_training(STEP, 16), our_prediction(MANY_ROWS, 16)
        for _ in range(50):
            step(), predict()
        time.sleep(0.2)
        seen = set(os.listdir("/proc/self/task"))
        before = len(seen)
        for _ in range(pairs):
            step(), predict()
            seen |= set(os.listdir("/proc/self/task"))
        return (len(seen) - before) / pairs
    finally:
        _core.allow_oversubscription(os.environ.get("MLPFAST_OVERSUBSCRIBE") == "1")


if __name__ == "__main__":
    print(report.text(neighbours(Settings(rounds=5), sys.argv[1:])))
