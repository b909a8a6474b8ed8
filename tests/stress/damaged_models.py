"""Models of ONNX with flipped bits, cut off, spliced together, and with names, operators, attributes and sizes
exchanged: from_onnx reads each, or refuses it with a ValueError.

    python tests/stress/damaged_models.py [20000] [seed]
"""

import random
import sys
import time
import warnings
from pathlib import Path

import damaged
import numpy as np
import onnx

from mlpfast.exchange import from_onnx

MODELS = Path(__file__).parents[1] / "data" / "exchange"
OPERATORS = (
    "Softmax Slice Concat Clip Pow Where Dropout Cast PRelu Reshape Flatten Gemm MatMul Add Elu Constant Transpose "
    "Squeeze Scaler Max Min Sqrt Log Gelu HardSigmoid Swish Selu Div Reciprocal Unsqueeze Normalizer If Loop"
).split()
ATTRIBUTES = (
    "alpha beta gamma axis axes to perm ratio transA transB starts ends min max offset scale value value_float "
    "value_ints approximate keepdims"
).split()
VALUES = (1, 0, -1, 2**40, -(2**62), 1.5, float("nan"), "x", b"\xff", [1, 2], [1.0], ["a"], [0] * 9,
          onnx.numpy_helper.from_array(np.zeros(3, np.float32)))
SIZES = (0, -1, 1, 3, 2**40, 2**62)


def originals():
    return [path.read_bytes() for path in sorted(MODELS.glob("*.onnx"))]


# ---- Changes of what a model says


def inputs(model, node, names, draw):
    how = draw.randrange(3)
    if how == 0 or not node.input:
        node.input.append(draw.choice(names))
    elif how == 1:
        node.input[draw.randrange(len(node.input))] = draw.choice(names)
    else:
        del node.input[draw.randrange(len(node.input))]


def outputs(model, node, names, draw):
    if node.output and draw.random() < 0.5:
        del node.output[draw.randrange(len(node.output))]
    else:
        node.output.append(draw.choice(names))


def operator(model, node, names, draw):
    node.op_type = draw.choice(OPERATORS)


def attribute(model, node, names, draw):
    name = draw.choice([*ATTRIBUTES, *(each.name for each in node.attribute)])
    for number in reversed(range(len(node.attribute))):
        if node.attribute[number].name == name:
            del node.attribute[number]
    if draw.random() < 0.8:
        node.attribute.append(onnx.helper.make_attribute(name, draw.choice(VALUES)))


def nodes(model, node, names, draw):
    number = draw.randrange(len(model.graph.node))
    if draw.random() < 0.5:
        del model.graph.node[number]
    else:
        model.graph.node.insert(number, node)


def array(model, node, names, draw):
    if not model.graph.initializer:
        return
    tensor, how = draw.choice(model.graph.initializer), draw.randrange(4)
    if how == 0:
        tensor.data_type = draw.randrange(25)
    elif how == 1:
        tensor.name = draw.choice(names)
    elif how == 2 or not tensor.dims:
        tensor.dims.append(draw.choice(SIZES))
    else:
        tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice(SIZES)


def frame(model, node, names, draw):
    model.graph.input[0].name = draw.choice([model.graph.input[0].name, *names])
    model.graph.output[0].name = draw.choice([model.graph.output[0].name, *names])
    model.graph.input[0].type.tensor_type.elem_type = draw.randrange(20)
    if model.opset_import and draw.random() < 0.5:
        model.opset_import[0].version = draw.choice((0, -1, 5, 9, 10, 13, 22, 99, 2**40))


CHANGES = (inputs, outputs, operator, attribute, nodes, array, frame)


def changed(data, others, draw):
    model = onnx.load_from_string(data)
    for _ in range(draw.choice((1, 1, 2, 3))):
        if not model.graph.node:
            break
        names = ["", "nowhere", *(name for node in model.graph.node for name in (*node.input, *node.output))]
        draw.choice(CHANGES)(model, draw.choice(model.graph.node), names, draw)
    return model.SerializeToString()


KINDS = (damaged.flipped, damaged.cut, damaged.spliced, changed, changed, changed)


def attack(models, n, seed):
    """(how many were read, how many refused, [what went wrong])"""
    draw, read, refused, wrong = random.Random(seed), 0, 0, []
    with damaged.workplace() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "damaged.onnx"
        for number in range(n):
            kind = draw.choice(KINDS)
            path.write_bytes(kind(draw.choice(models), models, draw))
            try:
                from_onnx(path)
                read += 1
            except ValueError:
                refused += 1
            except Exception as error:
                wrong.append((number, kind.__name__, repr(error)))
    return read, refused, wrong


def main(n=20_000, seed=0):
    start = time.perf_counter()
    read, refused, wrong = attack(originals(), n, seed)
    seconds = time.perf_counter() - start
    print(f"{n} damaged models: {read} read, {refused} refused, {len(wrong)} wrong, {seconds:.0f} s")
    for line in wrong[:20]:
        print(*line)
    return not wrong


if __name__ == "__main__":
    sys.exit(not main(*map(int, sys.argv[1:])))
