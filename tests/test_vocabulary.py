"""Every activation and loss against the NumPy reference, central differences, PyTorch and scikit-learn; fused and
explicit; and for arguments where formulas overflow."""

import pickle

import numpy as np
import pytest
import reference

from mlpfast import SGD, Layer, Network, Trainer, _core, _kernels, activations, backprop, losses

ACTIVATIONS = [*activations.NAMES, activations.LeakyReLU(0.3), activations.ELU(0.7), activations.PReLU(0.1),
               activations.PReLU(-0.2, shared=True)]
LOSSES = [*(name for name in losses.NAMES if not _core.LOSSES[name].own_y), losses.Huber(0.4), losses.Quantile(0.9),
          losses.CrossEntropy(label_smoothing=0.1), losses.BinaryCrossEntropy(0.2)]


def traits(loss):
    return _core.LOSSES[getattr(loss, "name", loss)]


PAIRS = [(loss, o) for loss in LOSSES for o in traits(loss).outputs or ("identity", "tanh", "softplus", "softmax")]
every_activation = pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
every_pair = pytest.mark.parametrize("loss, output", PAIRS, ids=str)
both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])


def unit(activation):
    return activations.checked("activation", activation)


def alpha_of(activation):
    """The parameter as an argument of the reference's functions."""
    return (unit(activation).alpha,) if unit(activation).parameters else ()


def loss_of(loss, net):
    return losses.checked(loss, net)


def targets(loss, rng, n, k):
    if traits(loss).y == _core.Y_DISTRIBUTIONS:
        return reference.softmax(rng.normal(size=(n, k)))
    if traits(loss).y == _core.Y_NOT_NEGATIVE:
        return rng.integers(6, size=(n, k)).astype(float)
    if traits(loss).y == _core.Y_SIGNS:
        return rng.choice([-1.0, 1.0], size=(n, k))
    return rng.uniform(0.1, 0.9, size=(n, k))


def network(activation="tanh", output="identity", dtype="float64", seed=3):
    net = Network([5, 9, 6, 3], activation=activation, output=output, dtype=dtype, init="xavier_normal", seed=seed)
    rng = np.random.default_rng(seed)
    for layer in net.layers:
        layer.b[...] = rng.normal(size=layer.b.shape) * 0.3
        if unit(activation).name == "exp":
            layer.W *= 0.3  # otherwise the third layer overflows
    return net


# ---- activations


@both_types
@every_activation
def test_forward_and_derivative_are_the_references(activation, dtype):
    z = np.concatenate([np.random.default_rng(0).normal(size=230) * 3, [0.0, 3.0, -3.0, 1e-3, -1e-3]]).reshape(5, 47)
    z = z.astype(dtype)
    net = Network([Layer(47, 47, activation, bias=False)], dtype=dtype, seed=0)
    net.layers[0].W[...] = np.eye(47)
    name, alpha = unit(activation).name, alpha_of(activation)
    exact = z.astype(np.float64)
    tolerance = {"rtol": 20 * np.finfo(dtype).eps, "atol": 2 * np.finfo(dtype).eps}
    np.testing.assert_allclose(net.predict(z), reference.ACTIVATIONS[name](exact, *alpha), **tolerance)
    d_a = np.random.default_rng(1).normal(size=z.shape).astype(dtype)
    y = net.predict(z) - d_a  # the half squared error has d loss / d a = a - y
    d_a = (net.predict(z) - y).astype(np.float64)
    wanted = reference.through(name, exact, d_a, *alpha)
    tolerance["atol"] *= 4
    np.testing.assert_allclose(backprop.residuals(net, z, y, "half_squared_error")[0], wanted, **tolerance)


