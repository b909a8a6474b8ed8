"""
Perceptron
==========

Rosenblatt's perceptron (1958) is one linear unit that says the sign of z = x W + b. It learns row by row: a row on the
wrong side, y z <= 0, adds y x to W and y to b; any other row changes nothing. This is a step of gradient descent on the
loss max(0, -y z) with minibatches of one row and the learning rate 1.

If some line separates the classes, the rule makes at most (R / gamma)^2 mistakes (Novikoff, 1962): R is the length of
the longest row (x, 1), gamma the smallest distance of these rows from the separating plane. For XOR there is no such
line, and the mistakes never end.

The number: the mistakes on separable points as a share of Novikoff's bound.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared import figure, options, save

import mlpfast


def learn(X: NDArray[Any], y: NDArray[Any], epochs: int) -> tuple[mlpfast.Network, list[int]]:
    """Apply the rule to all rows in turn, until an epoch has no mistake -> the network, mistakes in each epoch."""
    net = mlpfast.Network([mlpfast.Layer(2, 1, init="zeros")], dtype="float64")
    trainer = mlpfast.Trainer(net, "perceptron", mlpfast.SGD(lr=1.0), batch_size=1)
    mistakes: list[int] = []
    while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
        mistakes.append(0)
        for x, truth in zip(X[:, None], y[:, None], strict=True):
            mistakes[-1] += int(truth[0] * net.predict(x)[0, 0] <= 0)
            trainer.step(x, truth)
    return net, mistakes


chosen = options(__doc__)
rng = np.random.default_rng(0)
w, b = np.array([0.6, -0.8]), 0.1
points = rng.uniform(-1, 1, (300, 2))
X = points[np.abs(points @ w + b) > 0.05]  # none is nearer to the line
y = np.sign(X @ w + b)

net, mistakes = learn(X, y, epochs=100)
print(f"{len(X)} separable points: mistakes in each epoch {mistakes}")
rows, plane = np.column_stack([X, np.ones(len(X))]), np.append(w, b)
gamma = (y * (rows @ plane)).min() / np.linalg.norm(plane)
bound = (np.linalg.norm(rows, axis=1).max() / gamma) ** 2
print(f"{sum(mistakes)} mistakes; Novikoff's bound is {bound:.0f}")

corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
_, of_xor = learn(corners, np.array([-1.0, 1.0, 1.0, -1.0]), epochs=20 if chosen.quick else 1000)
print(f"XOR: mistakes in each of the last five of {len(of_xor)} epochs {of_xor[-5:]}")

if chosen.plot:
    ax = mlpfast.plots.decision_boundary(net, X, y, figure())
    ax.axline((0, b / 0.8), slope=0.6 / 0.8, color="black", linestyle="--", label="the line of the classes")
    ax.legend()
    save(ax, chosen.plot)
print(f"result: perceptron {sum(mistakes) / bound:.3f}")
