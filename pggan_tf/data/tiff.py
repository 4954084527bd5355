"""Decode TIFF files that Pillow cannot read or would reduce to 8 bits.

A TIFF has one or several pages, each with one picture. In all functions, `data` is the bytes of the
file and `page` a TiffPage of the package tifffile.

Values are scaled to 0..65535. Unsigned 16-bit values stay as they are, and unsigned integers of
fewer bits are scaled by the largest value of that many bits. For all other types (floats, signed
integers, larger integers), the range is guessed from the values of the page: 0..1 (floats), 0..255,
0..65535 (0..32767 for signed 16 bits) or 0..2^32-1. Values that fit none of these ranges are scaled
from their minimum and maximum.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image

from pggan_tf.errors import Unreadable

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION, _PROFILE = 274, 34675  # tags
_THUMBNAIL, _MASK = 1, 4  # bits of NewSubfileType (TIFF 6.0, section 8)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2  # PhotometricInterpretation
_PREMULTIPLIED, _ALPHA = 1, 2  # ExtraSamples
_FEWER_THAN_16 = (10, 12, 14)  # bits per sample
_MOST_SAMPLES = 8  # samples per pixel; a file with more is not a photo
_OVERSHOOT = 1.05  # values may exceed a range by 5 %, as after sharpening, and are clipped
# Share of a range that the largest value must reach, so that a scan of 12 bits is not taken for a
# black picture.
_LEAST_SHARE = 1 / 16


@functools.cache
def _import_tifffile():
    """Import and return the package tifffile, without its log messages on the terminal."""
    import logging

    import tifffile

    # This package reports damaged files itself.
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    return tifffile


def open_file(data: bytes):
    """Open the bytes of a TIFF and return a tifffile.TiffFile."""
    return _import_tifffile().TiffFile(io.BytesIO(data))


def list_pages(file) -> list:
    """Return the pages of a TiffFile as a list.

    Thumbnails and masks are left out, unless the file has nothing else.
    """
    every = [page.aspage() for page in file.pages]
    return [p for p in every if not int(p.subfiletype) & (_THUMBNAIL | _MASK)] or every


def is_deep(page) -> bool:
    """Return whether the samples of a TIFF's page have more than the 8 bits that Pillow reads."""
    return page.dtype is None or page.dtype.name not in ("uint8", "bool")


def read_metadata(data: bytes, page) -> tuple[bytes | None, Image.Exif]:
    """Return (ICC profile of a page or None, tags of the page as EXIF)."""
    exif, profile = Image.Exif(), page.tags.valueof(_PROFILE)
    exif.endian, exif.bigtiff = "<" if data[:2] == b"II" else ">", data[:4] in MAGIC[2:]
    try:
        exif.load_from_fp(io.BytesIO(data), page.offset)
    except Exception:  # Pillow does not read BigTIFF with the other byte order
        exif = Image.Exif()
        exif[_ORIENTATION] = int(page.tags.valueof(_ORIENTATION, 1))
    return bytes(profile) if profile else None, exif


def read_planes(data: bytes, page) -> tuple[np.ndarray, bool]:
    """Decode a page.

    Returns:
        (pixels uint16 [H,W,C], whether they are upright). If not, they still have to be turned as
        the tag Orientation says. Channels are gray, gray and alpha, RGB, or RGBA.

    Raises:
        Unreadable: if the page is damaged or not gray or RGB.
    """
    if page.samplesperpixel > _MOST_SAMPLES:
        raise Unreadable(f"a TIFF of {page.samplesperpixel} channels. Expected 1 to 4")
    if int(page.photometric) not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        raise Unreadable(
            f"a TIFF of {_describe_samples(page)} in the colours {_spell(page.photometric)}. Expected gray or RGB"
        )
    values, upright = _read_values(data, page)
    colours = 3 if int(page.photometric) == _RGB else 1
    extra = [int(kind) for kind in page.extrasamples]
    has_alpha = values.shape[2] > colours and extra[:1] in ([_PREMULTIPLIED], [_ALPHA])
    alpha = values[..., colours : colours + 1] if has_alpha else None
    values, bits = values[..., :colours], page.bitspersample
    values = _scale(values, bits)
    if int(page.photometric) == _WHITE_IS_ZERO:
        values = ~values
    if alpha is None:
        return values, upright
    alpha = _scale(alpha, bits, by_type=True)
    if extra[0] == _PREMULTIPLIED:
        opacity = np.maximum(alpha, 1) / np.float32(65535)
        values = np.minimum(np.rint(values / opacity), 65535).astype(np.uint16)
    return np.concatenate([values, alpha], axis=2), upright


