"""Optimizers: the rule that turns a gradient into a step. The arithmetic is in csrc/kernels/optimizer.inc.h.

g is the gradient of a parameter W, t the number of the step, from 1. lr > 0 is a number or a schedule
(mlpfast.schedules). The attributes may be changed between calls of fit. All but SGD square g: they first limit its
size to 2^63, in float64 to 2^511, because an infinite square would stop a weight for good.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from . import full_batch
from ._attributes import Closed
from ._core import OPTIMIZERS
from ._loop import Loop
from ._scalars import MOST, flag, one_of, real_number, whole_number
from .minibatches import MinibatchLoop
from .schedules import momentum, rate

__all__ = ["Adagrad", "Adam", "AdamW", "LBFGS", "NaturalGradient", "Optimizer", "RMSprop", "Rprop", "SGD"]

if TYPE_CHECKING:
    from ._types import AnyOptimizer, Rate

# The core's settings of an optimizer, with the values of those that a class does not have.
UNUSED: dict[str, Any] = {
    "momentum": 0.0, "nesterov": False, "beta1": 0.0, "beta2": 0.0, "epsilon": 0.0, "epsilon_hat": False,
    "weight_decay": 0.0, "shrink": 0.0, "grow": 0.0, "least_step": 0.0, "most_step": 0.0,
}


class Optimizer(Closed):
    """What all have in common.

    rule: its name in the core.
    loop: how a Trainer trains with it.
    names: the attributes that may be set.
    states: the names of the arrays that are kept for each parameter.
    attribute_names: {the core's name: the attribute}, where they differ.

    It is the base class: make one of the others. TypeError for a subclass whose states are not those of its rule.

    >>> import mlpfast
    >>> isinstance(mlpfast.Adam(), mlpfast.optimizers.Optimizer)
    True
    """

    loop: Loop = MinibatchLoop()
    names: tuple[str, ...] = ("lr",)
    states: tuple[str, ...] = ()
    rule: str
    number: int
    momentum_name: str | None
    lr: Rate
    _values: Callable
    usual_epochs: Any = 1  # of Trainer.fit
    attribute_names: dict[str, str] = {"epsilon": "eps"}
    _elsewhere = {
        **dict.fromkeys(("learning_rate", "alpha", "learning_rate_init"), "it is called lr"),
        "params": "Trainer(network, optimizer=...) gives it those of the network",
        "betas": "they are called beta1 and beta2",
        "decay": "lr may be a schedule, as in lr=schedules.InverseTime(0.1, k=1e-3)",
        "amsgrad": "Adam is that of the paper, without it",
        "weight_decay": "AdamW(weight_decay=...) has it, and Trainer(l2=...) is a penalty for any optimizer",
    }

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        row = OPTIMIZERS[cls.rule]
        cls.number = row.number
        cls.momentum_name = row.moved if row.moved in cls.names else None  # which a schedule may set
        if len(cls.states) != row.states and not (row.bare and not cls.states):
            raise TypeError(f"states of {cls.__name__} must be the core's {row.states}, got {cls.states}")
        cls._values = staticmethod(attrgetter("__class__", *cls.names))  # read at every step

    def _core_settings(self):
        """The settings other than lr, checked, under the core's names."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """The arguments for a copy of this optimizer."""
        return {name: getattr(self, name) for name in self.names}

    def settings(self) -> tuple[Any, ...]:
        """The class and the present values of the attributes that may be set."""
        return self._values(self)

    def checked(self) -> dict[str, Any]:
        """The settings as the core takes them; ValueError or TypeError for one that has been set to a wrong value."""
        scheduled = self.checked_momentum(momentum(self.lr))
        return {**UNUSED, "optimizer": self.number, "lr": rate(self.lr), **self._core_settings(), **scheduled}

    def checked_momentum(self, scheduled: float | None) -> dict[str, float]:
        """{name of the momentum: value given by a schedule}, {} for None; ValueError if the optimizer has none."""
        if scheduled is None:
            return {}
        if self.momentum_name is None:
            raise ValueError(
                f"lr must be a schedule without a momentum for {type(self).__name__}, which has neither momentum nor "
                f"beta1, got {self.lr!r}"
            )
        return {self.momentum_name: scheduled}

    def checked_rate(self, lr: float) -> float:
        """lr; ValueError or TypeError if the other settings do not allow it."""
        return lr

    def usual_rate(self) -> float:
        """Every lower rate is allowed by the other settings, and in any dtype."""
        return MOST

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.arguments().items())})"


