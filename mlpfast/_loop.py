"""What a Trainer asks of an optimizer's `loop`, of which there are two kinds: minibatches.py trains in the core, and
full_batch.py takes all rows at once, driven from Python."""


class Loop:
    """Has no state: one object serves every Trainer."""

    fused = False  # whether a step, from the rows to the parameters, is one call of the core

    def check(self, trainer):
        """ValueError if the trainer asks for what its optimizer cannot do."""

    def fit(self, trainer, rows, epochs, begin, end):
        """Train for that many epochs on rows, a TrainingRows. begin(): called before each; end(sums, **logs): after
        each, with what `epoch` returns -> whether to stop."""
        for _ in range(epochs):
            begin()
            sums, logs = trainer.optimizer.loop.epoch(trainer, rows)  # a callback may have set another optimizer
            if end(sums, **logs):
                break

    def epoch(self, trainer, rows):
        """One epoch -> (the sums of losses, of weights, of right labels and of rows with all labels right, more numbers
        for the logs)."""
        raise NotImplementedError

    def step(self, trainer, data):
        """One step on all rows of data -> their mean loss before it."""
        raise NotImplementedError

    def apply(self, trainer, gradients):
        """One step from gradients that the caller gives."""
        raise NotImplementedError
