"""The base class of activations and losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._attributes import Closed
from ._scalars import one_of, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class Named(Closed):
    """Identified in the core by its name. Immutable, since networks and Trainers copy its settings to the core.

    known: {name: its row in the core's vocabulary}. parameters: the arguments of a subclass's constructor.
    """

    known: dict[str, Any] = {}
    parameters: tuple[str, ...] = ()
    name: str

    def __init__(self, name: str, **values: Any) -> None:
        vars(self).update(name=name, **values)

    @property
    def traits(self) -> Any:
        """Its row in the core's vocabulary."""
        return self.known[self.name]

    def arguments(self) -> dict[str, Any]:
        """The arguments for a copy of this object."""
        return {name: getattr(self, name) for name in self.parameters}

    if not TYPE_CHECKING:  # to checkers it would say that any name can be set

        def __setattr__(self, name, value):
            if name == "name" or name in self.parameters or hasattr(type(self), name):
                raise AttributeError(f"{name} cannot be changed: make a new {type(self).__name__}")
            super().__setattr__(name, value)

    def __repr__(self) -> str:
        given = ", ".join(f"{own}={value!r}" for own, value in self.arguments().items())
        return f"{type(self).__name__}({given if self.parameters else repr(self.name)})"


def own_name(name: str, known: Iterable[str]) -> str:
    """The name of a Custom; ValueError if it is that of something else."""
    if not isinstance(name, str) or not name.isidentifier() or name in known:
        raise ValueError(f"name must be a name of your own, such as 'my_function', got {name!r}")
    return name


def bounds(least: float, most: float = math.inf) -> list[float | None]:
    """Limits from the core in the form of real_number: None for an infinite one."""
    return [None if math.isinf(limit) else limit for limit in (least, most)]


def from_name(
    argument: str, value: Any, base: Any, names: Collection[str], classes: Any, example: str, others: Any,
) -> Any:
    """An object from value, a name or an object of base.

    classes: {name: class} for names whose object is not just base(name). others: as for did_you_mean.
    """
    if isinstance(value, base):
        if type(value) is base:
            one_of(argument, value.name, [name for name in names if name not in classes])
        return value
    if isinstance(value, type) and issubclass(value, base):
        raise TypeError(f"{argument} must be a name or an object such as {example}, got the class {value.__name__}: "
                        "call it")
    if not isinstance(value, str):
        none = ": 'identity' changes nothing" if value is None and "identity" in names else ""
        raise TypeError(f"{argument} must be a name or an object such as {example}, got {shown(value)}{none}")
    value = one_of(argument, value, names, others)
    return classes[value]() if value in classes else base(value)
