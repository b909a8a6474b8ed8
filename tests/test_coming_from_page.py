"""What docs/coming_from.md says of other libraries, beside its programs: test_docs.py runs these. The formulas of the
optimizers and losses are compared with PyTorch's in test_optimizers.py and test_vocabulary.py."""

import inspect
import os

import numpy as np
import pytest

import mlpfast

os.environ.setdefault("KERAS_BACKEND", "torch")


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def digits(rows):
    X, y = mlpfast.datasets.load_digits()
    return X[:rows].astype("float64"), y[:rows]


# ---- PyTorch


def torch_and_network(sizes):
    torch = pytest.importorskip("torch")
    layers = [torch.nn.Linear(*shape, dtype=torch.float64) for shape in zip(sizes, sizes[1:], strict=False)]
    model = torch.nn.Sequential(*[part for layer in layers for part in (layer, torch.nn.Tanh())][:-1])
    return torch, model, mlpfast.exchange.from_torch(model)


@pytest.mark.parametrize("theirs, ours", [
    ("MSELoss", "squared_error"), ("L1Loss", "absolute_error"), ("HuberLoss", "huber"),
    ("BCEWithLogitsLoss", "binary_cross_entropy"),
])
def test_losses_of_pytorch_are_means_over_the_outputs(theirs, ours):
    torch, model, net = torch_and_network([4, 5, 3])
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 4)), rng.integers(2, size=(8, 3)).astype(float)
    value = getattr(torch.nn, theirs)()(model(torch.tensor(X)), torch.tensor(y)).item()
    assert mlpfast.Trainer(net, ours).evaluate(X, y)["loss"] == pytest.approx(3 * value, rel=1e-12)


def test_weight_decay_of_pytorch_is_l2_and_shrinks_biases_too():
    torch, model, net = torch_and_network([64, 8, 10])
    X, y = digits(32)
    b = net.layers[0].b.copy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)
    torch.nn.CrossEntropyLoss()(model(torch.tensor(X)), torch.tensor(y)).backward()
    optimizer.step()
    mlpfast.Trainer(net, "cross_entropy", mlpfast.SGD(lr=0.1), l2=0.5).step(X, y)
    assert np.allclose(net.layers[0].W, model[0].weight.detach().numpy().T, rtol=1e-12, atol=1e-15)
    assert np.allclose(net.layers[0].b - 0.1 * 0.5 * b, model[0].bias.detach().numpy(), rtol=1e-12, atol=1e-15)


def test_weights_of_classes_in_pytorch_are_divided_by_those_of_the_minibatch():
    torch, model, net = torch_and_network([64, 8, 10])
    X, y = digits(32)
    weight = np.arange(1.0, 11.0)
    loss, optimizer = torch.nn.CrossEntropyLoss(torch.tensor(weight)), torch.optim.SGD(model.parameters(), lr=0.1)
    for rows in (slice(0, 16), slice(16, 32)):
        optimizer.zero_grad()
        loss(model(torch.tensor(X[rows])), torch.tensor(y[rows])).backward()
        optimizer.step()
    sgd = mlpfast.SGD(lr=0.1)
    trainer = mlpfast.Trainer(net, optimizer=sgd, batch_size=16, shuffle=False, weighting="minibatch")
    trainer.fit(X, y, epochs=1, class_weight=dict(enumerate(weight)))
    assert np.allclose(net.layers[0].W, model[0].weight.detach().numpy().T, rtol=1e-10, atol=1e-14)


def test_defaults_of_pytorch():
    torch = pytest.importorskip("torch")
    assert defaults(torch.optim.SGD)["lr"] == 0.001 and defaults(mlpfast.SGD)["lr"] == 0.01
    plateau = defaults(torch.optim.lr_scheduler.ReduceLROnPlateau)
    assert (plateau["threshold"], plateau["threshold_mode"]) == (1e-4, "rel")
    loader = defaults(torch.utils.data.DataLoader)
    assert (loader["batch_size"], loader["shuffle"], loader["drop_last"]) == (1, None, False)


# ---- Keras


@pytest.fixture
def keras():
    try:
        import keras
    except ImportError:
        pytest.skip("needs Keras and its backend")
    return keras


def model_of(keras, n_in, n_out, **settings):
    model = keras.Sequential([keras.Input((n_in,)), keras.layers.Dense(n_out, dtype="float64", **settings)])
    return model, mlpfast.exchange.from_keras(model)


def step(keras, model, optimizer, X, y, loss="mean_squared_error"):
    model.compile(optimizer=optimizer, loss=loss)
    return model.train_on_batch(X, y)


def test_a_regularizer_of_keras_is_twice_l2_and_in_the_loss(keras):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 1))
    model, net = model_of(keras, 4, 1, kernel_regularizer=keras.regularizers.L2(0.1))
    plain = mlpfast.Network([mlpfast.Layer(4, 1)], dtype="float64")
    plain.layers[0].W = W = net.layers[0].W.copy()
    value = step(keras, model, keras.optimizers.SGD(0.1), X, y)
    trainer = mlpfast.Trainer(plain, "squared_error", mlpfast.SGD(0.1), l2=0.2, batch_size=8)
    history = trainer.fit(X, y, epochs=1)
    assert np.allclose(plain.layers[0].W, model.layers[0].kernel.numpy(), rtol=1e-6)
    assert value == pytest.approx(history["loss"][0] + 0.1 * (W**2).sum(), rel=1e-6)
    assert history["objective"][0] > history["loss"][0]


