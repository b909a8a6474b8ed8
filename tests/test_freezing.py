"""Freezing and thawing: layer.trainable set between and within calls of fit; the optimizer's t of each layer."""

import pickle
import threading

import numpy as np
import pytest
from test_gradient_and_apply import assert_same_steps, every_kind_of_step, in_each_way, three_layers
from test_gradient_and_apply import their_examples as examples
from test_optimizers import LOSS, assert_a_step_is_pytorchs, every_optimizer, pytorchs
from test_same_bits import assert_same_bits

from mlpfast import (
    LBFGS,
    SGD,
    Adam,
    AdamW,
    Layer,
    NaturalGradient,
    Network,
    RMSprop,
    Trainer,
    _core,
    backprop,
    load_trainer,
)
from mlpfast.activations import Custom


def network(dtype="float64", trainable=(True, True, True), **settings):
    return three_layers(dtype, [dict(trainable=each) for each in trainable], **settings)


def set_trainable(net, trainable):
    for layer, each in zip(net.layers, trainable, strict=True):
        layer.trainable = each


PLAN = [(0, 1, 1), (0, 1, 1), (0, 0, 1), (1, 1, 1), (1, 0, 0), (0, 0, 0), (1, 0, 1), (1, 1, 1)]
PLAN = [tuple(map(bool, each)) for each in PLAN]


@every_optimizer
def test_steps_with_freezing_and_thawing_are_pytorchs(optimizer):
    """Which leaves parameters without a gradient as they are, and counts the steps of each."""
    net, (X, y) = network(), examples()
    trainer = Trainer(net, LOSS, optimizer, batch_size=None)  # which Rprop needs
    theirs, parameters = pytorchs(optimizer, net.parameters)
    for trainable in PLAN:
        set_trainable(net, trainable)
        trained = [layer.trainable for layer in net.layers for _ in layer.parameters]
        assert_a_step_is_pytorchs(trainer, X, y, theirs, parameters, without=np.flatnonzero(~np.array(trained)))
    assert trainer.state["updates"] == [sum(each) for each in zip(*PLAN, strict=True)] and trainer.steps == len(PLAN)


@every_kind_of_step
def test_fused_steps_and_steps_in_two_halves_have_the_same_bits(optimizer, settings, dtype):
    X, y = examples()
    fused, halves, threads = in_each_way(lambda: network(dtype), optimizer, settings)
    for trainable in PLAN:
        for trainer in (fused, halves, threads):
            set_trainable(trainer.network, trainable)
        before = [p.copy() for p in fused.network.parameters]
        gradients = assert_same_steps(fused, halves, threads, X, y)
        trained = [each for each, layer in zip(trainable, fused.network.layers, strict=True) for _ in layer.parameters]
        for g, p, old, is_trained in zip(gradients, fused.network.parameters, before, trained, strict=True):
            assert bool(g.any()) == is_trained == (not np.array_equal(p, old))


def test_a_layer_thawed_late_gets_the_first_steps_of_adam():
    """Its first step is lr sign(g) but for eps; with the t of the whole training it would be three times as long."""
    X, y = examples()
    net = network(trainable=(False, True, True))
    trainer = Trainer(net, LOSS, Adam(lr=0.01, eps=1e-12), batch_size=8, seed=0)
    trainer.fit(X, y, epochs=5)
    assert trainer.state["updates"] == [0, 30, 30] and not trainer.state["m"][0].any()
    net.layers[0].trainable = True
    before = net.layers[0].W.copy()
    (dW, *_), *_ = backprop.gradients(net, X, y, LOSS)
    trainer.step(X, y)
    np.testing.assert_allclose(net.layers[0].W, before - 0.01 * np.sign(dW), rtol=0, atol=1e-8)


