"""Photos in, photos out: any size and form, upright, with their depth, transparency, colour profile and EXIF kept."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from pggan_tf.data import decoders, icc
from pggan_tf.data.decoders import EXTENSIONS, FORMATS, MAX_BYTES, MAX_PIXELS  # noqa: F401  for those who ask for photos
from pggan_tf.errors import Unreadable, UserError  # noqa: F401
from pggan_tf.files import atomic_write

# Tags of TIFF 6.0 and of EXIF, which is one.
_ORIENTATION = 274
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965  # tables of their own
_TABLES = {_EXIF: "ExifTag", _GPS: "GPSTag"}  # as tifffile calls them, which takes no numbers of tables
_INSIDE = {None: tuple(_TABLES), _EXIF: (_INTEROPERABILITY,)}  # table -> the tables in it
# What tells of the photo: description, make, model, software, date, artist, computer, copyright, what Windows adds. A TIFF's
# other tags are the layout of the file itself.
_TOLD = (270, 271, 272, 305, 306, 315, 316, 33432, 40091, 40092, 40093, 40094, 40095, _EXIF, _GPS)


class Unwritable(UserError):
    """Why one photo cannot be written; others may."""


@dataclass(frozen=True)
class Photo:
    """pixels: uint8 or uint16 [H,W,1] or [H,W,3], upright. alpha: [H,W,1] of the same type.

    profile: the ICC profile of [H,W,3] that the pixels are in, None for sRGB. They are never converted from it: networks take
    them for sRGB, which leaves gray gray, and a photo keeps its gamut when it is written with the same profile.
    exif: without the orientation.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    exif: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[:2]

    def rgb(self) -> np.ndarray:
        """[H,W,3]; of a gray photo without a copy."""
        return np.broadcast_to(self.pixels, (*self.size, 3))

    def changed(self, pixels: np.ndarray, alpha: np.ndarray | None = None) -> Photo:
        """Other pixels, the same metadata. alpha: by default the same."""
        return replace(self, pixels=pixels, alpha=self.alpha if alpha is None else alpha)


def read(data: bytes, formats: tuple[str, ...] = FORMATS) -> Photo:
    """The bytes of an image file -> its photo; of an animation the first frame, of a TIFF the first page. Raises Unreadable.

    What has a profile for gray or CMYK becomes sRGB by it.
    """
    with decoders.opened(data, formats) as pictures:
        return of_picture(pictures.picture(), pictures.format)


def of_picture(picture: decoders.Picture, format: str) -> Photo:
    with decoders.reasons():
        planes = picture.planes()
        colours = 1 if planes.shape[2] < 3 else 3
        return Photo(
            np.ascontiguousarray(planes[..., :colours]),
            np.ascontiguousarray(planes[..., colours:]) if planes.shape[2] > colours else None,
            picture.profile if colours == 3 and icc.colour_space(picture.profile) == b"RGB " else None,
            _kept(picture.exif, told_alone=format == "TIFF"),
        )


class _Text(str):
    """A string of EXIF. Pillow reads any bytes as Latin-1, and would write ASCII with ? for the rest: this gives the bytes back."""

    def encode(self, *_) -> bytes:
        try:
            return super().encode("latin-1")
        except UnicodeEncodeError:  # none that was read
            return super().encode()


def _values(exif: Image.Exif, table: int | None = None) -> dict:
    """EXIF, or a table of it: the values by their tags, the tables in it as dicts, strings as _Text."""
    out = {}
    for tag, value in (exif if table is None else exif.get_ifd(table)).items():
        if tag in _INSIDE.get(table, ()):
            value = _values(exif, tag)
        out[tag] = _Text(value) if isinstance(value, str) else value
    return out


def _kept(exif: Image.Exif, told_alone: bool) -> bytes | None:
    """EXIF's bytes without the orientation and without a thumbnail of what the photo was. told_alone: of a TIFF's tags, which are
    the layout of the file too, those that tell of the photo."""
    kept = Image.Exif()
    kept.endian = exif.endian  # cameras' own notes are in it, and do not say so
    with contextlib.suppress(Exception):  # what cameras write is not always what can be written
        for tag in exif:
            if tag == _ORIENTATION or (told_alone and tag not in _TOLD):
                del exif[tag]  # before it is decoded
        for tag, value in _values(exif).items():
            kept[tag] = value
        return kept.tobytes().removeprefix(b"Exif\0\0") if len(kept) else None
    return None


# What photos are written as: (has alpha, has 16 bits, the longest side).
KINDS = {
    ".png": (True, True, 1_000_000),
    ".tif": (True, True, 1_000_000),
    ".tiff": (True, True, 1_000_000),
    ".webp": (True, False, 16_383),
    ".jpg": (False, False, 65_500),
    ".jpeg": (False, False, 65_500),
}


def lost(photo: Photo, suffix: str, scale: int = 1) -> str | None:
    """What a kind of file cannot hold of a photo that is to be `scale` times as large: the reason to write another kind."""
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
def told_unwritable(path: Path):
    """Whatever goes wrong within is Unwritable: encoders raise anything, and one photo must not end a folder's run."""
    try:
        yield
    except Exception as error:
        why = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
        raise Unwritable(f"{path}: cannot be written ({why}).") from error


_LONGEST_EXIF = 65_527  # bytes in the one segment that JPEG has for it: EXIF 2.32, section 4.7.2


