"""
Natural gradient
================

The gradient depends on how parameters are measured: if an input is given in millimetres instead of metres, its weight
should be a thousandth, and its gradient is a thousand times as large. The natural gradient (Amari, 1998) measures a
step by how much it changes the predicted distribution instead,

    d = F^-1 g        F = E (grad log p)(grad log p)^T        the mean over rows and over classes drawn from p

and F, the Fisher matrix, takes units out again. Where z_L is linear in the parameters this is Newton's method.

Below, F of a small network is built as it is defined, from the residuals for each class, and one step of
`NaturalGradient`, which never forms F, is compared with the solution of (F + damping I) d = g. Then one column of X is
multiplied by 100.

The number: the largest difference between the two steps, relative to the step.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared import figure, options, save

import mlpfast
from mlpfast import backprop


def scores(net: mlpfast.Network, X: NDArray[Any], k: int) -> NDArray[Any]:
    """grad log p_k of each row in all parameters, (B, n_parameters), from the residuals of the label k."""
    tape = backprop.forward(net, X)
    deltas = backprop.residuals(net, X, np.full(len(X), k), "cross_entropy")  # of -log p_k
    parts = []
    for a, delta in zip([tape.X, *tape.a], deltas, strict=False):
        parts += [-np.einsum("bi,bj->bij", a, delta).reshape(len(X), -1), -delta]
    return np.concatenate(parts, axis=1)


def fisher(net: mlpfast.Network, X: NDArray[Any]) -> NDArray[Any]:
    """F = (1/B) sum over rows and classes k of p_k s_k s_k^T."""
    p = net.predict(X)
    weighted = [(p[:, [k]] * s).T @ s for k, s in ((k, scores(net, X, k)) for k in range(net.n_out))]
    total: NDArray[Any] = np.sum(weighted, axis=0)
    return total / len(X)


chosen = options(__doc__)
rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3))
y = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 0.5)

# ---- one step
net = mlpfast.Network([3, 6, 3], activation="tanh", output="softmax", dtype="float64", seed=0)
F = fisher(net, X)
g = np.concatenate([part.ravel() for pair in backprop.gradients(net, X, y, "cross_entropy") for part in pair])
d = np.linalg.solve(F + 0.1 * np.eye(len(F)), g)
before = np.concatenate([parameter.ravel() for parameter in net.parameters])
step = mlpfast.NaturalGradient(lr=1.0, damping=0.1, cg_tolerance=1e-12, cg_iterations=1000)
mlpfast.Trainer(net, optimizer=step, batch_size=None).step(X, y)
taken = before - np.concatenate([parameter.ravel() for parameter in net.parameters])
difference = np.abs(taken - d).max() / np.abs(d).max()
print(f"F is {len(F)} x {len(F)}; the step of NaturalGradient differs from the dense one by {difference:.0e} of it")

# ---- the same data in other units
epochs = 20 if chosen.quick else 100
histories = {}
print(f"\nloss in epoch{'':>24}{1:>8}{5:>8}{10:>8}{epochs:>8}")
for units, scale in (("X as it is", [1, 1, 1]), ("a column times 100", [100, 1, 1])):
    for name, optimizer in (
        ("SGD", mlpfast.SGD(lr=0.5 / max(scale) ** 2)),
        ("natural gradient", mlpfast.NaturalGradient(lr=1.0, damping=1e-6)),
    ):
        logistic = mlpfast.Network([mlpfast.Layer(3, 3, "softmax", init="zeros")], dtype="float64")
        trainer = mlpfast.Trainer(logistic, optimizer=optimizer, batch_size=None)
        label = f"{name}, {units}"
        histories[label] = loss = trainer.fit(X * scale, y, epochs=epochs)["loss"]
        print(f"{label:<37}" + "".join(f"{loss[epoch - 1]:>8.4f}" for epoch in (1, 5, 10, epochs)))

if chosen.plot:
    ax = figure()
    for label, loss in histories.items():
        ax.plot(range(1, epochs + 1), loss, "--" if "times" in label else "-", label=label)
    ax.set(xlabel="epoch", ylabel="loss")
    ax.legend(loc="center right")
    save(ax, chosen.plot)
print(f"result: natural_gradient {difference:.3g}")
