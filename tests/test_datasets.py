import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from mlpfast.datasets import load_digits, load_idx, load_idx_pair, load_mnist

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
PACK = {"plain": bytes, "gzip": gzip.compress}


def idx(array, code=0x08, dims=None):
    """The bytes of an IDX file; dims, if given, are written instead of the array's shape."""
    dims = array.shape if dims is None else dims
    data = array.astype(array.dtype.newbyteorder(">")).tobytes()
    return bytes([0, 0, code, len(dims)]) + struct.pack(f">{len(dims)}I", *dims) + data


LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


@pytest.fixture(params=PACK)
def write(request, tmp_path):
    """A function that writes bytes, gzipped or not, to a file whose name does not show it."""

    def write(data):
        path = tmp_path / "some-idx"
        path.write_bytes(PACK[request.param](data))
        return path

    return write


# ---- digits


def test_digits_are_those_of_sklearn():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    X, y = load_digits()
    X_sklearn, y_sklearn = sklearn_datasets.load_digits(return_X_y=True)
    np.testing.assert_array_equal(X * 16, X_sklearn)
    np.testing.assert_array_equal(y, y_sklearn)


def test_digits_shapes_types_and_range():
    X, y = load_digits()
    assert X.shape == (1797, 64) and X.dtype == np.float32 and X.flags.c_contiguous
    assert y.shape == (1797,) and y.dtype == np.int64
    assert X.min() == 0 and X.max() == 1
    # The sum of all grey levels and the class counts, as scikit-learn's copy has them.
    assert (X * 16).sum(dtype=np.float64) == 561718
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_split_is_the_rows_in_order():
    X, y = load_digits()
    X_train, y_train, X_test, y_test = load_digits(split=True)
    assert (len(X_train), len(y_train), len(X_test), len(y_test)) == (1437, 1437, 360, 360)
    np.testing.assert_array_equal(np.concatenate([X_train, X_test]), X)
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), y)


def test_digits_may_be_changed_without_changing_the_next_copy():
    X, _ = load_digits()
    X[:] = -1
    assert load_digits()[0].min() == 0


# ---- valid IDX files


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4)])
def test_idx_reads_every_type(write, code, shape):
    values = np.arange(-12, 12) * (1000 if code >= 0x0B else 1)  # values of several bytes, to test the byte order
    expected = values.astype(TYPES[code]).reshape(shape)
    array = load_idx(write(idx(expected, code)))
    np.testing.assert_array_equal(array, expected)
    assert array.dtype == np.dtype(TYPES[code]) and array.dtype.isnative
    assert array.flags.c_contiguous and array.flags.writeable


@pytest.mark.parametrize("shape", [(0,), (0, 28, 28), (1,) * 32])
def test_idx_reads_empty_and_deep_arrays(write, shape):
    array = load_idx(write(idx(np.zeros(shape, np.uint8))))
    assert array.shape == shape


def test_idx_takes_a_path_as_text(write):
    np.testing.assert_array_equal(load_idx(str(write(idx(LABELS)))), LABELS)


# ---- invalid IDX files

