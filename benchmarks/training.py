"""Training steps: mlpfast and its peers, and mlpfast alone under other settings, as fractions of the peak."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np

from mlpfast import SGD, Adam
from mlpfast.losses import CrossEntropy

from . import ROOT, agreement, contenders
from .cases import CASES, SHAPES, Problem
from .contenders.ours import Mlpfast
from .report import TRAINING, Section
from .timing import race

UNIT = (
    "us a step: the time of an epoch (Trainer.fit), divided by its minibatches; "
    "a step is gather (not for a full batch), forward, loss, backward and update"
)


def against_peers(settings):
    """Every case, all contenders in turn."""
    columns = ["case", "program", "us a step", "best round", "GFLOP/s", "of peak", "times mlpfast"]
    section = Section("training", TRAINING, columns, notes=[UNIT])
    makers = contenders.makers(settings, section.notes)
    if left_out := [name for name in CASES if name not in [case.name for case in settings.cases]]:
        section.notes.append(f"cases left out: {', '.join(left_out)}")
    for case in settings.cases:
        settings.say(f"training {case.name}: {case.describe()}")
        add_case(section, case, makers, settings)
    return section


def add_case(section, case, makers, settings):
    problem = Problem.random(case, settings.minibatches(case))
    makers = agreement.agreeing(case, makers, section.notes)
    times = race(problem, {maker.name: maker(problem) for maker in makers}, settings.rounds)
    section.raw[case.name] = times.raw()
    for name in sorted(times.us, key=times.median):
        us = [times.median(name), times.best(name)]
        rates = [times.gflops(name), times.of_peak(name), times.ratio(name, "mlpfast")]
        section.rows.append([case.name, name, *us, *rates])
    section.figure(case.name, "of peak", times.of_peak("mlpfast"))
    peers = [name for name in times.us if name != "mlpfast"]
    if peers:
        fastest = min(peers, key=times.median)
        section.figure(case.name, "times the fastest peer", times.ratio(fastest, "mlpfast"))
        section.raw[case.name]["fastest peer"] = fastest
    for library in sorted({maker.library for maker in makers if maker.library}):
        fastest = min((maker.name for maker in makers if maker.library == library), key=times.median)
        section.figure(case.name, f"times the fastest of {library}", times.ratio(fastest, "mlpfast"))


# ---- mlpfast alone ----

ALONE = ["case", "us a step", "best round", "GFLOP/s", "of peak"]


def fractions(name, title, cases, settings, threads=None):
    """A section of those cases with mlpfast alone."""
    section = Section(name, title, ALONE)
    for case in cases:
        settings.say(f"{name}: {case.name}")
        problem = Problem.random(case, settings.minibatches(case))
        times = race(problem, {"mlpfast": Mlpfast(problem, threads=threads)}, settings.rounds, threads)
        values = [f("mlpfast") for f in (times.median, times.best, times.gflops, times.of_peak)]
        section.rows.append([case.name, *values])
        section.figure(case.name, "of peak", values[-1])
        section.raw[case.name] = times.raw()
    return section


def one_thread(settings):
    cases = settings.chosen(["mnist", "keras", "wide"])
    return fractions("one thread", "Training steps on one thread, of one core's peak", cases, settings, threads=1)


def float64(settings):
    cases = [replace(case, dtype="float64") for case in settings.chosen(["keras", "wide"])]
    return fractions("float64", "Training steps in float64, of its own peak", cases, settings)


def shapes(settings):
    return fractions("shapes", "Other shapes", SHAPES.values(), settings)


def avx2(settings):
    """MLPFAST_ISA is read when mlpfast is imported, so this takes another process."""
    names = [case.name for case in settings.chosen(["mnist", "keras", "wide"])]
    section = Section("avx2", "Training steps with AVX2, of its own peak", ALONE)
    command = [sys.executable, "-m", "benchmarks.peers", "--only-mlpfast", "--sections", "training", "--json", "-"]
    command += ["--cases", ",".join(names), "--rounds", str(settings.rounds), *(["--quick"] if settings.quick else [])]
    environment = {**os.environ, "MLPFAST_ISA": "avx2"}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) if names else None
    if done is None or done.returncode:
        section.notes.append("left out: none of its cases was asked for" if done is None else "left out: it failed")
        return section
    other = json.loads(done.stdout)["sections"][0]
    section.rows = [[row[0], *row[2:6]] for row in other["rows"]]
    section.figures, section.raw = other["figures"], other["raw"]
    return section


def variants(settings):
    """Other settings on the mnist case, as ratios to plain SGD with relu in float32."""
    section = Section("variants", "Variants of mnist", ["variant", "us a step", "times plain SGD"])
    settings.say("variants of mnist")
    case = CASES["mnist"]
    plain = Problem.random(case, settings.minibatches(case))
    pixels = (plain.X * 255).astype(np.uint8)

    def with_activation(activation):
        return Mlpfast(Problem(replace(case, activation=activation), plain.X, plain.labels))

    times = race(
        plain,
        {
            "plain": Mlpfast(plain),
            "momentum": Mlpfast(plain, optimizer=SGD(plain.lr, momentum=0.9)),
            "nesterov": Mlpfast(plain, optimizer=SGD(plain.lr, momentum=0.9, nesterov=True)),
            "adam": Mlpfast(plain, optimizer=Adam()),
            "sigmoid": with_activation("sigmoid"),
            "tanh": with_activation("tanh"),
            "gelu": with_activation("gelu"),
            "dropout": Mlpfast(plain, dropout=0.5),
            "l1 and l2": Mlpfast(plain, l1=1e-5, l2=1e-5),
            "label smoothing": Mlpfast(plain, loss=CrossEntropy(label_smoothing=0.1)),
            "sample weights": Mlpfast(plain, sample_weight=np.linspace(0.5, 1.5, len(plain.X))),
            "uint8": Mlpfast(plain, X=pixels, input_scale=1 / 255),
        },
        settings.rounds,
    )
    for name in times.us:
        section.rows.append([name, times.median(name), times.ratio(name, "plain")])
        section.figure(name, "times plain SGD", times.ratio(name, "plain"))
    section.raw = times.raw()
    section.notes.append("uint8 costs nothing measurable: at most 1.02 is this table's reading of it")
    return section
