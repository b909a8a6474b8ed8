"""Metrics from the targets y and the predictions yhat = a_L (n, K), in float64.

    accuracy    fraction of rows whose largest output is the class           class numbers or rows of K >= 2
                fraction of a row's labels that are right, with outputs      rows of 0 and 1, or of -1 and 1, that are
                classified at 1/2, or at 0 if y contains -1                  not one-hot; one output
    exact_match fraction of rows whose labels are all right                  as for accuracy
    top_3, ...  fraction of rows whose class is among the 3 largest          class numbers or rows of K >= 2
    mae         mean of |yhat - y|                                           numbers of yhat's shape
    mse         mean of (yhat - y)^2                                         numbers of yhat's shape
    r2          1 - sum (yhat - y)^2 / sum (y - mean y)^2, mean over the K   numbers of yhat's shape

The names are for Trainer.fit and evaluate; TopK(3) is "top_3". Of equal outputs the first counts as larger. A row with
NaN among its outputs is never right. y is one-hot if each row has a single 1, and 0 or -1 elsewhere, in all data of a
call of fit, validation data included.

For cross_entropy, binary_cross_entropy, hinge and perceptron, fit and evaluate always give "accuracy", and if rows are
not one-hot also "exact_match"; binary_cross_entropy classifies y at 1/2, and logits at 0.

A function (y, yhat) -> number is a metric too. Its name is its attribute `name` or its __name__, which must differ from
built-in names in the logs ("loss", "lr", "val_...") and of metrics. y has the values and dtype as given, in the order
of the rows: (n,) for class numbers, or if a Custom loss with several outputs was given one dimension, else (n, K). yhat
(n, n_out) has the network's dtype.

For losses of several parts (PerOutput, several quantiles) the names are computed for each part that they go with, and
its number, from 0, is added: "accuracy[0]", "mae[1]". Of gaussian_nll the means count, in accuracy and exact_match
logits at 0.

Metrics are means over the rows, weighted by sample_weight and class_weight if given; with weights of the entries of y,
and for y that is missing, by these, and a function is given the weights of the rows (n,). A function with a parameter
sample_weight, like scikit-learn's, is called with the weights (n,); with weights, other functions are refused.
"""

from __future__ import annotations

import inspect
import numbers
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._attributes import Closed
from ._core import Y_DISTRIBUTIONS, Y_PROBABILITIES
from ._fpmode import CallersTurn, SilentErrors, in_default_mode
from ._monitor import is_ours as is_own_name
from ._nearest import did_you_mean
from ._scalars import whole_number
from ._targets import is_one_hot

__all__ = ["TopK", "accuracy", "exact_match", "mae", "mse", "r2"]

if TYPE_CHECKING:
    from ._core import Data
    from ._types import Array, ArrayLike, Metrics
    from .losses import Loss
    from .network import Network

# All metrics of this file have the parameters y, yhat, sample_weight=None.


