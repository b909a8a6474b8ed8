"""
Regularisation
==============

Against memorising the examples: 400 digits, a fifth of them with a random label.

The generalisation gap is the loss on other digits with as many wrong labels minus the training loss: without
regularisation, with a penalty l2/2 |W|^2 or l1 |W|, with dropout of hidden units, with noise on the inputs, and with
early stopping, which holds out a fifth of the 400 to see when their loss rises. The accuracy is that on the true labels
of the other digits.

The number: the largest gap of the five, as a share of the gap without any.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared import figure, options, save

import mlpfast
from mlpfast import callbacks

# Settings of the Network, of the Trainer; whether to stop early.
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "none": ({}, {}, False),
    "l2": ({}, {"l2": 2e-2}, False),
    "l1": ({}, {"l1": 2e-3}, False),
    "dropout": ({"dropout": 0.5}, {}, False),
    "input noise": ({"input_noise": 0.5}, {}, False),
    "early stopping": ({}, {}, True),
}

chosen = options(__doc__)
X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)


def mislabelled(labels: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return np.where(rng.random(len(labels)) < 0.2, rng.integers(10, size=len(labels)), labels)


def trained(
    seed: int, of_network: dict[str, Any], of_trainer: dict[str, Any], early: bool
) -> tuple[float, float, float]:
    """(training loss, test loss, test accuracy)."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(y))[:400]
    labels, labels_test = mislabelled(y[rows], rng), mislabelled(y_test, rng)
    net = mlpfast.Network([64, 128, 10], output="softmax", seed=seed, **of_network)
    trainer = mlpfast.Trainer(net, optimizer=mlpfast.Adam(), batch_size=20, seed=seed, **of_trainer)
    if early:
        (rows, aside), (labels, labels_aside) = np.split(rows, [320]), np.split(labels, [320])
        stopping = callbacks.EarlyStopping("val_loss", patience=10)
        trainer.fit(X[rows], labels, epochs=100, validation_data=(X[aside], labels_aside), callbacks=[stopping])
    else:
        trainer.fit(X[rows], labels, epochs=100)
    loss, test_loss = (trainer.evaluate(*data)["loss"] for data in [(X[rows], labels), (X_test, labels_test)])
    return loss, test_loss, trainer.evaluate(X_test, y_test)["accuracy"]


gaps = {}
print(f"{'':<15}{'train loss':>11}{'test loss':>11}{'gap':>7}{'accuracy':>10}")
for way, settings in WAYS.items():
    numbers = [trained(seed, *settings) for seed in range(1 if chosen.quick else 20)]
    train_loss, test_loss, accuracy = np.mean(numbers, axis=0)
    gaps[way] = test_loss - train_loss
    print(f"{way:<15}{train_loss:>11.3f}{test_loss:>11.3f}{gaps[way]:>7.3f}{100 * accuracy:>8.1f} %")

if chosen.plot:
    ax = figure()
    ax.barh(list(gaps), list(gaps.values()))
    ax.invert_yaxis()
    ax.set_xlabel("test loss - training loss")
    save(ax, chosen.plot)
print(f"result: regularisation {max(gap for way, gap in gaps.items() if way != 'none') / gaps['none']:.3f}")
