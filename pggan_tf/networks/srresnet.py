"""SRResNet, generator of SRGAN (Ledig et al. 2017, section 2.1.1, figure 4)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import keras
import tensorflow as tf

from pggan_tf.layers import EqualizedConv2D
from pggan_tf.networks.base import ImageNetwork
from pggan_tf.networks.blocks import Block

EDGE = 9  # kernel size of the first and the last layer
RESIDUAL_GAIN = 0.1  # gain of a residual block's last layer; keeps the sum of 16 blocks small


def _before_shuffle(slope: keras.layers.PReLU, x):
    """Apply a PReLU with C slopes to x [N, h, w, 4 C], before a pixel shuffle to C maps."""
    alpha = tf.tile(tf.cast(slope.alpha, x.dtype), [1, 1, 4])
    return tf.nn.relu(x) - alpha * tf.nn.relu(-x)


@dataclass
class ResidualBlock:
    """Residual block that computes x + second(first(x))."""

    first: Block
    second: Block

    def __call__(self, x, training: bool = False):
        """Return x + second(first(x)) for x [N, h, w, C]."""
        return x + self.second(self.first(x, training), training)


@keras.saving.register_keras_serializable("pggan_tf", "SRResNet")
class Generator(ImageNetwork):
    """SRResNet: images [N, h, w, input_channels] in 0..1 -> enlarged images [N, scale h, scale w, channels].

    h and w are arbitrary; the output is roughly in -1..1. The network consists of `blocks` residual
    blocks (conv - norm - PReLU - conv - norm - add) with a skip connection over all of them,
    followed, for each doubling of the resolution, by a convolution to four times as many maps and a
    pixel shuffle. Its output is added to the bilinearly enlarged image, so that the network learns
    only the missing detail. Input channels beyond those of the output, such as a level of noise,
    are conditions and are not enlarged.

    Args:
        resolutions: See `Network`.
        channels: Number of output channels.
        input_channels: Number of input channels.
        task: See `ImageNetwork`.
        scale: Factor of the enlargement: 2, 4 or 8.
        width: Number of feature maps.
        blocks: Number of residual blocks.
        generator_norm: 'batch', as in the paper, or 'none'.
    """

    ARGUMENTS = ("scale", "width", "blocks", "generator_norm")

    def __init__(
        self, resolutions, channels, input_channels, task, scale=4, width=64, blocks=16, generator_norm="none", **kwargs
    ):
        super().__init__(resolutions, channels, input_channels, task, **kwargs)
        self.scale, self.width, self.blocks, self.generator_norm = scale, width, blocks, generator_norm
        doublings = scale.bit_length() - 1
        # Radius, in pixels of the small image, of the input that an output pixel depends on. Each
        # convolution at a higher resolution is counted as one whole pixel.
        self.context = EDGE // 2 + 2 * blocks + 1 + doublings + -(-(EDGE // 2) // scale)
        self.add_layer("first", EqualizedConv2D, input_channels, width, EDGE, dtype="float32")
        gain = {"gain": RESIDUAL_GAIN} if generator_norm == "none" else {}
        self.residual_blocks = [
            ResidualBlock(self._add_block(f"block_{i}_a"), self._add_block(f"block_{i}_b", **gain))
            for i in range(blocks)
        ]
        self.last_block = self._add_block("last")
        for i, block in enumerate(self.residual_blocks):
            block.first.activation = self._add_slope(f"block_{i}_slope")
        self.up_blocks = []
        for i in range(doublings):
            conv = self.add_layer(f"up_{i}", EqualizedConv2D, width, 4 * width, 3, dtype=self.dtype_policy)
            slope = functools.partial(_before_shuffle, self._add_slope(f"up_{i}_slope"))
            self.up_blocks.append(Block(conv, activation=slope))
        self._add_slope("first_slope")
        own = {"gain": RESIDUAL_GAIN, "shuffled": True, "dtype": "float32"}
        self.add_layer("to_image", EqualizedConv2D, 4 * width, channels, EDGE, **own)

    def _add_block(self, name: str, **kwargs) -> Block:
        """Add a 3x3 convolution and its normalisation and return a block with them."""
        conv = self.add_layer(name, EqualizedConv2D, self.width, self.width, 3, dtype=self.dtype_policy, **kwargs)
        return Block(conv, self.add_norm(f"{name}_norm", self.generator_norm, self.width))

    def _add_slope(self, name: str):
        """Add and return a PReLU with one slope per feature map, so that any image size works."""
        start = keras.initializers.Constant(0.25)
        own = {"shared_axes": [1, 2], "alpha_initializer": start, "dtype": self.dtype_policy}
        return self.add_layer(name, keras.layers.PReLU, self.width, **own)

    def call(self, x, resolution: int | None = None, alpha=None, seed=None, training=False):
        """Return images x [N, h, w, input_channels] enlarged to [N, scale h, scale w, channels]."""
        shape = tf.shape(x)
        has_more = self.input_channels > self.channels
        photo = x[..., : self.channels] if has_more else x
        enlarged = tf.image.resize(photo, (self.scale * shape[1], self.scale * shape[2]), "bilinear") * 2 - 1
        signal = photo * 2 - 1
        if has_more:
            signal = tf.concat([signal, x[..., self.channels :]], -1)
        first = self.first_slope(tf.cast(self.first(signal), self.compute_dtype))
        # With `identity`, gradients are added in pairs. A sum of three has no fixed order, so runs
        # would not be exactly reproducible.
        x = tf.identity(first)
        for block in self.residual_blocks:
            x = block(x, training)
        x = first + self.last_block(x, training)
        *ups, last_up = self.up_blocks
        for up in ups:
            x = tf.nn.depth_to_space(up(x), 2)  # [N,2h,2w,C]
        # The last shuffle comes after `to_image`, whose kernel is transformed accordingly.
        return enlarged + tf.nn.depth_to_space(self.to_image(last_up(x)), 2)
