"""The file format of safetensors, read and written by a few lines of NumPy.

A file is the header's length (8 bytes, little-endian), the header, and the numbers of all tensors one after the other,
little-endian, in rows without padding. The header is a JSON object: {"__metadata__": {name: text}, tensor: {"dtype":
"F32", "shape": [n, m], "data_offsets": [begin, end]}}, padded with spaces.

Reading believes nothing: everything that a header says is checked against the file's length first.
"""

from __future__ import annotations

import collections
import contextlib
import json
import math
import os
import re
import stat
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ._types import Array, PathLike

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None  # type: ignore[assignment]

DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "U32": "<u4", "I32": "<i4",
    "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}
KINDS = {name: np.dtype(dtype) for name, dtype in DTYPES.items()}
NAMES = {kind: name for name, kind in KINDS.items()}
MOST_HEADER = 2**20  # bytes; some ten thousand layers
DEPTH = 3  # of the header's brackets
FEW_BRACKETS = 100  # may be nested in any way for JSON; what they hold is then checked anyhow
BEGINNING = 2**16  # bytes that are read first, all of a small file
AT_ONCE = 2**18  # bytes that are copied at a time, few enough to stay in the cache
LONG_ROW = 4096  # bytes of a row that the system reads and writes without such a copy
# Bytes for which disk space is asked for before they are written: else ext4 looks for it when the file is renamed,
# which takes longer than writing.
WORTH_RESERVING = 2**20
MOST_ROWS = 1024  # that one call of the system takes (IOV_MAX)


# ---- Writing ----


