"""Optimizers: the rule that turns a gradient into a step. The arithmetic is in csrc/kernels/optimizer.inc.h."""

from ._validate import flag, one_of, real_number
from .schedules import rate


class SGD:
    """Stochastic gradient descent, plain or with momentum.

        W = W - lr g                                           momentum = 0
        V = momentum V + g,   W = W - lr V                     Polyak (1964)
        V = momentum V + g,   W = W - lr (g + momentum V)      nesterov: Sutskever et al. (2013)

    lr > 0, or a schedule (mlpfast.schedules); 0 <= momentum < 1; nesterov needs momentum > 0. The attributes may be
    changed between calls of fit.
    """

    def __init__(self, lr=0.01, momentum=0.0, nesterov=False):
        self.lr, self.momentum, self.nesterov = lr, momentum, nesterov
        self.checked()

    def settings(self):
        """What may be changed, as it stands."""
        return self.lr, self.momentum, self.nesterov

    def checked(self):
        """The settings as the core takes them; ValueError or TypeError if one has been set to nonsense."""
        lr = rate(self.lr)  # of a schedule the first one; the Trainer knows the present one
        momentum = real_number("momentum", self.momentum, least=0, below=1)
        nesterov = flag("nesterov", self.nesterov)
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs momentum > 0, got momentum=0.0")
        return {"lr": lr, "momentum": momentum, "nesterov": nesterov}

    def __repr__(self):
        return f"SGD(lr={self.lr!r}, momentum={self.momentum!r}, nesterov={self.nesterov!r})"


def from_name(optimizer):
    """An optimizer object from a name or an object."""
    if isinstance(optimizer, SGD):
        return optimizer
    if isinstance(optimizer, str):
        one_of("optimizer", optimizer, ("sgd",))
        return SGD()
    raise TypeError(f"optimizer must be a name or an SGD object, got {type(optimizer).__name__}")
