"""What a Trainer asks of an optimizer's `loop`, of which there are two kinds: minibatches.py trains in the core, and
full_batch.py takes all rows at once, driven from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._core import Data
    from ._run import Run
    from ._types import ArrayLike
    from .minibatches import TrainingRows
    from .trainer import Trainer


class Loop:
    """Has no state: one object serves every Trainer."""

    fused = False  # whether a step, from the rows to the parameters, is one call of the core

    def check(self, trainer: Trainer) -> None:
        """ValueError if the trainer asks for what its optimizer cannot do."""

    def fit(self, trainer: Trainer, rows: TrainingRows, epochs: int, run: Run) -> None:
        """Train for that many epochs on rows, a TrainingRows. run: a Run, which is told of their begins and ends."""
        for _ in range(epochs):
            run.begin()
            done = trainer.optimizer.loop.epoch(trainer, rows, run)  # a callback may have set another optimizer
            if done is None or run.end(done[0], **done[1]):
                break

    def epoch(self, trainer: Trainer, rows: TrainingRows, run: Run) -> tuple[Any, dict[str, float]] | None:
        """One epoch -> (the sums of losses, of weights, of right labels and of rows with all labels right, more numbers
        for the logs); None where run.batch_end, called after minibatches, has ended the training."""
        raise NotImplementedError

    def step(self, trainer: Trainer, data: Data) -> float:
        """One step on all rows of data -> their mean loss before it."""
        raise NotImplementedError

    def apply(self, trainer: Trainer, gradients: Sequence[ArrayLike]) -> None:
        """One step from gradients that the caller gives."""
        raise NotImplementedError
