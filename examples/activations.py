"""
Activations
===========

Each unit computes a = g(z), and in the backward pass the residual is multiplied by g'(z). Without a g that bends, any
number of layers is one affine map: such a network cannot tell two concentric rings apart.

The table has g'(z) at three places, its maximum over -6 <= z <= 6, and how many new points of the rings a network with
this g in its hidden layer gets right. g' is the residual of a layer of one unit with W = 1 and b = 0, for a loss that
is the output itself.

The number: the largest difference between g' and central differences of g, away from corners.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared import figure, options, save

import mlpfast
from mlpfast import backprop, losses

NAMES = ["identity", "sigmoid", "tanh", "softsign", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus"]
OUTPUT = losses.Custom(lambda y, yhat: yhat[:, 0], lambda y, yhat: np.ones_like(yhat))  # its residual is g'(z)


def unit(name: str) -> Callable[[NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """z (n,) -> g(z), g'(z)."""
    net = mlpfast.Network([mlpfast.Layer(1, 1, name)], dtype="float64", seed=0)
    net.layers[0].W[...], net.layers[0].b[...] = 1, 0

    def values(z: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        column = z[:, None]
        return net.predict(column, squeeze=True), backprop.residuals(net, column, column, OUTPUT)[0][:, 0]

    return values


def rings(n: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """n points (n, 2), half of them within the circle of radius 1/2 and half of them outside -> X, which."""
    y = rng.integers(2, size=n)
    radius, angle = rng.uniform(0.6 * y, 0.4 + 0.6 * y), rng.uniform(0, 2 * np.pi, n)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), y


def accuracy(name: str) -> float:
    rng = np.random.default_rng(0)
    (X, y), new = rings(500, rng), rings(2000, rng)
    net = mlpfast.Network([2, 16, 1], activation=name, output="sigmoid", seed=0)
    trainer = mlpfast.Trainer(net, "binary_cross_entropy", mlpfast.Adam(lr=0.02), batch_size=50, seed=0)
    trainer.fit(X, y, epochs=50 if chosen.quick else 200)
    return trainer.evaluate(*new)["accuracy"]


chosen = options(__doc__)
z, h = np.linspace(-6, 6, 1200), 1e-6  # no z is a corner
print("              g'(-4)    g'(0)    g'(4)   max g'     rings")
curves, differences = {}, []
for name in NAMES:
    values = unit(name)
    g, slope = values(z)
    differences.append(np.abs((values(z + h)[0] - values(z - h)[0]) / (2 * h) - slope).max())
    at_places = values(np.array([-4.0, 0.0, 4.0]))[1]
    numbers = [*at_places, max(*at_places, *slope)]
    print(f"{name:<12}" + "".join(f"{number:>9.4f}" for number in numbers) + f"{100 * accuracy(name):>8.1f} %")
    curves[name] = g, slope

if chosen.plot:
    left, right = figure(2)
    for name, (g, slope) in curves.items():
        left.plot(z, g, label=name)
        right.plot(z, slope, label=name)
    left.set(xlabel="z", ylabel="g(z)", ylim=(-2, 4))
    right.set(xlabel="z", ylabel="g'(z)")
    right.legend()
    save(left, chosen.plot)
print(f"result: activations {max(differences):.3g}")