def _read_values(data: bytes, page) -> tuple[np.ndarray, bool]:
    """Return (values of a page [H,W,S] of any type, whether they are upright).

    S is the number of samples of a pixel. Raise Unreadable if the page cannot be decoded.
    """
    try:
        values = page.asarray()
    except (ValueError, KeyError, ImportError, NotImplementedError) as error:
        if "imagecodecs" not in str(error):
            raise
        return _decode_by_opencv(data, page), True
    if page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    elif page.axes == "YX":
        values = values[..., None]
    elif page.axes != "YXS":
        raise Unreadable(f"a TIFF with the axes {page.axes}. Expected one picture a page")
    return np.asarray(values, values.dtype.newbyteorder("=")), False


def _decode_by_opencv(data: bytes, page) -> np.ndarray:
    """Decode a page with OpenCV and return its values [H,W,S].

    OpenCV has more codecs than tifffile and turns pictures upright. Raise Unreadable if it cannot
    decode the page.
    """
    import cv2

    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        buffer = np.frombuffer(data, np.uint8)
        _, pages = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED, range=(page.index, page.index + 1))
    except cv2.error:
        pages = ()
    finally:
        cv2.utils.logging.setLogLevel(before)
    planes = [values.reshape(*values.shape[:2], -1) for values in pages]
    if [(p.dtype, p.shape[2]) for p in planes] != [(page.dtype, page.samplesperpixel)]:
        raise Unreadable(
            f"a TIFF of {_describe_samples(page)}, {_spell(page.compression)}. It can be read after: pip install imagecodecs"
        )
    if page.bitspersample in _FEWER_THAN_16:
        planes[0] >>= 16 - page.bitspersample  # OpenCV shifts values to the top of 16 bits
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(page.samplesperpixel)
    return planes[0] if order is None else cv2.cvtColor(planes[0], order)


def _spell(value) -> str:
    """Return the name of an enum's member in words, or any other value as a text."""
    return getattr(value, "name", str(value)).replace("_", " ")


def _describe_samples(page) -> str:
    """Return the type of a page's samples as a text for the user."""
    return page.dtype.name if page.dtype is not None else f"{page.bitspersample} bits a sample"


def _scale(values: np.ndarray, bits: int, by_type: bool = False) -> np.ndarray:
    """Scale values to uint16 in 0..65535 with the rules in this module's docstring.

    Args:
        values: array of any numeric type.
        bits: number of bits of a sample in the file.
        by_type: scale integers with the range of their type instead of guessing the range.

    Returns:
        uint16 array of the same shape.

    Raises:
        Unreadable: if the values are neither integers nor floats, or none of them is finite.
    """
    if values.dtype == np.uint8 and bits == 8:
        return values.astype(np.uint16) * 257
    if values.dtype == np.uint16 and bits == 16:
        return values
    if values.dtype.kind not in "fiu":
        raise Unreadable(f"a TIFF of {values.dtype.name}. Expected integers or floats")
    if bits < 16 and values.dtype.kind == "u":  # 12 bits, say
        low, high = 0, (1 << bits) - 1
    elif by_type and values.dtype.kind != "f":
        low, high = 0, np.iinfo(values.dtype).max
    else:
        low, high = _find_range(values)
    out = (values.astype(np.float64) - low) * (65535 / (high - low or 1))
    return np.clip(np.rint(np.nan_to_num(out)), 0, 65535).astype(np.uint16)


def _find_range(values: np.ndarray) -> tuple[float, float]:
    """Guess from the values which range they use, and return (lowest, highest possible value).

    Raise Unreadable if no value is finite.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise Unreadable("a TIFF without a finite value")
    low, high = float(finite.min()), float(finite.max())
    if values.dtype.kind == "f" and low >= 1 - _OVERSHOOT and high <= _OVERSHOOT:
        return 0, 1
    for most in (255, 32767 if values.dtype == np.int16 else 65535, 4294967295):
        if low >= most * (1 - _OVERSHOOT) and most * _LEAST_SHARE <= high <= most * _OVERSHOOT:
            return 0, most
    return low, high
