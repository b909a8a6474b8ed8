"""A network from an ONNX model: from_onnx.

The operators are followed from the output back to the input: a chain of products with constant matrices, and
elementwise formulas between them (_symbols.py).
"""

import math
import warnings

import numpy as np

from .. import activations
from . import _symbols
from ._parts import Part, Transform, network_of
from ._symbols import Formula, NotAFormula

SUPPORTED = (
    "supported are Gemm, MatMul and Add with constant weights, the activations of mlpfast.activations, whole or "
    "composed of elementary operators, Softmax over the classes, activations of slices that a Concat joins at the end, "
    "Dropout, Flatten, Cast, and scaling of the inputs"
)
FOLDED = (
    "Constant",
    "Identity",
    "Transpose",
    "Cast",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Concat",
    "Neg",
    "Sqrt",
    "Div",
    "Mul",
    "Add",
    "Sub",
    "Reciprocal",
)  # where all inputs are constants
PASSED = ("Identity", "Flatten", "Reshape", "Cast")
RANGE = {"starts": (), "ends": (), "axes": (), "steps": (1,)}  # of a Slice, with what stands for a missing one
MOST_FOLDED = 2**31  # bytes


def network_from(onnx, model, output):
    reader = _Reader(onnx, model)
    return reader.network(reader.output(output))


def _is_small(node, arrays):
    """Whether its result is, whatever a stranger's model says."""
    if node.op_type in ("Div", "Mul", "Add", "Sub"):
        try:
            shape = np.broadcast_shapes(*(array.shape for array in arrays))
        except ValueError:
            return False
        return 8 * math.prod(shape) < MOST_FOLDED
    return sum(array.nbytes for array in arrays) < MOST_FOLDED


def _refused(node, why=None):
    what = f"node {node.name or node.output[0]!r} ({node.op_type})"
    return ValueError(f"{what} cannot be carried over{f', {why}' if why else ''}: {SUPPORTED}")


