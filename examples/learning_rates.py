"""
Learning rates
==============

The loss after some epochs of SGD against the learning rate: too small, good, too large.

Too small and nothing moves; too large and each step overshoots by more than the one before, until the loss is infinite
and mlpfast raises FloatingPointError. In between lie a few powers of ten.

The number: the lowest loss.
"""

import math

from shared import figure, options, save

import mlpfast

chosen = options(__doc__)
X, y, _, _ = mlpfast.datasets.load_digits(split=True)
targets = (y[:, None] == range(10)).astype("float32")
rates = [10.0**k for k in range(-5, 2)] if chosen.quick else [10 ** (k / 4) for k in range(-20, 7)]
epochs = 10 if chosen.quick else 30


def loss_after_training(lr: float) -> float:
    """The training loss; infinity if training diverged."""
    net = mlpfast.Network([64, 64, 10], seed=0)
    trainer = mlpfast.Trainer(net, "half_squared_error", mlpfast.SGD(lr), batch_size=32, seed=0)
    try:
        trainer.fit(X, targets, epochs=epochs)
    except FloatingPointError as error:
        print(f"    {error}")
        return math.inf
    return trainer.evaluate(X, targets)["loss"]


start = mlpfast.Trainer(mlpfast.Network([64, 64, 10], seed=0), "half_squared_error").evaluate(X, targets)["loss"]
print(f"before training the loss is {start:.4f}")
losses = [loss_after_training(lr) for lr in rates]
best = min(losses)
for lr, loss in zip(rates, losses, strict=True):
    verdict = "diverged" if loss > start else "good" if loss < 2 * best else "too small" if lr < 1e-1 else "too large"
    print(f"lr {lr:<9.2g} loss {loss:<8.4f} {verdict}")

if chosen.plot:
    ax = figure()
    ax.loglog(rates, losses, "o-")  # infinite losses have no point
    ax.axhline(start, color="grey", linestyle="--", label="before training")
    ax.set(xlabel="learning rate", ylabel=f"loss after {epochs} epochs")
    ax.legend(loc="lower left")
    save(ax, chosen.plot)
print(f"result: learning_rates {best:.4f}")
