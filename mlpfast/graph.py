"""Computational graphs, as lectures draw them: operations on scalars and arrays, forward and backward.

Graph has an example: its forward and backward, text for a table of the nodes, and dot for Graphviz source; plots.graph
draws one.

forward computes the value of every node in topological order; backward goes through them in reverse. At a node v with
inputs u_1, u_2, ... and the output f of the graph

    gradient        df/dv, the upstream gradient: the sum of what comes down all edges that leave v
    local[i]        dv/du_i, the local gradient
    downstream[i]   df/dv dv/du_i, what goes down the edge to u_i

and all three are kept. Linnainmaa (1970); Griewank and Walther (2008) call it the reverse mode.

Operations, on arrays of any shape with NumPy's broadcasting unless it says otherwise:

    add, subtract, multiply, divide     x + y, x - y, x * y, x / y on nodes are the same; so are -x, x @ y and x**2
    negative, reciprocal, square, sqrt, absolute
    power(x, exponent)                  exponent: a number
    exp, log, sigmoid, tanh, relu
    maximum(x, y)                       the max gate; where x = y each gets half of the gradient
    matmul(x, y)                        of one or two dimensions
    sum, mean                           over all elements
    softmax                             over the last axis
    activation(x, g)                    any other of mlpfast.activations but prelu
    apply(operation, *inputs)           an Operation of your own

Network.graph gives the graph of a network.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from . import _kernels, activations
from ._arrays import number_array
from ._attributes import Closed
from ._fpmode import in_default_mode

__all__ = [
    "Graph", "Node", "Operation", "absolute", "activation", "add", "apply", "divide", "exp", "log", "matmul",
    "maximum", "mean", "multiply", "negative", "power", "reciprocal", "relu", "sigmoid", "softmax", "sqrt",
    "square", "subtract", "sum", "tanh", "variable",
]

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._types import AnyActivation, ArrayLike


class Operation(NamedTuple):
    """value(*inputs) is an array. local(value, *inputs) gives a local gradient for each input, of the value's shape, if
    each element of the value depends on the same element of the inputs after broadcasting. Otherwise it may be
    anything that downstream(upstream, local, *inputs) computes df/d input from, an array for each input. symbol: what
    drawings show.

    name: for text, and the beginning of the names of nodes without one. What a function returns is checked by
        Graph.forward and Graph.backward, with ValueError or TypeError.

    >>> from mlpfast import graph
    >>> cube = graph.Operation("cube", "x^3", lambda x: x**3, lambda value, x: (3 * x**2,))
    >>> f = graph.Graph(graph.apply(cube, graph.variable("x", 2)))
    >>> f.forward(), f.backward()
    (8.0, {'x': 12.0})
    """

    name: str
    symbol: str
    value: Callable | None = None
    local: Callable | None = None
    downstream: Callable | None = None


class Node(Closed):
    """A variable, a constant or an operation on other nodes.

    value: an array, float64 unless it was given as float32; None before `Graph.forward`.
    gradient, local, downstream: see the module; None before `Graph.backward`, and for constants. In the graph of a
        network local and downstream are None.
    notes: texts that Graph.text shows.
    operation: an Operation, None of a variable or constant.
    inputs: the nodes that it takes.
    name, shape: as the properties.

    `variable` and the operations make nodes; + - * / @ and ** make them too. ValueError or TypeError for a value that
    is no array of numbers, AttributeError for setting that of an operation.

    >>> from mlpfast import graph
    >>> x = graph.variable("x", 3)
    >>> f = graph.Graph((2 * x**2).named("f"))
    >>> f.forward(), f.backward()
    (18.0, {'x': 12.0})
    >>> x.value, x.gradient, f.nodes[1].gradient
    (array(3.), array(12.), array(2.))
    """

    __array_ufunc__ = None  # so that array * node is left to __rmul__
    _elsewhere = {"name": "named(name) gives one"}
    gradient: Any
    local: Any
    downstream: Any
    notes: tuple[str, ...]

    def __init__(
        self,
        operation: Operation | None,
        inputs: Iterable[Node] = (),
        name: str | None = None,
        value: Any = None,
        *,
        shape: tuple[int | str, ...] | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        self.operation: Any = operation
        self.inputs: tuple[Node, ...] = tuple(inputs)
        self._given_name, self._made_up = name, None
        self._value, self._shape = value, shape
        self.gradient = self.local = self.downstream = None
        self.notes = tuple(notes)

    @property
    def name(self) -> Any:
        """The name it was given; without one, a Graph makes up one, such as "add_1".

        >>> from mlpfast import graph
        >>> f = graph.Graph(graph.variable("x", 2) + 1)
        >>> f.output.name
        'add_1'
        """
        return self._given_name or self._made_up

    @property
    def value(self) -> Any:
        """An array, or None before `Graph.forward`; of a variable it may be set, to a number or an array.

        ValueError or TypeError for what is no array of numbers, AttributeError for an operation.

        >>> from mlpfast import graph
        >>> x = graph.variable("x", 2)
        >>> x.value = [1.0, 2.0]
        >>> x.value
        array([1., 2.])
        """
        return self._value

    @value.setter
    def value(self, value: ArrayLike) -> None:
        if self.operation is not None:
            raise AttributeError(f"value of {self!r} cannot be set: forward computes it; set those of variables")
        self._value = _number(f"value of {self.name}", value)

    @property
    def shape(self) -> tuple[Any, ...] | None:
        """Of the value; of a network's graph without data with "B" for the number of rows. None if not known yet.

        >>> from mlpfast import graph
        >>> graph.variable("x", [1.0, 2.0]).shape
        (2,)
        """
        return self._shape if self._value is None else np.shape(self._value)

    @property
    def is_variable(self) -> bool:
        """Whether it is an input of the graph, which gradients are computed for.

        >>> from mlpfast import graph
        >>> graph.variable("x").is_variable, (graph.variable("x") + 1).is_variable
        (True, False)
        """
        return self.operation is None and self._given_name is not None

    @property
    def is_constant(self) -> bool:
        """Whether it is a number or an array without a name.

        >>> from mlpfast import graph
        >>> x, one = (graph.variable("x") + 1).inputs
        >>> x.is_constant, one.is_constant
        (False, True)
        """
        return self.operation is None and self._given_name is None

    def named(self, name: str) -> Self:
        """The node itself, with that name.

        name: a text; TypeError for anything else, or an empty one.

        >>> from mlpfast import graph
        >>> (graph.variable("x") + 1).named("q")
        <add q>
        """
        self._given_name = _name(name)
        return self

    def __add__(self, other: Node | ArrayLike) -> Node:
        return add(self, other)

    def __radd__(self, other: Node | ArrayLike) -> Node:
        return add(other, self)

    def __sub__(self, other: Node | ArrayLike) -> Node:
        return subtract(self, other)

    def __rsub__(self, other: Node | ArrayLike) -> Node:
        return subtract(other, self)

    def __mul__(self, other: Node | ArrayLike) -> Node:
        return multiply(self, other)

    def __rmul__(self, other: Node | ArrayLike) -> Node:
        return multiply(other, self)

    def __truediv__(self, other: Node | ArrayLike) -> Node:
        return divide(self, other)

    def __rtruediv__(self, other: Node | ArrayLike) -> Node:
        return divide(other, self)

    def __matmul__(self, other: Node | ArrayLike) -> Node:
        return matmul(self, other)

    def __rmatmul__(self, other: Node | ArrayLike) -> Node:
        return matmul(other, self)

    def __pow__(self, exponent: float) -> Node:
        return power(self, exponent)

    def __neg__(self) -> Node:
        return negative(self)

    def __repr__(self) -> str:
        kind = "constant" if self.is_constant else "variable" if self.operation is None else self.operation.name
        return f"<{kind} {shown(self.value) if self.is_constant else self.name or 'without a name'}>"


def variable(name: str, value: ArrayLike | None = None) -> Node:
    """An input of a graph, which gradients are computed for. value: a number or an array; None: forward is given it.

    name: a text, TypeError for anything else; ValueError or TypeError for a value that is no array of numbers.

    >>> from mlpfast import graph
    >>> x = graph.variable("x", [1.0, 2.0])
    >>> x, x.value
    (<variable x>, array([1., 2.]))
    """
    return Node(None, (), _name(name), None if value is None else _number(f"value of {name}", value))


def apply(operation: Operation, *inputs: Node | ArrayLike, name: str | None = None) -> Node:
    """A node with operation, an Operation. inputs: nodes, or numbers and arrays, which are constants.

    name: of the node; without one, a Graph makes one up.

    TypeError for what is no Operation, and ValueError or TypeError for inputs that are no arrays of numbers.

    >>> from mlpfast import graph
    >>> import numpy as np
    >>> sine = graph.Operation("sine", "sin", np.sin, lambda value, x: (np.cos(x),))
    >>> f = graph.Graph(graph.apply(sine, graph.variable("x", 0.0)))
    >>> f.forward(), f.backward()
    (0.0, {'x': 1.0})
    """
    if not isinstance(operation, Operation):
        raise TypeError(f"operation must be an Operation, got {operation!r}")
    return Node(operation, [_node(each) for each in inputs], None if name is None else _name(name))


def _name(name):
    if not isinstance(name, str) or not name.strip():
        raise TypeError(f"name must be a text that is not empty, got {name!r}")
    return name


def _number(name, value):
    value = number_array(name, value)
    return np.array(value, value.dtype if value.dtype == np.float32 else np.float64, order="C")


def _node(value):
    return value if isinstance(value, Node) else Node(None, value=_constant(value))


def _constant(value):
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)  # takes the dtype of the array it meets
    return _number("a constant", value)


# ---- Operations


def _elementwise(upstream, local, *inputs):
    return tuple(_summed_to(upstream * own, np.shape(each)) for own, each in zip(local, inputs, strict=True))


def _summed_to(gradient, shape):
    """The gradient of an array of that shape that broadcasting has repeated."""
    repeated = tuple(range(gradient.ndim - len(shape)))
    stretched = tuple(i for i, n in enumerate(shape, len(repeated)) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(axis=repeated + stretched, keepdims=True).reshape(shape)


def _matmul_down(upstream, local, x, y):
    """x (n, k), y (k, m): df/dx = upstream y^T, df/dy = x^T upstream; a vector x is one row, a vector y one column."""
    rows = np.reshape(x, (-1, np.shape(x)[-1]))
    columns = np.reshape(y, (np.shape(y)[0], -1))
    upstream = np.reshape(upstream, (rows.shape[0], columns.shape[1]))
    return (upstream @ columns.T).reshape(np.shape(x)), (rows.T @ upstream).reshape(np.shape(y))


def _matmul(x, y):
    if not (0 < np.ndim(x) < 3 and 0 < np.ndim(y) < 3) or np.shape(x)[-1] != np.shape(y)[0]:
        raise ValueError(f"matmul needs shapes (n, k) and (k, m), or (k,) for either, got {np.shape(x)}, {np.shape(y)}")
    return x @ y


def _softmax_down(upstream, local, x):
    return (np.einsum("...i,...ij->...j", upstream, local[0]),)


def _of_the_core(g):
    """(value, local) of an elementwise activation, computed by the core's kernels."""

    def value(x):
        return _kernels.activate(_one_row(x), g).reshape(np.shape(x))

    def local(value, x):
        kept = _one_row(x if g.traits.in_z else value)
        slopes = np.ones_like(kept)
        _kernels.through_derivative(slopes, kept, g)
        return (slopes.reshape(np.shape(x)),)

    return value, local


