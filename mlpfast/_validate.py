"""What callers give, checked and brought into the form the core reads. Every message names the argument, what it got
and what it needs."""

import math
import numbers

import numpy as np

from ._arrays import Origin, converted, inputs, number_array, refuse_masked
from ._core import Data
from ._nearest import did_you_mean
from ._targets import classes, forms_of

LEAST, MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)  # float64 holds these too


def flag(name, value):
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def one_of(name, value, names, others=None):
    """value, if it is one of names. others: as for did_you_mean."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a name, got {type(value).__name__}")
    if value not in names:
        hint = did_you_mean(value, names, others) if len(names) > 2 else ""
        raise ValueError(f"{name} must be one of {', '.join(names)}, got {value!r}{hint}")
    return value


def float_dtype(dtype):
    """A `dtype` argument, float32 or float64."""
    try:
        name = "None" if dtype is None else np.dtype(dtype).name  # NumPy reads None as float64
    except TypeError:
        name = str(dtype)
    return np.dtype(one_of("dtype", name, ("float32", "float64")))


def whole_number(name, value, *, least, most=2**63 - 1):
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if not least <= value <= most:
        bounds = f">= {least}" if value < least else f"<= {most}"
        raise ValueError(f"{name} must be {bounds}, got {value}")
    return int(value)


def real_number(name, value, *, least=None, above=None, below=None):
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        value = float(value)
    except OverflowError:  # a whole number beyond float64
        value = math.inf if value > 0 else -math.inf
    bounds = [
        (least is None or value >= least, f">= {least}"),
        (above is None or value > above, f"> {above}"),
        (below is None or value < below, f"< {below}"),
        (math.isfinite(value), "finite"),
    ]
    for holds, bound in bounds:
        if not holds:
            raise ValueError(f"{name} must be {bound}, got {value!r}")
    return value


def within(name, value, dtype):
    """value, which must be 0 or of a size that dtype holds without loss of accuracy."""
    if not value or LEAST <= abs(value) <= MOST:  # asked at every step of a schedule
        return value
    least, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    if value and not least <= abs(value) <= most:
        raise ValueError(f"{name} must be from {least:.6g} to {most:.6g} for {dtype}, got {value!r}")
    return value


def function(name, value):
    if not callable(value):
        raise TypeError(f"{name} must be a function of arrays, got {value!r}")
    return value


def numbers_like(name, result, shape):
    """What a function of the caller's returned, as an array of real numbers of that shape."""
    array = number_array(name, result)
    if array.shape != shape:
        raise ValueError(f"{name} must be of shape {shape}, got {array.shape}")
    return array


def parameter_values(name, value, parameter):
    """value as numbers for that parameter, broadcast to its shape and in its dtype."""
    array = given = number_array(name, value)
    array, shape = converted(name, array, parameter.dtype), parameter.shape
    while array.ndim > len(shape) and len(array) == 1:  # a row for a vector, as NumPy's own assignments have it
        array = array[0]
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"{name} must have shape {shape} or one that is broadcast to it, got {given.shape}") from None


def arrays_like(name, values, parameters):
    """values as a list of fresh arrays of the parameters' shapes and dtype; what is too large becomes infinity."""
    try:
        given = [number_array(name, array) for array in values]
    except TypeError:
        if hasattr(values, "__iter__"):
            raise
        raise TypeError(f"{name} must be a list of arrays, got {values!r}") from None
    if [array.shape for array in given] != [p.shape for p in parameters]:
        shapes = [array.shape for array in given]
        raise ValueError(f"{name} must hold an array for each parameter, of its shape, got {shapes}")
    # What is too large for float32 becomes infinity, which the callers of this refuse.
    return [array.astype(p.dtype) for array, p in zip(given, parameters, strict=True)]


def state_arrays(name, values, parameters):
    """What an optimizer keeps under that name, as arrays of the parameters' shapes and dtype; "v" are squares."""
    arrays = arrays_like(f"state[{name!r}]", values, parameters)
    if not all(np.isfinite(array).all() and (name != "v" or (array >= 0).all()) for array in arrays):
        raise ValueError(f"state[{name!r}] must hold finite numbers{' >= 0' if name == 'v' else ''}")
    return arrays


def mask_matrix(mask, shape):
    """A `mask` argument as a private boolean array of that shape; scipy.sparse matrices have toarray."""
    refuse_masked("mask", mask)
    array = np.array(mask.astype(bool).toarray() if hasattr(mask, "toarray") else mask)
    if array.shape != shape or array.dtype != bool:
        raise ValueError(f"mask must be a boolean matrix of shape {shape}, got {array.dtype} of shape {array.shape}")
    array.flags.writeable = False
    return array


def _length(name, array, n):
    if len(array) != n:
        raise ValueError(f"{name} must have one entry for each row of X: X has {n}, {name} has {len(array)}")


LEAST_WEIGHT, MOST_WEIGHT = 1e-30, 1e30  # beyond that, float32 gradients under- or overflow


