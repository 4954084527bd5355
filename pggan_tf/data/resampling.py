"""Pillow's filters as matrices.

TensorFlow can differentiate this resizing, and it agrees with how photos are prepared.
"""

from __future__ import annotations

import functools

import numpy as np

from pggan_tf.lazy import tf


@functools.cache
def make_matrix(source: int, target: int, filter: str) -> np.ndarray:
    """Return the weights by which Pillow resizes `source` pixels to `target`.

    They are float32 [target, source]. Each row sums to 1. The weights are what Pillow makes of unit
    vectors, in floating point.
    """
    from PIL import Image

    identity = Image.fromarray(np.eye(source, dtype=np.float32))
    weights = np.asarray(identity.resize((source, target), Image.Resampling[filter.upper()]))
    weights.setflags(write=False)
    return weights


def resize(images, size: tuple[int, int], filter: str):
    """Resize float [N,H,W,C], whose H and W are static, to `size` (h, w) -> [N,h,w,C].

    filter: one of pixels.FILTERS. Cubic and Lanczos filters overshoot the range of the images; clip
    where that matters.
    """
    rows = tf.constant(make_matrix(images.shape[1], size[0], filter), images.dtype)
    columns = tf.constant(make_matrix(images.shape[2], size[1], filter), images.dtype)
    return tf.einsum("wj,nhjc->nhwc", columns, tf.einsum("hi,nijc->nhjc", rows, images))
