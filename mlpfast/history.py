"""The numbers of each epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._types import PathLike


class History(dict[str, list[float]]):
    """A dict of lists with one entry per epoch: "loss"; where they apply "accuracy", "exact_match", "objective",
    metrics, "val_loss", "val_accuracy" and metrics of the validation data as "val_..."; and what callbacks add.

    "loss" (L), and for losses with classes "accuracy" and "exact_match", are means over the epoch's minibatches, each
    computed before its own update, with dropout and noise. All others are computed with the network at the end of the
    epoch. With penalties, "objective" is J = L + (l2/2) sum W^2 + l1 sum |W| over the trainable weights.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> net = mlpfast.Network([64, 32, 10], output="softmax", seed=0)
    >>> history = mlpfast.Trainer(net, optimizer="adam", seed=0).fit(X, y, epochs=3, validation_split=0.2)
    >>> list(history)
    ['loss', 'accuracy', 'val_loss', 'val_accuracy']
    >>> [round(accuracy, 2) for accuracy in history["val_accuracy"]]
    [0.34, 0.51, 0.6]
    """

    def append(self, logs: Mapping[str, float]) -> None:
        """Add one epoch's numbers, logs {name: value}; earlier epochs without a name have NaN there. It raises no
        errors.

        >>> import mlpfast
        >>> history = mlpfast.History()
        >>> history.append({"loss": 0.5})
        >>> history.append({"loss": 0.25, "mae": 0.75})
        >>> dict(history)
        {'loss': [0.5, 0.25], 'mae': [nan, 0.75]}
        """
        done = self.n_epochs
        for name, value in logs.items():
            values = self.setdefault(name, [])
            values += [math.nan] * (done - len(values)) + [value]  # NaN for earlier epochs without it

    def add_to_last(self, logs: Mapping[str, float]) -> None:
        """Add to the last epoch those of logs, {name: value}, that it does not have yet. It raises no errors.

        >>> import mlpfast
        >>> history = mlpfast.History(loss=[0.5, 0.25])
        >>> history.add_to_last({"loss": 9.0, "mae": 0.75})
        >>> dict(history)
        {'loss': [0.5, 0.25], 'mae': [nan, 0.75]}
        """
        done = self.n_epochs
        for name, value in logs.items():
            values = self.setdefault(name, [])
            if len(values) < done:
                values += [math.nan] * (done - 1 - len(values)) + [value]

    def plot(self, path: PathLike | None = None, ax: Any = None) -> Any:
        """Plot the losses over the epochs, and metrics on a second axis; returns matplotlib's Axes.

        path: a file to write, whose suffix is the format.
        ax: the Axes to draw into; None creates a figure.
        Needs matplotlib, else ImportError: pip install "mlpfast[plots]". ValueError without an epoch, TypeError for a
        path that is none. Learning rates and momenta are not drawn.

        >>> import mlpfast
        >>> history = mlpfast.History(loss=[0.5, 0.25], val_loss=[0.6, 0.4])
        >>> axes = history.plot("losses.png")
        >>> axes.get_xlabel(), axes.get_ylabel()
        ('epoch', 'loss')
        """
        from .plots import plot_history  # here, since it is rarely needed

        return plot_history(self, path, ax)

    @property
    def n_epochs(self) -> int:
        """The number of epochs: the length of the longest list.

        >>> import mlpfast
        >>> mlpfast.History(loss=[0.5, 0.25]).n_epochs
        2
        """
        return max(map(len, self.values()), default=0)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.items() if values)
        return f"<History of {self.n_epochs} epochs{': last ' + last if last else ''}>"
