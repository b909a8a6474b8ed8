"""The optimizers: bit for bit the formulas of their docstrings in NumPy, and PyTorch's; reading and setting state."""

import pickle

import numpy as np
import pytest

from mlpfast import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Layer,
    Network,
    RMSprop,
    Rprop,
    Trainer,
    _core,
    activations,
    backprop,
    losses,
    optimizers,
    schedules,
)

IN_THE_CORE = [kind for kind in optimizers.BY_NAME.values() if not issubclass(kind, optimizers.FullBatch)]
OPTIMIZERS = [*(kind(0.05) for kind in IN_THE_CORE), SGD(0.1, 0.9), SGD(0.1, 0.9, True), Adam(0.02, 0.8, 0.95, 1e-3),
              Adam(0.02, 0.8, 0.95, 1e-3, True),
              AdamW(0.02, weight_decay=0.3), RMSprop(0.01, 0.8, 1e-4), Adagrad(0.05, 1e-3),
              Rprop(0.05, 0.4, 1.3, 0.04, 0.06)]
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])
LOSS = "cross_entropy"


def network(dtype="float64"):
    layers = [Layer(7, 19, activations.PReLU(0.1)), Layer(19, 33, "gelu"), Layer(33, 4, "softmax")]
    return Network(layers, dtype=dtype, seed=2)


def examples(n=24, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 7)), rng.integers(4, size=n)


class InNumPy:
    """The update rules of the docstrings, each operation rounded to the dtype of the parameters."""

    def __init__(self, optimizer, shapes, dtype):
        self.o, self.t, self.r = optimizer, 0, np.dtype(dtype).type
        self.state = [[np.zeros(shape, dtype) for shape in shapes] for _ in range(2)]

    def step(self, parameters, grads, decays):
        self.t += 1
        for W, g, s, v, decay in zip(parameters, grads, *self.state, decays, strict=True):
            getattr(self, type(self.o).__name__)(W, g, s, v, decay)

    def SGD(self, W, g, V, _, __):
        o, r = self.o, self.r
        if o.momentum:
            V[...] = r(o.momentum) * V + g
            g = g + r(o.momentum) * V if o.nesterov else V
        W -= r(o.lr) * g

    def Adam(self, W, g, m, v, decay):
        o, r = self.o, self.r
        m[...] = r(o.beta1) * m + r(1 - o.beta1) * g
        v[...] = r(o.beta2) * v + r(1 - o.beta2) * (g * g)
        correction = 1 / np.sqrt(1 - power(o.beta2, self.t))
        size = np.sqrt(v) * r(correction) + r(o.eps * correction if o.epsilon_hat else o.eps)
        kept = r(1 - o.lr * getattr(o, "weight_decay", 0)) if decay else r(1)
        W[...] = kept * W - r(o.lr / (1 - power(o.beta1, self.t))) * m / size

    AdamW = Adam

    def RMSprop(self, W, g, v, _, __):
        o, r = self.o, self.r
        v[...] = r(o.rho) * v + r(1 - o.rho) * (g * g)
        W -= r(o.lr) * g / (np.sqrt(v) + r(o.eps))

    def Adagrad(self, W, g, v, _, __):
        o, r = self.o, self.r
        v += g * g
        W -= r(o.lr) * g / (np.sqrt(v) + r(o.eps))


    def Rprop(self, W, g, last, D, _):
        o, r = self.o, self.r
        turn = np.sign(g) * np.sign(last)
        D[...] = np.where(D == 0, r(o.lr), D) * np.where(turn > 0, r(o.grow), np.where(turn < 0, r(o.shrink), r(1)))
        D[...] = np.clip(D, r(o.least_step), r(o.most_step))
        last[...] = np.where(turn < 0, r(0), g)
        W -= np.sign(last) * D


def batch_size(optimizer, size):
    """The size of minibatches, None for an optimizer of all rows."""
    return None if isinstance(optimizer, Rprop) else size


def power(x, n):
    """x^n by squaring, as in csrc/kernels/optimizer.inc.h."""
    result = 1.0
    while n:
        result, x, n = result * x if n % 2 else result, x * x, n // 2
    return result


