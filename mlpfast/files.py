"""Files of networks: the format of safetensors (_safetensors.py), with settings as texts in its metadata (_texts.py).

Tensors are named as in Network.state_dict. The metadata of a network:

    format, version          "mlpfast", and the version of what follows
    holds                    "network"
    network.<setting>        dtype, seed, input_scale, input_dropout, input_noise
    layers.<l>.activation    with alpha and other parameters under layers.<l>.alpha, ...; for a Custom "custom", and
                             layers.<l>.name
    layers.<l>.<setting>     those that are not as usual: dropout, l1, ... (USUAL in layer.py)

A layer's shape is that of its W, and it has a bias, slopes or a mask if the file has such a tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _scheduled, activations
from ._safetensors import File, save
from ._scalars import FLOATS
from ._texts import Tree, by_name, described, from_caller, made, put
from .layer import USUAL, Layer
from .network import SETTINGS, TRANSFORM, Network, warn_if_not_finite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._types import Array, PathLike

VERSION = 1
KINDS: dict[str, Any] = {**activations.WITH_PARAMETERS, "per_output": activations.PerOutput}
# Beginnings of names: of files that hold more than a network.
OF_OTHERS: dict[str, tuple[str, ...]] = {
    "trainer": ("trainer", "state", "schedules", "fit", "history", "callbacks", "order"),
    "estimator": ("estimator",),  # estimators/_files.py
}


def summary(path: PathLike) -> str:
    """What a file holds, as text. Functions of Python that it names need not be there."""
    with opened(path) as (file, texts):
        stand_ins = _StandIns()
        net = network_of(file, texts, stand_ins)
        n = sum(np.prod(shape, dtype=np.int64) * dtype.itemsize for dtype, shape, *_ in file.tensors.values())
        lines = [net.summary(), *_tensors(file)]
        if net.input_transform is not None:
            lines.append("inputs are standardized by (x - mean) / scale")
        if texts.text == "trainer":
            lines += _of_training(file, texts, stand_ins)
        estimator = _printable(texts.take("estimator").text or "none")
        kind = {
            "network": "a network", "trainer": "a Trainer and its network",
            "estimator": f"an estimator, {estimator}, and its network",
        }[texts.text]
        asked = f", with Python functions of your own: {', '.join(sorted(stand_ins.asked))}" if stand_ins.asked else ""
        return "\n".join([*lines, f"{kind}, format version {VERSION}, {n:,} bytes of numbers{asked}"])


def _article(noun):
    return "an" if noun[0] in "aeiou" else "a"


def _tensors(file):
    """A line for each tensor of the network."""
    others = {section for sections in OF_OTHERS.values() for section in sections}
    names = sorted(name for name in file.tensors if name.split(".")[0] not in others)
    width = max(len(_printable(name)) for name in names)
    return [f"{_printable(name):<{width}}  {file.tensors[name][0].name:<7}  {file.tensors[name][1]}" for name in names]


def _printable(name):
    """A name from a stranger's file may hold what a terminal obeys."""
    return name if name.isprintable() else ascii(name)


class _StandIns(dict):
    """Objects of the caller's, of any name."""

    def __init__(self):
        self.asked = set()

    def __contains__(self, name):
        return True

    def __getitem__(self, name):
        self.asked.add(name)
        return _StandIn(name)


class _StandIn(activations.Custom):
    """An activation that cannot be called, and a schedule as well."""

    per = "epoch"

    def __init__(self, name):
        super().__init__(_no_function, _no_function, name=name)

    def at(self, t):
        return 0.0

    def __repr__(self):
        return self.name


def _no_function(*_):
    raise RuntimeError("a file names functions only")


def _of_training(file, texts, custom):
    """The settings and counts of a Trainer, and the last numbers of its History, a line each."""
    state, fit = texts.take("state"), texts.take("fit")
    settings = ", ".join(f"{name} {value}" for name, value in texts.take("trainer").take_all(custom).items())
    epochs, epoch, steps = (
        tree.take(name).value(custom) for tree, name in ((fit, "epochs"), (state, "epoch"), (state, "steps"))
    )
    lines = [f"trained with {settings}", f"epoch {epoch} ({epochs} of its last fit), step {steps}"]
    last = {}
    for name, (_dtype, shape, *_) in file.tensors.items():
        if name.startswith("history.") and len(shape) == 1 and shape[0]:
            last[name.removeprefix("history.")] = file.read(name)[-1]
    if last:
        lines.append(f"last epoch: {', '.join(f'{name} {float(value):.6g}' for name, value in last.items())}")
    return [_printable(line) for line in lines]


