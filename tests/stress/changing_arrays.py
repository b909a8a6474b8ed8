"""Trains, evaluates and differentiates while other threads change the arrays' numbers and shapes.

    python tests/stress/changing_arrays.py [rounds]

Nothing may crash, and what is refused is refused by name. Labels of 2^31 - 1 that came through a check would be read
137 GB behind the end of a row. tests/test_arrays.py goes through the moments one by one; here they come by chance.
"""

import sys
import threading
import warnings

import all_rows
import numpy as np

from mlpfast import Network, Trainer, backprop

N, N_OUT = 100_000, 3
warnings.simplefilter("ignore")  # for assigning to shape, and for the mean of NaN


def main(rounds):
    rng, stop, refused = np.random.default_rng(0), threading.Event(), 0
    X, good = rng.normal(size=(N, 2)).astype(np.float32), rng.integers(N_OUT, size=N)
    y, weight, targets = good.astype(np.int32), np.ones(N, np.float32), np.eye(N_OUT, dtype=np.float32)[good]
    net = Network([2, N_OUT], output="softmax", seed=0)
    trainer = Trainer(net, batch_size=1000, threads=2, check_finite=False)

    def change_numbers():
        while not stop.is_set():
            y[-1], weight[-1], targets[-1, 0] = 2**31 - 1, np.nan, np.nan
            y[-1], weight[-1], targets[-1, 0] = good[-1], 1, good[-1] == 0

    def change_shape():
        while not stop.is_set():
            X.shape = 2 * N, 1
            X.shape = N, 2

    calls = [
        lambda: trainer.fit(X, y), lambda: trainer.fit(X, y, sample_weight=weight), lambda: trainer.step(X, y),
        lambda: trainer.fit(X, y, class_weight=[1, 2, 1], validation_split=0.5), lambda: trainer.evaluate(X, y),
        lambda: backprop.gradients(net, X, y, "cross_entropy"), lambda: trainer.fit(X, targets),
        lambda: backprop.residuals(net, X, y, "cross_entropy"), lambda: net.predict(X),
    ]
    for taking_all in all_rows.trainers(Network([2, N_OUT], output="softmax"), threads=2, check_finite=False):
        calls += [
            lambda t=taking_all: t.fit(X, y, epochs=2), lambda t=taking_all: t.fit(X, targets, sample_weight=weight),
        ]
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=change) for change in (change_numbers, change_shape)]
    for thread in threads:
        thread.start()
    try:
        for i in range(rounds):
            try:
                calls[i % len(calls)]()
            except ValueError as error:
                assert "must" in str(error), error
                refused += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    print(f"{rounds} calls, {refused} of them refused")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
