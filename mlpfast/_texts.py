"""Settings as texts, for the metadata of a file: {"optimizer": "adam", "optimizer.lr": "0x1p-10", ...}.

A text means one value, and a value has one text:

    true  false  none  17  0x1.8p-1  inf  nan       numbers: whole ones, and float64 as C writes them (%a)
    0:3                                             a slice, of outputs
    relu                                            other texts; in quotes, as in JSON, if they would mean one of these
    (2)                                             a sequence of two, which are under "<key>.0" and "<key>.1"
    adam                                            an object of that name, with its settings under "<key>.<setting>"
    custom                                          an object of the caller's, with what it is called under "<key>.name"
"""

from __future__ import annotations

import json
import math
import numbers
import re
from typing import Any

import numpy as np

from . import activations, losses, optimizers, schedules
from ._named import Named

WORDS = {"true": True, "false": False, "none": None, "inf": math.inf, "-inf": -math.inf, "nan": math.nan}
WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,19})")
REAL = re.compile(r"-?0x[01](\.[0-9a-f]{0,12}[1-9a-f])?p[+-][0-9]{1,4}")
SLICE = re.compile(r"(0|[1-9][0-9]{0,9}):([1-9][0-9]{0,9})")
SEQUENCE = re.compile(r"\((0|[1-9][0-9]{0,8})\)")
DEEPEST = 12  # dots in a key


def text(value):
    """The text of a plain value; TypeError for others."""
    if type(value) is float:
        return _hexadecimal(value)
    if value is None or isinstance(value, (bool, np.bool_)):
        return "none" if value is None else "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return _hexadecimal(float(value))
    if isinstance(value, str):
        return value if _is_plain(value) else json.dumps(value)
    if isinstance(value, slice):
        return f"{value.start}:{value.stop}"
    raise TypeError(f"a file holds numbers, names and objects of mlpfast, got {value!r}")


def _hexadecimal(x):
    if not math.isfinite(x):
        return repr(x)
    mantissa, exponent = x.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}"


def _is_plain(name):
    """Whether a name means nothing else."""
    others = (WHOLE, REAL, SLICE, SEQUENCE)
    return not (name in WORDS or name[:1] == '"' or any(form.fullmatch(name) for form in others))


def value_of(given):
    """The value of a text; ValueError if it is not the one that `text` gives."""
    if given in WORDS:
        return WORDS[given]
    if given[:1].isalpha():  # a name, the usual case
        return given
    value: Any
    if WHOLE.fullmatch(given):
        value = int(given)
    elif REAL.fullmatch(given):
        value = _float(given)
    elif SLICE.fullmatch(given):
        value = slice(*map(int, given.split(":")))
    else:
        value = _quoted(given) if given[:1] == '"' else given
    if text(value) != given:
        raise ValueError(f"{given[:80]!r} is not how a file writes a value")
    return value


def _float(given):
    try:
        return float.fromhex(given)
    except OverflowError:
        raise ValueError(f"{given} is too large for float64") from None


def _quoted(given):
    try:
        value = json.loads(given)
    except ValueError:
        value = None
    if not isinstance(value, str):
        raise ValueError(f"{given[:80]!r} must be a text in quotes")
    return value


# ---- Objects and sequences ----


def put(texts, key, value):
    """Add a value, with all that belongs to it, to texts, {key: text}."""
    if isinstance(value, (tuple, list)):
        texts[key] = f"({len(value)})"
        for number, item in enumerate(value):
            put(texts, f"{key}.{number}", item)
        return
    if value is None or isinstance(value, (str, bool, np.bool_, numbers.Real, slice)):
        texts[key] = text(value)
        return
    texts[key], settings = described(value)
    for name, setting in settings.items():
        put(texts, f"{key}.{name}", setting)


def described(thing):
    """(the name of an object, its settings)"""
    if not type(thing).__module__.startswith(f"{__package__}.") or type(thing) in (activations.Custom, losses.Custom):
        return "custom", {"name": called(thing)}
    return thing.name if isinstance(thing, Named) else OBJECT_NAMES[type(thing)], thing.arguments()


