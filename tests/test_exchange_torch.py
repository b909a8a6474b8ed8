"""PyTorch: outputs and the gradient of a step are the same there, and back."""

import io

import numpy as np
import pytest
from processes import run_python

from mlpfast import Layer, Network, Trainer, activations, backprop, schedules

torch = pytest.importorskip("torch", reason="the extra torch has it")
torch.set_num_threads(1)  # for small products its threads cost more than they save

from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

from mlpfast.exchange import from_torch, to_torch  # noqa: E402

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
UNITS = {
    **{name: name for name in activations.NAMES},
    "elu": activations.ELU(0.3),
    "leaky_relu": activations.LeakyReLU(0.07),
    "prelu": activations.PReLU(),
    "shared prelu": activations.PReLU(shared=True),
}


def network(unit, dtype="float64", output="softmax", seed=0):
    """Weights that reach all parts of an activation, and inputs."""
    rng = np.random.default_rng(seed)
    net = Network([Layer(6, 7, unit), Layer(7, 5, unit, bias=False), Layer(5, 4, output)], dtype=dtype, seed=seed)
    for layer in net.layers:
        layer.W = (0.1 if unit == "exp" else 0.5) * rng.normal(size=layer.W.shape)
        if layer.slopes is not None:
            layer.slopes = rng.normal(size=layer.slopes.shape)
    return net, (2 * rng.normal(size=(40, 6))).astype(dtype)


def outputs(module, X):
    module.eval()
    with torch.no_grad():
        found = module(torch.tensor(X)).numpy()
    module.train()
    return found


def assert_close(got, wanted, tolerance):
    """Relative to the largest number."""
    assert got.shape == wanted.shape and got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def assert_same(net, other):
    for mine, theirs in zip(net.layers, other.layers, strict=True):
        assert mine._unit._key() == theirs._unit._key() and mine.bias == theirs.bias
        assert mine.trainable == theirs.trainable and mine.dropout == theirs.dropout
        assert [p.tobytes() for p in mine.parameters] == [p.tobytes() for p in theirs.parameters]
    assert net.dtype == other.dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UNITS)
def test_every_activation_has_the_same_outputs_and_gradients(name, dtype):
    net, X = network(UNITS[name], dtype)
    module = to_torch(net)
    assert type(module) is nn.Sequential
    assert_close(outputs(module, X), net.predict(X), TOLERANCE[dtype])
    assert_same(net, from_torch(module))
    if name == "sign":  # PyTorch has the derivative 0 too, but no gradients to compare
        return
    y = np.random.default_rng(1).integers(4, size=len(X))
    loss = nn.NLLLoss()(torch.log(module(torch.tensor(X))), torch.tensor(y))
    loss.backward()
    grads = [g for own in backprop.gradients(net, X, y, "cross_entropy") for g in own if g is not None]
    tolerance = 1e-7 if name == "hard_sigmoid" and dtype == "float64" else 20 * TOLERANCE[dtype]  # 1/6 in float32 there
    for p, wanted in zip(module.parameters(), grads, strict=True):
        assert_close(p.grad.numpy().T, wanted, tolerance)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "exp", "softplus", "relu"])
def test_every_output(output):
    net, X = network("tanh", output=output)
    assert_close(outputs(to_torch(net), X), net.predict(X), 1e-12)
    assert_same(net, from_torch(to_torch(net)))


def test_parts_of_the_outputs():
    parts = activations.PerOutput([
        (slice(4, 7), "softmax"), (slice(0, 2), activations.ELU(0.3)), (3, "exp"), (2, "identity"), (7, "sign"),
    ])
    _, X = network("tanh")
    net = Network([Layer(6, 7, "tanh"), Layer(7, 8, parts)], dtype="float64", seed=0)
    module = to_torch(net)
    assert_close(outputs(module, X), net.predict(X), 1e-12)
    again = from_torch(module)
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    assert [(part.first, part.n, part.activation) for part in again.layers[-1]._unit.parts] == [
        (part.first, part.n, part.activation) for part in sorted(parts.parts)
    ]
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    assert_close(outputs(torch.load(file, weights_only=False), X), net.predict(X), 1e-12)
    module[-1].units[1] = nn.Hardtanh()
    with pytest.raises(ValueError, match=r"module '3\.units\.1' \(Hardtanh\) cannot be carried over"):
        from_torch(module)


def test_dropout_that_is_a_schedule_has_its_present_value():
    net = Network([Layer(6, 5, "relu", dropout=schedules.Step(0.4, every=1, factor=0.5)), Layer(5, 2)],
                  input_dropout=schedules.Step(0.2, every=1, factor=0.5), seed=0)
    assert [each.p for each in to_torch(net) if type(each) is nn.Dropout] == [0.2, 0.4]
    Trainer(net, "squared_error", seed=0).fit(np.eye(6), np.ones((6, 2)), epochs=2)
    assert [each.p for each in to_torch(net) if type(each) is nn.Dropout] == [0.1, 0.2]


