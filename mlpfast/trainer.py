"""Training: validated arrays in, whole epochs in C, callbacks in between."""

import math
import operator

import numpy as np

from . import _core, full_batch, losses, optimizers
from ._config import checked_threads
from ._progress import Progress
from ._validate import Data, examples, flag, real_number, whole_number
from .history import History
from .network import Network, seed_or_fresh

ALL_ROWS = 2**62


class Trainer:
    """Trains a network by minibatch gradient descent on J = L + (l2/2) sum W^2 + l1 sum |W|; biases are not penalised.

    loss: a name or an object of mlpfast.losses.
    optimizer: "sgd", "adam", "adamw", "rmsprop" or "adagrad", or an object such as SGD(lr=0.1, momentum=0.9); with
        batch_size=None also "lbfgs" or "natural_gradient".
    batch_size: rows of a minibatch; None takes all rows as one (gradient descent).
    clip_value: each number of a gradient, penalties included, is cut to at most that size; None does not.
    shuffle: a fresh order of the examples each epoch, fixed by seed and the epoch's number.
    seed: of the order, of dropout and of noise; None takes a fresh one.
    threads: that many, but never more than there are processors; None lets the amount of work decide. It changes no
        bit of the result.
    check_finite: raise FloatingPointError before a minibatch with NaN or infinity, or a loss that is not finite,
        changes the parameters.

    The state (velocities, number of epochs done) lives as long as the Trainer: fit called again goes on.
    """

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
        check_finite=True,
    ):
        if not isinstance(network, Network):
            raise TypeError(f"network must be a Network, got {type(network).__name__}")
        self._network = network
        self._loss = losses.checked(loss, network)
        self.optimizer = optimizers.from_name(optimizer)
        self._batch_size = None if batch_size is None else whole_number("batch_size", batch_size, least=1)
        self.shuffle = flag("shuffle", shuffle)
        self.seed = seed_or_fresh(seed)
        self.threads = threads
        checked_threads(threads)
        self.l1, self.l2 = real_number("l1", l1, least=0), real_number("l2", l2, least=0)
        self.clip_value = clip_value
        self.check_finite = flag("check_finite", check_finite)
        self.epoch = 0  # whole epochs done
        self.history = History()  # of the last call of fit, also after an exception
        self._core = _core.Trainer(network._core, self.loss, ALL_ROWS if batch_size is None else self.batch_size)
        self._given, self._checked = (), None  # settings as they were last checked

    @property
    def network(self):
        return self._network

    @property
    def loss(self):
        return self._loss

    @property
    def batch_size(self):
        return self._batch_size

    @property
    def state(self):
        """What the optimizer keeps, as {"steps": t, name: [an array for each of network.parameters]}: views, so that
        writing to them changes the state. The names are those of the optimizer's `states`. Setting it copies."""
        self._core.prepare(self._settings())
        return {"steps": self._core.steps, **dict(zip(self.optimizer.states, self._core.states(), strict=False))}

    @state.setter
    def state(self, state):
        mine = self.state
        if set(state) != set(mine):
            raise ValueError(f"state must have the entries {', '.join(mine)}, got {', '.join(state)}")
        steps = whole_number("state['steps']", state["steps"], least=0)
        for name in set(mine) - {"steps"}:
            shapes = [np.shape(array) for array in state[name]]
            if shapes != [array.shape for array in mine[name]]:
                raise ValueError(f"state[{name!r}] must hold an array for each parameter, of its shape, got {shapes}")
        for name in set(mine) - {"steps"}:
            for array, value in zip(mine[name], state[name], strict=True):
                array[...] = value
        self._core.steps = steps

    def fit(
        self,
        X,
        y,
        *,
        epochs=1,
        validation_data=None,
        sample_weight=None,
        class_weight=None,
        callbacks=(),
        progress=False,
    ):
        """Train for that many epochs -> History, one entry per epoch.

        X (n, n_in): float32, float64 or uint8 is read in place when C-contiguous; other numbers are converted first.
        y: for cross_entropy class numbers (n,), one-hot or probabilities (n, K); else numbers (n,) if there is one
            output, or (n, n_out).
        validation_data: (X, y), evaluated after each epoch.
        sample_weight (n,), class_weight ({class: weight}, (K,) or "balanced"): weights of the examples; losses and
            gradients are divided by their sum.
        callbacks: objects with on_epoch_begin(trainer, epoch) and on_epoch_end(trainer, epoch, logs), either may be
            missing; a function counts as the latter. True from on_epoch_end ends training.
        progress: a bar (tqdm, if installed) or a line per epoch.

        Changes the network's parameters in place. Ctrl-C raises KeyboardInterrupt and leaves them as they were after
        the last whole minibatch. Raises ValueError or TypeError for arguments that do not fit, with nothing changed,
        and FloatingPointError for numbers that are not finite (see check_finite).
        """
        epochs = whole_number("epochs", epochs, least=1)
        data = examples(X, y, self.network, self.loss, sample_weight=sample_weight, class_weight=class_weight)
        validation = self._validation(validation_data)
        self._settings()  # a bad setting is refused before anything starts
        callbacks = _callbacks(callbacks)
        order = np.empty(len(data), np.int64) if self.shuffle else None
        history = self.history = History()
        with Progress(flag("progress", progress), epochs) as bar:

            def begin():
                for begin_epoch, _ in callbacks:
                    begin_epoch(self, self.epoch)

            def end(logs):  # -> whether to stop
                history.append(logs)
                bar.show(logs)
                wishes = [end_epoch(self, self.epoch - 1, logs) for _, end_epoch in callbacks]
                return any(isinstance(wish, (bool, np.bool_)) and wish for wish in wishes)

            if isinstance(self.optimizer, optimizers.LBFGS):  # SciPy has the loop
                full_batch.lbfgs(self, data, epochs, begin, lambda logs: end(self._ended(logs, validation)))
                return history
            for _ in range(epochs):
                begin()
                if end(self._one_epoch(data, order, validation)):
                    break
        return history

    def step(self, X, y, sample_weight=None):
        """Train on one minibatch, all of X and y -> its mean loss before the update. Shapes and errors as in fit."""
        if isinstance(self.optimizer, optimizers.FullBatch):
            return full_batch.step(self, examples(X, y, self.network, self.loss, sample_weight=sample_weight))["loss"]
        if sample_weight is None:
            self._settings()
            loss = self._core.step_ready(X, y, self._network.input_scale, checked_threads(self.threads))
            if loss is not None:
                return loss
        data = examples(X, y, self.network, self.loss, sample_weight=sample_weight)
        failure, result = self._core.step(data, self._settings(), checked_threads(self.threads))
        self._check(failure, result)
        return result["loss_sum"] / result["weight_sum"]

    def evaluate(self, X, y, sample_weight=None):
        """{"loss": mean loss, "accuracy": share of right classes (cross entropies only)} on X, y; changes nothing."""
        return self._evaluate(examples(X, y, self.network, self.loss, sample_weight=sample_weight))

    def _one_epoch(self, data, order, validation):
        if isinstance(self.optimizer, optimizers.FullBatch):
            return self._ended(full_batch.step(self, data), validation)
        if order is not None:
            _core.shuffle(order, self.seed, self.epoch)
        failure, result = self._core.epoch(data, order, self._settings(), checked_threads(self.threads))
        self._check(failure, result)
        return self._ended(self._means(result["loss_sum"], result["weight_sum"], result["correct"]), validation)

    def _ended(self, logs, validation):
        """One more epoch is done: its numbers, with those of the validation."""
        self.epoch += 1
        if validation is not None:
            for name, value in self._evaluate(validation).items():
                logs["val_" + name] = value
            if self.check_finite and not math.isfinite(logs["val_loss"]):
                raise FloatingPointError(f"epoch {self.epoch - 1}: the validation loss is {logs['val_loss']}")
        return logs

    def _evaluate(self, data):
        return self._means(*self.network._core.evaluate(data, self.loss, checked_threads(self.threads)))

    def _means(self, loss_sum, weight_sum, correct):
        means = {"loss": loss_sum / weight_sum}
        if self.loss.name in losses.CLASSIFICATION:
            means["accuracy"] = correct / weight_sum
        return means

    def _settings(self):
        """Everything of a step that may be changed between calls, as the core takes it."""
        # Checking takes longer than a small step: as long as every object is the same, so is the answer.
        net = self._network
        own = (self.l1, self.l2, self.clip_value, self.check_finite, net.input_dropout, net.input_noise)
        given = (*self.optimizer.settings(), *own)
        if len(given) != len(self._given) or not all(map(operator.is_, given, self._given)):
            self._given = ()  # whatever goes wrong below, the next call checks again
            checked = self._checked_settings()
            self._core.use(checked)
            self._checked, self._given = checked, given
        return self._checked

    def _checked_settings(self):
        if isinstance(self.optimizer, optimizers.FullBatch):
            full_batch.check(self)
        settings = {
            **self.optimizer.checked(),
            "l1": real_number("l1", self.l1, least=0),
            "l2": real_number("l2", self.l2, least=0),
            "clip_value": 0.0 if self.clip_value is None else real_number("clip_value", self.clip_value, above=0),
            **self.network._input_settings(),
        }
        limits = np.finfo(self.network.dtype)
        least, most = float(limits.tiny), float(limits.max)
        for name, value in settings.items():
            if isinstance(value, float) and value and not least <= value <= most:
                dtype = self.network.dtype
                raise ValueError(f"{name} must be from {least:.6g} to {most:.6g} for {dtype}, got {value!r}")
        return {**settings, "seed": self.seed, "check_finite": flag("check_finite", self.check_finite)}

    def _check(self, failure, result):
        if failure is None:
            return
        where = f"epoch {self.epoch}, minibatch {result['minibatches']}"
        if failure == "loss":
            raise FloatingPointError(
                f"{where}: the loss is {result['bad_loss']}; the parameters are those before this minibatch. "
                "A smaller learning rate may help"
            )
        so_far = result["loss_sum"] / result["weight_sum"] if result["weight_sum"] else math.nan
        raise FloatingPointError(
            f"{where}: X holds NaN or infinity (or a number too large for {self.network.dtype}); the loss so far is "
            f"{so_far:.6g}; the parameters are those before this minibatch"
        )

    def _validation(self, validation_data) -> Data | None:
        if validation_data is None:
            return None
        try:
            X, y = validation_data
        except (TypeError, ValueError):
            length = f" of length {len(validation_data)}" if hasattr(validation_data, "__len__") else ""
            got = type(validation_data).__name__ + length
            raise ValueError(f"validation_data must be a pair (X, y), got a {got}") from None
        return examples(X, y, self.network, self.loss, names=("validation_data X", "validation_data y"))

    def __reduce__(self):
        raise TypeError("a Trainer cannot be pickled or copied: pickle its network, and make a new Trainer for it")


def _nothing(*_):
    return None


def _callbacks(callbacks):
    try:
        return [_callback(c) for c in callbacks]
    except TypeError:
        if hasattr(callbacks, "__iter__"):
            raise
        raise TypeError(f"callbacks must be a list of callbacks, got {callbacks!r}") from None


def _callback(callback):
    """(on_epoch_begin, on_epoch_end) of a callback."""
    begin = getattr(callback, "on_epoch_begin", None)
    end = getattr(callback, "on_epoch_end", None)
    if begin is None and end is None:
        if not callable(callback):
            raise TypeError(f"callbacks must be functions or have on_epoch_begin or on_epoch_end, got {callback!r}")
        end = callback
    return begin or _nothing, end or _nothing
