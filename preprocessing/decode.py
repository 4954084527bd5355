"""The bytes of one photo -> pixels, whatever form it comes in."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, WebPImagePlugin  # noqa: F401  registers what FORMATS names

# What Pillow may try: a decoder that nobody asked for is an open door.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# A photo of 178 megapixels is decoded, a bomb is not. The size stands in the header: it is looked at before decoding,
# so Pillow's own limit is not needed, nor its warnings about photos that are slightly broken.
MAX_PIXELS = 2 * 89_478_485
# Nor is a file read that is larger than any such photo would be, from a folder or out of an archive.
MAX_BYTES = 128 << 20
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module="PIL")


class Unreadable(Exception):
    """Why an image cannot be used, in a few words. kind: what such reasons are counted under."""

    def __init__(self, why: str, kind: str = "unreadable"):
        super().__init__(why, kind)
        self.kind = kind

    def __str__(self):
        return self.args[0]


def _to_rgb_or_gray(image: Image.Image, channels: int) -> Image.Image:
    """Any mode -> RGB or L. 16 bits are scaled to 8, transparency is laid on white, palettes are looked up."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        # Pillow opens 16-bit gray as I;16 or I and clips it when converted to L.
        values = values / 257 if image.mode.startswith("I") else values * 255
        image = Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    if image.mode in ("LA", "RGBA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def photo(data: bytes | np.ndarray, channels: int = 3, least: int = 1) -> Image.Image:
    """The bytes of an image file, or its pixels uint8 [H, W(, 1|3|4)] -> an upright picture of mode RGB or L.

    Turned as its EXIF says; of an animation the first frame. Raises Unreadable, also where a side is below `least` pixels.
    """
    try:
        if isinstance(data, np.ndarray):
            image = Image.fromarray(data[..., 0] if data.ndim == 3 and data.shape[-1] == 1 else data)
            _check_size(image, least)
            return _to_rgb_or_gray(image, channels)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image, least)
            image.seek(0)
            return _to_rgb_or_gray(ImageOps.exif_transpose(image), channels)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise Unreadable("an empty file" if not len(data) else f"not a file of a known kind ({kinds})") from None
    except Exception as error:  # decoders raise anything on hostile bytes, and one bad image must not end a run
        raise Unreadable(f"{type(error).__name__}: {error}".splitlines()[0][:120]) from None


def _check_size(image: Image.Image, least: int) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Unreadable(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS // 10**6} million")
    if min(image.size) < least:
        raise Unreadable(f"{image.width}x{image.height} pixels, smaller than {least}x{least}", "too small")


def square(
    image: Image.Image, size: int, filter: str = "lanczos", crop: str = "centre", where: float = 0.5
) -> np.ndarray:
    """A picture -> uint8 [size, size, C].

    crop: 'centre' takes the central square; 'random' the one that lies at `where` (0..1) along the longer side; 'none' the
    whole picture, which changes its proportions if it is not square.
    """
    side = min(image.size)
    if crop == "none":
        box = (0, 0, *image.size)
    elif crop == "centre":
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
    else:
        left, top = round(where * (image.width - side)), round(where * (image.height - side))
        box = (left, top, left + side, top + side)
    out = np.asarray(image.resize((size, size), Image.Resampling[filter.upper()], box=box))
    return out.reshape(size, size, -1)
