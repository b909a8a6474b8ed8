"""
Decay of the learning rate
==========================

With a constant rate SGD does not converge: near the minimum the minibatches' gradients are mostly noise, and the loss
stays above its minimum by an amount that grows with the rate. A small rate stays nearer, but gets there late. A rate
that falls does both (Robbins and Monro, 1951): it moves fast first, and averages the noise out later.

The problem: linear regression with noise, whose minimum is known from the normal equations. The numbers are the excess
of the loss over this minimum, means over several seeds.

The number: the excess with a cosine relative to that with the same rate kept constant.
"""

from typing import Any

import numpy as np
from shared import figure, options, save

import mlpfast
from mlpfast import schedules

chosen = options(__doc__)
epochs = 40
RATES = {
    "constant 0.1": 0.1,
    "constant 0.01": 0.01,
    "constant 0.001": 0.001,
    "step 0.1": schedules.Step(0.1, factor=0.1, every=15),
    "exponential 0.1": schedules.Exponential(0.1, k=0.15),
    "1 / t 0.1": schedules.InverseTime(0.1, k=0.5),
    "cosine 0.1": schedules.Cosine(0.1, total=epochs),
}
rng = np.random.default_rng(0)
X = rng.normal(size=(1000, 20))
y = X @ rng.normal(size=20) + rng.normal(size=1000)
w, *_ = np.linalg.lstsq(X, y, rcond=None)
least = np.mean((y - X @ w) ** 2) / 2


def excess_losses(rate: Any, seed: int) -> list[float]:
    """The loss after each epoch, minus the least one."""
    net = mlpfast.Network([mlpfast.Layer(20, 1, init="zeros", bias=False)], dtype="float64")
    trainer = mlpfast.Trainer(net, "half_squared_error", mlpfast.SGD(rate), batch_size=10, seed=seed)
    after = []
    trainer.fit(X, y, epochs=epochs, callbacks=lambda trainer, epoch, logs: after.append(
        trainer.evaluate(X, y)["loss"] - least
    ))
    return after


excess = {}
print(f"excess of the loss in epoch{1:>11}{3:>11}{10:>11}{epochs:>11}")
for name, rate in RATES.items():
    excess[name] = np.mean([excess_losses(rate, seed) for seed in range(2 if chosen.quick else 20)], axis=0)
    print(f"{name:<27}" + "".join(f"{excess[name][epoch - 1]:>11.2e}" for epoch in (1, 3, 10, epochs)))

if chosen.plot:
    ax = figure()
    for name, values in excess.items():
        ax.semilogy(range(1, epochs + 1), values, label=name)
    ax.set(xlabel="epoch", ylabel="excess of the loss")
    ax.legend(loc="upper right")
    save(ax, chosen.plot)
print(f"result: learning_rate_decay {excess['cosine 0.1'][-1] / excess['constant 0.1'][-1]:.3g}")
