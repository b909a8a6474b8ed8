"""ONNX: to_onnx and from_onnx."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .. import _safetensors
from .._fpmode import in_default_mode
from ._parts import checked, library, transform_of, warn_left_out

if TYPE_CHECKING:
    from .._types import PathLike
    from ..network import Network

MOST_BYTES = 2**31 - 2**20  # a file of protobuf has less than 2 GB


@in_default_mode
def to_onnx(net: Network, path: PathLike) -> None:
    """Write net, a Network, to path as an ONNX model, which ONNX Runtime and others run.

    Its input X is (batch, n_in) with any number of rows, of the network's dtype, or of uint8 if input_scale is not 1;
    its output yhat is `predict`. input_scale and input_transform, in float64, are part of it; dropout, noise and
    penalties are not, which training alone uses, with a UserWarning. The model asks for the lowest operator set that
    has its operators, from 7 to 9, and IR version 8. What has no operator is composed, and in float64 also what ONNX
    Runtime has for float32 alone. A PerOutput is Slice, its activations and Concat. A model is at most 2 GB.

    ValueError for a Custom activation, and for gelu in float64, since ONNX Runtime has no Erf for it, with nothing
    written. The file is replaced as a whole, as by Network.save: after an OSError the old one is there.

    >>> import mlpfast
    >>> net = mlpfast.Network([4, 16, 3], output="softmax", seed=0)
    >>> mlpfast.exchange.to_onnx(net, "net.onnx")
    >>> import onnx
    >>> [node.op_type for node in onnx.load("net.onnx").graph.node]
    ['Gemm', 'Relu', 'Gemm', 'Softmax']
    """
    onnx = library("onnx")
    checked(net)
    from ._onnx_write import model_of

    size = net.n_parameters * net.dtype.itemsize
    if size > MOST_BYTES:
        raise ValueError(f"net must have less than 2 GB of parameters for a file of ONNX, got {size:,} bytes")
    model = model_of(onnx, net, transform_of(net))
    onnx.checker.check_model(model, full_check=True)  # with shape inference
    warn_left_out(net, "ONNX", has_dropout=False)
    _safetensors.write(path, [model.SerializeToString()])


@in_default_mode
def from_onnx(path: Any, *, output: str | None = None) -> Network:
    """A Network from the ONNX model at path, or from a ModelProto; of its own dtype, float32 or float64.

    The model is a chain of layers: Gemm, or MatMul and Add, with constant weights; activations, as one operator or
    composed of elementary ones; Softmax over the classes; Slice and Concat of the last layer's outputs, which become a
    PerOutput; Dropout; Flatten or Reshape of the inputs. uint8 inputs times a constant become input_scale, and other
    scaling of the inputs input_transform.

    output: the name of the value to predict, for a model of several outputs. Without it the only one of floats is
        taken, and a UserWarning names the others. ValueError for anything else, with the name of the node and what is
        supported.

    >>> import mlpfast
    >>> mlpfast.exchange.to_onnx(mlpfast.Network([4, 16, 3], output="softmax", seed=0), "net.onnx")
    >>> net = mlpfast.exchange.from_onnx("net.onnx")
    >>> net, net.layers[-1].activation
    (<Network 4-16-3, float32>, 'softmax')
    """
    onnx = library("onnx")
    library("onnx.numpy_helper", "onnx")
    from ._onnx_read import network_from

    if isinstance(path, onnx.ModelProto):
        return network_from(onnx, path, output)
    _safetensors.opened(path).close()  # a pipe is refused
    try:
        model = onnx.load(os.fspath(path), format="protobuf")
    except library("google.protobuf.message", "onnx").DecodeError:
        model = None
    except onnx.checker.ValidationError as error:  # of weights in files beside it
        raise ValueError(f"{os.fspath(path)!r}: {error}") from None
    if model is None or not model.HasField("graph"):
        raise ValueError(f"path must be that of an ONNX model, got {os.fspath(path)!r}, which is none")
    return network_from(onnx, model, output)
