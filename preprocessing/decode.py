"""One photo -> one uint8 square, whatever form it comes in."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, WebPImagePlugin  # noqa: F401  registers what FORMATS names

# What Pillow may try: a decoder that nobody asked for is an open door.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# A photo of 178 megapixels is decoded, a bomb is not. The size stands in the header: it is looked at before decoding,
# so Pillow's own limit is not needed, nor its warnings about photos that are slightly broken.
MAX_PIXELS = 2 * 89_478_485
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module="PIL")


class Unreadable(Exception):
    """Why an image cannot be used, in a few words."""


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


def decode(
    data: bytes, size: int, filter: str = "lanczos", channels: int = 3, upscale_small: bool = False
) -> np.ndarray:
    """The bytes of an image file -> uint8 [size, size, channels]: turned as its EXIF says, cut to the central square, resized.

    Of an animation the first frame. Raises Unreadable.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Unreadable(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS // 10**6} million")
            if min(image.size) < size and not upscale_small:
                raise Unreadable(f"{image.width}x{image.height} pixels, smaller than {size}x{size}")
            image.seek(0)
            upright = _to_rgb_or_gray(ImageOps.exif_transpose(image), channels)
        side = min(upright.size)
        left, top = (upright.width - side) // 2, (upright.height - side) // 2
        resample = Image.Resampling[filter.upper()]
        square = upright.resize((size, size), resample, box=(left, top, left + side, top + side))
        return np.asarray(square).reshape(size, size, channels)
    except Unreadable:
        raise
    except Exception as error:  # decoders raise anything on hostile bytes, and one bad image must not end a run
        if not data:
            raise Unreadable("an empty file") from None
        raise Unreadable(f"{type(error).__name__}: {error}".splitlines()[0][:120]) from None
