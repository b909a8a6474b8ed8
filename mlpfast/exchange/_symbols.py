"""Elementwise formulas in a normal form, in which those that compute the same activation are equal.

A Formula is a sum of terms, each a number (or an array, for slopes) times powers of atoms: z itself, or a function of
another Formula. Products are expanded, so that x/2 (1 + erf u), x (1 + erf u)/2 and x/2 + x/2 erf u are one formula.
max(z, 0) is Relu; min and |z| are written with it.
"""

import math

import numpy as np

CLOSE = 2e-6  # of numbers: constants may be rounded to float32
MOST_TERMS = 16
MOST_NUMBERS = 2**21  # in all terms of a Formula, and of a product before equal ones are added
DEEPEST = 12  # functions of functions: the time to compare two is exponential
ATOMS = ("Exp", "Log", "Tanh", "Sigmoid", "Erf", "Sign", "Softmax")  # operators of which nothing more is known


class NotAFormula(Exception):
    """An operator that no activation here contains."""


class Atom:
    """z, or name(argument)."""

    def __init__(self, name, argument=None):
        self.name, self.argument = name, argument
        self.depth = 0 if argument is None else 1 + argument.depth
        if self.depth > DEEPEST:
            raise NotAFormula("functions of functions, too many")

    def __eq__(self, other):
        return self is other or (self.name == other.name and self.argument == other.argument)

    __hash__ = None  # type: ignore[assignment]


class Formula:
    """terms: [(number, [(atom, exponent)])]"""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, terms):
        self.terms: list[tuple] = []
        for number, powers in terms:
            self._add(number, [(atom, exponent) for atom, exponent in powers if exponent])
        self.terms = [(number, powers) for number, powers in self.terms if np.any(number != 0)]
        if len(self.terms) > MOST_TERMS or sum(np.size(number) for number, _ in self.terms) > MOST_NUMBERS:
            raise NotAFormula("an expression with too many terms")

    def _add(self, number, powers):
        for i, (other, same) in enumerate(self.terms):
            if _same_powers(powers, same):
                _check_sizes(other, number)
                self.terms[i] = other + number, same
                return
        self.terms.append((number, powers))

    @property
    def depth(self):
        return max((atom.depth for _, powers in self.terms for atom, _ in powers), default=0)

    @property
    def number(self):
        """The value of a constant, else None."""
        if not self.terms:
            return np.float64(0)
        return self.terms[0][0] if len(self.terms) == 1 and not self.terms[0][1] else None

    def __eq__(self, other):
        if other is None or len(self.terms) != len(other.terms):
            return False
        rest = list(other.terms)
        for number, powers in self.terms:
            found = next((i for i, (n, p) in enumerate(rest) if _close(number, n) and _same_powers(powers, p)), None)
            if found is None:
                return False
            del rest[found]
        return True

    def __add__(self, other):
        return Formula(self.terms + other.terms)

    def __mul__(self, other):
        largest = 0
        for m, _ in self.terms:
            for n, _ in other.terms:
                _check_sizes(m, n)
                largest = max(largest, np.size(m), np.size(n))
        if len(self.terms) * len(other.terms) * largest > MOST_NUMBERS:
            raise NotAFormula("a product with too many terms")
        return Formula([(m * n, _product(p, q)) for m, p in self.terms for n, q in other.terms])

    def times(self, number):
        return self * constant(number)


def _check_sizes(a, b):
    """NotAFormula unless the arrays fit, and their sum is not larger than both: a stranger's could be of any size."""
    try:
        shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    except ValueError:
        raise NotAFormula("arrays that do not fit") from None
    if math.prod(shape) > max(np.size(a), np.size(b)):
        raise NotAFormula("arrays that do not fit")


def _close(a, b):
    a, b = np.asarray(a), np.asarray(b)
    try:
        a, b = np.broadcast_arrays(a, b)
    except ValueError:
        return False
    return bool(np.all(np.abs(a - b) <= CLOSE * np.maximum(np.abs(a), np.abs(b))))


def _same_powers(powers, others):
    if len(powers) != len(others):
        return False
    return all(any(atom == other and exponent == e for other, e in others) for atom, exponent in powers)


