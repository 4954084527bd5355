"""Images in one NumPy file as a source.

The file is an `.npy`, or an `.npz` with an array of images and perhaps one of labels. Pickled
objects are not loaded. Images are read one by one, locally or from a URL, so a file may be larger
than the memory, compressed or not. An `.npz` is a zip archive; its members are `.npy` files, one
for each array.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import math
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pggan_tf.data.photos import MAX_PIXELS
from pggan_tf.errors import UserError, hide_secrets
from preprocessing import storage
from preprocessing.sources import Item, Source

OPTIONS = ()
_AT_ONCE = 1 << 20  # bytes that are read at once
# Largest array in bytes that is read as a whole: labels, and compressed images in Fortran order.
_WHOLE_BYTES = 256 << 20
# Names of arrays of images with the names of their labels, in lower case. Of a file that holds several
# parts of a set, as those of Keras and MedMNIST do, the training part is read.
_ANY = ("labels", "label", "y")
_NAMES = {
    **dict.fromkeys(("images", "x", "data", "arr_0"), _ANY),
    "x_train": ("y_train",),
    "train_x": ("train_y",),
    "train_images": ("train_labels",),
    "images_train": ("labels_train",),
}


@dataclass(frozen=True)
class _Array:
    """One array of a file, whose header has been read."""

    location: str
    member: str | None  # name of the file in an .npz; None for an .npy
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool  # whether values are in Fortran order
    # Offset of the values in bytes: in the unpacked member if it is compressed, otherwise in the
    # file.
    start: int
    packed: bool  # whether the member is compressed

    @property
    def nbytes(self) -> int:
        """Size of all values in bytes."""
        return self.dtype.itemsize * math.prod(self.shape)

    @contextlib.contextmanager
    def _open(self, unpacking: bool):
        """Context manager that opens the file and yields it, positioned at the first value.

        unpacking: read the member through `zipfile`, which unpacks it and, at its end, compares the
        checksum. Otherwise, the values must not be compressed.
        """
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(storage.open_binary(self.location))
            if unpacking:
                archive = stack.enter_context(zipfile.ZipFile(file))
                file = stack.enter_context(archive.open(self.member))
                _read_header(file)
            else:
                file.seek(self.start)
            yield file

    def read_all(self) -> np.ndarray:
        """Read and return the whole array.

        Raise ValueError if it has more than _WHOLE_BYTES.
        """
        if self.nbytes > _WHOLE_BYTES:
            raise ValueError(f"{self.member or 'an array'} of {self.nbytes >> 20} MB in one piece, more than 256")
        with self._open(self.packed) as file:
            values = np.frombuffer(file.read(self.nbytes), self.dtype)
        return values.reshape(self.shape, order="F" if self.fortran else "C")

    def read_rows(self, numbers: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield array[n] for each n of `numbers`, which must be in rising order."""
        if self.fortran:
            mapped = self.read_all() if self.packed or storage.is_remote(self.location) else self._map()
            yield from (np.ascontiguousarray(mapped[number]) for number in numbers)
            return
        shape, size = self.shape[1:], self.dtype.itemsize * math.prod(self.shape[1:])
        with self._open(self.packed) as file:
            first = file.tell()
            for number in numbers:
                ahead = first + number * size - file.tell()
                while self.packed and ahead > 0:  # seeking would unpack 16 MB at once
                    ahead -= len(file.read(min(ahead, _AT_ONCE))) or ahead
                file.seek(first + number * size)
                yield np.frombuffer(file.read(size), self.dtype).reshape(shape)

    def _map(self) -> np.ndarray:
        """Return a local array in Fortran order, mapped into memory."""
        return np.memmap(self.location, self.dtype, "r", self.start, self.shape, "F")

    def read_pieces(self) -> Iterator[bytes]:
        """Yield all values in C order, as bytes objects of limited size.

        For an .npz, the checksum is compared at the end; zipfile raises an error if it differs.
        """
        if self.fortran:
            yield from map(np.ndarray.tobytes, self.read_rows(range(self.shape[0])))
            return
        left = self.nbytes
        with self._open(self.member is not None) as file:
            while left:
                piece = file.read(min(left, _AT_ONCE))
                if not piece:
                    raise EOFError("it ends too soon")
                left -= len(piece)
                yield piece
            file.read(1)


def _read_header(file) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an .npy file and return (shape, whether in Fortran order, dtype)."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of NumPy's format")
    return readers[version](file)


def _list_arrays(location: str) -> dict[str, _Array]:
    """Return {name of array: array} of an .npz or .npy file without reading the values.

    The array of an .npy has the name 'images'.
    """
    with storage.open_binary(location) as file:
        if not hide_secrets(location).lower().endswith(".npz"):
            shape, fortran, dtype = _read_header(file)
            return {"images": _Array(location, None, dtype, shape, fortran, file.tell(), False)}
        out = {}
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):
                    continue
                with archive.open(info) as member:
                    shape, fortran, dtype = _read_header(member)
                    start = member.tell()
                if start + dtype.itemsize * math.prod(shape) > info.file_size and not dtype.hasobject:
                    raise ValueError(f"{info.filename} is shorter than its header says")
                packed = info.compress_type != zipfile.ZIP_STORED
                if not packed:
                    file.seek(info.header_offset + 26)  # lengths of name and extra field
                    start += info.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
                name = info.filename.removesuffix(".npy")
                out[name] = _Array(location, info.filename, dtype, shape, fortran, start, packed)
        return out


