"""
Monte Carlo dropout
===================

Uncertainty of predictions (Gal and Ghahramani, 2016): many predictions with random dropout
show how much they differ.

On a curve through noisy points, the standard deviation of the samples is larger where there are no points, which the
plain prediction does not show. It indicates where the curve cannot be trusted, but underestimates its error.

On digits, misclassified ones mostly have a larger deviation than others. Here the entropy of the plain prediction
separates them as well, but the plain probabilities are overconfident: those of the mean have a lower loss.

The number: among all pairs of a misclassified digit and another, the fraction in which the misclassified one has the
larger deviation; chance is 0.5.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared import figure, options, save

import mlpfast


def told_apart(u: NDArray[Any], marked: NDArray[Any]) -> float:
    """The area under the ROC curve: of all pairs of a marked and another entry, the fraction with larger u if
    marked."""
    return float(np.mean(1 + np.sign(u[marked][:, None] - u[~marked])) / 2)


def entropy(p: NDArray[Any]) -> Any:
    return -(p * np.log(p + 1e-30)).sum(axis=1)


def digits(seed: int) -> Iterator[tuple[float, float, NDArray[Any]]]:
    """For three measures of uncertainty: the loss, the area under the ROC curve, the accuracy on the k most certain."""
    net = mlpfast.Network([64, 256, 256, 10], output="softmax", dropout=0.5, seed=seed)
    trainer = mlpfast.Trainer(net, optimizer=mlpfast.Adam(), batch_size=32, seed=seed)
    trainer.fit(X, y, epochs=30 if chosen.quick else 100)
    plain = net.predict(X_test)
    mean, deviation = net.predict(X_test, dropout=True, samples=100, seed=seed)
    rows = np.arange(len(y_test))
    for p, u in [(plain, entropy(plain)), (mean, entropy(mean)), (mean, deviation[rows, mean.argmax(axis=1)])]:
        wrong = p.argmax(axis=1) != y_test
        surest = 1 - np.cumsum(wrong[np.argsort(u)]) / (rows + 1)
        yield -np.log(p[rows, y_test]).mean(), told_apart(u, wrong), surest


chosen = options(__doc__)
rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (200, 1))
height = np.sin(4 * x) + rng.normal(scale=0.05, size=x.shape)
# Steep units: far out it shows when one is dropped.
net = mlpfast.Network(
    [1, 100, 100, 1], activation="relu", dropout=0.1, init="he_normal", output_init="xavier_normal", seed=0
)
trainer = mlpfast.Trainer(net, "half_squared_error", mlpfast.Adam(), batch_size=20, seed=0)
trainer.fit(x, height, epochs=300 if chosen.quick else 2000)
everywhere = np.linspace(-2, 2, 401)
mean, deviation = net.predict(everywhere[:, None], dropout=True, samples=200, seed=0, squeeze=True)
outside = np.abs(everywhere) > 1
error = np.abs(mean - np.sin(4 * everywhere))
for name, where in [("with points", ~outside), ("without", outside)]:
    print(f"{name:<12} deviation {deviation[where].mean():.3f}   error {error[where].mean():.3f}")
print(f"told apart by the deviation: {told_apart(deviation, outside):.3f}")

X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
runs = zip(*(digits(seed) for seed in range(1 if chosen.quick else 5)), strict=True)
ways = ["entropy, plain", "entropy of the mean", "deviation"]
surest = {}
print(f"\n{'digits':<20}    loss  told apart  right  of the surest 80 %")
for way, numbers in zip(ways, runs, strict=True):
    loss, apart, surest[way] = (np.mean(column, axis=0) for column in zip(*numbers, strict=True))
    most = surest[way][len(y_test) * 4 // 5 - 1]
    print(f"{way:<20}{loss:>8.3f}{apart:>12.3f}{100 * surest[way][-1]:>7.1f} %{100 * most:>17.1f} %")

if chosen.plot:
    left, right = figure(2)
    low, high = mean - 2 * deviation, mean + 2 * deviation
    left.fill_between(everywhere, low, high, alpha=0.3, label="2 deviations about the mean")
    left.plot(everywhere, mean)
    left.plot(everywhere, np.sin(4 * everywhere), "k--", label="the function")
    left.plot(x, height, "k.", markersize=3, label="the points")
    left.legend()
    for way, accuracy in surest.items():
        right.plot(np.arange(1, len(y_test) + 1) / len(y_test), accuracy, label=way)
    right.set(xlabel="share of the digits kept, the surest first", ylabel="accuracy")
    right.legend()
    save(left, chosen.plot)
print(f"result: mc_dropout {apart:.3f}")