def weights(sample_weight, class_weight, y, network, loss, n, name="sample_weight", all_zero=False):
    """Weights (n,) of the network's dtype, or None: sample_weight times the class_weight of each example's class.

    all_zero: whether all of them may be.
    """
    if sample_weight is None and class_weight is None:
        return None
    total = np.ones(n)
    if sample_weight is not None:
        given = number_array(name, sample_weight)
        if given.ndim != 1:
            raise ValueError(f"{name} must have shape (n,), got {given.shape}")
        _length(name, given, n)
        _check_weights(name, given)
        total = total * given
    if class_weight is not None:
        which = classes(y, network, loss, "class_weight")
        width = network.n_out if y.ndim == 1 else y.shape[1]
        if y.ndim == 2 and not np.isin(y, (-1, 0, 1)).all():  # of a cross entropy
            raise ValueError("class_weight needs classes as y, got probabilities")
        total = total * class_weights(class_weight, which, max(2, width), width == 1, total)[which]
        name = "sample_weight times class_weight"
    odd = (total != 0) & ~((total >= LEAST_WEIGHT) & (total <= MOST_WEIGHT))
    if odd.any():
        at = int(np.argmax(odd))
        raise ValueError(
            f"{name} must be 0, or from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, got {total[at]!s} at position {at}"
        )
    if not (all_zero or total.any()):
        raise ValueError(f"{name} must not be zero for every example")
    return np.array(total, network.dtype)


def _check_weights(name, values):
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(f"{name} must hold finite numbers >= 0, got {values[at]!s} at position {at}")


def mean_weight(value):
    """A `mean_weight` argument as the core takes it: 0 for None."""
    if value is None:
        return 0.0
    value = real_number("mean_weight", value, above=0)
    if not LEAST_WEIGHT <= value <= MOST_WEIGHT:
        raise ValueError(f"mean_weight must be from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, got {value!r}")
    return value


def class_weights(class_weight, labels, n_classes, signs=False, sample_weight=None):
    """class_weight, a dict {class: weight}, an array (K,), or "balanced", as an array (K,).

    signs: the lower one of two classes may be called -1. sample_weight (n,): "balanced" counts rows by it.
    """
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f'class_weight must be "balanced", a dict or an array (K,), got {class_weight!r}')
        counts = np.bincount(labels, weights=sample_weight, minlength=n_classes)
        present = counts > 0
        if not present.any():
            return np.zeros(n_classes)
        # King and Zeng (2001), as in scikit-learn
        return counts.sum() / (present.sum() * np.where(present, counts, np.inf))
    if isinstance(class_weight, dict):
        each = np.ones(n_classes)
        for label, weight in class_weight.items():
            number = whole_number("class_weight key", label, least=-signs, most=n_classes - 1)
            if number == -1 and 0 in class_weight:
                raise ValueError("class_weight must name the lower class once, got both -1 and 0")
            each[max(0, number)] = real_number(f"class_weight[{label}]", weight, least=0)
        return each
    each = number_array("class_weight", class_weight)
    if each.shape != (n_classes,):
        raise ValueError(f"class_weight must have shape ({n_classes},), got {each.shape}")
    _check_weights("class_weight", each)
    return each


def examples(X, y, network, loss, *, sample_weight=None, class_weight=None, names=("X", "y", "sample_weight"),
             all_zero=False, keep_y=False):
    """X and y, checked against each other and the network, as the core reads them. X is used in place where it can
    be, y and the weights are private copies.

    all_zero: whether all weights may be 0. keep_y: y itself is wanted too, by functions of the caller's; for a Custom
    loss it always is.
    """
    origin, X = Origin(names[0], X), inputs(X, network, names[0])
    y = number_array(names[1], y)
    if y.ndim == 0:
        raise ValueError(f"{names[1]} must have shape (n,) or (n, {network.n_out}), got a single number")
    _length(names[1], y, len(X))
    if len(X) == 0:
        raise ValueError(f"{names[0]} must have at least one row, got shape {X.shape}")
    y, labels, targets = forms_of(y, network, loss, names[1], keep_y or loss.traits.is_custom)
    data = Data(X, network.input_scale, labels, targets, None, y)
    weight = weights(sample_weight, class_weight, data.truth, network, loss, len(X), names[2], all_zero)
    data = data if weight is None else Data(X, network.input_scale, labels, targets, weight, y)
    data.origin = origin
    return data


def output_array(out, shape, dtype, others):
    """out= as the core writes it: exactly that shape and dtype, C-contiguous, writable, apart from the other arrays."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    refuse_masked("out", out)
    given, out = out, np.ndarray.view(out, np.ndarray)  # a subclass may say what is not so
    if out.shape != shape or out.dtype != dtype or not out.dtype.isnative:
        raise ValueError(f"out must have shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}")
    if not out.flags.c_contiguous or not out.flags.aligned:
        raise ValueError("out must be C-contiguous, got an array with other strides")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")
    for name, other in others:
        if isinstance(other, np.ndarray) and np.may_share_memory(out, other):
            raise ValueError(f"out must not overlap {name}")
    return given
