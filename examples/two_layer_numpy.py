"""
Two layers in NumPy
===================

Two layers of sigmoid units with a squared error, without biases: ten lines of NumPy compared with mlpfast.

    a = sigmoid(X W_1)    yhat = sigmoid(a W_2)    loss = (1/B) sum of (yhat - y)^2

The number: the largest relative difference of the two losses over all steps.
"""

import os
import time
from collections.abc import Callable
from typing import Any

# Set before NumPy is imported: on a busy machine its threads, which only wait for each other, take minutes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from shared import figure, options, save

import mlpfast


def sigmoid(z: NDArray[Any]) -> Any:
    return 1 / (1 + np.exp(-z))


def numpy_step(X: NDArray[Any], y: NDArray[Any], W_1: NDArray[Any], W_2: NDArray[Any], lr: float) -> float:
    """One step of gradient descent, in place; returns the loss before it."""
    a = sigmoid(X @ W_1)
    yhat = sigmoid(a @ W_2)
    delta_2 = 2 * (yhat - y) * yhat * (1 - yhat)
    delta_1 = delta_2 @ W_2.T * a * (1 - a)
    W_2 -= lr / len(X) * a.T @ delta_2
    W_1 -= lr / len(X) * X.T @ delta_1
    return float(((yhat - y) ** 2).sum() / len(X))


chosen = options(__doc__)
B, n_in, n_hidden, n_out, lr = 64, 1000, 100, 10, 0.5
rng = np.random.default_rng(0)
X, y = rng.normal(size=(B, n_in)), rng.random((B, n_out))

layers = [
    mlpfast.Layer(n_in, n_hidden, "sigmoid", bias=False),
    mlpfast.Layer(n_hidden, n_out, "sigmoid", bias=False),
]
net = mlpfast.Network(layers, dtype="float64", seed=0)
trainer = mlpfast.Trainer(net, "squared_error", mlpfast.SGD(lr))
W_1, W_2 = (layer.W.copy() for layer in net.layers)

ways: list[Callable[[], float]] = [lambda: numpy_step(X, y, W_1, W_2, lr), lambda: trainer.step(X, y)]
losses, seconds = np.empty((2, 100 if chosen.quick else 200)), [0.0, 0.0]
for step in range(losses.shape[1]):
    for which, train in enumerate(ways):
        start = time.perf_counter()
        losses[which, step] = train()
        seconds[which] += time.perf_counter() - start
    if step % (losses.shape[1] // 10) == 0:
        print(f"step {step:>4}   NumPy {losses[0, step]:.15f}   mlpfast {losses[1, step]:.15f}")

milliseconds = [1e3 * s / losses.shape[1] for s in seconds]
print(f"a step takes {milliseconds[0]:.2f} ms in NumPy, {milliseconds[1]:.2f} ms in mlpfast")
difference = np.abs(losses[0] - losses[1]) / losses[0]

if chosen.plot:
    left, right = figure(2)
    left.semilogy(losses[0], label="NumPy")
    left.semilogy(losses[1], "--", label="mlpfast")
    left.set(xlabel="step", ylabel="loss")
    left.legend()
    right.semilogy(difference)
    right.set(xlabel="step", ylabel="relative difference")
    save(left, chosen.plot)
print(f"result: two_layer_numpy {difference.max():.3g}")
