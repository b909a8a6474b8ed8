"""Computational graphs: local gradients against central differences, lectures' numbers, and the graph of a network
against backprop and the NumPy reference."""

import copy
import itertools
import math
import shutil
import subprocess

import numpy as np
import pytest
import reference

from mlpfast import Layer, Network, Trainer, activations, backprop, graph, losses, schedules

# ---- operations


def numbers(*shape, seed=0, low=0.3, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, size=shape)


def signed(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) + 0.01


UNITS = [name for name in activations.NAMES if name not in ("softmax", "prelu")]
OPERATIONS = {  # name: (function of nodes, inputs)
    "add": (graph.add, [signed(3, 4), signed(3, 4, seed=1)]),
    "add, a row": (graph.add, [signed(3, 4), signed(4, seed=1)]),
    "add, a column": (graph.add, [signed(3, 1), signed(3, 4, seed=1)]),
    "add, numbers": (graph.add, [signed(), signed(seed=1)]),
    "subtract": (graph.subtract, [signed(3, 4), signed(1, 4, seed=1)]),
    "multiply": (graph.multiply, [signed(3, 4), signed(4, seed=1)]),
    "multiply by a number": (graph.multiply, [signed(3, 4), signed(seed=1)]),
    "divide": (graph.divide, [signed(4), numbers(3, 4, seed=1)]),
    "negative": (graph.negative, [signed(3)]),
    "reciprocal": (graph.reciprocal, [numbers(3, 2)]),
    "square": (graph.square, [signed(3, 2)]),
    "sqrt": (graph.sqrt, [numbers(3, 2)]),
    "absolute": (graph.absolute, [signed(5)]),
    "log": (graph.log, [numbers(3, 2)]),
    "maximum": (graph.maximum, [signed(3, 4), signed(4, seed=1)]),
    "matmul": (graph.matmul, [signed(3, 4), signed(4, 2, seed=1)]),
    "matmul of vectors": (graph.matmul, [signed(4), signed(4, seed=1)]),
    "matmul, a row": (graph.matmul, [signed(4), signed(4, 3, seed=1)]),
    "matmul, a column": (graph.matmul, [signed(3, 4), signed(4, seed=1)]),
    "sum": (graph.sum, [signed(3, 4)]),
    "mean": (graph.mean, [signed(3, 4)]),
    "power": (lambda x: graph.power(x, 3), [signed(4)]),
    "a root": (lambda x: x**0.5, [numbers(4)]),
    "softmax": (graph.softmax, [signed(3, 4)]),
    "softmax of a vector": (graph.softmax, [signed(4)]),
    "exp": (graph.exp, [signed(3, 2)]),
    "sigmoid": (graph.sigmoid, [signed(3, 2)]),
    "tanh": (graph.tanh, [signed(3, 2)]),
    "relu": (graph.relu, [signed(3, 2)]),
    **{f"activation {g}": (lambda x, g=g: graph.activation(x, g), [signed(3, 4)]) for g in UNITS},
    "an ELU": (lambda x: graph.activation(x, activations.ELU(0.3)), [signed(7)]),
    "a Custom activation": (
        lambda x: graph.activation(x, activations.Custom(lambda z: z**3, lambda z: 3 * z**2)), [signed(7)]
    ),
    "a constant first": (lambda x: 2 - x, [signed(3)]),
    "1 / x": (lambda x: 1 / x, [numbers(3)]),
}


def central_differences(value, inputs, which, h=1e-5):
    """The Jacobian d value / d inputs[which]: the value's shape, then the input's."""
    moved = [np.array(array) for array in inputs]
    columns = []
    for index in np.ndindex(inputs[which].shape):
        ends = []
        for sign in (1, -1):
            moved[which][index] = inputs[which][index] + sign * h
            ends.append(np.array(value(*moved)))
        moved[which][index] = inputs[which][index]
        columns.append((ends[0] - ends[1]) / (2 * h))
    return np.stack(columns, axis=-1).reshape(columns[0].shape + inputs[which].shape)


