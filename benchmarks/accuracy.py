"""Time to accuracy: seconds of training until 97.5 % of MNIST's test images are right."""

import time

import numpy as np

from mlpfast import datasets

from . import agreement, contenders
from .calls import no_garbage_collection
from .cases import Case, Problem
from .numpy_mlp import predictor
from .report import Section

GOAL, MOST_EPOCHS, LR = 0.975, 20, 0.4
CASE = Case("MNIST to 97.5 %", (784, 128, 10), 64, 937)
REST = 0.1  # seconds, until the threads of the previous program are idle


def time_to_accuracy(settings):
    columns = ["program", "seconds", "epochs", "test accuracy", "times mlpfast"]
    section = Section("accuracy", f"Seconds to {GOAL:.1%} of MNIST's test images", columns)
    if settings.mnist is None:
        section.notes.append("left out: it needs --mnist FOLDER")
        return section
    makers = contenders.makers(settings, section.notes)
    problem, X_test, y_test = load(settings.mnist)
    settings.say("time to accuracy on MNIST")
    makers = agreement.agreeing(CASE, makers, section.notes)
    seconds, accuracies = train_in_turn([maker(problem) for maker in makers], problem, X_test, y_test)
    for name in sorted(seconds, key=lambda name: sum(seconds[name])):
        total = sum(seconds[name])
        accuracy = accuracies[name][-1]
        reached = total if accuracy >= GOAL else None
        section.rows.append([name, reached, len(seconds[name]), accuracy, total / sum(seconds["mlpfast"])])
    section.raw = {"seconds of each epoch": seconds, "test accuracy": accuracies}
    section.notes.append(
        f"784-128-10, relu, batch {CASE.batch}, plain SGD, lr {LR}, the same first weights and orders for all, one "
        f"epoch of each in turn; the first {len(problem.X)} images, so that all minibatches are whole; compiling "
        "and testing are not timed"
    )
    return section


def load(folder):
    """(problem, X_test, y_test) with pixels from 0 to 1."""
    X, y, X_test, y_test = datasets.load_mnist(folder)
    X, X_test = (pixels.astype(np.float32) / np.float32(255) for pixels in (X, X_test))
    n = CASE.batch * CASE.minibatches
    return Problem(CASE, X[:n], y[:n], LR), X_test, y_test


def train_in_turn(made, problem, X_test, y_test):
    """({name: seconds of each epoch}, {name: accuracy after each}); a program stops at the goal."""
    seconds, accuracies = {c.name: [] for c in made}, {c.name: [] for c in made}
    racing = list(made)
    for epoch in range(MOST_EPOCHS):
        for contender in list(racing):
            contender.ready(problem.order(epoch))
            time.sleep(REST)
            with no_garbage_collection():
                start = time.perf_counter()
                contender.epoch()
                seconds[contender.name].append(time.perf_counter() - start)
            predicted = predictor(contender.weights(), len(X_test))(X_test).argmax(axis=1)
            accuracies[contender.name].append(float((predicted == y_test).mean()))
            if accuracies[contender.name][-1] >= GOAL:
                racing.remove(contender)
    return seconds, accuracies
