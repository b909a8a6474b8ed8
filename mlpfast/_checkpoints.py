"""Files of Trainers: that of the network (files.py), and all that training goes on from. Their metadata besides:

    holds                    "trainer"
    order                    the version of the order of rows and sums (MLP_ORDER_VERSION in csrc/mlpfast.h)
    trainer.<setting>        SETTINGS of trainer.py
    state.<entry>            Trainer.state; its arrays are tensors, state.v.layers.0.W, or the text is "zeros"
    schedules.<name>.<entry> the states of schedules: lr, l2, input_dropout, layers.<l>.dropout and layers.<l>.l2
    fit.epochs, fit.ended, fit.done, fit.result.<name>, fit.data.<name>       see Fit in _run.py
    fit.begun.<setting>      a setting when the fit began, where it has changed since; "usual" if it was not written
    callbacks.<i>            the class of a callback with a state, .arguments.<name>, and .state.<entry>

The History is the tensors history.<name>.
"""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _core, _scheduled, schedules
from ._run import Fit
from ._safetensors import save
from ._texts import by_name, made, put, text, value_of
from .callbacks import Stateful
from .files import check_tensor, checked_custom, head, named_by, network_of, network_texts, opened, read_parameters
from .layer import CHANGEABLE
from .network import warn_if_not_finite
from .optimizers import LBFGS
from .trainer import SETTINGS, Trainer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._types import PathLike

USUAL = "usual"
OF_SETTINGS = ("network.", "layers.", "trainer.")  # beginnings of the keys of settings_texts
RESULT = {"loss_sum": float, "weight_sum": float, "correct": float, "exact": float, "rows": int, "minibatches": int,
          "bad_loss": float, "row_loss_sum": float, "row_l2_sum": float}
LATER = {"row_loss_sum": 0.0, "row_l2_sum": 0.0}  # which older files do not have
CALLBACKS = {kind.__name__: kind for kind in Stateful.__subclasses__()}


# ---- Writing ----


def save_trainer(trainer, path, sync):
    with trainer._hold:
        tensors, texts = contents(trainer)
        save(path, tensors, texts, sync)


def contents(trainer):
    """(tensors, metadata)"""
    net, fit = trainer.network, trainer._fit
    names = list(net._named_parameters())
    texts = {**head("trainer"), "order": str(_core.ORDER_VERSION), **settings_texts(trainer)}
    tensors = dict(net._tensors())
    state = trainer.state
    del state["chunk_rows"]  # a setting as well
    parts: dict[str, Any] = {"state": state, "schedules": states_of_schedules(trainer)}
    parts["fit"] = {"epochs": fit.epochs, "ended": fit.ended, "done": fit.done, "data": fit.data}
    if fit.done:
        parts["fit"]["result"] = {name: fit.result[name] for name in RESULT}
    for key, part in parts.items():
        spread(texts, tensors, key, part, names)
    if fit.begun is not None:
        now = settings_texts(trainer)
        changed = [key for key in {**now, **fit.begun} if now.get(key) != fit.begun.get(key)]
        texts.update({f"fit.begun.{key}": fit.begun.get(key, USUAL) for key in changed})
    for number, seen in enumerate([*map(Seen.by, stateful(fit.callbacks)), *trainer._seen]):
        texts[f"callbacks.{number}"] = seen.kind
        spread(texts, tensors, f"callbacks.{number}.arguments", seen.arguments, names)
        spread(texts, tensors, f"callbacks.{number}.state", seen.state, names)
    for name, values in trainer.history.items():
        tensors[f"history.{name}"] = column(name, values)
    return tensors, texts


def settings_texts(trainer):
    """{key: text} of all settings that decide on the bits."""
    objects_of_caller(trainer)
    texts = network_texts(trainer.network)
    for name in SETTINGS:
        put(texts, f"trainer.{name}", getattr(trainer, name))
    return texts


def states_of_schedules(trainer):
    """{name: state}"""
    return {name: schedules.state_of(schedule) for name, schedule in _scheduled.of_trainer(trainer).items()}


def spread(texts, tensors, key, value, names):
    """Put a value under key: a dict, plain values, or lists of an array for each of the parameters' names."""
    if isinstance(value, dict):
        for name, part in value.items():
            spread(texts, tensors, f"{key}.{name}", part, names)
    elif isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        if not any(np.ascontiguousarray(array).view(np.uint8).any() for array in value):
            texts[key] = "zeros"
            return
        for name, array in zip(names, value, strict=True):
            tensors[f"{key}.{name}"] = array
    else:
        put(texts, key, value)


