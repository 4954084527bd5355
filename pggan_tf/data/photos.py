"""Read and write photos of any size and format without losing their metadata.

Bit depth, transparency, colour profile, EXIF, XMP, print resolution and captions are kept, and
pixels are turned upright. This is for photos that are edited; training photos are read with `decode`, which
returns plain RGB.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from pggan_tf.data import captions, decoders, icc, marks, png, resolution, xmp
from pggan_tf.data.captions import IPTC_TAG, Captions
from pggan_tf.data.decoders import EXTENSIONS, FORMATS, MAX_BYTES, MAX_PIXELS  # noqa: F401
from pggan_tf.data.exif import ABOUT_PHOTO, TABLES, Text, copy_exif, read_values
from pggan_tf.errors import Unreadable, UserError  # noqa: F401
from pggan_tf.files import atomic_write

_XMP = 700  # tag of TIFF


class Unwritable(UserError):
    """Error for one photo that cannot be written. Other photos may be written."""


@dataclass(frozen=True)
class Photo:
    """A photo with its metadata."""

    pixels: np.ndarray  # uint8 or uint16 [H,W,1] or [H,W,3], upright
    alpha: np.ndarray | None = None  # [H,W,1] of the same type; None if the photo is opaque
    # ICC profile of colour pixels; None for sRGB. Pixels are never converted with it. Networks
    # treat them as sRGB, which keeps gray pixels gray, and the photo has its original gamut again
    # when it is written with the same profile.
    profile: bytes | None = None
    exif: bytes | None = None  # without the orientation tag
    xmp: bytes | None = None  # XMP packet, without what it says of the file's layout
    dpi: resolution.Resolution | None = None  # pixels per inch in print, across and down
    captions: Captions = Captions()  # what else its file says
    was: str | None = None  # form of its pixels that was converted, such as 'HDR (PQ)', as a text for the user

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[:2]

    def rgb(self) -> np.ndarray:
        """Return the pixels as a read-only view [H,W,3]; gray is repeated in all channels."""
        return np.broadcast_to(self.pixels, (*self.size, 3))

    def with_pixels(self, pixels: np.ndarray, alpha: np.ndarray | None = None) -> Photo:
        """Return a photo with other pixels and the same metadata.

        Args:
            pixels: uint8 or uint16 [H,W,1] or [H,W,3].
            alpha: the new transparency [H,W,1] of the same type; None keeps the present one.
        """
        return replace(self, pixels=pixels, alpha=self.alpha if alpha is None else alpha)

    def made_from(self, source: Photo, mark: marks.Mark | None) -> Photo:
        """Return the photo with a mark, and with what the photo that it was made from says in XMP.

        Args:
            source: that photo. This one may have another size.
            mark: the mark; None: without one.
        """
        growth = self.size[1] / source.size[1], self.size[0] / source.size[0]
        return replace(self, xmp=marks.make_packet(mark, source.xmp, growth))


def read(data: bytes, formats: tuple[str, ...] = FORMATS) -> Photo:
    """Decode an image file: the first frame of an animation or the first page of a TIFF.

    Gray and CMYK pixels are converted to sRGB with their profile.

    Args:
        data: bytes of the file.
        formats: allowed formats, some of FORMATS.

    Raises:
        Unreadable: if the file cannot be decoded or has none of these formats.
    """
    with decoders.open_pictures(data, formats) as pictures:
        return make_photo(pictures.picture(), pictures.format)


def make_photo(picture: decoders.Picture, format: str) -> Photo:
    """Convert a decoded picture to a Photo.

    format: format of the picture's file, such as 'TIFF'. Raise Unreadable if the conversion fails.
    """
    with decoders.raise_unreadable():
        planes = picture.planes()
        colours = 1 if planes.shape[2] < 3 else 3
        return Photo(
            np.ascontiguousarray(planes[..., :colours]),
            np.ascontiguousarray(planes[..., colours:]) if planes.shape[2] > colours else None,
            picture.profile if colours == 3 and icc.read_colour_space(picture.profile) == b"RGB " else None,
            copy_exif(picture.exif, about_photo=format == "TIFF"),
            marks.make_packet(None, picture.xmp),
            picture.dpi,
            picture.captions,
            picture.was,
        )


# File extensions that photos can be written with -> (has alpha, has 16 bits, longest side in
# pixels).
KINDS = {
    ".png": (True, True, 1_000_000),
    ".tif": (True, True, 1_000_000),
    ".tiff": (True, True, 1_000_000),
    ".webp": (True, False, 16_383),
    ".jpg": (False, False, 65_500),
    ".jpeg": (False, False, 65_500),
}


def find_loss(photo: Photo, suffix: str, scale: float = 1) -> str | None:
    """Return what a type of file cannot store of a photo, as a text for the user.

    Return None if the file can store everything.

    Args:
        photo: the photo.
        suffix: file extension, such as '.jpg'.
        scale: factor by which the photo will be enlarged before it is written.
    """
    if suffix not in KINDS:
        return f"photos are not written as {suffix or 'a name without an ending'}"
    alpha, deep, longest = KINDS[suffix]
    side = round(scale * max(photo.size))
    if side > longest:
        return f"{suffix} holds no side of {side} pixels"
    if photo.alpha is not None and not alpha:
        return f"{suffix} holds no transparency"
    if photo.pixels.dtype == np.uint16 and not deep:
        return f"{suffix} holds no 16 bits"
    return None


@contextlib.contextmanager
def raise_unwritable(path: Path):
    """Context manager that converts any exception raised in its block to Unwritable.

    Encoders raise many kinds of exceptions, and one photo must not end the work on a folder.

    path: path of the photo, for the message.
    """
    try:
        yield
    except Exception as error:
        why = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
        raise Unwritable(f"{path}: cannot be written ({why}).") from error


_LONGEST_EXIF = 65_527  # bytes; JPEG stores EXIF in one segment: EXIF 2.32, section 4.7.2


def write(path: Path, photo: Photo) -> str | None:
    """Write a photo, completely or not at all, in the format of the file extension.

    Memory needed besides the photo itself: none for .tif; a third more than the photo's size for
    .jpg; the photo's size plus that of the file for .png; about ten times the photo's size for
    .webp, which libwebp writes.

    Returns:
        What was converted for good or left out of the file, as a text for the user, or None if nothing was.

    Raises:
        Unwritable: if the file cannot be written, or its type cannot store the photo (see
            `find_loss`).
    """
    suffix = path.suffix.lower()
    if problem := find_loss(photo, suffix):
        raise Unwritable(f"{path}: {problem}. Choose a name that ends in .png or .tif.")
    kept, lost = captions.keep(photo.captions, suffix)
    photo, left_out = replace(photo, captions=kept), [photo.was and f"{photo.was}, made sRGB", lost]
    if suffix in (".jpg", ".jpeg") and photo.exif and len(photo.exif) > _LONGEST_EXIF:
        left_out.append(f"without its EXIF, as {suffix} holds none of {len(photo.exif):,} bytes")
        photo = replace(photo, exif=None)
    if suffix in (".jpg", ".jpeg") and photo.xmp and len(photo.xmp) > xmp.LONGEST_IN_JPEG:
        left_out.append(f"without its XMP, as {suffix} holds none of {len(photo.xmp):,} bytes")
        photo = replace(photo, xmp=marks.make_packet(marks.read(photo.xmp)))
    with raise_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            if suffix == ".png":
                data, lost = encode_png(photo)
                left_out.append(lost)
                with partial.open("wb") as file:
                    file.writelines(split_png(data, photo))
            elif suffix in (".tif", ".tiff"):
                with open_tiff(partial, _stack_planes(photo).nbytes) as add:
                    add(photo)
            else:
                _write_lossy(partial, photo)
    return "; ".join(filter(None, left_out)) or None


def _stack_planes(photo: Photo, reverse: bool = False) -> np.ndarray:
    """Return colour and alpha as one array [H,W,C]: gray, RGB or RGBA.

    Gray with alpha becomes RGBA, which every program can read.

    reverse: return the channels in the order of OpenCV, BGR or BGRA.
    """
    order = np.s_[..., ::-1] if reverse else np.s_[...]
    if photo.alpha is None:
        return photo.pixels[order]
    planes = np.empty((*photo.size, 4), photo.pixels.dtype)
    planes[..., :3], planes[..., 3:] = photo.rgb()[order], photo.alpha
    return planes


_LARGEST_TIFF = 4_000_000_000  # bytes; larger files have offsets of 64 bits (BigTIFF)


def _write_lossy(path: Path, photo: Photo) -> None:
    """Write a .jpg or .webp file with quality 95."""
    planes = _stack_planes(photo)
    picture = Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes)
    # Pillow writes metadata only if they are given, and does not accept None.
    metadata = {
        "icc_profile": photo.profile,
        "exif": photo.exif and b"Exif\0\0" + photo.exif,
        "xmp": photo.xmp,
        "dpi": photo.dpi,  # WebP has no place for it
    }
    options = {"quality": 95, "subsampling": 0, **{k: v for k, v in metadata.items() if v}}
    options |= captions.make_jpeg_options(photo.captions)  # of a WebP, none are left
    picture.save(path, **options)  # WebP ignores the subsampling


def encode_png(photo: Photo) -> tuple[np.ndarray, str | None]:
    """Encode a photo as PNG without its XMP, resolution and texts, which `split_png` adds.

    OpenCV is used because Pillow does not support colour with 16 bits and takes four bytes of
    memory for three. OpenCV does not report a full disk, so it does not write the file.

    Returns:
        (bytes of the PNG as uint8 [N], what was left out in a few words, or None if everything else
        is stored).

    Raises:
        OSError: if OpenCV cannot encode the photo.
    """
    import cv2

    planes = np.ascontiguousarray(_stack_planes(photo, reverse=True))
    # libpng rejects a profile whose length differs from the length it states.
    for profile in dict.fromkeys((photo.profile, None)):
        metadata = {cv2.IMAGE_METADATA_ICCP: profile, cv2.IMAGE_METADATA_EXIF: photo.exif}
        blocks = {kind: np.frombuffer(block, np.uint8) for kind, block in metadata.items() if block}
        done, data = cv2.imencodeWithMetadata(".png", planes, list(blocks), list(blocks.values()))
        if done:
            return data, None if profile == photo.profile else "without its colour profile, which is damaged"
    raise OSError(0, "OpenCV could not make a PNG of it")


def split_png(data, photo: Photo) -> list:
    """Return the pieces of a PNG with XMP, resolution and texts of the photo, to be written in a row.

    Args:
        data: the PNG without them, from `encode_png`, or its bytes. It is not copied.
        photo: the photo.
    """
    chunks = [resolution.make_png_chunk(photo.dpi)] if photo.dpi else []
    chunks += [chunk for _, chunk in photo.captions.texts]
    chunks += [xmp.make_png_chunk(photo.xmp)] if photo.xmp else []
    return [data[: png.HEAD], *chunks, data[png.HEAD :]] if chunks else [data]


@contextlib.contextmanager
def open_tiff(path: Path, size: int):
    """Context manager that creates a TIFF and yields a function that writes the next page.

    The function takes a Photo and returns nothing. It writes the pixels at once. EXIF tables are
    written for the first page only, when the block ends.

    Args:
        path: path of the file.
        size: upper limit in bytes for the pixels of all pages, which decides whether the file has
            offsets of 64 bits.
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
                resolution=photo.dpi,
                resolutionunit="INCH" if photo.dpi else None,
                metadata=None,
                software=False,
                extratags=[
                    *_list_tags(exif, "Q" if big else "I", tables=first is None),
                    *([(_XMP, "B", len(photo.xmp), photo.xmp, True)] if photo.xmp else []),
                    *([(IPTC_TAG, "B", len(iptc), iptc, True)] if (iptc := photo.captions.iptc) else []),
                ],
            )
            first = exif if first is None else first

        yield add
    if first is not None:
        _fill_tables(path, first, big)


