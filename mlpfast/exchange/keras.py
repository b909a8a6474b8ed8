"""Keras 3: from_keras."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import activations
from .._fpmode import in_default_mode
from ._parts import Part, Transform, library, network_of

if TYPE_CHECKING:
    from ..network import Network

SUPPORTED = (
    "supported are Sequential and functional models that are a chain of Dense, Activation, ReLU, LeakyReLU, PReLU, "
    "ELU, Softmax, Dropout, Flatten, Rescaling, Normalization and GaussianNoise, with activations that mlpfast has"
)
OWN_NAMES = {"linear": "identity", "exponential": "exp", "swish": "silu", "hard_silu": "hard_swish"}
SAME_NAMES = (
    "relu",
    "elu",
    "selu",
    "silu",
    "mish",
    "softplus",
    "softsign",
    "sigmoid",
    "hard_sigmoid",
    "tanh",
    "softmax",
)


@in_default_mode
def from_keras(model: Any) -> Network:
    """A Network with copies of the weights of a Keras 3 model, for any of its backends.

    The model is a chain of layers, see the message. Rescaling and Normalization of the inputs are multiplied into the
    first layer; Dropout comes after an activation, or is input_dropout of the inputs, GaussianNoise input_noise. L1 and
    L2 regularizers of kernels are l1 and l2 of the layers (Keras adds l2 sum W^2, a network l2/2 sum W^2), and layers
    that are not trainable stay so. UserWarning for other regularizers and constraints, which training alone uses. The
    network has the dtype of the weights, float32 or float64. ValueError for anything else, with the layer's name.

    >>> import keras
    >>> import mlpfast
    >>> layers = [keras.Input((4,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(3, "softmax")]
    >>> mlpfast.exchange.from_keras(keras.Sequential(layers))
    <Network 4-16-3, float32>
    """
    keras = library("keras")
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a keras.Model, got {type(model).__name__}")
    reader = _Reader(keras)
    for layer in _chain(keras, model):
        reader.read(layer)
    net = reader.network()
    row = tuple(model.inputs[0].shape[1:])
    if None not in row and math.prod(row) != net.n_in:
        raise ValueError(f"model takes rows of the shape {row}, its first Dense {net.n_in} numbers: it needs a Flatten")
    return net


def _refused(layer, why=None):
    return ValueError(
        f"layer {layer.name!r} ({type(layer).__name__}) cannot be carried over{f', {why}' if why else ''}: {SUPPORTED}"
    )


def _chain(keras, model):
    """The layers in their order; ValueError unless each takes what the one before it gives."""
    if type(model) is keras.Sequential:
        if not model.built:
            raise ValueError("model must be built: give it an Input, or call it once")
        layers = model.layers
    elif type(model).__name__ == "Functional" and type(model).__module__.startswith("keras."):
        layers = _along(model)
    else:
        raise ValueError(f"a {type(model).__name__} with code of its own cannot be carried over: {SUPPORTED}")
    for layer in layers:
        if isinstance(layer, keras.Model):
            yield from _chain(keras, layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


def _along(model):
    """The layers of a functional model, from its input to its output."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        got = f"{len(model.inputs)} and {len(model.outputs)}"
        raise ValueError(f"model must have one input and one output, got {got}: {SUPPORTED}")
    layers, (value,), (last,) = [], model.inputs, model.outputs
    while value is not last:
        calls = [
            (layer, node)
            for layer in model.layers
            for node in layer._inbound_nodes
            if any(each is value for each in node.input_tensors)
        ]
        joined = [layer for layer, node in calls if len(node.input_tensors) != 1 or len(node.outputs) != 1]
        if joined or len(calls) != 1:
            raise _refused(
                (joined or [layer for layer, _ in calls])[0], "which is part of a skip connection, or a branch"
            )
        ((layer, node),) = calls
        if layer in layers:
            raise _refused(layer, "which is used more than once")
        layers.append(layer)
        (value,) = node.outputs
    return layers


class _Reader:
    def __init__(self, keras):
        self.keras, self.parts, self.settings, self.transform, self.last = keras, [], {}, None, None

    def read(self, layer):
        layers = self.keras.layers
        kind = type(layer)
        if kind is layers.Dense:
            self._dense(layer)
        elif kind is layers.Dropout:
            self._dropout(layer)
        elif kind is layers.GaussianNoise:
            if self.parts or "input_noise" in self.settings:
                raise _refused(layer, "elsewhere than at the input")
            self.settings["input_noise"] = float(layer.stddev)
        elif kind is layers.Flatten:
            if self.parts:
                raise _refused(layer, "elsewhere than at the input")
        elif kind in (layers.Rescaling, layers.Normalization):
            self._transform(layer)
        elif kind is layers.Identity or kind is layers.ActivityRegularization:
            if kind is not layers.Identity:
                self._warn(layer, "activity regularizer")
        else:
            self._activate(layer, *self._unit(layer))

    def _dense(self, layer):
        b = None if layer.bias is None else self._array(layer.bias)
        W = self._array(layer.kernel)
        settings: dict = {"trainable": bool(layer.trainable)}
        regularizer = layer.kernel_regularizer
        if regularizer is not None:
            known = self.keras.regularizers
            if isinstance(regularizer, (known.L1, known.L2, known.L1L2)):
                settings["l1"] = float(getattr(regularizer, "l1", 0) or 0)
                settings["l2"] = 2 * float(getattr(regularizer, "l2", 0) or 0)
            else:
                self._warn(layer, "kernel_regularizer")
        for name in ("bias_regularizer", "activity_regularizer", "kernel_constraint", "bias_constraint"):
            if getattr(layer, name, None) is not None:
                self._warn(layer, name)
        self.parts.append(Part(W, b, "identity", None, settings))
        self.last = "Dense"
        unit = self._function(layer, layer.activation)
        if unit != "identity":
            self._activate(layer, unit, None)

    @staticmethod
    def _warn(layer, what):
        warnings.warn(
            f"layer {layer.name!r}: its {what} is left out, which training alone uses", UserWarning, stacklevel=5
        )

    def _dropout(self, layer):
        if layer.rate == 1:
            raise _refused(layer, "with rate 1")
        if not self.parts:
            if "input_dropout" in self.settings:
                raise _refused(layer, "twice in a row")
            self.settings["input_dropout"] = float(layer.rate)
            return
        part = self.parts[-1]
        if self.last == "Dropout":
            raise _refused(layer, "twice in a row")
        self.parts[-1] = part._replace(settings={**part.settings, "dropout": float(layer.rate)})
        self.last = "Dropout"

    def _activate(self, layer, unit, slopes):
        if self.last != "Dense":
            raise _refused(
                layer, f"after {self.last or 'nothing'}: an activation must follow a Dense layer without one"
            )
        part = self.parts[-1]
        self.parts[-1] = part._replace(activation=unit, slopes=slopes)
        self.last = "an activation"

    def _unit(self, layer):
        """(activation, slopes)"""
        layers, kind = self.keras.layers, type(layer)
        if kind is layers.Activation:
            return self._function(layer, layer.activation), None
        if kind is layers.ReLU:
            if layer.max_value is not None or layer.threshold:
                raise _refused(layer, "with max_value or threshold")
            return (activations.LeakyReLU(float(layer.negative_slope)) if layer.negative_slope else "relu"), None
        if kind is layers.LeakyReLU:
            return activations.LeakyReLU(float(layer.negative_slope)), None
        if kind is layers.ELU:
            return activations.ELU(float(layer.alpha)), None
        if kind is layers.PReLU:
            return "prelu", self._array(layer.alpha).reshape(-1)
        if kind is layers.Softmax:
            if layer.axis not in (1, -1):
                raise _refused(layer, "over another axis than the classes")
            return "softmax", None
        raise _refused(layer)

    def _function(self, layer, function):
        """The activation that a function of Keras is."""
        known = self.keras.activations
        if function is known.leaky_relu:
            return activations.LeakyReLU(0.2)  # its default
        if function is known.gelu:
            return "gelu_tanh" if _default(function, "approximate") else "gelu"
        names = [*SAME_NAMES, *OWN_NAMES]
        for name in names:
            if getattr(known, name, None) is function:
                return OWN_NAMES.get(name, name)
        raise _refused(layer, f"with the activation {getattr(function, '__name__', function)!r}")

    def _transform(self, layer):
        if self.parts or self.transform is not None or self.settings:
            raise _refused(layer, "elsewhere than at the input")
        if type(layer) is self.keras.layers.Rescaling:
            scale, offset = (np.asarray(each, np.float64) for each in (layer.scale, layer.offset))
            if not np.all(scale):
                raise _refused(layer, "with a scale of 0")
            self.transform = Transform(-offset / scale, 1 / scale)
        else:
            if layer.invert:
                raise _refused(layer, "with invert")
            mean = np.asarray(self.keras.ops.convert_to_numpy(layer.mean), np.float64).reshape(-1)
            variance = np.asarray(self.keras.ops.convert_to_numpy(layer.variance), np.float64).reshape(-1)
            self.transform = Transform(mean, np.maximum(np.sqrt(variance), self.keras.config.epsilon()))

    def _array(self, variable):
        array = np.array(self.keras.ops.convert_to_numpy(variable))
        if array.dtype not in (np.float32, np.float64):
            raise ValueError(f"the weights must be float32 or float64, got {array.dtype}")
        return array

    def network(self):
        if not self.parts:
            raise ValueError(f"model has no Dense layer: {SUPPORTED}")
        if self.parts[-1].settings.get("dropout"):
            raise ValueError(f"a Dropout after the last layer cannot be carried over: {SUPPORTED}")
        dtypes = {part.W.dtype for part in self.parts}
        if len(dtypes) != 1:
            raise ValueError(
                f"the weights must all be float32 or all float64, got {', '.join(sorted(map(str, dtypes)))}"
            )
        if self.transform is not None:
            n_in = self.parts[0].W.shape[0]
            try:
                self.transform = Transform(*(np.broadcast_to(each, (n_in,)).copy() for each in self.transform))
            except ValueError:
                raise ValueError(
                    f"scaling of the inputs must be by one number, or one for each of the {n_in} inputs"
                ) from None
        return network_of(self.parts, dtypes.pop(), self.transform, **self.settings)


def _default(function, name):
    import inspect

    return inspect.signature(function).parameters[name].default
