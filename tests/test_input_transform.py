"""Network(input_transform=(mean, scale)): (x - mean) / scale, computed as rows are read."""

import copy
import itertools

import numpy as np
import pytest

from mlpfast import LBFGS, SGD, Layer, NaturalGradient, Network, Trainer, backprop, load_network

MEAN = np.array([1e6, -3.0, 0.0, 0.5, 100.0])
SCALE = np.array([0.25, 7.0, 1.0, 1e-3, 30.0])


def rows(n=40, dtype=np.float64):
    X = np.random.default_rng(0).normal(size=(n, 5)) * SCALE + MEAN
    return (np.arange(5 * n).reshape(n, 5) * 7 % 256).astype(np.uint8) if dtype == np.uint8 else X.astype(dtype)


def pair(dtype="float32", **settings):
    """The same network with and without the transform."""
    layers = [5, 33, 3]
    return [Network(layers, output="softmax", dtype=dtype, seed=0, input_transform=transform, **settings)
            for transform in ((MEAN, SCALE), None)]


def transformed(X, net):
    """The same in NumPy."""
    X = X * np.float64(net.input_scale) if X.dtype == np.uint8 else X.astype(np.float64)
    return ((X - MEAN) / SCALE).astype(net.dtype)


def bits(net):
    return [p.tobytes() for p in net.parameters]


KINDS = list(itertools.product(["float32", "float64"], [np.float32, np.float64, np.uint8]))


@pytest.mark.parametrize("dtype, of_X", KINDS, ids=str)
def test_predictions_are_those_of_transformed_inputs(dtype, of_X):
    net, plain = pair(dtype, input_scale=0.5 if of_X == np.uint8 else 1.0)
    for n in (1, 7, 40, 3000):
        X = rows(n, of_X)
        assert net.predict(X).tobytes() == plain.predict(transformed(X, net)).tobytes()
        assert net.predict(X, threads=2).tobytes() == net.predict(X).tobytes()


@pytest.mark.parametrize("dtype, of_X", KINDS, ids=str)
def test_training_is_that_on_transformed_inputs(dtype, of_X):
    X, y = rows(203, of_X), np.arange(203) % 3
    results = []
    for shuffle in (True, False):
        for net, X_of in zip(pair(dtype, input_dropout=0.1, input_noise=0.1), (X, None), strict=True):
            X_of = transformed(X, net) if X_of is None else X_of
            trainer = Trainer(net, optimizer=SGD(lr=0.1), batch_size=10, seed=0, shuffle=shuffle)
            history = trainer.fit(X_of, y, epochs=2, validation_split=0.2)
            results.append((bits(net), history, trainer.step(X_of[:9], y[:9]), trainer.evaluate(X_of, y)))
        assert results[-1] == results[-2]


@pytest.mark.parametrize("optimizer", [LBFGS, NaturalGradient])
def test_optimizers_of_all_rows_transform_them_too(optimizer):
    if optimizer is LBFGS:
        pytest.importorskip("scipy", reason="LBFGS needs SciPy")
    X, y = rows(50), np.arange(50) % 3
    histories = []
    for net, X_of in zip(pair("float64"), (X, None), strict=True):
        X_of = transformed(X, net) if X_of is None else X_of
        histories.append(Trainer(net, optimizer=optimizer(), batch_size=None, seed=0).fit(X_of, y, epochs=3))
    assert histories[0] == histories[1]


def test_it_is_scikit_learns_standard_scaler():
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="needs scikit-learn")
    X = rows(100)
    scaler = preprocessing.StandardScaler().fit(X)
    net = Network([5, 3], dtype="float64", seed=0, input_transform=(scaler.mean_, scaler.scale_))
    plain = Network([5, 3], dtype="float64", seed=0)
    assert net.predict(X).tobytes() == plain.predict(scaler.transform(X)).tobytes()


def test_numbers_far_from_zero_keep_their_digits():
    """float32 cannot hold the differences of such inputs; whole numbers are not converted to it either."""
    X = 1_700_000_000 + np.arange(8).reshape(8, 1)
    net = Network([Layer(1, 1, bias=False)], seed=0, input_transform=([1.7e9], [1.0]))
    net.layers[0].W = 1
    for given in (X, X.astype(np.float64), X.tolist()):
        assert net.predict(given).ravel().tolist() == list(range(8))


