"""A small network that colours gray images with convolutions at full resolution."""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf.layers import EqualizedConv2D
from pggan_tf.networks.base import ImageNetwork
from pggan_tf.networks.blocks import Block, apply_blocks

HIDDEN_LAYERS = 4


@keras.saving.register_keras_serializable("pggan_tf", "Recolor")
class Generator(ImageNetwork):
    """Generator of colour images [N, H, W, 3] in 0..1 from gray images [N, H, W, 1] in 0..1.

    H and W are arbitrary. The network has four hidden 3x3 convolutions with `width` feature maps
    and ReLU, followed by a 3x3 convolution with a sigmoid.
    """

    ARGUMENTS = ("width",)
    context = HIDDEN_LAYERS + 1  # radius in pixels of the input that an output pixel depends on

    def __init__(self, resolutions, channels, input_channels, task, width=64, **kwargs):
        super().__init__(resolutions, channels, input_channels, task, **kwargs)
        self.width = width
        self.hidden = []
        for i in range(HIDDEN_LAYERS):
            inputs, dtype = (width, self.dtype_policy) if i else (input_channels, "float32")
            conv = self.add_layer(f"conv_{i}", EqualizedConv2D, inputs, width, 3, dtype=dtype)
            self.hidden.append(Block(conv, activation=tf.nn.relu))
        self.add_layer("to_image", EqualizedConv2D, width, channels, 3, gain=1.0, dtype="float32")

    def call(self, x, resolution: int | None = None, alpha=None, seed=None, training=False):
        """Return colour images [N, H, W, 3] for gray images x [N, H, W, 1]."""
        return tf.sigmoid(self.to_image(apply_blocks(self.hidden, x)))
