"""Trainer.save, load_trainer, callbacks.Checkpoint and fit(..., resume=path): a run that goes on has the bits of one
that did not stop."""

import errno
import json
import os
import pickle
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import mlpfast
from mlpfast import (
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Layer,
    NaturalGradient,
    Network,
    RMSprop,
    Rprop,
    Trainer,
    _core,
    activations,
    callbacks,
    load_network,
    load_trainer,
    losses,
    schedules,
)
from mlpfast.callbacks import Checkpoint, EarlyStopping, LearningRateLogger, TimeLimit

sys.path.insert(0, str(Path(__file__).with_name("stress")))
import kill


def problem(n=60):
    X = np.random.default_rng(0).normal(size=(n, 6))
    return X, np.abs(X[:, :4]).argmax(axis=1)


def plateau():
    return schedules.ReduceOnPlateau(0.5, factor=0.5, patience=1, min_delta=0.05)


def make(optimizer=None, **settings):
    layers = [Layer(6, 20, "tanh", dropout=0.2), Layer(20, 9, activations.PReLU()), Layer(9, 4, "softmax")]
    net = Network(layers, seed=0, input_noise=0.1)
    given = {"batch_size": 7, "seed": 0, "l2": 1e-4, **settings}
    return Trainer(net, optimizer=Adam(0.01) if optimizer is None else optimizer, **given)


def bits(net):
    return [p.tobytes() for p in net.parameters]


def outcome(trainer):
    state = [a.tobytes() for name in trainer.optimizer.states for a in trainer.state[name]]
    return bits(trainer.network), repr(dict(trainer.history)), trainer.steps, trainer.epoch, state


class Stop(Exception):
    pass


class StopsAt:
    """Raises at a minibatch of an epoch, or with batch None at its end, behind all callbacks but Checkpoints."""

    def __init__(self, epoch, batch=None):
        self.epoch, self.batch = epoch, batch

    def on_batch_end(self, trainer, epoch, batch, logs):
        if (epoch, batch) == (self.epoch, self.batch):
            raise Stop

    def on_epoch_begin(self, trainer, epoch):
        if self.batch is None and epoch == self.epoch + 1:
            raise Stop


EPOCHS = 6
OPTIMIZERS = {
    "sgd": lambda: SGD(lr=0.1), "momentum": lambda: SGD(plateau(), momentum=0.9), "adam": lambda: Adam(0.01),
    "adamw": lambda: AdamW(schedules.Cosine(0.01, 50, per="step")), "rmsprop": RMSprop, "adagrad": Adagrad,
    "warm plateau": lambda: SGD(schedules.Warmup(2, plateau())),
    "one cycle": lambda: SGD(schedules.OneCycle(0.5, 40, momentum=(0.8, 0.95), per="step")),
}