@pytest.mark.parametrize("name", OPERATIONS)
def test_local_gradients_are_central_differences(name):
    """A row of the Jacobian comes down for an upstream of a single 1; elementwise local gradients are its diagonal."""
    function, arrays = OPERATIONS[name]
    variables = [graph.variable(f"x_{i}", array) for i, array in enumerate(arrays)]
    g = graph.Graph(function(*variables))
    output = g.output

    def value(*inputs):
        return g.forward(**{f"x_{i}": array for i, array in enumerate(inputs)})

    wanted = [central_differences(value, arrays, i) for i in range(len(arrays))]
    g.forward(**{f"x_{i}": array for i, array in enumerate(arrays)})
    for index in np.ndindex(output.shape):
        upstream = np.zeros(output.shape)
        upstream[index] = 1
        g.backward(upstream)
        for variable, jacobian in zip(variables, wanted, strict=True):
            np.testing.assert_allclose(variable.gradient, jacobian[index], rtol=1e-7, atol=1e-9)
        assert len(output.local) == len(output.downstream) == len(output.inputs)
    if output.operation.downstream is None and output.operation.name not in ("sum", "mean"):
        given = [i for i, each in enumerate(output.inputs) if not each.is_constant]
        for i, jacobian in zip(given, wanted, strict=True):
            local = np.broadcast_to(output.local[i], output.shape)
            for index in np.ndindex(output.shape):
                assert jacobian[index].sum() == pytest.approx(local[index], rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("name", OPERATIONS)
def test_float32_stays_float32(name):
    function, arrays = OPERATIONS[name]
    g = graph.Graph(function(*(graph.variable(f"x_{i}", a.astype(np.float32)) for i, a in enumerate(arrays))))
    g.forward()
    assert g.output.value.dtype == np.float32
    g.backward(np.ones(g.output.shape))
    for node in g.nodes:
        assert node.gradient.dtype == np.float32 and node.gradient.shape == node.value.shape


def test_where_both_are_the_largest_the_gradient_is_shared():
    x, y = graph.variable("x", [1.0, 2.0]), graph.variable("y", [1.0, 1.0])
    g = graph.Graph(graph.sum(graph.maximum(x, y)))
    g.forward()
    got = g.backward()
    assert got["x"].tolist() == [0.5, 1] and got["y"].tolist() == [0.5, 0]


# ---- graphs


def evaluated(output):
    g = graph.Graph(output)
    g.forward()
    g.backward()
    return g


def test_the_lectures_numbers():
    """f = (x + y) z, and sigma(w x + b) both ways: CS231n."""
    x, y, z = graph.variable("x", -2), graph.variable("y", 5), graph.variable("z", -4)
    g = graph.Graph(((x + y).named("q") * z).named("f"))
    assert g.forward() == -12 and g.backward() == {"x": -4, "y": -4, "z": 3}
    assert g["q"].value == 3 and g["q"].gradient == -4 and g["f"].gradient == 1
    assert g["f"].local == (-4, 3) and g["f"].downstream == (-4, 3) and g["q"].downstream == (-4, -4)

    w = [graph.variable("w_0", 2), graph.variable("w_1", -3)]
    x = [graph.variable("x_0", -1), graph.variable("x_1", -2)]
    b = graph.variable("b", -3)
    g = evaluated(graph.reciprocal(graph.exp(-(w[0] * x[0] + w[1] * x[1] + b)) + 1))
    wanted = {"w_0": -0.1966, "x_0": 0.3932, "w_1": -0.3932, "x_1": -0.5898, "b": 0.1966}
    assert {name: round(value, 4) for name, value in g.backward().items()} == wanted
    assert [round(float(n.value), 2) for n in g.nodes if n.operation] == [-2, 6, 4, 1, -1, 0.37, 1.37, 0.73]
    assert [round(float(n.gradient), 2) for n in g.nodes if n.operation] == [0.2] * 4 + [-0.2, -0.53, -0.53, 1]

    w, x, b = graph.variable("w", [2, -3]), graph.variable("x", [-1, -2]), graph.variable("b", -3)
    got = evaluated(graph.sigmoid(w @ x + b)).backward()
    np.testing.assert_allclose(got["w"], [-0.1966, -0.3932], atol=5e-5)
    np.testing.assert_allclose(got["x"], [0.3932, -0.5898], atol=5e-5)
    assert got["b"] == pytest.approx(0.1966, abs=5e-5)


def test_gradients_add_up_where_a_value_is_used_twice():
    """f = (x + sigma(y)) / (sigma(x) + (x + y)^2): another example of CS231n, against central differences."""
    x, y = graph.variable("x", 3), graph.variable("y", -4)
    g = graph.Graph((x + graph.sigmoid(y)) / (graph.sigmoid(x) + graph.square(x + y)))
    values = {"x": 3.0, "y": -4.0}
    assert g.forward() == pytest.approx(1.5456, abs=1e-4)
    got = g.backward()
    for name in values:
        ends = [g.forward(**{**values, name: values[name] + h}) for h in (1e-5, -1e-5)]
        assert got[name] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-8)
    x = graph.variable("x", 3.0)
    assert evaluated(x * x * x).backward() == {"x": 27}