def _product(powers, others):
    result = [list(pair) for pair in powers]
    for atom, exponent in others:
        for pair in result:
            if pair[0] == atom:
                pair[1] += exponent
                break
        else:
            result.append([atom, exponent])
    return [(atom, exponent) for atom, exponent in result]


def constant(number):
    return Formula([(np.asarray(number, np.float64), [])])


Z = Formula([(np.float64(1), [(Atom("z"), 1)])])


def of(name, argument):
    return Formula([(np.float64(1), [(Atom(name, argument), 1)])])


def relu(u):
    """max(u, 0). Of a single term c v it is c max(v, 0), for c < 0 -c max(v, 0) + c v."""
    if u.number is not None:
        return constant(np.maximum(u.number, 0))
    number, powers = u.terms[0]
    if len(u.terms) > 1 or np.ndim(number):
        return of("Relu", u)
    part = of("Relu", Formula([(np.float64(1), powers)])).times(abs(number))
    return part if number > 0 else part + u


def inverse(u):
    if u.number is not None:
        return constant(1 / u.number)
    if len(u.terms) == 1:
        number, powers = u.terms[0]
        return Formula([(1 / number, [(atom, -exponent) for atom, exponent in powers])])
    return of("Inverse", u)


def unit(u):
    """min(max(u, 0), 1)"""
    return of("Unit", u)


def clipped(u, low, high):
    """min(max(u, low), high)"""
    if low == -np.inf and high == np.inf:
        return u
    if high == np.inf:
        return constant(low) + relu(u + constant(-low))
    if low == -np.inf:
        return constant(high) + relu((u.times(-1)) + constant(high)).times(-1)
    if not low < high:
        raise NotAFormula("limits with nothing between")
    width = high - low
    return constant(low) + unit((u + constant(-low)).times(1 / width)).times(width)


def operator(kind, inputs, attributes):
    """The Formula of an ONNX operator. inputs: Formulas."""
    if kind in ATOMS:
        return of(kind, *inputs)
    handler = _OPERATORS.get(kind)
    if handler is None:
        raise NotAFormula(f"the operator {kind}")
    return handler(*inputs, **attributes)


def _ops(kind, *inputs):
    return operator(kind, [each if isinstance(each, Formula) else constant(each) for each in inputs], {})


def _power(u, exponent):
    number = exponent.number
    if number is None or np.size(number) != 1:
        raise NotAFormula("a power with a computed exponent")
    number = float(np.squeeze(number))
    if number == 0.5:
        return _square_root(u)
    if number not in (-1, 1, 2, 3):
        raise NotAFormula(f"a power of {number:g}")
    return inverse(u) if number == -1 else u if number == 1 else u * u if number == 2 else u * u * u


def _square_root(u):
    if u.number is None:
        raise NotAFormula("a square root")
    return constant(np.sqrt(u.number))


def _where(condition, u, v):
    """Softplus as PyTorch exports it: z itself above a threshold, from where on float32 has no other."""
    powers = condition.terms[0][1] if len(condition.terms) == 1 else ()
    if powers and powers[0][0].name == "Greater" and u == Z and v == _OPERATORS["Softplus"](Z):
        beyond = powers[0][0].argument + Z.times(-1)
        if beyond.number is not None and np.size(beyond.number) == 1 and np.squeeze(beyond.number) <= -20:
            return v
    raise NotAFormula("the operator Where")


def _limit(u):
    """A limit of Clip as a number."""
    if u.number is None or np.size(u.number) != 1:
        raise NotAFormula("a computed limit")
    return float(np.squeeze(u.number))


def _minimum(u, v):
    u, v = (v, u) if u.number is not None else (u, v)
    limit = v.number
    if limit is None or np.size(limit) != 1:
        raise NotAFormula("the smaller of two computed values")
    limit = float(np.squeeze(limit))
    if len(u.terms) == 1 and limit > 0:  # of max(u, 0)
        number, powers = u.terms[0]
        if (
            len(powers) == 1
            and powers[0][0].name == "Relu"
            and powers[0][1] == 1
            and np.ndim(number) == 0
            and number > 0
        ):
            return clipped(powers[0][0].argument.times(number), 0.0, limit)
    return clipped(u, -np.inf, limit)