@contextlib.contextmanager
def _explain_errors(location: str):
    """Context manager that converts any exception raised in its block to UserError.

    location: path or URL of the file, for the message.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # NumPy, zipfile and the decompressors raise many kinds
        raise UserError(f"{location}: cannot be read as NumPy arrays ({str(error)[:150]}).") from None


@dataclass(frozen=True)
class Arrays(Source):
    """Images in a NumPy file."""

    name: str
    images: _Array  # uint8 [N, H, W(, C)]
    labels: np.ndarray | None  # labels of all images in the file, int [N]; None without classes
    classes: tuple[str, ...]
    numbers: Sequence[int]  # indices in the file of the images that belong to the source
    notes: tuple[str, ...] = ()  # lines for the user about what is not read
    alike = True

    def list_notes(self) -> tuple[str, ...]:
        """Return lines for the user about arrays that are not read."""
        return self.notes

    def __len__(self):
        return len(self.numbers)

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the images with the numbers `start` to `stop` - 1, in order, as items (`Item`)."""
        numbers = self.numbers[start:stop]
        with _explain_errors(self.name):
            for i, image in zip(numbers, self.images.read_rows(numbers)):
                yield Item(f"image {i}", image, int(self.labels[i]) if self.classes else 0)

    @functools.cached_property
    def _hash(self) -> str:
        """Hash of all pixels and labels, for which all images are read once."""
        sha = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        with _explain_errors(self.name):
            for piece in self.images.read_pieces():
                sha.update(piece)
        if self.labels is not None:
            sha.update(np.ascontiguousarray(self.labels, np.int64))
        return sha.hexdigest()

    def fingerprint(self) -> str:
        """Return a hash of all pixels and labels."""
        return self._hash

    hash_content = fingerprint

    def select(self, labels: Sequence[int]) -> Arrays:
        """Return the same source with only the images whose label is in `labels`."""
        chosen = set(labels)
        return dataclasses.replace(self, numbers=[i for i in self.numbers if self.labels[i] in chosen])


def _may_be_images(array: _Array) -> bool:
    """Return whether an array is uint8, or would be images if it were: [N, H, W, 1 to 4] or [N, 1 or 3, H, W]."""
    _, height, width, channels = (*array.shape, 1)[:4]
    return array.dtype == np.uint8 or 1 <= channels <= 4 or (height in (1, 3) and width > 4)


def open(location: str) -> Arrays:
    """Open an .npy or .npz file at a path or URL and return it as a source.

    Raise UserError if it cannot be read, or holds no images.
    """
    with _explain_errors(location):
        arrays = _list_arrays(location)
        if any(a.dtype.hasobject for a in arrays.values()):
            raise ValueError("it holds Python objects, which are not loaded")
    listed = {n: a for n, a in arrays.items() if len(a.shape) == 4 or (len(a.shape) == 3 and a.dtype == np.uint8)}
    # Arrays that are no images by their dtype and shape, such as float features, count only if there are no others.
    pictures = {n: a for n, a in listed.items() if _may_be_images(a)} or listed
    spelled = {name.lower(): name for name in reversed(pictures)}
    name = next((spelled[known] for known in _NAMES if known in spelled), None)
    found = ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in arrays.items())
    if not pictures:
        raise UserError(f"{location}: no array of images in it ({found}). Expected uint8 [N, H, W, 3], or [N, H, W].")
    whole = [n for n, a in pictures.items() if a.dtype == np.uint8]
    if name is None and len(whole) == 1 and pictures[whole[0]].shape[3:] in ((3,), (4,)):
        name = whole[0]  # in colour, beside floats such as depths
    if name is None and len(pictures) > 1:
        raise UserError(f"{location}: {', '.join(pictures)} may all be its images. Save one of them as 'images'.")
    name = name or next(iter(pictures))
    images = pictures[name]
    shape = images.shape
    if images.dtype != np.uint8:
        raise UserError(
            f"{location}: '{name}' is {images.dtype}. Expected uint8, 0 to 255: scale it and save it again."
        )
    if len(shape) == 4 and shape[-1] not in (1, 2, 3, 4):
        hint = " It looks like [N, C, H, W]: transpose it with (0, 2, 3, 1)." if shape[1] in (1, 3) else ""
        raise UserError(f"{location}: '{name}' is {list(shape)}. Expected [N, H, W, 1 to 4].{hint}")
    if not shape[1] * shape[2]:
        raise UserError(f"{location}: '{name}' is {list(shape)}: images without pixels. Save the images in it.")
    if shape[1] * shape[2] > MAX_PIXELS:
        raise UserError(
            f"{location}: '{name}' is {list(shape)}: images of more than {MAX_PIXELS // 10**6} million pixels."
        )
    others = ", ".join(other for other in listed if other != name)
    notes = [f"{location}: the {shape[0]:,} images of '{name}' are used, not {others}"] if others else []
    spelled = {n.lower(): n for n in reversed(arrays) if n != name}
    called = next((spelled[n] for n in (*_NAMES.get(name.lower(), ()), *_ANY) if n in spelled), None)
    if called is None:
        return Arrays(location, images, None, (), range(shape[0]), tuple(notes))
    labels = arrays[called]
    if math.prod(labels.shape) != shape[0] or labels.dtype.kind not in "iuU":
        notes.append(
            f"{location}: '{called}' is {labels.dtype}{list(labels.shape)} and is not read; classes are {shape[0]:,} whole numbers or "
            "names."
        )
        return Arrays(location, images, None, (), range(shape[0]), tuple(notes))
    with _explain_errors(location):
        values, numbers = np.unique(labels.read_all().ravel(), return_inverse=True)
    return Arrays(location, images, numbers, tuple(map(str, values)), range(shape[0]), tuple(notes))
