"""Losses of an example with target y and prediction yhat = a_L; csrc/kernels/loss.inc.h computes them.

Names use the default parameter; objects set another. r = yhat - y; sums are over the outputs. "Any" output activation
excludes sign, whose derivative is 0.

    cross_entropy         -sum y log yhat                         output softmax, or identity for logits
                          CrossEntropy(label_smoothing=e): y becomes (1 - e) y + e / K       Szegedy et al. (2016)
    binary_cross_entropy  -sum y log yhat + (1 - y) log(1 - yhat) output sigmoid, or identity for logits
                          BinaryCrossEntropy(label_smoothing=e): y becomes (1 - e) y + e / 2
    half_squared_error    1/2 sum r^2                             any output
    squared_error         sum r^2                                 any output
    absolute_error        sum |r|, derivative 0 at 0              any output
    huber                 sum 1/2 r^2 if |r| <= delta, else delta (|r| - delta/2)
                          Huber(delta=1.0)                        any output                 Huber (1964)
    quantile              sum max(-q r, (1 - q) r), derivative 0 at 0
                          Quantile(q=0.5)                         any output                 Koenker and Bassett (1978)
    log_cosh              sum log cosh r                          any output
    poisson               sum yhat - y log yhat                   output exp or softplus, or identity for log yhat
    perceptron            sum max(0, -y z), derivative -y at 0    output identity or sign    Rosenblatt (1958)
    hinge                 sum max(0, 1 - y z)                     output identity or sign    Cortes and Vapnik (1995)
                          one against the rest where y (n, K) are rows of -1 and +1, or one-hot;
                          with class numbers max(0, 1 + max_{j != y} z_j - z_y), output identity
                                                                                             Crammer and Singer (2001)

    gaussian_nll          1/2 sum s + (m - y)^2 e^-s              output identity: k means m, then k log variances s;
                                                                  y (n, k)           Nix and Weigend (1994)
    cox_ph                log sum_{j at risk} e^z_j - z_i of the rows i with an event, of a minibatch together, ties by
                          Efron; one output identity, the log hazard; y (n, 2): time, event  Cox (1972), Efron (1977)

    Quantile([q, ...])    for each q of m an output: m k outputs for y (n, k)
    PerOutput([(outputs, loss, factor), ...])                     losses of parts of the outputs
    Custom(value, delta)  your own Python functions               any output

With output identity, cross_entropy, binary_cross_entropy and poisson apply softmax, sigmoid and exp as part of the
loss. perceptron and hinge are functions of z_L; their y is -1 or +1.

missing="ignore", an argument of the objects of half_squared_error, squared_error, absolute_error, huber, quantile,
log_cosh, poisson, gaussian_nll and binary_cross_entropy: y may hold NaN, entries that were not measured. Such an entry
has weight 0: it adds nothing to loss, gradients and named metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import activations
from ._core import LOSSES, Y_DISTRIBUTIONS
from ._functions import checked_result, function
from ._named import Named, bounds, from_name, own_name
from ._outputs import as_given, items_of, outputs_of, width_of
from ._scalars import one_of, real_number, within
from ._targets import for_numbers

__all__ = [
    "AbsoluteError", "BinaryCrossEntropy", "CoxPH", "CrossEntropy", "Custom", "GaussianNLL", "HalfSquaredError",
    "Huber", "LogCosh", "Loss", "PerOutput", "Poisson", "Quantile", "SquaredError",
]

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._types import AnyLoss, Array, ArrayLike
    from .activations import Activation
    from .network import Network

NAMES = tuple(name for name, row in LOSSES.items() if not row.is_custom and name != "per_output")

_SQUARES = ["half_squared_error", "squared_error"]
SUGGESTED = {  # for names of other libraries
    "mse": _SQUARES, "meansquarederror": _SQUARES, "mae": ["absolute_error"], "bce": ["binary_cross_entropy"],
    "categoricalcrossentropy": ["cross_entropy"], "sparsecategoricalcrossentropy": ["cross_entropy"],
    "nll": ["cross_entropy"], "pinball": ["quantile"], "l2": _SQUARES, "l1": ["absolute_error"],
    "mseloss": _SQUARES, "squaredloss": _SQUARES, "l1loss": ["absolute_error"], "smoothl1loss": ["huber"],
    "nllloss": ["cross_entropy"], "logloss": ["cross_entropy", "binary_cross_entropy"],
    "bceloss": ["binary_cross_entropy"], "bcewithlogitsloss": ["binary_cross_entropy"],
}


def _share(name, value):
    value = real_number(name, value, least=0)
    if value > 1:
        raise ValueError(f"{name} must be from 0 to 1, got {value!r}")
    return value


class Loss(Named):
    """A loss by name, with its parameter.

    name: of the table of the module, where no class is named; losses of numbers have classes too, for `missing`.
        Arguments named `loss` take the name itself.

    ValueError, where it is used, for a name that is unknown or has a class.

    >>> import mlpfast
    >>> hinge = mlpfast.losses.Loss("hinge")
    >>> mlpfast.Trainer(mlpfast.Network([2, 1]), hinge).loss
    Loss('hinge')
    """

    known = LOSSES
    parameter: float = 0.0
    label_smoothing: float = 0.0
    missing: str | None = None
    parts: tuple[Any, ...] = ()  # of a PerOutput

    def __init__(self, name: str, **values: Any) -> None:
        missing = values.get("missing")
        if missing is not None and not (isinstance(missing, str) and missing == "ignore"):
            raise ValueError(f'missing must be None or "ignore", got {missing!r}')
        if missing and type(self) is Loss:
            raise ValueError(f"missing is an argument of classes such as losses.Huber, got it for Loss({name!r})")
        if "label_smoothing" in values:
            values["label_smoothing"] = _share("label_smoothing", values["label_smoothing"])
        elif name in LOSSES and LOSSES[name].above < LOSSES[name].below and {*values} - {"missing"}:
            (own,) = self.parameters
            above, below = bounds(LOSSES[name].above, LOSSES[name].below)
            values[own] = values["parameter"] = real_number(own, values[own], above=above, below=below)
        super().__init__(name, **values)

    def arguments(self) -> dict[str, Any]:
        return super().arguments() if self.missing is None else {**super().arguments(), "missing": self.missing}

    def __repr__(self) -> str:
        given = ", ".join(f"{own}={value!r}" for own, value in self.arguments().items())
        return f"{type(self).__name__}({given or (repr(self.name) if type(self) is Loss else '')})"

    def y_columns(self, n_out: int) -> int:
        """The number of columns of y (n, ..) for that many outputs; ValueError if there can be none."""
        return n_out

    def parts_of(self, output: Activation, n_out: int) -> list[_CorePart]:
        """[_CorePart] for losses that the core takes as one of several parts; else []."""
        return []

    def measured(self, output: Activation, n_out: int) -> list[_Measured]:
        """[_Measured]: what named metrics compare."""
        return [_Measured("", slice(None), slice(None), self, output)]

    @property
    def takes_z(self) -> bool:
        """Whether it is a function of z_L, since it contains the output activation."""
        return self.traits.of_z

    @property
    def through_output(self) -> bool:
        """Whether its derivative is d loss / d a_L, which has to be multiplied by g'(z_L)."""
        return not self.takes_z


