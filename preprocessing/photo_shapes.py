"""Find the heights, widths and colours of photos without reading all of them, and their shape."""

from __future__ import annotations

import collections
import contextlib
import io
import math
from collections.abc import Sequence

import numpy as np

from pggan_tf import shapes
from pggan_tf.data import decoders
from pggan_tf.errors import Unreadable, UserError
from preprocessing import sources

_SAMPLED = 64  # number of pictures that are sampled to find the size and colours of a folder
# Formats whose files state size and colours before the pixels.
_WITH_HEADER = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "JPEG2000")
_GRAY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")  # Pillow's modes without colour
_ORIENTATION = 0x112  # tag of EXIF; from 5 on, height and width are exchanged
# Aspects that cameras and screens have, lying; each may also stand.
_USUAL = ((1, 1), (5, 4), (4, 3), (3, 2), (16, 9), (2, 1))

Shape = tuple[int, int, int]  # height, width, channels (1 for gray, 3 for colour)


def read_shapes(location: str, count: int) -> list[Shape]:
    """Return the shapes of some pictures of a location with photos.

    The list is empty if pictures can be drawn at any size. Raise UserError if none of the pictures
    can be read.

    Args:
        location: photos in a folder, an archive or an array, or `portraits` or `sprites`.
        count: number of drawings, if the location is `portraits` or `sprites`; not used otherwise.
    """
    if location in sources.WORDS:
        return []
    source = sources.open_source(location, count=count)
    found, sampled = [], 1 if source.alike else _SAMPLED
    numbers = np.unique(np.linspace(0, max(0, len(source) - 1), sampled).astype(int)).tolist() if len(source) else []
    for item in source.pick(numbers):
        # Pictures that cannot be used are reported later, when all are read.
        with contextlib.suppress(Unreadable):
            data = item.data() if callable(item.data) else item.data
            if isinstance(data, np.ndarray):
                found.append((*data.shape[:2], 1 if data.ndim == 2 or data.shape[2] < 3 else 3))
            elif isinstance(data, bytes):
                found.append(_read_shape(data))
    if not found:
        raise UserError(f"{location}: none of its pictures can be read.")
    return found


def _read_shape(data: bytes) -> Shape:
    """Return the shape of a picture, given the bytes of its file.

    Only the header is decoded if it states the shape. Raise Unreadable if the file cannot be
    decoded.
    """
    from PIL import Image

    with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=_WITH_HEADER) as picture:
        width, height = picture.size
        if picture.getexif().get(_ORIENTATION, 1) >= 5:  # the camera was held upright
            width, height = height, width
        return height, width, 1 if picture.mode in _GRAY else 3
    with decoders.open_pictures(data) as pictures:  # header without the shape
        height, width, channels = pictures.picture().planes().shape
        return height, width, 1 if channels < 3 else 3


def choose_aspect(locations: Sequence[str]) -> tuple[shapes.Aspect, str]:
    """Choose the aspect that most photos have, of those that cameras and screens have.

    Args:
        locations: locations of photos, as for `read_shapes`.

    Returns:
        (width and height in lowest terms, sentence for the user).

    Raises:
        UserError: if none of the photos of a location can be read.
    """
    found = [shape for location in locations for shape in read_shapes(location, 1)]
    if not found:
        return shapes.SQUARE, f"--shape auto: {shapes.name_aspect(shapes.SQUARE)}, as drawings are"
    usual = [*_USUAL, *(aspect[::-1] for aspect in _USUAL[1:])]
    nearest = [
        min(usual, key=lambda a: abs(math.log(a[0] / a[1]) - math.log(width / height))) for height, width, _ in found
    ]
    aspect, count = collections.Counter(nearest).most_common(1)[0]
    return aspect, f"--shape auto: {shapes.name_aspect(aspect)}, as are {count} of the {len(found)} photos looked at"
