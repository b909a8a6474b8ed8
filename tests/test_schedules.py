"""Schedules: values of rates and momenta, compared with PyTorch where possible, and when training uses them."""

import math
import pickle
import signal
import threading
from fractions import Fraction

import numpy as np
import pytest

import mlpfast
from mlpfast import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Network,
    RMSprop,
    Trainer,
    backprop,
    callbacks,
    optimizers,
    schedules,
)
from mlpfast.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseTime,
    OneCycle,
    ReduceOnPlateau,
    Step,
    Warmup,
)


def problem(n=53, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 6))
    return X, np.abs(X[:, :4]).argmax(axis=1)


def trainer_with(lr, *, momentum=0.0, dtype="float32", **kwargs):
    net = Network([6, 9, 4], activation="tanh", output="softmax", dtype=dtype, seed=0)
    return Trainer(net, optimizer=SGD(lr=lr, momentum=momentum), **{"batch_size": 10, "seed": 0, **kwargs})


def bits(net):
    return [p.tobytes() for p in net.parameters]


# ---- values

KNOWN = [
    (Constant(0.3), {0: 0.3, 1000: 0.3}),
    (Exponential(0.5, 0.1), {0: 0.5, 10: 0.5 / math.e, 20: 0.5 / math.e**2}),
    (InverseTime(0.5, 0.25), {0: 0.5, 4: 0.25, 12: 0.125}),
    (Step(0.8, 0.5, 3), {0: 0.8, 2: 0.8, 3: 0.4, 5: 0.4, 6: 0.2, 9: 0.1}),
    (Cosine(1.0, 12), {0: 1.0, 4: 0.75, 6: 0.5, 8: 0.25, 12: 0.0, 13: 0.0, 10**9: 0.0}),
    (Cosine(1.1, 12, lowest=0.1), {0: 1.1, 4: 0.85, 6: 0.6, 12: 0.1, 24: 0.1}),
    (OneCycle(1.0, 11, rise=5 / 11, first=0.2, last=0.1), {0: 0.2, 2: 0.6, 4: 1.0, 7: 0.55, 10: 0.1, 99: 0.1}),
    (OneCycle(1.0, 1), {0: 1 / 25e4, 1: 1 / 25e4}),
    (OneCycle(1.0, 10, rise=0.1), {0: 1.0, 9: 1 / 25e4}),
    (Warmup(4, Constant(1.0)), {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8, 4: 1.0, 5: 1.0}),
    (Warmup(1, Step(0.8, 0.5, 2)), {0: 0.4, 1: 0.8, 2: 0.8, 3: 0.4, 5: 0.2}),
]


@pytest.mark.parametrize("schedule, values", KNOWN, ids=repr)
def test_known_values(schedule, values):
    for t, value in values.items():
        assert schedule.at(t) == pytest.approx(value, rel=1e-12, abs=1e-16)


def of_torch(make, steps, lr=0.3):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


TORCH = {
    "exponential": (Exponential(0.3, 0.2), lambda s, o: s.ExponentialLR(o, math.exp(-0.2)), 30),
    "inverse": (InverseTime(0.3, 0.2), lambda s, o: s.LambdaLR(o, lambda t: 1 / (1 + 0.2 * t)), 30),
    "step": (Step(0.3, 0.2, 7), lambda s, o: s.StepLR(o, 7, 0.2), 30),
    "cosine": (Cosine(0.3, 20, 0.01), lambda s, o: s.CosineAnnealingLR(o, 20, 0.01), 21),
    "one cycle": (OneCycle(0.3, 50), lambda s, o: s.OneCycleLR(o, 0.3, total_steps=50, cycle_momentum=False), 50),
    "one cycle, other": (
        OneCycle(0.3, 37, rise=0.45, first=0.1, last=0.01),
        lambda s, o: s.OneCycleLR(o, 0.3, total_steps=37, pct_start=0.45, div_factor=3, final_div_factor=10), 37,
    ),
    "warm-up": (
        Warmup(5, Cosine(0.3, 20)),
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 1 / 6, total_iters=5), s.CosineAnnealingLR(o, 20)], [5]), 25,
    ),
}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.filterwarnings("ignore")
def test_values_are_pytorchs(name):
    schedule, make, steps = TORCH[name]
    wanted = of_torch(make, steps)
    assert [schedule.at(t) for t in range(steps)] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


LOSSES = [1.0, 0.9, 0.91, 0.9, 0.85, 0.849, 0.86, 0.87, 0.83, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4]


def rates_on(schedule, values, name="loss"):
    rates = []
    for value in values:
        rates.append(schedule.at(0))
        schedule.observe({name: value})
    return [*rates, schedule.at(0)]