def unusual():
    rng = np.random.default_rng(0)
    mask = rng.random((6, 5)) < 0.5
    layers = [
        Layer(6, 5, "relu", mask=mask, dropout=0.25),
        Layer(5, 4, "tanh", trainable=False),
        Layer(4, 3, bias=False),
    ]
    return Network(layers, seed=0, input_dropout=0.1), rng.normal(size=(8, 6)).astype(np.float32)


def test_masks_frozen_layers_and_dropout():
    net, X = unusual()
    module = to_torch(net)
    assert [type(each).__name__ for each in module] == [
        "Dropout",
        "Linear",
        "ReLU",
        "Dropout",
        "Linear",
        "Tanh",
        "Linear",
    ]
    assert (module[0].p, module[3].p) == (0.1, 0.25)
    assert_close(outputs(module, X), net.predict(X), 1e-6)
    assert [p.requires_grad for p in module.parameters()] == [True, True, False, False, True]
    again = from_torch(module)
    assert_same(net, again)
    assert again.input_dropout == 0.1 and (again.layers[0].mask == net.layers[0].mask).all()
    for _ in range(3):  # of SGD; importing torch.optim's takes seconds
        module.zero_grad()
        (module(torch.tensor(X)) ** 2).sum().backward()
        with torch.no_grad():
            for p in module.parameters():
                if p.requires_grad:
                    p -= 0.1 * p.grad
    moved = from_torch(module).layers[0]
    assert not moved.W[~net.layers[0].mask].any() and not np.array_equal(moved.W, net.layers[0].W)


def test_pixels_and_saving():
    net = Network([6, 5, 3], seed=0, input_scale=1 / 255)
    X = np.random.default_rng(0).integers(256, size=(8, 6)).astype(np.uint8)
    module = to_torch(net)
    assert_close(outputs(module, X), net.predict(X), 1e-6)
    floats = X.astype(np.float32)
    assert_close(outputs(module, floats), net.predict(floats), 1e-6)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    again = from_torch(torch.load(file, weights_only=False))
    assert again.input_scale == 1 / 255
    assert_same(net, again)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-12)])
def test_a_transform_of_the_inputs(dtype, tolerance):
    """Also where mean is so large that float32 would not do."""
    mean, scale = np.array([1e5, -1, 0, 1, 100, 7]) / 3, np.linspace(0.3, 2, 6)
    net = Network([6, 5, 3], activation="tanh", dtype=dtype, seed=0, input_transform=(mean, scale))
    rng = np.random.default_rng(0)
    module = to_torch(net)
    X = (mean + scale * rng.normal(size=(20, 6))).astype(dtype)
    assert_close(outputs(module, X), net.predict(X), tolerance)
    again = from_torch(module)
    assert_same(again, net)
    np.testing.assert_array_equal(again.input_transform, net.input_transform)
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    net = Network([6, 5, 3], dtype=dtype, seed=0, input_scale=1 / 255, input_transform=(mean / 1e5, scale))
    pixels = rng.integers(256, size=(20, 6)).astype(np.uint8)
    module = to_torch(net)
    assert_close(outputs(module, pixels), net.predict(pixels), tolerance)
    assert outputs(module.float(), pixels).dtype == np.float32


def test_what_is_left_out_is_named():
    net = Network([Layer(3, 2, l2=schedules.Step(0.1), l1=0.2), Layer(2, 1, l1=0.1, lr_factor=0.0)], input_noise=0.1)
    names = "l1 of layer 1, l2 of layer 1, l1 of layer 2, lr_factor of layer 2, input_noise of the network"
    with pytest.warns(UserWarning, match=f"no {names}, which"):
        to_torch(net)


def test_the_parameters_are_copies():
    net, X = network("tanh")
    module = to_torch(net)
    before = net.predict(X)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    assert net.predict(X).tobytes() == before.tobytes()
    again = from_torch(module)
    again.layers[0].W[...] = 1
    assert not module[0].weight.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_modules_of_others(dtype):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(12, 9), nn.GELU(approximate="tanh"), nn.Dropout(0.2)),
        nn.Identity(),
        nn.Linear(9, 7, bias=False),
        nn.PReLU(7),
        nn.Linear(7, 5),
        nn.Linear(5, 3),
        nn.Softmax(dim=-1),
    ).to(dtype)
    X = np.random.default_rng(0).normal(size=(6, 3, 4)).astype(str(dtype)[6:])
    net = from_torch(module)
    assert_close(net.predict(X.reshape(6, 12)), outputs(module, X), TOLERANCE[str(dtype)[6:]])
    assert [layer._unit.name for layer in net.layers] == ["gelu_tanh", "prelu", "identity", "softmax"]
    assert from_torch(nn.Linear(3, 2, dtype=dtype)).n_in == 3


