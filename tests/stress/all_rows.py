"""The optimizers that take all rows at once, as far as they can be used here, for the other programs."""

import importlib.util

from mlpfast import LBFGS, NaturalGradient, Trainer


def natural_gradient():
    """One that neither diverges nor takes long."""
    return NaturalGradient(lr=0.1, damping=1, cg_iterations=3)


OPTIMIZERS = [natural_gradient, LBFGS] if importlib.util.find_spec("scipy") else [natural_gradient]


def trainers(net, **settings):
    """A Trainer with each of them."""
    return [Trainer(net, optimizer=optimizer(), batch_size=None, **settings) for optimizer in OPTIMIZERS]
