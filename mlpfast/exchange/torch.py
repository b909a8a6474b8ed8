"""PyTorch: to_torch and from_torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import activations
from .._fpmode import in_default_mode
from ._parts import Part, Transform, checked, library, network_of, transform_of, warn_left_out

if TYPE_CHECKING:
    from ..network import Network

SUPPORTED = (
    "supported are nn.Sequential of Linear, Dropout, Flatten, Identity, Softmax and the activations ReLU, LeakyReLU, "
    "PReLU, ELU, SELU, GELU, SiLU, Mish, Softplus, Softsign, Hardsigmoid, Hardswish, Sigmoid and Tanh"
)
SIMPLE = {  # name: class of torch.nn, without arguments
    "relu": "ReLU",
    "selu": "SELU",
    "silu": "SiLU",
    "mish": "Mish",
    "softsign": "Softsign",
    "sigmoid": "Sigmoid",
    "hard_sigmoid": "Hardsigmoid",
    "hard_swish": "Hardswish",
    "tanh": "Tanh",
}


@in_default_mode
def to_torch(net: Network) -> Any:
    """A torch.nn.Sequential with copies of the parameters of net: a Linear for each layer, its activation, and its
    Dropout.

    It is of the network's dtype and in training mode, as modules of PyTorch begin: call eval() before predictions.
    A mask is one of torch.nn.utils.prune, so that masked weights stay 0 in training; layers that are not trained do
    not require gradients. input_scale (for uint8 inputs) and input_transform, in float64, are a first module, and
    input_dropout is a Dropout; a dropout that is a schedule has its present value. A PerOutput is a module of its own.
    UserWarning for l1, l2 and factors of layers and input_noise, which PyTorch has elsewhere. ValueError for a Custom
    activation.

    >>> import mlpfast
    >>> mlpfast.exchange.to_torch(mlpfast.Network([4, 16, 3], seed=0))
    Sequential(
      (0): Linear(in_features=4, out_features=16, bias=True)
      (1): ReLU()
      (2): Linear(in_features=16, out_features=3, bias=True)
    )
    """
    torch = library("torch")
    nn = torch.nn
    checked(net)
    warn_left_out(net, "torch.nn.Sequential", has_dropout=True)
    dtype = torch.float32 if net.dtype == np.float32 else torch.float64
    modules = []
    transform = transform_of(net)
    if net.input_scale != 1 or transform is not None:
        from ._torch_modules import Inputs

        modules.append(Inputs(dtype, net.input_scale, *(transform or ())))
    if dropout := net._present_input_dropout():
        modules.append(nn.Dropout(dropout))
    for layer in net.layers:
        modules.append(_linear(torch, layer, dtype))
        if layer._unit.name != "identity":
            modules.append(_activation(torch, layer, dtype))
        if dropout := layer._present_dropout():
            modules.append(nn.Dropout(dropout))
    return nn.Sequential(*modules)


def _linear(torch, layer, dtype):
    linear = torch.nn.Linear(layer.n_in, layer.n_out, bias=layer.bias, dtype=dtype)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(np.ascontiguousarray(layer.W.T)))
        if layer.bias:
            linear.bias.copy_(torch.tensor(layer.b.copy()))
    if layer.mask is not None:
        from torch.nn.utils import prune

        prune.custom_from_mask(linear, "weight", torch.tensor(np.ascontiguousarray(layer.mask.T)).to(dtype))
    return linear.requires_grad_(layer.trainable)


def _activation(torch, layer, dtype):
    nn, unit = torch.nn, layer._unit
    if layer.slopes is not None:
        prelu = nn.PReLU(len(layer.slopes), dtype=dtype)
        with torch.no_grad():
            prelu.weight.copy_(torch.tensor(layer.slopes.copy()))
        return prelu.requires_grad_(layer.trainable)
    if unit.parts:
        from ._torch_modules import PerOutput

        parts = sorted(unit.parts, key=lambda part: part.first)
        return PerOutput([part.n for part in parts], [_elementwise(nn, part.activation) for part in parts])
    return _elementwise(nn, unit)


def _elementwise(nn, unit):
    """The module of an activation without parameters that learn."""
    if unit.name in ("exp", "sign"):
        from ._torch_modules import Exp, Sign

        return Exp() if unit.name == "exp" else Sign()
    if unit.name in SIMPLE:
        return getattr(nn, SIMPLE[unit.name])()
    return {
        "identity": lambda: nn.Identity(),
        "leaky_relu": lambda: nn.LeakyReLU(unit.alpha),
        "elu": lambda: nn.ELU(unit.alpha),
        "gelu": lambda: nn.GELU(),
        "gelu_tanh": lambda: nn.GELU("tanh"),
        "softplus": lambda: nn.Softplus(threshold=40.0),  # beyond it PyTorch takes z, which is 2e-9 off at its 20
        "softmax": lambda: nn.Softmax(dim=1),
    }[unit.name]()


@in_default_mode
def from_torch(module: Any) -> Network:
    """A Network with copies of the parameters of a torch.nn.Sequential, which may contain others, or of one Linear.

    Linear layers, activations, Dropout after an activation or for the inputs, and Softmax over the classes; Flatten and
    Identity pass. Masks of torch.nn.utils.prune and requires_grad are kept. The network has the dtype of the
    parameters, float32 or float64. ValueError for anything else, with its name in the module.

    module: the Sequential or Linear; TypeError for what is no torch.nn.Module.

    >>> import torch
    >>> import mlpfast
    >>> module = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> net = mlpfast.exchange.from_torch(module)
    >>> net
    <Network 4-16-3, float32>
    >>> bool((net.layers[0].W.T == module[0].weight.detach().numpy()).all())
    True
    """
    torch = library("torch")
    reader = _Reader(torch)
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    for name, each in _flattened(torch, module, ""):
        reader.read(name, each)
    return reader.network()


def _flattened(torch, module, name):
    """(name, module) of what runs one after another."""
    if type(module) is torch.nn.Sequential:
        _check_hooks(module, name)
        for own, child in module._modules.items():  # named_children leaves out one that is there twice
            yield from _flattened(torch, child, f"{name}.{own}" if name else own)
    else:
        yield name, module


def _refused(name, module, why=None):
    where = f"module {name!r} ({type(module).__name__})" if name else f"a {type(module).__name__}"
    return ValueError(f"{where} cannot be carried over{f', {why}' if why else ''}: {SUPPORTED}")


def _check_hooks(module, name, allowed=()):
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    if any(not isinstance(hook, allowed) for hook in hooks):
        raise _refused(name, module, "with hooks")
    if "forward" in vars(module):
        raise _refused(name, module, "with a forward of its own")


class _Reader:
    def __init__(self, torch):
        self.torch, self.parts = torch, []
        self.seen: set[int] = set()  # parameters
        self.dropout_of_inputs, self.input_scale, self.transform = 0.0, 1.0, None
        self.last = None  # what came last: "linear", "activation", "dropout"

    def read(self, name, module):
        nn = self.torch.nn
        kind = type(module)
        own = {id(parameter) for parameter in module.parameters()}
        if own & self.seen:
            raise _refused(name, module, "whose parameters are used before: those of a network are not shared")
        self.seen |= own
        if kind is nn.Linear:
            return self._linear(name, module)
        _check_hooks(module, name)
        if kind in (nn.Identity, nn.Flatten):
            if kind is nn.Flatten and (self.parts or (module.start_dim, module.end_dim) not in ((1, -1), (1, 1))):
                raise _refused(name, module, "elsewhere than at the input" if self.parts else "of other dimensions")
            return None
        if kind is nn.Dropout:
            return self._dropout(name, module)
        if kind.__name__ == "Inputs" and kind.__module__ == "mlpfast.exchange._torch_modules":
            return self._inputs(name, module)
        unit, slopes = self._unit(name, module)
        if self.last != "linear":
            raise _refused(name, module, f"after {self.last or 'nothing'}: an activation must follow a Linear")
        part = self.parts[-1]
        settings = part.settings
        if slopes is not None:
            if len(slopes) not in (1, part.W.shape[1]):
                raise _refused(name, module, f"with {len(slopes)} slopes for {part.W.shape[1]} units")
            if module.weight.requires_grad != settings["trainable"]:
                raise _refused(name, module, "whose slopes and Linear must both require gradients, or none")
        self.parts[-1] = part._replace(activation=unit, slopes=slopes)
        self.last = "activation"
        return None

    def _linear(self, name, linear):
        nn = self.torch.nn
        from torch.nn.utils import prune

        _check_hooks(linear, name, prune.BasePruningMethod)
        if any(each.startswith("bias_") for each in dict(linear.named_buffers())):
            raise _refused(name, linear, "with a mask of the bias")
        if not all(type(p) is nn.Parameter for p in linear.parameters()):
            raise _refused(name, linear, "whose parameters are no plain tensors")
        mask = dict(linear.named_buffers()).get("weight_mask")
        own = list(linear.parameters())
        trained = {p.requires_grad for p in own}
        if len(trained) != 1:
            raise _refused(name, linear, "of which only a part requires gradients")
        weight = linear.weight_orig * mask if mask is not None else linear.weight
        settings = {"trainable": trained.pop()}
        if mask is not None:
            settings["mask"] = _array(mask).T != 0
        b = None if linear.bias is None else _array(linear.bias)
        W = _array(weight).T
        if self.parts and self.parts[-1].W.shape[1] != W.shape[0]:
            raise _refused(name, linear, f"which takes {W.shape[0]} inputs of {self.parts[-1].W.shape[1]}")
        self.parts.append(Part(W, b, "identity", None, settings))
        self.last = "linear"

    def _dropout(self, name, module):
        if module.p == 1:
            raise _refused(name, module, "with p=1")
        if not self.parts:
            if self.dropout_of_inputs:
                raise _refused(name, module, "twice in a row")
            self.dropout_of_inputs = float(module.p)
            return
        if self.last == "dropout":
            raise _refused(name, module, "twice in a row")
        part = self.parts[-1]
        self.parts[-1] = part._replace(settings={**part.settings, "dropout": float(module.p)})
        self.last = "dropout"

    def _inputs(self, name, module):
        if self.parts or self.dropout_of_inputs:
            raise _refused(name, module, "elsewhere than at the input")
        self.input_scale = module.input_scale
        if module.mean is not None:
            self.transform = Transform(_array(module.mean), _array(module.scale))

    def _unit(self, name, module):
        """(activation, slopes)"""
        nn, kind = self.torch.nn, type(module)
        simple = {getattr(nn, each): own for own, each in SIMPLE.items()}
        if kind in simple:
            return simple[kind], None
        if kind is nn.PReLU:
            return "prelu", _array(module.weight)
        if kind is nn.LeakyReLU:
            if module.negative_slope < 0:
                raise _refused(name, module, "with a negative slope below 0")
            return activations.LeakyReLU(module.negative_slope), None
        if kind is nn.ELU and module.alpha >= 0:
            return activations.ELU(module.alpha), None
        if kind is nn.GELU:
            return {"none": "gelu", "tanh": "gelu_tanh"}[module.approximate], None
        if kind is nn.Softplus and module.beta == 1 and module.threshold >= 20:
            return "softplus", None
        if kind is nn.Softmax and module.dim in (1, -1):
            return "softmax", None
        if kind.__module__ == "mlpfast.exchange._torch_modules":
            return self._per_output(name, module) if kind.__name__ == "PerOutput" else kind.__name__.lower(), None
        raise _refused(name, module)

    def _per_output(self, name, module):
        parts, first = [], 0
        for (own, each), n in zip(module.units._modules.items(), module.sizes, strict=True):
            _check_hooks(each, f"{name}.units.{own}")
            unit = "identity" if type(each) is self.torch.nn.Identity else self._unit(f"{name}.units.{own}", each)[0]
            parts.append((slice(first, first + n), unit))
            first += n
        return activations.PerOutput(parts)

    def network(self):
        if not self.parts:
            raise ValueError(f"module has no Linear: {SUPPORTED}")
        dtypes = {array.dtype for part in self.parts for array in (part.W, part.b, part.slopes) if array is not None}
        if len(dtypes) != 1 or not dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}:
            kinds = ", ".join(sorted(map(str, dtypes)))
            raise ValueError(f"the parameters must all be float32 or all float64, got {kinds}")
        if self.last == "dropout":
            raise ValueError(f"a Dropout after the last layer cannot be carried over: {SUPPORTED}")
        settings = {"input_dropout": self.dropout_of_inputs, "input_scale": self.input_scale}
        return network_of(self.parts, dtypes.pop(), self.transform, **settings)


def _array(tensor):
    if tensor.is_meta:
        raise ValueError("the parameters must have numbers, those of the device meta have none")
    tensor = tensor.detach().cpu()
    if not tensor.dtype.is_floating_point or tensor.dtype.itemsize < 4:
        raise ValueError(f"the parameters must be float32 or float64, got {str(tensor.dtype).removeprefix('torch.')}")
    return tensor.numpy().copy()
