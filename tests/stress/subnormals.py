"""How much slower is training on numbers that are subnormal, or become so?

    python tests/stress/subnormals.py

Prints the processor time of an epoch, best of several, and its ratio to the same epoch on usual numbers. The core takes
subnormal numbers for 0 (csrc/fpmode.h); without that some processors take up to 70 times as long.
"""

import time

import numpy as np

import mlpfast
from mlpfast import SGD, Adam, Network, Trainer

SHAPES = {"64-128-10, B=64": ([64, 128, 10], 4096, 64), "16-16-4, B=4": ([16, 16, 4], 4096, 4),
          "256-256-10, B=128": ([256, 256, 10], 2048, 128)}


def epoch_seconds(shape, dtype, optimizer, activation, x=1.0, w=1.0, state=None):
    """The best of several epochs; x, w, state: sizes of the inputs, the first weights, and the optimizer's state."""
    sizes, n, batch = SHAPES[shape]
    rng = np.random.default_rng(0)
    X, y = (x * rng.normal(size=(n, sizes[0]))).astype(dtype), np.zeros((n, sizes[-1]), dtype)
    times = []
    for _ in range(7):
        net = Network(sizes, activation=activation, dtype=dtype, seed=0)
        for p in net.parameters:
            p *= np.dtype(dtype).type(w)
        trainer = Trainer(net, "half_squared_error", optimizer, batch_size=batch, seed=0, threads=1)
        if state:
            begun = trainer.state
            for name in optimizer.states:
                begun[name] = [state * rng.random(array.shape) for array in begun[name]]
            trainer.state = begun
        trainer.step(X[:batch], y[:batch])
        start = time.thread_time()
        trainer.fit(X, y)
        times.append(time.thread_time() - start)
    return min(times)


def main():
    print(mlpfast.show_config("dicts")["isa"], mlpfast.show_config("dicts")["compiler"])
    print("| network | dtype | case | ms | ratio |\n|---|---|---|---|---|")
    for shape in SHAPES:
        for dtype in ("float32", "float64"):
            tiny = float(np.finfo(dtype).tiny) / 16
            momentum, adam = SGD(1e-3, momentum=0.9), Adam(1e-3)
            for name, optimizer, activation, cases in [
                ("SGD", SGD(1e-3), "relu", {"subnormal X": dict(x=tiny), "subnormal W": dict(w=tiny),
                                            "both": dict(x=tiny, w=tiny)}),
                ("SGD, tanh", SGD(1e-3), "tanh", {"subnormal X": dict(x=tiny), "subnormal W": dict(w=tiny)}),
                ("momentum", momentum, "relu", {"decaying velocities": dict(x=tiny, w=tiny, state=1e6 * tiny)}),
                ("Adam", adam, "relu", {"subnormal X, W, states": dict(x=tiny, w=tiny, state=tiny)}),
            ]:
                usual = epoch_seconds(shape, dtype, optimizer, activation)
                print(f"| {shape} | {dtype} | {name}, usual | {1e3 * usual:.2f} | 1 |")
                for case, sizes in cases.items():
                    seconds = epoch_seconds(shape, dtype, optimizer, activation, **sizes)
                    print(f"| {shape} | {dtype} | {name}, {case} | {1e3 * seconds:.2f} | {seconds / usual:.2f} |")


if __name__ == "__main__":
    main()
