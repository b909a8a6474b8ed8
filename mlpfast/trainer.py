"""Training: validated arrays in, whole epochs in C, callbacks in between."""

import math
from typing import NamedTuple

import numpy as np

from . import _core, full_batch, losses, optimizers, schedules
from . import metrics as known_metrics
from ._arrays import CHANGED, not_finite, number_array
from ._attributes import Closed
from ._config import checked_threads
from ._progress import Progress
from ._split import hold_out
from ._validate import Data, arrays_like, examples, flag, one_of, real_number, state_arrays, whole_number, within
from ._validate import mean_weight as checked_mean_weight
from .callbacks import EarlyStopping, LearningRateLogger, StopAt, methods_of
from .history import History
from .network import UNFUSED, Network, seed_or_fresh

ALL_ROWS = 2**62
LIMITS = ("clip_value", "clip_norm", "max_norm")
WEIGHTINGS = ("data", "minibatch")
# In a state, with the least and the most each may be.
COUNTS = {"epoch": (0, 2**56 - 2), "steps": (0, 2**53), "updates": (0, 2**53), "chunk_rows": (1, 2**63 - 1)}


class Wanted(NamedTuple):
    """The numbers of an epoch beside the loss: names of the core's counts, and {name: function} of the metrics."""

    counts: list
    on_data: dict
    on_validation: dict


def _without_masked(gradients, layers):
    """Zeros where a layer's mask leaves no weight: clipping measures what is used."""
    arrays = iter(gradients)
    for layer in layers:
        dW, *_ = [next(arrays) for parameter in (layer.W, layer.b, layer.slopes) if parameter is not None]
        if layer.mask is not None:
            dW[~layer.mask] = 0


