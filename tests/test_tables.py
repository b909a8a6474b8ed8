"""Tables and columns of pandas and polars: they give their numbers, or an error with the column and the first row."""

import numpy as np
import pytest

from mlpfast import Network, Trainer, backprop, losses

NUMBERS = {"height": [1.5, 2.5, -3.0, 4.0], "member": [True, False, True, True], "age": [30, 40, 50, 60]}
PLAIN = np.array(list(NUMBERS.values()), float).T
Y = [0, 1, 2, 0]


class Kind:
    """A dtype that is not one of NumPy."""

    def __init__(self, numpy_dtype):
        self.numpy_dtype = np.dtype(numpy_dtype)

    def __repr__(self):
        return f"Kind({self.numpy_dtype})"


class Column:
    """A minimal column, for environments without pandas and polars."""

    def __init__(self, values):
        self._missing = np.array([value is None for value in values])
        self._values = np.array([0 if value is None else value for value in values])
        self.dtype = Kind(self._values.dtype)

    def isna(self):
        return self._missing

    def to_numpy(self, dtype):
        assert not self._missing.any()
        return self._values.astype(dtype)


class Table:
    def __init__(self, columns):
        self._columns = {name: Column(values) for name, values in columns.items()}
        self.columns = list(columns)
        self.dtypes = [column.dtype for column in self._columns.values()]

    def __len__(self):
        return len(self._columns[self.columns[0]]._values)

    def items(self):
        return self._columns.items()

    def to_numpy(self):
        return np.array([[str(name) for name in self.columns]])  # must not be called


