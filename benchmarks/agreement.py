"""Before anything is timed: do all contenders train the same network?"""

import numpy as np

from .cases import Problem

STEPS = 10
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # relative; rounding differs with the order of the sums


def first_losses(maker, problem, epochs=2):
    """The mean losses of a fresh contender's first epochs."""
    contender = maker(problem)
    losses = []
    for epoch in range(epochs):
        contender.ready(problem.order(epoch))
        losses.append(contender.epoch())
    return losses


def check(case, makers):
    """Train each on two short epochs of ten minibatches, through the code that is timed, and compare the losses with
    those of the first. A loss is taken before its update, so the second epoch's is that of the weights after ten
    steps. Raises AssertionError, naming who differs."""
    problem = Problem.random(case, STEPS)
    wanted = None
    for maker in makers:
        losses = first_losses(maker, problem)
        wanted = losses if wanted is None else wanted
        if not np.allclose(losses, wanted, rtol=TOLERANCE[case.dtype], atol=0):
            raise AssertionError(f"{case.name}: {maker.name} has losses {losses}, {makers[0].name} {wanted}")
