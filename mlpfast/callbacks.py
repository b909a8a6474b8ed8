"""Callbacks of Trainer.fit: functions, or objects with any of these methods.

    on_epoch_begin(trainer, epoch)      before an epoch; epochs count from 0, over all calls of fit
    on_batch_end(trainer, epoch, batch, logs)
                                        after every `every_batches` minibatches of an epoch, an attribute (1 without it)
    on_epoch_end(trainer, epoch, logs)  after an epoch and its validation; returning True ends the training
    on_fit_end(trainer)                 when fit ends after its epochs or by a callback, but not by an exception

A function is called as on_epoch_end. An object with none of these methods, or with a method whose name is similar to
one of them or to those of other libraries (on_train_end), or which does not take these arguments, is refused before the
first epoch.

logs is the epoch's {name: number}; entries that a callback adds go into the History and are seen by later callbacks.
trainer.history already contains the epoch. A callback may change settings such as trainer.optimizer.lr, and parameters.
An exception in a callback ends fit; the network keeps its current state, and the Trainer can be used further.

on_batch_end is called once minibatches every_batches - 1, 2 every_batches - 1, ... of the epoch are done, which count
from 0; its logs are the loss and the like over the epoch's minibatches so far, and do not go into the History.
every_batches is read each time. Returning True ends the training at once: as after Ctrl-C, the epoch does not count
(Trainer.epoch, History and on_epoch_end), even after its last minibatch, but fit returns. In between, the core takes
that many minibatches in one call; with optimizers of all rows at once, an epoch is one minibatch.

If only built-in callbacks add to the logs, a monitored name that the logs will not have is refused before the first
epoch.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import time
import weakref
from typing import TYPE_CHECKING, Any

from . import _core, schedules
from ._attributes import Closed
from ._monitor import Monitor, check_names, goal, number_of
from ._pace import Pace
from ._scalars import flag, real_number, whole_number

__all__ = ["Checkpoint", "EarlyStopping", "LearningRateLogger", "StopAt", "TimeLimit"]

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._types import Goals, PathLike
    from .history import History
    from .trainer import Trainer

METHODS = {
    "on_epoch_begin": "(trainer, epoch)", "on_epoch_end": "(trainer, epoch, logs)", "on_fit_end": "(trainer)",
    "on_batch_end": "(trainer, epoch, batch, logs)",
}

# Classes of callbacks whose method names have been checked: checking takes longer than a small epoch.
_looked_at: weakref.WeakSet[type] = weakref.WeakSet()


class _Methods:
    """The METHODS of a callback, checked; no-ops in place of missing ones, and None for on_batch_end."""

    callback: Any
    on_batch_end: Any
    on_epoch_begin: Any
    on_epoch_end: Any
    on_fit_end: Any

    def __init__(self, callback: Any) -> None:
        found = _found(callback)
        self.callback, self.on_batch_end = callback, found["on_batch_end"]
        self.on_epoch_begin, self.on_epoch_end, self.on_fit_end = (
            found[name] or _nothing for name in ("on_epoch_begin", "on_epoch_end", "on_fit_end")
        )

    @property
    def every_batches(self) -> Any:
        return getattr(self.callback, "every_batches", 1)


def methods_of(callback: Any) -> _Methods:
    """The _Methods of a callback."""
    return _Methods(callback)


def _found(callback):
    """{name: method, or None where the callback does not have it}"""
    if isinstance(callback, type):
        raise TypeError(f"callbacks must hold objects, got the class {callback.__name__}: call it")
    own = getattr(callback, "__dict__", ())
    _refuse_near_misses(callback, own)
    new = type(callback) not in _looked_at
    if new:
        _refuse_near_misses(callback, dir(type(callback)))
    methods = {name: getattr(callback, name, None) for name in METHODS}
    if all(method is None for method in methods.values()):
        if not callable(callback):
            raise TypeError(f"callbacks must be functions or have one of the methods {_known()}, got {callback!r}")
        _check_takes("a function in callbacks", "on_epoch_end", callback, callback)
        methods["on_epoch_end"] = callback
        _looked_at.add(type(callback))  # functions, for one
        return methods
    for name, method in methods.items():
        if method is not None and (new or name in own):
            _check_takes(f"{name} of a callback", name, method, callback)
    if methods["on_batch_end"] is not None and not hasattr(callback, "every_batches"):
        for name in dir(callback):
            if name[:1] != "_" and _looks_like_every_batches(name):
                raise TypeError(f"callbacks have the attribute every_batches, got {name}, which fit does not read: "
                                f"{callback!r}")
    _looked_at.add(type(callback))
    return methods


def _check_takes(what, name, method, callback):
    """TypeError if what fit passes to METHODS[name] does not fit the method's signature, where it has one."""
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # some functions written in C
        return
    try:
        signature.bind(*METHODS[name].split(","))
    except TypeError:
        raise TypeError(f"{what} must take {METHODS[name]}, got {signature}: {callback!r}") from None