def test_reduce_on_plateau():
    schedule = ReduceOnPlateau(1.0, 0.5, patience=2, min_delta=0.01, lowest=0.2)
    assert rates_on(schedule, LOSSES[:9]) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert rates_on(schedule, [0.5] * 9)[-1] == 0.2
    schedule = ReduceOnPlateau(1.0, 0.5, patience=1, monitor="val_accuracy")
    assert rates_on(schedule, [0.1, 0.2, 0.2], "val_accuracy") == [1, 1, 1, 0.5]
    assert rates_on(ReduceOnPlateau(1.0, 0.5, patience=1, mode="max"), [0.1, 0.2, 0.1]) == [1, 1, 1, 0.5]


def test_reduce_on_plateau_looks_at_the_validation_loss_if_there_is_one():
    schedule = ReduceOnPlateau(1.0, 0.5, patience=1)
    for loss, val_loss in [(1, 1), (0.5, 2)]:
        schedule.observe({"loss": loss, "val_loss": val_loss})
    assert schedule.at(0) == 0.5


@pytest.mark.parametrize("min_delta", [0.0, 0.005, 0.05])
@pytest.mark.parametrize("patience", [1, 2, 4])
def test_reduce_on_plateau_is_pytorchs(patience, min_delta):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.3, patience=patience - 1, threshold=min_delta, threshold_mode="abs", min_lr=0.01
    )
    wanted = []
    for loss in LOSSES * 2:
        wanted.append(optimizer.param_groups[0]["lr"])
        scheduler.step(loss)
    schedule = ReduceOnPlateau(0.3, 0.3, patience, min_delta, lowest=0.01)
    assert rates_on(schedule, LOSSES * 2)[:-1] == pytest.approx(wanted)


def test_a_rate_that_decays_for_ever_becomes_zero():
    X, y = problem()
    trainer = trainer_with(Exponential(0.1, 80.0))
    trainer.fit(X, y, epochs=2)  # 0.1 exp(-80) is less than float32 can hold
    before = bits(trainer.network)
    assert trainer.lr == 0
    trainer.fit(X, y, epochs=2)
    assert bits(trainer.network) == before


# ---- when training uses them


class Times:
    """A schedule that records the times it was called with."""

    def __init__(self, per, lr=0.1):
        self.per, self.lr, self.asked = per, lr, set()

    def at(self, t):
        self.asked.add(t)
        return self.lr * (t + 1)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_rate_per_epoch_is_set_before_each_epoch(shuffle, momentum):
    X, y = problem()
    scheduled, by_hand = (trainer_with(0.1, shuffle=shuffle, momentum=momentum) for _ in range(2))
    scheduled.optimizer.lr = Step(0.4, 0.5, 1)
    history = scheduled.fit(X, y, epochs=2)["loss"] + scheduled.fit(X, y, epochs=2)["loss"]
    wanted = []
    for lr in (0.4, 0.2, 0.1, 0.05):
        by_hand.optimizer.lr = lr
        wanted += by_hand.fit(X, y)["loss"]
    assert history == wanted
    assert bits(scheduled.network) == bits(by_hand.network)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_rate_per_step_is_set_before_each_minibatch(momentum):
    X, y = problem(30)
    scheduled, by_hand = (trainer_with(0.1, shuffle=False, momentum=momentum) for _ in range(2))
    scheduled.optimizer.lr = InverseTime(0.4, 1.0, per="step")
    scheduled.fit(X, y, epochs=2)
    scheduled.step(X[:10], y[:10])
    scheduled.step(X[10:20], y[10:20], sample_weight=np.ones(10))
    for t, first in enumerate([0, 10, 20, 0, 10, 20, 0, 10]):
        by_hand.optimizer.lr = 0.4 / (1 + t)
        by_hand.step(X[first : first + 10], y[first : first + 10])
    assert scheduled.steps == by_hand.steps == 8
    assert bits(scheduled.network) == bits(by_hand.network)


