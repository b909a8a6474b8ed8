"""
Vanishing gradients
===================

How the residual delta shrinks through 20 layers, for three choices of activation and initial weights.

Each layer multiplies delta by W^T and by g'. sigmoid' is at most 1/4, so with Xavier's weights, which by themselves
keep the size of delta, it loses a factor of 4 per layer. Weights from N(0, 1) compensate for some of that, but saturate
the units. ReLU's derivative is 0 or 1, and He's weights compensate for the zeros.

The number: |delta_1| / |delta_L| with ReLU and He, relative to that with sigmoid and Xavier.
"""

import numpy as np
from shared import figure, options, save

import mlpfast

chosen = options(__doc__)
depth, width, n = 20, 100, 64 if chosen.quick else 512
rng = np.random.default_rng(0)
X, y = rng.normal(size=(n, width)), rng.integers(10, size=n)

reports = {}
for unit, init in [("sigmoid", "normal"), ("sigmoid", "xavier_normal"), ("relu", "he_normal")]:
    hidden = [mlpfast.Layer(width, width, unit, init=init) for _ in range(depth - 1)]
    net = mlpfast.Network([*hidden, mlpfast.Layer(width, 10, "softmax")], dtype="float64", seed=0)
    reports[unit, init] = mlpfast.diagnostics.gradient_flow(net, X, y, "cross_entropy")

print("RMS of delta", *(f"{unit} + {init:<15}" for unit, init in reports), sep="   ")
for l in range(depth):
    print(f"layer {l + 1:>6}", *(f"{report.layers[l].delta:<22.2e}" for report in reports.values()), sep="   ")
for (unit, init), report in reports.items():
    print(f"{unit} + {init}: {report.reason()}; {100 * np.nan_to_num(report.layers[0].saturated):.0f} % saturated")

# The reason without a network: the size of a product of matrices is geometric in their number.
product = np.eye(4)
for _ in range(100):
    product = product @ rng.normal(size=(4, 4))
print(f"the norm of a product of 100 matrices of 4 x 4 numbers from N(0, 1): {np.linalg.norm(product):.1e}")

if chosen.plot:
    ax = figure()
    for (unit, init), report in reports.items():
        ax.semilogy(range(1, depth + 1), [layer.delta for layer in report.layers], "o-", label=f"{unit} + {init}")
    ax.set(xlabel="layer", ylabel="RMS of delta", xticks=range(1, depth + 1, 2))
    ax.legend()
    save(ax, chosen.plot)
gain = reports["relu", "he_normal"].ratio / reports["sigmoid", "xavier_normal"].ratio
print(f"result: vanishing_gradients {gain:.3g}")
