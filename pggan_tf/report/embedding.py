"""Turn images into data URIs, so that a page is one file; every image stays below a size."""

from __future__ import annotations

import base64
import functools
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pggan_tf.report.runs import Grid

MOST_GRIDS = 60  # grids of a run on a page
_IMAGE_BYTES = 120_000  # at most, of one grid: sixty of them are 10 MB of text
_WIDTHS = (800, 640, 480, 320)  # pixels; the first of them is taken in which a grid is small enough


def _encode_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encode_webp(image, lossless: bool = False) -> bytes:
    """Encode a Pillow image in at most _IMAGE_BYTES.

    Without loss if that is asked for and small enough, otherwise in the largest width that is small
    enough.
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
    """Encode a grid's file.

    The result is cached: a report is written again and again while its run goes on.
    """
    from PIL import Image

    resolution = re.search(r"-(\d+)px-", path.name)
    with Image.open(path) as image:
        # Small stages are a few large squares, which lossy compression would blur without saving a
        # byte.
        return _encode_uri(
            _encode_webp(image.convert("RGB"), lossless=resolution is not None and int(resolution[1]) <= 16), "webp"
        )


def embed_file(path: Path) -> str:
    """Return an image file as a data URI."""
    return _embed_file(path, path.stat().st_mtime_ns)


def embed_array(image: np.ndarray) -> str:
    """Return an image, uint8 [H, W, 1 or 3], as a data URI."""
    from PIL import Image

    return _encode_uri(
        _encode_webp(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).convert("RGB")), "webp"
    )


def can_embed(path: Path) -> bool:
    """Return whether a file is an image that can be read."""
    from PIL import Image

    try:
        return bool(embed_file(path))
    # What Pillow raises for files that are truncated or no images.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def choose_grids(grids: Sequence[Grid], most: int) -> tuple[list[Grid], int]:
    """Choose at most `most` grids, evenly spaced, with the first and the last.

    Grids that cannot be read are dropped.

    Returns:
        The grids, and how many were dropped.
    """
    if len(grids) > most:
        grids = [grids[i] for i in np.linspace(0, len(grids) - 1, most).round().astype(int)]
    readable = [grid for grid in grids if can_embed(grid.path)]
    return readable, len(grids) - len(readable)