def test_numbers_states_and_names_are_the_cores():
    assert {kind.rule for kind in IN_THE_CORE} == set(_core.OPTIMIZERS)
    for kind in IN_THE_CORE:
        row = _core.OPTIMIZERS[kind.rule]
        assert (kind.number, len(kind.states)) == (row.number, row.states)
        trainer = Trainer(network(), LOSS, kind(), batch_size=batch_size(kind(), 64))
        trainer._settings()
        assert len(trainer._core.views_of_state()) == 0  # not created before the first step
        trainer.step(*examples())
        assert len(trainer._core.views_of_state()) == (0 if row.bare else row.states)
    with pytest.raises(TypeError, match="states of Wrong must be the core's 2, got \\('m',\\)"):
        type("Wrong", (Adam,), {"states": ("m",)})


class Plain(optimizers.Optimizer):
    """An optimizer with a single setting."""

    rule, number = "sgd", 0

    def __init__(self, lr):
        self.lr = lr
        self.checked()

    def _core_settings(self):
        return {}


def test_an_optimizer_may_have_one_setting():
    (X, y), results = examples(), []
    for kind in (Plain, SGD):
        net = network()
        trainer = Trainer(net, LOSS, kind(0.1))
        trainer.step(X, y)
        trainer.optimizer.lr = 0.3
        trainer.step(X, y)
        results.append([np.array(p) for p in net.parameters])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_array_equal(got, wanted)


@both_types
@every_optimizer
def test_steps_are_the_docstrings_bit_for_bit(optimizer, dtype):
    net, (X, y) = network(dtype), examples()
    X = X.astype(dtype)
    parameters = [np.array(p) for p in net.parameters]
    twin = InNumPy(optimizer, [p.shape for p in parameters], dtype)
    trainer = Trainer(net, LOSS, optimizer, l2=0.01, l1=0.003, threads=2, batch_size=batch_size(optimizer, 64))
    for _ in range(7):
        grads = [g for pair in backprop.gradients(net, X, y, LOSS, l1=0.003, l2=0.01) for g in pair]
        trainer.step(X, y)
        twin.step(parameters, grads, [p.ndim == 2 for p in parameters])
        for got, wanted in zip(net.parameters, parameters, strict=True):
            np.testing.assert_array_equal(got, wanted)
    state = trainer.state
    assert state["updates"] == [7] * 3
    for name, wanted in zip(optimizer.states, twin.state, strict=False):
        for got, want in zip(state.get(name, []), wanted, strict=False):
            np.testing.assert_array_equal(got, want)


def pytorchs(optimizer, parameters, factors=None):
    """(PyTorch's optimizer of the same settings, its parameters); factors: of the rate of each."""
    torch, o = pytest.importorskip("torch"), optimizer
    if getattr(o, "epsilon_hat", False):
        pytest.skip(f"PyTorch has no epsilon_hat: {o}")
    parameters = [torch.nn.Parameter(torch.tensor(np.array(p))) for p in parameters]
    groups = [{"params": [p], "lr": o.lr * factor} for p, factor in zip(parameters, factors or [1] * 99, strict=False)]
    for group in groups if isinstance(o, AdamW) else []:
        group["weight_decay"] = o.weight_decay if group["params"][0].ndim == 2 else 0
    make = {
        SGD: lambda: torch.optim.SGD(groups, momentum=o.momentum, nesterov=o.nesterov),
        Adam: lambda: torch.optim.Adam(groups, betas=(o.beta1, o.beta2), eps=o.eps),
        AdamW: lambda: torch.optim.AdamW(groups, betas=(o.beta1, o.beta2), eps=o.eps),
        RMSprop: lambda: torch.optim.RMSprop(groups, alpha=o.rho, eps=o.eps),
        Adagrad: lambda: torch.optim.Adagrad(groups, eps=o.eps),
        Rprop: lambda: torch.optim.Rprop(groups, etas=(o.shrink, o.grow), step_sizes=(o.least_step, o.most_step)),
    }.get(type(o), lambda: pytest.skip(f"not compared with PyTorch's: {o}"))
    return make(), parameters


