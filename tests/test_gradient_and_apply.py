"""Trainer.gradient and Trainer.apply give the bits of the fused step; chunks and their tree."""

import threading

import numpy as np
import pytest
from test_same_bits import assert_same_bits

from mlpfast import (
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Layer,
    NaturalGradient,
    Network,
    RMSprop,
    Trainer,
    backprop,
    losses,
    schedules,
)
from mlpfast.activations import Custom, PReLU

OPTIMIZERS = {
    "sgd": lambda: SGD(lr=0.1), "momentum": lambda: SGD(lr=0.1, momentum=0.9),
    "nesterov": lambda: SGD(lr=0.05, momentum=0.8, nesterov=True), "adam": lambda: Adam(lr=0.01),
    "adamw": lambda: AdamW(lr=0.01, weight_decay=0.1), "rmsprop": lambda: RMSprop(lr=0.01),
    "adagrad": lambda: Adagrad(lr=0.1),
}
SETTINGS = {
    "plain": {}, "penalties": dict(l1=1e-3, l2=1e-2), "clip_norm": dict(clip_norm=0.1, l2=1e-2),
    "other limits": dict(clip_value=0.01, max_norm=0.9), "chunks": dict(chunk_rows=16),
    "clipped chunks": dict(chunk_rows=16, clip_norm=0.1, l1=1e-3),
    "unchecked": dict(check_finite=False, weighting="minibatch"),
}
SMOOTH = Custom(lambda z: z / (1 + np.abs(z)), lambda z: (1 + np.abs(z)) ** -2)
NETWORKS = {
    "mixed": lambda: [
        Layer(9, 18, "relu", dropout=0.2), Layer(18, 12, PReLU(), mask=np.arange(216).reshape(18, 12) % 5 > 1, l2=1e-2),
        Layer(12, 7, "softmax"), Layer(7, 5, "gelu", trainable=False), Layer(5, 4, "softmax", bias=False),
    ],
    "shared slope": lambda: [Layer(9, 20, PReLU(shared=True)), Layer(20, 4, "softmax")],
    "custom": lambda: [Layer(9, 6, SMOOTH), Layer(6, 4, "softmax")],
}


def problem(n=100, dtype="float32"):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 9)).astype(dtype), rng.integers(4, size=n), rng.uniform(0.1, 2, size=n)


def network(name, dtype="float32", **settings):
    return Network(NETWORKS[name](), dtype=dtype, seed=3, **settings)


def flat(gradients):
    return [g for of_layer in gradients for g in of_layer if g is not None]