@both_types
@every_activation
def test_far_out_nothing_but_exp_leaves_the_numbers(activation, dtype):
    big = [0.0, -0.0, 1e4, -1e4, 1e30, -1e30, np.finfo(dtype).max, np.finfo(dtype).min]
    z = np.array([big, [np.inf, -np.inf, np.inf, -np.inf, *big[:4]]], dtype)
    g = unit(activation)
    if g.name in ("softmax", "exp"):
        z = z[:1] if g.name == "softmax" else np.minimum(z, 80).astype(dtype)
    slopes = np.full(1 if g.shared else 8, g.alpha, dtype) if g.name == "prelu" else None
    a = _kernels.activate(z, g, slopes)
    assert not np.isnan(a).any()
    with np.errstate(all="ignore"):
        wanted = reference.ACTIVATIONS[g.name](z[:1].astype(np.float64), *alpha_of(activation))
        wanted = wanted.astype(dtype)
    if g.name != "gelu_tanh":  # z^3 overflows in the reference
        np.testing.assert_allclose(a[:1], wanted, rtol=1e-6, atol=1e-30)
    delta = np.ones_like(z)
    _kernels.through_derivative(delta, z if g.traits.in_z else a, g, slopes)
    if g.name != "softmax":
        assert np.isfinite(delta).all()
    z[0, 0] = np.nan
    assert np.isnan(_kernels.activate(z, g, slopes)[0, 0])


@every_activation
def test_gradients_through_hidden_layers_are_central_differences(activation):
    rng = np.random.default_rng(5)
    net = network(activation)
    X, y = rng.normal(size=(7, 5)), rng.normal(size=(7, 3))
    if unit(activation).name == "sign":  # its derivative is 0: no gradient below it
        grads = backprop.gradients(net, X, y, "half_squared_error")
        assert not any(g.any() for pair in grads[:-1] for g in pair) and grads[-1][0].any()
        return
    assert backprop.check_gradients(net, X, y, "half_squared_error", inputs=True) < 5e-6


@every_activation
def test_an_output_of_it_has_gradients_of_central_differences(activation):
    rng = np.random.default_rng(6)
    net = network("tanh", activation)
    X, y = rng.normal(size=(7, 5)), rng.normal(size=(7, 3))
    if unit(activation).name == "sign":
        assert not any(g.any() for pair in backprop.gradients(net, X, y, "squared_error") for g in pair)
        return
    assert backprop.check_gradients(net, X, y, "squared_error", inputs=True) < 5e-6


def torch_function(torch, g, slopes):
    """PyTorch's function; if there is none, the test is skipped."""
    f = torch.nn.functional
    known = {
        "identity": lambda z: z, "leaky_relu": lambda z: f.leaky_relu(z, g.alpha),
        "prelu": lambda z: torch.where(z > 0, z, slopes * z), "elu": lambda z: f.elu(z, g.alpha),
        "gelu_tanh": lambda z: f.gelu(z, approximate="tanh"), "hard_swish": f.hardswish,
        "hard_sigmoid": lambda z: torch.clamp((z + 3) / 6, 0, 1),  # PyTorch's own has the derivative float32(1/6)
        "sigmoid": torch.sigmoid, "tanh": torch.tanh, "exp": torch.exp, "sign": torch.sign,
        "softmax": lambda z: torch.softmax(z, dim=1),
    }
    return known.get(g.name) or getattr(f, g.name, None) or pytest.skip(f"PyTorch has no {g.name}")


@every_activation
def test_gradients_are_those_of_pytorch(activation):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    net = network(activation)
    X, y = rng.normal(size=(8, 5)), rng.normal(size=(8, 3))
    a, parameters = torch.tensor(X), []
    for layer in net.layers:
        own = [torch.tensor(np.array(p), requires_grad=True) for p in layer.parameters]
        z = a @ own[0] + own[1]
        a = torch_function(torch, layer._unit, own[2] if len(own) > 2 else None)(z)
        parameters.append(own)
    (0.5 * ((a - torch.tensor(y)) ** 2).sum() / len(X)).backward()
    for got, own in zip(backprop.gradients(net, X, y, "half_squared_error"), parameters, strict=True):
        for g, p in zip(got, own, strict=True):
            wanted = np.zeros(p.shape) if p.grad is None else p.grad.numpy()
            np.testing.assert_allclose(g, wanted, rtol=1e-10, atol=1e-13)


