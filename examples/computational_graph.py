"""
Computational graphs
====================

Computational graphs as in Stanford's CS231n: forward, and backward with upstream times local gradient at each node.

    f = (x + y) z                       at (-2, 5, -4): the gradients are -4, -4, 3
    sigma(w x + b)                      from elementary gates, and with one sigmoid gate: the same gradients
    J = L + s                           a network of two layers with a penalty on its weights, as mlpfast trains it

The number: the largest difference between the gradients of the network and those of the same graph built by hand.
"""

import numpy as np
from shared import options, save

import mlpfast
from mlpfast import graph

chosen = options(__doc__)


def show(title: str, shown: graph.Graph) -> graph.Graph:
    print(f"{title}\n{shown.text()}\n")
    return shown


# ---- f = (x + y) z
x, y, z = graph.variable("x", -2), graph.variable("y", 5), graph.variable("z", -4)
f = graph.Graph(((x + y).named("q") * z).named("f"))
f.forward()
f.backward()
show("f = (x + y) z", f)

# ---- sigma(w x + b): two products, sums, and 1 / (1 + e^-t)
w_0, w_1 = graph.variable("w_0", 2), graph.variable("w_1", -3)
x_0, x_1 = graph.variable("x_0", -1), graph.variable("x_1", -2)
b = graph.variable("b", -3)
t = w_0 * x_0 + w_1 * x_1 + b
gates = graph.Graph(graph.reciprocal(graph.exp(-t) + 1))
gates.forward()
gates.backward()
show("sigma(w x + b) from elementary gates", gates)

# ---- the same with one sigmoid gate, whose local gradient is a (1 - a), and w x as a product of vectors
w, x, b = graph.variable("w", [2, -3]), graph.variable("x", [-1, -2]), graph.variable("b", -3)
one = graph.Graph(graph.sigmoid(w @ x + b))
one.forward()
one.backward()
show("sigma(w x + b) with one sigmoid gate", one)

# ---- a network of two layers, with its loss and penalty
rng = np.random.default_rng(0)
X, targets, l2 = rng.normal(size=(8, 4)), rng.normal(size=(8, 3)), 0.1
net = mlpfast.Network([4, 5, 3], activation="tanh", dtype="float64", seed=0)
of_net = show("J = L + s", net.graph("half_squared_error", X, targets, l2=l2))

names = ["W_1", "b_1", "W_2", "b_2"]
W_1, b_1, W_2, b_2 = (graph.variable(name, value) for name, value in zip(names, net.parameters, strict=True))
yhat = graph.tanh(X @ W_1 + b_1) @ W_2 + b_2
L = (graph.sum(graph.square(yhat - targets)) * (0.5 / len(X))).named("L")
s = ((graph.sum(graph.square(W_1)) + graph.sum(graph.square(W_2))) * (l2 / 2)).named("s")
by_hand = graph.Graph((L + s).named("J"))
by_hand.forward()
gradients = by_hand.backward()
show("the same from elementary operations", by_hand)

if chosen.plot:
    save(mlpfast.plots.graph(gates), chosen.plot)
difference = max(np.abs(of_net[name].gradient - gradients[name]).max() for name in gradients)
print(f"result: computational_graph {difference:.3g}")
