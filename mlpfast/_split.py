"""validation_split: which examples are held out."""

import numpy as np

from . import _core
from ._targets import classes
from ._validate import Data, weights

HOLD_OUT = 2**56 - 1  # the largest epoch number of the shuffle's streams, so that no epoch uses the same one


def part(data, rows, scale):
    """The examples of some rows: a slice, or an increasing array of row numbers. X is not copied."""
    arrays = (None if a is None else a[rows] for a in (data.labels, data.targets, data.weights, data.y))
    if data.x_rows is not None:
        return Data(data.X, scale, *arrays, data.one_hot, data.x_rows[rows])
    if isinstance(rows, slice):
        return Data(data.X[rows], scale, *arrays, data.one_hot)
    return Data(data.X, scale, *arrays, data.one_hot, rows)


def hold_out(data, fraction, stratify, network, loss, seed, sample_weight, class_weight):
    """(training examples, held-out examples), each in the order of the rows, sharing X; determined by the seed.

    Both keep their sample_weight. class_weight applies to the training examples only, and is balanced over them.
    """
    groups = classes(data.truth, network, loss, "stratify=True") if stratify else np.zeros(len(data), np.int64)
    held_out = _drawn(groups, fraction, seed)
    parts = []
    for chosen, by_class in ((~held_out, class_weight), (held_out, None)):
        rows = np.flatnonzero(chosen)
        mine = part(data, rows, network.input_scale)
        own = None if sample_weight is None else sample_weight[rows]
        own_weight = weights(own, by_class, mine.truth, network, loss, len(mine))
        y = mine.labels, mine.targets, own_weight, mine.y
        parts.append(Data(mine.X, network.input_scale, *y, x_rows=mine.x_rows))
        parts[-1].origin = data.origin
    return tuple(parts)


def _drawn(groups, fraction, seed):
    """Which rows are held out, a boolean array (n,): the fraction of each group, to within one row."""
    n = len(groups)
    wanted = round(n * fraction)
    if not 0 < wanted < n:
        left = "validate with" if wanted == 0 else "train on"
        raise ValueError(f"validation_split={fraction} leaves no row of {n} to {left}")
    quotas = np.bincount(groups) * (wanted / n)
    counts = np.floor(quotas).astype(np.int64)
    most_missing = np.argsort(counts - quotas, kind="stable")  # the remaining rows go to the largest remainders
    counts[most_missing[: wanted - counts.sum()]] += 1
    order = np.empty(n, np.int64)
    _core.shuffle(order, seed, HOLD_OUT)
    order = order[np.argsort(groups[order], kind="stable")]  # group by group, shuffled within each
    group = groups[order]
    place = np.arange(n) - np.searchsorted(group, group)  # position within its group
    held_out = np.zeros(n, bool)
    held_out[order[place < counts[group]]] = True
    return held_out
