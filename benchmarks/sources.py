"""Training from a Parquet file beside PyTorch's DataLoader over the same file, and beside the same rows in memory.

    python -m benchmarks.sources [--rows 1e7] [--folder /tmp] [--quick]

Float32, 40 columns and a class. Programs take turns; rates are rows a second. A turn of mlpfast is a fit of two epochs.
Of PyTorch there are three: a DataLoader of rows, which it makes minibatches of, as most programs have it; one of whole
minibatches, cut by hand from shuffled row groups, which is the fastest; and the same in two worker processes. A turn of
theirs is so many minibatches of an epoch that their rate is seen.
"""

import argparse
import os
import statistics
import time

import numpy as np

import mlpfast
from mlpfast import data

from .machine import describe

COLUMNS, CLASSES, GROUP, BATCH = 40, 2, 2**17, 256
NETWORKS = {"40-64-2": [64], "40-256-256-2": [256, 256]}


def write(path, rows):
    """The file, once."""
    import pyarrow
    from pyarrow import parquet

    names = [f"f{j}" for j in range(COLUMNS)]
    schema = pyarrow.schema([*((name, pyarrow.float32()) for name in names), ("y", pyarrow.int64())])
    rng = np.random.default_rng(0)
    with parquet.ParquetWriter(path + ".part", schema, use_dictionary=False) as writer:
        for first in range(0, rows, GROUP):
            X = rng.standard_normal((min(GROUP, rows - first), COLUMNS), dtype=np.float32)
            y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int64)
            writer.write_table(pyarrow.table([*X.T, y], schema=schema), row_group_size=GROUP)
    os.replace(path + ".part", path)


def trainer(hidden):
    net = mlpfast.Network([COLUMNS, *hidden, CLASSES], output="softmax", seed=0)
    return mlpfast.Trainer(net, optimizer=mlpfast.SGD(0.01, momentum=0.9), batch_size=BATCH, seed=0)


class OfMlpfast:
    """Two epochs of fit, on a source or on arrays."""

    def __init__(self, hidden, *given):
        self.trainer, self.given = trainer(hidden), given

    def epoch(self):
        """-> the last epoch's loss."""
        loss = self.trainer.fit(*self.given, epochs=2)["loss"][-1]
        self.rows = 2 * len(self.given[0]) if isinstance(self.given[0], np.ndarray) else 2 * self.given[0].n
        return loss


class OfTorch:
    """`most` minibatches of an epoch over a DataLoader of minibatches, or of rows."""

    def __init__(self, hidden, path, workers, by_rows=False, most=None):
        import torch

        torch.manual_seed(0)
        widths = [COLUMNS, *hidden, CLASSES]
        layers = [torch.nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False)]
        self.model = torch.nn.Sequential(layers[0], *(part for each in layers[1:] for part in (torch.nn.ReLU(), each)))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        self.loss, self.most = torch.nn.CrossEntropyLoss(), most
        size = BATCH if by_rows else None
        self.loader = torch.utils.data.DataLoader(of_torch(path, by_rows), batch_size=size, num_workers=workers)

    def epoch(self):
        """-> their mean loss."""
        total = rows = count = 0
        for X, y in self.loader:
            self.optimizer.zero_grad()
            loss = self.loss(self.model(X), y)
            loss.backward()
            self.optimizer.step()
            total, rows, count = total + loss.item() * len(X), rows + len(X), count + 1
            if count == self.most:
                break
        self.rows = rows
        return total / rows


def of_torch(path, by_rows):
    import torch
    from pyarrow import parquet

    class Groups(torch.utils.data.IterableDataset):
        def __iter__(self):
            file, worker = parquet.ParquetFile(path), torch.utils.data.get_worker_info()
            first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
            rng = np.random.default_rng(0)
            for group in rng.permutation(file.num_row_groups)[first::step]:
                table = file.read_row_group(int(group))
                columns = [column.to_numpy() for column in table.columns]
                X, y = torch.from_numpy(np.stack(columns[:-1], axis=1)), torch.from_numpy(columns[-1].copy())
                order = torch.from_numpy(rng.permutation(len(X)))
                if by_rows:
                    for row in order:
                        yield X[row], y[row]
                    continue
                for some in order.split(BATCH):
                    yield X[some], y[some]

    return Groups()


def timed(contender):
    """Rows a second of a turn, its wall and processor seconds, and its loss."""
    start, used = time.perf_counter(), time.process_time()
    loss = contender.epoch()
    wall, used = time.perf_counter() - start, time.process_time() - used
    return contender.rows / wall, wall, used, loss


def compare(contenders, turns):
    """A table of the contenders, which take turns."""
    rates = {name: [] for name in contenders}
    for turn in range(turns):
        for name, contender in contenders.items():
            rate, wall, used, loss = timed(contender)
            rates[name].append(rate)
            took = f"{wall:7.2f} s, CPU {used:7.2f} s"
            print(f"  turn {turn + 1}: {name:<34} {rate:12,.0f} rows/s {took}, loss {loss:.4f}", flush=True)
    return {name: statistics.median(each) for name, each in rates.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10**7)
    parser.add_argument("--folder", default="/tmp")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="200,000 rows, one turn")
    parser.add_argument("--in-memory", action="store_true", help="beside arrays of the same rows")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    args = parser.parse_args()
    rows, turns = (200_000, 1) if args.quick else (args.rows, args.turns)
    path = os.path.join(args.folder, f"mlpfast-{rows}x{COLUMNS}.parquet")
    if not os.path.exists(path):
        write(path, rows)
    print("\n".join(f"{what}: {value}" for what, value in describe().items()))
    source = data.ParquetSource(path, target="y")
    for name in args.networks:
        hidden = NETWORKS[name]
        contenders = {"mlpfast, Parquet": OfMlpfast(hidden, source)}
        if args.in_memory:
            X, y = (np.concatenate(part) for part in list(zip(*source.blocks(None), strict=True))[:2])
            contenders["mlpfast, arrays"] = OfMlpfast(hidden, X, y)
        try:
            import torch  # noqa: F401
        except ImportError:
            pass
        else:
            for workers, most in ((0, 4000), (2, 400)):
                contenders[f"PyTorch, {workers} workers, minibatches"] = OfTorch(hidden, path, workers, most=most)
            contenders["PyTorch, 0 workers, rows"] = OfTorch(hidden, path, 0, by_rows=True, most=100)
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"{name}, {rows:,} rows, minibatches of {BATCH}; load averages {load}", flush=True)
        found = compare(contenders, turns)
        for contender, rate in found.items():
            print(f"{contender:<34} {rate:12,.0f} rows/s, {found['mlpfast, Parquet'] / rate:6.2f} times as long")


if __name__ == "__main__":
    main()