def test_torch_agrees():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X, W, b = signed(5, 4), signed(4, 3, seed=1), signed(3, seed=2)
    w, c = graph.variable("W", W), graph.variable("b", b)
    g = evaluated(graph.mean(graph.square(graph.tanh(X @ w + c) / (1 + graph.softmax(X @ w)))))
    tw, tb = (torch.tensor(each, requires_grad=True) for each in (W, b))
    z = torch.tensor(X) @ tw
    value = ((torch.tanh(z + tb) / (1 + torch.softmax(z, 1))) ** 2).mean()
    value.backward()
    assert float(g.output.value) == pytest.approx(value.item(), rel=1e-14)
    np.testing.assert_allclose(g["W"].gradient, tw.grad.numpy(), rtol=1e-12)
    np.testing.assert_allclose(g["b"].gradient, tb.grad.numpy(), rtol=1e-12)


def test_a_graph_is_in_topological_order_and_as_deep_as_it_likes():
    x = node = graph.variable("x", 1.0)
    for _ in range(1000):
        node = node * 1.0 + x * 0.0
    g = evaluated(node)
    place = {each: i for i, each in enumerate(g.nodes)}
    assert all(place[each] < place[node] for node in g.nodes for each in node.inputs if not each.is_constant)
    assert g.backward() == {"x": 1}


def test_an_operation_of_ones_own():
    cube = graph.Operation("cube", "x^3", lambda x: x**3, lambda value, x: (3 * x**2,))
    assert evaluated(graph.sum(graph.apply(cube, graph.variable("x", [1.0, 2.0])))).backward()["x"].tolist() == [3, 12]
    with pytest.raises(TypeError, match="operation must be an Operation"):
        graph.apply(np.sin, graph.variable("x", 1))


def test_values_can_be_given_later_and_anew():
    x, y = graph.variable("x"), graph.variable("y", 2)
    g = graph.Graph((x * y).named("f"))
    with pytest.raises(ValueError, match="forward needs a value of x"):
        g.forward()
    with pytest.raises(ValueError, match="call forward first"):
        g.backward()
    assert g.forward(x=3) == 6 and g.backward() == {"x": 2, "y": 3}
    y.value = 5
    assert g.forward() == 15
    assert g["f"].gradient is None  # of the values before


def test_what_is_refused_changes_nothing():
    x, y = graph.variable("x", [1.0, 2.0]), graph.variable("y", [3.0, 4.0])
    g = graph.Graph((x * y).named("f"))
    g.forward()
    for message, kind, call in [
        ("no node is named 'w'", KeyError, lambda: g.forward(w=1)),
        ("f must be a variable", ValueError, lambda: g.forward(f=1)),
        ("f: operands could not be broadcast", ValueError, lambda: g.forward(x=[1.0, 2.0, 3.0])),
        ("real numbers", TypeError, lambda: g.forward(x="one")),
        ("upstream must be given", ValueError, lambda: g.backward()),
        ("upstream must have the output's shape", ValueError, lambda: g.backward(1.0)),
        ("matmul needs shapes", ValueError, lambda: graph.Graph(x @ graph.variable("A", np.ones((3, 3)))).forward()),
        ("softmax needs an array", ValueError, lambda: graph.Graph(graph.softmax(graph.variable("s", 1))).forward()),
        ("exponent must be a number", TypeError, lambda: x ** y),
        ("without learned slopes", ValueError, lambda: graph.activation(x, "prelu")),
        ("g must be one of", ValueError, lambda: graph.activation(x, "rellu")),
        ("names of nodes must differ, got 'x' twice", ValueError, lambda: graph.Graph(x + graph.variable("x", 1))),
        ("output must be a node", TypeError, lambda: graph.Graph(3)),
        ("name must be a text", TypeError, lambda: graph.variable(3, 1)),
        ("value of .* cannot be set", AttributeError, lambda: setattr(g["f"], "value", 1)),
        ("named", AttributeError, lambda: setattr(x, "name", "z")),
        ("no attribute 'grad'", AttributeError, lambda: setattr(x, "grad", 1)),
    ]:
        with pytest.raises(kind, match=message):
            call()
    assert g["f"].value.tolist() == [3, 8] and x.value.tolist() == [1, 2]


# ---- text and Graphviz


def test_text():
    x, y, z = graph.variable("x", -2), graph.variable("y", 5), graph.variable("z", -4)
    g = graph.Graph((1 - (x + y).named("q") * z).named("f"))
    g.forward()
    g.backward()
    assert g.text().splitlines() == [
        "node        operation                value  local gradients  gradient",
        "x           variable                    -2                          4",
        "y           variable                     5                          4",
        "q           add(x, y)                    3  1, 1                    4",
        "z           variable                    -4                         -3",
        "multiply_1  multiply(q, z)             -12  -4, 3                  -1",
        "f           subtract(1, multiply_1)     13  -1                      1",
    ]


