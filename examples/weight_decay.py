"""
Weight decay
============

The penalty (l2/2) |W|^2 adds l2 W to the gradient, so that a step of SGD multiplies W by 1 - lr l2 first: it decays.

For one linear layer the minimum is ridge regression. Along the singular directions of X (n rows, singular value s) the
solution without a penalty is multiplied by s^2 / (s^2 + n l2): directions in which X hardly varies are given up, the
others stay.

With Adam a penalty is no decay: its gradient is divided by sqrt(v) like the rest, and the first step has the length lr
whatever the gradient is. AdamW takes lr weight_decay W off by itself (Loshchilov and Hutter, 2019).

The number: the largest difference between the shrinking that training finds and s^2 / (s^2 + n l2).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared import figure, options, save

import mlpfast

chosen = options(__doc__)
rng = np.random.default_rng(0)
n, l2 = 100, 0.05
sigma = np.array([30.0, 10.0, 3.0, 1.0, 0.3])
U, V = (np.linalg.qr(rng.normal(size=(rows, 5)))[0] for rows in (n, 5))
X = U * sigma @ V.T
y = X @ (V @ np.ones(5)) + 0.01 * rng.normal(size=n)  # without a penalty: about 1 along each direction


def trained(l2: float, steps: int = 3000 if chosen.quick else 20000) -> NDArray[Any]:
    """W (5,) after gradient descent on the half squared error of all rows."""
    net = mlpfast.Network([mlpfast.Layer(5, 1, init="zeros", bias=False)], dtype="float64")
    rate = 1 / (sigma[0] ** 2 / n + l2)
    mlpfast.Trainer(net, "half_squared_error", mlpfast.SGD(rate), batch_size=None, l2=l2).fit(X, y, epochs=steps)
    return net.layers[0].W[:, 0]


free, penalised = V.T @ np.linalg.lstsq(X, y, rcond=None)[0], V.T @ trained(l2)
expected, found = sigma**2 / (sigma**2 + n * l2), penalised / free
print("singular value  s^2 / (s^2 + n l2)  training")
for s, factor, own in zip(sigma, expected, found, strict=True):
    print(f"{s:>14}{factor:>20.4f}{own:>10.4f}")

# ---- one step on the digits, with and without decay: what it takes off W, as a multiple of lr l2 W
images, labels = mlpfast.datasets.load_digits()
print("\none step takes off W, in units of lr l2 W")
for name, optimizer, decayed, penalty in [
    ("SGD, l2", mlpfast.SGD(lr=0.01), mlpfast.SGD(lr=0.01), 0.1),
    ("Adam, l2", mlpfast.Adam(lr=0.01), mlpfast.Adam(lr=0.01), 0.1),
    ("AdamW", mlpfast.AdamW(lr=0.01, weight_decay=0), mlpfast.AdamW(lr=0.01, weight_decay=0.1), 0),
]:
    after = []
    for kind, of_trainer in ((optimizer, 0), (decayed, penalty)):
        net = mlpfast.Network([64, 32, 10], activation="tanh", output="softmax", dtype="float64", seed=0)
        before = net.layers[1].W.copy()
        mlpfast.Trainer(net, optimizer=kind, l2=of_trainer).step(images, labels)
        after.append(net.layers[1].W)
    print(f"{name:<10}{np.median((after[0] - after[1]) / (0.01 * 0.1 * before)):>7.4f}")

if chosen.plot:
    ax = figure()
    s = np.logspace(-1, 2, 100)
    ax.semilogx(s, s**2 / (s**2 + n * l2), label=r"$s^2 / (s^2 + n\,\ell_2)$")
    ax.semilogx(sigma, found, "o", label="training")
    ax.set(xlabel="singular value of X", ylabel="factor")
    ax.legend()
    save(ax, chosen.plot)
print(f"result: weight_decay {np.abs(found - expected).max():.3g}")
