"""Building blocks. Every layer takes NHWC tensors and round-trips through `get_config`."""

from pggan_tf.layers.equalized import EqualizedConv2D, EqualizedDense
from pggan_tf.layers.growing import block_mean, lerp, repeat_pixels
from pggan_tf.layers.normalization import BatchNorm, MinibatchDiscrimination, MinibatchStddev, PixelNorm

__all__ = [
    "BatchNorm",
    "EqualizedConv2D",
    "EqualizedDense",
    "MinibatchDiscrimination",
    "MinibatchStddev",
    "PixelNorm",
    "block_mean",
    "lerp",
    "repeat_pixels",
]
