"""
Decision boundaries
===================

Where a network draws the line: two concentric circles, and two spirals (Lang and Witbrock, 1988).

The number: the accuracy on new points of the spirals.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared import figure, options, save

import mlpfast


def circles(n: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """n points (n, 2) on two circles of radius 1/2 and 1, a little off -> X, which one."""
    y = rng.integers(2, size=n)
    angle = rng.uniform(0, 2 * np.pi, n)
    X = (0.5 + 0.5 * y[:, None]) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return X + rng.normal(scale=0.08, size=X.shape), y


def spirals(n: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """n points (n, 2) on two spirals of a turn and a half -> X, which one."""
    y = rng.integers(2, size=n)
    t = np.sqrt(rng.uniform(0.02, 1, n))
    angle = 3 * np.pi * t + np.pi * y
    return t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(scale=0.02, size=(n, 2)), y


chosen = options(__doc__)
rng = np.random.default_rng(0)
axes = figure(2) if chosen.plot else (None, None)
for ax, draw, epochs in zip(axes, (circles, spirals), (30, 300 if chosen.quick else 1000), strict=True):
    (X, y), (X_new, y_new) = draw(1000, rng), draw(1000, rng)
    net = mlpfast.Network([2, 64, 64, 2], activation="relu", output="softmax", seed=0)
    trainer = mlpfast.Trainer(net, "cross_entropy", mlpfast.Adam(lr=0.01), batch_size=32, seed=0)
    trainer.fit(X, y, epochs=epochs)
    accuracy = trainer.evaluate(X_new, y_new)["accuracy"]
    print(f"{draw.__name__}: {100 * accuracy:.1f} % of new points")
    if chosen.plot:
        mlpfast.plots.decision_boundary(net, X, y, ax).set_title(draw.__name__)

if chosen.plot:
    save(axes[0], chosen.plot)
print(f"result: decision_boundary {accuracy:.4f}")
