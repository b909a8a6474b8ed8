"""Schedules of the learning rate and momentum, given as an optimizer's lr:

>>> import mlpfast
>>> optimizer = mlpfast.SGD(lr=mlpfast.schedules.Cosine(0.1, total=20))

t counts from 0: epochs with per="epoch", so that the rate is constant within an epoch, or minibatches with per="step",
including those of Trainer.step. The Trainer counts, so that another call of fit continues.

    Constant(lr)                    lr
    Exponential(lr, k)              lr exp(-k t)
    InverseTime(lr, k)              lr / (1 + k t)
    Step(lr, factor, every)         lr factor^floor(t / every)
    Cosine(lr, total)               half a cosine from lr down to lowest
    OneCycle(highest, total)        half a cosine up to highest, and one down; optionally the momentum down and up
    Warmup(steps, then)             linear up to the first rate of `then`, another schedule
    ReduceOnPlateau(lr)             times factor whenever a number of the logs has not improved for some epochs

Any object with the method at(t) -> rate >= 0 and the attribute per ("epoch" or "step") is a schedule. An optional
method observe(logs) is called with the numbers of each epoch, after the callbacks; those of mlpfast observe as soon as
the number that they monitor is there, before the callbacks if none of these adds it. An optional method momentum_at(t)
returns the momentum (for Adam and AdamW beta1): a number between 0 and 1, or for every t None, which keeps the
optimizer's setting. Files ask for your own schedules by their class's name; if they have a `state`, a dict of numbers
that can be set, it is saved.
"""

from __future__ import annotations

import math
from math import cos, pi
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._attributes import Closed
from ._fpmode import in_default_mode, in_default_mode_alone, on_callers_turn
from ._monitor import Monitor
from ._scalars import LEAST, one_of, real_number, whole_number

__all__ = [
    "Constant", "Cosine", "Exponential", "InverseTime", "OneCycle", "ReduceOnPlateau", "Schedule", "Step", "Warmup",
]

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._types import Array

PER = "epoch", "step"


def is_schedule(lr: object) -> bool:
    return type(lr) is not float and not isinstance(lr, type) and hasattr(lr, "at") and hasattr(lr, "per")


@in_default_mode_alone
def rate(lr: Any, epochs: int = 0, steps: int = 0) -> float:
    """An optimizer's lr as a number: itself, or the rate of the schedule after that many epochs or steps."""
    if not is_schedule(lr):
        return real_number("lr", lr, above=0)
    per, t = _time(lr, epochs, steps)
    return _checked_rate(on_callers_turn(lr.at, t), per, t)


@in_default_mode_alone
def momentum(lr: Any, epochs: int = 0, steps: int = 0) -> float | None:
    """The momentum of an optimizer's schedule after that many epochs or steps; None: the optimizer's setting."""
    if not is_schedule(lr):
        return None
    per, t = _time(lr, epochs, steps)
    value = on_callers_turn(lr.momentum_at, t) if hasattr(lr, "momentum_at") else None
    return _checked_momentum(value, per, t)


@in_default_mode_alone
def rates(lr: Any, steps: Iterable[int]) -> Array:
    """The rates of a schedule with per="step" at each of `steps`, float64 (n,)."""
    return np.array(_core.values_at(lr.at, steps, math.inf, _rate_at_step))


@in_default_mode_alone
def momenta(lr: Any, steps: Iterable[int]) -> Array | None:
    """The momenta of a schedule with per="step" at each of `steps`, float64 (n,), or None."""
    values = _core.values_at(lr.momentum_at, steps, 1, _momentum_at_step, True) if hasattr(lr, "momentum_at") else []
    missing = values.count(None)
    if missing == len(values):
        return None
    if missing:
        raise TypeError(f"momentum_at must return a number at every step, or None at every step, got both from {lr!r}")
    return np.array(values)


@in_default_mode
def checked(schedule: Any, rate: float, momentum: float | None, t: int) -> tuple[float, float | None]:
    """(rate, momentum), as returned by a schedule at t, checked."""
    per = one_of("lr.per", schedule.per, PER)
    return _checked_rate(rate, per, t), _checked_momentum(momentum, per, t)


def _checked_rate(value, per, t):
    value = real_number(f"lr at {per} {t}", value, least=0)
    return value if value >= LEAST else 0.0  # a decaying rate becomes 0 instead of an error


def _checked_momentum(value, per, t):
    return None if value is None else real_number(f"momentum at {per} {t}", value, above=0, below=1)


def _rate_at_step(value, t):
    return _checked_rate(value, "step", t)


def _momentum_at_step(value, t):
    return _checked_momentum(value, "step", t)


def _time(lr, epochs, steps):
    per = one_of("lr.per", lr.per, PER)
    return per, steps if per == "step" else epochs