def _one_row(x):
    return np.ascontiguousarray(x).reshape(1, -1)


def _softmax(x):
    if np.ndim(x) == 0:
        raise ValueError("softmax needs an array, got a single number")
    rows = np.ascontiguousarray(x).reshape(-1, np.shape(x)[-1])
    return _kernels.activate(rows, activations.checked("g", "softmax")).reshape(np.shape(x))


def _ones(v, x, y):
    return np.ones_like(v), np.ones_like(v)


def _factors(v, x, y):
    return np.broadcast_to(y, v.shape), np.broadcast_to(x, v.shape)


def _larger(v, x, y):
    of_x = np.where(x == y, 0.5, x > y).astype(v.dtype)
    return of_x, 1 - of_x


ADD = Operation("add", "+", lambda x, y: x + y, _ones)
SUBTRACT = Operation("subtract", "-", lambda x, y: x - y, lambda v, x, y: (np.ones_like(v), -np.ones_like(v)))
MULTIPLY = Operation("multiply", "*", lambda x, y: x * y, _factors)
DIVIDE = Operation("divide", "/", lambda x, y: x / y, lambda v, x, y: (np.ones_like(v) / y, -v / y))
NEGATIVE = Operation("negative", "* -1", lambda x: -x, lambda v, x: (-np.ones_like(v),))
RECIPROCAL = Operation("reciprocal", "1/x", lambda x: 1 / x, lambda v, x: (-v * v,))
SQUARE = Operation("square", "x^2", lambda x: x * x, lambda v, x: (2 * x,))
SQRT = Operation("sqrt", "sqrt", np.sqrt, lambda v, x: (1 / (2 * v),))
ABSOLUTE = Operation("absolute", "|x|", np.abs, lambda v, x: (np.sign(x),))
LOG = Operation("log", "log", np.log, lambda v, x: (1 / x,))
MAXIMUM = Operation("maximum", "max", np.maximum, _larger)
SUM = Operation("sum", "sum", np.sum, lambda v, x: (np.ones_like(x),))
MEAN = Operation("mean", "mean", np.mean, lambda v, x: (np.full_like(x, 1 / np.size(x)),))
MATMUL = Operation("matmul", "@", _matmul, lambda v, x, y: (np.transpose(y), np.transpose(x)), _matmul_down)
SOFTMAX = Operation(
    "softmax", "softmax", _softmax,
    lambda v, x: (v[..., :, None] * (np.eye(v.shape[-1], dtype=v.dtype) - v[..., None, :]),),  # the Jacobian
    _softmax_down,
)


