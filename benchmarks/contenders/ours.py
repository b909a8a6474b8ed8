"""mlpfast."""

from functools import partial

import numpy as np

from mlpfast import SGD, Adam, Trainer, set_num_threads

from ..cases import SEED
from ..settings import cores

OPTIMIZERS = {"sgd": SGD, "adam": Adam}


class Mlpfast:
    """Trainer.fit; its time includes argument checks, drawing the order, and gathering.

    threads: None: chosen by mlpfast. X replaces that of the problem, loss and optimizer those of the case; settings are
    arguments of the Trainer.
    """

    name, library = "mlpfast", None

    def __init__(self, problem, *, X=None, input_scale=1.0, dropout=0.0, loss=None, optimizer=None, sample_weight=None,
                 **settings):
        case = problem.case
        self.X, self.y = problem.X if X is None else X, problem.y
        self.sample_weight = sample_weight
        self.network = case.network(dropout)
        self.network.input_scale = input_scale
        optimizer = optimizer or OPTIMIZERS[case.optimizer](lr=problem.lr)
        self.trainer = Trainer(
            self.network, loss or case.loss, optimizer, batch_size=case.batch, shuffle=not case.full_batch, seed=SEED,
            **settings,
        )
        self.epochs = problem.steps if case.full_batch else 1

    def ready(self, order):
        """fit draws the same order from SEED and the number of epochs done."""
        use_all_cores()

    def epoch(self):
        history = self.trainer.fit(self.X, self.y, epochs=self.epochs, sample_weight=self.sample_weight)
        return sum(history["loss"]) / self.epochs

    def weights(self):
        return [(layer.W, layer.b) for layer in self.network.layers]


def use_all_cores():
    """Makes mlpfast independent of torch.set_num_threads(1), which affects all libraries with the same OpenMP
    runtime."""
    set_num_threads(cores())


def servers(problem):
    network = problem.case.network()
    out = np.empty((len(problem.X), network.n_out), network.dtype)
    predict = partial(network.predict, problem.X, out=out)
    predict.ready = use_all_cores
    return {"mlpfast": predict}