class _CorePart(NamedTuple):
    """A part of the outputs, and its loss, as mlp_loss_block has them."""

    first: int
    n: int
    activation: activations.Activation
    y_first: int
    factor: float
    loss: Loss


class _Measured(NamedTuple):
    """Outputs, and the columns of y that they predict, with their loss and activation. suffix: of the names."""

    suffix: str
    outputs: slice
    columns: slice
    loss: Loss
    output: activations.Activation


class HalfSquaredError(Loss):
    """1/2 sum r^2, r = yhat - y; y (n,) or (n, n_out). Legendre (1805).

    missing: "ignore" takes NaN in y as an entry of weight 0; the weight of a row is then the mean over its entries.
        ValueError for anything else but None.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], init="zeros")
    >>> loss = mlpfast.losses.HalfSquaredError(missing="ignore")
    >>> mlpfast.Trainer(net, loss).evaluate([[1.0], [1.0]], [2.0, float("nan")])
    {'loss': 2.0}
    """

    def __init__(self, *, missing: str | None = None) -> None:
        super().__init__("half_squared_error", missing=missing)


class SquaredError(Loss):
    """sum r^2, r = yhat - y; y (n,) or (n, n_out). Legendre (1805).

    missing: as for HalfSquaredError, with the same ValueError.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 2], init="zeros")
    >>> mlpfast.Trainer(net, mlpfast.losses.SquaredError()).evaluate([[1.0]], [[2.0, 1.0]])
    {'loss': 5.0}
    """

    def __init__(self, *, missing: str | None = None) -> None:
        super().__init__("squared_error", missing=missing)


