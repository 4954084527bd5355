"""PatchGAN discriminator (Isola et al. 2017, section 6.1.2).

It returns a map of logits, each of which depends on 70 x 70 pixels of the image.
"""

from __future__ import annotations

import keras

from pggan_tf.layers import EqualizedConv2D
from pggan_tf.networks.base import Network
from pggan_tf.networks.blocks import Block, leaky_relu

STEPS = ((1, 2), (2, 2), (4, 2), (8, 1))  # (feature maps / width, stride) of each convolution


@keras.saving.register_keras_serializable("pggan_tf", "PatchGAN")
class Discriminator(Network):
    """PatchGAN discriminator with 4x4 convolutions: C64-C128-C256-C512 for a `width` of 64.

    Maps images concatenated with their conditions, [N, H, W, channels], to logits
    [N, H/8, W/8, 1], float32.
    """

    ARGUMENTS = ("width", "discriminator_norm", "spectral")
    patch_logits = True

    def __init__(self, resolutions, channels, width=64, discriminator_norm="batch", spectral="none", **kwargs):
        super().__init__(resolutions, channels, **kwargs)
        self.width, self.discriminator_norm, self.spectral = width, discriminator_norm, spectral
        plain = {"kernel_size": 4, "gain": None}
        inputs = channels
        self.blocks = []
        for i, (times, stride) in enumerate(STEPS):
            maps = width * times
            own = {"stride": stride, "spectral": spectral != "none", "dtype": self.dtype_policy if i else "float32"}
            conv = self.add_layer(f"conv_{i}", EqualizedConv2D, inputs, maps, **own, **plain)
            # No normalisation after the first layer: it would hide the image's mean and scale.
            norm = self.add_norm(f"norm_{i}", discriminator_norm, maps) if i else None
            self.blocks.append(Block(conv, norm, leaky_relu))
            inputs = maps
        own = {"spectral": spectral == "all", "dtype": "float32"}
        self.add_layer("logits", EqualizedConv2D, inputs, 1, **own, **plain)

    def call(self, images, resolution: int | None = None, alpha=None, training=False, features=False):
        """Return the logits of images, or a list if `features` is true.

        The list holds the logits and the output of each hidden layer.
        """
        x, seen = images, []
        for block in self.blocks:
            x = block(x, training)
            seen.append(x)
        return [self.logits(x), *seen] if features else self.logits(x)
