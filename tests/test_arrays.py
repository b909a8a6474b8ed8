"""Array arguments in any layout, dtype and class give the same as a plain copy, or an error that names them.

hypothesis draws the layouts. A plain copy is C-contiguous, in native byte order and of the dtype that the argument is
converted to.
"""

import mmap
import os
import sys
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlpfast
from mlpfast import SGD, Layer, NaturalGradient, Network, Trainer, _core, backprop, losses

N_IN, N_OUT = 5, 3
REFUSED = (ValueError, TypeError)


def network(dtype="float32", output="softmax", n_out=N_OUT, **kwargs):
    return Network([N_IN, 7, n_out], activation="tanh", output=output, dtype=dtype, seed=0, **kwargs)


def bits(arrays):
    return [np.ascontiguousarray(a).tobytes() for a in arrays]


# ---- array types and layouts


class Named(np.ndarray):
    """A subclass with an additional attribute and overridden arithmetic."""

    def __array_finalize__(self, source):
        self.name = getattr(source, "name", "?")

    def __add__(self, other):
        raise AssertionError("called")

    __radd__ = __mul__ = __rmul__ = __lt__ = __ge__ = __eq__ = __getitem__ = __add__


class Wrapped:
    """Not an array, but convertible to one."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array if dtype is None else self._array.astype(dtype)


def moved(array, offset):
    """A copy that begins `offset` bytes into its memory: aligned or not."""
    memory = np.zeros(array.nbytes + offset, np.uint8)
    copy = memory[offset:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def spread(array, steps):
    """A copy in every step-th place along each axis; backwards where the step is negative."""
    wide = np.ones([n * abs(step) for n, step in zip(array.shape, steps, strict=True)], array.dtype)
    view = wide[tuple(slice(None, None, step) for step in steps)]
    view[...] = array
    return view


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def mapped(array):
    """A copy in a mapping: it begins and ends with a page."""
    memory = mmap.mmap(-1, max(1, array.nbytes))
    memory.write(array.tobytes())
    return np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)


def zero_stride(array):
    """All rows share the memory of the first."""
    return np.broadcast_to(array[:1], array.shape)


def matrix(array):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.asmatrix(array) if array.ndim == 2 else array


LOOKS = st.one_of(
    st.sampled_from([
        np.asfortranarray, read_only, mapped, zero_stride,
        lambda a: a.astype(a.dtype.newbyteorder()), lambda a: a.view(Named), lambda a: a.view(np.recarray),
        matrix, np.ma.masked_array, Wrapped, lambda a: a.tolist(), list,
        lambda a: memoryview(np.ascontiguousarray(a)) if a.size else a,
        lambda a: spread(a, [2] * a.ndim).astype(a.dtype.newbyteorder()).view(Named),
    ]),
    st.integers(1, 70).map(lambda offset: lambda a: moved(a, offset)),
    st.tuples(*[st.sampled_from([-3, -1, 1, 2])] * 2).map(lambda steps: lambda a: spread(a, steps[: a.ndim])),
)
FLOATS = ["float16", "float32", "float64", "longdouble"]
WHOLE = ["bool", "int8", "int32", "int64", "uint8", "uint16", "uint64"]
ROWS = st.sampled_from([1, 2, 3, 9, 17, 40])


def plain(look, dtype):
    """The same values in the form that the core reads."""
    array = np.asarray(look)
    return np.array(array, "uint8" if array.dtype == np.uint8 else dtype, order="C")


def numbers(shape, dtype, seed=0):
    drawn = np.random.default_rng(seed).normal(size=shape) * (1 if dtype in FLOATS else 3)
    return (np.abs(drawn) if np.dtype(dtype).kind in "u" else drawn).astype(dtype)


# ---- X


@settings(max_examples=150)
@given(LOOKS, st.sampled_from(FLOATS + WHOLE), ROWS, st.sampled_from(["float32", "float64"]), st.integers(1, 3))
def test_any_x_gives_what_a_plain_copy_gives(look, dtype, n, of_network, threads):
    X = look(numbers((n, N_IN), dtype))
    y, results = np.arange(n) % N_OUT, []
    given = np.asarray(X).dtype
    scale = 0.5 if given == np.uint8 or given.kind == "f" else 1.0  # other dtypes are refused: test_bad_input.py
    for each in (X, plain(X, of_network)):
        net = network(of_network, input_scale=scale)
        trainer = Trainer(net, optimizer=SGD(0.1), batch_size=4, seed=0)
        found = [net.predict(each), net.predict(each, threads=threads), *backprop.forward(net, each).a]
        found += [*backprop.residuals(net, each, y, "cross_entropy")]
        found += [p for pair in backprop.gradients(net, each, y, "cross_entropy") for p in pair]
        logs = [trainer.evaluate(each, y), trainer.step(each, y), trainer.step(each, y, sample_weight=np.ones(n))]
        logs.append(dict(trainer.fit(each, y, validation_data=(each, y))))
        results.append((bits([*found, *net.parameters]), logs))
    assert results[0] == results[1]


@settings(max_examples=30)
@given(LOOKS, st.sampled_from([(0, N_IN), (0, N_IN + 1), (3, 0), (0, 0)]))
def test_x_of_size_zero(look, shape):
    net = network()
    try:
        X = look(np.zeros(shape, np.float32))
    except ValueError:  # an empty array cannot have this layout
        return
    if np.shape(X) == (0, N_IN):
        assert net.predict(X).shape == (0, N_OUT) and net.predict(X, threads=2).shape == (0, N_OUT)
        refused(["X must have at least one row"], Trainer(net).step, X, np.zeros(0, int))
    else:
        refused(["X must have shape (n, 5)"], net.predict, X)
        refused(["X must have shape (n, 5)"], Trainer(net).step, X, np.zeros(len(X), int))


# ---- y


def refused(parts, call, *args, **kwargs):
    with pytest.raises(REFUSED) as caught:
        call(*args, **kwargs)
    for part in parts:
        assert part in str(caught.value), caught.value


def trained(loss, y, *, output, n_out=N_OUT, dtype="float32", n=9, **weights):
    """All results of training with these y, or with these weights."""
    X, net = numbers((n, N_IN), dtype), network(dtype, output, n_out)
    trainer = Trainer(net, loss, SGD(0.1, momentum=0.5), batch_size=4, seed=0)
    alone = {} if "class_weight" in weights else weights
    logs = [trainer.evaluate(X, y, **alone), trainer.step(X, y, **alone), dict(trainer.fit(X, y, **weights))]
    found = [p for pair in backprop.gradients(net, X, y, loss, **alone) for p in pair]
    found += backprop.residuals(net, X, y, loss)
    return bits([*found, *net.parameters]), logs


@settings(max_examples=80)
@given(LOOKS, st.sampled_from(FLOATS + WHOLE), st.sampled_from(["cross_entropy", "hinge"]))
def test_any_labels_give_what_plain_ones_give(look, dtype, loss):
    labels = np.array([2, 0, 1, 1, 0, 2, 0, 0, 1])
    y = look((labels % 2 if dtype == "bool" else labels).astype(dtype))
    output = "softmax" if loss == "cross_entropy" else "identity"
    assert trained(loss, y, output=output) == trained(loss, np.array(np.asarray(y), "int64"), output=output)


@settings(max_examples=80)
@given(LOOKS, st.sampled_from(FLOATS + WHOLE), st.sampled_from(["cross_entropy", "squared_error", "hinge"]),
       st.sampled_from(["float32", "float64"]))
def test_any_targets_give_what_plain_ones_give(look, dtype, loss, of_network):
    y = look(np.eye(N_OUT)[np.arange(9) % N_OUT].astype(dtype))
    settings = dict(output="softmax" if loss == "cross_entropy" else "identity", dtype=of_network)
    assert trained(loss, y, **settings) == trained(loss, np.array(np.asarray(y), of_network), **settings)


@settings(max_examples=40)
@given(LOOKS, st.sampled_from(FLOATS), st.booleans())
def test_any_targets_of_one_output_give_what_plain_ones_give(look, dtype, column):
    y = look(numbers((9, 1) if column else 9, dtype))
    settings = dict(output="identity", n_out=1)
    assert trained("huber", y, **settings) == trained("huber", np.array(np.asarray(y), "float32"), **settings)


# ---- weights, masks and parameters


@settings(max_examples=60)
@given(LOOKS, st.sampled_from(FLOATS + WHOLE))
def test_any_weights_give_what_plain_ones_give(look, dtype):
    y, share = np.arange(9) % N_OUT, 0.7 if dtype in FLOATS else 1
    each = look((share * np.array([1, 2, 0, 1, 1, 3, 1, 0, 2])).astype(dtype))
    of_class = look((share * np.array([1, 2, 1])).astype(dtype))
    plain_each, plain_class = (np.array(np.asarray(w), "float64") for w in (each, of_class))
    for weights, wanted in [
        (dict(sample_weight=each), dict(sample_weight=plain_each)),
        (dict(class_weight=of_class), dict(class_weight=plain_class)),
        (dict(sample_weight=each, class_weight=of_class), dict(sample_weight=plain_each, class_weight=plain_class)),
    ]:
        got = trained("cross_entropy", y, output="softmax", **weights)
        assert got == trained("cross_entropy", y, output="softmax", **wanted)


@settings(max_examples=60)
@given(LOOKS, st.sampled_from(FLOATS + WHOLE), st.sampled_from(["float32", "float64"]))
def test_parameters_are_set_from_any_array(look, dtype, of_network):
    nets = [Network([Layer(N_IN, 20, activation="prelu"), Layer(20, N_OUT)], dtype=of_network, seed=0) for _ in "ab"]
    for name, shape in [("W", (N_IN, 20)), ("b", (20,)), ("slopes", (20,))]:
        value = look(numbers(shape, dtype))
        setattr(nets[0].layers[0], name, value)
        setattr(nets[1].layers[0], name, np.array(np.asarray(value), of_network))
    assert bits(nets[0].parameters) == bits(nets[1].parameters)
    X = numbers((4, N_IN), of_network)
    assert nets[0].predict(X).tobytes() == nets[1].predict(X).tobytes()


def test_parameters_are_set_from_themselves_and_from_what_is_broadcast():
    layer = Network([4, 20, 4], seed=0).layers[0]
    W = layer.W.copy()
    layer.W = layer.W[::-1, ::-1]
    np.testing.assert_array_equal(layer.W, W[::-1, ::-1])
    layer.W *= 2
    np.testing.assert_array_equal(layer.W, 2 * W[::-1, ::-1])
    layer.W = np.arange(20)
    np.testing.assert_array_equal(layer.W, np.broadcast_to(np.arange(20), (4, 20)))
    layer.b = np.ones((1, 20))
    layer.b += 1
    np.testing.assert_array_equal(layer.b, np.full(20, 2))


@pytest.mark.parametrize("bad, parts", [
    (np.ones((20, 4)), ["W must have shape (4, 20)", "got (20, 4)"]), (np.ones((2, 4, 20)), ["got (2, 4, 20)"]),
    (np.ones((4, 20)) + 1j, ["W must hold real numbers", "complex"]), ("1", ["W must hold real numbers", "<U1"]),
    (np.ma.masked_less(np.ones((4, 20)), 2), ["W must show all its numbers", "masked"]),
    (None, ["W must hold real numbers", "object"]),
], ids=str)
def test_parameters_that_do_not_fit_are_refused(bad, parts):
    net = Network([4, 20, 4], seed=0)
    before = bits(net.parameters)
    refused(parts, setattr, net.layers[0], "W", bad)
    assert bits(net.parameters) == before


@settings(max_examples=30)
@given(LOOKS)
def test_any_mask_gives_what_a_plain_one_gives(look):
    mask = look(np.random.default_rng(0).random((N_IN, N_OUT)) < 0.5)
    nets = [Network([Layer(N_IN, N_OUT, mask=m)], seed=0) for m in (mask, np.array(np.asarray(mask), bool))]
    assert bits(nets[0].parameters) == bits(nets[1].parameters)


@settings(max_examples=40)
@given(LOOKS, st.sampled_from(FLOATS))
def test_a_state_is_set_from_any_arrays(look, dtype):
    nets = [network() for _ in "ab"]
    trainers = [Trainer(net, optimizer=SGD(0.1, momentum=0.9)) for net in nets]
    velocity = [look(numbers(p.shape, dtype)) for p in nets[0].parameters]
    trainers[0].state = {**trainers[0].state, "updates": 3, "velocity": velocity}
    trainers[1].state = {
        **trainers[0].state, "velocity": [np.array(np.asarray(v), "float32") for v in velocity]
    }
    for trainer in trainers:
        trainer.step(numbers((4, N_IN), "float32"), np.arange(4) % N_OUT)
    assert bits(nets[0].parameters) == bits(nets[1].parameters)


def test_a_state_that_is_refused_changes_nothing():
    net = network()
    trainer = Trainer(net, optimizer=SGD(0.1, momentum=0.9))
    bad = [np.ones(p.shape) for p in net.parameters]
    bad[-1] = np.array(["x"] * N_OUT)
    state = {**trainer.state, "updates": 3, "velocity": bad}
    refused(["state['velocity'] must hold real numbers"], setattr, trainer, "state", state)
    assert not any(trainer.state["updates"]) and all((v == 0).all() for v in trainer.state["velocity"])


# ---- out=


@settings(max_examples=80)
@given(LOOKS, ROWS, st.sampled_from([None, 1, 2]))
def test_out_is_filled_or_refused(look, n, threads):
    net, X = network(), numbers((n, N_IN), "float32")
    wanted = net.predict(X)
    out = look(np.full((n, N_OUT), 7, np.float32))
    if isinstance(out, np.ndarray) and out.flags.carray and out.dtype == np.float32:  # contiguous, aligned, writable
        assert net.predict(X, out=out, threads=threads) is out
        assert np.asarray(out).tobytes() == wanted.tobytes()
    else:
        refused(["out must"], net.predict, X, out=out, threads=threads)
        assert (np.asarray(out) == 7).all()


@pytest.mark.parametrize("name, lie", [("shape", (1000, N_OUT)), ("dtype", np.dtype("float32"))])
def test_out_that_says_what_is_not_so_is_refused(name, lie):
    class Liar(np.ndarray):
        pass

    setattr(Liar, name, property(lambda self: lie))
    net, X = network(), numbers((1000, N_IN), "float32")
    out = np.zeros((1, N_OUT), "float32") if name == "shape" else np.zeros((1000, N_OUT), "float16")
    refused(["out must have shape"], net.predict, X, out=out.view(Liar))


def test_a_network_is_made_once():
    net = network()
    for again in (lambda: net.__init__([2, 3]), lambda: net.__setstate__(network().__getstate__())):
        with pytest.raises(RuntimeError, match="made once"):
            again()


def test_what_has_changed_since_it_was_checked_is_not_read():
    """The binding checks again the arrays that the core is going to read."""
    net, X = network(), numbers((50, N_IN), "float32")
    for data in (_core.Data(X[:, :-1].copy()), _core.Data(X, targets=np.zeros((50, N_OUT + 1), "float32")),
                 _core.Data(X, labels=np.zeros(50, np.int64)), _core.Data(X, weights=np.zeros(50)),
                 _core.Data(X[::2])):
        with pytest.raises(ValueError, match="has changed its shape or type|the C core refused"):
            net._core.evaluate(data, losses.CrossEntropy(), 1)
    with pytest.raises(ValueError, match="labels must have one entry for each row"):
        _core.Data(X, labels=np.zeros(49, np.int32))


def test_masked_numbers_behind_other_objects_are_refused():
    class Behind:
        def __array__(self, dtype=None, copy=None):
            return np.ma.masked_greater(numbers((3, N_IN), "float32"), 0)

    refused(["X must show all its numbers"], network().predict, Behind())


def test_out_may_be_a_file(tmp_path):
    net, X = network(), numbers((40, N_IN), "float32")
    X.tofile(tmp_path / "X")
    X_there = np.memmap(tmp_path / "X", np.float32, "r", shape=X.shape)
    out = np.memmap(tmp_path / "out", np.float32, "w+", shape=(40, N_OUT))
    assert net.predict(X_there, out=out) is out
    out.flush()
    assert (tmp_path / "out").read_bytes() == net.predict(X).tobytes()


# ---- masked values


@pytest.mark.parametrize("wrap", [lambda a: a, list], ids=["array", "list of rows"])
def test_masked_values_are_refused(wrap):
    net = network()
    trainer = Trainer(net)
    X, y = np.ma.masked_array(numbers((9, N_IN), "float32")), np.ma.masked_array(np.arange(9) % N_OUT)
    weight, of_class = np.ma.masked_array(np.ones(9)), np.ma.masked_array(np.ones(N_OUT))
    trainer.fit(wrap(X), y, sample_weight=weight, class_weight=of_class)  # nothing is masked yet
    before = bits(net.parameters)
    X[3, 2] = y[4] = weight[5] = of_class[1] = np.ma.masked
    for call in (net.predict, lambda a: net.predict(a, threads=1), lambda a: backprop.forward(net, a),
                 lambda a: trainer.step(a, y.data), lambda a: trainer.fit(a, y.data),
                 lambda a: trainer.fit(X.data, y.data, validation_data=(a, y.data))):
        refused(["X must show all its numbers, got a masked array"], call, wrap(X))
    for call in (trainer.fit, trainer.step, trainer.evaluate):
        refused(["y must show all its numbers, got a masked array"], call, X.data, y)
        refused(["sample_weight must show all its numbers"], call, X.data, y.data, sample_weight=weight)
    refused(["class_weight must show all its numbers"], trainer.fit, X.data, y.data, class_weight=of_class)
    mask = np.ma.masked_array(np.ones((N_IN, N_OUT), bool), True)
    refused(["mask must show all its numbers"], Layer, N_IN, N_OUT, mask=mask)
    out = np.ma.masked_array(np.zeros((9, N_OUT), np.float32), mask=np.eye(9, N_OUT))
    refused(["out must show all its numbers, got a masked array"], net.predict, X.data, out=out)
    assert bits(net.parameters) == before


# ---- arrays that change during a call


class Spoil:
    """Fills arrays with numbers that would be refused, before each epoch."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def on_epoch_begin(self, trainer, epoch):
        for array in self.arrays:
            array[...] = -(2**31) if array.dtype.kind == "i" else np.nan