def fit(trainer, path, stop=None, epochs=EPOCHS, seconds=None, **more):
    own = [EarlyStopping(patience=2, min_delta=0.02), LearningRateLogger(), *([] if stop is None else [stop]),
           Checkpoint(path, seconds=seconds)]
    return trainer.fit(*problem(), epochs=epochs, validation_split=0.2, callbacks=own, resume=path, **more)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_fit_has_the_bits_of_one_that_did_not_stop(tmp_path, name):
    whole = make(OPTIMIZERS[name]())
    fit(whole, tmp_path / "whole")
    for epoch in range(min(whole.epoch, EPOCHS)):
        path = tmp_path / f"stopped{epoch}"
        if epoch + 1 < whole.epoch:
            with pytest.raises(Stop):
                fit(make(OPTIMIZERS[name](), threads=2), path, StopsAt(epoch))
        again = make(OPTIMIZERS[name](), threads=1)
        history = fit(again, path)
        assert outcome(again) == outcome(whole) and history is again.history
        assert path.read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("name", ["momentum", "adamw", "one cycle"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_within_an_epoch_too(tmp_path, name, shuffle, monkeypatch):
    """Seven minibatches in an epoch; a checkpoint after each."""
    monkeypatch.setattr(Checkpoint, "every_batches", 1)
    whole = make(OPTIMIZERS[name](), shuffle=shuffle)
    fit(whole, tmp_path / "whole")
    for epoch, batch in ((0, 0), (0, 1), (1, 3), (1, 6)):
        path = tmp_path / f"{epoch}-{batch}"
        with pytest.raises(Stop):
            fit(make(OPTIMIZERS[name](), shuffle=shuffle), path, Later(epoch, batch), seconds=1e-9)
        there = mlpfast.load_trainer(path)
        assert there.epoch == epoch and there._fit.done == batch + 1
        again = make(OPTIMIZERS[name](), shuffle=shuffle)
        fit(again, path, Later(99, 0))
        assert outcome(again) == outcome(whole)


def scheduled():
    """With schedules that see something, and others, of all that can have one."""
    seen = schedules.ReduceOnPlateau(0.02, factor=0.5, patience=1, min_delta=0.5)
    layers = [
        Layer(6, 20, "tanh", dropout=schedules.Cosine(0.4, 30, per="step"), lr_factor=0.5),
        Layer(20, 9, activations.PReLU(), l2=seen, bias_lr_factor=2.0),
        Layer(9, 4, "softmax", l2=schedules.Exponential(0.01, 0.1, per="step")),
    ]
    net = Network(layers, seed=0, input_dropout=schedules.Step(0.2, 0.5, every=2))
    return Trainer(net, optimizer=SGD(schedules.Warmup(1, plateau())), batch_size=7, seed=0, l2=seen)


def test_schedules_of_dropout_and_l2_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "every_batches", 1)
    whole = scheduled()
    fit(whole, tmp_path / "whole")
    values = [whole.l2, whole.network.layers[1].l2, whole.optimizer.lr.then]
    assert whole.epoch == 4 and [schedule.at(0) for schedule in values] == [0.0025, 0.0025, 0.125]
    for epoch, batch in ((0, 2), (1, 6), (2, 6), (3, 0)):  # 6 is the last
        path = tmp_path / f"{epoch}-{batch}"
        with pytest.raises(Stop):
            fit(scheduled(), path, Later(epoch, batch), seconds=1e-9)
        again, loaded = scheduled(), load_trainer(path)
        fit(again, path, Later(99, 0))
        assert outcome(again) == outcome(whole)
        here = [schedules.state_of(s) for s in (again.l2, again.network.layers[1].l2, again.optimizer.lr)]
        assert here == [schedules.state_of(s) for s in (whole.l2, whole.network.layers[1].l2, whole.optimizer.lr)]
        assert repr(loaded.network.layers) == repr(again.network.layers) and repr(loaded.l2) == repr(again.l2)
    whole.save(tmp_path / "end")
    loaded, X = load_trainer(tmp_path / "end"), problem()[0]
    drawn = [each.network.predict(X, dropout=True, seed=1)[0].tobytes() for each in (loaded, whole)]
    assert drawn[0] == drawn[1]
    for each in (whole, loaded):
        each.fit(*problem(), epochs=3)
    assert outcome(loaded) == outcome(whole)


def test_a_schedule_that_a_callback_changes_stays_changed(tmp_path):
    def change(trainer, epoch, logs):
        trainer.network.layers[0].dropout.total = 40
        trainer.l2 = schedules.Constant(0.1)

    def run(epochs, *more):
        trainer = scheduled()
        trainer.fit(*problem(), epochs=epochs, callbacks=[change, *more], resume=tmp_path / "run")
        return trainer

    whole = run(4)
    run(2, Checkpoint(tmp_path / "run"))
    again = run(4)
    assert outcome(again) == outcome(whole) and again.network.layers[0].dropout.total == 40


LOSSES = {  # the loss, and the outputs of its network
    "missing": lambda: (losses.Huber(0.5, missing="ignore"), ["identity", 4]),
    "missing in a squared error": lambda: (losses.SquaredError(missing="ignore"), ["identity", 4]),
    "quantiles": lambda: (losses.Quantile((0.1, 0.5, 0.9), missing="ignore"), ["identity", 12]),
    "gaussian_nll": lambda: (losses.GaussianNLL(), ["identity", 8]),
    "cox_ph": lambda: (losses.CoxPH(), ["identity", 1]),
    "parts": lambda: (parts(), [parts().output, 6]),
    "parts with activations of their own": lambda: (parts(), [outputs(), 6]),
}


def parts():
    return losses.PerOutput([
        (slice(4, 6), losses.Quantile((0.2, 0.8), missing="ignore"), 0.25), (slice(0, 3), "cross_entropy", 2.0),
        (3, losses.AbsoluteError(missing="ignore"), 1.0),
    ])


def outputs():
    return activations.PerOutput([(slice(0, 3), "softmax"), (3, activations.ELU(0.5)), (slice(4, 6), "tanh")])


@pytest.mark.parametrize("name", LOSSES)
def test_every_form_of_loss_goes_on(tmp_path, name):
    loss, (output, n_out) = LOSSES[name]()
    X, _ = problem()
    y = np.random.default_rng(1).normal(size=(60, loss.y_columns(n_out)))
    if isinstance(loss, losses.CoxPH):
        y = np.abs(y) > [[0, 0.5]]
    if isinstance(loss, losses.PerOutput):
        y[:, 1] = np.arange(60) % 3
    if "missing" in repr(loss):
        y[::7, 0] = np.nan
    whole = Trainer(Network([6, 8, n_out], output=output, seed=0), loss, "adam", batch_size=16, seed=0)
    whole.fit(X, y, epochs=2)
    whole.save(tmp_path / "run", sync=False)
    again = load_trainer(tmp_path / "run")
    assert repr(again.loss) == repr(loss) and again.network.layers[-1]._unit == whole.network.layers[-1]._unit
    assert again.network.predict(X).tobytes() == whole.network.predict(X).tobytes()
    for each in (whole, again):
        each.fit(X, y, epochs=2)
    assert bits(again.network) == bits(whole.network) and again.history == whole.history
    again.save(tmp_path / "again", sync=False)
    whole.save(tmp_path / "whole", sync=False)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "whole").read_bytes()