def assert_a_step_is_pytorchs(trainer, X, y, theirs, parameters, without=()):
    """A step of both from the same gradients; without: the parameters, by number, that PyTorch has none for."""
    torch = pytest.importorskip("torch")
    net = trainer.network
    for i, g in enumerate(g for own in backprop.gradients(net, X, y, trainer.loss) for g in own):
        parameters[i].grad = None if i in without else torch.tensor(g)
    trainer.step(X, y)
    theirs.step()
    for got, wanted in zip(net.parameters, parameters, strict=True):
        np.testing.assert_allclose(got, wanted.detach().numpy(), rtol=1e-9, atol=1e-12)


@every_optimizer
def test_steps_are_those_of_pytorch(optimizer):
    net, (X, y) = network(), examples()
    trainer = Trainer(net, LOSS, optimizer, batch_size=batch_size(optimizer, 64))
    theirs, parameters = pytorchs(optimizer, net.parameters)
    for _ in range(10):
        assert_a_step_is_pytorchs(trainer, X, y, theirs, parameters)


@every_optimizer
def test_a_state_read_and_set_goes_on_where_it_was(optimizer):
    X, y = examples(50)
    size = batch_size(optimizer, 8)
    one = Trainer(network(), LOSS, optimizer, batch_size=size, seed=1)
    one.fit(X, y, epochs=2)
    saved = pickle.loads(pickle.dumps((one.network, one.state)))
    one.step(X, y)
    other = Trainer(saved[0], LOSS, optimizer, batch_size=size, seed=1)
    other.state = saved[1]
    assert other.state["updates"] == [14 if size else 2] * 3
    other.step(X, y)
    for got, wanted in zip(other.network.parameters, one.network.parameters, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_state_holds_all_that_training_goes_on_from():
    """Including dropout, noise, the order of the examples and both kinds of schedules."""
    X, y = examples(50)

    def trainer(net=None, per="step"):
        layers = [Layer(7, 9, "tanh", dropout=0.3), Layer(9, 4, "softmax")]
        net = Network(layers, seed=1, input_noise=0.1) if net is None else net
        return Trainer(net, LOSS, Adam(schedules.Exponential(0.1, 0.05, per=per)), batch_size=8, seed=3)

    for per in ("step", "epoch"):
        one = trainer(per=per)
        one.fit(X, y, epochs=2)
        one.step(X, y)
        saved = pickle.loads(pickle.dumps((one.network, one.state)))
        other = trainer(saved[0], per)
        other.state = saved[1]
        assert (other.epoch, other.steps, other.lr) == (one.epoch, one.steps, one.lr) == (2, 15, one.lr)
        assert one.fit(X, y, epochs=2) == other.fit(X, y, epochs=2)
        for got, wanted in zip(other.network.parameters, one.network.parameters, strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("optimizer", [SGD(0.1, 0.9), *(kind() for kind in IN_THE_CORE)], ids=str)
def test_the_same_bits_on_any_number_of_threads(optimizer):
    X, y = examples(60)
    results = []
    for threads in (1, 2, 3, 5):
        net = network("float32")
        size = batch_size(optimizer, 16)
        settings = {"batch_size": size, "seed": 1, "l2": 1e-3, "clip_value": 0.05, "threads": threads}
        Trainer(net, LOSS, optimizer, **settings).fit(X, y, epochs=3)
        results.append([np.array(p) for p in net.parameters])
    for other in results[1:]:
        for got, wanted in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_rprop_takes_all_rows_at_once_and_has_one_rate():
    with pytest.raises(ValueError, match="batch_size must be None for Rprop, which takes all rows at once, got 64"):
        Trainer(network(), LOSS, Rprop()).step(*examples())
    with pytest.raises(TypeError, match="lr must be a number"):
        Rprop(schedules.Constant(0.1))
    for name, wrong, bound in (("shrink", 1.0, "< 1"), ("grow", 1.0, "> 1"), ("least_step", 0, "> 0"),
                               ("most_step", 1e-9, ">= 1e-06")):
        with pytest.raises(ValueError, match=f"{name} must be {bound}"):
            Rprop(**{name: wrong})


def test_rprop_learns_a_table_by_heart():
    """The parity of four bits, with no rate to tune."""
    X = np.array([[i >> j & 1 for j in range(4)] for i in range(16)]) * 2.0 - 1
    y = (X.prod(axis=1) + 1) / 2
    net = Network([4, 8, 1], activation="tanh", output="sigmoid", seed=3)
    Trainer(net, "binary_cross_entropy", Rprop(), batch_size=None).fit(X, y, epochs=300)
    np.testing.assert_array_equal(net.predict(X, squeeze=True) > 0.5, y == 1)


def test_another_optimizer_begins_anew():
    X, y = examples()
    trainer = Trainer(network(), LOSS, Adam())
    trainer.step(X, y)
    assert trainer.state["updates"] == [1] * 3 and trainer.state["m"][0].any()
    trainer.optimizer = RMSprop()
    assert trainer.state["updates"] == [0] * 3
    assert list(trainer.state) == ["epoch", "steps", "updates", "chunk_rows", "v"]
    trainer.step(X, y)
    assert trainer.state["updates"] == [1] * 3
    wanted = Trainer(network(), LOSS, Adam())
    wanted.step(X, y)
    wanted.optimizer = RMSprop()
    wanted.step(X, y)
    for got, want in zip(trainer.network.parameters, wanted.network.parameters, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_state_is_that_of_the_cores_own_parameters():
    class Copies(Network):
        @property
        def parameters(self):
            return [p.copy() for p in super().parameters]

    X, y = examples()
    trainer = Trainer(Copies([7, 30, 4], output="softmax", seed=0), LOSS, SGD(0.1, 0.9))
    trainer.step(X, y)
    assert [v.shape for v in trainer.state["velocity"]] == [p.shape for p in trainer.network.parameters]
    trainer.steps = 2**32 + 5
    trainer.state = trainer.state


def test_the_state_is_a_copy():
    """A view would outlive the memory of an optimizer that is replaced."""
    X, y = examples()
    trainer = Trainer(network(), LOSS, SGD(0.1, 0.9))
    trainer.step(X, y)
    state = trainer.state
    for p, v in zip(trainer.network.parameters, state["velocity"], strict=True):
        assert p.shape == v.shape and v.flags.owndata and v.any()
        v[...] = 0
    assert all(v.any() for v in trainer.state["velocity"])
    trainer.state = state
    assert not any(v.any() for v in trainer.state["velocity"])


def test_what_is_read_or_refused_under_another_optimizer_changes_nothing():
    X, y = examples()
    trainer = Trainer(network(), LOSS, Adam())
    trainer.step(X, y)
    wanted = trainer.state
    trainer.optimizer = SGD(0.1, 0.9)
    assert trainer.state["updates"] == [0] * 3 and not any(v.any() for v in trainer.state["velocity"])
    good = trainer.state
    for bad in ({}, None, {**good, "velocity": 1.0}, {**good, "velocity": iter([])}, {**good, "updates": 2**60},
                {**good, "velocity": [np.full_like(v, np.nan) for v in good["velocity"]]}):
        with pytest.raises((ValueError, TypeError), match="state"):
            trainer.state = bad
    trainer.optimizer = Adam()
    for name in ("m", "v"):
        for got, want in zip(trainer.state[name], wanted[name], strict=True):
            np.testing.assert_array_equal(got, want)
    old = {"minibatches": wanted["steps"], **{name: wanted[name] for name in wanted if name != "updates"}}
    with pytest.raises(ValueError, match="epoch, steps, updates, chunk_rows, m, v, got minibatches, epoch, steps"):
        trainer.state = old
    assert trainer.steps == 1 and trainer.state["updates"] == [1] * 3
    with pytest.raises(ValueError, match="state\\['v'\\] must hold finite numbers >= 0"):
        trainer.state = {**wanted, "v": [-v for v in wanted["v"]]}


def test_a_clipped_gradient_is_at_most_that_large():
    X, y = examples()
    net = network()
    before = [np.array(p) for p in net.parameters]
    grads = [g for pair in backprop.gradients(net, X, y, LOSS) for g in pair]
    Trainer(net, LOSS, SGD(1.0), clip_value=0.01).step(X, y)
    assert max(np.abs(g).max() for g in grads) > 0.01
    for p, old, g in zip(net.parameters, before, grads, strict=True):
        np.testing.assert_array_equal(p, old - np.clip(g, -0.01, 0.01))


def shortened(grads, most):
    norm = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in grads))
    return [g * min(1.0, most / norm) for g in grads], norm


@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize("shared", [True, False])
def test_slopes_of_wide_layers_are_shortened_too(shared, threads):
    """If columns are split among threads, a shared slope belongs to the first thread only."""
    rng = np.random.default_rng(0)
    X, y, results = rng.normal(size=(64, 64)), np.ones((64, 1)), []
    for count in (1, threads):
        net = Network([64, 512, 1], activation=activations.PReLU(shared=shared), seed=0)
        Trainer(net, "half_squared_error", SGD(0.1), clip_norm=1.0, threads=count, seed=0).fit(X, y, epochs=2)
        results.append([np.array(p) for p in net.parameters])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_state_is_not_read_or_set_in_the_middle_of_a_step():
    X, y = examples()
    errors = []

    def intrude(y, yhat):
        trainer.optimizer = SGD(0.1, 0.9)
        for use in (lambda: trainer.state, lambda: setattr(trainer, "state", state)):
            try:
                use()
            except RuntimeError as error:
                errors.append(str(error))
        trainer.optimizer = adam
        return np.zeros(len(y))

    adam = Adam()
    net = network()
    trainer = Trainer(net, losses.Custom(intrude, lambda y, yhat: np.ones_like(yhat)), adam)
    trainer.optimizer = SGD(0.1, 0.9)
    state = trainer.state
    trainer.optimizer = adam
    trainer.fit(X, y, epochs=2)
    assert errors == ["network is being trained by the call that this one is made from"] * 4
    assert trainer.state["updates"] == [2] * 3


@pytest.mark.parametrize("optimizer", [SGD(0.5), SGD(0.1, 0.9), AdamW(0.02, weight_decay=0.3)], ids=str)
def test_the_whole_gradient_is_shortened(optimizer):
    X, y = examples()
    net = network()
    parameters = [np.array(p) for p in net.parameters]
    twin = InNumPy(optimizer, [p.shape for p in parameters], np.float64)
    trainer = Trainer(net, LOSS, optimizer, clip_norm=0.2, l2=0.01)
    lengths = []
    for _ in range(5):
        grads = [g for pair in backprop.gradients(net, X, y, LOSS, l2=0.01) for g in pair]
        grads, norm = shortened(grads, 0.2)
        lengths.append(norm)
        trainer.step(X, y)
        twin.step(parameters, grads, [p.ndim == 2 for p in parameters])
        for got, wanted in zip(net.parameters, parameters, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-13)
    assert max(lengths) > 0.2


@both_types
def test_a_short_gradient_is_left_to_the_bit(dtype):
    X, y = examples()
    results = []
    for clip_norm in (None, 1e6):
        net = network(dtype)
        Trainer(net, LOSS, Adam(0.02), batch_size=8, seed=0, l1=0.01, clip_norm=clip_norm).fit(X, y, epochs=2)
        results.append([np.array(p) for p in net.parameters])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_array_equal(got, wanted)


@both_types
def test_no_unit_has_longer_weights_than_max_norm(dtype):
    X, y = examples()
    net, free = network(dtype), network(dtype)
    Trainer(net, LOSS, SGD(1.0), max_norm=0.3).step(X, y)
    Trainer(free, LOSS, SGD(1.0)).step(X, y)
    for layer, other in zip(net.layers, free.layers, strict=True):
        W = np.array(other.W, np.float64)
        norm = np.linalg.norm(W, axis=0)
        wanted = W * np.minimum(1, 0.3 / norm)
        np.testing.assert_allclose(layer.W, wanted, rtol=3e-6 if dtype == "float32" else 1e-12)
        np.testing.assert_array_equal(layer.b, other.b)
        assert (norm > 0.3).any()


def test_limits_are_those_of_the_layers_that_are_trained():
    """Both kinds of clipping, then max_norm: frozen weights neither contribute nor change, penalties of layers
    contribute."""
    X, y = examples()
    y = np.eye(4)[y]
    layers = [Layer(7, 6, "tanh"), Layer(6, 6, "tanh", trainable=False), Layer(6, 4, l1=0.05, l2=0.1)]
    net = Network(layers, dtype="float64", seed=0)
    gradients = backprop.gradients(net, X, y, "half_squared_error")
    before = [[layer.W.copy(), layer.b.copy()] for layer in net.layers]
    norm = np.sqrt(sum((g**2).sum() for pair in gradients[::2] for g in pair))
    assert norm > 0.3 and np.linalg.norm(before[1][0], axis=0).max() > 0.4
    Trainer(net, "half_squared_error", SGD(1.0), clip_norm=0.3, clip_value=0.05, max_norm=0.4).step(X, y)
    for layer, old, pair in zip(net.layers, before, gradients, strict=True):
        W, b = (p - layer.trainable * np.clip(0.3 / norm * g, -0.05, 0.05) for p, g in zip(old, pair, strict=True))
        if layer.trainable:
            W *= np.minimum(1, 0.4 / np.linalg.norm(W, axis=0))
        np.testing.assert_allclose(layer.W, W, rtol=1e-12)
        np.testing.assert_allclose(layer.b, b, rtol=1e-12)


def test_penalties_weights_of_classes_and_clipping_are_pytorchs():
    torch = pytest.importorskip("torch")
    X, _ = examples()
    y = np.arange(len(X)) % 4
    net = Network([Layer(7, 9, "tanh", l1=0.01), Layer(9, 4, "softmax", l2=0.1)], dtype="float64", seed=0)
    trainer = Trainer(net, losses.CrossEntropy(label_smoothing=0.1), SGD(0.5), batch_size=None, l2=0.05, clip_norm=0.2)
    theirs = [torch.nn.Parameter(torch.tensor(np.array(p))) for p in net.parameters]
    weight = torch.tensor([1.0, 3.0, 0.5, 2.0], dtype=torch.float64)
    optimizer = torch.optim.SGD(theirs, 0.5)
    for _ in range(5):
        optimizer.zero_grad()
        W1, b1, W2, b2 = theirs
        z = torch.tanh(torch.tensor(X) @ W1 + b1) @ W2 + b2
        each = torch.nn.functional.cross_entropy(z, torch.tensor(y), label_smoothing=0.1, reduction="none")
        loss = (weight[y] * each).sum() / weight[y].sum()  # PyTorch's mean weights each smoothed label by its class
        penalty = 0.025 * (W1**2).sum() + 0.075 * (W2**2).sum() + 0.01 * W1.abs().sum()
        (loss + penalty).backward()  # in the loss, so that it is clipped too; weight_decay would not be
        assert torch.nn.utils.clip_grad_norm_(theirs, 0.2) > 0.2
        optimizer.step()
        history = trainer.fit(X, y, class_weight=dict(enumerate(weight.tolist())))
        assert history["loss"] == [pytest.approx(loss.item(), rel=1e-6)]
        for got, wanted in zip(net.parameters, theirs, strict=True):  # PyTorch adds 1e-6 to the length
            np.testing.assert_allclose(got, wanted.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("limits", [{"clip_norm": 0.3}, {"max_norm": 0.8}, {"clip_norm": 0.3, "max_norm": 0.8}],
                         ids="-".join)
def test_limits_have_the_same_bits_on_any_number_of_threads(limits):
    X, y = examples(60)
    rng = np.random.default_rng(3)
    mask = rng.random((19, 33)) < 0.5
    results = []
    for threads in (1, 2, 3, 5):
        layers = [Layer(7, 19, activations.PReLU(0.1, shared=True)), Layer(19, 33, "gelu", mask=mask, l1=1e-3),
                  Layer(33, 33, "prelu", trainable=False), Layer(33, 4, "softmax", bias=False)]
        net = Network(layers, seed=2)
        Trainer(net, LOSS, Adam(0.05), batch_size=16, seed=1, threads=threads, **limits).fit(X, y, epochs=3)
        assert not net.layers[1].W[~mask].any()
        results.append([np.array(p) for p in net.parameters])
    for other in results[1:]:
        for got, wanted in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_all_rows_at_once_is_gradient_descent():
    X, y = examples(50)
    one, other = network(), network()
    history = Trainer(one, LOSS, SGD(0.3), batch_size=None, shuffle=False).fit(X, y, epochs=4)
    trainer = Trainer(other, LOSS, SGD(0.3))
    assert history["loss"] == [trainer.step(X, y) for _ in range(4)]
    for p, q in zip(one.parameters, other.parameters, strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("make, message", [
    (lambda: Adam(lr=0), "lr must be > 0"),
    (lambda: Adam(beta1=1.0), "beta1 must be < 1"),
    (lambda: Adam(beta2=-0.1), "beta2 must be >= 0"),
    (lambda: Adam(eps=0), "eps must be > 0"),
    (lambda: AdamW(weight_decay=-1), "weight_decay must be >= 0"),
    (lambda: AdamW(lr=0.5, weight_decay=2.0), "weight_decay must be < 1 / lr"),
    (lambda: RMSprop(rho="x"), "rho must be a number"),
    (lambda: Adagrad(eps=-1), "eps must be > 0"),
    (lambda: optimizers.from_name("sgdm"), "optimizer must be one of"),
    (lambda: optimizers.from_name(3), "optimizer must be a name or an optimizer object"),
    (lambda: Trainer(network(), LOSS, clip_value=0).step(*examples()), "clip_value must be > 0"),
    (lambda: Trainer(network(), LOSS, clip_norm=-1).step(*examples()), "clip_norm must be > 0"),
    (lambda: Trainer(network(), LOSS, max_norm="x").step(*examples()), "max_norm must be a number"),
])
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_state_that_does_not_fit_changes_nothing():
    X, y = examples()
    trainer = Trainer(network(), LOSS, Adam())
    trainer.step(X, y)
    before = [np.array(m) for m in trainer.state["m"]]
    good = {name: value if isinstance(value, int) else [2 * a for a in value] for name, value in trainer.state.items()}
    for bad in ({"updates": 1}, {**good, "v": good["v"][:-1]}, {**good, "updates": -1},
                {**good, "m": [0] * 7}):
        with pytest.raises((ValueError, TypeError)):
            trainer.state = bad
    assert trainer.state["updates"] == [1] * 3
    for got, wanted in zip(trainer.state["m"], before, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_adam_keeps_small_gradients_whose_squares_are_hardly_normal_numbers():
    net = Network([1, 1], dtype="float32", seed=0)
    optimizer = Adam(lr=1e-18, eps=1e-29)
    trainer = Trainer(net, losses.Custom(lambda y, z: z[:, 0] * 1e-17, lambda y, z: np.full_like(z, 1e-17)), optimizer)
    net.layers[0].W[...] = 0
    for t in range(1, 301):
        before = net.layers[0].W.copy()
        trainer.step(np.ones((1, 1)), np.zeros(1))
        if t in (1, 10, 300):
            assert (before - net.layers[0].W).item() / 1e-18 == pytest.approx(1, rel=0.1)


def test_the_state_of_a_dead_unit_becomes_zero():
    layer = Layer(2, 2, "relu", init="zeros", bias=False)
    net = Network([layer, Layer(2, 1)], seed=0)
    for optimizer in (SGD(lr=1e-3, momentum=0.9), Adam(lr=1e-5)):
        layer.W[...] = [[1, -1], [1, -1]]
        trainer = Trainer(net, "half_squared_error", optimizer)
        trainer.step(-np.ones((3, 2)), np.ones(3))  # the second unit is active
        layer.W[...] = -1
        for _ in range(1200):
            trainer.step(np.ones((3, 2)), np.ones(3))  # now no unit is active
        decayed = trainer.state[optimizer.states[0]][0]  # of the first W
        assert not decayed.any()
