"""
Universal approximation
=======================

A wide enough hidden layer approximates any continuous function (Cybenko, 1989; Hornik, 1991). How wide must it be,
and is a deep network with as many parameters better (Telgarsky, 2016)?

The function: sin(2 pi x) + a small zigzag, on [-1, 1]. The number: the RMS error of the widest network.
"""

import numpy as np
from shared import figure, options, save

import mlpfast

chosen = options(__doc__)
x = np.linspace(-1, 1, 512)[:, None]
target = np.sin(2 * np.pi * x) + 0.5 * np.abs(4 * x % 2 - 1)
epochs = 1500 if chosen.quick else 12000


def fitted(sizes: list[int]) -> tuple[mlpfast.Network, float]:
    """A network trained on the function, and its RMS error. The first layer's units bend anywhere in [-1, 1]."""
    net = mlpfast.Network([1, *sizes, 1], activation="relu", dtype="float64", seed=0)
    first, rng = net.layers[0], np.random.default_rng(0)
    first.W[...] = rng.choice([-1, 1], first.n_out)
    first.b[...] = first.W[0] * rng.uniform(-1, 1, first.n_out)
    trainer = mlpfast.Trainer(net, "half_squared_error", mlpfast.Adam(), batch_size=64, seed=0)
    for lr in (0.01, 0.003, 0.001, 0.0003):
        trainer.optimizer.lr = lr
        trainer.fit(x, target, epochs=epochs // 4)
    return net, float(np.sqrt(np.mean((net.predict(x) - target) ** 2)))


widths = [2, 4, 8, 16, 32, 64, 128]
nets, errors = zip(*(fitted([width]) for width in widths), strict=True)
print("width  RMS error")
for width, error in zip(widths, errors, strict=True):
    print(f"{width:>5}  {error:.4f}")

print("at about equal parameters")
for sizes in ([160], [20, 20], [14, 14, 14]):
    net, error = fitted(sizes)
    print(f"{len(sizes)} hidden, {net.n_parameters} parameters: {error:.4f}")

if chosen.plot:
    left, right = figure(2)
    left.loglog(widths, errors, "o-")
    left.set(xlabel="width", ylabel="RMS error")
    right.plot(x, target, "k", label="the function")
    for i in (1, 3, 6):
        right.plot(x, nets[i].predict(x), label=f"width {widths[i]}")
    right.legend()
    save(left, chosen.plot)
print(f"result: universal_approximation {errors[-1]:.4f}")