def _maximum(u, v):
    u, v = (v, u) if u.number is not None else (u, v)
    between = u + v.times(-1)
    if v.number is None and len(between.terms) == 1:  # such as max(z, alpha z)
        return v + relu(between)
    return clipped(u, _limit(v), np.inf)


def _clip(u, low=None, high=None, **attributes):
    low = attributes.get("min", -np.inf) if low is None else _limit(low)
    high = attributes.get("max", np.inf) if high is None else _limit(high)
    return clipped(u, low, high)


def _of_formula(name):
    from ._formulas import FORMULAS

    return lambda z: FORMULAS[name](_ops, z)


def _leaky(z, slopes):
    from ._formulas import leaky_relu

    return leaky_relu(_ops, z, slopes)


def _prelu(z, slopes):
    if slopes.number is None:
        raise NotAFormula("computed slopes")
    return _leaky(z, constant(np.atleast_1d(slopes.number)))


def _elu(z, alpha=1.0):
    from ._formulas import elu

    return elu(_ops, z, constant(alpha))


def _selu(z, alpha=1.6732632423543772, gamma=1.0507009873554805):
    return _elu(z, alpha).times(gamma)


def _gelu(z, approximate=b"none"):
    from ._formulas import FORMULAS

    return FORMULAS["gelu" if approximate == b"none" else "gelu_tanh"](_ops, z)


_OPERATORS = {
    "Identity": lambda u: u,
    "Add": lambda u, v: u + v,
    "Sub": lambda u, v: u + v.times(-1),
    "Mul": lambda u, v: u * v,
    "Div": lambda u, v: u * inverse(v),
    "Neg": lambda u: u.times(-1),
    "Reciprocal": inverse,
    "Sqrt": _square_root,
    "Pow": _power,
    "Relu": relu,
    "Abs": lambda u: relu(u).times(2) + u.times(-1),
    "Max": _maximum,
    "Min": _minimum,
    "Clip": _clip,
    "LeakyRelu": lambda z, alpha=0.01: _leaky(z, constant(alpha)),
    "PRelu": _prelu,
    "Elu": _elu,
    "Selu": _selu,
    "HardSigmoid": lambda z, alpha=0.2, beta=0.5: unit(z.times(alpha) + constant(beta)),
    "HardSwish": _of_formula("hard_swish"),
    "Greater": lambda u, v: of("Greater", u + v.times(-1)),
    "Where": _where,
    "Softplus": _of_formula("softplus"),
    "Softsign": _of_formula("softsign"),
    "Mish": _of_formula("mish"),
    "Gelu": _gelu,
    "Scaler": lambda u, offset=0.0, scale=1.0: (u + constant(offset).times(-1)) * constant(scale),  # of ai.onnx.ml
    "Swish": lambda z, alpha=1.0: z * of("Sigmoid", z.times(alpha)),
}


def recognised(formula):
    """(name, alpha or slopes) of the activation that a Formula is, or None."""
    for name, other in _known():
        if formula == other:
            return name, None
    for number, powers in formula.terms:  # max(z, 0) + alpha min(z, 0)
        if len(powers) == 1 and powers[0][0].name == "z" and formula == _leaky(Z, constant(number)):
            return ("leaky_relu" if np.ndim(number) == 0 else "prelu"), number
    for number, powers in formula.terms:
        if powers and np.size(number) == 1 and formula == _elu(Z, np.squeeze(number) / 2):
            return "elu", np.squeeze(number) / 2
    return None


def _known():
    from ._formulas import FORMULAS

    for name, formula in FORMULAS.items():
        if name not in ("leaky_relu", "elu"):
            yield name, formula(_ops, Z)
    yield "relu", _maximum(Z, constant(0.0))
    yield "sigmoid", inverse(constant(1) + of("Exp", Z.times(-1)))
    yield "softplus", of("Log", constant(1) + of("Exp", Z))
    yield "mish", Z * of("Tanh", of("Log", constant(1) + of("Exp", Z)))
    yield "silu", Z * inverse(constant(1) + of("Exp", Z.times(-1)))
