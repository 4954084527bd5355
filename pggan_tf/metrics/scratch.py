"""Keep arrays on disk that do not fit into memory.

Their space is reserved at once, and freed when the process ends.
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
    """Reserve `size` bytes behind the position of an open file, which lies in `folder`.

    Raises UserError where the disk has no space for them. It has to be found out here: a page of a
    mapped file that cannot be written later kills the process.
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
    """Unmap the pages of mapped arrays that were used; they are read again where they are needed.

    Such pages belong to the system's cache, but count as memory of this process.
    """
    for array in arrays:
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            array.base.madvise(mmap.MADV_DONTNEED)


# For systems that read and write only at a file's own position, such as Windows.
_position_lock = threading.Lock()


def _read(file: int, view: memoryview, at: int) -> int:
    """Read into the view from byte `at` of an open file, and return how many bytes were read."""
    if hasattr(os, "preadv"):
        return os.preadv(file, [view], at)
    with _position_lock:
        os.lseek(file, at, os.SEEK_SET)
        found = os.read(file, len(view))
    view[: len(found)] = found
    return len(found)


def _write(file: int, view: memoryview, at: int) -> int:
    """Write the view to byte `at` of an open file, and return how many bytes were written."""
    if hasattr(os, "pwrite"):
        return os.pwrite(file, view, at)
    with _position_lock:
        os.lseek(file, at, os.SEEK_SET)
        return os.write(file, view)


class DiskArray:
    """An array in a file without a name, which is gone when the process ends, however it ends.

    It holds zeros at first.

    It is read and written by slices of its first axis, and not mapped: mapping pages again and
    again costs more than a copy.
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
        """Fill `out` with as many rows as it has, from row `first` on, and return it."""
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
