"""NumPy's error state: valid calls do not fail under numpy.seterr(all="raise"), numbers that cannot be represented are
named in an error, and users' functions run in the state that the caller has set."""

import threading

import numpy as np
import pytest

from mlpfast import (
    LBFGS,
    SGD,
    Adam,
    Layer,
    NaturalGradient,
    Network,
    RMSprop,
    Trainer,
    activations,
    backprop,
    callbacks,
    diagnostics,
    losses,
    metrics,
    plots,
    schedules,
)

TINY = {"float16": 6e-8, "float32": 1e-45, "float64": 1e-300, "longdouble": np.longdouble("1e-4900")}
N = 40


@pytest.fixture(autouse=True)
def strict():
    with np.errstate(all="raise"):
        yield


def tiny(shape, dtype="float64"):
    """Numbers of normal size, with some that float32 cannot represent or only as subnormal."""
    with np.errstate(all="ignore"):
        numbers = np.random.default_rng(0).normal(size=shape).astype(dtype)
        numbers.flat[::3] = np.array(TINY[dtype], dtype)
        numbers.flat[1::7] = 0
    return numbers


def network(output="softmax", n_out=3, dtype="float32", activation="tanh", **settings):
    return Network([4, 5, n_out], activation=activation, output=output, dtype=dtype, seed=0, **settings)


Y = np.arange(N) % 3
SOFT = np.array([[1, 1e-60, 0], [1e-300, 1e-45, 1], [0.5, 0.5, 1e-100]])[Y]
WEIGHT = np.where(Y == 1, 1e-30, 1.0)
of_x = pytest.mark.parametrize("dtype", TINY)
of_network = pytest.mark.parametrize("of_network", ["float32", "float64"])

# name: (output, outputs, loss, y)
PROBLEMS = {
    "labels": ("softmax", 3, "cross_entropy", Y), "probabilities": ("softmax", 3, "cross_entropy", SOFT),
    "long probabilities": ("softmax", 3, "cross_entropy", SOFT.astype(np.longdouble)),
    "half labels": ("softmax", 3, "cross_entropy", Y.astype(np.float16)),
    "numbers": ("identity", 3, "squared_error", SOFT), "long numbers": ("identity", 1, "huber", tiny(N, "longdouble")),
    "counts": ("exp", 1, "poisson", np.full(N, 1e-300)),
    "binary": ("sigmoid", 1, "binary_cross_entropy", Y / 2 * 1e-60),
    "signs": ("identity", 1, "hinge", Y % 2 * 2 - 1), "quantile": ("identity", 1, losses.Quantile(0.3), tiny(N)),
}


@of_network
@of_x
@pytest.mark.parametrize("problem", PROBLEMS)
def test_training_of_valid_numbers(problem, dtype, of_network):
    output, n_out, loss, y = PROBLEMS[problem]
    X, names = tiny((N, 4), dtype), ["mae", "mse", "r2"] if y.ndim == 2 or n_out == 1 else ["accuracy", "top_2"]
    net = network(output, n_out, of_network, input_dropout=0.1)
    trainer = Trainer(net, loss, Adam(1e-3), batch_size=8, seed=0, l1=1e-30, l2=1e-30, clip_norm=1e-3, max_norm=2.0)
    trainer.fit(X, y, epochs=2, validation_data=(X, y, WEIGHT), sample_weight=WEIGHT, metrics=names)
    trainer.fit(X, y, validation_split=0.3, metrics=names, callbacks=callbacks.EarlyStopping())
    trainer.step(X, y)
    trainer.step(X, y, sample_weight=WEIGHT.astype(np.longdouble), mean_weight=np.longdouble(1))
    trainer.evaluate(X, y, sample_weight=WEIGHT, metrics=names)
    net.predict(X), net.predict(X[:1]), net.predict(X, threads=2), net.predict(X, dropout=True, samples=3)
    backprop.forward(net, X), backprop.residuals(net, X, y, loss)
    backprop.gradients(net, X, y, loss, sample_weight=WEIGHT)
    backprop.check_gradients(net, X, y, loss)
    diagnostics.gradient_flow(net, X, y, loss)
    again = Trainer(net, loss, Adam(1e-3))
    again.state = trainer.state


@of_network
@pytest.mark.parametrize("loss, output", [("cross_entropy", "softmax"), ("half_squared_error", "identity")])
@pytest.mark.parametrize("optimizer", [LBFGS(3), NaturalGradient(0.1)], ids=["LBFGS", "NaturalGradient"])
def test_the_optimizers_of_all_rows(optimizer, loss, output, of_network):
    if isinstance(optimizer, LBFGS):
        pytest.importorskip("scipy")
    for X in (tiny((N, 4)), np.full((N, 4), 1e-30), tiny((N, 4), "longdouble")):
        net = network(output, dtype=of_network)
        net.layers[0].W = 1e-30
        trainer = Trainer(net, loss, optimizer, batch_size=None, l2=1e-20)
        trainer.fit(X, SOFT, epochs=2, sample_weight=WEIGHT, metrics="mae")
        if not isinstance(optimizer, LBFGS):
            trainer.step(X, SOFT)