class Later(StopsAt):
    """Checkpoints are called last, so the one of minibatch `batch` is there when the next one ends."""

    def on_batch_end(self, trainer, epoch, batch, logs):
        if (epoch, batch) > (self.epoch, self.batch):
            raise Stop

    def on_epoch_begin(self, trainer, epoch):
        pass

    def on_epoch_end(self, trainer, epoch, logs):
        if epoch == self.epoch:
            raise Stop


@pytest.mark.parametrize("where", [(0, 3), (2, 0), (1, 6)])
def test_a_save_after_an_exception_holds_whole_minibatches(tmp_path, where):
    whole, stopped = make(), make()
    fit(whole, tmp_path / "whole")
    with pytest.raises(Stop):
        fit(stopped, tmp_path / "none", StopsAt(*where))
    stopped.save(tmp_path / "saved")
    again = make()
    fit(again, tmp_path / "saved")
    assert outcome(again) == outcome(whole)


@pytest.mark.usefixtures("signals_come_through")
def test_a_save_after_ctrl_c_holds_whole_minibatches(tmp_path):
    import _thread
    import threading

    X = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
    y = np.arange(20_000) % 4

    def trainer():
        return Trainer(Network([64, 256, 4], output="softmax", seed=0), optimizer=SGD(lr=0.01), seed=0)

    whole, stopped, again = trainer(), trainer(), trainer()
    timer = threading.Timer(0.15, _thread.interrupt_main)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores SIGINT
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            stopped.fit(X, y, epochs=10_000)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, previous)
    stopped.save(tmp_path / "saved")
    epochs = stopped.epoch + 1
    assert stopped.steps > stopped.epoch * 313
    whole.fit(X, y, epochs=epochs)
    again.fit(X, y, epochs=epochs, resume=tmp_path / "saved")
    assert outcome(again) == outcome(whole)


@pytest.mark.parametrize("lr", [plateau, lambda: schedules.Warmup(1, plateau())])
def test_a_callback_that_saves_sees_the_schedule_after_the_epoch(tmp_path, lr):
    def run(epochs, resume, *last):
        trainer, stopping = make(SGD(lr())), EarlyStopping(patience=3, min_delta=0.02)
        trainer.fit(*problem(), epochs=epochs, validation_split=0.2, callbacks=[stopping, *last], resume=resume)
        return bits(trainer.network), trainer.epoch

    whole = run(12, None)

    def save(trainer, epoch, logs):
        logs["number"] = epoch
        trainer.save(tmp_path / str(epoch))

    run(12, None, save)
    for epoch in range(whole[1]):
        assert run(12, tmp_path / str(epoch))[0] == whole[0]


def test_a_schedule_observes_what_a_callback_adds():
    def add(trainer, epoch, logs):
        logs["mine"] = [3, 2, 2, 2, 1, 1][epoch]

    seen = []
    trainer = make(SGD(schedules.ReduceOnPlateau(0.5, factor=0.5, patience=1, monitor="mine", mode="min")))
    trainer.fit(*problem(), epochs=6, callbacks=[add, lambda trainer, *_: seen.append(trainer.lr)])
    assert seen == [0.5, 0.5, 0.25, 0.125, 0.125, 0.0625]


def test_schedules_of_dropout_and_l2_observe_as_early():
    def add(trainer, epoch, logs):
        logs["mine"] = [2, 2, 1, 1][epoch]

    def reduced(monitor):
        return schedules.ReduceOnPlateau(0.5, factor=0.5, patience=1, min_delta=9, monitor=monitor, mode="min")

    seen = []
    trainer = make(SGD(0.1), l2=reduced("loss"))
    trainer.network.input_dropout = reduced("mine")
    both = [lambda trainer, *_: seen.append((trainer.l2.at(0), trainer.network.input_dropout.at(0)))] * 2
    trainer.fit(*problem(), epochs=3, callbacks=[both[0], add, both[1]])
    assert seen == [(0.5, 0.5), (0.5, 0.5), (0.25, 0.5), (0.25, 0.25), (0.125, 0.25), (0.125, 0.125)]


