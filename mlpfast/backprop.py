"""Backpropagation, layer by layer, on the kernels that the fused training step uses.

    forward    z_l = a_{l-1} W_l + b_l,   a_l = g_l(z_l),   a_0 = X
    residuals  delta_L = d loss / d z_L,  delta_l = (delta_{l+1} W_{l+1}^T) * g_l'(z_l)     one row per example
    gradients  dJ/dW_l = (1/B) a_{l-1}^T delta_l + l2 W_l + l1 sign(W_l),   dJ/db_l = (1/B) sum of delta_l's rows

The 1/B stands in `gradients` alone; a step of Trainer on the same minibatch uses exactly these gradients, bit for bit.
Lists run over the layers: [0] belongs to layer 1, [-1] to layer L.
"""

from typing import NamedTuple

import numpy as np

from . import _core, losses
from ._arrays import inputs
from ._validate import examples, real_number
from ._validate import mean_weight as checked_mean_weight


class Tape(NamedTuple):
    """What a forward pass leaves behind: X = a_0 (B, n_in), and z[l], a[l] (B, n_l) for each layer."""

    X: np.ndarray
    z: list
    a: list


@_core.in_default_mode
def forward(net, X):
    """z_l and a_l of every layer, for X (B, n_in) -> Tape."""
    return _forward(net, inputs(X, net))


def _forward(net, X):
    x = _core.gather(X, net.input_scale, net.dtype)
    tape = Tape(x, [], [])
    for layer in net.layers:
        z = _core.affine(x, layer.W, layer.b)
        x = _core.activate(z, layer._unit, layer.slopes)
        tape.z.append(z)
        tape.a.append(x)
    return tape


@_core.in_default_mode
def residuals(net, X, y, loss):
    """[delta_1, ..., delta_L], each (B, n_l), without the 1/B. y and loss as in Trainer."""
    loss = losses.checked(loss, net)
    data = examples(X, y, net, loss)
    return _residuals(net, _forward(net, data.X), data, loss)


def _residuals(net, tape, data, loss):
    return _backward(net, tape, data, loss)[0]


def _backward(net, tape, data, loss):
    """([delta_1, ..., delta_L], [gradient of the slopes of each layer, without the 1/B, or None])."""
    last = net.layers[-1]
    delta = _core.loss_and_delta(tape.z[-1] if loss.takes_z else tape.a[-1], data, loss, last._unit)[1]
    return _below_loss(net, tape, delta, loss)


def _below_loss(net, tape, delta, loss, lowest=0):
    """The same, from what loss_and_delta makes of the loss."""
    last = net.layers[-1]
    slopes = _through_unit(last, delta, tape, len(net.layers) - 1) if loss.through_output else None
    return _down(net, tape, delta, slopes, lowest)


def _down(net, tape, delta, slopes=None, lowest=0):
    """delta_L and the gradient of layer L's slopes -> the lists of _backward; None for the layers below `lowest`."""
    deltas, slopes = [delta], [slopes]
    for l in range(len(net.layers) - 1, lowest, -1):
        below = net.layers[l - 1]
        if below._unit.name in ("softmax", "prelu", "custom"):  # needs whole rows, or d loss / d a first
            delta = _core.delta_below(delta, net.layers[l].W, None, None)
            slopes.insert(0, _through_unit(below, delta, tape, l - 1))
        else:
            delta = _core.delta_below(delta, net.layers[l].W, _kept(below, tape, l - 1), below._unit)
            slopes.insert(0, None)
        deltas.insert(0, delta)
    return [None] * lowest + deltas, [None] * lowest + slopes


def _kept(layer, tape, l):
    """What the derivative of the layer's activation is written in."""
    return tape.z[l] if _core.keeps_z(layer._unit) else tape.a[l]


def _through_unit(layer, delta, tape, l):
    """delta, d loss / d a, becomes d loss / d z in place -> the gradient of the slopes, or None."""
    slopes = _core.slope_gradient(delta, tape.z[l], layer._unit.shared) if layer._unit.name == "prelu" else None
    _core.through_derivative(delta, _kept(layer, tape, l), layer._unit, layer.slopes)
    return slopes


