"""The NumPy float64 twin of every kernel and of the whole network: the equations of the design, and nothing else.

A network is a list of (W, b, activation), b None for a layer without a bias. Labels are one-hot here.
"""

import numpy as np

# ---- gather


def gather(X, index, scale=1.0):
    """Rows of X by index; uint8 rows are multiplied by scale."""
    rows = np.asarray(X)[index].astype(np.float64)
    return rows * scale if X.dtype == np.uint8 else rows


def one_hot(labels, n_classes):
    return np.eye(n_classes)[labels]


# ---- activations: a = g(z), and delta = (d loss / d a) through g'


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))


ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "softmax": softmax,
}

DERIVATIVES = {  # g'(z), element by element
    "identity": np.ones_like,
    "relu": lambda z: (z > 0).astype(np.float64),
    "sigmoid": lambda z: sigmoid(z) * sigmoid(-z),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
}


def softmax_jacobian(z):
    """(B, n, n): d a_i / d z_j = a_i ((i == j) - a_j)."""
    a = softmax(z)
    return a[:, :, None] * (np.eye(z.shape[1]) - a[:, None, :])


def through(activation, z, d_a):
    """d loss / d z from d loss / d a."""
    if activation == "softmax":
        return np.einsum("bi,bij->bj", d_a, softmax_jacobian(z))
    return d_a * DERIVATIVES[activation](z)


# ---- losses of each example (B,), and their delta_L


def log_softmax(z):
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def losses(loss, z, y, output):
    """loss(x_i, y_i) (B,) from z_L, the targets y (B, K) and the output's activation."""
    if loss == "cross_entropy":  # output softmax, or identity: logits
        return -(y * log_softmax(z)).sum(axis=1)
    if loss == "binary_cross_entropy":  # output sigmoid, or identity: logits
        return (np.logaddexp(0, z) - y * z).sum(axis=1)
    squares = ((ACTIVATIONS[output](z) - y) ** 2).sum(axis=1)
    return squares / 2 if loss == "half_squared_error" else squares


def last_residual(loss, z, y, output):
    """delta_L (B, K): yhat - y where the loss contains the activation, else (d loss / d yhat) through g_L'."""
    if loss == "cross_entropy":
        return softmax(z) - y
    if loss == "binary_cross_entropy":
        return sigmoid(z) - y
    error = ACTIVATIONS[output](z) - y
    return through(output, z, error if loss == "half_squared_error" else 2 * error)


def correct(loss, z, y):
    """1 for each example whose class is right: the first largest output, or every bit, of the cross entropies."""
    if loss == "cross_entropy":
        return (z.argmax(axis=1) == y.argmax(axis=1)).astype(np.float64)
    return ((z > 0) == (y > 0.5)).all(axis=1).astype(np.float64)


# ---- the network


def layers_of(net):
    """A float64 copy of the layers of an mlpfast.Network."""
    return [
        (np.array(x.W, np.float64), None if x.b is None else np.array(x.b, np.float64), x.activation)
        for x in net.layers
    ]


def forward(layers, X):
    """(z_1..z_L, a_1..a_L)."""
    zs, activations, a = [], [], np.asarray(X, np.float64)
    for W, b, activation in layers:
        z = a @ W + (0 if b is None else b)
        a = ACTIVATIONS[activation](z)
        zs.append(z)
        activations.append(a)
    return zs, activations


def objective(layers, X, y, loss, *, l1=0.0, l2=0.0, sample_weight=None):
    """J = sum w_i loss_i / sum w_i + (l2/2) sum W^2 + l1 sum |W|."""
    zs, _ = forward(layers, X)
    data = np.average(losses(loss, zs[-1], y, layers[-1][2]), weights=sample_weight)
    return data + sum(l2 / 2 * (W**2).sum() + l1 * np.abs(W).sum() for W, _, _ in layers)


def residuals(layers, X, y, loss):
    """[delta_1, ..., delta_L], without the 1/B."""
    zs, _ = forward(layers, X)
    deltas = [last_residual(loss, zs[-1], y, layers[-1][2])]
    for below, above, z in zip(layers[-2::-1], layers[:0:-1], zs[-2::-1], strict=True):
        deltas.insert(0, through(below[2], z, deltas[0] @ above[0].T))
    return deltas


def gradients(layers, X, y, loss, *, l1=0.0, l2=0.0, sample_weight=None):
    """[(dJ/dW_1, dJ/db_1), ...]; db is None without a bias."""
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    a_below = [np.asarray(X, np.float64), *forward(layers, X)[1]]
    result = []
    for (W, b, _), a, delta in zip(layers, a_below, residuals(layers, X, y, loss), strict=False):
        delta = delta * w[:, None] / w.sum()
        dW = a.T @ delta + l2 * W + l1 * np.sign(W)
        result.append((dW, None if b is None else delta.sum(axis=0)))
    return result


# ---- the optimizer


def sgd(parameter, velocity, g, *, lr, momentum=0.0, nesterov=False):
    """One update, in place; every operation is rounded in the parameter's dtype."""
    lr, momentum = parameter.dtype.type(lr), parameter.dtype.type(momentum)
    if momentum == 0:
        parameter -= lr * g
        return
    velocity[...] = momentum * velocity + g
    parameter -= lr * (g + momentum * velocity if nesterov else velocity)


def flat(layers):
    """[W_1, b_1, W_2, b_2, ...] of layers or gradients, without the missing biases."""
    return [p for layer in layers for p in layer[:2] if p is not None]


def train(layers, X, y, loss, *, batch_size, epochs, l1=0.0, l2=0.0, sample_weight=None, **rule):
    """Trains layers in place on the minibatches in their order -> mean loss of each epoch, before the updates."""
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    velocities = [np.zeros_like(p) for p in flat(layers)]
    history = []
    for _ in range(epochs):
        loss_sum = 0.0
        for first in range(0, len(X), batch_size):
            part = slice(first, first + batch_size)
            loss_sum += objective(layers, X[part], y[part], loss, sample_weight=w[part]) * w[part].sum()
            grads = gradients(layers, X[part], y[part], loss, l1=l1, l2=l2, sample_weight=w[part])
            for parameter, velocity, g in zip(flat(layers), velocities, flat(grads), strict=True):
                sgd(parameter, velocity, g, **rule)
        history.append(loss_sum / w.sum())
    return history
