"""Generator and discriminator of Progressive Growing of GANs (Karras et al. 2018, arXiv 1710.10196, table 2).

All blocks of the final resolution are built at once. `resolution`, a Python int, says which of them run; the weights of
the others neither matter nor change.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from pggan_tf.layers import (
    BatchNorm,
    EqualizedConv2D,
    EqualizedDense,
    MinibatchDiscrimination,
    MinibatchStddev,
    PixelNorm,
    SeparableConv2D,
    block_mean,
    lerp,
    pixel_norm,
    repeat_pixels,
)
from pggan_tf.networks.base import LatentNetwork, Tapered, images_at_once, leaky

_REFIT_IMAGES = 512
CONVOLUTIONS = {"standard": EqualizedConv2D, "separable": SeparableConv2D}


class _Progressive(Tapered):
    """Blocks of 3x3 convolutions, each followed by LeakyReLU 0.2 and pixel normalisation, or by batch normalisation and
    LeakyReLU, or by LeakyReLU alone."""

    def _steps(self):
        """(lower, higher) for every growth."""
        return list(zip(self.resolutions, self.resolutions[1:]))

    def _norms(self, names: list[str], kind: str) -> None:
        """A normalisation of its own for every named block, where the kind has weights."""
        self._kind_of_norm, self._normed = kind, tuple(names)
        for name in self._norms_of(names):
            self._layer(BatchNorm, name, dtype=self.dtype_policy)

    def _norms_of(self, names: list[str]) -> list[str]:
        return [f"norm_{name}" for name in names] if self._kind_of_norm == "batch" else []

    def _build_norms(self, widths: dict[str, int]) -> None:
        for name, units in widths.items():
            for norm in self._norms_of([name]):
                getattr(self, norm).build((None, None, None, units))

    def _activated(self, name: str, x, training: bool):
        if self._kind_of_norm == "batch":
            return leaky(getattr(self, f"norm_{name}")(x, training=training))
        return pixel_norm(leaky(x)) if self._kind_of_norm == "pixel" else leaky(x)


def _resolution_of(name: str, first: int) -> int:
    """'conv_16' -> 16; 'dense', which makes the first maps, -> `first`."""
    return int(name.rpartition("_")[2]) if "_" in name else first


@keras.saving.register_keras_serializable("pggan_tf")
class Generator(_Progressive, LatentNetwork):
    """Images are linear in the last features: about -1..1, not clipped. With batch normalisation they end in tanh, as DCGAN's do: a
    discriminator that is normalised as well hardly sees how strong their contrast is, and would let it grow without end."""

    def __init__(
        self,
        resolutions,
        channels: int = 3,
        fmap_base: int = 8192,
        fmap_max: int = 512,
        latent_size: int = 512,
        generator_norm: str = "pixel",
        conv: str = "standard",
        classes=(),
        **kwargs,
    ):
        super().__init__(resolutions, channels, fmap_base, fmap_max, classes, **kwargs)
        self.latent_size, self.generator_norm, self.conv = latent_size, generator_norm, conv
        dtype, block = self.dtype_policy, CONVOLUTIONS[conv]
        first = self.resolutions[0]
        self._layer(PixelNorm, "latent_norm", dtype="float32")
        # A quarter of the usual gain: the paper's, for a dense layer whose output is a whole 4x4 map.
        self._layer(EqualizedDense, "dense", self._width(first) * first * first, gain=2**0.5 / 4, dtype=dtype)
        self._layer(block, f"conv_{first}", self._width(first), dtype=dtype)
        self._layer(EqualizedConv2D, f"to_image_{first}", channels, 1, gain=1.0, dtype="float32")
        for low, high in self._steps():
            self._layer(block, f"up_{high}", self._width(high), up=high // low, dtype=dtype)
            self._layer(block, f"conv_{high}", self._width(high), dtype=dtype)
            self._layer(EqualizedConv2D, f"to_image_{high}", channels, 1, gain=1.0, dtype="float32")
        self._norms(["dense", *self._blocks(self.resolutions[-1])], generator_norm)

    def build(self, input_shape=None):
        first = self.resolutions[0]
        shape = (max(1, len(self.classes)), first, first, self._width(first))
        # The mean of the first feature maps over many latents, for each class; `settle` fills it in when training is over.
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
        self._build_norms({name: self._width(_resolution_of(name, first)) for name in self._normed})
        self.built = True

    def _blocks(self, resolution: int) -> list[str]:
        """The 3x3 convolutions of a pass at `resolution`, in order."""
        names = [f"conv_{self.resolutions[0]}"]
        for r in self.resolutions[1:]:
            names += [f"up_{r}", f"conv_{r}"] if r <= resolution else []
        return names

    def first_maps(self, latents, labels=None, training=False):
        """latents -> [N, 4, 4, C]: what the dense layer gives, activated and normalised."""
        x = self.dense(self.joined(self.latent_norm(latents), labels))  # [N,4*4*C]
        return self._activated("dense", tf.reshape(x, [-1, *self.typical.shape[1:]]), training)

    def features(self, latents, resolution: int, truncation=None, labels=None, training=False) -> list:
        """latents -> the feature maps [N, R, R, C] of every stage up to `resolution`, from which images are made."""
        self._check(resolution)
        x = self.first_maps(latents, labels, training)  # [N,4,4,C]
        if truncation is not None:
            typical = tf.gather(self.typical, labels) if self.classes else self.typical
            x = lerp(tf.cast(typical, x.dtype), x, truncation)
        stages = []
        for name in self._blocks(resolution):
            x = self._activated(name, getattr(self, name)(x), training)  # up: [N,2R,2R,C]
            if name.startswith("conv"):
                stages.append(x)
        return stages

    def settle(self, latents):
        """`typical` becomes the normalised mean of the first feature maps, for truncation. And every stage below the last gets
        its to_image layer anew: those stood still when the next stage faded in, while the blocks beneath them went on to
        learn. By least squares over the first of the latents they now show what the last stage shows, at their own resolution.
        """
        super().settle(latents)
        labels = self.spread_labels(len(latents))
        classes, total = max(1, len(self.classes)), 0.0
        at_once = images_at_once(self.resolutions[0])
        for i in range(0, len(latents), at_once):
            here = slice(i, i + at_once)
            first = self.first_maps(tf.constant(latents[here]), None if labels is None else labels[here])
            # The labels go round and round.
            total += tf.stack([tf.reduce_sum(first[(c - i) % classes :: classes], axis=0) for c in range(classes)])
        counts = np.bincount(np.arange(len(latents)) % classes, minlength=classes)
        mean = total / tf.constant(counts, tf.float32)[:, None, None, None]
        self.typical.assign(pixel_norm(mean) if self.generator_norm == "pixel" else mean)
        last, products = self.resolutions[-1], {r: 0.0 for r in self.resolutions[:-1]}
        run = tf.function(
            lambda z, y: (self.features(z, last, labels=y), self(z, resolution=last, labels=y)), autograph=False
        )
        for i in range(0, min(len(latents), _REFIT_IMAGES), 16):
            stages, picture = run(tf.constant(latents[i : i + 16]), None if labels is None else labels[i : i + 16])
            for r, x in zip(self.resolutions[:-1], stages):
                x = x.numpy().reshape(-1, x.shape[-1]).astype(np.float64)
                x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
                f = last // r
                y = picture.numpy().reshape(-1, r, f, r, f, self.channels).mean((2, 4)).reshape(-1, self.channels)
                y = np.arctanh(y.clip(-0.99, 0.99)) if self.generator_norm == "batch" else y
                products[r] += np.concatenate([x.T @ x, x.T @ y], axis=1)
        for r, product in products.items():
            left, right = product[:, : -self.channels], product[:, -self.channels :]
            ridge = 1e-6 * np.trace(left) / len(left) * np.eye(len(left))
            solution = np.linalg.lstsq(left + ridge, right, rcond=None)[0]
            getattr(self, f"to_image_{r}").set_effective(solution[None, None, :-1], solution[-1])

    def call(self, latents, resolution: int | None = None, alpha=None, truncation=None, labels=None, training=False):
        """alpha: weight 0..1 of the block of `resolution`; None runs without the fade's second path.

        truncation: 0..1, where the first feature maps lie between `typical` and their own: below 1, less varied and more
        typical images. (The latents themselves are normalised: shortening them would do nothing.)
        """
        resolution = resolution or self.resolutions[-1]
        stages = self.features(latents, resolution, truncation, labels, training)
        image = self._image(resolution, stages[-1])  # [N,R,R,channels]
        if alpha is None or len(stages) == 1:
            return image
        previous = self.resolutions[len(stages) - 2]
        old = self._image(previous, stages[-2])
        return lerp(repeat_pixels(old, resolution // previous), image, alpha)

    def _image(self, resolution: int, x):
        image = getattr(self, f"to_image_{resolution}")(x)
        return tf.tanh(image) if self.generator_norm == "batch" else image

    def layers_at(self, resolution, fade):
        self._check(resolution)
        names = ["dense", *self._blocks(resolution)]
        images = [r for r in self.resolutions if r <= resolution][-2 if fade else -1 :]
        return [getattr(self, n) for n in [*names, *self._norms_of(names), *(f"to_image_{r}" for r in images)]]

    def get_config(self):
        own = {"latent_size": self.latent_size, "generator_norm": self.generator_norm, "conv": self.conv}
        return {**super().get_config(), **own}


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
        minibatch: str = "stddev",
        discriminator_norm: str = "none",
        spectral: str = "none",
        conv: str = "standard",
        classes=(),
        **kwargs,
    ):
        super().__init__(resolutions, channels, fmap_base, fmap_max, classes, **kwargs)
        self.minibatch, self.stddev_group = minibatch, stddev_group if minibatch == "stddev" else 1
        self.discriminator_norm, self.spectral_norm, self.conv = discriminator_norm, spectral, conv
        dtype, block = self.dtype_policy, CONVOLUTIONS[conv]
        everywhere, down = {"spectral": spectral == "all"}, {"spectral": spectral != "none"}
        first = self.resolutions[0]
        for r in self.resolutions:
            # In float32: an image rounded to bfloat16 has steps as large as its own 256 levels.
            self._layer(EqualizedConv2D, f"from_image_{r}", self._width(r), 1, dtype="float32", **everywhere)
        for low, high in self._steps():
            self._layer(block, f"conv_{high}", self._width(high), dtype=dtype, **everywhere)
            self._layer(block, f"down_{high}", self._width(low), down=high // low, dtype=dtype, **down)
        self._layer(MinibatchStddev, "minibatch_stddev", self.stddev_group, dtype=dtype)
        self._layer(block, f"conv_{first}", self._width(first), dtype=dtype, **everywhere)
        self._layer(EqualizedDense, "dense", self._width(first // 2), dtype=dtype, **everywhere)
        if minibatch == "discrimination":
            self._layer(MinibatchDiscrimination, "minibatch_discrimination", dtype=dtype)
        self._layer(EqualizedDense, "logits", 1 + len(self.classes), gain=1.0, dtype="float32", **everywhere)
        self._norms(self._blocks(self.resolutions[-1]), discriminator_norm)

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
        features = self._width(first // 2)
        if self.minibatch == "discrimination":
            self.minibatch_discrimination.build((None, features))
            features += self.minibatch_discrimination.kernels
        self.logits.build((None, features))
        lower = {f"down_{high}": low for low, high in self._steps()}
        self._build_norms({name: self._width(lower.get(name) or _resolution_of(name, first)) for name in self._normed})
        self.built = True

    def _blocks(self, resolution: int) -> list[str]:
        """The 3x3 convolutions of a pass at `resolution`, in order."""
        names = [f"conv_{self.resolutions[0]}"]
        for r in self.resolutions[1:]:
            names = [f"conv_{r}", f"down_{r}", *names] if r <= resolution else names
        return names

    def call(self, images, resolution: int | None = None, alpha=None, training=False):
        resolution = resolution or images.shape[1]
        self._check(resolution)
        first = self.resolutions[0]
        x = leaky(getattr(self, f"from_image_{resolution}")(images))  # [N,R,R,C]
        for low, high in reversed(self._steps()):
            if high > resolution:
                continue
            for name in (f"conv_{high}", f"down_{high}"):
                x = self._activated(name, getattr(self, name)(x), training)  # down: [N,R/2,R/2,C]
            if high == resolution and alpha is not None:
                old = leaky(getattr(self, f"from_image_{low}")(block_mean(images, high // low)))
                x = lerp(tf.cast(old, x.dtype), x, alpha)
        if self.stddev_group > 1:
            x = self.minibatch_stddev(x)  # [N,4,4,C+1]
        x = self._activated(f"conv_{first}", getattr(self, f"conv_{first}")(x), training)
        x = leaky(self.dense(tf.reshape(x, [-1, first * first * x.shape[-1]])))
        if self.minibatch == "discrimination":
            x = self.minibatch_discrimination(x)
        return self.logits(x)

    @property
    def sample_group(self) -> int:
        return 0 if self.minibatch == "discrimination" or self.discriminator_norm == "batch" else self.stddev_group

    def layers_at(self, resolution, fade):
        self._check(resolution)
        used = [r for r in self.resolutions if r <= resolution][-2 if fade else -1 :]
        names = self._blocks(resolution)
        names += [*self._norms_of(names), *(f"from_image_{r}" for r in used), "dense", "logits"]
        names += ["minibatch_discrimination"] if self.minibatch == "discrimination" else []
        return [getattr(self, name) for name in names]

    def get_config(self):
        own = ("stddev_group", "minibatch", "discriminator_norm", "conv")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}, "spectral": self.spectral_norm}
