"""PatchGAN (Isola et al. 2017, section 6.1.2): a map of logits, each of which judges 70 x 70 pixels."""

from __future__ import annotations

import keras

from pggan_tf.layers import EqualizedConv2D
from pggan_tf.networks.base import Network, leaky, normalization

STEPS = ((1, 2), (2, 2), (4, 2), (8, 1))  # times the width, stride


@keras.saving.register_keras_serializable("pggan_tf", "PatchGAN")
class Discriminator(Network):
    """Images, and what they were made from, [N, H, W, channels] -> logits [N, H/8, W/8, 1], float32. C64-C128-C256-C512 for
    `width` 64, convolutions of 4x4."""

    maps = True

    def __init__(self, resolutions, channels, width=64, discriminator_norm="batch", spectral="none", **kwargs):
        super().__init__(resolutions, channels, **kwargs)
        self.width, self.discriminator_norm, self.spectral_norm = width, discriminator_norm, spectral
        plain = {"kernel_size": 4, "gain": None, "spectral": spectral != "none"}
        for i, (times, stride) in enumerate(STEPS):
            dtype = self.dtype_policy if i else "float32"
            self._layer(EqualizedConv2D, f"conv_{i}", width * times, stride=stride, dtype=dtype, **plain)
            layer = normalization(discriminator_norm, width * times, f"norm_{i}", dtype)
            if i and layer:  # not the first: D is to see the mean and scale of its input
                setattr(self, f"norm_{i}", layer)
        self._layer(EqualizedConv2D, "logits", 1, kernel_size=4, gain=None, spectral=spectral == "all", dtype="float32")

    def build(self, input_shape=None):
        (size,) = self.resolutions
        c = self.channels
        for i, (times, stride) in enumerate(STEPS):
            getattr(self, f"conv_{i}").build((None, size, size, c))
            size, c = size // stride, self.width * times
            if hasattr(self, f"norm_{i}"):
                getattr(self, f"norm_{i}").build((None, size, size, c))
        self.logits.build((None, size, size, c))
        self.built = True

    def call(self, images, resolution: int | None = None, alpha=None, training=False, features=False):
        """features: returns [logits, features of every layer ...]."""
        x, seen = images, []
        for i in range(len(STEPS)):
            x = getattr(self, f"conv_{i}")(x)
            x = getattr(self, f"norm_{i}")(x, training=training) if hasattr(self, f"norm_{i}") else x
            x = leaky(x)
            seen.append(x)
        return [self.logits(x), *seen] if features else self.logits(x)

    def get_config(self):
        own = {"width": self.width, "discriminator_norm": self.discriminator_norm, "spectral": self.spectral_norm}
        return {**super().get_config(), **own}
