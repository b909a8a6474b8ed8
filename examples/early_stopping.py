"""
Early stopping
==============

A network that is larger than its data need learns what all examples share first, and their peculiarities later: the
training loss goes on falling when that of other examples rises. Early stopping holds out some examples, ends the
training when their loss has not fallen for some epochs (the patience), and restores the parameters of the best epoch.

400 digits, of which a fifth have a random label, 100 of them held out; a test set with as many wrong labels.

The number: the test loss at the end of a training of all epochs, relative to that of the restored parameters.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared import figure, options, save

import mlpfast
from mlpfast import callbacks

chosen = options(__doc__)
X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
rng = np.random.default_rng(0)
rows = rng.permutation(len(y))[:400]


def mislabelled(labels: NDArray[Any]) -> NDArray[Any]:
    return np.where(rng.random(len(labels)) < 0.2, rng.integers(10, size=len(labels)), labels)


X, y, y_noisy = X[rows], mislabelled(y[rows]), mislabelled(y_test)
held_out = X[300:], y[300:]


def trained(epochs: int, *calls: Any) -> tuple[mlpfast.Trainer, mlpfast.History]:
    net = mlpfast.Network([64, 128, 10], output="softmax", seed=0)
    trainer = mlpfast.Trainer(net, optimizer=mlpfast.Adam(), batch_size=20, seed=0)
    history = trainer.fit(X[:300], y[:300], epochs=epochs, validation_data=held_out, callbacks=calls)
    return trainer, history


epochs = 100 if chosen.quick else 400
whole, history = trained(epochs)
print("epoch  training loss  held-out loss")
for epoch in (1, 5, 10, 20, 50, epochs):
    print(f"{epoch:>5}{history['loss'][epoch - 1]:>15.3f}{history['val_loss'][epoch - 1]:>15.3f}")

stopping = callbacks.EarlyStopping("val_loss", patience=10)
stopped, short = trained(epochs, stopping)
best = 1 + (stopping.best_epoch or 0)
print(f"stopped after {short.n_epochs} epochs; the best was epoch {best}")
test = {}
for name, trainer in (("all epochs", whole), ("early stopping", stopped)):
    test[name] = trainer.evaluate(X_test, y_noisy)["loss"]
    accuracy = trainer.evaluate(X_test, y_test)["accuracy"]
    print(f"{name:<15} test loss {test[name]:.3f}, {100 * accuracy:.1f} % of the true labels")

if chosen.plot:
    ax = figure()
    numbers = range(1, epochs + 1)
    ax.plot(numbers, history["loss"], label="training")
    ax.plot(numbers, history["val_loss"], label="held out")
    ax.axvline(best, color="grey", linestyle="--", label="the parameters that are kept")
    ax.set(xlabel="epoch", ylabel="loss", ylim=(0, 3))
    ax.legend()
    save(ax, chosen.plot)
print(f"result: early_stopping {test['all epochs'] / test['early stopping']:.3g}")
