"""What happened in each epoch."""

import math


class History(dict):
    """A dict of lists, one entry per epoch: "loss", and as they apply "accuracy", "exact_match", "objective", metrics,
    "val_loss", "val_accuracy", metrics of the validation data as "val_...", and what callbacks add.

    "loss" (L), and of the losses with classes "accuracy" and "exact_match", are means over the epoch's minibatches,
    each before its own update and under dropout and noise. All else is of the network at the epoch's end. With
    penalties, "objective" is J = L + (l2/2) sum W^2 + l1 sum |W| over the weights that are trained.
    """

    def append(self, logs):
        """Add one epoch's numbers, {name: value}."""
        done = self.n_epochs
        for name, value in logs.items():
            values = self.setdefault(name, [])
            values += [math.nan] * (done - len(values)) + [value]  # NaN for the epochs that did not have it

    def add_to_last(self, logs):
        """Take from logs the names that the last epoch does not have yet."""
        done = self.n_epochs
        for name, value in logs.items():
            values = self.setdefault(name, [])
            if len(values) < done:
                values += [math.nan] * (done - 1 - len(values)) + [value]

    def plot(self, path=None, ax=None):
        """Draw the losses over the epochs, and beside them the metrics on an axis of their own -> matplotlib's Axes.

        path: a file to write it to, in the format of its ending. ax: the Axes to draw into; None makes a figure.
        Needs matplotlib: pip install "mlpfast[plots]". Learning rates and momenta are not drawn.
        """
        from .plots import plot_history  # here, because few need it

        return plot_history(self, path, ax)

    @property
    def n_epochs(self):
        return max((len(values) for values in self.values()), default=0)

    def __repr__(self):
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.items() if values)
        return f"<History of {self.n_epochs} epochs{': last ' + last if last else ''}>"
