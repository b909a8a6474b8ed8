"""
Noise on the inputs
===================

To each row that a step sees, new normal numbers of the deviation s are added. For a linear layer and the half squared
error this is ridge regression with l2 = s^2, since the mean over the noise e is

    E 1/2 ((x + e) w - y)^2 = 1/2 (x w - y)^2 + s^2/2 |w|^2

and for other networks it is, for small s, a penalty on the slopes of the output (Bishop, 1995): the output must not
change much near an example. The slope in the table is the root mean square of d loss / dX over the test digits. So a
network that was trained with noise also bears noise better.

The number: the distance of the weights that training with noise finds from those of ridge regression, relative to the
distance of these from those without any penalty.
"""

import numpy as np
from shared import figure, options, save

import mlpfast
from mlpfast import schedules

chosen = options(__doc__)
rng = np.random.default_rng(0)

# ---- a linear layer
n, deviation, epochs = 50, 0.5, 500 if chosen.quick else 5000
A = rng.normal(size=(n, 5)) * [2, 1, 1, 0.5, 0.5]
b = A @ np.ones(5) + 0.1 * rng.normal(size=n)
net = mlpfast.Network([mlpfast.Layer(5, 1, init="zeros", bias=False)], dtype="float64", input_noise=deviation, seed=0)
sgd = mlpfast.SGD(schedules.Cosine(0.05, total=epochs))
mlpfast.Trainer(net, "half_squared_error", sgd, batch_size=10, seed=0).fit(A, b, epochs=epochs)
free, ridge = (np.linalg.solve(A.T @ A + n * l2 * np.eye(5), A.T @ b) for l2 in (0, deviation**2))
found = net.layers[0].W[:, 0]
print("weights of the linear layer")
for name, w in (("no penalty", free), ("ridge regression", ridge), ("trained with noise", found)):
    print(f"{name:<19}" + "".join(f"{number:>8.3f}" for number in w))

# ---- digits, and test digits with noise
X, y, X_test, y_test = mlpfast.datasets.load_digits(split=True)
test_noise = [0, 0.2, 0.4, 0.6]
draws = rng.normal(size=X_test.shape).astype("float32")
accuracies = {}
print("\nright of test digits with noise of deviation" + "".join(f"{s:>9}" for s in test_noise) + "    slope")
for of_training in (0, 0.2, 0.4):
    net = mlpfast.Network([64, 64, 10], output="softmax", input_noise=of_training, seed=0)
    trainer = mlpfast.Trainer(net, optimizer=mlpfast.Adam(lr=0.003), batch_size=32, seed=0)
    trainer.fit(X, y, epochs=30 if chosen.quick else 200)
    numbers = [trainer.evaluate(X_test + s * draws, y_test)["accuracy"] for s in test_noise]
    accuracies[of_training] = numbers
    _, dX = mlpfast.backprop.gradients(net, X_test, y_test, "cross_entropy", inputs=True)
    slope = np.sqrt(np.mean(dX**2, dtype="float64"))
    print(f"trained with noise of deviation {of_training:<12}" + "".join(f"{100 * p:>7.1f} %" for p in numbers)
          + f"{slope:>9.3f}")

if chosen.plot:
    ax = figure()
    for of_training, numbers in accuracies.items():
        ax.plot(test_noise, numbers, "o-", label=f"trained with {of_training}")
    ax.set(xlabel="deviation of the noise on test digits", ylabel="accuracy")
    ax.legend()
    save(ax, chosen.plot)
print(f"result: noise {np.linalg.norm(found - ridge) / np.linalg.norm(free - ridge):.3g}")