@_core.in_default_mode
def gradients(net, X, y, loss, *, l1=0, l2=0, sample_weight=None, mean_weight=None):
    """[(dJ/dW_1, dJ/db_1), ...]: W's and b's shapes; db is None for a layer without a bias. For a layer with a prelu
    the gradient of its slopes is third: (dW, db, dslopes).

    With sample_weight (B,), each residual is multiplied by its weight, and 1/B becomes 1 / (sum of the weights), with
    mean_weight 1 / (B mean_weight): see Trainer.step. Where all weights are 0, the data have no gradient.
    """
    loss = losses.checked(loss, net)
    l1, l2 = real_number("l1", l1, least=0), real_number("l2", l2, least=0)
    data = examples(X, y, net, loss, sample_weight=sample_weight, all_zero=True)
    data.mean_weight = checked_mean_weight(mean_weight)
    tape = _forward(net, data.X)
    deltas, slopes = _backward(net, tape, data, loss)
    scale = _scale(data)
    result = []
    for layer, a_below, delta, slope in zip(net.layers, [tape.X, *tape.a], deltas, slopes, strict=False):
        mask, penalties = layer._mask_of_core(), (l1 + layer.l1, l2 + layer.l2)
        dW = _core.weight_gradient(layer.W, mask, a_below, delta, scale, *penalties)
        db = None if layer.b is None else _core.scaled_sum(delta, scale)
        result.append((dW, db) if slope is None else (dW, db, _core.scaled_sum(slope[None], scale)))
    return result


def _scale(data):
    """What the sum of the examples' gradients is multiplied by, as the core has it (gradient_scale in update.c)."""
    if data.mean_weight:
        return 1 / (len(data) * data.mean_weight)
    total = len(data) if data.weights is None else sum_in_order(data.weights)
    return 1 / total if total else 0.0


def sum_in_order(weights):
    """The sum as the core forms it: in float64, one after the other."""
    return float(np.cumsum(weights, dtype=np.float64)[-1])


@_core.in_default_mode
def check_gradients(net, X, y, loss, *, step=1e-6):
    """The largest relative error of `gradients` against central differences over every parameter, in float64.

    The differences (L(w + h) - L(w - h)) / 2h are taken on a float64 copy of the network, h = step * max(1, |w|). An
    error is relative to the larger of the two values, but at least to 1e-3 of the largest gradient in its array:
    below that the differences hold mostly rounding errors. Expect 1e-6 or less; near a kink of relu it may be larger.
    """
    step = real_number("step", step, above=0)
    copy = _float64_copy(net)
    loss = losses.checked(loss, copy)
    data = examples(np.array(inputs(X, net)), y, copy, loss)
    errors = [
        _relative_error(copy, data, loss, layer, parameter, gradient, step)
        for layer, pair in zip(copy.layers, gradients(copy, X, y, loss), strict=True)
        for parameter, gradient in zip((layer.W, layer.b, layer.slopes), pair, strict=False)
        if parameter is not None
    ]
    return float(np.max(errors))  # NaN if any is


def _relative_error(net, data, loss, layer, parameter, gradient, step):
    def loss_at(index, value):
        parameter[index] = value
        loss_sum, weight_sum, *_ = net._core.evaluate(data, loss, 1)
        return loss_sum / weight_sum

    numeric = np.empty_like(gradient)
    for index in np.ndindex(parameter.shape):
        w = parameter[index]
        h = step * max(1.0, abs(w))
        numeric[index] = (loss_at(index, w + h) - loss_at(index, w - h)) / (2 * h)
        parameter[index] = w
    if parameter.ndim == 2:  # the layer's own penalty, and its mask
        numeric += layer.l2 * parameter + layer.l1 * np.sign(parameter)
        numeric = numeric if layer.mask is None else numeric * layer.mask
    size = np.maximum(np.abs(gradient), np.abs(numeric))
    floor = max(1e-3 * size.max(), np.finfo(np.float64).tiny)
    return float((np.abs(gradient - numeric) / np.maximum(size, floor)).max())


def _float64_copy(net):
    state = net.__getstate__()
    copy = object.__new__(type(net))
    copy.__setstate__({**state, "dtype": "float64"})
    return copy
