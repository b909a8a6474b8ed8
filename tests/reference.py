"""The NumPy float64 reference of every kernel and of the whole network, written like the equations.

A network is a list of (W, b, activation), b None for a layer without a bias. Labels are one-hot here.
"""

import math
from typing import NamedTuple

import numpy as np

# ---- random numbers, and the order of the examples


def philox(counter, key):
    """Philox4x32-10 of Salmon et al. (2011), one counter at a time."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, p0 >> 32 ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def order(n, seed, epoch):
    """The row at each of n positions, as csrc/kernels/order.inc.h and, for few rows, csrc/rng.c say."""
    stream = 2**56 + epoch

    def words(position):
        return philox((position % 2**32, position >> 32, stream % 2**32, stream >> 32), (seed % 2**32, seed >> 32))

    return fisher_yates(n, words) if n <= 1024 else [feistel(i, n, words) for i in range(n)]


def fisher_yates(n, words):
    rows, drawn, position = list(range(n)), [], 0
    for i in range(n - 1, 0, -1):
        low = -1
        while low < 2**32 % (i + 1):  # rejection: without it some numbers would be more likely
            if not drawn:
                drawn, position = words(position), position + 1
            j, low = divmod(drawn.pop() * (i + 1), 2**32)
        rows[i], rows[j] = rows[j], rows[i]
    return rows


def feistel(row, n, words):
    lefts = 2
    while 2 * lefts**2 < n:
        lefts *= 2
    rights = -(-n // lefts)

    def hashed(x, key, odd):
        x = (x ^ key) * 0xD2511F53 % 2**32
        return (x ^ x >> 15) * (odd | 1) % 2**32

    while True:
        right, left = divmod(row, lefts)
        for number in range(4):
            keys = words(number)
            left = (left + hashed(right, *keys[:2]) * lefts // 2**32) % lefts
            right = (right + hashed(left, *keys[2:]) * rights // 2**32) % rights
        row = right * lefts + left
        if row < n:
            return row


# ---- gather


def gather(X, index, scale=1.0):
    """Rows of X by index; uint8 rows are multiplied by scale."""
    rows = np.asarray(X)[index].astype(np.float64)
    return rows * scale if X.dtype == np.uint8 else rows


def one_hot(labels, n_classes):
    return np.eye(n_classes)[labels]


# ---- activations: a = g(z), and delta = (d loss / d a) * g'(z)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))


def normal_cdf(z):
    return np.vectorize(lambda x: math.erfc(-x / math.sqrt(2)) / 2, otypes=[float])(z)


def softplus(z):
    return np.logaddexp(0, z)


def hard_sigmoid(z):
    return np.clip((z + 3) / 6, 0, 1)


def gelu_u(z):
    return math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)


SELU = 1.0507009873554805, 1.6732632423543772

UNITS = {  # g(z) and g'(z), element by element; or of (z, alpha)
    "identity": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(np.float64)),
    "leaky_relu": (
        lambda z, alpha=0.01: np.where(z > 0, z, alpha * z), lambda z, alpha=0.01: np.where(z > 0, 1.0, alpha)
    ),
    "prelu": (lambda z, alpha=0.25: np.where(z > 0, z, alpha * z), lambda z, alpha=0.25: np.where(z > 0, 1.0, alpha)),
    "elu": (
        lambda z, alpha=1.0: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))),
        lambda z, alpha=1.0: np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0))),
    ),
    "selu": (
        lambda z: SELU[0] * np.where(z > 0, z, SELU[1] * np.expm1(np.minimum(z, 0))),
        lambda z: SELU[0] * np.where(z > 0, 1.0, SELU[1] * np.exp(np.minimum(z, 0))),
    ),
    "gelu": (
        lambda z: z * normal_cdf(z),
        lambda z: normal_cdf(z) + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
    ),
    "gelu_tanh": (
        lambda z: z / 2 * (1 + np.tanh(gelu_u(z))),
        lambda z: (
            (1 + np.tanh(gelu_u(z))) / 2
            + z / 2 / np.cosh(gelu_u(z)) ** 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z**2)
        ),
    ),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * sigmoid(-z))),
    "mish": (
        lambda z: z * np.tanh(softplus(z)),
        lambda z: np.tanh(softplus(z)) + z * sigmoid(z) / np.cosh(softplus(z)) ** 2,
    ),
    "softplus": (softplus, sigmoid),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2),
    "hard_sigmoid": (hard_sigmoid, lambda z: np.where(np.abs(z) < 3, 1 / 6, 0.0)),
    "hard_swish": (
        lambda z: z * hard_sigmoid(z),
        lambda z: np.where(np.abs(z) < 3, (2 * z + 3) / 6, (z >= 3).astype(np.float64)),
    ),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * sigmoid(-z)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "exp": (np.exp, np.exp),
    "sign": (np.sign, np.zeros_like),
    "softmax": (softmax, None),  # its Jacobian is below
}
ACTIVATIONS = {name: g for name, (g, _) in UNITS.items()}
DERIVATIVES = {name: derivative for name, (_, derivative) in UNITS.items()}


def softmax_jacobian(z):
    """(B, n, n): d a_i / d z_j = a_i ((i == j) - a_j)."""
    a = softmax(z)
    return a[:, :, None] * (np.eye(z.shape[1]) - a[:, None, :])


def through(activation, z, d_a, *alpha):
    """d loss / d z from d loss / d a."""
    if activation == "softmax":
        return np.einsum("bi,bij->bj", d_a, softmax_jacobian(z))
    return d_a * DERIVATIVES[activation](z, *alpha)


# ---- losses of each example (B,), and their delta_L


def log_softmax(z):
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def log_rate(z, output):
    """log yhat of a Poisson regression."""
    return np.log(softplus(z)) if output == "softplus" else z


def smoothed(y, s, K):
    """Label smoothing over K classes."""
    return (1 - s.smoothing) * y + s.smoothing / K


class Settings(NamedTuple):
    """Of a loss: its parameter, the label smoothing, and the output's activation."""

    parameter: float
    smoothing: float
    output: str


