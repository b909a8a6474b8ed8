"""Sources (mlpfast.data): the bits of arrays, windows, going on within an epoch, passes, errors, memory."""

import itertools
import os
import signal
import threading

import numpy as np
import pytest
import reference
from processes import run_python

import mlpfast
from mlpfast import (
    SGD,
    Adam,
    Network,
    Trainer,
    _arrays,
    _reading,
    _streams,
    callbacks,
    data,
    losses,
    metrics,
    schedules,
)

N, N_IN, K = 1203, 5, 3
rng = np.random.default_rng(0)
X = rng.normal(size=(N, N_IN)).astype(np.float32)
y = np.abs(X[:, :K]).argmax(axis=1)
WEIGHT = rng.integers(3, size=N) / 2  # 0 among them


class Blocks:
    """A source of blocks that can be had in any order. `asked`: the orders it was asked for."""

    def __init__(self, arrays, block, shuffle_rows=None):
        self.arrays, self.block, self.shuffle_rows = arrays, block, shuffle_rows
        self.n, self.n_features = arrays[0].shape
        self.block_rows = [min(block, self.n - i) for i in range(0, self.n, block)]
        self.asked = []

    def blocks(self, order):
        self.asked.append(None if order is None else order.tolist())
        for number in range(len(self.block_rows)) if order is None else order:
            yield tuple(a[number * self.block : (number + 1) * self.block] for a in self.arrays)


class Rows:
    """A source of rows by number."""

    def __init__(self, *arrays):
        self.arrays, (self.n, self.n_features) = arrays, arrays[0].shape

    def read(self, rows):
        assert rows.dtype == np.int64 and (np.diff(rows) > 0).all()
        return [a[rows] for a in self.arrays]


