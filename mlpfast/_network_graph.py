"""The computational graph of a network and a loss: Network.graph.

    z_l = a_{l-1} W_l + b_l,   a_l = g_l(z_l),   L = (1/B) sum of the losses,   s = sum (l2/2) W^2 + l1 |W|,   J = L + s

Values and gradients are computed by backprop. The gradient of a node is dJ / d node, so that of z_l is delta_l / B.
Where y has NaN that the loss ignores, B becomes the sum of the rows' weights, as in backprop.
"""

import numpy as np

from . import _kernels, backprop, losses
from ._arrays import inputs
from ._config import checked_threads
from ._core import Data
from ._examples import examples
from ._fpmode import in_default_mode
from ._scalars import real_number
from .graph import Graph, Node, Operation

B = "B"  # stands for the number of rows where there is no data


@in_default_mode
def graph_of(net, loss, X, y, l1, l2):
    """See Network.graph."""
    if y is not None and (X is None or loss is None):
        raise ValueError(f"y needs {'X' if X is None else 'a loss'}, got {'X' if X is None else 'loss'}=None")
    if loss is not None and X is not None and y is None:
        raise ValueError("y must be given with X and a loss, got None")
    l1, l2 = real_number("l1", l1, least=0), real_number("l2", l2, least=0)
    if loss is not None:
        loss = losses.checked(loss, net)
    elif l1 or l2:
        raise ValueError(f"l1 and l2 need a loss, got l1={l1:g}, l2={l2:g} without one")
    data = None if X is None or loss is None else examples(X, y, net, loss)
    tape = None if X is None else backprop._forward(net, inputs(X, net) if data is None else data.X)
    layers = _Layers(net, tape)
    if loss is None:
        return Graph(layers.a[-1], in_full=0)
    graph, penalties = _with_loss(net, layers, loss, l1, l2)
    if data is not None:
        _fill_objective(net, graph, data, loss, penalties)
        _fill_gradients(net, graph, layers, tape, data, loss, backprop.gradients(net, X, y, loss, l1=l1, l2=l2))
    return graph


class _Layers:
    """The nodes of the layers, with the values of a Tape unless it is None."""

    def __init__(self, net, tape):
        rows = B if tape is None else len(tape.X)
        self.net, self.X, self.parameters, self.z, self.a = net, Node(None, (), "X", shape=(rows, net.n_in)), [], [], []
        below = self.X
        for number, layer in enumerate(net.layers, 1):
            own = [Node(None, (), f"W_{number}", shape=layer.W.shape, notes=_notes(layer))]
            if layer.bias:
                own.append(Node(None, (), f"b_{number}", shape=layer.b.shape))
            symbol = "xW + b" if layer.bias else "xW"
            z = Node(Operation("affine", symbol), (below, *own), f"z_{number}", shape=(rows, layer.n_out))
            g = layer._unit
            slopes = []
            if layer.slopes is not None:
                slopes = [Node(None, (), f"alpha_{number}", shape=layer.slopes.shape)]
            notes = [f"{_outputs(part)}: {part.activation.name}" for part in g.parts]
            notes += [f"{note} in training" for note in layer._notes() if note.startswith("dropout")]
            symbol = " | ".join(dict.fromkeys(part.activation.name for part in g.parts)) or g.name
            a = Node(Operation(g.name, symbol), (z, *slopes), f"a_{number}", shape=z.shape, notes=notes)
            self.parameters.append([*own, *slopes])
            self.z.append(z)
            self.a.append(a)
            below = a
        if tape is not None:
            self._fill(tape)

    def _fill(self, tape):
        self.X._value = tape.X
        for node, value in zip([*self.z, *self.a], [*tape.z, *tape.a], strict=True):
            node._value = value
        for layer, nodes in zip(self.net.layers, self.parameters, strict=True):
            for node, value in zip(nodes, layer.parameters, strict=True):
                node._value = value.copy()


def _notes(layer):
    notes = [] if layer.trainable else ["frozen"]
    return notes if layer.mask is None else [*notes, f"{layer.mask.sum():,} of {layer.mask.size:,} weights"]


def _outputs(part):
    return f"{part.first}" if part.n == 1 else f"{part.first}:{part.first + part.n}"


