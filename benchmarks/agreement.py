"""Checks before timing that all contenders train the same network."""

import numpy as np

from .cases import Problem
from .contenders import Unsuitable, note

STEPS = 10
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # relative; rounding differs with the order of the sums


def first_losses(contender, problem, epochs=2):
    """The mean losses of a fresh contender's first epochs."""
    losses = []
    for epoch in range(epochs):
        contender.ready(problem.order(epoch))
        losses.append(float(contender.epoch()))
    return losses


def agreeing(case, makers, notes):
    """The makers that can train this case; notes receives the reasons why others cannot.

    Each trains two short epochs of ten minibatches with the code that is timed. Losses are computed before each update,
    so those of the second epoch depend on the weights after ten steps. Raises AssertionError if one differs from the
    first contender's.
    """
    problem = Problem.random(case, STEPS)
    suitable, wanted = [], None
    for maker in makers:
        try:
            losses = first_losses(maker(problem), problem)
        except Unsuitable as reason:
            note(notes, f"{case.name}: {reason}")
            continue
        suitable.append(maker)
        wanted = wanted or losses
        if not np.allclose(losses, wanted, rtol=TOLERANCE[case.dtype], atol=0):
            raise AssertionError(f"{case.name}: {maker.name} has losses {losses}, {suitable[0].name} {wanted}")
    return suitable
