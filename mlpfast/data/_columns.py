"""Columns of Arrow tables as arrays: types, nulls, and classes by name. pyarrow is imported by whoever calls."""

import math
import numbers

import numpy as np

from .._nearest import did_you_mean
from .._reading import InBlock

# Types whose numbers float32 holds.
NARROW = {"uint8", "int8", "int16", "uint16", "float16", "float32", "bool"}


class Columns:
    """Which columns of a table are X, y and weight, and how they become numbers.

    types: {name: pyarrow's DataType}. index: the names of columns that are no features unless asked for. target: a
    name, a list of names (y (n, k)), or None. nulls: "error", "nan", or the number that takes their place. categories:
    {name: values}, whose positions are the class numbers.
    """

    def __init__(self, types, features, target, weight, nulls, categories, index=()):
        self.target = target
        targets = [] if target is None else [target] if isinstance(target, str) else _names("target", target)
        if features is None:
            features = [name for name in types if name not in (*targets, weight) and name not in index]
        features = _names("features", features)
        self.features, self.targets, self.weight = list(features), targets, weight
        self.all = list(dict.fromkeys([*self.features, *targets, *([] if weight is None else [weight])]))
        if not self.features:
            raise ValueError("features must name at least one column, got none")
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"features must be different columns, got {', '.join(self.features)}")
        asked = {"features": features, "target": targets, "weight": [] if weight is None else [weight]}
        for argument, names in asked.items():
            for name in names:
                if name not in types:
                    hint = did_you_mean(str(name), list(types))
                    raise ValueError(
                        f"{argument}: there is no column {name!r}; there are {', '.join(map(str, types))}{hint}"
                    )
        self.nulls, self.fill = _nulls(nulls)
        self.types = {name: types[name] for name in self.all}
        self.categories = _categories(categories, self.all)
        self.named = [name for name in self.all if self._is_named(name)]
        self.dtype = self._dtype()

    def _is_named(self, name):
        """Whether the column holds names, that become class numbers."""
        import pyarrow.types as kinds

        kind = self.types[name]
        if kinds.is_dictionary(kind) or name in self.categories:
            return True
        text = kinds.is_string(kind) or kinds.is_large_string(kind)
        if text and name in self.targets:
            return True
        if text or not (kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)):
            hint = f": categories={{{name!r}: [...]}} makes class numbers of its values" if text else ""
            hint += "" if name != self.weight and name not in self.features else ", or leave it out of features"
            raise TypeError(f"column {name!r} must hold numbers, or be a dictionary, got {kind}{hint}")
        return False

    def _dtype(self):
        """Of X: uint8 only if all columns are, otherwise input_scale would apply."""
        kinds = {"int32" if name in self.named else str(self.types[name]) for name in self.features}
        kinds = {{"halffloat": "float16", "float": "float32", "double": "float64"}.get(kind, kind) for kind in kinds}
        if kinds == {"uint8"} and self.nulls == "error":
            return np.dtype(np.uint8)
        wide = kinds - NARROW - ({"int32"} if self.named else set())
        return np.dtype(np.float64 if wide else np.float32)

    def check_schema(self, types):
        """ValueError if a file has other columns than the first one."""
        for name, kind in self.types.items():
            if name not in types:
                raise ValueError(f"the column {name!r} of the first file is missing")
            if types[name] != kind and not (name in self.named and not self._is_plain(types[name])):
                raise ValueError(f"column {name!r} is {types[name]}, and {kind} in the first file")

    def _is_plain(self, kind):
        import pyarrow.types as kinds

        return kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)

    def missing_categories(self):
        return [name for name in self.named if name not in self.categories]

    def arrays(self, table):
        """(X, y, weight) of a pyarrow Table or RecordBatch."""
        columns = [self.array(table.column(name), name, self.dtype) for name in self.features]
        X = rows_of(columns, table.num_rows, self.dtype)
        truth = [self.array(table.column(name), name) for name in self.targets]
        y = None if not truth else truth[0] if isinstance(self.target, str) else np.stack(truth, axis=1)
        weight = None if self.weight is None else self.array(table.column(self.weight), self.weight, may_fill=False)
        return X, y, weight

    def array(self, column, name, dtype=None, may_fill=True):
        """A column as an array (n,); dtype: of X, None: its own."""
        import pyarrow.compute as compute

        if name in self.named:
            column = self._numbered(column, name)
        if column.null_count:
            if self.nulls == "error" or not may_fill:
                hint = '; nulls="nan" makes NaN of them, and nulls=0.0 that number' if may_fill else ""
                raise InBlock(_first(column.is_null()), f"column {name!r} holds a null{hint}")
            wide = column.cast("float32" if dtype == np.float32 else "float64", safe=False)
            column = compute.fill_null(wide, self.fill)
        array = _numpy(column)
        return array if dtype is None or array.dtype == dtype else array.astype(dtype)

    def _numbered(self, column, name):
        """Class numbers (int32) of a column of names."""
        import pyarrow
        import pyarrow.compute as compute

        if pyarrow.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        values = pyarrow.array(self.categories[name])
        found = compute.index_in(column, value_set=values.cast(column.type))
        unknown = compute.and_(compute.is_null(found), compute.is_valid(column))
        if compute.any(unknown).as_py():
            at = _first(unknown)
            value = column[at].as_py()
            raise InBlock(at, f"column {name!r} holds {value!r}, which is not among its categories")
        return found


def _numpy(column):
    """Of a pyarrow Array or ChunkedArray."""
    return column.to_numpy() if hasattr(column, "chunks") else column.to_numpy(zero_copy_only=False)


def _first(true):
    """The position of the first True of a boolean column."""
    return int(np.argmax(_numpy(true)))


def _names(argument, names):
    """A list of names of columns."""
    if isinstance(names, str) or not hasattr(names, "__iter__"):
        hint = f": [{names!r}] is one" if isinstance(names, str) else ""
        one = "a name of a column, or " if argument == "target" else ""
        raise TypeError(f"{argument} must be {one}a list of names of columns, got {names!r}{hint}")
    return list(names)


def _categories(given, names):
    """{name: list of values}"""
    if not (given is None or hasattr(given, "items")):
        raise TypeError(f"categories must be a dict {{name of a column: its values}}, got {given!r}")
    categories = {}
    for name, values in (given or {}).items():
        if name not in names:
            raise ValueError(f"categories must be of columns that are read, got {name!r}")
        if isinstance(values, str) or not hasattr(values, "__iter__"):
            raise TypeError(f"categories[{name!r}] must be a list of values, got {values!r}")
        categories[name] = list(values)
        if len(set(categories[name])) < len(categories[name]):
            raise ValueError(f"categories[{name!r}] must be different values, got {categories[name]}")
    return categories


def _nulls(nulls):
    """(what to do, the number in their place)"""
    if isinstance(nulls, str) and nulls in ("error", "nan"):
        return nulls, math.nan
    if isinstance(nulls, numbers.Real) and not isinstance(nulls, bool):
        return "fill", float(nulls)
    raise ValueError(f'nulls must be "error", "nan" or a number to put in their place, got {nulls!r}')


ROWS_AT_ONCE = 2048  # of a transposition: rows of hundreds of columns stay in the second-level cache


def rows_of(columns, n, dtype):
    """X (n, k) of k arrays (n,)."""
    X = np.empty((n, len(columns)), dtype)
    for first in range(0, n, ROWS_AT_ONCE):
        some = slice(first, first + ROWS_AT_ONCE)
        np.stack([column[some] for column in columns], axis=1, out=X[some])
    return X
