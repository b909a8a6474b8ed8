"""The caller's floating-point mode (rounding, subnormal numbers) does not affect results, and is restored by each
call."""

import ctypes
import hashlib
import platform
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import reference

from mlpfast import (
    LBFGS,
    SGD,
    Adam,
    Layer,
    NaturalGradient,
    Network,
    Trainer,
    activations,
    backprop,
    schedules,
)

HELPER = """
#include "fpmode.h"
unsigned long mode_now(void) { return mlp_fpmode_now() | (unsigned long)mlp_x87_now() << 32; }
void mode_set(unsigned long mode) { mlp_fpmode_set((mlp_fpmode)mode), mlp_x87_set((unsigned short)(mode >> 32)); }
"""
MODES = {  # x86: MXCSR, and the x87 control word in the upper half; Arm: FPCR
    "x86_64": {"flush to zero": 0x037F00009FC0, "up": 0x0B7F00005F80, "down": 0x077F00003F80,
               "toward zero": 0x0F7F00007F80},
    "aarch64": {"flush to zero": 1 << 24, "up": 1 << 22, "down": 2 << 22, "toward zero": 3 << 22},
}.get(platform.machine(), {})
FLAGS = 0x3F if platform.machine() == "x86_64" else 0  # exception flags, which are not part of the mode


