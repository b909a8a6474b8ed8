"""Sources of tables in files, through pyarrow, which is imported when one is made."""

from __future__ import annotations

import glob
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from .._attributes import Closed
from .._reading import SourceError
from .._scalars import one_of, whole_number
from ._columns import Columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .._types import Array, PathLike

__all__ = ["DatasetSource", "ParquetSource"]

FORMATS = {".arrow": "ipc", ".feather": "ipc", ".ipc": "ipc", ".csv": "csv", ".orc": "orc", ".json": "json",
           ".jsonl": "json", ".parquet": "parquet"}


class _TableSource(Closed):
    """What both have in common."""

    n: int | None
    _columns: Columns
    _lock: threading.Lock
    _what: str  # for messages

    _elsewhere = {
        **dict.fromkeys(("columns", "X"), "the columns of X are called features"),
        **dict.fromkeys(("label", "labels", "y"), "it is called target"),
        "sample_weight": "the column of weights is called weight",
    }

    @property
    def features(self) -> list[str]:
        """The names of the columns of X."""
        return list(self._columns.features)

    @property
    def n_features(self) -> int:
        """The number of columns of X."""
        return len(self._columns.features)

    @property
    def categories(self) -> dict[str, list[Any]]:
        """{column: its values}, for columns of names, whose class numbers are the positions: predictions back to names
        by categories[target][class number]. For other files of the same data give them to their source."""
        with self._lock:
            wanted = self._columns.missing_categories()
            if wanted:
                self._columns.categories.update(self._values_of(wanted))
            return {name: list(self._columns.categories[name]) for name in self._columns.named}

    def _tables(self, names):
        """These columns of all rows, table by table."""
        raise NotImplementedError

    def _values_of(self, names):
        """{name: its different values, sorted}: one pass over these columns alone."""
        import pyarrow

        values: dict = {name: set() for name in names}
        for table in self._tables(names):
            for name in names:
                column = table.column(name)
                if pyarrow.types.is_dictionary(column.type):
                    column = column.cast(column.type.value_type)
                values[name].update(column.unique().drop_null().to_pylist())
        return {name: sorted(found) for name, found in values.items()}

    def __repr__(self) -> str:
        rows = "?" if self.n is None else self.n
        return f"<{type(self).__name__} of {rows} rows, {self.n_features} features: {self._what}>"


