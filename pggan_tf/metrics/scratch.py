"""Space on disk for what does not fit into memory: promised at once, read and written in rows, gone with the process."""

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
    """Makes an open file, which lies in `folder`, `size` bytes longer than where it stands. UserError where the disk has no place
    for all of it: found out here, for a page of a mapped file that cannot be written later kills the process."""
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


def give_back(*arrays: np.ndarray | None) -> None:
    """Unmaps what was touched of mapped arrays, which read it again where it is needed: it is the system's cache, and would count
    as memory of this process."""
    for array in arrays:
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            array.base.madvise(mmap.MADV_DONTNEED)


_one_by_one = threading.Lock()  # where a system reads and writes at a file's own position alone, as Windows does


def _read(file: int, view: memoryview, at: int) -> int:
    """Fills the view from byte `at` of an open file on, or its beginning; returns how far."""
    if hasattr(os, "preadv"):
        return os.preadv(file, [view], at)
    with _one_by_one:
        os.lseek(file, at, os.SEEK_SET)
        found = os.read(file, len(view))
    view[: len(found)] = found
    return len(found)


def _write(file: int, view: memoryview, at: int) -> int:
    """Writes the view, or its beginning, to byte `at` of an open file; returns how far."""
    if hasattr(os, "pwrite"):
        return os.pwrite(file, view, at)
    with _one_by_one:
        os.lseek(file, at, os.SEEK_SET)
        return os.write(file, view)


class Rows:
    """An array of zeros that need not fit into memory, in a file that has no name and is gone with the process, however that ends.

    It is read and written by slices of its first axis. Not mapped: pages that are mapped again and again cost more than the copy.
    """

    def __init__(self, shape: tuple[int, ...], dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._bytes = math.prod(shape[1:]) * self.dtype.itemsize  # of a row
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
        """Fills `out` with as many rows as it has, from `first` on."""
        view, at = memoryview(out).cast("B"), first * self._bytes
        while view:  # a signal may end a read before its time
            read = _read(self._file, view, at)
            view, at = view[read:], at + read
        return out

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        first, stop, _ = rows.indices(len(self))
        values = np.ascontiguousarray(values, self.dtype).reshape(stop - first, *self.shape[1:])
        view, at = memoryview(values).cast("B"), first * self._bytes
        while view:
            written = _write(self._file, view, at)
            view, at = view[written:], at + written
