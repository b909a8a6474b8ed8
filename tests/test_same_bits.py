"""Version, data, seed and settings determine every bit, for any threads, split into calls, run and instruction set."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import reference
from processes import run_python

import mlpfast
from mlpfast import SGD, Layer, Network, Trainer, backprop

OPTIMIZERS = {
    "plain": dict(lr=0.1),
    "momentum": dict(lr=0.1, momentum=0.9),
    "nesterov": dict(lr=0.05, momentum=0.8, nesterov=True),
}
PENALTIES = {"none": {}, "l1": dict(l1=1e-2), "l2": dict(l2=3e-2), "both": dict(l1=1e-3, l2=1e-2)}
NETWORKS = {  # sizes, hidden, output, loss
    "1-1": ([1, 1], "tanh", "sigmoid", "binary_cross_entropy"),
    "3-5-2": ([3, 5, 2], "tanh", "softmax", "cross_entropy"),
    "17-33-10": ([17, 33, 10], "relu", "softmax", "cross_entropy"),
    "softmax hidden": ([7, 9, 6, 4], "softmax", "identity", "half_squared_error"),
    "70-65-31-3": ([70, 65, 31, 3], "sigmoid", "tanh", "squared_error"),
    "relu to sigmoid": ([20, 64, 32, 5], "relu", "sigmoid", "binary_cross_entropy"),
    "logits": ([31, 16, 3], "tanh", "identity", "cross_entropy"),
}
DTYPES = ["float32", "float64"]


def bits(arrays):
    return [np.ascontiguousarray(a).tobytes() for a in arrays]


def assert_same_bits(got, wanted):
    for g, w in zip(got, wanted, strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_array_equal(g, w)
        assert g.tobytes() == w.tobytes()  # also distinguishes -0 from 0


def targets(rng, n, n_out, loss):
    if loss == "cross_entropy":
        return rng.integers(n_out, size=n)
    return rng.uniform(size=(n, n_out))


def make(name, dtype="float32", seed=3, **kwargs):
    sizes, hidden, output, loss = NETWORKS[name]
    return Network(sizes, activation=hidden, output=output, dtype=dtype, seed=seed, **kwargs), loss


def data_for(net, loss, n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, net.n_in)).astype(net.dtype), targets(rng, n, net.n_out, loss)


def copy_of(net):
    return [p.copy() for p in net.parameters]


# ---- the fused step in C equals the explicit one of backprop.py


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_fused_step_is_the_step_from_gradients(optimizer, penalty, name, dtype):
    net, loss = make(name, dtype)
    trainer = Trainer(net, loss, SGD(**OPTIMIZERS[optimizer]), **PENALTIES[penalty])
    parameters = copy_of(net)
    velocities = [np.zeros_like(p) for p in parameters]
    for number, n in enumerate([1, 7, 64, 33]):
        X, y = data_for(net, loss, n, seed=number)
        weight = None if number % 2 else np.random.default_rng(number).uniform(0.1, 3, size=n)
        grads = backprop.gradients(net, X, y, loss, sample_weight=weight, **PENALTIES[penalty])
        for p, v, g in zip(parameters, velocities, reference.flat(grads), strict=True):
            reference.sgd(p, v, g, **OPTIMIZERS[optimizer])
        trainer.step(X, y, sample_weight=weight)
        assert_same_bits(net.parameters, parameters)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fused_step_leaves_out_what_is_frozen_or_missing(dtype):
    layers = [Layer(6, 8, "tanh", trainable=False), Layer(8, 9, "relu", bias=False),
              Layer(9, 7, "softmax", trainable=False), Layer(7, 3, "softmax")]
    net = Network(layers, dtype=dtype, seed=1)
    trainer = Trainer(net, optimizer=SGD(lr=0.5), l2=0.01)
    X, y = data_for(net, "cross_entropy", 19)
    wanted = []
    for layer, (dW, db) in zip(layers, backprop.gradients(net, X, y, "cross_entropy", l2=0.01), strict=True):
        for p, g in ((layer.W, dW), (layer.b, db)):
            if p is not None:
                wanted.append(p - p.dtype.type(0.5) * g if layer.trainable else p.copy())
    trainer.step(X, y)
    assert_same_bits(net.parameters, wanted)


def test_an_epoch_is_its_steps():
    whole, loss = make("17-33-10")
    stepped, _ = make("17-33-10")
    X, y = data_for(whole, loss, 50)
    rule = SGD(lr=0.1, momentum=0.9)
    history = Trainer(whole, loss, rule, batch_size=16, shuffle=False).fit(X, y)
    trainer = Trainer(stepped, loss, rule)
    losses = [trainer.step(X[i : i + 16], y[i : i + 16]) for i in range(0, 50, 16)]
    assert_same_bits(whole.parameters, stepped.parameters)
    assert history["loss"] == pytest.approx([np.average(losses, weights=[16, 16, 16, 2])], rel=1e-6)


# ---- threads, splits, repeated runs


def trained(threads, dtype, input_dtype=None, n=300, **kwargs):
    net = Network([100, 257, 64, 33, 10], output="softmax", dtype=dtype, seed=5)
    X, y = data_for(net, "cross_entropy", n)
    X = X if input_dtype is None else X.astype(input_dtype)
    trainer = Trainer(net, optimizer=SGD(lr=0.05, momentum=0.9), batch_size=71, seed=11, threads=threads, **kwargs)
    history = trainer.fit(X, y, epochs=2, validation_data=(X, y), sample_weight=np.linspace(0, 2, n))
    return net, history, net.predict(X, threads=threads)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_no_bit(dtype):
    net, history, prediction = trained(1, dtype)
    for threads in (2, 3, 7, None):
        other, other_history, other_prediction = trained(threads, dtype)
        assert_same_bits(other.parameters, net.parameters)
        assert_same_bits([other_prediction], [prediction])
        assert other_history == history


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_no_bit_of_small_networks(name, threads):
    one, loss = make(name)
    many, _ = make(name)
    X, y = data_for(one, loss, 23)
    for net, count in ((one, 1), (many, threads)):
        Trainer(net, loss, SGD(lr=0.1), batch_size=5, seed=0, threads=count, l1=1e-3).fit(X, y, epochs=3)
    assert_same_bits(many.parameters, one.parameters)
    assert_same_bits([many.predict(X, threads=threads)], [one.predict(X, threads=1)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_any_split_of_a_batch_predicts_the_same_bits(dtype, threads):
    net = Network([19, 40, 9, 5], activation="tanh", output="softmax", dtype=dtype, seed=0)
    X = np.random.default_rng(0).normal(size=(257, 19)).astype(dtype)
    whole = net.predict(X)
    parts = np.empty_like(whole)
    for size in range(1, 258, 1 if threads == 1 else 16):
        for first in range(0, len(X), size):
            part = slice(first, first + size)
            net.predict(X[part], out=parts[part], threads=threads)
        assert_same_bits([parts], [whole])
        parts[...] = np.nan


def test_two_runs_are_the_same():
    assert_same_bits(trained(None, "float32")[0].parameters, trained(None, "float32")[0].parameters)


def test_prediction_is_the_forward_pass_of_backprop():
    for name in NETWORKS:
        net, loss = make(name)
        X, _ = data_for(net, loss, 37)
        assert_same_bits([net.predict(X)], [backprop.forward(net, X).a[-1]])


@pytest.mark.parametrize("bad", ["X", "loss"])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_the_error_depends_on_no_thread(threads, bad):
    """A narrow network is split by rows, so there is no barrier between the gather of one member and the loss of
    another."""
    said = set()
    for _ in range(20):
        net = Network([2] * 12 + [3], output="identity", seed=0)
        for layer in net.layers[:-1]:
            layer.W = np.eye(2)
        net.layers[9].W = net.layers[10].W = 1e30 * np.eye(2)
        net.layers[-1].W = [[1, 1, 1], [-1, -1, -1]]
        X = np.ones((64, 2), np.float32)  # infinity - infinity: the loss is NaN
        X[:32, 1] = 0  # infinity
        if bad == "X":
            X[40, 1] = np.nan
        with pytest.raises(FloatingPointError) as error:
            Trainer(net, "half_squared_error", threads=threads).step(X, np.zeros((64, 3)))
        said.add(str(error.value))
    assert len(said) == 1
    assert ("X[40, 1] is nan" if bad == "X" else "the loss is nan") in said.pop()


@pytest.mark.parametrize("n", [1000, 50_000])
def test_softmax_of_many_classes_sums_to_one(n):
    net = Network([1, n], output="softmax", seed=0)
    for scale in (0, 1e-3, 0.3):
        net.layers[0].W = np.linspace(-scale, scale, n)[None]
        sums = net.predict(np.ones((3, 1), np.float32)).sum(axis=1, dtype=np.float64)
        np.testing.assert_allclose(sums, 1, atol=2e-5)


def test_seeds_differ():
    weights = [Network([8, 6], seed=seed).layers[0].W.tobytes() for seed in [*range(50), 2**32, 2**64 - 1, None, None]]
    assert len(set(weights)) == len(weights)
    assert Network([8, 6], seed=7).layers[0].W.tobytes() == weights[7]
    two = Network([8, 8, 8], activation="tanh", output="tanh", seed=0).layers
    assert not np.array_equal(two[0].W, two[1].W)


def test_the_trainers_seed_is_the_order_of_the_examples():
    def after(seed):
        net, loss = make("3-5-2")
        X, y = data_for(net, loss, 40)
        trainer = Trainer(net, loss, batch_size=4, seed=seed)
        trainer.fit(X, y)
        assert seed is None or trainer.seed == seed
        return b"".join(bits(net.parameters))

    assert after(1) == after(1)
    assert len({after(seed) for seed in (0, 1, 2, 2**64 - 1, None, None)}) == 6


# ---- inputs of other types


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 1 / 255, 0.1])
def test_uint8_inputs_are_the_scaled_float_inputs(dtype, scale):
    images = np.random.default_rng(0).integers(256, size=(90, 45), dtype=np.uint8)
    floats = images.astype(dtype) * np.dtype(dtype).type(scale)
    labels = np.arange(90) % 10
    results = []
    for X in (images, floats):
        net = Network([45, 30, 10], output="softmax", dtype=dtype, seed=2, input_scale=scale)
        trainer = Trainer(net, batch_size=32, seed=1)
        history = trainer.fit(X, labels, epochs=2, validation_data=(X, labels))
        step = trainer.step(X, labels)
        grads = reference.flat(backprop.gradients(net, X, labels, "cross_entropy"))
        results.append((net.parameters, [net.predict(X), *grads], history, step, trainer.evaluate(X, labels)))
    assert_same_bits(results[0][0], results[1][0])
    assert_same_bits(results[0][1], results[1][1])
    assert results[0][2:] == results[1][2:]


@pytest.mark.parametrize("dtype, other", [("float32", "float64"), ("float64", "float32")])
def test_inputs_of_the_other_float_type_are_converted(dtype, other):
    net, loss = make("17-33-10", dtype)
    X, y = data_for(net, loss, 60)
    X = X.astype("float32").astype(other) if other == "float32" else X.astype("float64") * 1.1
    twin, _ = make("17-33-10", dtype)
    Trainer(net, loss, seed=0, batch_size=7).fit(X, y)
    Trainer(twin, loss, seed=0, batch_size=7).fit(X.astype(dtype), y)
    assert_same_bits(net.parameters, twin.parameters)
    assert_same_bits([net.predict(X)], [twin.predict(X.astype(dtype))])


# ---- instruction sets

EVERYTHING = """
import hashlib, sys
import numpy as np
import mlpfast
from mlpfast import SGD, Network, Rprop, Trainer, losses