def _refuse_near_misses(callback, names):
    for name in names:
        if name[:1] != "_" and _looks_like_ours(name) and callable(getattr(callback, name, None)):
            raise TypeError(f"callbacks have the methods {_known()}, got {name}, which fit does not call: {callback!r}")


def _known():
    return ", ".join(name + arguments for name, arguments in METHODS.items())


@functools.lru_cache(maxsize=1000)
def _looks_like_ours(name):
    """Whether a method name was probably meant as one of METHODS: on_epoch_ends, on_train_end, epoch_end."""
    if name in METHODS:
        return False
    words = {word for method in METHODS for word in method.split("_")[1:]}
    words |= {"train", "batch"}  # used by other libraries
    first, *more = name.split("_")
    if first == "on" and words.intersection(more):
        return True
    import difflib  # here, since it is rarely needed

    return bool(difflib.get_close_matches(_plain(name), map(_plain, METHODS), n=1, cutoff=0.9))


@functools.lru_cache(maxsize=1000)
def _looks_like_every_batches(name):
    import difflib

    return bool(difflib.get_close_matches(_plain(name), ["everybatches"], n=1, cutoff=0.9))


def _plain(name):
    return name.replace("_", "").lower().removeprefix("on")


def _nothing(*_):
    return None


class Stateful(Closed):
    """A callback that goes on where it was, from a file of Trainer.save: the file holds its `state`, a dict of numbers,
    names, and lists of an array for each parameter of the network."""

    @property
    def state(self) -> dict[str, Any]:
        """What it has seen, for files: a dict of plain values and lists of arrays."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """What a callback must have in common with the one whose state it takes."""
        return {}

    def resume(self, trainer: Trainer, state: dict[str, Any]) -> None:
        """Go on in that Trainer from a state that a file holds, and check_state has passed."""
        raise NotImplementedError

    @staticmethod
    def check_state(state: dict[str, Any]) -> None:
        """ValueError or TypeError unless it can be resumed from."""
        raise NotImplementedError


def _check_entries(state, *names):
    for name in {**dict.fromkeys(names), **state}:
        if name not in state or name not in names:
            raise ValueError(f"{name!r} is {'unknown' if name in state else 'missing'}")


class EarlyStopping(Stateful):
    """Ends the training when `monitor` has not improved by more than min_delta for `patience` epochs in a row.

    monitor: a name of the logs.
    restore_best: at the end of fit, unless by an exception, the parameters are restored to those after the best epoch.
        The optimizer's state is not.
    mode: "min" or "max", whichever is better. None: "min" for loss, objective, mae and mse, "max" for accuracy,
        exact_match, top_k and r2, also with "val_". For other names it must be given.

    .best is the best value, .best_epoch its epoch, .stopped_epoch the epoch after which it ended the training, or None.
    Epochs count from 0 over all calls of fit, like Trainer.epoch: if fit was called once, history["loss"][best_epoch]
    is the loss of the best epoch. Another call of fit with the same Trainer continues the count; with another Trainer
    it restarts. A pickled copy keeps the results, and restarts with its next fit. After an exception or Ctrl-C,
    restore(trainer) sets the best parameters.
    Prechelt (1998), "Early stopping - but when?".

    ValueError or TypeError for a setting that does not fit, and in fit, before the first epoch, for a name that the
    logs will not have.

    >>> import mlpfast
    >>> from mlpfast.callbacks import EarlyStopping
    >>> X, y = mlpfast.datasets.load_digits()
    >>> trainer = mlpfast.Trainer(mlpfast.Network([64, 32, 10], output="softmax", seed=0), optimizer="adam", seed=0)
    >>> stopping = EarlyStopping("val_accuracy", patience=3)
    >>> history = trainer.fit(X, y, epochs=50, validation_split=0.2, callbacks=stopping)
    >>> stopping.best_epoch, stopping.stopped_epoch, round(stopping.best, 3)
    (27, 30, 0.953)
    """

    restore_best: bool
    best_epoch: int | None
    stopped_epoch: int | None

    def __init__(
        self,
        monitor: str | None = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str | None = None,
    ) -> None:
        self._settings = (monitor, patience, min_delta, mode)
        self.restore_best = flag("restore_best", restore_best)
        self._start(None)

    def _start(self, trainer):
        self._trainer, self._monitor, self._parameters = trainer, Monitor(*self._settings), None
        self.best_epoch = self.stopped_epoch = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_trainer": None}  # which cannot be pickled

    @property
    def best(self) -> float:
        """The best value of the monitored number, NaN before the first epoch."""
        return self._monitor.best

    def check(self, names: Iterable[str] | None) -> None:
        """ValueError if the number that it monitors is not among `names`, those of the logs."""
        self._monitor.check(names)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._monitor.settings().items())
        best = "" if self.best_epoch is None else f": best {self.best:.6g} in epoch {self.best_epoch}"
        return f"<EarlyStopping({settings}){best}>"

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> bool:
        """Compare the monitored number with the best -> True to end the training."""
        if trainer is not self._trainer:
            self._start(trainer)
        if self._monitor.observe(logs):
            self.best_epoch = epoch
            if self.restore_best:
                self._parameters = [p.copy() for p in trainer.network.parameters]
        if not self._monitor.ran_out():
            return False
        self.stopped_epoch = epoch
        return True

    def on_fit_end(self, trainer: Trainer) -> None:
        """Restore the best parameters."""
        if self._parameters is not None:
            self.restore(trainer)

    def restore(self, trainer: Trainer) -> None:
        """Set the parameters to those after the best epoch, as the end of fit does unless it is by an exception.

        RuntimeError if there are none: before an epoch of this Trainer, with restore_best=False, or if another thread
        trains the network.

        trainer: the one that fit was called of, whose network's parameters are changed in place.

        >>> import mlpfast
        >>> stopping = mlpfast.callbacks.EarlyStopping("loss", patience=2)
        >>> net = mlpfast.Network([1, 1], init="zeros")
        >>> trainer = mlpfast.Trainer(net, "half_squared_error", batch_size=1)
        >>> history = trainer.fit([[1.0]], [1.0], epochs=3, callbacks=stopping)
        >>> net.layers[0].b = 7
        >>> stopping.restore(trainer)
        >>> net.layers[0].b.round(4)
        array([0.0294], dtype=float32)
        """
        if trainer is not self._trainer or self._parameters is None:
            why = "it was made with restore_best=False" if not self.restore_best else "no epoch of this Trainer is done"
            raise RuntimeError(f"EarlyStopping has no parameters to restore: {why}")
        with _core.Training(trainer.network._core):
            for parameter, best in zip(trainer.network.parameters, self._parameters, strict=True):
                parameter[...] = best

    def arguments(self) -> dict[str, Any]:
        return {**self._monitor.settings(), "restore_best": self.restore_best}

    @property
    def state(self) -> dict[str, Any]:
        """What it has seen."""
        own = {"best_epoch": self.best_epoch, "stopped_epoch": self.stopped_epoch, "parameters": self._parameters}
        return {**self._monitor.state, **own}

    def resume(self, trainer: Trainer, state: dict[str, Any]) -> None:
        self._start(trainer)
        self._monitor.state = state
        self.best_epoch, self.stopped_epoch = state["best_epoch"], state["stopped_epoch"]
        self._parameters = state["parameters"]

    @staticmethod
    def check_state(state: dict[str, Any]) -> None:
        _check_entries(state, "best", "waited", "best_epoch", "stopped_epoch", "parameters")
        Monitor.check_state(state)
        for name in ("best_epoch", "stopped_epoch"):
            if state[name] is not None:
                whole_number(name, state[name], least=0)
        if not isinstance(state["parameters"], (list, type(None))):
            raise TypeError(f"parameters must be arrays, got {state['parameters']!r}")


class LearningRateLogger(Stateful):
    """Adds "lr" to the logs, the learning rate at the beginning of the epoch, and "momentum" if a schedule changes the
    momentum (for Adam and AdamW beta1).

    It has no settings, and no errors of its own.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], seed=0)
    >>> optimizer = mlpfast.SGD(lr=mlpfast.schedules.Step(0.1, factor=0.5, every=2))
    >>> trainer = mlpfast.Trainer(net, "half_squared_error", optimizer)
    >>> history = trainer.fit([[1.0]], [1.0], epochs=4, callbacks=mlpfast.callbacks.LearningRateLogger())
    >>> history["lr"]
    [0.1, 0.1, 0.05, 0.05]
    """

    def __init__(self) -> None:
        self._logs: dict[str, float] = {}

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Read the present rate and momentum."""
        self._logs = {"lr": trainer.lr}
        momentum = schedules.momentum(trainer.optimizer.lr, trainer.epoch, trainer.steps)
        if momentum is not None:
            self._logs["momentum"] = momentum

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """Add them to the logs."""
        logs.update(self._logs)

    @property
    def state(self) -> dict[str, Any]:
        return {"logs": self._logs}

    def resume(self, trainer: Trainer, state: dict[str, Any]) -> None:
        self._logs = dict(state.get("logs", {}))

    @staticmethod
    def check_state(state: dict[str, Any]) -> None:
        _check_entries({"logs": {}, **state}, "logs")
        for name, value in dict(state.get("logs", {})).items():
            real_number(name, value)