@pytest.fixture(scope="module")
def helper(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not MODES:
        pytest.skip(f"no compiler to set the mode with, or no modes known for {platform.machine()}")
    folder = tmp_path_factory.mktemp("fpmode")
    source, library = folder / "helper.c", folder / "helper.so"
    source.write_text(HELPER)
    csrc = Path(__file__).resolve().parents[1] / "csrc"
    subprocess.run([compiler, "-shared", "-fPIC", "-I", csrc, "-o", library, source], check=True)
    helper = ctypes.CDLL(str(library))
    helper.mode_now.restype, helper.mode_set.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    return helper


RNG = np.random.default_rng(0)
TINY = np.float32(3e-20) * np.eye(20, dtype=np.float32)  # squared: subnormal
X = np.asfortranarray(RNG.normal(size=(90, 20)))  # Fortran order: converted on the way in
Y = RNG.integers(7, size=90)
ROW = RNG.normal(size=(1, 20)).astype(np.float32)
READY = {dtype: X[:33].astype(dtype, order="C") for dtype in ("float32", "float64")}  # converted in the default mode
WEIGHTS = RNG.uniform(0.1, 2, size=90)
LONG = (RNG.normal(size=(90, 20)).astype(np.longdouble) / 3)  # computed and rounded by the x87, where there is one
EXACT = RNG.normal(size=(33, 16))  # rounded to float32 as it is written


def everything(threads):
    """{name: digest} of every public computation."""
    def digest(*results):
        parts = [r.tobytes() if isinstance(r, np.ndarray) else repr(r).encode() for r in results]
        return hashlib.sha256(b"|".join(parts)).hexdigest()

    found = {}
    for dtype in ("float32", "float64"):
        layers = [Layer(20, 33, activations.PReLU(alpha=0.1), l2=1e-3), Layer(33, 16, "tanh", dropout=0.2),
                  Layer(16, 7, "softmax")]
        net = Network(layers, dtype=dtype, seed=1)
        found[dtype, "first weights"] = digest(*net.parameters)
        rate = schedules.Warmup(7, schedules.Cosine(0.03, total=50, per="step"))
        trainer = Trainer(net, optimizer=Adam(lr=rate), batch_size=16, l1=1e-4, seed=2, threads=threads)
        history = trainer.fit(X, Y, epochs=3, validation_data=(X, Y), sample_weight=WEIGHTS)
        found[dtype, "history"] = digest(sorted(history.items()))
        found[dtype, "trained"] = digest(*net.parameters)
        found[dtype, "evaluate"] = digest(trainer.evaluate(X, Y, sample_weight=WEIGHTS))
        found[dtype, "predict"] = digest(net.predict(X, threads=threads), net.predict(ROW))
        found[dtype, "samples"] = digest(*net.predict(X, dropout=True, samples=3, seed=0, threads=threads))
        found[dtype, "gradients"] = digest(*reference.flat(backprop.gradients(net, X, Y, "cross_entropy")))
        plain = Trainer(net, optimizer=SGD(lr=0.1), clip_norm=0.5, max_norm=2.0, seed=0, threads=threads)
        found[dtype, "step"] = digest(plain.step(READY[dtype], Y[:33]), plain.step(X[:33], Y[:33]), *net.parameters)
        net.layers[1].W = EXACT
        state = plain.state
        plain.optimizer = SGD(lr=0.1, momentum=0.9)
        plain.state = {**plain.state, "velocity": [np.full(p.shape, 0.1) for p in net.parameters]}
        plain.step(X[:33], Y[:33])
        found[dtype, "written"] = digest(*net.parameters, *state["updates"])
    for optimizer in (LBFGS(), NaturalGradient(cg_iterations=5)):
        net = Network([20, 9, 7], activation="tanh", output="softmax", dtype="float64", seed=1)
        net.layers[0].W = LONG[:20, :9]
        trainer = Trainer(net, optimizer=optimizer, batch_size=None, l2=1e-3, threads=threads, chunk_rows=30)
        found[type(optimizer)] = digest(trainer.fit(LONG, Y, epochs=2), *net.parameters)
    tiny = Network([20, 20], seed=0)
    tiny.layers[0].W = TINY
    found["subnormal"] = digest(tiny.predict(TINY, threads=threads), tiny.predict(TINY))
    return found


def in_mode(helper, mode, function):
    """function() in a new thread, whose workers are created in that mode; returns its result and the mode
    afterwards."""
    results = []

    def run():
        before = helper.mode_now()
        helper.mode_set(mode)
        try:
            results.append(function())
            results.append(helper.mode_now() & ~FLAGS)
        finally:
            helper.mode_set(before)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_callers_mode_changes_no_bit_and_stays(helper, mode, threads):
    pytest.importorskip("scipy")
    wanted = everything(1)
    got, after = in_mode(helper, MODES[mode], lambda: everything(threads))
    assert got == wanted
    assert after == MODES[mode] & ~FLAGS


@pytest.mark.parametrize("mode", MODES)
def test_workers_born_in_another_mode_are_used_in_the_default_one(helper, mode):
    default = helper.mode_now() & ~FLAGS
    wanted = everything(1)

    def born_then_used():
        Trainer(Network([20, 7], seed=0), "half_squared_error", threads=3).fit(X, np.zeros((90, 7)))
        helper.mode_set(default)
        return everything(3)

    got, after = in_mode(helper, MODES[mode], born_then_used)
    assert got == wanted
    assert after == default


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_stays_after_an_error_too(helper, mode):
    net = Network([20, 7], output="softmax", seed=0)

    def refused():
        for call in (lambda: Trainer(net).fit(X, Y[:3]), lambda: net.predict(X[:, :3]),
                     lambda: Trainer(net).fit(X * np.nan, Y), lambda: Network([0, 1]),
                     lambda: backprop.gradients(net, X, Y, "huber?")):
            with pytest.raises((ValueError, FloatingPointError)):
                call()

    assert in_mode(helper, MODES[mode], refused)[1] == MODES[mode] & ~FLAGS


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_function_of_the_callers_that_sets_another_mode(helper, mode, threads):
    def changed(change):
        def forward(z):
            change()
            return np.maximum(z, 0)

        layers = [Layer(20, 33, activations.Custom(forward, lambda z: z > 0), init="he_normal"), Layer(33, 1)]
        net = Network(layers, seed=0)
        before = helper.mode_now()
        try:
            Trainer(net, "half_squared_error", threads=threads, seed=0).fit(X, X[:, 0], epochs=2)
            assert helper.mode_now() & ~FLAGS == before & ~FLAGS
        finally:
            helper.mode_set(before)
        return [p.tobytes() for p in net.parameters]

    assert changed(lambda: helper.mode_set(MODES[mode])) == changed(lambda: None)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("optimizer", [Adam(), LBFGS(), NaturalGradient(cg_iterations=5)], ids=str)
def test_a_callback_that_sets_another_mode(helper, mode, optimizer):
    pytest.importorskip("scipy")
    before = helper.mode_now() & ~FLAGS

    class Sets:
        def __init__(self, new):
            self.new = new

        def on_epoch_begin(self, trainer, epoch):
            helper.mode_set(self.new)

        def on_epoch_end(self, trainer, epoch, logs):
            helper.mode_set(self.new)

    def trained(new, threads):
        net = Network([20, 9, 7], output="softmax", dtype="float64", seed=0)  # float32 would round SciPy's bits away
        batch_size = 32 if isinstance(optimizer, Adam) else None
        settings = dict(batch_size=batch_size, seed=0, threads=threads, l2=0.01, chunk_rows=30)
        trainer = Trainer(net, optimizer=optimizer, **settings)
        try:
            history = trainer.fit(X, Y, epochs=3, callbacks=[Sets(new)], validation_data=(X, Y))
            assert helper.mode_now() & ~FLAGS == before
        finally:
            helper.mode_set(before)
        return [history, *(p.tobytes() for p in net.parameters)]

    wanted = trained(before, 1)
    for threads in (1, 2):
        assert trained(MODES[mode], threads) == wanted


OPENMP = """
#include <omp.h>
#include "fpmode.h"
void modes_of_a_team(unsigned long *out, int n) {
#pragma omp parallel num_threads(n)
    out[omp_get_thread_num()] = mlp_fpmode_now();
}
"""


@pytest.mark.parametrize("first", ["step", "short step", "fit", "predict"])
def test_threads_that_are_born_in_a_call_have_the_callers_mode(helper, first, tmp_path):
    """Other libraries use these threads too, if they share the OpenMP runtime."""
    source, library = tmp_path / "team.c", tmp_path / "team.so"
    source.write_text(OPENMP)
    csrc = Path(__file__).resolve().parents[1] / "csrc"
    if subprocess.run(["gcc", "-shared", "-fPIC", "-fopenmp", "-I", csrc, "-o", library, source]).returncode:
        pytest.skip("no gcc with OpenMP")
    modes, out = ctypes.CDLL(str(library)).modes_of_a_team, (ctypes.c_ulong * 2)()
    X, y = READY["float32"], np.zeros(33, np.int64)
    trainer = Trainer(Network([20, 7], seed=0), threads=2, seed=0)
    call = {"short step": lambda: trainer.step(X, y), "step": lambda: trainer.step(X, y, WEIGHTS[:33]),
            "fit": lambda: trainer.fit(X, y), "predict": lambda: trainer.network.predict(X, threads=2)}[first]

    def born():
        call()
        modes(out, 2)

    thread = threading.Thread(target=born)  # a new thread, which may get helpers of its own
    thread.start()
    thread.join()
    assert [mode & 0xFFFF & ~FLAGS for mode in out] == [helper.mode_now() & 0xFFFF & ~FLAGS] * 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_handler_runs_in_the_default_mode(helper, threads):
    seen, X, y = [], np.ones((6000, 200), np.float32), np.zeros(6000, np.int64)
    trainer = Trainer(Network([200, 400, 400, 10], output="softmax", seed=0), threads=threads, batch_size=6000)
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(helper.mode_now() & ~FLAGS))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        for _ in range(50):
            trainer.fit(X, y)
            if len(seen) > 3:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(seen) > 3 and set(seen) == {helper.mode_now() & ~FLAGS}


