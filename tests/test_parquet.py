"""Files of columns as sources: Parquet, and what pyarrow.dataset, scikit-learn and SciPy read."""

import sys

import numpy as np
import pytest

from mlpfast import Network, Trainer, data, losses

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

N = 500
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 4)).astype(np.float32)
y = np.abs(X[:, :3]).argmax(axis=1)
NAMES = np.array(["ant", "bee", "cat"])
WEIGHT = rng.integers(3, size=N) / 2
FEATURES = ["f0", "f1", "f2", "f3"]


def table(rows=slice(None), **columns):
    own = {name: X[rows, j] for j, name in enumerate(FEATURES)}
    more = {"y": y[rows], "name": NAMES[y[rows]], "weight": WEIGHT[rows]}
    return pyarrow.table({**own, **more, **columns})


@pytest.fixture
def folder(tmp_path):
    """A folder of three Parquet files, whose row groups have 40 rows."""
    for part, rows in enumerate((slice(0, 210), slice(210, 211), slice(211, N))):
        parquet.write_table(table(rows), tmp_path / f"part-{part}.parquet", row_group_size=40)
    return tmp_path


def fit(*arrays, loss="cross_entropy", **options):
    net = Network([4, 8, 3], activation="tanh", output="softmax" if loss == "cross_entropy" else "identity", seed=0)
    trainer = Trainer(net, loss, batch_size=16, seed=1)
    trainer.fit(*arrays, epochs=2, **options)
    return [p.tobytes() for p in net.parameters], dict(trainer.history)


def test_parquet_has_the_bits_of_arrays(folder):
    wanted = fit(X, y)
    for paths in (folder, str(folder), folder / "part-*.parquet", sorted(folder.iterdir())):
        source = data.ParquetSource(paths, FEATURES, "y")
        assert fit(source) == wanted
    assert (source.n, source.n_features, source.features) == (N, 4, FEATURES)
    assert source.block_rows.tolist() == [40] * 5 + [10, 1] + [40] * 7 + [9]
    assert source.where(212) == f"{folder / 'part-2.parquet'}, row 1 (row group 0)"
    assert fit(data.ParquetSource(folder, FEATURES, "y", "weight")) == fit(X, y, sample_weight=WEIGHT)
    two = data.ParquetSource(folder, FEATURES[:2], ["f2", "f3"])
    np.testing.assert_array_equal(np.concatenate([block[1] for block in two.blocks(None)]), X[:, 2:])
    assert data.ParquetSource(folder, target="name").features == [*FEATURES, "y", "weight"]


def test_only_the_columns_that_are_needed_are_read(folder, monkeypatch):
    asked = []

    class File(parquet.ParquetFile):
        def read_row_group(self, group, columns):
            asked.append(columns)
            return super().read_row_group(group, columns=columns)

    monkeypatch.setattr(parquet, "ParquetFile", File)
    X, truth, weight = next(iter(data.ParquetSource(folder, ["f1"], "y").blocks(np.array([3]))))
    assert asked == [["f1", "y"]] and X.shape == (40, 1) and weight is None


def test_names_become_class_numbers(tmp_path):
    """Each row group has a dictionary of its own, in another order."""
    files = []
    for part, rows in enumerate((slice(300, N), slice(0, 300))):
        files.append(tmp_path / f"{part}.parquet")
        parquet.write_table(table(rows, name=pyarrow.array(NAMES[y[rows]]).dictionary_encode()), files[-1])
    source = data.ParquetSource(files, FEATURES, "name")
    assert source.categories == {"name": ["ant", "bee", "cat"]}
    both = np.r_[300:N, 0:300]
    assert fit(source) == fit(X[both], y[both])
    source = data.ParquetSource(files, ["f0", "name"], "y", categories={"name": ["cat", "bee", "ant"]})
    numbers, *_ = next(iter(source.blocks(None)))
    np.testing.assert_array_equal(numbers[:, 1], 2 - y[300:N])
    assert numbers.dtype == np.float32
    few = data.ParquetSource(files, FEATURES, "name", categories={"name": ["ant", "bee"]})
    row = np.argmax(y[300:] == 2)
    with pytest.raises(data.SourceError, match=f"0.parquet, row {row} .*column 'name' holds 'cat', which"):
        fit(few)


@pytest.mark.parametrize("kinds, dtype", [
    (["uint8", "uint8"], "uint8"), (["uint8", "bool_"], "float32"), (["float16", "float32"], "float32"),
    (["int16", "float32"], "float32"), (["int32", "float32"], "float64"), (["float64", "uint8"], "float64"),
    (["int64", "int64"], "float64"),
])
def test_x_has_a_type_that_holds_all_numbers(tmp_path, kinds, dtype):
    columns = {f"c{j}": np.arange(5).astype(kind) for j, kind in enumerate(kinds)}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    (given, *_), = data.ParquetSource(tmp_path / "x.parquet").blocks(None)
    assert given.dtype == dtype
    np.testing.assert_array_equal(given, np.stack([column.astype(dtype) for column in columns.values()], axis=1))


