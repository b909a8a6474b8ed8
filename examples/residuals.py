"""
Backpropagation and residuals
=============================

The residual delta_l of a layer is d loss / d z_l, a row for each example. The last one comes from the loss, each other
one from the one above it, and the gradients from the residuals:

    delta_L = yhat - y               softmax with cross-entropy
    delta_l = (delta_{l+1} W_{l+1}^T) * g'(z_l)
    dJ/dW_l = (1/B) a_{l-1}^T delta_l        dJ/db_l = (1/B) sum of the rows of delta_l

Here these lines stand in NumPy beside `mlpfast.backprop` and central differences. A hidden residual is found by the
differences as well: z_l is changed, and the layers above it are computed again.

The number: the largest difference between the residuals and gradients in NumPy and those of mlpfast.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared import figure, options, save

import mlpfast
from mlpfast import backprop


def from_layer(net: mlpfast.Network, l: int, z: NDArray[Any]) -> NDArray[Any]:
    """The output of the network for given z of layer l (from 1 on)."""
    for layer in net.layers[l:]:
        z = np.tanh(z) @ layer.W + layer.b
    e = np.exp(z - z.max(axis=1, keepdims=True))
    yhat: NDArray[Any] = e / e.sum(axis=1, keepdims=True)
    return yhat


def by_differences(
    net: mlpfast.Network, l: int, z: NDArray[Any], y: NDArray[Any], h: float = 1e-6
) -> NDArray[Any]:
    """delta_l by central differences of the losses -log yhat_c of the rows."""
    delta, rows = np.empty_like(z), np.arange(len(z))
    for j in range(z.shape[1]):
        step = h * np.eye(z.shape[1])[j]
        above, below = (from_layer(net, l, z + sign * step)[rows, y] for sign in (1, -1))
        delta[:, j] = (np.log(below) - np.log(above)) / (2 * h)
    return delta


chosen = options(__doc__)
X, y = (array[: 64 if chosen.quick else 512] for array in mlpfast.datasets.load_digits())
net = mlpfast.Network([64, 32, 16, 10], activation="tanh", output="softmax", dtype="float64", seed=0)
W = [layer.W for layer in net.layers]

# ---- in NumPy, as above; layer l is at [l - 1]
a, z = [X], []
for layer in net.layers:
    z.append(a[-1] @ layer.W + layer.b)
    a.append(np.tanh(z[-1]))
yhat = from_layer(net, 3, z[2])
delta_3 = yhat - np.eye(10)[y]
delta_2 = (delta_3 @ W[2].T) * (1 - a[2] ** 2)
delta_1 = (delta_2 @ W[1].T) * (1 - a[1] ** 2)
deltas = [delta_1, delta_2, delta_3]
dW = [below.T @ delta / len(X) for below, delta in zip(a, deltas, strict=False)]

# ---- in mlpfast, with the kernels of the training
ours = backprop.residuals(net, X, y, "cross_entropy")
gradients = backprop.gradients(net, X, y, "cross_entropy")

print("layer  shape of delta  RMS of delta  from NumPy's  from differences  RMS of dW  from NumPy's")
apart = []
for l, (delta, (dW_l, _)) in enumerate(zip(ours, gradients, strict=True), 1):
    apart += [np.abs(delta - deltas[l - 1]).max(), np.abs(dW_l - dW[l - 1]).max()]
    numeric = np.abs(delta - by_differences(net, l, z[l - 1], y)).max()
    sizes = [np.sqrt(np.mean(array**2)) for array in (delta, dW_l)]
    print(f"{l:>5}{delta.shape!s:>16}{sizes[0]:>14.4f}{apart[-2]:>14.0e}{numeric:>18.0e}{sizes[1]:>11.4f}{apart[-1]:>14.0e}")

if chosen.plot:
    save(mlpfast.plots.residuals(net, X, y, "cross_entropy", figure()), chosen.plot)
print(f"result: residuals {max(apart):.3g}")