def assert_same_state(one, other):
    first, second = one.state, other.state
    assert list(first) == list(second)
    for name, a, b in zip(first, first.values(), second.values(), strict=True):
        if name in ("epoch", "steps", "updates", "chunk_rows"):
            assert a == b
        else:
            assert_same_bits(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_is_a_gradient_and_its_application(optimizer, settings, dtype):
    X, y, weight = problem(dtype=dtype)
    for name in NETWORKS:
        fused, halves = (
            Trainer(network(name, dtype, input_noise=0.1, input_dropout=0.1), optimizer=OPTIMIZERS[optimizer](), seed=4,
                    **SETTINGS[settings]) for _ in range(2)
        )
        for number, n in enumerate([1, 16, 50, 100]):
            weights = weight[:n] if number % 2 else None
            loss = fused.step(X[:n], y[:n], weights)
            before = [p.copy() for p in halves.network.parameters]
            other_loss, gradients = halves.gradient(X[:n], y[:n], weights)
            assert_same_bits(halves.network.parameters, before)
            assert loss == other_loss and halves.steps == number
            halves.apply(gradients)
            assert_same_bits(halves.network.parameters, fused.network.parameters)
            assert_same_state(halves, fused)


@pytest.mark.parametrize("chunk_rows", [7, 1024])
def test_a_custom_loss_is_called_once_for_all_rows(chunk_rows):
    """The loss depends on several rows together: the deviation from the mean of the minibatch."""
    X, _, _ = problem()
    seen = []

    def rows(y, yhat):
        seen.append(len(y))
        return (yhat - yhat.mean(axis=0)).sum(axis=1) ** 2 + ((yhat - y) ** 2).sum(axis=1)

    def residual(y, yhat):
        return yhat - y + 0.1 * yhat.mean(axis=0)

    trainers = [
        Trainer(Network([Layer(9, 5, PReLU()), Layer(5, 2, "tanh")], seed=0), losses.Custom(rows, residual),
                Adam(0.01), chunk_rows=chunk_rows, seed=0) for _ in range(2)
    ]
    for _ in range(2):
        loss = trainers[0].step(X, X[:, :2])
        other_loss, gradients = trainers[1].gradient(X, X[:, :2])
        trainers[1].apply(gradients)
        assert loss == other_loss
    assert seen == [100] * 4
    assert_same_bits(trainers[0].network.parameters, trainers[1].network.parameters)


def test_the_gradient_is_that_of_backprop_with_zeros_for_what_is_not_trained():
    X, y, weight = problem()
    for name in NETWORKS:
        layers = NETWORKS[name]()
        if name == "mixed":  # backprop has no dropout
            layers[0] = Layer(9, 18, "relu", trainable=False)
        net = Network(layers, seed=3)
        _, gradients = Trainer(net, l1=1e-3).gradient(X, y, weight, mean_weight=1.5)
        wanted = flat(backprop.gradients(net, X, y, "cross_entropy", l1=1e-3, sample_weight=weight, mean_weight=1.5))
        trained = [layer.trainable for layer in net.layers for _ in layer.parameters]
        wanted = [g if is_trained else np.zeros_like(g) for g, is_trained in zip(wanted, trained, strict=True)]
        assert_same_bits(gradients, wanted)
        assert [g.shape for g in gradients] == [p.shape for p in net.parameters]
        assert all(g.flags.c_contiguous and g.flags.owndata for g in gradients)


# ---- Chunks


def tree(parts):
    """As in csrc/chunks.h: neighbours are added, level by level; an odd last node moves up."""
    while len(parts) > 1:
        pairs = [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(parts[::2], parts[1::2], strict=False)]
        parts = pairs + parts[2 * len(pairs) :]
    return parts[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chunks", [1, 2, 3, 5, 6, 7, 11, 16])
@pytest.mark.parametrize("name", ["shared slope", "custom"])
def test_gradients_of_chunks_are_added_by_the_tree(name, chunks, dtype):
    X, y, _ = problem(16 * chunks, dtype)
    net = network(name, dtype)
    parts = []
    for i in range(0, len(X), 16):
        gradients = flat(backprop.gradients(net, X[i : i + 16], y[i : i + 16], "cross_entropy"))
        parts.append([16 * g for g in gradients])  # exact: the sums over the 16 rows
    scale = np.dtype(dtype).type(1 / len(X))
    wanted = [scale * s for s in tree(parts)]
    for threads in (1, 2, 3, 7):
        trainer = Trainer(net, chunk_rows=16, threads=threads)
        assert_same_bits(trainer.gradient(X, y)[1], wanted)


def test_chunks_disturb_each_row_as_the_whole_minibatch_does():
    X, y, _ = problem(dtype="float64")
    net = network("mixed", "float64", input_noise=0.1, input_dropout=0.2)
    (whole, gradients), (loss, of_chunks) = (Trainer(net, seed=4, chunk_rows=rows).gradient(X, y) for rows in (100, 16))
    assert loss == pytest.approx(whole, rel=1e-12)
    for got, wanted in zip(of_chunks, gradients, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("rows", [32, 64, 256])
def test_parts_of_a_minibatch_are_accumulated_to_its_bits(rows):
    """Parts of chunk_rows times a power of two rows, with dropout by their first_row."""
    X, y, _ = problem(512)
    nets = [Network([9, 18, 4], output="softmax", dropout=0.2, input_noise=0.1, seed=1) for _ in range(2)]
    whole, parts = (Trainer(net, optimizer=Adam(), seed=5, chunk_rows=16, clip_norm=0.1) for net in nets)
    for _ in range(3):
        whole.step(X, y)
        gradients = [
            parts.gradient(X[i : i + rows], y[i : i + rows], mean_weight=512 / rows, first_row=i)[1]
            for i in range(0, 512, rows)
        ]
        parts.apply(tree(gradients))
        assert_same_bits(parts.network.parameters, whole.network.parameters)
        assert_same_state(parts, whole)


# ---- fit(accumulate=k)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("settings", [{}, dict(clip_norm=0.1), dict(weighting="minibatch", max_norm=0.9)], ids=str)
def test_accumulated_minibatches_are_parts_added_up_and_applied(settings, optimizer, dtype):
    """Four of 16 rows, 512 in all: the scale 1/64 is exact. Dropout and noise by first_row, and one step for four."""
    X, y, _ = problem(512, dtype)
    for threads in (1, 3):
        nets = [Network([9, 18, 4], output="softmax", dropout=0.2, input_noise=0.1, dtype=dtype, seed=1) for _ in "ab"]
        fitted, by_hand = (
            Trainer(net, optimizer=OPTIMIZERS[optimizer](), batch_size=16, shuffle=False, seed=5, threads=threads,
                    **settings) for net in nets)
        history = fitted.fit(X, y, epochs=2, accumulate=4)
        losses = []
        for i in 2 * [*range(0, 512, 64)]:
            parts = [by_hand.gradient(X[j : j + 16], y[j : j + 16], first_row=j - i) for j in range(i, i + 64, 16)]
            by_hand.apply([g / 4 for g in tree([part[1] for part in parts])])
            losses += [part[0] for part in parts]
        assert_same_bits(fitted.network.parameters, by_hand.network.parameters)
        assert fitted.steps == by_hand.steps == 16 and fitted.state["updates"] == [16, 16]
        np.testing.assert_allclose(history["loss"], np.mean(np.reshape(losses, (2, -1)), axis=1), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_accumulated_minibatches_have_the_bits_of_large_ones_in_chunks(name, settings, dtype):
    """100 rows are steps of 3 * 12, 36 and 28 rows, whose last minibatch has 4; chunks are those or smaller ones."""
    X, y, weight = problem(dtype=dtype)
    given, lr = dict(SETTINGS[settings]), schedules.InverseTime(0.1, 0.1, per="step")
    chunk_rows = 5 if given.pop("chunk_rows", None) else 1024
    small, large = (
        Trainer(network(name, dtype, input_noise=0.1, input_dropout=0.1), optimizer=SGD(lr, 0.9), seed=4,
                batch_size=batch_size, chunk_rows=rows, **given)
        for batch_size, rows in ((12, chunk_rows), (36, min(12, chunk_rows))))
    one = small.fit(X, y, epochs=2, sample_weight=weight, accumulate=3)
    other = large.fit(X, y, epochs=2, sample_weight=weight)
    assert one == other and small.steps == large.steps == 6
    assert_same_bits(small.network.parameters, large.network.parameters)


def test_accumulated_minibatches_are_pytorchs_large_one():
    torch = pytest.importorskip("torch")
    X, y, _ = problem(96, "float64")
    net = Network([9, 7, 4], activation="tanh", output="softmax", dtype="float64", seed=0)
    theirs = torch.nn.Sequential(torch.nn.Linear(9, 7), torch.nn.Tanh(), torch.nn.Linear(7, 4)).double()
    with torch.no_grad():
        for p, q in zip(theirs.parameters(), net.parameters, strict=True):
            p[...] = torch.tensor(q.T.copy())
    weights = [p for p in theirs.parameters() if p.ndim == 2]
    optimizer = torch.optim.Adam(theirs.parameters(), 0.01)
    Trainer(net, "cross_entropy", Adam(0.01), batch_size=8, shuffle=False, l2=0.1).fit(X, y, epochs=3, accumulate=4)
    X, y = torch.tensor(X), torch.tensor(y)
    for i in 3 * [0, 32, 64]:
        optimizer.zero_grad()
        for j in range(i, i + 32, 8):
            (torch.nn.functional.cross_entropy(theirs(X[j : j + 8]), y[j : j + 8]) / 4).backward()
        (sum((W**2).sum() for W in weights) * 0.1 / 2).backward()
        optimizer.step()
    for p, q in zip(theirs.parameters(), net.parameters, strict=True):
        np.testing.assert_allclose(q, p.detach().numpy().T, rtol=1e-9, atol=1e-12)


def test_a_minibatch_of_callbacks_is_an_accumulated_step():
    X, y, _ = problem()
    seen = []

    class Watch:
        def on_batch_end(self, trainer, epoch, batch, logs):
            seen.append((batch, trainer.steps))

    trainer, twin = (Trainer(network("shared slope"), batch_size=10, seed=0) for _ in range(2))
    trainer.fit(X, y, callbacks=Watch(), accumulate=4)
    assert seen == [(0, 1), (1, 2), (2, 3)]
    twin.fit(X, y, accumulate=4)
    assert_same_bits(trainer.network.parameters, twin.network.parameters)


def test_unequal_parts_are_averaged_by_rows_with_penalties_once():
    """The rule of docs/training.md, against the whole minibatch; with weights and one mean_weight as well."""
    X, y, weight = problem(dtype="float64")
    net = network("shared slope", "float64")
    for layer in net.layers:
        layer.b[...] = 0.3  # of which there is no penalty
    trainer, chunks = (Trainer(net, l1=1e-3, l2=0.1, chunk_rows=rows) for rows in (1024, 16))
    for given, of_whole in [(None, trainer), (weight, trainer), (weight, chunks)]:
        mean_weight = None if given is None else float(given.mean())
        whole = of_whole.gradient(X, y, given)[1]
        parts = [
            (len(X[i:j]) / len(X), trainer.gradient(X[i:j], y[i:j], None if given is None else given[i:j], mean_weight,
                                                    first_row=i)[1]) for i, j in [(0, 50), (50, 57), (57, 100)]]
        summed = [sum(share * g for (share, _), g in zip(parts, each, strict=True))
                  for each in zip(*(part[1] for part in parts), strict=True)]
        for got, wanted in zip(summed, whole, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("accumulate, batch_size, error, message", [
    (0, 8, ValueError, "accumulate must be >= 1"), (-2, 8, ValueError, "accumulate"), (1.5, 8, TypeError, "accumulate"),
    (True, 8, TypeError, "accumulate"), (None, 8, TypeError, "accumulate"),
    (2, None, ValueError, "accumulate must be 1 with batch_size=None, .* got 2"),
])
def test_an_accumulate_that_is_refused(accumulate, batch_size, error, message):
    X, y, _ = problem()
    trainer = Trainer(network("shared slope"), batch_size=batch_size)
    with pytest.raises(error, match=message):
        trainer.fit(X, y, accumulate=accumulate)
    assert trainer.steps == 0
    trainer.fit(X, y, accumulate=1 if batch_size is None else 2**62)
    assert trainer.steps == 1


def test_a_bad_row_of_an_accumulated_step_is_named():
    X, y, _ = problem()
    X[75, 1] = np.inf
    trainer = Trainer(network("shared slope"), batch_size=10, shuffle=False)
    with pytest.raises(FloatingPointError, match=r"minibatch 2: X\[75, 1\] is inf"):
        trainer.fit(X, y, accumulate=3)
    assert trainer.steps == 2


def test_chunk_rows_is_part_of_the_state():
    X, y, _ = problem(512)
    first = Trainer(network("shared slope"), batch_size=128, seed=0, chunk_rows=16)
    first.fit(X, y)
    assert first.state["chunk_rows"] == 16
    second = Trainer(network("shared slope"), batch_size=128, seed=0)
    for p, q in zip(second.network.parameters, first.network.parameters, strict=True):
        p[...] = q
    second.state = first.state
    assert second.chunk_rows == 16
    first.fit(X, y)
    second.fit(X, y)
    assert_same_bits(second.network.parameters, first.network.parameters)


@pytest.mark.parametrize("value, error", [
    (0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError), (None, TypeError),
])
def test_chunk_rows_that_are_refused(value, error):
    X, y, _ = problem()
    with pytest.raises(error, match="chunk_rows"):
        Trainer(network("custom"), chunk_rows=value)
    trainer = Trainer(network("custom"))
    trainer.chunk_rows = value
    with pytest.raises(error, match="chunk_rows"):
        trainer.step(X, y)
    with pytest.raises(error, match=r"state\['chunk_rows'\]"):
        trainer.state = {**Trainer(network("custom")).state, "chunk_rows": value}


# ---- Refused calls change nothing


def bad(gradients):
    nan = [g.copy() for g in gradients]
    nan[1][0] = np.nan
    return {
        "too few": (gradients[:-1], ValueError, "gradients must hold an array for each parameter"),
        "other shapes": ([g.T for g in gradients], ValueError, "gradients must hold an array for each parameter"),
        "texts": ([g.astype(str) for g in gradients], TypeError, "gradients must hold real numbers"),
        "what gradient returns": ((0.5, gradients), TypeError, r"got \(loss, gradients\): pass the second"),
        "a number": (1.0, TypeError, "gradients must be a list of arrays, got 1.0"),
        "nan": (nan, FloatingPointError, "gradients hold NaN or infinity"),
        "too large": ([g.astype(float) + 1e300 for g in gradients], FloatingPointError, "too large for float32"),
    }


@pytest.mark.parametrize("case", ["too few", "other shapes", "texts", "a number", "nan", "too large"])
def test_gradients_that_are_refused(case):
    X, y, _ = problem()
    trainer = Trainer(network("shared slope"), optimizer=Adam())
    _, gradients = trainer.gradient(X, y)
    before, state = [p.copy() for p in trainer.network.parameters], trainer.state
    given, error, message = bad(gradients)[case]
    with pytest.raises(error, match=message):
        trainer.apply(given)
    assert_same_bits(trainer.network.parameters, before)
    assert trainer.state["updates"] == state["updates"] == [0, 0] and trainer.steps == 0


def test_without_check_finite_a_gradient_with_nan_is_applied():
    trainer = Trainer(network("custom"), optimizer=SGD(), check_finite=False)
    trainer.apply([np.full(p.shape, np.nan) for p in trainer.network.parameters])
    assert all(np.isnan(p).all() for p in trainer.network.parameters) and trainer.steps == 1


def test_numbers_of_other_kinds_are_converted_and_the_gradients_stay():
    trainer, twin = (Trainer(network("custom"), optimizer=SGD(lr=0.5)) for _ in range(2))
    ones = [np.ones(p.shape, np.int8) for p in trainer.network.parameters]
    trainer.apply(g.tolist() for g in ones)
    twin.apply(ones)
    assert_same_bits(trainer.network.parameters, twin.network.parameters)
    assert all((g == 1).all() for g in ones)
    assert_same_bits(trainer.network.parameters, [p - np.float32(0.5) for p in network("custom").parameters])


def test_bad_input_of_gradient():
    X, y, _ = problem()
    trainer = Trainer(network("shared slope"))
    for given, error, message in [
        ((X[:, :3], y), ValueError, "X must have shape"), ((X, y[:3]), ValueError, "one entry for each row"),
        ((X * np.nan, y), FloatingPointError, r"X\[0, 0\] is nan"), ((X, y, None, 0), ValueError, "mean_weight"),
        ((X, y, None, None, -1), ValueError, "first_row must be >= 0"),
        ((X, y, None, None, 1.5), TypeError, "first_row"), ((X, y, None, None, 2**32), ValueError, "first_row"),
    ]:
        with pytest.raises(error, match=message):
            trainer.gradient(*given)
    lbfgs = Trainer(network("shared slope"), optimizer=LBFGS(), batch_size=None)
    assert_same_bits(lbfgs.gradient(X, y)[1], trainer.gradient(X, y)[1])
    with pytest.raises(ValueError, match="apply needs an optimizer of minibatches, got LBFGS"):
        lbfgs.apply(trainer.gradient(X, y)[1])


def test_what_a_mask_leaves_out_is_not_measured():
    mask = np.zeros((5, 7), bool)
    mask[:, 0] = True
    net = Network([Layer(5, 7, mask=mask)], seed=0)
    b = net.layers[0].b.copy()
    dW, db = np.where(mask, 0, 1e6).astype("float32"), np.eye(7)[1]
    Trainer(net, "half_squared_error", SGD(lr=1.0), clip_norm=1.0).apply([dW, db])
    np.testing.assert_allclose(net.layers[0].b, b - db)
    assert (dW[~mask] == 1e6).all()  # the caller's array is not changed


def test_no_other_thread_may_come_between():
    X, y, _ = problem()
    trainer, refused = Trainer(network("shared slope")), []
    _, gradients = trainer.gradient(X, y)

    def from_elsewhere():
        for call in (lambda: trainer.gradient(X, y), lambda: trainer.apply(gradients)):
            try:
                call()
            except RuntimeError as error:
                refused.append(str(error))

    def while_training(trainer, epoch):
        thread = threading.Thread(target=from_elsewhere)
        thread.start()
        thread.join()

    class Calls:
        on_epoch_begin = staticmethod(while_training)

    trainer.fit(X, y, callbacks=Calls())
    assert refused == ["network is being trained by another thread"] * 2


def test_an_exception_of_the_callers_function_passes_through():
    X, y, _ = problem()

    def fails(z):
        raise KeyError("mine")

    net = Network([Layer(9, 6, Custom(fails, fails)), Layer(6, 4, "softmax")], seed=6)
    with pytest.raises(KeyError, match="mine"):
        Trainer(net).gradient(X, y)
    with pytest.raises(KeyError, match="mine"):
        backprop.gradients(net, X, y, "cross_entropy")


class Sets:
    """Numbers that set the optimizer of a Trainer as they are read; another thread may do so, too."""

    def __init__(self, numbers, trainer, optimizer):
        self.numbers, self.trainer, self.optimizer = numbers, trainer, optimizer

    def __array__(self, dtype=None, copy=None):
        self.trainer.optimizer = self.optimizer
        return self.numbers


@pytest.mark.parametrize("call", ["step", "apply"])
@pytest.mark.parametrize("optimizer", [LBFGS(), NaturalGradient()])
def test_no_step_takes_the_settings_of_an_optimizer_of_another_kind(call, optimizer):
    X, y, _ = problem()
    net = Network([9, 4], output="softmax", seed=0)
    trainer = Trainer(net, optimizer=SGD(lr=1e-3), batch_size=None)
    before = [p.copy() for p in net.parameters]
    W, b = trainer.gradient(X, y)[1]
    with pytest.raises(ValueError, match="optimizer must not be replaced by one of another kind during a call, got "):
        if call == "step":
            trainer.step(Sets(X, trainer, optimizer), y)
        else:
            trainer.apply([Sets(W, trainer, optimizer), b])
    assert_same_bits(net.parameters, before)
    assert trainer.steps == 0


def test_a_natural_step_takes_no_settings_of_another_kind():
    X, y, _ = problem()
    trainer = Trainer(Network([9, 4], output="softmax", seed=0), optimizer=NaturalGradient(), batch_size=None)
    with pytest.raises(ValueError, match="optimizer must not be replaced by one of another kind .*, got SGD"):
        trainer.step(Sets(X, trainer, SGD(lr=1e-3)), y)
    assert trainer.steps == 0


# ---- For other files


def three_layers(dtype="float64", each=({}, {}, {}), **settings):
    """A network; settings: of all its layers, and each: of each."""
    shapes = [(7, 9, "tanh"), (9, 6, PReLU()), (6, 4, "softmax")]
    layers = [Layer(*shape, **settings, **own) for shape, own in zip(shapes, each, strict=True)]
    return Network(layers, dtype=dtype, seed=3)


def their_examples(n=48):
    rng = np.random.default_rng(5)
    return rng.normal(size=(n, 7)), rng.integers(4, size=n)


def every_kind_of_step(test):
    """For test(optimizer, settings, dtype), which makes Trainers `in_each_way`."""
    for name, values in (
        ("dtype", ["float32", "float64"]), ("optimizer", OPTIMIZERS),
        ("settings", [{}, dict(clip_norm=0.1, l2=0.01), dict(chunk_rows=8, max_norm=0.5, l1=1e-3)]),
    ):
        test = pytest.mark.parametrize(name, values, ids=str)(test)
    return test


def in_each_way(make, optimizer, settings):
    """Equal Trainers of networks from make(), for assert_same_steps: fused, in two halves, and fused on threads."""
    return [Trainer(make(), optimizer=OPTIMIZERS[optimizer](), seed=1, threads=n, **settings) for n in (1, 2, 3)]


def assert_same_steps(fused, halves, threads, X, y):
    """A step of each of three equal Trainers, the second in two halves -> its gradients."""
    loss, (other, gradients) = fused.step(X, y), halves.gradient(X, y)
    halves.apply(gradients)
    assert loss == other == threads.step(X, y)
    for each in (halves, threads):
        assert_same_bits(each.network.parameters, fused.network.parameters)
        assert_same_state(each, fused)
    return gradients


def assert_a_step_has_the_bits_of_the_explicit_path(make, loss, X, y, **rule):
    """Of networks from make(): fused steps on 1 and 3 threads, gradient plus apply, `backprop` and SGD by hand."""
    nets = [make() for _ in range(4)]
    for net, threads in zip(nets[:2], (1, 3), strict=True):
        Trainer(net, loss, SGD(0.25), threads=threads).step(X, y, **rule)
    halves = Trainer(nets[2], loss, SGD(0.25))
    halves.apply(halves.gradient(X, y, **rule)[1])
    grads = [g for pair in backprop.gradients(nets[3], X, y, loss, **rule) for g in pair]
    for p, g in zip(nets[3].parameters, grads, strict=True):
        p[...] = p - p.dtype.type(0.25) * g
    for net in nets[1:]:
        for p, q in zip(nets[0].parameters, net.parameters, strict=True):
            np.testing.assert_array_equal(p, q)