def column(name, values):
    """A column of the History as an array."""
    array = np.array(values)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise TypeError(f"history[{name!r}] must hold numbers to be saved, got {values[-1]!r}")
    return array.astype({"b": bool, "f": np.float64}.get(array.dtype.kind, np.int64))


def stateful(callbacks):
    return [callback for callback in callbacks if isinstance(callback, Stateful)]


# ---- Reading ----


class Seen(NamedTuple):
    """What a file says of a callback."""

    kind: str
    arguments: dict
    state: dict

    @classmethod
    def by(cls, callback):
        return cls(type(callback).__name__, callback.arguments(), callback.state)

    def suits(self, callback):
        return type(callback).__name__ == self.kind and callback.arguments() == self.arguments


class Saved(NamedTuple):
    trainer: Trainer
    fit: Fit
    seen: list


def load_trainer(path: PathLike, custom: Mapping[str, Any] | None = None) -> Trainer:
    """The Trainer of the file at path, which Trainer.save or callbacks.Checkpoint has written, with its network. It
    goes on with the same bits as if it had not stopped, on any number of threads; what callbacks had seen passes to
    those of the next fit that are of the same class and arguments.

    custom: {name: object} for what the file only names: Custom activations and losses, and schedules of your own (by
        their class's name).

    No code in a file is ever run. Errors and RuntimeWarning as for load_network, and a RuntimeWarning if the file is of
    a version with another order of sums, whose bits were others.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> trainer = mlpfast.Trainer(mlpfast.Network([64, 10], output="softmax", seed=0), optimizer="adam", seed=0)
    >>> history = trainer.fit(X, y, epochs=2)
    >>> trainer.save("trainer.safetensors")
    >>> again = mlpfast.load_trainer("trainer.safetensors")
    >>> again.epoch, again.optimizer
    (2, Adam(lr=0.001, beta1=0.9, beta2=0.999, eps=1e-08, epsilon_hat=False))
    """
    custom = checked_custom(custom)
    with opened(path, "trainer") as (file, texts):
        trainer, fit, seen = saved(file, texts, custom)
    trainer._fit, trainer._seen = fit, seen
    use_present(trainer)
    warn_if_not_finite(file.name, trainer.network)
    return trainer


def use_present(trainer):
    """Let the schedules of dropout and l2 have their values of the last minibatch, as they had when it was saved."""
    epochs = trainer.epoch if trainer._fit.done else max(trainer.epoch - 1, 0)
    _scheduled.Scheduled(trainer).use(epochs, max(trainer.steps - 1, 0))


def saved(file, texts, custom):
    order = texts.take("order").value(custom)
    if type(order) is not int or order < 0:
        raise ValueError(f"order must be a version, got {order!r:.80}")
    if order != _core.ORDER_VERSION:
        warnings.warn(
            f"{file.name} is of a version of mlpfast with another order of sums, {order} instead of "
            f"{_core.ORDER_VERSION}: training goes on, but with other bits than it would have had", RuntimeWarning,
            stacklevel=4,
        )
    net = network_of(file, texts, custom)
    read = Reader(file, net, custom)
    settings = texts.take("trainer").take_all(custom)
    missing = set(SETTINGS) - settings.keys()
    if missing:
        raise ValueError(f"the setting 'trainer.{min(missing)}' is missing")
    trainer = made("trainer", lambda **given: Trainer(net, **given), settings)
    state = {**read.values(texts.take("state")), "chunk_rows": trainer.chunk_rows}
    below = texts.take("schedules")
    seen_by_schedules = {name: read.values(below.take(name)) for name in _scheduled.of_trainer(trainer)}
    below.nothing_left()
    parts = texts.take("fit")
    parts.take("begun")
    fit = fit_of(read.values(parts))
    fit.begun = begun_with(file.metadata)
    below = texts.take("callbacks")
    seen = [seen_by(read, below.take(str(number))) for number in range(len(below.below))]
    below.nothing_left()
    texts.nothing_left()
    columns = read.columns()
    read_parameters(file, net, read.arrays)
    made("state", set_states, {"trainer": trainer, "state": state, "of_schedules": seen_by_schedules})
    trainer.history.update({name: array.tolist() for name, array in columns.items()})
    return Saved(trainer, fit, seen)


def set_states(trainer, state, of_schedules):
    """of_schedules: {name: state}, as from states_of_schedules."""
    try:
        trainer.state = state
        set_states_of_schedules(trainer, of_schedules)
    except (KeyError, AttributeError) as error:
        raise ValueError(f"{error} is missing") from None


