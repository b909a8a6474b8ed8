"""A network from an ONNX model: from_onnx.

The operators are followed from the output back to the input: a chain of products with constant matrices, and
elementwise formulas between them (_symbols.py).
"""

import math
import warnings
from typing import Any

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
RANGE = ("starts", "ends", "axes", "steps")  # of a Slice
MOST_FOLDED = 2**31  # bytes, of all together
MOST_OPERATORS = 100  # between two layers


def network_from(onnx, model, output):
    reader = _Reader(onnx, model)
    return reader.network(reader.output(output))


def _bytes_of(node, arrays):
    """At most so many has the result of a folded operator, whatever a stranger's model says."""
    if node.op_type in ("Div", "Mul", "Add", "Sub"):
        return 8 * math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    return sum((8 if node.op_type == "Cast" else array.itemsize) * array.size for array in arrays)


def _is(node, *kinds):
    """Whether there is a node, and it is one of these operators of ONNX's own."""
    return node is not None and node.domain in ("", "ai.onnx") and node.op_type in kinds


def _first_line(error):
    return str(error).partition("\n")[0]


def _refused(node, why=None):
    what = f"node {node.name or ', '.join(node.output)!r} ({node.op_type})"
    return ValueError(f"{what} cannot be carried over{f', {why}' if why else ''}: {SUPPORTED}")


def _check_names(model):
    """Before they are used: of a damaged model they may be bytes."""
    graph = model.graph
    names = [each.domain for each in model.opset_import]
    names += [each.name for each in (*graph.initializer, *graph.input, *graph.output)]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [each.name for each in node.attribute]
    if not all(isinstance(name, str) for name in names):
        raise ValueError("the model has names that are not text in UTF-8")


def _row(array, n):
    """What an array adds to each row of n numbers, or multiplies it by, as (n,) or (); None if rows differ."""
    if array.size == 1:
        return array.reshape(())
    return array.reshape(n) if array.size == n == array.shape[-1] else None


