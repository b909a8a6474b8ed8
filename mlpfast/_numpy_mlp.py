"""The same training in plain NumPy, which mlpfast is timed against.

    z_l = a_{l-1} W_l + b_l,   a_l = max(z_l, 0),   yhat = softmax(z_L)
    delta_L = yhat - y,        delta_l = (delta_{l+1} W_{l+1}^T) * (z_l > 0)
    V = momentum V + lr/B a_{l-1}^T delta_l,   W_l = W_l - V,   b_l likewise with the sum of delta_l's rows

Optimized for speed: large arrays are allocated once and written in place.
"""

import numpy as np


class NumpyMLP:
    """ReLU layers and a softmax output with cross-entropy, trained by SGD with momentum.

    parameters: [W_1, b_1, W_2, b_2, ...] as in Network.parameters; they are copied.
    """

    def __init__(self, parameters, *, batch_size, lr, momentum=0.0):
        self.W, self.b = ([p.copy() for p in parameters[i::2]] for i in (0, 1))
        self.batch_size, self.lr, self.momentum = batch_size, lr, momentum
        self.dW = [np.empty_like(W) for W in self.W]
        self.VW, self.Vb = ([np.zeros_like(p) for p in kind] for kind in (self.W, self.b))
        dtype = self.W[0].dtype
        widths = [len(self.W[0]), *(len(b) for b in self.b)]
        self.a = [np.empty((batch_size, n), dtype) for n in widths]
        self.delta = [np.empty((batch_size, n), dtype) for n in widths[1:]]
        self.rows = np.arange(batch_size)
        self.zeros = np.zeros((batch_size, max(widths)), dtype)  # np.maximum is four times as fast as with a scalar

    def epoch(self, X, y, order):
        """Train on X (n, n_in), y (n,) in `order`; returns the mean loss, of each minibatch before its update."""
        loss = 0.0
        for start in range(0, len(order), self.batch_size):
            index = order[start : start + self.batch_size]
            x = self.a[0][: len(index)]
            np.take(X, index, axis=0, out=x, mode="clip")  # mode="raise" would make another copy
            loss += self.step(x, y[index])
        return loss / len(order)

    def step(self, x, y):
        """Train on one minibatch; returns the sum of its losses before the update."""
        B = len(x)
        a = self.forward(x)
        z = a[-1]
        z -= z.max(axis=1, keepdims=True)
        z_label = z[self.rows[:B], y]
        yhat = np.exp(z, out=z)
        total = yhat.sum(axis=1, keepdims=True)
        loss = float(np.log(total).sum() - z_label.sum())
        yhat /= total

        delta = yhat
        delta[self.rows[:B], y] -= 1
        delta *= self.lr / B  # applied here, since delta_L is the smallest array
        for l in reversed(range(len(self.W))):
            dW, db = np.matmul(a[l].T, delta, out=self.dW[l]), delta.sum(axis=0)
            if l > 0:
                delta = np.matmul(delta, self.W[l].T, out=self.delta[l - 1][:B])
                self.through_derivative(delta, a[l])
            self.update(self.W[l], self.VW[l], dW)
            self.update(self.b[l], self.Vb[l], db)
        return loss

    def forward(self, x):
        """[x, a_1, ..., a_{L-1}, z_L]."""
        a = [x]
        for l, (W, b) in enumerate(zip(self.W, self.b, strict=True)):
            z = np.matmul(a[-1], W, out=self.a[l + 1][: len(x)])
            z += b
            if l < len(self.W) - 1:
                self.activate(z)
            a.append(z)
        return a

    def activate(self, z):
        np.maximum(z, self.zeros[: len(z), : z.shape[1]], out=z)

    def through_derivative(self, delta, a):
        delta *= a > 0

    def update(self, parameter, V, step):
        if self.momentum:
            V *= self.momentum
            V += step
            step = V
        parameter -= step