def test_load_trainer_goes_on(tmp_path):
    path, whole, stopped = tmp_path / "run", make(SGD(plateau(), momentum=0.5)), make(SGD(plateau(), momentum=0.5))
    fit(whole, tmp_path / "whole")
    with pytest.raises(Stop):
        fit(stopped, path, StopsAt(1))
    again = load_trainer(path)
    assert again.history.n_epochs == 2 and again.epoch == 2 and repr(again) == repr(stopped)
    again.save(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()
    stopping = EarlyStopping(patience=2, min_delta=0.02)
    again.fit(*problem(), epochs=EPOCHS - 2, validation_split=0.2, callbacks=[stopping])  # continues its count
    assert bits(again.network) == bits(whole.network) and again.steps == whole.steps
    assert again.history["loss"] == whole.history["loss"][2:]
    assert stopping.best_epoch == int(np.argmin(whole.history["val_loss"])) or stopping.best is not None
    fresh = load_trainer(path)
    other = EarlyStopping(patience=3)
    fresh.fit(*problem(), validation_split=0.2, callbacks=[other])  # other arguments: it begins anew
    assert other.best_epoch == 2 and fresh._seen == []


def test_what_has_ended_trains_no_more(tmp_path):
    whole = make(SGD(0.5))
    fit(whole, tmp_path / "run", epochs=50)
    assert whole.epoch < 50  # stopped early, and the best parameters are restored
    again = make(SGD(0.5))
    fit(again, tmp_path / "run", epochs=50)
    assert outcome(again) == outcome(whole)
    trainer = make()
    for epochs, there in ((3, 3), (3, 3), (2, 3), (5, 5)):
        trainer = make()
        more = tmp_path / "more"
        history = trainer.fit(*problem(), epochs=epochs, resume=more, callbacks=Checkpoint(more))
        assert history.n_epochs == trainer.epoch == there
    whole = make()
    whole.fit(*problem(), epochs=5)
    assert outcome(whole) == outcome(trainer)


@pytest.mark.parametrize("optimizer", [NaturalGradient, Rprop, LBFGS])
def test_optimizers_of_all_rows(tmp_path, optimizer):
    if optimizer is LBFGS:
        pytest.importorskip("scipy", reason="LBFGS needs SciPy")

    def run(epochs, resume, **settings):
        trainer = Trainer(Network([6, 5, 4], output="softmax", seed=0), optimizer=optimizer(**settings), seed=0,
                          batch_size=None)
        trainer.fit(*problem(), epochs=epochs, resume=resume,
                    callbacks=[Checkpoint(tmp_path / "run", seconds=1e-9, every=1)])
        return trainer

    whole = run(6, None)
    run(3, None)
    if optimizer is not LBFGS:
        assert outcome(run(6, tmp_path / "run")) == outcome(whole)
        return
    with pytest.warns(RuntimeWarning, match="LBFGS begins anew"):
        again = run(6, tmp_path / "run")
    assert again.epoch == 6 and again.history["loss"][:3] == whole.history["loss"][:3]
    os.unlink(tmp_path / "run")
    converged = run(10_000, None, tolerance=0.05)
    assert outcome(run(10_000, tmp_path / "run", tolerance=0.05)) == outcome(converged)


def test_settings_that_a_callback_changes_stay_changed(tmp_path):
    def changes(trainer, epoch, logs):
        trainer.optimizer.lr *= 0.5
        trainer.l2 = 0.01 * epoch
        trainer.network.layers[1].trainable = epoch % 2 == 0
        trainer.network.input_noise = 0.0

    def run(stop=None):
        trainer = make(SGD(0.1, momentum=0.9))
        try:
            trainer.fit(*problem(), epochs=5, callbacks=[changes, stop or StopsAt(99), Checkpoint(path)], resume=path)
        except Stop:
            pass
        return trainer

    path = tmp_path / "whole"
    whole = run()
    for epoch in range(4):
        path = tmp_path / str(epoch)
        run(StopsAt(epoch))
        again = run()
        assert outcome(again) == outcome(whole) and path.read_bytes() == (tmp_path / "whole").read_bytes()
        assert again.optimizer.lr == whole.optimizer.lr and again.l2 == whole.l2
        assert again.network.layers[1].trainable == whole.network.layers[1].trainable


DIFFERENT = {
    "batch_size is 7 there and 8 here": lambda: make(batch_size=8),
    "seed is 0 there and 1 here; a Trainer that is given no seed draws one": lambda: make(seed=1),
    "optimizer.lr is 0.01 there and 0.02 here": lambda: make(Adam(0.02)),
    "optimizer is 'adam' there and 'sgd' here": lambda: make("sgd"),
    "l2 is 0.0001 there and 0.0 here": lambda: make(l2=0.0),
    "clip_norm is None there and 1.0 here": lambda: make(clip_norm=1.0),
    "loss.label_smoothing is 0.0 there and 0.5 here": lambda: make(loss=losses.CrossEntropy(0.5)),
    "layers.0.dropout is 0.2 there and 0.1 here": lambda: Trainer(
        Network([Layer(6, 20, "tanh", dropout=0.1), Layer(20, 9, activations.PReLU()), Layer(9, 4, "softmax")],
                input_noise=0.1), optimizer=Adam(0.01), batch_size=7, seed=0, l2=1e-4),
    "network.dtype is 'float32' there and 'float64' here": lambda: Trainer(
        Network([Layer(6, 20, "tanh", dropout=0.2), Layer(20, 9, activations.PReLU()), Layer(9, 4, "softmax")],
                dtype="float64", input_noise=0.1), optimizer=Adam(0.01), batch_size=7, seed=0, l2=1e-4),
}


@pytest.mark.parametrize("message", DIFFERENT)
def test_a_file_of_another_training_is_refused(tmp_path, message):
    path = tmp_path / "run"
    fit(make(), path, epochs=2)
    trainer = DIFFERENT[message]()
    before, data = outcome(trainer), path.read_bytes()
    with pytest.raises(ValueError, match=f"'{path}': is of another fit: .*{message}"):
        fit(trainer, path)
    assert outcome(trainer) == before and path.read_bytes() == data


def test_a_file_of_other_layers_data_or_callbacks_is_refused(tmp_path):
    path, own = tmp_path / "run", [EarlyStopping("loss", patience=2)]
    X, y = problem(61)
    trainer = make()
    trainer.fit(X[:60], y[:60], epochs=2, validation_split=0.2, callbacks=own)
    trainer.save(path)
    trainer = make()
    for given, message in (
        ({"X": X, "y": y, "validation_split": 0.2, "callbacks": own}, "rows is 48 there and 49 here"),
        ({"validation_split": None, "callbacks": own}, "rows is 48 there and 60 here, validation_rows is 12 there"),
        ({"callbacks": own, "accumulate": 2}, "accumulate is 1 there"),
        ({"callbacks": own, "sample_weight": np.ones(60)}, "weighted is False there and True here"),
        ({}, r"callbacks are EarlyStopping\(.*\) there and none here"),
        ({"callbacks": EarlyStopping()}, "patience=2.*patience=5"),
    ):
        with pytest.raises(ValueError, match=f"is of another fit: .*{message}"):
            trainer.fit(**{"X": X[:60], "y": y[:60], "validation_split": 0.2, **given}, resume=path)
        assert trainer.epoch == 0 and trainer.history == {}
    layers = [Layer(6, 21, "tanh", dropout=0.2), Layer(21, 9, activations.PReLU()), Layer(9, 4, "softmax")]
    wider = Trainer(Network(layers, input_noise=0.1), optimizer=Adam(0.01), batch_size=7, seed=0, l2=1e-4)
    with pytest.raises(ValueError, match=r"the shape of layers.0.W is '.6, 20.' there and '.6, 21.' here"):
        fit(wider, path)
    make().network.save(path)
    with pytest.raises(ValueError, match="holds a network"):
        fit(make(), path)


def changed(path, **changes):
    """A copy of a file with other metadata; None leaves a text out."""
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    for key, value in changes.items():
        header["__metadata__"].pop(key, None)
        if value is not None:
            header["__metadata__"][key] = value
    text = json.dumps(header).encode()
    copy = path.with_name("changed")
    copy.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + n :])
    return copy