def test_parameters_and_states():
    net = Network([4, 5, 3], activation=activations.PReLU(), seed=0)
    for value in (1e-60, np.float64(1e-300), np.longdouble("1e-4000"), np.full(5, 1e-46), [1e-60] * 5):
        for name in ("W", "b", "slopes"):
            setattr(net.layers[0], name, value)
            assert not getattr(net.layers[0], name).any()
    trainer = Trainer(net, "squared_error", RMSprop(1e-30))
    trainer.step(np.full((2, 4), 1e-20, np.float32), np.zeros((2, 3)))
    state = trainer.state
    state["v"] = [np.full(array.shape, 1e-100) for array in state["v"]]
    trainer.state = state
    assert not any(array.any() for array in trainer.state["v"])
    for name, value in (("W", 1e300), ("b", [0, 1, 2, -1e39, 0]), ("slopes", np.longdouble(1e300))):
        before = getattr(net.layers[0], name).copy()
        with pytest.raises(ValueError, match=f"{name} must hold numbers that float32 can hold, got -?1"):
            setattr(net.layers[0], name, value)
        np.testing.assert_array_equal(getattr(net.layers[0], name), before)
    net.layers[0].W = np.inf  # assigning infinity is not an overflow
    assert np.isinf(net.layers[0].W).all()
    state["v"][0][0, 0] = 1e300
    with pytest.raises(ValueError, match=r"state\['v'\] must hold finite numbers"):
        trainer.state = state


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(np.float64).max, reason="long doubles are doubles here")
def test_long_numbers_beyond_float64():
    X = tiny((N, 4), "longdouble")
    X[3, 2] = np.longdouble("-1e400")
    for dtype in ("float32", "float64"):
        trainer = Trainer(network(dtype=dtype))
        message = rf"X must hold numbers that {dtype} can hold, got -1e\+400 at \[3, 2\]"
        for call, *given in ((trainer.fit, X, Y), (trainer.step, X, Y), (trainer.evaluate, X, Y),
                             (trainer.network.predict, X)):
            with pytest.raises(ValueError, match=message):
                call(*given)
        with pytest.raises(ValueError, match="validation_data X must hold"):
            trainer.fit(X[:3], Y[:3], validation_data=(X, Y))
        y = np.ones((N, 3), np.longdouble)
        y[1, 0] = np.longdouble("1e400")
        with pytest.raises(ValueError, match=r"y must hold finite numbers, got 1e\+400 in row 1, column 0"):
            Trainer(network("identity", dtype=dtype), "squared_error").fit(X[:3], y[:3])


@pytest.mark.parametrize("init", ["he_normal", "uniform", "normal", "zeros"])
@pytest.mark.parametrize("value", [np.float16(6e-8), np.float32(2e-38), np.longdouble(1e-30)])
def test_settings_of_any_float(init, value):
    layer = Layer(4, 5, activations.ELU(np.float32(0.5)), init=init, l1=value, dropout=np.float16(0.1))
    net = Network([layer, Layer(5, 3)], seed=0, input_noise=value, input_scale=np.longdouble(1e-300))
    optimizer = Adam(schedules.Exponential(np.longdouble(1e-3), np.float32(20)), eps=value)
    trainer = Trainer(net, losses.Huber(np.float16(0.5)), optimizer, l2=value, clip_value=value, batch_size=8)
    trainer.fit(tiny((N, 4)), tiny((N, 3)), epochs=60, stop_at=np.float16(0))
    assert trainer.lr == 0
    net.predict(np.full((N, 4), 9, np.uint8))


@pytest.mark.parametrize("dtype", TINY)
def test_metrics_by_themselves(dtype):
    y, yhat, weight = tiny((N, 3), dtype), tiny((N, 3), "longdouble"), np.abs(tiny(N, "longdouble"))
    for metric in (metrics.mae, metrics.mse, metrics.r2):
        metric(y, yhat), metric(y, yhat, sample_weight=weight)
    for metric in (metrics.accuracy, metrics.exact_match, metrics.TopK(2)):
        metric(Y, yhat), metric(np.eye(3)[Y].astype(dtype), y, sample_weight=weight)


def test_pictures():
    pytest.importorskip("matplotlib").use("agg")
    X, net = tiny((N, 2)), Network([2, 4, 3], output="softmax", seed=0)
    history = Trainer(net).fit(X, SOFT, epochs=2)
    for ax in (history.plot(), plots.residuals(net, X, SOFT, "cross_entropy"), plots.decision_boundary(net, X, Y),
               plots.decision_boundary(net, np.eye(N, 2) * 1e-310, Y),  # the plot's margins are too small for float64
               plots.gradient_flow(diagnostics.gradient_flow(net, X, SOFT, "cross_entropy"))):
        plots.pyplot().close(ax.figure)


# ---- the caller's error state in callbacks and custom functions