@pytest.mark.parametrize("loss, y", [
    ("cross_entropy", np.arange(40, dtype=np.int32) % N_OUT), ("cross_entropy", np.arange(40) % N_OUT),
    ("cross_entropy", np.eye(N_OUT, dtype=np.float32)[np.arange(40) % N_OUT]),
    ("squared_error", np.ones((40, N_OUT), np.float32)),
], ids=["int32", "int64", "one-hot", "targets"])
def test_y_and_weights_are_copied_before_the_first_epoch(loss, y):
    X, results = numbers((40, N_IN), "float32"), []
    for spoils in (True, False):
        mine, weight, held_out = y.copy(), np.linspace(1, 2, 40).astype(np.float32), y[:7].copy()
        net = network(output="softmax" if loss == "cross_entropy" else "identity")
        trainer = Trainer(net, loss, batch_size=4, seed=0)
        callbacks, validation = [Spoil(mine, weight, held_out)] if spoils else [], (X[:7], held_out)
        history = trainer.fit(X, mine, epochs=3, sample_weight=weight, validation_data=validation, callbacks=callbacks)
        results.append((bits(net.parameters), dict(history)))
    assert results[0] == results[1]


def interleaved(call, change):
    """What call(X, y, targets, weight) returns or raises if another thread changes its arrays, once for each moment.

    A moment is before or after any function that runs under the call: there the interpreter may change threads.
    """
    moment, passed = 0, 0
    while passed >= moment:
        moment, passed, n = moment + 1, 0, 12
        arrays = [numbers((n, N_IN), "float32"), np.arange(n) % N_OUT]
        arrays += [np.eye(N_OUT, dtype=np.float32)[arrays[1]], np.ones(n)]

        def hook(frame, event, function):
            nonlocal passed
            passed += 1
            if passed == moment:  # noqa: B023
                change(*arrays)  # noqa: B023

        net = network()
        trainer = Trainer(net, batch_size=5, seed=0)
        before = bits(net.parameters)
        sys.setprofile(hook)
        try:
            result = call(net, trainer, *arrays)
        except ValueError as error:
            sys.setprofile(None)
            assert "must" in str(error) and bits(net.parameters) == before
        else:
            sys.setprofile(None)
            yield repr(result), bits(net.parameters)


