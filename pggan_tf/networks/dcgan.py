"""Deep Convolutional GAN (Radford et al. 2016, section 3, figure 1), for 8 to 256 pixels.

The recipes for WGAN, WGAN-GP, ACGAN, SNGAN and LSGAN use this architecture with another loss,
normalisation and optimiser.

Both networks use 4x4 convolutions with stride 2 and no pooling. The generator uses ReLU with a
final tanh, the discriminator LeakyReLU with slope 0.2.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf.layers import EqualizedConv2D, EqualizedDense
from pggan_tf.networks.base import LatentNetwork, Tapered
from pggan_tf.networks.blocks import Block, apply_blocks, leaky_relu

FIRST = 4  # height and width of the smallest feature maps


def _list_sizes(resolution: int) -> list[int]:
    """Return the powers of two from 4 to `resolution`, itself a power of two of at least 8."""
    return [2**k for k in range(2, resolution.bit_length())]


@keras.saving.register_keras_serializable("pggan_tf", "DCGANGenerator")
class Generator(LatentNetwork):
    """DCGAN generator: latents [N, latent_size] -> images [N, R, R, channels], float32 in -1..1."""

    ARGUMENTS = ("generator_norm",)

    def __init__(self, resolutions, channels=3, *, fmap_base=1024, latent_size=100, generator_norm="batch", **kwargs):
        super().__init__(resolutions, channels, fmap_base=fmap_base, latent_size=latent_size, **kwargs)
        self.generator_norm = generator_norm
        *sizes, last = _list_sizes(self.resolutions[-1])
        plain = {"gain": None, "dtype": self.dtype_policy}
        up = {**plain, "kernel_size": 4, "stride": 2, "transposed": True}
        units = FIRST * FIRST * self.count_maps(FIRST)
        dense = self.add_layer("dense", EqualizedDense, self.label_latent_size, units, **plain)
        norms = {size: self.add_norm(f"norm_{size}", generator_norm, self.count_maps(size)) for size in sizes}
        self.blocks = [Block(dense, norms[FIRST], tf.nn.relu)]
        for size in sizes[1:]:
            inputs, maps = self.count_maps(size // 2), self.count_maps(size)
            conv = self.add_layer(f"up_{size}", EqualizedConv2D, inputs, maps, **up)
            self.blocks.append(Block(conv, norms[size], tf.nn.relu))
        up["dtype"] = "float32"
        conv = self.add_layer(f"up_{last}", EqualizedConv2D, self.count_maps(last // 2), channels, **up)
        self.blocks.append(Block(conv, activation=tf.tanh))

    @property
    def latent_layers(self):
        """The dense layer, see `LatentNetwork.latent_layers`."""
        return [self.dense]

    def call(self, latents, resolution: int | None = None, alpha=None, truncation=None, labels=None, training=False):
        """Generate images [N, R, R, channels] from latents.

        Args:
            latents: [N, latent_size].
            resolution: Ignored; the network has only one resolution.
            alpha: Ignored; the network does not grow.
            truncation: Factor in 0..1 that the latents are multiplied by; None leaves them as they
                are.
            labels: Class indices, int64 [N]; required if the network has classes.
            training: Whether batch normalisation uses the statistics of the batch.
        """
        if truncation is not None:
            latents = latents * tf.cast(truncation, latents.dtype)
        first, *rest = self.blocks
        x = first.layer(self.concat_label(latents, labels))
        x = tf.reshape(x, [-1, FIRST, FIRST, self.count_maps(FIRST)])
        return apply_blocks(rest, first.activate(x, training), training)


@keras.saving.register_keras_serializable("pggan_tf", "DCGANDiscriminator")
class Discriminator(Tapered):
    """DCGAN discriminator: images [N, R, R, channels] -> logits [N, 1 + classes], float32."""

    ARGUMENTS = ("discriminator_norm", "spectral")

    def __init__(
        self, resolutions, channels=3, *, fmap_base=1024, discriminator_norm="batch", spectral="none", **kwargs
    ):
        super().__init__(resolutions, channels, fmap_base=fmap_base, **kwargs)
        self.discriminator_norm, self.spectral = discriminator_norm, spectral
        inputs = channels
        self.blocks: list[Block] = []
        for size in reversed(_list_sizes(self.resolutions[-1])[1:]):
            maps, dtype = self.count_maps(size // 2), self.dtype_policy if self.blocks else "float32"
            own = {"stride": 2, "gain": None, "spectral": spectral != "none", "dtype": dtype}
            conv = self.add_layer(f"down_{size}", EqualizedConv2D, inputs, maps, 4, **own)
            # No normalisation after the first layer: it would hide the image's mean and scale.
            norm = self.add_norm(f"norm_{size}", discriminator_norm, maps) if self.blocks else None
            self.blocks.append(Block(conv, norm, leaky_relu))
            inputs = maps
        own = {"gain": None, "spectral": spectral == "all", "dtype": "float32"}
        self.add_layer("logits", EqualizedDense, FIRST * FIRST * inputs, 1 + len(self.classes), **own)

    def call(self, images, resolution: int | None = None, alpha=None, training=False):
        """Return the logits of images [N, R, R, channels]."""
        x = apply_blocks(self.blocks, images, training)
        return self.logits(tf.reshape(x, [-1, FIRST * FIRST * x.shape[-1]]))