class Schedule(Closed):
    """The base class of schedules.

    per: what t counts, "epoch" or "step", else ValueError. A class of your own needs no base class, see the module.

    >>> from mlpfast import schedules
    >>> isinstance(schedules.Constant(0.1), schedules.Schedule)
    True
    """

    per: str

    def __init__(self, per: str) -> None:
        self.per = one_of("per", per, PER)

    @property
    def state(self) -> dict[str, Any]:
        """What it has seen of a training, {name: number}; may be set.

        ValueError for one that does not fit.

        >>> from mlpfast import schedules
        >>> schedules.Constant(0.1).state
        {}
        >>> schedules.ReduceOnPlateau(0.1).state
        {'rate': 0.1, 'best': nan, 'waited': 0}
        """
        return {}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        if state:
            raise ValueError(f"state of {type(self).__name__} must be empty, got {state!r}")

    def arguments(self) -> dict[str, Any]:
        """The arguments for a copy of this schedule."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.arguments().items())})"


class Constant(Schedule):
    """lr, for all t.

    lr > 0, else ValueError or TypeError.
    per: "epoch" or "step".

    >>> from mlpfast import schedules
    >>> schedules.Constant(0.1).at(7)
    0.1
    """

    lr: float

    def __init__(self, lr: float, *, per: str = "epoch") -> None:
        self.lr = real_number("lr", lr, above=0)
        super().__init__(per)

    def at(self, t: int) -> float:
        """The rate at t, a number: of epochs, or with per="step" of minibatches."""
        return self.lr


class Exponential(Schedule):
    """lr exp(-k t).

    lr > 0, k >= 0, else ValueError or TypeError.
    per: "epoch" or "step".

    >>> from mlpfast import schedules
    >>> [round(schedules.Exponential(0.1, k=0.5).at(t), 4) for t in range(4)]
    [0.1, 0.0607, 0.0368, 0.0223]
    """

    lr: float
    k: float

    def __init__(self, lr: float, k: float, *, per: str = "epoch") -> None:
        self.lr, self.k = real_number("lr", lr, above=0), real_number("k", k, least=0)
        super().__init__(per)

    def at(self, t: int) -> float:
        """The rate at t."""
        return self.lr * math.exp(-self.k * t)


class InverseTime(Schedule):
    """lr / (1 + k t): the sum of the rates diverges, that of their squares does not (Robbins and Monro, 1951).

    lr > 0, k >= 0, else ValueError or TypeError.
    per: "epoch" or "step".

    >>> from mlpfast import schedules
    >>> [round(schedules.InverseTime(0.1, k=1).at(t), 4) for t in range(4)]
    [0.1, 0.05, 0.0333, 0.025]
    """

    lr: float
    k: float

    def __init__(self, lr: float, k: float, *, per: str = "epoch") -> None:
        self.lr, self.k = real_number("lr", lr, above=0), real_number("k", k, least=0)
        super().__init__(per)

    def at(self, t: int) -> float:
        """The rate at t."""
        return self.lr / (1 + self.k * t)


class Step(Schedule):
    """lr factor^floor(t / every), 0 < factor < 1.

    lr > 0, every >= 1, else ValueError or TypeError.
    per: "epoch" or "step".

    >>> from mlpfast import schedules
    >>> [round(schedules.Step(0.1, factor=0.5, every=2).at(t), 4) for t in range(5)]
    [0.1, 0.1, 0.05, 0.05, 0.025]
    """

    lr: float
    factor: float
    every: int

    def __init__(self, lr: float, factor: float = 0.1, every: int = 10, *, per: str = "epoch") -> None:
        self.lr, self.factor = real_number("lr", lr, above=0), real_number("factor", factor, above=0, below=1)
        self.every = whole_number("every", every, least=1)
        super().__init__(per)

    def at(self, t: int) -> float:
        """The rate at t."""
        return self.lr * self.factor ** (t // self.every)


def _between(first, last, share):
    """From first (share 0) to last (share 1) along half a cosine."""
    return last + (first - last) * (1 + cos(pi * share)) / 2


class Cosine(Schedule):
    """lowest + (lr - lowest) (1 + cos(pi t / total)) / 2 up to t = total, then lowest.

    Loshchilov and Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", without the restarts.

    lr > 0, total >= 1, 0 <= lowest <= lr, else ValueError or TypeError.
    per: "epoch" or "step".

    >>> from mlpfast import schedules
    >>> [round(schedules.Cosine(0.1, total=4).at(t), 4) for t in range(6)]
    [0.1, 0.0854, 0.05, 0.0146, 0.0, 0.0]
    """

    lr: float
    total: int
    lowest: float

    def __init__(self, lr: float, total: int, lowest: float = 0.0, *, per: str = "epoch") -> None:
        self.lr, self.total = real_number("lr", lr, above=0), whole_number("total", total, least=1)
        self.lowest = _at_most("lowest", lowest, "lr", self.lr)
        super().__init__(per)

    def at(self, t: int) -> float:
        """The rate at t."""
        return _between(self.lr, self.lowest, t / self.total if t < self.total else 1)


class OneCycle(Schedule):
    """From first up to highest during the fraction `rise` of the total, then down to last, which it keeps.

    Both parts are half cosines; the maximum is at t = rise total - 1, the end at t = total - 1, as in PyTorch's
    OneCycleLR.
    first: None is highest / 25.
    last: None is first / 10000.
    momentum: (lowest, highest), 0 < lowest <= highest < 1: the momentum falls from highest to lowest while the rate
        rises, and returns while the rate falls, along the same half cosines. It replaces SGD's momentum, also if that
        is 0, and beta1 of Adam and AdamW; other optimizers refuse it. None keeps the optimizer's setting (PyTorch's
        default is (0.85, 0.95)).
    Smith (2018), "A disciplined approach to neural network hyper-parameters: part 1".

    highest > 0, total >= 1, 0 <= rise < 1, first and last from 0 to highest, else ValueError or TypeError.
    per: "epoch" or "step".

    >>> from mlpfast import schedules
    >>> cycle = schedules.OneCycle(0.1, total=10, momentum=(0.85, 0.95))
    >>> [round(cycle.at(t), 4) for t in (0, 1, 2, 6, 9)]
    [0.004, 0.052, 0.1, 0.0389, 0.0]
    >>> [round(cycle.momentum_at(t), 4) for t in (0, 1, 2, 6, 9)]
    [0.95, 0.9, 0.85, 0.9111, 0.95]
    """

    highest: float
    total: int
    rise: float
    first: float
    last: float
    momentum: tuple[float, float] | None

    def __init__(
        self,
        highest: float,
        total: int,
        rise: float = 0.3,
        first: float | None = None,
        last: float | None = None,
        momentum: tuple[float, float] | None = None,
        *,
        per: str = "epoch",
    ) -> None:
        self.highest, self.total = real_number("highest", highest, above=0), whole_number("total", total, least=1)
        self.rise = real_number("rise", rise, least=0, below=1)
        self.first = self.highest / 25 if first is None else _at_most("first", first, "highest", self.highest)
        self.last = self.first / 1e4 if last is None else _at_most("last", last, "highest", self.highest)
        self.momentum = None if momentum is None else _lowest_and_highest("momentum", momentum)
        super().__init__(per)

    def at(self, t: int) -> float:
        """The rate at t."""
        return self._cycle(t, self.first, self.highest, self.last)

    def momentum_at(self, t: int) -> float | None:
        """The momentum at t, or None to keep the optimizer's."""
        if self.momentum is None:
            return None
        lowest, highest = self.momentum
        return self._cycle(t, highest, lowest, highest)

    def _cycle(self, t, first, top_value, last):
        top = self.rise * self.total - 1
        if t < top:
            return _between(first, top_value, t / top)
        end = self.total - 1
        return _between(top_value, last, (t - top) / (end - top) if t < end else 1)