# ---- losses


@every_pair
def test_a_loss_and_its_residual_are_the_references(loss, output):
    net = network("tanh", output)
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(30, 5)) * 2, targets(loss, rng, 30, 3)
    z = backprop.forward(net, X).z[-1]
    spec = loss_of(loss, net)
    arguments = (spec.name, z, y, output, spec.parameter, spec.label_smoothing)
    got = Trainer(net, loss).evaluate(X, y)["loss"]
    np.testing.assert_allclose(got, reference.losses(*arguments).mean(), rtol=1e-12)
    delta = backprop.residuals(net, X, y, loss)[-1]
    np.testing.assert_allclose(delta, reference.last_residual(*arguments), rtol=1e-10, atol=1e-13)


@every_pair
def test_gradients_of_a_loss_are_central_differences(loss, output):
    net = network("tanh", output)
    rng = np.random.default_rng(9)
    X, y = rng.normal(size=(7, 5)), targets(loss, rng, 7, 3)
    assert backprop.check_gradients(net, X, y, loss, inputs=True) < 5e-6


@every_pair
def test_float32_is_float64_within_rounding(loss, output):
    rng = np.random.default_rng(10)
    X, y = rng.normal(size=(20, 5)).astype(np.float32), targets(loss, rng, 20, 3).astype(np.float32)
    if traits(loss).y == _core.Y_DISTRIBUTIONS:
        y = reference.one_hot(rng.integers(3, size=20), 3)
    single, double = network("tanh", output, "float32"), network("tanh", output)
    for mine, other in zip(double.parameters, single.parameters, strict=True):
        mine[...] = other
    got, wanted = (Trainer(n, loss).evaluate(X, y)["loss"] for n in (single, double))
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    for g, w in zip(backprop.gradients(single, X, y, loss), backprop.gradients(double, X, y, loss), strict=True):
        for mine, other in zip(g, w, strict=True):
            np.testing.assert_allclose(mine, other, rtol=0, atol=2e-5 * max(np.abs(other).max(), 1e-3))


def torch_loss(torch, spec, z, a, y):
    f = torch.nn.functional
    e = spec.label_smoothing
    known = {
        "cross_entropy": lambda: f.cross_entropy(z, y, reduction="sum", label_smoothing=e),
        "binary_cross_entropy": lambda: f.binary_cross_entropy_with_logits(z, (1 - e) * y + e / 2, reduction="sum"),
        "half_squared_error": lambda: 0.5 * f.mse_loss(a, y, reduction="sum"),
        "squared_error": lambda: f.mse_loss(a, y, reduction="sum"),
        "absolute_error": lambda: f.l1_loss(a, y, reduction="sum"),
        "huber": lambda: f.huber_loss(a, y, reduction="sum", delta=spec.parameter or 1.0),
        "quantile": lambda: torch.maximum(-spec.parameter * (a - y), (1 - spec.parameter) * (a - y)).sum(),
        "log_cosh": lambda: torch.log(torch.cosh(a - y)).sum(),
        "poisson": lambda: f.poisson_nll_loss(a, y, log_input=False, reduction="sum", eps=0),
        "perceptron": lambda: torch.relu(-y * z).sum(),
        "hinge": lambda: torch.relu(1 - y * z).sum(),
    }
    return known[spec.name]() if spec.name in known else pytest.skip(f"PyTorch has no {spec.name}")


