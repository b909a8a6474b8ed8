"""Solvers "adam" and "sgd", and their learning rates, as scikit-learn has them."""

import copy

from ..optimizers import SGD, Adam


class Solver:
    """A learning rate that stays as it is. learning_rate: the present one."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    @property
    def learning_rate(self):
        return self.optimizer.lr

    def iteration_ends(self, trainer, t):
        """After an epoch; t: the number of rows trained on so far."""

    def trigger_stopping(self, trainer, message, verbose):
        """Nothing has improved for long -> whether training ends."""
        if verbose:
            print(f"{message} Stopping.")
        return True


class Scheduled(Solver):
    """SGD with a rate that changes between epochs. kind: learning_rate of the estimator."""

    def __init__(self, optimizer, kind, power_t):
        super().__init__(optimizer)
        self.kind, self.power_t, self.first = kind, power_t, optimizer.lr

    def iteration_ends(self, trainer, t):
        if self.kind == "invscaling":
            self._change(trainer, self.first / (t + 1) ** self.power_t)

    def trigger_stopping(self, trainer, message, verbose):
        if self.kind != "adaptive":
            return super().trigger_stopping(trainer, message, verbose)
        if self.learning_rate <= 1e-6:
            return super().trigger_stopping(trainer, f"{message} Learning rate too small.", verbose)
        self._change(trainer, self.learning_rate / 5)
        if verbose:
            print(f"{message} Setting learning rate to {self.learning_rate:f}")
        return False

    def _change(self, trainer, rate):
        """scikit-learn's velocity is ours times -lr, with the lr of each of its steps: what it has gathered is kept
        when the rate changes."""
        old, self.optimizer.lr = self.optimizer.lr, rate
        state = trainer.state
        if "velocity" in state:
            state["velocity"] = [v * (old / rate) for v in state["velocity"]]
            trainer.state = state


def solver_of(estimator):
    """For the estimator's parameters."""
    rate = float(estimator.learning_rate_init)
    if estimator.optimizer is not None:
        return Solver(copy.deepcopy(estimator.optimizer))  # its schedule may have a state: each fit begins anew
    if estimator.solver == "sgd":
        momentum = float(estimator.momentum)
        optimizer = SGD(rate, momentum, bool(estimator.nesterovs_momentum) and momentum > 0)
        if estimator.learning_rate != "constant":
            return Scheduled(optimizer, estimator.learning_rate, estimator.power_t)
        return Solver(optimizer)
    beta1, beta2 = float(estimator.beta_1), float(estimator.beta_2)
    return Solver(Adam(rate, beta1, beta2, float(estimator.epsilon), epsilon_hat=True))
