"""Files of one format from those of another: convert."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .. import files
from .onnx import from_onnx, to_onnx

if TYPE_CHECKING:
    from .._types import PathLike
    from ..network import Network

READERS = {".safetensors": files.load_network, ".onnx": from_onnx}
WRITERS = {".safetensors": lambda net, path: net.save(path), ".onnx": to_onnx}


def convert(source: PathLike, target: PathLike) -> Network:
    """Read the network of the file `source` and write it to the file `target`; returns the Network.

    Suffixes say which format each has: .safetensors (Network.save and, as source, Trainer.save, of which the network is
    taken) or .onnx. ValueError for another suffix, and for what the reader or the writer cannot carry over; then
    nothing is written.

    >>> import mlpfast
    >>> mlpfast.Network([4, 16, 3], seed=0).save("net.safetensors")
    >>> mlpfast.exchange.convert("net.safetensors", "net.onnx")
    <Network 4-16-3, float32>
    >>> mlpfast.exchange.from_onnx("net.onnx")
    <Network 4-16-3, float32>
    """
    read, write = _of_suffix("source", source, READERS), _of_suffix("target", target, WRITERS)
    net = read(source)
    write(net, target)
    return net


def network_of_file(source: PathLike) -> Network:
    """The Network of a file that `convert` reads."""
    return _of_suffix("source", source, READERS)(source)


def _of_suffix(argument, path, functions):
    suffix = os.path.splitext(os.fsdecode(path))[1].lower()
    if suffix not in functions:
        raise ValueError(f"{argument} must end in {' or '.join(functions)}, got {os.fspath(path)!r}")
    return functions[suffix]
