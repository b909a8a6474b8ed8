"""A network: a sequence of layers, with their parameters in one block of the C core."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from . import _core, _scheduled, activations, initializers, schedules
from ._arrays import converted, inputs, is_large_table, number_array, output_array
from ._attributes import Closed, not_here
from ._config import checked_threads
from ._core import Data
from ._fpmode import CallersTurn, in_default_mode, in_default_mode_alone
from ._parameters import mean_and_scale
from ._scalars import flag, float_dtype, real_number, whole_number, within
from ._streams import in_place, inputs_in_order, is_source, refuse_dataset
from .layer import Layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy.typing as npt

    from ._types import AnyActivation, AnyLoss, Array, ArrayLike, DType, Inputs, PathLike, Rate
    from .graph import Graph

MOST_LAYERS = 10_000  # as in csrc/network.c
# The settings besides the layers, with their usual values.
SETTINGS: dict[str, Any] = {
    "dtype": "float32", "seed": None, "input_scale": 1.0, "input_dropout": 0.0, "input_noise": 0.0,
}
TRANSFORM = "input_transform.mean", "input_transform.scale"  # names in files
UNFUSED = "trained layer by layer, not in one fused pass"


class Network(Closed):
    """A multilayer perceptron: a_l = g_l(a_{l-1} W_l + b_l), a_0 = X, prediction a_L.

    sizes_or_layers: widths [n_0, n_1, ..., n_L], or a list of Layer objects.
    activation, output: activations of the hidden layers and of the last one, with widths.
    init, output_init, bias_init: names of mlpfast.initializers for W of all layers, for W of the last one (None: init),
        and for b. Layers with an init or bias_init other than "auto" use theirs.
    dropout: of the hidden layers, with widths; see Layer.
    dtype: "float32" or "float64", for parameters and arithmetic.
    seed: determines the initial parameters; None draws one, kept in .seed.
    input_scale: uint8 inputs (images) are multiplied by it as they are read, so that input_scale=1/255 needs no float
        copy of the images. Floats are not scaled; if it is not 1, other dtypes are a TypeError.
    input_transform: (mean, scale), a number of each for every input, such as mean_ and scale_ of scikit-learn's
        StandardScaler, or None. Each x of X becomes (x - mean) / scale as it is read, in float64, and uint8 after
        input_scale. scale > 0.
        It belongs to the network and its files; training does not change it.
    input_dropout, input_noise: in training, normal numbers of standard deviation input_noise are added to each input,
        then each input is zero with probability input_dropout, and divided by 1 - input_dropout otherwise.
    dropout and input_dropout may be schedules (mlpfast.schedules), whose rate is their value.

    ValueError or TypeError for a setting that does not fit, with the name of the argument; ValueError for a Layer that
    is part of another network.

    >>> import numpy as np
    >>> import mlpfast
    >>> net = mlpfast.Network([4, 16, 3], activation="tanh", output="softmax", seed=0)
    >>> net
    <Network 4-16-3, float32>
    >>> X = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
    >>> net.predict(X).shape
    (2, 3)
    >>> layers = [mlpfast.Layer(4, 16, "relu", dropout=0.1), mlpfast.Layer(16, 1)]
    >>> mlpfast.Network(layers, seed=0).n_parameters
    97
    """

    _elsewhere = {
        "random_state": "it is called seed", "output_activation": "it is called output",
        **dict.fromkeys(("hidden_layer_sizes", "hidden", "layers", "sizes"), "widths are first: Network([4, 16, 3])"),
        **dict.fromkeys(("loss", "optimizer", "batch_size"), "it goes to Trainer(network, ...)"),
        "trainable": "it is an attribute of each Layer, in network.layers",
    }
    seed: int
    input_dropout: Rate
    input_noise: float

    @in_default_mode
    def __init__(
        self,
        sizes_or_layers: Iterable[int] | Iterable[Layer],
        *,
        activation: AnyActivation = "relu",
        output: AnyActivation = "identity",
        init: str = "auto",
        output_init: str | None = None,
        bias_init: str = "auto",
        dropout: Rate = 0.0,
        dtype: npt.DTypeLike = "float32",
        seed: int | None = None,
        input_scale: float = 1.0,
        input_transform: tuple[ArrayLike, ArrayLike] | None = None,
        input_dropout: Rate = 0.0,
        input_noise: float = 0.0,
    ) -> None:
        self._made_once()
        inits = [initializers.checked("init", init)] * 2
        if output_init is not None:
            inits[1] = initializers.checked("output_init", output_init)
        initializers.checked("bias_init", bias_init)
        layers = _layers(sizes_or_layers, activation, output, dropout, inits, bias_init)
        self._make(layers, input_transform, dtype=dtype, seed=seed, input_scale=input_scale,
                   input_dropout=input_dropout, input_noise=input_noise)
        self._draw(inits, bias_init)
        self._attach()  # at the end, so that an error leaves the Layers unattached

    def _made_once(self):
        if "_core" in vars(self):
            raise RuntimeError("a Network is made once: its Trainers hold on to its parameters")

    def _make(self, layers, input_transform=None, **settings):
        """Everything but the values of the parameters, which are zero. settings: as in SETTINGS."""
        dtype, seed, input_scale, input_dropout, input_noise = {**SETTINGS, **settings}.values()
        self.seed = seed_or_fresh(seed)
        self.input_scale = input_scale
        self.input_dropout, self.input_noise = input_dropout, input_noise
        self._input_settings()
        dtype = float_dtype(dtype)
        if any(layer._unit.parts for layer in layers[:-1]):
            raise ValueError("activation PerOutput must be that of the last layer, got it below")
        self._layers = layers
        for layer in layers:
            for name in ("l1", "l2", "lr_factor", "bias_lr_factor"):
                value = getattr(layer, name)
                within(name, 0.0 if schedules.is_schedule(value) else value, dtype)
            within("alpha", layer._unit.alpha, dtype)
        self._input_transform = None
        if input_transform is not None:
            self._input_transform = mean_and_scale("input_transform", input_transform, layers[0].n_in)
        self._core = _core.Network(dtype, [layer._for_core() for layer in layers], self._input_transform)
        for index, layer in enumerate(layers):
            if layer.mask is not None:
                self._core.mask(index)[...] = layer.mask

    def _draw(self, inits, bias_init):
        """The first parameters. inits: (of hidden layers, of the last)."""
        for index, layer in enumerate(self._layers):
            last = index == len(self._layers) - 1
            place = "output" if last else "hidden" if index else "first"
            rules = initializers.rules(layer, inits[last], bias_init, place)
            initializers.fill(self._core.weights(index), self._core.bias(index), rules, self.seed, index)
        self._clear_masked()

    def _attach(self):
        for index, layer in enumerate(self._layers):
            try:
                layer._attach(self._core, index)
            except ValueError:
                for mine in self._layers[:index]:
                    mine._detach()
                raise

    @classmethod
    def _bare(cls, layers, **settings):
        """A network whose parameters are zero: no numbers are drawn."""
        net = cls.__new__(cls)
        net._restore(layers, settings)
        return net

    def _restore(self, layers, settings):
        """settings: also input_transform."""
        self._made_once()
        self._make(_checked_chain(layers), **settings)
        self._attach()
        if type(self) is Network:
            self._closed = True

    @property
    def input_scale(self) -> float:
        """What uint8 inputs are multiplied by as they are read, a float; it may be set. ValueError or TypeError unless
        it is a finite number.

        >>> import numpy as np
        >>> import mlpfast
        >>> net = mlpfast.Network([2, 1], input_scale=1 / 255, seed=0)
        >>> pixels = np.array([[0, 255]], np.uint8)
        >>> bool(net.predict(pixels) == net.predict(pixels / np.float32(255)))
        True
        """
        return self._input_scale

    @input_scale.setter
    def input_scale(self, input_scale: float) -> None:
        self._input_scale = real_number("input_scale", input_scale)

    @property
    def input_transform(self) -> tuple[Array, Array] | None:
        """(mean, scale), float64 (n_in,) and read-only, or None.

        >>> import mlpfast
        >>> mlpfast.Network([2, 1], input_transform=([1.0, 2.0], [0.5, 4.0])).input_transform
        (array([1., 2.]), array([0.5, 4. ]))
        """
        return self._input_transform

    @property
    def dtype(self) -> DType:
        """The numpy.dtype of the parameters and of predictions: float32 or float64.

        >>> import mlpfast
        >>> mlpfast.Network([2, 1], dtype="float64").dtype
        dtype('float64')
        """
        return self._core.dtype

    @property
    def layers(self) -> list[Layer]:
        """A new list of the Layers, the first one first.

        >>> import mlpfast
        >>> [layer.W.shape for layer in mlpfast.Network([4, 16, 3]).layers]
        [(4, 16), (16, 3)]
        """
        return list(self._layers)

    @property
    def n_in(self) -> int:
        """The number of inputs, the columns of X.

        >>> import mlpfast
        >>> mlpfast.Network([4, 16, 3]).n_in
        4
        """
        return self._layers[0].n_in

    @property
    def n_out(self) -> int:
        """The number of outputs, the columns of predictions.

        >>> import mlpfast
        >>> mlpfast.Network([4, 16, 3]).n_out
        3
        """
        return self._layers[-1].n_out

    @property
    def n_parameters(self) -> int:
        """The number of all parameters: weights, masked ones too, biases and slopes.

        >>> import mlpfast
        >>> mlpfast.Network([4, 16, 3]).n_parameters  # 4 * 16 + 16 + 16 * 3 + 3
        131
        """
        return sum(layer.n_parameters for layer in self.layers)

    @property
    def parameters(self) -> list[Array]:
        """Views [W_1, b_1, W_2, b_2, ...]; without b for layers without a bias; the slopes of a prelu follow its b.

        >>> import mlpfast
        >>> net = mlpfast.Network([4, 3], init="zeros")
        >>> W, b = net.parameters
        >>> b[0] = 1  # changes the network
        >>> net.layers[0].b
        array([1., 0., 0.], dtype=float32)
        """
        return self._core.parameters_of_all()

    @overload
    def predict(
        self, X: Inputs, *, out: Array | None = None, threads: int | None = None, dropout: Literal[False] = False,
        samples: int = 50, seed: int | None = None, squeeze: bool = False,
    ) -> Array: ...
    @overload
    def predict(
        self, X: Inputs, *, out: Callable[[int, Array], object], threads: int | None = None,
        dropout: Literal[False] = False, samples: int = 50, seed: int | None = None, squeeze: bool = False,
    ) -> None: ...
    @overload
    def predict(
        self, X: Inputs, *, out: None = None, threads: int | None = None, dropout: Literal[True], samples: int = 50,
        seed: int | None = None, squeeze: bool = False,
    ) -> tuple[Array, Array]: ...
    def predict(
        self, X: Inputs, *, out: Any = None, threads: int | None = None, dropout: bool = False, samples: int = 50,
        seed: int | None = None, squeeze: bool = False,
    ) -> Any:
        """a_L (n, n_out) for X (n, n_in): probabilities if the output is "softmax" or "sigmoid".

        C-contiguous X of float32, float64 or uint8 is read in place; other numbers are converted first.
        X may be a source (mlpfast.data), which is read some rows at a time; its y is not needed.
        out: an array to write the result into and return: C-contiguous, of the network's dtype and the result's shape,
            (n, n_out) or with squeeze (n,), such as numpy.lib.format.open_memmap makes of a file. Or a function
            out(first_row, yhat), which is called with the predictions of some rows after the other; then it returns
            None.
        threads: number of threads, at most that of processors; None: chosen by the amount of work. The result has the
            same bits for any threads and any split of rows into calls.
        dropout: True draws `samples` predictions with dropout as in training, and returns their mean and standard
            deviation, both (n, n_out), or with squeeze (n,), in float64: Monte Carlo dropout, Gal and Ghahramani
            (2016). seed determines the random numbers; None draws one. out must be None.
        squeeze: True returns (n,), only for networks of one output, so that y - yhat of a y (n,) is not broadcast to
            (n, n).
        Safe to call from many Python threads at once, unless another thread trains the network.
        Raises ValueError or TypeError if X, out or squeeze do not fit.

        >>> import numpy as np
        >>> import mlpfast
        >>> net = mlpfast.Network([3, 1], init="zeros", seed=0)
        >>> net.layers[0].W = [[1], [2], [3]]
        >>> X = np.array([[1, 0, 0], [0, 1, 1]], np.float32)
        >>> net.predict(X)
        array([[1.],
               [5.]], dtype=float32)
        >>> net.predict(X, squeeze=True)
        array([1., 5.], dtype=float32)
        >>> out = np.empty((2, 1), np.float32)
        >>> net.predict(X, out=out) is out
        True
        """
        if dropout is False:
            if seed is not None or samples != 50:
                got = f"samples={samples!r}, seed={seed!r}"
                raise ValueError(f"samples and seed need dropout=True, got {got} without it")
            if threads is None:
                done = self._core.predict_few(X, out, self._input_scale, squeeze)
                if done is not None:
                    return done
        if flag("dropout", dropout):
            return self._monte_carlo(X, out, threads, samples, seed, squeeze)
        return self._predict(X, out, threads, squeeze)

    __call__ = predict
    if not TYPE_CHECKING:  # checkers say so too
        fit = not_here("a Network has no fit: mlpfast.Trainer(network, loss, optimizer).fit(X, y) trains it")
        evaluate = not_here(
            "a Network has no evaluate: mlpfast.Trainer(network, loss).evaluate(X, y) has loss and metrics"
        )

    @in_default_mode_alone
    def _predict(self, X, out, threads, squeeze):
        if is_source(X) and in_place(X) and not callable(out):
            X = X.X
        elif is_source(X) or callable(out) or is_large_table(X):
            from .data import ArraySource

            return self._predict_in_order(X if is_source(X) else ArraySource(X), out, threads, squeeze)
        refuse_dataset(X)
        given, X = X, inputs(X, self)
        shape = self._result_shape(len(X), squeeze)
        if out is None:
            out = np.empty(shape, self.dtype)
        else:
            others = [("X", given), ("X", X), *(("the parameters", p) for p in self.parameters)]
            out = output_array(out, shape, self.dtype, others)
        self._core.predict(out, Data(X, self.input_scale), checked_threads(threads))
        return out

    @in_default_mode
    def _predict_in_order(self, source, out, threads, squeeze):
        """Some rows after the other: out is an array of the length of the source, a function, or None."""
        threads, done, blocks = checked_threads(threads), 0, []
        shape = self._result_shape(source.n, squeeze)
        if isinstance(out, np.ndarray):
            if source.n is None:
                raise ValueError("out must be a function for a source of unknown length, got an array")
            others = [("X", getattr(source, "X", None)), *(("the parameters", p) for p in self.parameters)]
            out = output_array(out, shape, self.dtype, others)
        elif out is not None and not callable(out):
            raise TypeError(
                f"out must be an array or a function (first_row, yhat), got {type(out).__name__}: for a file, "
                "numpy.lib.format.open_memmap(path, mode='w+', dtype=..., shape=...) makes an array"
            )
        for X in inputs_in_order(source, self):
            yhat = np.empty((len(X), *shape[1:]), self.dtype)
            self._core.predict(yhat, Data(X, self.input_scale), threads)
            if callable(out):
                with CallersTurn():
                    out(done, yhat)
            elif out is None:
                blocks.append(yhat)
            else:
                if done + len(yhat) > len(out):
                    raise ValueError(f"the source must have {len(out)} rows, as n says, got more")
                out[done : done + len(yhat)] = yhat
            done += len(yhat)
        if callable(out):
            return None
        return np.concatenate(blocks or [np.empty((0, *shape[1:]), self.dtype)]) if out is None else out

    def _present_input_dropout(self):
        """input_dropout, or the value of its schedule in the last minibatch."""
        if schedules.is_schedule(self.input_dropout) and self._core.dropout[0] is not None:
            return self._core.dropout[0]
        return self._input_settings()["input_dropout"]

    @in_default_mode
    def _monte_carlo(self, X, out, threads, samples, seed, squeeze):
        samples, seed = whole_number("samples", samples, least=1), seed_or_fresh(seed)
        if out is not None:
            raise ValueError("out must be None with dropout=True")
        if is_source(X):
            raise ValueError("X must be an array with dropout=True, got a source")
        p = self._present_input_dropout()
        if not p and not any(layer.dropout for layer in self.layers):
            raise ValueError("dropout=True needs a layer with dropout, or input_dropout; the network has neither")
        data, threads = Data(inputs(X, self), self.input_scale), checked_threads(threads)
        one = np.empty(self._result_shape(len(data), squeeze), self.dtype)
        mean, squares = np.zeros(one.shape), np.zeros(one.shape)
        for k in range(samples):  # Welford (1962)
            self._core.predict(one, data, threads, p, seed, k)
            away = one - mean
            mean += away / (k + 1)
            squares += away * (one - mean)
        return mean, np.sqrt(squares / samples)

    def _result_shape(self, n, squeeze):
        if not flag("squeeze", squeeze):
            return n, self.n_out
        if self.n_out != 1:
            raise ValueError(f"squeeze must be False for a network of several outputs, got True for {self.n_out}")
        return (n,)

    def _input_settings(self, epochs=0, steps=0):
        return {
            "input_dropout": _scheduled.value_at("input_dropout", self.input_dropout, epochs, steps, below=1),
            "input_noise": real_number("input_noise", self.input_noise, least=0),
        }

    def graph(
        self,
        loss: AnyLoss | None = None,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        l1: float = 0.0,
        l2: Rate = 0.0,
    ) -> Graph:
        """The computational graph, a graph.Graph: X, W_1, b_1, z_1, a_1, ..., with a loss y and L, with penalties s and
        J = L + s. print(net.graph().text()) shows it, plots.graph draws it.

        Without X it has names and shapes. With X (n, n_in) its nodes have values, and with loss and y, as in Trainer,
        gradients too: copies of what backprop computes, of J for the mean loss L over the rows, so that z_l has
        delta_l / n. X is shown as the network sees it: with input_scale applied. l1, l2: penalties as in
        backprop.gradients, in addition to those of the Layers. Dropout and noise are not applied. Raises ValueError or
        TypeError if the arguments do not fit.

        >>> import mlpfast
        >>> print(mlpfast.Network([2, 3, 1], seed=0).graph("half_squared_error").text())
        node  operation                   shape
        X     variable                    (B, 2)
        W_1   variable                    (2, 3)
        b_1   variable                    (3,)
        z_1   affine(X, W_1, b_1)         (B, 3)
        a_1   relu(z_1)                   (B, 3)
        W_2   variable                    (3, 1)
        b_2   variable                    (1,)
        z_2   affine(a_1, W_2, b_2)       (B, 1)
        a_2   identity(z_2)               (B, 1)
        y     variable                    (B, 1)
        L     half_squared_error(a_2, y)
        """
        from ._network_graph import graph_of  # imports this module

        return graph_of(self, loss, X, y, l1, l2)

    def summary(self) -> str:
        """A text table of the layers.

        >>> import mlpfast
        >>> print(mlpfast.Network([64, 32, 10], output="softmax").summary())
        layer           shape  activation  parameters
            1        64 -> 32  relu             2,080
            2        32 -> 10  softmax            330
        2,410 parameters, float32
        """
        lines = [f"{'layer':>5}  {'shape':>14}  {'activation':<10}  {'parameters':>10}"]
        for number, layer in enumerate(self.layers, 1):
            shape = f"{layer.n_in} -> {layer.n_out}"
            row = f"{number:>5}  {shape:>14}  {layer._unit.name:<10}  {layer.n_parameters:>10,}"
            lines.append("  ".join([row, *layer._notes()]))
        lines.append(f"{self.n_parameters:,} parameters, {self.dtype}")
        own = [str(number) for number, layer in enumerate(self.layers, 1) if layer._unit.traits.is_custom]
        if own:
            lines.append(f"Python functions are the activation of layer {', '.join(own)}: {UNFUSED}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        sizes = [self.n_in, *(layer.n_out for layer in self.layers)]
        return f"<Network {'-'.join(map(str, sizes))}, {self.dtype}>"

    # ---- Files, pickles and copies ----

    def state_dict(self) -> dict[str, Array]:
        """{"layers.0.W": (n_in, n_out), "layers.0.b": (n_out,), "layers.0.slopes": ..., "layers.0.mask": ...}: a
        contiguous copy of each parameter and mask, as numpy.savez, safetensors and torch need them. (layer.W itself
        may be a view of padded rows, which `safetensors` stores wrongly.)

        >>> import mlpfast
        >>> net = mlpfast.Network([4, 16, 3])
        >>> {name: array.shape for name, array in net.state_dict().items()}
        {'layers.0.W': (4, 16), 'layers.0.b': (16,), 'layers.1.W': (16, 3), 'layers.1.b': (3,)}
        """
        return {name: array.copy() for name, array in self._tensors().items()}

    @in_default_mode
    def load_state_dict(self, state_dict: Mapping[str, ArrayLike]) -> None:
        """Set the parameters to those of state_dict, {name: array} as from `state_dict` of a network of the same
        layers; numbers are converted to this dtype. Masks and an input transform cannot be changed, and must be those
        of this network.

        Raises ValueError or TypeError if a name, a shape or a number does not fit, and RuntimeError while another
        thread trains the network, with nothing changed. NaN and infinity are taken, with a warning.

        >>> import mlpfast
        >>> net, other = mlpfast.Network([4, 16, 3], seed=0), mlpfast.Network([4, 16, 3], seed=1)
        >>> other.load_state_dict(net.state_dict())
        >>> bool((other.layers[1].W == net.layers[1].W).all())
        True
        """
        _check_names(state_dict, self._tensors())
        parameters = self._named_parameters()
        for name, fixed in self._tensors().items():
            given = number_array(f"state_dict[{name!r}]", state_dict[name])
            if given.shape != fixed.shape:
                raise ValueError(f"state_dict[{name!r}] must have shape {fixed.shape}, got {given.shape}")
            if name not in parameters and not np.array_equal(given, fixed):
                raise ValueError(f"state_dict[{name!r}] must be this network's, which cannot be changed")
        new = {name: converted(f"state_dict[{name!r}]", number_array(name, state_dict[name]), self.dtype)
               for name in parameters}
        with _core.Training(self._core):
            for name, parameter in parameters.items():
                parameter[...] = new[name]
            self._clear_masked()
        warn_if_not_finite("state_dict", self)

    def save(self, path: PathLike, *, sync: bool = True) -> None:
        """Write the network to a file at path, which mlpfast.load_network reads, and so does the safetensors library:
        layers, settings and parameters, without any code. The same network gives the same bytes on every machine.

        The file is replaced as a whole, so that a crash leaves the old one or the new one. sync=False does not wait for
        the disk, and after a crash of the system (not of this process) the file may be damaged. A Custom activation
        is stored by its name. Raises OSError, and leaves the old file, if the new one cannot be written.

        >>> import mlpfast
        >>> net = mlpfast.Network([4, 16, 3], seed=0)
        >>> net.save("net.safetensors")
        >>> mlpfast.load_network("net.safetensors")
        <Network 4-16-3, float32>
        """
        from . import files  # here, since it imports this module

        files.save_network(self, path, sync)

    def export_c(
        self,
        path: PathLike,
        name: str = "model",
        *,
        float_format: str = "hex",
        section: str | None = None,
        const: bool = True,
    ) -> None:
        """Write the network as one C file at path, which ends in .c, and its header beside it, which ends in .h.

        The file needs no library but the standard one and allocates nothing: `void NAME_predict(const float *x, float
        *y)` is `predict` of one row, `NAME_predict_batch(x, y, n)` of n rows; double for float64, and x is uint8_t if
        input_scale is not 1. Results have the bits of `predict` where fused multiply-adds are fast, and with
        -DNAME_SAME_BITS (in capitals) elsewhere; the file states the bound without. Compiled with -DNAME_SELF_TEST it
        is a program that compares.

        name: an identifier of C, which names in the files begin with.
        float_format: "hex" constants are C99 and C++17, "decimal" ones also C++11, with the same bits.
        section: the name of a section that the parameters go to, such as ".flash"; None leaves it to the compiler.
        const: False leaves out `const` of the parameters, for processors that read const data from slow memory.
        Raises ValueError for a Custom activation, for parameters that are NaN or infinite, and for a name, path,
        section or format that does not fit, with nothing written. The files are replaced as a whole, as by `save`;
        OSError if one cannot be written.

        >>> import os
        >>> import mlpfast
        >>> net = mlpfast.Network([4, 16, 3], output="softmax", seed=0)
        >>> net.export_c("iris.c", name="iris")
        >>> sorted(os.listdir())
        ['iris.c', 'iris.h']
        """
        from .export_c import export_c  # imports this module

        export_c(self, path, name, float_format=float_format, section=section, const=const)

    def _named_parameters(self):
        """{name in files: the view}, in the order of `parameters`."""
        return {
            f"layers.{l}.{name}": array
            for l, layer in enumerate(self._layers)
            for name, array in layer._named_parameters()
        }

    def _tensors(self):
        """What a file holds: the parameters, and what else are arrays."""
        masks = {f"layers.{l}.mask": layer.mask for l, layer in enumerate(self._layers) if layer.mask is not None}
        transform = {} if self._input_transform is None else dict(zip(TRANSFORM, self._input_transform, strict=True))
        return {**self._named_parameters(), **masks, **transform}

    def _clear_masked(self):
        for index, layer in enumerate(self._layers):
            if layer.mask is not None:
                self._core.weights(index)[~layer.mask] = 0

    def __getstate__(self) -> dict[str, Any]:
        # As bytes: a pickled array names a module of the NumPy that wrote it.
        return {
            "layers": [_with_bytes(*layer._settings()) for layer in self.layers],
            **self._settings(),
            "input_transform": self._input_transform and [array.tobytes() for array in self._input_transform],
            "parameters": [p.tobytes() for p in self.parameters],
        }

    def _settings(self):
        """The settings besides the layers."""
        self._input_settings()  # checks them
        return {**{name: getattr(self, name) for name in SETTINGS}, "dtype": self.dtype.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """state: from __getstate__, also that of earlier versions, with arrays and without some settings."""
        layers = [Layer(*args, **_with_array(args, kwargs)) for args, kwargs in state["layers"]]
        settings = {name: value for name, value in state.items() if name not in ("layers", "parameters")}
        if settings.get("input_transform"):
            settings["input_transform"] = [np.frombuffer(array) for array in settings["input_transform"]]
        self._restore(layers, settings)
        for mine, saved in zip(self.parameters, state["parameters"], strict=True):
            mine[...] = np.frombuffer(saved, mine.dtype).reshape(mine.shape) if type(saved) is bytes else saved


def _with_bytes(args, settings):
    """The arguments of a Layer, with its mask as bytes."""
    mask = settings["mask"]
    return args, {**settings, "mask": None if mask is None else mask.tobytes()}


def _with_array(args, settings):
    mask = settings.get("mask")
    return {**settings, "mask": np.frombuffer(mask, bool).reshape(args[:2]) if type(mask) is bytes else mask}


def warn_if_not_finite(what: str, net: Network) -> None:
    layer = net._core.first_not_finite()
    if layer >= 0:
        warnings.warn(f"{what}: layer {layer + 1}, layers.{layer}, holds NaN or infinity", RuntimeWarning, stacklevel=4)


def _check_names(state_dict, tensors):
    if not hasattr(state_dict, "keys"):
        raise TypeError(f"state_dict must be a dict of arrays, got {type(state_dict).__name__}")
    missing, unknown = tensors.keys() - state_dict.keys(), state_dict.keys() - tensors.keys()
    if missing or unknown:
        what = ", ".join([f"{name} is missing" for name in sorted(missing)][:3]
                         + [f"{name} is unknown" for name in sorted(map(str, unknown))][:3])
        raise ValueError(f"state_dict must have the names {', '.join(tensors)}: {what}")


def seed_or_fresh(seed: int | None) -> int:
    """A 64-bit seed."""
    return int.from_bytes(os.urandom(8), "big") if seed is None else whole_number("seed", seed, least=0, most=2**64 - 1)


def _layers(sizes_or_layers, activation, output, dropout, inits, bias_init):
    """The Layers given, or Layers of given widths with these settings; inits: (of hidden layers, of the last)."""
    activations.checked("activation", activation)
    activations.checked("output", output)
    try:
        items = list(sizes_or_layers)
    except TypeError:
        raise TypeError(f"sizes_or_layers must be a list of widths or of Layers, got {sizes_or_layers!r}") from None
    by_layers = any(isinstance(item, Layer) for item in items)
    if len(items) > MOST_LAYERS + (not by_layers):  # L layers have L + 1 widths
        raise ValueError(f"sizes_or_layers must describe at most {MOST_LAYERS} layers, got {len(items)} entries")
    if by_layers:
        for name, given, usual in (("activation", activation, "relu"), ("output", output, "identity"),
                                   ("dropout", dropout, 0.0)):
            if given != usual:
                raise ValueError(f"{name} goes with widths: Layers have their own, got {name}={given!r} with Layers")
        return _checked_chain(items)
    if len(items) < 2:
        raise ValueError(f"sizes_or_layers needs at least two widths, input and output, got {items!r}")
    _scheduled.checked("dropout", dropout, below=1)
    sizes = [whole_number(f"sizes_or_layers[{i}]", size, least=1, most=2**31 - 1) for i, size in enumerate(items)]
    last = len(sizes) - 2
    more = {"init": inits[0], "bias_init": bias_init, "dropout": dropout}
    hidden = [Layer(sizes[i], sizes[i + 1], activation, **more) for i in range(last)]
    return [*hidden, Layer(sizes[last], sizes[last + 1], output, init=inits[1], bias_init=bias_init)]


def _checked_chain(layers):
    seen = set()
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"sizes_or_layers must hold widths or Layers, not both, got {layer!r} at position {i}")
        if layer._owner is not None or id(layer) in seen:
            raise ValueError(f"sizes_or_layers[{i}] is already part of a network: make a new Layer")
        seen.add(id(layer))
        if i > 0 and layer.n_in != layers[i - 1].n_out:
            raise ValueError(
                f"sizes_or_layers[{i}] takes {layer.n_in} inputs, but the layer below has {layers[i - 1].n_out} outputs"
            )
    if layers[-1].dropout:
        raise ValueError(f"dropout must be 0 for the last layer, got {layers[-1].dropout!r}")
    return layers
