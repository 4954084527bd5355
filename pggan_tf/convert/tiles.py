"""A function from image to image, over images that are too large for it, in overlapping tiles."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from pggan_tf.errors import UserError


def windows(length: int, tile: int, context: int) -> Iterator[tuple[int, int, int, int]]:
    """(start, stop, first, last) along one side: what is looked at, start:stop, and what of it is kept, first:last.

    What is looked at is always `tile` long (or the whole side), and is moved inwards where it would reach out: there it ends
    where the image ends, so that the function meets the border as it would in the whole image.
    """
    if length <= tile:
        yield 0, length, 0, length
        return
    first = 0
    while first < length:
        start = min(max(0, first - context), length - tile)
        stop = start + tile
        last = length if stop == length else stop - context
        yield start, stop, first, last
        first = last


def silent(done: int, total: int) -> None:
    """Nobody wants to know how far it is."""


def tiled(
    function: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    tile: int,
    context: int,
    scale: int = 1,
    progress: Callable[[int, int], None] = silent,
) -> np.ndarray:
    """function: [h,w,C] -> [scale h, scale w, D], any types; image [H,W,C] -> [scale H, scale W, D] of what it returns.

    context: pixels around a point that its output depends on: the result is then that of the whole image, without seams. Only
    the result is held whole, so let `function` return what it is to be kept as. tile: the longest side it is given. progress:
    is told how many tiles are done, of how many.
    """
    height, width = image.shape[:2]
    if tile <= 2 * context and tile < max(height, width):
        raise UserError(
            f"--tile {tile}: too small, as the network looks {context} pixels around. Expected more than {2 * context}."
        )
    out, parts = None, [(y, x) for y in windows(height, tile, context) for x in windows(width, tile, context)]
    for done, ((top, bottom, upper, lower), (left, right, first, last)) in enumerate(parts):
        progress(done, len(parts))
        result = function(image[top:bottom, left:right])
        if out is None:
            out = np.empty((scale * height, scale * width, result.shape[2]), result.dtype)
        out[scale * upper : scale * lower, scale * first : scale * last] = result[
            scale * (upper - top) : scale * (lower - top), scale * (first - left) : scale * (last - left)
        ]
    progress(len(parts), len(parts))
    return out


def blended(
    function: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    tile: int,
    overlap: int,
    progress: Callable[[int, int], None] = silent,
) -> np.ndarray:
    """function: [h,w,C] -> [h,w,D] of uint8 or uint16; image [H,W,C] -> [H,W,D] of the same type.

    For functions that look further than tiles could overlap: on `overlap` pixels one tile goes over into the next,
    linearly. An image that is no larger than a tile is what the function makes of it. progress: as of `tiled`.
    """
    rows, columns = (len([*windows(length, tile, overlap // 2)]) for length in image.shape[:2])
    count = itertools.count()

    def counted(part):
        progress(next(count), rows * columns)
        return function(part)

    def row(part):
        return _blended(counted, part, tile, overlap, 1)

    return _blended(row, image, tile, overlap, 0)


def _blended(function, image: np.ndarray, tile: int, overlap: int, axis: int) -> np.ndarray:
    """`blended` along one axis."""
    length, out, done = image.shape[axis], None, 0
    for start, stop, *_ in windows(length, tile, overlap // 2):
        part = function(image.swapaxes(0, axis)[start:stop].swapaxes(0, axis)).swapaxes(0, axis)
        if out is None:
            out = np.empty((length, *part.shape[1:]), part.dtype)
        first = max(start, done - overlap)  # the last tile is moved inwards and shares more
        share = ((np.arange(done - first, dtype=np.float32) + 1) / (done - first + 1)).reshape(-1, 1, 1)
        out[first:done] = np.rint(out[first:done] * (1 - share) + part[first - start : done - start] * share)
        out[done:stop] = part[done - start :]
        done = stop
    return out.swapaxes(0, axis)
