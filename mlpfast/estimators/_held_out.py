"""The rows that early stopping holds out: those of scikit-learn's train_test_split, which for a stratified split of a
million rows would need several times their memory, since it keeps row numbers in lists."""

import math

import numpy as np
from sklearn.utils.extmath import _approximate_mode


def held_out_rows(n, fraction, strata, random_state):
    """(rows to learn from, rows held out), numbers of 0 .. n - 1. strata: the class of each row, or None."""
    n_held = math.ceil(fraction * n)
    if strata is not None and strata.dtype.kind == "i":
        counts = np.bincount(strata)
        counts = counts[counts > 0]
        if counts.min() > 1 and len(counts) <= min(n_held, n - n_held):
            return _stratified(strata, counts, n - n_held, n_held, random_state)
    from sklearn.model_selection import train_test_split

    rows = np.arange(n, dtype=np.int64)
    return train_test_split(rows, random_state=random_state, test_size=fraction, stratify=strata)


def _stratified(strata, counts, n_kept, n_held, random_state):
    """As StratifiedShuffleSplit draws them."""
    kept_of = _approximate_mode(counts, n_kept, random_state)
    held_of = _approximate_mode(counts - kept_of, n_held, random_state)
    kept, held, first = np.empty(n_kept, np.int64), np.empty(n_held, np.int64), [0, 0]
    by_class = np.argsort(strata, kind="stable")
    for rows, *numbers in zip(np.split(by_class, np.cumsum(counts)[:-1]), kept_of, held_of, strict=True):
        mixed = rows[random_state.permutation(len(rows))]
        for which, (out, number) in enumerate(zip((kept, held), numbers, strict=True)):
            out[first[which] : first[which] + number] = mixed[sum(numbers[:which]) : sum(numbers[: which + 1])]
            first[which] += number
    return random_state.permutation(kept), random_state.permutation(held)