class ParquetSource(_TableSource):
    """Parquet files, read row group by row group, and of these the columns that are needed.

    paths: a file, a folder (all *.parquet in it and below), a pattern such as "data/part-*.parquet", or a list of
        these; in the order of their names.
    features: the names of the columns of X; None takes all but target, weight and an index of pandas.
    target: the name of the column y, a list of names for y (n, k), or None for predictions.
    weight: the name of the column of sample weights, or None.
    nulls: "error" refuses nulls; "nan" makes NaN of them, for `missing="ignore"` of a loss; a number takes their place.
    categories: {column: values}; the class number of a value is its position. Without it those of a dictionary column,
        and of a target of texts, are its different values in ascending order, found in one pass over that column.
    shuffle_rows: how many rows are shuffled together, where the Trainer shuffles; None: what fits in 256 MB.

    X is uint8 if all its columns are, float32 if that holds each of their numbers (integers of 16 bits, bool, class
    numbers), else float64. FileNotFoundError for a missing file, ValueError for a column that is not there, TypeError
    for one of texts, dates and others.

    >>> import pyarrow.parquet
    >>> import mlpfast
    >>> table = pyarrow.table({"a": [1.0, 2.0, 3.0], "b": [4, 5, 6], "kind": ["cat", "dog", "cat"]})
    >>> pyarrow.parquet.write_table(table, "animals.parquet", row_group_size=2)
    >>> source = mlpfast.data.ParquetSource("animals.parquet", target="kind")
    >>> source
    <ParquetSource of 3 rows, 2 features: animals.parquet>
    >>> source.features, source.categories
    (['a', 'b'], {'kind': ['cat', 'dog']})
    """

    shuffle_rows: int | None
    block_rows: Array
    n: int

    def __init__(
        self,
        paths: PathLike | Iterable[PathLike],
        features: Sequence[str] | None = None,
        target: str | Sequence[str] | None = None,
        weight: str | None = None,
        *,
        nulls: str | float = "error",
        categories: Mapping[str, Sequence[Any]] | None = None,
        shuffle_rows: int | None = None,
    ) -> None:
        parquet = _imported("pyarrow.parquet")
        self._lock, self._files = threading.Lock(), _files(paths)
        self.shuffle_rows = None if shuffle_rows is None else whole_number("shuffle_rows", shuffle_rows, least=1)
        self._what = _shown(self._files)
        sizes: list[int] = []
        self._groups: list[tuple[str, int, int]] = []
        for file in self._files:
            try:
                metadata, schema = parquet.read_metadata(file), parquet.read_schema(file)
            except Exception as error:
                other = FORMATS.get(os.path.splitext(file)[1].lower(), "parquet") != "parquet"
                hint = "; DatasetSource reads files of other formats" if other else ""
                raise type(error)(f"{file}: {error}") if isinstance(error, OSError) else SourceError(
                    f"{file}: {type(error).__name__}: {error}{hint}") from error
            types = _types(schema)
            if file == self._files[0]:
                self._columns = Columns(types, features, target, weight, nulls, categories, _index(schema))
            else:
                _check_schema(self._columns, types, file)
            row = 0
            for group in range(metadata.num_row_groups):
                self._groups.append((file, group, row))  # row: its first one in the file
                sizes.append(metadata.row_group(group).num_rows)
                row += sizes[-1]
        self.block_rows = np.array(sizes, np.int64)
        self.n = int(self.block_rows.sum())
        if self.n == 0:
            raise ValueError(f"{self._what}: there must be at least one row, got none")

    def blocks(self, order: Array | None) -> Iterator[Any]:
        """(X, y) or (X, y, weight) of one row group after the other, in that order."""
        self.categories  # noqa: B018  those that are to be found
        opened: tuple = None, None
        for number in range(len(self._groups)) if order is None else order.tolist():
            file, group, _ = self._groups[number]
            if opened[0] != file:
                opened = file, self._opened(file)
            yield self._columns.arrays(opened[1].read_row_group(group, columns=self._columns.all))

    def _opened(self, file):
        import pyarrow.parquet as parquet

        opened = parquet.ParquetFile(file)
        self._columns.check_schema(_types(opened.schema_arrow))
        return opened

    def _tables(self, names):
        for file in self._files:
            opened = self._opened(file)
            for group in range(opened.num_row_groups):
                yield opened.read_row_group(group, columns=names)

    def where(self, row: int) -> str:
        """A text for messages: the file, the row and its row group."""
        starts = np.concatenate([[0], np.cumsum(self.block_rows)])
        number = min(int(np.searchsorted(starts, row, side="right")) - 1, len(self._groups) - 1)
        file, group, first = self._groups[number]
        return f"{file}, row {first + row - int(starts[number])} (row group {group})"


