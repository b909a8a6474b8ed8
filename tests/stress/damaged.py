"""Files with flipped bits, cut off, and spliced together: each is refused with a ValueError, or loaded with exactly
what its bytes say; and mlp_network_load of the C core does the same with each.

    python tests/stress/damaged.py [200000] [seed]
"""

import contextlib
import json
import os
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import mlpfast
from mlpfast import SGD, Adam, Layer, Network, Trainer, _core, activations, callbacks, schedules
from mlpfast.layer import USUAL

DTYPES = {"F32": "<f4", "F64": "<f8", "BOOL": "?", "I64": "<i8"}


def networks():
    mask = np.arange(35).reshape(5, 7) % 3 > 0
    yield Network([Layer(5, 7, activations.ELU(0.5), mask=mask, dropout=0.25), Layer(7, 2, l2=0.125)], seed=2)
    yield Network([Layer(3, 20, activations.PReLU()), Layer(20, 20, "gelu", bias=False, trainable=False),
                   Layer(20, 1)], dtype="float64", seed=3, input_scale=1 / 255, input_transform=([0, 1, 2], [1, 2, 3]))


class Stop(Exception):
    """Ends a fit within an epoch."""

    every_batches = 2

    def on_batch_end(self, trainer, epoch, batch, logs):
        if epoch == 2:
            raise self


def trainers():
    X, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 3
    plateau = schedules.Warmup(2, schedules.ReduceOnPlateau(0.1, patience=1))
    for optimizer in (SGD(schedules.OneCycle(0.1, 20, momentum=(0.5, 0.9), per="step")), Adam(plateau)):
        trainer = Trainer(Network([4, 6, 3], output="softmax", seed=1), optimizer=optimizer, batch_size=4, seed=2)
        own = [callbacks.EarlyStopping("loss", patience=2), callbacks.LearningRateLogger()]
        with contextlib.suppress(Stop):
            trainer.fit(X, y, epochs=3, callbacks=[*own, *([Stop()] if optimizer.rule == "sgd" else [])])
        yield trainer


def load_network(path):
    return mlpfast.load_network(path)


def load_trainer(path):
    return mlpfast.load_trainer(path)


def originals(folder):
    """[(the bytes of a file, the function that loads it)], four of them."""
    files = []
    for load, things in ((load_network, networks()), (load_trainer, trainers())):
        for thing in things:
            path = Path(folder) / str(len(files))
            thing.save(path, sync=False)
            files.append((path.read_bytes(), load))
    return files


# ---- Damage ----


def flipped(data, others, draw):
    data = bytearray(data)
    most = len(data) if draw.random() < 0.5 else min(len(data), 8 + int.from_bytes(data[:8], "little"))
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        data[draw.randrange(most)] ^= 1 << draw.randrange(8)
    return bytes(data)


def cut(data, others, draw):
    a, b = sorted((draw.randrange(len(data) + 1), draw.randrange(len(data) + 1)))
    return draw.choice((data[:a], data[a:], data[:a] + data[b:]))


def spliced(data, others, draw):
    other = draw.choice(others)
    a, b = draw.randrange(len(data) + 1), draw.randrange(len(other) + 1)
    if draw.random() < 0.5:
        return data[:a] + other[b:]
    n = draw.randrange(1, 40)
    return data[:a] + other[b : b + n] + data[a + draw.choice((0, n)) :]


def rewritten(data, others, draw):
    """A number or a letter of the header is another, and its length is right: damage that looks like a file."""
    n = int.from_bytes(data[:8], "little")
    header = bytearray(data[8 : 8 + n])
    for _ in range(draw.choice((1, 1, 2))):
        at = draw.randrange(n)
        header[at : at + draw.choice((0, 1, 1, 1))] = draw.choice('019-.e[}"').encode()
    return len(header).to_bytes(8, "little") + bytes(header) + data[8 + n :]


KINDS = (flipped, cut, spliced, rewritten)


# ---- What the bytes say, read by another few lines ----


def said(data):
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], tuple(entry["shape"]), data[8 + n + begin : 8 + n + end])
    return metadata, tensors


def is_usual(key, text):
    """Whether a setting need not be there, or is replaced: of another order of sums there is a warning."""
    if key == "order":
        return True
    name = key.split(".")[-1]
    usual = {"true": True, "false": False}.get(text, text)
    if text.lstrip("-").startswith("0x"):
        usual = float.fromhex(text)
    return name in USUAL and USUAL[name] == usual


def agrees(data, thing, path):
    """Whether what has been loaded, saved again, says the same as data."""
    thing.save(path, sync=False)
    (metadata, tensors), (again, tensors_again) = said(data), said(Path(path).read_bytes())
    left = {key: text for key, text in metadata.items() if again.get(key) != text}
    return tensors == tensors_again and again.keys() <= metadata.keys() and all(map(is_usual, left, left.values()))


def differs_in_c(data, path):
    """What the C core makes of a file's network otherwise than load_network, or None."""
    try:
        mlpfast.load_network(path).save(path, sync=False)
        again = Path(path).read_bytes()
    except ValueError:
        again = None
    problem, by_c, _ = _core.through_c(data)
    if problem is not None and problem.startswith("status 11:"):  # a schedule, which Python has
        return None
    return None if by_c == again else f"by C: {problem or 'loaded something else'}"


def attack(files, n, seed, path):
    """(how many were refused, how many loaded, [what went wrong])"""
    draw, refused, loaded, wrong = random.Random(seed), 0, 0, []
    others = [data for data, _ in files]
    for number in range(n):
        data, load = draw.choice(files)
        kind = draw.choice(KINDS)
        damaged = kind(data, others, draw)
        Path(path).write_bytes(damaged)
        differs = differs_in_c(damaged, path)
        if differs:
            wrong.append((number, kind.__name__, differs))
        Path(path).write_bytes(damaged)
        try:
            thing = load(path)
        except ValueError:
            refused += 1
            continue
        except Exception as error:
            wrong.append((number, kind.__name__, repr(error)))
            continue
        loaded += 1
        if not agrees(damaged, thing, path):
            wrong.append((number, kind.__name__, "loaded something else"))
    return refused, loaded, wrong


def workplace():
    """A folder in memory, if there is one."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)


def main(n=200_000, seed=0):
    warnings.simplefilter("ignore", RuntimeWarning)  # NaN and infinity
    start = time.perf_counter()
    with workplace() as folder:
        refused, loaded, wrong = attack(originals(folder), n, seed, Path(folder) / "damaged")
    print(f"{n} damaged files: {refused} refused, {loaded} loaded as they are, {len(wrong)} wrong, "
          f"{time.perf_counter() - start:.0f} s")
    for line in wrong[:20]:
        print(*line)
    return not wrong


if __name__ == "__main__":
    sys.exit(not main(*map(int, sys.argv[1:])))
