"""Convert pictures in other colour spaces to sRGB by their colour profiles (ICC.1:2022)."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image

# A profile that changes no colour of a grid by more than this counts as sRGB, which has many
# spellings: pixels then stay as they are.
_ROUNDING = 1


def read_colour_space(profile: bytes | None) -> bytes | None:
    """Read the colour space in a profile's header (table 18), such as b'RGB '.

    None without a profile.
    """
    return profile[16:20] if profile and len(profile) > 128 else None


@functools.lru_cache(maxsize=16)  # most photos of a folder have the same
def _build_transform(profile: bytes, mode: str, out: str):
    """Return Pillow's transform to sRGB, or None for a damaged profile.

    mode, out: modes of the image before and after.
    """
    from PIL import ImageCms

    # Pillow's optimised transforms are coarse in dark gray, where a transform is called only once
    # for every value.
    flags = ImageCms.Flags.NONE if out == mode or mode == "CMYK" else ImageCms.Flags.NOOPTIMIZE
    try:
        return ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, out, flags=flags)
    except (ImageCms.PyCMSError, OSError):
        return None


@functools.lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    transform = _build_transform(profile, "RGB", "RGB")
    if transform is None:
        return True
    steps = np.arange(0, 256, 15, np.uint8)  # 18, black and white among them
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    return np.abs(np.asarray(transform.apply(Image.fromarray(grid))).astype(int) - grid).max() <= _ROUNDING


def rgb_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture of mode RGB or RGBA by its profile.

    With another mode, or no profile for RGB, it stays as it is.
    """
    if image.mode not in ("RGB", "RGBA") or read_colour_space(profile) != b"RGB " or _is_srgb(profile):
        return image
    return _build_transform(profile, image.mode, image.mode).apply(image)


def cmyk_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert CMYK to RGB by its profile, or without one by Pillow's plain inversion."""
    transform = _build_transform(profile, "CMYK", "RGB") if read_colour_space(profile) == b"CMYK" else None
    return transform.apply(image) if transform else image.convert("RGB")


def gray_to_srgb(values: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Convert gray values, uint8 or uint16 of any shape, by their profile.

    Without one for gray, they stay as they are.
    """
    if read_colour_space(profile) != b"GRAY":
        return values
    curve = _find_gray_curve(profile, values.dtype.name)
    return values if curve is None else curve[values]


@functools.lru_cache(maxsize=16)
def _find_gray_curve(profile: bytes, dtype: str) -> np.ndarray | None:
    """Return the sRGB value of every gray value of a type, or None for a damaged profile.

    Pillow's transforms return 8 bits. Of 16-bit values that become the same one, the middle one is
    taken to be exact, and values between two of these are interpolated.
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
