"""Turn pictures upright as EXIF says (EXIF 2.32, section 4.6.4, tag Orientation)."""

from __future__ import annotations

import numpy as np
from PIL import Image

TAG = 274
ASIDE = (5, 6, 7, 8)  # orientations in which width and height change places
# EXIF orientation -> function that turns pixels [H,W,...] upright.
TURNS = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}
# The same for Pillow images.
_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_upright(image: Image.Image, exif: Image.Exif) -> Image.Image:
    """Return a Pillow image turned upright; the image itself if it needs no turn.

    Only the orientation is read. Pillow's `exif_transpose` writes all EXIF anew, and fails if a
    single other tag has a value that cannot be written.

    Args:
        image: the image as its file has it.
        exif: EXIF data of the image. An orientation that is not one of 2 to 8 turns nothing.
    """
    method = _METHODS.get(exif.get(TAG, 1))
    return image if method is None else image.transpose(method)
