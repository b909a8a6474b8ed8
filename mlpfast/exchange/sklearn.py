"""scikit-learn: to_sklearn and from_sklearn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._fpmode import in_default_mode
from ._parts import Part, Transform, checked, library, network_of, transform_of, warn_left_out, without_transform

if TYPE_CHECKING:
    from .._types import ArrayLike
    from ..network import Network

HIDDEN = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
OUTPUT = {"identity": "identity", "logistic": "sigmoid", "softmax": "softmax", "exp": "exp"}


@in_default_mode
def from_sklearn(estimator: Any) -> Network:
    """A Network with copies of the parameters of a fitted MLPClassifier or MLPRegressor, scikit-learn's or ours.

    Its predict is the estimator's predict_proba, with one column for two classes or for one output; class k is the
    estimator's classes_[k]. A Pipeline of StandardScaler or MinMaxScaler and one of these is taken too: the scaling
    becomes input_transform. The dtype is that of coefs_. ValueError for other estimators, and for one that is
    not fitted.

    estimator: it is not changed.

    >>> import mlpfast
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = mlpfast.datasets.load_digits()
    >>> estimator = MLPClassifier((16,), max_iter=200, tol=1e-2, random_state=0).fit(X[:200], y[:200])
    >>> net = mlpfast.exchange.from_sklearn(estimator)
    >>> net
    <Network 64-16-10, float32>
    >>> float(abs(net.predict(X) - estimator.predict_proba(X)).max()) < 1e-5
    True
    """
    neural = library("sklearn.neural_network", "sklearn")
    preprocessing = library("sklearn.preprocessing", "sklearn")
    pipeline = library("sklearn.pipeline", "sklearn")
    transform = None
    if isinstance(estimator, pipeline.Pipeline):
        *steps, estimator = [step for _, step in estimator.steps]
        for step in steps:
            transform = _after(transform, _scaling(preprocessing, step))
    if hasattr(estimator, "_present_network") and hasattr(estimator, "coefs_"):  # of mlpfast.estimators
        net = estimator.network_
        parts = [Part(layer.W, layer.b, layer._unit, layer.slopes) for layer in net.layers]
        return network_of(parts, net.dtype, transform)
    if type(estimator) not in (neural.MLPClassifier, neural.MLPRegressor):
        raise ValueError(
            f"a {type(estimator).__name__} cannot be carried over: supported are MLPClassifier and "
            "MLPRegressor, also behind StandardScaler and MinMaxScaler in a Pipeline"
        )
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"estimator must be fitted, got a {type(estimator).__name__} that is not")
    if callable(estimator.activation) or estimator.activation not in HIDDEN:
        raise ValueError(
            f"activation {estimator.activation!r} cannot be carried over: supported are {', '.join(HIDDEN)}"
        )
    last = len(estimator.coefs_) - 1
    parts = [
        Part(W, b, OUTPUT[estimator.out_activation_] if l == last else HIDDEN[estimator.activation])
        for l, (W, b) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    ]
    return network_of(parts, parts[0].W.dtype, transform)


def _scaling(preprocessing, step):
    """A fitted scaler as a Transform, None for "passthrough"."""
    if step is None or isinstance(step, str) and step == "passthrough":
        return None
    if type(step) is preprocessing.StandardScaler:
        n = step.n_features_in_
        return Transform(step.mean_ if step.with_mean else np.zeros(n), step.scale_ if step.with_std else np.ones(n))
    if type(step) is preprocessing.MinMaxScaler and not step.clip:
        return Transform(-step.min_ / step.scale_, 1 / step.scale_)
    raise ValueError(
        f"a {type(step).__name__} cannot be carried over: supported are StandardScaler and MinMaxScaler without clip"
    )


def _after(first, second):
    """Both transforms as one."""
    if first is None or second is None:
        return first or second
    return Transform(first.mean + second.mean * first.scale, first.scale * second.scale)


@in_default_mode
def to_sklearn(net: Network, *, classes: ArrayLike | None = None) -> Any:
    """A fitted MLPClassifier, for an output of softmax or sigmoid, or MLPRegressor, for identity or exp, with copies of
    the parameters in coefs_ and intercepts_.

    predict_proba, or predict of a regressor, gives what net.predict does; of one sigmoid output both columns. classes:
    the labels that predict gives, in ascending order; None: 0, 1, .... A classifier of several sigmoid outputs is one
    of several labels in a row. input_scale and a transform of the inputs are multiplied into coefs_[0]: where
    input_scale is not 1, X holds pixels. Training can go on with warm_start, with the estimator's own settings.
    UserWarning for settings of the training. ValueError for hidden activations other than identity, sigmoid, tanh and
    relu, one for all layers, which are all that the estimators have, for masks, and for other output activations.

    >>> import mlpfast
    >>> net = mlpfast.Network([4, 16, 3], output="softmax", init="zeros", seed=0)
    >>> estimator = mlpfast.exchange.to_sklearn(net, classes=["a", "b", "c"])
    >>> estimator.predict_proba([[1.0, 2.0, 3.0, 4.0]]).round(4)
    array([[0.3333, 0.3333, 0.3333]])
    >>> estimator.classes_
    array(['a', 'b', 'c'], dtype='<U1')
    """
    neural = library("sklearn.neural_network", "sklearn")
    checked(net)
    *hidden, output = [layer._unit.name for layer in net.layers]
    known = {ours: theirs for theirs, ours in HIDDEN.items()}
    for number, name in enumerate(hidden, 1):
        if name not in known or name != hidden[0]:
            raise ValueError(
                f"layer {number} has the activation {name!r}: scikit-learn has {', '.join(known)}, one for all "
                "hidden layers"
            )
    if any(layer.mask is not None for layer in net.layers):
        number = next(n for n, layer in enumerate(net.layers, 1) if layer.mask is not None)
        raise ValueError(f"layer {number} has a mask, which scikit-learn has not")
    is_classifier = output in ("softmax", "sigmoid")
    if not is_classifier and output not in ("identity", "exp"):
        raise ValueError(
            f"the output has the activation {output!r}: scikit-learn has softmax and sigmoid for a classifier, "
            "identity and exp for a regressor"
        )
    if classes is not None and not is_classifier:
        raise ValueError(f"classes are for a classifier, the output is {output!r}")
    warn_left_out(net, "scikit-learn", has_dropout=False)
    kind = neural.MLPClassifier if is_classifier else neural.MLPRegressor
    estimator = kind(
        hidden_layer_sizes=tuple(layer.n_out for layer in net.layers[:-1]),
        activation=known[hidden[0]] if hidden else "identity",
    )
    estimator.coefs_ = [np.array(layer.W, order="C") for layer in net.layers]
    estimator.intercepts_ = [layer.b.copy() if layer.bias else np.zeros(layer.n_out, net.dtype) for layer in net.layers]
    _with_inputs(estimator, net)
    estimator.n_features_in_, estimator.n_outputs_, estimator.n_layers_ = net.n_in, net.n_out, len(net.layers) + 1
    estimator.out_activation_ = {ours: theirs for theirs, ours in OUTPUT.items()}[output]
    estimator.n_iter_ = estimator.t_ = 0
    estimator.loss_curve_, estimator.best_loss_ = [], np.inf
    if is_classifier:
        _label(estimator, net, output, classes)
    elif output == "exp":
        estimator.set_params(loss="poisson")
    return estimator


def _with_inputs(estimator, net):
    """input_scale and the transform, multiplied into the first layer."""
    transform = transform_of(net)
    if net.input_scale != 1:
        pixels = Transform(np.zeros(net.n_in), np.divide(1.0, np.full(net.n_in, net.input_scale)))
        transform = _after(pixels, transform)
    if transform is not None:
        W, b = without_transform(estimator.coefs_[0], estimator.intercepts_[0], transform)
        estimator.coefs_[0], estimator.intercepts_[0] = W.astype(net.dtype), b.astype(net.dtype)


def _label(estimator, net, output, classes):
    binarizer = library("sklearn.preprocessing", "sklearn").LabelBinarizer()
    several = output == "sigmoid" and net.n_out > 1  # labels in a row
    n_classes = net.n_out if net.n_out > 1 else 2
    labels = np.arange(n_classes) if classes is None else np.asarray(classes)
    if labels.shape != (n_classes,) or len(np.unique(labels)) != n_classes or not (labels == np.unique(labels)).all():
        raise ValueError(f"classes must be {n_classes} different labels in ascending order, got {classes!r}")
    if output == "softmax" and n_classes == 2:
        raise ValueError("two classes need one sigmoid output: scikit-learn has no softmax of two")
    if several:
        if classes is not None:
            raise ValueError("classes must be None for several sigmoid outputs, each of which has labels 0 and 1")
        binarizer.fit(np.eye(n_classes, dtype=int))
    else:
        binarizer.fit(labels)
    estimator._label_binarizer, estimator.classes_ = binarizer, binarizer.classes_
