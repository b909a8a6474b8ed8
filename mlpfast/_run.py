"""A call of fit: its epochs and minibatches as callbacks, the History and the progress bar see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import schedules
from ._fpmode import CallersTurn
from ._scalars import whole_number
from .callbacks import Checkpoint, TimeLimit
from .history import History

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .trainer import Trainer


class Fit:
    """What files hold of a call of fit.

    callbacks: as given. data: {name: a number that the data must have in common with those of a fit that goes on}.
    begun: the settings when it began, as texts, None if nobody asks. epochs: those done. ended: whether a callback has
    ended it, so that nothing is left to do. done, result: the minibatches done of the present epoch, and what the core
    has counted over them.
    """

    callbacks: Any
    data: dict[str, Any]
    epochs: int
    begun: dict[str, str] | None
    ended: bool
    done: int
    result: dict[str, Any] | None

    def __init__(self, callbacks: Any = (), data: dict[str, Any] | None = None) -> None:
        self.callbacks, self.data = callbacks, data or {}
        self.begun, self.epochs, self.ended, self.done, self.result = None, 0, False, 0, None


def shapes(rows: Any, validation: Any, accumulate: int) -> dict[str, Any]:
    """The data of a Fit. rows: TrainingRows, or WindowsOfSource. Of a source of unknown length there are 0."""
    data = rows.data
    found = {
        "rows": len(data), "validation_rows": 0 if validation is None else len(validation), "accumulate": accumulate,
        "weighted": data.weights is not None,
    }
    if rows.window_rows is not None:
        found["window_rows"] = rows.window_rows
    return found


class Run:
    """callbacks: their callbacks.Methods. numbers: Logs. bar: Progress. epochs: at most. fit: a Fit."""

    callbacks: list[Any]
    trainer: Trainer
    numbers: Any
    bar: Any
    epochs: int
    fit: Fit
    history: History
    watching: list[Any]
    stopped: bool

    def __init__(
        self, trainer: Trainer, callbacks: Iterable[Any], numbers: Any, bar: Any, epochs: int, fit: Fit,
    ) -> None:
        # Checkpoints are called last: they save what the others have seen.
        self.callbacks = sorted(callbacks, key=lambda each: isinstance(each.callback, Checkpoint))
        self.trainer, self.numbers, self.bar, self.epochs, self.fit = trainer, numbers, bar, epochs, fit
        self.history = History()
        self.stopped = False  # whether a callback has ended the training, within an epoch or after one
        self.watching = [callback for callback in self.callbacks if callback.on_batch_end is not None]
        self.strides()  # a bad one is refused before anything starts

    @property
    def left(self) -> int:
        """The number of epochs to train."""
        return 0 if self.fit.ended else max(self.epochs - self.fit.epochs, 0)

    def begin(self) -> None:
        """Before an epoch, unless it was begun before a checkpoint."""
        self.bar.begin()
        if self.callbacks and not self.fit.done:
            with CallersTurn():
                for callback in self.callbacks:
                    callback.on_epoch_begin(self.trainer, self.trainer.epoch)

    def take_up(self) -> tuple[int, Any]:
        """(minibatches of the epoch that a checkpoint has done, what the core has counted over them or None)"""
        return self.fit.done, self.fit.result if self.fit.done else None

    def is_at(self, result: dict[str, Any]) -> None:
        """What the core has counted of the epoch so far, for files."""
        self.fit.done, self.fit.result = result["minibatches"], result

    def strides(self) -> list[int]:
        """The present every_batches of each callback that is watching."""
        return [whole_number("every_batches", callback.every_batches, least=1) for callback in self.watching]

    def next_stop(self, done: int, total: int) -> int:
        """The number of minibatches of the epoch after which to call batch_end next, if `done` of `total` are done."""
        strides = [*self.strides(), self.bar.pace.stride] if self.bar.wanted else self.strides()
        return min([total, *(done + stride - done % stride for stride in strides)])

    def batch_end(self, done: int, sums: Any) -> bool:
        """After so many minibatches of the epoch; sums: of these, as Loop.epoch returns them -> whether to stop, with
        the epoch not counted."""
        if not (self.watching or self.bar.wanted):
            return False
        logs = self.numbers.means(sums)
        self.bar.move(done, logs)
        called = [c for c, stride in zip(self.watching, self.strides(), strict=True) if done % stride == 0]
        with CallersTurn():
            wishes = [c.on_batch_end(self.trainer, self.trainer.epoch, done - 1, logs) for c in called]
        self.stopped = any(map(_is_true, wishes))
        return self.stopped

    def end(self, sums: Any, **logs: float) -> bool:
        """After an epoch; arguments as Loop.epoch returns them -> whether to stop."""
        trainer, fit = self.trainer, self.fit
        if self.bar.rows is None and fit.result is not None:
            self.bar.counted(fit.result["rows"])
        trainer._epoch += 1  # checked by fit; the setter takes longer
        fit.epochs, fit.done, fit.result = fit.epochs + 1, 0, None
        logs = self.numbers.of_epoch(sums, **logs)
        self.history.append(logs)
        self.bar.show(logs)
        if self.callbacks:
            with CallersTurn():
                self.call(logs)
        else:
            self.observe(logs, [])
        return self.stopped

    def call(self, logs: dict[str, float]) -> None:
        """on_epoch_end of the callbacks. A schedule observes as soon as it can, before those that save at the
        latest."""
        trainer = self.trainer
        observed: list = []
        names = set(logs)
        for each in self.callbacks:
            self.observe(logs, observed, only_ready=not isinstance(each.callback, Checkpoint))
            wish = each.on_epoch_end(trainer, trainer.epoch - 1, logs)
            if logs.keys() != names:
                self.history.add_to_last(logs)
                names = set(logs)
            if _is_true(wish):
                self.stopped = True
                self.fit.ended |= type(each.callback) is not TimeLimit  # more time may be given
        self.observe(logs, observed)

    def observe(self, logs: dict[str, float], observed: list[Any], only_ready: bool = False) -> None:
        """Pass the logs to the schedules that are not yet among those observed, and add them."""
        for schedule in self.trainer._all_schedules():
            if any(schedule is other for other in observed) or only_ready and not schedules.is_ready(schedule, logs):
                continue
            observed.append(schedule)
            schedules.observe(schedule, logs)

    def finish(self) -> None:
        """After the last epoch."""
        if self.left and not self.stopped:  # LBFGS has converged
            self.fit.ended = True
        with CallersTurn():
            for callback in sorted(self.callbacks, key=lambda each: not isinstance(each.callback, Checkpoint)):
                callback.on_fit_end(self.trainer)  # what saves comes first: others may restore earlier parameters
        if not self.history:  # ended within the first epoch
            self.history.update({name: [] for name in self.numbers.names()})


def _is_true(wish):
    return isinstance(wish, (bool, np.bool_)) and bool(wish)