@pytest.mark.parametrize("kind", ["float32", "float64", "uint8", "one-hot", "weights"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_constant_rate_per_step_gives_the_bits_of_plain_training(kind, shuffle, momentum):
    X, y = problem()
    if kind in ("float32", "float64", "uint8"):
        X = (40 * (X + 3)).clip(0, 255).astype(kind)
    weight = np.linspace(0, 2, len(X)) if kind == "weights" else None
    if kind == "weights":
        weight[10:20] = 0  # with the first row, eleven rows that no minibatch contains
    if kind == "one-hot":
        y = np.eye(4)[y]
    results = []
    for lr in (0.1, Constant(0.1), Constant(0.1, per="step")):
        trainer = trainer_with(lr, shuffle=shuffle, momentum=momentum)
        history = trainer.fit(X, y, epochs=3, sample_weight=weight, validation_data=(X, y))
        results.append((history, bits(trainer.network), trainer.steps, trainer.epoch))
    assert results[0] == results[1] == results[2]
    assert results[0][2:] == (15 if kind == "weights" else 18, 3)


@pytest.mark.parametrize("at", [0, 25, 52])
def test_an_epoch_step_by_step_that_fails_tells_the_same(at):
    X, y = problem()
    X[at, 0] = np.nan
    results = []
    for lr in (0.1, Constant(0.1, per="step")):
        trainer = trainer_with(lr, shuffle=False)
        with pytest.raises(FloatingPointError) as caught:
            trainer.fit(X, y)
        results.append((str(caught.value), bits(trainer.network), trainer.steps))
    assert results[0] == results[1]
    assert f"minibatch {at // 10}" in results[0][0] and results[0][2] == at // 10


def test_a_loss_that_becomes_infinite_is_told_the_same():
    X, y = problem()
    messages = []
    for lr in (1e3, Constant(1e3, per="step")):
        net = Network([6, 8, 1], seed=0)
        with pytest.raises(FloatingPointError, match="the loss is (inf|nan)") as caught:
            Trainer(net, "squared_error", SGD(lr=lr), batch_size=10, seed=0).fit(X, y, epochs=1000)
        messages.append((str(caught.value), bits(net)))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("lr", [0.1, Constant(0.1), Constant(0.1, per="step")], ids=repr)
def test_the_trainer_counts_steps_and_epochs(lr):
    X, y = problem()
    trainer = trainer_with(lr)
    assert (trainer.steps, trainer.epoch) == (0, 0)
    trainer.fit(X, y, epochs=2)
    assert (trainer.steps, trainer.epoch) == (12, 2)
    trainer.step(X, y)  # the fast path
    trainer.step(X.tolist(), y)
    trainer.step(X, y, sample_weight=np.ones(53))
    assert (trainer.steps, trainer.epoch) == (15, 2)
    with pytest.raises(ValueError):
        trainer.step(X[:0], y[:0])
    with pytest.raises(FloatingPointError):
        trainer.step(X * np.nan, y)
    assert trainer.steps == 15
    trainer.steps, trainer.epoch = 7, 1
    assert (trainer.steps, trainer.epoch) == (7, 1)
    for name in ("steps", "epoch"):
        with pytest.raises(ValueError, match=f"{name} must be >= 0, got -1"):
            setattr(trainer, name, -1)
    trainer.epoch, before = 2**56 - 3, bits(trainer.network)
    with pytest.raises(ValueError, match=f"epoch after fit must be <= {2**56 - 2}, got {2**56 - 1}"):
        trainer.fit(X, y, epochs=2)
    assert bits(trainer.network) == before
    assert trainer.fit(X, y).n_epochs == 1 and trainer.epoch == 2**56 - 2


@pytest.mark.parametrize("per, times", [("epoch", {0, 1, 2}), ("step", set(range(18)))])
def test_the_times_are_counted_from_zero_without_a_gap(per, times):
    X, y = problem()
    schedule = Times(per, lr=1e-3)
    trainer = trainer_with(schedule)
    trainer.fit(X, y, epochs=2)
    trainer.fit(X, y)
    assert schedule.asked == times
    assert trainer.lr == pytest.approx(1e-3 * (max(times) + 2))


def test_the_present_rate():
    X, y = problem()
    trainer = trainer_with(0.25)
    assert trainer.lr == 0.25
    trainer.optimizer.lr = Warmup(4, Constant(1.0, per="step"))
    assert trainer.lr == 0.2
    trainer.step(X, y)
    assert trainer.lr == 0.4
    trainer.optimizer.lr = Step(1.0, 0.5, 1)
    trainer.fit(X, y)
    assert trainer.lr == 0.5
    with pytest.raises(AttributeError):
        trainer.lr = 0.1


def test_a_schedule_may_be_replaced_by_a_number_and_back():
    X, y = problem()
    trainer, by_hand = trainer_with(0.3), trainer_with(0.3)
    for lr in (0.1, InverseTime(0.4, 1.0, per="step"), 0.3, Step(0.2, 0.5, 1)):
        trainer.optimizer.lr = lr
        for _ in range(2):
            by_hand.optimizer.lr = trainer.lr
            trainer.step(X, y)
            by_hand.step(X, y)
    assert bits(trainer.network) == bits(by_hand.network)


@pytest.mark.parametrize("warm", [0, 1, 5])
@pytest.mark.parametrize("validation", [False, True])
def test_training_reduces_the_rate_on_a_plateau(warm, validation):
    X, y = problem()
    schedule = ReduceOnPlateau(0.4, 0.5, patience=1, min_delta=100.0)
    trainer = trainer_with(Warmup(warm, schedule) if warm else schedule)
    for epoch in range(warm):  # patience does not count during the warmup
        assert trainer.lr == 0.4 * (epoch + 1) / (warm + 1)
        trainer.fit(X, y, validation_data=(X, y) if validation else None)
    trainer.fit(X, y, validation_data=(X, y) if validation else None)
    assert trainer.lr == 0.4
    trainer.fit(X, y, epochs=2)
    assert trainer.lr == 0.1


def test_a_warmup_in_minibatches_hides_no_epochs():
    class Own(Constant):
        seen = 0

        def observe(self, logs):
            self.seen += 1

    own = Own(0.1, per="step")
    trainer_with(Warmup(1000, own)).fit(*problem(), epochs=3)
    assert own.seen == 3


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="needs the main thread")
@pytest.mark.parametrize("per", ["epoch", "step"])
def test_steps_before_an_interrupt_are_counted(per):
    X, y = problem(20_000)
    trainer = trainer_with(Constant(1e-3, per=per), shuffle=False, batch_size=1)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.03)
    try:
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(X, y, epochs=10**6)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    done, steps = divmod(trainer.steps, len(X))
    twin = trainer_with(1e-3, shuffle=False, batch_size=1)
    if done:
        twin.fit(X, y, epochs=done)
    if steps:
        twin.fit(X[:steps], y[:steps])
    assert bits(twin.network) == bits(trainer.network)