class Items:
    """As a dataset of PyTorch."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, row):
        return tuple(a[row] for a in self.arrays)


def generator(*arrays, sizes=(7, 1, 64, 500)):
    """Blocks of these sizes in turn."""

    def blocks():
        at, turn = 0, 0
        while at < len(arrays[0]):
            size = sizes[turn % len(sizes)]
            yield tuple(a[at : at + size] for a in arrays)
            at, turn = at + size, turn + 1

    return data.GeneratorSource(blocks)


def table(X, *others):
    pandas = pytest.importorskip("pandas")
    return data.ArraySource(pandas.DataFrame({f"f{j}": X[:, j] for j in range(X.shape[1])}), *others)


SOURCES = {
    "in place": data.ArraySource,
    "columns": lambda X, *others: data.ArraySource(np.asfortranarray(X), *others),
    "table": table,
    "blocks": lambda *arrays: Blocks(arrays, 100),
    "rows": Rows,
    "generator": generator,
    "items": lambda *arrays: data.BatchSource(Items(*arrays)),
    "arrays of items": lambda *arrays: data.BatchSource(Items(*arrays), by_array=True),
}
every_source = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)


def trainer(loss="cross_entropy", optimizer=None, widths=(N_IN, 9, K), **settings):
    outputs = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}
    output = outputs.get(getattr(loss, "name", loss), "identity")
    net = Network(list(widths), activation="tanh", output=output, seed=0, dtype=settings.pop("dtype", "float32"))
    given = {"batch_size": 16, "seed": 4, **settings}
    return Trainer(net, loss, Adam(0.01) if optimizer is None else optimizer, **given)


def outcome(trainer):
    return [p.tobytes() for p in trainer.network.parameters], dict(trainer.history), trainer.steps


# ---- The bits of arrays ----


@every_source
def test_a_window_of_all_rows_has_the_bits_of_arrays(make):
    more = {"epochs": 2, "metrics": ["top_2", own_metric]}
    wanted = trainer()
    wanted.fit(X, y, validation_data=(X[:301], y[:301]), **more)
    for threads in (1, 2):
        mine = trainer(threads=threads)
        mine.fit(make(X, y), validation_data=make(X[:301], y[:301]), **more)
        assert outcome(mine) == outcome(wanted)
    assert mine.evaluate(make(X, y), metrics="top_1") == wanted.evaluate(X, y, metrics="top_1")
    np.testing.assert_array_equal(mine.network.predict(make(X, y)), wanted.network.predict(X))
    assert not readers()


def own_metric(y, yhat, sample_weight=None):
    return float(np.average(yhat[np.arange(len(y)), y] ** 2, weights=sample_weight))


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "mlpfast-reader"]


@every_source
def test_weights_too(make):
    """Rows of weight 0 are in no minibatch, and the mean weight is that of the others."""
    wanted, mine = trainer(), trainer()
    wanted.fit(X, y, epochs=2, sample_weight=WEIGHT, validation_data=(X[:301], y[:301], WEIGHT[:301]))
    mine.fit(make(X, y, WEIGHT), epochs=2, validation_data=make(X[:301], y[:301], WEIGHT[:301]))
    assert outcome(mine) == outcome(wanted)
    assert mine.evaluate(make(X, y, WEIGHT)) == wanted.evaluate(X, y, WEIGHT)


@pytest.mark.parametrize("make, shuffle", [(Rows, True), (Rows, False), (SOURCES["columns"], True), (generator, False)])
def test_many_small_windows_have_the_same_bits(make, shuffle, monkeypatch):
    """Sources of rows, and rows that are not shuffled, are read 48 at a time, into two buffers in turn."""
    monkeypatch.setattr(_reading, "READ_BYTES", 8 * N_IN * 50)
    wanted, more = trainer(shuffle=shuffle), {"epochs": 3, "metrics": ["top_2", own_metric]}
    wanted.fit(X, y, validation_data=(X[:301], y[:301]), sample_weight=WEIGHT + 1, **more)
    mine = trainer(shuffle=shuffle)
    mine.fit(make(X, y, WEIGHT + 1), validation_data=make(X[:301], y[:301]), **more)
    assert outcome(mine) == outcome(wanted)


def test_a_source_may_use_its_memory_again():
    def blocks():
        memory = np.empty((100, N_IN), np.float32), np.empty(100, np.int64), np.empty(100)
        for first in range(0, N, 100):
            parts = [a[first : first + 100] for a in (X, y, WEIGHT)]
            for a, part in zip(memory, parts, strict=True):
                a[: len(part)] = part
            yield tuple(a[: len(part)] for a, part in zip(memory, parts, strict=True))
            for a in memory:
                a[:] = -1

    wanted, mine = trainer(), trainer()
    wanted.fit(X, y, sample_weight=WEIGHT, epochs=2, class_weight="balanced")
    mine.fit(data.GeneratorSource(blocks), epochs=2, class_weight="balanced")
    assert outcome(mine) == outcome(wanted)
    head = _streams.Stream(data.GeneratorSource(blocks), mine.network, mine.loss).head
    np.testing.assert_array_equal(head.X, X[:1024])
    np.testing.assert_array_equal(mine.network.predict(data.GeneratorSource(blocks)), wanted.network.predict(X))
    np.testing.assert_allclose(data.standardize(data.GeneratorSource(blocks))[0], X.mean(axis=0, dtype=float))


def custom_loss():
    return losses.Custom(lambda y, z: ((z - y) ** 2).sum(axis=1), lambda y, z: 2 * (z - y))


CASES = {
    "float64": ({"dtype": "float64"}, {}, None, None),
    "unshuffled": ({"shuffle": False}, {}, None, None),
    "accumulated": ({}, {"accumulate": 3}, None, None),
    "balanced": ({}, {"class_weight": "balanced"}, None, None),
    "by class": ({}, {"class_weight": {0: 3.0, 2: 0.5}}, None, None),
    "by minibatch": ({"weighting": "minibatch"}, {"class_weight": {0: 3.0}}, None, None),
    "by steps": ({"optimizer": SGD(schedules.Exponential(0.1, 0.01, per="step"), momentum=0.5)}, {}, None, None),
    "pixels": ({}, {}, (X * 50).astype(np.uint8), y),
    "whole numbers": ({}, {}, (X * 50).astype(np.int64), y),
    "float64 X": ({}, {"metrics": "r2"}, X.astype(np.float64), np.eye(K)[y]),
    "numbers": ({"loss": "squared_error"}, {"metrics": ["mae", "r2"]}, X, X[:, :K] ** 2),
    "labels": ({"loss": "binary_cross_entropy"}, {"metrics": "exact_match"}, X, (X[:, :K] > 0).astype(int)),
    "missing": ({"loss": losses.Huber(missing="ignore")}, {"metrics": ["mae", "r2"]}, X,
                np.where(X[:, 1:4] > 1, np.nan, X[:, :K])),
    "custom": ({"loss": custom_loss()}, {}, X, X[:, :K]),
    "nothing missing": ({"loss": losses.Huber(missing="ignore")}, {}, X, X[:, :K]),
    "parts": ({"loss": losses.PerOutput([(slice(0, 2), losses.Huber(missing="ignore")), (2, "absolute_error")])}, {}, X,
              np.where(X[:, :3] > [1, 1, 9], np.nan, X[:, :3])),
}


@pytest.mark.parametrize("case", CASES)
def test_settings_mean_the_same(case):
    settings, given, inputs, truth = CASES[case]
    inputs, truth = X if inputs is None else inputs, y if truth is None else truth
    wanted = trainer(**settings)
    wanted.fit(inputs, truth, epochs=2, validation_data=(inputs[:301], truth[:301]), **given)
    for make in (Rows, generator, lambda *arrays: Blocks(arrays, 77)):
        mine = trainer(**settings)
        mine.fit(make(inputs, truth), epochs=2, validation_data=make(inputs[:301], truth[:301]), **given)
        assert outcome(mine) == outcome(wanted)


def test_dropout_noise_and_callbacks_within_the_epoch_mean_the_same():
    seen = {}

    class Sees:
        every_batches = 7

        def __init__(self, name):
            self.name = name

        def on_batch_end(self, trainer, epoch, batch, logs):
            seen.setdefault(self.name, []).append((epoch, batch, dict(logs)))

    results = []
    for name, make in (("arrays", data.ArraySource), ("blocks", lambda *a: Blocks(a, 100)), ("rows", Rows)):
        layers = [mlpfast.Layer(N_IN, 20, "relu", dropout=0.3), mlpfast.Layer(20, K, "softmax")]
        mine = Trainer(Network(layers, seed=0, input_noise=0.1), optimizer=Adam(), batch_size=16, seed=4)
        mine.fit(make(X, y), epochs=2, callbacks=[Sees(name)])
        results.append(outcome(mine))
    assert results[1] == results[0] == results[2]
    assert seen["blocks"] == seen["arrays"] == seen["rows"] and len(seen["rows"]) == 2 * (N // 16 // 7)


@pytest.mark.parametrize("stratify", [False, True])
def test_rows_are_held_out_as_of_arrays(stratify):
    given = {"epochs": 2, "validation_split": 0.3, "stratify": stratify, "class_weight": "balanced"}
    wanted = trainer()
    wanted.fit(X, y, sample_weight=WEIGHT, **given)
    for make in (data.ArraySource, Rows, SOURCES["columns"]):
        mine = trainer()
        mine.fit(make(X, y, WEIGHT), **given)
        assert outcome(mine) == outcome(wanted)
    with pytest.raises(ValueError, match="which GeneratorSource cannot read: give validation_data"):
        trainer().fit(generator(X, y), validation_split=0.3)


def test_metrics_of_many_rows_do_not_depend_on_how_they_arrive():
    """They are computed by blocks of 65,536 rows."""
    n = 150_000
    X, w = rng.normal(size=(n, N_IN)).astype(np.float32), rng.random(n).astype(np.float32)
    y = X[:, :K] + 3 * rng.normal(size=(n, K)).astype(np.float32)
    mine, names = trainer("half_squared_error"), ["mae", "mse", "r2"]
    for weight in (None, w):
        arrays = (X, y) if weight is None else (X, y, weight)
        given = mine.evaluate(*arrays, metrics=names)
        assert mine.evaluate(Blocks(arrays, 999), metrics=names) == given
        yhat = mine.network.predict(X)
        for name in names:
            np.testing.assert_allclose(given[name], getattr(metrics, name)(y, yhat, weight), rtol=1e-12)


def test_items_of_several_dimensions_are_taken_line_by_line():
    for by_array in (False, True):
        source = data.BatchSource(Items(X.reshape(N, 1, 5), y), by_array=by_array)
        assert source.n_features == 5
        np.testing.assert_array_equal(source.read(np.array([3, 8]))[0], X[[3, 8]])


def test_balanced_weights_are_counted_as_of_arrays():
    """In float64: these weights are no numbers of float32."""
    weight = 0.1 + rng.random(N)
    wanted = trainer()
    wanted.fit(X, y, sample_weight=weight, class_weight="balanced")
    for make in (Rows, generator, lambda *arrays: Blocks(arrays, 77)):
        mine = trainer()
        mine.fit(make(X, y, weight), class_weight="balanced")
        assert outcome(mine) == outcome(wanted)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_large_table_is_read_some_rows_at_a_time(library, monkeypatch):
    """fit, evaluate and predict never make an array of it, and have the same bits."""
    frames = pytest.importorskip(library)
    columns = {"a": X[:, 0], "b": np.arange(N) % 5, "c": X[:, 2] > 0, "d": X[:, 3].astype(np.float64), "e": X[:, 4]}
    frame = frames.DataFrame(columns)
    given = [
        {"validation_split": 0.3, "stratify": True, "metrics": ["top_2", own_metric]},
        {"sample_weight": WEIGHT + 1, "class_weight": "balanced", "validation_data": (frame[:301], y[:301])},
    ]

    def results():
        found = []
        for options in given:
            mine = trainer()
            mine.fit(frame, y, epochs=2, **options)
            numbers = mine.evaluate(frame, y, metrics=["top_1", own_metric])
            found.append((outcome(mine), numbers, mine.network.predict(frame).tobytes()))
        return found

    wanted = results()
    monkeypatch.setattr(_arrays, "TABLE_BYTES", 100)
    monkeypatch.setattr(_arrays, "_of_table", None)
    monkeypatch.setattr(frames.DataFrame, "to_numpy", None)
    assert results() == wanted


def test_a_large_table_is_refused_before_the_training(monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.setattr(_arrays, "TABLE_BYTES", 100)
    frame = pandas.DataFrame({f"f{j}": X[:, j] for j in range(4)} | {"c": pandas.array(np.arange(N), dtype="Int64")})
    mine = trainer()
    for label, wrong in ((3, y), (None, y[:-1])):
        with pytest.raises(ValueError, match="y must have one entry|y must hold class numbers .* at position 700"):
            mine.fit(frame, wrong if label is None else changed(y, 700, label))
    with pytest.raises(ValueError, match="sample_weight must hold finite"):
        mine.fit(frame, y, sample_weight=changed(WEIGHT, 700, -1))
    frame.loc[711, "c"] = None
    with pytest.raises(ValueError, match="column 'c', must have no missing values, got one in row 711"):
        mine.fit(frame, y)
    assert mine.steps == 0
    by_rows = pandas.DataFrame(X, copy=False)  # in place
    assert not _arrays.is_large_table(by_rows) and _arrays.is_large_table(by_rows.iloc[:, ::-1])
    for whole in (trainer(batch_size=None), trainer("cox_ph", widths=(N_IN, 4, 1))):  # which need arrays
        whole.fit(by_rows.iloc[:, ::-1], y if whole.batch_size is None else np.column_stack([X[:, 0], y > 0]))


# ---- Windows ----


def order_by_hand(block, window, epoch, seed=4):
    """Which rows an epoch takes, in their order: as docs/sources.md describes it."""
    m, weyl = -(-N // block), 0x9E3779B97F4A7C15
    blocks = reference.order(m, (seed - weyl) % 2**64, epoch)
    rows = np.concatenate([np.arange(b * block, min((b + 1) * block, N)) for b in blocks])
    parts = [rows[i : i + window] for i in range(0, N, window)]
    orders = [reference.order(len(part), (seed + number * weyl) % 2**64, epoch) for number, part in enumerate(parts)]
    return np.concatenate([part[order] for part, order in zip(parts, orders, strict=True)])


@pytest.mark.parametrize("block, shuffle_rows", [(100, 330), (7, 48), (1, 500)])
def test_rows_are_shuffled_within_windows_of_shuffled_blocks(block, shuffle_rows):
    mine, by_hand = trainer(optimizer=SGD(0.1)), trainer(optimizer=SGD(0.1))
    mine.fit(Blocks((X, y), block, shuffle_rows), epochs=2)
    for epoch in range(2):
        rows = order_by_hand(block, shuffle_rows // 16 * 16, epoch)
        assert sorted(rows) == list(range(N))
        for first in range(0, N, 16):
            minibatch = rows[first : first + 16]
            by_hand.step(X[minibatch], y[minibatch])
    assert outcome(mine)[0] == outcome(by_hand)[0]


def test_what_cannot_be_read_from_the_middle_is_shuffled_within_the_window():
    results = set()
    for sizes in ((7, 1, 64), (1203,), (16,)):
        source = generator(X, y, sizes=sizes)
        source.shuffle_rows = 100
        mine = trainer(optimizer=SGD(0.1))
        mine.fit(source)
        results.add(b"".join(outcome(mine)[0]))
    by_hand = trainer(optimizer=SGD(0.1))
    for number, first in enumerate(range(0, N, 96)):
        n = min(96, N - first)
        rows = first + np.array(reference.order(n, (4 + number * 0x9E3779B97F4A7C15) % 2**64, 0))
        for i in range(0, n, 16):
            by_hand.step(X[rows[i : i + 16]], y[rows[i : i + 16]])
    assert results == {b"".join(outcome(by_hand)[0])}


# ---- Going on ----


class Stop(Exception):
    pass


class StopsAt:
    def __init__(self, epoch, batch):
        self.at = epoch, batch

    def on_batch_end(self, trainer, epoch, batch, logs):
        if (epoch, batch) == self.at:
            raise Stop


RESUMED = {
    "blocks": lambda: Blocks((X, y), 50, 200), "blocks with weights": lambda: Blocks((X, y, WEIGHT), 50, 200),
    "generator": lambda: generator(X, y), "rows": lambda: Rows(X, y), "in place": lambda: data.ArraySource(X, y),
}


@pytest.mark.parametrize("done", [7, 24, 40])  # 24: at the border of two windows
@pytest.mark.parametrize("name", RESUMED)
def test_a_fit_goes_on_within_an_epoch(tmp_path, name, done, monkeypatch):
    monkeypatch.setattr(callbacks.Checkpoint, "every_batches", done)
    wanted, path = trainer(), tmp_path / "run.safetensors"
    wanted.fit(RESUMED[name](), epochs=3)
    saves = callbacks.Checkpoint(path, every=None, seconds=1e-9)
    with pytest.raises(Stop):
        trainer().fit(RESUMED[name](), epochs=3, callbacks=[saves, StopsAt(1, done)])
    assert mlpfast.load_trainer(path)._fit.done == done
    mine, source = trainer(), RESUMED[name]()
    mine.fit(source, epochs=3, resume=path)
    assert outcome(mine) == outcome(wanted)
    if name == "blocks":
        first_looked_at, went_on, *_ = source.asked
        windows_done = done * 16 // 192  # whose blocks are not read again
        assert first_looked_at is None and 24 <= len(went_on) + windows_done * 192 // 50 <= 25  # one block has 3 rows
        with pytest.raises(ValueError, match="window_rows is 192 there and 96 here"):
            trainer().fit(Blocks((X, y), 50, 100), epochs=3, resume=path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_goes_on(tmp_path):
    printed = run_python("""
        import os, hashlib
        import numpy as np
        import mlpfast
        from mlpfast import data
        X = np.random.default_rng(0).normal(size=(5000, 4)).astype(np.float32)
        y = (X[:, 0] > 0).astype(int)
        net = mlpfast.Network([4, 8, 2], output="softmax", seed=0)
        def blocks():
            for i in range(0, 5000, 100):
                yield X[i : i + 100], y[i : i + 100]
        class Forks:
            every_batches = 10
            child = None
            def on_batch_end(self, trainer, epoch, batch, logs):
                if (epoch, batch) == (1, 39):
                    self.child = os.fork()
        forks = Forks()
        source = data.GeneratorSource(blocks, shuffle_rows=640)
        history = mlpfast.Trainer(net, seed=0).fit(source, epochs=3, callbacks=[forks])
        bits = hashlib.sha256(b"".join(p.tobytes() for p in net.parameters) + repr(history).encode()).hexdigest()
        if forks.child:
            assert os.waitpid(forks.child, 0)[1] == 0
        print(bits, flush=True)
    """)
    assert len(printed.split()) == 2 and len(set(printed.split())) == 1


def test_datasets_and_loaders_of_pytorch():
    torch = pytest.importorskip("torch")
    wanted, whole = trainer(), torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    wanted.fit(X, y, epochs=2)
    loader = torch.utils.data.DataLoader(whole, batch_size=50)
    some = torch.utils.data.Subset(torch.utils.data.TensorDataset(torch.from_numpy(X[::-1].copy()),
                                                                  torch.from_numpy(y[::-1].copy())), range(N)[::-1])
    for source in (data.BatchSource(whole), data.BatchSource(some), data.GeneratorSource(lambda: loader, n=N)):
        mine = trainer()
        mine.fit(source, epochs=2)
        assert outcome(mine) == outcome(wanted)
    images = torch.utils.data.TensorDataset(torch.from_numpy(X).reshape(N, 1, 5), torch.from_numpy(y))
    np.testing.assert_array_equal(data.BatchSource(images).read(np.arange(5))[0], X[:5])
    with pytest.raises(TypeError, match="GeneratorSource"):
        trainer().fit(loader)
    with pytest.raises(TypeError, match="BatchSource"):
        trainer().fit(whole)


def test_without_a_thread_the_caller_reads(monkeypatch):
    wanted, mine = trainer(), trainer()
    wanted.fit(Blocks((X, y), 100, 330), epochs=2, validation_data=Rows(X, y))

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    mine.fit(Blocks((X, y), 100, 330), epochs=2, validation_data=Rows(X, y))
    assert outcome(mine) == outcome(wanted)


def test_a_callback_may_end_the_training_while_the_source_is_read_ahead():
    calls = []
    source = Blocks((X, y), 100, 330)
    mine = trainer()
    mine.fit(source, epochs=9, callbacks=[lambda trainer, epoch, logs: calls.append(epoch) or epoch == 1])
    assert mine.epoch == 2 and not readers()
    mine.fit(source, epochs=1)
    wanted = trainer()
    wanted.fit(source, epochs=3)
    assert outcome(mine)[0] == outcome(wanted)[0]


# ---- Weights, passes and statistics ----


def test_mean_weight_saves_a_pass():
    counted = []

    def blocks():
        counted.append(1)
        return iter([(X, y, WEIGHT)])

    source = data.GeneratorSource(blocks, n_features=N_IN)
    mine, wanted = trainer(), trainer()
    mine.fit(source, epochs=2, mean_weight=WEIGHT[WEIGHT > 0].mean())
    assert len(counted) == 1 + 2  # a look, and the epochs
    wanted.fit(source, epochs=2)
    assert len(counted) == 3 + 1 + 1 + 2  # and a pass
    np.testing.assert_allclose(mine.network.layers[0].W, wanted.network.layers[0].W, rtol=1e-5)
    with pytest.raises(ValueError, match="mean_weight goes with weighting='data'"):
        trainer(weighting="minibatch").fit(source, mean_weight=1.0)


def test_mean_weight_of_arrays():
    mine, wanted = trainer(optimizer=SGD(0.1)), trainer(optimizer=SGD(0.05))
    mine.fit(X, y, sample_weight=WEIGHT, mean_weight=2 * WEIGHT[WEIGHT > 0].mean())
    wanted.fit(X, y, sample_weight=WEIGHT)
    np.testing.assert_allclose(mine.network.layers[0].W, wanted.network.layers[0].W, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sizes", [(1203,), (1,), (7, 1, 64, 500)])
def test_standardize_has_the_mean_and_deviation_of_each_column(sizes):
    wide = np.column_stack([X, 1e6 + X[:, 0], np.full(N, 0.1)]).astype(np.float64)
    mean, scale = data.standardize(generator(wide, y, sizes=sizes))
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(scale[:-1], wide[:, :-1].std(axis=0), rtol=1e-9)
    assert scale[-1] == 1 and mean.dtype == scale.dtype == np.float64
    sklearn = pytest.importorskip("sklearn.preprocessing")
    scaler = sklearn.StandardScaler().fit(wide)
    np.testing.assert_allclose(scale, scaler.scale_, rtol=1e-9)
    Network([7, 2], input_transform=(mean, scale))


def test_standardize_takes_arrays_too():
    wanted = data.standardize(Rows(X, y))
    for given in (X, X.tolist(), data.ArraySource(X)):
        np.testing.assert_allclose(data.standardize(given), wanted, rtol=1e-6)
    with pytest.raises(TypeError, match="X must be an array of numbers, got a str object: of a file, "):
        data.standardize("x.parquet")


def test_rows_without_weight_are_refused_as_of_arrays():
    for make in (Rows, generator, data.ArraySource):
        with pytest.raises(ValueError, match="sample_weight .*must not be zero for every example"):
            trainer().evaluate(make(X, y, 0 * WEIGHT))
    loss, unknown = losses.Huber(missing="ignore"), np.full((N, K), np.nan)
    with pytest.raises(ValueError, match="sample_weight of X must not be zero, or y NaN for every example"):
        trainer(loss).fit(Rows(X, unknown))


def test_standardize_refuses_what_is_not_finite():
    bad = X.copy()
    bad[700, 2] = np.nan
    with pytest.raises(ValueError, match=r"Rows, column 2: X is nan"):
        data.standardize(Rows(bad, y))
    with pytest.raises(ValueError, match="at least one row"):
        data.standardize(data.GeneratorSource(lambda: [], n_features=3))


# ---- Predictions ----


@every_source
def test_predictions_are_written_as_they_are_made(make, tmp_path):
    net = trainer().network
    wanted, path = net.predict(X), tmp_path / "yhat.npy"
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(N, K))
    source = make(X, y)
    if source.n is None:
        with pytest.raises(ValueError, match="out must be a function for a source of unknown length"):
            net.predict(source, out=out)
    else:
        assert net.predict(source, out=out) is out
        out.flush()
        np.testing.assert_array_equal(np.load(path), wanted)
    parts = []
    assert net.predict(source, out=lambda first, yhat: parts.append((first, yhat))) is None
    np.testing.assert_array_equal(np.concatenate([yhat for _, yhat in parts]), wanted)
    assert [first for first, _ in parts] == np.cumsum([0, *(len(yhat) for _, yhat in parts)])[:-1].tolist()


def test_predictions_need_no_y():
    net = trainer(widths=(N_IN, 4, 1), loss="half_squared_error").network
    wanted = net.predict(X, squeeze=True)
    for source in (data.ArraySource(X), data.GeneratorSource(lambda: iter([X[:500], (X[500:],)]))):
        np.testing.assert_array_equal(net.predict(source, squeeze=True), wanted)
    parts = []
    net.predict(X, out=lambda first, yhat: parts.append(yhat))  # of an array too
    np.testing.assert_array_equal(np.concatenate(parts)[:, 0], wanted)
    with pytest.raises(ValueError, match="y must be there for training"):
        trainer().fit(data.GeneratorSource(lambda: iter([X])))
    with pytest.raises(ValueError, match="X must be an array with dropout=True"):
        net.predict(Rows(X), dropout=True)
    with pytest.raises(ValueError, match="out must have shape"):
        net.predict(Rows(X), out=np.empty((3, 1), np.float32))
    with pytest.raises(TypeError, match="got str: for a file, numpy.lib.format.open_memmap"):
        net.predict(Rows(X), out="yhat.npy")
    memory = np.zeros((N, N_IN), np.float32)
    with pytest.raises(ValueError, match="out must not overlap X"):
        trainer(widths=(N_IN, N_IN)).network.predict(data.ArraySource(memory[:, ::-1]), out=memory)
    np.testing.assert_array_equal(net.predict(data.BatchSource(list(X)), squeeze=True), wanted)  # items are x alone


# ---- Errors ----


def failing(error, at):
    """Rows of 10, and an exception before row `at`."""

    def blocks():
        for first in range(0, N, 10):
            if first == at:
                raise error
            yield X[first : first + 10], y[first : first + 10]

    return data.GeneratorSource(blocks, shuffle_rows=32)


def test_an_exception_of_a_source_leaves_the_network_after_a_whole_minibatch():
    mine, by_hand = trainer(optimizer=SGD(0.1)), trainer(optimizer=SGD(0.1))
    mine.fit(data.GeneratorSource(lambda: iter([(X[:9], y[:9])])))
    steps_before = mine.steps
    error = KeyError("lost")
    with pytest.raises(data.SourceError, match="failing.<locals>.blocks, row 1100: KeyError: 'lost'") as caught:
        mine.fit(failing(error, 1100))
    assert caught.value.__cause__ is error and isinstance(caught.value, ValueError)
    assert mine.steps - steps_before == 1100 // 32 * 2 and not readers()
    by_hand.step(X[:9][reference.order(9, 4, 0)], y[:9][reference.order(9, 4, 0)])
    for number in range(1100 // 32):
        rows = number * 32 + np.array(reference.order(32, (4 + number * 0x9E3779B97F4A7C15) % 2**64, 1))
        for i in (0, 16):
            by_hand.step(X[rows[i : i + 16]], y[rows[i : i + 16]])
    assert outcome(mine)[0] == outcome(by_hand)[0]
    mine.fit(X, y)  # goes on


def changed(array, row, value):
    array = array.copy()
    array[row] = value
    return array


class Fails:
    """As a dataset whose row 700 cannot be read, and with another shape in row 900."""

    def __len__(self):
        return N

    def __getitem__(self, row):
        if row == 700:
            raise OSError("lost")
        return X[row], y[row]


REFUSED = {
    "a row of a dataset": (lambda: data.BatchSource(Fails()), r"^Fails\[700\]: OSError: lost"),
    "a shape of a dataset": (lambda: data.BatchSource([(X[i, : 5 - (i == 900)], y[i]) for i in range(N)]),
                             r"^list\[900\]: items must have one shape, got \(4,\), in others \(5,\)"),
    "rows somewhere": (lambda: Lost(X, y), "^row 0 of Lost, or one of the rows behind it up to 1202: KeyError"),
    "an endless one": (lambda: data.GeneratorSource(lambda: itertools.repeat((X, y)), n=N),
                       f"{N} rows, as n says, got more"),
    "dicts": (lambda: data.GeneratorSource(lambda: iter([{"X": X, "y": y}]), n_features=N_IN), "got a dict object"),
    "nothing": (lambda: Nothing(X, y), "got a NoneType object"),
    "a class": (lambda: Blocks((X, changed(y, 710, 3)), 100),
                "row 710 of Blocks: y must hold class numbers from 0 to 2"),
    "a weight": (lambda: generator(X, y, changed(WEIGHT, 811, -1.0), sizes=(100,)),
                 "row 811: sample_weight must hold finite"),
    "the width": (lambda: data.GeneratorSource(lambda: iter([(X, y), (X[:, :4], y)])),
                  r"row 1203: X must have shape \(n, 5\)"),
    "the dtype": (lambda: data.GeneratorSource(lambda: iter([(X, y), (X.astype(float), y)])),
                  "row 1203: X must be of one kind in all rows: it is float64 .*, in the first float32"),
    "the form of y": (lambda: data.GeneratorSource(lambda: iter([(X, y), (X, np.eye(K)[y])])),
                      "row 1203: y must be of one kind"),
    "weights later": (lambda: data.GeneratorSource(lambda: iter([(X, y), (X, y, WEIGHT)])),
                      "row 1203: weight must be of one kind in all rows"),
    "the length of y": (lambda: data.GeneratorSource(lambda: iter([(X, y), (X, y[:-1])])),
                        "row 1203: y must have one entry for each row of X"),
    "four parts": (lambda: data.GeneratorSource(lambda: iter([(X, y), (X, y, WEIGHT, y)])), "got 4 parts"),
    "a row": (lambda: data.GeneratorSource(lambda: iter([(X, y), (X[0], 1)])), "must give arrays of several rows"),
    "n": (lambda: data.GeneratorSource(lambda: iter([(X, y)]), n=N + 1), f"blocks must yield {N + 1} rows, as n says"),
    "rows read": (lambda: Short(X, y), "row 0 of Short: a block must have 1203 rows, got 1202"),
    "block_rows": (lambda: Claims(600, 700), "row 600 of Claims: a block must have 700 rows, got 603"),
    "an attribute": (lambda: data.GeneratorSource(lambda: N.rows, n_features=N_IN), "AttributeError: 'int' object"),
    "one of its rows": (lambda: Rows(X, changed(y, 402, -1)), "row 402 of Rows: y must hold class numbers"),
    "more blocks": (lambda: Claims(600), "row 600 of Claims: blocks must yield 1 blocks, as block_rows says, got more"),
    "blocks": (lambda: Claims(600, 603, 5), "blocks must yield 3 blocks, as block_rows says, got 2"),
}


class Short(Rows):
    def read(self, rows):
        return super().read(rows[:-1])


class Lost(Rows):
    def read(self, rows):
        raise KeyError(711)


class Nothing(Rows):
    def read(self, rows):
        return None


class Claims:
    def __init__(self, *sizes):
        self.block_rows, self.n, self.n_features = sizes, sum(sizes), N_IN

    def blocks(self, order):
        yield X[:600], y[:600]
        yield X[600:], y[600:]


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_named_with_its_row(name):
    make, message = REFUSED[name]
    with pytest.raises(data.SourceError, match=message):
        trainer(shuffle=False).fit(make())
    assert not readers()


def test_numbers_that_are_not_finite_are_named_by_their_row():
    for make in (lambda X, y: Blocks((X, y), 50, 100), Rows, lambda X, y: generator(X, y, sizes=(100,)), table):
        mine = trainer()
        with pytest.raises(FloatingPointError, match=r"minibatch \d+: X in .*row 711 ?.*, column 3.* is nan"):
            mine.fit(make(changed(X, (711, 3), np.nan), y))
        assert 0 < mine.steps < N // 16
    with pytest.raises(FloatingPointError, match="the validation loss is nan.*row 711"):
        trainer().fit(X, y, validation_data=Rows(changed(X, (711, 3), np.nan), y))


def test_columns_without_memory_of_numbers_are_converted_some_rows_at_a_time():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": X[:, 0], "b": np.arange(N), "c": pandas.array(np.arange(N) % 7, dtype="Int64"),
                              "d": X[:, 3] > 0, "e": X[:, 4]})
    wanted, mine = trainer(), trainer()
    wanted.fit(frame, y, epochs=2)
    mine.fit(data.ArraySource(frame, y), epochs=2)
    assert outcome(mine) == outcome(wanted)
    frame.loc[711, "c"] = None
    with pytest.raises(data.SourceError, match="row 711 of X: X has a missing value in column 'c'"):
        trainer().fit(data.ArraySource(frame, y))
    with pytest.raises(TypeError, match="column 'b', must hold real numbers"):
        data.ArraySource(pandas.DataFrame({"b": ["x", "y"]}), y[:2])
    polars = pytest.importorskip("polars")
    mine = trainer()
    mine.fit(data.ArraySource(polars.DataFrame({f"f{j}": X[:, j] for j in range(N_IN)}), y), epochs=2)
    wanted = trainer()
    wanted.fit(X, y, epochs=2)
    assert outcome(mine) == outcome(wanted)


def test_what_is_no_source_is_told_of_them():
    for thing in ((each for each in [(X, y)]), iter([(X, y)]), {"x": 1}.values(), lambda: None):
        with pytest.raises(TypeError, match="X must be an array of numbers, got a .* object: .*data.GeneratorSource"):
            trainer().fit(thing)
    with pytest.raises(TypeError, match=r"mlpfast.data.BatchSource\(dataset\)"):
        trainer().fit(Items(X, y))
    with pytest.raises(TypeError, match="make_iterator must be a function, .*lambda: it"):
        data.GeneratorSource([(X, y)])
    once = iter([(X, y), (X, y)])
    with pytest.raises(ValueError, match="make_iterator must return a new iterator each time"):
        trainer().fit(data.GeneratorSource(lambda: once))
    for wrong in (lambda: iter([{"X": X}]), lambda: 1 / 0, lambda: None, lambda: zip(X, y, strict=True)):
        with pytest.raises(data.SourceError, match="<lambda>, row 0: "):  # by a look at the first rows
            trainer().fit(data.GeneratorSource(wrong))
    for call in (trainer().step, mlpfast.backprop.forward):
        with pytest.raises(TypeError, match="got a Rows object: a source goes to fit, evaluate or predict"):
            call(*([Rows(X, y), y] if call.__name__ == "step" else [trainer().network, Rows(X, y)]))
    for call in (trainer().evaluate, trainer().network.predict):
        with pytest.raises(TypeError, match=r"mlpfast.data.BatchSource\(dataset\)"):
            call(Items(X, y))
    with pytest.raises(ValueError, match=r"y must be there .*: ArraySource\(X, y\)"):
        trainer().fit(data.ArraySource(X))


def test_numbers_of_rows_that_are_wrong():
    for n, got in (("1203", "'1203'"), (1203.0, "1203.0")):
        wrong = Rows(X, y)
        wrong.n = n
        with pytest.raises(TypeError, match=f"n of X must be the number of its rows, or None, got {got}"):
            trainer().fit(wrong)
    wrong = Blocks((X, y), 100)
    wrong.block_rows[0] = 99
    with pytest.raises(ValueError, match="block_rows of X must add up to n, 1203, got 1202"):
        trainer().fit(wrong)
    wrong = Rows(X, y)
    wrong.n = None
    with pytest.raises(ValueError, match="n of X must be a number for a source with `read`, got None"):
        trainer().fit(wrong)


def test_arguments_of_sources_are_checked():
    with pytest.raises(TypeError, match="by_array must be True or False"):
        data.BatchSource(Items(X, y), by_array="yes")
    with pytest.raises(TypeError, match="dataset must have __len__"):
        data.BatchSource(iter([]))
    with pytest.raises(ValueError, match=r"X must have shape \(n, n_features\)"):
        data.ArraySource(X[0])


def test_arguments_of_fit_that_do_not_go_with_a_source():
    with pytest.raises(ValueError, match="batch_size must be a number for a source"):
        trainer(batch_size=None).fit(Rows(X, y))
    with pytest.raises(ValueError, match="y must be None with a source"):
        trainer().fit(Rows(X, y), y)
    with pytest.raises(ValueError, match="sample_weight must be None with a source"):
        trainer().evaluate(Rows(X, y), sample_weight=WEIGHT)
    with pytest.raises(ValueError, match="X must have 5 features, got a source with 4"):
        trainer().fit(Rows(X[:, :4], y))
    with pytest.raises(ValueError, match="'cox_ph' joins rows of all data"):
        trainer("cox_ph", widths=(N_IN, 4, 1)).fit(Rows(X, np.ones((N, 2))))
    with pytest.raises(ValueError, match="at least one row, got a source without any"):
        trainer().fit(data.GeneratorSource(lambda: iter([]), n_features=N_IN))
    with pytest.raises(ValueError, match="lr must be"):  # before anything is read
        trainer(optimizer=SGD(-1.0)).fit(data.GeneratorSource(lambda: 1 / 0, n_features=N_IN))
    with pytest.raises(ValueError, match="class_weight of several labels"):
        trainer("binary_cross_entropy").fit(Rows(X, (X[:, :K] > 0).astype(int)), class_weight="balanced")


# ---- Interrupts, progress and memory ----


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
@pytest.mark.usefixtures("signals_come_through")
def test_ctrl_c_comes_through_while_a_source_blocks():
    never = threading.Event()

    def blocks():
        yield X, y
        if threading.current_thread() is not threading.main_thread():
            os.kill(os.getpid(), signal.SIGINT)
            never.wait(60)

    source = data.GeneratorSource(blocks, n_features=N_IN)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    mine = trainer()
    try:
        with pytest.raises(KeyboardInterrupt):
            mine.fit(source)
    finally:
        never.set()
        signal.signal(signal.SIGINT, previous)
    mine.fit(X, y)  # goes on


def test_an_epoch_of_unknown_length_shows_its_rows(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    monkeypatch.setattr("mlpfast._progress.LINE_SECONDS", 0)
    source = generator(X, y)
    source.shuffle_rows = 100
    trainer().fit(source, epochs=2, progress=True)
    lines = capsys.readouterr().out.splitlines()
    first = [line for line in lines if line.startswith("epoch 1/2")]
    assert "rows  " in first[0] and "rows/s" in first[0] and "left" not in first[0] and "%" not in first[0]
    assert "left" in first[-1] and "in all" in lines[-1] and "rows/s" in lines[-1]


def test_an_epoch_of_unknown_length_has_a_bar():
    pytest.importorskip("tqdm")
    trainer().fit(generator(X, y), epochs=2, progress=True)


PEAK = """
    import sys, threading
    import numpy as np
    import mlpfast
    from mlpfast import data

    def anonymous():
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) * 1024

    kind, K, path = sys.argv[2], 2, sys.argv[1]
    n, k, dtype = (5_000_000, 4, np.uint8) if kind == "in place" else (1_000_000, 16, np.float32)
    X = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(n, k))
    X[:] = (np.arange(n) % 97)[:, None]
    X = np.load(path, mmap_mode="r")
    if kind == "table":
        import pandas
        X = pandas.DataFrame({f"f{j}": X[:, j].astype(np.float64) for j in range(k)})
    y = np.arange(n) % K

    def own(y, yhat, sample_weight=None):
        return float(yhat[0, 0])

    def fit(*source, **options):
        net = mlpfast.Network([k, 4, K], output="softmax", seed=0)
        trainer = mlpfast.Trainer(net, batch_size=2000, seed=0)
        trainer.fit(*source, **options)
        trainer.evaluate(*source, metrics=["top_1"])
        net.predict(source[0], out=lambda first, yhat: None)

    options = dict(validation_split=0.1, stratify=True, class_weight="balanced", metrics=["top_2", "accuracy", own])
    fit(data.ArraySource(X[:2000], y[:2000]), **options)
    peak, base, done = [0], anonymous(), threading.Event()

    def watch():
        while not done.wait(0.001):
            peak[0] = max(peak[0], anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    if kind == "table":
        fit(X, y, **options)
    else:
        fit(data.ArraySource(X if kind == "in place" else np.asarray(X).view(np.int32), y), **options)
    done.set()
    thread.join()
    print(peak[0] - base, 64_000_000 + (32 + 4 * K) * n)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc of Linux")
@pytest.mark.parametrize("kind", ["in place", "converted", "table"])
def test_data_are_not_copied(tmp_path, kind):
    """With all of validation_split, stratify, class_weight and metrics, also a function."""
    if kind == "table":
        pytest.importorskip("pandas")
    got, limit = map(int, run_python(PEAK, tmp_path / "X.npy", kind).split())
    assert got <= limit
