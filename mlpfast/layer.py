"""One layer of a network: its shape, its activation, and a view of its parameters."""

from . import activations, initializers
from ._validate import flag, real_number, whole_number


class Layer:
    """a = g(x W + b), with W (n_in, n_out) and b (n_out,).

    activation: a name or an object of mlpfast.activations.
    init: a name of mlpfast.initializers for W; b starts at zero.
    bias=False leaves b out. trainable=False keeps the parameters as they are.
    dropout is reserved: anything but 0 is refused.

    W, b (and slopes, for a prelu) exist once the layer is part of a Network; they are NumPy views of the parameters the
    core trains, and writing to them changes the network. b is None without a bias. Rows of W may be padded to whole
    cache lines (see W.strides), and then W.reshape(-1) and W.ravel() are copies. Everything else is fixed from then on.
    """

    _core = None  # the owner of the parameters, once there is one

    def __init__(self, n_in, n_out, activation="identity", *, init="auto", bias=True, dropout=0.0, trainable=True):
        self.n_in = whole_number("n_in", n_in, least=1, most=2**31 - 1)
        self.n_out = whole_number("n_out", n_out, least=1, most=2**31 - 1)
        self.activation = activation
        self._unit = activations.checked("activation", activation)
        self.init = initializers.checked(init)
        self.bias = flag("bias", bias)
        self.trainable = flag("trainable", trainable)
        if real_number("dropout", dropout, least=0, below=1) != 0:
            raise ValueError(f"dropout must be 0 in this version, got {dropout!r}")
        self.dropout = 0.0

    def __setattr__(self, name, value):
        if self._core is not None and name not in ("W", "b", "slopes"):
            raise AttributeError(f"{name} cannot be changed: the Layer is part of a network")
        super().__setattr__(name, value)

    def __reduce_ex__(self, protocol):
        if self._core is not None:
            raise TypeError("a Layer of a network cannot be pickled or copied: pickle or copy the network")
        return super().__reduce_ex__(protocol)

    def _attach(self, core, index):
        self._index = index
        self._core = core

    def _attached(self):
        if self._core is None:
            raise AttributeError("this Layer has no parameters yet: they are made by the Network it is given to")
        return self._core

    @property
    def W(self):
        return self._attached().weights(self._index)

    @W.setter
    def W(self, value):
        self._attached().weights(self._index)[...] = value

    @property
    def b(self):
        return self._attached().bias(self._index)

    @b.setter
    def b(self, value):
        if not self.bias:
            raise AttributeError("b cannot be set: the Layer was made with bias=False")
        self._attached().bias(self._index)[...] = value

    @property
    def slopes(self):
        """The learned slopes of a prelu, (n_out,) or (1,) if they are shared: a view as W is. None for the others."""
        return self._attached().slopes(self._index)

    @slopes.setter
    def slopes(self, value):
        if self.slopes is None:
            raise AttributeError(f"slopes cannot be set: only a prelu has them, the activation is {self.activation!r}")
        self.slopes[...] = value

    @property
    def parameters(self):
        """[W, b, slopes], without those that the layer has not."""
        return [p for p in (self.W, self.b, self.slopes) if p is not None]

    @property
    def n_parameters(self):
        slopes = 0 if self._unit.name != "prelu" else 1 if self._unit.shared else self.n_out
        return self.n_in * self.n_out + (self.n_out if self.bias else 0) + slopes

    def _settings(self):
        """What a copy of this layer is made from."""
        return (self.n_in, self.n_out, self.activation), {
            "init": self.init, "bias": self.bias, "trainable": self.trainable
        }

    def __repr__(self):
        extras = "".join(
            f", {name}={getattr(self, name)!r}"
            for name, usual in (("init", "auto"), ("bias", True), ("trainable", True))
            if getattr(self, name) != usual
        )
        return f"Layer({self.n_in}, {self.n_out}, {self.activation!r}{extras})"
