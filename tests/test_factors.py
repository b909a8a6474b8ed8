"""Factors of the learning rate by layer and for biases; schedules of dropout and l2."""

import pickle

import numpy as np
import pytest
from test_gradient_and_apply import OPTIMIZERS, assert_same_steps, every_kind_of_step, in_each_way, three_layers
from test_gradient_and_apply import their_examples as examples
from test_optimizers import LOSS, assert_a_step_is_pytorchs, every_optimizer, pytorchs
from test_same_bits import assert_same_bits

from mlpfast import LBFGS, SGD, Adam, AdamW, Layer, NaturalGradient, Network, Rprop, Trainer, backprop, schedules
from mlpfast.activations import PReLU

FACTORS = [(0.5, 1.0), (3.0, 0.25), (1.0, 0.0)]  # whose products are exact


def network(factors=FACTORS, dtype="float64", **settings):
    return three_layers(dtype, [dict(lr_factor=f, bias_lr_factor=b) for f, b in factors], **settings)


def plain(dtype="float64", **settings):
    return network([(1, 1)] * 3, dtype, **settings)


def factors_of(net):
    """One for each parameter."""
    return [factor * (layer.bias_lr_factor if p is layer.b or k == 1 and layer.bias else 1)
            for layer in net.layers for factor in [layer.lr_factor] for k, p in enumerate(layer.parameters)]


# ---- Factors


def test_the_factor_of_each_parameter():
    assert factors_of(network()) == pytest.approx([0.5, 0.5, 3.0, 0.75, 3.0, 1.0, 0.0])


@every_optimizer
def test_factors_are_the_rates_of_pytorchs_groups(optimizer):
    net, (X, y) = network(), examples()
    trainer = Trainer(net, LOSS, optimizer, batch_size=None)  # which Rprop needs
    theirs, parameters = pytorchs(optimizer, net.parameters, factors_of(net))
    still = [6] if isinstance(optimizer, Rprop) else []  # theirs takes the least step at a rate of 0
    for _ in range(6):
        assert_a_step_is_pytorchs(trainer, X, y, theirs, parameters, without=still)


