"""U-Net of pix2pix (Isola et al. 2017, section 6.1.1, after Ronneberger et al. 2015): convolutions of 4x4 with stride 2 down to one
pixel and up again, each step up joined with the features of its size on the way down."""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf import replicas
from pggan_tf.layers import EqualizedConv2D
from pggan_tf.networks.base import ImageNetwork, leaky, normalization

DROPPED = 3  # steps up with dropout


@keras.saving.register_keras_serializable("pggan_tf", "UNet")
class Generator(ImageNetwork):
    """Images to images of the same size, in -1..1. width: feature maps of the first layer; each step down doubles them, to
    `fmap_max` at most. generator_norm: batch, group or none. dropout: rate in the three smallest steps up, in training."""

    def __init__(
        self,
        resolutions,
        channels,
        given_channels,
        task,
        width=64,
        fmap_max=512,
        generator_norm="batch",
        dropout=0.5,
        **kwargs,
    ):
        super().__init__(resolutions, channels, given_channels, task, **kwargs)
        self.width, self.fmap_max, self.generator_norm, self.dropout = width, fmap_max, generator_norm, dropout
        dtype = self.dtype_policy
        (last,) = self.resolutions
        self.depth = last.bit_length() - 1
        self.multiple = last
        plain = {"kernel_size": 4, "stride": 2, "gain": None}
        for i in range(self.depth):
            self._layer(EqualizedConv2D, f"down_{i}", self._maps(i), dtype="float32" if i == 0 else dtype, **plain)
            units = self._maps(i - 1) if i else channels
            up = {**plain, "transposed": True, "dtype": dtype if i else "float32"}
            self._layer(EqualizedConv2D, f"up_{i}", units, **up)
            # None at the image itself, and none of a single pixel: it would be all there is of its group.
            if 0 < i < self.depth - 1:
                self._norm(f"down_norm_{i}", self._maps(i))
            if i:
                self._norm(f"up_norm_{i}", units)

    def _maps(self, i: int) -> int:
        """Feature maps at the end of step down number i."""
        return min(self.width << i, self.fmap_max)

    def _norm(self, name: str, maps: int) -> None:
        layer = normalization(self.generator_norm, maps, name, self.dtype_policy)
        if layer:
            setattr(self, name, layer)

    def build(self, input_shape=None):
        (size,) = self.resolutions
        for i in range(self.depth):
            given = self._maps(i - 1) if i else self.given_channels
            getattr(self, f"down_{i}").build((None, size >> i, size >> i, given))
            joined = self._maps(i) * (1 if i == self.depth - 1 else 2)
            getattr(self, f"up_{i}").build((None, size >> i + 1, size >> i + 1, joined))
            for name, maps, side in ((f"down_norm_{i}", self._maps(i), i + 1), (f"up_norm_{i}", given, i)):
                if hasattr(self, name):
                    getattr(self, name).build((None, size >> side, size >> side, maps))
        self.built = True

    def _normalized(self, name: str, x, training):
        return getattr(self, name)(x, training=training) if hasattr(self, name) else x

    def call(self, x, resolution: int | None = None, alpha=None, seed=None, training=False):
        """seed: int64 [2], what dropout follows from; only looked at in training."""
        skips = []
        for i in range(self.depth):
            x = getattr(self, f"down_{i}")(leaky(x) if i else x)  # [N,H/2,W/2,C]
            x = self._normalized(f"down_norm_{i}", x, training)
            skips.append(x)
        x = skips.pop()
        for i in reversed(range(self.depth)):
            x = getattr(self, f"up_{i}")(tf.nn.relu(x))  # [N,2H,2W,C]
            if i:
                x = self._normalized(f"up_norm_{i}", x, training)
                if training and self.dropout and i >= self.depth - DROPPED:
                    own = replicas.seed_for(seed, i)
                    kept = tf.cast(replicas.uniform(x.shape, own) >= self.dropout, x.dtype)
                    x = x * kept / (1 - self.dropout)
                skip = skips.pop()
                x = tf.concat([x, tf.cast(skip, x.dtype)], axis=-1)
        return tf.tanh(x)

    def get_config(self):
        own = ("width", "fmap_max", "generator_norm", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