class Warmup(Schedule):
    """then.at(0) (t + 1) / (steps + 1) for t < steps, and then.at(t - steps) afterwards; t counts as for `then`.

    During the warmup, a momentum of `then` keeps its first value, and a ReduceOnPlateau with per="epoch" does not
    observe the logs. Goyal et al. (2017), "Accurate, large minibatch SGD: training ImageNet in 1 hour".

    steps >= 1, and then a schedule, else ValueError or TypeError.

    >>> from mlpfast import schedules
    >>> warmup = schedules.Warmup(3, schedules.Constant(0.1, per="step"))
    >>> [round(warmup.at(t), 4) for t in range(5)]
    [0.025, 0.05, 0.075, 0.1, 0.1]
    """

    steps: int
    then: Any

    def __init__(self, steps: int, then: Any) -> None:
        self.steps = whole_number("steps", steps, least=1)
        if not is_schedule(then):
            raise TypeError(f"then must be a schedule, such as schedules.Constant(0.1), got {then!r}")
        self.then, self._shown = then, 0

    @property
    def per(self) -> str:  # type: ignore[override]
        """That of `then`."""
        return self.then.per

    def at(self, t: int) -> float:
        """The rate at t."""
        if t < self.steps:
            return self.then.at(0) * (t + 1) / (self.steps + 1)
        return self.then.at(t - self.steps)

    def momentum_at(self, t: int) -> float | None:
        """The momentum of `then`; None if it has none."""
        momentum_at = getattr(self.then, "momentum_at", None)
        return None if momentum_at is None else momentum_at(t - self.steps if t > self.steps else 0)

    @property
    def state(self) -> dict[str, Any]:
        return {"shown": self._shown, "then": state_of(self.then)}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        shown = whole_number("shown", state["shown"], least=0)
        set_state(self.then, state.get("then", {}))
        self._shown = shown

    def observe(self, logs: dict[str, float]) -> None:
        """Pass the numbers of an epoch on to `then`, after the warmup."""
        if self.per == "epoch" and self._shown < self.steps:
            self._shown += 1
        elif hasattr(self.then, "observe"):
            self.then.observe(logs)