class AbsoluteError(Loss):
    """sum abs(r), r = yhat - y; y (n,) or (n, n_out). Its derivative is sign(r), and 0 at 0. Laplace (1774).

    missing: as for HalfSquaredError, with the same ValueError.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 2], init="zeros")
    >>> mlpfast.Trainer(net, mlpfast.losses.AbsoluteError()).evaluate([[1.0]], [[2.0, 1.0]])
    {'loss': 3.0}
    """

    def __init__(self, *, missing: str | None = None) -> None:
        super().__init__("absolute_error", missing=missing)


class LogCosh(Loss):
    """sum log cosh r, r = yhat - y; y (n,) or (n, n_out): r^2 / 2 for small r, abs(r) - log 2 for large. Green (1990).

    missing: as for HalfSquaredError, with the same ValueError.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], init="zeros")
    >>> scores = mlpfast.Trainer(net, mlpfast.losses.LogCosh()).evaluate([[1.0]], [2.0])
    >>> round(scores["loss"], 4)
    1.325
    """

    def __init__(self, *, missing: str | None = None) -> None:
        super().__init__("log_cosh", missing=missing)


class Poisson(Loss):
    """sum yhat - y log yhat, for counts y >= 0, (n,) or (n, n_out): the negative log likelihood of a Poisson
    distribution with mean yhat, without log y!. Nelder and Wedderburn (1972).

    The output is "exp" or "softplus", or "identity" for log yhat.
    missing: as for HalfSquaredError, with the same ValueError.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], output="exp", init="zeros")
    >>> mlpfast.Trainer(net, mlpfast.losses.Poisson()).evaluate([[1.0]], [3])  # yhat = e^0
    {'loss': 1.0}
    """

    def __init__(self, *, missing: str | None = None) -> None:
        super().__init__("poisson", missing=missing)


class CrossEntropy(Loss):
    """-sum y log yhat; with label_smoothing e, y becomes (1 - e) y + e / K for K classes. Bridle (1990), Szegedy et al.
    (2016).

    y: class numbers (n,), one-hot rows or probabilities (n, K). The output is "softmax", or "identity" for logits.
    label_smoothing: from 0 to 1, else ValueError or TypeError.

    >>> import mlpfast
    >>> net = mlpfast.Network([2, 3], output="softmax", init="zeros")
    >>> trainer = mlpfast.Trainer(net, mlpfast.losses.CrossEntropy(label_smoothing=0.1))
    >>> round(trainer.evaluate([[1.0, 2.0]], [2])["loss"], 4)  # log 3
    1.0986
    """

    parameters: tuple[str, ...] = ("label_smoothing",)

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__("cross_entropy", label_smoothing=label_smoothing)


