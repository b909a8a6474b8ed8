"""Functions that users give, of Custom activations and losses."""

from ._arrays import number_array
from ._fpmode import CallersTurn


def function(name, value):
    if not callable(value):
        raise TypeError(f"{name} must be a function of arrays, got {value!r}")
    return value


def checked_result(name, shape, function, *arrays):
    """What function(*arrays) returns, as an array of real numbers of that shape."""
    with CallersTurn():
        result = function(*arrays)
    array = number_array(name, result)
    if array.shape != shape:
        raise ValueError(f"{name} must be of shape {shape}, got {array.shape}")
    return array
