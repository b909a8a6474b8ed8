"""EarlyStopping, LearningRateLogger, StopAt, TimeLimit, and the callback protocol."""

import functools
import pickle

import numpy as np
import pytest

from mlpfast import (
    LBFGS,
    SGD,
    Adam,
    NaturalGradient,
    Network,
    Trainer,
    _monitor,
    _pace,
    callbacks,
    losses,
    metrics,
    schedules,
)
from mlpfast.callbacks import EarlyStopping, LearningRateLogger, StopAt, TimeLimit


def problem(n=53):
    X = np.random.default_rng(0).normal(size=(n, 6))
    return X, np.abs(X[:, :4]).argmax(axis=1)


def trainer_with(lr=0.1, **kwargs):
    net = Network([6, 9, 4], activation="tanh", output="softmax", seed=0)
    return Trainer(net, optimizer=SGD(lr=lr), **{"batch_size": 10, "seed": 0, **kwargs})


def bits(net):
    return [p.tobytes() for p in net.parameters]


class Says:
    """Adds numbers to the logs, one per epoch, and stores the parameters after each epoch."""

    def __init__(self, values, name="score"):
        self.values, self.name, self.parameters = list(values), name, []

    def on_epoch_end(self, trainer, epoch, logs):
        logs[self.name] = self.values[len(self.parameters)]
        self.parameters.append(bits(trainer.network))


# ---- EarlyStopping

FALLING = [5, 4, 4.5, 3, 3.1, 3.0, 2.99, 2.98, 2.97, 1]


@pytest.mark.parametrize("values, settings, epochs, best", [
    (FALLING, dict(patience=2, mode="min"), 6, 3),
    (FALLING, dict(patience=3, mode="min"), 10, 9),
    (FALLING, dict(patience=3, mode="min", min_delta=0.1), 7, 3),
    (FALLING, dict(patience=1, mode="min"), 3, 1),
    ([-v for v in FALLING], dict(patience=2, mode="max"), 6, 3),
    ([1, np.nan, np.nan, 0], dict(patience=2, mode="min"), 3, 0),
    ([np.nan, 2, 1, 0], dict(patience=2, mode="min"), 4, 3),
    ([np.inf, 2, 2, 2, 1], dict(patience=2, mode="min"), 4, 1),
], ids=str)
def test_early_stopping(values, settings, epochs, best):
    says = Says(values)
    stopping = EarlyStopping("score", **settings)
    trainer = trainer_with()
    history = trainer.fit(*problem(), epochs=len(values), callbacks=[says, stopping])
    assert history.n_epochs == epochs
    assert (stopping.best, stopping.best_epoch) == (values[best], best)
    assert stopping.stopped_epoch == (epochs - 1 if epochs < len(values) else None)
    assert bits(trainer.network) == says.parameters[best]


@pytest.mark.parametrize("never", [False, np.bool_(False)])
def test_early_stopping_without_restoring(never):
    says, trainer = Says(FALLING), trainer_with()
    trainer.fit(*problem(), epochs=10, callbacks=[says, EarlyStopping("score", 2, restore_best=never, mode="min")])
    assert bits(trainer.network) == says.parameters[5]


def test_the_best_parameters_come_back_when_the_epochs_run_out():
    says, trainer = Says([3, 1, 2]), trainer_with()
    trainer.fit(*problem(), epochs=3, callbacks=[says, EarlyStopping("score", mode="min")])
    assert bits(trainer.network) == says.parameters[1]


@pytest.mark.parametrize("monitor, epochs", [("val_accuracy", 3), ("val_r2", 3), ("val_top_2", 3), ("val_mae", 4)])
def test_early_stopping_knows_what_shall_rise(monitor, epochs):
    says = Says([0.1, 0.05, 0.02, 0.03, 0.04], monitor)
    stopping = EarlyStopping(monitor, patience=2 if epochs == 3 else 1)
    assert trainer_with().fit(*problem(), epochs=5, callbacks=[says, stopping]).n_epochs == epochs


# ---- the direction of improvement


def test_every_built_in_number_has_a_direction():
    named = {name: _monitor.direction(name) for name in [*metrics.BY_NAME, "loss", "objective", "top_1", "top_12"]}
    assert {name for name, way in named.items() if way == "min"} == {"loss", "objective", "mae", "mse"}
    assert {name for name, way in named.items() if way == "max"} >= {"accuracy", "r2", "top_1", "top_12"}
    assert None not in named.values()
    assert all(_monitor.direction("val_" + name) == way for name, way in named.items())


@pytest.mark.parametrize("name", ["f1", "val_f1", "val_score", "lr", "momentum", "top_share", "accuracy_score"])
@pytest.mark.parametrize("make", [
    EarlyStopping, lambda name, **mode: schedules.ReduceOnPlateau(0.1, monitor=name, **mode)
], ids=["stopping", "plateau"])
def test_no_direction_is_guessed(make, name):
    with pytest.raises(ValueError) as caught:
        make(name)
    for part in ("mode must be", '"min" or "max"', f"monitor={name!r}", "accuracy", "got None"):
        assert part in str(caught.value)
    make(name, mode="min"), make(name, mode="max")


