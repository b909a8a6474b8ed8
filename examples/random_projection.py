"""
Random projections
==================

A fixed random layer below a trained one: the signs of random projections preserve the angles between images
(Charikar, 2002), and a linear layer on many of them classifies digits. Rosenblatt's perceptron (1958) had this
structure.

The number: the test accuracy at the greatest width.
"""

from shared import figure, options, save

import mlpfast

chosen = options(__doc__)
X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
X, X_test = X - X.mean(axis=0), X_test - X.mean(axis=0)  # planes through the middle of the data cut it best


def accuracy(layers, lr=1e-3):
    net = mlpfast.Network(layers, seed=0)
    trainer = mlpfast.Trainer(net, optimizer=mlpfast.Adam(lr), batch_size=32, l2=1e-3, seed=0)
    trainer.fit(X, y, epochs=10 if chosen.quick else 60)
    return trainer.evaluate(X_test, y_test)["accuracy"]


linear = accuracy([mlpfast.Layer(64, 10, "softmax")], lr=1e-2)  # 64 inputs need longer steps than 3000
print(f"linear, without the random layer: {100 * linear:.1f} %")
widths, found = [30, 300, 3000] if chosen.quick else [10, 30, 100, 300, 1000, 3000], []
for width in widths:
    frozen = mlpfast.Layer(64, width, "sign", init="normal", bias=False, trainable=False)
    found.append(accuracy([frozen, mlpfast.Layer(width, 10, "softmax")]))
    print(f"{width:>5} random signs: {100 * found[-1]:.1f} %")

if chosen.plot:
    ax = figure()
    ax.semilogx(widths, found, "o-")
    ax.set(xlabel="random signs", ylabel="test accuracy")
    save(ax, chosen.plot)
print(f"result: random_projection {found[-1]:.4f}")
