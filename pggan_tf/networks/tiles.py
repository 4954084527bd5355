"""Apply networks to single images, and functions to large images in overlapping tiles."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pggan_tf.errors import UserError


def accept() -> None:
    """Do nothing; this is the default function to call before each tile."""


def ignore(done: int, total: int) -> None:
    """Do nothing; this is the default progress callback.

    Args:
        done: number of tiles that are done.
        total: number of all tiles.
    """


def trace_network(
    network, channels: int | None, check: Callable[[], None] = accept
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that applies a network to one image.

    It maps float32 [h, w, channels] to [s h, s w, D]; s is `network.scale`. The function takes
    images of any size and is traced once. Sides that are not a multiple of `network.multiple` are
    padded with their mirror image, and the padding is cut off the result.

    Args:
        network: a generator that converts images. Image sides must be a multiple of its attribute
            `multiple`; it enlarges images by its attribute `scale`.
        channels: channels of the network's input.
        check: called before each image, or each tile of a large image. It may raise an exception to
            end the work.

    Raises:
        UserError: when the returned function is called, if memory is too small for the image.
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
    """Yield (start, stop, first, last) for each tile along a side of an image.

    The pixels start:stop are the tile that is read; the pixels first:last of the result are kept.
    A tile has the length `tile`, or that of the whole side if it is shorter. A tile that would
    extend beyond the image is moved inwards until it ends at the border, so that the function sees
    the border as it would in the whole image.

    Args:
        length: length of the side in pixels.
        tile: length of a tile.
        context: pixels at each inner end of a tile that are read but not kept.
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
    """Apply a function to overlapping tiles of an image and join the results without blending.

    Args:
        function: [h,w,C] -> [scale h, scale w, D], of any dtypes. The result of the whole image is
            stored in the dtype that the function returns.
        image: [H,W,C].
        tile: largest side of a tile in pixels.
        context: distance in pixels up to which the function's output depends on its input.
        scale: factor by which the function enlarges images.
        progress: called with (tiles done, tiles in all).

    Returns:
        [scale H, scale W, D].

    Raises:
        UserError: if a tile is too small to keep any pixel.
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

    Use this for functions whose output depends on more of the image than tiles could share. For an
    image that is not larger than a tile, the function is applied to the whole image.

    Args:
        function: [h,w,C] -> [h,w,D] of uint8 or uint16.
        image: [H,W,C].
        tile: largest side of a tile in pixels.
        overlap: pixels that two neighbouring tiles share.
        progress: called with (tiles done, tiles in all).

    Returns:
        [H,W,D] of the function's dtype.
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
    """Apply a function to the tiles along one axis of an image, and return the blended results.

    Args:
        function: function from a tile to an array of the same height and width.
        image: [H,W,C].
        tile: largest length of a tile along the axis in pixels.
        overlap: pixels that two neighbouring tiles share.
        axis: 0 for tiles below each other, 1 for tiles side by side.
    """
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
