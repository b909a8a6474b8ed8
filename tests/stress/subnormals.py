"""How much slower is training on numbers that are subnormal, or become so?

    python tests/stress/subnormals.py [--quick]        the first network, with fewer rows and rounds

Prints the processor time of an epoch, best of several, and its ratio to the same epoch on usual numbers; the exit code
is 1 if any is LIMIT or more. The core takes subnormal numbers for 0 (csrc/fpmode.h); without that some processors take
up to 70 times as long.
"""

import sys
import time
from pathlib import Path

import numpy as np

import mlpfast
from mlpfast import SGD, Adam, Network, Trainer

sys.path.append(str(Path(__file__).resolve().parents[2]))  # at the end, so that the installed mlpfast is imported
from benchmarks.machine import cpu_model  # noqa: E402

LIMIT = 10
SHAPES = {"64-128-10, B=64": ([64, 128, 10], 4096, 64), "16-16-4, B=4": ([16, 16, 4], 4096, 4),
          "256-256-10, B=128": ([256, 256, 10], 2048, 128)}


def cases(tiny):
    """[(name, optimizer, activation, {case: sizes of the inputs x, of the weights w, of the optimizer's state})]"""
    sizes = {"subnormal X": dict(x=tiny), "subnormal W": dict(w=tiny)}
    return [
        ("SGD", SGD(1e-3), "relu", {**sizes, "both": dict(x=tiny, w=tiny)}),
        ("SGD, tanh", SGD(1e-3), "tanh", sizes),
        ("momentum", SGD(1e-3, momentum=0.9), "relu", {"decaying velocities": dict(x=tiny, w=tiny, state=1e6 * tiny)}),
        ("Adam", Adam(1e-3), "relu", {"subnormal X, W, states": dict(x=tiny, w=tiny, state=tiny)}),
    ]


def epoch_seconds(shape, rows, dtype, optimizer, activation, x=1.0, w=1.0, state=None):
    sizes, _, batch = SHAPES[shape]
    rng = np.random.default_rng(0)
    X, y = (x * rng.normal(size=(rows, sizes[0]))).astype(dtype), np.zeros((rows, sizes[-1]), dtype)
    net = Network(sizes, activation=activation, dtype=dtype, seed=0)
    for p in net.parameters:
        p *= np.dtype(dtype).type(w)
    trainer = Trainer(net, "half_squared_error", optimizer, batch_size=batch, seed=0, threads=1)
    if state:
        states = {
            name: [(state * rng.random(p.shape)).astype(dtype) for p in net.parameters] for name in optimizer.states
        }
        trainer.state = {**trainer.state, **states}
    trainer.step(X[:batch], y[:batch])
    start = time.thread_time()
    trainer.fit(X, y)
    return time.thread_time() - start


def main(quick):
    config, ratios = mlpfast.show_config("dicts"), {}
    print(f"{cpu_model()}; {config['isa']}, {config['compiler']}")
    print("| network | dtype | case | ms | ratio |\n|---|---|---|---|---|")
    for shape in list(SHAPES)[: 1 if quick else None]:
        rows = SHAPES[shape][1] // (8 if quick else 1)
        for dtype in ("float32", "float64"):
            for name, optimizer, activation, sizes in cases(float(np.finfo(dtype).tiny) / 16):
                sizes, best = {"usual": {}, **sizes}, {}
                for _ in range(3 if quick else 7):  # in turns, so that a disturbance affects all alike
                    for case, given in sizes.items():
                        seconds = epoch_seconds(shape, rows, dtype, optimizer, activation, **given)
                        best[case] = min(seconds, best.get(case, seconds))
                for case, seconds in best.items():
                    where, ratio = f"{shape} | {dtype} | {name}, {case}", seconds / best["usual"]
                    print(f"| {where} | {1e3 * seconds:.2f} | {ratio:.2f} |", flush=True)
                    ratios[where] = ratio
    slow = [where for where, ratio in ratios.items() if ratio >= LIMIT]
    worst = max(ratios, key=ratios.get)
    print(f"{len(slow)} of {len(ratios)} are {LIMIT} times slower or more; worst: {worst}: {ratios[worst]:.2f}")
    for where in slow:
        print(f"too slow: {where}: {ratios[where]:.2f}")
    return bool(slow)


if __name__ == "__main__":
    sys.exit(main("--quick" in sys.argv[1:]))