def test_nulls_follow_a_rule(tmp_path):
    holes = [None if i % 7 == 3 else float(v) for i, v in enumerate(X[:, 0])]
    target = [None if i % 5 == 0 else float(v) for i, v in enumerate(X[:, 1])]
    path = tmp_path / "nulls.parquet"
    parquet.write_table(table(f0=pyarrow.array(holes, pyarrow.float32()), target=target), path, row_group_size=100)
    with pytest.raises(data.SourceError, match=r"nulls.parquet, row 3 \(.*: column 'f0' holds a null; .*nulls=0.0"):
        fit(data.ParquetSource(path, FEATURES, "y"))
    filled = X.copy()
    filled[3::7, 0] = -1.5
    assert fit(data.ParquetSource(path, FEATURES, "y", nulls=-1.5)) == fit(filled, y)
    missing = np.where(np.arange(N) % 5 == 0, np.nan, X[:, 1].astype(np.float64))
    loss = losses.Huber(missing="ignore")
    source = data.ParquetSource(path, FEATURES[1:], "target", nulls="nan")
    results = []
    for arrays in ((source,), (X[:, 1:], missing)):
        net = Network([3, 4, 1], seed=0)
        results.append(Trainer(net, loss, batch_size=16, seed=0).fit(*arrays, epochs=2))
    assert results[0] == results[1]
    with pytest.raises(ValueError, match='nulls must be "error", "nan" or a number'):
        data.ParquetSource(path, FEATURES, "y", nulls="drop")


def test_errors_name_file_and_row(folder):
    source = data.ParquetSource(folder, FEATURES, "y")
    with open(folder / "part-2.parquet", "r+b") as file:  # a row group whose pages are damaged
        file.seek(200)
        file.write(bytes(3000))
    with pytest.raises(data.SourceError, match=r"part-2.parquet, row 0 \(row group 0\): ") as caught:
        fit(source)
    assert caught.value.__cause__ is not None
    parquet.write_table(table(slice(211, 400)), folder / "part-2.parquet", row_group_size=40)
    with pytest.raises(data.SourceError, match=r"part-2.parquet, row 160 .*: a block must have 40 rows, got 29"):
        fit(source)
    parquet.write_table(table(slice(211, N), f2=np.arange(289)), folder / "part-2.parquet", row_group_size=40)
    with pytest.raises(data.SourceError, match="part-2.parquet, row 0 .*column 'f2' is int64, and float in the first"):
        fit(source)
    with pytest.raises(data.SourceError, match="part-2.parquet: column 'f2' is int64"):
        data.ParquetSource(folder, FEATURES, "y")
    parquet.write_table(table(slice(211, N)).drop_columns("f1"), folder / "part-2.parquet", row_group_size=40)
    with pytest.raises(data.SourceError, match="part-2.parquet: the column 'f1' of the first file is missing"):
        data.ParquetSource(folder, FEATURES, "y")
    (folder / "part-2.parquet").unlink()
    with pytest.raises(data.SourceError, match="part-2.parquet, row 0 .*: FileNotFoundError"):
        fit(source)
    (folder / "part-2.parquet").write_text("no Parquet")
    with pytest.raises(data.SourceError, match="part-2.parquet: ArrowInvalid"):
        data.ParquetSource(folder, FEATURES, "y")