def test_moments_go_on_from_where_they_were():
    X, y = examples()
    trainer = Trainer(network(), LOSS, Adam(0.01))
    for _ in range(3):
        trainer.step(X, y)
    kept, middle = trainer.state, trainer.network.layers[1]
    middle.trainable = False
    for _ in range(4):
        trainer.step(X, y)
    frozen = trainer.state
    assert frozen["updates"] == [7, 3, 7]
    for name in ("m", "v"):
        changed = [not np.array_equal(a, b) for a, b in zip(kept[name], frozen[name], strict=True)]
        assert changed == [True, True, False, False, False, True, True]
    middle.trainable = True
    W, m, v = middle.W.copy(), frozen["m"][2], frozen["v"][2]
    dW = backprop.gradients(trainer.network, X, y, LOSS)[1][0]
    trainer.step(X, y)
    m, v = 0.9 * m + 0.1 * dW, 0.999 * v + 0.001 * dW**2
    wanted = W - 0.01 / (1 - 0.9**4) * m / (np.sqrt(v / (1 - 0.999**4)) + 1e-8)
    np.testing.assert_allclose(middle.W, wanted, rtol=1e-12, atol=1e-15)


class Thaws:
    every_batches = 2

    def __init__(self, epoch, batch):
        self.at = epoch, batch

    def on_epoch_begin(self, trainer, epoch):
        if (epoch, None) == self.at:
            trainer.network.layers[0].trainable = True

    def on_batch_end(self, trainer, epoch, batch, logs):
        if (epoch, batch) == self.at:
            trainer.network.layers[0].trainable = True


@pytest.mark.parametrize("at, steps", [((1, None), 12), ((1, 3), 8), ((2, 1), 4)], ids=str)
def test_a_callback_thaws(at, steps):
    X, y = examples()
    trainer, twin = (Trainer(network(trainable=(False, True, True)), LOSS, Adam(), batch_size=8, shuffle=False, seed=0)
                     for _ in range(2))
    history = trainer.fit(X, y, epochs=3, callbacks=Thaws(*at))
    assert history.n_epochs == 3 and trainer.state["updates"] == [steps, 18, 18]
    for number in range(18):
        twin.network.layers[0].trainable = number >= 18 - steps
        twin.step(X[number % 6 * 8 :][:8], y[number % 6 * 8 :][:8])
    assert_same_bits(trainer.network.parameters, twin.network.parameters)


def test_a_thawed_network_and_its_penalties_are_those_of_one_that_was_never_frozen():
    X, y = examples()
    thawed, frozen = network(trainable=(False, False, True), l2=0.1), network(l2=0.1)
    set_trainable(thawed, (True, True, True))
    set_trainable(frozen, (False, True, False))
    born = network(trainable=(False, True, False), l2=0.1)
    assert "frozen" in frozen.summary() and repr(frozen.layers[0]) == repr(born.layers[0])
    for net, twin in ((thawed, network(l2=0.1)), (frozen, born)):
        settings = dict(optimizer=RMSprop(), batch_size=8, seed=0)
        history, wanted = (Trainer(each, LOSS, **settings).fit(X, y, epochs=2) for each in (net, twin))
        assert history == wanted
        penalty = 0.05 * sum((layer.W**2).sum() for layer in net.layers if layer.trainable)
        assert history["objective"][-1] == pytest.approx(history["loss"][-1] + penalty, rel=1e-12)
        assert_same_bits(net.parameters, twin.parameters)


@pytest.mark.parametrize("optimizer", [LBFGS(), NaturalGradient()], ids=["lbfgs", "natural"])
def test_full_batch_optimizers_notice(optimizer):
    if isinstance(optimizer, LBFGS):
        pytest.importorskip("scipy")
    X, y = examples()
    trainer, first = Trainer(network(), LOSS, optimizer, batch_size=None, l2=0.01), []

    def freeze(trainer, epoch, logs):
        first.append([p.copy() for p in trainer.network.layers[0].parameters])
        trainer.network.layers[0].trainable = epoch in (0, 4)
        trainer.network.layers[2].trainable = epoch < 3

    trainer.fit(X, y, epochs=8, callbacks=freeze)
    moved = [not np.array_equal(a[0], b[0]) for a, b in zip(first, first[1:], strict=False)]
    assert moved == [True, False, False, False, True, False, False]
    assert trainer.state["updates"] == [3, 8, 4]

    def none_left(trainer, epoch, logs):
        set_trainable(trainer.network, (False, False, False))

    with pytest.raises(ValueError, match="network must have a trainable layer for"):
        trainer.fit(X, y, epochs=2, callbacks=none_left)


