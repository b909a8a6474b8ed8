"""JAX on the CPU: a jitted step called from a Python loop, and a whole epoch as one jitted lax.scan."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)  # for the float64 case; the others pass float32 throughout

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}


def logits(case, parameters, x):
    for l, (W, b) in enumerate(parameters):
        x = x @ W if b is None else x @ W + b
        if l < len(parameters) - 1:
            x = ACTIVATIONS[case.activation](x)
    return x


def mean_loss(parameters, case, x, y):
    z = logits(case, parameters, x)
    if case.loss == "cross_entropy":
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1).mean()
    return jnp.square(jax.nn.sigmoid(z) - y).sum() / len(x)


def first_state(case, parameters):
    """(parameters, what the optimizer keeps), in buffers of their own: donating one gives it away."""
    like = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
    kept = (*like, jnp.zeros((), case.dtype)) if case.optimizer == "adam" else ()
    return jax.tree.map(lambda p: jnp.array(p, copy=True), parameters), kept


def adam(parameters, kept, gradients, lr, beta1=0.9, beta2=0.999, epsilon=1e-8):
    m, v, t = kept
    t = t + 1
    m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, gradients)
    rate, size = lr / (1 - beta1**t), 1 / (1 - beta2**t)
    return jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v * size) + epsilon), parameters, m, v), (m, v, t)


def step(state, case, lr, X, y, index):
    """One minibatch, or all examples if index is None -> the state behind it, its mean loss before the update."""
    parameters, kept = state
    x, target = (X, y) if index is None else (X[index], y[index])
    loss, gradients = jax.value_and_grad(mean_loss)(parameters, case, x, target)
    if case.optimizer == "adam":
        return adam(parameters, kept, gradients, lr), loss
    return (jax.tree.map(lambda p, g: p - lr * g, parameters, gradients), kept), loss


class JaxEpoch:
    name, library = "JAX, whole epoch", "JAX"

    def __init__(self, problem):
        self.case, self.lr, self.steps = problem.case, problem.lr, problem.steps
        if not self.case.full_batch and self.steps * self.case.batch != len(problem.X):
            raise ValueError("problem: a scan needs minibatches of one size")
        self.X, self.y = jnp.asarray(problem.X), jnp.asarray(problem.y)
        self.program = self.jitted()
        for _ in range(2):  # the first pass compiles; its weights are discarded
            self.state = first_state(self.case, problem.parameters)
            if not hasattr(self, "order"):
                self.ready(problem.order(0))
                self.epoch()

    def jitted(self):
        def epoch(state, X, y, order):
            def one(state, index):
                return step(state, self.case, self.lr, X, y, index)

            state, losses = jax.lax.scan(one, state, order, length=self.steps)
            return state, losses.mean()

        return jax.jit(epoch, donate_argnums=0)

    def ready(self, order):
        rows = None if order is None else order.reshape(self.steps, self.case.batch).astype(np.int32)
        self.order = None if rows is None else jnp.asarray(rows)

    def epoch(self):
        self.state, loss = self.program(self.state, self.X, self.y, self.order)
        return self.done(loss)

    def done(self, loss):
        jax.block_until_ready(self.state)
        return float(loss)

    def weights(self):
        return [(np.asarray(W), None if b is None else np.asarray(b)) for W, b in self.state[0]]


class JaxStep(JaxEpoch):
    name = "JAX, step by step"

    def jitted(self):
        # The step count and the sum of the losses stay on JAX's side, so that a call passes no Python numbers.
        def one(state, count, X, y, order):
            i, total = count
            state, loss = step(state, self.case, self.lr, X, y, None if order is None else order[i])
            return state, (i + 1, total + loss)

        return jax.jit(one, donate_argnums=(0, 1))

    def epoch(self):
        count = (jnp.zeros((), jnp.int32), jnp.zeros((), self.case.dtype))
        for _ in range(self.steps):
            self.state, count = self.program(self.state, count, self.X, self.y, self.order)
        return self.done(count[1] / self.steps)


def servers(problem):
    parameters = jax.tree.map(jnp.asarray, problem.parameters)
    predict = jax.jit(lambda x: jax.nn.softmax(logits(problem.case, parameters, x)))

    def call(x):
        return np.asarray(predict(x))

    return {"JAX": partial(call, problem.X)}