def _fill_tables(path: Path, exif: Image.Exif, big: bool) -> None:
    """Append the EXIF tables to a TIFF, and set their offsets in the tags reserved by `_list_tags`.

    Args:
        path: path of the file.
        exif: EXIF data of the first page.
        big: whether offsets have 64 bits (BigTIFF).
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
            if (tag := read_number(place, 2)) in TABLES:
                file.seek(0)
                table = TiffImagePlugin.ImageFileDirectory_v2(file.read(header), group=tag)
                for name, value in read_values(exif, tag).items():
                    table[name] = value
                end = file.seek(0, io.SEEK_END)
                offset = end + end % 2  # TIFF requires even offsets
                file.write(bytes(offset - end) + table.tobytes(offset))
                file.seek(place + entry - word)
                file.write(offset.to_bytes(word, "little"))


def _list_tags(exif: Image.Exif, pointer: str, tables: bool) -> Iterator[tuple]:
    """Yield tags about a photo as tifffile takes them for the parameter `extratags`.

    Args:
        exif: EXIF data of the photo.
        pointer: tifffile's type for the offset of a table, 'I' (32 bits) or 'Q' (64 bits).
        tables: whether to reserve tags for the tables, with offset 0; `_fill_tables` sets the
            offsets.

    Yields:
        (tag, type, number of values, value, whether only the first page has it).
    """
    for tag in ABOUT_PHOTO:
        value = exif.get(tag)
        if tag in TABLES and value is not None and tables:
            yield TABLES[tag], pointer, 1, 0, True
        elif isinstance(value, str):
            yield tag, "s", 0, Text(value).encode(), True
        elif isinstance(value, bytes):
            yield tag, "B", len(value), value, True