# ---- schedules of the momentum

CYCLE = OneCycle(1.0, 11, rise=5 / 11, first=0.2, last=0.1, momentum=(0.8, 0.9))
KNOWN_MOMENTA = [
    (CYCLE, {0: 0.9, 2: 0.85, 4: 0.8, 7: 0.85, 10: 0.9, 99: 0.9}),
    (OneCycle(1.0, 1, momentum=(0.8, 0.9)), {0: 0.9, 1: 0.9}),
    (OneCycle(1.0, 10, rise=0.1, momentum=(0.8, 0.9)), {0: 0.8, 9: 0.9}),
    (OneCycle(1.0, 10, momentum=[np.float32(0.5)] * 2), {0: 0.5, 2: 0.5, 3: 0.5, 99: 0.5}),
    (Warmup(4, CYCLE), {0: 0.9, 3: 0.9, 4: 0.9, 6: 0.85, 8: 0.8, 11: 0.85, 14: 0.9}),
    (OneCycle(1.0, 10), {0: None, 5: None}),
    (Warmup(4, Constant(1.0)), {0: None, 5: None}),
]


@pytest.mark.parametrize("schedule, values", KNOWN_MOMENTA, ids=repr)
def test_known_momenta(schedule, values):
    for t, value in values.items():
        assert schedule.momentum_at(t) == (value if value is None else pytest.approx(value, rel=1e-12))
    again = eval(repr(schedule), vars(schedules))
    copy = pickle.loads(pickle.dumps(schedule))
    for t in range(20):
        assert again.momentum_at(t) == copy.momentum_at(t) == schedule.momentum_at(t)


CYCLED = {
    "SGD": lambda lr: SGD(lr, momentum=0.9),
    "SGD, without a momentum of its own": SGD,
    "SGD, nesterov": lambda lr: SGD(lr, 0.9, nesterov=True),
    "Adam": Adam,
    "AdamW": lambda lr: AdamW(lr, weight_decay=0.1),
}
every_cycled = pytest.mark.parametrize("make", CYCLED.values(), ids=CYCLED)


def one_cycle(per="step", total=13, momentum=(0.7, 0.95)):
    return OneCycle(0.1, total, 0.4, momentum=momentum, per=per)


def cycled(make, lr, **kwargs):
    trainer = trainer_with(0.1, shuffle=False, **kwargs)
    trainer.optimizer = make(lr)
    return trainer


def gradients(net, X, y):
    return [g for pair in backprop.gradients(net, X, y, "cross_entropy") for g in pair]


def assert_near(parameters, wanted):
    for got, want in zip(parameters, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def in_torch(torch, optimizer, parameters):
    vectors = [p for p in parameters if p.ndim == 1]  # PyTorch would decay biases too
    groups = [{"params": [p for p in parameters if p.ndim == 2]}, {"params": vectors, "weight_decay": 0.0}]
    if isinstance(optimizer, SGD):
        return torch.optim.SGD(groups, 0.1, optimizer.momentum, nesterov=optimizer.nesterov)
    return getattr(torch.optim, type(optimizer).__name__)(groups, weight_decay=getattr(optimizer, "weight_decay", 0))


@every_cycled
def test_one_cycle_trains_as_pytorchs(make):
    torch = pytest.importorskip("torch")
    X, y = problem()
    trainer = cycled(make, one_cycle(), dtype="float64")
    net = trainer.network
    parameters = [torch.nn.Parameter(torch.tensor(np.array(p))) for p in net.parameters]
    theirs = in_torch(torch, trainer.optimizer, parameters)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        theirs, 0.1, total_steps=13, pct_start=0.4, base_momentum=0.7, max_momentum=0.95
    )
    for step in range(13):
        group = theirs.param_groups[0]
        wanted = group["betas"][0] if "betas" in group else group["momentum"]
        assert (trainer.lr, trainer.momentum) == pytest.approx((group["lr"], wanted), rel=1e-12)
        for p, g in zip(parameters, gradients(net, X, y), strict=True):
            p.grad = torch.tensor(g)
        theirs.step()
        if step < 12:
            scheduler.step()
        trainer.step(X, y)
        assert_near(net.parameters, [p.detach().numpy() for p in parameters])


