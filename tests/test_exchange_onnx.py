"""ONNX: what to_onnx writes computes the same in ONNX Runtime, and from_onnx reads it, and models of others."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import run_python

from mlpfast import Layer, Network, activations, backprop

onnx = pytest.importorskip("onnx", reason="the extra onnx has it")

from mlpfast.exchange import from_onnx, to_onnx  # noqa: E402

sys.path.insert(0, str(Path(__file__).with_name("stress")))
import damaged_models  # noqa: E402

OTHERS = Path(__file__).parent / "data" / "exchange"
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
UNITS = {
    **{name: name for name in activations.NAMES},
    "elu": activations.ELU(0.3),
    "leaky_relu": activations.LeakyReLU(0.07),
    "prelu": activations.PReLU(),
    "shared prelu": activations.PReLU(shared=True),
}


def network(unit, dtype, seed=0, **options):
    """Three layers with that activation, of weights that reach all of its parts, and inputs."""
    rng = np.random.default_rng(seed)
    small = 0.1 if unit == "exp" else 0.7
    net = Network(
        [Layer(6, 7, unit), Layer(7, 5, unit, bias=False), Layer(5, 4, unit)], dtype=dtype, seed=seed, **options
    )
    for layer in net.layers:
        layer.W = small * rng.normal(size=layer.W.shape)
        if layer.bias:
            layer.b = small * rng.normal(size=layer.b.shape)
        if layer.slopes is not None:
            layer.slopes = rng.normal(size=layer.slopes.shape)  # some of them negative
    return net, (2 * rng.normal(size=(50, 6))).astype(dtype)


def runtime(path, X):
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X})[0]


def assert_close(got, wanted, tolerance):
    """Relative to the largest number."""
    assert got.shape == wanted.shape and got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UNITS)
def test_every_activation_is_the_same_in_onnx_runtime_and_back(tmp_path, name, dtype):
    net, X = network(UNITS[name], dtype)
    path = tmp_path / "net.onnx"
    if name == "gelu" and dtype == "float64":
        with pytest.raises(ValueError, match="layer 1: gelu in float64 needs the operator Erf, .* float32 alone"):
            to_onnx(net, path)
        assert not path.exists()
        return
    to_onnx(net, path)
    assert_close(runtime(path, X), net.predict(X), TOLERANCE[dtype])
    assert_close(runtime(path, X[:1]), net.predict(X[:1]), TOLERANCE[dtype])
    again = from_onnx(path)
    assert [layer._unit._key() for layer in again.layers] == [layer._unit._key() for layer in net.layers]
    assert [layer.bias for layer in again.layers] == [True, False, True]
    assert again.dtype == net.dtype and again.predict(X).tobytes() == net.predict(X).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parts_of_the_outputs(tmp_path, dtype):
    parts = activations.PerOutput([
        (slice(0, 2), activations.ELU(0.3)), (2, "identity"), (3, "exp"), (slice(4, 7), "softmax"), (7, "softplus"),
    ])
    net = Network([Layer(6, 7, "tanh"), Layer(7, 8, parts)], dtype=dtype, seed=0)
    X = np.random.default_rng(0).normal(size=(50, 6)).astype(dtype)
    path = tmp_path / "net.onnx"
    to_onnx(net, path)
    assert opset(path) <= 9
    assert_close(runtime(path, X), net.predict(X), TOLERANCE[dtype])
    again = from_onnx(path)
    assert again.layers[-1]._unit == parts and again.predict(X).tobytes() == net.predict(X).tobytes()
    one = Network([6, 3], output=activations.PerOutput([(slice(0, 3), "softmax")]), dtype=dtype, seed=0)
    to_onnx(one, path)
    assert_close(runtime(path, X), one.predict(X), TOLERANCE[dtype])
    assert from_onnx(path).layers[-1].activation == "softmax"


def opset(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    (imported,) = model.opset_import
    return imported.version


def test_the_lowest_operator_set_that_suffices(tmp_path):
    path = tmp_path / "net.onnx"
    for unit, dtype, version in [
        ("relu", "float32", 7),
        ("hard_swish", "float32", 8),
        ("gelu", "float32", 9),
        ("sign", "float64", 9),
        ("elu", "float32", 7),
        ("elu", "float64", 8),
    ]:
        to_onnx(network(unit, dtype)[0], path)
        assert opset(path) == version, (unit, dtype)


def test_shapes_are_inferred_and_the_number_of_rows_is_free(tmp_path):
    path = tmp_path / "net.onnx"
    to_onnx(network("mish", "float32")[0], path)
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
    of = {
        each.name: [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in [*model.graph.input, *model.graph.output, *model.graph.value_info]
    }
    assert of["X"] == ["batch", 6] and of["yhat"] == ["batch", 4]
    assert len(of) == len(model.graph.node) + 1 and all(dims[0] == "batch" for dims in of.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pixels(tmp_path, dtype):
    net, _ = network("tanh", dtype, input_scale=1 / 255)
    X = np.random.default_rng(1).integers(256, size=(20, 6)).astype(np.uint8)
    path = tmp_path / "net.onnx"
    to_onnx(net, path)
    assert_close(runtime(path, X), net.predict(X), TOLERANCE[dtype])
    again = from_onnx(path)
    assert again.input_scale == pytest.approx(1 / 255, rel=1e-7)
    assert_close(again.predict(X), net.predict(X), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("input_scale", [1.0, 1 / 255])
def test_a_transform_of_the_inputs(tmp_path, dtype, input_scale):
    """Of floats also where mean is so large that float32 would not do."""
    rng = np.random.default_rng(1)
    mean, scale, X = np.linspace(0, 1, 6) / 3, np.linspace(0.3, 2, 6), rng.integers(256, size=(20, 6)).astype(np.uint8)
    if input_scale == 1:
        mean = np.array([1e5, -1, 0, 1, 100, 7]) / 3
        X = (mean + scale * rng.normal(size=(20, 6))).astype(dtype)
    net, _ = network("tanh", dtype, input_scale=input_scale, input_transform=(mean, scale))
    path = tmp_path / "net.onnx"
    to_onnx(net, path)
    again = from_onnx(path)
    np.testing.assert_allclose(again.input_transform, np.array([mean, scale]) / input_scale, rtol=1e-14)
    assert [p.tobytes() for p in again.parameters] == [p.tobytes() for p in net.parameters]
    assert_close(runtime(path, X), net.predict(X), TOLERANCE[dtype])
    assert_close(again.predict(X), net.predict(X), TOLERANCE[dtype])


def test_masks_are_applied(tmp_path):
    rng = np.random.default_rng(0)
    mask = rng.random((6, 4)) < 0.5
    net = Network([Layer(6, 4, "relu", mask=mask), Layer(4, 2)], seed=0)
    X = rng.normal(size=(9, 6)).astype(np.float32)
    path = tmp_path / "net.onnx"
    to_onnx(net, path)
    assert_close(runtime(path, X), net.predict(X), 1e-6)
    np.testing.assert_array_equal(from_onnx(path).layers[0].W != 0, mask)


def test_what_cannot_be_written(tmp_path):
    path = tmp_path / "net.onnx"
    custom = activations.Custom(np.sin, np.cos)
    with pytest.raises(ValueError, match="layer 2 has a Custom activation"):
        to_onnx(Network([Layer(2, 3), Layer(3, 1, custom)]), path)
    with pytest.raises(TypeError, match="net must be a Network, got list"):
        to_onnx([1], path)
    assert not path.exists()


# ---- models of others


@pytest.mark.parametrize("name", sorted(path.stem for path in OTHERS.glob("*.onnx")))
@pytest.mark.filterwarnings("ignore:the outputs label")
def test_models_of_other_exporters(name):
    path = OTHERS / f"{name}.onnx"
    assert path.stat().st_size < 50_000
    data = np.load(OTHERS / f"{name}.npz")
    net = from_onnx(path)
    got = net.predict(data["X"].astype(net.dtype))
    np.testing.assert_allclose(got, data["yhat"].reshape(got.shape), rtol=0, atol=1e-6 * np.abs(data["yhat"]).max())


def test_there_are_models_of_three_libraries():
    producers = {onnx.load(path).producer_name for path in OTHERS.glob("*.onnx")}
    assert {"pytorch", "skl2onnx"} <= producers and len(list(OTHERS.glob("*.onnx"))) == 5


def test_outputs_that_are_left_out_are_named():
    with pytest.warns(UserWarning, match="the outputs label are left out"):
        net = from_onnx(OTHERS / "skl2onnx_classifier.onnx")
    again = from_onnx(OTHERS / "skl2onnx_classifier.onnx", output="probabilities")
    X = np.load(OTHERS / "skl2onnx_classifier.npz")["X"]
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    with pytest.raises(ValueError, match="output must be one of label, probabilities, got 'p'"):
        from_onnx(OTHERS / "skl2onnx_classifier.onnx", output="p")


# ---- models by hand

rng = np.random.default_rng(0)
W, b, V, c = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(3, 2)), rng.normal(size=2)


def node(kind, *names, **attributes):
    return onnx.helper.make_node(kind, list(names[:-1]), [names[-1]], name=f"the {kind}", **attributes)


def model(*nodes, shape=("n", 4), version=18, elements=None, **arrays):
    """A model of X and float64 arrays whose output is Y."""
    helper, double = onnx.helper, onnx.TensorProto.DOUBLE
    arrays = {"W": W, "b": b, "V": V, "c": c, **arrays}
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("X", elements or double, shape)],
        [helper.make_tensor_value_info("Y", double, None)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version), helper.make_opsetid("own", 1)])


def evaluated(made, X):
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(made).run(None, {"X": X})[0]


Z, A = ("Gemm", "X", "W", "b", "z"), ("Gemm", "a", "V", "c", "Y")
FORMS = {  # name: (the activation it is, nodes from z to a, arrays)
    "Elu": (activations.ELU(0.5), [("Elu", "z", "a", {"alpha": 0.5})], {}),
    "relu as a maximum": ("relu", [("Max", "z", "zero", "a")], {"zero": 0.0}),
    "relu as Clip": ("relu", [("Clip", "z", "zero", "a")], {"zero": 0.0}),
    "sigmoid of exp": (
        "sigmoid",
        [("Neg", "z", "n"), ("Exp", "n", "e"), ("Add", "one", "e", "s"), ("Reciprocal", "s", "a")],
        {"one": 1.0},
    ),
    "silu": ("silu", [("Sigmoid", "z", "s"), ("Mul", "s", "z", "a")], {}),
    "gelu, divided": (
        "gelu",
        [
            ("Div", "z", "root", "u"),
            ("Erf", "u", "e"),
            ("Add", "e", "one", "p"),
            ("Mul", "z", "p", "q"),
            ("Mul", "q", "half", "a"),
        ],
        {"root": 2**0.5, "one": 1.0, "half": 0.5},
    ),
    "gelu, expanded": (
        "gelu",
        [
            ("Mul", "z", "root", "u"),
            ("Erf", "u", "e"),
            ("Mul", "half", "z", "h"),
            ("Mul", "h", "e", "q"),
            ("Add", "h", "q", "a"),
        ],
        {"root": 0.5**0.5, "half": 0.5},
    ),
    "gelu_tanh with a power": (
        "gelu_tanh",
        [
            ("Pow", "z", "three", "p"),
            ("Mul", "p", "k", "q"),
            ("Add", "z", "q", "r"),
            ("Mul", "r", "root", "s"),
            ("Tanh", "s", "t"),
            ("Add", "t", "one", "u"),
            ("Mul", "z", "u", "v"),
            ("Mul", "half", "v", "a"),
        ],
        {"three": 3.0, "k": 0.044715, "root": (2 / np.pi) ** 0.5, "one": 1.0, "half": 0.5},
    ),
    "softplus": ("softplus", [("Exp", "z", "e"), ("Add", "e", "one", "s"), ("Log", "s", "a")], {"one": 1.0}),
    "softsign": ("softsign", [("Abs", "z", "n"), ("Add", "n", "one", "s"), ("Div", "z", "s", "a")], {"one": 1.0}),
    "hard_swish as relu6": (
        "hard_swish",
        [
            ("Add", "z", "three", "t"),
            ("Clip", "t", "zero", "six", "u"),
            ("Mul", "z", "u", "v"),
            ("Div", "v", "six", "a"),
        ],
        {"three": 3.0, "zero": 0.0, "six": 6.0},
    ),
    "hard_sigmoid": ("hard_sigmoid", [("HardSigmoid", "z", "a", {"alpha": 1 / 6, "beta": 0.5})], {}),
    "leaky_relu": (activations.LeakyReLU(0.25), [("Mul", "z", "slope", "s"), ("Max", "z", "s", "a")], {"slope": 0.25}),
    "leaky_relu of Relu": (
        activations.LeakyReLU(0.25),
        [("Relu", "z", "p"), ("Neg", "z", "n"), ("Relu", "n", "m"), ("Mul", "m", "slope", "s"), ("Sub", "p", "s", "a")],
        {"slope": 0.25},
    ),
    "Dropout": ("tanh", [("Tanh", "z", "t"), ("Dropout", "t", "ratio", "a")], {"ratio": np.float32(0.25)}),
    "Identity": ("tanh", [("Identity", "z", "i"), ("Tanh", "i", "t"), ("Identity", "t", "a")], {}),
}


def nodes_of(specs):
    return [
        node(
            *[part for part in spec if not isinstance(part, dict)],
            **next((part for part in spec if isinstance(part, dict)), {}),
        )
        for spec in specs
    ]


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_activations(name):
    unit, between, arrays = FORMS[name]
    made = model(*nodes_of([Z, *between, A]), **arrays)
    net = from_onnx(made)
    wanted = activations.checked("wanted", unit)
    assert net.layers[0]._unit.name == wanted.name and net.layers[0]._unit.alpha == pytest.approx(wanted.alpha)
    assert net.layers[0].dropout == (0.25 if name == "Dropout" else 0)
    X = rng.normal(size=(20, 4)) * 3
    if name != "gelu" and "Erf" not in str(between):
        assert_close(net.predict(X), evaluated(made, X), 1e-7)  # attributes are float32


PRODUCTS = {  # nodes, arrays, the W and b that they are
    "Gemm": ([("Gemm", "X", "W", "b", "Y")], {}, W, b),
    "Gemm without a bias": ([("Gemm", "X", "W", "Y")], {}, W, None),
    "Gemm transposed and scaled": (
        [("Gemm", "X", "U", "b", "Y", {"transB": 1, "alpha": 2.0, "beta": 0.5})],
        {"U": W.T},
        2 * W,
        b / 2,
    ),
    "MatMul": ([("MatMul", "X", "W", "Y")], {}, W, None),
    "MatMul and Add": ([("MatMul", "X", "W", "p"), ("Add", "p", "b", "Y")], {}, W, b),
    "Add first": ([("MatMul", "X", "W", "p"), ("Add", "b", "p", "Y")], {}, W, b),
    "a bias (1, n)": ([("MatMul", "X", "W", "p"), ("Add", "p", "row", "Y")], {"row": b[None]}, W, b),
    "Transpose": ([("Transpose", "U", "T"), ("MatMul", "X", "T", "Y")], {"U": W.T}, W, None),
    "Flatten": ([("Flatten", "X", "x"), ("MatMul", "x", "W", "Y")], {}, W, None),
    "Reshape": ([("Reshape", "X", "to", "x"), ("MatMul", "x", "W", "Y")], {"to": np.array([-1, 4])}, W, None),
    "Rescaling": (
        [("Sub", "X", "m", "x"), ("Div", "x", "s", "u"), ("Gemm", "u", "W", "b", "Y")],
        {"m": np.arange(4.0), "s": np.arange(1.0, 5)},
        W,
        b,
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_forms_of_layers(name):
    specs, arrays, wanted_W, wanted_b = PRODUCTS[name]
    made = model(*nodes_of(specs), **arrays)
    net = from_onnx(made)
    np.testing.assert_allclose(net.layers[0].W, wanted_W, rtol=1e-12)
    if wanted_b is None:
        assert not net.layers[0].bias
    else:
        np.testing.assert_allclose(net.layers[0].b, wanted_b, rtol=1e-12)
    if name == "Rescaling":
        np.testing.assert_allclose(net.input_transform, [arrays["m"], arrays["s"]], rtol=1e-15)
    X = rng.normal(size=(5, 4))
    assert_close(net.predict(X), evaluated(made, X), 1e-14)


def test_constants_that_are_nodes():
    value = onnx.numpy_helper.from_array(W, "value")
    made = model(onnx.helper.make_node("Constant", [], ["U"], value=value), node("MatMul", "X", "U", "Y"))
    np.testing.assert_array_equal(from_onnx(made).layers[0].W, W)


START, END = ("Slice", "z", "0", "1", "1", "first"), ("Slice", "z", "1", "end", "1", "last")
ENDS = {"0": np.array([0]), "1": np.array([1]), "end": np.array([2**63 - 1])}
TWO = [("Tanh", "first", "p"), ("Softmax", "last", "q")]


def test_parts_of_the_outputs_of_others():
    """From operator set 10 on, the numbers of a Slice are inputs; they may be beyond the end."""
    made = model(*nodes_of([Z, START, END, *TWO, ("Concat", "p", "q", "Y", {"axis": -1})]), **ENDS)
    net = from_onnx(made)
    assert net.layers[0]._unit == activations.PerOutput([(0, "tanh"), (slice(1, 3), "softmax")])
    X = rng.normal(size=(20, 4))
    assert_close(net.predict(X), evaluated(made, X), 1e-14)


REFUSED = {  # nodes, arrays, what the message says
    "a convolution": (
        [("Conv", "X", "K", "k"), ("Flatten", "k", "a"), A],
        {"K": np.ones((1, 1, 3, 3))},
        r"node 'the Conv'",
    ),
    "a batch norm": ([Z, ("BatchNormalization", "z", "b", "b", "b", "b", "a"), A], {}, "node 'the BatchNormalization'"),
    "a skip connection": (
        [Z, ("Tanh", "z", "t"), ("Gemm", "t", "S", "b", "u"), ("Add", "u", "z", "a"), A],
        {"S": np.eye(3)},
        "node 'the Add'.*joins z and u",
    ),
    "two layers added": ([Z, ("Gemm", "X", "W", "y"), ("Add", "z", "y", "a"), A], {}, "joins"),
    "relu6": ([Z, ("Clip", "z", "zero", "six", "a"), A], {"zero": 0.0, "six": 6.0}, "no activation of mlpfast .Clip"),
    "another hard sigmoid": ([Z, ("HardSigmoid", "z", "a"), A], {}, "no activation of mlpfast"),
    "celu": ([Z, ("Celu", "z", "a", {"alpha": 2.0}), A], {}, "node 'the Celu'"),
    "two activations": ([Z, ("Tanh", "z", "t"), ("Relu", "t", "a"), A], {}, "no activation of mlpfast .Tanh, Relu"),
    "softmax over rows": ([Z, ("Softmax", "z", "a", {"axis": 0}), A], {}, "another axis"),
    "a negative alpha": ([Z, ("Elu", "z", "a", {"alpha": -1.0}), A], {}, "alpha -1"),
    "scaled twice": ([Z, ("Mul", "z", "two", "a"), A], {"two": 2.0}, "no activation"),
    "a log-softmax": ([Z, ("LogSoftmax", "z", "a"), A], {}, "node 'the LogSoftmax'"),
    "transposed inputs": ([("Gemm", "X", "W", "b", "Y", {"transA": 1})], {}, "transA"),
    "computed weights": ([("MatMul", "X", "X", "Y")], {}, "weights are computed"),
    "a Reshape between": (
        [Z, ("Tanh", "z", "t"), ("Reshape", "t", "to", "a"), A],
        {"to": np.array([-1, 6])},
        "only to rows of 3",
    ),
    "a Dropout before": ([Z, ("Dropout", "z", "d"), ("Tanh", "d", "a"), A], {}, "before an activation"),
    "an activation first": ([("Tanh", "X", "x"), ("MatMul", "x", "W", "Y")], {}, "before the first layer"),
    "no layer": ([("Tanh", "X", "Y")], {}, "no layer with weights"),
    "a Where": ([Z, ("Greater", "z", "zero", "g"), ("Where", "g", "z", "z", "a"), A], {"zero": 0.0}, "Where"),
    "widths": ([Z, ("Tanh", "z", "t"), ("MatMul", "t", "U", "Y")], {"U": np.ones((5, 2))}, "do not fit"),
    "mixed dtypes": (
        [("MatMul", "X", "U", "z"), A[:1] + ("z",) + A[2:]],
        {"U": W.astype(np.float32)},
        "all be float32 or all float64",
    ),
    "a slice alone": ([Z, ("Slice", "z", "0", "1", "1", "Y")], ENDS, "not joined again by a Concat"),
    "slices within": (
        [Z, START, END, *TWO, ("Concat", "p", "q", "a", {"axis": 1}), A], ENDS, "node 'the Concat'"),
    "parts in another order": (
        [Z, START, END, *TWO, ("Concat", "q", "p", "Y", {"axis": 1})], ENDS, "not the next part of the same outputs"),
    "parts of two layers": (
        [Z, ("MatMul", "X", "W", "y"), START, ("Slice", "y", "1", "end", "1", "last"), *TWO,
         ("Concat", "p", "q", "Y", {"axis": 1})], ENDS, "not the next part of the same outputs"),
    "parts of rows": (
        [Z, ("Slice", "z", "0", "1", "0", "first"), *TWO[:1], ("Concat", "p", "p", "Y", {"axis": 0})], ENDS, "axis"),
    "rows as parts": (
        [Z, ("Slice", "z", "0", "1", "0", "first"), ("Concat", "first", "Y", {"axis": 1})],
        ENDS, "neighbouring columns"),
    "every second column": (
        [Z, ("Slice", "z", "0", "end", "1", "two", "s"), ("Concat", "s", "Y", {"axis": 1})],
        {**ENDS, "two": np.array([2])}, "neighbouring columns"),
    "outputs that are not used": (
        [Z, START, ("Concat", "first", "Y", {"axis": 1})], ENDS, "of whose 3 outputs 1 are used"),
    "parts of activations": (
        [Z, ("Tanh", "z", "t"), ("Slice", "t", "0", "end", "1", "first"), ("Concat", "first", "Y", {"axis": 1})],
        ENDS, "before their activation"),
    "parts joined with a layer": ([Z, START, ("Concat", "first", "z", "Y", {"axis": 1})], ENDS, "are not slices"),
    "a lower limit alone": ([Z, ("Clip", "z", "", "zero", "a"), A], {"zero": 0.0}, "no activation of mlpfast .Clip"),
    "an input that is left out": ([Z, ("Max", "z", "", "a"), A], {}, "without an input"),
    "limits that are equal": ([Z, ("Clip", "z", "one", "one", "a"), A], {"one": 1.0}, "limits with nothing between"),
    "a bias of rows": ([("Gemm", "X", "W", "u", "Y")], {"u": np.ones((3, 1))}, r"bias has the shape \(3, 1\)"),
    "slopes of rows": ([Z, ("PRelu", "z", "u", "a"), A], {"u": np.array([[1], [2], [3.0]])}, r"shape \(3, 1\)"),
    "computed slopes": ([Z, ("PRelu", "z", "z", "a"), A], {}, "computed slopes"),
    "rows that are scaled": (
        [("Mul", "X", "u", "x"), ("MatMul", "x", "W", "Y")], {"u": np.ones((4, 1)) + 1}, r"\(4, 1\) and \(\) for 4"),
    "a computed ratio": ([Z, ("Tanh", "z", "t"), ("Dropout", "t", "X", "a"), A], {}, "ratio is no constant"),
    "a computed step": (
        [Z, ("Slice", "z", "0", "end", "1", "X", "s"), ("Concat", "s", "Y", {"axis": 1})], ENDS, "neighbouring"),
    "a Reshape to floats": ([("Reshape", "X", "to", "x"), ("MatMul", "x", "W", "Y")], {"to": np.inf}, "to .inf."),
    "an unknown operator": ([Z, ("Tann", "z", "a"), A], {}, "none of ONNX .No Op registered for Tann"),
    "an input too many": ([Z, ("Tanh", "z", "z", "a"), A], {}, "none of ONNX .*input size 2 not in range"),
    "an attribute that is missing": ([Z, ("Cast", "z", "a"), A], {}, "none of ONNX .*'to' is missing"),
    "an attribute of another type": ([Z, ("Elu", "z", "a", {"alpha": [1.0]}), A], {}, "none of ONNX .*'FLOATS'"),
    "an unknown dtype": ([Z, ("Cast", "z", "a", {"to": 77}), A], {}, "to 77"),
    "nodes in another order": ([A, Z, ("Tanh", "z", "a")], {}, "whose input 'a' is not there before it"),
    "a name for two": ([Z, ("Tanh", "X", "z"), ("Tanh", "z", "a"), A], {}, "whose output 'z' is there already"),
    "a circle of layers": (
        [("MatMul", "q", "S", "p"), ("MatMul", "p", "S", "q"), ("MatMul", "p", "W", "Y")], {"S": np.eye(3)},
        "whose input 'q' is not there before it"),
    "a circle of dropouts": ([("Dropout", "Y", "zero", "Y")], {"zero": 0.0}, "whose input 'Y' is not there"),
    "too many operators": (
        [Z, ("Neg", "z", "n0"), *[("Identity", f"n{n}", f"n{n + 1}") for n in range(150)], ("Tanh", "n150", "a"), A],
        {}, "behind 100 others"),
    "functions of functions": (
        [Z, *[("Tanh", "z" if n == 0 else f"t{n}", f"t{n + 1}") for n in range(50)], ("Gemm", "t50", "V", "c", "Y")],
        {}, "functions of functions"),
    "a constant shape that does not fit": (
        [("Reshape", "W", "to", "U"), ("MatMul", "X", "U", "Y")], {"to": np.array([5, 5])}, "cannot be computed"),
    "an integer cast": ([("Cast", "X", "x", {"to": 6}), ("MatMul", "x", "W", "Y")], {}, "to int32"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_named(name):
    specs, arrays, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as caught:
        from_onnx(model(*nodes_of(specs), **arrays))
    assert "supported are" in str(caught.value) or name in ("mixed dtypes",)


@pytest.mark.parametrize("name", ["net.onnx", "net.json", "net.textproto", "net.onnxtxt"])
@pytest.mark.parametrize("data", [b"\xff no model", b"", b"{"])
def test_a_file_that_is_no_model(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match="path must be that of an ONNX model"):
        from_onnx(path)
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "none.onnx")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="must be a file, is a device or a pipe"):
        from_onnx(tmp_path / "net.onnx")


def test_damaged_models_are_refused_or_read():
    """More are tried by tests/stress/damaged_models.py."""
    read, refused, wrong = damaged_models.attack(damaged_models.originals(), 300, seed=1)
    assert read and refused and not wrong


def outside(path, **where):
    """A model whose weights W are in a file beside it."""
    made = model(*nodes_of([Z, ("Tanh", "z", "a"), A]))
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in where.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(made.SerializeToString())
    (path.parent / "W").write_bytes(W.tobytes())


def test_weights_in_a_file_beside_the_model(tmp_path):
    """As PyTorch's exporter writes them by default; a path to elsewhere is refused."""
    outside(tmp_path / "net.onnx", location="W")
    np.testing.assert_array_equal(from_onnx(tmp_path / "net.onnx").layers[0].W, W)
    for location in ("none", "", "../W", "/etc/passwd", "."):
        outside(tmp_path / "net.onnx", location=location)
        with pytest.raises(ValueError, match="net.onnx': .*tensor name: W"):
            from_onnx(tmp_path / "net.onnx")