class Trainer(Closed):
    """Trains a network by minibatch gradient descent on J = L + (l2/2) sum W^2 + l1 sum |W|; biases are not penalised.

    loss: a name or an object of mlpfast.losses.
    optimizer: a name or an object of mlpfast.optimizers, such as "adam" or SGD(lr=0.1, momentum=0.9); "lbfgs" and
        "natural_gradient" with batch_size=None. Its lr may be a schedule (mlpfast.schedules).
    batch_size: rows of a minibatch; None takes all rows as one (gradient descent).
    clip_value: each number of a gradient, penalties included, is cut to at most that size; None does not.
    clip_norm: the whole gradient, all parameters together, is shortened to at most that 2-norm; Pascanu et al. (2013).
        With both, that is done first.
    max_norm: after a step the weights into each unit, the columns of W, are shortened to at most that 2-norm; Srebro et
        al. (2005).
    shuffle: a fresh order of the examples each epoch, fixed by seed, the epoch's number and how many examples there
        are; not without minibatches.
    seed: of the order, of dropout and of noise; None takes a fresh one.
    threads: that many, but never more than there are processors; None lets the amount of work decide. It changes no
        bit of the result.
    weighting: what a weight means. "data": the same in whichever minibatch its row falls. The gradient of B rows is
        divided by B wbar, wbar being the mean weight of the rows to train on, and rows of weight 0 take no place in a
        minibatch. "minibatch", as scikit-learn and PyTorch have it: it is divided by the sum of the minibatch's
        weights, so that a heavy row counts less among heavy ones.
    chunk_rows: a larger minibatch goes through the network in chunks of that many rows, whose gradients are added by a
        fixed binary tree: it decides the last bits of the result, and how much memory activations take.
    check_finite: raise FloatingPointError before a minibatch with NaN or infinity, or a loss that is not finite,
        changes the parameters; after an epoch whose validation loss is not finite; and in evaluate where X is the
        reason for such a loss. Messages name the row and the column of X.

    The state (velocities, .epoch and .steps: how many are done) lives as long as the Trainer: fit called again goes on.
    """

    _elsewhere = {
        "learning_rate": "set optimizer.lr", "lr": "set optimizer.lr",
        "momentum": "set the optimizer's momentum, of Adam beta1",
        "weight_decay": "l2 is a penalty for any optimizer, and AdamW(weight_decay=...) has it",
        "epochs": "it goes to fit(epochs=...)",
    }

    def __init__(
        self,
        network,
        loss="cross_entropy",
        optimizer="sgd",
        *,
        batch_size=64,
        shuffle=True,
        seed=None,
        threads=None,
        l1=0.0,
        l2=0.0,
        clip_value=None,
        clip_norm=None,
        max_norm=None,
        weighting="data",
        chunk_rows=1024,
        check_finite=True,
    ):
        if not isinstance(network, Network):
            raise TypeError(f"network must be a Network, got {type(network).__name__}")
        self._network = network
        self._loss = losses.checked(loss, network)
        self.optimizer = optimizer
        self._batch_size = None if batch_size is None else whole_number("batch_size", batch_size, least=1)
        self.shuffle = flag("shuffle", shuffle)
        self.seed = seed_or_fresh(seed)
        self.threads = threads
        checked_threads(threads)
        self.l1, self.l2 = real_number("l1", l1, least=0), real_number("l2", l2, least=0)
        self.clip_value, self.clip_norm, self.max_norm = clip_value, clip_norm, max_norm
        for name in LIMITS:
            _limit(name, getattr(self, name))
        self.weighting = one_of("weighting", weighting, WEIGHTINGS)
        self.chunk_rows = whole_number("chunk_rows", chunk_rows, least=1)
        self.check_finite = flag("check_finite", check_finite)
        self._epoch = 0
        self.history = History()  # of the last call of fit, also after an exception
        self._core = _core.Trainer(network._core, self.loss, ALL_ROWS if batch_size is None else self.batch_size)
        self._hold = _core.Held(network._core)
        self._given: tuple = ()  # settings as they were last checked
        self._checked: dict = {}
        self._schedule = None  # what they then had for lr

    @property
    def network(self):
        return self._network

    @property
    def loss(self):
        return self._loss

    @property
    def optimizer(self):
        """It may be changed, and so may its attributes; another one begins with a state of its own."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer):
        self._optimizer = optimizers.from_name(optimizer)

    @property
    def batch_size(self):
        return self._batch_size

    @property
    def epoch(self):
        """Whole epochs done. It numbers the order of the examples, and schedules go by it; so does .steps for dropout,
        noise and schedules that count minibatches."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch):
        self._epoch = whole_number("epoch", epoch, least=0, most=COUNTS["epoch"][1])

    @property
    def steps(self):
        """Minibatches trained on, those of step included."""
        return self._core.steps

    @steps.setter
    def steps(self, steps):
        self._core.steps = whole_number("steps", steps, least=0, most=COUNTS["steps"][1])

    @property
    def lr(self):
        """The learning rate now: the optimizer's number, or what its schedule says."""
        return schedules.rate(self.optimizer.lr, self.epoch, self.steps)

    @property
    def momentum(self):
        """The momentum now, of Adam and AdamW beta1: the optimizer's number, or what its schedule says; None of one
        that has neither."""
        name = self.optimizer.momentum_name
        return None if name is None else self._scheduled_momentum().get(name, getattr(self.optimizer, name))

    def _scheduled_momentum(self):
        return self.optimizer.checked_momentum(schedules.momentum(self.optimizer.lr, self.epoch, self.steps))

    @property
    def state(self):
        """What training goes on from, beside the network, the seed and the settings: a copy.

        {"epoch": .epoch, "steps": .steps, "updates": t of the optimizer's formula, "chunk_rows": .chunk_rows, name:
        [an array for each of network.parameters]}, with the names of the optimizer's `states`; zeros where it has not
        begun, or keeps none, as SGD does without momentum. Set in a new Trainer of the same settings, that goes on as
        the old one would have, with the same bits. What a ReduceOnPlateau or a callback has seen is theirs to keep.
        RuntimeError while another thread trains the network; a callback may ask.
        """
        optimizer, parameters = self.optimizer, self.network._core.parameters_of_all()
        with self._hold:
            updates, kept = self._core.read_state(optimizer.number)
            counts = {"epoch": self.epoch, "steps": self.steps, "updates": updates, "chunk_rows": self.chunk_rows}
        names = optimizer.states
        kept += [[np.zeros_like(p) for p in parameters] for _ in names[len(kept) :]]
        return {**counts, **dict(zip(names, kept, strict=True))}

    @state.setter
    @_core.in_default_mode
    def state(self, state):
        names, parameters = self.optimizer.states, self.network._core.parameters_of_all()
        if not isinstance(state, dict) or set(state) != {*COUNTS, *names}:
            got = ", ".join(map(str, state)) if isinstance(state, dict) else repr(state)
            raise ValueError(f"state must be a dict with the entries {', '.join([*COUNTS, *names])}, got {got}")
        epoch, steps, updates, chunk_rows = (
            whole_number(f"state[{name!r}]", state[name], least=least, most=most)
            for name, (least, most) in COUNTS.items()
        )
        arrays = [state_arrays(name, state[name], parameters) for name in names]
        with self._hold:
            self._core.write_state(self._settings(), updates, arrays)
            self.epoch, self.steps, self.chunk_rows = epoch, steps, chunk_rows

    @_core.in_default_mode
    def fit(
        self,
        X,
        y=None,  # which is needed: None is refused with a message of what is supported
        *,
        epochs=None,
        validation_data=None,
        validation_split=None,
        stratify=False,
        sample_weight=None,
        class_weight=None,
        metrics=(),
        stop_at=None,
        callbacks=(),
        progress=False,
    ):
        """Train for that many epochs -> History, one entry per epoch.

        epochs: None is 1; for LBFGS, whose iterations they are, its max_iterations, or until it has converged.
        X (n, n_in): float32, float64 or uint8 is read in place when C-contiguous; other numbers are converted first,
            and so are tables of pandas and polars with numeric columns.
        y: for cross_entropy class numbers (n,), one-hot or probabilities (n, K); for binary_cross_entropy, hinge and
            the squared errors of several outputs class numbers (n,) or numbers (n, n_out); for a Custom loss numbers
            (n,) or (n, k) of any kind; else numbers (n,) if there is one output, or (n, n_out). Functions of yours get
            y with the values and dtype that it has here.
        validation_data: (X, y) or (X, y, sample_weight), evaluated after each epoch.
        validation_split: a share of the rows to hold out for that instead, drawn once, by the seed alone, and without
            class_weight; stratify=True draws the same share of each class. X is not copied.
        sample_weight (n,), class_weight ({class: weight}, (K,) or "balanced"): weights of the examples, multiplied.
            Losses are divided by their sum, gradients as `weighting` says. "balanced" counts rows by sample_weight.
        metrics: names or functions (mlpfast.metrics), computed after each epoch on the data, "mae", and on the
            validation data, "val_mae". With weights, functions that take none are computed on unweighted validation
            data alone.
        stop_at: {name in the History: number}, or a number for "loss"; training ends once all of them are reached. For
            a name that is not the library's own {name: (">=", number)}, or "<=".
        callbacks: one or several objects with on_epoch_begin(trainer, epoch), on_epoch_end(trainer, epoch, logs) or
            on_fit_end(trainer); a function counts as the second. True from on_epoch_end ends training
            (mlpfast.callbacks).
        progress: a bar (tqdm, if installed) or a line per epoch.

        Changes the network's parameters in place. Ctrl-C raises KeyboardInterrupt and leaves them as they were after
        the last whole minibatch. Raises ValueError or TypeError for arguments that do not fit, with nothing changed,
        and FloatingPointError for numbers that are not finite (see check_finite).
        """
        epochs = self.optimizer.usual_epochs if epochs is None else whole_number("epochs", epochs, least=1)
        whole_number("epoch after fit", self.epoch + epochs, least=1, most=COUNTS["epoch"][1])
        metrics = known_metrics.checked(metrics)
        weights = {"sample_weight": sample_weight, "class_weight": class_weight}
        keep_y = known_metrics.need_y(metrics)
        data, validation = self._data(X, y, validation_data, validation_split, stratify, weights, keep_y)
        wanted = self._chosen(metrics, data, validation)
        given, callbacks = _callbacks(callbacks, stop_at)
        rows = self._rows(data)
        shuffled = flag("shuffle", self.shuffle) and self.batch_size
        order = np.empty(len(data) if rows is None else len(rows), np.int64) if shuffled else None
        progress = flag("progress", progress)
        with self._hold, Progress(progress, epochs) as bar:
            self._settings()  # a bad setting is refused before anything starts
            self._check_names(given, validation is not None, wanted)
            history = self.history = History()

            def begin():
                if callbacks:
                    with _core.CallersTurn():
                        for begin_epoch, _end, _finish in callbacks:
                            begin_epoch(self, self.epoch)

            def end(logs):  # -> whether to stop
                history.append(logs)
                bar.show(logs)
                wishes = []
                if callbacks:
                    with _core.CallersTurn():
                        wishes = [end_epoch(self, self.epoch - 1, logs) for _begin, end_epoch, _finish in callbacks]
                    history.add_to_last(logs)
                schedules.observe(self.optimizer.lr, logs)
                return any(isinstance(wish, (bool, np.bool_)) and wish for wish in wishes)

            if isinstance(self.optimizer, optimizers.LBFGS):  # SciPy has the loop
                full_batch.lbfgs(
                    self, data, epochs, begin,
                    lambda sums: end(self._ended(self._means(sums, wanted), data, validation, wanted)),
                )
            else:
                for _ in range(epochs):
                    begin()
                    if end(self._one_epoch(data, rows, order, validation, wanted)):
                        break
            with _core.CallersTurn():
                for _begin, _end, finish in callbacks:
                    finish(self)
            self._check_parameters()  # after callbacks, which may bring better ones back
        return history

    def step(self, X, y, sample_weight=None, mean_weight=None):
        """Train on one minibatch, all of X and y -> its mean loss before the update, 0.0 where all weights are 0.
        Shapes and errors as in fit.

        mean_weight: m divides the gradient of the B rows by B m; None by the sum of their weights, and where that is
            0 the data have no gradient. A minibatch of fit is a step with m the mean weight of the rows of the whole
            training whose weight is not 0.
        """
        with self._hold:
            if sample_weight is None and mean_weight is None and not isinstance(self.optimizer, optimizers.FullBatch):
                self._settings()
                loss = self._core.step_ready(X, y, self._network.input_scale, checked_threads(self.threads))
                if loss is not None:
                    return loss
            return self._step(X, y, sample_weight, mean_weight)

    @_core.in_default_mode
    def _step(self, X, y, sample_weight, mean_weight):
        data = examples(X, y, self.network, self.loss, sample_weight=sample_weight, all_zero=True)
        data.mean_weight = checked_mean_weight(mean_weight)
        if isinstance(self.optimizer, optimizers.FullBatch):
            (loss_sum, weight_sum, *_), _more = full_batch.step(self, data)
            return loss_sum / (weight_sum or 1.0)
        failure, result = self._core.step(data, self._settings(), checked_threads(self.threads))
        self._check(failure, result, data)
        return result["loss_sum"] / (result["weight_sum"] or 1.0)

    def gradient(self, X, y, sample_weight=None, mean_weight=None, first_row=0):
        """The gradient of J on one minibatch, all of X and y, as step would use it -> (mean loss, [an array like each
        of network.parameters]); nothing changes. Shapes and errors as in step, and so is mean_weight.

        Penalties are in it, masked weights and layers that are not trained have zeros; clipping and weight decay are
        left to apply. first_row: where these rows begin in a minibatch that several calls share, by which dropout and
        noise go. The gradient is a mean with the penalties: so for parts of one size, take the mean of theirs.
        """
        with self._hold:
            return self._gradient(X, y, sample_weight, mean_weight, first_row)

    @_core.in_default_mode
    def _gradient(self, X, y, sample_weight, mean_weight, first_row):
        data = examples(X, y, self.network, self.loss, sample_weight=sample_weight, all_zero=True)
        data.mean_weight = checked_mean_weight(mean_weight)
        options = _core.gradient_options(first_row=whole_number("first_row", first_row, least=0, most=2**32 - 1))
        failure, result, gradients = self._core.gradient(
            data, self._settings(), checked_threads(self.threads), options
        )
        self._check(failure, result, data)
        return result["loss_sum"] / (result["weight_sum"] or 1.0), gradients

    @_core.in_default_mode
    def apply(self, gradients):
        """One step from gradients, arrays of the shapes of network.parameters, such as those of `gradient`, or their
        mean over several calls. They are clipped as the settings say, and the step counts as a minibatch.

        apply(gradient(X, y)[1]) is step(X, y), bit for bit. Raises ValueError or TypeError for arrays that do not fit,
        and FloatingPointError for NaN or infinity (see check_finite), with nothing changed.
        """
        if isinstance(self.optimizer, optimizers.FullBatch):
            raise ValueError(f"apply needs an optimizer of minibatches, got {type(self.optimizer).__name__}")
        arrays = arrays_like("gradients", gradients, self.network._core.parameters_of_all())
        _without_masked(arrays, self.network.layers)
        with self._hold:
            if self._core.apply(arrays, self._settings(), checked_threads(self.threads)) is not None:
                dtype = self.network.dtype
                raise FloatingPointError(
                    f"gradients hold NaN or infinity (or a number too large for {dtype}); nothing has changed"
                )

    @_core.in_default_mode
    def evaluate(self, X, y, sample_weight=None, metrics=()):
        """{"loss": mean loss, "accuracy": share of right classes (cross entropies, hinge and perceptron only)} and the
        metrics, names or functions (mlpfast.metrics), on X, y; changes nothing.

        Where the outputs have a label each, "accuracy" is the share of right labels, and "exact_match" that of the rows
        with all of them right. A Custom loss is called once, with all rows: one that joins rows has its value on all of
        them together, which is no mean over minibatches. A loss that is not finite is returned, but where X holds NaN
        or infinity that is a FloatingPointError (see check_finite).
        """
        metrics = known_metrics.checked(metrics)
        keep_y = known_metrics.need_y(metrics)
        data = examples(X, y, self.network, self.loss, sample_weight=sample_weight, keep_y=keep_y)
        wanted = self._chosen(metrics, data, None)
        return self._evaluate(data, wanted, wanted.on_data)

    def summary(self):
        """The network's table, and how it is trained, as text."""
        rows = "all rows as one minibatch" if self.batch_size is None else f"minibatches of {self.batch_size}"
        more = [f"{name} {getattr(self, name):g}" for name in LIMITS + ("l1", "l2") if getattr(self, name)]
        loss = repr(self.loss) if self.loss.parameters else self.loss.name
        lines = [self.network.summary(), ", ".join([f"loss {loss}", repr(self.optimizer), rows, *more])]
        if self.loss.traits.is_custom:
            lines.append(f"Python functions are the loss: {UNFUSED}")
        return "\n".join(lines)

    def __repr__(self):
        sizes = "-".join(map(str, [self.network.n_in, *(layer.n_out for layer in self.network.layers)]))
        settings = f"{self.loss.name}, {self.optimizer!r}, batch_size={self.batch_size}"
        return f"<Trainer of a {sizes} network: {settings}; {self.epoch} epochs, {self.steps} steps done>"

    def _rows(self, data):
        """The rows that minibatches are made of, in the data's order; None for all. Tells data its mean weight."""
        by_data = one_of("weighting", self.weighting, WEIGHTINGS) == "data"
        if not by_data or data.weights is None or self.batch_size is None:
            return None
        rows = np.flatnonzero(data.weights)
        data.mean_weight = data.weight_sum / len(rows)
        return rows if len(rows) < len(data) else None

    def _one_epoch(self, data, rows, order, validation, wanted):
        if isinstance(self.optimizer, optimizers.FullBatch):
            sums, more = full_batch.step(self, data)
            return self._ended({**self._means(sums, wanted), **more}, data, validation, wanted)
        if order is None:
            order = rows
        else:
            _core.shuffle(order, self._settings()["seed"], self.epoch, rows)
        failure, result = self._all_minibatches(data, order)
        if failure is not None:
            self._check(failure, result, data, self._rows_of(result["minibatches"], data, order))
        sums = [result[name] for name in ("loss_sum", "weight_sum", "correct", "exact")]
        return self._ended(self._means(sums, wanted), data, validation, wanted)

    def _rows_of(self, minibatch, data, order):
        """The numbers of that minibatch's examples, ascending."""
        size = self.batch_size or len(data)
        rows = np.arange(minibatch * size, min((minibatch + 1) * size, len(data if order is None else order)))
        return rows if order is None else np.sort(order[rows])

    def _ended(self, logs, data, validation, wanted):
        """One more epoch is done: its numbers, with the metrics and those of the validation."""
        self._epoch += 1  # not by the setter, which takes longer: fit has checked it
        if wanted.on_data:
            logs.update(known_metrics.values(wanted.on_data, data, self._outputs(data)))
        if "objective" not in logs and self._is_penalised():
            logs["objective"] = logs["loss"] + self._penalty()
        if validation is not None:
            for name, value in self._evaluate(validation, wanted, wanted.on_validation, self.epoch - 1).items():
                logs["val_" + name] = value
        return logs

    def _all_minibatches(self, data, order):
        """Train on each -> (status name, result), as the core gives them."""
        settings, lr, rates, momenta = self._settings(), self.optimizer.lr, None, None
        if getattr(lr, "per", "epoch") == "step":
            n = len(data) if order is None else len(order)
            steps = range(self.steps, self.steps + -(-n // (self.batch_size or n)))
            rates = schedules.rates(lr, steps)
            self.optimizer.checked_rate(within("lr", float(rates.max()), self.network.dtype))
            momenta = schedules.momenta(lr, steps)
            if momenta is not None:
                within("momentum", float(momenta.min()), self.network.dtype)
        return self._core.epoch(data, order, settings, checked_threads(self.threads), rates, momenta)

    def _trained_layers(self):
        return [layer for layer in self.network.layers if layer.trainable]

    def _check_names(self, callbacks, validates, wanted):
        """ValueError if somebody waits for a number that the logs will not have, where other callbacks may not add any,
        or does not say which way it is to go."""
        names = None
        if all(type(callback) in OURS for callback in callbacks):
            names = self._names_in_logs(validates, wanted)
        for callback in callbacks:
            if isinstance(callback, LearningRateLogger) and names:
                names += ["lr", "momentum"]  # for those after it
            elif isinstance(callback, (EarlyStopping, StopAt)):
                callback.check(names)
        schedules.check(self.optimizer.lr, names)

    def _names_in_logs(self, validates, wanted):
        own = ["loss", *wanted.counts]
        names = [*own, *wanted.on_data, *["objective"] * self._is_penalised()]
        return names + [f"val_{name}" for name in [*own, *wanted.on_validation] if validates]

    def _is_penalised(self):
        return bool(self.l1 or self.l2 or any(layer.l1 or layer.l2 for layer in self._trained_layers()))

    def _penalty(self):
        """s = (l2/2) sum W^2 + l1 sum |W|, in float64, with the penalties of the layers, of all W that are trained."""
        s = 0.0
        for layer in self._trained_layers():
            l1, l2 = self.l1 + layer.l1, self.l2 + layer.l2
            if l2:
                s += l2 / 2 * float(np.square(layer.W, dtype=np.float64).sum())
            if l1:
                s += l1 * float(np.abs(layer.W, dtype=np.float64).sum())
        return s

    def _evaluate(self, data, wanted, metrics, epoch=None):
        """epoch: the number of that which this is the validation of, if it is one."""
        yhat = self._outputs(data) if metrics or self.loss.traits.is_custom else None
        sums = self.network._core.evaluate(data, self.loss, checked_threads(self.threads), yhat)
        means = self._means(sums, wanted)
        if self.check_finite and not math.isfinite(means["loss"]):
            self._check_evaluated(means["loss"], data, epoch)
        return {**means, **known_metrics.values(metrics, data, yhat)}

    def _check_evaluated(self, loss, data, epoch):
        """FloatingPointError for a loss that is not finite, unless it is no validation's and X is without fault."""
        found = not_finite(data, self.network)
        if epoch is not None:
            raise FloatingPointError(
                f"epoch {epoch}: the validation loss is {loss}; the parameters are those after this epoch. "
                + (found or "A smaller learning rate may help")
            )
        if found:
            raise FloatingPointError(f"the loss is {loss}, as {found}; check_finite=False returns it")

    def _outputs(self, data):
        return self.network._core.outputs(data, checked_threads(self.threads))

    def _chosen(self, chosen, data, validation):
        """What of the metrics chosen is to be computed on each of the two."""
        counts = []
        given = [part for part in (data, validation) if part is not None]
        if self.loss.traits.counts:
            counts = known_metrics.counted(chosen, given, self.loss)
            chosen = {name: f for name, f in chosen.items() if not (name in counts and known_metrics.is_ours(f))}
        chosen = known_metrics.for_outputs(chosen, given, self.network.n_out)
        on_data = chosen if validation is None else known_metrics.computable(chosen, data)
        known_metrics.check_fit(on_data, data, self.network.n_out)
        if validation is not None:
            known_metrics.check_fit(chosen, validation, self.network.n_out)
        return Wanted(counts, on_data, chosen)

    def _means(self, sums, wanted):
        loss_sum, weight_sum, correct, exact = sums
        means = {"loss": loss_sum / weight_sum, "accuracy": correct / weight_sum, "exact_match": exact / weight_sum}
        return {name: means[name] for name in ("loss", *wanted.counts)}

    def _settings(self):
        """Everything of a step that may be changed between calls, as the core takes it."""
        # Checking takes longer than a small step: as long as every object is the same, so is the answer.
        given = self._given_settings()
        same = _core.same_objects(given, self._given)
        if not same or self._schedule is not None and not self._ask_schedule():
            self._given = ()  # whatever goes wrong below, the next call checks again
            checked, moves_momentum = self._checked_settings()
            self._core.use(checked, self.optimizer.usual_rate(), moves_momentum)
            self._checked = checked
            self._schedule = self.optimizer.lr if schedules.is_schedule(self.optimizer.lr) else None
            if _core.same_objects(given, self._given_settings()):  # another thread may have set one meanwhile
                self._given = given
        return self._checked

    def _ask_schedule(self):
        """Take over rate and momentum, all that a schedule changes -> False if everything must be checked anew."""
        t, rate, momentum, in_use = self._core.ask_schedule(self._schedule, self._epoch)
        if not in_use:
            rate, momentum = schedules.checked(self._schedule, rate, momentum, t)
            self._optimizer.checked_rate(within("lr", rate, self._network.dtype))
            if (momentum is not None) != self._core.moves_momentum:
                return False
            if momentum is not None:
                within(self._optimizer.momentum_name, momentum, self._network.dtype)
            self._core.use_rate(rate, momentum)
        self._checked["lr"] = rate
        if momentum is not None:
            self._checked[self._optimizer.momentum_name] = momentum
        return True

    def _given_settings(self):
        net = self._network
        return (
            *self.optimizer.settings(), self.l1, self.l2, self.clip_value, self.clip_norm, self.max_norm,
            self.chunk_rows, self.check_finite, net.input_dropout, net.input_noise, self.seed,
        )

    def _checked_settings(self):
        """They, and whether a schedule moves the momentum."""
        losses.check_learns(self.loss, self.network)
        if isinstance(self.optimizer, optimizers.FullBatch):
            full_batch.check(self)
        checked, lr = self.optimizer.checked(), self.optimizer.checked_rate(self.lr)
        scheduled = self._scheduled_momentum()
        settings = {
            **checked,
            "lr": lr,
            **scheduled,
            "l1": real_number("l1", self.l1, least=0),
            "l2": real_number("l2", self.l2, least=0),
            **{name: _limit(name, getattr(self, name)) for name in LIMITS},
            **self.network._input_settings(),
        }
        for name, value in settings.items():
            if isinstance(value, float):
                within(self.optimizer.own_names.get(name, name), value, self.network.dtype)
        seed = whole_number("seed", self.seed, least=0, most=2**64 - 1)
        settings["chunk_rows"] = whole_number("chunk_rows", self.chunk_rows, least=1)
        settings["check_finite"] = flag("check_finite", self.check_finite)
        return {**settings, "seed": seed}, bool(scheduled)

    def _check_parameters(self):
        """FloatingPointError if the last update has left NaN or infinity, which no loss has shown yet."""
        bad = self.network._core.first_not_finite() if self.check_finite else -1
        if bad >= 0:
            raise FloatingPointError(
                f"epoch {self.epoch - 1}: layer {bad + 1} holds NaN or infinity after the last update. "
                "A smaller learning rate may help"
            )

    def _check(self, failure, result, data, rows=None):
        """FloatingPointError for what has stopped the training on those rows of data, None for all."""
        if failure is None:
            return
        where = f"epoch {self.epoch}, minibatch {result['minibatches']}"
        if failure == "derivative":
            raise FloatingPointError(
                f"{where}: a derivative of a Custom activation or loss is NaN or infinite; the parameters are those "
                "before this minibatch"
            )
        if failure == "loss":
            raise FloatingPointError(
                f"{where}: the loss is {result['bad_loss']}; the parameters are those before this minibatch. "
                "A smaller learning rate may help"
            )
        weight = result["weight_sum"]
        so_far = f"the loss so far is {result['loss_sum'] / weight:.6g}" if weight else "no loss so far"
        found = not_finite(data, self.network, rows) or CHANGED
        raise FloatingPointError(f"{where}: {found}; {so_far}; the parameters are those before this minibatch")

    def _data(self, X, y, validation_data, validation_split, stratify, weights, keep_y):
        """What to train on, and what to validate with or None."""
        if weights["sample_weight"] is not None:  # which is looked at once
            weights["sample_weight"] = number_array("sample_weight", weights["sample_weight"])
        data = examples(X, y, self.network, self.loss, **weights, keep_y=keep_y)
        if validation_split is None:
            if flag("stratify", stratify):
                raise ValueError("stratify=True needs validation_split, got None")
            return data, self._validation(validation_data, keep_y)
        if validation_data is not None:
            raise ValueError("validation_split needs validation_data=None, got both")
        share = real_number("validation_split", validation_split, above=0, below=1)
        return hold_out(data, share, flag("stratify", stratify), self.network, self.loss, self.seed, **weights)

    def _validation(self, validation_data, keep_y) -> Data | None:
        if validation_data is None:
            return None
        try:
            X, y, *weight = validation_data
            (weight,) = weight or (None,)
        except (TypeError, ValueError):
            length = f" of length {len(validation_data)}" if hasattr(validation_data, "__len__") else ""
            got = type(validation_data).__name__ + length
            raise ValueError(f"validation_data must be (X, y) or (X, y, sample_weight), got a {got}") from None
        names = "validation_data X", "validation_data y", "validation_data sample_weight"
        return examples(X, y, self.network, self.loss, sample_weight=weight, names=names, keep_y=keep_y)

    def __reduce__(self):
        raise TypeError("a Trainer cannot be pickled or copied: pickle its network, and make a new Trainer for it")


def _limit(name, value):
    """A limit as the core takes it: 0 for none."""
    return 0.0 if value is None else real_number(name, value, above=0)


OURS = EarlyStopping, LearningRateLogger, StopAt  # of these it is known what they add to the logs


def _callbacks(callbacks, stop_at):
    """All of them, as they were given and as triples of functions."""
    if not isinstance(callbacks, type) and not hasattr(callbacks, "__iter__"):
        callbacks = [callbacks]
    given = [*callbacks, *([] if stop_at is None else [StopAt(stop_at)])]
    return given, [methods_of(callback) for callback in given]
