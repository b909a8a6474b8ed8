"""The examples that fit trains on, and those that it validates with: given apart, or held out."""

import numpy as np

from . import _core
from ._arrays import number_array
from ._core import Data
from ._examples import examples, selected
from ._reading import Subset
from ._scalars import flag, real_number
from ._streams import Stream, in_place, is_source
from ._targets import classes
from ._weights import weights

HOLD_OUT = 2**56 - 1  # the largest epoch number of the shuffle's streams, so that no epoch uses the same one


def training_and_validation(trainer, X, y, weights, validation_data, validation_split, stratify, keep_y):
    """(Data to train on, Data to validate with or None), from arguments of fit. weights: its sample_weight and
    class_weight."""
    network, loss = trainer.network, trainer.loss
    if is_source(X):
        if not in_place(X):
            return _of_source(trainer, X, y, weights, validation_data, validation_split, stratify, keep_y)
        refuse_besides(y, weights["sample_weight"])
        X, y, weights = X.X, X.y, {**weights, "sample_weight": X.sample_weight}
    if weights["sample_weight"] is not None:  # converted once: it may be read again below
        weights = {**weights, "sample_weight": number_array("sample_weight", weights["sample_weight"])}
    data = examples(X, y, network, loss, **weights, keep_y=keep_y)
    if validation_split is None:
        if flag("stratify", stratify):
            raise ValueError("stratify=True needs validation_split, got None")
        return data, _validation(validation_data, network, loss, keep_y)
    if validation_data is not None:
        raise ValueError("validation_split needs validation_data=None, got both")
    share = real_number("validation_split", validation_split, above=0, below=1)
    return hold_out(data, share, flag("stratify", stratify), network, loss, trainer.seed, **weights)


def _validation(validation_data, network, loss, keep_y) -> Data | Stream | None:
    if validation_data is None:
        return None
    if is_source(validation_data):
        if not in_place(validation_data):
            return Stream(validation_data, network, loss, "validation_data", keep_y=keep_y)
        validation_data = (validation_data.X, validation_data.y, validation_data.sample_weight)
    try:
        X, y, *weight = validation_data
        (weight,) = weight or (None,)
    except (TypeError, ValueError):
        length = f" of length {len(validation_data)}" if hasattr(validation_data, "__len__") else ""
        got = type(validation_data).__name__ + length
        raise ValueError(f"validation_data must be (X, y) or (X, y, sample_weight), got a {got}") from None
    names = "validation_data X", "validation_data y", "validation_data sample_weight"
    return examples(X, y, network, loss, sample_weight=weight, names=names, keep_y=keep_y)


def _of_source(trainer, source, y, weights, validation_data, validation_split, stratify, keep_y):
    """The same of a source that is not read in place: Streams."""
    network, loss = trainer.network, trainer.loss
    refuse_besides(y, weights["sample_weight"])
    of_class = {"class_weight": weights["class_weight"], "keep_y": keep_y}
    if validation_split is None:
        if flag("stratify", stratify):
            raise ValueError("stratify=True needs validation_split, got None")
        return Stream(source, network, loss, **of_class), _validation(validation_data, network, loss, keep_y)
    if validation_data is not None:
        raise ValueError("validation_split needs validation_data=None, got both")
    share = real_number("validation_split", validation_split, above=0, below=1)
    if not hasattr(source, "read"):
        raise ValueError(
            f"validation_split holds out single rows, which {type(source).__name__} cannot read: give "
            "validation_data, a source or arrays of its own"
        )
    groups = np.zeros(source.n, np.int64)
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
    groups = _groups(data.truth, network, loss) if stratify else np.zeros(len(data), np.int64)
    held_out = _drawn(groups, fraction, seed)
    parts = []
    for chosen, by_class in ((~held_out, class_weight), (held_out, None)):
        rows = np.flatnonzero(chosen)
        own = None if sample_weight is None else sample_weight[rows]
        own = weights(own, by_class, data.truth[rows], network, loss, len(rows))
        parts.append(selected(data, rows, network.input_scale, own))
    return tuple(parts)


def _groups(y, network, loss):
    """The class of each row (n,); rows without any number in y, which a loss ignores, are a class of their own."""
    groups = classes(y, network, loss, "stratify=True")
    if y.ndim == 2 and y.dtype.kind == "f":
        unknown = np.isnan(y).all(axis=1)
        groups = np.where(unknown, groups.max() + 1, groups)
    return groups


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
