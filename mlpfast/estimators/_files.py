"""Files of fitted estimators: that of the network (files.py), and beside it

    estimator                "MLPClassifier" or "MLPRegressor"
    estimator.params.<name>  arguments of the constructor that are not as usual
    estimator.fitted.<name>  what fit has found
    estimator.<array>        arrays that fit has found, as tensors, or (texts) as texts
"""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .._safetensors import save as save_file
from .._texts import put
from ..files import checked_custom, head, network_of, network_texts, opened, read_parameters
from ..network import warn_if_not_finite
from ._base import THEIRS
from ._classifier import MLPClassifier
from ._regressor import MLPRegressor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._types import PathLike

KINDS = {kind.__name__: kind for kind in (MLPClassifier, MLPRegressor)}
COUNTS = ("n_features_in_", "n_layers_", "n_outputs_", "n_iter_", "t_", "_no_improvement_count")
REALS = ("loss_", "best_loss_", "best_validation_score_")  # or None
FITTED = (*COUNTS, *REALS, "out_activation_", "_kind", "_sparse_labels")
ARRAYS = ("classes_", "feature_names_in_", "loss_curve_", "validation_scores_")
LISTS = ("loss_curve_", "validation_scores_")


def save(estimator: Any, path: PathLike, sync: bool = True) -> None:
    kind = next(kind for kind in KINDS.values() if isinstance(estimator, kind))
    network = estimator.network_
    texts = {**head("estimator"), **network_texts(network), "estimator": kind.__name__}
    tensors = dict(network._tensors())
    _put_parameters(texts, estimator, kind)
    for name in FITTED:
        if hasattr(estimator, name):
            put(texts, f"estimator.fitted.{name}", getattr(estimator, name))
    for name in ARRAYS:
        if getattr(estimator, name, None) is not None:
            _put_array(texts, tensors, f"estimator.{name}", np.asarray(getattr(estimator, name)))
    if estimator.__dict__.get("_target") is not None:
        for name, array in zip(("mean", "scale"), estimator._target, strict=True):
            tensors[f"estimator.target.{name}"] = np.asarray(array, np.float64)
    save_file(path, tensors, texts, sync)


def _usual(kind):
    return {name: each.default for name, each in inspect.signature(kind).parameters.items()}


def _put_parameters(texts, estimator, kind):
    """Those that a file can hold; a UserWarning names the others."""
    left_out = []
    for name, usual in _usual(kind).items():
        value = getattr(estimator, name)
        if value is usual or type(value) is type(usual) and value == usual:
            continue
        own: dict[str, str] = {}
        try:
            put(own, f"estimator.params.{name}", _plain(value))
        except (TypeError, KeyError, AttributeError):
            left_out.append(name)
            continue
        if any(text == "custom" for text in own.values()):
            left_out.append(name)
        else:
            texts.update(own)
    if left_out:
        warnings.warn(f"a file of an estimator does not hold its {', '.join(left_out)}", UserWarning, stacklevel=5)


def _plain(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):  # of labels and numbers
        return [[_plain(label), number] for label, number in value.items()]
    return value.item() if isinstance(value, np.generic) else value


def _put_array(texts, tensors, key, array):
    if array.dtype.kind in "biuf":
        tensors[key] = array
        return
    put(texts, key, [_plain(item) for item in array.tolist()])
    texts[f"{key}.dtype"] = "object" if array.dtype == object else "str"


def load(path: PathLike, custom: Mapping[str, Any] | None = None) -> MLPClassifier | MLPRegressor:
    """The estimator of a file that its save has written: it predicts with the same bits, and fit, with warm_start, and
    partial_fit go on from its parameters, with a new state of the optimizer.

    custom as in mlpfast.load_network. No code in a file is ever run; ValueError says what is wrong with one that is
    damaged, or of another kind.

    path: of the file; OSError if it cannot be read.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> mlpfast.estimators.MLPClassifier((32,), tol=1e-2, random_state=0).fit(X, y).save("digits.safetensors")
    >>> mlpfast.estimators.load("digits.safetensors").hidden_layer_sizes
    (32,)
    """
    custom = checked_custom(custom)
    with opened(path, "estimator") as (file, texts):
        below = texts.take("estimator")
        name, below.text = below.text, None
        if name not in KINDS:
            raise ValueError(f"must hold one of {', '.join(KINDS)}, holds {name!r:.80}")
        estimator = _made(KINDS[name], below.take("params").take_all(custom))
        network = network_of(file, texts, custom)
        fitted = below.take("fitted").take_all(custom)
        unknown = fitted.keys() - set(FITTED)
        if unknown:
            raise ValueError(f"unknown setting 'estimator.fitted.{min(unknown):.80}'")
        vars(estimator).update(fitted)
        for key in ARRAYS:
            _take_array(estimator, file, below.take(key), key, custom)
        _take_target(estimator, file, network)
        below.nothing_left()
        texts.nothing_left()
        _check(estimator, network)
        read_parameters(file, network, {})
    warn_if_not_finite(file.name, network)
    estimator._link(network, estimator._settings_of_network())
    return estimator