def add(x: Node | ArrayLike, y: Node | ArrayLike, name: str | None = None) -> Node:
    """x + y; local gradients 1 and 1.

    x, y: nodes, or numbers and arrays, which are constants, of shapes that NumPy broadcasts.
    name: of the node, or None.

    ValueError or TypeError for what is neither, and from Graph.forward for shapes that do not fit.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.add(graph.variable("x", 2), graph.variable("y", [3.0, 4.0])))
    >>> f.forward(), f.backward(upstream=[1, 10])
    (array([5., 6.]), {'x': 11.0, 'y': array([ 1., 10.])})
    """
    return apply(ADD, x, y, name=name)


def subtract(x: Node | ArrayLike, y: Node | ArrayLike, name: str | None = None) -> Node:
    """x - y; local gradients 1 and -1. x, y, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.subtract(graph.variable("x", 2), graph.variable("y", 3)))
    >>> f.forward(), f.backward()
    (-1.0, {'x': 1.0, 'y': -1.0})
    """
    return apply(SUBTRACT, x, y, name=name)


def multiply(x: Node | ArrayLike, y: Node | ArrayLike, name: str | None = None) -> Node:
    """x y, element by element; local gradients y and x. x, y, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.multiply(graph.variable("x", 2), graph.variable("y", 3)))
    >>> f.forward(), f.backward()
    (6.0, {'x': 3.0, 'y': 2.0})
    """
    return apply(MULTIPLY, x, y, name=name)