def one_cycle_in_numpy(t):
    """(rate, momentum) of one_cycle()."""
    top = 0.4 * 13 - 1
    share = (1 - math.cos(math.pi * t / top)) / 2 if t < top else (1 + math.cos(math.pi * (t - top) / (12 - top))) / 2
    lowest = 0.1 / 25 if t < top else 0.1 / 25e4
    return lowest + (0.1 - lowest) * share, 0.95 - 0.25 * share


@every_cycled
def test_one_cycle_trains_as_in_numpy(make):
    X, y = problem()
    trainer = cycled(make, one_cycle(), dtype="float64")
    net, o = trainer.network, trainer.optimizer
    parameters = [np.array(p) for p in net.parameters]
    state = [np.zeros((2, *p.shape)) for p in parameters]
    for t in range(13):
        lr, momentum = one_cycle_in_numpy(t)
        for W, g, (m, v) in zip(parameters, gradients(net, X, y), state, strict=True):
            if isinstance(o, SGD):
                m[...] = momentum * m + g
                W -= lr * (g + momentum * m if o.nesterov else m)
                continue
            W -= lr * getattr(o, "weight_decay", 0) * W * (W.ndim == 2)
            m[...] = momentum * m + (1 - momentum) * g
            v[...] = 0.999 * v + 0.001 * g * g
            W -= lr / (1 - momentum ** (t + 1)) * m / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
        trainer.step(X, y)
        assert_near(net.parameters, parameters)


def set_by_hand(optimizer, schedule, t):
    optimizer.lr = schedule.at(t)
    setattr(optimizer, optimizer.momentum_name, schedule.momentum_at(t))


LIMITS = {"plain": {}, "clip_value": {"clip_value": 0.02}, "clip_norm": {"clip_norm": 0.1}}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_cycled
def test_a_momentum_per_step_is_set_before_each_minibatch(make, dtype, limits):
    X, y = problem(30)
    schedule = Warmup(2, one_cycle(total=6))
    scheduled, by_hand = (cycled(make, lr, dtype=dtype, **limits) for lr in (schedule, 0.1))
    scheduled.fit(X, y, epochs=2)
    scheduled.step(X[:10], y[:10])
    scheduled.step(X[10:20], y[10:20], sample_weight=np.ones(10))
    for t, first in enumerate([0, 10, 20, 0, 10, 20, 0, 10]):
        set_by_hand(by_hand.optimizer, schedule, t)
        by_hand.step(X[first : first + 10], y[first : first + 10])
    assert bits(scheduled.network) == bits(by_hand.network)


@every_cycled
def test_a_momentum_per_epoch_is_set_before_each_epoch(make):
    X, y = problem()
    schedule = Warmup(1, one_cycle("epoch", total=4))
    scheduled, by_hand = (cycled(make, lr) for lr in (schedule, 0.1))
    history = scheduled.fit(X, y, epochs=3)["loss"] + scheduled.fit(X, y, epochs=2)["loss"]
    wanted = []
    for t in range(5):
        set_by_hand(by_hand.optimizer, schedule, t)
        wanted += by_hand.fit(X, y)["loss"]
    assert history == wanted and bits(scheduled.network) == bits(by_hand.network)


@every_cycled
def test_a_momentum_has_the_same_bits_on_any_number_of_threads(make):
    X, y = problem(80)
    results = []
    for threads in (1, 2, 3, 7):
        net = Network([6, 130, 40, 4], output="softmax", seed=0)
        Trainer(net, optimizer=make(one_cycle()), batch_size=16, seed=0, threads=threads).fit(X, y, epochs=3)
        results.append(bits(net))
    assert results[1:] == results[:-1]


@pytest.mark.parametrize("per", ["epoch", "step"])
@every_cycled
def test_a_state_goes_on_in_the_middle_of_a_cycle(make, per):
    X, y = problem()
    one = cycled(make, one_cycle(per, total=30 if per == "step" else 5))
    one.fit(X, y, epochs=2)
    network, optimizer, state = pickle.loads(pickle.dumps((one.network, one.optimizer, one.state)))
    assert any(v.any() for v in state[optimizer.states[0]])
    other = Trainer(network, optimizer=optimizer, batch_size=10, seed=0, shuffle=False)
    other.state = state
    assert (other.lr, other.momentum) == (one.lr, one.momentum)
    assert one.fit(X, y, epochs=2) == other.fit(X, y, epochs=2)
    assert bits(one.network) == bits(other.network)