@every_kind_of_step
def test_fused_steps_and_steps_in_two_halves_have_the_same_bits(optimizer, settings, dtype):
    X, y = examples()
    fused, halves, threads = in_each_way(lambda: network(dtype=dtype), optimizer, settings)
    for _ in range(4):
        assert_same_steps(fused, halves, threads, X, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_parameter_moves_as_with_its_own_rate(optimizer, dtype):
    """The first step, whose gradient does not depend on the rate, has the bits of a Trainer with that rate."""
    X, y = examples()
    net = network(dtype=dtype)
    trainer = Trainer(net, LOSS, OPTIMIZERS[optimizer](), l2=0.01)
    trainer.step(X, y)
    for i, factor in enumerate(factors_of(net)):
        twin = Trainer(plain(dtype), LOSS, OPTIMIZERS[optimizer](), l2=0.01)
        if factor == 0:
            assert_same_bits([net.parameters[i]], [twin.network.parameters[i]])
            continue
        twin.optimizer.lr *= factor
        twin.step(X, y)
        assert_same_bits([net.parameters[i]], [twin.network.parameters[i]])


def test_clipping_measures_the_gradient_and_not_the_steps():
    net, (X, y) = network(), examples()
    before, grads = [p.copy() for p in net.parameters], [g for own in backprop.gradients(net, X, y, LOSS) for g in own]
    norm = np.sqrt(sum((g**2).sum() for g in grads))
    Trainer(net, LOSS, SGD(0.1), clip_norm=norm / 3).step(X, y)
    for p, old, g, factor in zip(net.parameters, before, grads, factors_of(net), strict=True):
        np.testing.assert_allclose(p, old - 0.1 * factor * g / 3, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("lr", [0.05, schedules.Cosine(0.1, 9), schedules.InverseTime(0.1, 0.1, per="step")], ids=repr)
def test_factors_multiply_what_a_schedule_says(lr):
    X, y = examples()
    half, full = (Trainer(network([(f, 1)] * 3, "float32"), LOSS, Adam(lr), batch_size=8, seed=0) for f in (0.5, 1))
    full.optimizer.lr = lr / 2 if isinstance(lr, float) else Halved(lr)
    assert half.fit(X, y, epochs=2) == full.fit(X, y, epochs=2) and half.step(X, y) == full.step(X, y)
    assert_same_bits(half.network.parameters, full.network.parameters)


class Halved:
    def __init__(self, schedule):
        self.schedule, self.per = schedule, schedule.per

    def at(self, t):
        return self.schedule.at(t) / 2


def test_factors_may_be_changed_between_and_within_epochs():
    X, y = examples()

    class Change:
        every_batches = 3

        def on_batch_end(self, trainer, epoch, batch, logs):
            trainer.network.layers[0].lr_factor = 0 if batch == 2 else 2.0
            trainer.network.layers[1].bias_lr_factor = 0.5

    trainer, twin = (Trainer(plain(), LOSS, SGD(0.1, 0.9), batch_size=8, shuffle=False) for _ in range(2))
    trainer.fit(X, y, callbacks=Change())
    trainer.step(X[:8], y[:8])
    for i, factors in enumerate([(1, 1)] * 3 + [(0, 0.5)] * 3 + [(2.0, 0.5)]):
        twin.network.layers[0].lr_factor, twin.network.layers[1].bias_lr_factor = factors
        twin.step(X[8 * i % 48 :][:8], y[8 * i % 48 :][:8])
    assert_same_bits(trainer.network.parameters, twin.network.parameters)


def test_factors_are_kept_by_copies_and_shown():
    net = pickle.loads(pickle.dumps(network()))
    assert [(layer.lr_factor, layer.bias_lr_factor) for layer in net.layers] == FACTORS
    assert "lr_factor=3.0, bias_lr_factor=0.25" in repr(net.layers[1]) and "lr_factor 0.5" in net.summary()
    X, y = examples()
    twin = network()
    for each in (net, twin):
        Trainer(each, LOSS).step(X, y)
    assert_same_bits(net.parameters, twin.parameters)


@pytest.mark.parametrize("name", ["lr_factor", "bias_lr_factor"])
def test_factors_that_are_refused(name):
    for bad in (-1, np.nan, np.inf, "1", None, True):
        with pytest.raises((ValueError, TypeError), match=f"^{name} must be"):
            Layer(3, 4, **{name: bad})
        with pytest.raises((ValueError, TypeError), match=f"^{name} must be"):
            setattr(network().layers[0], name, bad)
    X, y = examples()
    for optimizer in (LBFGS(), NaturalGradient()):
        trainer = Trainer(plain(), LOSS, optimizer, batch_size=None)
        setattr(trainer.network.layers[1], name, 0.5)
        with pytest.raises(ValueError, match=f"{name} of layer 2 must be 1 for"):
            trainer.fit(X, y)


def test_the_largest_rate_counts_for_weight_decay():
    X, y = examples()
    net = plain("float32")
    trainer = Trainer(net, LOSS, AdamW(0.1, weight_decay=2.0), batch_size=8)
    trainer.step(X, y)
    net.layers[1].lr_factor = 6
    for call in (lambda: trainer.step(X, y), lambda: trainer.fit(X, y)):
        with pytest.raises(ValueError, match="weight_decay must be < 1 / lr"):
            call()
    assert trainer.steps == 1
    trainer.optimizer.lr = Listed([0.01, 0.01, 0.01, 0.15], "step")
    with pytest.raises(ValueError, match="weight_decay must be < 1 / lr"):  # it looks at the rates of the whole epoch
        trainer.fit(X, y)
    trainer.step(X, y), trainer.step(X, y)
    with pytest.raises(ValueError, match="weight_decay must be < 1 / lr"):
        trainer.step(X, y)
    assert trainer.steps == 3


def test_the_largest_rate_has_to_fit_the_dtype():
    X, y = examples()
    for factor in ({"lr_factor": 1e30}, {"bias_lr_factor": 1e30}):
        net = three_layers("float32", [{}, factor, {}])
        with pytest.raises(ValueError, match="lr must be .*float32"):
            Trainer(net, LOSS, SGD(1e20)).step(X, y)


# ---- Schedules of dropout and l2


class Listed:
    """values[t]; the last for all later t."""

    def __init__(self, values, per):
        self.values, self.per = values, per

    def at(self, t):
        return self.values[min(t, len(self.values) - 1)]


AMOUNTS = [0.3, 0.0, 0.1, 0.0, 0.6, 0.2, 0.05]


def with_amounts(kind, value, dtype="float32", **settings):
    """A Trainer for which `kind` is value: a number or a schedule."""
    of_layer = {kind.split()[0]: value} if kind.endswith("of a layer") else {}
    layers = [Layer(7, 9, "tanh", **of_layer), Layer(9, 6, PReLU(), dropout=0.2, l2=0.01), Layer(6, 4, "softmax")]
    net = Network(layers, dtype=dtype, seed=3, input_dropout=value if kind == "input_dropout" else 0.1)
    l2 = value if kind == "l2" else 0.02
    return Trainer(net, LOSS, Adam(0.01), batch_size=8, shuffle=False, seed=4, l2=l2, **settings)


KINDS = ["l2", "l2 of a layer", "dropout of a layer", "input_dropout"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def by_hand(kind, per, X, y, epochs, dtype="float32", **settings):
    """The parameters after those epochs, each step with a Trainer that has the number of its time."""
    net = state = None
    for step in range(6 * epochs):
        t = step if per == "step" else step // 6
        trainer = with_amounts(kind, AMOUNTS[min(t, len(AMOUNTS) - 1)], dtype, **settings)
        if net is not None:
            for p, before in zip(trainer.network.parameters, net.parameters, strict=True):
                p[...] = before
            trainer.state = state
        trainer.step(X[step % 6 * 8 :][:8], y[step % 6 * 8 :][:8])
        net, state = trainer.network, trainer.state
    return net.parameters


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("per", ["epoch", "step"])
@every_kind
def test_a_schedule_has_the_bits_of_numbers_set_by_hand(kind, per, dtype):
    X, y = examples()
    wanted = by_hand(kind, per, X, y, 2, dtype)
    callbacks = type("Watch", (), {"every_batches": 4, "on_batch_end": lambda *_: None})()
    for threads, given in ((1, {}), (3, {}), (2, {"callbacks": callbacks})):
        trainer = with_amounts(kind, Listed(AMOUNTS, per), dtype, threads=threads)
        trainer.fit(X, y, epochs=2, **given)
        assert_same_bits(trainer.network.parameters, wanted)
    stepped = with_amounts(kind, Listed(AMOUNTS, per), dtype)
    for step in range(12):
        stepped.epoch = step // 6
        stepped.step(X[step % 6 * 8 :][:8].astype(dtype), y[step % 6 * 8 :][:8])
    assert_same_bits(stepped.network.parameters, wanted)
    halves = with_amounts(kind, Listed(AMOUNTS, per), dtype)
    for step in range(12):
        halves.epoch = step // 6
        halves.apply(halves.gradient(X[step % 6 * 8 :][:8], y[step % 6 * 8 :][:8])[1])
    assert_same_bits(halves.network.parameters, wanted)


@pytest.mark.parametrize("settings", [dict(clip_norm=0.1), dict(chunk_rows=3), dict(chunk_rows=3, threads=3)], ids=str)
@every_kind
def test_schedules_with_stored_gradients_and_chunks(kind, settings):
    X, y = examples()
    trainer = with_amounts(kind, Listed(AMOUNTS, "step"), **settings)
    trainer.fit(X, y)
    assert_same_bits(trainer.network.parameters, by_hand(kind, "step", X, y, 1, **settings))


@pytest.mark.parametrize("per", ["epoch", "step"])
@every_kind
def test_values_that_no_dtype_holds_are_0(kind, per):
    X, y = examples()
    small, zero = with_amounts(kind, Listed([1e-300], per)), with_amounts(kind, 0.0)
    small.fit(X, y), zero.fit(X, y)
    assert_same_bits(small.network.parameters, zero.network.parameters)


def test_a_scheduled_penalty_is_pytorchs_weight_decay_of_each_epoch():
    torch = pytest.importorskip("torch")
    X, y = examples()
    l2 = schedules.Cosine(0.5, total=4)
    net = Network([7, 5, 4], activation="tanh", output="softmax", dtype="float64", seed=0)
    theirs = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4)).double()
    with torch.no_grad():
        for p, q in zip(theirs.parameters(), net.parameters, strict=True):
            p[...] = torch.tensor(q.T.copy())
    groups = [{"params": [p for p in theirs.parameters() if p.ndim == n]} for n in (2, 1)]
    optimizer = torch.optim.SGD(groups, 0.1, 0.9)
    Trainer(net, LOSS, SGD(0.1, 0.9), batch_size=16, shuffle=False, l2=l2).fit(X, y, epochs=6)
    X, y = torch.tensor(X), torch.tensor(y)
    for epoch in range(6):
        optimizer.param_groups[0]["weight_decay"] = l2.at(epoch)
        for i in range(0, 48, 16):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(theirs(X[i : i + 16]), y[i : i + 16]).backward()
            optimizer.step()
    for p, q in zip(theirs.parameters(), net.parameters, strict=True):
        np.testing.assert_allclose(q, p.detach().numpy().T, rtol=1e-9, atol=1e-12)


def test_the_gradient_with_a_scheduled_penalty_is_that_of_central_differences():
    X, y = examples()
    layers = [Layer(7, 5, "tanh", l2=schedules.Cosine(0.3, 10)), Layer(5, 4, "softmax")]
    net = Network(layers, dtype="float64", seed=0)
    trainer = Trainer(net, LOSS, l2=Listed([0.4, 0.1], "epoch"))
    trainer.epoch = 1
    _, gradients = trainer.gradient(X, y)

    def J():
        l2s = 0.1 + layers[0].l2.at(1), 0.1
        squares = [(layer.W**2).sum() for layer in layers]
        return trainer.evaluate(X, y)["loss"] + np.dot(l2s, squares) / 2

    for p, g in zip(net.parameters, gradients, strict=True):
        for index in [(0,) * p.ndim, (-1,) * p.ndim]:
            w, values = p[index], []
            for h in (1e-6, -1e-6):
                p[index] = w + h
                values.append(J())
            p[index] = w
            assert g[index] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6, abs=1e-9)
    assert backprop.check_gradients(net, X, y, LOSS) < 1e-5


