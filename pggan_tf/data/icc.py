"""Convert pictures to sRGB with their ICC colour profiles (ICC.1:2022).

In all functions, `profile` is the ICC profile from the picture's file as bytes, or None if the file
has none.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image

# Largest difference (of 255) in a test grid of colours at which a profile still counts as sRGB, so
# that pixels stay as they are. There are many variants of the sRGB profile.
_ROUNDING = 1


def read_colour_space(profile: bytes | None) -> bytes | None:
    """Return the colour space that a profile's header states: b'RGB ', b'GRAY', b'CMYK' or another.

    Return None if there is no profile. Colour spaces are listed in table 18 of ICC.1:2022.
    """
    return profile[16:20] if profile and len(profile) > 128 else None


@functools.lru_cache(maxsize=16)  # most photos of a folder have the same profile
def _build_transform(profile: bytes, mode: str, out: str):
    """Return Pillow's transform (ImageCmsTransform) from a profile to sRGB.

    Return None if the profile is damaged.

    Args:
        profile: the ICC profile.
        mode: Pillow mode of the image that will be transformed.
        out: Pillow mode of the result.
    """
    from PIL import ImageCms

    # Optimised transforms are imprecise in dark gray. Gray transforms need no optimisation, because
    # each is applied only once to every gray value.
    flags = ImageCms.Flags.NONE if out == mode or mode == "CMYK" else ImageCms.Flags.NOOPTIMIZE
    try:
        return ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, out, flags=flags)
    except (ImageCms.PyCMSError, OSError):
        return None


@functools.lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    """Return whether pixels of an RGB profile need no conversion: it is sRGB or damaged."""
    transform = _build_transform(profile, "RGB", "RGB")
    if transform is None:
        return True
    steps = np.arange(0, 256, 15, np.uint8)  # 18 values, including black and white
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    return np.abs(np.asarray(transform.apply(Image.fromarray(grid))).astype(int) - grid).max() <= _ROUNDING


def rgb_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture of mode RGB or RGBA to sRGB with its profile, and return it.

    A picture of another mode or without an RGB profile is returned unchanged.
    """
    if image.mode not in ("RGB", "RGBA") or read_colour_space(profile) != b"RGB " or _is_srgb(profile):
        return image
    return _build_transform(profile, image.mode, image.mode).apply(image)


def cmyk_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture of mode CMYK to an sRGB picture of mode RGB.

    Without a usable CMYK profile, Pillow's simple inversion is used.
    """
    transform = _build_transform(profile, "CMYK", "RGB") if read_colour_space(profile) == b"CMYK" else None
    return transform.apply(image) if transform else image.convert("RGB")


def gray_to_srgb(values: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Convert gray values to sRGB with their profile.

    Values are returned unchanged if there is no usable profile for gray.

    Args:
        values: uint8 or uint16 of any shape.
        profile: the ICC profile, or None.

    Returns:
        Array of the same shape and type.
    """
    if read_colour_space(profile) != b"GRAY":
        return values
    curve = _find_gray_curve(profile, values.dtype.name)
    return values if curve is None else curve[values]


@functools.lru_cache(maxsize=16)
def _find_gray_curve(profile: bytes, dtype: str) -> np.ndarray | None:
    """Return a table with the sRGB value of every gray value, of type `dtype` [256] or [65536].

    Return None if the profile is damaged.

    Pillow's transforms return 8 bits. If several 16-bit values have the same result, it is taken to
    be exact for the middle one, and results between two such values are interpolated.

    dtype: 'uint8' or 'uint16', the type of the gray values and of the table.
    """
    deep = dtype == "uint16"
    transform = _build_transform(profile, "I;16" if deep else "L", "RGB")
    if transform is None:
        return None
    every = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256) if deep else np.arange(256, dtype=np.uint8)[None]
    out = np.asarray(transform.apply(Image.fromarray(every)))[..., 0].ravel()
    if not deep:
        return out
    levels, first, count = np.unique(out, return_index=True, return_counts=True)
    middle = first + (count - 1) / 2
    middle[0], middle[-1] = (0 if levels[0] == 0 else middle[0]), (65535 if levels[-1] == 255 else middle[-1])
    return np.interp(np.arange(1 << 16), middle, levels * 257.0).round().astype(np.uint16)