CALLS = {
    "fit": lambda net, t, X, y, targets, weight: t.fit(X, y, sample_weight=weight, class_weight=[1, 2, 3]),
    "fit, targets": lambda net, t, X, y, targets, weight: t.fit(X, targets, validation_data=(X, targets)),
    "fit, split": lambda net, t, X, y, targets, weight: t.fit(X, y, sample_weight=weight, validation_split=0.25),
    "step": lambda net, t, X, y, targets, weight: t.step(X, y),
    "step, weighted": lambda net, t, X, y, targets, weight: t.step(X, y, sample_weight=weight),
    "natural gradient": lambda net, t, X, y, targets, weight: Trainer(
        net, optimizer=NaturalGradient(cg_iterations=1), batch_size=None).fit(X, targets, sample_weight=weight),
    "lbfgs": lambda net, t, X, y, targets, weight: Trainer(net, optimizer="lbfgs", batch_size=None).fit(
        X, targets, epochs=1),
    "evaluate": lambda net, t, X, y, targets, weight: t.evaluate(X, y, sample_weight=weight),
    "predict": lambda net, t, X, y, targets, weight: net.predict(X).tobytes(),
    "predict, threads": lambda net, t, X, y, targets, weight: net.predict(X, threads=2).tobytes(),
    "gradients": lambda net, t, X, y, targets, weight: bits(
        p for pair in backprop.gradients(net, X, y, "cross_entropy", sample_weight=weight) for p in pair),
    "residuals": lambda net, t, X, y, targets, weight: bits(backprop.residuals(net, X, y, "cross_entropy")),
}