def divide(x: Node | ArrayLike, y: Node | ArrayLike, name: str | None = None) -> Node:
    """x / y; local gradients 1 / y and -x / y^2. x, y, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.divide(graph.variable("x", 2), graph.variable("y", 4)))
    >>> f.forward(), f.backward()
    (0.5, {'x': 0.25, 'y': -0.125})
    """
    return apply(DIVIDE, x, y, name=name)


def negative(x: Node | ArrayLike, name: str | None = None) -> Node:
    """-x; local gradient -1. x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.negative(graph.variable("x", 2)))
    >>> f.forward(), f.backward()
    (-2.0, {'x': -1.0})
    """
    return apply(NEGATIVE, x, name=name)


def reciprocal(x: Node | ArrayLike, name: str | None = None) -> Node:
    """1 / x; local gradient -1 / x^2. x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.reciprocal(graph.variable("x", 2)))
    >>> f.forward(), f.backward()
    (0.5, {'x': -0.25})
    """
    return apply(RECIPROCAL, x, name=name)


def square(x: Node | ArrayLike, name: str | None = None) -> Node:
    """x^2; local gradient 2 x. x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.square(graph.variable("x", 3)))
    >>> f.forward(), f.backward()
    (9.0, {'x': 6.0})
    """
    return apply(SQUARE, x, name=name)


def sqrt(x: Node | ArrayLike, name: str | None = None) -> Node:
    """The square root of x; local gradient 1 / (2 sqrt(x)). x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.sqrt(graph.variable("x", 4)))
    >>> f.forward(), f.backward()
    (2.0, {'x': 0.25})
    """
    return apply(SQRT, x, name=name)


def absolute(x: Node | ArrayLike, name: str | None = None) -> Node:
    """The absolute value of x; local gradient its sign, 0 at 0. x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.absolute(graph.variable("x", -4)))
    >>> f.forward(), f.backward()
    (4.0, {'x': -1.0})
    """
    return apply(ABSOLUTE, x, name=name)


