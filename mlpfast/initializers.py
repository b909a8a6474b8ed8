"""Initial parameters, from counter-based random numbers: the same seed gives the same ones on every machine.

Of weights W (n_in, n_out), and of biases b (n_out,), which have n_in and n_out of their W:

    xavier_normal   N(0, 2 / (n_in + n_out))            Glorot and Bengio (2010)
    xavier_uniform  U(-r, r), r^2 = 6 / (n_in + n_out)
    he_normal       N(0, 2 / n_in)                      He et al. (2015)
    he_uniform      U(-r, r), r^2 = 6 / n_in
    lecun_normal    N(0, 1 / n_in)                      LeCun et al. (1998)
    normal          N(0, 1)
    uniform         U(-r, r), r^2 = 1 / n_in            the common heuristic named in Glorot and Bengio (2010)
    torch           the same, and biases too            torch.nn.Linear
    zeros           0
    auto            what `automatic` says; biases of weights with another rule are zero, but for torch

The second argument of N is the variance.
"""

import math

from . import _core
from ._scalars import one_of

# "auto": half width of a first layer's W, times sqrt(n_in); variance of a hidden one's, times n_in. docs/vocabulary.md
# says why.
OTHERS = 1.0, 1.0
BY_ACTIVATION = {
    **dict.fromkeys(["relu", "leaky_relu", "prelu"], (0.5, 1.5)),
    **dict.fromkeys(["gelu", "gelu_tanh", "silu", "mish", "softplus", "hard_swish"], (1.0, 2.0)),
    **dict.fromkeys(["sigmoid", "hard_sigmoid"], (2.0, 16.0)),
}
LEAST = 1 / 12  # of a first layer: what MNIST's 784 pixels, most of them black, need

BLOCK = 2**16  # random numbers
BIASES = 2**32  # plus the layer: their stream, where that of its weights is the layer

# name -> (distribution, its standard deviation or half width)
RULES = {
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


def checked(name, init):
    """The initializer's name, or ValueError; `name` is the argument's for the messages."""
    return one_of(name, init, (*RULES, "auto"))


def automatic(activation, place, n_in, n_out):
    """(half width of W, half width of b): what "auto" draws uniformly; place is "first", "hidden" or "output"."""
    first, hidden = BY_ACTIVATION.get(activation, OTHERS)
    if place == "first":
        return min(max(first / math.sqrt(n_in), LEAST), math.sqrt(6 / n_in)), 1 / math.sqrt(n_in)
    if place == "hidden":
        return math.sqrt(3 * hidden / n_in), 0.0
    return math.sqrt(6 / (n_in + n_out) if activation in ("softmax", "sigmoid") else 3 / n_in), 0.0


def rules(layer, init, bias_init, place):
    """((distribution, size) of W, the same of b) of a Layer; init and bias_init are its network's, for its "auto"."""

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


def fill(W, b, rules, seed, layer):
    """Overwrite W (n_in, n_out) and b (n_out,), or None, by these rules, fixed by seed and the layer's number."""
    _draw(W, rules[0], seed, layer)
    if b is not None:
        _draw(b[None], rules[1], seed, BIASES + layer)


def _draw(matrix, rule, seed, stream):
    distribution, size = rule
    n_rows, n_cols = matrix.shape
    if size == 0:
        matrix[...] = 0
        return
    some = max(1, BLOCK // n_cols)  # rows at a time: they are float64, and W may be large
    for row in range(0, n_rows, some):
        rows = matrix[row : row + some]
        if distribution == "normal":
            numbers = _core.random_normal(rows.size, seed, stream, row * n_cols)
        else:
            numbers = 2 * _core.random_uniform(rows.size, seed, stream, row * n_cols) - 1
        rows[...] = (numbers * size).reshape(rows.shape)
