"""y, class numbers or numbers for each output, checked and converted to the forms that are used.

y: with the values and dtype that were given, for functions that users give (metrics, Custom losses). With one column
    (n,) becomes (n, 1), like yhat; otherwise y (n,), of class numbers or for a Custom loss, stays (n,).
labels (n,) or targets (n, n_out), or as many columns as loss.y_columns says: for the losses of the core and the rest
    of mlpfast. A Custom loss has neither.

All three are private copies, which no other thread can change; one array may serve as two of them.
"""

from inspect import signature

import numpy as np

from ._core import Y_DISTRIBUTIONS, Y_NOT_NEGATIVE, Y_PROBABILITIES, Y_SIGNS


def forms_of(y, network, loss, name="y", keep=True):
    """(y, labels, targets), None for those that do not exist, and for y unless `keep`."""
    if keep or y.ndim == 1 or y.dtype == network.dtype:  # otherwise the targets are a copy anyway
        y = np.array(y, order="C")
    if y.ndim == 1 and loss.y_columns(network.n_out) == 1:
        y = y.reshape(-1, 1)
    labels, targets = (None, None) if loss.traits.is_custom else _of_the_core(y, network, loss, name)
    if y.ndim > 2:
        raise ValueError(f"{name} must have shape (n,) or (n, k) for a Custom loss, got {y.shape}")
    return y if keep else None, labels, targets


def _of_the_core(y, network, loss, name):
    if y.ndim == 1 and by_class(loss, network):
        into_rows = loss.traits.one_hot
        hint = f"; {loss.name!r} of numbers needs shape (n, {network.n_out})" if into_rows else for_numbers(loss)
        labels = class_labels(y, network.n_out, name, hint)
        return (None, _rows_of(labels, network)) if into_rows else (labels, None)
    return None, target_matrix(y, network, loss, name)


def for_numbers(loss):
    """The end of a message, since a regression may have forgotten the loss."""
    is_default = loss.name == "cross_entropy"
    return "; 'cross_entropy' is the default loss of Trainer, for numbers: 'half_squared_error'" if is_default else ""


def class_labels(y, n_classes, name="y", hint=""):
    """y (n,), a private copy, as int32; ValueError unless all are whole numbers in 0 .. n_classes - 1."""
    if y.dtype.kind == "f":
        bad = ~(np.isfinite(y) & (y == np.floor(y)))
        if bad.any():
            at = int(np.argmax(bad))
            raise ValueError(f"{name} must hold whole class numbers, got {y[at]!s} at position {at}{hint}")
    bad = (y < 0) | (y >= n_classes)
    if bad.any():
        at = int(np.argmax(bad))
        if y.min() == 1 and y.max() == n_classes:
            hint = ": they count from 1, and y - 1 from 0"
        raise ValueError(
            f"{name} must hold class numbers from 0 to {n_classes - 1} (the network has {n_classes} outputs), "
            f"got {y[at]!s} at position {at}{hint}"
        )
    return y.astype(np.int32, copy=False)


