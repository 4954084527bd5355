"""Temporary arrays on disk, for data that does not fit into memory.

Their disk space is reserved when they are created and freed when the process ends.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import threading
import weakref

import numpy as np

from pggan_tf.errors import UserError


def reserve(file, size: int, folder: str) -> None:
    """Reserve disk space in an open file.

    The space has to be reserved in advance: if a page of a memory-mapped file cannot be written
    later, the system kills the process.

    Args:
        file: An open file; the space starts at its current position.
        size: Number of bytes.
        folder: Folder of the file, for the error message.

    Raises:
        UserError: The disk does not have enough free space.
    """
    start = file.tell()
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), start, max(1, size))
        else:
            os.ftruncate(file.fileno(), start + size)
    except OSError as error:
        raise UserError(
            f"{folder}: no {size / 1e9:.1f} GB for what is measured ({error.strerror}). Make room, set TMPDIR and --cache to a larger "
            "disk, or measure fewer images."
        ) from None


def release(*arrays: np.ndarray | None) -> None:
    """Release the memory of memory-mapped arrays; other arrays and None are ignored.

    Pages that have been used stay in the system's cache but count as memory of this process. They
    are mapped again when they are needed.
    """
    for array in arrays:
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            array.base.madvise(mmap.MADV_DONTNEED)


# For systems without preadv and pwrite, such as Windows.
_position_lock = threading.Lock()


def _read(file: int, view: memoryview, at: int) -> int:
    """Read from an open file at byte `at` into `view`; return the number of bytes read."""
    if hasattr(os, "preadv"):
        return os.preadv(file, [view], at)
    with _position_lock:
        os.lseek(file, at, os.SEEK_SET)
        found = os.read(file, len(view))
    view[: len(found)] = found
    return len(found)


def _write(file: int, view: memoryview, at: int) -> int:
    """Write `view` to an open file at byte `at`; return the number of bytes written."""
    if hasattr(os, "pwrite"):
        return os.pwrite(file, view, at)
    with _position_lock:
        os.lseek(file, at, os.SEEK_SET)
        return os.write(file, view)


class DiskArray:
    """Array in an unnamed temporary file that disappears when the process ends, even by a crash.

    The array is initialised with zeros. Read and write it with slices of the first axis. It is not
    memory-mapped, because repeatedly mapping pages is slower than copying.
    """

    def __init__(self, shape: tuple[int, ...], dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._bytes = math.prod(shape[1:]) * self.dtype.itemsize  # size of a row
        with tempfile.TemporaryFile() as file:
            reserve(file, shape[0] * self._bytes, tempfile.gettempdir())
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, stop, _ = rows.indices(len(self))
        return self.read(first, np.empty((stop - first, *self.shape[1:]), self.dtype))

    def read(self, first: int, out: np.ndarray) -> np.ndarray:
        """Read len(out) rows, starting at row `first`, into `out` and return `out`."""
        view, at = out.data.cast("B"), first * self._bytes
        while view:  # a signal may end a read early
            read = _read(self._file, view, at)
            view, at = view[read:], at + read
        return out

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        first, stop, _ = rows.indices(len(self))
        values = np.ascontiguousarray(values, self.dtype).reshape(stop - first, *self.shape[1:])
        view, at = values.data.cast("B"), first * self._bytes
        while view:
            written = _write(self._file, view, at)
            view, at = view[written:], at + written
