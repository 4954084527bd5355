"""Convert images to data URIs of limited size, so that a page is a single file."""

from __future__ import annotations

import base64
import functools
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pggan_tf.report.runs import Grid

MOST_GRIDS = 60  # largest number of grids of a run on a page
_IMAGE_BYTES = 120_000  # largest size of an encoded image: 60 of them are 10 MB of text
_WIDTHS = (800, 640, 480, 320)  # widths in pixels, tried in order until an image is small enough


def _encode_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encode_webp(image, lossless: bool = False) -> bytes:
    """Encode a Pillow image as WebP of at most _IMAGE_BYTES if possible.

    The encoding is lossless if `lossless` is true and the result is small enough. Otherwise it is
    lossy, with the largest of _WIDTHS that is small enough; if none is, with the smallest.
    """
    from PIL import Image

    def encode(**options) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", method=3, **options)
        return buffer.getvalue()

    if lossless and len(data := encode(lossless=True)) <= _IMAGE_BYTES:
        return data
    for width in _WIDTHS:
        if image.width > width:
            height = max(1, round(image.height * width / image.width))
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        if len(data := encode(quality=85)) <= _IMAGE_BYTES:
            break
    return data


@functools.lru_cache(maxsize=4 * MOST_GRIDS)
def _embed_file(path: Path, modified: int) -> str:
    """Return an image file as a data URI.

    The result is cached by path and time of modification, because a report is rewritten many times
    during a run.
    """
    from PIL import Image

    resolution = re.search(r"-(\d+)px-", path.name)
    with Image.open(path) as image:
        # Images of small stages consist of a few large squares; lossy compression would blur them
        # and save no space.
        return _encode_uri(
            _encode_webp(image.convert("RGB"), lossless=resolution is not None and int(resolution[1]) <= 16), "webp"
        )


def embed_file(path: Path) -> str:
    """Return an image file as a WebP data URI."""
    return _embed_file(path, path.stat().st_mtime_ns)


def embed_array(image: np.ndarray) -> str:
    """Return an image, uint8 [H, W, 1 or 3], as a WebP data URI."""
    from PIL import Image

    return _encode_uri(
        _encode_webp(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).convert("RGB")), "webp"
    )


def can_embed(path: Path) -> bool:
    """Return whether a file is a readable image."""
    from PIL import Image

    try:
        return bool(embed_file(path))
    # Errors that Pillow raises for truncated files and for files that are not images.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def choose_grids(grids: Sequence[Grid], most: int) -> tuple[list[Grid], int]:
    """Choose at most `most` evenly spaced grids, including the first and the last.

    Chosen grids that cannot be read are dropped.

    Returns:
        The readable grids, and the number of dropped ones.
    """
    if len(grids) > most:
        grids = [grids[i] for i in np.linspace(0, len(grids) - 1, most).round().astype(int)]
    readable = [grid for grid in grids if can_embed(grid.path)]
    return readable, len(grids) - len(readable)
