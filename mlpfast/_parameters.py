"""Arrays that belong to parameters, checked: new values, gradients, an optimizer's state, masks."""

import numpy as np

from ._arrays import converted, number_array, refuse_masked


def parameter_values(name, value, parameter):
    """value as numbers for that parameter, broadcast to its shape and in its dtype."""
    given = number_array(name, value)
    array, shape = converted(name, given, parameter.dtype), parameter.shape
    while array.ndim > len(shape) and len(array) == 1:  # a row for a vector, as in an assignment of NumPy
        array = array[0]
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"{name} must have shape {shape} or one that is broadcast to it, got {given.shape}") from None


def arrays_like(name, values, parameters):
    """values as a list of new arrays of the parameters' shapes and dtype. What is too large for it becomes infinity,
    which the caller refuses."""
    if isinstance(values, tuple) and len(values) == 2 and isinstance(values[1], list):
        raise TypeError(f"{name} must be a list of arrays, got (loss, gradients): pass the second")
    try:
        given = [number_array(name, array) for array in values]
    except TypeError:
        if hasattr(values, "__iter__"):
            raise
        raise TypeError(f"{name} must be a list of arrays, got {values!r}") from None
    if [array.shape for array in given] != [p.shape for p in parameters]:
        shapes = [array.shape for array in given]
        raise ValueError(f"{name} must hold an array for each parameter, of its shape, got {shapes}")
    return [array.astype(p.dtype) for array, p in zip(given, parameters, strict=True)]


def state_arrays(name, values, parameters):
    """state[name] of an optimizer as arrays of the parameters' shapes and dtype; "v" holds squares."""
    arrays = arrays_like(f"state[{name!r}]", values, parameters)
    if not all(np.isfinite(array).all() and (name != "v" or (array >= 0).all()) for array in arrays):
        raise ValueError(f"state[{name!r}] must hold finite numbers{' >= 0' if name == 'v' else ''}")
    return arrays


def mask_matrix(mask, shape):
    """A `mask` argument as a private boolean array of that shape. toarray is a method of scipy.sparse matrices."""
    refuse_masked("mask", mask)
    array = np.array(mask.astype(bool).toarray() if hasattr(mask, "toarray") else mask)
    if array.shape != shape or array.dtype != bool:
        raise ValueError(f"mask must be a boolean matrix of shape {shape}, got {array.dtype} of shape {array.shape}")
    array.flags.writeable = False
    return array


def mean_and_scale(name, pair, n):
    """An `input_transform` argument as private float64 arrays (n,), read-only; scale > 0."""
    try:
        given = [number_array(f"{name} {part}", array) for part, array in zip(("mean", "scale"), pair, strict=True)]
    except (TypeError, ValueError) as error:
        if isinstance(pair, (tuple, list)) and len(pair) == 2:
            raise
        raise TypeError(f"{name} must be (mean, scale), two arrays, got {pair!r}") from error
    arrays = []
    for part, array in zip(("mean", "scale"), given, strict=True):
        if array.shape != (n,):
            raise ValueError(f"{name} {part} must have a number for each of {n} inputs, got shape {array.shape}")
        array = array.astype(np.float64)
        good = np.isfinite(array) & ((array >= np.finfo(np.float64).tiny) | (part == "mean"))
        if not good.all():
            j = int(np.argmin(good))
            needs, hint = ("finite", "") if part == "mean" else ("finite and > 0", ": of a constant input take 1")
            raise ValueError(f"{name} {part} must be {needs}, got {array[j]} for input {j}{hint}")
        array.flags.writeable = False
        arrays.append(array)
    return tuple(arrays)