class SGD(Optimizer):
    """Stochastic gradient descent, plain or with momentum.

        W = W - lr g                                           momentum = 0
        V = momentum V + g,   W = W - lr V                     Polyak (1964)
        V = momentum V + g,   W = W - lr (g + momentum V)      nesterov: Sutskever et al. (2013)

    0 <= momentum < 1; nesterov needs momentum > 0.

    lr: > 0, or a schedule. ValueError or TypeError for a setting that does not fit, in training also for one that has
    been set since.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], init="zeros")
    >>> trainer = mlpfast.Trainer(net, "half_squared_error", mlpfast.SGD(lr=0.5, momentum=0.5))
    >>> for _ in range(3):  # the gradient of b is b - 4
    ...     loss = trainer.step([[0.0]], [4.0])
    ...     print(net.layers[0].b)
    [2.]
    [4.]
    [5.]
    """

    rule: str = "sgd"
    names: tuple[str, ...] = ("lr", "momentum", "nesterov")
    states: tuple[str, ...] = ("velocity",)
    lr: Rate
    momentum: float
    nesterov: bool

    def __init__(self, lr: Rate = 0.01, momentum: float = 0.0, nesterov: bool = False) -> None:
        self.lr, self.momentum, self.nesterov = lr, momentum, nesterov
        self.checked()

    def _core_settings(self):
        momentum = real_number("momentum", self.momentum, least=0, below=1)
        nesterov = flag("nesterov", self.nesterov)
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs momentum > 0, got momentum=0.0")
        return {"momentum": momentum, "nesterov": nesterov}


class Adam(Optimizer):
    """Adaptive moments; Kingma and Ba (2015).

        m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
        W = W - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)

    epsilon_hat=True adds eps to sqrt(v) instead, as the end of their section 2 does, and scikit-learn and Keras:

        W = W - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)

    0 <= beta1, beta2 < 1, eps > 0. If a schedule changes beta1, 1 - beta1^t uses its present value, as in PyTorch. In
    float32 v is 0 for |g| below 3e-18, so an eps much smaller than that does not bound the step.

    lr: > 0, or a schedule. ValueError or TypeError as for SGD.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], init="zeros")
    >>> trainer = mlpfast.Trainer(net, "half_squared_error", mlpfast.Adam(lr=0.5))
    >>> for _ in range(3):
    ...     loss = trainer.step([[0.0]], [4.0])
    ...     print(net.layers[0].b.round(4))
    [0.5]
    [0.9972]
    [1.4889]
    """

    _elsewhere = {**Optimizer._elsewhere, "epsilon": "it is called eps"}
    rule: str = "adam"
    names: tuple[str, ...] = ("lr", "beta1", "beta2", "eps", "epsilon_hat")
    states: tuple[str, ...] = ("m", "v")
    lr: Rate
    beta1: float
    beta2: float
    eps: float
    epsilon_hat: bool

    def __init__(
        self, lr: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, epsilon_hat: bool = False,
    ) -> None:
        self.lr, self.beta1, self.beta2, self.eps, self.epsilon_hat = lr, beta1, beta2, eps, epsilon_hat
        self.checked()

    def _core_settings(self):
        return {
            "beta1": real_number("beta1", self.beta1, least=0, below=1),
            "beta2": real_number("beta2", self.beta2, least=0, below=1),
            "epsilon": real_number("eps", self.eps, above=0),
            "epsilon_hat": flag("epsilon_hat", self.epsilon_hat),
        }