def test_arguments_that_do_not_fit(folder):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        data.ParquetSource(folder / "nowhere*.parquet")
    with pytest.raises(ValueError, match="features: there is no column 'f9'; there are f0, f1"):
        data.ParquetSource(folder, ["f9"])
    with pytest.raises(ValueError, match="target: there is no column 'Y'; .*: did you mean 'y'?"):
        data.ParquetSource(folder, FEATURES, "Y")
    with pytest.raises(ValueError, match="weight: there is no column 'mass'"):
        data.ParquetSource(folder, FEATURES, "y", "mass")
    with pytest.raises(TypeError, match=r"features must be a list of names of columns, got 'f0': \['f0'\] is one"):
        data.ParquetSource(folder, "f0")
    with pytest.raises(TypeError, match="target must be a name of a column, or a list of names of columns, got 4"):
        data.ParquetSource(folder, ["f0"], 4)
    for wrong, message in (
        (["ant"], "categories must be a dict"), ({"name": "ant"}, r"\['name'\] must be a list of values"),
        ({"name": ["ant", "ant"]}, r"\['name'\] must be different values"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            data.ParquetSource(folder, FEATURES, "name", categories=wrong)
    with pytest.raises(TypeError, match="paths must be a file, a folder, a pattern, or a list of these, got a Table"):
        data.ParquetSource(table())
    with pytest.raises(ValueError, match="format must be one of csv, "):
        data.DatasetSource(folder / "part-0.parquet", format="xls")
    with pytest.raises(data.SourceError, match="part-0.parquet: .*Is this a 'ipc' file"):
        data.DatasetSource(folder / "part-0.parquet", format="ipc")
    with pytest.raises(TypeError, match=r"column 'name' must hold numbers, .*got string: categories=\{'name'"):
        data.ParquetSource(folder, ["name"])
    with pytest.raises(ValueError, match="features must be different columns"):
        data.ParquetSource(folder, ["f0", "f0"])
    with pytest.raises(ValueError, match="features must name at least one column"):
        data.ParquetSource(folder, [])
    with pytest.raises(ValueError, match="categories must be of columns that are read, got 'f9'"):
        data.ParquetSource(folder, ["f0"], categories={"f9": [1]})
    with pytest.raises(ValueError, match="paths must name at least one file"):
        data.ParquetSource([])
    with pytest.raises(TypeError, match="the column of weights is called weight"):
        data.ParquetSource(folder, sample_weight="weight")


def test_an_index_of_pandas_is_no_feature(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": X[:, 0], "y": y}, index=np.arange(N)[::-1])
    frame.to_parquet(tmp_path / "x.parquet")
    assert data.ParquetSource(tmp_path / "x.parquet", target="y").features == ["a"]
    assert data.DatasetSource(tmp_path / "x.parquet", target="y").features == ["a"]
    assert data.ParquetSource(tmp_path / "x.parquet", ["__index_level_0__"], "y").n_features == 1


def test_without_pyarrow_it_names_the_extra(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"needs pyarrow, which is not installed: pip install .*mlpfast\[parquet\]"):
        data.ParquetSource(folder)


def test_arrow_csv_and_datasets_have_the_bits_of_arrays(tmp_path):
    feather, csv = pytest.importorskip("pyarrow.feather"), pytest.importorskip("pyarrow.csv")
    dataset = pytest.importorskip("pyarrow.dataset")
    wanted = fit(X, y)
    for part, rows in enumerate((slice(0, 210), slice(210, N))):
        feather.write_feather(table(rows), tmp_path / f"{part}.arrow", compression="uncompressed", chunksize=50)
        csv.write_csv(table(rows), tmp_path / f"{part}.csv")
        parquet.write_table(table(rows), tmp_path / f"{part}.parquet")
    arrow = data.DatasetSource(tmp_path / "*.arrow", FEATURES, "y")
    assert arrow.n == N and fit(arrow) == wanted
    texts = data.DatasetSource(tmp_path / "*.csv", FEATURES, "name")
    assert texts.n is None and texts.categories == {"name": NAMES.tolist()}
    assert fit(texts)[0] == fit(X.astype(np.float64), y)[0]  # CSV has float64
    own = dataset.dataset([str(tmp_path / f"{part}.parquet") for part in range(2)])
    assert fit(data.DatasetSource(own, FEATURES, "y", n=N)) == wanted
    broken = tmp_path / "1.csv"
    broken.write_text(broken.read_text() + "too few\n")
    with pytest.raises(data.SourceError, match=r"\.csv.*, row \d+: ArrowInvalid: .*CSV"):
        fit(texts)
    other = table(slice(210, N), y=np.where(np.arange(N - 210) == 60, 7, y[210:]))
    feather.write_feather(other, tmp_path / "1.arrow", compression="uncompressed", chunksize=50)
    with pytest.raises(data.SourceError, match=r"1\.arrow, row 60: y must hold class numbers from 0 to 2.*got 7"):
        fit(arrow)
    with pytest.raises(ValueError, match="format must be given"):
        (tmp_path / "x.what").write_text("a\n1")
        data.DatasetSource(tmp_path / "x.what")


def test_texts_of_other_programs(tmp_path, monkeypatch):
    datasets = pytest.importorskip("sklearn.datasets")
    pytest.importorskip("scipy.io.arff")
    datasets.dump_svmlight_file(X, y, str(tmp_path / "x.txt"), zero_based=False)
    monkeypatch.setattr("mlpfast.data.texts.BYTES_AT_ONCE", 5000)
    source = data.libsvm(tmp_path / "x.txt", 4)
    blocks = list(source.blocks(None))
    assert len(blocks) > 3
    np.testing.assert_allclose(np.concatenate([block[0] for block in blocks]), X, rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate([block[1] for block in blocks]), y)
    fit(source)
    lines = [f"{row[0]},{NAMES[label]},{row[1]}" for row, label in zip(X[:50], y, strict=False)]
    head = ["@relation r", "@attribute a numeric", "@attribute kind {cat,bee,ant}", "@attribute b real", "@data"]
    (tmp_path / "x.arff").write_text("\n".join([*head, *lines]))
    given = data.arff(tmp_path / "x.arff", "kind")
    np.testing.assert_array_equal(given.y, 2 - y[:50])
    np.testing.assert_allclose(given.X, X[:50, :2])
    with pytest.raises(ValueError, match="there is no attribute 'c'; there are a, kind, b"):
        data.arff(tmp_path / "x.arff", "kind", ["c"])
