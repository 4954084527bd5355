"""Discriminator of SRGAN (Ledig et al. 2017, section 2.1.1, figure 4)."""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf.layers import EqualizedConv2D, EqualizedDense
from pggan_tf.networks.base import Network
from pggan_tf.networks.blocks import Block, leaky_relu

# (feature maps / width, stride) of each convolution.
STEPS = tuple((times, stride) for times in (1, 2, 4, 8) for stride in (1, 2))
HIDDEN = 16  # units of the dense layer / width: 1024 units for a width of 64


@keras.saving.register_keras_serializable("pggan_tf", "SRGANDiscriminator")
class Discriminator(Network):
    """SRGAN discriminator: images [N, H, W, channels] -> logits [N, 1], float32.

    Args:
        resolutions: See `Network`.
        channels: Number of channels of the images.
        patch: Side of the images in pixels; by default they are whole, at the last resolution.
        width: Number of feature maps of the first layer.
        discriminator_norm: Normalisation after each convolution but the first: 'batch' or 'none'.
        spectral: Layers with spectral normalisation: 'down' (the convolutions), 'all' (the
            convolutions and the last layer) or 'none'.
    """

    ARGUMENTS = ("patch", "width", "discriminator_norm", "spectral")

    def __init__(
        self, resolutions, channels, patch=None, width=64, discriminator_norm="batch", spectral="none", **kwargs
    ):
        super().__init__(resolutions, channels, **kwargs)
        self.patch, self.width = patch, width
        self.discriminator_norm, self.spectral = discriminator_norm, spectral
        sides, inputs = [patch, patch] if patch else self.shape_at(self.resolutions[-1]), channels
        self.blocks = []
        for i, (times, stride) in enumerate(STEPS):
            maps = width * times
            own = {"stride": stride, "spectral": spectral != "none", "dtype": self.dtype_policy if i else "float32"}
            conv = self.add_layer(f"conv_{i}", EqualizedConv2D, inputs, maps, 3, **own)
            norm = self.add_norm(f"norm_{i}", discriminator_norm, maps) if i else None
            self.blocks.append(Block(conv, norm, leaky_relu))
            sides, inputs = [-(-side // stride) for side in sides], maps
        inputs *= sides[0] * sides[1]
        dense = self.add_layer("dense", EqualizedDense, inputs, HIDDEN * width, dtype=self.dtype_policy)
        self.dense_block = Block(dense, activation=leaky_relu)
        own = {"gain": 1.0, "spectral": spectral == "all", "dtype": "float32"}
        self.add_layer("logits", EqualizedDense, HIDDEN * width, 1, **own)

    def call(self, images, resolution: int | None = None, alpha=None, training=False, features=False):
        """Return the logits of images, or a list if `features` is true.

        The list holds the logits and the output of each block that halves the resolution.
        """
        x, seen = images, []
        for block, (_times, stride) in zip(self.blocks, STEPS):
            x = block(x, training)
            if stride > 1:
                seen.append(x)
        _, h, w, c = x.shape
        logits = self.logits(self.dense_block(tf.reshape(x, [-1, h * w * c])))
        return [logits, *seen] if features else logits