def test_arrays_are_shown_by_their_norm():
    A = graph.Graph(graph.sum(graph.variable("A", np.full((2, 2), 2.0))))
    A.forward()
    assert "(2, 2)" in A.text() and "|4|" in A.text()
    v = graph.Graph(graph.sum(graph.variable("v", [3.0, 4.0])))
    v.forward()
    assert "[3, 4]" in v.text()
    assert "|5|" in graph.Graph(v.output, in_full=1).text()


def test_dot_is_graphviz_source(tmp_path):
    x = graph.variable('a "quoted" \\ name', -2)
    g = evaluated(graph.exp(x * 2) + 1 - x)
    source = g.dot()
    assert source.startswith("digraph {\n  rankdir=LR;") and source.rstrip().endswith("}")
    nodes = [line for line in source.splitlines() if "[label=" in line and "->" not in line]
    edges = [line for line in source.splitlines() if "->" in line]
    assert len(nodes) == len(g.nodes) == 5 and len(edges) == 5
    assert r'label="a \"quoted\" \\ name"' in nodes[0]
    assert any(r'label="-2\n-1"' in edge for edge in edges)  # down the edge to the last -, not the sum
    symbols = graph.Graph(graph.exp(2 - (x * 3 - 4) / 5)).dot()
    assert [line.split('"')[1] for line in symbols.splitlines() if "label" in line and "->" not in line][1:] == [
        "* 3", "- 4", "/ 5", "2 -", "exp"
    ]
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg", "-o", tmp_path / "it.svg"], input=source, text=True, check=True)


# ---- of a network


def layer_names(L):
    return [name for l in range(1, L + 1) for name in (f"W_{l}", f"b_{l}", f"z_{l}", f"a_{l}")]


def test_names_and_shapes_as_in_the_lecture():
    net = Network([4, 5, 3], output="softmax", seed=0)
    bare = net.graph()
    assert [n.name for n in bare.nodes] == ["X", *layer_names(2)]
    assert {n.name: n.shape for n in bare.nodes} == {
        "X": ("B", 4), "W_1": (4, 5), "b_1": (5,), "z_1": ("B", 5), "a_1": ("B", 5), "W_2": (5, 3), "b_2": (3,),
        "z_2": ("B", 3), "a_2": ("B", 3),
    }
    assert all(n.value is None and n.gradient is None for n in bare.nodes)
    assert [n.name for n in net.graph("cross_entropy").nodes] == ["X", *layer_names(2), "y", "L"]
    with_penalty = net.graph("cross_entropy", l2=0.1)
    assert [n.name for n in with_penalty.nodes] == ["X", *layer_names(2), "y", "L", "s", "J"]
    assert [n.name for n in with_penalty["s"].inputs] == ["W_1", "W_2"]
    assert [n.name for n in with_penalty["J"].inputs] == ["L", "s"] and with_penalty.output.name == "J"
    assert [n.name for n in with_penalty["L"].inputs] == ["a_2", "y"]
    layers = [Layer(4, 5, "prelu", bias=False, l1=0.1), Layer(5, 3)]
    own = Network(layers, seed=0).graph("half_squared_error")
    assert [n.name for n in own.nodes] == ["X", "W_1", "z_1", "alpha_1", "a_1", *layer_names(2)[4:], "y", "L", "s", "J"]
    assert [n.name for n in own["s"].inputs] == ["W_1"]


PAIRS = [
    (loss, output) for loss in losses.NAMES for output in activations.NAMES
    if output in (losses.Loss.known[loss].outputs or set(activations.NAMES) - {"sign"})
]


N_OUT = {"gaussian_nll": 4, "cox_ph": 1}


