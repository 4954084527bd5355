"""Networks as functions of images, and such functions on large images, in overlapping tiles."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pggan_tf.errors import UserError


def accept() -> None:
    """Default check before each tile: does nothing."""


def ignore(done: int, total: int) -> None:
    """Default progress callback: does nothing."""


def trace_network(
    network, channels: int | None, check: Callable[[], None] = accept
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a network as a function of one image of any size: float32 [h,w,channels] to [h',w',D].

    It is traced once.

    Sides that are no multiple of `network.multiple` are extended by their mirror image, so that the
    image keeps its proportions; of the result the extension is cut off.

    Args:
        network: a generator from images, with `multiple` and `scale`.
        channels: of the network's input.
        check: called before every image, or every tile of a large one; what it raises ends the
            work.

    Raises:
        UserError: from the function, if there is no memory for an image.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, None, channels), tf.float32)]
    traced = tf.function(lambda x: network(x), input_signature=signature, autograph=False)

    def function(x):
        check()
        height, width = x.shape[:2]
        missing = [(0, -side % network.multiple) for side in (height, width)]
        try:
            y = traced(tf.constant(np.pad(x, [*missing, (0, 0)], mode="symmetric")[None])).numpy()[0]
            return y[: y.shape[0] - network.scale * missing[0][1], : y.shape[1] - network.scale * missing[1][1]]
        except tf.errors.ResourceExhaustedError:
            raise UserError(f"{width}x{height} pixels at once: no memory. Choose less by --tile or --size.") from None

    return function


def split_side(length: int, tile: int, context: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (start, stop, first, last) for tiles along a side: read start:stop, keep first:last.

    What is read is always `tile` long, or the whole side. A tile that would reach over the image's
    end is moved inwards and ends where the image ends, so that the function meets the border as it
    would in the whole image.
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


def join_tiles(
    function: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    tile: int,
    context: int,
    scale: int = 1,
    progress: Callable[[int, int], None] = ignore,
) -> np.ndarray:
    """Apply a function to tiles of an image and join the results to that of the whole image.

    Args:
        function: from [h,w,C] to [scale h, scale w, D], any types. Only the result is held whole:
            let the function return the type in which it is kept.
        image: [H,W,C].
        tile: the longest side that the function is called with.
        context: pixels around a point that the function's output at that point depends on.
        scale: how many times as large the function's output is.
        progress: called with (tiles done, tiles in all).

    Returns:
        [scale H, scale W, D].

    Raises:
        UserError: a tile that holds no pixel whose context is all in it.
    """
    height, width = image.shape[:2]
    out: Any = None
    if tile <= 2 * context and tile < max(height, width):
        raise UserError(
            f"--tile {tile}: too small, as the network looks {context} pixels around. Expected more than {2 * context}."
        )
    rows, columns = split_side(height, tile, context), [*split_side(width, tile, context)]
    parts = [(y, x) for y in rows for x in columns]
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


def blend_tiles(
    function: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    tile: int,
    overlap: int,
    progress: Callable[[int, int], None] = ignore,
) -> np.ndarray:
    """Apply a function to tiles of an image and blend the results linearly where tiles overlap.

    For functions whose output depends on more of the image than tiles could share. An image that is
    no larger than a tile gives what the function makes of it.

    Args:
        function: from [h,w,C] to [h,w,D] of uint8 or uint16.
        image: [H,W,C].
        tile: the longest side that the function is called with.
        overlap: pixels that two neighbouring tiles share.
        progress: called with (tiles done, tiles in all).

    Returns:
        [H,W,D] of the function's type.
    """
    rows, columns = (len([*split_side(length, tile, overlap // 2)]) for length in image.shape[:2])
    count = itertools.count()

    def call_and_count(part):
        progress(next(count), rows * columns)
        return function(part)

    def blend_row(part):
        return _blend_along(call_and_count, part, tile, overlap, 1)

    return _blend_along(blend_row, image, tile, overlap, 0)


def _blend_along(function, image: np.ndarray, tile: int, overlap: int, axis: int) -> np.ndarray:
    """Apply a function to the tiles along one axis and blend the results."""
    out: Any = None
    length, done = image.shape[axis], 0
    for start, stop, *_ in split_side(length, tile, overlap // 2):
        part = function(image.swapaxes(0, axis)[start:stop].swapaxes(0, axis)).swapaxes(0, axis)
        if out is None:
            out = np.empty((length, *part.shape[1:]), part.dtype)
        first = max(start, done - overlap)  # the last tile is moved inwards and shares more
        share = ((np.arange(done - first, dtype=np.float32) + 1) / (done - first + 1)).reshape(-1, 1, 1)
        out[first:done] = np.rint(out[first:done] * (1 - share) + part[first - start : done - start] * share)
        out[done:stop] = part[done - start :]
        done = stop
    return out.swapaxes(0, axis)
