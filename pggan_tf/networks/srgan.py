"""The discriminator of SRGAN (Ledig et al. 2017, section 2.1.1, figure 4)."""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf.layers import EqualizedConv2D, EqualizedDense
from pggan_tf.networks.base import Network, leaky, normalization

STEPS = tuple((times, stride) for times in (1, 2, 4, 8) for stride in (1, 2))  # times the width, stride
HIDDEN = 16  # times the width, units of the dense layer: 1024


@keras.saving.register_keras_serializable("pggan_tf", "SRGANDiscriminator")
class Discriminator(Network):
    """Images of one size [N, R, R, 3], that of `resolutions` or of `patch`, -> logits [N, 1], float32."""

    def __init__(
        self, resolutions, channels, patch=None, width=64, discriminator_norm="batch", spectral="none", **kwargs
    ):
        super().__init__(resolutions, channels, **kwargs)
        self.patch, self.width = patch, width
        self.discriminator_norm, self.spectral_norm = discriminator_norm, spectral
        dtype = self.dtype_policy
        for i, (times, stride) in enumerate(STEPS):
            own = {"stride": stride, "spectral": spectral != "none", "dtype": dtype if i else "float32"}
            self._layer(EqualizedConv2D, f"conv_{i}", width * times, 3, **own)
            layer = normalization(discriminator_norm, width * times, f"norm_{i}", dtype)
            if i and layer:
                setattr(self, f"norm_{i}", layer)
        self._layer(EqualizedDense, "dense", HIDDEN * width, dtype=dtype)
        self._layer(EqualizedDense, "logits", 1, gain=1.0, spectral=spectral == "all", dtype="float32")

    def build(self, input_shape=None):
        size = self.patch or self.resolutions[-1]
        c = self.channels
        for i, (times, stride) in enumerate(STEPS):
            getattr(self, f"conv_{i}").build((None, size, size, c))
            size, c = -(-size // stride), self.width * times
            if hasattr(self, f"norm_{i}"):
                getattr(self, f"norm_{i}").build((None, size, size, c))
        self.dense.build((None, size * size * c))
        self.logits.build((None, HIDDEN * self.width))
        self.built = True

    def call(self, images, resolution: int | None = None, alpha=None, training=False, features=False):
        """features: returns [logits, features of every second layer ...]."""
        x, seen = images, []
        for i, (_times, stride) in enumerate(STEPS):
            x = getattr(self, f"conv_{i}")(x)
            x = getattr(self, f"norm_{i}")(x, training=training) if hasattr(self, f"norm_{i}") else x
            x = leaky(x)
            if stride > 1:
                seen.append(x)
        _, h, w, c = x.shape
        logits = self.logits(leaky(self.dense(tf.reshape(x, [-1, h * w * c]))))
        return [logits, *seen] if features else logits

    def get_config(self):
        own = {
            "patch": self.patch,
            "width": self.width,
            "discriminator_norm": self.discriminator_norm,
            "spectral": self.spectral_norm,
        }
        return {**super().get_config(), **own}