@pytest.mark.parametrize("mode", MODES)
def test_a_metric_that_sets_another_mode(helper, mode):
    def trained(new):
        def sets(y, yhat):
            helper.mode_set(new)
            return 0.0

        trainer = Trainer(Network([20, 9, 7], output="softmax", seed=0), seed=0, l2=0.01)
        return trainer.fit(X, Y, epochs=3, metrics=[sets, "top_2"], validation_data=(X, Y))

    before = helper.mode_now()
    try:
        assert trained(MODES[mode]) == trained(before)
    finally:
        helper.mode_set(before)


@pytest.mark.parametrize("mode", MODES)
def test_these_modes_do_change_what_numpy_computes(helper, mode):
    """Otherwise the tests above would pass without effect."""
    values = np.array([2.0, -2.0, 1e-300])

    def results():
        return (values / 10).tobytes() + (values * 1e-10).tobytes()

    plain, long = results(), (LONG / 7).astype(np.float64).tobytes()
    assert in_mode(helper, MODES[mode], results)[0] != plain
    if platform.machine() == "x86_64" and mode != "flush to zero":
        assert in_mode(helper, MODES[mode], lambda: (LONG / 7).astype(np.float64).tobytes())[0] != long


@pytest.mark.parametrize("mode", MODES)
def test_a_schedule_without_a_period_leaves_the_mode(helper, mode):
    class Odd:
        per = "epoch"

        def at(self, t):
            return 0.01

    X, y, schedule = TINY, Y[: len(TINY)], Odd()
    trainer = Trainer(Network([20, 7], output="softmax", seed=0), optimizer=SGD(lr=schedule))
    trainer.step(X, y)
    schedule.per = "day"

    def refused():
        with pytest.raises(ValueError, match="lr.per"):
            trainer.step(X, y)

    assert in_mode(helper, MODES[mode], refused)[1] == MODES[mode] & ~FLAGS