digest = hashlib.sha256()
parts = losses.PerOutput([(slice(0, 4), "cross_entropy"), (4, losses.Huber(0.3), 0.5), (slice(5, 7), "poisson"),
                          (slice(7, 9), "gaussian_nll"), (slice(9, 11), losses.Quantile([0.2, 0.6]), 2)])
rng = np.random.default_rng(0)
X, labels = rng.normal(size=(200, 37)) * 2, rng.integers(11, size=200)
images, targets = rng.integers(256, size=(200, 37), dtype=np.uint8), rng.uniform(size=(200, 11))
cases = [
    ("relu", "softmax", "cross_entropy", X, labels), ("tanh", "sigmoid", "binary_cross_entropy", X, targets),
    ("sigmoid", "tanh", "half_squared_error", images, targets), ("softmax", "identity", "squared_error", X, targets),
    ("tanh", "identity", "cross_entropy", images, labels), ("relu", "identity", "binary_cross_entropy", X, targets),
    ("tanh", "sigmoid", losses.BinaryCrossEntropy(missing="ignore"), X, np.where(targets < 0.2, np.nan, targets)),
    ("tanh", parts.output, parts, X, np.column_stack([labels % 4, targets[:, :5]])),
]
for dtype in ("float32", "float64"):
    for hidden, output, loss, inputs, y in cases:
        net = Network([37, 70, 65, 11], activation=hidden, output=output, dtype=dtype, seed=4, input_scale=1 / 255)
        for rule in (SGD(0.05), SGD(0.01, 0.9), SGD(0.01, 0.9, True)):
            trainer = Trainer(net, loss, rule, batch_size=48, seed=9, l1=1e-4, l2=1e-3)
            history = trainer.fit(inputs, y, epochs=2, validation_data=(inputs, y))
            digest.update(repr(history).encode() + repr(sorted(history.items())).encode())
            dX = mlpfast.backprop.gradients(net, inputs, y, loss, inputs=True)[1]
            for p in [*net.parameters, net.predict(inputs), dX]:
                digest.update(p.tobytes())
        if not all(np.isfinite(p).all() for p in net.parameters):
            sys.exit("not finite")
    net = Network([37, 30, 1], dtype=dtype, seed=4)
    trainer = Trainer(net, "cox_ph", Rprop(), batch_size=None)
    history = trainer.fit(X, np.column_stack([labels, targets[:, 0] < 0.5]), epochs=9)
    digest.update(repr(history).encode())
    for p in net.parameters:
        digest.update(p.tobytes())
