"""Progressive Growing of GANs (Karras et al. 2018, arXiv 1710.10196, table 2).

The blocks of all resolutions are built at once. The argument `resolution`, a Python int, selects
the blocks that are used; the weights of the other blocks are not used and do not change.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from pggan_tf.layers import (
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
from pggan_tf.networks.base import LatentNetwork, Tapered, images_per_pass
from pggan_tf.networks.blocks import Block, apply_blocks, leaky_relu
from pggan_tf.networks.refit import refit_to_image

CONVOLUTIONS = {"standard": EqualizedConv2D, "separable": SeparableConv2D}


# Gain of the layers of --modulation: their scales begin around 1 with this standard deviation.
_MODULATION_GAIN = 0.3


def _name_modulation(block: Block) -> str:
    """Return the name of the layer that modulates the output of a block."""
    return f"modulate_{block.layer.name}"


def _activate_and_normalize(x):
    """Apply LeakyReLU to x, then pixel normalisation."""
    return pixel_norm(leaky_relu(x))


@dataclass
class Stage:
    """Blocks that a network uses for one of its resolutions."""

    resolution: int
    blocks: list[Block]  # 3x3 convolutions, in the order of the forward pass
    image: Block  # 1x1 convolution between the features of this resolution and an image


class _Progressive(Tapered):
    """Base class of both networks, which consist of stages of 3x3 convolutions.

    Each convolution is followed by LeakyReLU 0.2 and pixel normalisation, by batch normalisation
    and LeakyReLU, or by LeakyReLU alone.

    Args:
        resolutions: Resolutions of the stages in pixels, in ascending order.
        channels: Number of channels of the images.
        fmap_base: Factor of the number of feature maps, see `count_maps`.
        conv: Kind of the 3x3 convolutions, a key of CONVOLUTIONS.
    """

    ARGUMENTS: tuple[str, ...] = ("conv",)
    stages: list[Stage]  # in order of ascending resolution

    def __init__(
        self, resolutions: Sequence[int], channels: int = 3, *, fmap_base: int = 8192, conv: str = "standard", **kwargs
    ):
        super().__init__(resolutions, channels, fmap_base=fmap_base, **kwargs)
        self.conv = conv

    def _list_growth(self) -> list[tuple[int, int]]:
        """Return the pairs of neighbouring resolutions (lower, higher)."""
        return list(zip(self.resolutions, self.resolutions[1:]))

    def _add_conv(self, name: str, inputs: int, maps: int, **kwargs) -> Block:
        """Add a 3x3 convolution and return a block with it."""
        return Block(self.add_layer(name, CONVOLUTIONS[self.conv], inputs, maps, dtype=self.dtype_policy, **kwargs))

    def _normalize(self, block: Block, kind: str, channels: int) -> None:
        """Add the normalisation of a block with `channels` channels and set its activation."""
        block.norm = self.add_norm(f"norm_{block.layer.name}", kind, channels)
        block.activation = _activate_and_normalize if kind == "pixel" else leaky_relu

    def stages_at(self, resolution: int) -> list[Stage]:
        """Return the stages that are used at `resolution`, in order of ascending resolution."""
        self.check_resolution(resolution)
        return [stage for stage in self.stages if stage.resolution <= resolution]


def _collect_layers(blocks: Iterable[Block], stages: Sequence[Stage], fade: bool) -> list:
    """Return the layers of the blocks, their normalisation layers and the 1x1 convolutions in use.

    The 1x1 convolution of the last stage is always in use; that of the stage before it only while
    the last stage fades in (`fade`).
    """
    blocks, images = list(blocks), [stage.image for stage in stages[-2 if fade else -1 :]]
    norms = [block.norm for block in blocks if block.norm is not None]
    return [*(block.layer for block in blocks), *norms, *(image.layer for image in images)]


@keras.saving.register_keras_serializable("pggan_tf")
class Generator(_Progressive, LatentNetwork):
    """Growing generator: latents [N, latent_size] -> images [N, H, W, channels] at any stage's size.

    The images are a linear function of the last features, so they are only roughly in -1..1. With
    batch normalisation a tanh follows, as in DCGAN: a discriminator that also uses batch
    normalisation hardly reacts to the images' contrast, which would grow without limit.
    """

    ARGUMENTS = ("generator_norm", "upsampling", "modulation")

    def __init__(
        self,
        resolutions: Sequence[int],
        channels: int = 3,
        *,
        latent_size: int = 512,
        generator_norm: str = "pixel",
        upsampling: str = "nearest",
        modulation: str = "none",
        **kwargs,
    ):
        super().__init__(resolutions, channels, latent_size=latent_size, **kwargs)
        self.generator_norm, self.upsampling, self.modulation = generator_norm, upsampling, modulation
        first, maps = self.resolutions[0], self.count_maps(self.resolutions[0])
        height, width = self.shape_at(first)
        self.add_layer("latent_norm", PixelNorm, latent_size, dtype="float32")
        # As in the paper, a quarter of the usual gain: each latent yields a whole 4x4 map.
        own = {"gain": 2**0.5 / 4, "dtype": self.dtype_policy}
        dense = self.add_layer("dense", EqualizedDense, self.label_latent_size, maps * height * width, **own)
        self.dense_block = Block(dense)
        self.stages = [Stage(first, [self._add_conv(f"conv_{first}", maps, maps)], self._add_image(first))]
        for low, high in self._list_growth():
            inputs, maps = maps, self.count_maps(high)
            up = self._add_conv(f"up_{high}", inputs, maps, up=high // low, upsampling=upsampling)
            self.stages.append(Stage(high, [up, self._add_conv(f"conv_{high}", maps, maps)], self._add_image(high)))
        if modulation == "latents":
            for block in self._list_convolutions(self.stages):
                own = {"gain": _MODULATION_GAIN, "dtype": "float32"}
                self.add_layer(
                    _name_modulation(block), EqualizedDense, self.label_latent_size, 2 * block.layer.units, **own
                )
        self._normalize(self.dense_block, generator_norm, self.count_maps(first))
        for stage in self.stages:
            for block in stage.blocks:
                self._normalize(block, generator_norm, self.count_maps(stage.resolution))

    def _list_convolutions(self, stages: Sequence[Stage]) -> list[Block]:
        """Return the blocks of the stages in the order of the forward pass."""
        return [block for stage in stages for block in stage.blocks]

    def _list_modulations(self, stages: Sequence[Stage]) -> list:
        """Return the layers that modulate the outputs of the stages; an empty list without --modulation."""
        blocks = self._list_convolutions(stages) if self.modulation == "latents" else []
        return [getattr(self, _name_modulation(block)) for block in blocks]

    def _add_image(self, resolution: int) -> Block:
        own = {"gain": 1.0, "dtype": "float32"}
        layer = self.add_layer(
            f"to_image_{resolution}", EqualizedConv2D, self.count_maps(resolution), self.channels, 1, **own
        )
        return Block(layer, activation=tf.tanh if self.generator_norm == "batch" else None)

    def build(self, input_shape=None):
        """Create the weights of all layers, and the variable `mean_features`."""
        first = self.resolutions[0]
        # For each class, the mean of `compute_first_features` over many latents.
        self.mean_features = self.add_weight(
            shape=(max(1, len(self.classes)), *self.shape_at(first), self.count_maps(first)),
            initializer="zeros",
            trainable=False,
            name="typical",  # name in checkpoints and .keras files
            autocast=False,
        )
        super().build(input_shape)

    def _order_layers(self) -> list[str]:
        # The to_image layers are initialised last, so that a seed always gives the same weights.
        return sorted(super()._order_layers(), key=lambda name: name.startswith("to_image"))

    @property
    def latent_layers(self):
        """The dense layer and those of --modulation, see `LatentNetwork.latent_layers`."""
        return [self.dense, *self._list_modulations(self.stages)]

    def compute_first_features(self, latents, labels=None, training=False):
        """Return the output of the dense block for latents, [N, 4, 4, C] for squares."""
        x = self.dense_block.layer(self.concat_label(self.latent_norm(latents), labels))  # [N,16C]
        return self.dense_block.activate(tf.reshape(x, [-1, *self.mean_features.shape[1:]]), training)

    def compute_features(self, latents, resolution: int, truncation=None, labels=None, training=False) -> list:
        """Return the output features [N, H, W, C] of each stage up to `resolution`, as a list."""
        stages = self.stages_at(resolution)
        x = self.compute_first_features(latents, labels, training)  # [N,4,4,C]
        if truncation is not None:
            mean = tf.gather(self.mean_features, labels) if self.classes else self.mean_features
            x = lerp(tf.cast(mean, x.dtype), x, truncation)
        if self.modulation == "latents":
            latents = self.latent_norm(latents)
            if truncation is not None:
                latents *= tf.cast(truncation, latents.dtype)  # their mean is 0
            latents = self.concat_label(latents, labels)
        found = []
        for stage in stages:
            for block in stage.blocks:
                x = block(x, training)  # [N,H,W,C]
                if self.modulation == "latents":
                    x = self._modulate(block, x, latents)
            found.append(x)
        return found

    def _modulate(self, block: Block, x, latents):
        """Scale and shift the output x [N, H, W, C] of a block by a linear function of the latents.

        This is self-modulation (Chen et al. 2019, arXiv 1810.01365, section 2) without a hidden layer.

        latents: normalised, with their labels, [N, label_latent_size].
        """
        units = block.layer.units
        found = tf.cast(getattr(self, _name_modulation(block))(latents), x.dtype)[:, None, None]  # [N,1,1,2C]
        return x * (1 + found[..., :units]) + found[..., units:]

    def call(self, latents, resolution: int | None = None, alpha=None, truncation=None, labels=None, training=False):
        """Generate images [N, H, W, channels] from latents.

        Args:
            latents: [N, latent_size].
            resolution: Resolution in pixels; by default that of the last stage.
            alpha: Weight in 0..1 of this stage while it fades in. None means 1, without computing
                the image of the previous stage.
            truncation: Weight in 0..1 for interpolating from `mean_features` (0) to the features of
                the dense layer (1); below 1, images are less varied and more typical. Scaling the
                latents instead would have no effect, as they are normalised.
            labels: Class indices, int64 [N]; required if the network has classes.
            training: Whether this is a step of training: batch normalisation uses the batch's statistics.
        """
        resolution = resolution or self.resolutions[-1]
        stages = self.stages_at(resolution)
        features = self.compute_features(latents, resolution, truncation, labels, training)
        image = stages[-1].image(features[-1])  # [N,H,W,channels]
        if alpha is None or len(stages) == 1:
            return image
        before = stages[-2]
        return lerp(repeat_pixels(before.image(features[-2]), resolution // before.resolution), image, alpha)

    def layers_at(self, resolution, fade):
        """Return the layers used by a forward pass at `resolution`, see `Network.layers_at`."""
        stages = self.stages_at(resolution)
        blocks = [self.dense_block, *self._list_convolutions(stages)]
        return [*_collect_layers(blocks, stages, fade), *self._list_modulations(stages)]

    def finalize(self, inputs) -> None:
        """Prepare a trained generator for use outside training.

        This computes the statistics of batch normalisation and `mean_features`, and refits the
        to_image layers of earlier stages.

        Args:
            inputs: Latents [N, latent_size].
        """
        super().finalize(inputs)
        labels = self.cycle_labels(len(inputs))
        self._set_mean_features(inputs, labels)
        refit_to_image(self, inputs, labels)

    def _set_mean_features(self, latents, labels) -> None:
        """Set `mean_features` to each class's mean of the dense block's output over the latents.

        With pixel normalisation the mean is normalised too.
        """
        classes, total = max(1, len(self.classes)), 0.0
        size = images_per_pass(self.resolutions[0])
        for i in range(0, len(latents), size):
            here = slice(i, i + size)
            x = self.compute_first_features(tf.constant(latents[here]), None if labels is None else labels[here])
            # Latent number n has the class n modulo the number of classes.
            total += tf.stack([tf.reduce_sum(x[(c - i) % classes :: classes], axis=0) for c in range(classes)])
        counts = np.bincount(np.arange(len(latents)) % classes, minlength=classes)
        mean = total / tf.constant(counts, tf.float32)[:, None, None, None]
        self.mean_features.assign(pixel_norm(mean) if self.generator_norm == "pixel" else mean)


@keras.saving.register_keras_serializable("pggan_tf")
class Discriminator(_Progressive):
    """Growing discriminator: images [N, H, W, channels] of any stage's size -> logits, float32.

    The logits are [N, 1 + classes].

    Args:
        resolutions: Resolutions of the stages in pixels, in ascending order.
        channels: Number of channels of the images.
        stddev_group: Number of images per group for `minibatch` 'stddev'; 1 turns it off.
        minibatch: Information on the other images of the batch that a logit depends on. 'stddev':
            the standard deviation of features within groups of `stddev_group` images (Karras et al.
            2018, section 3); 'discrimination': the closeness of each image to the others of the
            batch (Salimans et al. 2016, section 3.2); 'none': no such information.
        discriminator_norm: 'batch', 'pixel' or 'none'.
        spectral: Layers with spectral normalisation: 'all', 'down' (only those that reduce the
            resolution) or 'none'.
    """

    ARGUMENTS = ("stddev_group", "minibatch", "discriminator_norm", "spectral")

    def __init__(
        self,
        resolutions: Sequence[int],
        channels: int = 3,
        *,
        stddev_group: int = 4,
        minibatch: str = "stddev",
        discriminator_norm: str = "none",
        spectral: str = "none",
        **kwargs,
    ):
        super().__init__(resolutions, channels, **kwargs)
        self.minibatch, self.stddev_group = minibatch, stddev_group if minibatch == "stddev" else 1
        self.discriminator_norm, self.spectral = discriminator_norm, spectral
        every, down = {"spectral": spectral == "all"}, {"spectral": spectral != "none"}
        first, maps = self.resolutions[0], self.count_maps(self.resolutions[0])
        images = [self._add_image(r, **every) for r in self.resolutions]
        later = []
        for (low, high), image in zip(self._list_growth(), images[1:]):
            inputs = self.count_maps(high)
            conv = self._add_conv(f"conv_{high}", inputs, inputs, **every)
            shrink = self._add_conv(f"down_{high}", inputs, self.count_maps(low), down=high // low, **down)
            later.append(Stage(high, [conv, shrink], image))
        self.add_layer("minibatch_stddev", MinibatchStddev, maps, self.stddev_group, dtype=self.dtype_policy)
        conv = self._add_conv(f"conv_{first}", maps + (self.stddev_group > 1), maps, **every)
        self.stages = [Stage(first, [conv], images[0]), *later]
        units = self.count_maps(first // 2)
        inputs = math.prod(self.shape_at(first)) * maps
        dense = self.add_layer("dense", EqualizedDense, inputs, units, dtype=self.dtype_policy, **every)
        self.dense_block = Block(dense, activation=leaky_relu)
        if minibatch == "discrimination":
            layer = self.add_layer("minibatch_discrimination", MinibatchDiscrimination, units, dtype=self.dtype_policy)
            units += layer.kernels
        outputs = 1 + len(self.classes)
        self.add_layer("logits", EqualizedDense, units, outputs, gain=1.0, dtype="float32", **every)
        for block in self._list_blocks(self.stages):
            self._normalize(block, discriminator_norm, block.layer.units)

    def _add_image(self, resolution: int, **kwargs) -> Block:
        # In float32, because bfloat16 is about as coarse as the image's 256 levels.
        own = {"dtype": "float32", **kwargs}
        maps = self.count_maps(resolution)
        layer = self.add_layer(f"from_image_{resolution}", EqualizedConv2D, self.channels, maps, 1, **own)
        return Block(layer, activation=leaky_relu)

    def _list_blocks(self, stages: Sequence[Stage]) -> list[Block]:
        """Return the blocks of the stages in the order of the forward pass: last stage first."""
        return [block for stage in reversed(stages) for block in stage.blocks]

    def call(self, images, resolution: int | None = None, alpha=None, training=False):
        """Return the logits [N, 1 + classes] of images.

        Args:
            images: [N, H, W, channels].
            resolution: Resolution in pixels; by default taken from the shape of `images`.
            alpha: Weight in 0..1 of the stage of this resolution while it fades in. None means 1,
                without computing the input of the previous stage.
            training: Whether this is a step of training: batch normalisation uses the batch's statistics.
        """
        resolution = resolution or max(images.shape[1:3])
        first, *later = stages = self.stages_at(resolution)
        x = stages[-1].image(images)  # [N,H,W,C]
        for stage in reversed(later):
            x = apply_blocks(stage.blocks, x, training)  # [N,H/2,W/2,C]
            if stage.resolution == resolution and alpha is not None:
                before = stages[-2]
                old = before.image(block_mean(images, resolution // before.resolution))
                x = lerp(tf.cast(old, x.dtype), x, alpha)
        if self.stddev_group > 1:
            x = self.minibatch_stddev(x)  # [N,4,4,C+1] for squares
        x = apply_blocks(first.blocks, x, training)  # [N,4,4,C]
        x = self.dense_block(tf.reshape(x, [-1, math.prod(self.shape_at(first.resolution)) * x.shape[-1]]))
        if self.minibatch == "discrimination":
            x = self.minibatch_discrimination(x)
        return self.logits(x)

    @property
    def batch_coupling(self) -> int:
        """Number of neighbouring images of a batch that one logit depends on; 0 for all images."""
        whole = self.minibatch == "discrimination" or self.discriminator_norm == "batch"
        return 0 if whole else self.stddev_group

    def layers_at(self, resolution, fade):
        """Return the layers used by a forward pass at `resolution`, see `Network.layers_at`."""
        stages = self.stages_at(resolution)
        layers = [*_collect_layers(self._list_blocks(stages), stages, fade), self.dense, self.logits]
        return [*layers, self.minibatch_discrimination] if self.minibatch == "discrimination" else layers
