"""Images in one NumPy file: `.npy`, or `.npz` with an array of images and perhaps one of labels. No pickle is loaded.

Images are read one by one, wherever the file lies, so that a file may be larger than the memory, packed or not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pggan_tf.data.photos import MAX_PIXELS
from pggan_tf.errors import UserError
from preprocessing import storage
from preprocessing.sources import Item, Source

OPTIONS = ()
_AT_ONCE = 1 << 20  # bytes
_WHOLE_BYTES = 256 << 20  # of what is held in memory whole: labels, and images in Fortran's order that are packed
_IMAGES, _LABELS = ("images", "x", "data", "arr_0"), ("labels", "label", "y")


@dataclass(frozen=True)
class _Array:
    """One array of a file, of which the header has been read.

    member: its name in an .npz. start: where the values begin; packed: in the unpacked member, otherwise in the file itself.
    """

    location: str
    member: str | None
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    start: int
    packed: bool

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)

    @contextlib.contextmanager
    def _opened(self, unpacking: bool):
        """The file at its first value. unpacking: through the archive, which compares its checksum at the end."""
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(storage.open_binary(self.location))
            if unpacking:
                archive = stack.enter_context(zipfile.ZipFile(file))
                file = stack.enter_context(archive.open(self.member))
                _header(file)
            else:
                file.seek(self.start)
            yield file

    def whole(self) -> np.ndarray:
        if self.nbytes > _WHOLE_BYTES:
            raise ValueError(f"{self.member or 'an array'} of {self.nbytes >> 20} MB in one piece, more than 256")
        with self._opened(self.packed) as file:
            values = np.frombuffer(file.read(self.nbytes), self.dtype)
        return values.reshape(self.shape, order="F" if self.fortran else "C")

    def rows(self, numbers: Iterable[int]) -> Iterator[np.ndarray]:
        """array[n] for numbers that rise."""
        if self.fortran:
            mapped = self.whole() if self.packed or storage.is_remote(self.location) else self._mapped()
            yield from (np.ascontiguousarray(mapped[number]) for number in numbers)
            return
        shape, size = self.shape[1:], self.dtype.itemsize * math.prod(self.shape[1:])
        with self._opened(self.packed) as file:
            first = file.tell()
            for number in numbers:
                ahead = first + number * size - file.tell()
                while self.packed and ahead > 0:  # seeking would unpack 16 MB at once
                    ahead -= len(file.read(min(ahead, _AT_ONCE))) or ahead
                file.seek(first + number * size)
                yield np.frombuffer(file.read(size), self.dtype).reshape(shape)

    def _mapped(self) -> np.ndarray:
        return np.memmap(self.location, self.dtype, "r", self.start, self.shape, "F")

    def pieces(self) -> Iterator[bytes]:
        """All values in C's order, a piece at a time. Of an .npz, its checksum is compared."""
        if self.fortran:
            yield from map(np.ndarray.tobytes, self.rows(range(self.shape[0])))
            return
        left = self.nbytes
        with self._opened(self.member is not None) as file:
            while left:
                piece = file.read(min(left, _AT_ONCE))
                if not piece:
                    raise EOFError("it ends too soon")
                left -= len(piece)
                yield piece
            file.read(1)


def _header(file) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of NumPy's format")
    return readers[version](file)


def _arrays(location: str) -> dict[str, _Array]:
    """Every array of a file by its name, none of them read."""
    with storage.open_binary(location) as file:
        if not location.lower().endswith(".npz"):
            shape, fortran, dtype = _header(file)
            return {"images": _Array(location, None, dtype, shape, fortran, file.tell(), False)}
        out = {}
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):
                    continue
                with archive.open(info) as member:
                    shape, fortran, dtype = _header(member)
                    start = member.tell()
                if start + dtype.itemsize * math.prod(shape) > info.file_size and not dtype.hasobject:
                    raise ValueError(f"{info.filename} is shorter than its header says")
                packed = info.compress_type != zipfile.ZIP_STORED
                if not packed:
                    file.seek(info.header_offset + 26)  # of the lengths of the name and of the extra field
                    start += info.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
                name = info.filename.removesuffix(".npy")
                out[name] = _Array(location, info.filename, dtype, shape, fortran, start, packed)
        return out


@contextlib.contextmanager
def _explained(location: str):
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # NumPy, zipfile and the decompressors raise many kinds
        raise UserError(f"{location}: cannot be read as NumPy arrays ({str(error)[:150]}).") from None


@dataclass(frozen=True)
class Arrays(Source):
    name: str
    images: _Array  # uint8 [N, H, W(, C)]
    labels: np.ndarray | None
    classes: tuple[str, ...]
    numbers: Sequence[int]
    alike = True

    def __len__(self):
        return len(self.numbers)

    def items(self, start, stop):
        numbers = self.numbers[start:stop]
        with _explained(self.name):
            for i, image in zip(numbers, self.images.rows(numbers)):
                yield Item(f"image {i}", image, int(self.labels[i]) if self.classes else 0)

    def fingerprint(self):
        sha = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        with _explained(self.name):
            for piece in self.images.pieces():
                sha.update(piece)
        if self.labels is not None:
            sha.update(np.ascontiguousarray(self.labels, np.int64))
        return sha.hexdigest()

    content = fingerprint

    def select(self, labels):
        wanted = set(labels)
        return dataclasses.replace(self, numbers=[i for i in self.numbers if self.labels[i] in wanted])


def open(location: str) -> Arrays:
    """Raises UserError where the file cannot be read, or holds no images."""
    with _explained(location):
        arrays = _arrays(location)
        if any(a.dtype.hasobject for a in arrays.values()):
            raise ValueError("it holds Python objects, which are not loaded")
    pictures = {n: a for n, a in arrays.items() if len(a.shape) == 4 or (len(a.shape) == 3 and a.dtype == np.uint8)}
    name = next((n for n in _IMAGES if n in pictures), next(iter(pictures), None))
    found = ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in arrays.items())
    if name is None:
        raise UserError(f"{location}: no array of images in it ({found}). Expected uint8 [N, H, W, 3], or [N, H, W].")
    images = pictures[name]
    shape = images.shape
    if images.dtype != np.uint8:
        raise UserError(
            f"{location}: '{name}' is {images.dtype}. Expected uint8, 0 to 255: scale it and save it again."
        )
    if len(shape) == 4 and shape[-1] not in (1, 3, 4):
        hint = " It looks like [N, C, H, W]: transpose it with (0, 2, 3, 1)." if shape[1] in (1, 3) else ""
        raise UserError(f"{location}: '{name}' is {list(shape)}. Expected [N, H, W, 1, 3 or 4].{hint}")
    if shape[1] * shape[2] > MAX_PIXELS:
        raise UserError(
            f"{location}: '{name}' is {list(shape)}: images of more than {MAX_PIXELS // 10**6} million pixels."
        )
    labels = next((arrays[n] for n in _LABELS if n in arrays), None)
    if labels is None or math.prod(labels.shape) != shape[0] or labels.dtype.kind not in "iuU":
        return Arrays(location, images, None, (), range(shape[0]))
    with _explained(location):
        values, numbers = np.unique(labels.whole().ravel(), return_inverse=True)
    return Arrays(location, images, numbers, tuple(map(str, values)), range(shape[0]))