def test_the_objective_has_the_penalty_of_the_last_minibatch():
    X, y = examples()
    for per in ("epoch", "step"):
        trainer = with_amounts("l2", Listed(AMOUNTS, per), "float64")
        for epoch in range(3):
            history = trainer.fit(X, y)
            squares = [float((layer.W**2).sum()) for layer in trainer.network.layers]
            l2 = AMOUNTS[epoch] if per == "epoch" else AMOUNTS[min(6 * epoch + 5, 6)]
            penalty = (l2 * sum(squares) + 0.01 * squares[1]) / 2
            assert history["objective"][0] == pytest.approx(history["loss"][0] + penalty, rel=1e-12)


@pytest.mark.parametrize("kind", ["dropout of a layer", "input_dropout"])
@pytest.mark.parametrize("per", ["epoch", "step"])
def test_monte_carlo_dropout_takes_the_last_value(kind, per):
    X, y = examples()
    trainer = with_amounts(kind, Listed([0.3, 0.5, 0.1, 0.6, 0.4, 0.2, 0.7], per))
    for value in (0.3, 0.3 if per == "epoch" else 0.2):
        twin = with_amounts(kind, value)
        for p, now in zip(twin.network.parameters, trainer.network.parameters, strict=True):
            p[...] = now
        got, wanted = (each.network.predict(X, dropout=True, seed=1) for each in (trainer, twin))
        assert_same_bits(got, wanted)
        trainer.fit(X, y)