class StopAt(Closed):
    """Ends the training when all goals are reached; fit(stop_at=goals) is a shorthand.

    goals: {name in the logs: number}, or a number, which is for "loss". Losses, objective, mae and mse reach a goal
        from above, accuracy, exact_match, top_k and r2 from below. Other names need a pair: {"f1": (">=", 0.95)}, or
        "<=".

    ValueError or TypeError for goals that do not fit; in fit, before the first epoch, also for a name that the logs
    will not have.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> trainer = mlpfast.Trainer(mlpfast.Network([64, 32, 10], output="softmax", seed=0), optimizer="adam", seed=0)
    >>> goals = mlpfast.callbacks.StopAt({"accuracy": 0.8, "loss": 1.0})
    >>> trainer.fit(X, y, epochs=50, callbacks=goals)
    <History of 7 epochs: last loss 0.9123, accuracy 0.8776>
    """

    goals: dict[str, Any]

    def __init__(self, goals: Goals) -> None:
        if not isinstance(goals, dict):
            goals = {"loss": real_number("stop_at", goals)}
        if not goals or not all(isinstance(name, str) for name in goals):
            raise ValueError(f"stop_at must have names of the History and a number for each, got {goals!r}")
        self.goals = dict(goals)
        self.check(None)

    def check(self, names: Iterable[str] | None) -> None:
        """ValueError for a goal whose name is not among `names`, those of the logs (None: unknown)."""
        for name, value in self.goals.items():
            goal(name, value)
        if names is not None:
            check_names(names, "stop_at", self.goals)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> bool:
        """True if all goals are reached."""
        reached = []
        for name, value in self.goals.items():
            rises, number = goal(name, value)
            now = number_of(logs, "stop_at", name)
            reached.append(now >= number if rises else now <= number)
        return all(reached)


