"""What the modules of this package share: optional libraries, and networks from and as layers with their arrays."""

import importlib
import warnings
from typing import Any, NamedTuple

import numpy as np

from .. import backprop
from ..activations import PReLU
from ..layer import USUAL, Layer
from ..network import Network


def library(name, extra=None):
    """The optional library, imported."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        raise ImportError(f'{top} is needed for this: pip install "mlpfast[{extra or top}]"') from error


class Part(NamedTuple):
    """A layer with its arrays. slopes: of a prelu, (n_out,), or (1,) if shared. settings: arguments of Layer."""

    W: np.ndarray
    b: np.ndarray | None
    activation: Any
    slopes: np.ndarray | None = None
    settings: dict = {}  # noqa: RUF012


class Transform(NamedTuple):
    """Of the inputs: (x - mean) / scale, with float64 arrays (n_in,)."""

    mean: np.ndarray
    scale: np.ndarray


def transform_of(net):
    """The input transform of a network, or None. It is applied to what input_scale leaves."""
    return None if net.input_transform is None else Transform(*net.input_transform)


def without_transform(W, b, transform):
    """(W, b) of a first layer that takes x itself: with V = W / scale, (x - mean) V + b = x V + (b - mean V)."""
    V = np.asarray(W, np.float64) / transform.scale[:, None]
    shift = -transform.mean @ V
    return V, shift if b is None else b + shift


def _with_positive_scale(part, transform):
    """(part, transform): the sign of a negative scale goes to the weights of the first layer."""
    sign = np.where(transform.scale < 0, -1, 1).astype(part.W.dtype)
    return part._replace(W=part.W * sign[:, None]), transform._replace(scale=np.abs(transform.scale))


def checked(net):
    """A network without Custom activations."""
    for number, layer in enumerate(backprop.checked_network(net).layers, 1):
        if layer._unit.traits.is_custom:
            raise ValueError(
                f"layer {number} has a Custom activation, which is a Python function: only those by name "
                "can be carried over"
            )
    return net


def network_of(parts, dtype, transform=None, **settings):
    """A Network of these Parts. settings: of Network."""
    if transform is not None:
        first, transform = _with_positive_scale(parts[0], transform)
        parts = [first, *parts[1:]]
    layers = []
    for part in parts:
        unit = PReLU(shared=part.slopes.size == 1) if part.slopes is not None else part.activation
        bias = part.b is not None
        n_in, n_out = part.W.shape
        layers.append(Layer(n_in, n_out, unit, init="zeros", bias_init="zeros", bias=bias, **part.settings))
    net = Network(layers, dtype=dtype, seed=0, input_transform=transform, **settings)
    for layer, part in zip(net.layers, parts, strict=True):
        layer.W = part.W
        if part.b is not None:
            layer.b = part.b
        if part.slopes is not None:
            layer.slopes = part.slopes
    return net


def warn_left_out(net, to, has_dropout):
    """A UserWarning for settings of the training that `to` does not have. has_dropout: whether it has dropout, and
    layers that are not trained."""
    of_layers, of_network = ["l1", "l2", "lr_factor", "bias_lr_factor"], ["input_noise"]
    if not has_dropout:
        of_layers += ["dropout", "trainable"]
        of_network += ["input_dropout"]
    usual = {**USUAL, "input_noise": 0.0, "input_dropout": 0.0}
    own: list[tuple] = [(f"layer {number}", layer, of_layers) for number, layer in enumerate(net.layers, 1)]
    own.append(("the network", net, of_network))
    left = [
        f"{name} of {where}" for where, owner, names in own for name in names if getattr(owner, name) != usual[name]
    ]
    if left:
        warnings.warn(f"{to} has no {', '.join(left)}, which training alone uses: left out", UserWarning, stacklevel=3)