def spoil(X, y, targets, weight):
    y[...], targets[...], weight[...] = 2**31 - 1, np.nan, np.nan


def reshape(X, y, targets, weight):
    X.shape = X.size, 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # for assigning to shape
@pytest.mark.parametrize("change", [spoil, reshape])
@pytest.mark.parametrize("call", CALLS)
def test_a_change_at_any_moment_is_refused_or_comes_too_late(call, change):
    if call == "lbfgs":
        pytest.importorskip("scipy.optimize")
    results = list(interleaved(CALLS[call], change))
    undisturbed = next(interleaved(CALLS[call], lambda *arrays: None))
    assert results and all(result == undisturbed for result in results)


def test_x_changed_meanwhile_leaves_the_labels_alone():
    """X is read in place: it may have old or new values, but every label must be unchanged."""
    X, y = np.ones((3000, N_IN), np.float32), np.arange(3000) % N_OUT
    stop = threading.Event()

    def change():
        while not stop.is_set():
            X[...] = 1  # the same values, so the result is known

    thread = threading.Thread(target=change)
    thread.start()
    try:
        nets = [network(), network()]
        Trainer(nets[0], batch_size=8, seed=0, threads=2).fit(X, y, epochs=3)
    finally:
        stop.set()
        thread.join()
    Trainer(nets[1], batch_size=8, seed=0, threads=2).fit(X, y, epochs=3)
    assert bits(nets[0].parameters) == bits(nets[1].parameters)


