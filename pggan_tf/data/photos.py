"""Read and write photos of any size and format, upright.

Their bit depth, transparency, colour profile and EXIF are kept. Photos that are changed go through
here. Photos to learn from go through `decode`, which gives plain RGB.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from pggan_tf.data import decoders, icc
from pggan_tf.data.decoders import EXTENSIONS, FORMATS, MAX_BYTES, MAX_PIXELS  # noqa: F401
from pggan_tf.errors import Unreadable, UserError  # noqa: F401
from pggan_tf.files import atomic_write

# Tags of TIFF 6.0, which are those of EXIF too.
_ORIENTATION = 274
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965  # each points to a table of its own
_TABLES = {_EXIF: "ExifTag", _GPS: "GPSTag"}  # tifffile's names; it takes no numbers of tables
_INSIDE = {None: tuple(_TABLES), _EXIF: (_INTEROPERABILITY,)}  # table -> the tables in it
# Tags about the photo: description, make, model, software, date, artist, computer, copyright, what
# Windows adds. A TIFF's other tags describe the layout of the file.
_ABOUT_PHOTO = (270, 271, 272, 305, 306, 315, 316, 33432, 40091, 40092, 40093, 40094, 40095, _EXIF, _GPS)


class Unwritable(UserError):
    """One photo cannot be written. Others may be."""


@dataclass(frozen=True)
class Photo:
    """A photo with its metadata."""

    pixels: np.ndarray  # uint8 or uint16 [H,W,1] or [H,W,3], upright
    alpha: np.ndarray | None = None  # [H,W,1] of the same type
    # ICC profile of colour pixels; None for sRGB. Pixels are never converted by it: networks take
    # them for sRGB, which leaves gray gray, and the photo has its gamut again when it is written
    # with the same profile.
    profile: bytes | None = None
    exif: bytes | None = None  # without the orientation

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[:2]

    def rgb(self) -> np.ndarray:
        """Return the pixels as [H,W,3]; those of a gray photo are not copied."""
        return np.broadcast_to(self.pixels, (*self.size, 3))

    def with_pixels(self, pixels: np.ndarray, alpha: np.ndarray | None = None) -> Photo:
        """Return a photo of other pixels with the same metadata. alpha: by default the same."""
        return replace(self, pixels=pixels, alpha=self.alpha if alpha is None else alpha)


def read(data: bytes, formats: tuple[str, ...] = FORMATS) -> Photo:
    """Decode the bytes of an image file: the first frame of an animation, the first page of a TIFF.

    Pixels with a profile for gray or CMYK are converted to sRGB by it. Raises Unreadable.
    """
    with decoders.open_pictures(data, formats) as pictures:
        return make_photo(pictures.picture(), pictures.format)


def make_photo(picture: decoders.Picture, format: str) -> Photo:
    """Make a photo of a decoded picture. format: of its file, such as 'TIFF'. Raises Unreadable."""
    with decoders.raise_unreadable():
        planes = picture.planes()
        colours = 1 if planes.shape[2] < 3 else 3
        return Photo(
            np.ascontiguousarray(planes[..., :colours]),
            np.ascontiguousarray(planes[..., colours:]) if planes.shape[2] > colours else None,
            picture.profile if colours == 3 and icc.read_colour_space(picture.profile) == b"RGB " else None,
            _copy_exif(picture.exif, about_photo=format == "TIFF"),
        )


class _Text(str):
    """A string of EXIF that is written with the bytes it was read from.

    Pillow reads any bytes as Latin-1, and would write ASCII with ? for all other characters.
    """

    def encode(self, *_) -> bytes:
        try:
            return super().encode("latin-1")
        except UnicodeEncodeError:  # this string was not read from a file
            return super().encode()


def _read_values(exif: Image.Exif, table: int | None = None) -> dict:
    """Return the values of EXIF, or of a table in it, by their tags.

    Tables are dicts, strings are _Text.
    """
    out = {}
    for tag, value in (exif if table is None else exif.get_ifd(table)).items():
        if tag in _INSIDE.get(table, ()):
            value = _read_values(exif, tag)
        out[tag] = _Text(value) if isinstance(value, str) else value
    return out


def _copy_exif(exif: Image.Exif, about_photo: bool) -> bytes | None:
    """Return EXIF's bytes without the orientation and the thumbnail.

    The thumbnail shows the photo before its change. about_photo: copy only tags about the photo;
    those of a TIFF describe the layout of its file too.
    """
    copy = Image.Exif()
    copy.endian = exif.endian  # cameras' own notes depend on it without saying so
    with contextlib.suppress(Exception):  # some cameras write EXIF that cannot be written again
        for tag in exif:
            if tag == _ORIENTATION or (about_photo and tag not in _ABOUT_PHOTO):
                del exif[tag]  # before it is decoded
        for tag, value in _read_values(exif).items():
            copy[tag] = value
        return copy.tobytes().removeprefix(b"Exif\0\0") if len(copy) else None
    return None


# The kinds of files that photos are written as: (has alpha, has 16 bits, pixels of the longest
# side).
KINDS = {
    ".png": (True, True, 1_000_000),
    ".tif": (True, True, 1_000_000),
    ".tiff": (True, True, 1_000_000),
    ".webp": (True, False, 16_383),
    ".jpg": (False, False, 65_500),
    ".jpeg": (False, False, 65_500),
}


def find_loss(photo: Photo, suffix: str, scale: int = 1) -> str | None:
    """Return what a kind of file cannot hold of a photo, or None if it holds all.

    scale: factor by which the photo is enlarged before. suffix: the ending of the file's name, such
    as '.jpg'.
    """
    if suffix not in KINDS:
        return f"photos are not written as {suffix or 'a name without an ending'}"
    alpha, deep, longest = KINDS[suffix]
    side = scale * max(photo.size)
    if side > longest:
        return f"{suffix} holds no side of {side} pixels"
    if photo.alpha is not None and not alpha:
        return f"{suffix} holds no transparency"
    if photo.pixels.dtype == np.uint16 and not deep:
        return f"{suffix} holds no 16 bits"
    return None


@contextlib.contextmanager
def raise_unwritable(path: Path):
    """Raise any error of the block as Unwritable.

    Encoders raise many kinds of errors, and one photo must not end a folder's run.
    """
    try:
        yield
    except Exception as error:
        why = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
        raise Unwritable(f"{path}: cannot be written ({why}).") from error


_LONGEST_EXIF = 65_527  # bytes in the one segment that JPEG has for it: EXIF 2.32, section 4.7.2


def write(path: Path, photo: Photo) -> str | None:
    """Write a photo, all of it or nothing, in the format that the name ends in.

    Memory, besides the photo's own: none for .tif; for .jpg a third more than the photo's size; for
    .png its size and that of the file; for .webp, which libwebp writes, about ten times its size.

    Returns:
        What was left out of the file, in a few words, or None.

    Raises:
        Unwritable: also where `find_loss` says that this kind of file cannot hold the photo.
    """
    suffix = path.suffix.lower()
    if problem := find_loss(photo, suffix):
        raise Unwritable(f"{path}: {problem}. Choose a name that ends in .png or .tif.")
    left_out = None
    if suffix in (".jpg", ".jpeg") and photo.exif and len(photo.exif) > _LONGEST_EXIF:
        left_out = f"without its EXIF, as {suffix} holds none of {len(photo.exif):,} bytes"
        photo = replace(photo, exif=None)
    with raise_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            if suffix == ".png":
                data, left_out = encode_png(photo)
                partial.write_bytes(data)
            elif suffix in (".tif", ".tiff"):
                with open_tiff(partial, _stack_planes(photo).nbytes) as add:
                    add(photo)
            else:
                _write_lossy(partial, photo)
    return left_out


def _stack_planes(photo: Photo, reverse: bool = False) -> np.ndarray:
    """Return colour and alpha as [H,W,1|3|4].

    Gray with alpha becomes RGBA, which every program reads. reverse: return BGR or BGRA.
    """
    order = np.s_[..., ::-1] if reverse else np.s_[...]
    if photo.alpha is None:
        return photo.pixels[order]
    planes = np.empty((*photo.size, 4), photo.pixels.dtype)
    planes[..., :3], planes[..., 3:] = photo.rgb()[order], photo.alpha
    return planes


_LARGEST_TIFF = 4_000_000_000  # bytes; offsets in a larger one have 64 bits


def _write_lossy(path: Path, photo: Photo) -> None:
    """Write a .jpg or .webp."""
    planes = _stack_planes(photo)
    picture = Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes)
    # Pillow writes no profile or EXIF unless it is told to, and fails for None.
    metadata = {"icc_profile": photo.profile, "exif": photo.exif and b"Exif\0\0" + photo.exif}
    options = {"quality": 95, "subsampling": 0, **{k: v for k, v in metadata.items() if v}}
    picture.save(path, **options)  # WebP ignores the subsampling


def encode_png(photo: Photo) -> tuple[np.ndarray, str | None]:
    """Encode a photo as a PNG -> its bytes uint8 [N], and what was left out, as `write` returns it.

    By OpenCV: Pillow has no colour of 16 bits, and takes four bytes of memory for three. OpenCV
    does not report a full disk, so it does not write the file.
    """
    import cv2

    planes = np.ascontiguousarray(_stack_planes(photo, reverse=True))
    # libpng refuses a profile whose length is not what it says.
    for profile in dict.fromkeys((photo.profile, None)):
        metadata = {cv2.IMAGE_METADATA_ICCP: profile, cv2.IMAGE_METADATA_EXIF: photo.exif}
        blocks = {kind: np.frombuffer(block, np.uint8) for kind, block in metadata.items() if block}
        done, data = cv2.imencodeWithMetadata(".png", planes, list(blocks), list(blocks.values()))
        if done:
            return data, None if profile == photo.profile else "without its colour profile, which is damaged"
    raise OSError(0, "OpenCV could not make a PNG of it")


@contextlib.contextmanager
def open_tiff(path: Path, size: int):
    """Open a TIFF for writing: yields a function that writes a photo as the next page, at once.

    EXIF's tables are written for the first page only. size: bytes of all pages at most.
    """
    import tifffile

    big, first = size > _LARGEST_TIFF, None

    with tifffile.TiffWriter(path, bigtiff=big, byteorder="<") as file:

        def add(photo: Photo) -> None:
            nonlocal first
            planes, exif = _stack_planes(photo), Image.Exif()
            gray = planes.shape[2] == 1
            exif.load(photo.exif or b"")
            file.write(
                planes[..., 0] if gray else planes,
                photometric="minisblack" if gray else "rgb",
                extrasamples=None if photo.alpha is None else ["unassalpha"],
                compression="zlib",
                iccprofile=photo.profile,
                metadata=None,
                software=False,
                extratags=list(_list_tags(exif, "Q" if big else "I", tables=first is None)),
            )
            first = exif if first is None else first

        yield add
    if first is not None:
        _fill_tables(path, first, big)


def _fill_tables(path: Path, exif: Image.Exif, big: bool) -> None:
    """Append EXIF's tables to a TIFF, and point to them where `_list_tags` left room.

    big: offsets have 64 bits (BigTIFF).
    """
    word = 8 if big else 4
    header, count, entry = (16, 8, 20) if big else (8, 2, 12)  # bytes
    with path.open("r+b") as file:

        def read_number(place: int, size: int) -> int:
            file.seek(place)
            return int.from_bytes(file.read(size), "little")

        first = read_number(header - word, word)
        places = [first + count + entry * i for i in range(read_number(first, count))]
        for place in places:
            if (tag := read_number(place, 2)) in _TABLES:
                file.seek(0)
                table = TiffImagePlugin.ImageFileDirectory_v2(file.read(header), group=tag)
                for name, value in _read_values(exif, tag).items():
                    table[name] = value
                end = file.seek(0, io.SEEK_END)
                offset = end + end % 2  # TIFF wants even offsets
                file.write(bytes(offset - end) + table.tobytes(offset))
                file.seek(place + entry - word)
                file.write(offset.to_bytes(word, "little"))


def _list_tags(exif: Image.Exif, pointer: str, tables: bool) -> Iterator[tuple]:
    """Yield tags for tifffile: (tag, type, count, value, on the first page only).

    pointer: the type of a table's offset, which is filled in later. tables: whether to leave room
    for tables.
    """
    for tag in _ABOUT_PHOTO:
        value = exif.get(tag)
        if tag in _TABLES and value is not None and tables:
            yield _TABLES[tag], pointer, 1, 0, True
        elif isinstance(value, str):
            yield tag, "s", 0, _Text(value).encode(), True
        elif isinstance(value, bytes):
            yield tag, "B", len(value), value, True