@pytest.mark.parametrize("name, meant", [("val_acc", "val_accuracy"), ("acc", "accuracy"), ("val_los", "val_loss")])
@pytest.mark.parametrize("make", [EarlyStopping, lambda name: schedules.ReduceOnPlateau(0.1, monitor=name)])
def test_the_nearest_name_is_suggested_before_a_mode(make, name, meant):
    with pytest.raises(ValueError, match=f"^monitor must be .* got '{name}': did you mean '{meant}'.*mode must be"):
        make(name)
    X, y = problem()
    with pytest.raises(ValueError, match=f"monitor must be one of .* got '{name}': did you mean '{meant}'.$"):
        trainer_with().fit(X, y, validation_data=(X, y), callbacks=[EarlyStopping(name, mode="max")])


def f1(y, yhat):
    return (yhat.argmax(axis=1) == y).mean()


def test_the_best_epoch_of_a_function_that_shall_rise_comes_back():
    X, y = problem()
    says, stopping = Says([0.5, 0.78, 0.6, 0.56], "val_f1"), EarlyStopping("val_f1", patience=9, mode="max")
    trainer = trainer_with()
    trainer.fit(X, y, epochs=4, callbacks=[says, stopping])
    assert stopping.best == 0.78 and bits(trainer.network) == says.parameters[1]
    with pytest.raises(ValueError, match='mode must be "min" or "max" with monitor=\'val_f1\''):
        trainer.fit(X, y, validation_data=(X, y), metrics=f1, callbacks=[EarlyStopping("val_f1")])


@pytest.mark.parametrize("with_custom", [False, True])
@pytest.mark.parametrize("kind", ["stopping", "plateau", "goal"])
def test_what_was_pickled_without_a_direction_is_refused_before_an_epoch(kind, with_custom):
    """Like one pickled by a version that guessed directions."""
    trainer, stopping, stop = trainer_with(), EarlyStopping(), StopAt(0.1)
    if kind == "plateau":
        trainer.optimizer.lr = schedules.Warmup(1, schedules.ReduceOnPlateau(0.1))
        trainer.optimizer.lr.then._monitor.monitor = "f1"
    stopping._settings = ("f1", 5, 0.0, None)
    stopping._monitor.monitor = "f1"
    stop.goals = {"f1": 0.5}
    given = {"stopping": [stopping], "plateau": [], "goal": [stop]}[kind] + [lambda *_: None] * with_custom
    before = bits(trainer.network)
    with pytest.raises(ValueError, match="have a direction of their own"):
        trainer.fit(*problem(), metrics=f1, callbacks=[pickle.loads(pickle.dumps(c)) if c is stopping else c
                                                       for c in given])
    assert trainer.epoch == 0 and bits(trainer.network) == before


@pytest.mark.parametrize("goals, parts", [
    ({"f1": 0.95}, ["stop_at['f1']", '(">=", 0.95) or ("<=", 0.95)', "got 0.95"]),
    ({"loss": 0.1, "lr": 1e-3}, ["stop_at['lr']", '(">=", 0.001)']),
    ({"f1": (">", 0.95)}, ["stop_at['f1']", '(">=", number)', "('>', 0.95)"]),
    ({"f1": (">=", "x")}, ["stop_at['f1']", "'x'"]), ({"f1": (">=",)}, ["stop_at['f1']", '(">=", number)']),
    ({"f1": (">=", 0.9, 1)}, ["stop_at['f1']"]), ({"f1": (0.9, ">=")}, ["stop_at['f1']", "(0.9, '>=')"]),
], ids=str)
def test_a_goal_must_say_which_way(goals, parts):
    trainer = trainer_with()
    for call in (lambda: StopAt(goals), lambda: trainer.fit(*problem(), metrics=f1, stop_at=goals)):
        with pytest.raises((ValueError, TypeError)) as caught:
            call()
        assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert trainer.epoch == 0


@pytest.mark.parametrize("name, goal, epochs", [
    ("f1", (">=", 0.7), 3), ("f1", ("<=", 0.5), 2), ("f1", [">=", np.float32(0.75)], 4), ("accuracy", 0.7, 3),
    ("val_accuracy", 0.7, 3), ("accuracy", ("<=", 0.5), 2), ("val_mae", 0.5, 2), ("exact_match", 0.7, 3),
], ids=str)
def test_a_goal_is_reached_from_the_right_side(name, goal, epochs):
    stop, values = StopAt({name: goal}), [0.6, 0.5, 0.7, 0.75]
    reached = [stop.on_epoch_end(None, epoch, {name: value}) for epoch, value in enumerate(values)]
    assert reached.index(True) == epochs - 1


def test_early_stopping_on_the_validation_loss():
    X, y = problem()
    noise = (X[40:], (y[40:] + 1) % 4)  # wrong labels: this loss rises as training proceeds
    trainer, stopping = trainer_with(0.5), EarlyStopping(patience=3)
    history = trainer.fit(X[:40], y[:40], epochs=200, validation_data=noise, callbacks=[stopping])
    best = int(np.argmin(history["val_loss"]))
    assert stopping.best_epoch == best and history.n_epochs == best + 4
    assert trainer.evaluate(*noise)["loss"] == history["val_loss"][best] == stopping.best


