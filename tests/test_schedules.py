"""Learning rates: their values, PyTorch's where it has the same, and that training uses them at the right time."""

import math
import signal
import threading

import numpy as np
import pytest

from mlpfast import SGD, Network, Trainer, schedules
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
    """A schedule that notes when it was asked."""

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
        weight[10:20] = 0  # a whole minibatch without weight, unless shuffled
    if kind == "one-hot":
        y = np.eye(4)[y]
    results = []
    for lr in (0.1, Constant(0.1), Constant(0.1, per="step")):
        trainer = trainer_with(lr, shuffle=shuffle, momentum=momentum)
        history = trainer.fit(X, y, epochs=3, sample_weight=weight, validation_data=(X, y))
        results.append((history, bits(trainer.network), trainer.steps, trainer.epoch))
    assert results[0] == results[1] == results[2]
    assert results[0][2:] == (18, 3)


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
    trainer.step(X, y)  # the short way
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


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("validation", [False, True])
def test_training_reduces_the_rate_on_a_plateau(wrapped, validation):
    X, y = problem()
    schedule = ReduceOnPlateau(0.4, 0.5, patience=1, min_delta=100.0)
    trainer = trainer_with(Warmup(1, schedule) if wrapped else schedule)
    trainer.fit(X, y, validation_data=(X, y) if validation else None)
    assert trainer.lr == 0.4
    trainer.fit(X, y, epochs=2)
    assert trainer.lr == 0.1


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


# ---- what does not fit

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
