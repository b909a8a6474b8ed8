"""Prediction: time per call for single rows, fraction of the peak for many rows; and the overhead of Trainer.step."""

from functools import partial

import numpy as np

from mlpfast import SGD, Trainer, _core
from mlpfast.benchmark import peak_gflops

from . import contenders, extension
from .calls import percentiles_of_calls, seconds_of
from .cases import SEED, Case, Problem
from .contenders.ours import Mlpfast
from .report import Section
from .settings import cores
from .timing import in_turn, race

ONE_ROW = [Case("64-64-10", (64, 64, 10), 1, 1), Case("784-256-128-10", (784, 256, 128, 10), 1, 1)]
MANY_ROWS = Case("10,000 rows", (784, 256, 128, 10), 10_000, 1)


def serving(settings):
    section = Section("serving", "Prediction", ["case", "program", "p50 us", "p99 us", "of peak", "times mlpfast"])
    for case in ONE_ROW:
        settings.say(f"serving {case.name}, one row")
        one_row(section, case, settings)
    settings.say(f"serving {MANY_ROWS.name}")
    many_rows(section, settings)
    section.notes.append("one row: each call is timed by itself, from Python; reading the clock is part of it")
    section.notes.append("10,000 rows of 784-256-128-10: the column p50 is the mean of the calls of a round")
    return section


def agreeing_servers(problem, settings, notes):
    """All installed contenders, after checking that they give the same predictions."""
    functions = contenders.servers(problem, notes, only_mlpfast=settings.only_mlpfast)
    wanted = functions["mlpfast"]().copy()
    for name, function in functions.items():
        if not np.allclose(function(), wanted, rtol=1e-4, atol=1e-6):
            raise AssertionError(f"{problem.case.name}: {name} predicts {function()}, mlpfast {wanted}")
    return functions


def turn(function, measure):
    """A turn in which the contender first sets its threads."""

    def run():
        getattr(function, "ready", lambda: None)()
        return measure(function)

    return run


def one_row(section, case, settings):
    problem = Problem.random(case)
    functions = agreeing_servers(problem, settings, section.notes)
    measure = partial(percentiles_of_calls, seconds=0.05 if settings.quick else 0.3)
    turns = {name: turn(function, measure) for name, function in functions.items()}
    try:
        turns["C alone"] = partial(c_microseconds, problem, extension.kernels())
    except ImportError as error:
        section.notes.append(f"C alone is left out: {error}")
    values = in_turn(turns, settings.rounds)
    section.raw[case.name] = {name: rounds.tolist() for name, rounds in values.items()}
    alone = float(np.median(values.pop("C alone"))) if "C alone" in values else None
    p50, p99 = ({name: float(np.median(rounds[:, i])) for name, rounds in values.items()} for i in (0, 1))
    for name in sorted(p50, key=p50.get):
        section.rows.append([case.name, name, p50[name], p99[name], None, p50[name] / p50["mlpfast"]])
    section.figure(case.name, "p50 us", p50["mlpfast"])
    section.figure(case.name, "p99 / p50", p99["mlpfast"] / p50["mlpfast"])
    if alone is not None:
        section.rows.append([case.name, "mlpfast, C alone", alone, None, None, alone / p50["mlpfast"]])
        section.figure(case.name, "C alone, us", alone)


def c_microseconds(problem, kernels, calls=2000):
    """The time of a call of mlp_predict from C, on one thread."""
    network = problem.case.network()
    out = np.empty((len(problem.X), network.n_out), network.dtype)
    data = _core.Data(problem.X)
    kernels.predict_seconds(network._core, out, data, calls)
    return 1e6 * kernels.predict_seconds(network._core, out, data, calls)


def many_rows(section, settings):
    case, problem = MANY_ROWS, Problem.random(MANY_ROWS)
    functions = agreeing_servers(problem, settings, section.notes)
    turns = {name: turn(function, seconds_of) for name, function in functions.items()}
    turns["peak"] = partial(peak_gflops, cores())
    values = in_turn(turns, settings.rounds)
    section.raw[case.name] = {name: rounds.tolist() for name, rounds in values.items()}
    peak = values.pop("peak")
    flops = 2 * len(problem.X) * sum(W.size for W, _ in problem.parameters)
    for name in sorted(values, key=lambda name: np.median(values[name])):
        of_peak = float(np.median(flops / values[name] / 1e9 / peak))
        us = 1e6 * float(np.median(values[name]))
        ratio = float(np.median(values[name] / values["mlpfast"]))
        section.rows.append([case.name, name, us, None, of_peak, ratio])
        if name == "mlpfast":
            section.figure(case.name, "of peak", of_peak)


# ---- Trainer.step ----


class StepCalls:
    """A contender whose epoch is one call of Trainer.step on a ready minibatch, on one thread."""

    def __init__(self, problem):
        case = problem.case
        trainer = Trainer(
            case.network(), case.loss, SGD(lr=problem.lr), batch_size=case.batch, seed=SEED, threads=1
        )
        self.epoch = partial(trainer.step, problem.X[: case.batch].copy(), problem.y[: case.batch].copy())

    def ready(self, order):
        pass


def step_call(settings):
    """The overhead of a call of Trainer.step over a step of Trainer.fit, both on one thread."""
    columns = ["case", "us a call of step", "us a step of fit", "us over the C step"]
    section = Section("step call", "Trainer.step on one ready minibatch, one thread", columns)
    for case in settings.chosen(["tiny", "digits", "mnist"]):
        settings.say(f"step call: {case.name}")
        problem = Problem.random(case, settings.minibatches(case), lr=1e-6)  # small, since one minibatch is repeated
        contenders = {"step": StepCalls(problem), "fit": Mlpfast(problem, threads=1)}
        times = race(problem, contenders, settings.rounds, threads=1)
        step = times.us["step"] * problem.steps  # a call is one step, not an epoch
        over = float(np.median(step - times.us["fit"]))
        section.rows.append([case.name, float(np.median(step)), times.median("fit"), over])
        section.figure(case.name, "us over the C step", over)
        section.raw[case.name] = {"step": step.tolist(), "fit": times.us["fit"].tolist()}
    section.notes.append("fit also gathers its rows from all over the data, step does not")
    return section
