"""Modules that PyTorch lacks, as classes of an importable module, so that a Sequential with them can be saved."""

import torch


class Exp(torch.nn.Module):
    """e^x"""

    def forward(self, x):
        return torch.exp(x)


class Sign(torch.nn.Module):
    """-1, 0 or 1"""

    def forward(self, x):
        return torch.sign(x)


class PerOutput(torch.nn.Module):
    """An activation for each part of the outputs. sizes: of the parts, units: their activations."""

    def __init__(self, sizes, units):
        super().__init__()
        self.sizes, self.units = list(sizes), torch.nn.ModuleList(units)

    def forward(self, x):
        parts = torch.split(x, self.sizes, dim=1)
        return torch.cat([unit(part) for unit, part in zip(self.units, parts, strict=True)], dim=1)


class Inputs(torch.nn.Module):
    """What a Network does to its inputs: uint8 times input_scale, then (x - mean) / scale, in float64."""

    def __init__(self, dtype, input_scale=1.0, mean=None, scale=None):
        super().__init__()
        self.input_scale = input_scale
        self.register_buffer("one", torch.ones((), dtype=dtype), persistent=False)  # has the dtype of the result
        self.register_buffer("mean", None if mean is None else torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("scale", None if mean is None else torch.tensor(scale, dtype=torch.float64))

    def forward(self, x):
        between = self.one if self.mean is None else self.mean
        if x.dtype == torch.uint8:
            x = x.to(between.dtype) * self.input_scale
        return x if self.mean is None else ((x - self.mean) / self.scale).to(self.one.dtype)