# ---- more than 2^31 numbers

WIDE, MANY = 2**15, 2**16 + 4096  # 2^31 numbers and 2^27 more


@pytest.fixture(scope="module")
def huge():
    """uint8 (MANY, WIDE), whose memory is not allocated until written, with three nonzero rows."""
    if mlpfast.show_config("dicts")["isa"] == "generic":
        pytest.skip("2^31 numbers take minutes in plain C; rows are found by the same lines for every instruction set")
    if sys.platform != "linux" or sys.maxsize < 2**32:
        pytest.skip("needs memory that is there only where it is written to")
    with open("/proc/meminfo") as lines:
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    if free < 2 * 2**20:
        pytest.skip(f"needs 2 GiB of free memory, there are {free / 2**20:.1f}")
    try:
        memory = mmap.mmap(-1, MANY * WIDE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, ValueError) as error:
        pytest.skip(f"cannot map {MANY * WIDE / 2**30:.2f} GiB: {error}")
    X = np.frombuffer(memory, np.uint8).reshape(MANY, WIDE)
    for row in (0, 2**16, MANY - 1):  # the first row, the first beyond element 2^31, the last
        X[row] = np.random.default_rng(row).integers(1, 256, WIDE, dtype=np.uint8)
    return X


def wide_network():
    return Network([Layer(WIDE, 1, bias=False)], seed=0, input_scale=1 / 255)


