"""Generator and discriminator of Progressive Growing of GANs (Karras et al. 2018, arXiv 1710.10196, table 2).

All blocks of the final resolution are built at once. `resolution`, a Python int, says which of them run; the weights of
the others neither matter nor change.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf.layers import EqualizedConv2D, EqualizedDense, MinibatchStddev, PixelNorm, block_mean, lerp, repeat_pixels
from pggan_tf.networks.base import LatentNetwork, Network, leaky


class _Progressive(Network):
    def _steps(self):
        """(lower, higher) for every growth."""
        return list(zip(self.resolutions, self.resolutions[1:]))


@keras.saving.register_keras_serializable("pggan_tf")
class Generator(_Progressive, LatentNetwork):
    """Images are linear in the last features: about -1..1, not clipped."""

    def __init__(
        self,
        resolutions,
        channels: int = 3,
        fmap_base: int = 8192,
        fmap_max: int = 512,
        latent_size: int = 512,
        classes=(),
        **kwargs,
    ):
        super().__init__(resolutions, channels, fmap_base, fmap_max, classes, **kwargs)
        self.latent_size = latent_size
        dtype = self.dtype_policy
        first = self.resolutions[0]
        self._layer(PixelNorm, "pixel_norm", dtype=dtype)
        self._layer(PixelNorm, "latent_norm", dtype="float32")
        # A quarter of the usual gain: the paper's, for a dense layer whose output is a whole 4x4 map.
        self._layer(EqualizedDense, "dense", self._width(first) * first * first, gain=2**0.5 / 4, dtype=dtype)
        self._layer(EqualizedConv2D, f"conv_{first}", self._width(first), dtype=dtype)
        self._layer(EqualizedConv2D, f"to_image_{first}", channels, 1, gain=1.0, dtype="float32")
        for low, high in self._steps():
            self._layer(EqualizedConv2D, f"up_{high}", self._width(high), up=high // low, dtype=dtype)
            self._layer(EqualizedConv2D, f"conv_{high}", self._width(high), dtype=dtype)
            self._layer(EqualizedConv2D, f"to_image_{high}", channels, 1, gain=1.0, dtype="float32")

    def build(self, input_shape=None):
        first = self.resolutions[0]
        shape = (first, first, self._width(first))
        # The direction of the mean of the first feature maps over many latents; `synthesis.finish` fills it in when training is over.
        self.typical = self.add_weight(
            shape=shape, initializer="zeros", trainable=False, name="typical", autocast=False
        )
        self.dense.build((None, self.latent_size + len(self.classes)))
        getattr(self, f"conv_{first}").build((None, first, first, self._width(first)))
        for low, high in self._steps():
            getattr(self, f"up_{high}").build((None, low, low, self._width(low)))
            getattr(self, f"conv_{high}").build((None, high, high, self._width(high)))
        for r in self.resolutions:
            getattr(self, f"to_image_{r}").build((None, r, r, self._width(r)))
        self.built = True

    def first_maps(self, latents, labels=None):
        """latents -> [N, 4, 4, C]: what the dense layer gives, activated and normalised."""
        x = self.dense(self.joined(self.latent_norm(latents), labels))  # [N,4*4*C]
        return self.pixel_norm(leaky(tf.reshape(x, [-1, *self.typical.shape])))

    def features(self, latents, resolution: int, truncation=None, labels=None) -> list:
        """latents -> the feature maps [N, R, R, C] of every stage up to `resolution`, from which images are made."""
        self._check(resolution)
        first = self.resolutions[0]
        x = self.first_maps(latents, labels)
        if truncation is not None:
            x = lerp(tf.cast(self.typical, x.dtype), x, truncation)
        x = self.pixel_norm(leaky(getattr(self, f"conv_{first}")(x)))  # [N,4,4,C]
        stages = [x]
        for _, high in self._steps():
            if high > resolution:
                break
            x = self.pixel_norm(leaky(getattr(self, f"up_{high}")(x)))  # [N,2R,2R,C]
            x = self.pixel_norm(leaky(getattr(self, f"conv_{high}")(x)))
            stages.append(x)
        return stages

    def call(self, latents, resolution: int | None = None, alpha=None, truncation=None, labels=None, training=False):
        """alpha: weight 0..1 of the block of `resolution`; None runs without the fade's second path.

        truncation: 0..1, where the first feature maps lie between `typical` and their own: below 1, less varied and more
        typical images. (The latents themselves are normalised: shortening them would do nothing.)
        """
        resolution = resolution or self.resolutions[-1]
        stages = self.features(latents, resolution, truncation, labels)
        image = getattr(self, f"to_image_{resolution}")(stages[-1])  # [N,R,R,channels]
        if alpha is None or len(stages) == 1:
            return image
        previous = self.resolutions[len(stages) - 2]
        old = getattr(self, f"to_image_{previous}")(stages[-2])
        return lerp(repeat_pixels(old, resolution // previous), image, alpha)

    def layers_at(self, resolution, fade):
        self._check(resolution)
        names = ["dense"] + [f"conv_{r}" for r in self.resolutions if r <= resolution]
        names += [f"up_{r}" for r in self.resolutions[1:] if r <= resolution]
        images = [r for r in self.resolutions if r <= resolution][-2 if fade else -1 :]
        return [getattr(self, name) for name in names + [f"to_image_{r}" for r in images]]

    def get_config(self):
        return {**super().get_config(), "latent_size": self.latent_size}


@keras.saving.register_keras_serializable("pggan_tf")
class Discriminator(_Progressive):
    """Images [N, R, R, channels] -> logits [N, 1 + classes], float32."""

    def __init__(
        self,
        resolutions,
        channels: int = 3,
        fmap_base: int = 8192,
        fmap_max: int = 512,
        stddev_group: int = 4,
        classes=(),
        **kwargs,
    ):
        super().__init__(resolutions, channels, fmap_base, fmap_max, classes, **kwargs)
        self.stddev_group = stddev_group
        dtype = self.dtype_policy
        first = self.resolutions[0]
        for r in self.resolutions:
            # In float32: an image rounded to bfloat16 has steps as large as its own 256 levels.
            self._layer(EqualizedConv2D, f"from_image_{r}", self._width(r), 1, dtype="float32")
        for low, high in self._steps():
            self._layer(EqualizedConv2D, f"conv_{high}", self._width(high), dtype=dtype)
            self._layer(EqualizedConv2D, f"down_{high}", self._width(low), down=high // low, dtype=dtype)
        self._layer(MinibatchStddev, "minibatch_stddev", stddev_group, dtype=dtype)
        self._layer(EqualizedConv2D, f"conv_{first}", self._width(first), dtype=dtype)
        self._layer(EqualizedDense, "dense", self._width(first // 2), dtype=dtype)
        self._layer(EqualizedDense, "logits", 1 + len(self.classes), gain=1.0, dtype="float32")

    def build(self, input_shape=None):
        first = self.resolutions[0]
        for r in self.resolutions:
            getattr(self, f"from_image_{r}").build((None, r, r, self.channels))
        for _low, high in self._steps():
            getattr(self, f"conv_{high}").build((None, high, high, self._width(high)))
            getattr(self, f"down_{high}").build((None, high, high, self._width(high)))
        c = self._width(first)
        getattr(self, f"conv_{first}").build((None, first, first, c + (self.stddev_group > 1)))
        self.dense.build((None, first * first * c))
        self.logits.build((None, self._width(first // 2)))
        self.built = True

    def call(self, images, resolution: int | None = None, alpha=None, training=False):
        resolution = resolution or images.shape[1]
        self._check(resolution)
        first = self.resolutions[0]
        x = leaky(getattr(self, f"from_image_{resolution}")(images))  # [N,R,R,C]
        for low, high in reversed(self._steps()):
            if high > resolution:
                continue
            x = leaky(getattr(self, f"conv_{high}")(x))
            x = leaky(getattr(self, f"down_{high}")(x))  # [N,R/2,R/2,C]
            if high == resolution and alpha is not None:
                old = leaky(getattr(self, f"from_image_{low}")(block_mean(images, high // low)))
                x = lerp(tf.cast(old, x.dtype), x, alpha)
        if self.stddev_group > 1:
            x = self.minibatch_stddev(x)  # [N,4,4,C+1]
        x = leaky(getattr(self, f"conv_{first}")(x))
        x = leaky(self.dense(tf.reshape(x, [-1, first * first * x.shape[-1]])))
        return self.logits(x)

    @property
    def sample_group(self) -> int:
        return self.stddev_group

    def layers_at(self, resolution, fade):
        self._check(resolution)
        used = [r for r in self.resolutions if r <= resolution]
        names = [f"from_image_{r}" for r in used[-2 if fade else -1 :]]
        names += [f"conv_{r}" for r in used] + [f"down_{r}" for r in used[1:]] + ["dense", "logits"]
        return [getattr(self, name) for name in names]

    def get_config(self):
        return {**super().get_config(), "stddev_group": self.stddev_group}
