"""Networks and trainers are made, used and thrown away: does the process grow?

    python tests/stress/leaks.py [rounds] [limit in MB]

The memory is read after a tenth of the rounds, and at the end; fails if it grew by more than the limit. With glibc from
2.33 on these are the bytes that malloc has handed out; elsewhere the resident pages, which come and go by the megabyte.
"""

import ctypes
import os
import sys

import all_rows
import numpy as np

from mlpfast import SGD, Adam, Layer, Network, Trainer, backprop

LIBC = ctypes.CDLL(None)
# glibc gives new threads arenas of their own. With a single arena, mallinfo2 counts every block.
M_ARENA_MAX = -8
if hasattr(LIBC, "mallopt"):
    LIBC.mallopt(M_ARENA_MAX, 1)


class MallInfo2(ctypes.Structure):
    """glibc's struct mallinfo2: hblkhd are bytes in blocks of their own pages, uordblks in all others."""

    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks "
                "fordblks keepcost".split()]


rng = np.random.default_rng(0)
X, y = rng.normal(size=(24, 5)).astype(np.float32), np.arange(24) % 3
others = (X.astype(np.float16), np.asfortranarray(X), X.astype(np.float64)[:, ::-1])
many = np.tile(X, (50, 1)), np.tile(y, 50)  # two chunks for the full-batch optimizers
mask = rng.random((5, 8)) < 0.5


def megabytes():
    """Memory in use."""
    if hasattr(LIBC, "mallinfo2"):
        LIBC.mallinfo2.restype = MallInfo2
        info = LIBC.mallinfo2()
        return (info.hblkhd + info.uordblks) / 2**20
    with open("/proc/self/smaps_rollup") as lines:  # exact; /proc/self/statm holds estimates
        return sum(int(line.split()[1]) for line in lines if line.startswith("Rss:")) / 1024


def one_life(i):
    threads = 2 if i % 50 == 0 else 1  # starting helper threads takes longer than everything else
    net = Network([Layer(5, 8, "prelu", mask=mask), Layer(8, 3, "softmax")], seed=i)
    trainer = Trainer(net, optimizer=(SGD(0.1, 0.9), Adam(0.01))[i % 2], batch_size=7, threads=threads, seed=i)
    trainer.fit(others[i % 3], y)
    trainer.step(X, y)
    trainer.evaluate(X, y)
    net.predict(X)
    net.predict(X[:1])
    net.predict(others[i % 3], threads=threads)
    for bad in ((X[:, :3], y), (X, y + 5), (X * np.nan, y)):
        try:
            trainer.step(*bad)
        except (ValueError, FloatingPointError):
            pass
    if i % 10 == 0:
        backprop.gradients(net, X, y, "cross_entropy")
        for taking_all in all_rows.trainers(net, threads=threads):
            taking_all.fit(*many, epochs=2)


def main(rounds, limit):
    for i in range(rounds // 10):
        one_life(i)
    before = megabytes()
    for i in range(rounds):
        one_life(i)
    grown = megabytes() - before
    print(f"{rounds} rounds: {before:.1f} MB, grown by {grown:.2f} MB; limit {limit} MB")
    return grown > limit


if __name__ == "__main__":
    if os.environ.get("PYTHONMALLOC") != "malloc":  # Python's own allocator takes memory in arenas of a megabyte
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONMALLOC": "malloc"})
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, float(sys.argv[2]) if len(sys.argv) > 2 else 0.3))