class TimeLimit(Stateful):
    """Ends the training between two minibatches, about `seconds` after the first epoch of a call of fit has begun.

    It looks at the clock some twenty times a second, and after each epoch. The epoch that it ends early does not count.
    .stopped says whether it has ended the training. A fit that goes on from a file has used the time before too. Which
    minibatch is the last depends on the machine.

    seconds > 0, else ValueError or TypeError.

    >>> import mlpfast
    >>> limit = mlpfast.callbacks.TimeLimit(seconds=0.05)
    >>> trainer = mlpfast.Trainer(mlpfast.Network([1, 1]), "half_squared_error")
    >>> history = trainer.fit([[1.0]], [1.0], epochs=10**6, callbacks=limit)
    >>> limit.stopped
    True
    """

    seconds: float
    stopped: bool

    def __init__(self, seconds: float) -> None:
        self.seconds = real_number("seconds", seconds, above=0)
        self.stopped = False
        self._history: History | None = None
        self._pace, self._start = Pace(), 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_history": None}

    @property
    def every_batches(self) -> int:
        """How many minibatches there are between two looks at the clock."""
        return self._pace.stride

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Begin to count, in the first epoch of a call of fit."""
        if trainer.history is not self._history:  # another call of fit
            self._history, self._start, self.stopped = trainer.history, time.monotonic(), False
        self._pace.start()

    def on_batch_end(self, trainer: Trainer, epoch: int, batch: int, logs: dict[str, float]) -> bool:
        """True if the time is over."""
        return self._is_over(self._pace.look())

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> bool:
        """True if the time is over."""
        return self._is_over(time.monotonic())

    @property
    def state(self) -> dict[str, Any]:
        return {"used": 0.0 if self._history is None else time.monotonic() - self._start}

    def resume(self, trainer: Trainer, state: dict[str, Any]) -> None:
        self._history, self._start, self.stopped = trainer.history, time.monotonic() - state["used"], False

    @staticmethod
    def check_state(state: dict[str, Any]) -> None:
        _check_entries(state, "used")
        real_number("used", state["used"], least=0)

    def _is_over(self, now):
        self.stopped = now - self._start >= self.seconds
        return self.stopped


class Checkpoint(Stateful):
    """Saves the Trainer to a file after every `every` epochs and at the end, as Trainer.save does, so that
    fit(..., resume=path) goes on from there with the same bits after a crash.

    path: of the file.
    every: a number of epochs, or None, with `seconds`.
    monitor, mode: as for EarlyStopping; then only epochs are saved after which it is the best so far. None: all.
    keep: how many files to keep: "run.safetensors" is the newest, "run.1.safetensors" the one before, and so on.
    seconds: saves as well whenever that time has passed since the last save, also within an epoch, of which nothing
        is done again then. (Not within the epochs of optimizers that take all rows at once.)

    It is always called after the other callbacks. A file that cannot be written raises OSError and leaves the old one.

    ValueError or TypeError for a setting that does not fit.

    >>> import os
    >>> import mlpfast
    >>> trainer = mlpfast.Trainer(mlpfast.Network([1, 1], seed=0), "half_squared_error", seed=0)
    >>> checkpoint = mlpfast.callbacks.Checkpoint("run.safetensors", every=2, keep=2)
    >>> history = trainer.fit([[1.0]], [1.0], epochs=4, callbacks=checkpoint)
    >>> sorted(os.listdir())
    ['run.1.safetensors', 'run.safetensors']
    >>> mlpfast.load_trainer("run.1.safetensors").epoch
    2
    """

    path: str
    every: int | None
    seconds: float | None
    keep: int
    on_batch_end: Any

    def __init__(
        self,
        path: PathLike,
        every: int = 1,
        monitor: str | None = None,
        mode: str | None = None,
        keep: int = 1,
        seconds: float | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.every = None if every is None else whole_number("every", every, least=1)
        self.seconds = None if seconds is None else real_number("seconds", seconds, above=0)
        if self.every is None and self.seconds is None:
            raise ValueError("every must be a number of epochs, or seconds be given, got None for both")
        if mode is not None and monitor is None:
            raise ValueError(f"mode goes with monitor, got mode={mode!r} without it")
        if monitor is not None and self.seconds is not None:
            raise ValueError("seconds goes without monitor, whose numbers are there after an epoch, got both")
        self._monitor = None if monitor is None else Monitor(monitor, 1, 0.0, mode)
        self.keep = whole_number("keep", keep, least=1)
        self._pace, self._time, self._last = Pace(), 0.0, None
        if self.seconds is not None:
            self.on_batch_end = self._on_batch_end  # others need no stop within an epoch

    def check(self, names: Iterable[str] | None) -> None:
        """ValueError if the number that it monitors is not among `names`, those of the logs."""
        if self._monitor is not None:
            self._monitor.check(names)

    @property
    def every_batches(self) -> int:
        """How many minibatches there are between two looks at the clock, with `seconds`."""
        return self._pace.stride

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Begin to count."""
        if self._last is None:
            self._last, self._time = self._done(trainer), time.monotonic()
        self._pace.start()

    def _on_batch_end(self, trainer, epoch, batch, logs):
        # With all rows at once, the step of an epoch is done and the epoch not yet: no place to go on from.
        if self._pace.look() - self._time >= self.seconds and trainer._fit.done:
            self._save(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """Save, if this epoch is one to be saved."""
        due = self.every is not None and (epoch + 1) % self.every == 0
        due |= self.seconds is not None and time.monotonic() - self._time >= self.seconds
        if self._monitor is not None:
            due = self._monitor.observe(logs) and due
        if due:
            self._save(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Save what has not been saved yet."""
        if self._monitor is None and self._last != self._done(trainer):
            self._save(trainer)

    def _save(self, trainer):
        if self.keep > 1 and os.path.exists(self.path):
            self._move_older(os.path.realpath(os.fsdecode(self.path)))
        trainer.save(self.path)
        self._last, self._time = self._done(trainer), time.monotonic()

    def _move_older(self, newest):
        root, suffix = os.path.splitext(os.fsdecode(self.path))
        older = [f"{root}.{number}{suffix}" for number in range(1, self.keep)]
        with contextlib.suppress(FileNotFoundError):
            if os.path.samefile(newest, older[0]):  # moved before, and then not saved
                return
        for number in range(self.keep - 2, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(older[number - 1], older[number])
        with contextlib.suppress(FileNotFoundError):
            os.unlink(older[0])
        try:
            os.link(newest, older[0])  # another name, so that there is a file at path at any time
        except OSError:  # a file system without such names
            import shutil

            shutil.copyfile(newest, older[0])

    @staticmethod
    def _done(trainer):
        return trainer.epoch, trainer.steps, trainer._fit.ended

    @property
    def state(self) -> dict[str, Any]:
        return {} if self._monitor is None else self._monitor.state

    def resume(self, trainer: Trainer, state: dict[str, Any]) -> None:
        self._last, self._time = self._done(trainer), time.monotonic()
        if self._monitor is not None:
            self._monitor.state = state

    @staticmethod
    def check_state(state: dict[str, Any]) -> None:
        if state:
            _check_entries(state, "best", "waited")
            Monitor.check_state(state)


def all_of(callbacks: Any, stop_at: Goals | None) -> list[Any]:
    """The `callbacks` and `stop_at` arguments of fit as one list."""
    if callbacks is None:
        callbacks = []
    elif isinstance(callbacks, (str, type)) or not hasattr(callbacks, "__iter__"):
        callbacks = [callbacks]
    return [*callbacks, *([] if stop_at is None else [StopAt(stop_at)])]


def check_monitored(callbacks: Sequence[Any], names: Iterable[str]) -> list[str] | None:
    """ValueError if a callback needs a number that the logs will not have, or whose direction is not known.

    names: of the numbers that fit puts into the logs. Returns the names of all numbers there will be, or None if a
    callback of another class may add some.
    """
    own = (EarlyStopping, LearningRateLogger, StopAt, TimeLimit, Checkpoint)
    known = all(type(callback) in own for callback in callbacks)
    names = list(names) if known else None
    for callback in callbacks:
        if isinstance(callback, LearningRateLogger) and names:
            names += ["lr", "momentum"]  # for the callbacks after it
        elif isinstance(callback, (EarlyStopping, StopAt, Checkpoint)):
            callback.check(names)
    return names
