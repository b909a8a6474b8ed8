"""Example data: the digits included in the package, and readers for IDX files such as MNIST's."""

from __future__ import annotations

import gzip
import math
import os
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from ._scalars import flag

if TYPE_CHECKING:
    from ._types import Array, PathLike

__all__ = ["load_digits", "load_idx", "load_idx_pair", "load_mnist"]

_DATA = Path(__file__).parent / "digits"

_DIGITS_N_TRAIN = 1437  # 80 %, the same rows as train_test_split(test_size=0.2, shuffle=False)

_IDX_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_IDX_MAX_NDIM = 32  # NumPy 1's limit

_GZIP_MAGIC = b"\x1f\x8b"
_DEFLATE_MAX_RATIO = 1032  # RFC 1951: at best 258 bytes come from a pair of one-bit codes


@overload
def load_digits(*, split: Literal[False] = False) -> tuple[Array, Array]: ...
@overload
def load_digits(*, split: Literal[True]) -> tuple[Array, Array, Array, Array]: ...
def load_digits(*, split: bool = False) -> tuple[Array, ...]:
    """The 1,797 8x8 handwritten digits of the UCI "Optical Recognition of Handwritten Digits" test set, as X (1797, 64)
    float32 in [0, 1], a row is an image read line by line, 0 is white, and y (1797,) int64, the digits 0 to 9.

    split: True returns X_train (1437, 64), y_train (1437,), X_test (360, 64), y_test (360,): the first 1,437 rows for
        training, the last 360 for testing, without shuffling. TypeError for what is not True or False.

    Rows and their order are those of `sklearn.datasets.load_digits`, with values divided by 16. The data is CC BY 4.0,
    see digits/README.md.

    >>> import mlpfast
    >>> X, y = mlpfast.datasets.load_digits()
    >>> X.shape, X.dtype, y[:10]
    ((1797, 64), dtype('float32'), array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    >>> X_train, y_train, X_test, y_test = mlpfast.datasets.load_digits(split=True)
    >>> len(X_train), len(X_test)
    (1437, 360)
    """
    flag("split", split)
    images = load_idx(_DATA / "digits-images-idx3-ubyte.gz")
    X = images.reshape(len(images), -1) / np.float32(16)  # exact: 16 is a power of two
    y = load_idx(_DATA / "digits-labels-idx1-ubyte.gz").astype(np.int64)
    if not split:
        return X, y
    n = _DIGITS_N_TRAIN
    return X[:n], y[:n], X[n:], y[n:]


def load_mnist(folder: PathLike) -> tuple[Array, Array, Array, Array]:
    """Read the four IDX files of MNIST, or of a set in the same format such as Fashion-MNIST -> X_train (60000, 784)
    uint8, 0 is background and 255 is ink, y_train (60000,) int64, the classes 0 to 9, X_test (10000, 784), y_test
    (10000,).

    folder: a path. The names in it are train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
        t10k-labels-idx1-ubyte, each also with .gz, or with a dot as in train-images.idx3-ubyte. Use load_idx_pair for
        files with other names or classes, such as EMNIST's.

    FileNotFoundError if a file is missing: the message lists the names that were tried. ValueError for one that is
    damaged, or has a wrong rank, type, image size or number of labels, or a label above 9.

    >>> import pathlib
    >>> import mlpfast
    >>> for part in ("train", "t10k"):  # of one image, 1 x 2 pixels, of class 7
    ...     images = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 200, 100])
    ...     n = pathlib.Path(f"{part}-images-idx3-ubyte").write_bytes(images)
    ...     n = pathlib.Path(f"{part}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))
    >>> mlpfast.datasets.load_mnist(".")
    (array([[200, 100]], dtype=uint8), array([7]), array([[200, 100]], dtype=uint8), array([7]))
    """
    X_train, y_train = _load_mnist_part(folder, "train")
    X_test, y_test = _load_mnist_part(folder, "t10k")
    if X_train.shape[1] != X_test.shape[1]:
        raise ValueError(
            f"{folder}: the training images have {X_train.shape[1]} pixels and the test images "
            f"{X_test.shape[1]}; they need the same number"
        )
    return X_train, y_train, X_test, y_test


def _load_mnist_part(folder, part):
    image_path = _find(folder, f"{part}-images", "idx3-ubyte")
    label_path = _find(folder, f"{part}-labels", "idx1-ubyte")
    X, y = load_idx_pair(image_path, label_path)
    if y.size and y.max() > 9:
        row = int(np.argmax(y > 9))
        raise ValueError(
            f"{label_path}: got label {y[row]} in row {row}, needs labels from 0 to 9; load_idx_pair takes any"
        )
    return X, y


def _find(folder, stem, kind):
    names = [f"{stem}{separator}{kind}{end}" for separator in "-." for end in ("", ".gz")]
    for name in names:
        path = Path(folder, name)
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{folder}: no {names[0]} here; looked for {', '.join(names)}. load_idx_pair reads files of any name"
    )