BAD_FILES = {
    "empty": (b"", "truncated, got 0 byte"),
    "magic cut": (b"\0\0\x08", "truncated, got 3 byte"),
    "header cut": (idx(LABELS)[:6], "truncated, got 6 bytes of a header of 8"),
    "data cut": (idx(LABELS)[:-1], "truncated, .* need 5 bytes"),
    "no data": (idx(LABELS)[:8], "truncated, .* need 5 bytes"),
    "one byte more": (idx(LABELS) + b"\0", "oversized, .* need 5 bytes, got more"),
    "data behind an empty array": (idx(LABELS, dims=(0,)), "oversized, .* need 0 bytes, got more"),
    "first byte": (b"\1" + idx(LABELS)[1:], "not an IDX file, .* 01 00"),
    "second byte": (b"\0\1" + idx(LABELS)[2:], "not an IDX file, .* 00 01"),
    "type 0x0a": (idx(LABELS, code=0x0A), "type code 0x0a, needs one of 0x08, 0x09, 0x0b"),
    "type 0x00": (idx(LABELS, code=0x00), "type code 0x00"),
    "wider type than the data": (idx(LABELS, code=0x0E), "truncated, .* float64 need 40 bytes"),
    "no dimension": (idx(LABELS, dims=()), "0 dimensions, needs 1 to 32"),
    "33 dimensions": (idx(np.zeros((1,), np.uint8), dims=(1,) * 33), "33 dimensions, needs 1 to 32"),
    "4 GB announced": (idx(LABELS, dims=(2**32 - 1,)), "truncated, .* need 4294967295 bytes"),
    "overflow to zero": (idx(LABELS, dims=(2**31, 2**31, 4)), "more than memory can address"),
    "overflow to five": (idx(LABELS, dims=(5, 2**32 - 1, 2**32 - 1, 2**32 - 1)), "more than memory"),
    "overflow, empty": (idx(LABELS, dims=(0, 2**31, 2**31, 4)), "more than memory can address"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_idx_refuses(write, case):
    data, message = BAD_FILES[case]
    path = write(data)
    with pytest.raises(ValueError, match=message) as error:
        load_idx(path)
    assert str(path) in str(error.value)


def test_idx_asks_for_no_memory_for_a_file_that_cannot_be_whole(write):
    path = write(idx(LABELS, dims=(2**30,)))
    assert peak_memory_of_refusal(path, "truncated") < 2**20


def test_idx_does_not_unpack_a_bomb(tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(idx(LABELS) + bytes(2**26)))
    assert peak_memory_of_refusal(path, "oversized") < 2**20


def peak_memory_of_refusal(path, message):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            load_idx(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("change", ["cut", "checksum", "body", "junk behind"])
def test_idx_refuses_a_damaged_gzip_file(tmp_path, change):
    packed = bytearray(gzip.compress(idx(np.arange(200, dtype=np.uint8))))
    if change == "cut":
        del packed[-20:]
    elif change == "checksum":
        packed[-8] ^= 1
    elif change == "body":
        packed[10] |= 0b110  # a block type that deflate does not have
    else:
        packed += b"junk"
    path = tmp_path / "damaged.gz"
    path.write_bytes(packed)
    with pytest.raises(ValueError, match="not a whole gzip file") as error:
        load_idx(path)
    assert str(path) in str(error.value)


def test_idx_names_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_idx(tmp_path / "nowhere")


# ---- MNIST


def write_mnist(folder, change=(), name="{part}-{kind}-{form}", pack=bytes):
    """Write 7 training and 3 test images of 4 x 5 pixels; `change` replaces arrays by (part, kind)."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 7), ("t10k", 3)):
        arrays[part, "images"] = rng.integers(0, 256, (n, 4, 5), dtype=np.uint8)
        arrays[part, "labels"] = rng.integers(0, 10, n, dtype=np.uint8)
    arrays.update(change)
    for (part, kind), array in arrays.items():
        form = "idx3-ubyte" if kind == "images" else "idx1-ubyte"
        code = next(code for code, type_name in TYPES.items() if array.dtype == type_name)
        (folder / name.format(part=part, kind=kind, form=form)).write_bytes(pack(idx(array, code)))
    return arrays


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("{part}-{kind}-{form}", bytes),
        ("{part}-{kind}-{form}.gz", gzip.compress),
        ("{part}-{kind}.{form}", bytes),
        ("{part}-{kind}.{form}.gz", gzip.compress),
        ("{part}-{kind}-{form}.gz", bytes),  # unpacked by a browser that kept the name
    ],
)
def test_mnist_finds_every_spelling(tmp_path, name, pack):
    arrays = write_mnist(tmp_path, name=name, pack=pack)
    X_train, y_train, X_test, y_test = load_mnist(str(tmp_path))
    np.testing.assert_array_equal(X_train, arrays["train", "images"].reshape(7, 20))
    np.testing.assert_array_equal(y_train, arrays["train", "labels"])
    np.testing.assert_array_equal(X_test, arrays["t10k", "images"].reshape(3, 20))
    np.testing.assert_array_equal(y_test, arrays["t10k", "labels"])
    assert X_train.dtype == X_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int64


def zeros(*shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


BAD_MNIST = {
    "fewer labels": ("train", "labels", zeros(6), "train-labels.*got 6 labels, needs 7"),
    "more labels": ("t10k", "labels", zeros(4), "t10k-labels.*got 4 labels, needs 3"),
    "images of rank 2": ("train", "images", zeros(7, 20), "train-images.*got 2 dim.*needs 3 dim"),
    "labels for images": ("t10k", "images", zeros(3), "t10k-images.*got 1 dim.*needs 3 dim"),
    "images for labels": ("t10k", "labels", zeros(3, 4, 5), "t10k-labels.*got 3 dim.*needs 1 dim"),
    "float images": ("train", "images", zeros(7, 4, 5, dtype=np.float32), "train-images.*float32.*uint8"),
    "signed labels": ("train", "labels", zeros(7, dtype=np.int8), "train-labels.*int8.*needs.*uint8"),
    "label 10": ("train", "labels", np.array([0, 1, 9, 10, 0, 9, 0], np.uint8), "got label 10 in row 3"),
    "image size": ("t10k", "images", zeros(3, 5, 5), "training images have 20 pixels and the test images 25"),
}


@pytest.mark.parametrize("case", BAD_MNIST)
def test_mnist_refuses(tmp_path, case):
    part, kind, array, message = BAD_MNIST[case]
    write_mnist(tmp_path, {(part, kind): array})
    with pytest.raises(ValueError, match=message):
        load_mnist(tmp_path)


@pytest.mark.parametrize("missing", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_mnist_names_a_missing_file(tmp_path, missing):
    write_mnist(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{missing}, {missing}\.gz, ") as error:
        load_mnist(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("pack", PACK)
def test_a_pair_has_any_names_and_labels(tmp_path, pack):
    images, labels = tmp_path / "emnist-balanced-train-images-idx3-ubyte", tmp_path / "emnist-balanced-train-labels"
    pictures, classes = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3), np.array([0, 46, 10, 255, 1], np.uint8)
    images.write_bytes(PACK[pack](idx(pictures)))
    labels.write_bytes(PACK[pack](idx(classes)))
    X, y = load_idx_pair(str(images), labels)
    np.testing.assert_array_equal(X, pictures.reshape(5, 6))
    np.testing.assert_array_equal(y, classes)
    assert X.dtype == np.uint8 and y.dtype == np.int64


@pytest.mark.parametrize(("kind", "array", "message"), [
    ("labels", zeros(4), "got 4 labels, needs 5"), ("images", zeros(5, 6), "got 2 dim.*needs 3 dim"),
    ("labels", zeros(5, dtype=np.int32), "got 1 dim.*int32"),
])
def test_a_pair_that_is_none(tmp_path, kind, array, message):
    arrays = {"images": zeros(5, 2, 3), "labels": zeros(5), kind: array}
    paths = {name: tmp_path / name for name in arrays}
    for name, each in arrays.items():
        paths[name].write_bytes(idx(each, next(code for code, t in TYPES.items() if each.dtype == t)))
    with pytest.raises(ValueError, match=f"{kind}: {message}"):
        load_idx_pair(paths["images"], paths["labels"])


def test_mnist_points_to_what_reads_others(tmp_path):
    write_mnist(tmp_path, {("train", "labels"): np.full(7, 46, np.uint8)})
    with pytest.raises(ValueError, match="label 46 in row 0.*load_idx_pair"):
        load_mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match="load_idx_pair"):
        load_mnist(tmp_path / "emnist")


def test_mnist_real_files(mnist_folder):
    X_train, y_train, X_test, y_test = load_mnist(mnist_folder)
    assert X_train.shape == (60000, 784) and X_test.shape == (10000, 784)
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9] and y_test[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert X_test.max() == 255 and X_test.min() == 0
