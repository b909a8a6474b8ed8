"""sample_weight, class_weight and mean_weight, checked."""

import numpy as np

from ._arrays import check_length, number_array
from ._scalars import real_number, whole_number
from ._targets import classes

LEAST_WEIGHT, MOST_WEIGHT = 1e-30, 1e30  # beyond that, float32 gradients under- or overflow


def weights(sample_weight, class_weight, y, network, loss, n, name="sample_weight", all_zero=False):
    """Weights (n,) of the network's dtype, or None: sample_weight times the class_weight of each example's class.

    all_zero: whether all of them may be 0.
    """
    if sample_weight is None and class_weight is None:
        return None
    total = np.ones(n)
    if sample_weight is not None:
        given = number_array(name, sample_weight)
        if given.ndim != 1:
            raise ValueError(f"{name} must have shape (n,), got {given.shape}")
        check_length(name, given, n)
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


def checked_mean_weight(value):
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
