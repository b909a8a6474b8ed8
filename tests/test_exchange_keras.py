"""Keras 3: the same outputs, whatever its backend."""

import numpy as np
import pytest
from processes import run_python

from mlpfast import activations

keras = pytest.importorskip("keras", reason="the extra keras has it", exc_type=ImportError)

from keras import layers, regularizers  # noqa: E402

from mlpfast.exchange import from_keras  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of Keras on PyTorch

X = np.random.default_rng(0).normal(size=(30, 6)) * 2


def outputs(model, X):
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(X, dtype=str(X.dtype)), training=False))


def assert_same_outputs(net, model, X=X, tolerance=None):
    """Relative to the largest number."""
    X = X.astype(net.dtype)
    wanted = outputs(model, X)
    rounded = net.dtype == np.float32 or keras.config.backend() == "torch"  # whose products Keras rounds to float32
    tolerance = max(tolerance or 0, 2e-6 if rounded else 1e-12)
    got = net.predict(X.reshape(len(X), -1))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def sequential(*own, shape=(6,)):
    """A Sequential of layers, with weights that are not zero."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape), *own])
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if type(layer).__name__ != "Normalization":
            layer.set_weights([0.3 * rng.normal(size=w.shape) for w in layer.get_weights()])
    return model


ACTIVATIONS = {
    "linear": "identity",
    "relu": "relu",
    "elu": "elu",
    "selu": "selu",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "mish": "mish",
    "softplus": "softplus",
    "softsign": "softsign",
    "sigmoid": "sigmoid",
    "hard_sigmoid": "hard_sigmoid",
    "hard_silu": "hard_swish",
    "tanh": "tanh",
    "exponential": "exp",
    "softmax": "softmax",
    "leaky_relu": "leaky_relu",
}


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    keras.config.set_floatx(request.param)
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_name(name, dtype):
    model = sequential(
        layers.Dense(7, activation=name), layers.Dense(5, use_bias=False), layers.Activation(name), layers.Dense(3)
    )
    net = from_keras(model)
    assert net.dtype == dtype and [layer._unit.name for layer in net.layers] == [ACTIVATIONS[name]] * 2 + ["identity"]
    assert [layer.bias for layer in net.layers] == [True, False, True]
    for layer, dense in zip(net.layers, [model.layers[0], model.layers[1], model.layers[3]], strict=True):
        for mine, theirs in zip(layer.parameters, dense.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    rounded = name in ("selu", "hard_sigmoid", "hard_silu") and dtype == "float64"  # constants in float32 there
    given = X / 5 if name == "exponential" else X
    assert_same_outputs(net, model, given, tolerance=1e-7 if rounded else None)


@pytest.mark.parametrize(
    "layer, wanted",
    [
        (lambda: layers.ReLU(), "relu"),
        (lambda: layers.ReLU(negative_slope=0.25), activations.LeakyReLU(0.25)),
        (lambda: layers.LeakyReLU(negative_slope=0.125), activations.LeakyReLU(0.125)),
        (lambda: layers.ELU(alpha=0.5), activations.ELU(0.5)),
        (lambda: layers.PReLU(), activations.PReLU()),
        (lambda: layers.PReLU(shared_axes=[1]), activations.PReLU(shared=True)),
        (lambda: layers.Softmax(), "softmax"),
    ],
)
def test_layers_of_activations(layer, wanted):
    model = sequential(layers.Dense(7), layer(), layers.Dense(3))
    net = from_keras(model)
    assert net.layers[0].activation == wanted
    assert_same_outputs(net, model)


def test_inputs_dropout_and_penalties():
    normalization = layers.Normalization(axis=-1)
    normalization.adapt(X)
    dense = layers.Dense(7, activation="tanh", kernel_regularizer=regularizers.L1L2(0.1, 0.2))
    frozen = layers.Dense(5, trainable=False, kernel_regularizer=regularizers.L2(0.3))
    model = sequential(normalization, dense, layers.Dropout(0.25), frozen, layers.Dense(3))
    net = from_keras(model)
    assert_same_outputs(net, model, tolerance=3e-6)
    mean, variance = (np.array(each).reshape(-1) for each in (normalization.mean, normalization.variance))
    np.testing.assert_allclose(net.input_transform, [mean, np.sqrt(variance)], rtol=1e-6)
    assert [layer.dropout for layer in net.layers] == [0.25, 0, 0]
    assert [layer.trainable for layer in net.layers] == [True, False, True]
    assert [layer.l1 for layer in net.layers] == pytest.approx([0.1, 0, 0])
    assert [layer.l2 for layer in net.layers] == pytest.approx([0.4, 0.6, 0])
    model = sequential(
        layers.Flatten(), layers.GaussianNoise(0.5), layers.Dropout(0.125), layers.Dense(3), shape=(2, 3)
    )
    net = from_keras(model)
    assert (net.input_noise, net.input_dropout) == (0.5, 0.125)
    assert_same_outputs(net, model, X.reshape(30, 2, 3))
    model = sequential(layers.Rescaling(0.5, offset=-1.0), layers.Dense(3))
    net = from_keras(model)
    assert_same_outputs(net, model)
    np.testing.assert_array_equal(net.input_transform, [[2.0] * 6, [2.0] * 6])
    model = sequential(layers.Rescaling([-0.5, 2, -1, 1, 1, -3], offset=0.25), layers.Dense(3))
    assert_same_outputs(from_keras(model), model)  # the signs are in the weights


def test_functional_and_nested_models():
    given = keras.Input((6,))
    inner = keras.Sequential([keras.Input((7,)), layers.Dense(5, activation="elu"), layers.Dense(4)])
    model = keras.Model(given, layers.Softmax()(inner(layers.Dense(7, activation="relu")(given))))
    net = from_keras(model)
    assert [layer._unit.name for layer in net.layers] == ["relu", "elu", "softmax"]
    assert_same_outputs(net, model)


def test_the_weights_are_copies():
    model = sequential(layers.Dense(3))
    net = from_keras(model)
    before = net.predict(X)
    model.layers[0].set_weights([0 * w for w in model.layers[0].get_weights()])
    assert net.predict(X).tobytes() == before.tobytes()


def skip_connection():
    given = keras.Input((6,))
    hidden = layers.Dense(6)(given)
    return keras.Model(given, layers.Dense(3)(layers.Add(name="both")([hidden, given])))


def branch():
    given = keras.Input((6,))
    hidden = layers.Dense(5, name="lost")(given)
    return keras.Model(given, [layers.Dense(3)(hidden), hidden])


def used_twice():
    given, dense = keras.Input((6,)), layers.Dense(6, name="again")
    return keras.Model(given, dense(dense(given)))


def of_code():
    class Own(keras.Model):
        def call(self, x):
            return x

    model = Own()
    model(X)
    return model


REFUSED = {
    "a convolution": (
        lambda: sequential(layers.Conv1D(2, 3, name="conv"), layers.Flatten(), layers.Dense(3), shape=(6, 1)),
        "layer 'conv' .Conv1D. cannot",
    ),
    "a batch norm": (
        lambda: sequential(layers.Dense(3), layers.BatchNormalization(name="bn")),
        "layer 'bn' .BatchNorm",
    ),
    "relu6": (lambda: sequential(layers.Dense(3, activation="relu6", name="six")), "'six' .Dense.*activation 'relu6'"),
    "relu with a limit": (lambda: sequential(layers.Dense(3), layers.ReLU(max_value=6.0)), "max_value"),
    "log-softmax": (lambda: sequential(layers.Dense(3, activation="log_softmax")), "activation 'log_softmax'"),
    "an own function": (lambda: sequential(layers.Dense(3, activation=lambda x: x)), "activation '<lambda>'"),
    "softmax elsewhere": (
        lambda: sequential(layers.Flatten(), layers.Dense(3), layers.Softmax(axis=0)),
        "another axis",
    ),
    "two activations": (lambda: sequential(layers.Dense(3, activation="relu"), layers.ReLU()), "after an activation"),
    "an activation first": (lambda: sequential(layers.ReLU(), layers.Dense(3)), "after nothing"),
    "dropout at the end": (lambda: sequential(layers.Dense(3), layers.Dropout(0.5)), "after the last layer"),
    "dropout before": (lambda: sequential(layers.Dense(3), layers.Dropout(0.5), layers.ReLU()), "after Dropout"),
    "noise between": (lambda: sequential(layers.Dense(3), layers.GaussianNoise(0.5)), "elsewhere than at the input"),
    "a skip connection": (skip_connection, "layer 'both' .Add.*skip connection"),
    "two outputs": (branch, "one input and one output, got 1 and 2"),
    "a layer used twice": (used_twice, "'again' .Dense.*more than once"),
    "code of its own": (of_code, "with code of its own"),
    "half precision": (lambda: sequential(layers.Dense(3, dtype="float16")), "float32 or float64, got float16"),
    "two dtypes": (lambda: sequential(layers.Dense(3), layers.Dense(3, dtype="float64")), "got float32, float64"),
    "no layer": (lambda: sequential(layers.Flatten()), "has no Dense"),
    "rows of rows": (lambda: sequential(layers.Dense(3), shape=(5, 4)), r"shape \(5, 4\), its first Dense 4 .*Flatten"),
    "all dropped": (
        lambda: sequential(layers.Dense(3), layers.Dropout(1.0, name="all"), layers.Dense(3)),
        "'all' .Dropout.*rate 1",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_carried_over_is_named(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        from_keras(make())


def test_no_model_and_none_that_is_built():
    with pytest.raises(TypeError, match="model must be a keras.Model, got list"):
        from_keras([])
    with pytest.raises(ValueError, match="must be built"):
        from_keras(keras.Sequential([layers.Dense(3)]))


def test_what_is_left_out_is_named():
    model = sequential(layers.Dense(3, bias_regularizer="l2", kernel_constraint="max_norm", name="mine"))
    with pytest.warns(UserWarning) as caught:
        from_keras(model)
    assert [str(w.message).split(",")[0] for w in caught if w.category is UserWarning] == [
        "layer 'mine': its bias_regularizer is left out",
        "layer 'mine': its kernel_constraint is left out",
    ]


def test_the_library_is_imported_when_it_is_used():
    program = (
        "import sys; sys.modules['keras'] = None\n"
        "import mlpfast\n"
        "try: mlpfast.exchange.from_keras(None)\n"
        "except ImportError as error: print(error)\n"
    )
    assert run_python(program) == 'keras is needed for this: pip install "mlpfast[keras]"\n'