def write(path: Path, photo: Photo) -> str | None:
    """Whole or not at all, as what the name ends in; `lost` has to be None. Returns what was left out, in a few words.

    Memory, besides that of the photo: none for .tif; for .jpg a third more than its size; for .png its size and that of the
    file; for .webp, which libwebp makes, about ten times its size. Raises Unwritable.
    """
    suffix = path.suffix.lower()
    if problem := lost(photo, suffix):
        raise Unwritable(f"{path}: {problem}. Choose a name that ends in .png or .tif.")
    left_out = None
    if suffix in (".jpg", ".jpeg") and len(photo.exif or b"") > _LONGEST_EXIF:
        left_out = f"without its EXIF, as {suffix} holds none of {len(photo.exif):,} bytes"
        photo = replace(photo, exif=None)
    with told_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            if suffix == ".png":
                data, left_out = png(photo)
                partial.write_bytes(data)
            elif suffix in (".tif", ".tiff"):
                with tiff_writer(partial, _planes(photo).nbytes) as add:
                    add(photo)
            else:
                _write_lossy(partial, photo)
    return left_out


def _planes(photo: Photo, reverse: bool = False) -> np.ndarray:
    """[H,W,1|3|4]: gray with alpha is written as RGBA, which every program reads. reverse: BGR or BGRA."""
    order = np.s_[..., ::-1] if reverse else np.s_[...]
    if photo.alpha is None:
        return photo.pixels[order]
    planes = np.empty((*photo.size, 4), photo.pixels.dtype)
    planes[..., :3], planes[..., 3:] = photo.rgb()[order], photo.alpha
    return planes


_LARGEST_TIFF = 4_000_000_000  # bytes; beyond, its offsets have 64 bits


def _write_lossy(path: Path, photo: Photo) -> None:
    planes = _planes(photo)
    picture = Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes)
    # Without its own profile and EXIF, Pillow would write none; with None, it fails.
    kept = {"icc_profile": photo.profile, "exif": photo.exif and b"Exif\0\0" + photo.exif}
    picture.save(
        path, quality=95, subsampling=0, **{k: v for k, v in kept.items() if v}
    )  # WebP knows no such subsampling


def png(photo: Photo) -> tuple[np.ndarray, str | None]:
    """The bytes of a file, uint8 [N], and what was left out, as of `write`; `lost` has to be None. By OpenCV: Pillow has no colour of 16
    bits, and would take four bytes for three. It says nothing of a full disk, so it does not write the file."""
    import cv2

    planes = np.ascontiguousarray(_planes(photo, reverse=True))
    for profile in dict.fromkeys((photo.profile, None)):  # libpng takes no profile whose length is not what it says
        kept = {cv2.IMAGE_METADATA_ICCP: profile, cv2.IMAGE_METADATA_EXIF: photo.exif}
        kept = {kind: np.frombuffer(block, np.uint8) for kind, block in kept.items() if block}
        done, data = cv2.imencodeWithMetadata(".png", planes, list(kept), list(kept.values()))
        if done:
            return data, None if profile == photo.profile else "without its colour profile, which is damaged"
    raise OSError(0, "OpenCV could not make a PNG of it")


@contextlib.contextmanager
def tiff_writer(path: Path, size: int):
    """Yields a function that writes a photo as a page, at once. size: bytes that all pages may come to. EXIF's tables are those of
    the first page."""
    import tifffile

    big, first = size > _LARGEST_TIFF, None

    with tifffile.TiffWriter(path, bigtiff=big, byteorder="<") as file:

        def add(photo: Photo) -> None:
            nonlocal first
            planes, exif = _planes(photo), Image.Exif()
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
                extratags=list(_tiff_tags(exif, "Q" if big else "I", tables=first is None)),
            )
            first = exif if first is None else first

        yield add
    if first is not None:
        _fill_tables(path, first, big)


def _fill_tables(path: Path, exif: Image.Exif, big: bool) -> None:
    """Appends EXIF's tables to a TIFF, and points to them where `_tiff_tags` left room. big: offsets of 64 bits (BigTIFF)."""
    word = 8 if big else 4
    header, counted, entry = (16, 8, 20) if big else (8, 2, 12)  # bytes
    with path.open("r+b") as file:

        def number(place: int, size: int) -> int:
            file.seek(place)
            return int.from_bytes(file.read(size), "little")

        first = number(header - word, word)
        places = [first + counted + entry * i for i in range(number(first, counted))]
        for place in places:
            if (tag := number(place, 2)) in _TABLES:
                file.seek(0)
                table = TiffImagePlugin.ImageFileDirectory_v2(file.read(header), group=tag)
                for name, value in _values(exif, tag).items():
                    table[name] = value
                end = file.seek(0, io.SEEK_END)
                offset = end + end % 2  # even, as TIFF wants it
                file.write(bytes(offset - end) + table.tobytes(offset))
                file.seek(place + entry - word)
                file.write(offset.to_bytes(word, "little"))


def _tiff_tags(exif: Image.Exif, pointer: str, tables: bool) -> Iterator[tuple]:
    """As tifffile takes them: (tag, type, count, value, on the first page only). Tables are given their place later."""
    for tag in _TOLD:
        value = exif.get(tag)
        if tag in _TABLES and value is not None and tables:
            yield _TABLES[tag], pointer, 1, 0, True
        elif isinstance(value, str):
            yield tag, "s", 0, _Text(value).encode(), True
        elif isinstance(value, bytes):
            yield tag, "B", len(value), value, True
