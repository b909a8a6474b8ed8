"""Setting an attribute that an object of the library does not have is an error."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import mlpfast
from mlpfast import (
    LBFGS,
    SGD,
    Adam,
    Layer,
    Network,
    Trainer,
    activations,
    callbacks,
    losses,
    optimizers,
    schedules,
)
from mlpfast.diagnostics import GradientFlow
from mlpfast.metrics import TopK


def network(**kwargs):
    return Network([4, 5, 3], output="softmax", seed=0, **kwargs)


MADE = [
    network(), Layer(2, 3), network().layers[0], *(kind() for kind in optimizers.BY_NAME.values()),
    *(schedules.Constant(0.1, per=per) for per in ("epoch", "step")),
    schedules.Exponential(0.1, 1), schedules.InverseTime(0.1, 1), schedules.Step(0.1), schedules.Cosine(0.1, 9),
    schedules.OneCycle(0.1, 9), schedules.Warmup(2, schedules.Constant(0.1)), schedules.ReduceOnPlateau(0.1),
    losses.Loss("hinge"), *(kind() for kind in losses.WITH_PARAMETERS.values()), losses.Custom(np.sin, np.cos),
    losses.PerOutput([(0, "huber")]), activations.PerOutput([(0, "tanh")]),
    activations.Activation("relu"), *(kind() for kind in activations.WITH_PARAMETERS.values()),
    activations.Custom(np.sin, np.cos), callbacks.EarlyStopping(), callbacks.StopAt(0.1), callbacks.Checkpoint("run"),
    callbacks.TimeLimit(9), callbacks.LearningRateLogger(), TopK(2), GradientFlow(np.eye(4), [0, 1, 2, 0]),
    Trainer(network()),
]


@pytest.mark.parametrize("thing", MADE, ids=lambda thing: type(thing).__name__)
def test_an_unknown_attribute_is_refused_and_leaves_nothing(thing):
    before = dict(vars(thing))
    with pytest.raises(AttributeError, match=f"{type(thing).__name__} has no attribute 'unknown'"):
        thing.unknown = 1
    assert not hasattr(thing, "unknown") and vars(thing) == before


OF_OTHERS = {mlpfast.History, schedules.Schedule, callbacks.Stateful}


def test_every_class_that_a_user_makes_objects_of_is_among_them():
    modules = [mlpfast, schedules, losses, activations, callbacks]
    classes = {thing for module in modules for thing in vars(module).values() if inspect.isclass(thing)}
    public = {module.__name__ for module in modules} | {cls.__module__ for cls in map(type, MADE)}
    ours = {cls for cls in classes if cls.__module__ in public}
    assert ours - {type(thing) for thing in MADE} - OF_OTHERS == {
        cls for cls in ours if cls.__name__[0] == "_"
    }


@pytest.mark.parametrize("thing, name, instead", [
    (network(), "dropout", "it is fixed when one is made, Network(..., dropout=...)"),
    (network(), "input_droput", "did you mean 'input_dropout'"),
    (Layer(2, 3), "weights", "W"), (Layer(2, 3), "w", "did you mean 'W'"), (Layer(2, 3), "drop_out", "'dropout'"),
    (Trainer(network()), "learning_rate", "optimizer.lr"), (Trainer(network()), "batchsize", "'batch_size'"),
    (Trainer(network()), "epochs", "fit(epochs=...)"), (Trainer(network()), "weight_decay", "l2"),
    (SGD(), "weight_decay", "AdamW(weight_decay=...) has it, and Trainer(l2=...)"), (SGD(), "learning_rate", "lr"),
    (SGD(), "nesterof", "did you mean 'nesterov'"), (SGD(), "beta1", "it has lr, momentum, nesterov"),
    (Adam(), "epsilon", "it is called eps"), (Adam(), "betas", "beta1 and beta2"),
    (schedules.Step(0.1), "evry", "'every'"), (schedules.ReduceOnPlateau(0.1), "patience", "(..., patience=...)"),
    (callbacks.EarlyStopping(), "patience", "it is fixed when one is made, EarlyStopping(..., patience=...)"),
    (losses.Huber(), "detla", "'delta'"), (activations.ELU(), "alhpa", "'alpha'"), (TopK(3), "K", "'k'"),
], ids=str)
def test_what_was_meant_is_suggested(thing, name, instead):
    with pytest.raises(AttributeError) as caught:
        setattr(thing, name, 0.5)
    assert f"{type(thing).__name__} has no attribute {name!r}" in str(caught.value) and instead in str(caught.value)


@pytest.mark.parametrize("call, message", [
    (lambda: Adam(learning_rate=0.1), "Adam has no argument 'learning_rate': it is called lr"),
    (lambda: Adam(betas=(0.9, 0.99)), "Adam has no argument 'betas': they are called beta1 and beta2"),
    (lambda: SGD(lr=0.1, weight_decay=1e-4), "SGD has no argument 'weight_decay': AdamW(weight_decay=...) has it"),
    (lambda: Adam([np.eye(2)], lr=0.1), "Adam takes lr once, got it by place and by name"),
    (lambda: Network([2, 1], random_state=0), "Network has no argument 'random_state': it is called seed"),
    (lambda: Network([2, 1], activations="tanh"), "Network has no argument 'activations': did you mean 'activation'?"),
    (lambda: Network(2, 8, 1), "Network takes sizes_or_layers by place, and others by name, got 3 by place"),
    (lambda: Layer(2, 3, use_bias=False), "Layer has no argument 'use_bias': it is called bias"),
    (lambda: Trainer(network(), lr=0.1), "Trainer has no argument 'lr': set optimizer.lr, as in optimizer=SGD(lr=0.1)"),
    (lambda: Trainer(network(), epochs=3), "Trainer has no argument 'epochs': it goes to fit(epochs=...)"),
    (lambda: Trainer(network()).fit(np.eye(4), range(4), batch_size=2),
     "Trainer.fit has no argument 'batch_size': it is an argument of Trainer"),
    (lambda: Trainer(network()).fit(np.eye(4), range(4), 9), "Trainer.fit takes X, y by place, and others by name"),
    (lambda: schedules.Step(0.1, gamma=0.5), "Step has no argument 'gamma'; it has lr, factor, every, per"),
    (lambda: callbacks.EarlyStopping(restore_best_weights=True), "did you mean 'restore_best'?"),
    (lambda: losses.Huber(detla=1), "Huber has no argument 'detla': did you mean 'delta'?"),
    (lambda: TopK(1, 2), "TopK takes k by place, got 2 by place"),
    (lambda: schedules.Cosine(0.1), "missing 1 required positional argument: 'total'"),
])
def test_what_was_meant_by_an_argument_is_suggested(call, message):
    with pytest.raises(TypeError) as caught:
        call()
    assert message in str(caught.value) and caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or "missing" in message


def test_what_other_libraries_have_elsewhere_is_named():
    with pytest.raises(AttributeError, match=r"a Network has no fit: mlpfast\.Trainer\(network, loss"):
        network().fit(np.eye(4), range(4))
    with pytest.raises(AttributeError, match="a Trainer has no predict: trainer.network.predict"):
        Trainer(network()).predict(np.eye(4))
    with pytest.raises(AttributeError, match="'mlpfast' has no attribute 'load': did you mean 'load_network' or"):
        mlpfast.load("digits.safetensors")
    assert not hasattr(network(), "fit") and not hasattr(network(), "evaluate")


@pytest.mark.parametrize("thing, name, part", [
    (Trainer(network()), "lr", "lr of Trainer cannot be set: set optimizer.lr"),
    (Trainer(network()), "batch_size", "batch_size of Trainer cannot be set: it is fixed when one is made"),
    (network(), "n_in", "n_in of Network cannot be set"), (LBFGS(), "lr", "lr of LBFGS cannot be set: the line search"),
    (network().layers[0], "dropout", "dropout cannot be changed: the Layer is part of a network"),
], ids=str)
def test_what_cannot_be_set(thing, name, part):
    with pytest.raises(AttributeError) as caught:
        setattr(thing, name, 0.5)
    assert part in str(caught.value)


def test_what_there_is_can_be_set():
    trainer, optimizer = Trainer(network()), Adam()
    for name in ("l1", "l2", "clip_norm", "seed", "threads", "check_finite", "shuffle", "epoch", "steps"):
        setattr(trainer, name, 1)
        assert getattr(trainer, name) == 1
    trainer.optimizer, optimizer.lr, optimizer.eps = optimizer, 0.5, 1e-3
    assert trainer.lr == 0.5 and repr(optimizer) == "Adam(lr=0.5, beta1=0.9, beta2=0.999, eps=0.001, epsilon_hat=False)"
    layer = Layer(2, 3)
    layer.l2 = 0.5
    assert layer.l2 == 0.5


@pytest.mark.parametrize("thing", [thing for thing in MADE if not isinstance(thing, Trainer)
                                   and getattr(thing, "_owner", None) is None and "Custom" not in repr(thing)],
                         ids=lambda thing: type(thing).__name__)
def test_copies_are_closed_too(thing):
    for again in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
        with pytest.raises(AttributeError, match="has no attribute 'unknown'"):
            again.unknown = 1


class MyAdam(Adam):
    def __init__(self, lr):
        super().__init__(lr)
        self.calls = 0

    def settings(self):
        self.calls += 1
        self.last = "settings"
        return super().settings()


class MyLoss(losses.Custom):
    def __init__(self, power):
        self.power = power
        super().__init__(lambda y, yhat: (np.abs(yhat - y) ** self.power).sum(axis=1), lambda y, yhat: yhat - y)


class MyNetwork(Network):
    pass


class MyStopping(callbacks.EarlyStopping):
    seen = 0

    def on_epoch_end(self, trainer, epoch, logs):
        self.seen += 1
        self.last = epoch
        return super().on_epoch_end(trainer, epoch, logs)


def test_users_subclasses_accept_any_attribute():
    net, optimizer, stopping = MyNetwork([4, 3], seed=0), MyAdam(0.1), MyStopping("loss")
    net.purpose, loss = "a test", MyLoss(2)
    Trainer(net, loss, optimizer, seed=0).fit(np.eye(4), np.ones((4, 3)), callbacks=stopping)
    assert optimizer.calls > 0 and optimizer.last == "settings" and (stopping.seen, stopping.last) == (1, 0)
    loss.power = 4
    assert loss.power == 4 and pickle.loads(pickle.dumps(net)).n_in == 4
    with pytest.raises(AttributeError, match="value cannot be changed: make a new MyLoss"):
        loss.value = None


def test_constructors_look_as_they_did():
    assert list(inspect.signature(SGD).parameters) == ["lr", "momentum", "nesterov"]
    assert list(inspect.signature(Layer).parameters)[:3] == ["n_in", "n_out", "activation"]
    assert Network.__init__.__qualname__ == "Network.__init__"