class _Reader:
    def __init__(self, onnx, model):
        self.onnx, self.graph = onnx, model.graph
        self.version = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 1)
        self.made_by = {name: node for node in self.graph.node for name in node.output}
        self.arrays = {each.name: onnx.numpy_helper.to_array(each) for each in self.graph.initializer}
        if self.graph.sparse_initializer:
            raise ValueError(f"the model has sparse initializers, which cannot be carried over: {SUPPORTED}")
        self.inputs = {each.name: each for each in self.graph.input if each.name not in self.arrays}
        self.used: dict[str, list] = {}
        for node in self.graph.node:
            for name in node.input:
                self.used.setdefault(name, []).append(node)
        self._fold_constants()

    # ---- constants

    def _fold_constants(self):
        for node in self.graph.node:  # in topological order, as ONNX asks for
            if node.op_type not in FOLDED or node.domain not in ("", "ai.onnx"):
                continue
            arrays = {name: self.arrays.get(name) for name in node.input if name}
            if all(array is not None for array in arrays.values()) and _is_small(node, list(arrays.values())):
                self.arrays.update(zip(node.output, self._evaluated(node, arrays), strict=True))

    def _evaluated(self, node, arrays):
        if node.op_type == "Constant":
            ((kind, value),) = self._attributes(node).items()
            if kind == "value":
                return [self.onnx.numpy_helper.to_array(value)]
            if not kind.startswith(("value_float", "value_int")):
                raise _refused(node, f"with {kind}")
            return [np.asarray(value, np.float32 if kind.startswith("value_float") else np.int64)]
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(node, opsets={"": self.version}).run(None, arrays)

    def _attributes(self, node):
        return {each.name: self.onnx.helper.get_attribute_value(each) for each in node.attribute}

    # ---- the chain

    def output(self, name):
        outputs = {each.name: each for each in self.graph.output}
        if name is not None:
            if name not in outputs and name not in self.made_by:
                raise ValueError(f"output must be one of {', '.join(outputs)}, got {name!r}")
            return name
        floats = self.onnx.TensorProto.FLOAT, self.onnx.TensorProto.DOUBLE
        numbers = [each for each in outputs if outputs[each].type.tensor_type.elem_type in floats]
        if len(numbers) != 1:
            raise ValueError(f"output must be given for a model with the outputs {', '.join(outputs)}")
        others = [each for each in outputs if each not in numbers]
        if others:
            warnings.warn(
                f"the outputs {', '.join(others)} are left out: a network has one output", UserWarning, stacklevel=5
            )
        return numbers[0]

    def network(self, name):
        """Layers from the last to the first: an elementwise formula of z, and the product that z is."""
        name, joined = self._joined(name)
        parts: list[Part] = []
        n_in = None
        while True:
            formula, z, dropout, nodes = self._formula(name)
            if z in self.inputs:
                self._check_shapes(nodes, n_in)
                break
            product = self.made_by[z]
            if self._is_slice(product):
                raise _refused(product, "since its outputs are not joined again by a Concat at the end")
            W, b, below = self._product(product)
            self._check_shapes(nodes, W.shape[1])
            if joined is not None and not parts:
                if joined.n_out != W.shape[1]:
                    raise _refused(product, f"of whose {W.shape[1]} outputs {joined.n_out} are used")
                part = Part(W, b, joined)
            else:
                part = self._part(W, b, formula, dropout, nodes or [product])
            if parts and part.W.shape[1] != parts[0].W.shape[0]:
                raise _refused(
                    product, f"its {part.W.shape[1]} outputs do not fit the {parts[0].W.shape[0]} inputs after it"
                )
            parts.insert(0, part)
            name, n_in = below, W.shape[0]
        if not parts:
            raise ValueError(f"the model has no layer with weights: {SUPPORTED}")
        dtype = parts[0].W.dtype
        if dtype not in (np.float32, np.float64) or any(part.W.dtype != dtype for part in parts):
            kinds = ", ".join(dict.fromkeys(str(part.W.dtype) for part in parts))
            raise ValueError(f"the weights must all be float32 or all float64, got {kinds}")
        settings, transform = self._of_input(formula, z, nodes, n_in)
        if dropout:
            settings["input_dropout"] = dropout
        return network_of(parts, dtype, transform, **settings)

    def _joined(self, name):
        """(the z of the last layer, its PerOutput) if name is a Concat of slices of it, else (name, None)"""
        concat = self.made_by.get(name)
        if concat is None or concat.op_type != "Concat" or concat.domain not in ("", "ai.onnx"):
            return name, None
        if self._attributes(concat).get("axis") not in (1, -1):
            raise _refused(concat, "along another axis than the outputs")
        parts, whole, first = [], None, 0
        for each in concat.input:
            formula, source, dropout, nodes = self._formula(each)
            node = self.made_by.get(source)
            if dropout or not self._is_slice(node):
                raise _refused(concat, "whose inputs are not slices of one layer's outputs with activations")
            z, begin, end = self._range(node)
            if whole not in (None, z) or begin != first or end <= begin:
                raise _refused(node, "which is not the next part of the same outputs")
            unit, slopes = self._unit(formula, nodes or [node], end - begin)
            if slopes is not None:
                raise _refused(nodes[-1], "for a part of the outputs")
            parts.append((slice(begin, end), unit))
            whole, first = z, end
        return whole, activations.PerOutput(parts)

    @staticmethod
    def _is_slice(node):
        return node is not None and node.op_type == "Slice" and node.domain in ("", "ai.onnx")

    def _range(self, node):
        """(z, first, end) of a Slice of columns of a layer's z"""
        z = node.input[0]
        if not self._is_product(self.made_by.get(z)):
            raise _refused(node, "which is not of a layer's outputs before their activation")
        if self.version < 10:
            given = self._attributes(node)
        else:
            names = dict(zip(("starts", "ends", "axes", "steps"), node.input[1:], strict=False))
            given = {kind: self.arrays[name].reshape(-1) for kind, name in names.items() if name in self.arrays}
        numbers = [list(given.get(kind, usual)) for kind, usual in RANGE.items()]
        if any(len(each) != 1 for each in numbers) or numbers[2][0] not in (1, -1) or numbers[3][0] != 1:
            raise _refused(node, "which is not one of neighbouring columns")
        width = self._product(self.made_by[z])[0].shape[1]
        begin, end, _ = slice(int(numbers[0][0]), int(numbers[1][0])).indices(width)
        return z, begin, end

    def _formula(self, name):
        """(the Formula of what name is, from the result of a product or the input; that result; dropout after it; the
        operators)"""
        dropout, node = 0.0, self.made_by.get(name)
        while node is not None and node.op_type == "Dropout":
            dropout = self._ratio(node, dropout)
            name, node = node.input[0], self.made_by.get(node.input[0])
        nodes, sources = [], []
        formulas: dict[str, Formula] = {}
        stack = [name]
        while stack:  # without recursion: a model may be deep
            each = stack[-1]
            made = self.made_by.get(each)
            if each in formulas:
                stack.pop()
            elif each in self.arrays:
                formulas[each] = _symbols.constant(self.arrays[each])
                stack.pop()
            elif each in self.inputs or self._is_product(made) or self._is_slice(made):
                if each not in sources:
                    sources.append(each)
                formulas[each] = _symbols.Z
                stack.pop()
            else:
                if made is None:
                    raise ValueError(f"the model has no value {each!r}")
                missing = [i for i in self._operands(made) if i not in formulas]
                if missing:
                    if len(stack) > 10_000:
                        raise _refused(made, "which is part of a chain that is too long")
                    stack += missing
                    continue
                nodes.append(made)
                formulas[each] = self._apply(made, formulas)
                stack.pop()
        if len(sources) != 1:
            where = nodes[-1] if nodes else node
            raise _refused(
                where,
                f"which joins {' and '.join(sources) or 'constants alone'} (a skip connection, or several inputs)",
            )
        return formulas[name], sources[0], dropout, nodes

    def _operands(self, node):
        if node.op_type in ("Reshape", "Dropout"):
            return [node.input[0]]
        return [name for name in node.input if name]

    def _apply(self, node, formulas):
        attributes = self._attributes(node)
        inputs = [formulas[name] for name in self._operands(node)]
        if (node.domain, node.op_type) == ("ai.onnx.ml", "Scaler"):
            offset, scale = (_symbols.constant(attributes[name]) for name in ("offset", "scale"))
            return (inputs[0] + offset.times(-1)) * scale
        if node.domain not in ("", "ai.onnx"):
            raise _refused(node, f"of the domain {node.domain}")
        if node.op_type in PASSED:
            self._check_passed(node, attributes)
            return inputs[0]
        if node.op_type == "Softmax" and attributes.pop("axis", -1) not in (1, -1):
            raise _refused(node, "over another axis than the classes")
        if node.op_type == "Dropout":
            raise _refused(node, "before an activation: it must come after it")
        if node.op_type == "PRelu":
            inputs[1] = _symbols.constant(np.atleast_1d(np.squeeze(inputs[1].number)))
        try:
            return _symbols.operator(node.op_type, inputs, attributes)
        except NotAFormula as error:
            raise _refused(
                node, f"for it contains {error}" if str(error) != f"the operator {node.op_type}" else None
            ) from None
        except TypeError:
            raise _refused(node, "with these attributes") from None

    def _check_passed(self, node, attributes):
        if node.op_type == "Cast":
            to = self.onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
            if to not in (np.float32, np.float64):
                raise _refused(node, f"to {to}")
        elif node.op_type == "Flatten" and attributes.get("axis", 1) != 1:
            raise _refused(node, "from another axis than 1")

    def _check_shapes(self, nodes, width):
        """ValueError for a Reshape to anything but rows of that width."""
        for node in nodes:
            if node.op_type == "Reshape":
                shape = [int(n) for n in self.arrays.get(node.input[1], np.zeros(0)).reshape(-1)]
                if shape not in ([-1, width], [0, width], [0, -1]):
                    raise _refused(node, f"to {shape or 'a computed shape'}: only to rows of {width}")

    def _ratio(self, node, before):
        if before:
            raise _refused(node, "twice in a row")
        attributes = self._attributes(node)
        ratio = attributes.get("ratio", 0.5)
        if len(node.input) > 1 and node.input[1]:
            ratio = float(self.arrays[node.input[1]])
        return round(float(ratio), 7)  # float32

    # ---- products

    def _is_product(self, node):
        """Whether it is a layer's product: Gemm, MatMul, or the addition of a bias to one."""
        if node is None or node.domain not in ("", "ai.onnx"):
            return False
        return node.op_type in ("Gemm", "MatMul") or node.op_type == "Add" and self._bias_of(node) is not None

    def _bias_of(self, node):
        """(the MatMul, the array) of an Add, or None."""
        for name, other in (node.input, node.input[::-1]):
            made, alone = self.made_by.get(name), len(self.used[name]) == 1
            while made is not None and made.op_type == "Cast" and alone:  # to the dtype it has
                name = made.input[0]
                made, alone = self.made_by.get(name), len(self.used[name]) == 1
            if made is None or made.op_type != "MatMul" or other not in self.arrays or not alone:
                continue
            W, b = self.arrays.get(made.input[1]), self.arrays[other]
            if W is not None and b.ndim and b.size == b.shape[-1] == W.shape[-1]:  # a single number may be part of g
                return made, b
        return None

    def _product(self, node):
        """(W, b, the name of what it is applied to)"""
        b = None
        if node.op_type == "Add":
            node, b = self._bias_of(node)
        if node.op_type == "MatMul":
            below, weights = node.input
            W = self.arrays.get(weights)
        else:
            attributes = self._attributes(node)
            if attributes.get("transA", 0):
                raise _refused(node, "with transA")
            below, W = node.input[0], self.arrays.get(node.input[1])
            if W is not None:
                W = self._scaled(W.T if attributes.get("transB", 0) else W, attributes.get("alpha", 1.0))
            if len(node.input) > 2 and node.input[2]:
                b = self.arrays.get(node.input[2])
                if b is None:
                    raise _refused(node, "whose bias is computed")
                b = self._scaled(b, attributes.get("beta", 1.0))
        if W is None or below in self.arrays:
            raise _refused(node, "whose weights are computed")
        if W.ndim != 2:
            raise _refused(node, f"whose weights have the shape {W.shape}")
        if b is not None:
            if b.size not in (1, W.shape[1]):
                raise _refused(node, f"whose bias has the shape {b.shape}")
            b = np.broadcast_to(b.reshape(-1), (W.shape[1],))
        return W, b, below

    @staticmethod
    def _scaled(array, factor):
        return array if factor == 1 else (array * factor).astype(array.dtype)

    def _part(self, W, b, formula, dropout, nodes):
        unit, slopes = self._unit(formula, nodes, W.shape[1])
        return Part(W, b, unit, slopes, {"dropout": dropout} if dropout else {})

    def _unit(self, formula, nodes, n_out):
        """(activation, slopes of a prelu or None)"""
        found = _symbols.recognised(formula)
        if found is None:
            operators = ", ".join(dict.fromkeys(node.op_type for node in nodes))
            raise _refused(nodes[-1], f"since it ends what is no activation of mlpfast ({operators})")
        name, alpha = found
        if name == "prelu":
            slopes = np.atleast_1d(np.squeeze(alpha))
            if slopes.shape not in ((1,), (n_out,)):
                raise _refused(nodes[-1], f"with slopes of the shape {slopes.shape}")
            return name, slopes
        if alpha is None:
            return name, None
        if alpha < 0:
            raise _refused(nodes[-1], f"with alpha {alpha:g}: it must be >= 0")
        alpha = float(np.float64(str(np.float32(alpha)))) if abs(np.float32(alpha) - alpha) < 1e-7 * alpha else alpha
        return {"leaky_relu": activations.LeakyReLU, "elu": activations.ELU}[name](float(alpha)), None

    # ---- the input

    def _of_input(self, formula, name, nodes, n_in):
        """(settings of Network, Transform or None) of what is done to the input before the first product."""
        declared = self.inputs[name]
        dims = [d.dim_value for d in declared.type.tensor_type.shape.dim][1:]  # 0 for unknown ones
        if dims and 0 not in dims and math.prod(dims) != n_in:
            raise ValueError(f"input {name!r} has {math.prod(dims)} numbers in a row, the first layer takes {n_in}")
        linear = {"z": np.zeros(()), "": np.zeros(())}
        for number, powers in formula.terms:
            kind = powers[0][0].name if len(powers) == 1 and powers[0][1] == 1 else "" if not powers else None
            if kind not in linear:
                raise _refused(nodes[-1], "before the first layer")
            linear[kind] = number
        factor, shift = (np.squeeze(linear[kind]).astype(np.float64) for kind in ("z", ""))
        for each in (factor, shift):
            if each.shape not in ((), (n_in,)):
                raise _refused(nodes[-1], f"with an array of the shape {each.shape} for {n_in} inputs")
        if np.any(factor == 0):
            raise _refused(nodes[-1], "which multiplies an input by 0")
        is_uint8 = declared.type.tensor_type.elem_type == self.onnx.TensorProto.UINT8
        if is_uint8 and factor.ndim == 0 and not shift.any():
            return {"input_scale": float(factor)}, None
        if np.all(factor == 1) and not shift.any():
            return {}, None
        mean = np.broadcast_to(-shift / factor, (n_in,))
        return {}, Transform(mean, np.broadcast_to(1 / factor, (n_in,)))
