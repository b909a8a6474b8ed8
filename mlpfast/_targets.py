"""What y is: class numbers or numbers for each output, checked and brought into the form the core reads."""

import numpy as np


def class_labels(y, n_classes, name="y"):
    """y (n,) as a private int32 copy; each a whole number in 0 .. n_classes - 1."""
    y = np.array(y)  # before the checks: the caller's may change meanwhile
    if y.dtype.kind == "f":
        bad = ~(np.isfinite(y) & (y == np.floor(y)))
        if bad.any():
            at = int(np.argmax(bad))
            raise ValueError(f"{name} must hold whole class numbers, got {y[at]} at position {at}")
    bad = (y < 0) | (y >= n_classes)
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(
            f"{name} must hold class numbers from 0 to {n_classes - 1} (the network has {n_classes} outputs), "
            f"got {y[at]} at position {at}"
        )
    return y.astype(np.int32)


SIGNS = frozenset({"perceptron", "hinge"})  # their targets are -1 or +1


def target_matrix(y, network, loss, name="y"):
    """y (n,) or (n, K) as a private (n, K) copy of the network's dtype."""
    n_out = network.n_out
    if y.ndim == 1 and n_out == 1:
        y = y.reshape(-1, 1)
    if y.ndim != 2 or y.shape[1] != n_out:
        forms = f"(n, {n_out})"
        if by_class(loss, network):
            forms = f"(n,) with class numbers, or {forms}"
        elif n_out == 1:
            forms = f"(n,) or {forms}"
        raise ValueError(f"{name} must have shape {forms} for loss {loss.name!r}, got {y.shape}")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinity, which is refused next
        targets = np.array(y, network.dtype, order="C")
    needs, bad = "finite numbers", ~np.isfinite(targets)
    if loss.name == "cross_entropy":
        needs, bad = "probabilities from 0 to 1", bad | (targets < 0) | (targets > 1)
    elif loss.name == "binary_cross_entropy" and not (np.abs(targets) == 1).all():
        needs, bad = "probabilities from 0 to 1, or -1 and +1 alone", bad | (targets < 0) | (targets > 1)
    elif loss.name in SIGNS:
        low = 0 if (targets == 0).any() else -1
        needs, bad = "-1 and +1, or 0 and 1", (targets != low) & (targets != 1)
    elif loss.name == "poisson":
        needs, bad = "finite numbers >= 0", bad | (targets < 0)
    if bad.any():
        i, j = (int(index) for index in np.unravel_index(np.argmax(bad), bad.shape))
        raise ValueError(f"{name} must hold {needs}, got {y[i, j]} in row {i}, column {j}")
    if loss.name == "cross_entropy":
        _check_rows_sum_to_one(targets, name)
    return _two_classes(targets, loss)


def _two_classes(targets, loss):
    """Two classes as the core takes them, in place: 0 and 1 for the binary cross entropy, else -1 and +1."""
    if loss.name == "binary_cross_entropy" and (targets < 0).any():
        targets[targets < 0] = 0
    elif loss.name in SIGNS:
        targets[targets == 0] = -1
    return targets


def by_class(loss, network):
    """Whether y (n,) means class numbers."""
    return loss.name == "cross_entropy" or (loss.name in ("hinge", "custom") and network.n_out > 1)


def classes(labels, targets, loss, wanted_by):
    """The class of each example (n,): from class numbers; from one-hot rows (n, K) the place of the 1, from
    probabilities of a cross entropy that of the largest; from one column of two classes 1 for the upper one."""
    if labels is not None:
        return labels
    if loss.name == "cross_entropy":
        return targets.argmax(axis=1)
    upper = targets == 1
    if loss.name == "binary_cross_entropy" and targets.shape[1] == 1:
        return (targets[:, 0] > 0.5).astype(np.int64)
    low = 0 if (targets == 0).any() else -1
    if (upper | (targets == low)).all():
        if targets.shape[1] == 1:
            return upper[:, 0].astype(np.int64)
        if (upper.sum(axis=1) == 1).all():
            return upper.argmax(axis=1)
    raise ValueError(
        f"{wanted_by} needs classes as y: class numbers, one-hot rows, or one column of two classes (0 or -1, and 1), "
        f"got other targets of shape {targets.shape} for {loss.name!r}"
    )


def _check_rows_sum_to_one(targets, name):
    sums = targets.sum(axis=1, dtype=np.float64)
    bad = np.abs(sums - 1) > 1e-3  # what rounding to float32 may do to thousands of classes, and no more
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"{name} must have rows that sum to 1 (one-hot or probabilities), row {i} sums to {sums[i]:.6g}"
        )
