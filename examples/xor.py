"""XOR, which no single layer can learn: a 2-8-1 network with a tanh layer."""

import numpy as np

import mlpfast

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
y = np.array([0, 1, 1, 0])

net = mlpfast.Network([2, 8, 1], activation="tanh", output="sigmoid", seed=0)
sgd = mlpfast.SGD(lr=0.5, momentum=0.9)
trainer = mlpfast.Trainer(net, "binary_cross_entropy", sgd, batch_size=4, seed=0)
trainer.fit(X, y, epochs=500)

predicted = net.predict(X)[:, 0] > 0.5
print(f"{np.count_nonzero(predicted != y)} errors")