def test_gradients_of_the_inputs_are_those_of_the_numbers_given():
    X, y = rows(6), np.arange(6) % 3
    net, plain = pair("float64")
    dX = backprop.gradients(net, X, y, "cross_entropy", inputs=True)[1]
    np.testing.assert_array_equal(dX, backprop.gradients(plain, transformed(X, net), y, "cross_entropy", inputs=True)[1]
                                  / SCALE)
    net = Network([5, 4, 3], output="softmax", dtype="float64", seed=0, input_transform=(np.arange(5), np.full(5, 2.0)))
    assert backprop.check_gradients(net, np.ones((4, 5)), y[:4], "cross_entropy", inputs=True) < 1e-5
    tape = backprop.forward(net, np.ones((4, 5)))
    np.testing.assert_array_equal(tape.X, (np.ones((4, 5)) - np.arange(5)) / 2)


def test_what_is_not_finite_is_named_as_it_was_given():
    net, _ = pair()
    X, y = rows(), np.arange(40) % 3
    X[7, 2] = np.nan
    with pytest.raises(FloatingPointError, match=r"X\[7, 2\] is nan"):
        Trainer(net).fit(X, y)
    X[7, 2] = 1e39
    with pytest.raises(FloatingPointError, match=r"X\[7, 2\] is 1e\+39 after input_transform, too large for float32"):
        Trainer(net).fit(X, y)


def test_files_and_copies_have_it(tmp_path):
    net, _ = pair()
    net.save(tmp_path / "net")
    state = net.state_dict()
    assert (state["input_transform.mean"] == MEAN).all() and (state["input_transform.scale"] == SCALE).all()
    for again in (load_network(tmp_path / "net"), copy.deepcopy(net)):
        assert all((a == b).all() for a, b in zip(again.input_transform, (MEAN, SCALE), strict=True))
        assert again.predict(rows()).tobytes() == net.predict(rows()).tobytes()
    with pytest.raises(ValueError, match="input_transform.mean.* cannot be changed"):
        net.load_state_dict({**state, "input_transform.mean": np.zeros(5)})


def test_it_is_fixed_when_a_network_is_made():
    mean, scale = MEAN.copy(), SCALE.tolist()
    net = Network([5, 3], input_transform=(mean, scale))
    before = net.predict(rows())
    mean[:] = 0
    assert (net.predict(rows()) == before).all() and Network([5, 3]).input_transform is None
    with pytest.raises(ValueError, match="read-only"):
        net.input_transform[0][0] = 1
    with pytest.raises(AttributeError, match=r"fixed when one is made, Network\(..., input_transform=...\)"):
        net.input_transform = None


@pytest.mark.parametrize("given, message", [
    (MEAN, "must be .mean, scale., two arrays"), (3, "must be .mean, scale., two arrays"),
    ((MEAN, SCALE, SCALE), "must be .mean, scale., two arrays"),
    ((MEAN[:4], SCALE), r"mean must have a number for each of 5 inputs, got shape \(4,\)"),
    ((MEAN, SCALE[:, None]), "scale must have a number for each of 5 inputs"),
    ((MEAN, 1.0), "scale must have a number for each of 5 inputs"),
    ((MEAN * np.nan, SCALE), "mean must be finite, got nan for input 0"),
    ((MEAN, SCALE * [1, 1, 1, 0, 1]), "scale must be finite and > 0, got 0.0 for input 3: of a constant input take 1"),
    ((MEAN, -SCALE), "scale must be finite and > 0"), ((MEAN, SCALE * 1e-320), "scale must be finite and > 0"),
    ((MEAN, ["a"] * 5), "scale must hold real numbers"),
], ids=str)
def test_what_is_no_transform_is_refused(given, message):
    with pytest.raises((ValueError, TypeError), match=f"input_transform {message}"):
        Network([5, 3], input_transform=given)
