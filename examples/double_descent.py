"""
Double descent
==============

Beyond the width at which it can just fit all examples, a network gets better again (Belkin et al., 2019).

n digits, a fifth of them with a random label; a frozen random layer of relu units, and on it a linear layer that
minimises the squared error. Where the features become as many as the rows, a little above width = n since about one
unit in twenty is 0 for every digit, the fit becomes perfect and follows the wrong labels with very large weights: the
smallest singular value of the features is near 0. For larger widths there are many perfect fits; the SVD gives the one
with the smallest weights, to which gradient descent from zero would converge after very many steps.

The errors are medians over several draws. The number: the highest test error of all widths over that of the widest.
"""

import os

# Set before NumPy is imported: the threads of its SVD synchronise at every column, which on a busy machine takes
# minutes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from shared import figure, options, save

import mlpfast

chosen = options(__doc__)
X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
n = 200
widths = [10, 20, 40, 100, 150, 200, 250, 300, 500, 1000, 2000]
seeds = 3 if chosen.quick else 20


def trained(width: int, seed: int) -> list[float]:
    """[training error, test error]: mean squared errors of one-hot targets, of a 64-width-10 network."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(y))[:n]
    labels = np.where(rng.random(n) < 0.2, rng.integers(10, size=n), y[rows])
    layers = [
        mlpfast.Layer(64, width, "relu", init="normal", bias=False, trainable=False),
        mlpfast.Layer(width, 10, bias=False),
    ]
    net = mlpfast.Network(layers, dtype="float64", seed=seed)
    features = mlpfast.backprop.forward(net, X[rows]).a[0]
    net.layers[1].W[...] = np.linalg.lstsq(features, np.eye(10)[labels], rcond=None)[0]
    return [float(np.mean((net.predict(x) - np.eye(10)[k]) ** 2)) for x, k in [(X[rows], labels), (X_test, y_test)]]


print("width  training error  test error")
errors = []
for width in widths:
    errors.append(np.median([trained(width, seed) for seed in range(seeds)], axis=0))
    print(f"{width:>5}  {errors[-1][0]:>14.5f}  {errors[-1][1]:>10.4f}")
train, test = np.transpose(errors)

if chosen.plot:
    ax = figure()
    ax.loglog(widths, test, "o-", label="test")
    ax.semilogx(widths, np.maximum(train, 1e-4), "o-", label="training")
    ax.axvline(n, color="grey", linestyle="--", label="as wide as there are examples")
    ax.set(xlabel="width", ylabel="mean squared error")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)  # above: it would hide the peak
    save(ax, chosen.plot)
print(f"result: double_descent {test.max() / test[-1]:.3g}")