def targets(loss, rng, n, K):
    if loss == "cox_ph":
        return np.column_stack([rng.integers(1, 6, size=n), rng.integers(2, size=n)])
    if loss == "gaussian_nll":
        return rng.normal(size=(n, K // 2))
    if loss == "cross_entropy":
        return reference.softmax(rng.normal(size=(n, K)))
    if loss in ("perceptron", "hinge"):
        return rng.choice([-1.0, 1.0], size=(n, K))
    return rng.uniform(0.1, 0.9, size=(n, K))


def unusual(dtype, loss, output, seed=0):
    """Masked, frozen, without bias, with dropout, noise, slopes and penalties of its own, and data for it."""
    rng = np.random.default_rng(seed)
    K = N_OUT.get(loss, 3)
    net = Network([
        Layer(4, 6, "tanh", mask=rng.random((4, 6)) < 0.6, dropout=0.3, l2=0.2),
        Layer(6, 5, "prelu", bias=False, trainable=False),
        Layer(5, K, output, l1=0.03),
    ], dtype=dtype, seed=seed, input_dropout=0.1, input_noise=0.1)
    return net, rng.normal(size=(8, 4)).astype(dtype), targets(loss, rng, 8, K).astype(dtype)


@pytest.mark.parametrize("loss, output, dtype", [  # each loss and each activation in both dtypes
    (*pair, dtype) for pair, dtype in zip(PAIRS, itertools.cycle(["float32", "float64"]))
])
def test_values_and_gradients_are_those_of_backprop(dtype, loss, output):
    net, X, y = unusual(dtype, loss, output)
    g = net.graph(loss, X, y, l1=0.01, l2=0.1)
    tape, n = backprop.forward(net, X), len(X)
    for l in range(3):
        assert g[f"z_{l + 1}"].value.tobytes() == tape.z[l].tobytes()
        assert g[f"a_{l + 1}"].value.tobytes() == tape.a[l].tobytes()
    for l, delta in enumerate(backprop.residuals(net, X, y, loss)):
        assert (n * g[f"z_{l + 1}"].gradient).tobytes() == delta.tobytes()  # n is a power of 2
    grads, dX = backprop.gradients(net, X, y, loss, l1=0.01, l2=0.1, inputs=True)
    for l, arrays in enumerate(grads, 1):
        for name, gradient in zip(("W", "b", "alpha"), arrays, strict=False):
            assert gradient is None or g[f"{name}_{l}"].gradient.tobytes() == gradient.tobytes()
    assert (n * g["X"].gradient).tobytes() == dX.tobytes()
    assert g["L"].value == Trainer(net, loss, seed=0).evaluate(X, y)["loss"] if output != "sign" else True
    penalty = sum(
        (0.1 + layer.l2) / 2 * np.square(layer.W, dtype=np.float64).sum()
        + (0.01 + layer.l1) * np.abs(layer.W, dtype=np.float64).sum() for layer in net.layers
    )
    assert g["s"].value == pytest.approx(penalty, rel=1e-12)
    assert g["J"].value == g["L"].value + g["s"].value and g["J"].gradient == g["L"].gradient == 1
    assert g["y"].gradient is None


@pytest.mark.parametrize("loss, output, smoothing", [
    (*pair, smoothing) for pair in PAIRS for smoothing in (0.0, 0.2)
    if not smoothing or losses.Loss.known[pair[0]].smooths
])
def test_the_gradient_of_each_activation_leads_to_that_of_z(loss, output, smoothing):
    """Through the reference's derivatives, that of a_L too, which backprop does not compute for every loss."""
    if smoothing:
        loss = losses.WITH_PARAMETERS[loss](smoothing)
    net, X, y = unusual("float64", getattr(loss, "name", loss), output)
    g = net.graph(loss, X, y)
    for l, layer in enumerate(net.layers, 1):
        z, a = g[f"z_{l}"], g[f"a_{l}"]
        if a.gradient is None:
            assert l == 3 and output == "sign" and g["L"].inputs[0] is z
            continue
        got = reference.through(layer._unit.name, z.value, a.gradient)
        np.testing.assert_allclose(got, z.gradient, rtol=1e-9, atol=1e-12)


IGNORED = {"missing": "ignore"}
PARTS = losses.PerOutput([
    (slice(2, 5), losses.CrossEntropy(0.1), 0.5), (slice(0, 2), losses.Huber(0.3, **IGNORED), 2.0),
    (5, losses.BinaryCrossEntropy(0.2, **IGNORED)), (slice(6, 8), losses.GaussianNLL(**IGNORED)),
    (8, losses.Poisson(**IGNORED), 3.0), (slice(9, 11), losses.Quantile([0.2, 0.8])), (11, "hinge"),
])
TANH = activations.PerOutput([
    (slice(0, 2), "tanh"), (slice(2, 5), "softmax"), (5, "sigmoid"), (slice(6, 8), "identity"), (8, "softplus"),
    (slice(9, 11), activations.ELU(0.3)), (11, "identity"),
])
SIGN = activations.PerOutput([(slice(0, 11), "identity"), (11, "sign")])


def of_parts(rng, n):
    return np.column_stack([
        rng.integers(3, size=n), rng.normal(size=(n, 2)), rng.integers(2, size=n), rng.normal(size=n),
        rng.poisson(2, size=n), rng.normal(size=n), rng.choice([-1, 1], size=n),
    ]).astype(float)


def with_gaps(y, *columns):
    y[1, columns], y[2:5, columns[0]] = np.nan, np.nan
    return y


LATER = {  # name: (loss, output, number of outputs, y of n rows)
    "NaN": (losses.Huber(0.3, **IGNORED), "tanh", 3, lambda rng, n: with_gaps(rng.normal(size=(n, 3)), 0, 2)),
    "NaN, two classes": (
        losses.BinaryCrossEntropy(**IGNORED), "sigmoid", 3,
        lambda rng, n: with_gaps(rng.integers(2, size=(n, 3)).astype(float), 0, 1)
    ),
    "NaN, counts": (
        losses.Poisson(**IGNORED), "exp", 2, lambda rng, n: with_gaps(rng.poisson(3, size=(n, 2)).astype(float), 0, 1)
    ),
    "NaN, normal": (losses.GaussianNLL(**IGNORED), "identity", 4,
                    lambda rng, n: with_gaps(rng.normal(size=(n, 2)), 0, 1)),
    "quantiles": (losses.Quantile([0.1, 0.5, 0.9]), "tanh", 6, lambda rng, n: rng.normal(size=(n, 2))),
    "parts": (PARTS, TANH, 12, of_parts),
    "parts of logits": (PARTS, "identity", 12, of_parts),
    "parts with NaN": (PARTS, TANH, 12, lambda rng, n: with_gaps(of_parts(rng, n), 1, 2, 3, 4, 5)),
    "parts, a threshold": (PARTS, SIGN, 12, of_parts),
}


@pytest.mark.parametrize("name", LATER)
def test_missing_targets_and_losses_of_parts(name):
    """Against backprop, the definition of an affine layer's gradient, and central differences in a_L."""
    loss, output, K, make_y = LATER[name]
    rng = np.random.default_rng(0)
    net = Network([Layer(4, 5, "tanh", l2=schedules.Constant(0.1)), Layer(5, K, output)], dtype="float64", seed=0)
    X, y = rng.normal(size=(7, 4)), make_y(rng, 7)
    g = net.graph(loss, X, y, l2=0.2)
    for l, (dW, db) in enumerate(backprop.gradients(net, X, y, loss, l2=0.2), 1):
        assert g[f"W_{l}"].gradient.tobytes() == dW.tobytes() and g[f"b_{l}"].gradient.tobytes() == db.tobytes()
        np.testing.assert_allclose(g[f"z_{l}"].gradient.sum(axis=0), db, rtol=1e-12, atol=1e-15)
    assert g["L"].value == Trainer(net, loss, seed=0).evaluate(X, y)["loss"]
    assert g["y"].shape == (7, loss.y_columns(K)) and net.graph(loss)["y"].shape == ("B", loss.y_columns(K))
    assert g["a_2"].value.tobytes() == net.predict(X).tobytes()
    missing = np.isnan(y).sum()
    assert g["y"].notes == ((f"{missing} of {y.size} missing",) if missing else ())
    if name == "parts, a threshold":
        assert g["L"].inputs[0] is g["z_2"] and g["a_2"].gradient is None
        return
    assert g["L"].inputs[0] is g["a_2"]
    parts = net.layers[-1]._unit.parts or [activations._Part(0, K, net.layers[-1]._unit)]
    for part in parts:
        own = slice(part.first, part.first + part.n)
        z, upstream = (array[:, own].copy() for array in (g["z_2"].value, g["a_2"].gradient))
        through = central_through(part.activation, z, upstream)
        np.testing.assert_allclose(through, g["z_2"].gradient[:, own], rtol=1e-6, atol=1e-9)


def central_through(g, z, upstream, h=1e-6):
    """sum over j of upstream_j d a_j / d z_i, by central differences."""
    through = np.empty_like(z)
    for i in range(z.shape[1]):
        ends = []
        for sign in (1, -1):
            moved = z.copy()
            moved[:, i] += sign * h
            ends.append(graph.Graph(graph.activation(graph.variable("z", moved), g)).forward())
        through[:, i] = (upstream * (ends[0] - ends[1])).sum(axis=1) / (2 * h)
    return through


def test_parts_and_missing_targets_are_shown():
    net = Network([Layer(4, 5, "tanh", dropout=schedules.Step(0.5)), Layer(5, 12, TANH)], dtype="float64", seed=0)
    text = net.graph(PARTS).text()
    for each in ("2:5: softmax", "11: identity", "2:5: 0.5 cross_entropy", "8: 3 poisson", "11: hinge", "dropout Step"):
        assert each in text
    g = net.graph(PARTS)
    assert graph.symbol(g["a_2"]) == "tanh | softmax | sigmoid | identity | softplus | elu"
    assert graph.symbol(g["L"]).startswith("cross_entropy + huber + binary_cross_entropy + gaussian_nll")
    rng = np.random.default_rng(0)
    y = with_gaps(of_parts(rng, 7), 1, 2)
    text = net.graph(PARTS, rng.normal(size=(7, 4)), y).text()
    assert "5 of 56 missing" in text and f"|{np.sqrt(np.nansum(y**2)):.4g}|, 5 NaN" in text


def test_class_numbers_and_uint8():
    rng = np.random.default_rng(0)
    net = Network([4, 5, 3], output="softmax", dtype="float64", seed=0, input_scale=1 / 255)
    X, y = rng.integers(256, size=(8, 4)).astype(np.uint8), rng.integers(3, size=8)
    g = net.graph("cross_entropy", X, y)
    np.testing.assert_allclose(g["X"].value, X / 255)
    np.testing.assert_allclose(
        8 * g["X"].gradient, 255 * backprop.gradients(net, X, y, "cross_entropy", inputs=True)[1], rtol=1e-12
    )
    np.testing.assert_allclose(g["a_2"].gradient, -reference.one_hot(y, 3) / g["a_2"].value / 8)
    assert g["y"].shape == (8,)


def test_custom_functions():
    net, X, y = unusual("float64", "half_squared_error", "identity")
    custom = losses.Custom(lambda y, a: ((a - y) ** 2).sum(axis=1) / 2, lambda y, a: a - y)
    ours, theirs = net.graph(custom, X, y), net.graph("half_squared_error", X, y)
    for node in theirs.nodes:
        if node.gradient is not None:
            np.testing.assert_allclose(ours[node.name].gradient, node.gradient, rtol=1e-12)
    assert ours["L"].value == pytest.approx(theirs["L"].value)
    of_z = net.graph(losses.Custom(custom.value, custom.delta, of="z"), X, y)
    assert of_z["L"].inputs[0].name == "z_3" and "a_3" in of_z and of_z["a_3"].gradient is None


def test_the_graph_of_a_network_is_a_copy():
    net, X, y = unusual("float64", "half_squared_error", "identity")
    before = copy.deepcopy(net)
    g = net.graph("half_squared_error", X, y)
    for node in g.nodes:
        if node.name[0] in "Wb":
            node.value[...] = 0
    for p, q in zip(net.parameters, before.parameters, strict=True):
        np.testing.assert_array_equal(p, q)


def test_without_a_loss_it_has_values_alone():
    net, X, _ = unusual("float32", "half_squared_error", "identity")
    g = net.graph(X=X)
    assert g.output.name == "a_3" and g.output.value.tobytes() == net.predict(X).tobytes()
    assert all(node.gradient is None for node in g.nodes)


def test_what_a_network_refuses():
    net, X, y = unusual("float64", "half_squared_error", "identity")
    for message, arguments in [
        ("y must be given", {"loss": "half_squared_error", "X": X}),
        ("y needs a loss", {"X": X, "y": y}),
        ("y needs X", {"loss": "half_squared_error", "y": y}),
        ("l1 and l2 need a loss", {"l2": 0.1}),
        ("l2 must be >= 0", {"loss": "half_squared_error", "l2": -1}),
        ("X must have shape", {"X": X[:, 1:]}),
        ("loss must be one of", {"loss": "half_square"}),
    ]:
        with pytest.raises(ValueError, match=message):
            net.graph(**arguments)
    for call in (net.graph("half_squared_error", X, y).backward, net.graph().forward):
        with pytest.raises(ValueError, match=r"net\.graph\(loss, X, y\)"):
            call()


# ---- drawings


@pytest.fixture
def plots():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("agg")
    from matplotlib import pyplot

    from mlpfast import plots

    yield plots
    pyplot.close("all")


def gates():
    w = [graph.variable("w_0", 2), graph.variable("w_1", -3)]
    x = [graph.variable("x_0", -1), graph.variable("x_1", -2)]
    return evaluated(graph.reciprocal(graph.exp(-(w[0] * x[0] + w[1] * x[1] + graph.variable("b", -3))) + 1))


def shared():
    x, y = graph.variable("x", 3), graph.variable("y", -4)
    return evaluated((x + graph.sigmoid(y)) / (graph.sigmoid(x) + graph.square(x + y)))


def of_layers(L, data=True, loss="cross_entropy", **options):
    rng = np.random.default_rng(0)
    net = Network([40, *[500] * (L - 1), 3], activation="gelu_tanh", output="softmax", seed=0)
    return net.graph(loss, *((rng.normal(size=(8, 40)), rng.integers(3, size=8)) if data else ()), **options)


DRAWN = {
    "f": lambda: evaluated((graph.variable("x", -2) + graph.variable("y", 5)) * graph.variable("z", -4)),
    "gates": gates,
    "shared": shared,
    "one node": lambda: graph.Graph(graph.variable("x", 3)),
    "vectors": lambda: evaluated(graph.sigmoid(graph.variable("w", [2, -3]) @ graph.variable("x", [-1, -2]))),
    "odd names": lambda: evaluated(graph.variable("$ odd { name _", 1e-300) * graph.variable("x_long_one", -1.234e100)),
    "without data": lambda: of_layers(3, data=False),
    "without a loss": lambda: of_layers(3, data=False, loss=None),
    "parts": lambda: of_several_parts(),
    **{f"{L} layers": lambda L=L: of_layers(L, l2=0.1) for L in (1, 2, 3, 5, 20)},
}


def of_several_parts():
    rng = np.random.default_rng(0)
    net = Network([Layer(4, 5, "tanh"), Layer(5, 12, TANH)], seed=0)
    return net.graph(PARTS, rng.normal(size=(7, 4)), with_gaps(of_parts(rng, 7), 1, 2))


@pytest.mark.parametrize("name, direction", [
    *((name, "both") for name in DRAWN), *itertools.product(["gates", "3 layers"], ["forward", "backward"])
])
def test_no_labels_overlap(plots, name, direction):
    g = DRAWN[name]()
    ax = plots.graph(g, direction)
    renderer = ax.figure.canvas.get_renderer()
    whole = ax.figure.bbox
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in ax.texts]
    for text, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= whole.width and box.y1 <= whole.height, text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert min(a.x1, b.x1) - max(a.x0, b.x0) < 0.5 or min(a.y1, b.y1) - max(a.y0, b.y0) < 0.5, (one, other)
    if name.endswith("layers"):
        assert ax.figure.get_size_inches()[0] <= 14
    shown = {text for text, _ in boxes}
    for node in g.nodes:
        if node.value is not None:
            assert (g.shown(node.value) in shown) or direction == "backward"
        if node.gradient is not None:
            assert (g.shown(node.gradient) in shown) or direction == "forward"


def test_values_are_above_gradients_and_time_goes_to_the_right(plots):
    ax = plots.graph(gates())
    above, *others = (t for text in ("1.368", "-0.5344") for t in ax.texts if t.get_text() == text)
    (below,) = (t for t in others if t.get_position()[0] == above.get_position()[0])
    assert above.get_window_extent().y0 > below.get_window_extent().y1
    line = ["$w_{0}$", "*", "+", "* -1", "exp", "+ 1", "1/x", "0.7311"]
    xs = [min(t.get_position()[0] for t in ax.texts if t.get_text() == text) for text in line]
    assert xs == sorted(xs) and len(set(xs)) == len(xs)


def test_an_arrow_for_each_edge(plots):
    def arrows(ax):
        return sum(type(patch).__name__ == "FancyArrowPatch" for patch in ax.patches)

    assert arrows(plots.graph(gates())) == 12
    assert arrows(plots.graph(shared())) == 11  # x and y are used more than once
    twice = plots.graph(graph.Graph(graph.variable("x", 3) * 2))
    assert arrows(twice) == 1 and [text.get_text() for text in twice.texts] == ["$x$", "* 2", "3"]


def test_an_ax_that_is_smaller_takes_it_too(plots):
    from matplotlib.figure import Figure

    small, left = Figure(figsize=(3, 2)), Figure(figsize=(12, 3))
    ax = small.subplots()
    assert plots.graph(gates(), ax=ax) is ax
    sizes = [text.get_size() for text in ax.texts]
    assert max(sizes) < 6
    plots.graph(gates(), ax=left.subplots())
    assert math.isfinite(max(sizes))


def test_what_a_drawing_refuses(plots):
    net = Network([2, 3])
    with pytest.raises(TypeError, match=r"graph must be a graph.Graph, got Network: its graph\(\) is one"):
        plots.graph(net)
    with pytest.raises(ValueError, match="direction must be one of both, forward, backward"):
        plots.graph(net.graph(), "sideways")


@pytest.mark.parametrize("local, got", [
    (None, "got None"), (lambda v, x, y: y, "a local gradient for each input, got ndarray"),
    (lambda v, x, y: (y,), "got 1 of them"),
], ids=["missing", "array", "one"])
def test_an_operation_without_fitting_local_gradients_is_named(local, got):
    own = graph.Operation("mine", "mine", lambda x, y: x * y, local)
    f = graph.Graph(graph.apply(own, graph.variable("x", 2), graph.variable("y", 3)))
    assert f.forward() == 6
    with pytest.raises(TypeError, match=f"local of the Operation 'mine' must be .* tuple of 2 arrays.*{got}"):
        f.backward()
    assert f["x"].gradient is None


def test_one_number_is_shown_with_its_sign():
    assert [graph.shown(np.array(a), 0) for a in (-2.5, [-2.5], [[-2.5]], [np.nan])] == ["-2.5", "[-2.5]", "[[-2.5]]",
                                                                                       "[nan]"]
    net = Network([2, 1], seed=0)
    net.layers[0].b = -0.5
    assert "[-0.5]" in net.graph("half_squared_error", np.eye(2), [0, 1]).text()