def log(x: Node | ArrayLike, name: str | None = None) -> Node:
    """The natural logarithm of x; local gradient 1 / x. x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.log(graph.variable("x", 0.5)))
    >>> round(f.forward(), 4), f.backward()
    (-0.6931, {'x': 2.0})
    """
    return apply(LOG, x, name=name)


def maximum(x: Node | ArrayLike, y: Node | ArrayLike, name: str | None = None) -> Node:
    """The larger of x and y, the max gate; local gradients 1 for the larger one and 0 for the other, 1/2 each where
    they are equal. x, y, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.maximum(graph.variable("x", 2), graph.variable("y", 3)))
    >>> f.forward(), f.backward()
    (3.0, {'x': 0.0, 'y': 1.0})
    """
    return apply(MAXIMUM, x, y, name=name)


def matmul(x: Node | ArrayLike, y: Node | ArrayLike, name: str | None = None) -> Node:
    """The matrix product x y, of shapes (n, k) and (k, m); (k,) may take the place of either. Downstream go upstream
    y^T and x^T upstream. name and errors as for add; from Graph.forward ValueError for other shapes.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.matmul(graph.variable("x", [[1.0, 2.0]]), graph.variable("W", [[3.0], [4.0]])))
    >>> f.forward()
    array([[11.]])
    >>> f.backward(upstream=[[1.0]])
    {'x': array([[3., 4.]]), 'W': array([[1.],
           [2.]])}
    """
    return apply(MATMUL, x, y, name=name)


def sum(x: Node | ArrayLike, name: str | None = None) -> Node:
    """The sum of all elements of x, a single number; local gradient 1 for each. x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.sum(graph.variable("x", [1.0, 2.0])))
    >>> f.forward(), f.backward()
    (3.0, {'x': array([1., 1.])})
    """
    return apply(SUM, x, name=name)


def mean(x: Node | ArrayLike, name: str | None = None) -> Node:
    """The mean of all elements of x, a single number; local gradient 1 / (their number). x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.mean(graph.variable("x", [1.0, 2.0])))
    >>> f.forward(), f.backward()
    (1.5, {'x': array([0.5, 0.5])})
    """
    return apply(MEAN, x, name=name)


def softmax(x: Node | ArrayLike, name: str | None = None) -> Node:
    """e^x_j / sum_k e^x_k over the last axis; local gradient the Jacobian, diag(p) - p p^T of each row. x, name and
    errors as for add; from Graph.forward ValueError for a single number.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.softmax(graph.variable("x", [0.0, 0.0])))
    >>> f.forward(), f.backward(upstream=[1.0, 0.0])
    (array([0.5, 0.5]), {'x': array([ 0.25, -0.25])})
    """
    return apply(SOFTMAX, x, name=name)


def exp(x: Node | ArrayLike, name: str | None = None) -> Node:
    """e^x; local gradient e^x. x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.exp(graph.variable("x", 0)))
    >>> f.forward(), f.backward()
    (1.0, {'x': 1.0})
    """
    return activation(x, "exp", name)


def sigmoid(x: Node | ArrayLike, name: str | None = None) -> Node:
    """1 / (1 + e^-x); local gradient s (1 - s) of the value s. x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.sigmoid(graph.variable("x", 0)))
    >>> f.forward(), f.backward()
    (0.5, {'x': 0.25})
    """
    return activation(x, "sigmoid", name)


def tanh(x: Node | ArrayLike, name: str | None = None) -> Node:
    """tanh x; local gradient 1 - t^2 of the value t. x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.tanh(graph.variable("x", 0)))
    >>> f.forward(), f.backward()
    (0.0, {'x': 1.0})
    """
    return activation(x, "tanh", name)


def relu(x: Node | ArrayLike, name: str | None = None) -> Node:
    """The larger of x and 0; local gradient 1 if x > 0, else 0. x, name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.relu(graph.variable("x", [-1.0, 2.0])))
    >>> f.forward(), f.backward(upstream=[1, 1])
    (array([0., 2.]), {'x': array([0., 1.])})
    """
    return activation(x, "relu", name)


def power(x: Node | ArrayLike, exponent: float, name: str | None = None) -> Node:
    """x^exponent, with a number as exponent, TypeError for anything else; local gradient exponent x^(exponent - 1). x,
    name and errors as for add.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.power(graph.variable("x", 2), 3))
    >>> f.forward(), f.backward()
    (8.0, {'x': 12.0})
    """
    if isinstance(exponent, Node) or np.ndim(exponent):
        raise TypeError(f"exponent must be a number, got {exponent!r}")
    p = _constant(exponent)
    local = lambda v, x: (p * x ** (p - 1),)  # noqa: E731
    return apply(Operation("power", f"x^{exponent:g}", lambda x: x**p, local), x, name=name)