class BinaryCrossEntropy(Loss):
    """-sum y log yhat + (1 - y) log(1 - yhat); with label_smoothing e, y becomes (1 - e) y + e / 2. Cox (1958), Szegedy
    et al. (2016).

    y (n,) or (n, n_out): 0 and 1, -1 and +1, or probabilities. The output is "sigmoid", or "identity" for logits.
    label_smoothing: from 0 to 1, else ValueError or TypeError.
    missing: as for HalfSquaredError, with the same ValueError.

    >>> import mlpfast
    >>> net = mlpfast.Network([2, 1], output="sigmoid", init="zeros")
    >>> trainer = mlpfast.Trainer(net, mlpfast.losses.BinaryCrossEntropy())
    >>> round(trainer.evaluate([[1.0, 2.0]], [1])["loss"], 4)  # log 2
    0.6931
    """

    parameters: tuple[str, ...] = ("label_smoothing",)

    def __init__(self, label_smoothing: float = 0.0, *, missing: str | None = None) -> None:
        super().__init__("binary_cross_entropy", label_smoothing=label_smoothing, missing=missing)


class Huber(Loss):
    """1/2 r^2 where abs(r) <= delta, delta (abs(r) - delta/2) beyond, r = yhat - y; y (n,) or (n, n_out). Huber (1964).

    delta: > 0, else ValueError or TypeError.
    missing: as for HalfSquaredError, with the same ValueError.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], init="zeros")
    >>> trainer = mlpfast.Trainer(net, mlpfast.losses.Huber(delta=0.5))
    >>> trainer.evaluate([[1.0]], [2.0])
    {'loss': 0.875}
    """

    parameters: tuple[str, ...] = ("delta",)

    def __init__(self, delta: float = 1.0, *, missing: str | None = None) -> None:
        super().__init__("huber", delta=delta, missing=missing)


