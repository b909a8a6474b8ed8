"""
Random labels
=============

A network that can learn the digits can also memorise them with random labels (Zhang et al., 2017).

So its size alone does not explain why it generalises. The number: the training accuracy on random labels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared import options, save_curves

import mlpfast

chosen = options(__doc__)
X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
if chosen.quick:
    X, y = X[:200], y[:200]
random = np.random.default_rng(0).integers(10, size=len(y))

histories = {}
for name, labels in [("true labels", y), ("random labels", random)]:
    net = mlpfast.Network([64, 256, 256, 10], output="softmax", seed=0)
    trainer = mlpfast.Trainer(net, optimizer=mlpfast.Adam(), batch_size=32, seed=0)

    def all_known(
        trainer: mlpfast.Trainer, epoch: int, logs: dict[str, float], labels: NDArray[Any] = labels
    ) -> bool:
        return logs["accuracy"] == 1 and trainer.evaluate(X, labels)["accuracy"] == 1

    histories[name] = trainer.fit(X, labels, epochs=300, callbacks=[all_known])
    accuracy, test = (trainer.evaluate(*data)["accuracy"] for data in [(X, labels), (X_test, y_test)])
    print(f"{name}: {100 * accuracy:.1f} % of the training set after {histories[name].n_epochs} epochs, "
          f"{100 * test:.1f} % of the test set")

if chosen.plot:
    save_curves(chosen.plot, histories, "accuracy")
print(f"result: random_labels {accuracy:.4f}")