@pytest.mark.parametrize("key, value, message", [
    ("callbacks.0.state.best", None, "callbacks.0.state: 'best' is missing"),
    ("callbacks.0.state.best", "none", "best must be a number"),
    ("callbacks.0.state.waited", "-1", "waited must be >= 0"),
    ("callbacks.0.state.waited", "0x1p-1", "waited must be a whole number"),
    ("callbacks.0.state.best_epoch", "0:3", "best_epoch must be a whole number"),
    ("callbacks.0.state.parameters", "5", "parameters must be arrays"),
    ("callbacks.0.state.wings", "2", "'wings' is unknown"),
    ("callbacks.1.state.logs.lr", "none", "lr must be a number"),
    ("callbacks.2.state.used", None, "'used' is missing"),
    ("callbacks.2.state.used", "-0x1p+0", "used must be >= 0"),
    ("callbacks.3.state.waited", "1", "'best' is missing"),
    ("fit.result.rows", "9" * 20, "fit.result must be what the core has counted"),
])
def test_states_of_callbacks_are_believed_no_more_than_the_rest(tmp_path, key, value, message):
    def own(*more):
        return [EarlyStopping("loss"), LearningRateLogger(), TimeLimit(1000), *more, Checkpoint(tmp_path / "other")]

    with pytest.raises(Stop):
        make().fit(*problem(), epochs=3, callbacks=own(StopsAt(1, 3), SaveAt(tmp_path / "run", 1, 2)))
    path, again = changed(tmp_path / "run", **{key: value}), make()
    before = outcome(again)
    with pytest.raises(ValueError, match=f"changed': .*{message}"):
        again.fit(*problem(), epochs=3, callbacks=own(), resume=path)
    assert outcome(again) == before
    with pytest.raises(ValueError, match=message):
        load_trainer(path)