def test_early_stopping_goes_on_with_the_next_fit():
    says, trainer = Says([3, 1, 2, 2, 2, 2, 2]), trainer_with()
    stopping = EarlyStopping("score", patience=3, mode="min")
    assert trainer.fit(*problem(), epochs=3, callbacks=[says, stopping]).n_epochs == 3
    assert trainer.fit(*problem(), epochs=9, callbacks=[says, stopping]).n_epochs == 2
    assert stopping.stopped_epoch == 4
    says.values += [2] * 9
    assert trainer.fit(*problem(), epochs=9, callbacks=[says, stopping]).n_epochs == 3  # patience was reset
    assert stopping.best_epoch == 1


def test_early_stopping_starts_anew_with_another_trainer():
    stopping = EarlyStopping("score", patience=2, mode="min")
    trainer_with().fit(*problem(), epochs=2, callbacks=[Says([0, 1]), stopping])
    says, other = Says([5, 4, 3]), trainer_with(seed=7)
    assert other.fit(*problem(), epochs=3, callbacks=[says, stopping]).n_epochs == 3
    assert (stopping.best, stopping.best_epoch) == (3, 2)
    assert bits(other.network) == says.parameters[2]


def test_a_pickled_early_stopping_keeps_what_it_found():
    stopping = EarlyStopping("score", patience=2, mode="min")
    trainer_with().fit(*problem(), epochs=3, callbacks=[Says([5, 1, 2]), stopping])
    again = pickle.loads(pickle.dumps(stopping))
    assert (again.best, again.best_epoch) == (1, 1) and repr(again) == repr(stopping)
    trainer_with().fit(*problem(), epochs=2, callbacks=[Says([9, 8]), again])
    assert (again.best, again.best_epoch) == (8, 1)


def test_early_stopping_needs_what_it_monitors():
    with pytest.raises(ValueError, match="monitor must be one of loss, accuracy, got 'val_loss'.*validation_data"):
        trainer_with().fit(*problem(), callbacks=[EarlyStopping()])


@pytest.mark.parametrize("settings, parts", [
    (dict(callbacks=[EarlyStopping()]), ["monitor", "loss, accuracy", "'val_loss'", "validation_data"]),
    (dict(callbacks=EarlyStopping("val_mae"), validation_split=0.2), ["monitor", "'val_mae'", "metrics='mae'"]),
    (dict(stop_at={"top_2": 0.9}), ["stop_at", "'top_2'", "metrics='top_2'"]),
    (dict(stop_at={"lr": ("<=", 0.9)}), ["stop_at", "'lr'"]),
    (dict(lr=schedules.ReduceOnPlateau(0.1, monitor="val_loss")), ["monitor", "'val_loss'", "validation_split"]),
    (dict(lr=schedules.Warmup(2, schedules.ReduceOnPlateau(0.1, monitor="objective"))), ["monitor", "'objective'"]),
], ids=str)
def test_a_name_that_will_not_be_there_is_refused_before_anything_has_changed(settings, parts):
    trainer = trainer_with(settings.pop("lr", 0.1))
    before = bits(trainer.network)
    with pytest.raises(ValueError) as caught:
        trainer.fit(*problem(), **settings)
    assert all(part in str(caught.value) for part in parts) and trainer.epoch == 0 and bits(trainer.network) == before


def test_names_that_will_be_there():
    trainer = trainer_with(schedules.ReduceOnPlateau(0.1, monitor="val_top_2"), l2=0.1)
    stopping = [EarlyStopping("val_objective"), EarlyStopping("lr", mode="min"), EarlyStopping("top_2"),
                EarlyStopping("objective")]
    settings = dict(metrics="top_2", validation_split=0.5, stop_at={"val_accuracy": 2})
    assert trainer.fit(*problem(), callbacks=[LearningRateLogger(), *stopping[1:]], **settings).n_epochs == 1
    with pytest.raises(ValueError, match="monitor.*'val_objective'"):
        trainer.fit(*problem(), callbacks=stopping, **settings)
    with pytest.raises(ValueError, match="monitor must be one of loss, .*got 'lr'"):  # the logger is called after it
        trainer.fit(*problem(), callbacks=[stopping[1], LearningRateLogger()])
    says = Says([1.0], "val_objective")
    own = trainer.fit(*problem(), callbacks=[says, stopping[0]], **settings)
    assert own["val_objective"] == [1.0]  # names that a custom callback adds are not known in advance


# ---- LearningRateLogger


@pytest.mark.parametrize("lr, wanted", [
    (0.1, [0.1, 0.1, 0.1]),
    (schedules.Step(0.4, 0.5, 1), [0.4, 0.2, 0.1]),
    (schedules.InverseTime(0.6, 1 / 6, per="step"), [0.6, 0.3, 0.2]),
], ids=repr)
def test_the_learning_rate_is_logged(lr, wanted):
    history = trainer_with(lr).fit(*problem(), epochs=3, callbacks=[LearningRateLogger()])
    assert history["lr"] == pytest.approx(wanted, rel=1e-12)


