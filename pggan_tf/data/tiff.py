"""TIFF of any kind -> pixels: what Pillow does not read, or would cut to 8 bits.

Values become 0..65535. 16-bit unsigned ones are that already. Of all other kinds (floats, integers of other sizes, signed ones)
the usual range is taken that the page's values fill: 0..1 (floats), 0..255, 0..65535 (0..32767 of signed 16 bits) or 0..2^32-1;
where they fit none of them, what they range over themselves, from the least to the greatest.
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
_FEWER_THAN_16 = (10, 12, 14)  # bits of a sample
_LARGEST = 8  # samples of a pixel: more is no photo
_OVER = 1.05  # values may leave a usual range by 5 %, as sharpening makes them: they are clipped
_FILLED = 1 / 16  # of a usual range, at least: a scan of 12 bits is no black picture


@functools.cache
def _library():
    import logging

    import tifffile

    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong with a file is told by us
    return tifffile


def opened(data: bytes):
    """A tifffile.TiffFile, to be closed."""
    return _library().TiffFile(io.BytesIO(data))


def pages(file) -> list:
    """Of a TiffFile, without thumbnails and masks."""
    every = [page.aspage() for page in file.pages]
    return [p for p in every if not int(p.subfiletype) & (_THUMBNAIL | _MASK)] or every


def is_deep(page) -> bool:
    """Whether Pillow would lose something of it: it reads 8 bits and less."""
    return page.dtype is None or page.dtype.name not in ("uint8", "bool")


def metadata(data: bytes, page) -> tuple[bytes | None, Image.Exif]:
    """The ICC profile of a page, and its tags."""
    exif, profile = Image.Exif(), page.tags.valueof(_PROFILE)
    exif.endian, exif.bigtiff = "<" if data[:2] == b"II" else ">", data[:4] in MAGIC[2:]
    try:
        exif.load_from_fp(io.BytesIO(data), page.offset)
    except Exception:  # Pillow does not know BigTIFF of the other order of bytes
        exif = Image.Exif()
        exif[_ORIENTATION] = int(page.tags.valueof(_ORIENTATION, 1))
    return bytes(profile) if profile else None, exif


def planes(data: bytes, page) -> tuple[np.ndarray, bool]:
    """uint16 [H,W,1..4]: gray, gray and alpha, RGB, RGBA. And whether it stands upright already."""
    if page.samplesperpixel > _LARGEST:
        raise Unreadable(f"a TIFF of {page.samplesperpixel} channels. Expected 1 to 4")
    if int(page.photometric) not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        raise Unreadable(f"a TIFF of {_kind(page)} in the colours {_name(page.photometric)}. Expected gray or RGB")
    values, upright = _values(data, page)
    colours = 3 if int(page.photometric) == _RGB else 1
    extra = [int(kind) for kind in page.extrasamples]
    has_alpha = values.shape[2] > colours and extra[:1] in ([_PREMULTIPLIED], [_ALPHA])
    alpha = values[..., colours : colours + 1] if has_alpha else None
    values, bits = values[..., :colours], page.bitspersample
    values = _scaled(values, bits)
    if int(page.photometric) == _WHITE_IS_ZERO:
        values = ~values
    if alpha is None:
        return values, upright
    alpha = _scaled(alpha, bits, of_type=True)
    if extra[0] == _PREMULTIPLIED:
        part = np.maximum(alpha, 1) / np.float32(65535)
        values = np.minimum(np.rint(values / part), 65535).astype(np.uint16)
    return np.concatenate([values, alpha], axis=2), upright


def _values(data: bytes, page) -> tuple[np.ndarray, bool]:
    """[H,W,S] of any type, and whether it is turned upright already."""
    try:
        values = page.asarray()
    except (ValueError, KeyError, ImportError, NotImplementedError) as error:
        if "imagecodecs" not in str(error):
            raise
        return _by_libtiff(data, page), True
    if page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    elif page.axes == "YX":
        values = values[..., None]
    elif page.axes != "YXS":
        raise Unreadable(f"a TIFF with the axes {page.axes}. Expected one picture a page")
    return np.asarray(values, values.dtype.newbyteorder("=")), False


def _by_libtiff(data: bytes, page) -> np.ndarray:
    """By OpenCV's, which has codecs that tifffile has not. It turns pictures upright."""
    import cv2

    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        buffer = np.frombuffer(data, np.uint8)
        _, read = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED, range=(page.index, page.index + 1))
    except cv2.error:
        read = ()
    finally:
        cv2.utils.logging.setLogLevel(before)
    planes = [values.reshape(*values.shape[:2], -1) for values in read]
    if [(p.dtype, p.shape[2]) for p in planes] != [(page.dtype, page.samplesperpixel)]:
        raise Unreadable(
            f"a TIFF of {_kind(page)}, {_name(page.compression)}. It can be read after: pip install imagecodecs"
        )
    if page.bitspersample in _FEWER_THAN_16:
        planes[0] >>= 16 - page.bitspersample  # OpenCV fills 16 bits, from the top
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(page.samplesperpixel)
    return planes[0] if order is None else cv2.cvtColor(planes[0], order)


def _name(value) -> str:
    return getattr(value, "name", str(value)).replace("_", " ")


def _kind(page) -> str:
    return page.dtype.name if page.dtype is not None else f"{page.bitspersample} bits a sample"


def _scaled(values: np.ndarray, bits: int, of_type: bool = False) -> np.ndarray:
    """-> uint16 0..65535, by the rule that the module's docstring states; of_type: integers by the range of their type."""
    if values.dtype == np.uint8 and bits == 8:
        return values.astype(np.uint16) * 257
    if values.dtype == np.uint16 and bits == 16:
        return values
    if values.dtype.kind not in "fiu":
        raise Unreadable(f"a TIFF of {values.dtype.name}. Expected integers or floats")
    if bits < 16 and values.dtype.kind == "u":  # 12 bits, say
        low, high = 0, (1 << bits) - 1
    elif of_type and values.dtype.kind != "f":
        low, high = 0, np.iinfo(values.dtype).max
    else:
        low, high = _range(values)
    out = (values.astype(np.float64) - low) * (65535 / (high - low or 1))
    return np.clip(np.rint(np.nan_to_num(out)), 0, 65535).astype(np.uint16)


def _range(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise Unreadable("a TIFF without a finite value")
    low, high = float(finite.min()), float(finite.max())
    if values.dtype.kind == "f" and low >= 1 - _OVER and high <= _OVER:
        return 0, 1
    for most in (255, 32767 if values.dtype == np.int16 else 65535, 4294967295):
        if low >= most * (1 - _OVER) and most * _FILLED <= high <= most * _OVER:
            return 0, most
    return low, high
