"""
Seven optimizers
================

All on the digits, from the same first weights.

Five go through the same minibatches, 45 steps an epoch. L-BFGS and the natural gradient take all rows at once, one step
an epoch: a step of L-BFGS is about one pass through the data, one of the natural gradient up to a hundred, which solve
for its direction. L-BFGS needs SciPy, pip install "mlpfast[lbfgs]", and is left out without it. The first weights are
He's: from smaller ones both need more steps, and the natural gradient, which looks at no step's loss, may go astray.

The number: the highest of their losses in the last epoch.
"""

from shared import options, save_curves

import mlpfast
from mlpfast import LBFGS, SGD, Adagrad, Adam, NaturalGradient, RMSprop

OPTIMIZERS = {
    "SGD": SGD(lr=0.1),
    "momentum": SGD(lr=0.02, momentum=0.9),
    "Adam": Adam(lr=2e-3),
    "RMSprop": RMSprop(lr=2e-3),
    "Adagrad": Adagrad(lr=0.03),
    "L-BFGS": LBFGS(),
    "natural gradient": NaturalGradient(),
}

chosen = options(__doc__)
X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
epochs = 30 if chosen.quick else 60
shown = [0, 1, 2, 4, 8, epochs // 2 - 1, epochs - 1]

histories = {}
print(f"{'loss in epoch':<17}" + "".join(f"{epoch + 1:>9}" for epoch in shown) + "   test accuracy")
for name, optimizer in OPTIMIZERS.items():
    net = mlpfast.Network([64, 64, 64, 10], output="softmax", init="he_normal", output_init="xavier_normal", seed=0)
    batch_size = None if name in ("L-BFGS", "natural gradient") else 32
    trainer = mlpfast.Trainer(net, optimizer=optimizer, batch_size=batch_size, seed=0)
    try:
        history = trainer.fit(X, y, epochs=epochs, validation_data=(X_test, y_test))
    except ImportError as error:
        print(f"{name} is left out: {error}")
        continue
    histories[name] = history
    losses = [history["loss"][min(epoch, history.n_epochs - 1)] for epoch in shown]  # L-BFGS may converge earlier
    print(f"{name:<17}" + "".join(f"{loss:>9.2g}" for loss in losses) + f"{100 * history['val_accuracy'][-1]:>14.1f} %")

if chosen.plot:
    save_curves(chosen.plot, histories, "loss", yscale="log")
print(f"result: optimizers {max(history['loss'][-1] for history in histories.values()):.4f}")