# ---- stop_at


@pytest.mark.parametrize("goals", [1.2, {"loss": 1.2}, np.float32(1.2)], ids=str)
def test_training_stops_at_a_loss(goals):
    history = trainer_with(0.3).fit(*problem(), epochs=500, stop_at=goals)
    assert history["loss"][-1] <= 1.2 < min(history["loss"][:-1])
    assert 1 < history.n_epochs < 500


def test_all_goals_must_be_reached():
    says = [Says([1, 2, 3, 4, 5], "top_2"), Says([5, 1, 4, 2, 1], "mae")]
    goals = {"top_2": 3, "mae": 2}
    assert trainer_with().fit(*problem(), epochs=5, callbacks=says, stop_at=goals).n_epochs == 4
    stop = StopAt(goals)
    assert stop.on_epoch_end(None, 0, {"top_2": 3, "mae": 2}) is True
    assert stop.on_epoch_end(None, 0, {"top_2": np.nan, "mae": 2}) is False


def test_a_goal_that_is_never_there_is_an_error():
    with pytest.raises(ValueError, match="stop_at must be one of loss, accuracy, got 'los'"):
        trainer_with().fit(*problem(), stop_at={"los": ("<=", 0.1)})


@pytest.mark.parametrize("call, parts", [
    (lambda: EarlyStopping(patience=0), ["patience", "0"]),
    (lambda: EarlyStopping(patience=2.5), ["patience", "2.5"]),
    (lambda: EarlyStopping(min_delta=-0.1), ["min_delta", "-0.1"]),
    (lambda: EarlyStopping(monitor=1), ["monitor", "int"]),
    (lambda: EarlyStopping(mode="up"), ["mode", "min, max", "'up'"]),
    (lambda: EarlyStopping(restore_best=1), ["restore_best", "1"]),
    (lambda: StopAt({}), ["stop_at", "{}"]),
    (lambda: StopAt({"loss": "x"}), ["stop_at['loss']", "'x'"]),
    (lambda: trainer_with().fit(*problem(), stop_at="loss"), ["stop_at", "'loss'"]),
    (lambda: trainer_with().fit(*problem(), stop_at=np.nan), ["stop_at", "nan"]),
])
def test_settings_that_do_not_fit(call, parts):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {caught.value}"


# ---- the protocol


class Protocol:
    def __init__(self, fails=None):
        self.calls, self.fails = [], fails

    def on_epoch_begin(self, trainer, epoch):
        self.called("begin", epoch)

    def on_epoch_end(self, trainer, epoch, logs):
        self.called("end", epoch)

    def on_fit_end(self, trainer):
        self.called("fit end", trainer.epoch)

    def called(self, *call):
        self.calls.append(call)
        if call == self.fails:
            raise ZeroDivisionError("from the callback")


def test_the_order_of_the_calls():
    callback = Protocol()
    trainer_with().fit(*problem(), epochs=2, callbacks=[callback])
    assert callback.calls == [("begin", 0), ("end", 0), ("begin", 1), ("end", 1), ("fit end", 2)]


def test_the_end_of_fit_is_called_for_all_after_one_has_stopped_it():
    callback = Protocol()
    trainer_with().fit(*problem(), epochs=9, callbacks=[lambda *_: True, callback])
    assert callback.calls == [("begin", 0), ("end", 0), ("fit end", 1)]


@pytest.mark.parametrize("lr", [0.1, schedules.InverseTime(0.1, 0.01, per="step"), schedules.Cosine(0.1, 9)], ids=repr)
@pytest.mark.parametrize("fails, done", [(("begin", 1), 1), (("end", 1), 2), (("fit end", 3), 3)])
def test_an_exception_passes_through_and_training_can_go_on(fails, done, lr):
    X, y = problem()
    callback, trainer, undisturbed = Protocol(fails), trainer_with(lr), trainer_with(lr)
    with pytest.raises(ZeroDivisionError, match="from the callback"):
        trainer.fit(X, y, epochs=3, callbacks=[callback, EarlyStopping("loss")])
    assert callback.calls[-1] == fails
    undisturbed.fit(X, y, epochs=done)
    assert bits(trainer.network) == bits(undisturbed.network)
    assert trainer.history["loss"] == undisturbed.history["loss"]
    assert trainer.fit(X, y) == undisturbed.fit(X, y)
    assert bits(trainer.network) == bits(undisturbed.network)


def test_what_a_callback_adds_is_in_the_history_and_seen_by_the_next():
    seen = []

    def late(trainer, epoch, logs):
        seen.append((logs["score"], trainer.history["loss"][-1] == logs["loss"], trainer.history.n_epochs))
        if epoch == 1:
            logs["rare"] = 7

    trainer = trainer_with()
    history = trainer.fit(*problem(), epochs=3, callbacks=[Says([4, 5, 6]), late])
    assert seen == [(4, True, 1), (5, True, 2), (6, True, 3)]
    assert history["score"] == [4, 5, 6]
    np.testing.assert_array_equal(history["rare"][:2], [np.nan, 7])
    assert len(history["loss"]) == 3