SEEN = []
STATE = dict(divide="raise", over="print", under="call", invalid="log")


def see(*_):
    SEEN.append((np.geterr(), np.geterrcall()))


class Watch:
    on_epoch_begin = on_batch_end = on_epoch_end = on_fit_end = staticmethod(see)


class Rate:
    def __init__(self, per):
        self.per = per

    def at(self, t):
        see()
        return 0.1

    def momentum_at(self, t):
        see()
        return 0.5

    def observe(self, logs):
        see()


OWN = activations.Custom(lambda z: see() or np.tanh(z), lambda z: see() or 1 - np.tanh(z) ** 2)
ERROR = losses.Custom(lambda y, yhat: see() or ((yhat - y) ** 2).sum(axis=1), lambda y, yhat: see() or 2 * (yhat - y))


@pytest.fixture
def call():
    """Calls under the caller's error state: all users' functions must see that state, and it must be the same
    afterwards."""
    SEEN.clear()

    def handler(*_):
        return None

    with np.errstate(call=handler, **STATE):
        yield
        assert (np.geterr(), np.geterrcall()) == (STATE, handler)
        assert SEEN and all(state == STATE and called is handler for state, called in SEEN)


@pytest.mark.parametrize("per", ["epoch", "step"])
@pytest.mark.parametrize("watched", ["activation", "loss", "callback", "metric", "schedule"])
def test_the_callers_functions_see_his_state(call, watched, per):
    X, y = np.random.default_rng(0).normal(size=(200, 4)), np.zeros((200, 3))
    net = network("identity", activation=OWN if watched == "activation" else "relu")
    lr = Rate(per) if watched == "schedule" else 0.1
    trainer = Trainer(net, ERROR if watched == "loss" else "squared_error", SGD(lr, 0.5), threads=2, seed=0)
    metric, callback = see_metric if watched == "metric" else (), Watch() if watched == "callback" else ()
    trainer.fit(X, y, epochs=2, validation_data=(X, y), metrics=metric, callbacks=callback)
    seen = len(SEEN)
    assert seen > 3
    if watched in ("callback", "schedule"):
        return
    trainer.evaluate(X, y, metrics=metric)
    assert len(SEEN) > seen


@pytest.mark.parametrize("watched", ["activation", "loss"])
def test_his_functions_see_it_in_whatever_calls_them(call, watched):
    X, y = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32), np.arange(3000) % 3
    net = network(activation=OWN if watched == "activation" else "relu", output="softmax")
    loss = ERROR if watched == "loss" else "cross_entropy"
    y = np.eye(3)[y] if watched == "loss" else y
    trainer, counts = Trainer(net, loss), [0]
    calls = [lambda: trainer.step(X, y), lambda: backprop.gradients(net, X, y, loss), lambda: trainer.evaluate(X, y),
             lambda: diagnostics.gradient_flow(net, X, y, loss)]
    if watched == "activation":
        calls += [lambda: net.predict(X, threads=3), lambda: net.predict(X[:1]), lambda: net.predict(X[:1].tolist())]
    for each in calls:
        each()
        counts.append(len(SEEN))
        assert counts[-1] > counts[-2]


def see_metric(y, yhat):
    see()
    return 0.0


def test_his_functions_see_it_in_lbfgs(call):
    pytest.importorskip("scipy")
    trainer = Trainer(network("identity", activation=OWN), ERROR, LBFGS(3), batch_size=None)
    trainer.fit(np.eye(4), np.ones((4, 3)), callbacks=Watch(), metrics=see_metric)


def test_helpers_never_call_them(call):
    """Only the thread that called the core runs a user's function: it has the error state, and the GIL."""
    threads = set()
    own = activations.Custom(lambda z: see() or threads.add(threading.get_native_id()) or np.tanh(z), np.cos)
    net = Network([64, 64, 3], activation=own, seed=0)
    for _ in range(20):
        net.predict(np.ones((5000, 64), np.float32), threads=3)
    assert threads == {threading.get_native_id()}


def test_what_he_sets_in_a_callback_stays():
    history = Trainer(network()).fit(
        np.ones((3, 4)), [0, 1, 2], callbacks=lambda *_: np.seterr(over="warn") and None, epochs=2,
        metrics=lambda y, yhat: float(np.geterr()["over"] == "warn"))
    assert history["metrics" if "metrics" in history else "<lambda>"] == [0, 1] and np.geterr()["over"] == "warn"


def test_his_errors_are_his():
    """An exception raised by a user's function under that state is passed on, and the network is unchanged."""
    net = network("identity", activation=activations.Custom(lambda z: np.float32(1e30) * z * np.float32(1e30), np.cos))
    for call in (lambda: net.predict(np.ones((1, 4), np.float32)), lambda: net.predict(np.ones((900, 4)), threads=2),
                 lambda: Trainer(net, "squared_error").step(np.ones((2, 4)), np.ones((2, 3)))):
        with pytest.raises(FloatingPointError, match="overflow encountered in multiply"):
            call()
    assert set(np.geterr().values()) == {"raise"}
