"""sample_weight, class_weight and mean_weight, checked."""

import numpy as np

from ._arrays import check_length, number_array
from ._scalars import real_number, whole_number
from ._targets import classes, is_one_hot

ROWS_AT_ONCE = 2**18
LEAST_WEIGHT, MOST_WEIGHT = 1e-30, 1e30  # beyond that, float32 gradients under- or overflow


def weights(sample_weight, class_weight, y, network, loss, n, name="sample_weight", all_zero=False):
    """(weights (n,), weights of the entries of y (n, columns)) of the network's dtype, None for what does not exist:
    sample_weight times the class_weight of each example's class, or of each label, and 0 where y is missing. A row's
    weight is the mean over its entries.

    all_zero: whether all of them may be 0.
    """
    measured = _measured(y, loss)
    if sample_weight is None and class_weight is None and measured is None:
        return None, None
    total, of_y = _without_classes(sample_weight, measured, y, loss, n, name), name.removesuffix("sample_weight") + "y"
    if class_weight is not None and has_labels(y, loss):
        total = total.reshape(n, -1)
        total = total * _label_weights(class_weight, y, total)
        name = "sample_weight times class_weight"
    elif class_weight is not None:
        which = classes(y, network, loss, "class_weight")
        width = network.n_out if y.ndim == 1 else y.shape[1]
        if y.ndim == 2 and not (np.isin(y, (-1, 0, 1)) | (y != y)).all():  # of a cross entropy
            raise ValueError("class_weight needs classes as y, got probabilities")
        by_row = total if total.ndim == 1 else total.mean(axis=1)
        each = class_weights(class_weight, which, max(2, width), width == 1, by_row)[which]
        total = np.multiply(total, each, out=each) if total.ndim == 1 else total * each[:, None]
        name = "sample_weight times class_weight"
    odd = (total != 0) & ~((total >= LEAST_WEIGHT) & (total <= MOST_WEIGHT))
    if odd.any():
        raise ValueError(
            f"{name} must be 0, or from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, got {total[odd][0]!s} at {_position(odd)}"
        )
    if not all_zero and measured is not None and not measured.any():
        raise ValueError(f"{of_y} holds no number, got NaN alone")
    if not (all_zero or total.any()):
        hint = "" if measured is None else ", got NaN as y of all that have weight"
        raise ValueError(f"{name} must not be zero for every example{hint}")
    if total.ndim == 2 and total.shape[1] == 1 and measured is None:
        total = total[:, 0]
    if total.ndim == 1:
        return np.array(total, network.dtype), None
    entries = np.array(total, network.dtype, order="C")
    return entries.mean(axis=1, dtype=np.float64).astype(network.dtype), entries


def weights_of_rows(sample_weight, y, loss):
    """(n,) float64, by which "balanced" counts rows; None: each is 1."""
    measured = _measured(y, loss)
    if sample_weight is None and measured is None:
        return None
    total = _without_classes(sample_weight, measured, y, loss, len(y), "sample_weight")
    return total if total.ndim == 1 else total.mean(axis=1)


def _without_classes(sample_weight, measured, y, loss, n, name):
    """(n,) or the shape of y, float64."""
    total = np.broadcast_to(1.0, n) if sample_weight is None else _given(sample_weight, y, loss, n, name)
    return total if measured is None else total.reshape(n, -1) * measured


def _measured(y, loss):
    """Which entries of y (n, columns) are not missing; None if all are there."""
    if y.ndim == 1 or y.dtype.kind != "f" or not (loss.missing or loss.parts):
        return None
    measured = ~np.isnan(y)
    return None if measured.all() else measured


def _given(sample_weight, y, loss, n, name):
    """sample_weight (n,), or with the shape of y, in float64."""
    given = number_array(name, sample_weight)
    entries = y.shape if loss.traits.by_entry and y.ndim == 2 else None
    if given.ndim != 1 and given.shape != entries:
        forms = "(n,)" if entries is None else f"(n,) or {entries}, the shape of y,"
        raise ValueError(f"{name} must have shape {forms} for loss {loss.name!r}, got {given.shape}")
    check_length(name, given, n)
    _check_weights(name, given)
    return given.astype(np.float64)


def _position(chosen):
    """Of the first one that is True, for messages."""
    at = [int(i) for i in np.unravel_index(np.argmax(chosen), chosen.shape)]
    return f"position {at[0]}" if len(at) == 1 else f"row {at[0]}, column {at[1]}"


def _check_weights(name, values):
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ValueError(f"{name} must hold finite numbers >= 0, got {values[bad][0]!s} at {_position(bad)}")


def has_labels(y, loss):
    """Whether each entry of y is a label of its own: several columns of two classes, not one-hot."""
    return y.ndim == 2 and y.shape[1] > 1 and loss.traits.counts and loss.traits.by_entry and not is_one_hot(y)


def _label_weights(class_weight, y, counted):
    """The weights of labels y (n, K), 0 or -1 and 1, or NaN: for "balanced" n / (2 n_1) of the ones and n / (2 n_0) of
    the others of each column, counted by these weights, and 1 where one of both does not occur; an array (K,) has those
    of the ones."""
    if not (np.isin(y, (-1, 0, 1)) | (y != y)).all():
        raise ValueError("class_weight needs classes as y, got probabilities")
    ones = y == 1
    if not isinstance(class_weight, str):
        if isinstance(class_weight, dict):
            raise ValueError(
                f'class_weight must be "balanced" or an array ({y.shape[1]},), the weights of the ones of each column, '
                f"for y of several labels, got {class_weight!r}"
            )
        return np.where(ones, class_weights(class_weight, None, y.shape[1]), 1.0)
    if class_weight != "balanced":
        raise ValueError(f'class_weight must be "balanced" or an array ({y.shape[1]},), got {class_weight!r}')
    of_ones, of_all = (counted * ones).sum(axis=0), (counted * np.ones(y.shape)).sum(axis=0)
    both = (of_ones > 0) & (of_ones < of_all)
    per_one, per_other = (
        np.where(both, of_all / (2 * np.where(both, count, 1.0)), 1.0) for count in (of_ones, of_all - of_ones)
    )
    return np.where(ones, per_one, per_other)


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
        return balanced(counted(np.zeros(n_classes), labels, sample_weight))
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
    return each.astype(np.float64)


def counted(counts, labels, sample_weight=None):
    """Add rows with these labels to the counts of classes (K,), in float64 and in row order; sample_weight (n,): by
    it. -> counts"""
    for part in parts(len(labels)):
        np.add.at(counts, labels[part], 1.0 if sample_weight is None else sample_weight[part])
    return counts


def summed(weights, so_far=0.0):
    """so_far and the weights (n,) of more rows, added in float64 and in row order, as the core does."""
    for part in parts(len(weights)):
        so_far = float(np.cumsum(np.concatenate([[so_far], weights[part]]), dtype=np.float64)[-1])
    return so_far


def parts(n):
    """Of n rows, of which temporary arrays stay small."""
    return (slice(i, i + ROWS_AT_ONCE) for i in range(0, n, ROWS_AT_ONCE))


def balanced(counts):
    """The weights (K,) of classes with counts (K,) of rows: King and Zeng (2001), as in scikit-learn."""
    present = counts > 0
    if not present.any():
        return np.zeros(len(counts))
    return counts.sum() / (present.sum() * np.where(present, counts, np.inf))
