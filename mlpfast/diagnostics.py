"""Gradient flow: sizes of a, z, delta and dW in each layer, saturated and dead units.

gradient_flow makes a Report: a table, and a verdict, vanishing, exploding or healthy. GradientFlow is the same as a
callback of Trainer.fit.

delta_l = (delta_{l+1} W_{l+1}^T) * g_l'(z_l) is a product of L - l matrices: its size changes by a factor per layer,
and so geometrically with depth; Hochreiter (1991), Bengio et al. (1994), Glorot and Bengio (2010).

sigmoid, tanh, softsign, hard_sigmoid and sign can saturate (MLP_SATURATES in csrc/vocabulary.h): an entry of a is
saturated if g' is at most FLAT = 5 % of the largest g', for sign always. A unit of the ReLU family (MLP_RECTIFIER) is
dead on X if z <= 0 on all rows.

The verdict compares the first trainable layer f with the last layer L,

    ratio = |delta_f| / |delta_L|,   |delta_l| = sqrt(n_l) * RMS of delta_l

and is "vanishing" below VANISHING = 1/100, "exploding" above EXPLODING = 100. It uses lengths instead of RMS, since
He's initialization keeps the length of delta from layer to layer for any widths, while the RMS falls from a narrow
layer to a wide one below it. The limit is 100, since all layers share one learning rate: if it suits the last layer,
the steps of the first are a hundred times too small or too large. A factor of 1/4 per layer, the largest possible
derivative of sigmoid, reaches it in 4 layers, a factor of 0.9 in 44; random variation of healthy layers does not: 40
networks of 50 layers of 64 relu units had ratios from 0.12 to 3.5. Numbers that are not finite are "exploding". If
delta_L is zero everywhere, nothing is left to learn: the ratio is NaN and the verdict "healthy".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import _kernels, backprop, losses
from ._attributes import Closed
from ._examples import examples
from ._fpmode import in_default_mode
from ._scalars import whole_number

__all__ = ["GradientFlow", "LayerFlow", "Report", "gradient_flow"]

if TYPE_CHECKING:
    from ._types import AnyLoss, ArrayLike
    from .network import Network
    from .trainer import Trainer

VANISHING, EXPLODING = 1e-2, 1e2

FLAT = 0.05  # an entry is saturated if g'(z) is at most this fraction of the largest g'


class LayerFlow(NamedTuple):
    """One layer on all of X. a, z, delta, dW: root mean squares; delta is without 1/B, dW with it and without
    penalties. saturated: fraction of the entries of a. dead: fraction of the units; dead relu units have no gradient,
    those of similar activations a small one. NaN for activations that do not saturate or die. shape: (n_in, n_out).
    activation: its name. gradient_flow makes them; there are no errors.

    >>> import mlpfast
    >>> net = mlpfast.Network([2, 3, 1], seed=0)
    >>> report = mlpfast.diagnostics.gradient_flow(net, [[1.0, 2.0]], [0.5], "half_squared_error")
    >>> report.layers[0].shape, report.layers[0].activation, round(report.layers[0].dead, 2)
    ((2, 3), 'relu', 0.67)
    """

    shape: tuple[int, ...]
    activation: str
    a: float
    z: float
    delta: float
    dW: float
    saturated: float
    dead: float


class Report:
    """What gradient_flow finds in a network.

    layers: a LayerFlow per layer.
    first: the number, from 0, of the first layer that is trained, f.
    ratio: |delta_f| / |delta_L|, with f = layers[first].
    per_layer: its (L - f)-th root, the factor per layer.
    verdict: "vanishing", "exploding" or "healthy", by the two thresholds.

    gradient_flow makes one; print(report) shows a table of the layers and the verdict. It checks nothing: no errors.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> net = mlpfast.Network([64, *[32] * 8, 10], activation="sigmoid", output="softmax", init="xavier_normal", seed=0)
    >>> report = mlpfast.diagnostics.gradient_flow(net, X[:200], y[:200], "cross_entropy")
    >>> report.verdict, round(report.per_layer, 2)
    ('vanishing', 0.24)
    >>> [f"{layer.delta:.0e}" for layer in report.layers]
    ['2e-06', '9e-06', '4e-05', '2e-04', '7e-04', '3e-03', '1e-02', '5e-02', '3e-01']
    """

    thresholds: tuple[float, float] = VANISHING, EXPLODING
    layers: list[LayerFlow]
    first: int
    ratio: float
    per_layer: float
    verdict: str

    def __init__(self, layers: list[LayerFlow], first: int) -> None:
        self.layers, self.first = layers, first
        lengths = [layer.delta * layer.shape[1] ** 0.5 for layer in layers]
        self.ratio = float(np.float64(lengths[first]) / lengths[-1])
        self.per_layer = self.ratio ** (1 / max(1, len(layers) - 1 - first))
        self.verdict = self._verdict()

    def _verdict(self):
        low, high = self.thresholds
        sizes = [size for layer in self.layers for size in (layer.z, layer.a, layer.delta, layer.dW)]
        if not np.isfinite(sizes).all() or self.ratio > high:
            return "exploding"
        return "vanishing" if self.ratio < low else "healthy"

    def __str__(self) -> str:
        names = ("rms a", "rms z", "rms delta", "rms dW")
        lines = [f"{'layer':>5}  {'shape':>14}  {'activation':<12}"
                 + "".join(f"{name:>11}" for name in names) + f"{'saturated':>11}{'dead':>7}"]
        for number, layer in enumerate(self.layers, 1):
            shape = f"{layer.shape[0]} -> {layer.shape[1]}"
            sizes = "".join(f"{size:>11.3g}" for size in (layer.a, layer.z, layer.delta, layer.dW))
            lines.append(f"{number:>5}  {shape:>14}  {layer.activation:<12}{sizes}"
                         f"{_share(layer.saturated):>11}{_share(layer.dead):>7}")
        return "\n".join([*lines, self.reason()])

    def reason(self) -> str:
        """The verdict and the numbers it is based on, as one line.

        >>> import mlpfast
        >>> X, y = mlpfast.datasets.load_digits()
        >>> net = mlpfast.Network([64, 32, 32, 10], output="softmax", seed=0)
        >>> print(mlpfast.diagnostics.gradient_flow(net, X[:200], y[:200], "cross_entropy").reason())
        healthy: |delta_1| / |delta_3| = 0.722, a factor of 0.85 a layer; vanishing below 0.01, exploding above 100
        """
        low, high = self.thresholds
        ratio = f"|delta_{self.first + 1}| / |delta_{len(self.layers)}| = {self.ratio:.3g}"
        return (f"{self.verdict}: {ratio}, a factor of {self.per_layer:.3g} a layer; "
                f"vanishing below {low:g}, exploding above {high:g}")

    def __repr__(self) -> str:
        return f"<gradient flow of {len(self.layers)} layers: {self.verdict}, ratio {self.ratio:.3g}>"


def _share(value):
    return "-" if np.isnan(value) else f"{100 * value:.0f} %"


@in_default_mode
def gradient_flow(net: Network, X: ArrayLike, y: ArrayLike, loss: AnyLoss) -> Report:
    """A Report on one forward and backward pass with X (n, n_in); y and loss as in Trainer. A few hundred rows suffice.
    The network is not changed. Dropout and input noise are not applied.

    net: a Network. ValueError or TypeError as for Trainer.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> net = mlpfast.Network([64, 32, 32, 10], output="softmax", seed=0)
    >>> print(mlpfast.diagnostics.gradient_flow(net, X[:200], y[:200], "cross_entropy"))
    layer           shape  activation        rms a      rms z  rms delta     rms dW  saturated   dead
        1        64 -> 32  relu              0.172      0.238      0.122     0.0101          -   16 %
        2        32 -> 32  relu              0.203      0.265      0.142    0.00311          -   22 %
        3        32 -> 10  softmax           0.102      0.224      0.301     0.0056          -      -
    healthy: |delta_1| / |delta_3| = 0.722, a factor of 0.85 a layer; vanishing below 0.01, exploding above 100
    """
    loss = losses.checked(loss, backprop.checked_network(net))
    data = examples(X, y, net, loss)
    tape = backprop._forward(net, data.X)
    deltas = backprop._deltas(net, tape, data, loss)
    layers = [
        _layer_flow(layer, *arrays)
        for layer, *arrays in zip(net.layers, [tape.X, *tape.a[:-1]], tape.z, tape.a, deltas, strict=True)
    ]
    trained = [l for l, layer in enumerate(net.layers) if layer.trainable]
    return Report(layers, trained[0] if trained else 0)


def _layer_flow(layer, a_below, z, a, delta):
    unit, nan = layer._unit, float("nan")
    mask = layer._mask_of_core()
    dW = _kernels.weight_gradient(layer.W, mask, a_below, delta, 1 / len(delta), 0.0, 0.0)
    saturated = _share_saturated(unit, z) if unit.traits.saturates else nan
    dead = float((~(z > 0).any(axis=0)).mean()) if unit.traits.rectifier else nan
    shape = layer.n_in, layer.n_out
    return LayerFlow(shape, unit.name, _rms(a), _rms(z), _rms(delta), _rms(dW), saturated, dead)


def _share_saturated(unit, z):
    """The fraction of the entries of z where g' is flat; the largest g' is searched in [-4, 4]."""
    largest = np.abs(_derivative(unit, np.linspace(-4, 4, 1025)[None])).max()
    return float((np.abs(_derivative(unit, z.astype(np.float64))) <= FLAT * largest).mean())


def _derivative(unit, z):
    slopes = np.ones_like(z)
    _kernels.through_derivative(slopes, z if unit.traits.in_z else _kernels.activate(z, unit), unit)
    return slopes


def _rms(array):
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))  # squares of float32 may overflow


class GradientFlow(Closed):
    """A callback of Trainer.fit: gradient_flow on X, y after every `every` epochs, with the trainer's loss.

    reports: the Reports so far; epochs: the numbers, from 0, of their epochs.

    every >= 1, else ValueError or TypeError; X (n, n_in) and y are checked when they are used.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> net = mlpfast.Network([64, 32, 10], output="softmax", seed=0)
    >>> watch = mlpfast.diagnostics.GradientFlow(X[:200], y[:200], every=2)
    >>> history = mlpfast.Trainer(net, seed=0).fit(X, y, epochs=4, callbacks=watch)
    >>> watch.epochs, watch.reports[-1].verdict
    ([1, 3], 'healthy')
    """

    X: ArrayLike
    y: ArrayLike
    every: int
    reports: list[Report]
    epochs: list[int]

    def __init__(self, X: ArrayLike, y: ArrayLike, *, every: int = 1) -> None:
        self.X, self.y = X, y
        self.every = whole_number("every", every, least=1)
        self.reports, self.epochs = [], []

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """Add a Report, if it is the turn of this epoch."""
        if (epoch + 1) % self.every == 0:
            self.reports.append(gradient_flow(trainer.network, self.X, self.y, trainer.loss))
            self.epochs.append(epoch)