print(mlpfast.show_config("dicts")["isa"], digest.hexdigest())
"""


def test_every_isa_gives_the_same_bits():
    available = mlpfast.show_config("dicts")["isa_available"]
    assert "generic" in available
    answers = {}
    for isa in available:
        used, answers[isa] = run_python(EVERYTHING, env={**os.environ, "MLPFAST_ISA": isa}).split()
        assert used == isa
        assert len(answers[isa]) == 2 * hashlib.sha256().digest_size
    assert len(set(answers.values())) == 1, answers


CASES = """
import hashlib, json, sys
from dataclasses import replace
import numpy as np
import mlpfast
sys.path.append(sys.argv[1])
from benchmarks.cases import CASES, SHAPES, Problem

def parameters(case, threads):
    problem = Problem.random(replace(case, batch=min(case.batch, 128)), 1)  # plain C takes its time
    net = case.network()
    trainer = mlpfast.Trainer(net, case.loss, mlpfast.SGD(lr=0.1), batch_size=len(problem.X), threads=threads, seed=1)
    trainer.fit(problem.X, problem.y)
    few = max(1, len(problem.X) // 3)
    trainer.step(problem.X[:few], problem.y[:few])
    digest = hashlib.sha256(net.predict(problem.X, threads=threads).tobytes())
    for p in net.parameters:
        digest.update(np.ascontiguousarray(p).tobytes())
    return digest.hexdigest()

threads = [3] if mlpfast.show_config("dicts")["isa"] == "generic" else [1, 2, 3]
print(json.dumps({name: [parameters(case, n) for n in threads] for name, case in {**CASES, **SHAPES}.items()}))
"""


def test_the_benchmarks_cases_have_the_same_bits_for_every_isa_and_number_of_threads():
    """Also large layers: several KC blocks, packed operands, padded rows of weights."""
    config = mlpfast.show_config("dicts")
    if config["isa"] != config["isa_available"][0]:
        pytest.skip("runs under the fastest instruction set, and starts the others itself")
    root = Path(__file__).resolve().parents[1]
    answers = {}
    for isa in config["isa_available"]:
        printed = run_python(CASES, root, env={**os.environ, "MLPFAST_ISA": isa})
        for name, hashes in json.loads(printed).items():
            answers.setdefault(name, set()).update(hashes)
    assert {"mnist", "wide", "lecture64", "odd widths"} <= set(answers)
    assert {name: len(hashes) for name, hashes in answers.items()} == dict.fromkeys(answers, 1)


@pytest.mark.parametrize("name", ["sse9", "AVX2", "neon,generic", " "])
def test_an_unknown_isa_is_an_error_at_import(name):
    with pytest.raises(AssertionError) as failed:
        run_python("import mlpfast", env={**os.environ, "MLPFAST_ISA": name})
    last_line = str(failed.value).strip().splitlines()[-1]
    assert repr(name) in last_line
    for isa in mlpfast.show_config("dicts")["isa_available"]:
        assert isa in last_line


FORK = """
import os
import numpy as np
from mlpfast import Network, Trainer

def bits():
    net = Network([64, 96, 10], output="softmax", seed=0)
    X = np.linspace(-1, 1, 500 * 64, dtype=np.float32).reshape(500, 64)
    Trainer(net, seed=0, threads=2).fit(X, np.arange(500) % 10, epochs=2)
    return net.predict(X, threads=2).tobytes()

before = bits()
child = os.fork()
if child == 0:
    os._exit(0 if bits() == before else 1)
assert os.waitpid(child, 0)[1] == 0, "the child got other bits"
assert bits() == before
"""


def test_a_forked_child_trains_and_predicts_with_the_same_bits():
    run_python(FORK)


def test_each_instruction_set_is_listed_once():
    """There are two kernels in plain C on x86-64, of which one runs on each processor."""
    available = mlpfast.show_config(mode="dicts")["isa_available"]
    assert available.count("generic") == 1
    assert len(set(available)) == len(available)
