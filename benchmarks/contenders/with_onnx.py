"""ONNX Runtime, for prediction only; the model is built with the `onnx` package."""

from functools import partial

import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def model_of(problem):
    """z = a W + b and relu for each layer, softmax behind the last, as bytes."""
    nodes, constants, value = [], [], "x"
    for l, (W, b) in enumerate(problem.parameters):
        constants += [numpy_helper.from_array(W, f"W{l}"), numpy_helper.from_array(b, f"b{l}")]
        last = l == len(problem.parameters) - 1
        nodes.append(helper.make_node("Gemm", [value, f"W{l}", f"b{l}"], [f"z{l}"]))
        value = "yhat" if last else f"a{l}"
        nodes.append(helper.make_node("Softmax" if last else "Relu", [f"z{l}"], [value]))
    sizes = problem.case.sizes
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
            for name, size in (("x", sizes[0]), ("yhat", sizes[-1]))]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], constants)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()


def server(problem, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # 0: ONNX Runtime's default
    session = onnxruntime.InferenceSession(model_of(problem), options, providers=["CPUExecutionProvider"])

    def predict(inputs):
        return session.run(None, inputs)[0]

    return partial(predict, {"x": problem.X})


def servers(problem):
    return {"ONNX Runtime": server(problem, 0), "ONNX Runtime, 1 thread": server(problem, 1)}