def test_losses_of_keras_are_means_over_the_outputs(keras):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 3))
    for theirs, ours in [("mean_squared_error", "squared_error"), ("mean_absolute_error", "absolute_error")]:
        model, net = model_of(keras, 4, 3)
        model.compile(loss=theirs)
        value = model.evaluate(X, y, verbose=0)
        assert mlpfast.Trainer(net, ours).evaluate(X, y)["loss"] == pytest.approx(3 * value, rel=1e-6)


def test_epsilon_of_keras_is_within_the_root_of_rmsprop_and_adagrad(keras):
    X, y = np.array([[1.0]]), np.array([[1e-3]])
    for optimizer, v in [
        (keras.optimizers.RMSprop(0.1, rho=0.9, epsilon=1e-4), lambda g: 0.1 * g**2),
        (keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.0, epsilon=1e-4), lambda g: g**2),
    ]:
        model, _ = model_of(keras, 1, 1, use_bias=False, kernel_initializer="zeros")
        step(keras, model, optimizer, X, y)
        g = -2e-3
        assert model.layers[0].kernel.numpy()[0, 0] == pytest.approx(-0.1 * g / np.sqrt(v(g) + 1e-4), rel=1e-4)


def test_adamw_of_keras_decays_biases_too(keras):
    X, y = np.zeros((1, 1)), np.ones((1, 1))
    model, _ = model_of(keras, 1, 1, bias_initializer="ones")  # yhat = y: no gradient
    step(keras, model, keras.optimizers.AdamW(0.1, weight_decay=0.5), X, y)
    assert model.layers[0].bias.numpy()[0] == pytest.approx(0.95, rel=1e-5)


def test_the_momentum_of_keras_keeps_the_rates_of_its_steps(keras):
    X, y = np.zeros((1, 1)), np.ones((1, 1))
    model, _ = model_of(keras, 1, 1)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.5)
    step(keras, model, optimizer, X, y)  # b = 0.2, velocity 0.2
    optimizer.learning_rate = 0.01
    model.train_on_batch(X, y)  # velocity 0.5 * 0.2 + 0.01 * 2 * 0.8
    assert model.layers[0].bias.numpy()[0] == pytest.approx(0.2 + 0.1 + 0.016, rel=1e-5)
    net = mlpfast.Network([mlpfast.Layer(1, 1)], dtype="float64")
    trainer = mlpfast.Trainer(net, "squared_error", mlpfast.SGD(0.1, momentum=0.5))
    trainer.step(X, y)
    trainer.optimizer.lr = 0.01
    trainer.step(X, y)  # 0.2 + 0.01 (0.5 * 2 + 2 * 0.8)
    assert net.layers[0].b[0] == pytest.approx(0.226, rel=1e-12)


def test_validation_rows_of_keras_are_the_last(keras):
    X = np.arange(10.0)[:, None]
    seen = []

    class Last(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen.append(logs["loss"])

    model, _ = model_of(keras, 1, 1, kernel_initializer="zeros")
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mean_squared_error")
    model.fit(X, X, validation_split=0.2, epochs=1, verbose=0, callbacks=[Last()])
    assert seen[-1] == pytest.approx((8**2 + 9**2) / 2)


def test_defaults_of_keras(keras):
    of = {name: defaults(getattr(keras.optimizers, name)) for name in ("Adam", "AdamW", "RMSprop", "Adagrad")}
    assert of["Adam"]["epsilon"] == 1e-7 and of["AdamW"]["weight_decay"] == 0.004
    assert (of["RMSprop"]["learning_rate"], of["RMSprop"]["rho"]) == (0.001, 0.9)
    assert (of["Adagrad"]["learning_rate"], of["Adagrad"]["initial_accumulator_value"]) == (0.001, 0.1)
    dense = defaults(keras.layers.Dense)
    assert (dense["kernel_initializer"], dense["bias_initializer"]) == ("glorot_uniform", "zeros")
    stopping = defaults(keras.callbacks.EarlyStopping)
    assert (stopping["patience"], stopping["restore_best_weights"]) == (0, False)
    assert defaults(keras.layers.LeakyReLU)["negative_slope"] == 0.3


# ---- here


def test_defaults_here():
    assert defaults(mlpfast.Trainer)["batch_size"] == 64 and defaults(mlpfast.Trainer)["shuffle"] is True
    assert (defaults(mlpfast.RMSprop)["lr"], defaults(mlpfast.RMSprop)["rho"]) == (0.01, 0.99)
    assert defaults(mlpfast.Adagrad)["lr"] == 0.01 and defaults(mlpfast.AdamW)["weight_decay"] == 0.01
    stopping = defaults(mlpfast.callbacks.EarlyStopping)
    assert (stopping["patience"], stopping["restore_best"]) == (5, True)
    assert defaults(mlpfast.schedules.ReduceOnPlateau)["min_delta"] == 0