@every_pair
def test_losses_and_their_gradients_are_those_of_pytorch(loss, output):
    torch = pytest.importorskip("torch")
    net = network("tanh", output)
    rng = np.random.default_rng(11)
    X, y = rng.normal(size=(8, 5)), targets(loss, rng, 8, 3)
    spec, z = loss_of(loss, net), torch.tensor(backprop.forward(net, X).z[-1], requires_grad=True)
    a = torch_function(torch, net.layers[-1]._unit, None)(z)
    if spec.name == "poisson" and output == "identity":
        a = torch.exp(z)
    value = torch_loss(torch, spec, z, a, torch.tensor(y))
    value.backward()
    np.testing.assert_allclose(Trainer(net, loss).evaluate(X, y)["loss"], value.item() / len(X), rtol=1e-12)
    np.testing.assert_allclose(backprop.residuals(net, X, y, loss)[-1], z.grad.numpy(), rtol=1e-10, atol=1e-13)


def test_multiclass_hinge_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(12)
    net = network("tanh", "identity")
    X, y = rng.normal(size=(50, 5)), rng.integers(3, size=50)
    z = net.predict(X)
    got = Trainer(net, "hinge").evaluate(X, y)
    np.testing.assert_allclose(got["loss"], metrics.hinge_loss(y, z, labels=[0, 1, 2]), rtol=1e-12)
    assert got["accuracy"] == (z.argmax(axis=1) == y).mean()
    assert backprop.check_gradients(net, X, y, "hinge", inputs=True) < 5e-6


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "perceptron", "hinge"])
def test_two_classes_may_be_called_0_and_1_or_minus_1_and_plus_1(loss):
    rng = np.random.default_rng(13)
    net = Network([4, 5, 1], activation="tanh", dtype="float64", seed=1)
    X, y = rng.normal(size=(20, 4)), rng.integers(2, size=20)
    a, b = (Trainer(net, loss).evaluate(X, labels) for labels in (y, 2 * y - 1))
    assert a == b
    assert a["accuracy"] == ((net.predict(X)[:, 0] > 0) == y).mean()


def test_the_perceptron_learns_from_nothing():
    """Rosenblatt's rule from zero weights: W changes by y x for an example on the wrong side or on the boundary."""
    net = Network([Layer(2, 1, "sign", init="zeros")], dtype="float64")
    trainer = Trainer(net, "perceptron", SGD(lr=1.0), batch_size=1, shuffle=False)
    X, y = np.array([[2.0, 1.0], [1.0, 3.0], [-1.0, -2.0], [-2.0, 0.5]]), np.array([1, 1, -1, -1])
    trainer.step(X[:1], y[:1])
    np.testing.assert_array_equal(net.layers[0].W[:, 0], [2, 1])
    np.testing.assert_array_equal(net.layers[0].b, [1])
    trainer.fit(X, y, epochs=20)
    np.testing.assert_array_equal(net.predict(X)[:, 0], y)


@both_types
@pytest.mark.parametrize("loss, output", [(loss, o) for loss, o in PAIRS if o != "exp"], ids=str)
def test_logits_of_ten_thousand_give_finite_losses_and_residuals(loss, output, dtype):
    net = Network([Layer(3, 3, output, bias=False)], dtype=dtype)
    net.layers[0].W[...] = np.eye(3)
    if traits(loss).y == _core.Y_NOT_NEGATIVE and output == "identity":
        pytest.skip("e^10000 is infinite")
    X = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]], dtype)
    hard = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype)
    y = 2 * hard - 1 if traits(loss).y == _core.Y_SIGNS else hard
    with np.errstate(all="ignore"):
        assert np.isfinite(Trainer(net, loss).evaluate(X, y)["loss"])
        assert np.isfinite(backprop.residuals(net, X, y, loss)[-1]).all()


# ---- fused and explicit


@both_types
@every_activation
def test_a_fused_step_has_the_bits_of_the_explicit_path_for_every_activation(activation, dtype):
    output = activation if unit(activation).name != "sign" else "identity"  # sign has no gradient
    assert_same_step(network(activation, output, dtype), "half_squared_error", dtype)


@both_types
@every_pair
def test_a_fused_step_has_the_bits_of_the_explicit_path_for_every_loss(loss, output, dtype):
    assert_same_step(network("gelu", output, dtype), loss, dtype)


