"""
MNIST
=====

784-128-10 on MNIST: python mnist.py FOLDER, the folder that holds its four files."""

import sys

import mlpfast

if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
    sys.exit(__doc__)
X_train, y_train, X_test, y_test = mlpfast.datasets.load_mnist(sys.argv[1])

# The images stay bytes; input_scale brings them to [0, 1] as they are read.
net = mlpfast.Network([784, 128, 10], output="softmax", seed=0, input_scale=1 / 255)
trainer = mlpfast.Trainer(net, optimizer=mlpfast.SGD(lr=0.4), batch_size=64, seed=0)
trainer.fit(X_train, y_train, epochs=5, validation_data=(X_test, y_test), progress=True)

accuracy = trainer.evaluate(X_test, y_test)["accuracy"]
print(f"test accuracy {100 * accuracy:.2f} %")