class AdamW(Adam):
    """Adam with decoupled weight decay; Loshchilov and Hutter (2019). Before Adam's step

        W = W - lr weight_decay W

    for weights, not for biases. weight_decay >= 0, lr weight_decay < 1.

    lr, beta1, beta2, eps, epsilon_hat, and errors: as for Adam.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], init="zeros")
    >>> net.layers[0].W = 1
    >>> trainer = mlpfast.Trainer(net, "half_squared_error", mlpfast.AdamW(lr=0.5, weight_decay=0.1))
    >>> loss = trainer.step([[0.0]], [4.0])
    >>> net.layers[0].W  # whose gradient is 0
    array([[0.95]], dtype=float32)
    """

    names: tuple[str, ...] = (*Adam.names, "weight_decay")
    weight_decay: float

    def __init__(
        self,
        lr: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        epsilon_hat: bool = False,
    ) -> None:
        self.weight_decay = weight_decay
        super().__init__(lr, beta1, beta2, eps, epsilon_hat)

    def _core_settings(self):
        self.checked_rate(rate(self.lr))
        return {**super()._core_settings(), "weight_decay": float(self.weight_decay)}

    def checked_rate(self, lr: float) -> float:
        """lr; ValueError or TypeError if weight_decay does not allow it."""
        decay = real_number("weight_decay", self.weight_decay, least=0)
        if decay * lr >= 1:
            raise ValueError(f"weight_decay must be < 1 / lr = {1 / lr:.6g}, got {decay!r}")
        return lr

    def usual_rate(self) -> float:
        """Every lower rate is allowed by weight_decay, and in any dtype."""
        return min(MOST, 0.5 / self.weight_decay) if self.weight_decay else MOST