# ---- Networks ----


def save_network(net: Network, path: PathLike, sync: bool) -> None:
    texts = {**head("network"), **network_texts(net)}
    save(path, net._tensors(), texts, sync)


def head(holds: str) -> dict[str, str]:
    return {"format": "mlpfast", "version": str(VERSION), "holds": holds}


def network_texts(net: Network) -> dict[str, str]:
    texts: dict[str, str] = {}
    by_name(named_by(net))
    for name, value in net._settings().items():
        put(texts, f"network.{name}", value)
    for l, layer in enumerate(net.layers):
        texts[f"layers.{l}.activation"], parameters = described(layer._unit)
        for name, value in {**parameters, **layer._unusual()}.items():
            if name != "bias":
                put(texts, f"layers.{l}.{name}", value)
    return texts


def named_by(net: Network) -> list[Any]:
    """The activations and schedules of a network, which may be objects of the caller's."""
    return [layer._unit for layer in net.layers] + list(_scheduled.of_network(net).values())


def load_network(path: PathLike, custom: Mapping[str, Any] | None = None) -> Network:
    """The network of the file at path, which Network.save or Trainer.save has written.

    custom: {name: object} for the Custom activations that the file names, and schedules of your own (by their class's
        name).

    No code in a file is ever run. OSError for a file that cannot be read, ValueError that says what is wrong with one
    that is damaged or of another kind; NaN and infinity are loaded, with a RuntimeWarning.

    >>> import mlpfast
    >>> mlpfast.Network([4, 16, 3], seed=0).save("net.safetensors")
    >>> mlpfast.load_network("net.safetensors")
    <Network 4-16-3, float32>
    """
    custom = checked_custom(custom)
    with opened(path) as (file, texts):
        net = network_of(file, texts, custom)
        leave_out(file, texts)
        texts.nothing_left()
        read_parameters(file, net, {})
    warn_if_not_finite(file.name, net)
    return net


def leave_out(file: File, texts: Tree) -> None:
    """Let a file of a Trainer or an estimator be that of its network alone."""
    for section in OF_OTHERS.get(texts.text, ()):
        texts.take(section)
        for name in [name for name in file.tensors if name.startswith(f"{section}.")]:
            del file.tensors[name]


class opened:
    """`with opened(path) as (file, texts)`: a checked File of ours, and its metadata as a Tree whose text is what it
    holds, which must be `holds` unless that is None. ValueErrors of what is inside name the file."""

    file: File
    holds: str | None

    def __init__(self, path: PathLike, holds: str | None = None) -> None:
        self.file, self.holds = File(path), holds

    def __enter__(self) -> tuple[File, Tree]:
        try:
            return self.file, self.texts()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def texts(self) -> Tree:
        metadata = dict(self.file.metadata)
        if metadata.pop("format", None) != "mlpfast":
            raise ValueError(
                "is no file of mlpfast: its metadata have no format 'mlpfast'. Tensors of other programs go to "
                "Network.load_state_dict"
            )
        version = metadata.pop("version", None)
        if version != str(VERSION):
            raise ValueError(f"has version {version!r:.40} of the format, this mlpfast reads {VERSION}")
        holds = metadata.pop("holds", None)
        if holds not in ("network", *OF_OTHERS):
            raise ValueError(f"must hold a network, a trainer or an estimator, holds {holds!r:.40}")
        if self.holds not in (None, holds):
            reader = "estimators.load" if holds == "estimator" else f"load_{holds}"
            raise ValueError(f"holds {_article(holds)} {holds}: {reader} reads it")
        tree = Tree.of(metadata)
        tree.text = holds
        return tree

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _traceback: Any) -> None:
        self.file.__exit__()
        if isinstance(error, ValueError) and not str(error).startswith(self.file.name):
            raise self.file.wrong(error) from None