def set_states_of_schedules(trainer, states):
    for name, schedule in _scheduled.of_trainer(trainer).items():
        schedules.set_state(schedule, states[name])


class Reader:
    """Values as `spread` writes them. arrays: {name of a tensor: the array to read it into}."""

    def __init__(self, file, net, custom):
        self.file, self.custom, self.arrays = file, custom, {}
        self.parameters = net._named_parameters()
        self.first = next(iter(self.parameters))
        self.lists: dict[str, list] = {}  # {key: the names under it of lists of an array for each parameter}
        for tensor in file.tensors:
            if tensor.endswith(f".{self.first}"):
                key, _, name = tensor[: -len(self.first) - 1].rpartition(".")
                self.lists.setdefault(key, []).append(name)

    @functools.cached_property
    def zeros(self):
        return [np.zeros(p.shape, p.dtype) for p in self.parameters.values()]

    def values(self, tree):
        """{name: value} of what is under a key."""
        found: dict[str, Any] = {}
        for name in list(tree.below):
            below = tree.take(name)
            if below.text is None:
                found[name] = self.values(below)
            elif below.text == "zeros":
                found[name] = self.zeros
            else:
                found[name] = below.value(self.custom)
        for name in self.lists.get(tree.key, ()):
            if name not in found:
                found[name] = self.like_parameters(f"{tree.key}.{name}")
        return found

    def like_parameters(self, key):
        arrays = []
        for name, p in self.parameters.items():
            check_tensor(self.file, f"{key}.{name}", p.dtype, p.shape)
            arrays.append(np.empty(p.shape, p.dtype))
            self.arrays[f"{key}.{name}"] = arrays[-1]
        return arrays

    def columns(self):
        """{name: array}, those of the History."""
        found = {}
        for tensor, (dtype, shape, *_) in self.file.tensors.items():
            if tensor.startswith("history."):
                if len(shape) != 1 or dtype.name not in ("bool", "int64", "float64"):
                    raise ValueError(f"tensor {tensor!r} must hold a row of numbers")
                found[tensor.removeprefix("history.")] = self.arrays[tensor] = np.empty(shape, dtype)
        return found


def fit_of(values):
    """The Fit that a file describes."""
    fit = Fit()
    kinds: dict[str, Any] = {"epochs": int, "ended": bool, "done": int}
    for name, kind in kinds.items():
        value: Any = values.get(name)
        if type(value) is not kind or value < 0:
            raise ValueError(f"fit.{name} must be a {kind.__name__} >= 0, got {value!r}")
        setattr(fit, name, value)
    if fit.done:
        result = {**LATER, **values.get("result", {})}
        counted = {name: type(value) for name, value in result.items()} == RESULT and fit.done == result["minibatches"]
        if not counted or not 0 <= result["rows"] < 2**63:
            raise ValueError("fit.result must be what the core has counted")
        fit.result = result
    elif "result" in values:
        raise ValueError("fit.result goes with fit.done")
    fit.data = values.get("data", {})
    unknown = values.keys() - kinds.keys() - {"result", "data"}
    if unknown:
        raise ValueError(f"unknown setting 'fit.{min(unknown)}'")
    return fit


def begun_with(metadata):
    """{key: text} of the settings when the fit began."""
    now = {key: form for key, form in metadata.items() if key.startswith(OF_SETTINGS)}
    prefix = "fit.begun."
    before = {key.removeprefix(prefix): form for key, form in metadata.items() if key.startswith(prefix)}
    unknown = [key for key in before if not key.startswith(OF_SETTINGS)]
    if unknown:
        raise ValueError(f"unknown setting '{prefix}{unknown[0]:.80}'")
    return {key: form for key, form in {**now, **before}.items() if form != USUAL}


def seen_by(read, texts):
    kind, arguments, state = texts.text, texts.take("arguments"), texts.take("state")
    arguments, state = read.values(arguments), read.values(state)
    texts.nothing_left()
    if not isinstance(kind, str):
        raise ValueError(f"{texts.key} must name a callback")
    if kind in CALLBACKS:
        made(f"{texts.key}.state", CALLBACKS[kind].check_state, {"state": state})
    return Seen(kind, arguments, state)


# ---- Going on ----


def pass_on(trainer, callbacks):
    """Let callbacks go on from what those of a loaded Trainer had seen."""
    left, trainer._seen = trainer._seen, []
    for callback in stateful(callbacks):
        for seen in left:
            if seen.suits(callback):
                left.remove(seen)
                callback.resume(trainer, seen.state)
                break


