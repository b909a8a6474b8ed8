"""Callbacks of Trainer.fit: functions, or objects with any of these methods.

    on_epoch_begin(trainer, epoch)      before an epoch; epochs count from 0, over all calls of fit
    on_epoch_end(trainer, epoch, logs)  after it and its validation; True ends the training. A function counts as this
    on_fit_end(trainer)                 once fit has done its epochs or a callback has ended it; not after an exception

An object with none of them that is no function either, or with a method whose name is nearly one of them or looks as if
fit called it (on_train_end), is refused before the first epoch.

logs is the epoch's {name: number}; what a callback adds to it goes into the History, and later callbacks see it.
trainer.history already holds the epoch. A callback may change trainer.optimizer.lr and the like, and the parameters.
An exception passes through fit: the network stays as it is at that moment, and the Trainer can go on.
Where nobody but mlpfast adds to the logs, a name they will not have is refused before the first epoch.
"""

import functools
import weakref

from . import schedules
from ._attributes import Closed
from ._monitor import Monitor, check_names, goal, number_of
from ._scalars import flag, real_number

METHODS = {"on_epoch_begin": "(trainer, epoch)", "on_epoch_end": "(trainer, epoch, logs)", "on_fit_end": "(trainer)"}

# Classes of callbacks whose methods were looked at: that takes longer than a small epoch.
_looked_at: weakref.WeakSet[type] = weakref.WeakSet()


def methods_of(callback):
    """The methods of a callback, in the order of METHODS, a function that does nothing for each it has not."""
    if isinstance(callback, type):
        raise TypeError(f"callbacks must hold objects, got the class {callback.__name__}: call it")
    _refuse_near_misses(callback, getattr(callback, "__dict__", ()))
    if type(callback) not in _looked_at:
        _refuse_near_misses(callback, dir(type(callback)))
        _looked_at.add(type(callback))
    methods = {name: getattr(callback, name, None) for name in METHODS}
    if all(method is None for method in methods.values()):
        if not callable(callback):
            raise TypeError(f"callbacks must be functions or have one of the methods {_known()}, got {callback!r}")
        methods["on_epoch_end"] = callback
    return [method or _nothing for method in methods.values()]


def _refuse_near_misses(callback, names):
    for name in names:
        if name[:1] != "_" and _looks_like_ours(name) and callable(getattr(callback, name, None)):
            raise TypeError(f"callbacks have the methods {_known()}, got {name}, which fit does not call: {callback!r}")


def _known():
    return ", ".join(name + arguments for name, arguments in METHODS.items())


@functools.lru_cache(maxsize=1000)
def _looks_like_ours(name):
    """Whether a method of that name is meant to be one of METHODS: on_epoch_ends, on_train_end, epoch_end."""
    if name in METHODS:
        return False
    words = {word for method in METHODS for word in method.split("_")[1:]} | {"train", "batch"}  # and those of others
    first, *more = name.split("_")
    if first == "on" and words.intersection(more):
        return True
    import difflib  # here, because few need it

    return bool(difflib.get_close_matches(_plain(name), map(_plain, METHODS), n=1, cutoff=0.9))


def _plain(name):
    return name.replace("_", "").lower().removeprefix("on")


def _nothing(*_):
    return None