class Own(nn.Sequential):
    def forward(self, x):
        return x


def hooked():
    module = nn.Sequential(nn.Linear(2, 3))
    module[0].register_forward_hook(lambda *_: None)
    return module


def pruned_bias():
    module = nn.Linear(2, 3)
    prune.l1_unstructured(module, "bias", 1)
    return module


def half_frozen():
    module = nn.Linear(2, 3)
    module.bias.requires_grad_(False)
    return nn.Sequential(module)


def tied():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second)


def replaced():
    linear = nn.Linear(2, 3)
    linear.forward = torch.zeros_like
    return nn.Sequential(linear)


REFUSED = {
    "a convolution": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 3)), "module '0' .Conv2d."),
    "a batch norm": (lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), "module '1' .BatchNorm1d."),
    "one within": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.LayerNorm(3))), "module '1.0' .LayerNorm."),
    "an own forward": (lambda: Own(nn.Linear(2, 3)), "a Own cannot"),
    "relu6": (lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU6()), "'1' .ReLU6."),
    "log-softmax": (lambda: nn.Sequential(nn.Linear(2, 3), nn.LogSoftmax(1)), "'1' .LogSoftmax."),
    "softmax of rows": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Softmax(0)), "'1' .Softmax."),
    "a softplus of another beta": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Softplus(2)), "'1' .Softplus."),
    "two activations": (lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Tanh()), "after activation"),
    "an activation first": (lambda: nn.Sequential(nn.ReLU(), nn.Linear(2, 3)), "after nothing"),
    "dropout before the activation": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.Tanh()), "after dropout"),
    "dropout at the end": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Dropout()), "after the last layer"),
    "flatten between": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Flatten()), "elsewhere than at the input"),
    "widths": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 3)), "takes 4 inputs of 3"),
    "half precision": (lambda: nn.Sequential(nn.Linear(2, 3).half()), "float32 or float64, got float16"),
    "two dtypes": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2).double()), "got float32, float64"),
    "hooks": (hooked, "'0' .Linear. cannot be carried over, with hooks"),
    "a mask of the bias": (pruned_bias, "a mask of the bias"),
    "half frozen": (half_frozen, "only a part requires gradients"),
    "weight norm": (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))), "Parametrized"),
    "nothing": (lambda: nn.Sequential(), "has no Linear"),
    "a layer twice": (lambda: (lambda l: nn.Sequential(l, nn.Tanh(), l))(nn.Linear(3, 3)), "'2' .Linear.*used before"),
    "weights of two": (tied, "'2' .Linear.*used before"),
    "a replaced forward": (replaced, "'0' .Linear. cannot be carried over, with a forward of its own"),
    "all dropped": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Dropout(1.0), nn.Linear(3, 2)), "'1' .Dropout.*p=1"),
    "a slope below 0": (lambda: nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(-0.1)), "'1' .LeakyReLU.*below 0"),
    "an alpha below 0": (lambda: nn.Sequential(nn.Linear(2, 3), nn.ELU(-1.0)), "'1' .ELU."),
    "no numbers": (lambda: nn.Sequential(nn.Linear(2, 3, device="meta")), "device meta have none"),
}


def test_an_activation_that_is_there_several_times():
    """Sequential calls one object each time it is there, also within another Sequential."""
    tanh, dropout = nn.Tanh(), nn.Dropout(0.25)
    inner = nn.Sequential(nn.Linear(5, 4), tanh, dropout)
    module = nn.Sequential(nn.Linear(3, 5), tanh, dropout, inner, nn.Linear(4, 2), tanh).eval()
    net, X = from_torch(module), np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    assert [layer.activation for layer in net.layers] == ["tanh"] * 3
    assert [layer.dropout for layer in net.layers] == [0.25, 0.25, 0]
    assert_close(net.predict(X), outputs(module, X), 1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_carried_over_is_named(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        from_torch(make())


def test_no_module_and_custom_functions():
    with pytest.raises(TypeError, match="module must be a torch.nn.Module, got dict"):
        from_torch({})
    with pytest.raises(ValueError, match="layer 1 has a Custom activation"):
        to_torch(Network([Layer(2, 3, activations.Custom(np.sin, np.cos))]))
    with pytest.raises(TypeError, match="net must be a Network"):
        to_torch(nn.Linear(2, 3))


def test_the_library_is_imported_when_it_is_used():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import mlpfast\n"
        "try: mlpfast.exchange.to_torch(mlpfast.Network([2, 3]))\n"
        "except ImportError as error: print(error)\n"
    )
    assert run_python(program) == 'torch is needed for this: pip install "mlpfast[torch]"\n'