def activation(x: Node | ArrayLike, g: AnyActivation, name: str | None = None) -> Node:
    """g: a name or an object of mlpfast.activations, computed by the kernels that training uses.

    x, name and errors as for add; ValueError for an unknown g, or one with learned slopes.

    >>> from mlpfast import graph
    >>> f = graph.Graph(graph.activation(graph.variable("x", [-1.0, 2.0]), "leaky_relu"))
    >>> f.forward(), f.backward(upstream=[1, 1])
    (array([-0.01,  2.  ]), {'x': array([0.01, 1.  ])})
    """
    g = activations.checked("g", g)
    if g.name == "softmax":
        return softmax(x, name)
    if g.traits.learns_alpha:
        raise ValueError(f"g must be an activation without learned slopes, got {g!r}: use LeakyReLU(alpha)")
    return apply(Operation(g.name, g.name, *_of_the_core(g)), x, name=name)


# ---- Graphs


class Graph:
    """The nodes that lead to output, in topological order (.nodes, without constants). graph["q"] is the node named q.

    others: more nodes to show, with what leads to them.
    in_full: arrays of at most that many numbers are shown in full by text, dot and plots.graph, and one number always,
        others by their 2-norm, as |2.5|.

    TypeError for an output that is no node, ValueError for two nodes of the same name; KeyError from graph["q"] if
    there is none.

    >>> from mlpfast import graph
    >>> x, y, z = graph.variable("x", -2), graph.variable("y", 5), graph.variable("z", -4)
    >>> f = graph.Graph(((x + y).named("q") * z).named("f"))
    >>> f.forward()
    -12.0
    >>> f.backward()
    {'x': -4.0, 'y': -4.0, 'z': 3.0}
    >>> print(f.text())
    node  operation       value  local gradients  gradient
    x     variable           -2                         -4
    y     variable            5                         -4
    q     add(x, y)           3  1, 1                   -4
    z     variable           -4                          3
    f     multiply(q, z)    -12  -4, 3                   1
    """

    output: Node
    in_full: int
    nodes: list[Node]

    def __init__(self, output: Node, *others: Node, in_full: int = 3) -> None:
        for node in (output, *others):
            if not isinstance(node, Node):
                raise TypeError(f"output must be a node, got {node!r}")
        self.output, self.in_full = output, in_full
        self._all = _in_order([output, *others])
        self.nodes = [node for node in self._all if not node.is_constant]
        _give_names(self.nodes)
        self._by_name = {node.name: node for node in self.nodes}

    def __getitem__(self, name: str) -> Node:
        try:
            return self._by_name[name]
        except KeyError:
            raise KeyError(f"no node is named {name!r}: there are {', '.join(self._by_name)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @in_default_mode
    def forward(self, **values: ArrayLike) -> Any:
        """Compute all values -> that of the output. values: new ones of variables, by name.

        ValueError for a variable without a value, a name that is none of a variable, and shapes that do not fit;
        KeyError for a name that there is not. Then no value has changed.

        >>> from mlpfast import graph
        >>> f = graph.Graph(graph.variable("x") * graph.variable("y", 3))
        >>> f.forward(x=2), f.forward(x=4, y=5)
        (6.0, 20.0)
        """
        self._check_computes()
        new = {}
        for name, value in values.items():
            if not self[name].is_variable:
                raise ValueError(f"{name} must be a variable to be given a value, got the result of an operation")
            new[name] = _number(f"value of {name}", value)
        without = [n.name for n in self.nodes if n.is_variable and n.value is None and n.name not in new]
        if without:
            raise ValueError(f"forward needs a value of {', '.join(without)}")
        results = {}
        for node in self._all:
            if node.operation is None:
                results[node] = new.get(node.name, node.value) if node.is_variable else node.value
            else:
                try:
                    results[node] = np.asarray(node.operation.value(*(results[each] for each in node.inputs)))
                except ValueError as error:
                    raise ValueError(f"{node.name}: {error}") from None
        for node, value in results.items():
            node._value, node.gradient, node.local, node.downstream = value, None, None, None
        return _plain(self.output.value)

    @in_default_mode
    def backward(self, upstream: ArrayLike | None = None) -> dict[str, Any]:
        """Compute all gradients -> {name: gradient} of the variables. upstream: the gradient of the output, 1 for None,
        which needs an output of a single number.

        ValueError before forward, or without the upstream that an array needs.

        >>> from mlpfast import graph
        >>> f = graph.Graph(graph.variable("x", 2) * graph.variable("y", 3))
        >>> f.forward(), f.backward(), f.backward(upstream=10)
        (6.0, {'x': 3.0, 'y': 2.0}, {'x': 30.0, 'y': 20.0})
        """
        self._check_computes()
        if self.output.value is None:
            raise ValueError("backward needs values: call forward first")
        shape = self.output.shape
        if upstream is None and shape != ():
            raise ValueError(f"upstream must be given for an output that is no single number, it has shape {shape}")
        first = np.ones_like(self.output.value) if upstream is None else _number("upstream", upstream)
        if first.shape != shape:
            raise ValueError(f"upstream must have the output's shape {shape}, got {first.shape}")
        local = {node: _local(node) for node in self.nodes if node.operation is not None}
        for node in self.nodes:
            node.gradient = np.zeros_like(node.value)
        self.output.gradient = first.astype(self.output.value.dtype)
        for node in reversed(self.nodes):
            if node.operation is not None:
                self._pass_down(node, local[node])
        return {node.name: _plain(node.gradient) for node in self.nodes if node.is_variable}

    def _pass_down(self, node, local):
        values = [each.value for each in node.inputs]
        node.local = local
        node.downstream = (node.operation.downstream or _elementwise)(node.gradient, node.local, *values)
        for each, part in zip(node.inputs, node.downstream, strict=True):
            if not each.is_constant:
                each.gradient = np.asarray(each.gradient + part)

    def _check_computes(self):
        if any(node.operation is not None and node.operation.value is None for node in self.nodes):
            raise ValueError("the values and gradients of a network's graph are those of net.graph(loss, X, y)")

    def text(self) -> str:
        """A table of the nodes: what they compute, shape, value and, after backward, local gradients and gradient.

        >>> from mlpfast import graph
        >>> f = graph.Graph(graph.variable("x", 2) * graph.variable("y", 3))
        >>> value, gradients = f.forward(), f.backward()
        >>> print(f.text())
        node        operation       value  local gradients  gradient
        x           variable            2                          3
        y           variable            3                          2
        multiply_1  multiply(x, y)      6  3, 2                    1
        """
        rows = [("node", "operation", "shape", "value", "local gradients", "gradient")]
        rows += [self._row(node) for node in self.nodes]
        used = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]
        widths = [max(len(row[i]) for row in rows) for i in used]
        numbers = {3, 5}  # columns with numbers alone
        return "\n".join(
            "  ".join(row[i].rjust(w) if i in numbers else row[i].ljust(w) for i, w in zip(used, widths, strict=True))
            .rstrip() for row in rows
        )

    def _row(self, node):
        local = [
            self.shown(own) for own, each in zip(node.local or (), node.inputs, strict=False) if not each.is_constant
        ]
        return (
            node.name, ", ".join([operation_text(node), *node.notes]), shape_text(node), self.shown(node.value),
            ", ".join(local), self.shown(node.gradient),
        )

    def dot(self) -> str:
        """Graphviz source, left to right; on the edges the values, and below them the gradients that come down.

        >>> from mlpfast import graph
        >>> print(graph.Graph(-graph.variable("x")).dot(), end="")
        digraph {
          rankdir=LR;
          node [shape=box, style=rounded];
          n0 [label="x", shape=plaintext];
          n1 [label="* -1"];
          n0 -> n1 [label=""];
        }
        """
        lines = ["digraph {", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
        for number, node in enumerate(self.nodes):
            label = "\\n".join(_escaped(text) for text in node_lines(node))
            lines.append(f'  n{number} [label="{label}"{", shape=plaintext" if node.operation is None else ""}];')
        number_of = {node: number for number, node in enumerate(self.nodes)}
        for node in self.nodes:
            for i, each in enumerate(node.inputs):
                if not each.is_constant:
                    down = each.gradient if node.downstream is None else node.downstream[i]
                    label = "\\n".join(filter(None, [self.shown(each.value), self.shown(down)]))
                    lines.append(f'  n{number_of[each]} -> n{number_of[node]} [label="{_escaped(label, False)}"];')
        return "\n".join([*lines, "}"]) + "\n"

    def shown(self, value: Any) -> str:
        """value as text and drawings show it.

        value: a number, an array or None; no errors.

        >>> from mlpfast import graph
        >>> import numpy as np
        >>> f = graph.Graph(graph.variable("x"), in_full=2)
        >>> f.shown(0.123456), f.shown(np.array([3.0, 4.0])), f.shown(np.array([2.0, 3.0, 6.0]))
        ('0.1235', '[3, 4]', '|7|')
        """
        return shown(value, self.in_full)

    def __repr__(self) -> str:
        return f"<graph of {self.output.name}: {len(self.nodes)} nodes>"


def _local(node):
    """The local gradients of a node."""
    operation, n = node.operation, len(node.inputs)
    need = f"local of the Operation {operation.name!r} must be a function that gives a tuple of {n} arrays"
    if not callable(operation.local):
        raise TypeError(f"{need}, got {operation.local!r}")
    local = operation.local(node.value, *(each.value for each in node.inputs))
    if operation.downstream is None and not (isinstance(local, (tuple, list)) and len(local) == n):
        got = f"{len(local)} of them" if isinstance(local, (tuple, list)) else type(local).__name__
        raise TypeError(f"{need}, a local gradient for each input, got {got}")
    return local


def _plain(value):
    return float(value) if np.ndim(value) == 0 else value


def _in_order(outputs):
    """All nodes that lead to the outputs, each after its inputs."""
    order, seen, stack = [], set(), [(node, False) for node in reversed(outputs)]
    while stack:  # without recursion: a graph may be deep
        node, inputs_done = stack.pop()
        if inputs_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(each, False) for each in reversed(node.inputs)]
    return order


