"""The numbers of an epoch, as the History and callbacks get them, and those of Trainer.evaluate."""

import math

import numpy as np

from . import metrics as known_metrics
from ._arrays import not_finite
from ._config import checked_threads
from ._core import Data
from ._totals import Kept, Totals, blocks_of
from .schedules import is_schedule


class Logs:
    """Which numbers are computed on data, and on the validation data or None, and how.

    counts: the names of what the core counts beside the loss. on_data, on_validation: {name: function}, the metrics.
    """

    def __init__(self, trainer, metrics, data, validation=None):
        self.trainer, self.data, self.validation = trainer, data, validation
        given = [representative(part) for part in (data, validation) if part is not None]
        network, loss = trainer.network, trainer.loss
        n_out = network.n_out
        self.counts = known_metrics.counted(metrics, given, loss) if loss.traits.counts else []
        others = {
            name: f for name, f in metrics.items() if not (name in self.counts and known_metrics.is_ours(f))
        }
        chosen = known_metrics.for_outputs(others, given, network, loss)
        self.on_data = chosen if validation is None else known_metrics.computable(chosen, given[0])
        self.on_validation = chosen
        known_metrics.check_fit(self.on_data, given[0], n_out)
        if validation is not None:
            known_metrics.check_fit(chosen, given[1], n_out)

    def names(self):
        own = ["loss", *self.counts]
        names = [*own, *self.on_data, *["objective"] * is_penalised(self.trainer)]
        return names + [f"val_{name}" for name in [*own, *self.on_validation] if self.validation is not None]

    def of_epoch(self, sums, objective=None):
        """The numbers of the epoch that has just been counted. sums: as Loop.epoch returns them; objective: J, if the
        loop has computed it."""
        trainer, logs = self.trainer, self.means(sums)
        if objective is not None:
            logs["objective"] = objective
        if self.on_data:
            logs.update(self._measured(self.data, self.on_data))
        if objective is None and is_penalised(trainer):
            logs["objective"] = logs["loss"] + penalty(trainer)
        if self.validation is not None:
            for name, value in self._evaluated(self.validation, self.on_validation, trainer.epoch - 1).items():
                logs["val_" + name] = value
        return logs

    def evaluated(self):
        """The numbers of data with the present parameters."""
        return self._evaluated(self.data, self.on_data)

    def _measured(self, data, metrics):
        """The metrics on data."""
        if not metrics:
            return {}
        return self._in_one_pass(data, metrics, None)[1] if is_stream(data) else self._of_arrays(data, metrics)

    def _of_arrays(self, data, metrics, yhat=None):
        """yhat: the outputs, if they are there."""
        named, own = known_metrics.named_and_own(metrics)
        if own and yhat is None:
            yhat = self._outputs(data)
        totals, at = Totals(named), 0
        for part in blocks_of(data, self.trainer.network) if named else ():
            totals.count(part, self._outputs(part) if yhat is None else yhat[at : at + len(part)])
            at += len(part)
        found = {**totals.values(), **known_metrics.values(own, data, yhat)}
        return {name: found[name] for name in metrics}

    def _evaluated(self, data, metrics, epoch=None):
        """epoch: of a validation."""
        trainer = self.trainer
        loss = trainer.loss
        if is_stream(data):
            sums, found = self._in_one_pass(data, metrics, loss, epoch)
            return {**self.means(sums), **found}
        yhat = self._outputs(data) if metrics and (loss.traits.is_custom or loss.traits.joins) else None
        means = self.means(trainer.network._core.evaluate(data, loss, checked_threads(trainer.threads), yhat))
        if trainer.check_finite and not math.isfinite(means["loss"]):
            _check_evaluated(means["loss"], data, trainer.network, epoch)
        return {**means, **(self._of_arrays(data, metrics, yhat) if metrics else {})}

    def _in_one_pass(self, stream, metrics, loss, epoch=None):
        """(the sums of the loss, or None; the metrics) of a Stream."""
        trainer, sums = self.trainer, (0.0, 0.0, 0.0, 0.0)
        core, threads = trainer.network._core, checked_threads(trainer.threads)
        named, own = known_metrics.named_and_own(metrics)
        custom = loss is not None and loss.traits.is_custom
        totals, kept = Totals(named), Kept(stream.n) if own or custom else None
        for data in stream.in_order():
            yhat = self._outputs(data) if metrics or custom else None
            if loss is not None and not custom:
                sums = core.evaluate(data, loss, threads, so_far=sums)
                if trainer.check_finite and not math.isfinite(sums[0]):
                    _check_evaluated(self.means(sums)["loss"], data, trainer.network, epoch)
            totals.add(data, yhat)
            if kept is not None:
                kept.add(data, yhat)
        if loss is not None and not custom and sums[1] == 0:
            raise ValueError(stream.without_weight())
        found = totals.values()
        if kept is not None:
            data, yhat = kept.all()
            found.update(known_metrics.values(own, data, yhat))
            if custom:
                sums = core.evaluate(data, loss, threads, yhat)
        return sums, {name: found[name] for name in metrics}

    def _outputs(self, data):
        return self.trainer.network._core.outputs(data, checked_threads(self.trainer.threads))

    def means(self, sums):
        """Of what Loop.epoch returns; 0 where all weights are 0."""
        loss_sum, weight_sum, correct, exact = sums
        weight_sum = weight_sum or 1.0
        means = {"loss": loss_sum / weight_sum, "accuracy": correct / weight_sum, "exact_match": exact / weight_sum}
        return {name: means[name] for name in ("loss", *self.counts)}


def is_stream(data):
    return not isinstance(data, Data)


def representative(data):
    """A Data that has the kinds of y and weights of data: of a Stream its first rows."""
    return data.head if is_stream(data) else data


def _check_evaluated(loss, data, network, epoch):
    """FloatingPointError for a loss that is not finite, which evaluate (epoch None) returns unless X is the reason."""
    found = not_finite(data, network)
    if epoch is not None:
        raise FloatingPointError(
            f"epoch {epoch}: the validation loss is {loss}; the parameters are those after this epoch. "
            + (found or "A smaller learning rate, or standardized X and y, may help")
        )
    if found:
        raise FloatingPointError(f"the loss is {loss}, as {found}; check_finite=False returns it")


def is_penalised(trainer):
    return bool(trainer.l1 or trainer.l2 or any(layer.l1 or layer.l2 for layer in _trained_layers(trainer)))


def penalty(trainer):
    """s = (l2/2) sum W^2 + l1 sum |W|, in float64, with the penalties of the layers, of all W that are trained."""
    s, own = 0.0, trainer._scheduled.present_l2 if is_schedule(trainer.l2) else trainer.l2
    for layer in _trained_layers(trainer):
        l1, l2 = trainer.l1 + layer.l1, own + layer._present_l2()
        if l2:
            s += l2 / 2 * float(np.square(layer.W, dtype=np.float64).sum())
        if l1:
            s += l1 * float(np.abs(layer.W, dtype=np.float64).sum())
    return s


def _trained_layers(trainer):
    return [layer for layer in trainer.network.layers if layer.trainable]