def mean_and_log_variance(z):
    return np.split(z, 2, axis=1)


def gaussian_derivatives(z, y):
    m, s = mean_and_log_variance(z)
    return np.hstack([(m - y) * np.exp(-s), (1 - (m - y) ** 2 * np.exp(-s)) / 2])


def cox(z, y, w=None):
    """(losses (B,), their sum's derivative in z (B, 1)) for y (B, 2) of times and events, ties by Efron's method."""
    z, (time, event) = z[:, 0], y.T
    w = np.ones(len(z)) if w is None else w
    losses, hazard = np.zeros(len(z)), w * np.exp(z)
    delta = -w * event
    for t in np.unique(time[(event == 1) & (w > 0)]):
        at_risk, died = time >= t, (time == t) & (event == 1) & (w > 0)
        d = died.sum()
        losses[died] -= (w * z)[died]
        for l in range(d):
            share = at_risk - l / d * died
            losses[died] += w[died].mean() / d * np.log((share * hazard).sum())
            delta = delta + w[died].mean() * share * hazard / (share * hazard).sum()
    return losses, delta[:, None]


# loss: ("z" or "yhat", terms (B, K), their derivatives), functions of out (z or yhat), y and Settings.
LOSSES = {
    "cross_entropy": (  # output softmax, or identity: logits
        "z", lambda z, y, s: -smoothed(y, s, y.shape[1]) * log_softmax(z),
        lambda z, y, s: softmax(z) - smoothed(y, s, y.shape[1]),
    ),
    "binary_cross_entropy": (  # output sigmoid, or identity: logits
        "z", lambda z, y, s: np.logaddexp(0, z) - smoothed(y, s, 2) * z, lambda z, y, s: sigmoid(z) - smoothed(y, s, 2)
    ),
    "half_squared_error": ("yhat", lambda a, y, s: (a - y) ** 2 / 2, lambda a, y, s: a - y),
    "squared_error": ("yhat", lambda a, y, s: (a - y) ** 2, lambda a, y, s: 2 * (a - y)),
    "absolute_error": ("yhat", lambda a, y, s: np.abs(a - y), lambda a, y, s: np.sign(a - y)),
    "huber": (
        "yhat", lambda a, y, s: huber(a - y, s.parameter), lambda a, y, s: np.clip(a - y, -s.parameter, s.parameter)
    ),
    "quantile": (
        "yhat", lambda a, y, s: np.maximum(s.parameter * (y - a), (1 - s.parameter) * (a - y)),
        lambda a, y, s: np.where(a > y, 1 - s.parameter, -s.parameter) * (a != y),
    ),
    "log_cosh": ("yhat", lambda a, y, s: np.logaddexp(a - y, y - a) - math.log(2), lambda a, y, s: np.tanh(a - y)),
    "poisson": (
        "z", lambda z, y, s: np.exp(log_rate(z, s.output)) - y * log_rate(z, s.output),
        lambda z, y, s: sigmoid(z) * (1 - y / softplus(z)) if s.output == "softplus" else np.exp(z) - y,
    ),
    "perceptron": ("z", lambda z, y, s: np.maximum(0, -y * z), lambda z, y, s: np.where(y * z > 0, 0, -y)),
    "hinge": ("z", lambda z, y, s: np.maximum(0, 1 - y * z), lambda z, y, s: np.where(y * z < 1, -y, 0)),
    "gaussian_nll": (  # K / 2 means, then K / 2 log variances
        "z", lambda z, y, s: sum(((m - y) ** 2 * np.exp(-v) + v) / 2 for m, v in [mean_and_log_variance(z)]),
        lambda z, y, s: gaussian_derivatives(z, y),
    ),
    "cox_ph": ("z", lambda z, y, s: cox(z, y)[0][:, None], lambda z, y, s: cox(z, y)[1]),
}


