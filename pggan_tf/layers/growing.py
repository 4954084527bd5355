"""Resampling and blending between two resolutions of a growing network."""

from __future__ import annotations

import tensorflow as tf


def repeat_pixels(x, factor: int):
    """Repeat every pixel of x [N, H, W, C] f x f times: [N, f H, f W, C] (nearest neighbour)."""
    if factor == 1:
        return x

    @tf.custom_gradient  # XLA has no gradient of resizing
    def repeated(x):
        shape = tf.shape(x)
        h, w = (x.shape[i] or shape[i] for i in (1, 2))
        # Not keras' UpSampling2D: with a dynamic batch that needs Flex ops in TFLite.
        y = tf.image.resize(x, (factor * h, factor * w), "nearest")
        return y, lambda upstream: factor**2 * block_mean(upstream, factor)

    return repeated(x)


def block_mean(x, factor: int):
    """Average x [N, H, W, C] over blocks of f x f pixels: [N, H/f, W/f, C]."""
    return x if factor == 1 else tf.nn.avg_pool2d(x, factor, factor, "VALID")


def lerp(old, new, alpha):
    """Return old + alpha (new - old): exactly `old` at 0 and `new` at 1."""
    alpha = tf.cast(alpha, new.dtype)
    return (1 - alpha) * old + alpha * new