def of_pandas(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def nullable(columns):
    return of_pandas(columns).convert_dtypes()


def of_arrow(columns):
    pytest.importorskip("pyarrow")
    return of_pandas(columns).convert_dtypes(dtype_backend="pyarrow")


def of_polars(columns):
    return pytest.importorskip("polars").DataFrame(columns, strict=False)


tables = pytest.mark.parametrize("table", [Table, of_pandas, nullable, of_arrow, of_polars])
with_missing_values = pytest.mark.parametrize("table", [Table, nullable, of_arrow, of_polars])


def column_of(table, values):
    made = table({"only": values})
    return made._columns["only"] if table is Table else made["only"]


def trained(X, y, **more):
    net = Network([X.shape[1] if isinstance(X, np.ndarray) else len(X.columns), 4, 3], output="softmax", seed=0)
    trainer = Trainer(net, seed=0, batch_size=2)
    logs = [trainer.evaluate(X, y), dict(trainer.fit(X, y, **{"validation_data": (X, y), **more})), trainer.step(X, y)]
    outputs = [net.predict(X).tobytes(), backprop.forward(net, X).X.tobytes()]
    return [*[p.tobytes() for p in net.parameters], *outputs, logs]


@tables
@pytest.mark.parametrize("names", ["height member age", "age height", "member", "age", "member age"])
def test_numeric_columns_are_numbers(table, names):
    columns = {name: NUMBERS[name] for name in names.split()}
    X = np.array(list(columns.values()), float).T
    assert trained(table(columns), Y) == trained(X, Y)


@tables
def test_columns_are_y_and_weights(table):
    y, weight = column_of(table, Y), column_of(table, [1, 2, 0, 3])
    assert trained(PLAIN, y, sample_weight=weight) == trained(PLAIN, Y, sample_weight=[1, 2, 0, 3])
    weight, split = column_of(table, [1, 2, 1, 3]), {"validation_data": None, "validation_split": 0.5}
    assert trained(PLAIN, y, sample_weight=weight, **split) == trained(PLAIN, Y, sample_weight=[1, 2, 1, 3], **split)


@with_missing_values
def test_missing_values_are_named(table):
    X, trainer = table({**NUMBERS, "age": [30, 40, None, None]}), Trainer(Network([3, 3], output="softmax", seed=0))
    message = r"X must have no missing values, got one in column 'age' in row 2"
    for call in (trainer.fit, trainer.step, trainer.evaluate, lambda X, y: trainer.network.predict(X)):
        with pytest.raises(ValueError, match=message):
            call(X, Y)
    with pytest.raises(ValueError, match=f"validation_data {message}"):
        trainer.fit(PLAIN, Y, validation_data=(X, Y))
    with pytest.raises(ValueError, match="y must have no missing values, got one in row 1"):
        trainer.fit(PLAIN, column_of(table, [0, None, 1, 2]))


@tables
def test_nan_is_found_under_the_name_of_its_column(table):
    X = table({**NUMBERS, "height": [1.0, 2.0, 3.0, np.inf]})
    trainer = Trainer(Network([3, 3], output="softmax", seed=0))
    for call in (trainer.fit, trainer.step, trainer.evaluate):
        with pytest.raises(FloatingPointError, match=r"X\[3, 0\] \(column 'height'\) is inf"):
            call(X, Y)


def test_a_missing_value_is_named_rather_than_numbers_that_are_objects():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame({"a": [1.0, 2, 3, 4], "b": [1, pandas.NA, 3, 4]}, dtype=object)
    with pytest.raises(TypeError, match=r"object in column 'b': X\[1, 1\] is <NA>, a missing value"):
        Trainer(Network([2, 3], output="softmax", seed=0)).step(X, Y)


@tables
@pytest.mark.parametrize("texts, what", [
    (["10", "20", "?", "30"], "among numbers: if it stands for a missing value"),
    (["red", "?", "blue", "red"], "give each value of the column a column of 0 and 1"),
])
def test_texts_in_x_are_named(table, texts, what):
    X, trainer = table({**NUMBERS, "colour": texts}), Trainer(Network([4, 3], output="softmax", seed=0))
    row = texts.index("?") if "10" in texts else 0
    for call in (trainer.fit, trainer.step, trainer.evaluate):
        with pytest.raises(TypeError) as caught:
            call(X, Y)
        message = str(caught.value)
        assert message.startswith("X must hold real numbers, got ") and " in column 'colour'" in message
        assert f"X[{row}, 3] is {texts[row]!r}" in message and what in message and "unique" not in message
    with pytest.raises(TypeError, match="y must hold real numbers.*numpy.unique"):
        trainer.fit(np.ones((4, 4)), column_of(table, texts))


@tables
def test_bytes_are_scaled_and_other_numbers_are_not_bytes(table):
    pixels = {name: np.array([0, 9, 99, 255], np.uint8) for name in ("a", "b")}
    if table in (nullable, of_arrow, of_pandas, of_polars):
        assert {str(dtype).lower() for dtype in table(pixels).dtypes} <= {"uint8", "uint8[pyarrow]"}
    net = Network([2, 3], seed=0, input_scale=1 / 255)
    X = np.stack(list(pixels.values()), axis=1)
    assert net.predict(table(pixels)).tobytes() == net.predict(X).tobytes()
    with pytest.raises(TypeError, match="X must be uint8 or floating point"):  # int64, not uint8
        net.predict(table({**pixels, "b": [True] * 4}))


def test_a_table_of_one_type_is_read_in_place():
    pandas = pytest.importorskip("pandas")
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    frame = pandas.DataFrame(X, copy=False)
    seen = []
    Trainer(Network([3, 3], output="softmax", seed=0)).fit(
        frame, np.arange(50) % 3, epochs=2,
        callbacks=lambda trainer, epoch, logs: seen.append(logs["loss"]) or X.__imul__(0) is None)
    assert seen[1] == pytest.approx(np.log(3), abs=0.1) != seen[0]


def test_columns_without_numbers():
    pandas = pytest.importorskip("pandas")
    net = Network([1, 3], seed=0)
    for values, dtype in ((pandas.to_datetime(["2020-01-01"]), "datetime64"), ([1j], "complex"), ([{}], "object")):
        with pytest.raises(TypeError, match=f"X must hold real numbers, got {dtype}.* in column 'when'"):
            net.predict(pandas.DataFrame({"when": values}))


def test_missing_targets_of_pandas_name_the_way_to_nan():
    pd = pytest.importorskip("pandas")
    X, y = np.eye(3), pd.Series([1, None, 2], dtype="Int64")
    trainer = Trainer(Network([3, 1], seed=0), losses.Huber(missing="ignore"))
    with pytest.raises(ValueError, match=r'for missing="ignore", pass its to_numpy\(dtype=float, na_value=np.nan\)'):
        trainer.fit(X, y)
    assert np.isfinite(trainer.fit(X, y.to_numpy(dtype=float, na_value=np.nan))["loss"][0])
