"""Training by minibatches: a whole epoch, or a step, is one call of the core (csrc/train.c); an epoch is several where
callbacks are to be called in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from . import _core, schedules
from ._arrays import CHANGED, not_finite
from ._config import checked_threads
from ._loop import Loop
from ._parameters import arrays_like
from ._scalars import flag, one_of, within
from ._weights import checked_mean_weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._core import Data
    from ._run import Run
    from ._types import Array, ArrayLike
    from .trainer import Trainer

WEIGHTINGS = ("data", "minibatch")
KEPT_ROWS = 2**20  # whose order has its memory for all epochs


def rows_of(trainer: Trainer, data: Any, accumulate: int, mean_weight: float | None) -> Any:
    """TrainingRows of a Data, WindowsOfSource of a Stream."""
    if isinstance(data, _core.Data):
        return TrainingRows(trainer, data, accumulate, mean_weight)
    from ._windows import WindowsOfSource  # imports this module

    return WindowsOfSource(trainer, data, accumulate, mean_weight)


class Window(NamedTuple):
    """Data with minibatches [first, end) of an epoch, which are made of its rows in that order (int64, or None)."""

    data: Any
    order: Any
    first: int
    end: int


class RowsOfEpochs:
    """What a loop asks of the rows that it trains on: those of arrays are TrainingRows, of a source
    _windows.WindowsOfSource.

    data: a Data or a Stream. n: its rows to train on, None if unknown. accumulate: a step takes the rows of that many
    minibatches, which go through the network one by one. batch_rows: those of a step. chunk_rows: at most, if not None.
    window_rows: of a source, how many rows the order depends on.
    """

    data: Any
    n: Any
    accumulate: int
    batch_rows: int
    chunk_rows: Any
    window_rows: Any = None

    def windows(self, seed: int, epoch: int, done: int, run: Run | None) -> Iterable[Window]:
        """The Windows of that epoch from its minibatch `done` on. run: a Run."""
        raise NotImplementedError

    def l2_of(self, first: int, count: int) -> Array | None:
        """(count, n_layers): the l2 of minibatches [first, first + count), in place of those of Trainer and layers, or
        None."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


