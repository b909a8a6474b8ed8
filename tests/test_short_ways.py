"""The fast paths of predict (few rows) and step (ready minibatch) give the same results and errors as the general
ones."""

import copy
import os
import pickle
import sys
import threading

import numpy as np
import pytest
from processes import run_python

import mlpfast
from mlpfast import SGD, Network, Trainer

N_IN, N_OUT = 9, 4


def scale_for(X):
    """An input_scale for bytes, 1 for other integers, which a network with a scale refuses."""
    return 1.0 if X is not None and np.asarray(X).dtype.kind in "bi" else 0.5


def network(dtype="float32", seed=0, X=None):
    return Network([N_IN, 18, N_OUT], output="softmax", dtype=dtype, seed=seed, input_scale=scale_for(X))


def numbers(n=5, dtype="float32", seed=0):
    return np.random.default_rng(seed).random((n, N_IN)).astype(dtype)


def by_the_long_way(net, X, **kwargs):
    return net.predict(X, threads=1, **kwargs)


# For any array, the fast path gives the result of the general path, itself or by falling back to it.
LOOKS = {
    "as it is": lambda x: x,
    "float64": lambda x: x.astype("float64"),
    "float16": lambda x: x.astype("float16"),
    "uint8": lambda x: (x * 255).astype("uint8"),
    "int64": lambda x: (x * 9).astype("int64"),
    "bool": lambda x: x > 0.5,
    "big-endian": lambda x: x.astype(">f4"),
    "Fortran order": np.asfortranarray,
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "negative stride": lambda x: np.concatenate([x[::-1], x])[: len(x)][::-1],
    "broadcast": lambda x: np.broadcast_to(x[0], x.shape),
    "read-only": lambda x: np.frombuffer(x.tobytes(), "float32").reshape(x.shape),
    "unaligned": lambda x: np.frombuffer(b"." + x.tobytes(), "float32", offset=1).reshape(x.shape),
    "list": lambda x: x.tolist(),
    "subclass": lambda x: np.ma.masked_array(x),
    "one row": lambda x: x[:1],
    "no rows": lambda x: x[:0],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("look", LOOKS)
def test_predict_of_a_few_rows(look, dtype):
    X = LOOKS[look](numbers())
    net = network(dtype, X=X)
    wanted = by_the_long_way(net, X)
    got = net.predict(X)
    assert got.dtype == net.dtype and got.shape == wanted.shape and got.tobytes() == wanted.tobytes()
    out = np.full_like(wanted, np.nan)
    assert net.predict(X, out=out) is out
    assert out.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("look", LOOKS)
def test_step_on_a_ready_minibatch(look):
    X, y = LOOKS[look](numbers()), np.arange(5) % N_OUT
    y = y[: len(X)]
    if len(X) == 0:
        with pytest.raises(ValueError, match="at least one row"):
            Trainer(network(X=X)).step(X, y)
        return
    short, long = network(X=X), network(X=X)
    loss = Trainer(short, optimizer=SGD(lr=0.5)).step(X, y)
    assert loss == Trainer(long, optimizer=SGD(lr=0.5)).step(X, y, sample_weight=np.ones(len(X)))
    assert [p.tobytes() for p in short.parameters] == [p.tobytes() for p in long.parameters]


def with_zeros_behind(y, dtype):
    return np.pad(y, (0, 9 * len(y))).astype(dtype)[: len(y)]


# Misread as a wider type, the bytes of the first two would be other valid class numbers.
LABELS = {
    "int32": lambda y: with_zeros_behind(y, "int32"),
    "uint8": lambda y: with_zeros_behind(y, "uint8"),
    "float64": lambda y: y.astype("float64"),
    "big-endian": lambda y: y.astype(">i8"),
    "every second": lambda y: np.repeat(y, 2)[::2],
    "list": lambda y: y.tolist(),
    "one-hot": lambda y: np.eye(N_OUT)[y],
    "one-hot, whole numbers": lambda y: np.eye(N_OUT, dtype=int)[y],
}


@pytest.mark.parametrize("look", LABELS)
def test_step_takes_labels_of_any_kind(look):
    X, y = numbers(9), np.array([3, 0, 0, 0, 0, 0, 0, 0, 2])
    plain, other = network(), network()
    assert Trainer(other).step(X, LABELS[look](y)) == pytest.approx(Trainer(plain).step(X, y), rel=1e-6)


# ---- squeeze


def one_output(dtype="float32", X=None, **settings):
    return Network([N_IN, 18, 1], output="sigmoid", dtype=dtype, seed=0, input_scale=scale_for(X), **settings)


@pytest.mark.parametrize("threads", [None, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("look", LOOKS)
def test_a_single_output_may_be_squeezed(look, dtype, threads):
    X = LOOKS[look](numbers())
    net = one_output(dtype, X)
    wanted = net.predict(X)
    got = net.predict(X, squeeze=True, threads=threads)
    assert got.dtype == net.dtype and got.shape == (len(X),) and got.tobytes() == wanted.tobytes()
    out = np.full_like(got, np.nan)
    assert net.predict(X, squeeze=True, out=out, threads=threads) is out and out.tobytes() == wanted.tobytes()
    assert net(X, squeeze=np.True_).tobytes() == wanted.tobytes()
    assert net.predict(X, squeeze=False, threads=threads).shape == wanted.shape == (len(X), 1)


def test_many_rows_of_a_single_output_may_be_squeezed():
    net, X = one_output(), numbers(20_000)
    got = net.predict(X, squeeze=True)
    assert got.shape == (20_000,) and got.tobytes() == net.predict(X).tobytes()


def test_mean_and_deviation_of_a_single_output_may_be_squeezed():
    net, X = one_output(dropout=0.5), numbers()
    wanted = net.predict(X, dropout=True, samples=5, seed=1)
    got = net.predict(X, dropout=True, samples=5, seed=1, squeeze=True)
    for mine, other in zip(got, wanted, strict=True):
        assert mine.shape == (5,) and other.shape == (5, 1) and mine.tobytes() == other.tobytes()


@pytest.mark.parametrize("settings", [{}, {"threads": 1}, {"dropout": True}], ids=str)
def test_several_outputs_are_not_squeezed(settings):
    net = Network([N_IN, 18, N_OUT], dropout=0.5, seed=0)
    with pytest.raises(ValueError, match=f"squeeze must be False .* several outputs, got True for {N_OUT}"):
        net.predict(numbers(), squeeze=True, **settings)
    with pytest.raises(TypeError, match="squeeze must be True or False, got 1"):
        net.predict(numbers(), squeeze=1, **settings)


def out_like(shape):
    return np.full(shape, 7, np.float32)


SQUEEZED_OUTS = {
    "not squeezed": lambda X: (True, out_like((5, 1))),
    "squeezed": lambda X: (False, out_like((5,))),
    "three dimensions": lambda X: (True, out_like((5, 1, 1))),
    "too short": lambda X: (True, out_like((4,))),
    "too long": lambda X: (True, out_like((6,))),
    "no dimension": lambda X: (True, out_like(())),
    "strides": lambda X: (True, out_like((10,))[::2]),
    "other dtype": lambda X: (True, np.full(5, 7.0)),
    "inside X": lambda X: (True, X.reshape(-1)[:5]),
}


@pytest.mark.parametrize("threads", [None, 1])
@pytest.mark.parametrize("bad", SQUEEZED_OUTS)
def test_an_out_of_another_shape_than_the_result_is_an_error(bad, threads):
    net, X = one_output(), numbers()
    squeeze, out = SQUEEZED_OUTS[bad](X)
    before = X.copy(), out.copy()
    with pytest.raises(ValueError, match="out must"):
        net.predict(X, out=out, threads=threads, squeeze=squeeze)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(out, before[1])


# ---- errors


BAD_OUTS = {
    "other shape": lambda net, X: np.empty((len(X) + 1, N_OUT), "float32"),
    "other dtype": lambda net, X: np.empty((len(X), N_OUT), "float64"),
    "big-endian": lambda net, X: np.empty((len(X), N_OUT), ">f4"),
    "strides": lambda net, X: np.empty((len(X), 2 * N_OUT), "float32")[:, ::2],
    "read-only": lambda net, X: np.frombuffer(bytes(len(X) * N_OUT * 4), "float32").reshape(len(X), N_OUT),
    "a list": lambda net, X: [[0.0] * N_OUT] * len(X),
    "inside X": lambda net, X: X.reshape(-1)[: len(X) * N_OUT].reshape(len(X), N_OUT),
    "inside the weights": lambda net, X: net.layers[1].W[: len(X)],
}


@pytest.mark.parametrize("bad", BAD_OUTS)
def test_a_bad_out_is_still_an_error(bad):
    net, X = network(), numbers()
    before = [X.copy(), *(p.copy() for p in net.parameters)]
    with pytest.raises((ValueError, TypeError), match="out must"):
        net.predict(X, out=BAD_OUTS[bad](net, X))
    for a, b in zip(before, [X, *net.parameters], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bad", [-1, N_OUT, 2**40])
def test_a_bad_label_is_still_an_error(bad):
    net = network()
    trainer, before = Trainer(net), [p.copy() for p in net.parameters]
    with pytest.raises(ValueError, match=f"y must hold class numbers .* got {bad} at position 2"):
        trainer.step(numbers(), np.array([0, 1, bad, 3, 0]))
    trainer.step(numbers(), np.zeros(5, int))  # the trainer was unlocked
    assert any((a != b).any() for a, b in zip(before, net.parameters, strict=True))


def test_nan_is_still_an_error():
    net, X = network(), numbers()
    X[3, 2] = np.nan
    before = [p.copy() for p in net.parameters]
    with pytest.raises(FloatingPointError, match=r"X\[3, 2\] is nan"):
        Trainer(net).step(X, np.zeros(5, int))
    for a, b in zip(before, net.parameters, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name, value", [("lr", 0.0), ("lr", True), ("momentum", 1.0), ("l2", -1.0), ("l1", "much")])
def test_settings_changed_between_steps_are_checked(name, value):
    trainer = Trainer(network(), optimizer=SGD(lr=1.0))
    trainer.step(numbers(), np.zeros(5, int))
    setattr(trainer.optimizer if name in ("lr", "momentum") else trainer, name, value)
    with pytest.raises((ValueError, TypeError), match=name):
        trainer.step(numbers(), np.zeros(5, int))


def test_settings_changed_between_steps_count():
    slow, fast = network(), network()
    trainers = [Trainer(net, optimizer=SGD(lr=0.1)) for net in (slow, fast)]
    for trainer in trainers:
        trainer.step(numbers(), np.zeros(5, int))
    trainers[1].optimizer.lr = 0.9
    for trainer in trainers:
        trainer.step(numbers(), np.zeros(5, int))
    assert not np.array_equal(slow.layers[0].W, fast.layers[0].W)


def test_a_bad_setting_is_forgotten_once_it_is_right_again():
    trainer = Trainer(network())
    trainer.step(numbers(), np.zeros(5, int))
    trainer.check_finite = "x"
    for _ in range(2):
        with pytest.raises(TypeError, match="check_finite must be"):
            trainer.step(numbers(), np.zeros(5, int))
    trainer.check_finite = True
    trainer.step(numbers(), np.zeros(5, int))
    trainer.fit(numbers(), np.zeros(5, int))


def test_a_refused_step_brings_no_settings_into_the_running_one():
    """The learning rate is changed while another thread is within a long step."""
    slow, alone = Network([400, 400, 400], seed=0), Network([400, 400, 400], seed=0)
    X, y = np.random.default_rng(0).random((3000, 400), np.float32), np.zeros(3000, int)
    trainer = Trainer(slow, optimizer=SGD(lr=1e-3), threads=1)
    thread = threading.Thread(target=trainer.step, args=(X, y))
    thread.start()
    while not slow._core.training and thread.is_alive():
        pass
    trainer.optimizer.lr = 1.0
    refused = 0
    while thread.is_alive() and not refused:
        try:
            trainer.step(X[:0], y[:0])
        except (RuntimeError, ValueError):
            refused += 1
    thread.join()
    Trainer(alone, optimizer=SGD(lr=1e-3), threads=1).step(X, y)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(slow.parameters, alone.parameters, strict=True))


def test_a_few_rows_from_many_threads():
    net = Network([N_IN, 300, 200, N_OUT], output="softmax", seed=0)
    rows = [numbers(1, seed=seed) for seed in range(8)]
    wanted = [by_the_long_way(net, x).tobytes() for x in rows]
    wrong = []

    def caller(x, expected):
        out = np.empty((1, N_OUT), "float32")
        for threads in [None, 1] * 1000:  # the fast path, and the general one, which releases the GIL
            if net.predict(x, out=out, threads=threads).tobytes() != expected:
                wrong.append(x)

    callers = [threading.Thread(target=caller, args=pair) for pair in zip(rows, wanted, strict=True)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert not wrong


def test_rows_of_weights_may_be_padded():
    W = Network([3, 100], seed=0).layers[0].W
    assert W.shape == (3, 100) and W.strides[1] == W.itemsize and W.strides[0] % 64 == 0
    W[...] = 1
    W *= 2
    assert W.sum() == 600 and W.copy().flags.c_contiguous


def test_a_layer_is_copied_with_its_network():
    net = network()
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="copy the network"):
            act(net.layers[0])
    assert copy.deepcopy(mlpfast.Layer(2, 3)).n_out == 3
    assert copy.deepcopy(net).predict(numbers()).tobytes() == net.predict(numbers()).tobytes()


THREADS = """
import os, time
import mlpfast
from mlpfast import Network, Trainer
import numpy as np
X, y = np.zeros((64, 300), "float32"), np.zeros(64, int)
net = Network([300, 300, 300], output="softmax", seed=0)
Trainer(net, threads=100).fit(X, y)
wanted, end = int(os.environ.get("WANTED", 0)), time.monotonic() + 30
while len(os.listdir("/proc/self/task")) < wanted and time.monotonic() < end:  # helpers come when they come
    time.sleep(0.01)
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_no_more_threads_than_the_machine_has(monkeypatch):
    monkeypatch.delenv("MLPFAST_OVERSUBSCRIBE")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    # One of them sleeps: the one that made the helpers.
    assert int(run_python(THREADS)) <= len(os.sched_getaffinity(0)) + 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
@pytest.mark.skipif(mlpfast.show_config("dicts")["threading"] == "none", reason="built without threads")
def test_the_tests_get_the_threads_they_ask_for(monkeypatch):
    monkeypatch.setenv("MLPFAST_OVERSUBSCRIBE", "1")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    wanted = 9 + (mlpfast.show_config("dicts")["threading"] == "openmp")  # which has one that sleeps besides
    monkeypatch.setenv("WANTED", str(wanted))
    program = THREADS.replace("threads=100", "threads=9")
    assert int(run_python(program)) == wanted
