"""Pillow's filters as matrices: resizing that TensorFlow can differentiate, and that preparing photos agrees with."""

from __future__ import annotations

import functools

import numpy as np

from pggan_tf.lazy import tf


@functools.cache
def matrix(source: int, target: int, filter: str) -> np.ndarray:
    """float32 [target, source]: the weights by which Pillow's `filter` makes `target` pixels of `source`; rows sum to 1.

    They are read off what it makes of unit vectors, in floating point.
    """
    from PIL import Image

    identity = Image.fromarray(np.eye(source, dtype=np.float32))
    weights = np.asarray(identity.resize((source, target), Image.Resampling[filter.upper()]))
    weights.setflags(write=False)
    return weights


def resized(images, size: tuple[int, int], filter: str):
    """float [N,H,W,C], H and W known -> [N,h,w,C], by one of pixels.FILTERS. Cubic and Lanczos overshoot: clip if it matters."""
    rows = tf.constant(matrix(images.shape[1], size[0], filter), images.dtype)
    columns = tf.constant(matrix(images.shape[2], size[1], filter), images.dtype)
    return tf.einsum("wj,nhjc->nhwc", columns, tf.einsum("hi,nijc->nhjc", rows, images))
