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

    Custom(value, delta)  your own Python functions               any output

With output identity, cross_entropy, binary_cross_entropy and poisson apply softmax, sigmoid and exp as part of the
loss. perceptron and hinge are functions of z_L; their y is -1 or +1.
"""

from collections.abc import Callable
from typing import Any

from ._core import LOSSES, Y_DISTRIBUTIONS
from ._functions import checked_result, function
from ._named import Named, bounds, from_name, own_name
from ._scalars import one_of, real_number, within

NAMES = tuple(name for name, row in LOSSES.items() if not row.is_custom)

_SQUARES = ["half_squared_error", "squared_error"]
SUGGESTED = {  # for names of other libraries
    "mse": _SQUARES, "meansquarederror": _SQUARES, "mae": ["absolute_error"], "bce": ["binary_cross_entropy"],
    "categoricalcrossentropy": ["cross_entropy"], "sparsecategoricalcrossentropy": ["cross_entropy"],
    "nll": ["cross_entropy"], "pinball": ["quantile"], "l2": _SQUARES, "l1": ["absolute_error"],
}


def _share(name, value):
    value = real_number(name, value, least=0)
    if value > 1:
        raise ValueError(f"{name} must be from 0 to 1, got {value!r}")
    return value


class Loss(Named):
    """A loss by name, with its parameter."""

    known = LOSSES
    parameter = label_smoothing = 0.0

    def __init__(self, name, **values):
        if "label_smoothing" in values:
            values["label_smoothing"] = _share("label_smoothing", values["label_smoothing"])
        elif name in LOSSES and LOSSES[name].above < LOSSES[name].below and values:
            (own,) = self.parameters
            above, below = bounds(LOSSES[name].above, LOSSES[name].below)
            values[own] = values["parameter"] = real_number(own, values[own], above=above, below=below)
        super().__init__(name, **values)

    @property
    def takes_z(self):
        """Whether it is a function of z_L, since it contains the output activation."""
        return self.traits.of_z

    @property
    def through_output(self):
        """Whether its derivative is d loss / d a_L, which has to be multiplied by g'(z_L)."""
        return not self.takes_z


class CrossEntropy(Loss):
    """-sum y log yhat; with label_smoothing e, y becomes (1 - e) y + e / K for K classes."""

    parameters = ("label_smoothing",)

    def __init__(self, label_smoothing=0.0):
        super().__init__("cross_entropy", label_smoothing=label_smoothing)


class BinaryCrossEntropy(Loss):
    """-sum y log yhat + (1 - y) log(1 - yhat); with label_smoothing e, y becomes (1 - e) y + e / 2."""

    parameters = ("label_smoothing",)

    def __init__(self, label_smoothing=0.0):
        super().__init__("binary_cross_entropy", label_smoothing=label_smoothing)


class Huber(Loss):
    """1/2 r^2 where |r| <= delta, delta (|r| - delta/2) beyond; delta > 0."""

    parameters = ("delta",)

    def __init__(self, delta=1.0):
        super().__init__("huber", delta=delta)


class Quantile(Loss):
    """q (y - yhat) below the target, (1 - q) (yhat - y) above; 0 < q < 1."""

    parameters = ("q",)

    def __init__(self, q=0.5):
        super().__init__("quantile", q=q)


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

        Trainer(net, losses.Custom(lambda y, yhat: ((yhat - y) ** 4).sum(axis=1), lambda y, yhat: 4 * (yhat - y) ** 3))

    Threads, exceptions, bits and name: as for activations.Custom.
    """

    parameters = ("value", "delta", "of")
    value: Callable
    delta: Callable
    of: str

    def __init__(self, value, delta, *, of="yhat", name="custom"):
        value, delta = function("value", value), function("delta", delta)
        of = one_of("of", of, ("yhat", "z"))
        super().__init__(own_name(name, NAMES), value=value, delta=delta, of=of)

    @property
    def traits(self):
        return LOSSES["custom"]

    @property
    def through_output(self):
        return self.of == "yhat"

    def rows(self, y, yhat):
        """The losses (rows,), checked."""
        return checked_result("value(y, yhat)", yhat.shape[:1], self.value, y.copy(), yhat)

    def deltas(self, y, yhat):
        """The result of delta (rows, n_out), checked."""
        return checked_result("delta(y, yhat)", yhat.shape, self.delta, y, yhat)


WITH_PARAMETERS: dict[str, Any] = {
    kind().name: kind for kind in Loss.__subclasses__() if kind is not Custom  # type: ignore[call-arg]
}


def checked(loss, network):
    """A Loss from loss, a name or an object; ValueError if it is unknown or does not fit the output activation."""
    loss = from_name("loss", loss, Loss, NAMES, WITH_PARAMETERS, "Huber() or Custom(value, delta)", SUGGESTED)
    for name in loss.parameters:
        if isinstance(getattr(loss, name), float):
            within(name, getattr(loss, name), network.dtype)
    last = network.layers[-1]
    output, allowed = last._unit.name, loss.traits.outputs
    if allowed and output not in allowed:
        others = [repr(name) for name, row in LOSSES.items() if row.natural == output]
        hint = f"; {' or '.join(others)} goes with it" if others else ""
        raise ValueError(
            f"loss {loss.name!r} needs an output activation of {' or '.join(allowed)}, got {output!r}{hint}"
        )
    if last._unit.traits.learns_alpha and not (loss.takes_z or loss.through_output):
        raise ValueError(f"loss must have of='yhat' with a {output} as output, whose slopes learn from it, got of='z'")
    if loss.traits.y == Y_DISTRIBUTIONS and last.n_out < 2:
        raise ValueError(
            f"loss {loss.name!r} needs at least 2 outputs, one for each class, got 1; "
            "for two classes and one output use 'binary_cross_entropy'"
        )
    return loss


def check_learns(loss, network):
    """ValueError if the output activation makes every gradient of a checked loss zero."""
    output = network.layers[-1]._unit
    if loss.through_output and output.traits.stops:
        others = ", ".join(repr(name) for name, row in LOSSES.items() if output.name in row.outputs)
        raise ValueError(
            f"loss {loss.name!r} needs an output activation with a derivative to train, got {output.name!r}, whose 0 "
            f"stops every gradient: {others} and a Custom loss of='z' go with it"
        )