def test_a_list_of_the_history_has_an_entry_for_every_epoch():
    def late(trainer, epoch, logs):
        if epoch in (1, 3):
            logs["rare"] = epoch

    history = trainer_with().fit(*problem(), epochs=4, callbacks=[late])
    np.testing.assert_array_equal(history["rare"], [np.nan, 1, np.nan, 3])


def test_a_penalty_that_begins_later_has_its_objective_in_its_epochs():
    def begin(trainer, epoch, logs):
        trainer.l2 = 0.1

    history = trainer_with().fit(*problem(), epochs=3, callbacks=[begin])
    assert np.isnan(history["objective"]).tolist() == [True, False, False]


# ---- within an epoch


class Watches:
    """Records the calls within an epoch; `says` returns what on_batch_end returns."""

    def __init__(self, every=None, says=lambda trainer, epoch, batch: None):
        if every is not None:
            self.every_batches = every
        self.says, self.calls, self.logs, self.parameters, self.ended = says, [], [], [], 0

    def on_batch_end(self, trainer, epoch, batch, logs):
        self.calls.append((epoch, batch))
        self.logs.append(dict(logs))
        self.parameters.append(bits(trainer.network))
        assert (trainer.epoch, trainer.history.n_epochs) == (epoch, epoch)
        return self.says(trainer, epoch, batch)

    def on_fit_end(self, trainer):
        self.ended += 1


