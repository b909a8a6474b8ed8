"""Custom activations and losses give the same results as the built-in ones, and work with all other features."""

import os
import pickle
import traceback

import numpy as np
import pytest

from mlpfast import SGD, Adam, Layer, Network, Trainer, backprop, callbacks, diagnostics, losses
from mlpfast.activations import Custom

both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])

# relu and half squared error as custom functions: NumPy computes the same bits as the core.
RELU = Custom(lambda z: np.maximum(z, 0), lambda z: z > 0)
HALF_SQUARES = losses.Custom(
    lambda y, yhat: 0.5 * np.square(yhat.astype(np.float64) - y).sum(axis=1), lambda y, yhat: yhat - y
)
SINE = Custom(np.sin, np.cos)
FOURTH = losses.Custom(lambda y, yhat: ((yhat - y) ** 4).sum(axis=1), lambda y, yhat: 4 * (yhat - y) ** 3)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def problem(n=70, dtype="float32", classes=False):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5)).astype(dtype)
    return X, rng.integers(3, size=n) if classes else rng.normal(size=(n, 3)).astype(dtype)


def network(activation, *, output="identity", dtype="float32", dropout=0.0, seed=1, **settings):
    layers = [Layer(5, 13, activation, init="he_normal", dropout=dropout), Layer(13, 40, activation, init="he_normal"),
              Layer(40, 3, output, init="xavier_normal")]
    return Network(layers, dtype=dtype, seed=seed, **settings)


def assert_same_bits(got, wanted):
    for g, w in zip(got, wanted, strict=True):
        assert g.tobytes() == w.tobytes()


EVERYTHING = [
    {}, dict(optimizer=SGD(lr=0.01, momentum=0.9, nesterov=True), l1=1e-3, l2=1e-2),
    dict(optimizer="adam", clip_norm=0.1), dict(optimizer="rmsprop", max_norm=1.0, clip_value=0.1),
    dict(batch_size=None),
]


@both_types
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("settings", EVERYTHING, ids=str)
def test_they_train_as_the_cores_own_do(settings, threads, dtype):
    X, y = problem(dtype=dtype)
    weight = np.linspace(0.5, 2, len(X))
    own = network(RELU, dtype=dtype, dropout=0.3, input_noise=0.1)
    known = network("relu", dtype=dtype, dropout=0.3, input_noise=0.1)
    settings = {"batch_size": 16, "seed": 2, **settings}
    first = Trainer(own, HALF_SQUARES, threads=threads, **settings).fit(X, y, epochs=3, sample_weight=weight)
    second = Trainer(known, "half_squared_error", **settings).fit(X, y, epochs=3, sample_weight=weight)
    assert_same_bits(own.parameters, known.parameters)
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-6 if dtype == "float32" else 1e-14)
    assert_same_bits([own.predict(X, threads=threads)], [known.predict(X)])
    assert_same_bits(own.predict(X, dropout=True, seed=3), known.predict(X, dropout=True, seed=3))


@both_types
def test_the_fused_step_is_the_step_from_gradients(dtype):
    X, y = problem(dtype=dtype)
    net = network(SINE, output=SINE, dtype=dtype)
    wanted = [p.copy() for p in net.parameters]
    weight = np.linspace(0.5, 2, len(X))
    gradients = [g for pair in backprop.gradients(net, X, y, FOURTH, l1=0.01, sample_weight=weight) for g in pair]
    for p, g in zip(wanted, gradients, strict=True):
        p -= net.dtype.type(0.1) * g
    Trainer(net, FOURTH, SGD(lr=0.1), l1=0.01, threads=2).step(X, y, sample_weight=weight)
    assert_same_bits(net.parameters, wanted)


@pytest.mark.parametrize("output", ["identity", "softmax", "prelu", SINE], ids=str)
@pytest.mark.parametrize("hidden", ["tanh", "prelu", SINE], ids=str)
def test_gradients_are_those_of_central_differences(hidden, output):
    X, y = problem(n=12, dtype="float64")
    net = network(hidden, output=output, dtype="float64")
    assert backprop.check_gradients(net, X, 0.5 * y, FOURTH, step=1e-5, inputs=True) < 1e-6