def pieces(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> Iterator[Any]:
    """The bytes of a file, one buffer after the other. The same tensors and metadata give the same bytes everywhere.

    tensors: {name: array}, whose rows may be strided; metadata: {name: text}.
    """
    tensors = dict(sorted(tensors.items(), key=lambda item: -item[1].itemsize))  # so that each is aligned
    header: dict = {"__metadata__": metadata}
    begin = 0
    for name, array in tensors.items():
        end = begin + array.nbytes
        header[name] = {"dtype": NAMES[array.dtype.newbyteorder("<")], "shape": list(array.shape),
                        "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, ensure_ascii=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the first tensor is aligned
    if len(text) > MOST_HEADER:
        raise ValueError(f"a file has at most {MOST_HEADER} bytes of names and settings, got {len(text)}")
    yield len(text).to_bytes(8, "little") + text
    for array in tensors.values():
        yield from _numbers(array)


def _numbers(array):
    """The bytes of an array; a buffer is valid until the next. Long rows with gaps are one array (n, bytes)."""
    array = array.reshape(1) if array.ndim == 0 else array
    dtype = array.dtype.newbyteorder("<")
    if array.size == 0:
        return
    if array.flags.c_contiguous and array.dtype == dtype:
        yield array.reshape(-1).view(np.uint8).data
        return
    if _has_long_rows(array, dtype) and hasattr(os, "writev"):
        yield array.view(np.uint8)
        return
    rows = max(1, AT_ONCE // array[0].nbytes)
    buffer = np.empty((min(rows, len(array)), *array.shape[1:]), dtype)
    for first in range(0, len(array), rows):
        part = buffer[: len(array) - first]
        part[...] = array[first : first + rows]
        yield part.reshape(-1).view(np.uint8).data


def _has_long_rows(array, dtype):
    """Whether array is of that dtype and has long rows, each in one piece."""
    return array.ndim == 2 and array.dtype == dtype and array.strides[1] == dtype.itemsize and (
        array.shape[1] * dtype.itemsize >= LONG_ROW
    )


def _parts(rows):
    """[(number of the first, their buffers)] of rows (n, bytes), MOST_ROWS at a time."""
    return ((first, [row.data for row in rows[first : first + MOST_ROWS]]) for first in range(0, len(rows), MOST_ROWS))


def _write_rows(file, rows):
    file.flush()
    for _, part in _parts(rows):
        done, rest = divmod(os.writev(file.fileno(), part), rows.shape[1])
        if done < len(part):  # the system has written less
            for buffer in (part[done][rest:], *part[done + 1 :]):
                file.write(buffer)
            file.flush()


def save(path: PathLike, tensors: Mapping[str, Array], metadata: Mapping[str, str], sync: bool = True) -> None:
    """Write a file of these tensors and metadata, as in `pieces`, in the way of `write`."""
    write(path, pieces(tensors, metadata), sync, sum(array.nbytes for array in tensors.values()))


def write(path: PathLike, buffers: Iterable[Any], sync: bool = True, least: int = 0) -> None:
    """Replace the file at path as a whole: until then, and after any failure, the old one stays.

    The buffers, which have `least` bytes or more, go to a file beside it, "<path>.unfinished", which is then renamed.
    sync: wait until they are on the disk, so that a crash of the system leaves one of the two files as well.
    """
    path = os.path.realpath(os.fsdecode(path))
    if os.path.isdir(path):
        raise IsADirectoryError(f"path must be that of a file, got the folder {path!r}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f"path must be that of a file, which is replaced as a whole, got the device or pipe {path!r}")
    new = path + ".unfinished"
    with _alone(new) as file:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), os.stat(path).st_mode & 0o777)
            if least >= WORTH_RESERVING and hasattr(os, "posix_fallocate"):
                with contextlib.suppress(OSError):  # a full disk: then writing fails
                    os.posix_fallocate(file.fileno(), 0, least)
            for buffer in buffers:
                if isinstance(buffer, np.ndarray):
                    _write_rows(file, buffer)
                else:
                    file.write(buffer)
            file.flush()
            if sync:
                os.fsync(file.fileno())
            os.replace(new, path)  # while it is locked, so that no other process takes it for its own
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new)  # so is this
            raise
    if sync:
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _without_emptying(path, flags):
    return os.open(path, flags & ~os.O_TRUNC | os.O_NOFOLLOW, 0o666)


def _alone(path):
    """An empty file at path that no other thread or process writes: what a process has left that was killed is
    taken over, and one at work is waited for."""
    while True:
        file = open(path, "wb", opener=_without_emptying)
        try:
            if fcntl is not None:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                    file.truncate(0)
                    return file
        except BaseException:
            file.close()
            raise
        file.close()  # the one that was waited for has been renamed


# ---- Reading ----


def opened(path: PathLike) -> Any:
    """A file to read. ValueError for a pipe, which might never begin or end, and for a device."""
    path = os.fspath(path)
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder open says so
        raise ValueError(f"{path!r}: must be a file, is a device or a pipe")
    return open(path, "rb", buffering=0)


class File:
    """An open file whose header has been checked. metadata: {name: text}. tensors: {name: (dtype, shape, begin, end)}.

    Raises OSError if path cannot be read, and ValueError, which says what is wrong, if its bytes are not a file of this
    format.
    """

    name: str
    metadata: dict[str, str]
    tensors: dict[str, Any]

    def __init__(self, path: PathLike) -> None:
        self.name = repr(os.fspath(path))
        self._file = opened(path)
        try:
            self._beginning = self._file.read(BEGINNING)
            self._start, self.metadata, self.tensors = self._header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def wrong(self, what: object) -> ValueError:
        return ValueError(f"{self.name}: {what}")

    def _header(self):
        size = os.fstat(self._file.fileno()).st_size
        if size < 8:
            raise self.wrong(f"is no safetensors file: it needs at least 8 bytes, has {size}")
        length = int.from_bytes(self._bytes(0, 8), "little")
        if length > MOST_HEADER:
            raise self.wrong(
                f"is no safetensors file, or is damaged: its header must have at most {MOST_HEADER} bytes, is said to "
                f"have {length}"
            )
        if 8 + length > size:
            raise self.wrong(f"is truncated: the header ends at byte {8 + length}, the file at {size}")
        try:
            return 8 + length, *checked(parsed(self._bytes(8, length)), size - 8 - length)
        except ValueError as error:
            raise self.wrong(error) from None

    def _bytes(self, at, n):
        data = bytearray(n)
        self._fill(at, memoryview(data))
        return bytes(data)

    def _fill(self, at, buffer):
        """buffer = the bytes of the file from `at` on."""
        if at + len(buffer) <= len(self._beginning):
            buffer[:] = self._beginning[at : at + len(buffer)]
            return
        self._file.seek(at)
        while buffer:
            n = self._file.readinto(buffer)
            if not n:
                raise self.wrong("has become shorter while it was read")
            buffer = buffer[n:]

    def _fill_rows(self, at, rows):
        """The same for rows (n, bytes), each in one piece."""
        width = rows.shape[1]
        for first, part in _parts(rows):
            begin = at + first * width
            done = os.preadv(self._file.fileno(), part, begin) // width
            for number, row in enumerate(part[done:], done):  # the system has read less
                self._fill(begin + number * width, row)

    def read_into(self, name: str, array: Array) -> None:
        """array = the tensor of that name; array is C-contiguous in its rows and of the tensor's dtype and shape."""
        dtype, _shape, begin, end = self.tensors[name]
        if begin == end:
            return
        at = self._start + begin
        if array.flags.c_contiguous and array.dtype == dtype and dtype.kind != "b":
            return self._fill(at, array.reshape(-1).view(np.uint8).data)
        if _has_long_rows(array, dtype) and dtype.kind != "b" and hasattr(os, "preadv"):
            return self._fill_rows(at, array.view(np.uint8))
        rows = max(1, AT_ONCE // (array[0].size * dtype.itemsize))
        buffer = np.empty((min(rows, len(array)), *array.shape[1:]), dtype)
        for first in range(0, len(array), rows):
            part = buffer[: len(array) - first]
            self._fill(at, part.reshape(-1).view(np.uint8).data)
            at += part.nbytes
            if dtype.kind == "b" and part.view(np.uint8).max() > 1:
                raise self.wrong(f"tensor {name!r} must hold bytes 0 and 1, got {part.view(np.uint8).max()}")
            array[first : first + len(part)] = part

    def read(self, name: str) -> Array:
        """The tensor of that name, a new array."""
        dtype, shape, *_ = self.tensors[name]
        array = np.empty(shape or (1,), dtype.newbyteorder("="))
        self.read_into(name, array)
        return array.reshape(shape)


def parsed(header: bytes) -> dict[str, Any]:
    """The JSON object of a header; ValueError for what JSON allows and a header does not have."""
    try:
        text = header.decode()
    except UnicodeDecodeError:
        raise ValueError("its header is not text in UTF-8") from None
    if text[:1] != "{":
        raise ValueError(f"its header must be a JSON object, begins with {text[:1]!r}")
    _check_depth(text)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"its header is not JSON: {error}") from None


def _check_depth(text):
    """Before JSON's own recursion, whose limit is the caller's."""
    if text.count("[") + text.count("{") <= FEW_BRACKETS:
        return
    structure = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])  # without the texts in it
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", structure):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH:
            raise ValueError(f"its header is nested more than {DEPTH} deep")


