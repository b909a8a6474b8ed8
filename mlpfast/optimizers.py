"""Optimizers: the rule that turns a gradient into a step. The arithmetic is in csrc/kernels/optimizer.inc.h.

g is the gradient of a parameter W, t the number of the step, from 1. lr > 0 is a number or a schedule
(mlpfast.schedules). The attributes may be changed between calls of fit.
"""

from operator import attrgetter

from ._validate import flag, one_of, real_number
from .schedules import rate

# What the core takes; each optimizer sets its own. The numbers of `optimizer` are those of mlp_optimizer in mlpfast.h.
UNUSED = {
    "momentum": 0.0, "nesterov": False, "beta1": 0.0, "beta2": 0.0, "epsilon": 0.0, "weight_decay": 0.0
}


class Optimizer:
    """What all have in common. names: the attributes that may be set; states: what is kept of each parameter."""

    names = ("lr",)
    states = ()

    def __init_subclass__(cls):
        cls._values = staticmethod(attrgetter(*cls.names))  # a step asks for them every time

    def settings(self):
        """What may be changed, as it stands."""
        return (self.number, *self._values(self))

    def checked(self):
        """The settings as the core takes them; ValueError or TypeError if one has been set to nonsense."""
        return {**UNUSED, "optimizer": self.number, "lr": rate(self.lr), **self._own()}

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.names)})"


class SGD(Optimizer):
    """Stochastic gradient descent, plain or with momentum.

        W = W - lr g                                           momentum = 0
        V = momentum V + g,   W = W - lr V                     Polyak (1964)
        V = momentum V + g,   W = W - lr (g + momentum V)      nesterov: Sutskever et al. (2013)

    0 <= momentum < 1; nesterov needs momentum > 0.
    """

    names = ("lr", "momentum", "nesterov")
    states = ("velocity",)
    number = 0

    def __init__(self, lr=0.01, momentum=0.0, nesterov=False):
        self.lr, self.momentum, self.nesterov = lr, momentum, nesterov
        self.checked()

    def _own(self):
        momentum = real_number("momentum", self.momentum, least=0, below=1)
        nesterov = flag("nesterov", self.nesterov)
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs momentum > 0, got momentum=0.0")
        return {"momentum": momentum, "nesterov": nesterov}


class Adam(Optimizer):
    """Adaptive moments; Kingma and Ba (2015).

        m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
        W = W - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)

    0 <= beta1, beta2 < 1, eps > 0.
    """

    names = ("lr", "beta1", "beta2", "eps")
    states = ("m", "v")
    number = 1

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.checked()

    def _own(self):
        return {
            "beta1": real_number("beta1", self.beta1, least=0, below=1),
            "beta2": real_number("beta2", self.beta2, least=0, below=1),
            "epsilon": real_number("eps", self.eps, above=0),
        }


class AdamW(Adam):
    """Adam with decoupled weight decay; Loshchilov and Hutter (2019). Before Adam's step

        W = W - lr weight_decay W

    for weights, not for biases. weight_decay >= 0, lr weight_decay < 1.
    """

    names = ("lr", "beta1", "beta2", "eps", "weight_decay")

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01):
        self.weight_decay = weight_decay
        super().__init__(lr, beta1, beta2, eps)

    def _own(self):
        decay = real_number("weight_decay", self.weight_decay, least=0)
        if decay * rate(self.lr) >= 1:
            raise ValueError(f"weight_decay must be < 1 / lr = {1 / rate(self.lr):.6g}, got {decay!r}")
        return {**super()._own(), "weight_decay": decay}


class RMSprop(Optimizer):
    """Gradients divided by their recent root mean square; Tieleman and Hinton (2012).

        v = rho v + (1 - rho) g^2,   W = W - lr g / (sqrt(v) + eps)

    0 <= rho < 1, eps > 0.
    """

    names = ("lr", "rho", "eps")
    states = ("v",)
    number = 2

    def __init__(self, lr=0.01, rho=0.99, eps=1e-8):
        self.lr, self.rho, self.eps = lr, rho, eps
        self.checked()

    def _own(self):
        rho = real_number("rho", self.rho, least=0, below=1)
        return {"beta2": rho, "epsilon": real_number("eps", self.eps, above=0)}


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares; Duchi, Hazan and Singer (2011).

        v = v + g^2,   W = W - lr g / (sqrt(v) + eps)

    eps > 0.
    """

    names = ("lr", "eps")
    states = ("v",)
    number = 3

    def __init__(self, lr=0.01, eps=1e-10):
        self.lr, self.eps = lr, eps
        self.checked()

    def _own(self):
        return {"epsilon": real_number("eps", self.eps, above=0)}


BY_NAME = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "adagrad": Adagrad}


def from_name(optimizer):
    """An optimizer object from a name or an object."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        return BY_NAME[one_of("optimizer", optimizer, BY_NAME)]()
    raise TypeError(f"optimizer must be a name or an optimizer object such as SGD, got {type(optimizer).__name__}")
