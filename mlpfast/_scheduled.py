"""Dropout and l2 as numbers or schedules (mlpfast.schedules), and their values at a time."""

import numpy as np

from . import _core, schedules
from ._scalars import LEAST, one_of, real_number, within


def checked(name, value, below=None):
    """A number >= 0, and below a limit, or a schedule of such numbers."""
    if schedules.is_schedule(value):
        one_of(f"{name}.per", value.per, schedules.PER)
        return value
    return real_number(name, value, least=0, below=below)


def value_at(name, value, epochs, steps, below=None):
    """The number, or that of the schedule after `epochs` epochs or `steps` steps."""
    if not schedules.is_schedule(value):
        return checked(name, value, below)
    per = one_of(f"{name}.per", value.per, schedules.PER)
    t = steps if per == "step" else epochs
    return _values(name, value, [t], below)[0]


def _values(name, schedule, times, below):
    """Values too small for any dtype become 0, as learning rates do."""

    def check(value, t):
        value = real_number(f"{name} at {schedule.per} {t}", value, least=0, below=below)
        return value if value >= LEAST else 0.0

    return _core.values_at(schedule.at, times, np.inf if below is None else below, check)


def of_network(net):
    """{name in files: schedule} of a network's settings that are schedules."""
    given = {"input_dropout": net.input_dropout}
    for l, layer in enumerate(net.layers):
        given |= {f"layers.{l}.dropout": layer.dropout, f"layers.{l}.l2": layer.l2}
    return {name: value for name, value in given.items() if schedules.is_schedule(value)}


def of_trainer(trainer):
    """The same of a Trainer and its network."""
    given = {"lr": trainer.optimizer.lr, "l2": trainer.l2}
    own = {name: value for name, value in given.items() if schedules.is_schedule(value)}
    return {**own, **of_network(trainer.network)}


class Scheduled:
    """The dropout of the inputs and of each layer, and the l2 of a Trainer and of each layer, of which some are
    schedules. present_l2: the value of the Trainer's l2 in the last minibatch."""

    _tables: tuple | None = None  # the dropouts, the Trainer's l2 and that of the layers, by minibatches

    def __init__(self, trainer):
        self.net, layers = trainer.network, trainer.network.layers
        self.dropouts = [("input_dropout", self.net.input_dropout)]
        self.dropouts += [(f"dropout of layer {l}", layer.dropout) for l, layer in enumerate(layers, 1)]
        self.l2, self.l2s = trainer.l2, [(f"l2 of layer {l}", layer.l2) for l, layer in enumerate(layers, 1)]
        given = [self.l2, *(value for _, value in self.dropouts + self.l2s)]
        self.schedules = list({id(value): value for value in given if schedules.is_schedule(value)}.values())
        self.present_l2 = 0.0

    def __bool__(self):
        return bool(self.schedules)

    def use(self, epochs, steps):
        """Set the layers' values after `epochs` epochs and `steps` steps -> {"l2": ..., "input_dropout": ...}"""
        dropout = [value_at(*given, epochs, steps, 1) for given in self.dropouts]
        l2 = [self._in_range(name, value_at(name, value, epochs, steps)) for name, value in self.l2s]
        self.present_l2 = self._in_range("l2", value_at("l2", self.l2, epochs, steps))
        self.net._core.set_present(dropout, l2)
        return {"l2": self.present_l2, "input_dropout": dropout[0]}

    def tables(self, epochs, steps):
        """The dropouts (n, n_layers + 1) and the sums of both l2 (n, n_layers) of each of `steps`, a range, as in
        mlp_epoch_part; None, None if nothing changes with the steps. done() says how many of them have been taken."""
        self._tables = None
        if all(schedule.per != "step" for schedule in self.schedules):
            return None, None
        dropout = self._columns(self.dropouts, epochs, steps, 1)
        own, of_layers = self._columns([("l2", self.l2)], epochs, steps), self._columns(self.l2s, epochs, steps)
        within("l2", float(own.max()), self.net.dtype), within("l2", float(of_layers.max()), self.net.dtype)
        self._tables = dropout, own, of_layers
        return dropout, own + of_layers

    def done(self, count):
        """The values of the last of the `count` steps done of those that tables was asked for become the present
        ones."""
        if self._tables is not None and count:
            dropout, own, of_layers = (table[count - 1] for table in self._tables)
            self.present_l2 = float(own[0])
            self.net._core.set_present(dropout.tolist(), of_layers.tolist())

    def _columns(self, given, epochs, steps, below=None):
        table = np.empty((len(steps), len(given)))
        for column, (name, value) in zip(table.T, given, strict=True):
            by_step = schedules.is_schedule(value) and value.per == "step"
            column[:] = _values(name, value, steps, below) if by_step else value_at(name, value, epochs, 0, below)
        return table

    def _in_range(self, name, value):
        return within(name, value, self.net.dtype)
