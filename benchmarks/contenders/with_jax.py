"""JAX on the CPU: a jitted step called from a Python loop, and a whole epoch as one jitted lax.scan."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)  # for the float64 case; the others pass float32 throughout

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


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


def step(parameters, case, lr, X, y, index):
    """One minibatch -> the parameters behind it, its mean loss before the update."""
    loss, gradients = jax.value_and_grad(mean_loss)(parameters, case, X[index], y[index])
    return jax.tree.map(lambda p, g: p - lr * g, parameters, gradients), loss


class JaxEpoch:
    name = "JAX, whole epoch"

    def __init__(self, problem):
        self.case, self.lr, self.steps = problem.case, problem.lr, problem.steps
        if self.steps * self.case.batch != len(problem.X):
            raise ValueError("problem: a scan needs minibatches of one size")
        self.X, self.y = jnp.asarray(problem.X), jnp.asarray(problem.y)
        self.program = self.jitted()
        for _ in range(2):  # the first time compiles, on weights that are thrown away
            # Copied, since donating a buffer gives it away.
            self.parameters = jax.tree.map(lambda p: jnp.array(p, copy=True), problem.parameters)
            if not hasattr(self, "order"):
                self.ready(np.arange(len(problem.X)))
                self.epoch()

    def jitted(self):
        def epoch(parameters, X, y, order):
            def one(parameters, index):
                return step(parameters, self.case, self.lr, X, y, index)

            parameters, losses = jax.lax.scan(one, parameters, order)
            return parameters, losses.mean()

        return jax.jit(epoch, donate_argnums=0)

    def ready(self, order):
        self.order = jnp.asarray(order.reshape(self.steps, self.case.batch).astype(np.int32))

    def epoch(self):
        self.parameters, loss = self.program(self.parameters, self.X, self.y, self.order)
        return self.done(loss)

    def done(self, loss):
        jax.block_until_ready(self.parameters)
        return float(loss)

    def weights(self):
        return [(np.asarray(W), None if b is None else np.asarray(b)) for W, b in self.parameters]


class JaxStep(JaxEpoch):
    name = "JAX, step by step"

    def jitted(self):
        # The number of the step and the sum of the losses stay on JAX's side, so that a call passes no new numbers in.
        def one(parameters, count, X, y, order):
            i, total = count
            parameters, loss = step(parameters, self.case, self.lr, X, y, order[i])
            return parameters, (i + 1, total + loss)

        return jax.jit(one, donate_argnums=(0, 1))

    def epoch(self):
        count = (jnp.zeros((), jnp.int32), jnp.zeros((), self.case.dtype))
        for _ in range(self.steps):
            self.parameters, count = self.program(self.parameters, count, self.X, self.y, self.order)
        return self.done(count[1] / self.steps)


def servers(problem):
    parameters = jax.tree.map(jnp.asarray, problem.parameters)
    predict = jax.jit(lambda x: jax.nn.softmax(logits(problem.case, parameters, x)))

    def call(x):
        return np.asarray(predict(x))

    return {"JAX": partial(call, problem.X)}
