"""Callbacks of Trainer.fit: functions, or objects with any of these methods.

    on_epoch_begin(trainer, epoch)      before an epoch; epochs count from 0, over all calls of fit
    on_epoch_end(trainer, epoch, logs)  after it and its validation; True ends the training. A function counts as this
    on_fit_end(trainer)                 once fit has done its epochs or a callback has ended it; not after an exception

logs is the epoch's {name: number}; what a callback adds to it goes into the History, and later callbacks see it.
trainer.history already holds the epoch. A callback may change trainer.optimizer.lr and the like, and the parameters.
An exception passes through fit: the network stays as it is at that moment, and the Trainer can go on.
Where nobody but mlpfast adds to the logs, a name they will not have is refused before the first epoch.
"""

from . import schedules
from ._monitor import Monitor, check_names, greater_is_better, number_of
from ._validate import flag, real_number


class EarlyStopping:
    """Ends the training once `monitor` has not improved by more than min_delta for `patience` epochs in a row.

    restore_best: at the end of fit, whatever ended it but an exception, the parameters go back to those after the best
        epoch. The optimizer's state does not.
    mode: "min" or "max", what is better; None goes by the name: accuracy, top_k and r2 shall rise, all else fall.

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


class LearningRateLogger:
    """Adds "lr" to the logs: the rate the epoch began with. Where a schedule moves the momentum (of Adam and AdamW
    beta1), that is added as "momentum"."""

    def on_epoch_begin(self, trainer, epoch):
        self._logs = {"lr": trainer.lr}
        momentum = schedules.momentum(trainer.optimizer.lr, trainer.epoch, trainer.steps)
        if momentum is not None:
            self._logs["momentum"] = momentum

    def on_epoch_end(self, trainer, epoch, logs):
        logs.update(self._logs)


class StopAt:
    """Ends the training once all goals are reached; fit(stop_at=goals) is short for it.

    goals: {name in the logs: number}, or a number, which is meant for "loss". Accuracy, top_k and r2 shall rise to
        their goals, all else fall to them.
    """

    def __init__(self, goals):
        if not isinstance(goals, dict):
            goals = {"loss": real_number("stop_at", goals)}
        if not goals or not all(isinstance(name, str) for name in goals):
            raise ValueError(f"stop_at must have names of the History and a number for each, got {goals!r}")
        self.goals = {name: real_number(f"stop_at[{name!r}]", goal) for name, goal in goals.items()}

    def check(self, names):
        check_names(names, "stop_at", self.goals)

    def on_epoch_end(self, trainer, epoch, logs):
        values = {name: number_of(logs, "stop_at", name) for name in self.goals}
        return all(
            values[name] >= goal if greater_is_better(name) else values[name] <= goal
            for name, goal in self.goals.items()
        )
