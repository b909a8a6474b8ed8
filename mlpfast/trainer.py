"""Training: checks the arguments of fit, step and others, which the optimizer's loop then passes to the core.

fit -> optimizer.loop.fit (_loop.py) -> loop.epoch (minibatches.py, full_batch.py) -> _core -> csrc/train.c
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import _core, _scheduled, losses, optimizers, schedules
from . import metrics as known_metrics
from ._attributes import Closed, explaining, not_here
from ._config import checked_threads
from ._examples import examples
from ._fpmode import in_default_mode
from ._logs import Logs
from ._parameters import state_arrays
from ._progress import Progress
from ._run import Fit, Run, shapes
from ._scalars import flag, one_of, real_number, whole_number, within
from ._split import arrays_in_place, in_parts, refuse_besides, training_and_validation
from ._streams import Stream, in_place, is_source, refuse_dataset
from ._weights import checked_mean_weight
from .callbacks import Checkpoint, all_of, check_monitored, methods_of
from .data.arrays import ArraySource
from .history import History
from .minibatches import WEIGHTINGS, mean_loss, raise_failure, rows_of
from .network import UNFUSED, Network, seed_or_fresh

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._types import AnyLoss, AnyOptimizer, Array, ArrayLike, Goals, Inputs, Metrics, PathLike, Rate, Validation
    from .losses import Loss
    from .optimizers import Optimizer

ALL_ROWS = 2**62
LIMITS = ("clip_value", "clip_norm", "max_norm")
# The settings that a file holds; not threads, which are those of a machine.
SETTINGS = (
    "loss", "optimizer", "batch_size", "shuffle", "seed", "l1", "l2", *LIMITS, "weighting", "chunk_rows",
    "check_finite",
)
# The numbers in a state, with the least and the greatest value of each.
COUNTS = {"epoch": (0, 2**56 - 2), "steps": (0, 2**53), "updates": (0, 2**53), "chunk_rows": (1, 2**63 - 1)}


class Trainer(Closed):
    """Trains a network by minibatch gradient descent on J = L + (l2/2) sum W^2 + l1 sum |W|; biases are not penalised.

    network: a Network, whose parameters training changes in place.
    loss: a name or an object of mlpfast.losses.
    optimizer: a name or an object of mlpfast.optimizers, such as "adam" or SGD(lr=0.1, momentum=0.9); "lbfgs" and
        "natural_gradient" with batch_size=None. Its lr may be a schedule (mlpfast.schedules).
    batch_size: rows of a minibatch; None takes all rows as one (gradient descent).
    shuffle: whether each epoch takes the examples in a new order, which depends on seed, the epoch's number and the
        number of examples only. Ignored without minibatches.
    seed: of the order, of dropout and of noise; None draws one.
    threads: the number of threads, at most that of processors; None chooses by the amount of work. It does not change a
        bit of the result.
    l1, l2: the factors of the penalties, which are added to those of the Layers. l1 sign(W) is in the gradient, and l2
        W. l2 may be a schedule (mlpfast.schedules), whose rate is its value.
    clip_value: the limit of the absolute value of each element of the gradient, penalties included; None for none.
    clip_norm: the limit of the 2-norm of the whole gradient, over all parameters; a longer one is scaled down to it.
        With clip_value as well, the norm is clipped first. Pascanu et al. (2013).
    max_norm: the limit of the 2-norm of the weights into each unit, the columns of W, which are scaled down to it after
        a step; Srebro et al. (2005).
    weighting: "data": a weight means the same in every minibatch. The gradient of B rows is divided by B wbar, with
        wbar the mean weight of the rows to train on, and rows of weight 0 are left out of minibatches. "minibatch", as
        in scikit-learn and PyTorch: it is divided by the sum of the minibatch's weights, so that the effect of a weight
        depends on the others in its minibatch.
    chunk_rows: a larger minibatch goes through the network in chunks of that many rows, whose gradients are added by a
        fixed binary tree. It affects the last bits of the result, and the memory for activations.
    check_finite: raise FloatingPointError before a minibatch with NaN or infinity, or a loss that is not finite or
        has such a derivative, changes the parameters; after an epoch whose validation loss is not finite; and in
        evaluate if X is the reason for such a loss. Messages name the row and the column of X.

    The state (velocities, and .epoch and .steps, the numbers of those done) is kept between calls of fit, which
    continue from it.

    ValueError or TypeError for a setting that does not fit, or a loss that does not go with the output activation.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> net = mlpfast.Network([64, 64, 10], output="softmax", seed=0)
    >>> trainer = mlpfast.Trainer(net, "cross_entropy", mlpfast.SGD(lr=0.1, momentum=0.9), seed=0)
    >>> history = trainer.fit(X, y, epochs=5)
    >>> trainer.epoch, trainer.steps
    (5, 145)
    >>> round(trainer.evaluate(X, y)["accuracy"], 3)
    0.956
    """

    _sum_l2 = False  # whether the core sums the penalties of each minibatch
    _elsewhere = {
        **dict.fromkeys(("learning_rate", "lr", "learning_rate_init"), "set optimizer.lr, as in optimizer=SGD(lr=0.1)"),
        "momentum": "set the optimizer's momentum, of Adam beta1",
        **dict.fromkeys(("weight_decay", "alpha"),
                        "l2 is a penalty for any optimizer, and AdamW(weight_decay=...) has it"),
        **dict.fromkeys(("epochs", "n_epochs", "max_iter"), "it goes to fit(epochs=...)"),
        **{name: f"it goes to fit({name}=...)" for name in ("metrics", "callbacks", "class_weight")},
        "early_stopping": "fit(callbacks=[callbacks.EarlyStopping()], validation_split=0.1) has it",
        "random_state": "it is called seed", "verbose": "it is fit(progress=True)", "n_jobs": "it is called threads",
    }
    shuffle: bool
    seed: int
    l1: float
    l2: Rate
    clip_value: float | None
    clip_norm: float | None
    max_norm: float | None
    weighting: str
    check_finite: bool
    chunk_rows: int
    history: History
    threads: int | None

    def __init__(
        self,
        network: Network,
        loss: AnyLoss = "cross_entropy",
        optimizer: AnyOptimizer = "sgd",
        *,
        batch_size: int | None = 64,
        shuffle: bool = True,
        seed: int | None = None,
        threads: int | None = None,
        l1: float = 0.0,
        l2: Rate = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        weighting: str = "data",
        chunk_rows: int = 1024,
        check_finite: bool = True,
    ) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"network must be a Network, got {type(network).__name__}")
        self._network = network
        if isinstance(loss, optimizers.Optimizer) or isinstance(loss, str) and loss in optimizers.BY_NAME:
            raise ValueError(f"loss must be a loss, got the optimizer {loss!r}: optimizer={loss!r} gives it by name")
        self._loss = losses.checked(loss, network)
        self.optimizer = optimizer
        self._batch_size = None if batch_size is None else whole_number("batch_size", batch_size, least=1)
        self.shuffle = flag("shuffle", shuffle)
        self.seed = seed_or_fresh(seed)
        self.threads = threads
        checked_threads(threads)
        self.l1, self.l2 = real_number("l1", l1, least=0), _scheduled.checked("l2", l2)
        self.clip_value, self.clip_norm, self.max_norm = clip_value, clip_norm, max_norm
        for name in LIMITS:
            _limit(name, getattr(self, name))
        self.weighting = one_of("weighting", weighting, WEIGHTINGS)
        self.chunk_rows = whole_number("chunk_rows", chunk_rows, least=1)
        self.check_finite = flag("check_finite", check_finite)
        self._epoch = 0
        self.history = History()  # of the last call of fit, also after an exception
        self._core = _core.Trainer(network._core, self.loss, self._batch_size or ALL_ROWS)
        self._hold = _core.Held(network._core)
        self._given: tuple = ()  # the settings that were checked last
        self._checked: dict = {}  # the same for the core
        self._used = self._optimizer  # the optimizer that they are of
        self._schedule: Any = None  # their schedule, or None
        self._fit = Fit()  # the last call of fit, for files
        self._seen: list = []  # of load_trainer: what callbacks have seen, for those of the next fit
        self._scheduled = _scheduled.Scheduled(self)
        self._largest_factor = 1.0  # of the learning rate, over the layers

    if not TYPE_CHECKING:  # checkers say so too
        predict = not_here("a Trainer has no predict: trainer.network.predict(X) has it")

    def score(self, *_: Any, **__: Any) -> NoReturn:
        """There is none: it is here for the message that scikit-learn's tools would not give."""
        raise TypeError(f"a Trainer has no score: evaluate(X, y, metrics=...) has numbers like it. {FOR_SKLEARN}")

    def __sklearn_tags__(self) -> NoReturn:
        raise TypeError(f"a Trainer is no estimator. {FOR_SKLEARN}")

    __sklearn_clone__ = __sklearn_tags__

    @property
    def network(self) -> Network:
        """The Network that it trains.

        >>> import mlpfast
        >>> net = mlpfast.Network([4, 3], output="softmax")
        >>> mlpfast.Trainer(net).network is net
        True
        """
        return self._network

    @property
    def loss(self) -> Loss:
        """The loss, an object of mlpfast.losses.

        >>> import mlpfast
        >>> mlpfast.Trainer(mlpfast.Network([4, 1]), "huber").loss
        Huber(delta=1.0)
        """
        return self._loss

    @property
    def optimizer(self) -> Optimizer:
        """It may be replaced, and its attributes may be changed. A new one starts with a new state.

        TypeError or ValueError for what is no optimizer.

        >>> import mlpfast
        >>> trainer = mlpfast.Trainer(mlpfast.Network([4, 1]), "huber", "adam")
        >>> trainer.optimizer.lr = 0.01
        >>> trainer.optimizer
        Adam(lr=0.01, beta1=0.9, beta2=0.999, eps=1e-08, epsilon_hat=False)
        """
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: AnyOptimizer) -> None:
        self._optimizer = optimizers.from_name(optimizer)

    @property
    def batch_size(self) -> int | None:
        """The rows of a minibatch, or None for all rows.

        >>> import mlpfast
        >>> mlpfast.Trainer(mlpfast.Network([4, 1]), "huber", batch_size=32).batch_size
        32
        """
        return self._batch_size

    @property
    def epoch(self) -> int:
        """The number of whole epochs done, which the order of the examples and schedules by epoch depend on. Dropout,
        noise and schedules by minibatch depend on .steps.

        It may be set, to a whole number >= 0, else ValueError or TypeError.

        >>> import mlpfast
        >>> trainer = mlpfast.Trainer(mlpfast.Network([1, 1]), "huber", batch_size=2, seed=0)
        >>> history = trainer.fit([[0], [1], [2]], [0, 1, 2], epochs=5)
        >>> trainer.epoch, trainer.steps
        (5, 10)
        """
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = whole_number("epoch", epoch, least=0, most=COUNTS["epoch"][1])

    @property
    def steps(self) -> int:
        """The number of minibatches trained on, those of step included.

        It may be set, to a whole number >= 0, else ValueError or TypeError.

        >>> import mlpfast
        >>> trainer = mlpfast.Trainer(mlpfast.Network([1, 1]), "huber")
        >>> loss = trainer.step([[0], [1]], [0, 1])
        >>> trainer.steps
        1
        """
        return self._core.steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self._core.steps = whole_number("steps", steps, least=0, most=COUNTS["steps"][1])

    @property
    def lr(self) -> float:
        """The present learning rate: the optimizer's number, or the value of its schedule.

        >>> import mlpfast
        >>> cosine = mlpfast.schedules.Cosine(0.1, total=20)
        >>> trainer = mlpfast.Trainer(mlpfast.Network([4, 1]), "huber", mlpfast.SGD(lr=cosine))
        >>> trainer.epoch = 10
        >>> round(trainer.lr, 6)
        0.05
        """
        return schedules.rate(self.optimizer.lr, self.epoch, self.steps)

    @property
    def momentum(self) -> float | None:
        """The present momentum, or beta1 of Adam and AdamW: the optimizer's number, or the value of its schedule; None
        for an optimizer that has neither.

        >>> import mlpfast
        >>> mlpfast.Trainer(mlpfast.Network([4, 1]), "huber", mlpfast.SGD(momentum=0.9)).momentum
        0.9
        >>> mlpfast.Trainer(mlpfast.Network([4, 1]), "huber", "adam").momentum
        0.9
        """
        optimizer = self.optimizer
        name = optimizer.momentum_name
        return None if name is None else self._scheduled_momentum(optimizer).get(name, getattr(optimizer, name))

    def _scheduled_momentum(self, optimizer):
        return optimizer.checked_momentum(schedules.momentum(optimizer.lr, self.epoch, self.steps))

    @property
    def state(self) -> dict[str, Any]:
        """A copy of all that training continues from, besides the network, the seed and the settings.

        {"epoch": .epoch, "steps": .steps, "updates": [t of the optimizer's formula for each layer: the steps that have
        trained it], "chunk_rows": .chunk_rows, name: [an array for each of network.parameters]}, with the names of the
        optimizer's `states`. One number is taken for "updates" too, as in the states of earlier versions: it is the t
        of all layers that are trained. The arrays are zeros before the first step, and if the optimizer keeps none, as
        SGD without momentum. A new Trainer with the same settings and this state continues with the same bits as the
        old one. The states of ReduceOnPlateau and of callbacks are not included. RuntimeError while another thread
        trains the network; callbacks may read it.

        Setting it copies the arrays. ValueError or TypeError for a state of another optimizer or network, with nothing
        changed.

        >>> import mlpfast
        >>> trainer = mlpfast.Trainer(mlpfast.Network([2, 1]), "huber", "adam")
        >>> loss = trainer.step([[0, 1]], [1])
        >>> {name: value for name, value in trainer.state.items() if name not in "mv"}
        {'epoch': 0, 'steps': 1, 'updates': [1], 'chunk_rows': 1024}
        >>> [array.shape for array in trainer.state["m"]]
        [(2, 1), (1,)]
        """
        optimizer, parameters = self.optimizer, self.network._core.parameters_of_all()
        with self._hold:
            updates, kept = self._core.read_state(optimizer.number)
            counts = {"epoch": self.epoch, "steps": self.steps, "updates": updates, "chunk_rows": self.chunk_rows}
        names = optimizer.states
        kept += [[np.zeros_like(p) for p in parameters] for _ in names[len(kept) :]]
        return {**counts, **dict(zip(names, kept, strict=True))}

    @state.setter
    @in_default_mode
    def state(self, state: dict[str, Any]) -> None:
        names, parameters = self.optimizer.states, self.network._core.parameters_of_all()
        if not isinstance(state, dict) or set(state) != {*COUNTS, *names}:
            got = ", ".join(map(str, state)) if isinstance(state, dict) else repr(state)
            raise ValueError(f"state must be a dict with the entries {', '.join([*COUNTS, *names])}, got {got}")
        epoch, steps, chunk_rows = (_count(state[name], name) for name in ("epoch", "steps", "chunk_rows"))
        updates = self._updates_of_layers(state["updates"])
        arrays = [state_arrays(name, state[name], parameters) for name in names]
        with self._hold:
            self._core.write_state(self._settings(), updates, arrays)
            self.epoch, self.steps, self.chunk_rows = epoch, steps, chunk_rows

    def _updates_of_layers(self, updates):
        """state["updates"], checked."""
        layers = self.network.layers
        if not isinstance(updates, (list, tuple)):  # of a version that could not thaw a layer
            t = _count(updates, "updates")
            return [t if layer.trainable else 0 for layer in layers]
        if len(updates) != len(layers):
            raise ValueError(f"state['updates'] must have a number for each of the {len(layers)} layers, got {updates}")
        return [_count(t, "updates") for t in updates]

    @explaining({
        **dict.fromkeys(("n_epochs", "nb_epoch", "num_epochs", "max_iter"), "it is called epochs"),
        **dict.fromkeys(("batch_size", "shuffle", "seed", "threads"), "it is an argument of Trainer"),
        "verbose": "it is called progress", "eval_set": "it is called validation_data",
        **dict.fromkeys(("lr", "learning_rate"), "set optimizer.lr"), "random_state": "it is the Trainer's seed",
        "early_stopping": "callbacks=[callbacks.EarlyStopping()] with validation_split=0.1 has it",
    })
    @in_default_mode
    def fit(
        self,
        X: Inputs,
        y: ArrayLike | None = None,  # required: the message for None says what is supported
        *,
        epochs: int | None = None,
        validation_data: Validation | None = None,
        validation_split: float | None = None,
        stratify: bool = False,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[Any, float] | ArrayLike | None = None,
        metrics: Metrics = (),
        stop_at: Goals | None = None,
        callbacks: Any = (),
        progress: bool = False,
        accumulate: int = 1,
        resume: PathLike | None = None,
        mean_weight: float | None = None,
    ) -> History:
        """Train for that many epochs -> History, one entry per epoch.

        X (n, n_in): float32, float64 or uint8 is read in place when C-contiguous; other numbers are converted first,
            and so are tables of pandas and polars with numeric columns, those of more than 32 MB some rows at a time.
            A source (mlpfast.data) takes the place of X, y and sample_weight, and may be the validation_data.
        y: for cross_entropy class numbers (n,), one-hot or probabilities (n, K); for binary_cross_entropy, hinge and
            the squared errors of several outputs class numbers (n,) or numbers (n, n_out); for a Custom loss numbers
            (n,) or (n, k) of any kind; else numbers (n,) if there is one output, or (n, n_out); of several quantiles,
            gaussian_nll, cox_ph and PerOutput as they say. Custom losses and metrics that are functions get y with the
            values and dtype given here.
        epochs: None is 1; for LBFGS, whose iterations they are, its max_iterations, or until it has converged.
        validation_data: (X, y) or (X, y, sample_weight), evaluated after each epoch.
        validation_split: the fraction of the rows to hold out for validation instead, drawn once, by the seed alone;
            class_weight does not apply to them. stratify=True draws the same fraction of each class. X is not copied.
        sample_weight (n,), or for a loss that is a sum over the entries of y of y's shape, class_weight ({class:
            weight}, (K,) or "balanced"): weights of the examples, or of their entries, multiplied. For y of several
            labels in a row, "balanced" or (K,), the weights of the ones, concern each label.
            Losses are divided by their sum, gradients see `weighting`. "balanced" counts rows by sample_weight.
        metrics: names or functions (mlpfast.metrics), computed after each epoch on the data, "mae", and on the
            validation data, "val_mae". With weights, functions without a parameter sample_weight are computed only on
            validation data, if these have no weights.
        stop_at: {name in the History: number}, or a number for "loss"; training ends once all of them are reached. For
            a name that mlpfast does not know {name: (">=", number)}, or "<=".
        callbacks: one or several objects with on_epoch_begin(trainer, epoch), on_batch_end(trainer, epoch, batch,
            logs), on_epoch_end(trainer, epoch, logs) or on_fit_end(trainer); a function counts as the third. True from
            on_batch_end or on_epoch_end ends training (mlpfast.callbacks).
        progress: a bar (tqdm, if installed), or a line per epoch and every ten seconds, with the rows per second and
            the time left.
        accumulate: the number of minibatches whose rows make a step; they go through the network one after the other,
            in the memory of one, and their gradients are averaged by rows. It has the bits of batch_size * accumulate
            with chunk_rows at most batch_size. Custom functions get all rows of a step together. Not with
            batch_size=None.
        resume: a file of callbacks.Checkpoint or Trainer.save. If it exists, training goes on from there, with the
            same bits as if it had not stopped: epochs are those of the whole fit, of which a finished one trains none,
            and the History is that of all of them. If it does not exist, training begins. A file of other layers,
            settings, seeds, callbacks or shapes of the data is a ValueError that says what differs.
        mean_weight: with weighting="data", that of the rows that have weight; None computes it, of a source with
            weights in a pass over all rows before the training.

        Changes the network's parameters in place. Ctrl-C raises KeyboardInterrupt and leaves them as they were after
        the last whole minibatch. Raises ValueError or TypeError for arguments that do not fit, with nothing changed,
        and FloatingPointError for numbers that are not finite (see check_finite).

        >>> import mlpfast
        >>> X, y = mlpfast.datasets.load_digits()
        >>> net = mlpfast.Network([64, 64, 10], output="softmax", seed=0)
        >>> trainer = mlpfast.Trainer(net, optimizer="adam", seed=0)
        >>> history = trainer.fit(X, y, epochs=20, validation_split=0.2, stop_at={"val_accuracy": 0.9})
        >>> history
        <History of 5 epochs: last loss 1.041, accuracy 0.8769, val_loss 0.9281, val_accuracy 0.9192>
        >>> more = trainer.fit(X, y, epochs=2)  # goes on
        >>> trainer.epoch
        7
        """
        _refuse_sklearn(sys._getframe())
        if y is None:
            refuse_dataset(X)
        accumulate = self._checked_accumulate(accumulate)
        epochs = self.optimizer.usual_epochs if epochs is None else whole_number("epochs", epochs, least=1)
        whole_number("epoch after fit", self.epoch + epochs, least=1, most=COUNTS["epoch"][1])
        metrics = known_metrics.checked(metrics)
        weights = {"sample_weight": sample_weight, "class_weight": class_weight}
        if is_source(X):
            self._refuse_bad_settings()  # before passes over the rows
        data, validation = training_and_validation(
            self, X, y, weights, validation_data, validation_split, stratify, known_metrics.need_y(metrics)
        )
        rows = rows_of(self, data, accumulate, mean_weight)
        given = all_of(callbacks, stop_at)
        return self._fit_on(rows, validation, epochs, metrics, given, flag("progress", progress), resume)

    @in_default_mode
    def _fit_on(self, rows, validation, epochs, metrics, given, progress=False, resume=None):
        """fit with checked arguments. rows: a RowsOfEpochs. given: the callbacks."""
        numbers = Logs(self, metrics, rows.data, validation)
        callbacks = [methods_of(callback) for callback in given]
        bar = Progress(progress, epochs, rows.n, rows.batch_rows)
        run = Run(self, callbacks, numbers, bar, epochs, Fit(given, shapes(rows, validation, rows.accumulate)))
        with self._hold, rows, bar:
            self._settings()  # a bad setting is refused before anything starts
            names = check_monitored(given, numbers.names())
            for schedule in self._all_schedules():
                schedules.check(schedule, names)
            self._begin_or_resume(run, resume)
            bar.go_on(run.fit.epochs)
            if run.left:
                self.optimizer.loop.fit(self, rows, run.left, run)
            run.finish()
            self._check_parameters()  # after callbacks, which may have restored earlier ones
        return run.history

    def _refuse_bad_settings(self):
        with self._hold:
            self._settings()

    def _begin_or_resume(self, run, path):
        from . import _checkpoints  # here, since it imports this module

        if not (path is None or isinstance(path, (str, bytes, os.PathLike))):  # exists(True) asks for file 1
            raise TypeError(f"resume must be the path of a file of Checkpoint or Trainer.save, got {path!r}")
        if path is not None and os.path.exists(path):
            _checkpoints.resume(self, run, path)
            return
        self._fit, self.history = run.fit, run.history
        if path is not None or any(isinstance(callback, Checkpoint) for callback in run.fit.callbacks):
            run.fit.begun = _checkpoints.settings_texts(self)
        _checkpoints.pass_on(self, run.fit.callbacks)

    def save(self, path: PathLike, *, sync: bool = True) -> None:
        """Write the network, and all that training goes on from, to a file, without any code: settings, optimizer and
        schedule with their states, epoch and steps, the History, and what callbacks of mlpfast have seen.

        mlpfast.load_trainer reads it, fit(..., resume=path) goes on from it, and load_network reads its network. A
        callback that saves belongs behind the others: what those after it will have seen of the epoch is not in the
        file (callbacks.Checkpoint is always called last). Functions of yours are stored by name only. path, sync and
        errors as in Network.save; RuntimeError while another thread trains the network.

        >>> import mlpfast
        >>> trainer = mlpfast.Trainer(mlpfast.Network([4, 3], output="softmax", seed=0), seed=0)
        >>> trainer.save("trainer.safetensors")
        >>> mlpfast.load_trainer("trainer.safetensors").optimizer
        SGD(lr=0.01, momentum=0.0, nesterov=False)
        """
        from . import _checkpoints

        _checkpoints.save_trainer(self, path, sync)

    def _checked_accumulate(self, accumulate):
        accumulate = whole_number("accumulate", accumulate, least=1)
        if accumulate > 1 and self.batch_size is None:
            raise ValueError(
                f"accumulate must be 1 with batch_size=None, which takes all rows as one minibatch, got {accumulate}"
            )
        return accumulate

    def step(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, mean_weight: float | None = None,
    ) -> float:
        """Train on one minibatch, all of X and y -> its mean loss before the update, 0.0 if all weights are 0.
        Shapes, sample_weight and errors as in fit.

        mean_weight: m divides the gradient of the B rows by B m; None by the sum of their weights, and if that is 0 the
            gradient of the loss is 0. A minibatch of fit is a step with m the mean weight of all rows to train on whose
            weight is not 0.

        >>> import mlpfast
        >>> net = mlpfast.Network([1, 1], init="zeros", seed=0)
        >>> trainer = mlpfast.Trainer(net, "half_squared_error", mlpfast.SGD(lr=0.25))
        >>> X, y = [[1.0], [3.0]], [2.0, 4.0]
        >>> trainer.step(X, y), trainer.step(X, y)
        (5.0, 1.0625)
        >>> net.layers[0].W, net.layers[0].b
        (array([[0.9375]], dtype=float32), array([0.4375], dtype=float32))
        """
        with self._hold:
            loop = self._optimizer.loop
            if sample_weight is None and mean_weight is None and loop.fused:
                self._settings(loop)
                loss = self._core.step_ready(X, y, self._network.input_scale, checked_threads(self.threads))
                if loss is not None:
                    return loss
            return self._step(X, y, sample_weight, mean_weight)

    @in_default_mode
    def _step(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, mean_weight: float | None) -> float:
        return self.optimizer.loop.step(self, self._minibatch(X, y, sample_weight, mean_weight))

    def _minibatch(self, X, y, sample_weight, mean_weight):
        data = examples(X, y, self.network, self.loss, sample_weight=sample_weight, all_zero=True)
        data.mean_weight = checked_mean_weight(mean_weight)
        return data

    def gradient(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        mean_weight: float | None = None,
        first_row: int = 0,
    ) -> tuple[float, list[Array]]:
        """The gradient of J on one minibatch, all of X and y, as step would use it -> (mean loss, [an array like each
        of network.parameters]); nothing changes. Shapes, errors, sample_weight and
        mean_weight as in step.

        It includes the penalties; masked weights and layers that are not trained have zeros. Clipping and weight decay
        are done by apply. first_row: the position of these rows in a minibatch that several calls share, which dropout
        and noise depend on. The part of the loss is a mean over the rows: the gradient of a minibatch in parts of equal
        size is the mean of theirs.

        >>> import mlpfast
        >>> net = mlpfast.Network([1, 1], init="zeros", seed=0)
        >>> trainer = mlpfast.Trainer(net, "half_squared_error")
        >>> trainer.gradient([[1.0], [3.0]], [2.0, 4.0])
        (5.0, [array([[-7.]], dtype=float32), array([-3.], dtype=float32)])
        """
        with self._hold:
            return self._gradient(X, y, sample_weight, mean_weight, first_row)

    @in_default_mode
    def _gradient(self, X, y, sample_weight, mean_weight, first_row):
        data = self._minibatch(X, y, sample_weight, mean_weight)
        options = _core.gradient_options(first_row=whole_number("first_row", first_row, least=0, most=2**32 - 1))
        failure, result, gradients = self._core.gradient(
            data, self._settings(), checked_threads(self.threads), options
        )
        raise_failure(self, failure, result, data)
        return mean_loss(result), gradients

    @in_default_mode
    def apply(self, gradients: Sequence[ArrayLike]) -> None:
        """One step from gradients, arrays of the shapes of network.parameters, such as those of `gradient`, or their
        mean over several calls. They are clipped according to the settings, and the step counts as a minibatch.

        apply(gradient(X, y)[1]) is step(X, y), bit for bit. Raises ValueError or TypeError for arrays that do not fit,
        and FloatingPointError for NaN or infinity (see check_finite), with nothing changed.

        >>> import mlpfast
        >>> net = mlpfast.Network([1, 1], init="zeros", seed=0)
        >>> trainer = mlpfast.Trainer(net, "half_squared_error", mlpfast.SGD(lr=0.25))
        >>> loss, gradients = trainer.gradient([[1.0], [3.0]], [2.0, 4.0])
        >>> trainer.apply(gradients)
        >>> net.parameters
        [array([[1.75]], dtype=float32), array([0.75], dtype=float32)]
        """
        self.optimizer.loop.apply(self, gradients)

    @in_default_mode
    def evaluate(
        self, X: Inputs, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None, metrics: Metrics = (),
    ) -> dict[str, float]:
        """{"loss": mean loss, "accuracy": share of right classes (cross entropies, hinge and perceptron only)} and the
        metrics, names or functions (mlpfast.metrics), on X, y; changes nothing. Shapes, sample_weight and errors as in
        fit.

        If each output has a label of its own, "accuracy" is the share of right labels, and "exact_match" that of rows
        with all labels right. A Custom loss is called once, with all rows: the value of one that combines rows is that
        of all of them, and not a mean over minibatches. A loss that is not finite is returned, but if X holds NaN or
        infinity FloatingPointError is raised (see check_finite).
        X may be a source (mlpfast.data), which has its y and weights, and is read once, some rows at a time; for
        metrics that are functions, and for a Custom loss, all predictions and y are kept.

        >>> import mlpfast
        >>> net = mlpfast.Network([2, 2], output="softmax", init="zeros")
        >>> net.layers[0].W = [[2, 0], [0, 2]]
        >>> scores = mlpfast.Trainer(net).evaluate([[1, 0], [0, 1], [3, 4]], [0, 1, 0], metrics=["top_2"])
        >>> {name: round(value, 3) for name, value in scores.items()}
        {'loss': 0.794, 'accuracy': 0.667, 'top_2': 1.0}
        """
        metrics = known_metrics.checked(metrics)
        keep_y = known_metrics.need_y(metrics)
        if y is None:
            refuse_dataset(X)
        if is_source(X):
            refuse_besides(y, sample_weight)
        elif in_parts(self, X, y, sample_weight):
            X = ArraySource(X, y, sample_weight)
        if is_source(X):
            if not in_place(X):
                return Logs(self, metrics, Stream(X, self.network, self.loss, keep_y=keep_y)).evaluated()
            X, y, sample_weight = arrays_in_place(X)
        data = examples(X, y, self.network, self.loss, sample_weight=sample_weight, keep_y=keep_y)
        return Logs(self, metrics, data).evaluated()

    def summary(self) -> str:
        """The network's summary and the settings of the training, as text.

        >>> import mlpfast
        >>> net = mlpfast.Network([64, 32, 10], output="softmax")
        >>> print(mlpfast.Trainer(net, optimizer="sgd", l2=1e-4).summary())
        layer           shape  activation  parameters
            1        64 -> 32  relu             2,080
            2        32 -> 10  softmax            330
        2,410 parameters, float32
        loss CrossEntropy(label_smoothing=0.0), SGD(lr=0.01, momentum=0.0, nesterov=False), minibatches of 64, l2 0.0001
        """
        rows = "all rows as one minibatch" if self.batch_size is None else f"minibatches of {self.batch_size}"
        limits = {name: getattr(self, name) for name in LIMITS + ("l1", "l2") if getattr(self, name)}
        more = [f"{name} {value!r}" if schedules.is_schedule(value) else f"{name} {value:g}"
                for name, value in limits.items()]
        loss = repr(self.loss) if self.loss.parameters or self.loss.missing else self.loss.name
        lines = [self.network.summary(), ", ".join([f"loss {loss}", repr(self.optimizer), rows, *more])]
        if self.loss.traits.is_custom:
            lines.append(f"Python functions are the loss: {UNFUSED}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        sizes = "-".join(map(str, [self.network.n_in, *(layer.n_out for layer in self.network.layers)]))
        settings = f"{self.loss.name}, {self.optimizer!r}, batch_size={self.batch_size}"
        return f"<Trainer of a {sizes} network: {settings}; {self.epoch} epochs, {self.steps} steps done>"

    def _settings(self, loop=None):
        """All settings that may be changed between steps, checked, as the core takes them. loop: the optimizer's, which
        uses them; ValueError if another thread, or reading X, has set an optimizer of another loop meanwhile."""
        # Checking takes longer than a small step, and is left out as long as every object is the same.
        optimizer = self._optimizer
        given = self._given_settings(optimizer)
        same = _core.same_objects(given, self._given)
        if not same or self._schedule is not None and not self._ask_schedule():
            self._given = ()  # after an error below, the next call checks again
            self._scheduled = _scheduled.Scheduled(self)
            self._largest_factor = max(self._lr_factors())
            checked, moves_momentum = self._checked_settings(optimizer)
            self._core.use(checked, optimizer.usual_rate() / max(1.0, self._largest_factor), moves_momentum)
            self._checked, self._used = checked, optimizer
            self._schedule = optimizer.lr if schedules.is_schedule(optimizer.lr) else None
            if _core.same_objects(given, self._given_settings(optimizer)):  # another thread may have set one meanwhile
                self._given = given
        if self._scheduled:
            self._checked.update(self._scheduled.use(self._epoch, self._core.steps))
            self._core.use_amounts(self._checked["l2"], self._checked["input_dropout"])
        if loop is not None and self._used.loop is not loop:
            raise ValueError(f"optimizer must not be replaced by one of another kind during a call, got {self._used!r}")
        return self._checked

    def _ask_schedule(self):
        """Use the schedule's present rate and momentum -> False if all settings must be checked again."""
        t, rate, momentum, in_use = self._core.ask_schedule(self._schedule, self._epoch)
        if not in_use:
            rate, momentum = schedules.checked(self._schedule, rate, momentum, t)
            self._used.checked_rate(within("lr", rate * self._largest_factor, self._network.dtype))
            if (momentum is not None) != self._core.moves_momentum:
                return False
            if momentum is not None:
                within(self._used.momentum_name or "momentum", momentum, self._network.dtype)
            self._core.use_rate(rate, momentum)
        self._checked["lr"] = rate
        if momentum is not None:
            self._checked[self._used.momentum_name] = momentum
        return True

    def _lr_factors(self):
        layers = self._network.layers
        return [layer.lr_factor * (max(1.0, layer.bias_lr_factor) if layer.bias else 1.0) for layer in layers]

    def _all_schedules(self):
        lr, others = self._optimizer.lr, self._scheduled.schedules
        if others:
            others = [each for each in others if each is not lr]
        return [lr, *others] if schedules.is_schedule(lr) else others

    def _given_settings(self, optimizer):
        net = self._network
        return (
            *optimizer.settings(), self.l1, self.l2, self.clip_value, self.clip_norm, self.max_norm,
            self.chunk_rows, self.check_finite, net.input_dropout, net.input_noise, self.seed, net._core.layers,
        )

    def _checked_settings(self, optimizer):
        """(the settings, whether a schedule sets the momentum)"""
        losses.check_learns(self.loss, self.network)
        optimizer.loop.check(self)
        rate = schedules.rate(optimizer.lr, self.epoch, self.steps)
        checked, lr = optimizer.checked(), rate
        optimizer.checked_rate(within("lr", rate * self._largest_factor, self.network.dtype))
        scheduled = self._scheduled_momentum(optimizer)
        settings = {
            **checked,
            "lr": lr,
            **scheduled,
            "l1": real_number("l1", self.l1, least=0),
            "l2": _scheduled.value_at("l2", self.l2, self.epoch, self.steps),
            **{name: _limit(name, getattr(self, name)) for name in LIMITS},
            **self.network._input_settings(self.epoch, self.steps),
        }
        for name, value in settings.items():
            if isinstance(value, float):
                within(optimizer.attribute_names.get(name, name), value, self.network.dtype)
        seed = whole_number("seed", self.seed, least=0, most=2**64 - 1)
        settings["chunk_rows"] = whole_number("chunk_rows", self.chunk_rows, least=1)
        settings["check_finite"] = flag("check_finite", self.check_finite)
        settings["sum_l2"] = self._sum_l2
        return {"size": _core.SIZE_OF_SETTINGS, **settings, "seed": seed}, bool(scheduled)

    def _check_parameters(self):
        """FloatingPointError for NaN or infinity after the last update, which no loss has been computed from."""
        bad = self.network._core.first_not_finite() if self.check_finite else -1
        if bad >= 0:
            raise FloatingPointError(
                f"epoch {self.epoch - 1}: layer {bad + 1} holds NaN or infinity after the last update. "
                "A smaller learning rate may help"
            )

    def __reduce__(self) -> Any:
        raise TypeError(
            "a Trainer cannot be pickled or copied: save it with Trainer.save, or pickle its network and make a new "
            "Trainer for it"
        )


FOR_SKLEARN = (
    "For Pipeline, GridSearchCV and other tools of scikit-learn, mlpfast.estimators has MLPClassifier and MLPRegressor"
)


def _refuse_sklearn(frame):
    """TypeError if scikit-learn has called fit, as a Pipeline does, which would train one epoch without a word."""
    while frame is not None and frame.f_globals.get("__name__", "").startswith(f"{__package__}."):
        frame = frame.f_back
    if frame is not None and frame.f_globals.get("__name__", "").startswith("sklearn."):
        raise TypeError(f"a Trainer is no estimator. {FOR_SKLEARN}")


def _count(value, name):
    """A number of a state, checked."""
    least, most = COUNTS[name]
    return whole_number(f"state[{name!r}]", value, least=least, most=most)


def _limit(name, value):
    """A limit as the core takes it, with 0 for None."""
    return 0.0 if value is None else real_number(name, value, above=0)
