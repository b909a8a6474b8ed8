"""Compares initializers on tables: errors on held-out rows after the same training from four initializations.

    python -m benchmarks.first_weights [--seeds 5] [--depths 1,2,3,4] [--activation relu] [--tables A,B] [--processes 2]

Hidden layers of 64, minibatches of 32, standardised columns and targets, Adam(1e-3) and SGD(0.01, momentum=0.9), a
quarter of the rows held out. The tables are scikit-learn's or made by a formula; nothing is downloaded.
"""

import argparse
import itertools
import math
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
from sklearn import datasets

import mlpfast

from . import report
from .peers import at_least_one, some_of

RELU_KIN = {"relu", "leaky_relu", "prelu", "elu", "gelu", "gelu_tanh", "silu", "mish", "softplus", "hard_swish"}
FORMER = ("he_normal", "xavier_normal")  # for relu and its kin; for all others and outputs. Biases were zero
STARTS = {
    "torch": lambda activation: {"init": "torch"},
    "glorot": lambda activation: {"init": "xavier_uniform"},
    "former": lambda activation: dict(
        init=FORMER[activation not in RELU_KIN], output_init="xavier_normal"
    ),
    "auto": lambda activation: {},
}
OTHERS = [name for name in STARTS if name != "auto"]
OPTIMIZERS = {"Adam": partial(mlpfast.Adam, lr=1e-3), "SGD": partial(mlpfast.SGD, lr=0.01, momentum=0.9)}
EPOCHS = (20, 60)
FIRST_SEED = 100  # smaller seeds were used to find the rule of "auto"

# ---- Tables: functions of (rng, seed) -> X (n, n_in), y (n,)


def scikit(name, *args, **kwargs):
    return lambda rng, seed: getattr(datasets, f"make_{name}")(*args, **kwargs, random_state=seed)


def shipped(name):
    return lambda rng, seed: getattr(datasets, f"load_{name}")(return_X_y=True)


def formula(n, n_in, y, width=None):
    """X uniform within width, or normal; y(X, rng)."""

    def table(rng, seed):
        X = rng.normal(size=(n, n_in)) if width is None else rng.uniform(-width, width, (n, n_in))
        return X, y(X, rng)

    return table


def noisy(deviation, f):
    return lambda X, rng: f(X) + deviation * rng.normal(size=len(X))


def flags(rng, seed):
    X = (rng.random((2000, 30)) < 0.3).astype(float)
    return X, X @ rng.normal(size=30) + 2 * X[:, 0] * X[:, 1] - 2 * X[:, 2] * X[:, 3] + 0.3 * rng.normal(size=2000)


def reach(X, rng):
    """The reach of an arm with these angles between its eight segments."""
    angles = np.cumsum(X, axis=1)
    return np.hypot(np.cos(angles).sum(1), np.sin(angles).sum(1))


SIX = {
    "friedman1": scikit("friedman1", 3000, noise=1.0),
    "friedman2": scikit("friedman2", 3000, noise=50.0),
    "friedman3": scikit("friedman3", 3000, noise=0.1),
    "diabetes": shipped("diabetes"),
    "sincos": formula(3000, 8, noisy(0, lambda X: np.sin(2 * X[:, :4]).sum(1) + np.cos(2 * X[:, 4:]).sum(1)), 2),
    "sines": formula(3000, 32, noisy(0, lambda X: np.sin(X).sum(1))),
}
FURTHER = {
    "linear": formula(1000, 20, lambda X, rng: X @ rng.normal(size=20) + rng.normal(size=1000)),
    "steps": formula(3000, 5, noisy(0.1, lambda X: np.floor(2 * X[:, 0]) + (X[:, 1] > X[:, 2])), 1),
    "wave": formula(2000, 2, noisy(0.1, lambda X: np.sin(6 * X[:, 0]) * np.cos(4 * X[:, 1])), 1),
    "curve": formula(1000, 1, noisy(0.1, lambda X: np.sin(3 * X[:, 0]) + 0.3 * X[:, 0]), 3),
    "products": formula(3000, 6, noisy(0, lambda X: X[:, 0] * X[:, 1] + X[:, 2] * X[:, 3] + X[:, 4])),
    "flags": flags,
    "teacher": formula(3000, 16, lambda X, rng: np.tanh(X @ rng.normal(size=(16, 8)) / 2) @ rng.normal(size=8)),
    "sparse": formula(2000, 60, noisy(0.2, lambda X: np.abs(X[:, 0]) + np.maximum(X[:, 1], X[:, 2]))),
    "arm": formula(3000, 8, reach, 1.5),
    "heavy": formula(2000, 10, noisy(0.1, lambda X: np.exp(0.5 * X[:, 0] + 0.3 * X[:, 1]) * (1 + X[:, 2] ** 2))),
}
CLASSES = {
    **{name: shipped(name) for name in ("digits", "wine", "breast_cancer", "iris")},
    "blobs": scikit("classification", 2000, 20, n_informative=8, n_redundant=4, n_classes=4, flip_y=0.02),
    "binary": scikit("classification", 2000, 50, n_informative=10, n_clusters_per_class=4),
    "moons": scikit("moons", 2000, noise=0.2),
    "circles": scikit("circles", 2000, noise=0.1, factor=0.6),
    "hastie": scikit("hastie_10_2", 3000),
    "quantiles": scikit("gaussian_quantiles", n_samples=2000, n_features=5, n_classes=3),
    "checker": formula(3000, 2, lambda X, rng: np.floor(2 * X).sum(1) % 2, 1),
}
TABLES = {**SIX, **FURTHER, **CLASSES}