class RMSprop(Optimizer):
    """Gradients divided by their recent root mean square; Tieleman and Hinton (2012).

        v = rho v + (1 - rho) g^2,   W = W - lr g / (sqrt(v) + eps)

    0 <= rho < 1, eps > 0.

    lr: > 0, or a schedule. ValueError or TypeError as for SGD.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], init="zeros")
    >>> trainer = mlpfast.Trainer(net, "half_squared_error", mlpfast.RMSprop(lr=0.1))
    >>> loss = trainer.step([[0.0]], [4.0])
    >>> net.layers[0].b.round(4)  # 0.1 / sqrt(1 - rho)
    array([1.], dtype=float32)
    """

    attribute_names: dict[str, str] = {"epsilon": "eps", "beta2": "rho"}
    rule: str = "rmsprop"
    names: tuple[str, ...] = ("lr", "rho", "eps")
    states: tuple[str, ...] = ("v",)
    lr: Rate
    rho: float
    eps: float

    def __init__(self, lr: Rate = 0.01, rho: float = 0.99, eps: float = 1e-8) -> None:
        self.lr, self.rho, self.eps = lr, rho, eps
        self.checked()

    def _core_settings(self):
        rho = real_number("rho", self.rho, least=0, below=1)
        return {"beta2": rho, "epsilon": real_number("eps", self.eps, above=0)}


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares; Duchi, Hazan and Singer (2011).

        v = v + g^2,   W = W - lr g / (sqrt(v) + eps)

    eps > 0.

    lr: > 0, or a schedule. ValueError or TypeError as for SGD.

    >>> import mlpfast
    >>> net = mlpfast.Network([1, 1], init="zeros")
    >>> trainer = mlpfast.Trainer(net, "half_squared_error", mlpfast.Adagrad(lr=0.5))
    >>> for _ in range(3):
    ...     loss = trainer.step([[0.0]], [4.0])
    ...     print(net.layers[0].b.round(4))
    [0.5]
    [0.8293]
    [1.0854]
    """

    rule: str = "adagrad"
    names: tuple[str, ...] = ("lr", "eps")
    states: tuple[str, ...] = ("v",)
    lr: Rate
    eps: float

    def __init__(self, lr: Rate = 0.01, eps: float = 1e-10) -> None:
        self.lr, self.eps = lr, eps
        self.checked()

    def _core_settings(self):
        return {"epsilon": real_number("eps", self.eps, above=0)}


class Rprop(Optimizer):
    """Resilient backpropagation, iRprop-: each weight has a step of its own, and of its gradient only the sign counts;
    Igel and Huesken (2003), after Riedmiller and Braun (1993).

        D = grow D       where g has the sign of the last g, at most most_step
        D = shrink D     where it has the other one, at least least_step; g = 0 for this step and in comparison with the
                         next
        W = W - sign(g) D

    lr is the first D of all weights, a number; the formula needs no other. For all rows at once: Trainer(...,
    batch_size=None), since g of minibatches changes its sign by chance. 0 < shrink < 1 < grow, 0 < least_step <=
    most_step.

    ValueError or TypeError as for SGD, in training also for minibatches.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> net = mlpfast.Network([64, 32, 10], output="softmax", seed=0)
    >>> trainer = mlpfast.Trainer(net, optimizer=mlpfast.Rprop(), batch_size=None, seed=0)
    >>> history = trainer.fit(X, y, epochs=30)
    >>> round(history["accuracy"][-1], 3)
    0.981
    """

    loop: Loop = full_batch.AllRowsLoop()
    rule: str = "rprop"
    names: tuple[str, ...] = ("lr", "shrink", "grow", "least_step", "most_step")
    states: tuple[str, ...] = ("gradient", "step")
    lr: Rate
    shrink: float
    grow: float
    least_step: float
    most_step: float

    def __init__(
        self,
        lr: Rate = 0.01,
        shrink: float = 0.5,
        grow: float = 1.2,
        least_step: float = 1e-6,
        most_step: float = 50.0,
    ) -> None:
        self.lr, self.shrink, self.grow, self.least_step, self.most_step = lr, shrink, grow, least_step, most_step
        self.checked()

    def _core_settings(self):
        real_number("lr", self.lr, above=0)
        least = real_number("least_step", self.least_step, above=0)
        return {
            "shrink": real_number("shrink", self.shrink, above=0, below=1),
            "grow": real_number("grow", self.grow, above=1),
            "least_step": least,
            "most_step": real_number("most_step", self.most_step, least=least),
        }


class FullBatch(Optimizer):
    """Takes all examples at once, Trainer(..., batch_size=None): full_batch.py calls the core's kernels for chunks of
    rows, on Python threads. Dropout, noise, l1, clipping and max_norm are refused: the gradient must be that of one
    smooth function. The core sees the settings of plain SGD, which never runs."""

    rule: str = SGD.rule

    def checked(self) -> dict[str, Any]:
        self.checked_momentum(momentum(self.lr))
        return {**UNUSED, "optimizer": self.number, "lr": 1.0, **self._core_settings()}


class LBFGS(FullBatch):
    """Limited-memory BFGS, by scipy.optimize.minimize(method="L-BFGS-B"); Liu and Nocedal (1989), Byrd et al. (1995).

        W = W - alpha H g      H from the last `history` pairs (change of W, change of g), alpha by a line search for
                               the strong Wolfe conditions

    on J = L + penalties of all examples. An epoch of fit is one such iteration; its entry in History is the loss after
    it. fit ends early when the largest |g| is <= tolerance, when J falls by no more than rounding, or after
    max_iterations (None: `epochs` alone decides); that last epoch may have changed nothing, and `message` then holds
    SciPy's reason. Parameters and epoch numbers are kept from one call of fit to the next; the pairs are not, nor are
    they after a callback has changed the parameters. Trainer.step is refused.

    history >= 1, tolerance >= 0. Needs SciPy: pip install "mlpfast[lbfgs]". Its arithmetic is SciPy's: the same bits
    for any number of threads of mlpfast, but not for any build of SciPy.

    ValueError or TypeError as for SGD, in training also for minibatches; ImportError without SciPy.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> net = mlpfast.Network([64, 10], output="softmax", seed=0)
    >>> trainer = mlpfast.Trainer(net, optimizer=mlpfast.LBFGS(), batch_size=None, l2=0.1)
    >>> history = trainer.fit(X, y)  # until it has converged
    >>> round(history["objective"][-1], 3)
    1.666
    >>> trainer.optimizer.message[:11]
    'CONVERGENCE'
    """

    loop: Loop = full_batch.LBFGSLoop()
    names: tuple[str, ...] = ("max_iterations", "history", "tolerance")
    _elsewhere = {"lr": "the line search finds its steps"}
    max_iterations: int | None
    history: int
    tolerance: float
    message: str | None

    @property
    def lr(self) -> float:  # type: ignore[override]
        """1.0: the line search finds the steps. AttributeError where it is set.

        >>> import mlpfast
        >>> mlpfast.LBFGS().lr
        1.0
        """
        return 1.0

    @property
    def usual_epochs(self) -> int:  # type: ignore[override]
        """The most epochs of a fit without `epochs`: max_iterations, or 15,000 as in SciPy."""
        return self.max_iterations or 15_000  # as SciPy has it

    def __init__(self, max_iterations: int | None = None, history: int = 10, tolerance: float = 1e-5) -> None:
        self.max_iterations, self.history, self.tolerance = max_iterations, history, tolerance
        self.message = None  # why the last call of fit ended early
        self.checked()

    def _core_settings(self):
        if self.max_iterations is not None:
            whole_number("max_iterations", self.max_iterations, least=1)
        whole_number("history", self.history, least=1, most=10_000)
        real_number("tolerance", self.tolerance, least=0)
        return {}


class NaturalGradient(FullBatch):
    """Damped natural gradient; Amari (1998), Martens (2014, "New insights and perspectives on the natural gradient").

        W = W - lr d,   (F + l2 + damping I) d = g       F = (1/B) sum over examples of J^T H J

    with J the Jacobian of z_L in the parameters and H the Hessian of the loss in z_L: diag(p) - p p^T for softmax and
    cross_entropy, diag(p (1 - p)) for sigmoid and binary_cross_entropy, I for identity and half_squared_error (a
    Gaussian output); logits count as their softmax or sigmoid. F is the Fisher matrix of the model and the generalised
    Gauss-Newton matrix of L; where z_L is linear in the parameters it is the Hessian, and lr=1, damping=0 is Newton's
    method. l2 is the diagonal matrix of the weights' penalties, whose gradient is part of g. sample_weight applies to
    the examples in F as in g.

    The system is solved by conjugate gradients from d = 0 with products F v (Schraudolph 2002): a forward and a
    backward pass each, on the activations of all examples, which stay in memory. They end when the residual is
    <= cg_tolerance |g|, or after cg_iterations. An epoch of fit, or a call of Trainer.step, is one step; the loss in
    History is the one before it. Nothing is kept between steps. A step that raises the loss is not taken back: raise
    damping then. A smaller one converges faster, but from random weights lr=1 with 0.01 often diverges (digits).

    damping >= 0, cg_iterations >= 1, 0 <= cg_tolerance < 1.

    lr: > 0, or a schedule.

    ValueError or TypeError as for SGD, in training also for minibatches and for a loss that has no such F.

    >>> import numpy as np
    >>> import mlpfast
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> net = mlpfast.Network([1, 1], init="zeros", dtype="float64")
    >>> optimizer = mlpfast.NaturalGradient(damping=0.0)
    >>> trainer = mlpfast.Trainer(net, "half_squared_error", optimizer, batch_size=None)
    >>> loss = trainer.step(X, [1.0, 3.0, 5.0, 7.0])  # one step of Newton's method
    >>> [p.round(6) + 0 for p in net.parameters]
    [array([[2.]]), array([1.])]
    """

    loop: Loop = full_batch.NaturalGradientLoop()
    names: tuple[str, ...] = ("lr", "damping", "cg_iterations", "cg_tolerance")
    lr: Rate
    damping: float
    cg_iterations: int
    cg_tolerance: float

    def __init__(
        self, lr: Rate = 1.0, damping: float = 0.1, cg_iterations: int = 100, cg_tolerance: float = 1e-6,
    ) -> None:
        self.lr, self.damping, self.cg_iterations, self.cg_tolerance = lr, damping, cg_iterations, cg_tolerance
        self.checked()

    def _core_settings(self):
        real_number("damping", self.damping, least=0)
        whole_number("cg_iterations", self.cg_iterations, least=1)
        real_number("cg_tolerance", self.cg_tolerance, least=0, below=1)
        return {"lr": rate(self.lr)}


BY_NAME: dict[str, Any] = {
    **{kind.rule: kind for kind in Optimizer.__subclasses__() if kind is not FullBatch},
    "adamw": AdamW, "lbfgs": LBFGS, "natural_gradient": NaturalGradient,
}


def from_name(optimizer: AnyOptimizer) -> Optimizer:
    """An optimizer object from a name or an object."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        return BY_NAME[one_of("optimizer", optimizer, BY_NAME)]()
    got = f"the class {optimizer.__name__}: call it" if isinstance(optimizer, type) else type(optimizer).__name__
    raise TypeError(f"optimizer must be a name or an optimizer object such as SGD(), got {got}")
