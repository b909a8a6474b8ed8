"""Text files of other programs, through the libraries that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .arrays import ArraySource
from .generators import GeneratorSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._types import PathLike

__all__ = ["arff", "libsvm"]

BYTES_AT_ONCE = 2**24


def libsvm(path: PathLike, n_features: int, *, shuffle_rows: int | None = None) -> GeneratorSource:
    r"""A GeneratorSource of a text file of the LIBSVM format, which scikit-learn reads some 16 MB at a time.

    path: of the file. y is the numbers at the beginning of its lines.
    n_features: the columns of X, counted from 1 in the file; what a row leaves out is 0.
    shuffle_rows: as for GeneratorSource.

    ImportError without scikit-learn; SourceError when it is read, if it cannot be.

    >>> import pathlib
    >>> import mlpfast
    >>> text = pathlib.Path("rows.libsvm").write_text("1 1:0.5 3:2\n0 2:1.5\n")
    >>> source = mlpfast.data.libsvm("rows.libsvm", n_features=3)
    >>> mlpfast.Network([3, 1], init="zeros").predict(source).shape
    (2, 1)
    """
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError as error:
        raise ImportError(f"libsvm needs scikit-learn: pip install scikit-learn ({error})") from error

    def blocks():
        with open(path, "rb") as file:
            size, offset = file.seek(0, 2), 0
        while offset < size:
            X, y = load_svmlight_file(path, n_features=n_features, dtype="float32", zero_based=False, offset=offset,
                                      length=BYTES_AT_ONCE)
            offset += BYTES_AT_ONCE
            yield X.toarray(), y

    blocks.__qualname__ = str(path)
    return GeneratorSource(blocks, n_features=n_features, shuffle_rows=shuffle_rows)


def arff(path: PathLike, target: str, features: Sequence[str] | None = None) -> ArraySource:
    r"""An ArraySource of an ARFF file, which SciPy reads as a whole: y is the attribute `target`, X the others, or the
    list of features. Nominal attributes become class numbers, in the order of their declaration. ImportError without
    SciPy, OSError for a file that cannot be opened, ValueError for an attribute that is not there.

    path: of the file.

    >>> import pathlib
    >>> import mlpfast
    >>> text = "@relation animals\n@attribute a real\n@attribute kind {cat,dog}\n@data\n1,cat\n2,dog\n"
    >>> length = pathlib.Path("animals.arff").write_text(text)
    >>> source = mlpfast.data.arff("animals.arff", target="kind")
    >>> source.X, source.y
    (array([[1.],
           [2.]]), array([0, 1]))
    """
    try:
        from scipy.io.arff import loadarff
    except ImportError as error:
        raise ImportError(f"arff needs SciPy: pip install scipy ({error})") from error
    data, meta = loadarff(path)
    names = meta.names()
    features = [name for name in names if name != target] if features is None else list(features)
    for name in [target, *features]:
        if name not in names:
            raise ValueError(f"{path}: there is no attribute {name!r}; there are {', '.join(names)}")

    def numbers(name):
        kind, values = meta[name]
        if kind != "nominal":
            return data[name]
        numbered = {value.encode(): number for number, value in enumerate(values)}
        return np.array([numbered[value] for value in data[name]], np.int64)

    return ArraySource(np.stack([numbers(name) for name in features], axis=1), numbers(target))
