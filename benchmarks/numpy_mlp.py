"""Training and prediction in plain NumPy: the lecture's network, and mlpfast._numpy_mlp.NumpyMLP (relu, softmax) with
tanh and Adam.

    z_l = a_{l-1} W_l,   a_l = 1 / (1 + exp(-z_l)),   loss = sum of (a_L - y)^2 over a row
    delta_L = 2 (a_L - y) * a_L (1 - a_L),   delta_l = (delta_{l+1} W_{l+1}^T) * a_l (1 - a_l)
    W_l = W_l - lr/B a_{l-1}^T delta_l

Large arrays are allocated once and written in place.
"""

import numpy as np

from mlpfast._numpy_mlp import NumpyMLP


class NumpyTanhAdam(NumpyMLP):
    """Tanh layers and a softmax output with cross-entropy, trained by Adam."""

    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def __init__(self, parameters, *, batch_size, lr):
        super().__init__(parameters, batch_size=batch_size, lr=1)  # lr=1: update() receives the plain gradient
        self.rate, self.t = lr, 0
        self.VW, self.Vb = ([np.zeros((2, *p.shape), p.dtype) for p in kind] for kind in (self.W, self.b))

    def step(self, x, y):
        self.t += 1
        return super().step(x, y)

    def activate(self, z):
        np.tanh(z, out=z)

    def through_derivative(self, delta, a):
        np.multiply(a, a, out=a)  # overwrites a, which is not needed after dW of the layer above
        np.subtract(1, a, out=a)
        delta *= a

    def update(self, parameter, V, g):
        m, v = V
        m += (1 - self.beta1) * (g - m)
        v += (1 - self.beta2) * (g * g - v)
        size = np.sqrt(v / (1 - self.beta2**self.t)) + self.epsilon
        parameter -= self.rate / (1 - self.beta1**self.t) * m / size


class NumpyLecture:
    """Sigmoid layers without biases, squared error, trained by plain SGD. weights: [W_1, ...]; copied."""

    def __init__(self, weights, *, batch_size, lr):
        self.W = [W.copy() for W in weights]
        self.batch_size, self.lr = batch_size, lr
        self.dW = [np.empty_like(W) for W in self.W]
        dtype = self.W[0].dtype
        widths = [len(self.W[0]), *(W.shape[1] for W in self.W)]
        self.a = [np.empty((batch_size, n), dtype) for n in widths]
        self.delta, self.slope = ([np.empty((batch_size, n), dtype) for n in widths[1:]] for _ in range(2))
        self.target = np.empty((batch_size, widths[-1]), dtype)

    def epoch(self, X, y, order):
        """Train on X (n, n_in), y (n, K) in `order`; returns the mean loss, of each minibatch before its update."""
        loss = 0.0
        with np.errstate(over="ignore"):  # see sigmoid
            for start in range(0, len(order), self.batch_size):
                index = order[start : start + self.batch_size]
                x, target = self.a[0][: len(index)], self.target[: len(index)]
                np.take(X, index, axis=0, out=x, mode="clip")
                np.take(y, index, axis=0, out=target, mode="clip")
                loss += self.step(x, target)
        return loss / len(order)

    def step(self, x, y):
        """Train on one minibatch; returns the sum of its losses before the update."""
        B = len(x)
        a = [x]
        for l, W in enumerate(self.W):
            a.append(sigmoid(np.matmul(a[-1], W, out=self.a[l + 1][:B])))

        delta = np.subtract(a[-1], y, out=self.delta[-1][:B])
        loss = float(np.vdot(delta, delta))
        delta *= 2 * self.lr / B  # applied here, since delta_L is the smallest array
        for l in reversed(range(len(self.W))):
            slope = np.subtract(1, a[l + 1], out=self.slope[l][:B])
            slope *= a[l + 1]
            delta *= slope
            dW = np.matmul(a[l].T, delta, out=self.dW[l])
            if l > 0:
                delta = np.matmul(delta, self.W[l].T, out=self.delta[l - 1][:B])
            self.W[l] -= dW
        return loss


def sigmoid(z):
    """1 / (1 + exp(-z)), in place. For large negative z exp overflows to infinity (a warning), and 1/inf is right."""
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    return np.reciprocal(z, out=z)


def softmax(z):
    """Row by row, in place."""
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


WITH_BIAS = {
    ("relu", "softmax", "cross_entropy", "sgd"): NumpyMLP,
    ("tanh", "softmax", "cross_entropy", "adam"): NumpyTanhAdam,
}


def twin_of(problem):
    """The program that trains this problem in NumPy, from its first weights."""
    case = problem.case
    settings = {"batch_size": case.batch, "lr": problem.lr}
    kind = (case.activation, case.output, case.loss, case.optimizer)
    if case.bias and kind in WITH_BIAS:
        return WITH_BIAS[kind]([p for pair in problem.parameters for p in pair], **settings)
    if not case.bias and kind == ("sigmoid", "sigmoid", "squared_error", "sgd"):
        return NumpyLecture([W for W, _ in problem.parameters], **settings)
    raise NotImplementedError(f"{case.describe()}: there is no NumPy program for it")


def predictor(parameters, n):
    """A function of X (n, n_in) that predicts with relu layers and softmax in preallocated arrays; [(W, b), ...]."""
    buffers = [np.empty((n, W.shape[1]), W.dtype) for W, _ in parameters]
    zeros = [np.zeros_like(z) for z in buffers]  # np.maximum is four times as fast as with a scalar
    last = len(parameters) - 1

    def predict(X):
        a = X
        for l, (W, b) in enumerate(parameters):
            a = np.matmul(a, W, out=buffers[l])
            a += b
            if l < last:
                np.maximum(a, zeros[l], out=a)
        return softmax(a)

    return predict
