"""Resize TensorFlow images with Pillow's filters, written as matrices.

Resizing along one axis is a multiplication by a matrix of weights, so it is differentiable. The
results agree with those of Pillow, which reduces the photos when a dataset is prepared.
"""

from __future__ import annotations

import functools

import numpy as np

from pggan_tf.lazy import tf


@functools.cache
def make_matrix(source: int, target: int, filter: str) -> np.ndarray:
    """Return the matrix, float32 [target, source], that resizes along one axis as Pillow does.

    Row i holds the weights of all input pixels for output pixel i, with sum 1. The weights are
    found by resizing unit vectors with Pillow in floating point.

    Args:
        source: number of input pixels along the axis.
        target: number of output pixels.
        filter: one of pixels.FILTERS.
    """
    from PIL import Image

    identity = Image.fromarray(np.eye(source, dtype=np.float32))
    weights = np.asarray(identity.resize((source, target), Image.Resampling[filter.upper()]))
    weights.setflags(write=False)
    return weights


def full_einsum(equation: str, *tensors):
    """Return tf.einsum of tensors with all digits of float32, where GPUs multiply in TF32, too.

    TF32 keeps 10 of 23 bits, which is enough for the weights of networks, but not for the pixels of
    images: 1/1000 of their range is a quarter of a grey level. TensorFlow has one switch for the whole
    program, so these products are then taken in float64.

    Args:
        equation: as in tf.einsum.
        *tensors: tensors of one dtype.
    """
    dtype = tensors[0].dtype
    if dtype != tf.float32 or not multiplies_in_tf32():
        return tf.einsum(equation, *tensors)
    return tf.cast(tf.einsum(equation, *(tf.cast(x, tf.float64) for x in tensors)), dtype)


def multiplies_in_tf32() -> bool:
    """Tell whether GPUs may now multiply float32 numbers in TF32."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    return enabled and bool(tf.config.list_logical_devices("GPU"))


def resize(images, size: tuple[int, int], filter: str):
    """Resize float images [N,H,W,C] and return [N,h,w,C].

    Cubic and Lanczos filters overshoot the range of the images; clip the result if that matters.

    Args:
        images: tensor of the images, whose H and W must be known when the graph is built.
        size: (h, w), height and width of the result in pixels.
        filter: one of pixels.FILTERS.
    """
    rows = tf.constant(make_matrix(images.shape[1], size[0], filter), images.dtype)
    columns = tf.constant(make_matrix(images.shape[2], size[1], filter), images.dtype)
    return full_einsum("wj,nhjc->nhwc", columns, full_einsum("hi,nijc->nhjc", rows, images))


def _sinc(x):
    """Return sin(pi x) / (pi x), which is 1 at 0, for x of 0 or more."""
    x = np.pi * tf.maximum(x, 1e-6)
    return tf.sin(x) / x


def _cubic(x):
    """Return the bicubic filter of Pillow at distances x of 0 or more (Keys 1981, a = -0.5)."""
    return tf.where(x < 1, (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2)


# Filter -> (half its width, its weight at a distance), both in pixels of the smaller image.
_KERNELS = {
    "box": (0.5, lambda x: tf.ones_like(x)),
    "bilinear": (1.0, lambda x: 1 - x),
    "hamming": (1.0, lambda x: _sinc(x) * (0.54 + 0.46 * tf.cos(np.pi * x))),
    "bicubic": (2.0, _cubic),
    "lanczos": (3.0, lambda x: _sinc(x) * _sinc(x / 3)),
}


def make_weights(source, target, filter: str):
    """Return the matrix of `make_matrix` for numbers of pixels that only the running graph knows.

    It is computed from the filters' formulas and differs from Pillow's by rounding alone.

    Args:
        source: number of input pixels along the axis, int32.
        target: number of output pixels, int32.
        filter: one of pixels.FILTERS.

    Returns:
        float32 [target, source].
    """
    # As Pillow, in float64: a pixel on the edge of a box belongs to the output pixel before it.
    source, target = tf.cast(source, tf.float64), tf.cast(target, tf.float64)
    centre = (tf.range(target) + 0.5)[:, None] * (source / target)
    places = tf.range(source)[None]
    if filter == "nearest":
        return tf.cast(tf.floor(centre) == places, tf.float32)
    width, weigh = _KERNELS[filter]
    signed = (places - centre + 0.5) / tf.maximum(source / target, 1.0)
    weights = tf.where((signed > -width) & (signed <= width), weigh(tf.abs(signed)), 0.0)
    return tf.cast(weights / tf.reduce_sum(weights, axis=1, keepdims=True), tf.float32)
