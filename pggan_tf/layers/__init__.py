"""Keras layers for NHWC tensors, and functions that the networks use between them."""

from pggan_tf.layers.equalized import EqualizedConv2D, EqualizedDense, SeparableConv2D
from pggan_tf.layers.growing import ENLARGEMENTS, block_mean, interpolate_pixels, lerp, repeat_pixels
from pggan_tf.layers.normalization import BatchNorm, MinibatchDiscrimination, MinibatchStddev, PixelNorm, pixel_norm

__all__ = [
    "ENLARGEMENTS",
    "BatchNorm",
    "EqualizedConv2D",
    "EqualizedDense",
    "MinibatchDiscrimination",
    "MinibatchStddev",
    "PixelNorm",
    "SeparableConv2D",
    "block_mean",
    "interpolate_pixels",
    "lerp",
    "pixel_norm",
    "repeat_pixels",
]