def resume(trainer, run, path):
    """Let trainer, and the run of its fit that has not begun, go on from a file."""
    before = states_of_schedules(trainer)
    try:
        with opened(path, "trainer") as (file, texts):
            refuse_other(trainer, run, file)
            other, fit, seen = saved(file, texts, objects_of_caller(trainer))
            refuse_other_arrays(trainer.network, other.network)
            refuse_other_callbacks(seen, run.fit.callbacks)
    except BaseException:
        set_states_of_schedules(trainer, before)  # those of the caller's classes are objects of `other` too
        raise
    if isinstance(trainer.optimizer, LBFGS) and not fit.ended:
        warnings.warn("LBFGS begins anew at the parameters of the file: the pairs it had are not in it", RuntimeWarning,
                      stacklevel=5)
    net = trainer.network
    for mine, theirs in zip(net.parameters, other.network.parameters, strict=True):
        mine[...] = theirs
    now = settings_texts(other)
    for key in {**now, **fit.begun}:
        if now.get(key) != fit.begun.get(key):
            take_setting(trainer, other, key)
    net.seed = other.network.seed
    set_states(trainer, other.state, states_of_schedules(other))
    run.history.update(other.history)
    fit.callbacks, fit.data, run.fit = run.fit.callbacks, run.fit.data, fit
    trainer._fit, trainer.history, trainer._seen = fit, run.history, seen
    pass_on(trainer, fit.callbacks)
    use_present(trainer)
    warn_if_not_finite(file.name, net)


def objects_of_caller(trainer):
    """{name: object} of what the trainer has and a file only names."""
    own = (trainer.optimizer, trainer.optimizer.lr, trainer.l2, trainer.loss)
    return by_name([*own, *named_by(trainer.network)])


def take_setting(trainer, other, key):
    """Set what has changed since the fit began."""
    section, name, *_ = key.split(".")
    if section == "layers":
        number, name = int(name), key.split(".")[2]
        mine, theirs = trainer.network.layers[number], other.network.layers[number]
        if name in CHANGEABLE:
            setattr(mine, name, getattr(theirs, name))
        else:  # an attribute of a schedule
            vars(getattr(mine, name)).update(vars(getattr(theirs, name)))
    else:
        mine, theirs = (trainer, other) if section == "trainer" else (trainer.network, other.network)
        setattr(mine, name, getattr(theirs, name))


def refuse_other(trainer, run, file):
    """ValueError that says what differs between the fit that has begun and the one that is to go on."""
    here = settings_texts(trainer)
    data = {key: form for key, form in file.metadata.items() if key.startswith("fit.data.")}
    there = {**begun_with(file.metadata), **data}
    for name, array in trainer.network._tensors().items():
        here[f"the shape of {name}"] = text(str(array.shape))
    for name, (_dtype, shape, *_) in file.tensors.items():
        if name.startswith(("layers.", "input_transform.")):
            there[f"the shape of {name}"] = text(str(shape))
    if data:  # else it was saved before any fit
        for name, value in run.fit.data.items():
            put(here, f"fit.data.{name}", value)
    keys = [key for key in {**here, **there} if here.get(key) != there.get(key) and key != "network.seed"]
    if keys:
        lines = [f"{_plain(key)} is {_shown(there.get(key))} there and {_shown(here.get(key))} here" for key in keys]
        hint = "; a Trainer that is given no seed draws one" if "trainer.seed" in keys else ""
        raise ValueError(f"is of another fit: {', '.join(lines[:8])}{hint}")


def refuse_other_arrays(mine, theirs):
    """The same for masks and an input transform."""
    fixed = mine._tensors().keys() - mine._named_parameters().keys()
    for name in sorted(fixed):
        if not np.array_equal(mine._tensors()[name], theirs._tensors()[name]):
            raise ValueError(f"is of another fit: {name} holds other numbers there")


def refuse_other_callbacks(seen, callbacks):
    """The same for callbacks whose arguments decide on what is trained."""
    there = [(each.kind, each.arguments) for each in seen if each.arguments]
    here = [(type(each).__name__, each.arguments()) for each in stateful(callbacks) if each.arguments()]
    if there != here:
        raise ValueError(f"is of another fit: callbacks are {_calls(there)} there and {_calls(here)} here")


def _calls(pairs):
    calls = [f"{kind}({', '.join(f'{n}={v!r}' for n, v in arguments.items())})" for kind, arguments in pairs]
    return ", ".join(calls) or "none"


def _plain(key):
    return key.removeprefix("trainer.").removeprefix("fit.data.")


def _shown(given):
    return "as usual" if given is None else repr(value_of(given)).strip('"')