def test_the_amounts_after_an_error_are_those_of_the_last_minibatch_done():
    X, y = examples()
    X[8 * 3, 0] = np.inf
    trainer = with_amounts("dropout of a layer", Listed(AMOUNTS, "step"))
    with pytest.raises(FloatingPointError, match="minibatch 3"):
        trainer.fit(X, y)
    twin = with_amounts("dropout of a layer", AMOUNTS[2])
    for p, now in zip(twin.network.parameters, trainer.network.parameters, strict=True):
        p[...] = now
    assert_same_bits(*(each.network.predict(X[:24], dropout=True, seed=1) for each in (trainer, twin)))


def test_schedules_by_epoch_and_by_step_go_together():
    X, y = examples()
    trainer, twin = (with_amounts("dropout of a layer", Listed(AMOUNTS, "step")) for _ in range(2))
    trainer.l2 = Listed([0.3, 0.02], "epoch")
    trainer.fit(X, y, epochs=2)
    for twin.l2 in (0.3, 0.02):
        twin.fit(X, y)
    assert_same_bits(trainer.network.parameters, twin.network.parameters)


def test_a_schedule_observes_the_epochs_and_is_checked():
    X, y = examples()
    plateau = schedules.ReduceOnPlateau(0.4, factor=0.5, patience=1, monitor="loss", min_delta=1e9)
    trainer = with_amounts("dropout of a layer", plateau)
    trainer.fit(X, y, epochs=4)
    assert plateau.at(0) == 0.05
    trainer = with_amounts("l2", schedules.ReduceOnPlateau(0.4, monitor="val_loss"))
    with pytest.raises(ValueError, match="monitor must be one of loss"):
        trainer.fit(X, y)
    assert trainer.steps == 0


