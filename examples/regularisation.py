"""What keeps a network from learning its examples by heart: 200 of the digits, and 128 hidden units.

The generalisation gap is the loss on other digits minus the loss on those it has seen, after training without anything,
with a penalty l2/2 |W|^2 or l1 |W|, with dropout of hidden units, and with noise on the inputs.

The number: the smallest gap of the four, as a share of the gap without any.
"""

import numpy as np
from shared import figure, options, save

import mlpfast

WAYS = {  # settings of the Network, of the Trainer
    "none": ({}, {}),
    "l2": ({}, {"l2": 1e-2}),
    "l1": ({}, {"l1": 1e-3}),
    "dropout": ({"dropout": 0.5}, {}),
    "input noise": ({"input_noise": 0.3}, {}),
}

chosen = options(__doc__)
X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
X, y = X[:200], y[:200]

gaps = {}
print(f"{'':<12}{'train loss':>11}{'test loss':>11}{'gap':>7}{'test accuracy':>15}")
for way, (of_network, of_trainer) in WAYS.items():
    logs = []
    for seed in range(3 if chosen.quick else 10):
        net = mlpfast.Network([64, 128, 10], output="softmax", seed=seed, **of_network)
        trainer = mlpfast.Trainer(net, optimizer=mlpfast.Adam(), batch_size=20, seed=seed, **of_trainer)
        trainer.fit(X, y, epochs=200)
        train, test = trainer.evaluate(X, y), trainer.evaluate(X_test, y_test)
        logs.append([train["loss"], test["loss"], test["accuracy"]])
    train_loss, test_loss, accuracy = np.mean(logs, axis=0)
    gaps[way] = test_loss - train_loss
    print(f"{way:<12}{train_loss:>11.3f}{test_loss:>11.3f}{gaps[way]:>7.3f}{100 * accuracy:>13.1f} %")

if chosen.plot:
    ax = figure()
    ax.bar(list(gaps), list(gaps.values()))
    ax.set_ylabel("test loss - training loss")
    save(ax, chosen.plot)
print(f"result: regularisation {min(gaps.values()) / gaps['none']:.3f}")