class _Reader:
    def __init__(self, onnx, model):
        self.onnx, self.graph = onnx, model.graph
        self.version = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 1)
        self._check(model)
        self.made_by: Any = {node.output[0]: node for node in self.graph.node}
        self.arrays = {each.name: self._array(each) for each in self.graph.initializer}
        if self.graph.sparse_initializer:
            raise ValueError(f"the model has sparse initializers, which cannot be carried over: {SUPPORTED}")
        self.inputs = {each.name: each for each in self.graph.input if each.name not in self.arrays}
        self.used: dict[str, list] = {}
        for node in self.graph.node:
            for name in node.input:
                self.used.setdefault(name, []).append(node)
        self._fold_constants()

    def _check(self, model):
        """ValueError unless all operators are as ONNX defines them, and each takes what stands before it alone."""
        _check_names(model)
        checker = self.onnx.checker
        context = type(checker.DEFAULT_CONTEXT)()
        versions = {each.domain: each.version for each in model.opset_import}
        for what, version in {"IR": model.ir_version, **versions}.items():
            if not 0 < version < 2**31:
                raise ValueError(f"the model must have a version of {what or 'its operators'} > 0, has {version}")
        context.ir_version, context.opset_imports = model.ir_version, versions
        there = {"", *(each.name for each in [*self.graph.initializer, *self.graph.input])}
        for node in self.graph.node:
            if not node.output or not node.output[0]:
                raise _refused(node, "without an output")
            if node.domain in ("", "ai.onnx", "ai.onnx.ml"):
                try:
                    checker.check_node(node, context)
                except (checker.ValidationError, UnicodeDecodeError) as error:
                    raise _refused(node, f"which is none of ONNX ({_first_line(error)})") from None
            for name in node.input:
                if name not in there:
                    raise _refused(node, f"whose input {name!r} is not there before it")
            for name in node.output:
                if name and name in there:
                    raise _refused(node, f"whose output {name!r} is there already")
                there.add(name)

    # ---- constants

    def _array(self, tensor):
        try:
            return self.onnx.numpy_helper.to_array(tensor)
        except Exception as error:  # the library's, of any kind
            raise ValueError(f"tensor {tensor.name!r} cannot be read: {_first_line(error)}") from None

    def _fold_constants(self):
        left = MOST_FOLDED
        for node in self.graph.node:  # in topological order
            if _is(node, "Constant"):
                self.arrays[node.output[0]] = self._constant(node)
                continue
            arrays = [self.arrays.get(name) for name in node.input if name]
            if not _is(node, *FOLDED) or any(a is None or a.dtype.kind not in "biuf" for a in arrays):
                continue
            try:
                n_bytes = _bytes_of(node, arrays)
                if n_bytes <= left:
                    left -= n_bytes
                    self.arrays[node.output[0]] = self._evaluated(node)
            except Exception as error:  # the library's, whatever a stranger's model makes of it
                raise _refused(node, f"which cannot be computed ({_first_line(error)})") from None

    def _constant(self, node):
        attributes = self._attributes(node)
        if len(attributes) != 1:
            raise _refused(node, f"with {len(attributes)} values")
        ((kind, value),) = attributes.items()
        if kind == "value":
            return self._array(value)
        if not kind.startswith(("value_float", "value_int")):
            raise _refused(node, f"with {kind}")
        return np.asarray(value, np.float32 if kind.startswith("value_float") else np.int64)

    def _evaluated(self, node):
        from onnx.reference import ReferenceEvaluator

        given = {name: self.arrays[name] for name in node.input if name}
        results: Any = ReferenceEvaluator(node, opsets={"": self.version}).run(None, given)
        return np.asarray(results[0])

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
                if not parts:
                    raise ValueError(f"the model has no layer with weights: {SUPPORTED}")
                self._check_shapes(nodes, n_in)
                break
            product = self.made_by[z]
            if _is(product, "Slice"):
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
        dtype = parts[0].W.dtype
        kinds = dict.fromkeys(array.dtype for part in parts for array in (part.W, part.b) if array is not None)
        if dtype not in (np.float32, np.float64) or len(kinds) != 1:
            raise ValueError(f"the weights must all be float32 or all float64, got {', '.join(map(str, kinds))}")
        settings, transform = self._of_input(formula, z, nodes, n_in)
        if dropout:
            settings["input_dropout"] = dropout
        return network_of(parts, dtype, transform, **settings)

    def _joined(self, name):
        """(the z of the last layer, its PerOutput) if name is a Concat of slices of it, else (name, None)"""
        concat = self.made_by.get(name)
        if not _is(concat, "Concat"):
            return name, None
        if self._attributes(concat).get("axis") not in (1, -1):
            raise _refused(concat, "along another axis than the outputs")
        parts, whole, first = [], None, 0
        for each in concat.input:
            formula, source, dropout, nodes = self._formula(each)
            node = self.made_by.get(source)
            if dropout or not _is(node, "Slice"):
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

    def _range(self, node):
        """(z, first, end) of a Slice of columns of a layer's z"""
        z = node.input[0]
        if not self._is_product(self.made_by.get(z)):
            raise _refused(node, "which is not of a layer's outputs before their activation")
        given: dict[str, Any]
        if self.version < 10:
            given = {kind: np.asarray(value) for kind, value in self._attributes(node).items()}
        else:
            given = {kind: self.arrays.get(name) for kind, name in zip(RANGE, node.input[1:], strict=False) if name}
        given = {"steps": np.ones(1, np.int64), **given}
        numbers: list[Any] = [given.get(kind) for kind in RANGE]
        if any(each is None or each.size != 1 or each.dtype.kind != "i" for each in numbers):
            raise _refused(node, "which is not one of neighbouring columns")
        first, end, axis, step = (int(each.reshape(())) for each in numbers)
        if axis not in (1, -1) or step != 1:
            raise _refused(node, "which is not one of neighbouring columns")
        width = self._product(self.made_by[z])[0].shape[1]
        first, end, _ = slice(first, end).indices(width)
        return z, first, end

    def _formula(self, name):
        """(the Formula of what name is, from the result of a product or the input; that result; dropout after it; the
        operators)"""
        dropout, node = 0.0, self.made_by.get(name)
        while _is(node, "Dropout"):
            dropout = self._ratio(node, dropout)
            name, node = node.input[0], self.made_by.get(node.input[0])
        nodes: list = []
        sources: list[str] = []
        formulas: dict[str, Formula] = {}
        stack = [name]
        while stack:  # without recursion: a model may be deep
            each = stack[-1]
            made = self.made_by.get(each)
            if each in formulas:
                stack.pop()
            elif each in self.arrays:
                formulas[each] = self._number(each)
                stack.pop()
            elif each in self.inputs or self._is_product(made) or _is(made, "Slice"):
                if each not in sources:
                    sources.append(each)
                formulas[each] = _symbols.Z
                stack.pop()
            else:
                if made is None:
                    raise ValueError(f"the model has no value {each!r} that is the first output of a node")
                missing = [i for i in self._operands(made) if i not in formulas]
                if missing:
                    stack += missing
                    continue
                if len(nodes) == MOST_OPERATORS:
                    raise _refused(made, f"behind {MOST_OPERATORS} others after a layer")
                nodes.append(made)
                formulas[each] = self._apply(made, formulas)
                stack.pop()
        if not sources and not nodes:
            raise ValueError(f"the output {name!r} is a constant")
        if len(sources) != 1:
            raise _refused(
                nodes[-1] if nodes else node,
                f"which joins {' and '.join(sources) or 'constants alone'} (a skip connection, or several inputs)",
            )
        return formulas[name], sources[0], dropout, nodes

    def _number(self, name):
        """A constant as a Formula."""
        array = self.arrays[name]
        if array.dtype.kind not in "biuf" or array.size > _symbols.MOST_NUMBERS:
            raise ValueError(
                f"the constant {name!r} of dtype {array.dtype} and shape {array.shape} cannot be part of an activation"
            )
        return _symbols.constant(array)

    def _operands(self, node):
        return [name for name in (node.input[:1] if _is(node, "Reshape", "Dropout") else node.input) if name]

    def _apply(self, node, formulas):
        attributes = self._attributes(node)
        inputs = [formulas.get(name) for name in node.input]  # None for one that is left out
        needed = inputs[:1] if _is(node, "Clip", "Reshape", "Dropout") else inputs
        if not needed or any(each is None for each in needed):
            raise _refused(node, "without an input")
        if node.domain not in ("", "ai.onnx") and (node.domain, node.op_type) != ("ai.onnx.ml", "Scaler"):
            raise _refused(node, f"of the domain {node.domain}")
        if node.op_type in PASSED:
            self._check_passed(node, attributes)
            return inputs[0]
        if node.op_type == "Softmax" and attributes.pop("axis", -1) not in (1, -1):
            raise _refused(node, "over another axis than the classes")
        if node.op_type == "Dropout":
            raise _refused(node, "before an activation: it must come after it")
        try:
            return _symbols.operator(node.op_type, inputs, attributes)
        except NotAFormula as error:
            raise _refused(
                node, f"for it contains {error}" if str(error) != f"the operator {node.op_type}" else None
            ) from None
        except TypeError:
            raise _refused(node, "with these inputs and attributes") from None

    def _check_passed(self, node, attributes):
        if node.op_type == "Cast":
            kinds = {number: name.lower() for name, number in self.onnx.TensorProto.DataType.items()}
            to = kinds.get(attributes["to"], attributes["to"])
            if to not in ("float", "double"):
                raise _refused(node, f"to {to}")
        elif node.op_type == "Flatten" and attributes.get("axis", 1) != 1:
            raise _refused(node, "from another axis than 1")

    def _check_shapes(self, nodes, width):
        """ValueError for a Reshape to anything but rows of that width."""
        for node in nodes:
            if node.op_type == "Reshape":
                array = self.arrays.get(node.input[1]) if len(node.input) > 1 else None
                shape = None if array is None or array.size > 8 else array.reshape(-1).tolist()
                if shape not in ([-1, width], [0, width], [0, -1]):
                    raise _refused(node, f"to {shape or 'a computed shape'}: only to rows of {width}")

    def _ratio(self, node, before):
        if before:
            raise _refused(node, "twice in a row")
        attributes = self._attributes(node)
        ratio: Any = np.asarray(attributes.get("ratio", 0.5))
        if len(node.input) > 1 and node.input[1]:
            ratio = self.arrays.get(node.input[1])
        if ratio is None or ratio.size != 1 or ratio.dtype.kind != "f":
            raise _refused(node, "whose ratio is no constant")
        return round(float(ratio.reshape(())), 7)  # float32

    # ---- products

    def _is_product(self, node):
        """Whether it is a layer's product: Gemm, MatMul, or the addition of a bias to one."""
        return _is(node, "Gemm", "MatMul") or _is(node, "Add") and self._bias_of(node) is not None

    def _bias_of(self, node):
        """(the MatMul, the array) of an Add, or None."""
        for name, other in (node.input, node.input[::-1]):
            made, alone = self.made_by.get(name), len(self.used[name]) == 1
            while _is(made, "Cast") and alone:  # to the dtype it has
                name = made.input[0]
                made, alone = self.made_by.get(name), len(self.used[name]) == 1
            if not _is(made, "MatMul") or other not in self.arrays or not alone:
                continue
            W, b = self.arrays.get(made.input[1]), self.arrays[other]
            if W is not None and W.ndim and b.ndim and b.size == b.shape[-1] == W.shape[-1]:  # a number may be of g
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
            row = _row(b, W.shape[1])
            if row is None:
                raise _refused(node, f"whose bias has the shape {b.shape}")
            b = np.broadcast_to(row, (W.shape[1],))
        return W, b, below

    @staticmethod
    def _scaled(array, factor):
        if factor == 1 or array.dtype.kind != "f":  # others are refused later
            return array
        return (array * factor).astype(array.dtype)

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
            slopes = _row(alpha, n_out)
            if slopes is None:
                raise _refused(nodes[-1], f"with slopes of the shape {alpha.shape}")
            return name, np.atleast_1d(slopes)
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
        factor, shift = (_row(linear[kind], n_in) for kind in ("z", ""))
        if factor is None or shift is None:
            shapes = " and ".join(str(np.shape(number)) for number in linear.values())
            raise _refused(nodes[-1], f"with arrays of the shapes {shapes} for {n_in} inputs")
        if np.any(factor == 0):
            raise _refused(nodes[-1], "which multiplies an input by 0")
        is_uint8 = declared.type.tensor_type.elem_type == self.onnx.TensorProto.UINT8
        if is_uint8 and factor.ndim == 0 and not shift.any():
            return {"input_scale": float(factor)}, None
        if np.all(factor == 1) and not shift.any():
            return {}, None
        mean = np.broadcast_to(-shift / factor, (n_in,))
        return {}, Transform(mean, np.broadcast_to(1 / factor, (n_in,)))
