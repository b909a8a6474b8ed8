"""The examples that fit trains on, and those that it validates with: given apart, or held out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._arrays import is_large_table, number_array
from ._examples import examples, selected
from ._reading import Subset
from ._scalars import flag, real_number
from ._streams import Stream, in_place, is_source
from ._targets import classes, forms_of
from ._weights import counted, has_labels, parts
from ._weights import weights as checked_weights
from .data.arrays import ArraySource

if TYPE_CHECKING:
    from ._core import Data

HOLD_OUT = 2**56 - 1  # the largest epoch number of the shuffle's streams, so that no epoch uses the same one


def training_and_validation(trainer, X, y, weights, validation_data, validation_split, stratify, keep_y):
    """(Data to train on, Data to validate with or None), from arguments of fit. weights: its sample_weight and
    class_weight."""
    network, loss = trainer.network, trainer.loss
    if is_source(X):
        refuse_besides(y, weights["sample_weight"])
    elif trainer.batch_size is not None and in_parts(trainer, X, y, **weights):
        X = ArraySource(X, y, weights["sample_weight"])
    if is_source(X):
        if not in_place(X):
            return _of_source(trainer, X, weights["class_weight"], validation_data, validation_split, stratify, keep_y)
        X, y, sample_weight = arrays_in_place(X)
        weights = {**weights, "sample_weight": sample_weight}
    if weights["sample_weight"] is not None:  # converted once: it may be read again below
        weights = {**weights, "sample_weight": number_array("sample_weight", weights["sample_weight"])}
    data = examples(X, y, network, loss, **weights, keep_y=keep_y)
    if validation_split is None:
        if flag("stratify", stratify):
            raise ValueError("stratify=True needs validation_split, got None")
        return data, _validation(trainer, validation_data, keep_y)
    if validation_data is not None:
        raise ValueError("validation_split needs validation_data=None, got both")
    share = real_number("validation_split", validation_split, above=0, below=1)
    return hold_out(data, share, flag("stratify", stratify), network, loss, trainer.seed, **weights)


def in_parts(trainer, X, y, sample_weight=None, class_weight=None):
    """Whether X is a large table, of which an ArraySource copies some rows at a time, with the same bits. What is wrong
    with the arguments is found before the training, as with arrays."""
    network, loss = trainer.network, trainer.loss
    if not is_large_table(X) or X.shape[1] != network.n_in or loss.traits.joins:
        return False
    source = ArraySource(X, y, sample_weight)
    if source.y is None or source.y.ndim == 0:
        return False
    given, labels, targets = forms_of(source.y, network, loss)
    truth = next(form for form in (labels, targets, given) if form is not None)
    if class_weight is not None and has_labels(truth, loss):
        return False
    checked_weights(source.sample_weight, class_weight, truth, network, loss, source.n)
    source.check()
    return True


def arrays_in_place(source):
    """(X, y, sample_weight)"""
    if source.y is None:
        raise ValueError("y must be there for training and evaluation, got an ArraySource without: ArraySource(X, y)")
    return source.X, source.y, source.sample_weight


def _validation(trainer, validation_data: Any, keep_y) -> Data | Stream | None:
    network, loss = trainer.network, trainer.loss
    if validation_data is None:
        return None
    if isinstance(validation_data, tuple) and 2 <= len(validation_data) <= 3 and in_parts(trainer, *validation_data):
        validation_data = ArraySource(*validation_data)
    given: Any = validation_data
    if is_source(given):
        if not in_place(given):
            return Stream(given, network, loss, "validation_data", keep_y=keep_y)
        given = arrays_in_place(given)
    try:
        X, y, *weight = given
        (weight,) = weight or (None,)
    except (TypeError, ValueError):
        length = f" of length {len(validation_data)}" if hasattr(validation_data, "__len__") else ""
        got = type(validation_data).__name__ + length
        raise ValueError(
            f"validation_data must be (X, y), (X, y, sample_weight) or a source (mlpfast.data), got a {got}"
        ) from None
    names = "validation_data X", "validation_data y", "validation_data sample_weight"
    return examples(X, y, network, loss, sample_weight=weight, names=names, keep_y=keep_y)


def _of_source(trainer, source, class_weight, validation_data, validation_split, stratify, keep_y):
    """The same of a source that is not read in place: Streams."""
    network, loss = trainer.network, trainer.loss
    of_class = {"class_weight": class_weight, "keep_y": keep_y}
    if validation_split is None:
        if flag("stratify", stratify):
            raise ValueError("stratify=True needs validation_split, got None")
        return Stream(source, network, loss, **of_class), _validation(trainer, validation_data, keep_y)
    if validation_data is not None:
        raise ValueError("validation_split needs validation_data=None, got both")
    share = real_number("validation_split", validation_split, above=0, below=1)
    if not hasattr(source, "read"):
        raise ValueError(
            f"validation_split holds out single rows, which {type(source).__name__} cannot read: give "
            "validation_data, a source or arrays of its own"
        )
    groups = _one_group(source.n)
    if flag("stratify", stratify):
        groups = _groups(Stream(source, network, loss).truth(), network, loss)
    held_out = _drawn(groups, share, trainer.seed)
    training, validation = (Subset(source, np.flatnonzero(chosen)) for chosen in (~held_out, held_out))
    return Stream(training, network, loss, **of_class), Stream(validation, network, loss, "validation", keep_y=keep_y)


def refuse_besides(y, sample_weight):
    """ValueError for what a source has itself."""
    for name, given in (("y", y), ("sample_weight", sample_weight)):
        if given is not None:
            raise ValueError(f"{name} must be None with a source, which has its own, got a {type(given).__name__}")


def hold_out(data, fraction, stratify, network, loss, seed, sample_weight, class_weight):
    """(training examples, held-out examples), each in the order of the rows, sharing X; determined by the seed.

    Both keep their sample_weight. class_weight applies to the training examples only, and is balanced over them.
    """
    groups = _groups(data.truth, network, loss) if stratify else _one_group(len(data))
    held_out = _drawn(groups, fraction, seed)
    both = []
    for chosen, by_class in ((~held_out, class_weight), (held_out, None)):
        rows = np.flatnonzero(chosen)
        own = None if sample_weight is None else sample_weight[rows]
        own = checked_weights(own, by_class, data.truth[rows], network, loss, len(rows))
        both.append(selected(data, rows, network.input_scale, own))
    return tuple(both)


def _groups(y, network, loss):
    """The class of each row (n,); rows without any number in y, which a loss ignores, are a class of their own."""
    groups = classes(y, network, loss, "stratify=True")
    if y.ndim == 2 and y.dtype.kind == "f":
        unknown = np.isnan(y).all(axis=1)
        groups = np.where(unknown, groups.max() + 1, groups)
    return groups


def _one_group(n):
    """Of all rows, without memory."""
    return np.broadcast_to(np.int64(0), n)


def _drawn(groups, fraction, seed):
    """Which rows are held out, a boolean array (n,): the fraction of each group, to within one row."""
    n = len(groups)
    wanted = round(n * fraction)
    if not 0 < wanted < n:
        left = "validate with" if wanted == 0 else "train on"
        raise ValueError(f"validation_split={fraction} leaves no row of {n} to {left}")
    n_groups = int(groups.max()) + 1
    quotas = counted(np.zeros(n_groups), groups) * (wanted / n)
    counts = np.floor(quotas).astype(np.int64)
    most_missing = np.argsort(counts - quotas, kind="stable")  # the remaining rows go to the largest remainders
    counts[most_missing[: wanted - counts.sum()]] += 1
    order = np.empty(n, np.int64)
    _core.shuffle(order, seed, HOLD_OUT)
    held_out = np.zeros(n, bool)
    for part in parts(n):  # of each group the first ones in that order
        rows = order[part]
        rows = rows[np.argsort(groups[rows], kind="stable")]
        group = groups[rows]
        place = np.arange(len(rows)) - np.searchsorted(group, group)  # position within its group
        held_out[rows[place < counts[group]]] = True
        counts = np.maximum(counts - np.bincount(group, minlength=n_groups), 0)
    return held_out
