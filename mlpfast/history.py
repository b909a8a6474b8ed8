"""What happened in each epoch."""


class History(dict):
    """A dict of lists, one entry per epoch: "loss", and as they apply "accuracy", "val_loss", "val_accuracy".

    "loss" and "accuracy" are means over the epoch's minibatches, each before its own update.
    """

    def append(self, logs):
        """Add one epoch's numbers, {name: value}."""
        for name, value in logs.items():
            self.setdefault(name, []).append(value)

    @property
    def n_epochs(self):
        return max((len(values) for values in self.values()), default=0)

    def __repr__(self):
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.items() if values)
        return f"<History of {self.n_epochs} epochs{': last ' + last if last else ''}>"
