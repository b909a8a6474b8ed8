"""Metrics beside the loss, from the targets y and the predictions yhat = a_L (n, K), in float64.

    accuracy    share of the rows whose largest output is the class          class numbers or rows of K >= 2
                with one output, parted at 1/2 or, where y holds -1, at 0    0 and 1, or -1 and 1
    top_3, ...  share of the rows whose class is among the 3 largest         class numbers or rows of K >= 2
    mae         mean of |yhat - y|                                           numbers of yhat's shape
    mse         mean of (yhat - y)^2                                         numbers of yhat's shape
    r2          1 - sum (yhat - y)^2 / sum (y - mean y)^2, mean over the K   numbers of yhat's shape

Names in Trainer.fit and evaluate; TopK(3) is "top_3". Of equal outputs the first counts as larger. For cross_entropy,
binary_cross_entropy, hinge and perceptron, fit and evaluate give "accuracy" without being asked, and in the loss's own
sense: where y are rows, of the last three the share of rows with every output on its right side, for logits that of 0.
A function of (y, yhat) -> number is a metric too, called by its `name` or else its __name__, which must not be one of
the library's own names in the logs ("loss", "lr", "val_...") or of these metrics: y is class numbers (n,) if
such were given, else (n, K) of the network's dtype. Metrics are means over the rows, weighted by sample_weight and
class_weight where there are any: a function with a parameter sample_weight, as scikit-learn's have, is given those (n,)
by that name, and one without is refused with weights.
"""

import inspect
import numbers

import numpy as np

from ._attributes import Closed
from ._core import enter_default_mode
from ._monitor import is_ours
from ._validate import whole_number

# What a metric of this file is called with: y, yhat, sample_weight=None.


def accuracy(y, yhat, sample_weight=None):
    """Share of the rows whose largest output is the class; with one output, that are on the right side of the middle of
    two classes: 1/2 for 0 and 1, 0 for -1 and 1."""
    if np.ndim(yhat) < 2 or np.shape(yhat)[1] == 1:
        return Sides(_lower_class(y))(y, yhat, sample_weight)
    return _share_among_largest("accuracy", y, yhat, 1, sample_weight)


class Sides:
    """The accuracy of one output: the share of the rows on the right side of the middle between low, 0 or -1, and 1."""

    def __init__(self, low):
        self.name, self.middle = "accuracy", (low + 1) / 2

    def __call__(self, y, yhat, sample_weight=None):
        y, yhat = _numbers("accuracy", y, yhat)
        right = (yhat > self.middle) == (y > self.middle)
        return _mean(right[:, 0] & ~np.isnan(yhat[:, 0]), sample_weight)


def _lower_class(y):
    """0 or -1, the other class than 1 of y (n,) or (n, 1); 0 where all are 1."""
    low = -1 if (np.asarray(y) == -1).any() else 0
    if np.size(y) != len(y) or not np.isin(y, (low, 1)).all():
        raise ValueError("metrics: 'accuracy' needs classes as y, with one output 0 and 1, or -1 and 1")
    return low


class TopK(Closed):
    """Share of the rows whose class is among the k largest outputs."""

    def __init__(self, k):
        self.k = whole_number("k", k, least=1)
        self.name = f"top_{self.k}"

    def __call__(self, y, yhat, sample_weight=None):
        return _share_among_largest(self.name, y, yhat, self.k, sample_weight)

    def __repr__(self):
        return f"TopK({self.k})"


def mae(y, yhat, sample_weight=None):
    """Mean of |yhat - y|."""
    y, yhat = _numbers("mae", y, yhat)
    return _mean(np.abs(yhat - y).mean(axis=1), sample_weight)


def mse(y, yhat, sample_weight=None):
    """Mean of (yhat - y)^2."""
    y, yhat = _numbers("mse", y, yhat)
    return _mean(np.square(yhat - y).mean(axis=1), sample_weight)


def r2(y, yhat, sample_weight=None):
    """1 - sum (yhat - y)^2 / sum (y - mean y)^2, the mean over the columns.

    A column whose y is constant counts as 1 if it is predicted exactly, else as 0.
    """
    y, yhat = _numbers("r2", y, yhat)
    w = np.ones((len(y), 1)) if sample_weight is None else np.asarray(sample_weight, np.float64)[:, None]
    missed = (w * np.square(yhat - y)).sum(axis=0)
    total = (w * np.square(y - (w * y).sum(axis=0) / w.sum())).sum(axis=0)
    seen = y[w[:, 0] > 0]
    constant = (seen == seen[:1]).all(axis=0)  # the total of such may be rounding errors
    return float(np.where(constant, missed == 0, 1 - missed / np.where(constant, 1, total)).mean())


BY_NAME = {"accuracy": accuracy, "mae": mae, "mse": mse, "r2": r2}


