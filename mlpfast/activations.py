"""Activations a = g(z); csrc/kernels/activation.inc.h computes them and their derivatives.

Names use the default parameter; objects set another.

    identity      z
    relu          max(z, 0), derivative 0 at 0                                       Nair and Hinton (2010)
    leaky_relu    z if z > 0, else alpha z;  LeakyReLU(alpha=0.01), alpha >= 0       Maas et al. (2013)
    prelu         the same with learned alpha;  PReLU(alpha=0.25, shared=False)      He et al. (2015)
    elu           z if z > 0, else alpha (e^z - 1);  ELU(alpha=1.0), alpha >= 0      Clevert et al. (2016)
    selu          1.0507 (z if z > 0, else 1.6733 (e^z - 1))                         Klambauer et al. (2017)
    gelu          z Phi(z), Phi the standard normal distribution function            Hendrycks and Gimpel (2016)
    gelu_tanh     z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3)))                      the same paper
    silu          z sigmoid(z); "swish" is another name for it                       Elfwing et al. (2018)
    mish          z tanh(log(1 + e^z))                                               Misra (2020)
    softplus      log(1 + e^z)                                                       Dugas et al. (2001)
    softsign      z / (1 + |z|)                                                      Bergstra et al. (2009)
    hard_sigmoid  min(1, max(0, (z + 3) / 6)), derivative 0 at its corners           Howard et al. (2019)
    hard_swish    z hard_sigmoid(z)                                                  Howard et al. (2019)
    sigmoid       1 / (1 + e^-z)
    tanh          tanh(z)
    exp           e^z
    sign          -1, 0 or 1: the threshold unit; its derivative is 0 everywhere     McCulloch and Pitts (1943)
    softmax       e^z_j / sum_k e^z_k, over a row; its derivative is the full Jacobian
    Custom(forward, derivative)                                                      your own Python functions
    PerOutput([(outputs, activation), ...])                                          parts of the last layer
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ._core import ACTIVATIONS
from ._functions import checked_result, function
from ._named import Named, bounds, from_name, own_name
from ._outputs import as_given, items_of, outputs_of, width_of
from ._scalars import flag, real_number

__all__ = ["Activation", "Custom", "ELU", "LeakyReLU", "PReLU", "PerOutput"]

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._types import AnyActivation, Array, ArrayLike

NAMES = tuple(name for name, unit in ACTIVATIONS.items() if not unit.is_custom)


class Activation(Named):
    """An activation by name, with its parameter. Two are equal if name and parameters are.

    name: of the table of the module, where no class is named. Arguments named `activation` and `output` take the name
        itself.

    ValueError, where it is used, for a name that is unknown or has a class.

    >>> import mlpfast
    >>> tanh = mlpfast.activations.Activation("tanh")
    >>> mlpfast.Network([2, 3, 1], activation=tanh).layers[0].activation
    Activation('tanh')
    """

    known = ACTIVATIONS
    alpha: float = 0.0
    shared: bool = False
    parts: tuple[Any, ...] = ()  # of a PerOutput

    def __init__(self, name: str, **values: Any) -> None:
        if "alpha" in values:
            least, _ = bounds(ACTIVATIONS[name].least_alpha)
            values["alpha"] = real_number("alpha", values["alpha"], least=least)
        super().__init__(name, **values)

    def _key(self):
        return self.name, self.alpha, self.shared

    def __eq__(self, other: object) -> bool:
        return self._key() == (other._key() if isinstance(other, Activation) else other)

    def __hash__(self) -> int:
        return hash(self._key())


class LeakyReLU(Activation):
    """z if z > 0, else alpha z; alpha >= 0, else ValueError or TypeError. Maas et al. (2013).

    >>> import numpy as np
    >>> import mlpfast
    >>> unit = mlpfast.activations.LeakyReLU(alpha=0.1)
    >>> net = mlpfast.Network([1, 1], output=unit, init="zeros")
    >>> net.layers[0].W = 1
    >>> net.predict([[-2.0], [2.0]])
    array([[-0.2],
           [ 2. ]], dtype=float32)
    """

    parameters: tuple[str, ...] = ("alpha",)

    def __init__(self, alpha: float = 0.01) -> None:
        super().__init__("leaky_relu", alpha=alpha)


class ELU(Activation):
    """z if z > 0, else alpha (e^z - 1); alpha >= 0, else ValueError or TypeError. Clevert et al. (2016).

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], output=mlpfast.activations.ELU(alpha=0.5), init="zeros")
    >>> net.layers[0].W = 1
    >>> net.predict([[-2.0], [2.0]]).round(4)
    array([[-0.4323],
           [ 2.    ]], dtype=float32)
    """

    parameters: tuple[str, ...] = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__("elu", alpha=alpha)


class PReLU(Activation):
    """z if z > 0, else alpha z, with alpha learned: one slope per unit, or one shared by all units of the layer.

    alpha is the initial value; Layer.slopes holds the current ones. l1 and l2 do not penalise them.

    shared: True for one slope.

    ValueError or TypeError for an alpha that is no finite number. He et al. (2015).

    >>> import mlpfast
    >>> layer = mlpfast.Network([mlpfast.Layer(2, 3, mlpfast.activations.PReLU(alpha=0.1))]).layers[0]
    >>> layer.slopes
    array([0.1, 0.1, 0.1], dtype=float32)
    """

    parameters: tuple[str, ...] = ("alpha", "shared")

    def __init__(self, alpha: float = 0.25, shared: bool = False) -> None:
        super().__init__("prelu", alpha=alpha, shared=flag("shared", shared))


class Custom(Activation):
    """g(z) and g'(z) as Python functions: forward(z) and derivative(z), elementwise on an array z (rows, units) of the
    network's dtype, which they may keep or change. Both return an array of z's shape.

    The layer's product and activation are then two passes instead of one, and the second holds the GIL. Training calls
    the functions for whole minibatches, predict and evaluate for some rows at a time, all on the thread of the caller.
    An exception ends the call, and the network is as it was after the last whole minibatch. Results have the same bits
    on every machine and for any split of the rows only if the functions have.

    name: what files call it, which do not hold the functions: load_network(path, custom={name: Custom(...)}).

    TypeError for a forward or derivative that is no function, ValueError for a name of the library's; in a call of the
    network ValueError or TypeError for results of another shape or kind.

    >>> import numpy as np
    >>> import mlpfast
    >>> sine = mlpfast.activations.Custom(np.sin, np.cos)
    >>> net = mlpfast.Network([1, 1], output=sine, init="zeros")
    >>> net.layers[0].W = 1
    >>> net.predict([[0.0], [np.pi / 2]])
    array([[0.],
           [1.]], dtype=float32)
    """

    parameters: tuple[str, ...] = ("forward", "derivative")
    forward: Callable
    derivative: Callable

    def __init__(
        self, forward: Callable[[Array], ArrayLike], derivative: Callable[[Array], ArrayLike], *, name: str = "custom",
    ) -> None:
        forward, derivative = function("forward", forward), function("derivative", derivative)
        super().__init__(own_name(name, NAMES), forward=forward, derivative=derivative)

    @property
    def traits(self) -> Any:
        return ACTIVATIONS["custom"]

    def _key(self):
        return self.name, self.forward, self.derivative

    def values(self, z: Array) -> Array:
        """g(z), checked."""
        return checked_result("forward(z)", z.shape, self.forward, z)

    def derivatives(self, z: Array) -> Array:
        """g'(z), checked."""
        return checked_result("derivative(z)", z.shape, self.derivative, z)