def _with_loss(net, layers, loss, l1, l2):
    """(the graph with loss, penalties and objective; {node of W: (l1, l2)} where there is one)"""
    y = Node(None, (), "y", shape=(layers.X.shape[0], loss.y_columns(net.n_out)))
    # The losses of the core for sign, and Custom ones of z, do not depend on a_L.
    stops = any(part.loss.takes_z and part.activation.traits.stops for part in _parts(net, loss))
    around = stops or not (loss.takes_z or loss.through_output)
    yhat = layers.z[-1] if around else layers.a[-1]
    symbol = " + ".join(dict.fromkeys(part.loss.name for part in loss.parts)) or loss.name
    notes = [f"{_outputs(part)}: {'' if part.factor == 1 else f'{part.factor:g} '}{part.loss.name}"
             for part in loss.parts]
    L = Node(Operation(loss.name, symbol), (yhat, y), "L", shape=(), notes=notes)
    others = [layers.a[-1]] if around else []
    penalties = {}
    for layer, (W, *_) in zip(net.layers, layers.parameters, strict=True):
        own_l1, own_l2 = l1 + layer.l1, l2 + layer._present_l2()
        if own_l1 or own_l2:
            penalties[W] = own_l1, own_l2
    if not penalties:
        return Graph(L, *others, in_full=0), penalties
    notes = [f"{name} {' '.join(_distinct(values))}" for name, values in
             zip(("l1", "l2"), zip(*penalties.values(), strict=True), strict=True) if any(values)]
    s = Node(Operation("penalty", "penalty"), penalties, "s", shape=(), notes=notes)
    return Graph(Node(Operation("add", "L + s"), (L, s), "J", shape=()), *others, in_full=0), penalties


def _distinct(values):
    return dict.fromkeys(f"{value:g}" for value in values)


def _fill_objective(net, graph, data, loss, penalties):
    yhat = net._core.outputs(data, checked_threads(None)) if loss.traits.is_custom else None
    loss_sum, weight_sum, *_ = net._core.evaluate(data, loss, checked_threads(None), yhat)
    L = loss_sum / weight_sum
    graph["y"]._value = data.truth
    unknown = np.count_nonzero(data.truth != data.truth)
    if unknown:
        graph["y"].notes += (f"{unknown} of {data.truth.size} missing",)
    graph["L"]._value = np.float64(L)
    if penalties:
        s = 0.0
        for node, (l1, l2) in penalties.items():
            W = node.value.astype(np.float64)
            s += l2 / 2 * np.square(W).sum() + l1 * np.abs(W).sum()
        graph["s"]._value, graph["J"]._value = np.float64(s), np.float64(L + s)


def _fill_gradients(net, graph, layers, tape, data, loss, gradients):
    for name in ("L", "s", "J"):
        if name in graph:
            graph[name].gradient = np.float64(1)
    for nodes, own in zip(layers.parameters, gradients, strict=True):
        for node, gradient in zip(nodes, [each for each in own if each is not None], strict=True):
            node.gradient = gradient
    share = net.dtype.type(1 / data.weight_sum)
    deltas = backprop._deltas(net, tape, data, loss)
    for l, (delta, layer) in enumerate(zip(deltas, net.layers, strict=True)):
        layers.z[l].gradient = delta * share
        below = layers.a[l - 1] if l else layers.X
        below.gradient = _kernels.delta_below(delta, layer.W) * share
    if layers.a[-1] in graph["L"].inputs:
        layers.a[-1].gradient = _of_output(net, tape, data, loss) * share


def _parts(net, loss):
    """The parts of the outputs that have losses of their own; all outputs are one part of most losses."""
    output = net.layers[-1]._unit
    return loss.parts_of(output, net.n_out) or [losses._CorePart(0, net.n_out, output, 0, 1.0, loss)]


def _of_output(net, tape, data, loss):
    """d loss / d a_L, one row per example, times its weight."""
    delta = backprop._loss_and_delta(net, tape, data, loss)[1]
    if loss.through_output:
        return delta
    for part in _parts(net, loss):
        if part.activation.name != "identity":  # for which it is d loss / d z_L
            own = slice(part.first, part.first + part.n)
            delta[:, own] = part.factor * _of_part(np.ascontiguousarray(tape.a[-1][:, own]), data, loss, part)
    return delta


def _of_part(a, data, whole, part):
    """d loss / d a of a part of the outputs, without its factor."""
    loss = part.loss
    y = data.labels[:, None] if data.targets is None else data.targets
    by_class = loss.name == "cross_entropy" and (whole.parts or data.targets is None)
    columns = slice(part.y_first, part.y_first + (1 if by_class else loss.y_columns(part.n)))
    y = np.ascontiguousarray(y[:, columns])
    entries = None if data.entries is None else np.ascontiguousarray(data.entries[:, columns])
    if loss.through_output:
        own = Data(data.X, 1.0, None, y, data.weights, entries=entries)
        return _kernels.loss_and_delta(a, own, loss, part.activation)[1]
    if by_class:
        y = (y == np.arange(part.n)).astype(a.dtype)
    # The core goes from L to z_L at once, since these are infinite where a is 0.
    if loss.name == "cross_entropy":
        slope = -((1 - loss.label_smoothing) * y + loss.label_smoothing / part.n) / a
    elif loss.name == "binary_cross_entropy":
        slope = (a - (1 - loss.label_smoothing) * y - loss.label_smoothing / 2) / (a * (1 - a))
    elif loss.name == "poisson":
        slope = 1 - y / a
    else:
        raise NotImplementedError(f"d loss / d a_L of {loss.name}")
    return slope if entries is None else np.where(entries == 0, 0, entries * slope)
