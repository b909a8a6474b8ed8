"""Five optimizers on the digits, from the same first weights and through the same minibatches.

The number: the highest of their losses after the last epoch.
"""

from shared import figure, options, save

import mlpfast
from mlpfast import SGD, Adagrad, Adam, RMSprop

OPTIMIZERS = {
    "SGD": SGD(lr=0.1),
    "momentum": SGD(lr=0.02, momentum=0.9),
    "Adam": Adam(lr=2e-3),
    "RMSprop": RMSprop(lr=2e-3),
    "Adagrad": Adagrad(lr=0.03),
}

chosen = options(__doc__)
X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
epochs = 15 if chosen.quick else 60

histories = {}
for name, optimizer in OPTIMIZERS.items():
    net = mlpfast.Network([64, 64, 64, 10], output="softmax", seed=0)
    trainer = mlpfast.Trainer(net, optimizer=optimizer, batch_size=32, seed=0)
    histories[name] = trainer.fit(X, y, epochs=epochs, validation_data=(X_test, y_test))

print("loss in epoch  " + "".join(f"{name:>10}" for name in histories))
for epoch in sorted({0, 1, 2, 4, 8, epochs // 2, epochs - 1}):
    print(f"{epoch + 1:>13}  " + "".join(f"{history['loss'][epoch]:>10.4f}" for history in histories.values()))
print("test accuracy  " + "".join(f"{history['val_accuracy'][-1]:>10.4f}" for history in histories.values()))

if chosen.plot:
    ax = figure()
    for name, history in histories.items():
        ax.semilogy(history["loss"], label=name)
    ax.set(xlabel="epoch", ylabel="training loss")
    ax.legend()
    save(ax, chosen.plot)
print(f"result: optimizers {max(history['loss'][-1] for history in histories.values()):.4f}")