class EarlyStopping(Closed):
    """Ends the training once `monitor` has not improved by more than min_delta for `patience` epochs in a row.

    restore_best: at the end of fit, whatever ended it but an exception, the parameters go back to those after the best
        epoch. The optimizer's state does not.
    mode: "min" or "max", what is better. None goes by the name: loss, objective, mae and mse shall fall; accuracy,
        exact_match, top_k and r2 rise; also with "val_". For any other name it must be given.

    .best and .best_epoch say what and when it was, .stopped_epoch the epoch it ended (None so far). Epochs count from 0
    over all calls of fit, as Trainer.epoch does: history["loss"][best_epoch] is that epoch's if fit was called once.
    Fit called again with the same object goes on from there; with another Trainer it starts anew, and so does a pickled
    one, which keeps what it has found until then.
    Prechelt (1998), "Early stopping - but when?".
    """

    def __init__(self, monitor="val_loss", patience=5, min_delta=0.0, restore_best=True, mode=None):
        self._settings = (monitor, patience, min_delta, mode)
        self.restore_best = flag("restore_best", restore_best)
        self._start(None)

    def _start(self, trainer):
        self._trainer, self._monitor, self._parameters = trainer, Monitor(*self._settings), None
        self.best_epoch = self.stopped_epoch = None

    def __getstate__(self):
        return {**vars(self), "_trainer": None}  # which cannot be pickled

    @property
    def best(self):
        return self._monitor.best

    def check(self, names):
        self._monitor.check(names)

    def __repr__(self):
        settings = ", ".join(f"{name}={value!r}" for name, value in self._monitor.settings().items())
        best = "" if self.best_epoch is None else f": best {self.best:.6g} in epoch {self.best_epoch}"
        return f"<EarlyStopping({settings}){best}>"

    def on_epoch_end(self, trainer, epoch, logs):
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

    def on_fit_end(self, trainer):
        if self._parameters is not None:
            for parameter, best in zip(trainer.network.parameters, self._parameters, strict=True):
                parameter[...] = best


class LearningRateLogger(Closed):
    """Adds "lr" to the logs: the rate the epoch began with. Where a schedule moves the momentum (of Adam and AdamW
    beta1), that is added as "momentum"."""

    def __init__(self):
        self._logs = {}

    def on_epoch_begin(self, trainer, epoch):
        self._logs = {"lr": trainer.lr}
        momentum = schedules.momentum(trainer.optimizer.lr, trainer.epoch, trainer.steps)
        if momentum is not None:
            self._logs["momentum"] = momentum

    def on_epoch_end(self, trainer, epoch, logs):
        logs.update(self._logs)


class StopAt(Closed):
    """Ends the training once all goals are reached; fit(stop_at=goals) is short for it.

    goals: {name in the logs: number}, or a number, which is meant for "loss". Losses, objective, mae and mse shall fall
        to their goals; accuracy, exact_match, top_k and r2 rise. For any other name it must be said, by a pair:
        {"f1": (">=", 0.95)}, or "<=".
    """

    def __init__(self, goals):
        if not isinstance(goals, dict):
            goals = {"loss": real_number("stop_at", goals)}
        if not goals or not all(isinstance(name, str) for name in goals):
            raise ValueError(f"stop_at must have names of the History and a number for each, got {goals!r}")
        self.goals = dict(goals)
        self.check(None)

    def check(self, names):
        """ValueError for a goal that cannot be reached in logs of those names (None: any)."""
        for name, value in self.goals.items():
            goal(name, value)
        if names is not None:
            check_names(names, "stop_at", self.goals)

    def on_epoch_end(self, trainer, epoch, logs):
        reached = []
        for name, value in self.goals.items():
            rises, number = goal(name, value)
            now = number_of(logs, "stop_at", name)
            reached.append(now >= number if rises else now <= number)
        return all(reached)


def all_of(callbacks, stop_at):
    """The `callbacks` and `stop_at` arguments of fit as one list."""
    if not isinstance(callbacks, type) and not hasattr(callbacks, "__iter__"):
        callbacks = [callbacks]
    return [*callbacks, *([] if stop_at is None else [StopAt(stop_at)])]


def check_monitored(callbacks, names):
    """ValueError if a callback needs a number that the logs will not have, or whose direction is not known.

    names: of the numbers that fit puts into the logs. Returns the names of all numbers there will be, or None if a
    callback of another class may add some.
    """
    known = all(type(callback) in (EarlyStopping, LearningRateLogger, StopAt) for callback in callbacks)
    names = list(names) if known else None
    for callback in callbacks:
        if isinstance(callback, LearningRateLogger) and names:
            names += ["lr", "momentum"]  # for the callbacks after it
        elif isinstance(callback, (EarlyStopping, StopAt)):
            callback.check(names)
    return names
