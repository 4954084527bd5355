"""Every conversion of pixels: ranges, sizes, pictures on disk. NumPy only."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from pggan_tf.errors import UserError

# Pillow's names; each scales its support with the reduction, so none of them aliases but `nearest`.
FILTERS = ("lanczos", "bicubic", "bilinear", "hamming", "box", "nearest")


# What pictures are written as.
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def to_float(pixels):
    """uint8 0..255 -> float32 -1..1, by x / 127.5 - 1."""
    return np.asarray(pixels, np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(x):
    """float -1..1 -> uint8: round(127.5 x + 127.5), clipped. The inverse of `to_float` for every uint8."""
    return np.clip(np.rint(np.asarray(x, np.float32) * np.float32(127.5) + np.float32(127.5)), 0, 255).astype(np.uint8)


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """uint8 or uint16, full range -> float32 0..1."""
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def from_unit(x: np.ndarray, dtype) -> np.ndarray:
    """float 0..1 -> uint8 or uint16, rounded and clipped. The inverse of `to_unit` for every value."""
    most = np.iinfo(dtype).max
    return np.clip(np.rint(np.asarray(x, np.float32) * np.float32(most)), 0, most).astype(dtype)


def block_mean(images: np.ndarray, factor: int) -> np.ndarray:
    """uint8 [..., H, W, C] -> uint8 [..., H/factor, W/factor, C]: exact means of factor x factor pixels, rounded half up."""
    if factor == 1:
        return images
    *lead, h, w, c = images.shape
    sums = images.reshape(*lead, h // factor, factor, w // factor, factor, c).sum(axis=(-4, -2), dtype=np.uint32)
    area = factor * factor
    return ((sums + area // 2) // area).astype(np.uint8)


def resized_rows(planes: np.ndarray, size: tuple[int, int], filter: str, top: int, bottom: int) -> np.ndarray:
    """[H,W,C] -> float32 [bottom - top, w, C]: those rows of what `planes` are at `size` (h, w), by Pillow in floating point.

    Part after part, something large can be enlarged that would not fit into memory as floats.
    """
    from PIL import Image

    height, width = planes.shape[:2]
    box = (0, top * height / size[0], width, min(height, bottom * height / size[0]))
    rows = [
        Image.fromarray(planes[..., c].astype(np.float32)).resize(
            (size[1], bottom - top), Image.Resampling[filter.upper()], box=box
        )
        for c in range(planes.shape[2])
    ]
    return np.stack([np.asarray(row) for row in rows], -1)


def resize(image: np.ndarray, size: int, filter: str) -> np.ndarray:
    """uint8 [H, W, C] -> uint8 [size, size, C] by one of FILTERS."""
    from PIL import Image

    picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    return np.asarray(picture.resize((size, size), Image.Resampling[filter.upper()])).reshape(size, size, -1)


def tile(images: np.ndarray, columns: int | None = None, edge: int = 0) -> np.ndarray:
    """uint8 [N, H, W, C] -> one picture, row by row, `edge` pixels of white between. Default: nearly square."""
    n, h, w, c = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (h + edge) - edge, columns * (w + edge) - edge, c), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = divmod(i, columns)
        sheet[y * (h + edge) : y * (h + edge) + h, x * (w + edge) : x * (w + edge) + w] = image
    return sheet


def enlarge(images: np.ndarray, size: int) -> np.ndarray:
    """[N, H, W, C] with pixels repeated until a side is at least `size`: small stages stay visible."""
    factor = max(1, math.ceil(size / images.shape[1]))
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def check_picture(option: str, path: str) -> str:
    """The path, if a picture can be written there: found out before anything is computed. Makes its folder."""
    if Path(path).suffix.lower() not in PICTURES:
        raise UserError(f"{option} {path}: expected a name that ends in {', '.join(PICTURES)}.")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return path


def save(path: str | Path, image: np.ndarray) -> None:
    """Writes uint8 [H, W, 1|3] whole or not at all."""
    from PIL import Image

    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    picture.save(partial, format=PICTURES[path.suffix.lower()])
    partial.replace(path)


VISIBLE = 64  # smaller images are enlarged to this in grids, so that a 4-px stage can be seen


def grid(path: str | Path, images: np.ndarray, columns: int | None = None, size: int = 1) -> None:
    """Saves uint8 images as one picture; those of six channels as two of three, side by side."""
    if images.shape[-1] == 6:
        images = np.concatenate([images[..., :3], images[..., 3:]], axis=2)
    save(path, tile(enlarge(images, size), columns, edge=1 if size >= 32 else 0))