class ReduceOnPlateau(Schedule):
    """lr, multiplied by factor whenever `monitor` has not improved by more than min_delta for `patience` epochs in a
    row, but never below lowest.

    monitor: a name of the logs; None: "val_loss" if there is validation data, else "loss".
    mode: "min" or "max", whichever is better. None: "min" for loss, objective, mae and mse, "max" for accuracy,
        exact_match, top_k and r2, also with "val_". For other names it must be given.
    It has a state: do not share it between Trainers. PyTorch reduces after patience + 1 epochs.

    lr > 0, 0 < factor < 1, patience >= 1, min_delta >= 0, 0 <= lowest <= lr, else ValueError or TypeError.

    >>> from mlpfast import schedules
    >>> plateau = schedules.ReduceOnPlateau(0.1, factor=0.5, patience=2)
    >>> for loss in (1.0, 0.9, 0.9, 0.9, 0.8):
    ...     plateau.observe({"loss": loss})  # as fit does after each epoch
    ...     print(plateau.at(None))
    0.1
    0.1
    0.1
    0.05
    0.05
    """

    per = "epoch"
    lr: float
    factor: float
    lowest: float

    def __init__(
        self,
        lr: float,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        lowest: float = 0.0,
        monitor: str | None = None,
        mode: str | None = None,
    ) -> None:
        self.lr, self.factor = real_number("lr", lr, above=0), real_number("factor", factor, above=0, below=1)
        self.lowest = _at_most("lowest", lowest, "lr", self.lr)
        self._rate, self._monitor = self.lr, Monitor(monitor, patience, min_delta, mode)

    def at(self, t: int) -> float:
        """The present rate, for any t."""
        return self._rate

    @property
    def state(self) -> dict[str, Any]:
        return {"rate": self._rate, **self._monitor.state}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        rate = real_number("rate", state["rate"], least=0)
        self._monitor.state = state
        self._rate = rate

    def check(self, names: Iterable[str] | None) -> None:
        """ValueError if the number that it monitors is not among `names`, those of the logs."""
        self._monitor.check(names)

    def monitored(self, logs: Iterable[str]) -> str:
        """The name of the number that it monitors, given the names of the logs."""
        return self._monitor.name_in(logs)

    def observe(self, logs: dict[str, float]) -> None:
        """Record the numbers of an epoch."""
        self._monitor.observe(logs)
        if self._monitor.ran_out():
            self._rate = max(self._rate * self.factor, self.lowest)

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), **self._monitor.settings()}


def check(lr: Any, names: Iterable[str] | None) -> None:
    """ValueError if a schedule monitors a name that is not among `names`, those of the logs (None: unknown)."""
    if isinstance(lr, Warmup):
        check(lr.then, names)
    elif isinstance(lr, ReduceOnPlateau):
        lr.check(names)


def state_of(lr: Any) -> dict[str, Any]:
    """The state of a schedule that has one, else {}."""
    state = getattr(lr, "state", {}) if is_schedule(lr) else {}
    return state if isinstance(state, dict) else {}


def set_state(lr: Any, state: dict[str, Any]) -> None:
    if state or state_of(lr):
        lr.state = state


def is_ready(lr: Any, logs: dict[str, float]) -> bool:
    """Whether the numbers are there that lr observes. Of a schedule of the caller's that is not known."""
    while isinstance(lr, Warmup):
        lr = lr.then
    if type(lr) is ReduceOnPlateau:
        return lr.monitored(logs) in logs
    return not hasattr(lr, "observe")


def observe(lr: Any, logs: dict[str, float]) -> None:
    """Pass the numbers of an epoch to a schedule that observes them."""
    if hasattr(lr, "observe"):
        on_callers_turn(lr.observe, logs)


def _lowest_and_highest(name, pair):
    """A pair 0 < lowest <= highest < 1, checked."""
    try:
        lowest, highest = pair
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be None or a pair (lowest, highest), got {pair!r}") from None
    highest = real_number(f"{name}[1]", highest, above=0, below=1)
    lowest = real_number(f"{name}[0]", lowest, above=0)
    return _at_most(f"{name}[0]", lowest, f"{name}[1]", highest), highest


def _at_most(name, value, other, most):
    value = real_number(name, value, least=0)
    if value > most:
        raise ValueError(f"{name} must be <= {other}={most}, got {value}")
    return value