def checked(metrics):
    """{name: function of (y, yhat)} from names and functions, one or several."""
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    try:
        functions = [_one(metric) for metric in metrics]
    except TypeError:
        if hasattr(metrics, "__iter__"):
            raise
        raise TypeError(f"metrics must be names or functions of (y, yhat), got {metrics!r}") from None
    for function in functions:
        if not _is_ours(function) and is_ours(name := _name_of(function)):
            raise ValueError(
                f"metrics: {name!r} is, or looks like, a name of the library's own, got it as that of a function: "
                "give it another __name__, or an attribute `name`"
            )
    named = {_name_of(function): function for function in functions}
    if len(named) < len(functions):
        raise ValueError(f"metrics must have different names, got {', '.join(map(_name_of, functions))}")
    return named


def for_outputs(metrics, given, n_out):
    """The same for networks of that many outputs: of one, accuracy goes by the two classes of all the data given."""
    if n_out > 1 or metrics.get("accuracy") is not accuracy:
        return metrics
    return {**metrics, "accuracy": Sides(min(_lower_class(_targets(data)) for data in given))}


def computable(metrics, data):
    """Those that can be computed on data: where it has weights, those that take them."""
    return {name: f for name, f in metrics.items() if data.weights is None or _takes_weights(f)}


def check_fit(metrics, data, n_out):
    """Refuse what cannot be computed for such data before there are predictions."""
    for name, function in metrics.items():
        if _is_ours(function):
            function(_targets(data)[:1], np.zeros((1, n_out)))
            continue
        if data.weights is not None and not _takes_weights(function):
            ours = f"{', '.join(BY_NAME)}, top_k and functions with a parameter sample_weight"
            raise ValueError(f"metrics: sample_weight and class_weight go with {ours}, got {name!r} without one")
        _check_call(name, function, data)


def values(metrics, data, yhat):
    """{name: number} of checked metrics."""
    results = {}
    for name, function in metrics.items():
        given = {"y": _targets(data), "yhat": yhat, "sample_weight": data.weights}
        given = {name: array for name, array in given.items() if array is not None}
        if not _is_ours(function):  # others may keep or change what they are given
            given = {name: array.copy() for name, array in given.items()}
        result = function(given.pop("y"), given.pop("yhat"), **given)
        enter_default_mode()  # whatever the function has done to it
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
        raise ValueError(f"metrics must be one of {', '.join(BY_NAME)}, top_1, top_2, ..., got {metric!r}")
    if not isinstance(metric, str):
        raise TypeError(f"metrics must be names or functions of (y, yhat), got {metric!r}")
    return BY_NAME[metric]


def _name_of(function):
    name = getattr(function, "name", None)
    return name if name and isinstance(name, str) else getattr(function, "__name__", type(function).__name__)


def _is_ours(function):
    return isinstance(function, (TopK, Sides)) or any(function is ours for ours in BY_NAME.values())


def _signature(function):
    """None if there is none, as of some functions written in C. That of a wrapper is its own."""
    try:
        return inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _takes_weights(function):
    signature = _signature(function)
    parameter = None if signature is None else signature.parameters.get("sample_weight")
    return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def _check_call(name, function, data):
    """ValueError if it cannot be called as it will be."""
    signature = _signature(function)
    if signature is None:
        return
    try:
        signature.bind(None, None, **({} if data.weights is None else {"sample_weight": None}))
    except TypeError:
        arguments = "(y, yhat)" if data.weights is None else "(y, yhat, sample_weight=w)"
        raise ValueError(f"metrics: {name!r} will be called with {arguments}, got {name}{signature}") from None


def _targets(data):
    return data.targets if data.labels is None else data.labels


def _mean(rows, sample_weight):
    return float(np.average(rows, weights=None if sample_weight is None else np.asarray(sample_weight, np.float64)))


def _numbers(name, y, yhat):
    """y and yhat as float64 (n, K)."""
    y, yhat = np.asarray(y, np.float64), np.asarray(yhat, np.float64)
    if y.size != yhat.size or len(y) != len(yhat):
        needed, got = (("n", *array.shape[1:]) for array in (yhat, y))
        needed, got = (f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})" for shape in (needed, got))
        raise ValueError(f"metrics: {name!r} needs numbers of shape {needed} as y, got shape {got}")
    return y.reshape(len(y), -1), yhat.reshape(len(y), -1)


def _share_among_largest(name, y, yhat, k, sample_weight):
    y, yhat = np.asarray(y), np.asarray(yhat)
    n_out = yhat.shape[1] if yhat.ndim == 2 else 1
    if n_out < 2 or k > n_out:
        raise ValueError(f"metrics: {name!r} needs at least {max(k, 2)} outputs, got {n_out}")
    classes = (y if y.ndim == 1 else y.argmax(axis=1)).astype(np.int64)[:, None]
    own = np.take_along_axis(yhat, classes, axis=1)
    # What comes before the class: NaN does, and everything if the class's own output is NaN.
    ahead = ~(yhat <= own) | ((yhat == own) & (np.arange(n_out) < classes))
    return _mean(ahead.sum(axis=1) < k, sample_weight)
