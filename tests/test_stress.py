"""Short runs of the programs in tests/stress/."""

import os
import signal
import sys
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest
from processes import run_python

from mlpfast import Layer, Network, Trainer, initializers, losses

sys.path.insert(0, str(Path(__file__).with_name("stress")))
import callers
import neighbours
import signals
import subnormals


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="needs the main thread")
@pytest.mark.usefixtures("signals_come_through")
def test_interrupts_at_random_moments():
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert [well for _, well in map(signals.interrupted, range(20))] == [True] * 20
    finally:
        signal.signal(signal.SIGINT, previous)


def test_exceptions_from_callbacks():
    assert [well for _, well in map(signals.raised, range(20))] == [True] * 20


@pytest.mark.parametrize("neighbour", neighbours.NEIGHBOURS)
def test_neighbours_before_and_after(neighbour):
    if neighbour not in neighbours.installed():
        pytest.skip(f"{neighbour} is not installed")
    for order in ((neighbour, "mlpfast"), ("mlpfast", neighbour)):
        assert neighbours.run(order) is None


def test_many_callers_at_once():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        assert callers.run(64, 40) == (64, [])
    finally:
        sys.setswitchinterval(interval)


def test_subnormal_numbers_of_every_kind(capsys):
    """Checks only that the program runs; its time is checked on an idle machine."""
    subnormals.main(quick=True)
    printed = capsys.readouterr().out
    kinds = [f"{name}, {kind}" for name, *_, sizes in subnormals.cases(1.0) for kind in ["usual", *sizes]]
    for dtype in ("float32", "float64"):
        assert all(printed.count(f"| {dtype} | {kind} |") == 1 for kind in kinds)


def test_ten_times_slower_on_subnormal_numbers_is_too_slow(capsys, monkeypatch):
    for seconds, wanted in ((9.99, False), (10.0, True)):
        monkeypatch.setattr(subnormals, "epoch_seconds", lambda *_, state=0, s=seconds, **sizes: s if state else 1.0)
        assert subnormals.main(quick=True) is wanted
        slow = "too slow: 64-128-10, B=64 | float32 | Adam, subnormal X, W, states: 10.00\n"
        assert (slow in capsys.readouterr().out) is wanted


@pytest.mark.parametrize("call", ["fit", "step", "lbfgs", "natural_gradient"])
def test_one_network_is_trained_by_one_thread_at_a_time(call):
    """The other thread gets an error, and has changed nothing."""
    X, y = callers.X, callers.Y
    net, twin = (Network([24, 32, 5], output="softmax", seed=0) for _ in range(2))
    inside, go_on = threading.Event(), threading.Event()

    def value(y, yhat):  # waits within a step until the other call was refused
        inside.set()
        go_on.wait(60)
        return np.zeros(len(y))

    trainer = Trainer(net, losses.Custom(value, lambda y, yhat: np.zeros_like(yhat)), seed=0)
    others = {
        "fit": lambda: Trainer(net).fit(X, y), "step": lambda: Trainer(net).step(X, y),
        "lbfgs": lambda: Trainer(net, optimizer="lbfgs", batch_size=None).fit(X, y),
        "natural_gradient": lambda: Trainer(net, optimizer="natural_gradient", batch_size=None).fit(X, y),
    }
    thread = threading.Thread(target=trainer.step, args=(X, y))
    thread.start()
    assert inside.wait(60)
    try:
        with pytest.raises(RuntimeError, match="network is being trained by another thread"):
            others[call]()
    finally:
        go_on.set()
        thread.join()
    for p, q in zip(net.parameters, twin.parameters, strict=True):
        np.testing.assert_array_equal(p, q)
    Trainer(net).step(X, y)


def test_of_many_attempts_to_train_a_network_each_counts_or_is_refused():
    X, y = callers.X, callers.Y
    net, twin = (Network([24, 32, 5], output="softmax", seed=0) for _ in range(2))
    trainers = [Trainer(net, seed=0) for _ in range(4)]
    counts, errors, go = [0] * 8, [], threading.Barrier(8)

    def attempt(number):
        trainer = trainers[number % 4]
        go.wait()
        for _ in range(300):
            try:
                trainer.step(X, y)
                counts[number] += 1
            except RuntimeError as error:
                if "trained by another thread" not in str(error):
                    errors.append(error)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sum(counts) == sum(trainer.steps for trainer in trainers)
    alone = Trainer(twin, seed=0)
    for _ in range(sum(counts)):
        alone.step(X, y)
    for p, q in zip(net.parameters, twin.parameters, strict=True):
        np.testing.assert_array_equal(p, q)


def test_a_layer_goes_to_one_of_two_networks_made_at_once(monkeypatch):
    layer, thief = Layer(3, 2), []
    draw = initializers.fill

    def steal(*args):  # another thread takes the Layer after the first Network has checked it
        draw(*args)
        if not thief:
            thief.append(None)
            thief.append(Network([layer]))

    monkeypatch.setattr(initializers, "fill", steal)
    with pytest.raises(ValueError, match="already part of another network"):
        Network([layer])
    assert layer.W.base is not None and np.shares_memory(layer.W, thief[1].parameters[0])


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has a GIL")
def test_free_threading_stays():
    """Python enables the GIL when an extension does not declare that it works without."""
    program = "import sys, mlpfast; assert not sys._is_gil_enabled()"
    env = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    run_python(program, env=env)


def test_a_fit_has_its_network_also_between_its_epochs():
    """Other threads that train it or read its state get an error, and the fit is not affected."""
    X, y = callers.X, callers.Y
    net, twin = (Network([24, 32, 5], output="softmax", seed=0) for _ in range(2))
    mine, other, said = Trainer(net, seed=0), Trainer(net, seed=1), []
    attempts = [lambda: other.fit(X, y), lambda: other.step(X, y), lambda: mine.state, lambda: mine.step(X, y),
                lambda: setattr(other, "state", twin_state),
                lambda: Trainer(net, optimizer="lbfgs", batch_size=None).fit(X, y),
                lambda: Trainer(net, optimizer="natural_gradient", batch_size=None).step(X, y)]
    twin_state = Trainer(twin, seed=1).state

    def attempt():
        for call in attempts:
            try:
                call()
                said.append("nothing")
            except RuntimeError as error:
                said.append(str(error))

    def callback(trainer, epoch, logs):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
        assert trainer.state["epoch"] == epoch + 1  # allowed on the thread that trains

    mine.fit(X, y, epochs=2, callbacks=[callback])
    assert set(said) == {"network is being trained by another thread"} and len(said) == 2 * len(attempts)
    Trainer(twin, seed=0).fit(X, y, epochs=2)
    for p, q in zip(net.parameters, twin.parameters, strict=True):
        np.testing.assert_array_equal(p, q)
    other.step(X, y)  # the network is free again
    with pytest.raises(ZeroDivisionError):
        mine.fit(X, y, callbacks=[lambda *_: 1 / 0])
    other.step(X, y)


def test_a_refused_network_leaves_its_layers_free(monkeypatch):
    one, two = Layer(3, 2), Layer(2, 2)
    draw, thief = initializers.fill, []

    def steal(*args):
        draw(*args)
        if not thief:
            thief.append(None)
            thief.append(Network([two]))

    monkeypatch.setattr(initializers, "fill", steal)
    with pytest.raises(ValueError, match="already part of another network"):
        Network([one, two])
    Network([one])