class DatasetSource(_TableSource):
    r"""Files that pyarrow.dataset reads: Arrow (Feather), CSV, ORC, JSON, and Parquet of partitioned folders.

    They cannot be read from the middle: rows come in the order of the files, and are shuffled within the window of
    shuffle_rows. paths: as for ParquetSource, or a pyarrow.dataset.Dataset. format: "ipc", "csv", "orc", "json" or
    "parquet"; None: by the suffix of the files' names. n: the number of rows, if known; None counts those of Arrow
    files, where it costs nothing. The others as for ParquetSource.

    features, target, weight, nulls, categories, shuffle_rows and errors: as for ParquetSource; ValueError for a format
        that the ending does not tell.

    >>> import pathlib
    >>> import mlpfast
    >>> text = pathlib.Path("animals.csv").write_text("a,b,kind\n1,4,cat\n2,5,dog\n3,6,cat\n")
    >>> source = mlpfast.data.DatasetSource("animals.csv", features=["a", "b"], target="kind", n=3)
    >>> source
    <DatasetSource of 3 rows, 2 features: animals.csv>
    >>> source.features, source.categories
    (['a', 'b'], {'kind': ['cat', 'dog']})
    """

    shuffle_rows: int | None
    dataset: Any
    n: int | None

    def __init__(
        self,
        paths: PathLike | Iterable[PathLike],
        features: Sequence[str] | None = None,
        target: str | Sequence[str] | None = None,
        weight: str | None = None,
        *,
        format: str | None = None,
        n: int | None = None,
        nulls: str | float = "error",
        categories: Mapping[str, Sequence[Any]] | None = None,
        shuffle_rows: int | None = None,
    ) -> None:
        dataset = _imported("pyarrow.dataset")
        self._lock, self._place = threading.Lock(), [(0, "")]
        self.shuffle_rows = None if shuffle_rows is None else whole_number("shuffle_rows", shuffle_rows, least=1)
        if isinstance(paths, dataset.Dataset):
            self.dataset, self._what = paths, type(paths).__name__
        else:
            files = _files(paths, FORMATS)
            format = format or FORMATS.get(os.path.splitext(files[0])[1].lower())
            if format is None:
                raise ValueError(f"format must be given for {files[0]!r}, whose suffix says nothing, got None")
            one_of("format", format, sorted(set(FORMATS.values())))
            self._what = _shown(files)
            try:
                self.dataset = dataset.dataset(files, format=format)
            except ValueError as error:  # ArrowInvalid
                raise SourceError(f"{files[0]}: {error}") from error
        schema = self.dataset.schema
        self._columns = Columns(_types(schema), features, target, weight, nulls, categories, _index(schema))
        self.n = None if n is None else whole_number("n", n, least=1)
        if n is None and format == "ipc":
            self.n = self.dataset.count_rows()

    def blocks(self, order: Array | None) -> Iterator[Any]:
        """(X, y) or (X, y, weight) of some rows after the other."""
        self.categories  # noqa: B018  those that are to be found
        row, path, self._place = 0, None, [(0, self._what)]
        for tagged in self.dataset.scanner(columns=self._columns.all).scan_batches():
            batch, fragment = tagged.record_batch, getattr(tagged.fragment, "path", None) or self._what
            if fragment != path:
                path = fragment
                self._place.append((row, path))
            row += batch.num_rows
            yield self._columns.arrays(batch)

    def _tables(self, names):
        yield from self.dataset.to_batches(columns=names)

    def where(self, row: int) -> str:
        """A text for messages: the file and the row in it."""
        first, path = [place for place in self._place if place[0] <= row][-1]
        return f"{path}, row {row - first}"


def _imported(name):
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'this source needs pyarrow, which is not installed: pip install "mlpfast[parquet]" ({error})'
                          ) from error


def _files(paths, endings=(".parquet",)):
    """The files of a path, folder or pattern, or of several, in the order of their names."""
    several = isinstance(paths, (list, tuple))
    found: list[str] = []
    for path in paths if several else [paths]:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"paths must be a file, a folder, a pattern, or a list of these, got a "
                            f"{type(path).__name__} object")
        path = os.fspath(path)
        if os.path.isdir(path):
            below = sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
            files = [file for file in below if os.path.splitext(file)[1].lower() in endings]
        elif os.path.exists(path):
            files = [path]
        else:
            files = sorted(glob.glob(path, recursive=True))
        if not files:
            raise FileNotFoundError(f"{path}: there is no such file, no file of a folder or pattern with that name")
        found += files
    if not found:
        raise ValueError("paths must name at least one file, got none")
    return found


def _shown(files):
    return files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


def _types(schema):
    return dict(zip(schema.names, schema.types, strict=True))


def _index(schema):
    """The names of the columns in which pandas has written the index of a table."""
    return [name for name in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(name, str)]


def _check_schema(columns, types, file):
    try:
        columns.check_schema(types)
    except ValueError as error:
        raise SourceError(f"{file}: {error}") from None