def _give_names(nodes):
    taken = set()
    for node in nodes:
        if node._given_name in taken:
            raise ValueError(f"names of nodes must differ, got {node._given_name!r} twice")
        if node._given_name is not None:
            taken.add(node._given_name)
    counts: dict = collections.defaultdict(itertools.count)
    for node in nodes:
        while node._given_name is None:
            node._made_up = f"{node.operation.name}_{next(counts[node.operation.name]) + 1}"
            if node._made_up not in taken:
                break


# ---- What text, dot and drawings show


def shown(value: Any, in_full: int = 3) -> str:
    """A number with four digits, also in an array of one; of arrays that are larger than in_full the 2-norm, as |2.5|,
    and if some of their numbers are NaN that of the others, and how many are NaN. "" for None."""
    if value is None:
        return ""
    if np.ndim(value) == 0:
        return f"{float(value):.4g}"
    if np.size(value) == 1:
        return f"{'[' * np.ndim(value)}{np.ravel(value)[0]:.4g}{']' * np.ndim(value)}"
    if np.ndim(value) == 1 and np.size(value) <= in_full:
        return f"[{', '.join(f'{number:.4g}' for number in value)}]"
    unknown = np.isnan(value)
    if not unknown.any() or unknown.all():
        return f"|{norm(value):.4g}|"
    return f"|{norm(value[~unknown]):.4g}|, {np.count_nonzero(unknown)} NaN"