class SaveAt:
    def __init__(self, path, epoch, batch):
        self.path, self.at = path, (epoch, batch)

    def on_batch_end(self, trainer, epoch, batch, logs):
        if (epoch, batch) == self.at:
            trainer.save(self.path)


def test_many_states_take_time_and_memory_in_proportion(tmp_path):
    """Minutes if each callback looks at each tensor; 2 GB if each text "zeros" makes arrays of its own."""
    trainer = make()
    trainer.history.update({str(number): [] for number in range(3000)})
    trainer.save(tmp_path / "run")
    texts = {f"callbacks.{number}": "Another" for number in range(3000)}
    texts.update({f"callbacks.{number}.state.a": "zeros" for number in range(3000)})
    again = load_trainer(changed(tmp_path / "run", **texts))
    assert len({id(seen.state["a"][0]) for seen in again._seen}) == 1


def test_a_file_saved_before_any_fit_is_a_beginning(tmp_path):
    X, y = problem()
    whole, stopped = make(), make()
    for trainer in (whole, stopped):
        trainer.step(X[:5], y[:5])
    stopped.save(tmp_path / "run")
    whole.fit(X, y, epochs=2)
    again = make()
    again.fit(X, y, epochs=2, resume=tmp_path / "run")
    assert outcome(again) == outcome(whole)


def test_another_order_of_sums_says_so(tmp_path):
    path = tmp_path / "run"
    fit(make(), path, epochs=1)
    path.write_bytes(path.read_bytes().replace(b'"order":"1"', b'"order":"0"'))
    for act in (lambda: load_trainer(path), lambda: fit(make(), path)):
        message = f"another order of sums, 0 instead of {_core.ORDER_VERSION}: .* other bits"
        with pytest.warns(RuntimeWarning, match=message):
            act()


def test_objects_of_ones_own_are_asked_for_by_name(tmp_path):
    class Halves:
        per = "epoch"

        def __init__(self):
            self.state = {"seen": 0}

        def at(self, t):
            return 0.01 * 0.5**t

        def observe(self, logs):
            self.state = {"seen": self.state["seen"] + 1}

    fourth = losses.Custom(lambda y, yhat: ((yhat - y) ** 4).sum(axis=1), lambda y, yhat: 4 * (yhat - y) ** 3,
                           name="fourth")
    sine = activations.Custom(np.sin, np.cos, name="sine")

    def trainer():
        return Trainer(Network([6, 5, 1], activation=sine, seed=0), fourth, SGD(Halves()), seed=0)

    X, y = problem()
    whole = trainer()
    whole.fit(X, y, epochs=4)
    trainer().fit(X, y, epochs=2, callbacks=Checkpoint(tmp_path / "run"))
    again = trainer()
    again.fit(X, y, epochs=4, resume=tmp_path / "run")
    assert outcome(again) == outcome(whole) and again.optimizer.lr.state == {"seen": 4}
    again = trainer()
    with pytest.raises(ValueError, match="of another fit: callbacks are none there"):
        again.fit(X, y, epochs=4, callbacks=EarlyStopping("loss"), resume=tmp_path / "run")
    assert again.optimizer.lr.state == {"seen": 0}
    with pytest.raises(ValueError, match="called 'fourth', which a file only names|called 'Halves'|called 'sine'"):
        load_trainer(tmp_path / "run")
    loaded = load_trainer(tmp_path / "run", custom={"fourth": fourth, "sine": sine, "Halves": Halves()})
    assert loaded.loss is fourth and loaded.optimizer.lr.state == {"seen": 2}
    loaded.fit(X, y, epochs=2)
    assert bits(loaded.network) == bits(whole.network)
    again.l2 = Halves()
    with pytest.raises(ValueError, match="two that are called 'Halves'"):
        again.save(tmp_path / "two")
    again.optimizer, again.l2 = SGD(0.1), schedules.Warmup(1, Halves())
    again.save(tmp_path / "l2")
    with pytest.raises(ValueError, match="trainer.l2.then .*called 'Halves'"):
        load_trainer(tmp_path / "l2", custom={"fourth": fourth, "sine": sine})
    unnamed = Network([6, 5, 1], activation=activations.Custom(np.sin, np.cos))
    with pytest.raises(ValueError, match="two that are called 'custom'"):
        Trainer(unnamed, losses.Custom(fourth.value, fourth.delta)).save(tmp_path / "two")
    assert not (tmp_path / "two").exists()


