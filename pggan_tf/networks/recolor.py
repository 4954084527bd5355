"""A small network that colours gray images: convolutions at full resolution, one after the other."""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf.layers import EqualizedConv2D
from pggan_tf.networks.base import ImageNetwork

LAYERS = 4


@keras.saving.register_keras_serializable("pggan_tf", "Recolor")
class Generator(ImageNetwork):
    """Gray [N, H, W, 1] in 0..1 -> [N, H, W, 3] in 0..1 by a sigmoid, any H and W. Four hidden layers of `width` maps, 3x3 and ReLU."""

    context = LAYERS + 1  # a point depends on so many pixels on either side

    def __init__(self, resolutions, channels, given_channels, task, width=64, **kwargs):
        super().__init__(resolutions, channels, given_channels, task, **kwargs)
        self.width = width
        for i in range(LAYERS):
            self._layer(EqualizedConv2D, f"conv_{i}", width, 3, dtype=self.dtype_policy if i else "float32")
        self._layer(EqualizedConv2D, "to_image", channels, 3, gain=1.0, dtype="float32")

    def build(self, input_shape=None):
        c = self.given_channels
        for i in range(LAYERS):
            getattr(self, f"conv_{i}").build((None, None, None, c))
            c = self.width
        self.to_image.build((None, None, None, c))
        self.built = True

    def call(self, x, resolution: int | None = None, alpha=None, seed=None, training=False):
        for i in range(LAYERS):
            x = tf.nn.relu(getattr(self, f"conv_{i}")(x))
        return tf.sigmoid(self.to_image(x))

    def get_config(self):
        return {**super().get_config(), "width": self.width}
