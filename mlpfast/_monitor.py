"""Monitors a number of the logs: the direction that is better, the best value so far, patience."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._nearest import did_you_mean, nearest
from ._scalars import one_of, real_number, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable

# Built-in numbers of the logs, each also with "val_": whether min or max is better; for top_1, top_2, ... it is max.
DIRECTIONS = {
    "loss": "min", "objective": "min", "mae": "min", "mse": "min",
    "accuracy": "max", "exact_match": "max", "r2": "max",
}
WITHOUT_DIRECTION = ("lr", "momentum")
WITH_DIRECTION = f"{', '.join(DIRECTIONS)} and top_k, also with val_"  # for messages


def direction(name: str) -> str | None:
    """"min" or "max", whichever is better for that name in the logs; None for unknown names."""
    name = name.removeprefix("val_")
    if name.endswith("]"):  # of a part of the outputs, "mae[1]"
        name = name.partition("[")[0]
    if name.startswith("top_") and name[4:].isdecimal():
        return "max"
    return DIRECTIONS.get(name)


def is_ours(name: str) -> bool:
    """Whether a name in the logs is reserved for built-in numbers."""
    return name.startswith("val_") or name in WITHOUT_DIRECTION or direction(name) is not None


def check_names(there: Any, argument: str, names: Iterable[str]) -> None:
    """ValueError if one of the names, given in `argument`, is not in the logs."""
    for name in names:
        if name in there:
            continue
        hint, own = "", name.removeprefix("val_")
        of_parts = [one for one in there if one.startswith(f"{name}[")]
        if name != own and "val_loss" not in there:
            hint = "; it needs validation_data or validation_split"
        elif of_parts:
            hint = f": did you mean {' or '.join(repr(one) for one in of_parts[:3])}?"
        elif own not in ("loss", "objective") and direction(own) is not None:
            hint = f"; it needs metrics={own.partition('[')[0]!r}"
        hint = hint or did_you_mean(name, there)
        raise ValueError(f"{argument} must be one of {', '.join(there)}, got {name!r}{hint}")


def number_of(logs: dict[str, float], argument: str, name: str) -> float:
    """logs[name]; ValueError naming `argument` if it is missing."""
    check_names(logs, argument, [name])
    return logs[name]


def _unknown(name):
    """The beginning of a message, if name is near to a built-in one."""
    own = name.removeprefix("val_")
    near = nearest(own, DIRECTIONS)
    if not near:
        return ""
    meant = name[: len(name) - len(own)] + near[0]
    return f"monitor must be a name of the logs, got {name!r}: did you mean {meant!r}? For a number of your own, "


class Monitor:
    """The best value so far of `monitor` (None: "val_loss" if present, else "loss"), and the epochs since then."""

    def __init__(self, monitor: str | None, patience: int, min_delta: float, mode: str | None) -> None:
        if not (monitor is None or isinstance(monitor, str)):
            raise TypeError(f"monitor must be a name, got {type(monitor).__name__}")
        self.monitor, self.mode = monitor, mode if mode is None else one_of("mode", mode, ("min", "max"))
        self.rises(monitor or "loss")
        self.patience = whole_number("patience", patience, least=1)
        self.min_delta = real_number("min_delta", min_delta, least=0)
        self.best, self.waited = math.nan, 0

    def name_in(self, logs: Iterable[str]) -> str:
        return self.monitor or ("val_loss" if "val_loss" in logs else "loss")

    def rises(self, name: str) -> bool:
        """Whether larger is better; ValueError if neither mode nor the name determines it."""
        better = self.mode or direction(name)
        if better is None:
            raise ValueError(
                f'{_unknown(name)}mode must be "min" or "max" with monitor={name!r}, as in mode="max" if larger is '
                f"better, got None: only {WITH_DIRECTION}, have a direction of their own"
            )
        return better == "max"

    def check(self, names: Iterable[str] | None) -> None:
        """ValueError if the monitored name is not among `names`, those of the logs (None: unknown), or if its direction
        is unknown."""
        if names is not None:
            check_names(names, "monitor", [self.name_in(names)])
        self.rises(self.monitor or "loss")

    def settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("monitor", "patience", "min_delta", "mode")}

    @property
    def state(self) -> dict[str, Any]:
        """What it has seen."""
        return {"best": self.best, "waited": self.waited}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.check_state(state)
        self.best, self.waited = state["best"], state["waited"]

    @staticmethod
    def check_state(state: dict[str, Any]) -> None:
        _number("best", state["best"])
        whole_number("waited", state["waited"], least=0)

    def observe(self, logs: dict[str, float]) -> bool:
        """Record the numbers of an epoch; returns whether it is the best so far, by more than min_delta."""
        name = self.name_in(logs)
        value = number_of(logs, "monitor", name)
        better = value > self.best + self.min_delta if self.rises(name) else value < self.best - self.min_delta
        better = better or (math.isnan(self.best) and not math.isnan(value))  # the first value; never NaN
        if better:
            self.best = value
        self.waited = 0 if better else self.waited + 1
        return better

    def ran_out(self) -> bool:
        """Whether there was no improvement for `patience` epochs; if so, the count restarts."""
        if self.waited < self.patience:
            return False
        self.waited = 0
        return True


def _number(name, value):
    """A number of the logs, NaN and infinity included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return value


def goal(name: str, value: Any) -> tuple[bool, float]:
    """(whether larger is better, the number to reach) from a goal: a number, or a pair such as (">=", 0.95)."""
    argument = f"stop_at[{name!r}]"
    if isinstance(value, (tuple, list)):
        if len(value) != 2 or value[0] not in (">=", "<="):
            raise ValueError(f'{argument} must be a number, (">=", number) or ("<=", number), got {value!r}')
        return value[0] == ">=", real_number(argument, value[1])
    number, better = real_number(argument, value), direction(name)
    if better is None:
        raise ValueError(
            f'{argument} must be (">=", {number:g}) or ("<=", {number:g}), got {value!r}: only {WITH_DIRECTION}, have '
            "a direction of their own"
        )
    return better == "max", number
