"""Plain NumPy; its BLAS library chooses its number of threads."""

from functools import partial

from ..numpy_mlp import predictor, twin_of


class Numpy:
    name, library = "NumPy", None

    def __init__(self, problem):
        self.problem, self.twin = problem, twin_of(problem)

    def ready(self, order):
        self.order = order

    def epoch(self):
        problem, twin = self.problem, self.twin
        if self.order is not None:
            return twin.epoch(problem.X, problem.y, self.order)
        return sum(twin.step(problem.X, problem.y) for _ in range(problem.steps)) / problem.steps / len(problem.X)

    def weights(self):
        biases = self.twin.b if self.problem.case.bias else [None] * len(self.twin.W)
        return list(zip(self.twin.W, biases, strict=True))


def servers(problem):
    return {"NumPy": partial(predictor(problem.parameters, len(problem.X)), problem.X)}