def huber(r, d):
    return np.where(np.abs(r) <= d, r**2 / 2, d * (np.abs(r) - d / 2))


def losses(loss, z, y, output, parameter=0.0, smoothing=0.0):
    """loss(x_i, y_i) (B,) from z_L, the targets y (B, K) and the output's activation."""
    of, terms, _ = LOSSES[loss]
    return terms(z if of == "z" else ACTIVATIONS[output](z), y, Settings(parameter, smoothing, output)).sum(axis=1)


def last_residual(loss, z, y, output, parameter=0.0, smoothing=0.0):
    """delta_L (B, K): the derivative in z_L itself, or that in yhat through g_L'."""
    (of, _, derivatives), settings = LOSSES[loss], Settings(parameter, smoothing, output)
    return derivatives(z, y, settings) if of == "z" else through(
        output, z, derivatives(ACTIVATIONS[output](z), y, settings)
    )


def correct(loss, z, y):
    """The share of the labels of each example that are right, of the cross entropies: the class of the first largest
    output, or, of a binary one whose rows are not one-hot, the side of each output. None is where an output is NaN."""
    one_hot = ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all() and y.shape[1] > 1
    if loss == "cross_entropy" or one_hot:
        right = (z.argmax(axis=1) == y.argmax(axis=1)).astype(np.float64)
    else:
        right = ((z > 0) == (y > 0.5)).mean(axis=1)
    return np.where(np.isnan(z).any(axis=1), 0, right)


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


def gradients(layers, X, y, loss, *, l1=0.0, l2=0.0, sample_weight=None, mean_weight=None):
    """[(dJ/dW_1, dJ/db_1), ...]; db is None without a bias. mean_weight m divides by B m, None by the weights' sum."""
    w = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    total = w.sum() if mean_weight is None else len(X) * mean_weight
    a_below = [np.asarray(X, np.float64), *forward(layers, X)[1]]
    result = []
    for (W, b, _), a, delta in zip(layers, a_below, residuals(layers, X, y, loss), strict=False):
        delta = delta * w[:, None] / total
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


def train(layers, X, y, loss, *, batch_size, epochs, l1=0.0, l2=0.0, sample_weight=None, weighting="data", **rule):
    """Trains layers in place on the minibatches in their order -> mean loss of each epoch, before the updates."""
    w, mean_weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, np.float64), None
    if weighting == "data":
        X, y, w = X[w != 0], y[w != 0], w[w != 0]
        mean_weight = w.mean()
    velocities = [np.zeros_like(p) for p in flat(layers)]
    history = []
    for _ in range(epochs):
        loss_sum = 0.0
        for first in range(0, len(X), batch_size):
            part = slice(first, first + batch_size)
            loss_sum += objective(layers, X[part], y[part], loss, sample_weight=w[part]) * w[part].sum()
            grads = gradients(
                layers, X[part], y[part], loss, l1=l1, l2=l2, sample_weight=w[part], mean_weight=mean_weight
            )
            for parameter, velocity, g in zip(flat(layers), velocities, flat(grads), strict=True):
                sgd(parameter, velocity, g, **rule)
        history.append(loss_sum / w.sum())
    return history