def test_schedules_are_kept_by_copies_and_shown():
    trainer = with_amounts("dropout of a layer", schedules.Cosine(0.3, total=20))
    net = pickle.loads(pickle.dumps(trainer.network))
    assert "dropout=Cosine(lr=0.3, total=20, lowest=0.0, per='epoch')" in repr(net.layers[0])
    assert "dropout Cosine(" in net.summary()
    assert "l2 Step(" in with_amounts("l2", schedules.Step(0.3)).summary()
    net = Network([7, 5, 6, 4], dropout=schedules.Constant(0.5), seed=0)
    assert [layer.dropout for layer in net.layers][:2] == [net.layers[0].dropout] * 2 and net.layers[2].dropout == 0


@every_kind
@pytest.mark.parametrize("per", ["epoch", "step"])
@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf, "0.1", None, 1.5], ids=str)
def test_values_that_are_refused(kind, per, bad):
    if bad == 1.5 and kind.startswith("l2"):
        pytest.skip("a penalty may be that large")
    X, y = examples()
    now, later = (with_amounts(kind, Listed([0.1, bad], per)) for _ in range(2))
    now.epoch = now.steps = 1
    calls = [lambda: now.fit(X, y), lambda: now.step(X, y)]
    if per == "step":
        calls.append(lambda: later.fit(X, y))  # before its first minibatch
    before = [p.copy() for p in now.network.parameters]
    for call in calls:
        with pytest.raises((ValueError, TypeError), match=rf"{kind.split()[0]}( of layer 1)? at {per} 1 must be"):
            call()
    assert now.steps == 1 and later.steps == 0
    for trainer in (now, later):
        assert_same_bits(trainer.network.parameters, before)


@pytest.mark.parametrize("kind", ["l2", "l2 of a layer"])
@pytest.mark.parametrize("per", ["epoch", "step"])
def test_a_penalty_that_float32_does_not_hold_is_refused_before_the_epoch(kind, per):
    X, y = examples()
    trainer = with_amounts(kind, Listed([0.1, 1e39], per))
    trainer.epoch = 1
    with pytest.raises(ValueError, match=r"l2.* must be .*float32"):
        trainer.fit(X, y)
    assert trainer.steps == 0


def test_what_is_no_schedule_of_these():
    X, y = examples()
    with pytest.raises(ValueError, match="dropout.per must be one of epoch, step"):
        Layer(3, 4, dropout=Listed([0.1], "week"))
    with pytest.raises(ValueError, match="dropout must be 0 for the last layer"):
        Network([Layer(3, 4, dropout=schedules.Constant(0.1))])
    with pytest.raises(TypeError, match="l2 must be a number"):
        Trainer(plain(), LOSS, l2=schedules.Constant)
    for optimizer in (LBFGS(), NaturalGradient()):
        with pytest.raises(ValueError, match="l2 must be a number for"):
            Trainer(plain(), LOSS, optimizer, batch_size=None, l2=schedules.Constant(0.1)).fit(X, y)
        net = Network([Layer(7, 5, dropout=schedules.Constant(0.1)), Layer(5, 4, "softmax")])
        with pytest.raises(ValueError, match="dropout of layer 1 must be 0 for"):
            Trainer(net, LOSS, optimizer, batch_size=None).fit(X, y)


@pytest.mark.parametrize("factors", [(0, 1), (1, 0)])
def test_rprop_leaves_parameters_with_factor_0_and_their_state(factors):
    net = Network([Layer(3, 4, "tanh", lr_factor=factors[0], bias_lr_factor=factors[1]), Layer(4, 1)], seed=0)
    net.layers[0].b[...] = 0.1
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 1))
    trainer = Trainer(net, "half_squared_error", Rprop(), batch_size=None)
    before = [p.copy() for p in net.parameters]
    trainer.fit(X, y, epochs=5)
    same = [np.array_equal(p, q) for p, q in zip(net.parameters, before, strict=True)]
    assert same == [factors[0] == 0, True, False, False]  # the bias has the product of both
    for name in Rprop.states:
        assert [not s.any() for s in trainer.state[name][:2]] == same[:2]
    net.layers[0].lr_factor = net.layers[0].bias_lr_factor = 1
    trainer.fit(X, y, epochs=5)
    assert not any(np.array_equal(p, q) for p, q in zip(net.parameters, before, strict=True))