def assert_same_step(net, loss, dtype):
    rng = np.random.default_rng(14)
    X, y = rng.normal(size=(40, 5)).astype(dtype), targets(loss, rng, 40, 3)
    grads = [g for pair in backprop.gradients(net, X, y, loss) for g in pair]
    wanted = [p - p.dtype.type(0.25) * g for p, g in zip(net.parameters, grads, strict=True)]
    before = [p.copy() for p in net.parameters]
    for threads in (1, 3):
        Trainer(net, loss, SGD(lr=0.25), threads=threads).step(X, y)
        for got, want, old in zip(net.parameters, wanted, before, strict=True):
            np.testing.assert_array_equal(got, want)
            got[...] = old


# ---- the rows of csrc/vocabulary.h

# Numbers that were published, on which programs and files rely. With a release, new rows are added here.
PUBLISHED = {
    "ACTIVATIONS": ["identity", "relu", "leaky_relu", "elu", "selu", "hard_sigmoid", "sigmoid", "tanh", "exp", "sign",
                    "softmax", "prelu", "gelu", "gelu_tanh", "silu", "mish", "softplus", "softsign", "hard_swish",
                    "custom"],
    "LOSSES": ["cross_entropy", "binary_cross_entropy", "half_squared_error", "squared_error", "absolute_error",
               "huber", "quantile", "log_cosh", "custom", "poisson", "perceptron", "hinge"],
    "OPTIMIZERS": ["sgd", "adam", "rmsprop", "adagrad"],
}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_numbers_are_those_published(kind):
    rows = getattr(_core, kind)
    assert {name: rows[name].number for name in PUBLISHED[kind]} == {n: i for i, n in enumerate(PUBLISHED[kind])}
    assert len({row.number for row in rows.values()}) == len(rows)


def test_an_object_has_the_parameters_that_its_row_tells():
    for name, row in _core.ACTIVATIONS.items():
        assert row.is_custom or row.has_alpha == ("alpha" in activations.checked("activation", name).parameters)
        assert (row.least_alpha == 0) is not row.learns_alpha and row.in_z >= row.learns_alpha
    for name, row in _core.LOSSES.items():
        kind = losses.WITH_PARAMETERS.get(name)
        assert row.smooths == (kind is not None and kind.parameters == ("label_smoothing",))
        assert (row.above < row.below) == (kind is not None and not row.smooths and kind.parameters != ())
    with pytest.raises(ValueError, match="alpha must be finite"):
        activations.PReLU(-np.inf)


def test_the_outputs_of_a_loss():
    wanted = {
        "cross_entropy": ("softmax", "identity"), "binary_cross_entropy": ("sigmoid", "identity"),
        "poisson": ("exp", "softplus", "identity"), "perceptron": ("identity", "sign"), "hinge": ("identity", "sign"),
    }
    for name in PUBLISHED["LOSSES"]:
        assert _core.LOSSES[name].outputs == wanted.get(name, ()), name
    with pytest.raises(ValueError, match="of sigmoid or identity, got 'softmax'; 'cross_entropy' goes with it"):
        Trainer(Network([2, 2], output="softmax"), "binary_cross_entropy")


# ---- objects, names and messages


def test_a_prelu_learns_its_slopes():
    rng = np.random.default_rng(15)
    X = rng.normal(size=(200, 1))
    y = np.where(X > 0, X, 0.6 * X)
    for shared, shape in ((False, (1,)), (True, (1,))):
        net = Network([Layer(1, 1, activations.PReLU(0.0, shared=shared), bias=False)], dtype="float64")
        net.layers[0].W[...] = 1
        Trainer(net, "half_squared_error", SGD(lr=0.5), batch_size=50).fit(X, y, epochs=60)
        assert net.layers[0].slopes.shape == shape
        np.testing.assert_allclose(net.layers[0].slopes, 0.6, atol=1e-6)