def test_what_a_network_has_for_training_alone_is_named(tmp_path):
    net = Network([Layer(6, 4, dropout=0.5), Layer(4, 2, l2=0.1, trainable=False)], seed=0)
    with pytest.warns(UserWarning, match="no dropout of layer 1, l2 of layer 2, trainable of layer 2.*left out"):
        to_onnx(net, tmp_path / "net.onnx")
    from_onnx(tmp_path / "net.onnx")


def test_a_full_disk_leaves_the_old_model(tmp_path):
    path = tmp_path / "net.onnx"
    to_onnx(Network([3, 2], seed=0), path)
    before = path.read_bytes()
    program = """
        import resource, signal, sys, mlpfast
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # as a disk with so much room
        try:
            mlpfast.exchange.to_onnx(mlpfast.Network([100, 300, 10]), sys.argv[1])
        except OSError:
            print("OSError")
    """
    assert run_python(program, path) == "OSError\n"
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["net.onnx"]


def test_the_mask_of_a_dropout_is_no_layer():
    dropout = onnx.helper.make_node("Dropout", ["z"], ["d", "mask"], name="the Dropout")
    with pytest.raises(ValueError, match="no value 'mask' that is the first output of a node"):
        from_onnx(model(node(*Z), dropout, node("Tanh", "mask", "a"), node(*A)))


