"""Training: validated arrays in, whole epochs in C, callbacks in between."""

import numpy as np

from . import _core, losses, optimizers, schedules
from . import metrics as known_metrics
from ._attributes import Closed
from ._config import checked_threads
from ._examples import examples
from ._logs import Logs
from ._parameters import state_arrays
from ._progress import Progress
from ._scalars import flag, one_of, real_number, whole_number, within
from ._split import training_and_validation
from ._weights import checked_mean_weight
from .callbacks import all_of, check_monitored, methods_of
from .history import History
from .minibatches import WEIGHTINGS, TrainingRows, mean_loss, raise_failure
from .network import UNFUSED, Network, seed_or_fresh

ALL_ROWS = 2**62
LIMITS = ("clip_value", "clip_norm", "max_norm")
# In a state, with the least and the most each may be.
COUNTS = {"epoch": (0, 2**56 - 2), "steps": (0, 2**53), "updates": (0, 2**53), "chunk_rows": (1, 2**63 - 1)}


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
        data, validation = training_and_validation(
            self, X, y, weights, validation_data, validation_split, stratify, known_metrics.need_y(metrics)
        )
        numbers = Logs(self, metrics, data, validation)
        given = all_of(callbacks, stop_at)
        callbacks = [methods_of(callback) for callback in given]
        rows = TrainingRows(self, data)
        progress = flag("progress", progress)
        with self._hold, Progress(progress, epochs) as bar:
            self._settings()  # a bad setting is refused before anything starts
            schedules.check(self.optimizer.lr, check_monitored(given, numbers.names()))
            history = self.history = History()

            def begin():
                if callbacks:
                    with _core.CallersTurn():
                        for begin_epoch, _end, _finish in callbacks:
                            begin_epoch(self, self.epoch)

            def end(sums, **logs):  # -> whether to stop
                self._epoch += 1  # not by the setter, which takes longer: fit has checked it
                logs = numbers.of_epoch(sums, **logs)
                history.append(logs)
                bar.show(logs)
                wishes = []
                if callbacks:
                    with _core.CallersTurn():
                        wishes = [end_epoch(self, self.epoch - 1, logs) for _begin, end_epoch, _finish in callbacks]
                    history.add_to_last(logs)
                schedules.observe(self.optimizer.lr, logs)
                return any(isinstance(wish, (bool, np.bool_)) and wish for wish in wishes)

            self.optimizer.loop.fit(self, rows, epochs, begin, end)
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
            if sample_weight is None and mean_weight is None and self._optimizer.loop.fused:
                self._settings()
                loss = self._core.step_ready(X, y, self._network.input_scale, checked_threads(self.threads))
                if loss is not None:
                    return loss
            return self._step(X, y, sample_weight, mean_weight)

    @_core.in_default_mode
    def _step(self, X, y, sample_weight, mean_weight):
        data = examples(X, y, self.network, self.loss, sample_weight=sample_weight, all_zero=True)
        data.mean_weight = checked_mean_weight(mean_weight)
        return self.optimizer.loop.step(self, data)

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
        raise_failure(self, failure, result, data)
        return mean_loss(result), gradients

    @_core.in_default_mode
    def apply(self, gradients):
        """One step from gradients, arrays of the shapes of network.parameters, such as those of `gradient`, or their
        mean over several calls. They are clipped as the settings say, and the step counts as a minibatch.

        apply(gradient(X, y)[1]) is step(X, y), bit for bit. Raises ValueError or TypeError for arrays that do not fit,
        and FloatingPointError for NaN or infinity (see check_finite), with nothing changed.
        """
        self.optimizer.loop.apply(self, gradients)

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
        return Logs(self, metrics, data).evaluated()

    def summary(self):
        """The network's table, and how it is trained, as text."""
        rows = "all rows as one minibatch" if self.batch_size is None else f"minibatches of {self.batch_size}"
        more = [f"{name} {getattr(self, name):g}" for name in LIMITS + ("l1", "l2") if getattr(self, name)]
        loss = repr(self.loss) if self.loss.parameters else self.loss.name
        lines = [self.network.summary(), ", ".join([f"loss {loss}", repr(self.optimizer), rows, *more])]
        if self.loss.traits.is_custom:
            lines.append(f"Python functions are the loss: {UNFUSED}")
        return "\n".join(lines)

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
        self.optimizer.loop.check(self)
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
                within(self.optimizer.attribute_names.get(name, name), value, self.network.dtype)
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

    def __reduce__(self):
        raise TypeError("a Trainer cannot be pickled or copied: pickle its network, and make a new Trainer for it")


def _limit(name, value):
    """A limit as the core takes it: 0 for none."""
    return 0.0 if value is None else real_number(name, value, above=0)
