"""Colour profiles (ICC.1:2022): pictures that are in another colour space -> sRGB."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image

# A profile that changes no colour of a grid by more than this is sRGB, in one of its many spellings: pixels then stay as they are.
_ROUNDING = 1


def colour_space(profile: bytes | None) -> bytes | None:
    """What stands in a profile's header (table 18), such as b'RGB '."""
    return profile[16:20] if profile and len(profile) > 128 else None


@functools.lru_cache(maxsize=16)  # most photos of a folder have the same
def _transform(profile: bytes, mode: str, out: str):
    """None for a profile that is damaged, which is as good as none."""
    from PIL import ImageCms

    # What is faster is coarse in the shadows of gray; there, a transform is asked once for every value.
    flags = ImageCms.Flags.NONE if out == mode or mode == "CMYK" else ImageCms.Flags.NOOPTIMIZE
    try:
        return ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, out, flags=flags)
    except (ImageCms.PyCMSError, OSError):
        return None


@functools.lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    transform = _transform(profile, "RGB", "RGB")
    if transform is None:
        return True
    steps = np.arange(0, 256, 15, np.uint8)  # 18, black and white among them
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    return np.abs(np.asarray(transform.apply(Image.fromarray(grid))).astype(int) - grid).max() <= _ROUNDING


def rgb_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture of mode RGB or RGBA; of another mode, or where the profile is none for RGB, as it is."""
    if image.mode not in ("RGB", "RGBA") or colour_space(profile) != b"RGB " or _is_srgb(profile):
        return image
    return _transform(profile, image.mode, image.mode).apply(image)


def cmyk_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """CMYK -> RGB: by its profile, or else by Pillow's plain inversion."""
    transform = _transform(profile, "CMYK", "RGB") if colour_space(profile) == b"CMYK" else None
    return transform.apply(image) if transform else image.convert("RGB")


def gray_to_srgb(values: np.ndarray, profile: bytes | None) -> np.ndarray:
    """uint8 or uint16 gray of any shape, by its profile; the same where that is none for gray."""
    if colour_space(profile) != b"GRAY":
        return values
    curve = _gray_curve(profile, values.dtype.name)
    return values if curve is None else curve[values]


@functools.lru_cache(maxsize=16)
def _gray_curve(profile: bytes, dtype: str) -> np.ndarray | None:
    """What every value becomes. Pillow's transforms give 8 bits: of 16, those in the middle of all that become the same are
    taken to be exact, and the others lie between them."""
    deep = dtype == "uint16"
    transform = _transform(profile, "I;16" if deep else "L", "RGB")
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