@pytest.mark.parametrize("way", ["state", "file"])
@pytest.mark.parametrize("optimizer", [AdamW(), SGD(0.1, 0.9)], ids=repr)
def test_a_state_with_frozen_layers_goes_on_with_the_same_bits(optimizer, way, tmp_path):
    X, y = examples()
    trainer = Trainer(network(trainable=(False, True, True)), LOSS, optimizer, batch_size=8, seed=0)
    trainer.fit(X, y)
    trainer.network.layers[2].trainable = False
    trainer.fit(X, y)
    if way == "file":
        trainer.save(tmp_path / "trainer")
        other = load_trainer(tmp_path / "trainer")
    else:
        net, state = pickle.loads(pickle.dumps((trainer.network, trainer.state)))
        other = Trainer(net, LOSS, optimizer, batch_size=8, seed=0)
        other.state = state
    assert [layer.trainable for layer in other.network.layers] == [False, True, False]
    assert other.state["updates"] == [0, 12, 6]
    for each in (trainer, other):
        set_trainable(each.network, (True, True, True))
        each.fit(X, y)
    assert_same_bits(other.network.parameters, trainer.network.parameters)
    assert other.state["updates"] == trainer.state["updates"] == [6, 18, 12]


def test_the_one_t_of_an_older_state_is_that_of_all_layers_that_are_trained():
    X, y = examples()
    trainer = Trainer(network(trainable=(False, True, True)), LOSS, Adam())
    trainer.step(X, y)
    trainer.state = {**trainer.state, "updates": 9}
    assert trainer.state["updates"] == [0, 9, 9]
    for bad in ([1, 2], [1, 2, 3, 4], [1, 2, -1], [1, 2, 0.5], "123", None, [1, 2, 2**60]):
        with pytest.raises((ValueError, TypeError), match=r"state\['updates'\]"):
            trainer.state = {**trainer.state, "updates": bad}
    assert trainer.state["updates"] == [0, 9, 9]


# ---- What is refused changes nothing


@pytest.mark.parametrize("bad", [1, "no", None, np.array([True])])
def test_a_value_that_is_refused(bad):
    for layer in (network().layers[0], Layer(3, 4)):
        with pytest.raises(TypeError, match="trainable must be True or False"):
            layer.trainable = bad
        assert layer.trainable is True
    layer = Layer(3, 4)
    layer.trainable = np.bool_(False)
    assert layer.trainable is False and Network([layer]).layers[0].trainable is False


def test_not_in_the_middle_of_a_step_and_not_by_another_thread():
    X, y = examples()
    errors = []

    def freeze():
        try:
            net.layers[1].trainable = False
        except RuntimeError as error:
            errors.append(str(error))

    def intrudes(z):
        freeze()
        return z

    def from_another_thread(trainer, epoch, logs):
        thread = threading.Thread(target=freeze)
        thread.start()
        thread.join()

    net = Network([Layer(7, 5, Custom(intrudes, np.ones_like)), Layer(5, 4, "softmax")], seed=0)
    Trainer(net, LOSS, batch_size=24).fit(X, y, callbacks=from_another_thread)
    by = ["the call that this one is made from"] * 2 + ["another thread"]
    assert errors == [f"network is being trained by {each}" for each in by]
    assert net.layers[1].trainable is True
    with _core.Training(net._core), pytest.raises(RuntimeError):
        net.layers[0].trainable = False
    freeze()
    assert net.layers[1].trainable is False and len(errors) == 3
