"""The fraction of the peak over width and batch, and where it dips."""

import numpy as np

from .cases import Case, Problem
from .contenders.ours import Mlpfast
from .report import SWEEP, Section
from .timing import race

WIDTHS = [8, 12, 16, 24, 32, 45, 46, 48, 64, 80, 96, 100, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 617, 640,
          704, 768, 832, 896, 960, 1024, 1100]  # fmt: skip
BATCHES = [1, 7, 16, 32, 50, 64, 128, 256, 512, 1024]
QUICK_WIDTHS, QUICK_BATCHES = [8, 16, 45, 64, 100, 128, 256, 512, 617, 1024], [1, 7, 50, 128]
DIP = 0.75  # less than this share of both its neighbours in width is a dip
EPOCH_FLOPS = 4e7  # per example of a batch, up to a hundred: some 20 ms, so that the overhead of fit is negligible


def case_of(width, batch):
    """width-width-width-10: all three products at full width, in layer 2."""
    case = Case(f"width {width}, batch {batch}", (width, width, width, 10), batch, 1)
    minibatches = int(np.clip(EPOCH_FLOPS * min(batch, 100) / case.flops(), 4, 4000))
    return Case(case.name, case.sizes, batch, minibatches)


def sweep(settings):
    widths, batches = (QUICK_WIDTHS, QUICK_BATCHES) if settings.quick else (WIDTHS, BATCHES)
    columns = ["width", *(f"batch {batch}" for batch in batches)]
    section = Section("sweep", SWEEP, columns)
    fractions = {}
    for batch in batches:
        settings.say(f"sweep: batch {batch}")
        fractions[batch] = [fraction(case_of(width, batch), min(settings.rounds, 3)) for width in widths]
    for i, width in enumerate(widths):
        section.rows.append([str(width), *(fractions[batch][i] for batch in batches)])
    found = [(batch, *dip) for batch in batches for dip in dips(widths, fractions[batch])]
    section.figure("all", "dips", len(found))
    section.notes.append("layers width-width-width-10, relu, softmax, float32")
    section.notes += [f"dip: batch {batch}, width {width}: {here:.3f}" for batch, width, here in found]
    section.raw = {"widths": widths, "fractions": {str(batch): fractions[batch] for batch in batches}}
    return section


def fraction(case, rounds):
    problem = Problem.random(case)
    return race(problem, {"mlpfast": Mlpfast(problem)}, rounds).of_peak("mlpfast")


def dips(widths, fractions):
    """[(width, fraction)] of widths more than a quarter below both neighbours; the widest has one neighbour."""
    found = []
    for i in range(1, len(widths)):
        neighbours = fractions[i - 1], *fractions[i + 1 : i + 2]
        if fractions[i] < DIP * min(neighbours):
            found.append((widths[i], fractions[i]))
    return found
