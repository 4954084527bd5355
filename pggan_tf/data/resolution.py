"""Read and write the print resolution of photos, which scans have: pixels per inch, across and down.

JPEG stores it as whole numbers in its JFIF header, PNG in a chunk pHYs, TIFF and EXIF in three
tags. It is a wish for printing and says nothing about the pixels, so it stays when they change.
"""

from __future__ import annotations

from PIL import Image

from pggan_tf.data import orientation, png

Resolution = tuple[float, float]

_ACROSS, _DOWN, _UNIT = 282, 283, 296  # tags of TIFF 6.0, which EXIF uses too
_INCHES = {2: 1.0, 3: 2.54}  # unit in these tags -> per inch; 1: no unit, only the shape of a pixel
_JFIF_UNITS = (1, 2)  # inch and cm; 0: only the shape of a pixel
_MOST = 65_535  # JFIF holds 16 bits
_INCH = 0.0254  # metres
_ROUNDING = _INCH / 2 + 1e-3  # largest difference that PNG makes, in pixels per inch


def _check(across, down, factor: float | None = 1.0) -> Resolution | None:
    """Return the resolution that a file states, or None if it states none that makes sense.

    A number that may be a whole one is taken for it: PNG counts the pixels of a metre, which makes
    299.9994 of 300.

    Args:
        across: a number, or whatever else the file has there.
        down: the same.
        factor: by which they are multiplied to be of an inch; None: their unit is not known.
    """
    try:
        values = [float(value) * factor for value in (across, down)] if factor else []
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    if not values or not all(1 <= value <= _MOST for value in values):
        return None
    wide, high = (round(value) if abs(value - round(value)) <= _ROUNDING else round(value, 2) for value in values)
    return wide, high


def read(image: Image.Image, exif: Image.Exif) -> Resolution | None:
    """Return the print resolution of a file opened with Pillow, as the upright picture has it.

    Args:
        image: the image as its file has it. Anything but a TIFF.
        exif: EXIF data of the image, which tell if the file has none itself.
    """
    # Pillow says 72 for a JPEG that has EXIF and states nothing.
    stated = image.format not in ("JPEG", "MPO") or image.info.get("jfif_unit") in _JFIF_UNITS
    found = None
    if stated and isinstance(pair := image.info.get("dpi"), tuple) and len(pair) == 2:
        found = _check(*pair)
    if found is None:
        found = _check(exif.get(_ACROSS), exif.get(_DOWN), _INCHES.get(exif.get(_UNIT, 2)))
    return found[::-1] if found and exif.get(orientation.TAG) in orientation.ASIDE else found


def read_page(page) -> Resolution | None:
    """Return the print resolution of a page of a TIFF, as the upright picture has it.

    page: a TiffPage of the package tifffile.
    """
    across, down = (page.tags.valueof(tag) for tag in (_ACROSS, _DOWN))
    try:
        found = _check(across[0] / across[1], down[0] / down[1], _INCHES.get(int(page.tags.valueof(_UNIT, 2))))
    except (TypeError, ValueError, ZeroDivisionError, IndexError):
        return None
    return found[::-1] if found and page.tags.valueof(orientation.TAG) in orientation.ASIDE else found


def make_png_chunk(resolution: Resolution) -> bytes:
    """Return the chunk pHYs, which counts the pixels of a metre."""
    across, down = (round(value / _INCH).to_bytes(4) for value in resolution)
    return png.make_chunk(b"pHYs", across + down + b"\1")
