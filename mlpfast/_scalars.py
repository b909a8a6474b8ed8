"""Checks of single values: flags, names and numbers. Messages name the argument, what it got and what it needs."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from ._nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

    from ._types import DType

LEAST, MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)  # float64 holds these too

FLOATS = {name: np.dtype(name) for name in ("float32", "float64")}


def shown(value: Any) -> str:
    """repr(value) for a message, in one line that is not long: it may be an array."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:80]}..."


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def one_of(name: str, value: Any, names: Collection[str], others: Any = None) -> str:
    """value, if it is one of names. others: as for did_you_mean."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a name, got {type(value).__name__}")
    if value not in names:
        hint = did_you_mean(value, names, others) if len(names) > 2 else ""
        raise ValueError(f"{name} must be one of {', '.join(names)}, got {value!r}{hint}")
    return value


def float_dtype(dtype: Any) -> DType:
    """A `dtype` argument, float32 or float64."""
    if isinstance(dtype, str) and dtype in FLOATS:
        return FLOATS[dtype]
    try:
        name = "None" if dtype is None else np.dtype(dtype).name  # NumPy reads None as float64
    except TypeError:
        name = str(dtype)
    return FLOATS[one_of("dtype", name, tuple(FLOATS))]


def whole_number(name: str, value: Any, *, least: int, most: int = 2**63 - 1) -> int:
    if type(value) is not int and (isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral)):
        raise TypeError(f"{name} must be a whole number, got {shown(value)}")
    if not least <= value <= most:  # type: ignore[operator]
        bounds = f">= {least}" if value < least else f"<= {most}"
        raise ValueError(f"{name} must be {bounds}, got {value}")
    return int(value)


def real_number(
    name: str, value: Any, *, least: float | None = None, above: float | None = None, below: float | None = None,
) -> float:
    if type(value) is not float:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} must be a number, got {shown(value)}")
        try:
            value = float(value)
        except OverflowError:  # a whole number beyond float64
            value = math.inf if value > 0 else -math.inf  # type: ignore[operator]
    if least is not None and not value >= least:
        bound = f">= {least}"
    elif above is not None and not value > above:
        bound = f"> {above}"
    elif below is not None and not value < below:
        bound = f"< {below}"
    elif not math.isfinite(value):
        bound = "finite"
    else:
        return value
    raise ValueError(f"{name} must be {bound}, got {value!r}")


def within(name: str, value: Any, dtype: Any) -> float:
    """value; ValueError unless it is 0 or in the range of dtype's normal numbers."""
    if not value or LEAST <= abs(value) <= MOST:  # a short cut: every step of a schedule asks
        return value
    least, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    if value and not least <= abs(value) <= most:
        raise ValueError(f"{name} must be from {least:.6g} to {most:.6g} for {dtype}, got {value!r}")
    return value