def split(name, seed):
    """X, y, X_test, y_test: standardised float32, or class numbers."""
    rng = np.random.default_rng(seed)
    X, y = TABLES[name](rng, seed)
    order = rng.permutation(len(X))
    train, test = np.split(order, [len(X) * 3 // 4])
    y = np.unique(y, return_inverse=True)[1] if name in CLASSES else standardised(y, train)
    X = standardised(X, train)
    return X[train], y[train], X[test], y[test]


def standardised(a, train):
    deviation = a[train].std(axis=0)
    return ((a - a[train].mean(axis=0)) / np.where(deviation == 0, 1, deviation)).astype(np.float32)


# ---- Training


def errors(job):
    """{(start, epochs, measure): error on the held-out rows} of a job (table, seed, depth, optimizer, activation)."""
    name, seed, depth, optimizer, activation = job
    X, y, X_test, y_test = split(name, seed)
    classes = name in CLASSES
    sizes = [X.shape[1], *[64] * depth, y.max() + 1 if classes else 1]
    found = {}
    for start, inits in STARTS.items():
        net = mlpfast.Network(
            sizes, activation=activation, output="softmax" if classes else "identity", seed=seed, **inits(activation)
        )
        loss = "cross_entropy" if classes else "squared_error"
        trainer = mlpfast.Trainer(net, loss, OPTIMIZERS[optimizer](), batch_size=32, seed=seed, threads=1)
        for epochs in EPOCHS:
            trainer.fit(X, y, epochs=epochs - trainer.epoch)
            yhat = net.predict(X_test, threads=1).astype(float)
            if classes:
                wrong, n = np.sum(yhat.argmax(axis=1) != y_test), len(y_test)
                found[start, epochs, "error"] = (wrong + 0.5) / (n + 1)  # positive, since its logarithm is used
                likelihood = np.maximum(yhat[np.arange(n), y_test], 1e-7)
                found[start, epochs, "log loss"] = -np.log(likelihood).mean()
            else:
                found[start, epochs, "mse"] = np.mean((yhat[:, 0] - y_test) ** 2)
    return found


# ---- Results

KINDS = [("regression, six", SIX, "mse"), ("regression, further", FURTHER, "mse"),
         ("classification", CLASSES, "error"), ("classification", CLASSES, "log loss")]  # fmt: skip


def geometric_mean(found, start, epochs, measure, tables, optimizer, depths):
    """Geometric means over tables and depths of the mean over seeds; found: {job: result of `errors`}."""
    of_seeds = {}
    for (name, _, depth, used, _), each in found.items():
        if name in tables and used == optimizer and depth in depths:
            of_seeds.setdefault((name, depth), []).append(each[start, epochs, measure])
    return math.exp(np.mean([math.log(np.mean(values)) for values in of_seeds.values()]))


def sections(found):
    """Errors divided by the best of the other three starts: of every start, and of "auto" by depth."""
    depths = sorted({depth for _, _, depth, _, _ in found})
    names = {name for name, *_ in found}
    columns = ["tables", "measure", "epochs", "optimizer"]
    overall = report.Section("first weights", "Error / the best of torch, glorot, former", [*columns, *STARTS])
    by_depth = report.Section("by depth", "The same of auto, by hidden layers", [*columns, *map(str, depths)])
    for (kind, tables, measure), epochs, optimizer in itertools.product(KINDS, EPOCHS, OPTIMIZERS):
        if not names & tables.keys():
            continue

        def ratios(depths, which=(epochs, measure, tables, optimizer)):
            means = {start: geometric_mean(found, start, *which, depths) for start in STARTS}
            best = min(means[start] for start in OTHERS)
            return {start: mean / best for start, mean in means.items()}

        row = [kind, measure, epochs, optimizer]
        overall.rows.append([*row, *ratios(depths).values()])
        by_depth.rows.append([*row, *(ratios([depth])["auto"] for depth in depths)])
    return [overall, by_depth]


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_weights", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--seeds", type=at_least_one, default=5, help="of tables, weights and orders (5)")
    add("--depths", type=some_of(list("1234")), default=list("1234"), help="numbers of hidden layers (1,2,3,4)")
    add("--activation", choices=mlpfast.activations.NAMES, default="relu", metavar="NAME", help="of these (relu)")
    add("--tables", type=some_of(TABLES), default=list(TABLES), help=f"some of {', '.join(TABLES)} (all)")
    add("--processes", type=at_least_one, default=2, help="at once (2)")
    options = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    jobs = list(itertools.product(options.tables, seeds, map(int, options.depths), OPTIMIZERS, [options.activation]))
    with ProcessPoolExecutor(options.processes, mp_context=get_context("fork")) as pool:
        found = dict(zip(jobs, pool.map(errors, jobs, chunksize=4), strict=True))
    for section in sections(found):
        print(report.text(section))


if __name__ == "__main__":
    main()