def network_of(file: File, texts: Tree, custom: Mapping[str, Any] | None) -> Network:
    """The network that the texts describe, with zeros as parameters. Sizes are those of tensors, which the file's
    length bears out."""
    settings = _without_text(texts.take("network")).take_all(custom)
    below = _without_text(texts.take("layers"))
    layers = [_layer(file, l, _without_text(below.take(str(l))), custom) for l in range(len(below.below))]
    below.nothing_left()
    if not layers:
        raise ValueError("has no layers")
    for what, names in (("missing", SETTINGS.keys() - settings), ("unknown", settings.keys() - SETTINGS)):
        if names:
            raise ValueError(f"the setting 'network.{min(names)}' is {what}")
    if settings["dtype"] not in FLOATS:  # not any name of NumPy's
        raise ValueError(f"network: dtype must be one of {', '.join(FLOATS)}, got {settings['dtype']!r:.40}")
    if settings["seed"] is None:
        raise ValueError("network: seed must be a number, got None")
    if any(name in file.tensors for name in TRANSFORM):
        shape = (layers[0].n_in,)
        settings["input_transform"] = [read(file, name, np.float64, shape) for name in TRANSFORM]
    return made("network", lambda **given: Network._bare(layers, **given), settings)


def _without_text(tree):
    """A tree that is no setting itself."""
    if tree.text is not None:
        raise ValueError(f"unknown setting {tree.key!r}: this file may be of a later version of mlpfast")
    return tree


def _layer(file, l, texts, custom):
    where = f"layers.{l}"
    settings = texts.take_all(custom)
    name = settings.pop("activation", None)
    if not isinstance(name, str):
        raise ValueError(f"unknown activation {name!r:.80} of {where}")
    if name == "custom":
        unit = from_caller(f"{where}.activation", settings.pop("name", None), custom)
    elif name in KINDS:
        kind = KINDS[name]
        missing = [own for own in kind.parameters if own not in settings]
        if missing:
            raise ValueError(f"the setting '{where}.{missing[0]}' is missing")
        given = {own: settings.pop(own) for own in kind.parameters}
        if name == "per_output":
            _check_parts(where, given["parts"])
        unit = made(where, kind, given)
    elif name in activations.NAMES:
        unit = name
    else:
        raise ValueError(f"unknown activation {name!r:.80} of {where}")
    shape: tuple[int, ...] = file.tensors[f"{where}.W"][1] if f"{where}.W" in file.tensors else ()
    if len(shape) != 2:
        raise ValueError(f"must have a matrix {where}.W, has {'shape ' + str(list(shape)) if shape else 'none'}")
    unknown = settings.keys() - USUAL.keys() | settings.keys() & {"bias"}
    if unknown:
        raise ValueError(f"unknown setting '{where}.{min(unknown)}': this file may be of a later version of mlpfast")
    if f"{where}.mask" in file.tensors:
        settings["mask"] = read(file, f"{where}.mask", "bool", shape)
    n_in, n_out = shape
    settings["bias"] = f"{where}.b" in file.tensors
    return made(where, lambda **given: Layer(n_in, n_out, unit, **given), settings)


def _check_parts(where, parts):
    """ValueError for activations that a file writes in another way: under another name, or without their alpha."""
    for part in parts if isinstance(parts, tuple) else ():
        unit = part[1] if isinstance(part, tuple) and len(part) == 2 else None
        if isinstance(unit, str) and (unit not in activations.NAMES or unit in activations.WITH_PARAMETERS):
            raise ValueError(f"unknown activation {unit!r:.80} of a part of {where}, or one without its alpha")


def read(file: File, name: str, dtype: Any, shape: tuple[int, ...]) -> Array:
    check_tensor(file, name, dtype, shape)
    return file.read(name)


def check_tensor(file: File, name: str, dtype: Any, shape: tuple[int, ...]) -> None:
    if name not in file.tensors:
        raise ValueError(f"the tensor {name!r} is missing")
    there, size, *_ = file.tensors[name]
    if there != np.dtype(dtype) or size != shape:
        raise ValueError(f"tensor {name!r} must have dtype {dtype} and shape {shape}, has {there.name} and {size}")


def read_parameters(file: File, net: Network, others: Mapping[str, Array]) -> None:
    """Read all tensors into the parameters of net, and those of others, {name: array}."""
    into = {**net._named_parameters(), **others}
    for name, array in into.items():
        check_tensor(file, name, array.dtype, array.shape)
    unknown = file.tensors.keys() - into.keys()
    if unknown and (unknown := unknown - net._tensors().keys()):
        raise ValueError(f"unknown tensor {min(unknown)!r:.80}")
    for name, array in into.items():
        file.read_into(name, array)
    for l, layer in enumerate(net.layers):
        if layer.mask is not None and (layer.W[~layer.mask] != 0).any():
            raise ValueError(f"layers.{l}.W must be 0 where layers.{l}.mask is")


def checked_custom(custom: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if custom is not None and not isinstance(custom, dict):
        raise TypeError(f"custom must be a dict {{name: object}}, got {custom!r}")
    return custom or {}
