"""A call of fit: its epochs and minibatches as callbacks, the History and the progress bar see them."""

import numpy as np

from . import schedules
from ._fpmode import CallersTurn
from ._scalars import whole_number


class Run:
    """callbacks: their callbacks.Methods. numbers: Logs. bar: Progress. history: History."""

    def __init__(self, trainer, callbacks, numbers, bar, history):
        self.trainer, self.callbacks, self.numbers, self.bar, self.history = trainer, callbacks, numbers, bar, history
        self.watching = [callback for callback in callbacks if callback.on_batch_end is not None]
        self.strides()  # a bad one is refused before anything starts

    def begin(self):
        """Before an epoch."""
        self.bar.begin()
        if self.callbacks:
            with CallersTurn():
                for callback in self.callbacks:
                    callback.on_epoch_begin(self.trainer, self.trainer.epoch)

    def strides(self):
        """The present every_batches of each callback that is watching."""
        return [whole_number("every_batches", callback.every_batches, least=1) for callback in self.watching]

    def next_stop(self, done, total):
        """The number of minibatches of the epoch after which to call batch_end next, if `done` of `total` are done."""
        strides = [*self.strides(), self.bar.pace.stride] if self.bar.wanted else self.strides()
        return min([total, *(done + stride - done % stride for stride in strides)])

    def batch_end(self, done, sums):
        """After so many minibatches of the epoch; sums: of these, as Loop.epoch returns them -> whether to stop, with
        the epoch not counted."""
        if not (self.watching or self.bar.wanted):
            return False
        logs = self.numbers.means(sums)
        self.bar.move(done, logs)
        called = [c for c, stride in zip(self.watching, self.strides(), strict=True) if done % stride == 0]
        with CallersTurn():
            return _any_true([c.on_batch_end(self.trainer, self.trainer.epoch, done - 1, logs) for c in called])

    def end(self, sums, **logs):
        """After an epoch; arguments as Loop.epoch returns them -> whether to stop."""
        trainer = self.trainer
        trainer._epoch += 1  # checked by fit; the setter takes longer
        logs = self.numbers.of_epoch(sums, **logs)
        self.history.append(logs)
        self.bar.show(logs)
        stop = False
        if self.callbacks:
            with CallersTurn():
                stop = _any_true([c.on_epoch_end(trainer, trainer.epoch - 1, logs) for c in self.callbacks])
            self.history.add_to_last(logs)
        schedules.observe(trainer.optimizer.lr, logs)
        return stop

    def finish(self):
        """After the last epoch."""
        with CallersTurn():
            for callback in self.callbacks:
                callback.on_fit_end(self.trainer)


def _any_true(wishes):
    return any(isinstance(wish, (bool, np.bool_)) and wish for wish in wishes)
