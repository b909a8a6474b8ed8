"""Each kernel on one core, against the same work in NumPy; both write into existing arrays.

Each pair is a group of the report. The sizes are those of 784-256-128-10 with minibatches of 128.
"""

import numpy as np
import pytest

from benchmarks import extension
from benchmarks.numpy_mlp import sigmoid, softmax
from mlpfast import _core, _kernels, losses
from mlpfast.activations import Activation as named

pytest.importorskip("Cython", reason="pip install '.[bench]' brings what compiles the kernels alone")
kernels = extension.kernels()

B, N_IN, N_OUT, K = 128, 784, 256, 10
LR, MOMENTUM = 1e-4, 0.9
DTYPES = ["float32", "float64"]
ACTIVATIONS = ["identity", "relu", "sigmoid", "tanh", "softmax"]
PROGRAMS = ["mlpfast", "NumPy"]

pytestmark = pytest.mark.usefixtures("one_blas_thread")


def numbers(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def same(got, wanted):
    tolerance = 3e-4 if wanted.dtype == np.float32 else 1e-10
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.fixture
def race(benchmark, note, one_blas_thread):
    """race(program, group, functions, results, reset, **note): checks both programs, then times `program`.

    functions: {program: function without arguments}; results: {program: the array it writes}; reset: called, untimed,
    before each call, for kernels that work in place.
    """

    def race(program, group, functions, results, reset=None, **what):
        left = {}
        for name, function in functions.items():
            if reset:
                reset()
            function()
            left[name] = results[name].copy()
        same(left["mlpfast"], left["NumPy"])
        benchmark.group = group
        if reset:
            benchmark.pedantic(functions[program], setup=reset, rounds=500, warmup_rounds=20)
        else:
            benchmark(functions[program])
        note(1 if program == "mlpfast" else one_blas_thread, **what)

    return race


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_plus_bias(race, dtype, program):
    x, W, b = numbers(B, N_IN, dtype=dtype), numbers(N_IN, N_OUT, dtype=dtype) / 28, numbers(N_OUT, dtype=dtype)
    z = {name: np.empty((B, N_OUT), dtype) for name in PROGRAMS}

    def with_numpy():
        np.matmul(x, W, out=z["NumPy"])
        np.add(z["NumPy"], b, out=z["NumPy"])

    functions = {"mlpfast": lambda: kernels.dense_into(z["mlpfast"], x, W, b, named("identity")), "NumPy": with_numpy}
    race(program, f"matmul plus bias, {dtype}", functions, z, flops=2 * B * N_IN * N_OUT, dtype=dtype)


def numpy_activation(a, z, activation, zeros=0):
    """a = g(z)."""
    if activation == "relu":
        np.maximum(z, zeros, out=a)
    elif activation == "tanh":
        np.tanh(z, out=a)
    else:
        np.copyto(a, z)
        {"identity": lambda a: a, "sigmoid": sigmoid, "softmax": softmax}[activation](a)


def numpy_derivative(delta, a, activation, spare):
    """delta *= g'(z) in place; spare is an array of the same shape."""
    if activation == "relu":
        delta *= np.greater(a, 0, out=spare, casting="unsafe")
    elif activation == "sigmoid":
        np.subtract(1, a, out=spare)
        np.multiply(spare, a, out=spare)
        delta *= spare
    elif activation == "tanh":
        np.multiply(a, a, out=spare)
        np.subtract(1, spare, out=spare)
        delta *= spare
    elif activation == "softmax":
        delta -= np.einsum("ij,ij->i", delta, a)[:, None]
        delta *= a


def shape_for(activation):
    return (B, K) if activation == "softmax" else (B, N_OUT)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_forward(race, activation, dtype, program):
    z = numbers(*shape_for(activation), dtype=dtype)
    a = {name: np.empty_like(z) for name in PROGRAMS}
    zeros = np.zeros_like(z)  # np.maximum is four times as fast as with a scalar
    functions = {
        "mlpfast": lambda: kernels.activate_into(a["mlpfast"], z, named(activation)),
        "NumPy": lambda: numpy_activation(a["NumPy"], z, activation, zeros),
    }
    race(program, f"{activation} forward, {dtype}", functions, a, moved=2 * z.nbytes)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_backward(race, activation, dtype, program):
    a = np.empty(shape_for(activation), dtype)
    numpy_activation(a, numbers(*a.shape, dtype=dtype), activation)
    fresh, spare = numbers(*a.shape, dtype=dtype, seed=1), np.empty_like(a)
    delta = {name: fresh.copy() for name in PROGRAMS}

    def reset():  # otherwise delta shrinks with each call, to slow subnormal numbers
        for array in delta.values():
            np.copyto(array, fresh)

    functions = {
        "mlpfast": lambda: _kernels.through_derivative(delta["mlpfast"], a, named(activation)),
        "NumPy": lambda: numpy_derivative(delta["NumPy"], a, activation, spare),
    }
    moved = 0 if activation == "identity" else 3 * a.nbytes
    race(program, f"{activation} backward, {dtype}", functions, delta, reset, moved=moved)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_cross_entropy(race, dtype, program):
    """The loss of each row, and delta_L = softmax(z_L) - y."""
    z, labels = numbers(B, K, dtype=dtype), np.random.default_rng(2).integers(K, size=B).astype(np.int32)
    data = _core.Data(z, labels=labels)
    delta = {name: np.empty_like(z) for name in PROGRAMS}
    loss, right, rows = np.empty(B), np.empty(B), np.arange(B)
    numpy_loss, cross_entropy = np.empty(B, dtype), losses.CrossEntropy()

    def with_numpy():
        out = delta["NumPy"]
        np.subtract(z, z.max(axis=1, keepdims=True), out=out)
        picked = out[rows, labels]
        np.exp(out, out=out)
        total = out.sum(axis=1)
        np.subtract(np.log(total), picked, out=numpy_loss)
        out /= total[:, None]
        out[rows, labels] -= 1

    functions = {
        "mlpfast": lambda: kernels.loss_into(delta["mlpfast"], loss, right, z, data, cross_entropy, named("softmax")),
        "NumPy": with_numpy,
    }
    race(program, f"softmax and cross-entropy, {dtype}", functions, delta, moved=2 * z.nbytes)
    same(loss.astype(dtype), numpy_loss)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("momentum", [0.0, MOMENTUM], ids=["plain", "momentum"])
def test_weight_gradient_and_update(race, momentum, dtype, program):
    x, delta = numbers(B, N_IN, dtype=dtype), numbers(B, N_OUT, dtype=dtype, seed=1)
    W = {name: numbers(N_IN, N_OUT, dtype=dtype, seed=2) for name in PROGRAMS}
    V = {name: np.zeros((N_IN, N_OUT), dtype) for name in PROGRAMS}
    dW, scaled = np.empty((N_IN, N_OUT), dtype), np.empty_like(delta)

    def with_numpy():
        np.multiply(delta, LR / B, out=scaled)
        step = np.matmul(x.T, scaled, out=dW)
        if momentum:  # V holds lr times mlpfast's
            np.multiply(V["NumPy"], momentum, out=V["NumPy"])
            step = np.add(V["NumPy"], step, out=V["NumPy"])
        np.subtract(W["NumPy"], step, out=W["NumPy"])

    velocity = V["mlpfast"] if momentum else None
    functions = {
        "mlpfast": lambda: kernels.update_weights(W["mlpfast"], velocity, x, delta, LR, momentum),
        "NumPy": with_numpy,
    }
    kind = "momentum" if momentum else "plain SGD"
    race(program, f"weight gradient and {kind}, {dtype}", functions, W, flops=2 * B * N_IN * N_OUT, dtype=dtype)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("source", ["float32", "uint8"])
def test_gather(race, source, program):
    """A minibatch of rows in any order; uint8 is converted to float32 between 0 and 1."""
    rng = np.random.default_rng(0)
    X = rng.integers(256, size=(8192, N_IN), dtype=np.uint8)
    scale = 1.0 if source == "float32" else 1 / 255
    X = X.astype(np.float32) if source == "float32" else X
    index = rng.permutation(len(X))[:B]
    out = {name: np.empty((B, N_IN), np.float32) for name in PROGRAMS}
    raw = np.empty((B, N_IN), np.uint8)

    def with_numpy():
        if source == "float32":
            np.take(X, index, axis=0, out=out["NumPy"], mode="clip")
        else:
            np.take(X, index, axis=0, out=raw, mode="clip")
            np.multiply(raw, np.float32(scale), out=out["NumPy"])

    functions = {"mlpfast": lambda: kernels.gather_into(out["mlpfast"], X, scale, index), "NumPy": with_numpy}
    moved = B * N_IN * (X.itemsize + 4)
    race(program, f"gather from {source}", functions, out, moved=moved)
