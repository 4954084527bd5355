"""Resize TensorFlow images with Pillow's filters, written as matrices.

The result is differentiable and agrees with how photos are prepared.
"""

from __future__ import annotations

import functools

import numpy as np

from pggan_tf.lazy import tf


@functools.cache
def make_matrix(source: int, target: int, filter: str) -> np.ndarray:
    """Return the weights with which Pillow resizes `source` pixels to `target` pixels.

    They are float32 [target, source], and each row sums to 1. They are found by resizing unit
    vectors with Pillow in floating point.
    """
    from PIL import Image

    identity = Image.fromarray(np.eye(source, dtype=np.float32))
    weights = np.asarray(identity.resize((source, target), Image.Resampling[filter.upper()]))
    weights.setflags(write=False)
    return weights


def resize(images, size: tuple[int, int], filter: str):
    """Resize float images [N,H,W,C] to [N,h,w,C]. H and W must be static.

    Cubic and Lanczos filters overshoot the range of the images; clip the result if that matters.

    Args:
        images: the images.
        size: (h, w) in pixels.
        filter: one of pixels.FILTERS.
    """
    rows = tf.constant(make_matrix(images.shape[1], size[0], filter), images.dtype)
    columns = tf.constant(make_matrix(images.shape[2], size[1], filter), images.dtype)
    return tf.einsum("wj,nhjc->nhwc", columns, tf.einsum("hi,nijc->nhjc", rows, images))