@in_default_mode
def accuracy(y: ArrayLike, yhat: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Fraction of rows whose largest output is the class. With one output, or if y are rows (n, K) of 0 and 1, or of -1
    and 1, that are not one-hot: fraction of labels on the right side of the middle between the two.

    y: class numbers (n,), or rows (n, K).
    yhat: (n, K), or (n,) of one output.
    sample_weight: (n,), or for labels of their own (n, K).

    ValueError for y that does not fit.

    >>> from mlpfast import metrics
    >>> metrics.accuracy([2, 0, 1], [[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.5, 0.3, 0.2]])
    0.6666666666666666
    >>> metrics.accuracy([[1, 0], [1, 1]], [[0.9, 0.2], [0.8, 0.4]])  # three labels of four
    0.75
    """
    return Share("accuracy", _lower_class("accuracy", [y], _width(yhat)))(y, yhat, sample_weight)


@in_default_mode
def exact_match(y: ArrayLike, yhat: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Fraction of rows whose labels are all right: with one label per row, the same as accuracy.

    y, yhat, sample_weight, shapes and ValueError: as for accuracy.

    >>> from mlpfast import metrics
    >>> metrics.exact_match([[1, 0], [1, 1]], [[0.9, 0.2], [0.8, 0.4]])  # the first row of two
    0.5
    """
    return Share("exact_match", _lower_class("exact_match", [y], _width(yhat)))(y, yhat, sample_weight)


class Share:
    """accuracy or exact_match for data whose form of labels is known.

    low: None if the largest output is the class. Otherwise each output is one of two classes, of which the lower is
    `low`, 0 or -1.
    """

    name: str
    low: int | None

    def __init__(self, name: str, low: int | None) -> None:
        self.name, self.low = name, low

    def __call__(self, y: Any, yhat: Any, sample_weight: Any = None) -> float:
        if self.low is None:
            return _share_among_largest(self.name, y, yhat, 1, sample_weight)
        y, yhat = _numbers(self.name, y, yhat)
        middle, counts = (self.low + 1) / 2, np.ones(y.shape)
        if _of_entries(sample_weight):
            counts, sample_weight = np.asarray(sample_weight, np.float64), np.mean(sample_weight, axis=1)
        right = np.where(counts > 0, ((yhat > middle) == (y > middle)) * counts, 0).sum(axis=1)
        wanted = counts.sum(axis=1)
        right = np.divide(right, wanted, out=np.zeros(len(y)), where=wanted > 0)
        right[(np.isnan(yhat) & (counts > 0)).any(axis=1)] = 0
        return _mean(right == 1 if self.name == "exact_match" else right, sample_weight)


def _lower_class(name, ys, n_out):
    """The `low` of Share for all of these y together."""
    if n_out == 1:
        return min(_lower_of_two(name, y) for y in ys)
    rows = [y for y in map(np.asarray, ys) if y.ndim == 2]
    lows = [-1 if (y == -1).any() else 0 for y in rows]
    two = all((np.isin(y, (low, 1)) | (y != y)).all() for y, low in zip(rows, lows, strict=True))
    if not two or all(map(is_one_hot, rows)):
        return None
    if len(rows) < len(ys):
        raise ValueError(f"metrics: {name!r} needs one form of y for all data, {_MIXED}")
    return min(lows)


_MIXED = "got class numbers and rows (n, K) that are not one-hot"


def _lower_of_two(name, y):
    """0 or -1, the class of y (n,) or (n, 1) other than 1; 0 if all are 1."""
    low = -1 if (np.asarray(y) == -1).any() else 0
    if np.size(y) != len(y) or not (np.isin(y, (low, 1)) | (np.asarray(y) != y)).all():
        raise ValueError(f"metrics: {name!r} needs classes as y, with one output 0 and 1, or -1 and 1")
    return low


class TopK(Closed):
    """Fraction of rows whose class is among the k largest outputs.

    k >= 1, else ValueError or TypeError. It is called with (y, yhat), as accuracy is, of K >= k classes.

    >>> from mlpfast import metrics
    >>> top_2 = metrics.TopK(2)
    >>> top_2([2, 0, 1], [[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.5, 0.3, 0.2]])
    1.0
    >>> top_2.name
    'top_2'
    """

    k: int
    name: str

    def __init__(self, k: int) -> None:
        self.k = whole_number("k", k, least=1)
        self.name = f"top_{self.k}"

    @in_default_mode
    def __call__(self, y: ArrayLike, yhat: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        return _share_among_largest(self.name, y, yhat, self.k, sample_weight)

    def __repr__(self) -> str:
        return f"TopK({self.k})"


@in_default_mode
def mae(y: ArrayLike, yhat: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Mean of |yhat - y|.

    y, yhat: (n,) or (n, K).
    sample_weight: (n,), or (n, K) of the entries.

    ValueError for other shapes.

    >>> from mlpfast import metrics
    >>> metrics.mae([1.0, 2.0], [1.5, 4.0])
    1.25
    """
    y, yhat = _numbers("mae", y, yhat)
    return _mean_of_entries(np.abs(yhat - y), sample_weight)


@in_default_mode
def mse(y: ArrayLike, yhat: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Mean of (yhat - y)^2.

    y, yhat, sample_weight, shapes and ValueError: as for mae.

    >>> from mlpfast import metrics
    >>> metrics.mse([1.0, 2.0], [1.5, 4.0])
    2.125
    """
    y, yhat = _numbers("mse", y, yhat)
    return _mean_of_entries(np.square(yhat - y), sample_weight)


@in_default_mode
def r2(y: ArrayLike, yhat: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Mean over the columns of 1 - sum (yhat - y)^2 / sum (y - mean y)^2.

    For a column with constant y it is 1 if predicted exactly, else 0; columns without weight do not count.

    y, yhat, sample_weight, shapes and ValueError: as for mae.

    >>> from mlpfast import metrics
    >>> metrics.r2([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    return _r2_of(_r2_sums(y, yhat, sample_weight))


class _Columns(NamedTuple):
    """Sums over rows, for each column (K,): of weights w and w (yhat - y)^2, the mean of y, the sum of w (y - mean)^2,
    and the least and the greatest y with weight."""

    weight: Any
    missed: Any
    mean: Any
    total: Any
    least: Any
    most: Any
    by_entry: bool  # whether columns without weight do not count


def _r2_sums(y, yhat, sample_weight):
    y, yhat = _numbers("r2", y, yhat)
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    w, by_entry = w if w.ndim == 2 else w[:, None], _of_entries(sample_weight)
    if by_entry:
        y, yhat = np.where(w > 0, y, 0), np.where(w > 0, yhat, 0)
    weight = w.sum(axis=0)
    with SilentErrors():
        mean = (w * y).sum(axis=0) / weight
        total = (w * np.square(y - mean)).sum(axis=0)
    least, most = np.where(w > 0, y, np.inf).min(axis=0), np.where(w > 0, y, -np.inf).max(axis=0)
    return _Columns(weight, (w * np.square(yhat - y)).sum(axis=0), mean, total, least, most, by_entry)


def _r2_joined(a, b):
    """Chan, Golub and LeVeque (1983)."""
    weight = a.weight + b.weight
    with SilentErrors():
        away, share = np.where(a.weight > 0, b.mean - a.mean, 0), np.where(weight > 0, b.weight / weight, 0)
        mean = np.where(b.weight > 0, np.where(a.weight > 0, a.mean + away * share, b.mean), a.mean)
        totals = [np.where(part.weight > 0, part.total, 0) for part in (a, b)]
        between = np.where(b.weight > 0, np.square(away) * a.weight * share, 0)
    return _Columns(weight, a.missed + b.missed, mean, sum(totals) + between, np.minimum(a.least, b.least),
                    np.maximum(a.most, b.most), a.by_entry)


def _r2_of(sums):
    if sums.by_entry:
        there = sums.weight > 0
        sums = _Columns(*[True if part is True else part[there] for part in sums])
    # Compared exactly, since `total` may be a rounding error.
    constant = sums.least == sums.most
    share = 1 - sums.missed / np.where(constant, 1, sums.total)
    return float(np.where(constant, sums.missed == 0, share).mean())


# ---- Many rows, some at a time: sums of some rows, which are joined in their order ----


def sums(metric: Any, y: Array, yhat: Array, sample_weight: Array | None) -> Any:
    """Of a named metric: of r2 its _Columns; of all others, which are means, (mean, sum of the weights)."""
    own = metric.metric if isinstance(metric, OfPart) else metric
    if own is r2:
        if isinstance(metric, OfPart):
            y, yhat, sample_weight = metric.arguments(y, yhat, sample_weight)
        return _r2_sums(y, yhat, sample_weight)
    value = metric(y, yhat) if sample_weight is None else metric(y, yhat, sample_weight=sample_weight)
    if isinstance(metric, OfPart):
        sample_weight = metric.arguments(y, yhat, sample_weight)[2]
    return value, float(len(yhat)) if sample_weight is None else float(np.sum(sample_weight, dtype=np.float64))


def joined(before: Any, after: Any) -> Any:
    """The sums of all rows of both; before may be None."""
    if before is None:
        return after
    if isinstance(after, _Columns):
        return _r2_joined(before, after)
    (value, weight), (other, more) = before, after
    if not (weight and more):
        return before if weight else after
    return (value * weight + other * more) / (weight + more), weight + more


def result(sums: Any) -> float:
    """The metric of these sums."""
    return _r2_of(sums) if isinstance(sums, _Columns) else float(sums[0])


BY_NAME = {"accuracy": accuracy, "mae": mae, "mse": mse, "r2": r2, "exact_match": exact_match}
SHARES = ("accuracy", "exact_match")


def checked(metrics: Metrics) -> dict[str, Any]:
    """{name: function of (y, yhat)} from a name or function, or several."""
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    try:
        functions = [_one(metric) for metric in metrics]
    except TypeError:
        if hasattr(metrics, "__iter__"):
            raise
        raise TypeError(f"metrics must be names or functions of (y, yhat), got {metrics!r}") from None
    for function in functions:
        if not is_ours(function) and is_own_name(name := _name_of(function)):
            raise ValueError(
                f"metrics: {name!r} is, or looks like, a name of the library's own, got it as that of a function: "
                "give it another __name__, or an attribute `name`"
            )
    named = {_name_of(function): function for function in functions}
    if len(named) < len(functions):
        raise ValueError(f"metrics must have different names, got {', '.join(map(_name_of, functions))}")
    return named


class OfPart:
    """A named metric of some outputs and the columns of y that they predict, as Loss.measured has them."""

    part: Any
    by_class: bool
    logits: bool
    metric: Any

    def __init__(self, name: str, metric: Any, part: Any, ys: list[Array]) -> None:
        self.part, self.by_class = part, part.loss.traits.y == Y_DISTRIBUTIONS and part.suffix
        self.logits = part.loss.traits.y == Y_PROBABILITIES and part.output.name == "identity"
        ys = [self.y_of(y) for y in ys]
        width = 2 if self.by_class else ys[0].shape[1]
        self.metric = Share(name, _lower_class(name, ys, width)) if name in SHARES else metric

    def y_of(self, y: Array) -> Array:
        y = y[:, self.part.columns]
        return y[:, 0] if self.by_class else y

    def __call__(self, y: Array, yhat: Array, sample_weight: Array | None = None) -> float:
        return self.metric(*self.arguments(y, yhat, sample_weight))

    def arguments(self, y: Array, yhat: Array, sample_weight: Any) -> tuple[Any, ...]:
        """The part's own."""
        yhat = yhat[:, self.part.outputs]
        if self.logits:  # 0 is the middle between the classes
            yhat = np.where(np.isnan(yhat), np.nan, yhat > 0)
        if _of_entries(sample_weight):
            sample_weight = sample_weight[:, self.part.columns]
            sample_weight = sample_weight[:, 0] if self.by_class else sample_weight
        return self.y_of(y), yhat, sample_weight


def _goes_with(name, loss):
    """Whether a named metric goes with the loss of a part: of classes, or of numbers."""
    of_classes = name in SHARES or name.startswith("top_")
    if name.startswith("top_"):
        return loss.traits.y == Y_DISTRIBUTIONS
    return of_classes == loss.traits.counts


def for_outputs(metrics: dict[str, Any], given: list[Data], network: Network, loss: Loss) -> dict[str, Any]:
    """Checked metrics for the network's outputs and the loss: named ones for each part, and accuracy and exact_match
    adapted to the labels of all data given."""
    n_out, ys = network.n_out, [data.truth for data in given]
    ours = {name: metric for name, metric in metrics.items() if is_ours(metric)}
    if not loss.traits.own_y:
        shares = [name for name in SHARES if ours.get(name) is BY_NAME[name]]
        return {**metrics, **{name: Share(name, _lower_class(name, ys, n_out)) for name in shares}}
    parts, chosen = loss.measured(network.layers[-1]._unit, n_out), {}
    for name, metric in metrics.items():
        if name not in ours:
            chosen[name] = metric
            continue
        fitting = [part for part in parts if _goes_with(name, part.loss)]
        if not fitting:
            raise ValueError(f"metrics: {name!r} goes with no output of {loss!r}")
        chosen.update({name + part.suffix: OfPart(name, metric, part, ys) for part in fitting})
    return chosen


def counted(metrics: dict[str, Any], given: list[Data], loss: Loss) -> list[str]:
    """Names of the metrics that the core counts for a loss with classes, requested or not. Sets one_hot of all data:
    all or none of their rows are."""
    rows = [data.targets for data in given if data.targets is not None and data.targets.shape[1] > 1]
    of_labels = any(data.entries is not None and data.entries.shape[1] > 1 for data in given)
    one_label = loss.traits.y == Y_DISTRIBUTIONS or (all(map(is_one_hot, rows)) and not of_labels)
    if not one_label and any(data.labels is not None for data in given):
        raise ValueError(f"y and the y of the validation must have one form, {_MIXED}")
    for data in given:
        data.one_hot = one_label and data.targets is not None and data.targets.shape[1] > 1
    return [name for name in SHARES if name == "accuracy" or not one_label or metrics.get(name) is BY_NAME[name]]


def computable(metrics: dict[str, Any], data: Data) -> dict[str, Any]:
    """The metrics that can be computed on data: if it has weights, those that accept them."""
    return {name: f for name, f in metrics.items() if data.weights is None or is_ours(f) or _takes_weights(f)}


def check_fit(metrics: dict[str, Any], data: Data, n_out: int) -> None:
    """Errors for metrics that cannot be computed on data, before any predictions are made."""
    for name, function in metrics.items():
        if is_ours(function):
            y = data.truth
            if isinstance(function, (TopK, Share)) and y.ndim == 1:
                _classes(name, y, n_out)  # checks all rows, the call below only the first
            if not np.isnan(y[:1]).any():  # missing
                function(y[:1], np.zeros((1, n_out)))
            continue
        if data.weights is not None and not _takes_weights(function):
            ours = f"{', '.join(BY_NAME)}, top_k and functions with a parameter sample_weight"
            missing = data.entries is not None and np.isnan(data.truth).any()
            what = "y with missing entries goes" if missing else "sample_weight and class_weight go"
            raise ValueError(f"metrics: {what} with {ours}, got {name!r} without one")
        _check_call(name, function, data)


def named_and_own(metrics: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """({name: function} of the library's, {name: function} of the caller's, which need all rows together)"""
    named = {name: function for name, function in metrics.items() if is_ours(function)}
    return named, {name: function for name, function in metrics.items() if name not in named}


def values(own: dict[str, Any], data: Data, yhat: Array) -> dict[str, float]:
    """{name: number} of functions of the caller's; the last one gets yhat itself."""
    results, last = {}, list(own)[-1:]
    for name, function in own.items():
        weights = {} if data.weights is None else {"sample_weight": data.weights.copy()}
        with CallersTurn():  # copies, since it may keep or change its arguments
            result = function(data.y.copy(), yhat if [name] == last else yhat.copy(), **weights)
        if not isinstance(result, numbers.Real) and not (isinstance(result, np.ndarray) and result.shape == ()):
            raise TypeError(f"metrics: {name!r} must return a number, got {result!r}")
        results[name] = float(result)
    return results


def _one(metric):
    if callable(metric) and not isinstance(metric, type):
        return metric
    if isinstance(metric, str) and metric.startswith("top_") and metric[4:].isdecimal():
        return TopK(int(metric[4:]))
    if isinstance(metric, str) and metric not in BY_NAME:
        hint = did_you_mean(metric, BY_NAME)
        raise ValueError(
            f"metrics must be one of {', '.join(BY_NAME)}, top_1, top_2, ..., or a function of (y, yhat), got "
            f"{metric!r}{hint}"
        )
    if not isinstance(metric, str):
        raise TypeError(f"metrics must be names or functions of (y, yhat), got {metric!r}")
    return BY_NAME[metric]


def _name_of(function):
    name = getattr(function, "name", None)
    return name if name and isinstance(name, str) else getattr(function, "__name__", type(function).__name__)


def need_y(metrics: dict[str, Any]) -> bool:
    """Whether a metric is a user's function, which is called with y as given."""
    return not all(map(is_ours, metrics.values()))


def is_ours(function: object) -> bool:
    return isinstance(function, (TopK, Share, OfPart)) or any(function is ours for ours in BY_NAME.values())


def _signature(function):
    """The signature, of a wrapper its own; None if unavailable, as for some functions written in C."""
    try:
        return inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _takes_weights(function):
    signature = _signature(function)
    parameter = None if signature is None else signature.parameters.get("sample_weight")
    return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def _check_call(name, function, data):
    """ValueError if its signature does not accept the arguments that it will be called with."""
    signature = _signature(function)
    if signature is None:
        return
    try:
        signature.bind(None, None, **({} if data.weights is None else {"sample_weight": None}))
    except TypeError:
        arguments = "(y, yhat)" if data.weights is None else "(y, yhat, sample_weight=w)"
        raise ValueError(f"metrics: {name!r} will be called with {arguments}, got {name}{signature}") from None


def _width(yhat):
    return np.shape(yhat)[1] if np.ndim(yhat) == 2 else 1


def _of_entries(sample_weight):
    """Whether these are weights of the entries of y (n, K)."""
    return sample_weight is not None and np.ndim(sample_weight) == 2


def _mean(rows, sample_weight):
    """Of numbers of the rows (n,)."""
    weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    if weights is not None and weights.ndim == 2:
        weights = weights.mean(axis=1)
    if weights is not None and not weights.any():
        return float("nan")
    return float(np.average(rows, weights=weights))


def _mean_of_entries(entries, sample_weight):
    """Of numbers (n, K)."""
    if not _of_entries(sample_weight):
        return _mean(entries.mean(axis=1), sample_weight)
    weights = np.asarray(sample_weight, np.float64)
    total = weights.sum()
    return float(np.where(weights > 0, weights * entries, 0).sum() / total) if total else float("nan")


def _numbers(name, y, yhat):
    """y and yhat as float64 (n, K)."""
    y, yhat = np.asarray(y, np.float64), np.asarray(yhat, np.float64)
    if y.size != yhat.size or len(y) != len(yhat):
        shapes = [("n", *array.shape[1:]) for array in (yhat, y)]
        needed, got = (f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})" for shape in shapes)
        raise ValueError(f"metrics: {name!r} needs numbers of shape {needed} as y, got shape {got}")
    return y.reshape(len(y), -1), yhat.reshape(len(y), -1)


def _share_among_largest(name, y, yhat, k, sample_weight):
    yhat, n_out = np.asarray(yhat), _width(yhat)
    if n_out < 2 or k > n_out:
        raise ValueError(f"metrics: {name!r} needs at least {max(k, 2)} outputs, got {n_out}")
    classes = _classes(name, np.asarray(y), n_out)[:, None]
    own = np.take_along_axis(yhat, classes, axis=1)
    ahead = (yhat > own) | ((yhat == own) & (np.arange(n_out) < classes))
    return _mean((ahead.sum(axis=1) < k) & ~np.isnan(yhat).any(axis=1), sample_weight)


def _classes(name, y, n_out):
    """The class of each row, from class numbers (n,) or rows (n, n_out)."""
    if y.ndim == 2 and y.shape[1] == n_out:
        return y.argmax(axis=1)
    if y.ndim != 1 or not ((y >= 0) & (y < n_out) & (y == np.floor(y))).all():
        raise ValueError(
            f"metrics: {name!r} needs class numbers from 0 to {n_out - 1} or rows of shape (n, {n_out}) as y, got "
            + ("other numbers" if y.ndim == 1 else f"shape {y.shape}")
        )
    return y.astype(np.int64)
