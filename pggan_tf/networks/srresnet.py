"""SRResNet, the generator of SRGAN (Ledig et al. 2017, section 2.1.1, figure 4)."""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf.layers import EqualizedConv2D
from pggan_tf.networks.base import ImageNetwork, normalization

EDGE = 9  # kernels of the first and the last layer
RESIDUAL_GAIN = 0.1  # of a block's last layer: without normalisation sixteen sums would grow


def _each(slope: keras.layers.PReLU, x):
    """PReLU of maps that lie in x [N, h, w, 4 C] four times, before a pixel shuffle lays them side by side."""
    alpha = tf.tile(tf.cast(slope.alpha, x.dtype), [1, 1, 4])
    return tf.nn.relu(x) - alpha * tf.nn.relu(-x)


@keras.saving.register_keras_serializable("pggan_tf", "SRResNet")
class Generator(ImageNetwork):
    """[N, h, w, 3] in 0..1 -> [N, scale h, scale w, 3] in about -1..1, any h and w.

    `blocks` times conv - norm - PReLU - conv - norm - add, a sum over all of them, then a convolution to four times the maps
    and a pixel shuffle for every doubling. What the network makes is added to the bilinearly enlarged image: it starts from
    something sensible, and learns the detail alone. generator_norm: batch, as published, or none.
    """

    def __init__(
        self, resolutions, channels, given_channels, task, scale=4, width=64, blocks=16, generator_norm="none", **kwargs
    ):
        super().__init__(resolutions, channels, given_channels, task, **kwargs)
        self.scale, self.width, self.blocks, self.generator_norm = scale, width, blocks, generator_norm
        dtype = self.dtype_policy
        # A point depends on so many pixels of the small image on either side: whole pixels, for the enlarged layers too.
        self.context = EDGE // 2 + 2 * blocks + 1 + (scale.bit_length() - 1) + -(-(EDGE // 2) // scale)
        self._layer(EqualizedConv2D, "first", width, EDGE, dtype="float32")
        for name in self._names():
            small = generator_norm == "none" and name.endswith("_b")
            self._layer(EqualizedConv2D, name, width, 3, dtype=dtype, **({"gain": RESIDUAL_GAIN} if small else {}))
            if norm := normalization(generator_norm, width, f"{name}_norm", dtype):
                setattr(self, f"{name}_norm", norm)
        for i in range(blocks):
            self._layer(keras.layers.PReLU, f"block_{i}_slope", **self._slope(dtype))
        for i in range(scale.bit_length() - 1):
            self._layer(EqualizedConv2D, f"up_{i}", 4 * width, 3, dtype=dtype)
            self._layer(keras.layers.PReLU, f"up_{i}_slope", **self._slope(dtype))
        self._layer(keras.layers.PReLU, "first_slope", **self._slope(dtype))
        self._layer(EqualizedConv2D, "to_image", channels, EDGE, gain=RESIDUAL_GAIN, shuffled=True, dtype="float32")

    def _slope(self, dtype) -> dict:
        """Shared over the pixels, so that any size will do."""
        return {
            "shared_axes": [1, 2],
            "alpha_initializer": keras.initializers.Constant(0.25),
            "dtype": dtype,
        }

    def _names(self) -> list[str]:
        return [f"block_{i}_{part}" for i in range(self.blocks) for part in "ab"] + ["last"]

    def build(self, input_shape=None):
        self.first.build((None, None, None, self.given_channels))
        features = (None, None, None, self.width)
        for layer in self._flatten_layers(include_self=False, recursive=False):
            if not layer.built:
                layer.build((*features[:3], 4 * self.width) if layer is self.to_image else features)
        self.built = True

    def _conv(self, name: str, x, training):
        x = getattr(self, name)(x)
        norm = getattr(self, f"{name}_norm", None)
        return norm(x, training=training) if norm else x

    def call(self, x, resolution: int | None = None, alpha=None, seed=None, training=False):
        shape = tf.shape(x)
        enlarged = tf.image.resize(x, (self.scale * shape[1], self.scale * shape[2]), "bilinear") * 2 - 1
        x = tf.cast(self.first(x * 2 - 1), self.compute_dtype)
        first = self.first_slope(x)
        x = tf.identity(first)  # gradients meet two by two: sums of three have no fixed order, see training/step.py
        for i in range(self.blocks):
            y = getattr(self, f"block_{i}_slope")(self._conv(f"block_{i}_a", x, training))
            x = x + self._conv(f"block_{i}_b", y, training)
        x = first + self._conv("last", x, training)
        doublings = self.scale.bit_length() - 1
        for i in range(doublings):
            x = _each(getattr(self, f"up_{i}_slope"), getattr(self, f"up_{i}")(x))  # [N,h,w,4C]
            x = x if i == doublings - 1 else tf.nn.depth_to_space(x, 2)  # [N,2h,2w,C]
        return enlarged + tf.nn.depth_to_space(self.to_image(x), 2)

    def get_config(self):
        own = ("scale", "width", "blocks", "generator_norm")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
