"""Objects that refuse attributes they do not have: trainer.learning_rate = 0.1 would otherwise change nothing; and
messages for arguments and attributes that there are not, which say what to use instead."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from ._nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable


F = TypeVar("F", bound="Callable[..., Any]")


class Closed:
    """After construction only existing attributes can be set, except names that begin with an underscore.

    This applies to the library's classes only: objects of users' subclasses accept any attribute.
    """

    _closed = False
    _properties: frozenset[str] = frozenset()
    _elsewhere: dict[str, str] = {}  # {a name that users try: a hint what to use instead}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        attributes = [pair for base in cls.__mro__ for pair in vars(base).items()]
        cls._properties = frozenset(name for name, value in attributes if isinstance(value, property))
        if cls.__module__.startswith(f"{__package__}."):
            type.__setattr__(cls, "__init__", _then_closed(cls, cls.__init__))  # checkers know the own one

    if not TYPE_CHECKING:  # to checkers it would say that any name can be set

        def __setattr__(self, name, value):
            # hasattr instead of `in vars(self)`: accessing an object's __dict__ makes its attributes slower to read.
            if self._closed and name[0] != "_" and (name in self._properties or not hasattr(self, name)):
                _check(self, name)
            object.__setattr__(self, name, value)


def not_here(message: str) -> property:
    """A property for a name that users of other libraries try: AttributeError with that message, which says what to use
    instead. A __getattr__ of the class would make all its attributes slower to read."""

    def refuse(self):
        raise AttributeError(message)

    return property(refuse, doc=message)


def _then_closed(cls, init):
    """init, which also closes the object if it is of cls itself: in a subclass, construction is not finished yet."""

    @functools.wraps(init)
    def init_and_close(self, *args, **kwargs):
        try:
            init(self, *args, **kwargs)
        except TypeError:
            _check_arguments(cls.__name__, init, len(args), kwargs, cls._elsewhere)
            raise
        if type(self) is cls:
            object.__setattr__(self, "_closed", True)

    return init_and_close


def _check(self, name):
    """AttributeError unless name is that of a property with a setter."""
    cls = type(self)
    if name not in self._properties:
        raise AttributeError(f"{cls.__name__} has no attribute {name!r}{_instead(self, name) or _nearest(self, name)}")
    if getattr(cls, name).fset is None:
        raise AttributeError(f"{name} of {cls.__name__} cannot be set{_instead(self, name)}")


def _instead(self, name):
    """A hint for a name that cannot be set, or ""."""
    if name in self._elsewhere:
        return f": {self._elsewhere[name]}"
    if name in _parameters(self):
        return f": it is fixed when one is made, {type(self).__name__}(..., {name}=...)"
    return ""


def _nearest(self, name):
    """A hint with the nearest known name, or with all of them."""
    own = sorted(n for n in {*vars(self), *self._properties} if n[0] != "_")
    return did_you_mean(name, [*_parameters(self), *own]) or f"; it has {', '.join(own) or 'none'}"


def _parameters(self):
    """The parameters of the constructor."""
    import inspect

    return inspect.signature(type(self)).parameters


# ---- Arguments ----


def explaining(elsewhere: dict[str, str]) -> Callable[[F], F]:
    """Decorates a method: a TypeError for arguments that it does not have says what was meant, or which it has.

    elsewhere: as _elsewhere of Closed.
    """

    def decorated(method):
        @functools.wraps(method)
        def call(self, *args, **kwargs):
            try:
                return method(self, *args, **kwargs)
            except TypeError:
                _check_arguments(f"{type(self).__name__}.{method.__name__}", method, len(args), kwargs, elsewhere)
                raise

        return call

    return decorated


def _check_arguments(what, method, n_placed, named, elsewhere):
    """TypeError if the method does not take so many arguments by place, or one of those names."""
    import inspect

    _, *parameters = inspect.signature(method).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return
    names, places = [p.name for p in parameters], [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    for name in named:
        if name not in names:
            hint = f": {elsewhere[name]}" if name in elsewhere else did_you_mean(name, names)
            raise TypeError(f"{what} has no argument {name!r}{hint or '; it has ' + ', '.join(names)}") from None
        if name in places[:n_placed]:
            raise TypeError(f"{what} takes {name} once, got it by place and by name") from None
    if n_placed > len(places):
        by_name = ", and others by name" if len(names) > len(places) else ""
        raise TypeError(f"{what} takes {', '.join(places)} by place{by_name}, got {n_placed} by place") from None
