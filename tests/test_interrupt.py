"""Ctrl-C during training: KeyboardInterrupt, parameters as after a whole minibatch, and training can continue."""

import os
import signal
import threading

import numpy as np
import pytest

from mlpfast import SGD, Network, Trainer, _core

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals"),
    pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="needs the main thread"),
    pytest.mark.usefixtures("signals_come_through"),
]

# With minibatches of one example an epoch takes seconds, longer than the time to the signal, and a step is cheap.
N, N_IN = 120_000, 64
LONG = 1_000_000  # epochs: never reached


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(N, N_IN), dtype=np.uint8), rng.integers(10, size=N)


@pytest.fixture
def interrupt_soon():
    """A function that sends SIGINT to this process after a delay, with a handler that raises KeyboardInterrupt."""
    timers = []

    def soon(seconds=0.03):
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
        timer.daemon = True
        timers.append(timer)
        timer.start()

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield soon
    for timer in timers:
        timer.cancel()
        timer.join()
    signal.signal(signal.SIGINT, previous)


@pytest.fixture
def alarm():
    """A function that installs a handler for SIGALRM and sets the timer."""
    previous = signal.getsignal(signal.SIGALRM)

    def start(handler, first=0.03, interval=0.0):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, first, interval)

    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


class AtEpochBegin:
    """A callback that starts a clock directly before the C core is called."""

    def __init__(self, start, *args):
        self.start, self.args = start, args

    def on_epoch_begin(self, trainer, epoch):
        self.start(*self.args)


def trainer_for(seed=0, **kwargs):
    net = Network([N_IN, 128, 10], activation="tanh", output="softmax", seed=seed, input_scale=1 / 255)
    return Trainer(net, optimizer=SGD(lr=0.01, momentum=0.5), **{"batch_size": 1, "shuffle": False, **kwargs})


def same(net, other):
    return all(np.array_equal(p, q) for p, q in zip(net.parameters[::-1], other.parameters[::-1], strict=True))


def steps_until_same(trainer, net, X, y):
    """The number of minibatches of one row that trainer has to take until its network equals net."""
    for k in range(len(X) + 1):
        if same(trainer.network, net):
            return k
        if k < len(X):
            trainer.step(X[k : k + 1], y[k : k + 1])
    raise AssertionError("the parameters are not those after a whole minibatch")


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_ctrl_c_leaves_the_state_after_a_whole_minibatch(data, interrupt_soon, threads):
    X, y = data
    trainer = trainer_for(threads=threads)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, y, epochs=LONG, callbacks=[AtEpochBegin(interrupt_soon)])
    assert trainer.epoch == 0, "the epoch is too short to be interrupted"
    twin = trainer_for()
    k = steps_until_same(twin, trainer.network, X, y)
    assert 0 < k < N
    # The same steps from here give the same bits: velocities, too, are those after minibatch k.
    for i in range(5):
        assert trainer.step(X[i : i + 1], y[i : i + 1]) == twin.step(X[i : i + 1], y[i : i + 1])
    assert same(trainer.network, twin.network)


def test_fit_goes_on_after_ctrl_c(data, interrupt_soon):
    X, y = data
    trainer = trainer_for(batch_size=32, shuffle=True, seed=1)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, y, epochs=LONG, callbacks=[AtEpochBegin(interrupt_soon)])
    done = trainer.epoch
    assert len(trainer.history.get("loss", [])) == done
    history = trainer.fit(X[:1000], y[:1000], epochs=2)
    assert len(history["loss"]) == 2 and trainer.epoch == done + 2
    assert all(np.isfinite(p).all() for p in trainer.network.parameters)


def test_short_epochs_are_interrupted_too(data, interrupt_soon):
    X, y = data[0][:3], data[1][:3]
    trainer = trainer_for()
    with pytest.raises(KeyboardInterrupt):
        interrupt_soon()
        trainer.fit(X, y, epochs=10**9)
    twin = trainer_for()
    twin.fit(X, y, epochs=max(trainer.epoch, 1))  # the signal may arrive just before or after the epoch is counted
    if trainer.epoch == 0:
        return
    assert same(twin.network, trainer.network) or steps_until_same(twin, trainer.network, X, y) <= 3


@pytest.mark.parametrize("of_rows", [False, True])
def test_a_signal_is_answered_between_blocks_of_the_order(alarm, of_rows):
    order = np.full(20_000_000, -1)

    def raises(*_):
        raise ZeroDivisionError

    def when_begun():
        while order[0] < 0:
            pass
        os.kill(os.getpid(), signal.SIGALRM)

    alarm(raises, first=60)
    thread = threading.Thread(target=when_begun, daemon=True)
    thread.start()
    with pytest.raises(ZeroDivisionError):
        _core.shuffle(order, 0, 0, np.arange(len(order)) if of_rows else None)
        thread.join()
    assert order[0] >= 0 and order[-1] == -1


def test_ctrl_c_during_validation_leaves_the_state_after_the_epoch(data, alarm):
    X, y = data
    trainer, twin = (
        Trainer(Network([N_IN, 256, 256, 10], output="softmax", seed=0, input_scale=1 / 255), shuffle=False)
        for _ in range(2)
    )
    with pytest.raises(KeyboardInterrupt):
        start = AtEpochBegin(alarm, signal.default_int_handler)
        trainer.fit(X[:2], y[:2], epochs=LONG, validation_data=(X, y), callbacks=[start])
    after_each_epoch = []
    for _ in range(trainer.epoch + 1):  # the signal may have come just before the epoch was counted
        twin.fit(X[:2], y[:2])
        after_each_epoch.append(same(twin.network, trainer.network))
    assert any(after_each_epoch[-2:])


def test_ctrl_c_stops_predict(data, interrupt_soon):
    X, _ = data
    net = trainer_for().network
    before = [p.copy() for p in net.parameters]
    wanted = net.predict(X[:100])
    with pytest.raises(KeyboardInterrupt):
        interrupt_soon()
        while True:
            net.predict(X)
    np.testing.assert_array_equal(net.predict(X[:100]), wanted)
    for p, was in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(p, was)


def test_a_signal_whose_handler_returns_disturbs_nothing(data, alarm):
    X, y = data[0][:5000], data[1][:5000]
    undisturbed = trainer_for()
    undisturbed.fit(X, y, epochs=2)
    rings = []
    alarm(lambda number, frame: rings.append(number), first=0.001, interval=0.005)
    trainer = trainer_for()
    trainer.fit(X, y, epochs=2)
    assert rings
    assert same(trainer.network, undisturbed.network)


def test_the_exception_of_any_handler_comes_through(data, alarm):
    class Enough(Exception):
        pass

    def ring(number, frame):
        raise Enough("from the handler")

    trainer = trainer_for()
    alarm(ring)
    with pytest.raises(Enough, match="from the handler"):
        trainer.fit(*data, epochs=LONG)
    trainer.step(data[0][:5], data[1][:5])
    assert all(np.isfinite(p).all() for p in trainer.network.parameters)
