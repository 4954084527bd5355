"""Decode training photos to plain RGB or gray, and cut squares out of them.

A square that is cut out without reducing the photo is called a tile. Photos that are edited and
saved again are read with `photos`, which keeps their metadata.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from pggan_tf.data import decoders
from pggan_tf.data.decoders import EXTENSIONS, MAX_BYTES  # noqa: F401  for users
from pggan_tf.errors import Unreadable  # noqa: F401


def _to_rgb_or_gray(image: Image.Image, channels: int) -> Image.Image:
    """Convert an image of mode L, LA, RGB or RGBA to mode RGB, or to L (gray) if `channels` is 1.

    Transparent pixels are blended with white.
    """
    if image.mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def decode_photo(data: bytes | np.ndarray, channels: int = 3, least: int = 1) -> Image.Image:
    """Decode an image file to an upright sRGB image; of an animation, decode the first frame.

    Args:
        data: bytes of the file, or pixels uint8 [H, W] or [H, W, C] with 1, 3 or 4 channels.
        channels: 1 for gray; any other number for RGB.
        least: smallest allowed side in pixels.

    Returns:
        A Pillow image of mode L or RGB.

    Raises:
        Unreadable: if the file cannot be decoded or a side is shorter than `least`.
    """
    return decode_first(data, channels, least)[0]


def decode_first(data: bytes | np.ndarray, channels: int = 3, least: int = 1) -> tuple[Image.Image, bool]:
    """Return (image, whether the file holds more pictures than this first one).

    The image, the arguments and the errors are those of `decode_photo`.
    """
    if isinstance(data, np.ndarray):
        with decoders.raise_unreadable():
            image = Image.fromarray(data[..., 0] if data.ndim == 3 and data.shape[-1] == 1 else data)
            decoders.check_size(*image.size, least)
            return _to_rgb_or_gray(image, channels), False
    with decoders.open_pictures(data) as pictures:
        picture = pictures.picture(least=least)
        more = pictures.has_more()
    with decoders.raise_unreadable():
        return _to_rgb_or_gray(picture.image(), channels), more


# Largest number of tiles of one photo. A photo from a phone would have 800 tiles of 128 px, and the
# tiles of a thousand such photos would fill 40 GB.
TILES = 64


def cut_tiles(image: Image.Image, size: int, filter: str = "lanczos") -> list[np.ndarray]:
    """Cut a picture into evenly spaced tiles: squares of its own pixels, without reducing it.

    The number of tiles is the smallest that covers the picture, but at most TILES.

    Args:
        image: the picture, of mode L or RGB.
        size: side of a tile in pixels.
        filter: resampling filter, one of pixels.FILTERS, with which a picture that has a side
            shorter than `size` is enlarged until that side is `size`.

    Returns:
        List of tiles uint8 [size, size, C].
    """
    if min(image.size) < size:
        factor = size / min(image.size)
        image = image.resize([max(size, round(side * factor)) for side in image.size], Image.Resampling[filter.upper()])
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    starts = [np.linspace(0, side - size, -(-side // size)).round().astype(int) for side in (image.height, image.width)]
    corners = [(y, x) for y in starts[0] for x in starts[1]]
    chosen = np.linspace(0, len(corners) - 1, min(TILES, len(corners))).round().astype(int)
    return [np.ascontiguousarray(pixels[y : y + size, x : x + size]) for y, x in (corners[i] for i in chosen)]


def cut_square(
    image: Image.Image, size: int, filter: str = "lanczos", crop: str = "centre", where: float = 0.5
) -> np.ndarray:
    """Cut a square out of a picture and return it, resized, as uint8 [size, size, C].

    Args:
        image: the picture, of mode L or RGB.
        size: side of the result in pixels.
        filter: resampling filter, one of pixels.FILTERS.
        crop: 'centre' for the central square, 'random' for the square at `where`, 'none' to squeeze
            the whole picture into a square.
        where: position of a 'random' square along the longer side, from 0 (left or top) to 1 (right
            or bottom); not used otherwise.
    """
    side = min(image.size)
    if crop == "none":
        box = None
    elif crop == "centre":
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
    else:
        left, top = round(where * (image.width - side)), round(where * (image.height - side))
        box = (left, top, left + side, top + side)
    out = np.asarray(image.resize((size, size), Image.Resampling[filter.upper()], box=box))
    return out.reshape(size, size, -1)
