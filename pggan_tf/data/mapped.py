"""Map the arrays of many .npz files into one range of memory addresses.

To map a file is to make its bytes readable like memory, without copying them first. Reading from
thousands of mapped files in one range is as fast as reading from one. A file is mapped when it is
first used and closed again, so the number of open files does not grow with the dataset. Python's
own `mmap.mmap` keeps every file open (up to version 3.13 at least) and cannot place one map after
another.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import io
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pggan_tf.errors import DamagedFile, UserError

_MAP_FIXED = 0x10  # value on Linux and macOS; Python's module mmap does not define it
_FAILED = ctypes.c_void_p(-1).value
# Pages of mapped files count as memory of this process. Beyond this many bytes, they are given back
# to the system's cache.
_MOST_BYTES = 128 << 20
# Images up to this many bytes are copied with one indexing operation. NumPy has to count the bytes
# of all items, which overlap, in 63 bits.
_SMALL = 4096


@functools.cache
def _load_system_mmap():
    """Return the C library's function `mmap`, which can map a file to a given memory address."""
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    return call


def _count_file_memory() -> int:
    """Return how many bytes of this process's memory are parts of mapped files.

    Return 0 if the system does not count them.
    """
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[2]) * mmap.PAGESIZE
    except (OSError, IndexError, ValueError):
        return 0


def _check_size(file: BinaryIO, size: int) -> None:
    """Raise ValueError if an open file does not have the expected size in bytes."""
    there = os.fstat(file.fileno()).st_size
    if there != size:
        raise ValueError(f"holds {there:,} bytes, and {size:,} when the dataset was opened")


