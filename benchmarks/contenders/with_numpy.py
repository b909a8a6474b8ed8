"""Plain NumPy; its BLAS library takes as many threads as it likes."""

from functools import partial

from ..numpy_mlp import predictor, twin_of


class Numpy:
    name = "NumPy"

    def __init__(self, problem):
        self.problem, self.twin = problem, twin_of(problem)

    def ready(self, order):
        self.order = order

    def epoch(self):
        return self.twin.epoch(self.problem.X, self.problem.y, self.order)

    def weights(self):
        biases = self.twin.b if self.problem.case.bias else [None] * len(self.twin.W)
        return list(zip(self.twin.W, biases, strict=True))


def servers(problem):
    return {"NumPy": partial(predictor(problem.parameters, len(problem.X)), problem.X)}