def _without_duplicates(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = collections.Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"its header has the entry {twice!r} twice")
    return found


def _small(digits):
    if len(digits) > 19:
        raise ValueError(f"its header has a number of {len(digits)} digits, which no file is large enough for")
    return int(digits)


def _no_number(text):
    raise ValueError(f"its header must hold whole numbers only, got {text[:40]}")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_int=_small, parse_float=_no_number,
                            parse_constant=_no_number)


def checked(header: Any, size: int) -> tuple[dict[str, str], dict[str, Any]]:
    """(metadata, {name: (dtype, shape, begin, end)} in the order of the data), of a header whose data has that size."""
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ must hold texts only")
    tensors = {name: _tensor(f"tensor {name!r}", entry) for name, entry in header.items()}
    tensors = dict(sorted(tensors.items(), key=lambda item: item[1][2:]))
    there = 0
    for name, (_dtype, _shape, begin, end) in tensors.items():
        if begin != there:
            what = "overlaps the one before" if begin < there else f"leaves a hole of {begin - there} bytes"
            raise ValueError(f"tensor {name!r} {what}")
        there = end
    if there > size:
        raise ValueError(f"is truncated: its tensors have {there} bytes, of which {size} are there")
    if there < size:
        raise ValueError(f"is longer than its header says: {size - there} bytes after the last tensor")
    return metadata, tensors


def _tensor(what, entry):
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{what} must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{what} has the dtype {dtype!r:.40}, must have one of {', '.join(DTYPES)}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or offsets[1] < offsets[0]:
        raise ValueError(f"{what} must have sizes >= 0 as shape and two offsets, the second not smaller")
    if len(shape) > 32:
        raise ValueError(f"{what} must have at most 32 dimensions, has {len(shape)}")
    begin, end = offsets
    kind = KINDS[dtype]
    if math.prod(shape) * kind.itemsize != end - begin:
        raise ValueError(f"{what} of shape {shape} and dtype {dtype} does not have {end - begin} bytes")
    return kind, tuple(shape), begin, end


def _are_sizes(value):
    return isinstance(value, list) and (not value or {*map(type, value)} == {int} and min(value) >= 0)