@every_cycled
def test_the_optimizers_own_momentum_stays_and_comes_back(make):
    X, y = problem()
    scheduled, by_hand = (cycled(make, lr) for lr in (one_cycle(), 0.1))
    own = getattr(scheduled.optimizer, scheduled.optimizer.momentum_name)
    assert by_hand.momentum == own != scheduled.momentum
    scheduled.step(X, y)
    set_by_hand(by_hand.optimizer, one_cycle(), 0)
    by_hand.step(X, y)
    scheduled.optimizer.lr = by_hand.optimizer.lr = 0.1
    setattr(by_hand.optimizer, by_hand.optimizer.momentum_name, own)
    assert scheduled.momentum == by_hand.momentum == own
    for trainer in (scheduled, by_hand):
        trainer.fit(X, y)
    assert bits(scheduled.network) == bits(by_hand.network)


@pytest.mark.parametrize("per", ["epoch", "step"])
def test_a_momentum_can_be_seen(per):
    X, y = problem()
    schedule = one_cycle(per, total=3 if per == "epoch" else 18)
    trainer = cycled(Adam, schedule)
    history = trainer.fit(X, y, epochs=3, callbacks=[callbacks.LearningRateLogger()])
    times = range(3) if per == "epoch" else (0, 6, 12)
    assert history["lr"] == [schedule.at(t) for t in times]
    assert history["momentum"] == [schedule.momentum_at(t) for t in times]
    assert trainer.momentum == 0.95 and trainer.optimizer.beta1 == 0.9
    assert "momentum=(0.7, 0.95)" in trainer.summary()
    trainer.optimizer = RMSprop()
    assert trainer.momentum is None
    trainer.optimizer = SGD(Constant(0.1), momentum=0.4)
    assert trainer.momentum == 0.4
    assert "momentum" not in trainer.fit(X, y, callbacks=[callbacks.LearningRateLogger()])


WITHOUT_MOMENTUM = [RMSprop, Adagrad, optimizers.NaturalGradient]


@pytest.mark.parametrize("make", WITHOUT_MOMENTUM)
def test_an_optimizer_without_momentum_refuses_one(make):
    message = f"lr must be a schedule without a momentum for {make.__name__}, .* got (OneCycle|Warmup)"
    X, y = problem()
    for lr in (one_cycle(), Warmup(2, one_cycle())):
        with pytest.raises(ValueError, match=message):
            make(lr)
    optimizer = make(one_cycle(momentum=None))
    trainer = trainer_with(0.1, batch_size=None if make is optimizers.NaturalGradient else 10)
    trainer.optimizer = optimizer
    trainer.step(X, y)
    before = bits(trainer.network)
    optimizer.lr = one_cycle()
    for use in (trainer.fit, trainer.step):
        with pytest.raises(ValueError, match=message):
            use(X, y)
    assert bits(trainer.network) == before and trainer.steps == 1


class Momenta:
    """A user's schedule with a constant rate and momenta."""

    def __init__(self, values, per="step"):
        self.values, self.per = values, per

    def at(self, t):
        return 0.1

    def momentum_at(self, t):
        return self.values[t]


@pytest.mark.parametrize("per", ["epoch", "step"])
def test_a_schedule_of_ones_own_may_have_a_momentum(per):
    X, y = problem(20)
    results = []
    for schedule in (Momenta([0.5, 0.9], per), Momenta([None, None], per), Constant(0.1)):
        trainer = cycled(lambda lr: SGD(lr, 0.3), schedule)
        trainer.fit(X, y, epochs=2 if per == "epoch" else 1)
        results.append(bits(trainer.network))
    assert results[0] != results[1] == results[2]


@pytest.mark.parametrize("values, message", [
    ([0.9, 1.0], "momentum at step 1 must be < 1, got 1.0"),
    ([0.9, 0], "momentum at step 1 must be > 0, got 0.0"),
    ([0.9, "x"], "momentum at step 1 must be a number, got 'x'"),
    ([0.9, None], "momentum_at must return a number at every step, or None at every step"),
    ([None, 0.9], "momentum_at must return a number at every step, or None at every step"),
])
def test_a_momentum_that_turns_bad_is_refused(values, message):
    X, y = problem(20)
    trainer = cycled(SGD, 0.1)
    before = bits(trainer.network)
    trainer.optimizer.lr = Momenta(values)
    with pytest.raises((TypeError, ValueError), match=message):
        trainer.fit(X, y)
    assert bits(trainer.network) == before