SETUPS = {
    "shuffled": {}, "as they stand": dict(shuffle=False), "several chunks": dict(chunk_rows=4),
    "clipped": dict(clip_norm=0.1), "checked by minibatch": dict(weighting="minibatch"),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", SETUPS.values(), ids=SETUPS)
@pytest.mark.parametrize("lr", [schedules.InverseTime(0.1, 0.01, per="step"), 0.05], ids=repr)
def test_calls_within_an_epoch_change_no_bit(lr, settings, dtype):
    X, y = problem()
    nets = [Network([6, 9, 4], output="softmax", dropout=0.2, input_noise=0.1, dtype=dtype, seed=0) for _ in range(3)]
    trainers = [Trainer(net, optimizer=Adam(lr), batch_size=10, seed=0, **settings) for net in nets]
    weight = np.random.default_rng(1).uniform(size=len(X)) * (np.arange(len(X)) % 7 > 0)
    histories = [
        trainer.fit(X, y, epochs=2, sample_weight=weight, callbacks=callbacks)
        for trainer, callbacks in zip(trainers, [[], [Watches(1), Watches(3)], Watches(2)], strict=True)
    ]
    assert histories[0] == histories[1] == histories[2]
    assert bits(nets[0]) == bits(nets[1]) == bits(nets[2])


def test_each_is_called_after_its_number_of_minibatches():
    """53 rows are 6 minibatches."""
    for numbers in ([1, 2, 4, 7], [2, 4], [4, 3], [np.int64(4)], [None]):
        watching = [Watches(every) for every in numbers]
        trainer_with().fit(*problem(), epochs=2, callbacks=watching)
        after = {1: [0, 1, 2, 3, 4, 5], None: [0, 1, 2, 3, 4, 5], 2: [1, 3, 5], 3: [2, 5], 4: [3], 7: []}
        for each in watching:
            assert each.calls == [(epoch, i) for epoch in (0, 1) for i in after[getattr(each, "every_batches", None)]]


def test_the_logs_within_an_epoch_are_the_means_so_far():
    X, y = problem()
    watching, trainer, twin = Watches(), trainer_with(shuffle=False), trainer_with(shuffle=False)
    history = trainer.fit(X, y, callbacks=watching)
    losses = [twin.step(X[i : i + 10], y[i : i + 10]) for i in range(0, 53, 10)]
    rows = [10, 10, 10, 10, 10, 3]
    wanted = np.cumsum(np.multiply(losses, rows)) / np.cumsum(rows)
    np.testing.assert_allclose([logs["loss"] for logs in watching.logs], wanted, rtol=1e-12)
    assert watching.logs[-1] == {"loss": history["loss"][0], "accuracy": history["accuracy"][0]}
    assert watching.parameters[-1] == bits(trainer.network) == bits(twin.network)


def test_what_is_added_within_an_epoch_is_seen_by_the_next_and_not_in_the_history():
    class Adds:
        def on_batch_end(self, trainer, epoch, batch, logs):
            logs["mine"] = batch

    watching = Watches()
    history = trainer_with().fit(*problem(), callbacks=[Adds(), watching])
    assert [logs["mine"] for logs in watching.logs] == [0, 1, 2, 3, 4, 5] and "mine" not in history


def test_a_minibatch_without_weight_has_no_loss():
    X, y = problem()
    weight, watching = np.ones(len(X)), Watches()
    weight[:20] = 0
    trainer_with(shuffle=False, weighting="minibatch").fit(X, y, sample_weight=weight, callbacks=watching)
    assert [logs["loss"] for logs in watching.logs][:2] == [0, 0] and watching.logs[2]["loss"] > 0


def test_a_fit_that_ends_in_its_first_epoch_has_empty_lists():
    X, y = problem()
    stops = Watches(1, lambda *_: True)
    trainer = trainer_with()
    history = trainer.fit(X, y, epochs=5, callbacks=stops, metrics="top_2", validation_data=(X, y))
    assert trainer.history is history and history["loss"] == history["val_top_2"] == [] and history.n_epochs == 0
    assert list(history) == list(trainer_with().fit(X, y, metrics="top_2", validation_data=(X, y)))
    assert repr(history) == "<History of 0 epochs>"


@pytest.mark.parametrize("yes", [True, np.bool_(True)])
@pytest.mark.parametrize("last", [0, 2, 5])
def test_true_ends_the_training_after_that_minibatch(last, yes):
    X, y = problem()
    stops, other = Watches(1, lambda _, epoch, batch: yes if (epoch, batch) == (1, last) else 1), Watches()
    trainer, twin, ends = trainer_with(), trainer_with(), []
    history = trainer.fit(X, y, epochs=5, callbacks=[stops, other, lambda trainer, epoch, logs: ends.append(epoch)])
    assert history.n_epochs == trainer.epoch == 1 and ends == [0]
    assert stops.calls == other.calls and stops.calls[-1] == (1, last)
    assert (stops.ended, other.ended) == (1, 1)
    assert trainer.steps == 6 + last + 1 and trainer.state["updates"] == [trainer.steps] * 2
    assert bits(trainer.network) == stops.parameters[-1]
    every = Watches()
    twin.fit(X, y, epochs=2, callbacks=every)
    assert every.parameters[6 + last] == bits(trainer.network)


@pytest.mark.parametrize("optimizer", [SGD(0.1), NaturalGradient(), LBFGS()], ids=["sgd", "natural", "lbfgs"])
def test_all_rows_at_once_are_one_minibatch(optimizer):
    if isinstance(optimizer, LBFGS):
        pytest.importorskip("scipy")
    X, y = problem()
    watching, rare = Watches(1, lambda _, epoch, batch: epoch == 2), Watches(2)
    trainer = Trainer(Network([6, 4], output="softmax", seed=0), optimizer=optimizer, batch_size=None, seed=0)
    history = trainer.fit(X, y, epochs=5, callbacks=[watching, rare])
    assert watching.calls == [(0, 0), (1, 0), (2, 0)] and rare.calls == [] and (watching.ended, rare.ended) == (1, 1)
    assert trainer.epoch == history.n_epochs == 2 and trainer.steps == 3
    assert bits(trainer.network) == watching.parameters[-1]
    assert [logs["loss"] for logs in watching.logs][:2] == history["loss"]


def test_an_exception_within_an_epoch_passes_through_and_training_can_go_on():
    def fails(trainer, epoch, batch):
        raise ZeroDivisionError("from the callback")

    watching, trainer = Watches(4, fails), trainer_with()
    with pytest.raises(ZeroDivisionError, match="from the callback"):
        trainer.fit(*problem(), callbacks=watching)
    assert (trainer.epoch, trainer.steps, watching.ended) == (0, 4, 0)
    assert bits(trainer.network) == watching.parameters[0]
    assert trainer.fit(*problem()).n_epochs == 1 and trainer.steps == 10


def test_ctrl_c_in_a_callback_within_an_epoch():
    def interrupt(trainer, epoch, batch):
        raise KeyboardInterrupt

    watching, trainer = Watches(3, interrupt), trainer_with()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*problem(), callbacks=watching)
    assert (trainer.epoch, trainer.steps) == (0, 3) and bits(trainer.network) == watching.parameters[0]


@pytest.mark.parametrize("change", [
    lambda trainer: setattr(trainer.optimizer, "lr", 0.01), lambda trainer: setattr(trainer, "l2", 0.1),
    lambda trainer: setattr(trainer, "optimizer", Adam(0.01)),
], ids=["lr", "l2", "optimizer"])
def test_settings_may_be_changed_within_an_epoch(change):
    X, y = problem()
    trainer, other = trainer_with(shuffle=False), trainer_with(shuffle=False)
    trainer.fit(X, y, callbacks=Watches(3, lambda trainer, epoch, batch: change(trainer) if batch == 2 else None))
    for i in range(0, 53, 10):
        if i == 30:
            change(other)
        other.step(X[i : i + 10], y[i : i + 10])
    assert bits(trainer.network) == bits(other.network)


def test_an_optimizer_of_another_kind_is_refused_within_an_epoch():
    def other(trainer, epoch, batch):
        trainer.optimizer = NaturalGradient()

    with pytest.raises(ValueError, match="batch_size must be None for NaturalGradient"):
        trainer_with().fit(*problem(), callbacks=Watches(2, other))


