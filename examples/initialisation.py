"""
Initial weights
===============

A layer of n inputs with W from N(0, v) multiplies the mean square of what it is given by n v, and relu halves it. So
after 20 layers the numbers are gone, or too large, unless v is about 1 / n for tanh (LeCun's and Glorot's weights) and
2 / n for relu (He's): with them signals and residuals keep their size, and the network learns.

If all weights are equal, all units of a layer compute the same, get the same residuals, and stay equal for ever.

The number: the mean square of a_20 relative to that of a_1, with relu and He's weights.
"""

import numpy as np
from shared import figure, options, save

import mlpfast

chosen = options(__doc__)
X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
X, X_test = 2 * X - X.mean(), 2 * X_test - X.mean()
depth, width = 20, 100


def network(unit: str, deviation: float) -> mlpfast.Network:
    """20 hidden layers of 100 units; W from N(0, deviation^2), b zero."""
    net = mlpfast.Network([64, *[width] * depth, 10], activation=unit, output="softmax", bias_init="zeros", seed=0)
    rng = np.random.default_rng(0)
    for layer in net.layers:
        layer.W[...] = deviation * rng.normal(size=layer.W.shape)
    return net


sizes = {}
print("                        RMS of a_1      a_20   delta_1  delta_20   accuracy after training")
for unit, times_n in [("tanh", 0.25), ("tanh", 1), ("tanh", 9), ("relu", 0.5), ("relu", 2), ("relu", 8)]:
    net = network(unit, np.sqrt(times_n / width))
    layers = mlpfast.diagnostics.gradient_flow(net, X, y, "cross_entropy").layers
    sizes[f"{unit}, {times_n:g} / n"] = a = [layer.a for layer in layers[:-1]]
    trainer = mlpfast.Trainer(net, optimizer=mlpfast.SGD(lr=0.02), batch_size=32, seed=0)
    try:
        trainer.fit(X, y, epochs=10 if chosen.quick else 40)
        learned = f"{100 * trainer.evaluate(X_test, y_test)['accuracy']:.1f} %"
    except FloatingPointError:
        learned = "diverged"
    numbers = "".join(f"{number:>10.2g}" for number in [a[0], a[-1], layers[0].delta, layers[depth - 1].delta])
    print(f"{unit}, variance {times_n:>4g} / n  {numbers}{learned:>14}")

# ---- equal weights
net = mlpfast.Network([64, 32, 10], output="softmax", seed=0)
net.layers[0].W[...], net.layers[0].b[...], net.layers[1].W[...] = 0.1, 0, 0.1
mlpfast.Trainer(net, optimizer=mlpfast.SGD(lr=0.1), seed=0).fit(X, y, epochs=5)
print(f"units that differ after training from equal weights: {len(np.unique(net.layers[0].W, axis=1).T)} of 32")

if chosen.plot:
    ax = figure()
    for label, a in sizes.items():
        ax.semilogy(range(1, depth + 1), a, "o-", markersize=3, label=label)
    ax.set(xlabel="layer", ylabel="RMS of a", xticks=range(1, depth + 1, 2))
    ax.legend()
    save(ax, chosen.plot)
he = sizes["relu, 2 / n"]
print(f"result: initialisation {(he[-1] / he[0]) ** 2:.3g}")