# ---- EarlyStopping.restore


def test_the_best_parameters_can_be_had_after_an_exception():
    trainer, stopping, best = make(SGD(0.5)), EarlyStopping("loss", patience=50), {}
    keep = [lambda trainer, epoch, logs: best.update({epoch: bits(trainer.network)}), stopping, StopsAt(8)]
    with pytest.raises(Stop):
        trainer.fit(*problem(), epochs=20, callbacks=keep)
    stopping.restore(trainer)
    assert bits(trainer.network) == best[stopping.best_epoch]
    with pytest.raises(RuntimeError, match="no epoch of this Trainer is done"):
        stopping.restore(make())
    with pytest.raises(RuntimeError, match="no epoch of this Trainer is done"):
        EarlyStopping().restore(trainer)
    without = EarlyStopping("loss", restore_best=False)
    trainer.fit(*problem(), callbacks=without)
    with pytest.raises(RuntimeError, match="made with restore_best=False"):
        without.restore(trainer)


# ---- Checkpoint


def test_which_epochs_are_saved_and_which_files_kept(tmp_path):
    def epochs_kept(epochs=7, **settings):
        for name in os.listdir(tmp_path):
            os.unlink(tmp_path / name)
        scores = iter([1, 3, 2, 5, 4, 4, 0])

        def score(trainer, epoch, logs):
            logs["score"] = next(scores)

        make().fit(*problem(), epochs=epochs, callbacks=[Checkpoint(tmp_path / "run.st", **settings), score])
        return {name: load_trainer(tmp_path / name).epoch for name in sorted(os.listdir(tmp_path))}

    assert epochs_kept() == {"run.st": 7}
    assert epochs_kept(keep=3) == {"run.1.st": 6, "run.2.st": 5, "run.st": 7}
    assert epochs_kept(every=3, keep=4) == {"run.1.st": 6, "run.2.st": 3, "run.st": 7}
    assert epochs_kept(monitor="score", mode="max", keep=9) == {"run.1.st": 2, "run.2.st": 1, "run.st": 4}
    assert epochs_kept(every=2, monitor="score", mode="max") == {"run.st": 4}
    assert epochs_kept(every=None, seconds=1e9) == {"run.st": 7}
    assert epochs_kept(monitor="loss") == {"run.st": epochs_kept(monitor="loss", keep=2)["run.st"]}


@pytest.mark.parametrize("kind", ["bytes", "link", "no links"])
def test_the_files_before_are_kept_whatever_the_path(tmp_path, monkeypatch, kind):
    def no_link(*_, **__):
        raise PermissionError(errno.EPERM, "as on FAT")

    path = tmp_path / "run.st"
    if kind == "link":
        (tmp_path / "real").mkdir()
        path.symlink_to(tmp_path / "real" / "own")
    if kind == "no links":
        monkeypatch.setattr(os, "link", no_link)
    make().fit(*problem(), epochs=4, callbacks=Checkpoint(os.fsencode(path) if kind == "bytes" else path, keep=3))
    found = {name: load_trainer(tmp_path / name).epoch for name in os.listdir(tmp_path) if name != "real"}
    assert found == {"run.st": 4, "run.1.st": 3, "run.2.st": 2}
    assert kind != "link" or path.is_symlink() and os.listdir(tmp_path / "real") == ["own"]


def test_files_are_kept_when_saving_fails_again_and_again(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "full")

    trainer, path = make(), tmp_path / "run.st"
    trainer.fit(*problem(), epochs=4, callbacks=Checkpoint(path, keep=3))
    monkeypatch.setattr(Trainer, "save", full)
    for _ in range(3):
        with pytest.raises(OSError):
            trainer.fit(*problem(), epochs=1, callbacks=Checkpoint(path, keep=3))
    assert [load_trainer(tmp_path / name).epoch for name in ("run.st", "run.1.st", "run.2.st")] == [4, 4, 3]


