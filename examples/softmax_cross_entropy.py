"""
Softmax and cross-entropy
=========================

Softmax turns logits z into probabilities e^z_j / sum e^z_k, and the cross-entropy of the true class c is -log p_c. The
residual of the two together is p - y, y being the one-hot row of c: nothing saturates. With the squared error after the
same softmax, the residual of a row that is confidently wrong vanishes, so that such rows do not learn.

Computed as they are written, both overflow from z = 710 on in float64. The core subtracts the largest logit first,
which changes nothing but that, and computes log p from z, without p.

The number: the largest difference between p - y and central differences of the loss in z, over random logits.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared import figure, options, save

import mlpfast
from mlpfast import backprop


def logits_are_inputs(K: int) -> mlpfast.Network:
    """A network of one layer whose z is its input: z = x I."""
    net = mlpfast.Network([mlpfast.Layer(K, K, "softmax", bias=False)], dtype="float64", seed=0)
    net.layers[0].W[...] = np.eye(K)
    return net


def naive(z: NDArray[Any]) -> NDArray[Any]:
    """Softmax as it is written."""
    p: NDArray[Any] = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return p


chosen = options(__doc__)
rng = np.random.default_rng(0)
net = logits_are_inputs(3)

# ---- the residual is p - y
n, h = 100 if chosen.quick else 10000, 1e-6
Z, c = 3 * rng.normal(size=(n, 3)), rng.integers(3, size=n)


def losses(z: NDArray[Any]) -> NDArray[Any]:
    return -np.log(net.predict(z)[range(n), c])


delta = net.predict(Z) - np.eye(3)[c]
numeric = np.stack([(losses(Z + h * e) - losses(Z - h * e)) / (2 * h) for e in np.eye(3)], axis=1)
difference = np.abs(delta - numeric).max()
same = (backprop.residuals(net, Z, c, "cross_entropy")[0] == delta).all()
print(f"the residual is p - y: {same}; largest difference from central differences: {difference:.1e}")
print(f"largest change of p when 5 is added to all logits: {np.abs(net.predict(Z + 5) - net.predict(Z)).max():.1e}")

# ---- the true class is 0, and its logit is m lower than the two others
margins = np.linspace(-10, 20, 61)
rows = np.stack([-margins, 0 * margins, 0 * margins], axis=1)
p = net.predict(rows)[:, 0]
sizes = {
    loss: np.linalg.norm(backprop.residuals(net, rows, np.zeros(len(rows), int), loss)[0], axis=1)
    for loss in ("cross_entropy", "squared_error")
}
print("\nlogit lower by  p of the truth  |delta| cross-entropy  |delta| squared error")
for i in np.searchsorted(margins, [-5, 0, 5, 10, 20]):
    print(f"{margins[i]:>14.0f}{p[i]:>16.2e}{sizes['cross_entropy'][i]:>23.2e}{sizes['squared_error'][i]:>23.2e}")

# ---- large logits
large = np.array([[1000.0, 0.0, -1000.0]])
with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # of the overflow
    print(f"\np of the logits 1000, 0, -1000: as it is written {naive(large)[0]}, here {net.predict(large)[0]}")
print(f"their cross-entropies: {[mlpfast.Trainer(net).evaluate(large, [k])['loss'] for k in range(3)]}")

# ---- two classes: softmax of (z_0, z_1) is the sigmoid of z_1 - z_0
two = 3 * rng.normal(size=(100, 2))
apart = np.abs(logits_are_inputs(2).predict(two)[:, 1] - 1 / (1 + np.exp(two[:, 0] - two[:, 1]))).max()
print(f"largest difference between softmax of two logits and sigmoid of theirs: {apart:.1e}")

if chosen.plot:
    ax = figure()
    for loss, size in sizes.items():
        ax.semilogy(margins, size, label=loss.replace("_", " "))
    ax.set(xlabel="how much lower the logit of the true class is", ylabel="norm of the residual")
    ax.legend()
    save(ax, chosen.plot)
print(f"result: softmax_cross_entropy {difference:.3g}")