@pytest.mark.parametrize("shared, count", [(False, 7), (True, 1)])
def test_the_slopes_are_parameters(shared, count):
    net = Network([Layer(3, 7, activations.PReLU(0.4, shared=shared)), Layer(7, 2)], dtype="float64", seed=0)
    first = net.layers[0]
    assert first.slopes.shape == (count,) and (first.slopes == 0.4).all()
    assert first.n_parameters == 3 * 7 + 7 + count and net.n_parameters == first.n_parameters + 16
    assert net.layers[1].slopes is None
    first.slopes = 0.7
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.layers[0].slopes, first.slopes)
    X = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    with pytest.raises(AttributeError, match="only a prelu"):
        net.layers[1].slopes = 1


def test_names_are_objects_with_the_usual_parameter():
    assert Layer(2, 2, "swish")._unit == activations.Activation("silu") == Layer(2, 2, "silu")._unit
    assert Layer(2, 2, "elu")._unit == activations.ELU(1.0) != activations.ELU(0.5)
    assert repr(activations.PReLU(shared=True)) == "PReLU(alpha=0.25, shared=True)"
    assert repr(losses.Huber()) == "Huber(delta=1.0)"
    assert repr(Layer(2, 3, activations.LeakyReLU(0.2))) == "Layer(2, 3, LeakyReLU(alpha=0.2))"


@pytest.mark.parametrize("make, message", [
    (lambda: activations.LeakyReLU(-0.1), "alpha must be >= 0"),
    (lambda: activations.ELU("x"), "alpha must be a number"),
    (lambda: activations.PReLU(shared=1), "shared must be True or False"),
    (lambda: losses.Huber(0), "delta must be > 0"),
    (lambda: losses.Quantile(1.0), "q must be < 1"),
    (lambda: losses.CrossEntropy(label_smoothing=1.5), "label_smoothing must be from 0 to 1"),
    (lambda: Layer(2, 2, "swash"), "activation must be one of"),
    (lambda: Layer(2, 2, "Relu"), "got 'Relu': did you mean 'relu'.$"),
    (lambda: Layer(2, 2, "LeakyReLU"), "got 'LeakyReLU': did you mean 'leaky_relu'.$"),
    (lambda: Layer(2, 2, "lrelu"), "got 'lrelu': did you mean 'leaky_relu'.$"),
    (lambda: Layer(2, 2, init="glorot_uniform"), "got 'glorot_uniform': did you mean 'xavier_uniform'.$"),
    (lambda: Network([2, 2], output="linear"), "got 'linear': did you mean 'identity'.$"),
    (lambda: Trainer(Network([2, 1], output="sign"), "huber").step([[1, 2]], [1]), "an output activation with a deri"),
    (lambda: Trainer(Network([2, 1], output="sign"), "huber").fit([[1, 2]], [1]), "an output activation with a deri"),
    (lambda: Trainer(Network([2, 2]), "focal"), "loss must be one of .* got 'focal'$"),
    (lambda: Trainer(Network([2, 2]), "mse"), "got 'mse': did you mean 'half_squared_error' or 'squared_error'.$"),
    (lambda: Trainer(Network([2, 2]), "crossentropy"), "got 'crossentropy': did you mean 'cross_entropy'.$"),
    (lambda: Trainer(Network([2, 2], output="relu"), "poisson"), "needs an output activation of exp or softplus or id"),
    (lambda: Trainer(Network([2, 2], output="tanh"), "hinge"), "needs an output activation of identity or sign"),
    (lambda: Trainer(Network([2, 1]), "poisson").evaluate([[1, 2]], [-1]), "y must hold finite numbers >= 0"),
    (lambda: Trainer(Network([2, 1]), "hinge").evaluate([[1, 2]], [2]), "y must hold -1 and"),
    (lambda: Trainer(Network([2, 1]), "binary_cross_entropy").evaluate([[1, 2]], [-2]), "-1 and .1 alone"),
])
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
