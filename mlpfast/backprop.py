"""Backpropagation, layer by layer, written like the equations and computed by the kernels of the training step.

    forward    z_l = a_{l-1} W_l + b_l,   a_l = g_l(z_l),   a_0 = X
    residuals  delta_L = d loss / d z_L,  delta_l = (delta_{l+1} W_{l+1}^T) * g_l'(z_l)     one row per example
    gradients  dJ/dW_l = (1/B) a_{l-1}^T delta_l + l2 W_l + l1 sign(W_l),   dJ/db_l = (1/B) sum of delta_l's rows
    inputs     d loss / dX = delta_1 W_1^T                                                   one row per example

forward and residuals are computed below layer by layer; `gradients` calls the core, and gives the bits that a step of
Trainer on the same minibatch uses. Only the gradients contain the factor 1/B.
Lists have an entry per layer: [0] belongs to layer 1, [-1] to layer L.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np

from . import _core, _kernels, losses
from ._arrays import inputs as checked_inputs
from ._config import checked_threads
from ._examples import examples
from ._fpmode import in_default_mode
from ._scalars import flag, real_number
from ._weights import checked_mean_weight
from .network import Network

__all__ = ["Tape", "check_gradients", "forward", "gradients", "residuals"]

if TYPE_CHECKING:
    from ._types import AnyLoss, Array, ArrayLike


class Tape(NamedTuple):
    """The results of a forward pass: X = a_0 (B, n_in), and z[l], a[l] (B, n_l) for each layer.

    It is what forward returns, and raises no errors.

    >>> import mlpfast
    >>> tape = mlpfast.backprop.forward(mlpfast.Network([2, 3, 1], seed=0), [[1.0, 2.0]])
    >>> tape.X.shape, [z.shape for z in tape.z], [a.shape for a in tape.a]
    ((1, 2), [(1, 3), (1, 1)], [(1, 3), (1, 1)])
    """

    X: np.ndarray
    z: list[np.ndarray]
    a: list[np.ndarray]


def checked_network(net: Any) -> Network:
    if not isinstance(net, Network):
        hint = ": pass trainer.network" if isinstance(getattr(net, "network", None), Network) else ""
        raise TypeError(f"net must be a Network, got {type(net).__name__}{hint}")
    return net


@in_default_mode
def forward(net: Network, X: ArrayLike) -> Tape:
    """z_l and a_l of every layer, for X (B, n_in) -> Tape.

    The arrays are new, of the network's dtype. TypeError if net is no Network, ValueError or TypeError for X that does
    not fit.

    >>> import mlpfast
    >>> net = mlpfast.Network([2, 2, 1], init="zeros")
    >>> net.layers[0].W, net.layers[1].W = [[1, -1], [1, -1]], [[1], [1]]
    >>> tape = mlpfast.backprop.forward(net, [[1.0, 2.0]])
    >>> tape.z[0], tape.a[0], tape.a[-1]
    (array([[ 3., -3.]], dtype=float32), array([[3., 0.]], dtype=float32), array([[3.]], dtype=float32))
    """
    checked_network(net)
    return _forward(net, checked_inputs(X, net))


def _forward(net, X):
    x = _kernels.gather(X, net.input_scale, net.dtype, net.input_transform)
    tape = Tape(x, [], [])
    for layer in net.layers:
        z = _kernels.affine(x, layer.W, layer.b)
        x = _kernels.activate(z, layer._unit, layer.slopes)
        tape.z.append(z)
        tape.a.append(x)
    return tape


@in_default_mode
def residuals(net: Network, X: ArrayLike, y: ArrayLike, loss: AnyLoss) -> list[Array]:
    """[delta_1, ..., delta_L], each (B, n_l), without the 1/B. y and loss as in Trainer.

    net: a Network.
    X (B, n_in): as in Trainer. The residuals are new arrays of the network's dtype.

    ValueError or TypeError for arguments that do not fit.

    >>> import mlpfast
    >>> net = mlpfast.Network([2, 2, 1], init="zeros")
    >>> net.layers[0].W, net.layers[1].W = [[1, -1], [1, -1]], [[1], [1]]
    >>> deltas = mlpfast.backprop.residuals(net, [[1.0, 2.0]], [2.0], "half_squared_error")
    >>> deltas  # 3 - 2 for the output, and 0 where relu is off
    [array([[1., 0.]], dtype=float32), array([[1.]], dtype=float32)]
    """
    loss = losses.checked(loss, checked_network(net))
    data = examples(X, y, net, loss)
    return _deltas(net, _forward(net, data.X), data, loss)


def _deltas(net, tape, data, loss):
    last = len(net.layers) - 1
    delta = _loss_and_delta(net, tape, data, loss)[1]
    if loss.through_output:  # delta is d loss / d a_L
        _through_derivative(net, tape, last, delta)
        if data.entries is not None and net.layers[-1]._unit.name != "softmax":
            delta[data.entries == 0] = 0  # where the derivative may be infinite
    deltas = [delta]
    for l in range(last, 0, -1):
        delta = _kernels.delta_below(delta, net.layers[l].W)
        _through_derivative(net, tape, l - 1, delta)
        deltas.insert(0, delta)
    return deltas


def _loss_and_delta(net, tape, data, loss):
    return _kernels.loss_and_delta(tape.z[-1] if loss.takes_z else tape.a[-1], data, loss, net.layers[-1]._unit)


def _through_derivative(net, tape, l, delta):
    """Turn delta from d loss / d a of layer l into d loss / d z, in place."""
    unit = net.layers[l]._unit
    kept = tape.z[l] if unit.traits.in_z else tape.a[l]  # what g' is written in
    _kernels.through_derivative(delta, kept, unit, net.layers[l].slopes)


@overload
def gradients(
    net: Network, X: ArrayLike, y: ArrayLike, loss: AnyLoss, *, l1: float = 0, l2: float = 0,
    sample_weight: ArrayLike | None = None, mean_weight: float | None = None, inputs: Literal[False] = False,
) -> list[tuple[Any, ...]]: ...
@overload
def gradients(
    net: Network, X: ArrayLike, y: ArrayLike, loss: AnyLoss, *, l1: float = 0, l2: float = 0,
    sample_weight: ArrayLike | None = None, mean_weight: float | None = None, inputs: Literal[True],
) -> tuple[list[tuple[Any, ...]], Array]: ...
@in_default_mode
def gradients(
    net: Network, X: ArrayLike, y: ArrayLike, loss: AnyLoss, *, l1: float = 0, l2: float = 0,
    sample_weight: ArrayLike | None = None, mean_weight: float | None = None, inputs: bool = False,
) -> Any:
    """[(dJ/dW_1, dJ/db_1), ...] in the shapes of W and b; db is None for a layer without a bias. For a layer with a
    prelu, the gradient of its slopes is added: (dW, db, dslopes).

    With sample_weight (B,), each residual is multiplied by its weight, and 1/B becomes 1 / (sum of the weights), or
    with mean_weight 1 / (B mean_weight): see Trainer.step. If all weights are 0, the gradient of the loss is 0. Weights
    of y's shape are those of its entries, as in Trainer.fit.

    inputs: True returns (that list, dX) with dX (B, n_in) of the network's dtype. Row i is the gradient of row i's
        loss, times its weight, with respect to x_i as given (it contains the factor input_scale for uint8 X, and
        1 / scale of an input_transform), without 1/B, mean_weight and penalties. For a Custom loss that depends on
        several rows together, it is the gradient of the sum of all losses. For d yhat_k / dX, the slope of an output,
        use a Custom loss whose value is yhat_k.
    Dropout and noise are not applied.

    net: a Network, which is not changed.
    X (B, n_in), y and loss: as in Trainer.
    l1, l2: penalties besides those of the Layers.

    ValueError or TypeError for arguments that do not fit.

    >>> import mlpfast
    >>> net = mlpfast.Network([2, 2, 1], init="zeros")
    >>> net.layers[0].W, net.layers[1].W = [[1, -1], [1, -1]], [[1], [1]]
    >>> (dW_1, db_1), (dW_2, db_2) = mlpfast.backprop.gradients(net, [[1.0, 2.0]], [2.0], "half_squared_error")
    >>> dW_1, dW_2
    (array([[1., 0.],
           [2., 0.]], dtype=float32), array([[3.],
           [0.]], dtype=float32))
    """
    inputs, loss = flag("inputs", inputs), losses.checked(loss, checked_network(net))
    l1, l2 = real_number("l1", l1, least=0), real_number("l2", l2, least=0)
    data = examples(X, y, net, loss, sample_weight=sample_weight, all_zero=True)
    data.mean_weight = checked_mean_weight(mean_weight)
    core = _core.Trainer(net._core, loss, len(data))
    settings = _core.plain_gradient_settings(l1, l2)
    options = _core.gradient_options(undisturbed=True, frozen_too=True)
    arrays = iter(core.gradient(data, settings, checked_threads(None), options, guarded=True)[2])
    result = [
        (next(arrays), next(arrays) if layer.bias else None, *([] if layer.slopes is None else [next(arrays)]))
        for layer in net.layers
    ]
    return (result, _input_gradient(net, data, loss)) if inputs else result


def _input_gradient(net, data, loss):
    """d loss / dX = delta_1 W_1^T, with respect to X as given."""
    delta = _deltas(net, _forward(net, data.X), data, loss)[0]
    dX = _kernels.delta_below(delta, net.layers[0].W)
    if net.input_transform is not None:
        dX /= net.input_transform[1]
    if data.X.dtype == np.uint8:
        dX *= net.input_scale
    return dX


@in_default_mode
def check_gradients(
    net: Network, X: ArrayLike, y: ArrayLike, loss: AnyLoss, *, step: float = 1e-6, inputs: bool = False,
) -> float:
    """The largest relative error of `gradients` against central differences over all parameters, in float64; with
    inputs=True over all elements of X too.

    The differences (L(w + h) - L(w - h)) / 2h use a float64 copy of the network and h = step * max(1, |w|). An error is
    relative to the larger of the two values, but to no less than 1e-3 of the largest gradient of all parameters, or of
    X, since smaller differences are mostly rounding errors. Expect 1e-5 or less; near a kink of relu it may be larger.

    net: a Network, which is not changed.
    X (B, n_in), y and loss: as in Trainer.

    ValueError or TypeError for arguments that do not fit.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> net = mlpfast.Network([64, 5, 10], activation="tanh", output="softmax", seed=0)
    >>> mlpfast.backprop.check_gradients(net, X[:8], y[:8], "cross_entropy") < 1e-5
    True
    """
    step, inputs = real_number("step", step, above=0), flag("inputs", inputs)
    copy = _float64_copy(checked_network(net))
    loss = losses.checked(loss, copy)
    found = gradients(copy, X, y, loss, inputs=inputs)  # type: ignore[call-overload]
    of_parameters, dX = found if inputs else (found, None)
    given = checked_inputs(X, net)
    data = examples(_kernels.gather(given, copy.input_scale, copy.dtype), y, copy, loss)

    def mean_loss():
        loss_sum, weight_sum, *_ = copy._core.evaluate(data, loss, 1)
        return loss_sum / weight_sum

    def row_losses():  # per row, so that rows that do not change cancel exactly in the difference
        return _loss_and_delta(copy, _forward(copy, data.X), data, loss)[0]

    pairs, of_inputs = [], []
    for layer, own in zip(copy.layers, of_parameters, strict=True):
        for parameter, gradient in zip((layer.W, layer.b, layer.slopes), own, strict=False):
            if parameter is not None:
                pairs.append((gradient, _numeric_gradient(layer, parameter, mean_loss, step)))
    if inputs:
        scale = copy.input_scale if given.dtype == np.uint8 else 1.0
        of_inputs = [(dX, scale * _central_differences(data.X, row_losses, step))]
    return float(np.max(_relative_errors(pairs) + _relative_errors(of_inputs)))  # NaN if any is


def _numeric_gradient(layer, parameter, mean_loss, step):
    numeric = _central_differences(parameter, mean_loss, step)
    if parameter.ndim == 2:  # the layer's own penalty, and its mask
        numeric += layer._present_l2() * parameter + layer.l1 * np.sign(parameter)
        numeric = numeric if layer.mask is None else numeric * layer.mask
    return numeric


def _central_differences(array, J, step):
    """d sum J / d array; J() reads the current contents of array."""
    numeric = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        w = array[index]
        h = step * max(1.0, abs(w))
        array[index] = w + h
        above = J()
        array[index] = w - h
        below = J()
        array[index] = w
        numeric[index] = np.sum(above - below) / (2 * h)
    return numeric


def _relative_errors(pairs):
    """The largest one of each pair (gradient, numeric). A gradient that is 0 by its formula, as that of a bias which
    the loss does not depend on, is rounding errors alone: only the others say how large they may be."""
    sizes = [np.maximum(np.abs(gradient), np.abs(numeric)) for gradient, numeric in pairs]
    floor = max([1e-3 * float(size.max()) for size in sizes] + [float(np.finfo(np.float64).tiny)])
    return [
        float((np.abs(gradient - numeric) / np.maximum(size, floor)).max())
        for (gradient, numeric), size in zip(pairs, sizes, strict=True)
    ]


def _float64_copy(net):
    state = net.__getstate__()
    copy = object.__new__(type(net))
    copy.__setstate__({**state, "dtype": "float64", "parameters": net.parameters})
    return copy