def _made(kind, given):
    usual = _usual(kind)
    unknown = given.keys() - usual.keys()
    if unknown:
        raise ValueError(f"unknown setting 'estimator.params.{min(unknown):.80}'")
    if isinstance(given.get("class_weight"), tuple):
        given["class_weight"] = dict(given["class_weight"])
    estimator = kind(**given)
    try:
        estimator._validate_params()
    except ValueError as error:
        raise ValueError(f"estimator.params: {error}") from None
    return estimator


def _take_array(estimator, file, texts, key, custom):
    name = f"estimator.{key}"
    if name in file.tensors:
        array = file.read(name)
        del file.tensors[name]
    elif texts.text is not None:
        dtype = texts.take("dtype").value(custom)
        array = np.array(texts.value(custom), dtype=object if dtype == "object" else str)
    else:
        return
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, has {array.ndim}")
    setattr(estimator, key, array.tolist() if key in LISTS else array)


def _take_target(estimator, file, network):
    names = [f"estimator.target.{name}" for name in ("mean", "scale")]
    estimator._target = None
    if not any(name in file.tensors for name in names):
        return
    target = []
    for name in names:
        if name not in file.tensors:
            raise ValueError(f"the tensor {name!r} is missing")
        array = file.read(name)
        del file.tensors[name]
        if array.shape != (network.n_out,) or array.dtype != np.float64:
            raise ValueError(f"{name} must be float64 of shape {(network.n_out,)}")
        target.append(array)
    estimator._target = tuple(target)


def _check(estimator, network):
    """ValueError unless what fit has found goes with the network."""
    for key in _needed(estimator):
        if not hasattr(estimator, key):
            raise ValueError(f"the setting 'estimator.fitted.{key}' is missing")
    for key, value in vars(estimator).items():
        if key in COUNTS and not (type(value) is int and value >= 0):
            raise ValueError(f"estimator.fitted.{key} must be a whole number >= 0, is {value!r:.40}")
        if key in REALS and type(value) is not float and value is not None:
            raise ValueError(f"estimator.fitted.{key} must be a number, is {value!r:.40}")
    if hasattr(estimator, "loss_curve_") and (estimator.best_loss_ is None) != hasattr(estimator, "validation_scores_"):
        raise ValueError("one of estimator.fitted.best_loss_ and estimator.validation_scores_ must be there")
    output = network.layers[-1]._unit.name
    if estimator.out_activation_ != THEIRS.get(output, output):
        got = estimator.out_activation_
        raise ValueError(f"estimator.fitted.out_activation_ must be that of the network, is {got!r:.40}")
    if (estimator.n_features_in_, estimator.n_outputs_) != (network.n_in, network.n_out):
        raise ValueError("estimator.fitted.n_features_in_ and n_outputs_ must be those of the network")
    estimator.n_layers_ = len(network.layers) + 1
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None and len(names) != network.n_in:
        raise ValueError(f"estimator.feature_names_in_ must have {network.n_in} entries, has {len(names)}")
    if isinstance(estimator, MLPClassifier):
        _check_classes(estimator, network)
    elif hasattr(estimator, "classes_") or hasattr(estimator, "_kind"):
        raise ValueError("a regressor has no estimator.classes_ and no estimator.fitted._kind")


def _needed(estimator):
    """The settings without which it could not go on."""
    yield from ("n_features_in_", "n_outputs_", "out_activation_", "n_iter_", "t_")
    if hasattr(estimator, "loss_curve_"):
        yield from ("_no_improvement_count", "best_loss_", "best_validation_score_")


def _check_classes(estimator, network):
    if not hasattr(estimator, "classes_") or getattr(estimator, "_kind", None) not in (
        "binary", "multiclass", "multilabel-indicator"
    ):
        raise ValueError("estimator.classes_ or estimator.fitted._kind is missing")
    n = len(estimator.classes_)
    fits = 1 <= n <= 2 and network.n_out == 1 if estimator._kind == "binary" else n == network.n_out
    if not fits:
        raise ValueError(f"estimator.classes_ must go with {network.n_out} outputs, has {n} entries")
    try:
        ascending = np.array_equal(np.unique(estimator.classes_), estimator.classes_)
    except TypeError:  # of objects that have no order
        ascending = False
    if not ascending:
        raise ValueError("estimator.classes_ must be different labels in ascending order")
    if type(getattr(estimator, "_sparse_labels", None)) is not bool:
        raise ValueError("estimator.fitted._sparse_labels must be true or false")
