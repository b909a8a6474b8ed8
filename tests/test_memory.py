"""Memory: failed allocations and too large sizes raise MemoryError without other effects, and nothing leaks."""

import gc
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import tracemalloc

import numpy as np
import pytest

from mlpfast import Layer, Network, Trainer, activations

STRESS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stress")

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc or the preloading of Linux")


# ---- sizes


@pytest.mark.parametrize("sizes", [
    [2**31 - 1, 2**31 - 1], [2**30, 2**30], [2**31 - 1, 2**24], [1, 2**31 - 1, 2**31 - 1], [2**20] * 9,
], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_that_fits_nowhere(sizes, dtype):
    with pytest.raises(MemoryError, match="not enough memory"):
        Network(sizes, dtype=dtype, seed=0)


def test_a_layer_that_was_refused_can_be_used():
    layers = [Layer(3, 4), Layer(4, 2**31 - 1), Layer(2**31 - 1, 2**31 - 1)]
    with pytest.raises(MemoryError):
        Network(layers)
    assert Network(layers[:1], seed=0).predict(np.ones((1, 3))).shape == (1, 4)


def test_more_rows_than_memory():
    """Rows with stride 0: 2^46 of them need no memory until they are copied."""
    net = Network([4, 3], output="softmax", seed=0)
    before = [p.tobytes() for p in net.parameters]
    X, y = np.broadcast_to(np.ones((1, 4), np.float32), (2**46, 4)), np.broadcast_to(np.int64(1), 2**46)
    for call in (net.predict, lambda X: net.predict(X, threads=1), lambda X: Trainer(net).fit(X, y),
                 lambda X: Trainer(net).step(X, y), lambda X: Trainer(net).evaluate(X, y)):
        with pytest.raises(MemoryError):
            call(X)
    assert [p.tobytes() for p in net.parameters] == before
    Trainer(net, batch_size=2**62).fit(X[:9], y[:9])  # a minibatch has at most as many rows as X


# ---- temporary memory


def test_first_weights_are_drawn_in_little_memory():
    """tracemalloc measures NumPy's arrays, but not the parameters (16 MB), which the core allocates."""
    tracemalloc.start()
    try:
        Network([2000, 2000], seed=0)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_what_evaluate_leaves_with_the_network_does_not_grow_with_the_rows():
    net = Network([4, 3], output="softmax", seed=0)
    trainer, X, y = Trainer(net, threads=1), np.zeros((2_000_000, 4), np.float32), np.zeros(2_000_000, np.int32)
    trainer.evaluate(X[:100_000], y[:100_000])
    small = net._core.idle_bytes
    trainer.evaluate(X, y)
    assert 0 < net._core.idle_bytes == small < 1e6


def test_what_many_threads_leave_with_the_network_is_bounded():
    """Each thread has a workspace of 5 MB at the same time: all wait for each other within a prediction."""
    together = threading.Barrier(8, timeout=60)
    unit = activations.Custom(lambda z: together.wait() + z, np.ones_like)
    net, X = Network([Layer(80_000, 1, unit)], seed=0), np.zeros((16, 80_000))
    callers = [threading.Thread(target=net.predict, args=(X,), kwargs={"threads": 1}) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not together.broken and 5e6 < net._core.idle_bytes <= 2**24


# ---- every allocation fails once

# Wraps malloc, calloc, ...: the n-th allocation after `arm` by certain libraries, told by return address, fails.
FAILING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_long asked, fails_at;
static const char *who;
static _Thread_local int inside;  // dladdr may allocate

void arm(long at, const char *names) {
    who = names;
    atomic_store(&asked, 0);
    atomic_store(&fails_at, at);
}
long disarm(void) {
    long so_far = atomic_load(&asked);
    atomic_store(&fails_at, 0);
    return so_far;
}

static int refused(void *caller) {
    if (!atomic_load(&fails_at) || inside) return 0;
    Dl_info info;
    inside = 1;
    int known = dladdr(caller, &info) && info.dli_fname;
    inside = 0;
    const char *name = known ? strrchr(info.dli_fname, '/') : NULL;
    if (!name) return 0;
    for (const char *each = who; *each; each += strlen(each) + 1) {
        if (!strncmp(name + 1, each, strlen(each))) return atomic_fetch_add(&asked, 1) + 1 == atomic_load(&fails_at);
    }
    return 0;
}
#define CALLER __builtin_return_address(0)
void *malloc(size_t n) { return refused(CALLER) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return refused(CALLER) ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return refused(CALLER) ? NULL : __libc_realloc(p, n); }
void *aligned_alloc(size_t line, size_t n) { return refused(CALLER) ? NULL : __libc_memalign(line, n); }
"""

SURVIVOR = """
import ctypes, os, sys
import numpy as np
from mlpfast import SGD, Adam, Layer, NaturalGradient, Network, Trainer, activations, backprop, losses

sys.path.insert(0, sys.argv[1])
import all_rows

shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
shim.arm.argtypes, shim.disarm.restype = [ctypes.c_long, ctypes.c_char_p], ctypes.c_long
libraries = b"".join(name.encode() + b"\\0" for name in sys.argv[2:]) + b"\\0"
X, y = np.random.default_rng(0).normal(size=(70, 9)).astype(np.float32), np.arange(70) % 5
swapped, hot = np.asfortranarray(X, np.float64), np.eye(5)[y]

def survive(call, failing, parameters=lambda: []):
    n = 0
    while True:
        n += 1
        before = [p.tobytes() for p in parameters()]
        shim.arm(n if failing else 2**40, libraries)
        try:
            result = call()
        except MemoryError:
            asked = shim.disarm()
            assert asked >= n, "a MemoryError although nothing was refused"
            assert [p.tobytes() for p in parameters()] == before
            continue
        asked = shim.disarm()
        assert asked < n or not failing, f"{asked} of {n}: an allocation failed and nobody noticed"
        counts.append(asked)
        return result

def live(failing):
    mask = np.arange(9 * 33).reshape(9, 33) % 3 > 0
    make = lambda: Network([Layer(9, 33, "prelu", mask=mask), Layer(33, 5, "softmax")], seed=0)
    net = survive(make, failing)
    trainer = survive(lambda: Trainer(net, optimizer=SGD(0.1, 0.9), batch_size=16, seed=0, clip_norm=1.0), failing)
    layers = [Layer(9, 8, activations.Custom(lambda z: np.maximum(z, 0), lambda z: z > 0)), Layer(8, 5)]
    square = losses.Custom(lambda y, yhat: ((yhat - y) ** 2).sum(axis=1), lambda y, yhat: 2 * (yhat - y))
    of_class = losses.Custom(lambda y, yhat: yhat[:, 0] * y, lambda y, yhat: yhat * y[:, None])
    other = Network(layers, seed=0)
    owns = [Trainer(other, loss, SGD(0.01), seed=0) for loss in (square, of_class)]
    results, mine = [], lambda: net.parameters + other.parameters
    state = trainer.state
    for call in [lambda: trainer.fit(X, y), lambda: trainer.step(X, y), lambda: trainer.fit(swapped, hot),
                 lambda: net.predict(X), lambda: net.predict(X[:3]), lambda: net.predict(swapped, threads=2),
                 lambda: trainer.evaluate(X, y), lambda: backprop.gradients(net, X, y, "cross_entropy"),
                 lambda: owns[0].step(X, hot, np.ones(70)), lambda: owns[1].step(X, y),
                 lambda: owns[0].evaluate(X, hot),
                 lambda: trainer.state["velocity"][0].tobytes(), lambda: setattr(trainer, "state", state)]:
        results.append(repr(survive(call, failing, mine)))
    trainer.optimizer = Adam(0.01)
    survive(lambda: trainer.state, failing, mine)
    survive(lambda: trainer.fit(X, y), failing, mine)
    # A layer without slopes: NumPy ends the process where it has no memory for the buffers of a product along rows.
    plain = Network([9, 33, 5], output="softmax", seed=0)
    start = [p.copy() for p in plain.parameters]
    def anew(trainer):
        for p, q in zip(plain.parameters, start):
            p[...] = q
        return trainer.fit(X, y, epochs=1)
    for taking_all in all_rows.trainers(plain):
        # Of LBFGS an iteration may be done, and stays, when there is no memory to say so.
        unchanged = plain.parameters if isinstance(taking_all.optimizer, NaturalGradient) else []
        results.append(repr(survive(lambda: anew(taking_all), failing, lambda: unchanged)))
    return results + [p.tobytes() for p in mine() + plain.parameters]

counts = []
undisturbed = live(False)
assert live(True) == undisturbed
assert sum(counts[: len(counts) // 2]) > 15, counts
print(counts[len(counts) // 2 :])
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A library to preload, in which allocations fail."""
    compiler = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "failing.c").write_text(FAILING)
    library = folder / "failing.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(folder / "failing.c"), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"the C compiler cannot build a library: {built.stderr}")
    return library


def usual_allocator():
    """Valgrind runs need PYTHONMALLOC=malloc. Then the smallest blocks may fail too, for which NumPy does not set an
    exception, and memory is fragmented."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONMALLOC"}


BINDING = ["_core.", "_custom.", "_fpmode.", "_kernels."]


@linux
@pytest.mark.skipif(sysconfig.get_config_var("WITH_PYMALLOC") is None, reason="another interpreter")
@pytest.mark.parametrize("libraries", [BINDING, [*BINDING, "_multiarray_umath."]], ids=["mlpfast", "and NumPy"])
def test_every_allocation_may_fail(libraries, shim, tmp_path):
    """First allocations of mlpfast's library, then also NumPy's: its arrays, and memory for conversions."""
    env = {**usual_allocator(), "LD_PRELOAD": str(shim), "MLPFAST_OVERSUBSCRIBE": "1"}
    command = [sys.executable, "-c", SURVIVOR, STRESS, *libraries]
    run = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if "symbol lookup error" in run.stderr:
        pytest.skip(f"another C library: {run.stderr}")
    assert run.returncode == 0, run.stderr


# ---- no leaks


@linux
def test_ten_thousand_lives_leave_nothing_behind(tmp_path):
    script = os.path.join(STRESS, "leaks.py")
    run = subprocess.run([sys.executable, script, "10000"], env=usual_allocator(), cwd=tmp_path, capture_output=True,
                         text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_network_goes_when_its_last_reference_goes():
    """There are no reference cycles: memory is freed at once, without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(thing, Network) for thing in gc.get_objects())
        net = Network([3, 4, 2], output="softmax", seed=0)
        trainer = Trainer(net)
        trainer.fit(np.ones((4, 3)), [0, 1, 0, 1])
        W = net.layers[0].W
        del net, trainer
        assert sum(isinstance(thing, Network) for thing in gc.get_objects()) == before
        W += 1  # the view keeps the network's memory alive
    finally:
        gc.enable()