class _Part(NamedTuple):
    """Outputs first .. first + n - 1 with that Activation."""

    first: int
    n: int
    activation: Activation


class PerOutput(Activation):
    """Activations of parts of the outputs, for the last layer of a network that is trained with a losses.PerOutput.

    parts: [(outputs, activation), ...]; outputs is a number or a slice of neighbours, and each output is in one part;
        activation a name or an object, neither prelu nor Custom.

    predict returns the values of all of them. The loss takes z_L and contains them.

    ValueError or TypeError for parts that overlap or leave an output out, and for activations that cannot be a part.

    >>> import mlpfast
    >>> output = mlpfast.activations.PerOutput([(slice(0, 2), "softmax"), (2, "identity")])
    >>> net = mlpfast.Network([1, 3], output=output, init="zeros")
    >>> net.layers[0].W = [[0, 0, 1]]
    >>> net.predict([[5.0]])
    array([[0.5, 0.5, 5. ]], dtype=float32)
    """

    parameters: tuple[str, ...] = ("parts",)
    n_out: int

    def __init__(self, parts: Iterable[tuple[int | slice, AnyActivation]]) -> None:
        example = '[(slice(0, 3), "softmax"), (3, "identity")]'
        own = tuple(
            _part(f"parts[{i}]", *item) for i, item in enumerate(items_of("parts", parts, (2,), example))
        )
        super().__init__("per_output", parts=own, n_out=width_of("parts", own))

    @property
    def traits(self) -> Any:
        """Those of identity: what the core computes, and losses take, is z_L."""
        return ACTIVATIONS["identity"]

    def _key(self):
        return self.name, self.parts

    def arguments(self) -> dict[str, Any]:
        return {"parts": [(as_given(part), of_part(part.activation)) for part in self.parts]}

    def __repr__(self) -> str:
        return f"PerOutput({self.arguments()['parts']!r})"


def _part(argument, outputs, activation):
    first, n = outputs_of(argument, outputs)
    activation = checked(argument, activation)
    check_part(argument, activation)
    return _Part(first, n, activation)


def of_part(activation: Activation) -> AnyActivation:
    """As it was given: a name, or an object with parameters."""
    return activation if activation.parameters else activation.name


def check_part(argument: str, activation: Activation) -> None:
    """ValueError if it cannot be that of a part of the outputs."""
    traits = activation.traits
    if traits.is_custom or traits.learns_alpha or activation.parts:
        raise ValueError(f"{argument} must be an activation of the library without learned slopes, got {activation!r}")


OTHER_NAMES = {"swish": "silu"}
SUGGESTED = {"linear": ["identity"], "logistic": ["sigmoid"], "lrelu": ["leaky_relu"]}  # for names of other libraries
WITH_PARAMETERS: dict[str, Any] = {
    kind().name: kind  # type: ignore[call-arg]
    for kind in Activation.__subclasses__() if kind not in (Custom, PerOutput)
}


def checked(name: str, value: Any) -> Activation:
    """An Activation from value, a name or an object; `name`: the argument's name, for messages."""
    value = OTHER_NAMES.get(value, value) if isinstance(value, str) else value
    return from_name(name, value, Activation, NAMES, WITH_PARAMETERS, "ELU() or Custom(g, derivative)", SUGGESTED)
