"""
Random projections
==================

A fixed random layer below a trained one: the signs of random projections preserve the angles between images
(Charikar, 2002), and a linear layer on many of them classifies digits. Rosenblatt's perceptron (1958) had this
structure.

The number: the test accuracy at the greatest width.
"""

import numpy as np
from shared import figure, options, save

import mlpfast

chosen = options(__doc__)
X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
X, X_test = X - X.mean(axis=0), X_test - X.mean(axis=0)  # planes through the middle of the data cut it best


def accuracy(layers: list[mlpfast.Layer], lr: float = 1e-3) -> float:
    net = mlpfast.Network(layers, seed=0)
    trainer = mlpfast.Trainer(net, optimizer=mlpfast.Adam(lr), batch_size=32, l2=1e-3, seed=0)
    trainer.fit(X, y, epochs=10 if chosen.quick else 60)
    return trainer.evaluate(X_test, y_test)["accuracy"]


# The share of signs in which two images differ is the angle between them, divided by pi, up to chance.
signs = mlpfast.Network([mlpfast.Layer(64, 3000, "sign", init="normal", bias=False)], seed=0).predict(X_test[:100])
share = (1 - signs @ signs.T / 3000) / 2
units = X_test[:100] / np.linalg.norm(X_test[:100], axis=1, keepdims=True)
angles = np.arccos(np.clip(units @ units.T, -1, 1)) / np.pi
print(f"share of 3000 signs that differ, and angle / pi: at most {np.abs(share - angles).max():.3f} apart")

linear = accuracy([mlpfast.Layer(64, 10, "softmax")], lr=1e-2)  # 64 inputs need longer steps than 3000
print(f"linear, without the random layer: {100 * linear:.1f} %")
widths, found = [30, 300, 3000] if chosen.quick else [10, 30, 100, 300, 1000, 3000], []
for width in widths:
    frozen = mlpfast.Layer(64, width, "sign", init="normal", bias=False, trainable=False)
    found.append(accuracy([frozen, mlpfast.Layer(width, 10, "softmax")]))
    print(f"{width:>5} random signs: {100 * found[-1]:.1f} %")

if chosen.plot:
    ax = figure()
    ax.semilogx(widths, found, "o-")
    ax.set(xlabel="random signs", ylabel="test accuracy")
    save(ax, chosen.plot)
print(f"result: random_projection {found[-1]:.4f}")
