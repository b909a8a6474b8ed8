"""Initial parameters from counter-based random numbers: a seed gives the same ones on every machine.

For weights W (n_in, n_out), and for biases b (n_out,) with the n_in and n_out of their W:

    xavier_normal   N(0, 2 / (n_in + n_out))            Glorot and Bengio (2010)
    xavier_uniform  U(-r, r), r^2 = 6 / (n_in + n_out)
    he_normal       N(0, 2 / n_in)                      He et al. (2015)
    he_uniform      U(-r, r), r^2 = 6 / n_in
    lecun_normal    N(0, 1 / n_in)                      LeCun et al. (1998)
    normal          N(0, 1)
    uniform         U(-r, r), r^2 = 1 / n_in            the common heuristic named in Glorot and Bengio (2010)
    torch           the same, for biases too            torch.nn.Linear
    zeros           0
    auto            weights: see `automatic`. biases: by the rule of the weights, for "auto" and "torch"; otherwise 0

The second argument of N is the variance.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from . import _core
from ._scalars import one_of

__all__ = ["automatic"]

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._types import Array
    from .layer import Layer

# "auto": (half width of W of the first layer, times sqrt(n_in); variance of W of a hidden layer, times n_in).
# docs/vocabulary.md has the reasons.
OTHERS = 1.0, 1.0
BY_ACTIVATION = {
    **dict.fromkeys(["relu", "leaky_relu", "prelu"], (0.5, 1.5)),
    **dict.fromkeys(["gelu", "gelu_tanh", "silu", "mish", "softplus", "hard_swish"], (1.0, 2.0)),
    **dict.fromkeys(["sigmoid", "hard_sigmoid"], (2.0, 16.0)),
}
LEAST = 1 / 12  # least half width of a first layer, which MNIST's 784 mostly black pixels need

SUGGESTED = {  # for names of other libraries
    "glorotuniform": ["xavier_uniform"], "glorotnormal": ["xavier_normal"],
    "kaiminguniform": ["he_uniform"], "kaimingnormal": ["he_normal"], "default": ["auto"],
}

BLOCK = 2**16  # random numbers generated at a time
BIASES = 2**32  # stream of a layer's biases: BIASES + layer number; of its weights: the layer number

# name -> (distribution, its standard deviation or half width)
RULES: dict[str, tuple[str, Callable[[int, int], float]]] = {
    "xavier_normal": ("normal", lambda n_in, n_out: math.sqrt(2 / (n_in + n_out))),
    "xavier_uniform": ("uniform", lambda n_in, n_out: math.sqrt(6 / (n_in + n_out))),
    "he_normal": ("normal", lambda n_in, n_out: math.sqrt(2 / n_in)),
    "he_uniform": ("uniform", lambda n_in, n_out: math.sqrt(6 / n_in)),
    "lecun_normal": ("normal", lambda n_in, n_out: math.sqrt(1 / n_in)),
    "normal": ("normal", lambda n_in, n_out: 1.0),
    "uniform": ("uniform", lambda n_in, n_out: math.sqrt(1 / n_in)),
    "torch": ("uniform", lambda n_in, n_out: math.sqrt(1 / n_in)),
    "zeros": ("zeros", lambda n_in, n_out: 0.0),
}


def checked(name: str, init: Any) -> str:
    """The initializer's name, or ValueError; `name`: the argument's name, for messages."""
    return one_of(name, init, (*RULES, "auto"), SUGGESTED)


def automatic(activation: str, place: str, n_in: int, n_out: int) -> tuple[float, float]:
    """(half width of W, half width of b) of the uniform distributions of "auto"; place: "first", "hidden", "output".

    activation: a name.
    n_in, n_out: inputs and outputs of the layer.

    Biases of other layers than the first are 0. It checks nothing: no errors.

    >>> from mlpfast import initializers
    >>> [round(half, 4) for half in initializers.automatic("relu", "first", 100, 30)]
    [0.0833, 0.1]
    >>> [round(half, 4) for half in initializers.automatic("relu", "hidden", 100, 30)]
    [0.2121, 0.0]
    """
    first, hidden = BY_ACTIVATION.get(activation, OTHERS)
    if place == "first":
        return min(max(first / math.sqrt(n_in), LEAST), math.sqrt(6 / n_in)), 1 / math.sqrt(n_in)
    if place == "hidden":
        return math.sqrt(3 * hidden / n_in), 0.0
    return math.sqrt(6 / (n_in + n_out) if activation in ("softmax", "sigmoid") else 3 / n_in), 0.0


def rules(layer: Layer, init: str, bias_init: str, place: str) -> tuple[Any, Any]:
    """((distribution, size) of W, the same of b) for a Layer; its "auto" is replaced by the network's init,
    bias_init."""

    def named(name):
        distribution, size = RULES[name]
        return distribution, size(layer.n_in, layer.n_out)

    init = init if layer.init == "auto" else layer.init
    bias_init = bias_init if layer.bias_init == "auto" else layer.bias_init
    if init == "auto":
        of_W, of_b = (("uniform", half) for half in automatic(layer._unit.name, place, layer.n_in, layer.n_out))
    else:
        of_W, of_b = named(init), named("torch" if init == "torch" else "zeros")
    return of_W, of_b if bias_init == "auto" else named(bias_init)


def fill(W: Array, b: Array | None, rules: tuple[Any, Any], seed: int, layer: int) -> None:
    """Initialise W (n_in, n_out) and b (n_out,) or None by these rules, determined by seed and layer number."""
    _draw(W, rules[0], seed, layer)
    if b is not None:
        _draw(b[None], rules[1], seed, BIASES + layer)


def _draw(matrix, rule, seed, stream):
    distribution, size = rule
    n_rows, n_cols = matrix.shape
    if size == 0:
        matrix[...] = 0
        return
    some = max(1, BLOCK // n_cols)  # a few rows at a time, since the random numbers are float64 and W may be large
    for row in range(0, n_rows, some):
        rows = matrix[row : row + some]
        if distribution == "normal":
            numbers = _core.random_normal(rows.size, seed, stream, row * n_cols)
        else:
            numbers = 2 * _core.random_uniform(rows.size, seed, stream, row * n_cols) - 1
        rows[...] = (numbers * size).reshape(rows.shape)