def test_a_loss_may_give_the_residual_of_z():
    X, y = problem(dtype="float64", classes=True)
    own, known = (network("tanh", output="softmax", dtype="float64") for _ in range(2))
    loss = losses.Custom(
        lambda y, yhat: -np.log(yhat[np.arange(len(y)), y]), lambda y, yhat: yhat - np.eye(3)[y], of="z"
    )
    assert backprop.check_gradients(own, X[:9], y[:9], loss, inputs=True) < 1e-6
    settings = dict(epochs=3, validation_data=(X, y), metrics="accuracy")
    first = Trainer(own, loss, "adam", seed=0, batch_size=16).fit(X, y, **settings)
    second = Trainer(known, "cross_entropy", "adam", seed=0, batch_size=16).fit(X, y, **settings)
    for name in ("loss", "val_loss", "val_accuracy"):
        assert first[name] == pytest.approx(second[name], rel=1e-12)
    with pytest.raises(ValueError, match="of='yhat' with a prelu"):
        Trainer(network("tanh", output="prelu"), loss)


def test_pytorch_agrees():
    torch = pytest.importorskip("torch")
    X, y = problem(dtype="float64")
    net = network(SINE, dtype="float64")
    modules = []
    for layer in net.layers:
        modules.append(torch.nn.Linear(layer.n_in, layer.n_out, dtype=torch.float64))
        modules[-1].weight.data, modules[-1].bias.data = torch.tensor(layer.W.T.copy()), torch.tensor(layer.b.copy())
    optimizer = torch.optim.Adam([p for m in modules for p in m.parameters()], lr=0.01)
    for _ in range(5):
        a = torch.tensor(X)
        for module in modules[:-1]:
            a = torch.sin(module(a))
        loss = ((modules[-1](a) - torch.tensor(y)) ** 4).sum(axis=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    Trainer(net, FOURTH, Adam(lr=0.01), batch_size=None).fit(X, y, epochs=5)
    for layer, module in zip(net.layers, modules, strict=True):
        np.testing.assert_allclose(layer.W, module.weight.detach().numpy().T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("of, classes, n_out, shape, kind", [
    ("yhat", True, 3, (16,), "i"), ("yhat", False, 3, (16, 3), "f"), ("z", False, 1, (16, 1), "f"),
], ids=str)
def test_what_the_functions_are_given_is_theirs(of, classes, n_out, shape, kind):
    X, y = problem(n=48, classes=classes)
    y = y if n_out == 3 else y[:, 0]
    seen = []

    def look(*arrays):
        seen.append([(a, a.copy()) for a in arrays])
        assert all(a.flags.writeable and a.flags.owndata for a in arrays)
        return arrays[-1].copy()

    def change(*arrays):
        result = look(*arrays)
        for a in arrays:
            a[...] = 99
        return result

    loss = losses.Custom(lambda y, yhat: change(y, yhat).sum(axis=1), change, of=of)
    unit = Custom(change, change)
    net = Network([Layer(5, 4, unit), Layer(4, n_out)], seed=0)
    Trainer(net, loss, batch_size=16, seed=0).fit(X, y)
    net.predict(X)
    Trainer(net, loss).evaluate(X, y)
    given = [entry for entry in seen if len(entry) == 2]
    assert {entry[0][0].shape for entry in given} >= {shape} and {entry[0][0].dtype.kind for entry in given} == {kind}
    for entry in seen:  # the core does not write to these arrays later
        for array, _ in entry:
            assert (array == 99).all()
    if classes:
        told = np.concatenate([entry[0][1] for entry in given[:6:2]])
        np.testing.assert_array_equal(np.sort(told), np.sort(y))  # each example once per epoch


class Failure(BaseException):
    pass


def failing_at(number, function):
    calls = iter(range(1, 1000))

    def call(*arrays):
        if next(calls) == number:
            raise Failure
        return function(*arrays)

    return call


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("where", ["forward", "derivative", "value", "delta"])
def test_an_exception_leaves_the_last_whole_minibatch(where, number):
    X, y = problem(n=64)
    functions = {"forward": np.sin, "derivative": np.cos, "value": FOURTH.value, "delta": FOURTH.delta}
    wanted = Network([5, 7, 3], activation=SINE, seed=0)
    for start in range(0, 16 * (number - 1), 16):
        Trainer(wanted, FOURTH).step(X[start : start + 16], y[start : start + 16])
    functions[where] = failing_at(number, functions[where])
    net = Network([5, 7, 3], activation=Custom(functions["forward"], functions["derivative"]), seed=0)
    loss = losses.Custom(functions["value"], functions["delta"])
    trainer = Trainer(net, loss, batch_size=16, shuffle=False, threads=2)
    with pytest.raises(Failure):
        trainer.fit(X, y, epochs=2)
    assert trainer.steps == number - 1
    if number < 5:
        assert_same_bits(net.parameters, wanted.parameters)
    trainer.fit(X, y)
    assert trainer.steps == number + 3


@pytest.mark.parametrize("threads", [1, 3])
def test_an_exception_ends_predict_evaluate_and_backprop(threads):
    X, y = problem(n=500)

    def fails(*_):
        raise Failure

    net = Network([5, 7, 3], activation=Custom(fails, fails), seed=0)
    for call in (lambda: net.predict(X, threads=threads), lambda: net.predict(X[:1]),
                 lambda: Trainer(net, FOURTH, threads=threads).evaluate(X, y), lambda: backprop.forward(net, X)):
        with pytest.raises(Failure):
            call()
    net = Network([5, 7, 3], seed=0)
    with pytest.raises(Failure):
        Trainer(net, losses.Custom(fails, fails), threads=threads).evaluate(X, y)
    assert np.isfinite(net.predict(X)).all()


BAD_RESULTS = [
    (lambda z: z[:, :1], ValueError, "(16, 1)"), (lambda z: z.sum(), ValueError, "()"),
    (lambda z: None, TypeError, "object"), (lambda z: z + 1j, TypeError, "complex"), (lambda z: "z", TypeError, "<U1"),
    (lambda z: [[1], [2, 3]], ValueError, "rect"),
]


@pytest.mark.parametrize("number", range(len(BAD_RESULTS)))
@pytest.mark.parametrize("where", ["forward", "derivative", "value", "delta"])
def test_what_they_return_is_checked(where, number):
    X, y = problem(n=16)
    bad, error, part = BAD_RESULTS[number]
    functions = {"forward": np.sin, "derivative": np.cos, "value": FOURTH.value, "delta": FOURTH.delta}
    functions[where] = (lambda y, yhat: bad(yhat)) if where in ("value", "delta") else bad
    net = Network([5, 16, 3], activation=Custom(functions["forward"], functions["derivative"]), seed=0)
    before = [p.copy() for p in net.parameters]
    with pytest.raises(error) as caught:
        Trainer(net, losses.Custom(functions["value"], functions["delta"])).fit(X, y)
    assert where in str(caught.value) and part in str(caught.value)
    assert_same_bits(net.parameters, before)


def test_no_traceback_holds_memory_of_the_core():
    X, y = problem(n=16)
    net = network(Custom(np.sin, lambda z: z[:1]))
    with pytest.raises(ValueError, match="derivative") as caught:
        Trainer(net, FOURTH).fit(X, y)
    frames = [frame for frame, _ in traceback.walk_tb(caught.tb)]
    arrays = [a for frame in frames for a in frame.f_locals.values() if isinstance(a, np.ndarray)]
    assert arrays and all(a.flags.owndata or a.base is not None for a in arrays)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_within_a_function_does_not_free_the_network():
    """In the child, the step on one thread continues."""
    X, y = problem(n=16)
    said = []

    def value(y, yhat):
        if not said:
            said.append(os.fork())
            if said[0] == 0:
                try:
                    trainer.step(np.tile(X, (9, 1)), np.tile(y, (9, 1)))
                except RuntimeError as error:
                    os._exit(0 if "being trained" in str(error) else 2)
                os._exit(1)
        return FOURTH.value(y, yhat)

    trainer = Trainer(network("tanh"), losses.Custom(value, FOURTH.delta), threads=1)
    trainer.step(X, y)
    assert os.waitpid(said[0], 0)[1] == 0


def test_a_loss_that_is_not_finite_is_noticed():
    X, y = problem()
    net = network("tanh")
    before = [p.copy() for p in net.parameters]
    infinite = losses.Custom(lambda y, yhat: np.full(len(y), np.inf), FOURTH.delta)
    with pytest.raises(FloatingPointError, match="the loss is inf"):
        Trainer(net, infinite).fit(X, y)
    assert_same_bits(net.parameters, before)
    with pytest.raises(FloatingPointError, match=r"X\[0, 0\] is nan"):
        Trainer(network(SINE), FOURTH, shuffle=False).fit(np.full_like(X, np.nan), y)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("where", ["derivative", "delta"])
def test_a_derivative_that_is_not_finite_is_noticed(where, threads):
    X, y = problem()
    functions = {"derivative": np.cos, "delta": FOURTH.delta}
    functions[where] = lambda *arrays: np.where(arrays[-1] > arrays[-1].min(), 1.0, np.nan)
    for check in (True, False):
        net = Network([5, 160, 3], activation=Custom(np.sin, functions["derivative"]), seed=0)
        before = [p.copy() for p in net.parameters]
        loss = losses.Custom(FOURTH.value, functions["delta"])
        trainer = Trainer(net, loss, threads=threads, check_finite=check)
        if check:
            with pytest.raises(FloatingPointError, match="minibatch 0: the derivative of the loss, or of a Custom"):
                trainer.fit(X, y)
            assert_same_bits(net.parameters, before)
        else:
            trainer.step(X, y)
            assert not all(np.isfinite(p).all() for p in net.parameters)


@pytest.mark.parametrize("call, part", [
    (lambda: Custom(1, np.cos), "forward"), (lambda: Custom(np.sin, None), "derivative"),
    (lambda: losses.Custom(np.sin, 3), "delta"), (lambda: losses.Custom(2, np.sin), "value"),
    (lambda: losses.Custom(np.sin, np.sin, of="a"), "of"), (lambda: Network([2, 2], output="custom"), "output"),
    (lambda: Trainer(Network([2, 2]), "custom"), "loss"),
])
def test_what_is_no_function_is_refused(call, part):
    with pytest.raises((TypeError, ValueError), match=part):
        call()


def test_everything_else_goes_with_them():
    X, y = problem(dtype="float64")
    net = network(SINE, dtype="float64")
    pytest.importorskip("scipy")
    history = Trainer(net, FOURTH, "lbfgs", batch_size=None).fit(X, y, epochs=20, metrics=["mae"])
    assert history["loss"][-1] < 0.5 * history["loss"][0] and history["mae"][-1] < history["mae"][0]
    natural = Trainer(network(SINE, dtype="float64"), "half_squared_error", "natural_gradient", batch_size=None)
    losses_before = natural.fit(X, y, epochs=5)["loss"]
    assert losses_before[-1] < losses_before[0]
    with pytest.raises(ValueError, match="NaturalGradient.*custom"):
        Trainer(net, FOURTH, "natural_gradient", batch_size=None).fit(X, y)
    report = diagnostics.gradient_flow(net, X, y, FOURTH)
    assert report.verdict == "healthy" and report.layers[0].activation == "custom"


def test_networks_with_them_can_be_pickled_and_compared():
    net = network(Custom(np.sin, np.cos))
    X, _ = problem()
    again = pickle.loads(pickle.dumps(net))
    assert_same_bits([again.predict(X)], [net.predict(X)])
    assert Custom(np.sin, np.cos) == Custom(np.sin, np.cos) != Custom(np.cos, np.sin)
    assert len({Custom(np.sin, np.cos), Custom(np.sin, np.cos)}) == 1


def test_summary_says_so():
    net = network(SINE)
    assert "Python functions are the activation of layer 1, 2: trained layer by layer" in net.summary()
    assert "Python functions" not in Trainer(network("tanh"), "huber").summary()
    said = Trainer(network("tanh"), FOURTH, SGD(lr=0.5), batch_size=8, max_norm=2, l2=0.1).summary()
    assert "Python functions are the loss: trained layer by layer" in said
    assert "loss Custom(" in said and "SGD(lr=0.5" in said and "40 -> 3" in said
    assert "minibatches of 8, max_norm 2, l2 0.1" in said


def test_a_function_may_use_the_network_but_not_train_it():
    X, y = problem(n=16)
    other = network("tanh")
    net = network(Custom(lambda z: np.sin(z) + 0 * other.predict(X)[0, 0], np.cos))
    Trainer(net, FOURTH).fit(X, y)

    def train(z):
        Trainer(net, FOURTH).fit(X, y)

    net = network(Custom(train, np.cos))
    with pytest.raises(RuntimeError, match="being trained"):
        Trainer(net, FOURTH).fit(X, y)


# ---- losses that depend on several rows together, and the forms of y

LSE_SQUARED = losses.Custom(  # each row's loss is (log sum exp)^2 over the outputs of all rows
    lambda y, yhat: np.full(len(yhat), np.log(np.exp(yhat).sum()) ** 2),
    lambda y, yhat: 2 * len(yhat) * np.log(np.exp(yhat).sum()) * np.exp(yhat) / np.exp(yhat).sum(),
)


def one_output(dtype="float64"):
    net = Network([2, 1], dtype=dtype, seed=0)
    for p in net.parameters:
        p[...] = 0
    return net


def test_a_loss_that_joins_rows_is_the_same_everywhere():
    X, y = np.ones((4096, 2)), np.zeros(4096)
    wanted, seen = pytest.approx(np.log(4096) ** 2, rel=1e-9), []  # 69.19
    trainer = Trainer(one_output(), LSE_SQUARED, SGD(lr=1e-12), batch_size=None)
    assert trainer.evaluate(X, y)["loss"] == wanted
    assert trainer.fit(X, y)["loss"] == [wanted] and trainer.step(X, y) == wanted
    history = trainer.fit(
        X[:64], y[:64], epochs=3, validation_data=(X, y), metrics=lambda y, yhat: seen.append(len(y)) or 0.0,
        callbacks=callbacks.EarlyStopping("val_loss", patience=1, mode="min"),
    )
    assert history["val_loss"][0] == pytest.approx(np.log(4096) ** 2, rel=1e-6) and seen[:2] == [64, 4096]
    pytest.importorskip("scipy")
    values, rows = [], []
    loss = losses.Custom(lambda y, yhat: values.append(LSE_SQUARED.value(y, yhat)) or rows.append(len(y)) or values[-1],
                         LSE_SQUARED.delta)
    history = Trainer(one_output(), loss, "lbfgs", batch_size=None).fit(X, y, epochs=5, validation_data=(X, y))
    assert values[0][0] == wanted and set(rows) == {4096}
    assert history["loss"] == pytest.approx(history["val_loss"], rel=1e-12) and history["loss"][-1] < 1e-6


def test_gradients_of_a_loss_that_joins_rows():
    rng = np.random.default_rng(0)
    X, time = rng.normal(size=(300, 5)), rng.exponential(size=300)
    y = np.stack([time, rng.random(300) < 0.7], axis=1)

    def risk(y, yhat):  # sum of e^z over the risk set at each row's time
        return (y[None, :, 0] >= y[:, None, 0]) @ np.exp(yhat[:, 0])

    def value(y, yhat):  # negative log of Cox's partial likelihood, one term for each row with an event
        return y[:, 1] * (np.log(risk(y, yhat)) - yhat[:, 0])

    def delta(y, yhat):
        there = (y[None, :, 0] >= y[:, None, 0]) * y[:, None, 1] / risk(y, yhat)[:, None]
        return (np.exp(yhat[:, 0]) * there.sum(axis=0) - y[:, 1])[:, None]

    cox = losses.Custom(value, delta)
    net, again = (Network([Layer(5, 4, "tanh"), Layer(4, 1, bias=False)], dtype="float64", seed=0) for _ in range(2))
    assert backprop.check_gradients(net, X, y, cox, step=1e-5, inputs=True) < 1e-6
    whole = Trainer(net, cox).evaluate(X, y)["loss"]
    assert whole == pytest.approx(value(y, net.predict(X)).mean(), rel=1e-12)
    trainer = Trainer(net, cox, Adam(lr=0.01), batch_size=100, seed=0)
    history = trainer.fit(X, y, epochs=10, validation_split=0.3)
    assert history["val_loss"][-1] == trainer.evaluate(*held_out(trainer, X, y))["loss"]
    pytest.importorskip("scipy")
    history = Trainer(again, cox, "lbfgs", batch_size=None).fit(X, y, epochs=20)
    assert history["loss"][-1] < whole


def held_out(trainer, X, y):
    """The rows that validation_split=0.3 holds out."""
    seen = []
    probe = Trainer(Network([5, 1], seed=0), "half_squared_error", seed=trainer.seed)
    probe.fit(X, np.arange(len(X)), validation_split=0.3, metrics=lambda y, yhat: seen.append(y) or 0.0)
    rows = seen[1][:, 0]
    return X[rows], y[rows]


@pytest.mark.parametrize("n_out, y, shape", [
    (3, np.arange(40) / 7, (40,)), (3, np.full(40, np.nan), (40,)), (3, np.arange(80).reshape(40, 2) % 7, (40, 2)),
    (1, np.arange(40.0), (40, 1)), (1, np.arange(80).reshape(40, 2), (40, 2)), (2, np.ones((40, 1), bool), (40, 1)),
    (2, np.arange(40) - 9, (40,)), (2, np.zeros((40, 5), np.float16), (40, 5)), (2, np.zeros((40, 2), ">f4"), (40, 2)),
], ids=lambda value: f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else str(value))
def test_y_may_be_of_any_width_and_any_numbers(n_out, y, shape):
    X, seen = problem(n=40)[0], []

    def look(y, yhat):
        seen.append(y)
        return ((yhat - 1) ** 2).sum(axis=1)

    loss = losses.Custom(look, lambda y, yhat: 2 * (yhat - 1))
    net = Network([5, 4, n_out], seed=0)
    trainer = Trainer(net, loss, batch_size=10, shuffle=False)
    trainer.fit(X, y, validation_data=(X, y), metrics=lambda y, yhat: seen.append(y) or 0.0)
    trainer.step(X, y, sample_weight=np.ones(40))
    trainer.evaluate(X, y.tolist() if y.dtype == float else y)
    backprop.gradients(net, X, y, loss)
    backprop.check_gradients(net, X[:5], y[:5], loss)
    diagnostics.gradient_flow(net, X, y, loss)
    wanted = y.reshape(shape)
    for got in seen:
        assert got.dtype == y.dtype and got.shape[1:] == shape[1:]
    np.testing.assert_array_equal(np.concatenate(seen[:4]), wanted)  # the minibatches of fit
    for got in seen[4:8]:
        np.testing.assert_array_equal(got, wanted)
    with pytest.raises(ValueError, match=r"y must have shape \(n,\) or \(n, k\) for a Custom loss"):
        trainer.step(X, np.zeros((40, 2, 2)))


def test_rows_of_y_follow_the_order_of_the_examples():
    X, pairs = problem(n=64)[0], []
    loss = losses.Custom(lambda y, yhat: pairs.append((y, yhat)) or np.zeros(len(y)), lambda y, yhat: 0 * yhat)
    net = Network([5, 2], dtype="float64", seed=0)
    y = np.arange(64) * 3 - 11  # not class numbers
    trainer = Trainer(net, loss, batch_size=10, seed=0)
    trainer.fit(X, y, sample_weight=np.linspace(1, 2, 64))
    assert sorted(np.concatenate([y for y, _ in pairs])) == sorted(y)
    assert not np.array_equal(np.concatenate([y for y, _ in pairs]), y)
    for given, yhat in pairs:
        np.testing.assert_allclose(yhat, net.predict(X[(given + 11) // 3]), rtol=1e-12)


def test_classes_are_recognised_when_they_are_asked_for():
    X, y = problem(n=60, classes=True)
    net = network("tanh", output="softmax", dtype="float64")
    loss = losses.Custom(
        lambda y, yhat: -np.log(yhat[np.arange(len(y)), y]), lambda y, yhat: yhat - np.eye(3)[y], of="z"
    )
    first = Trainer(net, loss, seed=0).fit(X, y, class_weight="balanced", validation_split=0.25, stratify=True)
    twin = network("tanh", output="softmax", dtype="float64")
    second = Trainer(twin, seed=0).fit(X, y, class_weight="balanced", validation_split=0.25, stratify=True)
    for name in ("loss", "val_loss"):
        assert first[name] == pytest.approx(second[name], rel=1e-12)
    got = Trainer(net, loss).evaluate(X, y, metrics=("accuracy", "top_2"))
    assert got["accuracy"] == (net.predict(X).argmax(axis=1) == y).mean()
    trainer, calls = Trainer(net, loss), Trainer(net, losses.Custom(FOURTH.value, FOURTH.delta))
    for bad, part in ((y + 0.5, "whole class numbers"), (y + 1, "from 0 to 2"), (np.zeros((60, 4)), "needs classes")):
        for settings in (dict(class_weight="balanced"), dict(validation_split=0.5, stratify=True)):
            with pytest.raises(ValueError, match=part):
                calls.fit(X, bad, **settings)
    for bad in (y + 0.5, y + 1, y - 1, np.zeros((60, 4))):
        for name in ("accuracy", "top_2", "exact_match"):
            with pytest.raises(ValueError, match=f"'{name}' needs"):
                trainer.fit(X, bad, metrics=name)
    assert trainer.epoch == calls.epoch == 0


def test_evaluate_predicts_once():
    (X, y), calls = problem(), []
    sine = Custom(lambda z: calls.append(len(z)) or np.sin(z), np.cos)
    net = Network([Layer(5, 4, sine), Layer(4, 3)], seed=0)
    Trainer(net, FOURTH, threads=1).evaluate(X, y, metrics=("mae", "mse", lambda y, yhat: 0.0))
    assert sum(calls) == len(X)


def test_lbfgs_counts_labels_as_evaluate_does():
    pytest.importorskip("scipy")
    X = np.random.default_rng(0).normal(size=(1500, 5))
    for y in ((X[:, :3] > 0) * 1.0, np.eye(3)[X[:, :3].argmax(axis=1)], X[:, :3].argmax(axis=1)):
        net = Network([5, 3], output="sigmoid", dtype="float64", seed=0)
        trainer, weight = Trainer(net, "binary_cross_entropy", "lbfgs", batch_size=None), np.linspace(0, 2, 1500)
        history = trainer.fit(X, y, epochs=1, sample_weight=weight)
        wanted = trainer.evaluate(X, y, sample_weight=weight)
        assert {name: values[-1] for name, values in history.items()} == pytest.approx(wanted, rel=1e-12)
        assert ("exact_match" in wanted) == (y.ndim == 2 and y.sum() != 1500)