class TrainingRows(RowsOfEpochs):
    """The rows of data that minibatches are made of, and their order. Tells data its mean weight, mean_weight of fit or
    its own."""

    data: Any
    n: Any
    accumulate: int
    batch_rows: int
    chunk_rows: Any
    chosen: Array | None
    shuffles: bool
    batches: int

    def __init__(self, trainer: Trainer, data: Any, accumulate: int = 1, mean_weight: float | None = None) -> None:
        self.data, self.accumulate = data, accumulate
        self.chosen = _rows_with_weight(trainer, data, mean_weight)  # None: all
        self.shuffles = bool(flag("shuffle", trainer.shuffle) and trainer.batch_size)
        n = len(data) if self.chosen is None else len(self.chosen)
        self.n = n
        self.batch_rows = min((trainer.batch_size or n) * accumulate, n)
        self.batches = -(-n // self.batch_rows)
        self.chunk_rows = trainer.batch_size if accumulate > 1 else None
        self._kept = None  # of more rows the order is gone while metrics are computed
        if not self.shuffles or n <= KEPT_ROWS:
            self._kept = self._window()

    def windows(self, seed: int, epoch: int, done: int, run: Run | None) -> Iterable[Window]:
        """A single one."""
        whole = self._kept or self._window()
        if self.shuffles:
            _core.shuffle(whole[0].order, seed, epoch, self.chosen)
        return whole

    def _window(self) -> tuple[Window]:
        order = np.empty(self.n, np.int64) if self.shuffles else self.chosen
        return (Window(self.data, order, 0, self.batches),)


def check_mean_weight(trainer: Trainer, mean_weight: float | None) -> float:
    """The `mean_weight` of fit as the core takes it: 0 for None."""
    if mean_weight is not None and trainer.weighting != "data":
        raise ValueError(f"mean_weight goes with weighting='data', got {mean_weight!r} with {trainer.weighting!r}")
    return checked_mean_weight(mean_weight)


def _rows_with_weight(trainer, data, mean_weight):
    by_data = one_of("weighting", trainer.weighting, WEIGHTINGS) == "data"
    data.mean_weight = check_mean_weight(trainer, mean_weight)
    if not by_data or data.weights is None or trainer.batch_size is None:
        return None
    rows = np.flatnonzero(data.weights)
    data.mean_weight = data.mean_weight or data.weight_sum / len(rows)
    return rows if len(rows) < len(data) else None


class MinibatchLoop(Loop):
    fused = True

    def epoch(self, trainer: Trainer, rows: RowsOfEpochs, run: Run) -> tuple[Any, dict[str, float]] | None:
        settings = trainer._settings(self)
        (done, result), sums = run.take_up(), None
        if result is not None:
            sums = _sums(result)
            trainer._scheduled.tables(trainer.epoch, range(trainer.steps - 1, trainer.steps))
            trainer._scheduled.done(1)
        for window in rows.windows(settings["seed"], trainer.epoch, done, run):
            while done < window.end:
                if done:
                    settings = trainer._settings(self)  # a callback may have changed them
                first, done = done, run.next_stop(done, window.end)
                steps = trainer._core.steps
                try:
                    failure, result = _some_minibatches(trainer, settings, rows, window, first, done - first, result)
                except BaseException:
                    if trainer._core.steps != steps:  # a signal has come within the core, or just behind
                        run.is_at(trainer._core.counted)
                    raise
                run.is_at(result)
                if failure is not None:
                    raise_failure(trainer, failure, result, window.data, _rows_of(result["minibatches"], rows, window))
                sums = _sums(result)
                if run.batch_end(done, sums):
                    return None
        return sums, {}

    def step(self, trainer: Trainer, data: Data) -> float:
        failure, result = trainer._core.step(data, trainer._settings(self), checked_threads(trainer.threads))
        raise_failure(trainer, failure, result, data)
        return mean_loss(result)

    def apply(self, trainer: Trainer, gradients: Sequence[ArrayLike]) -> None:
        arrays = arrays_like("gradients", gradients, trainer.network._core.parameters_of_all())
        _clear_masked(arrays, trainer.network.layers)
        with trainer._hold:
            if trainer._core.apply(arrays, trainer._settings(self), checked_threads(trainer.threads)) is not None:
                dtype = trainer.network.dtype
                raise FloatingPointError(
                    f"gradients hold NaN or infinity (or a number too large for {dtype}); nothing has changed"
                )


def _sums(result):
    return [result[name] for name in ("loss_sum", "weight_sum", "correct", "exact")]


def mean_loss(result: dict[str, Any]) -> float:
    """Of what the core returns; 0.0 where all weights are 0."""
    return result["loss_sum"] / (result["weight_sum"] or 1.0)


def _some_minibatches(trainer, settings, rows, window, first, count, so_far):
    """Train on minibatches [first, first + count) of the epoch, which are in that window -> (status name, result of the
    epoch so far), as the core gives them. so_far: the result of the call before."""
    optimizer, rates, momenta = trainer._used, None, None
    lr = optimizer.lr
    if getattr(lr, "per", "epoch") == "step":
        steps = range(trainer.steps, trainer.steps + count)
        rates = schedules.rates(lr, steps)
        optimizer.checked_rate(within("lr", trainer._largest_factor * float(rates.max()), trainer.network.dtype))
        momenta = schedules.momenta(lr, steps)
        if momenta is not None:
            within("momentum", float(momenta.min()), trainer.network.dtype)
    dropout = l2 = None
    scheduled, steps = trainer._scheduled, trainer.steps
    if scheduled:
        dropout, l2 = scheduled.tables(trainer.epoch, range(steps, steps + count))
    own = rows.l2_of(first, count)
    if rows.chunk_rows:
        settings = {**settings, "chunk_rows": min(settings["chunk_rows"], rows.chunk_rows)}
    try:
        return trainer._core.epoch(
            window.data, window.order, settings, checked_threads(trainer.threads), rows.batch_rows,
            first - window.first, count, so_far, rates, momenta, dropout, l2 if own is None else own,
        )
    finally:
        if dropout is not None:
            scheduled.done(trainer.steps - steps)  # fewer than count after an error or a signal


def _rows_of(minibatch, rows, window):
    """The numbers of that minibatch's rows in the window's data, ascending."""
    order, size = window.order, rows.batch_rows
    first, n = (minibatch - window.first) * size, len(window.data) if order is None else len(order)
    positions = np.arange(first, min(first + size, n))
    return positions if order is None else np.sort(order[positions])


def _clear_masked(gradients, layers):
    """Zeros where a layer's mask leaves no weight: clipping measures what is used."""
    arrays = iter(gradients)
    for layer in layers:
        dW, *_ = [next(arrays) for parameter in (layer.W, layer.b, layer.slopes) if parameter is not None]
        if layer.mask is not None:
            dW[~layer.mask] = 0


def raise_failure(
    trainer: Trainer, failure: str | None, result: dict[str, Any], data: Data, rows: Array | None = None,
) -> None:
    """FloatingPointError for the failure, None for none, that stopped the core on those rows of data, None for all."""
    if failure is None:
        return
    where = f"epoch {trainer.epoch}, minibatch {result['minibatches']}"
    if failure == "derivative":
        raise FloatingPointError(
            f"{where}: the derivative of the loss, or of a Custom activation, is NaN or infinite; the parameters are "
            "those before this minibatch"
        )
    if failure == "loss":
        raise FloatingPointError(
            f"{where}: the loss is {result['bad_loss']}; the parameters are those before this minibatch. "
            "A smaller learning rate, or standardized X and y, may help"
        )
    weight = result["weight_sum"]
    so_far = f"the loss so far is {result['loss_sum'] / weight:.6g}" if weight else "no loss so far"
    found = not_finite(data, trainer.network, rows) or CHANGED
    raise FloatingPointError(f"{where}: {found}; {so_far}; the parameters are those before this minibatch")