@in_default_mode
def norm(value: Any) -> float:
    """The 2-norm, in float64."""
    return float(np.sqrt(np.square(value, dtype=np.float64).sum()))


def symbol(node: Node) -> str:
    """The operation with the constants that it takes, as "* -1"."""
    words = [shown(each.value) if each.is_constant else "" for each in node.inputs]
    if words[1:] and node.operation in (SUBTRACT, DIVIDE):  # 1 - x is not x - 1
        words.insert(1, node.operation.symbol)
    else:
        words.insert(0, node.operation.symbol)
    return " ".join(filter(None, words))


def operation_text(node: Node) -> str:
    """The operation with its inputs, as "multiply(q, z)"."""
    if node.operation is None:
        return "variable"
    inputs = [shown(each.value) if each.is_constant else each.name for each in node.inputs]
    return f"{node.operation.name}({', '.join(inputs)})"


def shape_text(node: Node) -> str:
    shape = node.shape
    return "" if not shape else f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def node_lines(node: Node) -> list[str]:
    """The lines of a node in drawings: its name if it was given one, its operation, its shape."""
    own = [] if node.operation is None else [symbol(node)]
    return [line for line in ([node._given_name] if node._given_name else []) + own + [shape_text(node)] if line]


def _escaped(text, backslashes=True):
    text = text.replace("\\", "\\\\") if backslashes else text
    return text.replace('"', '\\"')
