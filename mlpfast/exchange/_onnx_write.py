"""The ONNX model of a network: to_onnx."""

import numpy as np

from ._formulas import compose

# The version of the operator set that has an operator in the form used here, for float64 in ONNX Runtime too.
SINCE = {
    "Abs": 6,
    "Add": 7,
    "Cast": 6,
    "Concat": 4,
    "Div": 7,
    "Elu": 6,
    "Erf": 9,
    "Exp": 6,
    "Gemm": 7,
    "HardSigmoid": 6,
    "LeakyRelu": 6,
    "Log": 6,
    "MatMul": 1,
    "Max": 8,
    "Min": 8,
    "Mul": 7,
    "Neg": 6,
    "PRelu": 7,
    "Relu": 6,
    "Selu": 6,
    "Sigmoid": 6,
    "Sign": 9,
    "Slice": 1,
    "Softmax": 1,
    "Softplus": 1,
    "Softsign": 1,
    "Sub": 7,
    "Tanh": 6,
    "Identity": 1,
}
LEAST = 7  # of what ONNX Runtime reads; from 10 on Slice takes its numbers otherwise
IR_VERSION = 8
NEEDS_ERF = ("gelu",)
# Operators with float attributes, and those that ONNX Runtime has in float32 alone.
DIRECT = {"leaky_relu": "LeakyRelu", "elu": "Elu", "selu": "Selu", "softplus": "Softplus", "softsign": "Softsign"}


class Writer:
    """Operators, constants and names of a graph. Called as `ops` of _formulas.py."""

    def __init__(self, onnx, dtype):
        self.onnx, self.dtype = onnx, np.dtype(dtype)
        self.nodes, self.arrays, self.constants, self.prefix = [], [], {}, ""

    def __call__(self, kind, *inputs, **attributes):
        if kind == "Softplus" and self.dtype == np.float64:
            from ._formulas import softplus

            return softplus(self, *inputs)
        if kind == "Softmax":
            attributes["axis"] = 1
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        output = f"{self.prefix}/{kind}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, names, [output], name=output, **attributes))
        return output

    def constant(self, value):
        value = np.asarray(value, self.dtype)
        key = value.shape, value.tobytes()
        if key not in self.constants:
            self.constants[key] = self.array(f"constant_{len(self.constants)}", value)
        return self.constants[key]

    def array(self, name, value):
        self.arrays.append(self.onnx.numpy_helper.from_array(np.array(value, order="C"), name))
        return name


def _inputs(ops, input_scale, floats, transform):
    """What the first layer takes. A transform is in float64, since mean and x may be large where x - mean is small."""
    between = floats if transform is None else ops.onnx.TensorProto.DOUBLE
    value = "X"
    if input_scale != 1 or between != floats:
        value = ops("Cast", value, to=between)
    if input_scale != 1:
        in_dtype = ops.dtype if transform is None else np.float64
        value = ops("Mul", value, ops.array("input_scale", np.asarray(input_scale, in_dtype)))
    if transform is None:
        return value
    value = ops("Div", ops("Sub", value, ops.array("mean", transform.mean)), ops.array("scale", transform.scale))
    return value if between == floats else ops("Cast", value, to=floats)


def model_of(onnx, net, transform):
    """A ModelProto."""
    ops = Writer(onnx, net.dtype)
    floats = onnx.helper.np_dtype_to_tensor_dtype(net.dtype)
    takes_uint8 = net.input_scale != 1
    value = _inputs(ops, net.input_scale, floats, transform)
    for number, layer in enumerate(net.layers, 1):
        ops.prefix = f"layer_{number}"
        W = ops.array(f"W_{number}", layer.W)
        if layer.bias:
            value = ops("Gemm", value, W, ops.array(f"b_{number}", layer.b))
        else:
            value = ops("MatMul", value, W)
        value = _activation(ops, value, layer, number)
    if not ops.nodes or value != ops.nodes[-1].output[0]:
        raise AssertionError("the last operator gives the output")
    ops.nodes[-1].output[0] = "yhat"
    opset = max(LEAST, *(SINCE[node.op_type] for node in ops.nodes))
    helper = onnx.helper
    in_type = onnx.TensorProto.UINT8 if takes_uint8 else floats
    graph = helper.make_graph(
        ops.nodes,
        "mlpfast",
        [helper.make_tensor_value_info("X", in_type, ["batch", net.n_in])],
        [helper.make_tensor_value_info("yhat", floats, ["batch", net.n_out])],
        ops.arrays,
    )
    return helper.make_model(
        graph, producer_name="mlpfast", opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION
    )


def _activation(ops, z, layer, number):
    if not layer._unit.parts:
        return _of_unit(ops, z, layer._unit, layer, number)
    parts = sorted(layer._unit.parts, key=lambda part: part.first)
    if len(parts) == 1:
        return _of_unit(ops, z, parts[0].activation, layer, number)
    own = [ops("Slice", z, axes=[1], starts=[part.first], ends=[part.first + part.n]) for part in parts]
    own = [_of_unit(ops, a, part.activation, layer, number) for a, part in zip(own, parts, strict=True)]
    return ops("Concat", *own, axis=1)


def _of_unit(ops, z, unit, layer, number):
    in_float32 = ops.dtype == np.float32
    if unit.name in NEEDS_ERF and not in_float32:
        raise ValueError(
            f"layer {number}: {unit.name} in float64 needs the operator Erf, which ONNX Runtime has for float32 alone: "
            "export a float32 network, or use gelu_tanh"
        )
    if layer.slopes is not None:
        slopes = ops.array(f"slopes_{number}", layer.slopes)
        return ops("PRelu", z, slopes) if in_float32 else compose(ops, z, unit, slopes)
    if in_float32 and unit.name in DIRECT:
        attributes = {"alpha": unit.alpha} if unit.traits.has_alpha else {}
        return ops(DIRECT[unit.name], z, **attributes)
    return compose(ops, z, unit)