@pytest.mark.parametrize("given, message", [
    ({"every": 0}, "every must be >= 1"), ({"every": None}, "every must be a number of epochs, or seconds"),
    ({"keep": 0}, "keep must be >= 1"), ({"seconds": 0}, "seconds must be > 0"),
    ({"mode": "min"}, "mode goes with monitor"),
    ({"monitor": "f1"}, "mode must be"), ({"monitor": "loss", "seconds": 1}, "seconds goes without monitor"),
    ({"path": 3}, "path|expected str"),
])
def test_what_is_no_checkpoint_is_refused(given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Checkpoint(**{"path": "run", **given})


def test_a_monitored_name_that_will_not_be_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="monitor must be one of loss, accuracy.*validation_data"):
        make().fit(*problem(), callbacks=Checkpoint(tmp_path / "run", monitor="val_loss"))


def test_a_checkpoint_that_cannot_be_written_ends_fit_with_the_old_file(tmp_path):
    path = tmp_path / "folder" / "run"
    path.parent.mkdir()
    trainer = make()

    def breaks(trainer, epoch, logs):
        if epoch == 2:
            path.rename(tmp_path / "kept")
            path.parent.rmdir()

    with pytest.raises(OSError):
        trainer.fit(*problem(), epochs=5, callbacks=[breaks, Checkpoint(path)])
    assert load_trainer(tmp_path / "kept").epoch == 2 and trainer.epoch == 3


def test_a_time_limit_counts_the_time_before(tmp_path):
    path = tmp_path / "run"
    make().fit(*problem(), epochs=2, callbacks=[TimeLimit(50), Checkpoint(path)])
    data = path.read_bytes()
    used = float.fromhex(data.split(b'.used":"')[1].split(b'"')[0].decode())
    assert 0 < used < 50
    limit = TimeLimit(used / 2)
    trainer = make()
    trainer.fit(*problem(), epochs=20, callbacks=[limit], resume=path)
    assert limit.stopped and trainer.epoch == 2  # stopped within an epoch that does not count, or after it
    trainer = make()
    trainer.fit(*problem(), epochs=5, callbacks=[TimeLimit(100)], resume=path)
    assert trainer.epoch == 5


def test_a_fit_that_has_run_out_of_time_after_an_epoch_goes_on_with_more(tmp_path):
    limit, trainer = TimeLimit(100), make()

    def run_out(trainer, epoch, logs):
        limit.seconds = 1e-9

    trainer.fit(*problem(), epochs=5, callbacks=[run_out, limit, Checkpoint(tmp_path / "run")])
    assert limit.stopped and trainer.epoch == 1
    trainer = make()
    trainer.fit(*problem(), epochs=5, callbacks=[TimeLimit(100)], resume=tmp_path / "run")
    assert trainer.epoch == 5


# ---- Trainer.save


def test_a_network_is_loaded_from_a_file_of_its_trainer(tmp_path):
    trainer = make()
    fit(trainer, tmp_path / "run")
    trainer.save(tmp_path / "run")
    assert bits(load_network(tmp_path / "run")) == bits(trainer.network)
    trainer.network.save(tmp_path / "net")
    with pytest.raises(ValueError, match="holds a network: load_network reads it"):
        load_trainer(tmp_path / "net")


def test_a_trainer_refuses_pickle_and_names_save():
    with pytest.raises(TypeError, match="save it with Trainer.save"):
        pickle.dumps(make())


def test_a_history_without_numbers_is_not_saved(tmp_path):
    trainer = make()
    trainer.fit(*problem(), callbacks=lambda trainer, epoch, logs: logs.update(note="a text"))
    with pytest.raises(TypeError, match=r"history\['note'\] must hold numbers to be saved, got 'a text'"):
        trainer.save(tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_a_state_of_zeros_takes_no_room(tmp_path):
    trainer = make(SGD(0.1))
    trainer.fit(*problem(), epochs=2)
    trainer.save(tmp_path / "run")
    assert os.path.getsize(tmp_path / "run") < 4 * trainer.network.n_parameters + 4096
    assert not any(a.any() for a in load_trainer(tmp_path / "run").state["velocity"])


def test_killed_runs_go_on_with_the_same_bits(tmp_path):
    """1,000 of them: tests/stress/kill.py."""
    assert kill.run(50, seed=7, folder=tmp_path, begin=kill.forked, most=0.15) == (50, [])


def test_callbacks_with_a_state_are_saved_if_they_are_of_mlpfast():
    assert {kind.__name__ for kind in callbacks.Stateful.__subclasses__()} == {
        "EarlyStopping", "LearningRateLogger", "TimeLimit", "Checkpoint"
    }
