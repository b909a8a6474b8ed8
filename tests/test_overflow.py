"""Numbers near overflow: a step is right, or an error says what overflowed."""

import numpy as np
import pytest

from mlpfast import SGD, Adagrad, Adam, AdamW, Layer, Network, RMSprop, Trainer, backprop, losses

both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])
HUGE = {"float32": 1e25, "float64": 1e200}  # the squares are infinite


def pulled(size):
    """A loss with a gradient of that size everywhere, and a value that is always finite."""
    return losses.Custom(lambda y, yhat: np.zeros(len(yhat)), lambda y, yhat: np.full(yhat.shape, size, yhat.dtype))


def line(dtype, n_out=1, **settings):
    """yhat = x w, so that dW is x times d loss / d yhat."""
    net = Network([Layer(1, n_out, bias=False, **settings)], dtype=dtype, seed=0)
    net.layers[0].W = np.arange(1, n_out + 1) / 4
    return net


X = np.ones((4, 1))


@both_types
@pytest.mark.parametrize("optimizer", [Adam(), AdamW(weight_decay=0.1), RMSprop(0.01), Adagrad(0.01)], ids=str)
def test_a_huge_gradient_is_a_step_of_the_usual_length(optimizer, dtype):
    """These rules are independent of the scale of g, so the steps are those of g = 1; Adagrad's no longer shrink after
    its sum of squares has reached the largest number."""
    nets = [line(dtype), line(dtype)]
    for net, size in zip(nets, (1.0, HUGE[dtype]), strict=True):
        trainer = Trainer(net, pulled(size), optimizer)
        for _ in range(1 if isinstance(optimizer, Adagrad) else 6):
            trainer.step(X, np.zeros(4))
    np.testing.assert_allclose(nets[1].layers[0].W, nets[0].layers[0].W, rtol=1e-5)


@both_types
@pytest.mark.parametrize("optimizer", [Adam(0.1), RMSprop(0.1), Adagrad(0.1)], ids=str)
def test_a_weight_still_moves_after_a_huge_gradient(optimizer, dtype):
    net = line(dtype)
    trainer = Trainer(net, pulled(HUGE[dtype]), optimizer)
    for _ in range(5):
        before = np.array(net.layers[0].W)
        trainer.step(X, np.zeros(4))
        assert (net.layers[0].W < before - 1e-3).all()
    assert all(np.isfinite(a).all() for name in optimizer.states for a in trainer.state[name])


@both_types
def test_clip_norm_of_a_huge_gradient(dtype):
    net = line(dtype, n_out=3)
    Trainer(net, pulled(HUGE[dtype]), SGD(1.0), clip_norm=0.3).step(X, np.zeros((4, 3)))
    np.testing.assert_allclose(net.layers[0].W[0], np.arange(1, 4) / 4 - 0.3 / np.sqrt(3), rtol=1e-6)


@both_types
@pytest.mark.parametrize("n_out", [1, 5, 40])
def test_max_norm_of_huge_weights(n_out, dtype):
    rng = np.random.default_rng(0)
    net = Network([Layer(7, n_out)], dtype=dtype, seed=0)
    huge = {"float32": 1e30, "float64": 1e300}[dtype]
    W = rng.normal(size=(7, n_out)) * np.where(np.arange(n_out) % 3 == 1, 1.0, huge)  # every third of usual size
    net.layers[0].W = W
    Trainer(net, pulled(0.0), SGD(1.0), max_norm=0.5).step(np.zeros((2, 7)), np.zeros((2, n_out)))
    wanted = W / np.abs(W).max(axis=0)
    wanted *= 0.5 / np.linalg.norm(wanted, axis=0)
    np.testing.assert_allclose(net.layers[0].W, wanted, rtol=2e-6)


@pytest.mark.parametrize("dtype, lr, X", [("float32", 1e30, 1e10), ("float64", 1e200, 1e120)])
@pytest.mark.parametrize("layers", [1, 2])
def test_parameters_that_the_last_update_made_infinite(layers, dtype, lr, X):
    """The loss before the update was finite, and no minibatch follows."""
    X, y = np.full((3, 2), X, dtype), np.ones((3, 1), dtype)

    def trainer(**settings):
        net = Network([Layer(2, 2, init="zeros"), Layer(2, 1)][-layers:], dtype=dtype, seed=1)
        return Trainer(net, "half_squared_error", SGD(lr), **settings)

    with pytest.raises(FloatingPointError, match=r"epoch 0: layer 1 holds NaN or infinity after the last update"):
        trainer().fit(X, y)
    unchecked = trainer(check_finite=False)
    unchecked.fit(X, y)
    assert not np.isfinite(unchecked.network.layers[0].W).all()


def test_a_callback_may_bring_finite_parameters_back():
    class Restore:
        def on_epoch_begin(self, trainer, epoch):
            self.kept = [p.copy() for p in trainer.network.parameters]

        def on_fit_end(self, trainer):
            for p, kept in zip(trainer.network.parameters, self.kept, strict=True):
                p[...] = kept

    net = Network([Layer(2, 1)], seed=1)
    Trainer(net, "half_squared_error", SGD(1e30)).fit(np.full((3, 2), 1e10), np.zeros((3, 1)), callbacks=Restore())
    assert np.isfinite(net.layers[0].W).all()


@both_types
def test_clipped_huge_gradients_are_the_same_bits_on_threads(dtype):
    X, y = np.random.default_rng(0).normal(size=(64, 40)), np.zeros((64, 200))
    nets = []
    for threads in (1, 3):
        nets.append(Network([40, 300, 200], dtype=dtype, seed=0))
        trainer = Trainer(nets[-1], pulled(HUGE[dtype]), Adam(0.01), clip_norm=1.0, max_norm=0.5, threads=threads)
        trainer.step(X, y)
    for p, q in zip(*(net.parameters for net in nets), strict=True):
        np.testing.assert_array_equal(p, q)


@both_types
def test_gradients_of_the_usual_size_are_not_touched(dtype):
    """2^63 and 2^511 themselves are not clipped."""
    size = {"float32": 2.0**62, "float64": 2.0**510}[dtype]
    net = line(dtype)
    assert backprop.gradients(net, X, np.zeros(4), pulled(size))[0][0][0, 0] == size
    trainer = Trainer(net, pulled(size), RMSprop(0.01, rho=0.5))
    trainer.step(X, np.zeros(4))
    assert trainer.state["v"][0][0, 0] == size * size / 2
