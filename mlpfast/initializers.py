"""Initial weights, from counter-based random numbers: the same seed gives the same weights on every machine.

    xavier_normal   N(0, 2 / (n_in + n_out))            Glorot and Bengio (2010)
    xavier_uniform  U(-r, r), r^2 = 6 / (n_in + n_out)
    he_normal       N(0, 2 / n_in)                      He et al. (2015)
    he_uniform      U(-r, r), r^2 = 6 / n_in
    lecun_normal    N(0, 1 / n_in)                      LeCun et al. (1998)
    normal          N(0, 1)
    uniform         U(-r, r), r^2 = 1 / n_in            the common heuristic named in Glorot and Bengio (2010)
    zeros           0
    auto            he_normal for the ReLU family, lecun_normal for selu, xavier_normal otherwise

The second argument of N is the variance.
"""

import math

from . import _core
from ._validate import one_of

BLOCK = 2**16  # random numbers

# name -> (distribution, its standard deviation or half width)
RULES = {
    "xavier_normal": ("normal", lambda n_in, n_out: math.sqrt(2 / (n_in + n_out))),
    "xavier_uniform": ("uniform", lambda n_in, n_out: math.sqrt(6 / (n_in + n_out))),
    "he_normal": ("normal", lambda n_in, n_out: math.sqrt(2 / n_in)),
    "he_uniform": ("uniform", lambda n_in, n_out: math.sqrt(6 / n_in)),
    "lecun_normal": ("normal", lambda n_in, n_out: math.sqrt(1 / n_in)),
    "normal": ("normal", lambda n_in, n_out: 1.0),
    "uniform": ("uniform", lambda n_in, n_out: math.sqrt(1 / n_in)),
    "zeros": ("zeros", None),
}


def checked(init):
    """The initializer's name, or ValueError."""
    return one_of("init", init, (*RULES, "auto"))


def resolve(init, activation):
    """The rule that "auto" stands for."""
    if init != "auto":
        return init
    unit = _core.ACTIVATIONS[activation]
    if unit.self_normalizing:
        return "lecun_normal"  # Klambauer et al. (2017)
    return "he_normal" if unit.rectifier else "xavier_normal"


def fill(W, init, seed, stream):
    """Overwrite W (n_in, n_out) with the initial weights of that rule, fixed by seed and stream (the layer)."""
    distribution, scale = RULES[init]
    if distribution == "zeros":
        W[...] = 0
        return
    n_in, n_out = W.shape
    some = max(1, BLOCK // n_out)  # rows at a time: they are float64, and W may be large
    for row in range(0, n_in, some):
        rows = W[row : row + some]
        if distribution == "normal":
            numbers = _core.random_normal(rows.size, seed, stream, row * n_out)
        else:
            numbers = 2 * _core.random_uniform(rows.size, seed, stream, row * n_out) - 1
        rows[...] = (numbers * scale(n_in, n_out)).reshape(rows.shape)