class Quantile(Loss):
    """q (y - yhat) below the target, (1 - q) (yhat - y) above; 0 < q < 1.

    q: a number, or m ascending ones for several quantiles of each target: y (n, k), or (n,) for k = 1, and m k outputs,
        of which the first m belong to the first column of y. The loss is the sum over all outputs.

    Koenker and Bassett (1978). ValueError or TypeError for a q that does not fit.
    missing: as for HalfSquaredError, with the same ValueError.

    >>> import mlpfast
    >>> loss = mlpfast.losses.Quantile([0.1, 0.5, 0.9])
    >>> net = mlpfast.Network([4, 16, 3], seed=0)  # of one target
    >>> mlpfast.Trainer(net, loss).loss
    Quantile(q=(0.1, 0.5, 0.9))
    >>> loss.sorted([[2.0, 1.0, 3.0]])
    array([[1., 2., 3.]])
    """

    parameters: tuple[str, ...] = ("q",)
    q: Any
    _levels: tuple = ()  # a Quantile for each of several q

    def __init__(self, q: float | Sequence[float] = 0.5, *, missing: str | None = None) -> None:
        if not isinstance(q, (list, tuple, np.ndarray)):
            super().__init__("quantile", q=q, missing=missing)
            return
        levels = tuple(real_number(f"q[{i}]", level, above=0, below=1) for i, level in enumerate(q))
        if not levels or list(levels) != sorted(set(levels)):
            raise ValueError(f"q must hold ascending numbers between 0 and 1, got {q!r}")
        super().__init__("quantile", missing=missing)
        vars(self).update(q=levels, _levels=tuple(Quantile(level) for level in levels))

    @property
    def traits(self) -> Any:
        return LOSSES["per_output" if self._levels else "quantile"]

    def y_columns(self, n_out: int) -> int:
        m = len(self._levels) or 1
        if n_out % m:
            raise ValueError(f"loss 'quantile' of {m} quantiles needs {m} outputs for each column of y, got {n_out}")
        return n_out // m

    def parts_of(self, output: Activation, n_out: int) -> list[_CorePart]:
        m = len(self._levels)
        return [_CorePart(j, 1, output, j // m, 1.0, self._levels[j % m]) for j in range(n_out) if m]

    def measured(self, output: Activation, n_out: int) -> list[_Measured]:
        if not self._levels:
            return super().measured(output, n_out)
        return [
            _Measured(f"[{i}]", slice(i, None, len(self._levels)), slice(None), level, output)
            for i, level in enumerate(self._levels)
        ]

    def sorted(self, yhat: Array) -> Array:
        """Predictions (n, m k) with the m quantiles of each target in ascending order, a new array: training does not
        keep them from crossing. Sorting does not raise the loss: Chernozhukov et al. (2010).

        yhat: of any dtype, which is kept. ValueError for another shape.

        >>> import mlpfast
        >>> mlpfast.losses.Quantile([0.1, 0.9]).sorted([[2.0, 1.0], [3.0, 4.0]])
        array([[1., 2.],
               [3., 4.]])
        """
        yhat, m = np.asarray(yhat), len(self._levels) or 1
        if yhat.ndim != 2 or yhat.shape[1] % m:
            raise ValueError(f"yhat must have shape (n, k {m}) for {m} quantiles, got {yhat.shape}")
        return np.sort(yhat.reshape(len(yhat), -1, m), axis=2).reshape(yhat.shape)


class GaussianNLL(Loss):
    """1/2 sum s + (m - y)^2 e^-s: the negative log likelihood of y (n, k) from normal distributions, without the
    constant log(2 pi) / 2. Of the 2 k outputs the first k are the means m, the others the log variances s.

    Nix and Weigend (1994). The output is "identity".
    missing: as for HalfSquaredError, with the same ValueError.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 2], init="zeros")  # mean 0, variance e^0
    >>> mlpfast.Trainer(net, mlpfast.losses.GaussianNLL()).evaluate([[1.0]], [2.0])
    {'loss': 2.0}
    """

    def __init__(self, *, missing: str | None = None) -> None:
        super().__init__("gaussian_nll", missing=missing)

    def y_columns(self, n_out: int) -> int:
        if n_out % 2:
            raise ValueError(
                f"loss 'gaussian_nll' needs two outputs for each column of y, mean and log variance, got {n_out}"
            )
        return n_out // 2

    def measured(self, output: Activation, n_out: int) -> list[_Measured]:
        return [_Measured("", slice(0, n_out // 2), slice(None), self, output)]


class CoxPH(Loss):
    """The negative log of Cox's partial likelihood of the rows of a minibatch together, ties by Efron's method.

    The output is the log of a row's hazard relative to the others'. y (n, 2): the time, and 1 if the event has happened
    then, 0 if the row was observed no longer. Only the order of the times counts. The loss of a row with an event is
    log sum e^z over the rows whose time is not shorter - z, that of others 0; the mean is over all rows. A minibatch
    compares its own rows alone, so it should be large, or batch_size=None. evaluate and validation take all rows.

    Cox (1972), Efron (1977). ValueError if a network has several outputs, or y another shape.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], init="zeros")
    >>> y = [[1.0, 1], [2.0, 0], [3.0, 1]]  # the second was observed until 2
    >>> scores = mlpfast.Trainer(net, mlpfast.losses.CoxPH()).evaluate([[0.0], [1.0], [2.0]], y)
    >>> round(scores["loss"], 4)  # (log 3 + log 1) / 3
    0.3662
    """

    def __init__(self) -> None:
        super().__init__("cox_ph")

    def y_columns(self, n_out: int) -> int:
        if n_out != 1:
            raise ValueError(f"loss 'cox_ph' needs one output, the log hazard, got {n_out}")
        return 2

    def measured(self, output: Activation, n_out: int) -> list[_Measured]:
        return []


class _LossPart(NamedTuple):
    """Outputs first .. first + n - 1 with that Loss, times factor."""

    first: int
    n: int
    loss: Loss
    factor: float

    @property
    def y_columns(self) -> int:
        return 1 if self.by_class else self.loss.y_columns(self.n)

    @property
    def by_class(self) -> bool:
        return self.loss.traits.y == Y_DISTRIBUTIONS


class PerOutput(Loss):
    """Losses of parts of the outputs: the loss of a row is the sum of theirs, each times its factor.

    parts: [(outputs, loss, factor), ...]; outputs is a number or a slice of neighbours, and each output is in one part;
        loss a name or an object, neither Custom nor CoxPH; factor > 0, and 1 if it is left out.

    y (n, ..): the columns of the parts in their order, as many as each loss takes alone, but for cross_entropy one
        column of class numbers. sample_weight is (n,), or has the shape of y. Named metrics are computed for each part
        that they go with, as "accuracy[0]", "mae[1]".

    output: the activations.PerOutput that belongs to it: softmax for cross_entropy, sigmoid for binary_cross_entropy,
        exp for poisson, else identity. With a network of output "identity", predict returns logits and log rates. Other
        activations of the losses that go with any are set by an activations.PerOutput of the same outputs.

    ValueError or TypeError for parts that overlap or leave an output out, and for losses that cannot be a part.

    >>> import mlpfast
    >>> loss = mlpfast.losses.PerOutput([(slice(0, 3), "cross_entropy"), (3, "huber", 0.5)])
    >>> net = mlpfast.Network([2, loss.n_out], output=loss.output, init="zeros")
    >>> scores = mlpfast.Trainer(net, loss).evaluate([[1.0, 2.0]], [[2, 1.0]])  # class 2, and the number 1
    >>> round(scores["loss"], 4)  # log 3 + 0.5 * 0.5
    1.3486
    """

    parameters: tuple[str, ...] = ("parts",)
    n_out: int

    def __init__(self, parts: Iterable[tuple[Any, ...]]) -> None:
        example = '[(slice(0, 3), "cross_entropy", 1.0), (3, "huber", 0.5)]'
        items = items_of("parts", parts, (2, 3), example)
        own = tuple(_part(f"parts[{i}]", *item) for i, item in enumerate(items))
        super().__init__("per_output", parts=own, n_out=width_of("parts", own))

    @property
    def output(self) -> activations.PerOutput:
        """The activations.PerOutput that belongs to it, a new one.

        >>> import mlpfast
        >>> mlpfast.losses.PerOutput([(slice(0, 3), "cross_entropy"), (3, "poisson")]).output
        PerOutput([(slice(0, 3, None), 'softmax'), (3, 'exp')])
        """
        return activations.PerOutput([
            (as_given(part), (part.loss.traits.outputs or ("identity",))[0]) for part in self.parts
        ])

    def y_columns(self, n_out: int) -> int:
        return sum(part.y_columns for part in self.parts)

    def columns(self) -> list[tuple[_LossPart, slice]]:
        """[(part, its columns of y)]"""
        places, at = [], 0
        for part in self.parts:
            places.append((part, slice(at, at + part.y_columns)))
            at += part.y_columns
        return places

    def parts_of(self, output: Activation, n_out: int) -> list[_CorePart]:
        own = []
        for part, columns in sorted(self.columns(), key=lambda place: place[0].first):  # as the core takes them
            activation = activation_of(output, part.first, part.n)
            whole = _CorePart(0, part.n, activation, 0, 1.0, part.loss)
            own += [
                _CorePart(part.first + one.first, one.n, activation, columns.start + one.y_first, part.factor, one.loss)
                for one in part.loss.parts_of(activation, part.n) or [whole]
            ]
        return own

    def measured(self, output: Activation, n_out: int) -> list[_Measured]:
        own = []
        for i, (part, columns) in enumerate(self.columns()):
            end = part.first + part.n
            activation = activation_of(output, part.first, part.n)
            for one in part.loss.measured(activation, part.n):
                outputs = range(part.first, end)[one.outputs]
                outputs = slice(outputs.start, outputs.stop, outputs.step)
                own.append(_Measured(f"[{i}]{one.suffix}", outputs, columns, one.loss, activation))
        return own

    def arguments(self) -> dict[str, Any]:
        return {"parts": [(as_given(part), _of_part(part.loss), part.factor) for part in self.parts]}

    def __repr__(self) -> str:
        return f"PerOutput({self.arguments()['parts']!r})"


def _of_part(loss):
    """As it was given: a name, or an object with parameters."""
    return loss if loss.arguments() else loss.name


def _part(argument, outputs, loss, factor=1.0):
    loss = from_name(argument, loss, Loss, NAMES, WITH_PARAMETERS, "Huber()", SUGGESTED)
    if loss.traits.is_custom or loss.traits.joins or loss.parts:
        raise ValueError(f"{argument} must have a loss of the library for single rows, got {loss!r}")
    first, n = outputs_of(argument, outputs)
    part = _LossPart(first, n, loss, real_number(f"{argument} factor", factor, above=0))
    _check_width(loss, part.n)
    return part


def activation_of(output: Activation, first: int, count: int) -> Activation:
    """The activation of outputs first .. first + n - 1 of a layer with the activation output; ValueError if they
    have none of their own."""
    for part in output.parts:
        if part.first <= first and first + count <= part.first + part.n:
            if part.activation.name == "softmax" and part.n != count:
                break
            return part.activation
    if output.parts or output.name == "softmax":
        raise ValueError(
            f"loss 'per_output' needs an output activation with the same parts, got {output!r} for outputs {first} to "
            f"{first + count - 1}; the loss's own is its attribute `output`"
        )
    return output


class Custom(Loss):
    """A loss and its derivative as Python functions of arrays: value(y, yhat), the losses (rows,), and delta(y, yhat)
    (rows, n_out).

    yhat (rows, n_out) = a_L is of the network's dtype. y has the values and dtype given to fit, any numbers: (rows, k)
    for any k, or (rows,) if it had one dimension and the network has several outputs; with one output it is (rows, 1),
    like yhat. Both functions may keep or change their arrays. Sample weights are applied to the results.

    rows are those of a whole minibatch in fit and step, and all rows elsewhere: in LBFGS, evaluate, validation and
    backprop. So a loss may depend on several rows together, as ranking losses and Cox's do. Its value on data is then
    that of all rows together instead of a mean over minibatches, also for val_loss.

    of: "yhat" if delta is d loss / d yhat, which is then multiplied by the derivative of the output activation; "z" if
        it is d loss / d z_L, such as yhat - y for softmax and cross entropy.

    Threads, exceptions, bits and name: as for activations.Custom.

    TypeError for a value or delta that is no function, ValueError for another `of` or a name of the library's; in
    training ValueError or TypeError for results of another shape or kind.

    >>> import mlpfast
    >>> def value(y, yhat):
    ...     return ((yhat - y) ** 4).sum(axis=1)
    >>> fourth = mlpfast.losses.Custom(value, lambda y, yhat: 4 * (yhat - y) ** 3)
    >>> net = mlpfast.Network([1, 1], init="zeros")
    >>> mlpfast.Trainer(net, fourth).evaluate([[1.0]], [2.0])
    {'loss': 16.0}
    """

    parameters: tuple[str, ...] = ("value", "delta", "of")
    value: Callable
    delta: Callable
    of: str

    def __init__(
        self,
        value: Callable[[Array, Array], ArrayLike],
        delta: Callable[[Array, Array], ArrayLike],
        *,
        of: str = "yhat",
        name: str = "custom",
    ) -> None:
        value, delta = function("value", value), function("delta", delta)
        of = one_of("of", of, ("yhat", "z"))
        super().__init__(own_name(name, NAMES), value=value, delta=delta, of=of)

    @property
    def traits(self) -> Any:
        return LOSSES["custom"]

    @property
    def through_output(self) -> bool:
        return self.of == "yhat"

    def rows(self, y: Array, yhat: Array) -> Array:
        """The losses (rows,), checked."""
        return checked_result("value(y, yhat)", yhat.shape[:1], self.value, y.copy(), yhat)

    def deltas(self, y: Array, yhat: Array) -> Array:
        """The result of delta (rows, n_out), checked."""
        return checked_result("delta(y, yhat)", yhat.shape, self.delta, y, yhat)


WITH_PARAMETERS: dict[str, Any] = {
    kind().name: kind for kind in Loss.__subclasses__() if kind not in (Custom, PerOutput)  # type: ignore[call-arg]
}


def checked(loss: AnyLoss, network: Network) -> Loss:
    """A Loss from loss, a name or an object; ValueError if it is unknown or does not fit the output activation."""
    loss = from_name("loss", loss, Loss, NAMES, WITH_PARAMETERS, "Huber() or Custom(value, delta)", SUGGESTED)
    last = network.layers[-1]
    if isinstance(loss, PerOutput):
        if loss.n_out != last.n_out:
            raise ValueError(f"loss {loss!r} needs {loss.n_out} outputs, got {last.n_out}")
        for part in loss.parts:
            activation = activation_of(last._unit, part.first, part.n)
            within("factor", part.factor, network.dtype)
            _check_fits(part.loss, activation, part.n, network.dtype)
    elif last._unit.parts:
        raise ValueError(f"loss must be a PerOutput for a network with a PerOutput as output, got {loss.name!r}")
    else:
        _check_fits(loss, last._unit, last.n_out, network.dtype)
    if loss.parts_of(last._unit, last.n_out) and not last._unit.parts:
        activations.check_part("output", last._unit)
        if last._unit.name == "softmax":
            raise ValueError(f"loss {loss!r} needs an output activation for each output, got 'softmax'")
    return loss


def _check_fits(loss, output, n_out, dtype):
    """ValueError if the loss does not go with the activation of its outputs, or with their number."""
    for name in loss.parameters:
        values = getattr(loss, name)
        for value in values if isinstance(values, tuple) else (values,):
            if isinstance(value, float):
                within(name, value, dtype)
    allowed = loss.traits.outputs
    if allowed and output.name not in allowed:
        others = [repr(name) for name, row in LOSSES.items() if row.natural == output.name]
        hint = f"; {' or '.join(others)} goes with it" if others else ""
        raise ValueError(
            f"loss {loss.name!r} needs an output activation of {' or '.join(allowed)}, got {output.name!r}{hint}"
            f"{for_numbers(loss)}"
        )
    if output.traits.learns_alpha and not (loss.takes_z or loss.through_output):
        raise ValueError(
            f"loss must have of='yhat' with a {output.name} as output, whose slopes learn from it, got of='z'"
        )
    _check_width(loss, n_out)


def _check_width(loss, n_out):
    if loss.traits.y == Y_DISTRIBUTIONS and n_out < 2:
        raise ValueError(
            f"loss {loss.name!r} needs at least 2 outputs, one for each class, got 1; "
            f"for two classes and one output use 'binary_cross_entropy'{for_numbers(loss)}"
        )
    loss.y_columns(n_out)


def check_learns(loss: Loss, network: Network) -> None:
    """ValueError if the output activation makes every gradient of a checked loss zero."""
    output = network.layers[-1]._unit
    parts = loss.parts_of(output, network.n_out)
    for one, activation in [(part.loss, part.activation) for part in parts] or [(loss, output)]:
        if one.through_output and activation.traits.stops:
            others = ", ".join(repr(name) for name, row in LOSSES.items() if activation.name in row.outputs)
            raise ValueError(
                f"loss {one.name!r} needs an output activation with a derivative to train, got {activation.name!r}, "
                f"whose 0 stops every gradient: {others} and a Custom loss of='z' go with it"
            )
