"""Deep Convolutional GAN (Radford et al. 2016, section 3, figure 1), for 8 to 256 pixels, and the variants that share its shape:
WGAN, WGAN-GP, ACGAN, SNGAN, LSGAN differ in loss, normalisation and optimiser.

No pooling: convolutions of 4x4 with stride 2. ReLU in the generator, LeakyReLU 0.2 in the discriminator, tanh at the end.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf.layers import BatchNorm, EqualizedConv2D, EqualizedDense
from pggan_tf.networks.base import LatentNetwork, Tapered, leaky

FIRST = 4


def _stages(resolution: int) -> list[int]:
    """8, 16, ... resolution."""
    out = [2 * FIRST]
    while out[-1] < resolution:
        out.append(2 * out[-1])
    return out


@keras.saving.register_keras_serializable("pggan_tf", "DCGANGenerator")
class Generator(LatentNetwork):
    def __init__(
        self,
        resolutions,
        channels=3,
        fmap_base=1024,
        fmap_max=512,
        classes=(),
        latent_size=100,
        generator_norm="batch",
        **kwargs,
    ):
        super().__init__(resolutions, channels, fmap_base, fmap_max, classes, **kwargs)
        self.latent_size, self.generator_norm = latent_size, generator_norm
        dtype = self.dtype_policy
        (last,) = self.resolutions
        self._layer(EqualizedDense, "dense", FIRST * FIRST * self._width(FIRST), gain=None, dtype=dtype)
        for r in [FIRST, *_stages(last)[:-1]]:
            if generator_norm == "batch":
                self._layer(BatchNorm, f"norm_{r}", dtype=dtype)
        for r in _stages(last):
            units = channels if r == last else self._width(r)
            kind = {"stride": 2, "transposed": True, "gain": None, "dtype": "float32" if r == last else dtype}
            self._layer(EqualizedConv2D, f"up_{r}", units, 4, **kind)

    def build(self, input_shape=None):
        (last,) = self.resolutions
        self.dense.build((None, self.latent_size + len(self.classes)))
        below = FIRST
        for r in [*_stages(last)]:
            if self.generator_norm == "batch":
                getattr(self, f"norm_{below}").build((None, below, below, self._width(below)))
            getattr(self, f"up_{r}").build((None, below, below, self._width(below)))
            below = r
        self.built = True

    def _normalized(self, x, r, training):
        return getattr(self, f"norm_{r}")(x, training=training) if self.generator_norm == "batch" else x

    def call(self, latents, resolution: int | None = None, alpha=None, truncation=None, labels=None, training=False):
        """truncation: 0..1, the latents are shortened to it."""
        (last,) = self.resolutions
        if truncation is not None:
            latents = latents * tf.cast(truncation, latents.dtype)
        x = self.dense(self.joined(latents, labels))
        x = tf.reshape(x, [-1, FIRST, FIRST, self._width(FIRST)])
        below = FIRST
        for r in _stages(last):
            x = tf.nn.relu(self._normalized(x, below, training))
            x = getattr(self, f"up_{r}")(x)  # [N,2R,2R,C]
            below = r
        return tf.tanh(x)

    def get_config(self):
        return {**super().get_config(), "latent_size": self.latent_size, "generator_norm": self.generator_norm}


@keras.saving.register_keras_serializable("pggan_tf", "DCGANDiscriminator")
class Discriminator(Tapered):
    """Images [N, R, R, channels] -> logits [N, 1 + classes], float32."""

    def __init__(
        self,
        resolutions,
        channels=3,
        fmap_base=1024,
        fmap_max=512,
        classes=(),
        discriminator_norm="batch",
        spectral="none",
        **kwargs,
    ):
        super().__init__(resolutions, channels, fmap_base, fmap_max, classes, **kwargs)
        self.discriminator_norm, self.spectral_norm = discriminator_norm, spectral
        dtype = self.dtype_policy
        (last,) = self.resolutions
        weights = {"gain": None, "spectral": spectral != "none"}
        for r in reversed(_stages(last)):
            self._layer(
                EqualizedConv2D,
                f"down_{r}",
                self._width(r // 2),
                4,
                stride=2,
                dtype="float32" if r == last else dtype,
                **weights,
            )
            if discriminator_norm == "batch" and r != last:
                self._layer(BatchNorm, f"norm_{r}", dtype=dtype)
        self._layer(
            EqualizedDense, "logits", 1 + len(self.classes), gain=None, spectral=spectral == "all", dtype="float32"
        )

    def build(self, input_shape=None):
        (last,) = self.resolutions
        c = self.channels
        for r in reversed(_stages(last)):
            getattr(self, f"down_{r}").build((None, r, r, c))
            c = self._width(r // 2)
            if self.discriminator_norm == "batch" and r != last:
                getattr(self, f"norm_{r}").build((None, r // 2, r // 2, c))
        self.logits.build((None, FIRST * FIRST * c))
        self.built = True

    def call(self, images, resolution: int | None = None, alpha=None, training=False):
        (last,) = self.resolutions
        x = images
        for r in reversed(_stages(last)):
            x = getattr(self, f"down_{r}")(x)  # [N,R/2,R/2,C]
            if (
                self.discriminator_norm == "batch" and r != last
            ):  # not the first: D is to see the mean and scale of its input
                x = getattr(self, f"norm_{r}")(x, training=training)
            x = leaky(x)
        return self.logits(tf.reshape(x, [-1, FIRST * FIRST * x.shape[-1]]))

    def get_config(self):
        return {**super().get_config(), "discriminator_norm": self.discriminator_norm, "spectral": self.spectral_norm}
