"""
XOR
===

The function that no single layer can learn (Minsky and Papert, 1969): a 2-8-1 network with a tanh layer.

The number: how many of the four rows are wrong.
"""

import numpy as np
from shared import figure, options, save

import mlpfast

chosen = options(__doc__)
X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
y = np.array([0, 1, 1, 0])

net = mlpfast.Network([2, 8, 1], activation="tanh", output="sigmoid", seed=0)
sgd = mlpfast.SGD(lr=0.5, momentum=0.9)
trainer = mlpfast.Trainer(net, "binary_cross_entropy", sgd, batch_size=4, seed=0)
trainer.fit(X, y, epochs=500)

probability = net.predict(X, squeeze=True)
for row, p in zip(X.astype(int), probability, strict=True):
    print(f"{row[0]} xor {row[1]} = {p:.4f}")

if chosen.plot:
    save(mlpfast.plots.decision_boundary(net, X, y, figure()), chosen.plot)
print(f"result: xor {np.count_nonzero((probability > 0.5) != y)}")
