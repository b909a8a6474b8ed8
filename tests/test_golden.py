"""Four networks with known bits: golden.txt has the SHA-256 of their parameters and predictions.

The hashes are the same for any threads, split of the rows, instruction set, compiler and run. `make -C tests/c golden`
trains them without Python, also where Python does not run: under clang, and for NEON in an emulator. After an intended
change of the bits, write the file again: python tests/test_golden.py > tests/golden.txt
"""

import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlpfast import SGD, Adam, Network, RMSprop, Trainer, _core

GOLDEN = Path(__file__).with_name("golden.txt")
ROWS, SEED = 301, 2026
HE = dict(init="he_normal", output_init="xavier_normal")
XAVIER = dict(init="xavier_normal")

# sizes, settings of the Network, loss, optimizer, settings of the Trainer, whether there are sample weights
NETWORKS = {
    "relu-sgd-dropout": (
        [37, 61, 13], dict(activation="relu", output="softmax", dropout=0.25, input_dropout=0.1, **HE),
        "cross_entropy", SGD(lr=0.1), {}, False,
    ),
    "tanh-adam": (
        [29, 67, 33, 5], dict(activation="tanh", **XAVIER), "half_squared_error", Adam(lr=0.01), {}, False,
    ),
    "gelu-rmsprop-l1-noise": (
        [37, 70, 41, 7], dict(activation="gelu", output="sigmoid", input_noise=0.1, **HE),
        "binary_cross_entropy", RMSprop(lr=0.01), dict(l1=1e-4), False,
    ),
    "sigmoid-nesterov": (
        [21, 131, 11], dict(activation="sigmoid", output="softmax", **XAVIER), "cross_entropy",
        SGD(lr=0.5, momentum=0.9, nesterov=True), dict(l2=1e-3), True,
    ),
}
CASES = [f"{name}-{dtype}" for name in NETWORKS for dtype in ("float32", "float64")]
THREADS = [1, 2, 3, 7, 16]


def normal(stream, *shape):
    return _core.random_normal(int(np.prod(shape)), SEED, stream).reshape(shape)


def uniform(stream, *shape):
    return _core.random_uniform(int(np.prod(shape)), SEED, stream).reshape(shape)


def problem(case):
    name, dtype = case.rsplit("-", 1)
    sizes, _, loss, *_, weighted = NETWORKS[name]
    if loss == "cross_entropy":
        y = (uniform(1, ROWS) * sizes[-1]).astype(int)
    else:
        y = (normal if loss == "half_squared_error" else uniform)(2, ROWS, sizes[-1])
    return normal(0, ROWS, sizes[0]).astype(dtype), y, uniform(3, ROWS) + 0.5 if weighted else None


def trained(case, threads=None):
    name, dtype = case.rsplit("-", 1)
    sizes, settings, loss, optimizer, more, _ = NETWORKS[name]
    X, y, weight = problem(case)
    net = Network(sizes, dtype=dtype, seed=SEED, **settings)
    Trainer(net, loss, optimizer, batch_size=50, seed=SEED, threads=threads, **more).fit(
        X, y, epochs=3, sample_weight=weight
    )
    return net, X


def hashed(net, prediction):
    sha = hashlib.sha256()
    for array in [*net.parameters, prediction]:
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


@functools.cache
def golden():
    return {name: sha for sha, name in (line.split() for line in GOLDEN.read_text().splitlines())}


def lines(threads=None):
    """The expected contents of golden.txt, in the format of sha256sum."""
    nets = {case: trained(case, threads) for case in CASES}
    return "".join(f"{hashed(net, net.predict(X, threads=threads))}  {case}\n" for case, (net, X) in nets.items())


@pytest.mark.parametrize("threads", [*THREADS, None])
def test_threads(threads):
    assert lines(threads) == GOLDEN.read_text()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_splits_of_the_rows(case, threads):
    net, X = trained(case)
    for size in range(1, 258, 1 if threads == 1 else 32):
        parts = [net.predict(X[i : i + size], threads=threads) for i in range(0, ROWS, size)]
        assert hashed(net, np.concatenate(parts)) == golden()[case], f"{size} rows at a time"


@pytest.mark.parametrize("isa", _core.isa_available())
def test_instruction_sets_in_a_process_of_their_own(isa):
    """This is also a second run."""
    run = subprocess.run(
        [sys.executable, __file__], env={**os.environ, "MLPFAST_ISA": isa}, capture_output=True, text=True, check=True
    )
    assert run.stdout == GOLDEN.read_text()


if __name__ == "__main__":
    print(lines(), end="")