def test_a_bad_row_is_named_with_its_minibatch_of_the_epoch():
    X, y = problem()
    X[37, 2] = np.nan
    trainer = trainer_with(shuffle=False)
    with pytest.raises(FloatingPointError, match=r"epoch 0, minibatch 3: X\[37, 2\] is nan; the loss so far"):
        trainer.fit(X, y, callbacks=Watches(2))
    assert trainer.steps == 3


@pytest.mark.parametrize("every, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError), (None, TypeError),
                                          (True, TypeError), ("2", TypeError)])
def test_every_batches_that_is_refused(every, error):
    watching, trainer = Watches(1), trainer_with()
    watching.every_batches = every
    before = Protocol()
    with pytest.raises(error, match="every_batches"):
        trainer.fit(*problem(), callbacks=[before, watching])
    assert trainer.steps == 0 and watching.calls == before.calls == []


def test_every_batches_is_read_each_time():
    def double(trainer, epoch, batch):
        watching.every_batches *= 2

    watching = Watches(1, double)
    trainer_with(batch_size=2).fit(*problem(), callbacks=watching)
    assert watching.calls == [(0, 0), (0, 1), (0, 3), (0, 7), (0, 15)]  # of 27


# ---- TimeLimit


class Clock:
    """In place of the module time, where each look takes a second."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        self.now += 1
        return self.now


def test_a_time_limit_ends_the_training_within_an_epoch(monkeypatch):
    for module in (callbacks, _pace):
        monkeypatch.setattr(module, "time", Clock())
    monkeypatch.setattr(callbacks, "time", _pace.time)
    limit, watching, trainer = TimeLimit(10), Watches(), trainer_with()
    history = trainer.fit(*problem(), epochs=9, callbacks=[limit, watching])
    # It looks when fit and an epoch begin, after each of 6 minibatches, and when an epoch ends.
    assert watching.calls == [*((0, i) for i in range(6)), (1, 0)]
    assert limit.stopped and trainer.epoch == history.n_epochs == 1 and watching.ended == 1
    again = trainer.fit(*problem(), epochs=1, callbacks=limit)  # another fit has its own time
    assert again.n_epochs == 1 and not limit.stopped


def test_a_time_limit_looks_rarely_where_minibatches_are_short():
    limit, watching = TimeLimit(1000), Watches(1)
    trainer = trainer_with(batch_size=1)
    trainer.fit(*problem(), epochs=2, callbacks=limit)
    assert limit.every_batches >= 32 and not limit.stopped
    twin = trainer_with(batch_size=1)
    twin.fit(*problem(), epochs=2, callbacks=watching)
    assert bits(trainer.network) == bits(twin.network)


def test_a_pace_follows_the_clock(monkeypatch):
    pace, clock = _pace.Pace(), Clock()
    monkeypatch.setattr(_pace, "time", clock)
    monkeypatch.setattr(Clock, "monotonic", lambda self: self.now)
    pace.start()
    strides = []
    for took in (0.001, 0.01, 0.024, 0.026, 0.09, 0.11, 0.2, 0.3, 9, 0.01):
        clock.now += took
        pace.look()
        strides.append(pace.stride)
    assert strides == [2, 4, 8, 8, 8, 4, 2, 1, 1, 2]


def test_a_time_limit_can_be_pickled_and_waits_for_all_names():
    limit = TimeLimit(3)
    trainer_with().fit(*problem(), callbacks=limit)
    assert pickle.loads(pickle.dumps(limit)).seconds == 3
    trainer = trainer_with()
    with pytest.raises(ValueError, match="monitor must be one of loss"):  # it adds nothing to the logs
        trainer.fit(*problem(), callbacks=[limit, EarlyStopping("val_f1", mode="max")])
    assert trainer.steps == 0
    for bad in (0, -1, np.inf, np.nan, "1", True):
        with pytest.raises((ValueError, TypeError), match="seconds"):
            TimeLimit(bad)


# ---- changes by callbacks


def test_a_callback_may_change_the_rate():
    def halve(trainer, epoch, logs):
        trainer.optimizer.lr /= 2

    history = trainer_with(0.4).fit(*problem(), epochs=3, callbacks=[LearningRateLogger(), halve])
    assert history["lr"] == [0.4, 0.2, 0.1]


def test_a_class_in_place_of_an_object_is_refused():
    net = Network([2, 2], output="softmax", seed=0)
    with pytest.raises(TypeError, match="callbacks must hold objects, got the class EarlyStopping: call it"):
        Trainer(net).fit(np.ones((4, 2)), [0, 1, 0, 1], callbacks=[EarlyStopping])


def with_method(name, *, calls=False):
    body = {name: lambda self, *_: None, **({"__call__": lambda self, *_: None} if calls else {})}
    return type("Callback", (), body)()


@pytest.mark.parametrize("calls", [False, True])
@pytest.mark.parametrize("name", [
    "on_epoch_ends", "on_train_end", "on_train_begin", "on_epoch_finish", "epoch_end", "on_batch_begin", "on_fit_begin",
    "onEpochEnd", "on_epch_end", "fit_end", "on_validation_epoch_end",
])
def test_a_method_that_looks_like_one_that_fit_calls_is_refused(name, calls):
    trainer = trainer_with()
    beside = with_method(name, calls=calls)
    type(beside).on_epoch_begin = lambda self, *_: None
    late = with_method("plot", calls=True)
    setattr(late, name, print)
    for callback in (with_method(name, calls=calls), beside, late):
        with pytest.raises(TypeError) as caught:
            trainer.fit(*problem(), callbacks=[lambda *_: None, callback])
        for part in ("on_epoch_begin(trainer, epoch), on_epoch_end(trainer, epoch, logs), on_fit_end(trainer)", name):
            assert part in str(caught.value)
    assert trainer.epoch == 0


@pytest.mark.parametrize("callback", [with_method("plot"), with_method("on_plateau"), object(), 3, None])
def test_an_object_without_any_known_method_is_refused_with_the_list(callback):
    trainer = trainer_with()
    with pytest.raises(TypeError, match="one of the methods on_epoch_begin.*on_epoch_end.*on_fit_end"):
        trainer.fit(*problem(), callbacks=[callback])
    assert trainer.epoch == 0


@pytest.mark.parametrize("name", ["plot", "reset", "save_epoch", "on_plateau", "on_improvement", "log_epoch_end", "fit",
                                  "end", "epochs", "_on_epoch_ends", "predict"])
def test_other_methods_are_allowed(name):
    callback = with_method(name, calls=True)
    assert trainer_with().fit(*problem(), callbacks=callback).n_epochs == 1
    callback.on_train_end = False  # not callable, so not a callback method
    assert trainer_with().fit(*problem(), callbacks=callback).n_epochs == 1


def test_early_stopping_says_what_it_waits_for_and_what_was_best():
    stopping = EarlyStopping("loss", patience=2)
    assert repr(stopping) == "<EarlyStopping(monitor='loss', patience=2, min_delta=0.0, mode=None)>"
    X, y = np.eye(4), np.arange(4)
    trainer = Trainer(Network([4, 4], output="softmax", seed=0), seed=0)
    trainer.fit(X, y, epochs=3)
    history = trainer.fit(X, y, epochs=2, callbacks=[stopping])
    assert stopping.best_epoch == 4  # of five epochs in total
    assert repr(stopping).endswith(f": best {history['loss'][1]:.6g} in epoch 4>")


class Keras:
    def on_epoch_end(self, epoch, logs=None):
        raise AssertionError("called")


class Late:
    def on_batch_end(self, trainer, epoch, batch, logs, more):
        raise AssertionError("called")


@pytest.mark.parametrize("callback, message", [
    (lambda e, l: None, r"a function in callbacks must take \(trainer, epoch, logs\), got \(e, l\)"),
    (Keras(), r"on_epoch_end of a callback must take \(trainer, epoch, logs\), got \(epoch, logs=None\)"),
    (Late(), r"on_batch_end of a callback must take \(trainer, epoch, batch, logs\), got .*more\)"),
], ids=["function", "Keras", "Late"])
def test_arguments_that_do_not_fit_are_refused_before_training(callback, message):
    trainer = trainer_with()
    for _ in range(2):
        with pytest.raises(TypeError, match=message):
            trainer.fit(*problem(), callbacks=callback)
    assert trainer.steps == 0


def test_functions_with_other_signatures_that_fit_are_called():
    seen = []
    for callback in (lambda *_: seen.append(1), lambda trainer, epoch, logs, more=3: seen.append(2),
                     functools.partial(lambda more, trainer, epoch, logs: seen.append(more), 3)):
        trainer_with().fit(*problem(), callbacks=callback)
    assert seen == [1, 2, 3]


def test_none_is_no_callback_and_a_text_is_shown_whole():
    assert trainer_with().fit(*problem(), callbacks=None).n_epochs == 1
    with pytest.raises(TypeError, match="callbacks must be functions.*got 'early'"):
        trainer_with().fit(*problem(), callbacks="early")


@pytest.mark.parametrize("name", ["every_batchs", "every_batch", "everyBatches", "every_n_batches"])
def test_attributes_that_look_like_every_batches_are_refused(name):
    callback = with_method("on_batch_end")
    setattr(callback, name, 50)
    with pytest.raises(TypeError, match=f"callbacks have the attribute every_batches, got {name}, which fit does not"):
        trainer_with().fit(*problem(), callbacks=callback)
    callback.every_batches = 2  # a name beside it is no mistake
    trainer_with().fit(*problem(), callbacks=callback)
    other = with_method("on_epoch_end")
    setattr(other, name, 50)
    trainer_with().fit(*problem(), callbacks=other)


def test_early_stopping_names_the_metric_of_a_part():
    loss = losses.PerOutput([(slice(0, 2), "cross_entropy"), (2, "huber")])
    X, y = np.ones((4, 1)), np.array([[0, 1.0]] * 4)
    with pytest.raises(ValueError, match=r"got 'val_accuracy': did you mean 'val_accuracy\[0\]'"):
        Trainer(Network([1, 3]), loss).fit(
            X, y, validation_data=(X, y), metrics="accuracy", callbacks=[EarlyStopping("val_accuracy")])