class MappedFiles:
    """Files that are mapped one after another into one range of addresses.

    The offset of a byte is counted from the beginning of this range. Byte b of file n has the
    offset starts[n] + b.

    Args:
        sizes: size of each file in bytes. They are fixed here, because they decide where the next
            file begins.
    """

    def __init__(self, sizes: Sequence[int]):
        self.sizes = np.array(sizes, np.int64)
        self.starts = np.cumsum([0, *(-(-self.sizes // mmap.PAGESIZE) * mmap.PAGESIZE)])
        # This reserves addresses but no memory. When it is freed, everything that was mapped into
        # it is unmapped too.
        self._range = mmap.mmap(
            -1, max(1, int(self.starts[-1])), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ
        )
        self._bytes = np.frombuffer(self._range, np.uint8)
        self._least = _count_file_memory()

    def map(self, number: int, file: BinaryIO) -> None:
        """Map a file to the addresses reserved for it.

        Args:
            number: index of the file in `sizes`.
            file: the open file; it may be closed after this call.

        Raises:
            OSError: if the system cannot map it.
            ValueError: if its size is not the expected one.
        """
        size = int(self.sizes[number])
        _check_size(file, size)
        place = self._bytes.ctypes.data + int(self.starts[number])
        flags = mmap.MAP_SHARED | _MAP_FIXED
        if _load_system_mmap()(place, size, mmap.PROT_READ, flags, file.fileno(), 0) == _FAILED:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def read(self, offsets: np.ndarray, size: int) -> np.ndarray:
        """Copy `size` bytes from each of the offsets, int64 [N], and return uint8 [N, size]."""
        if size <= _SMALL:
            # An array of overlapping items, one at every byte of the range, lets NumPy copy from
            # all files in one indexing operation.
            items = np.ndarray((len(self._range) - size + 1,), f"V{size}", self._range, strides=(1,))
            copied = items[offsets].view(np.uint8).reshape(len(offsets), size)
        else:
            copied = np.empty((len(offsets), size), np.uint8)
            for out, offset in zip(copied, offsets.tolist()):
                out[:] = self._bytes[offset : offset + size]
        if _count_file_memory() > self._least + _MOST_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._range.madvise(mmap.MADV_DONTNEED)
            # Libraries loaded in the meantime count as pages of files too.
            self._least = _count_file_memory()
        return copied


class SeparatelyMappedFiles:
    """Files that are mapped separately, for Windows, where the address of a map cannot be chosen.

    It has the same attributes and methods as MappedFiles. Reading from many files takes a Python
    loop, and each map keeps its file open.
    """

    def __init__(self, sizes: Sequence[int]):
        self.sizes = np.array(sizes, np.int64)
        self.starts = np.cumsum([0, *self.sizes])
        self._files: dict[int, np.ndarray] = {}

    def map(self, number: int, file: BinaryIO) -> None:
        """Map a file.

        Args:
            number: index of the file in `sizes`.
            file: the open file.

        Raises:
            OSError: if the system cannot map it.
            ValueError: if its size is not the expected one.
        """
        _check_size(file, int(self.sizes[number]))
        self._files[number] = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)

    def read(self, offsets: np.ndarray, size: int) -> np.ndarray:
        """Copy `size` bytes from each of the offsets, int64 [N], and return uint8 [N, size]."""
        copied = np.empty((len(offsets), size), np.uint8)
        numbers = np.searchsorted(self.starts, offsets, side="right") - 1
        for out, number, offset in zip(copied, numbers.tolist(), (offsets - self.starts[numbers]).tolist()):
            out[:] = self._files[number][offset : offset + size]
        return copied


def map_files(sizes: Sequence[int]) -> MappedFiles | SeparatelyMappedFiles:
    """Return an object that maps files in the fastest way that this system supports.

    No file is mapped yet; call its method `map` for each file.

    sizes: size of each file in bytes.
    """
    return (MappedFiles if hasattr(mmap, "MAP_ANONYMOUS") else SeparatelyMappedFiles)(sizes)


@functools.lru_cache(1024)
def _parse_header(raw: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Parse the header of an .npy file and return (shape, whether in Fortran order, dtype).

    Results are cached, because files of equal length have equal headers.
    """
    file = io.BytesIO(raw)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def find_array(
    file: BinaryIO, archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype
) -> int | None:
    """Find where the values of an array begin in an .npz file.

    Args:
        file: the opened .npz file.
        archive: the same file, opened as a zip archive.
        name: name of the array, without .npy.
        shape: expected shape.
        dtype: expected type.

    Returns:
        Offset of the first value in bytes from the beginning of the file, or None if the values are
        compressed.

    Raises:
        KeyError: if there is no array with this name.
        ValueError: if the array is cut off, or its shape or type is not the expected one.
    """
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    # The name and the extra field in the member's local header may be longer or shorter than those
    # in the archive's directory. Their lengths are stored at byte 26.
    file.seek(info.header_offset + 26)
    begin = info.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
    file.seek(begin)
    raw = file.read(12)
    # Width in bytes of the header's length, which follows six bytes of the magic string and two of
    # the version.
    width = 2 if raw[6:7] == b"\x01" else 4
    length = 8 + width + int.from_bytes(raw[8 : 8 + width], "little")
    file.seek(begin)
    found, fortran, kind = _parse_header(file.read(length))
    check_array(name, found, kind, fortran, shape, dtype)
    if length + kind.itemsize * int(np.prod(found)) != info.file_size:
        raise ValueError(f"array '{name}' is cut off")
    return begin + length


def check_array(name: str, found: tuple[int, ...], kind: np.dtype, fortran: bool, shape, dtype) -> None:
    """Raise ValueError if an array in a file is not as expected.

    Args:
        name: name of the array, for the message.
        found: shape of the array.
        kind: type of the array; Python objects are an error.
        fortran: whether its values are in Fortran order, which is an error too.
        shape: expected shape.
        dtype: expected type.
    """
    if kind.hasobject or fortran:
        raise ValueError(
            f"array '{name}' is {'pickled' if kind.hasobject else 'in Fortran order'}, not plain numbers in C order"
        )
    if (found, kind) != (shape, dtype):
        raise ValueError(f"array '{name}' is {kind} {found}, the manifest says {dtype} {shape}")


def explain_error(path: Path, error: OSError) -> UserError:
    """Return a UserError (not raised here) for a file that the system cannot read.

    Its message says what the user can do.

    Args:
        path: path of the file.
        error: the error that occurred while the file was read.
    """
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return UserError(
            f"{path}: {error.strerror}. Nothing is wrong with the data: raise the limit with 'ulimit -n 4096'."
        )
    if error.errno == errno.ENOMEM:
        return UserError(f"{path}: the system maps no more files into one process. Raise its limit vm.max_map_count.")
    if isinstance(error, FileNotFoundError):
        return DamagedFile(f"{path}: is missing. Prepare the dataset again, or restore the file.")
    return UserError(
        f"{path}: cannot be read ({error.strerror or error}). Check the disk and your right to read the file."
    )


@contextlib.contextmanager
def open_npz(path: Path) -> Iterator[tuple[BinaryIO, zipfile.ZipFile]]:
    """Context manager that opens an .npz file and yields (binary file, zip archive of this file).

    Raise UserError if the file cannot be read, or DamagedFile, a kind of UserError, if its content
    is wrong. Errors of these kinds in the block (OSError, ValueError, KeyError and others) are
    converted too.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            yield stream, archive
    except KeyError as error:
        raise DamagedFile(
            f"{path}: lacks an array that its manifest promises ({error.args[0]}). Prepare the dataset again."
        ) from None
    except OSError as error:
        raise explain_error(path, error) from None
    except (zipfile.BadZipFile, ValueError, EOFError, struct.error, zlib.error) as error:
        raise DamagedFile(f"{path}: cannot be read ({error}). Prepare the dataset again.") from None