class Rates:
    """A user's schedule that records the times it was called with."""

    per = "step"

    def __init__(self, values):
        self.values, self.asked = values, []

    def at(self, t):
        self.asked.append(t)
        return self.values[t]


def test_each_step_asks_a_schedule_once_whatever_number_it_is():
    X, y = problem(20)
    values = [0.1, np.float64(0.05), 1, Fraction(1, 3), np.float32(0.2), 0.0, 1e-50, 0.3]
    ours, theirs = Rates(values), [float(v) if v >= 1e-30 else 0.0 for v in values]
    trainer, plain = cycled(SGD, ours), cycled(SGD, Rates(theirs))
    ours.asked.clear()
    for _ in values:
        trainer.step(X, y)
        plain.step(X, y)
        assert bits(trainer.network) == bits(plain.network)
    assert ours.asked == [0, *range(8)]  # asked once more, before the first step, when settings are checked


def test_a_rate_that_a_weight_decay_does_not_allow_is_refused_when_it_comes():
    X, y = problem(20)
    trainer = cycled(lambda lr: AdamW(lr, weight_decay=0.5), Rates([1.0, 1.5, 2.0, 0.1]))
    trainer.step(X, y)
    trainer.step(X, y)
    before = bits(trainer.network)
    for _ in range(2):
        with pytest.raises(ValueError, match="weight_decay must be < 1 / lr = 0.5, got 0.5"):
            trainer.step(X, y)
    assert bits(trainer.network) == before and trainer.steps == 2


def test_what_a_schedule_counts_may_turn_bad():
    X, y = problem(20)
    schedule = Rates([0.1] * 9)
    trainer = cycled(SGD, schedule)
    trainer.step(X, y)
    before, schedule.per = bits(trainer.network), "minibatch"
    with pytest.raises(ValueError, match="lr.per must be one of epoch, step, got 'minibatch'"):
        trainer.step(X, y)
    assert bits(trainer.network) == before and trainer.steps == 1


# ---- invalid schedules

