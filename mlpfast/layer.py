"""One layer of a network: its shape, its activation, and a view of its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _scheduled, activations, initializers, schedules
from ._attributes import Closed
from ._fpmode import in_default_mode
from ._parameters import mask_matrix, parameter_values
from ._scalars import flag, real_number, whole_number

if TYPE_CHECKING:
    from ._types import AnyActivation, Array, ArrayLike, Rate

# The settings besides shape, activation and mask, with their usual values. Files leave out those that are as usual:
# another usual value here needs another version of the format (files.py).
USUAL: dict[str, Any] = {
    "init": "auto", "bias_init": "auto", "bias": True, "dropout": 0.0, "trainable": True, "l1": 0.0, "l2": 0.0,
    "lr_factor": 1.0, "bias_lr_factor": 1.0,
}

CHANGEABLE = ("trainable", "lr_factor", "bias_lr_factor")  # also in a Network


class Layer(Closed):
    """a = g(x W + b), with W (n_in, n_out) and b (n_out,).

    n_in, n_out: inputs and outputs.
    activation: a name or an object of mlpfast.activations.
    init, bias_init: names of mlpfast.initializers, for W and b; "auto" uses the Network's.
    bias=False: no b.
    trainable=False: training does not change the parameters.
    dropout: in training each output is zero with this probability, and divided by 1 - dropout otherwise; Srivastava et
        al. (2014). Not applied by predict and evaluate, and not allowed for the last layer.
    l1, l2: penalties of this W, in addition to the Trainer's.
    dropout and l2 may be schedules (mlpfast.schedules), whose rate is their value.
    mask: a boolean matrix (n_in, n_out), or a scipy.sparse one. Where it is False, or has no entry, W is zero and stays
        zero in training. (Layer.W = ... applies it; values written there by W[...] = ... are zero after a step.)
    lr_factor: the learning rate of W and slopes is lr_factor times that of the optimizer; that of b is lr_factor times
        bias_lr_factor times it. Each >= 0; weight decay takes the same rates. Of Rprop they scale the first step
        alone, and with 0 its parameters and their state stay as they are.

    W, b (and slopes, for a prelu) exist once the layer is part of a Network. They are NumPy views of parameters of the
    core: writing to them changes the network. b is None without a bias. Rows of W may be padded to whole cache lines
    (see W.strides); then W.reshape(-1) and W.ravel() are copies. trainable, lr_factor and bias_lr_factor may be
    changed at any time, also by a callback: a layer that is thawed goes on with the optimizer's state that it had. All
    other attributes cannot be changed any more.

    ValueError or TypeError for a setting that does not fit, AttributeError for one that cannot be changed any more.

    >>> import mlpfast
    >>> hidden = mlpfast.Layer(64, 32, "relu", dropout=0.2, l2=1e-4)
    >>> net = mlpfast.Network([hidden, mlpfast.Layer(32, 10, "softmax")], seed=0)
    >>> net.layers[0] is hidden
    True
    >>> hidden.trainable = False  # frozen from now on
    >>> hidden
    Layer(64, 32, 'relu', dropout=0.2, trainable=False, l2=0.0001)
    """

    _elsewhere = {
        **dict.fromkeys(("weight", "weights", "kernel"), "they are called W"),
        **dict.fromkeys(("frozen", "requires_grad"), "it is called trainable"), "use_bias": "it is called bias",
        **dict.fromkeys(("in_features", "input_dim"), "it is called n_in"),
        **dict.fromkeys(("out_features", "units"), "it is called n_out"),
        "kernel_initializer": "it is called init", "bias_initializer": "it is called bias_init",
        "kernel_regularizer": "they are called l1 and l2",
    }
    bias_init: str = "auto"
    lr_factor: float = 1.0
    bias_lr_factor: float = 1.0  # for Layers pickled by versions without them
    n_in: int
    n_out: int
    bias: bool
    activation: AnyActivation
    init: str
    dropout: Rate
    l1: float
    l2: Rate
    mask: Array | None
    _unit: activations.Activation
    _owner = None  # (_core.Network, number of the layer in it), once it is part of a network
    trainable: bool

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: AnyActivation = "identity",
        *,
        init: str = "auto",
        bias_init: str = "auto",
        bias: bool = True,
        dropout: Rate = 0.0,
        trainable: bool = True,
        l1: float = 0.0,
        l2: Rate = 0.0,
        mask: Any = None,
        lr_factor: float = 1.0,
        bias_lr_factor: float = 1.0,
    ) -> None:
        n_in = whole_number("n_in", n_in, least=1, most=2**31 - 1)
        n_out = whole_number("n_out", n_out, least=1, most=2**31 - 1)
        unit = activations.checked("activation", activation)
        if isinstance(unit, activations.PerOutput) and unit.n_out != n_out:
            raise ValueError(f"activation must have parts of all {n_out} outputs, got {unit!r}")
        vars(self).update(  # at once: __setattr__ takes as long as all the checks
            n_in=n_in,
            n_out=n_out,
            activation=activation,
            _unit=unit,
            init=initializers.checked("init", init),
            bias_init=initializers.checked("bias_init", bias_init),
            bias=flag("bias", bias),
            dropout=_scheduled.checked("dropout", dropout, below=1),
            l1=real_number("l1", l1, least=0),
            l2=_scheduled.checked("l2", l2),
            mask=None if mask is None else mask_matrix(mask, (n_in, n_out)),
        )
        self.trainable, self.lr_factor, self.bias_lr_factor = trainable, lr_factor, bias_lr_factor

    if not TYPE_CHECKING:  # to checkers it would say that any name can be set

        def __setattr__(self, name, value):
            if name in CHANGEABLE:
                value = flag(name, value) if name == "trainable" else real_number(name, value, least=0)
                if self._owner is not None:
                    core, index = self._owner
                    core.change(index, **{name: value})  # RuntimeError while the network is being trained
            elif self._owner is not None and name not in ("W", "b", "slopes") and hasattr(self, name):
                raise AttributeError(f"{name} cannot be changed: the Layer is part of a network")
            super().__setattr__(name, value)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._owner is not None:
            raise TypeError("a Layer of a network cannot be pickled or copied: pickle or copy the network")
        return super().__reduce_ex__(protocol)

    def _attach(self, core, index):
        # setdefault is atomic: another thread may be creating a network with this Layer too.
        if self.__dict__.setdefault("_owner", (core, index))[0] is not core:
            raise ValueError("a Layer is already part of another network: make a new Layer")

    def _detach(self):
        del self.__dict__["_owner"]

    def _attached(self):
        if self._owner is None:
            raise AttributeError("this Layer has no parameters yet: they are made by the Network it is given to")
        return self._owner

    @property
    def W(self) -> Array:
        """The weights, a view (n_in, n_out) of the network's dtype. Setting it copies an array of that shape, or a
        number, into them. AttributeError before the Layer is part of a Network, ValueError or TypeError for values that
        do not fit.

        >>> import mlpfast
        >>> layer = mlpfast.Network([2, 3]).layers[0]
        >>> layer.W = [[1, 2, 3], [4, 5, 6]]
        >>> layer.W[0] *= 10
        >>> layer.W
        array([[10., 20., 30.],
               [ 4.,  5.,  6.]], dtype=float32)
        """
        core, index = self._attached()
        return core.weights(index)

    @W.setter
    @in_default_mode
    def W(self, value: ArrayLike) -> None:
        W = self.W
        W[...] = parameter_values("W", value, W)
        if self.mask is not None:
            W[~self.mask] = 0

    @property
    def b(self) -> Array | Any:
        """The biases, a view (n_out,) of the network's dtype, or None without a bias. It is set as W is, with the same
        errors.

        >>> import mlpfast
        >>> layer = mlpfast.Network([2, 3]).layers[0]
        >>> layer.b = [0, 1, 2]
        >>> layer.b
        array([0., 1., 2.], dtype=float32)
        """
        core, index = self._attached()
        return core.bias(index)

    @b.setter
    @in_default_mode
    def b(self, value: ArrayLike) -> None:
        if not self.bias:
            raise AttributeError("b cannot be set: the Layer was made with bias=False")
        b = self.b
        b[...] = parameter_values("b", value, b)

    @property
    def slopes(self) -> Array | None:
        """The learned slopes of a prelu, a view (n_out,), or (1,) if shared; None for other activations.

        It is set as W is, with the same errors.

        >>> import mlpfast
        >>> layer = mlpfast.Network([mlpfast.Layer(2, 3, "prelu")]).layers[0]
        >>> layer.slopes
        array([0.25, 0.25, 0.25], dtype=float32)
        """
        core, index = self._attached()
        return core.slopes(index)

    @slopes.setter
    @in_default_mode
    def slopes(self, value: ArrayLike) -> None:
        if self.slopes is None:
            raise AttributeError(f"slopes cannot be set: only a prelu has them, the activation is {self.activation!r}")
        self.slopes[...] = parameter_values("slopes", value, self.slopes)

    def _mask_of_core(self):
        """The mask as ones and zeros of the network's dtype, or None."""
        core, index = self._attached()
        return core.mask(index)

    @property
    def parameters(self) -> list[Array]:
        """[W, b, slopes], without those that the layer does not have.

        >>> import mlpfast
        >>> [p.shape for p in mlpfast.Network([2, 3]).layers[0].parameters]
        [(2, 3), (3,)]
        """
        return [array for _, array in self._named_parameters()]

    def _named_parameters(self):
        core, index = self._attached()
        each = [("W", core.weights(index)), ("b", core.bias(index)), ("slopes", core.slopes(index))]
        return [(name, array) for name, array in each if array is not None]

    @property
    def n_parameters(self) -> int:
        """The number of its parameters, masked weights too.

        >>> import mlpfast
        >>> mlpfast.Layer(4, 16).n_parameters, mlpfast.Layer(4, 16, "prelu", bias=False).n_parameters
        (80, 80)
        """
        slopes = 0 if not self._unit.traits.learns_alpha else 1 if self._unit.shared else self.n_out
        return self.n_in * self.n_out + (self.n_out if self.bias else 0) + slopes

    def _settings(self):
        """The arguments for a copy of this layer: (args, kwargs)."""
        return (self.n_in, self.n_out, self.activation), {name: getattr(self, name) for name in (*USUAL, "mask")}

    def _unusual(self):
        """{name: value} of the settings in USUAL that are not as usual."""
        return {name: getattr(self, name) for name, usual in USUAL.items() if getattr(self, name) != usual}

    def _for_core(self):
        names = ("n_in", "n_out", "bias", "l1", *CHANGEABLE)
        settings = {name: getattr(self, name) for name in names}
        settings["dropout"] = _scheduled.value_at("dropout", self.dropout, 0, 0, below=1)
        settings["l2"] = _scheduled.value_at("l2", self.l2, 0, 0)
        may_drop = schedules.is_schedule(self.dropout)
        return {**settings, "may_drop": may_drop, "activation": self._unit, "mask": self.mask is not None}

    def _present_l2(self):
        """l2, or the value of its schedule in the last minibatch."""
        core, index = self._attached()
        return core.l2[index]

    def _present_dropout(self):
        core, index = self._attached()
        return core.dropout[index + 1]

    def _notes(self):
        """Unusual settings, for Network.summary."""
        notes = [] if self.trainable else ["frozen"]
        for name in ("dropout", "l1", "l2", "lr_factor", "bias_lr_factor"):
            value = getattr(self, name)
            if value != USUAL[name]:
                notes.append(f"{name} {value!r}" if schedules.is_schedule(value) else f"{name} {value:g}")
        return notes if self.mask is None else [*notes, f"{self.mask.sum():,} of {self.mask.size:,} weights"]

    def __repr__(self) -> str:
        extras = "".join(f", {name}={value!r}" for name, value in self._unusual().items())
        if self.mask is not None:
            extras += f", mask=<{self.mask.sum()} of {self.mask.size}>"
        return f"Layer({self.n_in}, {self.n_out}, {self.activation!r}{extras})"
