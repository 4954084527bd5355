"""Functions that resample and blend images of two resolutions of a growing network."""

from __future__ import annotations

import tensorflow as tf


def repeat_pixels(x, factor: int):
    """Enlarge x [N, H, W, C] to [N, f H, f W, C] by nearest neighbour; f is `factor`."""
    if factor == 1:
        return x

    @tf.custom_gradient  # XLA does not support the gradient of tf.image.resize
    def repeated(x):
        shape = tf.shape(x)
        h, w = (x.shape[i] or shape[i] for i in (1, 2))
        # Not keras' UpSampling2D, which needs Flex ops in TFLite if the batch size is dynamic.
        y = tf.image.resize(x, (factor * h, factor * w), "nearest")
        return y, lambda upstream: factor**2 * block_mean(upstream, factor)

    return repeated(x)


def interpolate_pixels(x, factor: int):
    """Enlarge x [N, H, W, C] to [N, f H, f W, C] by bilinear interpolation; f is `factor`.

    Pixels are squares with their values at the centres. Beyond the outer centres the nearest value
    stays.
    """
    if factor == 1:
        return x
    shape = tf.shape(x)
    h, w = (x.shape[i] or shape[i] for i in (1, 2))
    return tf.cast(tf.image.resize(x, (factor * h, factor * w), "bilinear"), x.dtype)


# How the pixels between those of a lower resolution are found.
ENLARGEMENTS = {"nearest": repeat_pixels, "bilinear": interpolate_pixels}


def block_mean(x, factor: int):
    """Average blocks of f x f pixels of x [N, H, W, C]: [N, H/f, W/f, C]; f is `factor`."""
    return x if factor == 1 else tf.nn.avg_pool2d(x, factor, factor, "VALID")


def lerp(old, new, alpha):
    """Interpolate linearly: return exactly `old` for alpha 0 and exactly `new` for alpha 1."""
    alpha = tf.cast(alpha, new.dtype)
    return (1 - alpha) * old + alpha * new
