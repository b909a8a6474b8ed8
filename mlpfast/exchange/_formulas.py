"""The activations composed of elementary functions, written once: to_onnx makes operators of them, and from_onnx
recognises what others have composed.

`ops` is called with the name of an ONNX operator and its arguments, numbers among them.
"""

import math

from ..activations import Activation

SELU = 1.0507009873554805, 1.6732632423543772


def expm1(ops, z):
    """e^z - 1 without cancellation, from t = tanh(z/2): 2 t / (1 - t). For z <= 0, where t does not come near 1."""
    t = ops("Tanh", ops("Mul", z, 0.5))
    return ops("Div", ops("Mul", t, 2.0), ops("Sub", 1.0, t))


def negative_part(ops, z):
    return ops("Min", z, 0.0)


def leaky_relu(ops, z, alpha):
    return ops("Add", ops("Relu", z), ops("Mul", negative_part(ops, z), alpha))


def elu(ops, z, alpha):
    return ops("Add", ops("Relu", z), ops("Mul", expm1(ops, negative_part(ops, z)), alpha))


def selu(ops, z):
    return ops("Mul", elu(ops, z, SELU[1]), SELU[0])


def hard_sigmoid(ops, z):
    line = ops("Mul", ops("Add", z, 3.0), 1 / 6)
    return ops("Min", ops("Max", line, 0.0), 1.0)


def hard_swish(ops, z):
    return ops("Mul", z, hard_sigmoid(ops, z))


def softplus(ops, z):
    """max(z, 0) + log(1 + e^-|z|), which does not overflow."""
    away = ops("Exp", ops("Neg", ops("Abs", z)))
    return ops("Add", ops("Relu", z), ops("Log", ops("Add", away, 1.0)))


def softsign(ops, z):
    return ops("Div", z, ops("Add", ops("Abs", z), 1.0))


def mish(ops, z):
    return ops("Mul", z, ops("Tanh", ops("Softplus", z)))


def silu(ops, z):
    return ops("Mul", z, ops("Sigmoid", z))


def gelu(ops, z):
    phi = ops("Add", ops("Erf", ops("Mul", z, math.sqrt(0.5))), 1.0)
    return ops("Mul", ops("Mul", z, 0.5), phi)


def gelu_tanh(ops, z):
    cube = ops("Mul", ops("Mul", ops("Mul", z, z), z), 0.044715)
    gate = ops("Tanh", ops("Mul", ops("Add", z, cube), math.sqrt(2 / math.pi)))
    return ops("Mul", ops("Mul", z, 0.5), ops("Add", gate, 1.0))


def of_operator(name):
    return lambda ops, z: ops(name, z)


FORMULAS = {  # name: a function of ops, z and, where the activation has one, alpha
    "identity": lambda ops, z: z,
    "relu": of_operator("Relu"),
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": selu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
    "mish": mish,
    "softplus": softplus,
    "softsign": softsign,
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": hard_swish,
    "sigmoid": of_operator("Sigmoid"),
    "tanh": of_operator("Tanh"),
    "exp": of_operator("Exp"),
    "sign": of_operator("Sign"),
    "softmax": of_operator("Softmax"),
}


def compose(ops, z, unit, slopes=None):
    """unit: an Activation; slopes: of a prelu."""
    if slopes is not None:
        return leaky_relu(ops, z, slopes)
    formula = FORMULAS[unit.name if isinstance(unit, Activation) else unit]
    return formula(ops, z, unit.alpha) if unit.name in ("leaky_relu", "elu") else formula(ops, z)