def test_predict_beyond_2_to_the_31(huge):
    net = wide_network()
    out = net.predict(huge)
    there = np.flatnonzero(out[:, 0])
    np.testing.assert_array_equal(there, [0, 2**16, MANY - 1])
    assert out[there].tobytes() == net.predict(huge[there]).tobytes()
    assert net.predict(huge[-3:]).tobytes() == out[-3:].tobytes()


def test_fit_beyond_2_to_the_31(huge):
    """Without a bias, zero rows have no gradient: training on them with other rows gives the same bits."""
    nets, y = [wide_network(), wide_network()], np.linspace(-1, 1, MANY)
    trainers = [Trainer(net, "half_squared_error", SGD(1e-4), batch_size=64, seed=5) for net in nets]
    trainers[0].fit(huge, y)
    order = np.empty(MANY, np.int64)
    _core.shuffle(order, 5, 0)
    for first in range(0, MANY, 64):
        rows = order[first : first + 64]
        if np.isin(rows, [0, 2**16, MANY - 1]).any():
            trainers[1].step(huge[rows], y[rows])
    assert trainers[1].steps == 3
    assert bits(nets[0].parameters) == bits(nets[1].parameters)
    assert bits(nets[0].parameters) != bits(wide_network().parameters)


def test_a_sparse_file(tmp_path):
    """A memory-mapped file with holes, read in place."""
    path = tmp_path / "X"
    path.touch()
    os.truncate(path, 2**22 * N_IN)
    X = np.memmap(path, np.uint8, "r+", shape=(2**22, N_IN))
    X[-1] = [1, 2, 3, 4, 5]
    net = network(input_scale=0.1)
    out = net.predict(X)
    assert out[-1:].tobytes() == net.predict(np.array(X[-1:])).tobytes()
    assert (out[:-1] == net.predict(np.zeros((1, N_IN), np.uint8))).all()


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs", "natural_gradient"])
def test_an_array_that_a_callback_shrinks(optimizer):
    """Its memory is freed, so the next epoch must not read it."""
    if optimizer == "lbfgs":
        pytest.importorskip("scipy")
    X = np.ones((4000, 4), np.float32)
    net = Network([4, 3], output="softmax", seed=0)
    trainer = Trainer(net, optimizer=optimizer, batch_size=64 if optimizer == "sgd" else None, seed=0)
    with pytest.raises(ValueError, match="changed its shape"):
        trainer.fit(X, np.zeros(4000, int), epochs=2, callbacks=[lambda *_: X.resize((1, 4), refcheck=False)])
