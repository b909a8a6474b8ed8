"""scikit-learn's MLPClassifier. Its MLPRegressor has no sigmoid output, so the lecture's network is left out."""

import warnings
from functools import partial

import numpy as np
from sklearn.neural_network import MLPClassifier

from . import Unsuitable


def classifier(problem):
    """With the problem's first weights, before the first step."""
    case = problem.case
    if case.output != "softmax":
        raise Unsuitable(f"scikit-learn is left out, it has no network with {case.output} outputs and {case.loss}")
    made = MLPClassifier(
        case.sizes[1:-1], activation=case.activation, solver=case.optimizer, alpha=0, batch_size=case.batch,
        learning_rate_init=problem.lr, momentum=0, nesterovs_momentum=False, shuffle=False,
    )  # fmt: skip
    X, y = problem.X[: case.batch], problem.labels[: case.batch]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # minibatch larger than the data, which is one row for prediction
        made.partial_fit(X, y, classes=np.arange(case.sizes[-1]))  # makes the arrays that are filled here
    for W, b, (first_W, first_b) in zip(made.coefs_, made.intercepts_, problem.parameters, strict=True):
        W[...], b[...] = first_W, first_b
    del made._optimizer  # since it has already made a step
    return made


class Sklearn:
    """partial_fit on the rows in the epoch's order: gathered at once, then cut into minibatches by scikit-learn."""

    name, library = "scikit-learn", None

    def __init__(self, problem):
        self.problem, self.classifier = problem, classifier(problem)

    def ready(self, order):
        self.order = order

    def epoch(self):
        problem, classifier = self.problem, self.classifier
        if self.order is not None:
            return classifier.partial_fit(problem.X[self.order], problem.y[self.order]).loss_
        return sum(classifier.partial_fit(problem.X, problem.y).loss_ for _ in range(problem.steps)) / problem.steps

    def weights(self):
        return list(zip(self.classifier.coefs_, self.classifier.intercepts_, strict=True))


def servers(problem):
    return {"scikit-learn": partial(classifier(problem).predict_proba, problem.X)}