def called(thing):
    """The name under which a file asks for an object of the caller's."""
    return thing.name if isinstance(thing, Named) else type(thing).__name__


def by_name(things):
    """{name: object} of the caller's objects among things; ValueError if two of them would have one name."""
    found: dict[str, Any] = {}
    for thing in things:
        while isinstance(thing, schedules.Warmup):
            thing = thing.then
        if isinstance(thing, (str, numbers.Real)) or described(thing)[0] != "custom":
            continue
        if found.setdefault(called(thing), thing) != thing:
            raise ValueError(
                f"objects of your own must have a name each to be saved, got two that are called {called(thing)!r}: "
                "Custom(..., name='my_function'), and schedules are called by their class"
            )
    return found


# A per_output of activations is that of a layer, which files.py makes.
_MAKERS: dict[str, Any] = {
    **activations.WITH_PARAMETERS, **losses.WITH_PARAMETERS, "per_output": losses.PerOutput, **optimizers.BY_NAME,
    **{kind.__name__: kind for kind in schedules.Schedule.__subclasses__()},
}
OBJECT_NAMES = {kind: name for name, kind in _MAKERS.items()}


class Tree:
    """Texts by the parts of their keys; what has been taken is no longer there."""

    key: str
    below: dict[str, Tree]
    text: Any

    def __init__(self, key: str = "") -> None:
        self.key, self.text, self.below = key, None, {}

    @classmethod
    def of(cls, texts: dict[str, str]) -> Tree:
        root = cls()
        for key, value in texts.items():
            names, node = key.split("."), root
            if len(names) > DEEPEST:
                raise ValueError(f"unknown setting {key[:80]!r}")
            for name in names:
                if name not in node.below:
                    node.below[name] = cls(f"{node.key}.{name}" if node.key else name)
                node = node.below[name]
            node.text = value
        return root

    def take(self, name: str) -> Tree:
        """The Tree under that name, which may have dots; an empty one if there is none."""
        first, _, rest = name.partition(".")
        if rest and first in self.below:
            return self.below[first].take(rest)
        return self.below.pop(name, None) or Tree(f"{self.key}.{name}" if self.key else name)

    def take_all(self, custom: Any) -> dict[str, Any]:
        """{name: its value} of all that is left."""
        names = list(self.below)
        return {name: self.take(name).value(custom) for name in names}

    def nothing_left(self) -> None:
        for node in self.below.values():
            if node.text is not None:
                raise ValueError(f"unknown setting {node.key[:80]!r}: this file may be of a later version of mlpfast")
            node.nothing_left()

    def value(self, custom: Any) -> Any:
        """What `put` has been given. custom: {name: object of the caller's}."""
        if self.text is None:
            raise ValueError(f"the setting {self.key!r} is missing")
        if SEQUENCE.fullmatch(self.text):
            length = int(self.text[1:-1])
            if length > len(self.below):
                raise ValueError(f"{self.key} must have {length} entries, has {len(self.below)}")
            items = tuple(self.take(str(number)).value(custom) for number in range(length))
            self.nothing_left()
            return items
        value = value_of(self.text)
        if not self.below:
            return value
        if value == "custom":
            name = self.take("name").value(custom)
            self.nothing_left()
            return from_caller(self.key, name, custom)
        if not isinstance(value, str) or value not in _MAKERS:
            raise ValueError(f"unknown {self.key} {self.text[:80]!r}: this file may be of a later version of mlpfast")
        return made(self.key, _MAKERS[value], self.take_all(custom))


def from_caller(key, name, custom):
    if not isinstance(name, str) or name not in custom:
        raise ValueError(
            f"{key} is an object of Python called {name!r}, which a file only names: pass custom={{{name!r}: object}}"
        )
    return custom[name]


def made(key, kind, settings):
    """An object of that kind; ValueError if it does not have one of the settings, or refuses its value."""
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}: {error}") from None