def load_idx_pair(images: PathLike, labels: PathLike) -> tuple[Array, Array]:
    """Read the images and the labels of a set in MNIST's format, with any file names and classes -> X (n, height *
    width) uint8, a row is an image read line by line, and y (n,) int64, the labels as they are, 0 to 255.

    images: a path, of an IDX file of 3 dimensions (n, height, width) of uint8, gzipped or not.
    labels: a path, of an IDX file of 1 dimension (n,) of uint8.

    EMNIST's images are transposed: X.reshape(-1, 28, 28).swapaxes(1, 2) turns them upright. The labels of its "letters"
    begin at 1. ValueError for a file that is damaged or has another rank or type, and for different numbers of images
    and labels; OSError for one that cannot be opened or read.

    >>> import mlpfast
    >>> with open("images.idx", "wb") as file:
    ...     n = file.write(bytes([0, 0, 0x08, 3, *[0, 0, 0, 1] * 2, 0, 0, 0, 2, 200, 100]))  # one image of 1 x 2 pixels
    >>> with open("labels.idx", "wb") as file:
    ...     n = file.write(bytes([0, 0, 0x08, 1, 0, 0, 0, 1, 26]))
    >>> mlpfast.datasets.load_idx_pair("images.idx", "labels.idx")
    (array([[200, 100]], dtype=uint8), array([26]))
    """
    pictures, classes = load_idx(images), load_idx(labels)
    for path, array, ndim in ((images, pictures, 3), (labels, classes, 1)):
        if array.ndim != ndim or array.dtype != np.uint8:
            raise ValueError(
                f"{path}: got {array.ndim} dimension(s) of {array.dtype}, needs {ndim} dimension(s) of uint8"
            )
    if len(pictures) != len(classes):
        raise ValueError(f"{labels}: got {len(classes)} labels, needs {len(pictures)}, one for each image")
    n_pixels = pictures.shape[1] * pictures.shape[2]
    return pictures.reshape(len(pictures), n_pixels), classes.astype(np.int64)


def load_idx(path: PathLike) -> Array:
    """Read one array from an IDX file, gzipped or not (detected from its first bytes) -> a new C-contiguous array of
    uint8, int8, int16, int32, float32 or float64 in native byte order, with 1 to 32 dimensions.

    path: of the file.

    The format is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian 32-bit
    integer, then the values in C order, big-endian: http://yann.lecun.com/exdb/mnist/.

    ValueError for a file that is not IDX, is shorter or longer than its header says, or is a damaged gzip file; OSError
    for one that cannot be opened or read. Sizes are checked before memory is allocated, and no more is unpacked than
    the header announces.

    >>> import mlpfast
    >>> with open("numbers.idx", "wb") as file:
    ...     n = file.write(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 8, 9]))  # uint8, 1 dimension, 3 numbers
    >>> mlpfast.datasets.load_idx("numbers.idx")
    array([7, 8, 9], dtype=uint8)
    """
    with open(path, "rb") as file:
        n_file = os.fstat(file.fileno()).st_size
        if file.peek(2)[:2] != _GZIP_MAGIC:
            return _read_idx(file, path, n_file)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read_idx(unpacked, path, n_file * _DEFLATE_MAX_RATIO)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: not a whole gzip file: {error}") from error


def _read_idx(file, path, n_available):
    """Read an array from an open file with at most n_available bytes."""
    magic = file.read(4)
    if len(magic) < 4:
        raise ValueError(f"{path}: truncated, got {len(magic)} byte(s) of the 4 that an IDX file starts with")
    zeros, code, ndim = magic[:2], magic[2], magic[3]
    if zeros != b"\0\0":
        raise ValueError(f"{path}: not an IDX file, starts with bytes {zeros.hex(' ')}, needs 00 00")
    if code not in _IDX_TYPES:
        known = ", ".join(f"0x{known:02x}" for known in _IDX_TYPES)
        raise ValueError(f"{path}: got IDX type code 0x{code:02x}, needs one of {known}")
    if not 1 <= ndim <= _IDX_MAX_NDIM:
        raise ValueError(f"{path}: got {ndim} dimensions, needs 1 to {_IDX_MAX_NDIM}")
    header = file.read(4 * ndim)
    if len(header) < 4 * ndim:
        raise ValueError(f"{path}: truncated, got {4 + len(header)} bytes of a header of {4 + 4 * ndim}")

    shape = tuple(np.frombuffer(header, ">u4").tolist())
    dtype = np.dtype(_IDX_TYPES[code])
    n_bytes = math.prod(shape) * dtype.itemsize
    needs = f"dimensions {shape} of {dtype} need {n_bytes} bytes"
    # NumPy's limit, which ignores dimensions of 0.
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > sys.maxsize:
        raise ValueError(f"{path}: {needs}, more than memory can address")
    n_data = n_available - 4 - len(header)
    if n_bytes > n_data:
        raise ValueError(f"{path}: truncated, {needs}, the file holds {n_data} at the most")

    array = np.empty(shape, dtype)
    n_read = _read_into(file, array)
    if n_read < n_bytes:
        raise ValueError(f"{path}: truncated, {needs}, got {n_read}")
    if file.read(1):  # also makes gzip compare its checksum
        raise ValueError(f"{path}: oversized, {needs}, got more")
    return array.byteswap(inplace=True) if sys.byteorder == "little" else array


def _read_into(file, array):
    """Fill the array's memory from the file; returns the number of bytes read."""
    memory = memoryview(array.reshape(-1).view(np.uint8))
    n_read = 0
    while n_read < len(memory):
        n = file.readinto(memory[n_read:])
        if not n:
            break
        n_read += n
    return n_read
