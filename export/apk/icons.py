"""Draw the icon of an app from the icon of its page, for every density of screens."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

# Names of densities -> pixels per dp (160th of an inch).
DENSITIES = {"mdpi": 1.0, "hdpi": 1.5, "xhdpi": 2.0, "xxhdpi": 3.0, "xxxhdpi": 4.0}
_SIDE = 48  # dp, of the icon of Android 7
# Since Android 8 an icon is larger than what is shown of it: the phone cuts a shape out of its
# middle 72 dp. The picture is a little larger than that, and its edges are mirrored around it.
_WHOLE, _PICTURE = 108, 80  # dp
_ROUND = 0.2  # radius of the corners of the icon of Android 7, of its side
_SMOOTH = 4  # times as large is the mask drawn, so that its edge is smooth


def draw(picture: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the icon with round corners, and the larger one of which phones cut a shape.

    Args:
        picture: file of a square picture of 512 pixels.

    Returns:
        Twice {name of a density: PNG}.
    """
    from PIL import Image

    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    margin = round(image.width * (_WHOLE - _PICTURE) / _PICTURE / 2)
    wide = Image.fromarray(np.pad(np.asarray(image), [(margin, margin), (margin, margin), (0, 0)], mode="symmetric"))
    rounded, whole = {}, {}
    for name, scale in DENSITIES.items():
        rounded[name] = _encode(_cut(image, round(_SIDE * scale)))
        side = round(_WHOLE * scale)
        whole[name] = _encode(wide.resize((side, side), Image.Resampling.LANCZOS))
    return rounded, whole


def _cut(image, side: int):
    """Return a picture of `side` pixels with round corners."""
    from PIL import Image, ImageDraw

    large = side * _SMOOTH
    mask = Image.new("L", (large, large))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, large - 1, large - 1), round(large * _ROUND), fill=255)
    small = image.resize((side, side), Image.Resampling.LANCZOS)
    small.putalpha(mask.resize((side, side), Image.Resampling.LANCZOS))
    return small


def _encode(image) -> bytes:
    """Return a picture as PNG."""
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()
