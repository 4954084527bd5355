"""U-Net of pix2pix (Isola et al. 2017, section 6.1.1, after Ronneberger et al. 2015).

Convolutions of 4x4 with stride 2 lead down to one pixel and up again; each step up is concatenated
with the features of its size on the way down.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf import replicas
from pggan_tf.layers import EqualizedConv2D
from pggan_tf.networks.base import ImageNetwork
from pggan_tf.networks.blocks import Block, leaky_relu

DROPOUT_STEPS = 3  # steps up with dropout


@keras.saving.register_keras_serializable("pggan_tf", "UNet")
class Generator(ImageNetwork):
    """Turn images into images of the same size, [N, H, W, channels] in -1..1.

    width: feature maps of the first layer; each step down doubles them, to `fmap_max` at most.
    generator_norm: batch, group or none. dropout: rate in the three smallest steps up, in training.
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
        self.downs: list[Block] = []  # from the largest feature maps to the smallest
        self.ups: list[Block] = []
        for i in range(self.depth):
            outer, inner = self._count_maps(i - 1), self._count_maps(i)
            own = {**plain, "dtype": self.dtype_policy if i else "float32"}
            down = self.add_layer(f"down_{i}", EqualizedConv2D, outer if i else input_channels, inner, **own)
            joined = inner if i == self.depth - 1 else 2 * inner
            up = self.add_layer(f"up_{i}", EqualizedConv2D, joined, outer if i else channels, transposed=True, **own)
            # None at the image itself, and none of a single pixel: it would be alone in its group.
            inside = 0 < i < self.depth - 1
            down_norm = self.add_norm(f"down_norm_{i}", generator_norm, inner) if inside else None
            up_norm = self.add_norm(f"up_norm_{i}", generator_norm, outer) if i else None
            self.downs.append(Block(down, down_norm))
            self.ups.append(Block(up, up_norm))

    def _count_maps(self, step: int) -> int:
        """Return the number of feature maps after a step down; the first is step 0."""
        return min(self.width << max(step, 0), self.fmap_max)

    def call(self, x, resolution: int | None = None, alpha=None, seed=None, training=False):
        """Return the images made of x [N, H, W, input_channels].

        seed: int64 [2], which decides what is dropped in training.
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
        """Set a share `dropout` of x to zero and scale the rest, so that the mean stays."""
        kept = tf.cast(replicas.uniform(x.shape, seed) >= self.dropout, x.dtype)
        return x * kept / (1 - self.dropout)