def _rows_of(labels, network):
    rows = np.zeros((len(labels), network.n_out), network.dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def target_matrix(y, network, loss, name="y"):
    """y (n, columns) in the network's dtype, checked, with two classes as the core takes them. NaN stays where the loss
    ignores it."""
    columns = loss.y_columns(network.n_out)
    if y.ndim != 2 or y.shape[1] != columns:
        forms = f"(n, {columns})"
        if by_class(loss, network):
            forms = f"(n,) with class numbers, or {forms}"
        elif columns == 1:
            forms = f"(n,) or {forms}"
        flat = by_class(loss, network) and y.shape[1:] == (1,)
        hint = f": numpy.ravel({name.split()[-1]}) is (n,)" if flat else ""
        raise ValueError(f"{name} must have shape {forms} for loss {loss.name!r}, got {y.shape}{hint}")
    targets = np.asarray(y, network.dtype, order="C")  # too large for float32 becomes infinity, which is refused next
    if not loss.parts:
        targets = _checked_columns(targets, y, loss, network.n_out, name)
        if loss.traits.joins:
            # Their order is all that counts, and float32 keeps that of ranks.
            targets = np.array(targets)
            targets[:, 0] = np.unique(y[:, 0], return_inverse=True)[1].reshape(-1)
        return targets
    targets = np.array(targets)
    for part, own in loss.columns():
        targets[:, own] = _checked_columns(targets[:, own], y[:, own], part.loss, part.n, name, part.by_class,
                                           own.start)
    return targets


def _checked_columns(targets, given, loss, n_out, name, by_class=False, first=0):
    """Some columns of targets, checked and converted; given: the same as they were. first: the number of the first.
    by_class: it holds class numbers, from 0 to n_out - 1."""
    if by_class:
        needs = f"class numbers from 0 to {n_out - 1}"
        bad = ~((targets >= 0) & (targets < n_out) & (targets == np.floor(targets)))
    else:
        needs, bad = _out_of_range(targets, loss)
    unknown = np.isnan(targets)
    if loss.missing == "ignore":
        bad &= ~unknown
    if bad.any():
        i, j = (int(index) for index in np.unravel_index(np.argmax(bad), bad.shape))
        hint = "" if by_class or unknown[i, j] else for_numbers(loss)
        if unknown[i, j] and "missing" in signature(type(loss)).parameters:
            own = [f"{name}={getattr(loss, name)!r}" for name in loss.parameters]
            hint = f"; losses.{type(loss).__name__}({', '.join([*own, 'missing=' + repr('ignore')])}) leaves out NaN"
        raise ValueError(f"{name} must hold {needs}, got {given[i, j]!s} in row {i}, column {first + j}{hint}")
    if by_class:
        return targets
    if loss.traits.y == Y_DISTRIBUTIONS:
        _check_rows_sum_to_one(targets, name, for_numbers(loss))
    return _two_classes(targets, loss)


def _out_of_range(targets, loss):
    """(what targets must hold, where they do not), by the trait `y` of a loss."""
    y, bad = loss.traits.y, ~np.isfinite(targets)
    if loss.traits.joins:
        bad[:, 1] |= (targets[:, 1] != 0) & (targets[:, 1] != 1)
        return "times that are finite, and events 0 or 1", bad
    if y == Y_SIGNS:
        low = 0 if (targets == 0).any() else -1
        return "-1 and +1, or 0 and 1", (targets != low) & (targets != 1)
    if y == Y_DISTRIBUTIONS:
        return "probabilities from 0 to 1", bad | (targets < 0) | (targets > 1)
    if y == Y_PROBABILITIES and not ((np.abs(targets) == 1) | np.isnan(targets)).all():
        return "probabilities from 0 to 1, or -1 and +1 alone", bad | (targets < 0) | (targets > 1)
    if y == Y_NOT_NEGATIVE:
        return "finite numbers >= 0", bad | (targets < 0)
    return "finite numbers", bad


def _two_classes(targets, loss):
    """Targets with two classes as the core takes them: 0 and 1 for probabilities, -1 and +1 for signs."""
    if loss.traits.y == Y_PROBABILITIES and (targets < 0).any():
        return np.maximum(targets, 0)  # NaN stays
    if loss.traits.y == Y_SIGNS and (targets == 0).any():
        return 2 * targets - 1
    return targets


def by_class(loss, network):
    """Whether y (n,) holds class numbers."""
    return network.n_out > 1 and (loss.traits.by_class or loss.traits.one_hot)


def is_one_hot(rows):
    """Whether each of the rows (n, K) holds a single 1, and the others are all 0, or all -1."""
    upper, others = rows == 1, rows.size - len(rows)
    if np.count_nonzero(upper) != len(rows) or not upper.any(axis=1).all():
        return False
    return others in (np.count_nonzero(rows == 0), np.count_nonzero(rows == -1))


def classes(y, network, loss, wanted_by):
    """The class of each example (n,): class numbers as they are, of one-hot rows (n, K) the position of the 1, of
    probabilities of a cross entropy that of the largest, of one column with two classes 0 for the lower and 1 for the
    upper one."""
    if y.ndim == 1:
        return class_labels(y, network.n_out, f"for {wanted_by} y")
    if loss.traits.y == Y_DISTRIBUTIONS:
        return y.argmax(axis=1)
    if loss.traits.y == Y_PROBABILITIES and y.shape[1] == 1:
        return (y[:, 0] > 0.5).astype(np.int64)
    if y.shape[1] == 1 and ((y == 1) | (y == (0 if (y == 0).any() else -1))).all():
        return (y[:, 0] == 1).astype(np.int64)
    if y.shape[1] > 1 and is_one_hot(y):
        return y.argmax(axis=1)
    raise ValueError(
        f"{wanted_by} needs classes as y: class numbers, one-hot rows, or one column of two classes (0 or -1, and 1), "
        f"got other targets of shape {y.shape} for {loss.name!r}"
    )


def _check_rows_sum_to_one(targets, name, hint):
    sums = targets.sum(axis=1, dtype=np.float64)
    bad = np.abs(sums - 1) > 1e-3  # more than the rounding errors of thousands of classes in float32
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"{name} must have rows that sum to 1 (one-hot or probabilities), row {i} sums to {sums[i]:.6g}{hint}"
        )
