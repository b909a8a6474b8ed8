"""One epoch of training, in mlpfast and in plain NumPy: first the same loss from both, then the times."""

import os

import numpy as np
import pytest

import mlpfast
from mlpfast._numpy_mlp import NumpyMLP

CASES = {  # widths, batch size, examples in an epoch
    "64-64-10 batch 32": ([64, 64, 10], 32, 2048),
    "784-128-10 batch 64": ([784, 128, 10], 64, 4096),
}
LR, MOMENTUM = 0.01, 0.9


class Case:
    """Random data, and the two programs on the same first weights."""

    def __init__(self, name, threads=None):
        self.sizes, batch_size, n = CASES[name]
        rng = np.random.default_rng(0)
        self.X = rng.random((n, self.sizes[0]), np.float32)
        self.y = rng.integers(self.sizes[-1], size=n)
        self.order = np.arange(n)
        network = mlpfast.Network(self.sizes, output="softmax", seed=0)
        self.twin = NumpyMLP(network.parameters, batch_size=batch_size, lr=LR, momentum=MOMENTUM)
        self.trainer = mlpfast.Trainer(
            network,
            optimizer=mlpfast.SGD(lr=LR, momentum=MOMENTUM),
            batch_size=batch_size,
            shuffle=False,
            threads=threads,
        )

    def mlpfast_epoch(self):
        return self.trainer.fit(self.X, self.y)["loss"][0]

    def numpy_epoch(self):
        return self.twin.epoch(self.X, self.y, self.order)

    def flops(self):
        """Of the matrix products of one epoch: forward, dW, and delta below (which layer 1 does not need)."""
        products = [a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False)]
        return 2 * len(self.X) * (3 * sum(products) - products[0])


def run(benchmark, name, case, epoch, threads):
    for _ in range(2):
        assert np.isclose(case.mlpfast_epoch(), case.numpy_epoch(), rtol=1e-4)
    benchmark.group = name
    benchmark.extra_info["threads"] = threads
    benchmark(epoch)
    if benchmark.stats:  # None with --benchmark-disable
        benchmark.extra_info["GFLOP/s"] = round(case.flops() / benchmark.stats["median"] / 1e9, 1)


@pytest.mark.parametrize("threads", [1, None])
@pytest.mark.parametrize("name", CASES)
def test_mlpfast(benchmark, name, threads):
    case = Case(name, threads)
    run(benchmark, name, case, case.mlpfast_epoch, threads or f"at most {mlpfast.get_num_threads()}")


@pytest.mark.parametrize("name", CASES)
def test_numpy(benchmark, name):
    case = Case(name)
    run(benchmark, name, case, case.numpy_epoch, os.environ.get("OPENBLAS_NUM_THREADS", "as BLAS likes"))