def test_constants_of_a_stranger_take_no_memory():
    """Two vectors whose sum would be a matrix of 80 GB."""
    made = model(
        *nodes_of([("Add", "u", "v", "U"), ("MatMul", "X", "U", "Y")]), u=np.zeros((100_000, 1)), v=np.zeros(100_000)
    )
    with pytest.raises(ValueError, match="whose weights are computed"):
        from_onnx(made)
    for kind in ("Add", "Mul"):
        between = [Z, (kind, "z", "u", "p"), (kind, "p", "v", "a"), A]
        with pytest.raises(ValueError, match=f"node 'the {kind}'.*contains arrays that do not fit"):
            from_onnx(model(*nodes_of(between), u=np.zeros((100_000, 1)) + 1, v=np.zeros(100_000) + 1))


def test_constants_that_are_joined_many_times_take_no_memory():
    """Each result would be 8 GB, of 8 MB."""
    often = onnx.helper.make_node("Concat", ["u"] * 1000, ["U"], axis=1)
    with pytest.raises(ValueError, match="whose weights are computed"):
        from_onnx(model(often, node("MatMul", "X", "U", "Y"), u=np.zeros((1000, 1000))))


def test_formulas_of_a_stranger_take_no_time():
    """Equal functions, twice: to compare them takes twice as long with each level."""
    between = []
    for own in "st":
        a, b = "z", "zz"
        for n in range(22):
            between += [("Tanh", a, f"{own}a{n}"), ("Tanh", b, f"{own}b{n}"), ("Mul", f"{own}a{n}", f"{own}b{n}",
                                                                             f"{own}{n}"),
                        ("Add", f"{own}{n}", f"{own}a{n}", f"{own}c{n}")]
            a, b = f"{own}{n}", f"{own}c{n}"
    specs = [Z, ("Mul", "z", "two", "zz"), *between, ("Add", "s21", "t21", "a"), A]
    with pytest.raises(ValueError, match="functions of functions"):
        from_onnx(model(*nodes_of(specs), two=2.0))


