"""U-Net of pix2pix (Isola et al. 2017, section 6.1.1, after Ronneberger et al. 2015).

4x4 convolutions with stride 2 reduce the image to one pixel, and transposed ones enlarge it again.
The output of each enlarging layer is concatenated with the features of the same size from the
reducing layers.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf import replicas
from pggan_tf.layers import EqualizedConv2D
from pggan_tf.networks.base import ImageNetwork
from pggan_tf.networks.blocks import Block, leaky_relu

DROPOUT_STEPS = 3  # number of enlarging layers with dropout, starting at the smallest


@keras.saving.register_keras_serializable("pggan_tf", "UNet")
class Generator(ImageNetwork):
    """U-Net generator: images [N, H, W, input_channels] -> [N, H, W, channels] in -1..1.

    Args:
        resolutions: The resolution in pixels, a sequence of one.
        channels: Number of output channels.
        input_channels: Number of input channels.
        task: See `ImageNetwork`.
        width: Number of feature maps of the first layer; each following reducing layer has twice as
            many, up to `fmap_max`.
        fmap_max: Largest number of feature maps.
        generator_norm: 'batch', 'group' or 'none'.
        dropout: Dropout rate in the three smallest enlarging layers; used only in training.
    """

    ARGUMENTS = ("width", "fmap_max", "generator_norm", "dropout")

    def __init__(
        self,
        resolutions,
        channels,
        input_channels,
        task,
        width=64,
        fmap_max=512,
        generator_norm="batch",
        dropout=0.5,
        **kwargs,
    ):
        super().__init__(resolutions, channels, input_channels, task, **kwargs)
        self.width, self.fmap_max, self.generator_norm, self.dropout = width, fmap_max, generator_norm, dropout
        (self.multiple,) = self.resolutions
        self.depth = self.multiple.bit_length() - 1
        plain = {"kernel_size": 4, "stride": 2, "gain": None}
        self.downs: list[Block] = []  # in order from the largest feature maps to the smallest
        self.ups: list[Block] = []
        for i in range(self.depth):
            outer, inner = self._count_maps(i - 1), self._count_maps(i)
            own = {**plain, "dtype": self.dtype_policy if i else "float32"}
            down = self.add_layer(f"down_{i}", EqualizedConv2D, outer if i else input_channels, inner, **own)
            joined = inner if i == self.depth - 1 else 2 * inner
            up = self.add_layer(f"up_{i}", EqualizedConv2D, joined, outer if i else channels, transposed=True, **own)
            # No normalisation next to the image, nor of a 1x1 map: it may lack other values to
            # compute a variance from.
            inside = 0 < i < self.depth - 1
            down_norm = self.add_norm(f"down_norm_{i}", generator_norm, inner) if inside else None
            up_norm = self.add_norm(f"up_norm_{i}", generator_norm, outer) if i else None
            self.downs.append(Block(down, down_norm))
            self.ups.append(Block(up, up_norm))

    def _count_maps(self, step: int) -> int:
        """Return the number of feature maps after reducing layer `step`, counted from 0."""
        return min(self.width << max(step, 0), self.fmap_max)

    def call(self, x, resolution: int | None = None, alpha=None, seed=None, training=False):
        """Return images [N, H, W, channels] for x [N, H, W, input_channels].

        Args:
            x: The input images.
            resolution: Ignored; the size is taken from x.
            alpha: Ignored; the network does not grow.
            seed: Random seed of dropout, int64 [2]; needed only in training.
            training: Whether to use dropout and the batch statistics of batch normalisation.
        """
        skips = []
        for i, block in enumerate(self.downs):
            x = block(leaky_relu(x) if i else x, training)  # [N,H/2,W/2,C]
            skips.append(x)
        x = skips.pop()
        for i, block in reversed(list(enumerate(self.ups))):
            x = block(tf.nn.relu(x), training)  # [N,2H,2W,C]
            if i:
                if training and self.dropout and i >= self.depth - DROPOUT_STEPS:
                    x = self._drop(x, replicas.seed_for(seed, i))
                x = tf.concat([x, tf.cast(skips.pop(), x.dtype)], axis=-1)
        return tf.tanh(x)

    def _drop(self, x, seed):
        """Apply dropout to x and scale the remaining values, so that the mean stays the same."""
        kept = tf.cast(replicas.uniform(x.shape, seed) >= self.dropout, x.dtype)
        return x * kept / (1 - self.dropout)
