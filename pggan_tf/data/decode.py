"""Decode training photos to plain RGB or gray, and cut squares or rectangles out of them.

With 2 or 4 channels, photos keep their transparency and become premultiplied, see `transparency`. A
part that is cut out without reducing the photo is called a tile. Photos that are edited and saved
again are read with `photos`, which keeps their metadata.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from pggan_tf.data import decoders, transparency
from pggan_tf.data.decoders import EXTENSIONS, MAX_BYTES  # noqa: F401  for users
from pggan_tf.errors import Unreadable  # noqa: F401


class First(NamedTuple):
    """The first picture of a file, decoded."""

    image: Image.Image
    more: bool  # whether the file holds more pictures
    clear: bool  # whether a part of the picture is transparent, fully or a little


def _convert(image: Image.Image, channels: int) -> Image.Image:
    """Convert an image of mode L, LA, RGB or RGBA to the mode that `decode_photo` returns.

    Transparent pixels are blended with white if `channels` are not 2 or 4.
    """
    if transparency.has_alpha(channels):
        # Pillow premultiplies with the same rounding as `transparency.premultiply`.
        return image.convert("LA").convert("La") if channels == 2 else image.convert("RGBA").convert("RGBa")
    if image.mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def _is_clear(image: Image.Image) -> bool:
    """Return whether an image of mode L, LA, RGB or RGBA has a pixel that is not opaque."""
    return image.mode in ("LA", "RGBA") and bool(np.asarray(image.getchannel("A")).min() < 255)


def _resize(image: Image.Image, size: tuple[int, int], filter: str, box=None) -> np.ndarray:
    """Resize an image, or a part of it, and return uint8 [H, W, C].

    Args:
        image: the image, of a mode that `decode_photo` returns.
        size: width and height of the result in pixels.
        filter: resampling filter, one of pixels.FILTERS.
        box: left, top, right and bottom of the part; None for the whole image.
    """
    kind = Image.Resampling[filter.upper()]
    if not transparency.has_alpha(len(image.getbands())):
        return np.asarray(image.resize(size, kind, box=box)).reshape(size[1], size[0], -1)
    # Filters overshoot at the edge of an opaque part. With 8 bits, alpha would be clipped there and
    # the colour would not, which would make a bright seam.
    bands = (image.getchannel(i).convert("F") for i in range(len(image.getbands())))
    return transparency.clip_overshoot(np.stack([np.asarray(b.resize(size, kind, box=box)) for b in bands], -1))


def decode_photo(data: bytes | np.ndarray, channels: int = 3, least: int = 1) -> Image.Image:
    """Decode an image file to an upright sRGB image; of an animation, decode the first frame.

    Args:
        data: bytes of the file, or pixels uint8 [H, W] or [H, W, C] with 1 to 4 channels.
        channels: 1 for gray, 2 for gray with alpha, 4 for RGB with alpha; any other number for RGB.
        least: smallest allowed side in pixels.

    Returns:
        A Pillow image of mode L or RGB, or La or RGBa, which are premultiplied.

    Raises:
        Unreadable: if the file cannot be decoded or a side is shorter than `least`.
    """
    return decode_first(data, channels, least).image


def decode_first(data: bytes | np.ndarray, channels: int = 3, least: int = 1) -> First:
    """Return the first picture of a file, and what the image does not tell.

    The image, the arguments and the errors are those of `decode_photo`.
    """
    if isinstance(data, np.ndarray):
        with decoders.raise_unreadable():
            image = Image.fromarray(data[..., 0] if data.ndim == 3 and data.shape[-1] == 1 else data)
            decoders.check_size(*image.size, least)
            return First(_convert(image, channels), False, _is_clear(image))
    with decoders.open_pictures(data) as pictures:
        picture = pictures.picture(least=least)
        more = pictures.has_more()
    with decoders.raise_unreadable():
        image = picture.image()
        return First(_convert(image, channels), more, _is_clear(image))


# Largest number of tiles of one photo. A photo from a phone would have 800 tiles of 128 px, and the
# tiles of a thousand such photos would fill 40 GB.
TILES = 64


def cut_tiles(image: Image.Image, shape: int | tuple[int, int], filter: str = "lanczos") -> list[np.ndarray]:
    """Cut a picture into evenly spaced tiles: parts of its own pixels, without reducing it.

    The number of tiles is the smallest that covers the picture, but at most TILES.

    Args:
        image: the picture, of a mode that `decode_photo` returns.
        shape: height and width (h, w) of a tile in pixels, or one number for squares.
        filter: resampling filter, one of pixels.FILTERS, with which a picture that is smaller than
            a tile is enlarged until it covers one.

    Returns:
        List of tiles uint8 [h, w, C].
    """
    h, w = (shape, shape) if isinstance(shape, int) else shape
    if image.height < h or image.width < w:
        factor = max(h / image.height, w / image.width)
        size = (max(w, round(image.width * factor)), max(h, round(image.height * factor)))
        pixels = _resize(image, size, filter)
    else:
        pixels = np.asarray(image).reshape(image.height, image.width, -1)
    sides = ((pixels.shape[0], h), (pixels.shape[1], w))
    starts = [np.linspace(0, whole - part, -(-whole // part)).round().astype(int) for whole, part in sides]
    corners = [(y, x) for y in starts[0] for x in starts[1]]
    chosen = np.linspace(0, len(corners) - 1, min(TILES, len(corners))).round().astype(int)
    return [np.ascontiguousarray(pixels[y : y + h, x : x + w]) for y, x in (corners[i] for i in chosen)]


def cut_square(
    image: Image.Image, size: int, filter: str = "lanczos", crop: str = "centre", where: float = 0.5
) -> np.ndarray:
    """Cut a square out of a picture and return it, resized, as uint8 [size, size, C]; see `cut`."""
    return cut(image, (size, size), filter, crop, where)


def cut(
    image: Image.Image, shape: tuple[int, int], filter: str = "lanczos", crop: str = "centre", where: float = 0.5
) -> np.ndarray:
    """Bring a picture to a shape and return it as uint8 [h, w, C].

    Args:
        image: the picture, of a mode that `decode_photo` returns.
        shape: height and width (h, w) of the result in pixels.
        filter: resampling filter, one of pixels.FILTERS.
        crop: 'centre' for the largest part of this shape in the middle, 'random' for that at
            `where`, 'none' to squeeze the whole picture into the shape; 'fit' and 'pad' for the
            whole picture in the middle, and around it what lies behind its edges in a mirror (fit)
            or the mean colour of these edges (pad).
        where: position of a 'random' part along the side that is cut, from 0 (left or top) to 1
            (right or bottom); not used otherwise.
    """
    if crop in ("fit", "pad"):
        return _surround(image, shape, filter, crop)
    h, w = shape
    if crop == "none":
        box = None
    else:
        # Of the two sides, one is that of the picture; for squares, both are whole numbers.
        width, height = min(image.width, image.height * w / h), min(image.height, image.width * h / w)
        if crop == "centre":
            left, top = (image.width - width) // 2, (image.height - height) // 2
        else:
            left, top = round(where * (image.width - width)), round(where * (image.height - height))
        box = (left, top, min(left + width, image.width), min(top + height, image.height))
    return _resize(image, (w, h), filter, box)


def _surround(image: Image.Image, shape: tuple[int, int], filter: str, crop: str) -> np.ndarray:
    """Return a whole picture, resized until it fits into `shape`, and borders: uint8 [h, w, C].

    For the arguments, see `cut`.
    """
    h, w = shape
    scale = min(h / image.height, w / image.width)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = _resize(image, (width, height), filter)
    borders = [((whole - part) // 2, -(-(whole - part) // 2)) for whole, part in ((h, height), (w, width))]
    if crop == "fit":
        return np.pad(small, [*borders, (0, 0)], "symmetric")
    out = np.empty((h, w, small.shape[-1]), np.uint8)
    edges = [small[[0, -1]], small[:, [0, -1]]]  # rows above and below, columns left and right
    out[:] = np.rint(edges[0 if h > height else 1].mean((0, 1)))
    out[borders[0][0] : borders[0][0] + height, borders[1][0] : borders[1][0] + width] = small
    return out
