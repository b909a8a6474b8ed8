"""Sources: data that need not fit in memory, for Trainer.fit, Trainer.evaluate and Network.predict in place of X and y.

    ArraySource(X, y, sample_weight)            arrays and memmaps, whose rows are read where they lie; tables
    ParquetSource(paths, features, target)      Parquet files, by row groups (pip install ".[parquet]")
    DatasetSource(paths, features, target)      what else pyarrow.dataset reads: Arrow, CSV, ORC, JSON
    GeneratorSource(make_iterator)              whatever a function of yours yields
    BatchSource(dataset)                        what has __len__ and __getitem__, as datasets of PyTorch
    libsvm(path, n_features), arff(path, ...)   text files, through scikit-learn and SciPy
    standardize(source)                         mean and deviation of each column, for Network(input_transform=...)

A source of your own is an object with these attributes:

    n                   the number of rows, or None if that is not known
    n_features          the columns of X
    read(rows)          -> (X, y) or (X, y, weight) of these rows, an int64 array in ascending order

or, where single rows cannot be had, in place of `read`

    blocks(order)       yields (X, y) or (X, y, weight) of one block after the other: of blocks order[0], order[1], ...,
                        an int64 array; None stands for all blocks as they lie
    block_rows          the number of rows of each block; without it `order` is always None

and optionally

    shuffle_rows        of a source of blocks: how many rows are shuffled together; None: what fits in 256 MB
    features            the names of the columns, for messages
    where(row)          a text for messages, such as the file and the row in it

X (n, n_features) and y are what fit takes as arrays; a network's predict needs no y, and then (X,) or X is enough. They
are called by another thread than the caller's, one call at a time, and what they return is copied.
"""

from .._reading import SourceError
from .arrays import ArraySource
from .generators import BatchSource, GeneratorSource
from .statistics import standardize
from .tables import DatasetSource, ParquetSource
from .texts import arff, libsvm

__all__ = [
    "ArraySource", "BatchSource", "DatasetSource", "GeneratorSource", "ParquetSource", "SourceError", "arff", "libsvm",
    "standardize",
]