def test_operators_of_other_domains_are_refused():
    own = onnx.helper.make_node("Tanh", ["z"], ["a"], name="mine", domain="own")
    with pytest.raises(ValueError, match="node 'mine' .Tanh. cannot be carried over, of the domain own"):
        from_onnx(model(node(*Z), own, node(*A)))
    for kind in ("Dropout", "Cast", "MatMul", "Slice", "Concat", "Reshape"):
        own = onnx.helper.make_node(kind, ["z"], ["Y"], name="mine", domain="own")
        with pytest.raises(ValueError, match="of the domain own"):
            from_onnx(model(node(*Z), own))


def test_a_convolution_inside_is_named_where_it_stands(tmp_path):
    """The first operator from the output that is none of ours."""
    made = model(
        *nodes_of([("Conv", "X", "K", "k"), ("Flatten", "k", "x"), ("Gemm", "x", "W", "b", "Y")]),
        shape=("n", 1, 4, 4),
        K=np.ones((1, 1, 3, 3)),
    )
    path = tmp_path / "conv.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ValueError, match=r"node 'the Conv' \(Conv\) cannot be carried over: supported are Gemm"):
        from_onnx(path)


def test_gradients_go_on_where_a_network_has_been_read():
    """It is a network like others."""
    net = from_onnx(model(*nodes_of([Z, ("Tanh", "z", "a"), A])))
    X, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))
    assert backprop.check_gradients(net, X, y, "half_squared_error") < 1e-6


def test_the_library_is_imported_when_it_is_used():
    program = (
        "import sys; sys.modules['onnx'] = None\n"
        "import mlpfast\n"
        "for call in (lambda: mlpfast.exchange.to_onnx(mlpfast.Network([2, 3]), 'x.onnx'), "
        "lambda: mlpfast.exchange.from_onnx('x.onnx')):\n"
        "    try: call()\n"
        "    except ImportError as error: print(error)\n"
    )
    assert run_python(program).splitlines() == ['onnx is needed for this: pip install "mlpfast[onnx]"'] * 2