BAD = [
    (lambda: Constant(0), ["lr", "0"]),
    (lambda: Constant("0.1"), ["lr", "'0.1'"]),
    (lambda: Constant(0.1, per="batch"), ["per", "epoch, step", "'batch'"]),
    (lambda: Constant(0.1, per=None), ["per", "NoneType"]),
    (lambda: Exponential(0.1, -1), ["k", "-1"]),
    (lambda: InverseTime(-0.1, 1), ["lr", "-0.1"]),
    (lambda: Step(0.1, 1.0, 3), ["factor", "< 1"]),
    (lambda: Step(0.1, 0.5, 0), ["every", "0"]),
    (lambda: Step(0.1, 0.5, 1.5), ["every", "1.5"]),
    (lambda: Cosine(0.1, 0), ["total", "0"]),
    (lambda: Cosine(0.1, 10, lowest=0.2), ["lowest", "lr=0.1", "0.2"]),
    (lambda: Cosine(0.1, 10, lowest=-0.2), ["lowest", "-0.2"]),
    (lambda: OneCycle(0.1, 10, rise=1.0), ["rise", "< 1"]),
    (lambda: OneCycle(0.1, 10, first=1.0), ["first", "highest=0.1", "1.0"]),
    (lambda: OneCycle(0.1, 10, last=1.0), ["last", "highest=0.1", "1.0"]),
    (lambda: OneCycle(math.inf, 10), ["highest", "inf"]),
    (lambda: OneCycle(0.1, 10, momentum=0.9), ["momentum", "None or a pair (lowest, highest)", "0.9"]),
    (lambda: OneCycle(0.1, 10, momentum=(0.8, 0.85, 0.9)), ["momentum", "pair", "(0.8, 0.85, 0.9)"]),
    (lambda: OneCycle(0.1, 10, momentum=(0.95, 0.85)), ["momentum[0]", "<= momentum[1]=0.85", "0.95"]),
    (lambda: OneCycle(0.1, 10, momentum=(0.85, 1.0)), ["momentum[1]", "< 1", "1.0"]),
    (lambda: OneCycle(0.1, 10, momentum=(0.0, 0.9)), ["momentum[0]", "> 0", "0.0"]),
    (lambda: OneCycle(0.1, 10, momentum=(0.85, None)), ["momentum[1]", "number", "None"]),
    (lambda: SGD(lr=Momenta([1.5])), ["momentum at step 0", "< 1", "1.5"]),
    (lambda: Warmup(0, Constant(0.1)), ["steps", "0"]),
    (lambda: Warmup(5, 0.1), ["then", "schedule", "0.1"]),
    (lambda: Warmup(5, Constant), ["then", "schedule", "class"]),
    (lambda: ReduceOnPlateau(0.1, factor=2), ["factor", "2"]),
    (lambda: ReduceOnPlateau(0.1, patience=0), ["patience", "0"]),
    (lambda: ReduceOnPlateau(0.1, min_delta=-1), ["min_delta", "-1"]),
    (lambda: ReduceOnPlateau(0.1, lowest=1), ["lowest", "lr=0.1", "1.0"]),
    (lambda: ReduceOnPlateau(0.1, monitor=3), ["monitor", "int"]),
    (lambda: ReduceOnPlateau(0.1, mode="auto"), ["mode", "min, max", "'auto'"]),
    (lambda: SGD(lr=Cosine), ["lr", "number", "class"]),
    (lambda: SGD(lr=ReduceOnPlateau), ["lr", "number", "class"]),
    (lambda: SGD(lr="cosine"), ["lr", "'cosine'"]),
    (lambda: SGD(lr=Times("minute")), ["lr.per", "'minute'"]),
    (lambda: SGD(lr=Times("step", lr=-1)), ["lr at step 0", "-1"]),
    (lambda: SGD(lr=Times("epoch", lr="x")), ["lr at epoch 0", "'x'"]),
    (lambda: trainer_with(ReduceOnPlateau(0.1, monitor="val_loss")).fit(*problem()),
     ["monitor", "loss, accuracy", "'val_loss'", "validation_data"]),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_settings_that_do_not_fit(number):
    call, parts = BAD[number]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {caught.value}"


@pytest.mark.parametrize("per, t, epochs", [("epoch", 2, 2), ("step", 3, 0)])
def test_a_rate_that_turns_bad_is_refused_when_it_does(per, t, epochs):
    class Turns:
        def at(self, t):
            return 0.1 if t < bad else -1.0

    X, y = problem()
    Turns.per, bad = per, t
    trainer = trainer_with(Turns(), shuffle=False)
    with pytest.raises(ValueError, match=f"lr at {per} {t} must be >= 0, got -1.0"):
        trainer.fit(X, y, epochs=5)
    assert trainer.epoch == epochs
    trainer.optimizer.lr = 0.1
    trainer.fit(X, y)


def test_a_rate_beyond_the_dtype_is_refused():
    with pytest.raises(ValueError, match="lr must be from .* got 1e\\+300"):
        trainer_with(Constant(1e300)).fit(*problem())


@pytest.mark.parametrize("schedule, _", KNOWN, ids=repr)
def test_the_repr_makes_the_same_again(schedule, _):
    again = eval(repr(schedule), vars(schedules))
    assert [again.at(t) for t in range(20)] == [schedule.at(t) for t in range(20)]
    assert again.per == schedule.per and repr(again) == repr(schedule)


def test_the_repr_of_reduce_on_plateau():
    schedule = ReduceOnPlateau(0.5, 0.2, 3, 0.1, 0.01, "val_accuracy", "max")
    again = eval(repr(schedule), vars(schedules))
    assert repr(again) == repr(schedule)
    assert "monitor='val_accuracy'" in repr(schedule) and "patience=3" in repr(schedule)


@pytest.mark.parametrize("per", ["epoch", "step"])
def test_a_momentum_too_small_for_the_dtype_is_refused(per):
    class Dips(schedules.Schedule):
        def at(self, t):
            return 0.1

        def momentum_at(self, t):
            return 1e-50 if t == 1 else 0.9

    X, y = np.eye(4), np.arange(4)
    for dtype in ("float32", "float64"):
        net = Network([4, 4], output="softmax", dtype=dtype, seed=0)
        trainer = Trainer(net, optimizer=SGD(lr=Dips(per), momentum=0.9), batch_size=2, seed=0)
        if dtype == "float64":
            trainer.fit(X, y, epochs=3)
            continue
        with pytest.raises(ValueError, match="momentum must be from 1.17549e-38"):
            trainer.fit(X, y, epochs=3)


def test_after_an_epoch_that_broke_off_the_values_are_those_of_the_last_minibatch_done():
    X, y = np.random.default_rng(0).normal(size=(200, 3)), np.arange(200) % 2
    X[17] = np.nan
    dropout, l2, of_layer = Exponential(0.5, 0.1, per="step"), *(Exponential(a, 0.2, per="step") for a in (1e-2, 1e-3))
    net = Network([mlpfast.Layer(3, 4, dropout=dropout, l2=of_layer), mlpfast.Layer(4, 2, "softmax")], seed=0)
    trainer = Trainer(net, optimizer=SGD(0.1), batch_size=4, l2=l2, seed=0)
    with pytest.raises(FloatingPointError, match="17, 0. is nan"):
        trainer.fit(X, y)
    t = trainer.steps - 1
    assert 0 <= t < 48
    assert net.layers[0]._present_dropout() == dropout.at(t) and net.layers[0]._present_l2() == of_layer.at(t)
    assert trainer._scheduled.present_l2 == l2.at(t)
