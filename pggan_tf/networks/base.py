"""What every generator and discriminator offers, whatever it is made of."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from pggan_tf.layers import BatchNorm

LEAK = 0.2
_MEASURED_PIXELS = 1 << 21  # of the images that statistics are measured on
_PASS_PIXELS = 1 << 16  # of maps at a time: 256 of them are 64 MB
_PASS_IMAGES = 8  # or as many images, if that is more


def width(resolution: int, fmap_base: int, fmap_max: int) -> int:
    """Feature maps of the layers at `resolution` pixels: min(fmap_base / 2^(r-1), fmap_max) for 2^r pixels."""
    return max(1, min(2 * fmap_base // resolution, fmap_max))


def images_at_once(resolution: int) -> int:
    """How many images of so many pixels go through a network together where a whole set of them is measured."""
    return max(_PASS_IMAGES, _PASS_PIXELS // resolution**2)


def leaky(x):
    return tf.nn.leaky_relu(x, LEAK)


def normalization(kind: str, maps: int, name: str, dtype):
    """The layer of --generator-norm and --discriminator-norm: 'batch', 'group' (Wu and He 2018, 32 groups), or None."""
    if kind == "batch":
        return BatchNorm(name=name, dtype=dtype)
    if kind == "group":
        groups = next(g for g in range(min(32, maps), 0, -1) if maps % g == 0)
        return keras.layers.GroupNormalization(groups, epsilon=BatchNorm.EPSILON, name=name, dtype=dtype)
    return None


class Network(keras.Model):
    """resolutions: those that it can run at; one for networks that do not grow. channels: of the images that it makes or sees.

    Layers are held as attributes, because tf.train.Checkpoint and `.keras` files skip layers that sit in lists. All are
    built at once; `layers_at` says which of them a pass uses.
    """

    classes: Sequence[str] = ()

    def __init__(self, resolutions: Sequence[int], channels: int, **kwargs):
        # Without autocast: images and the fade's weight enter as they are, and each layer casts for itself.
        super().__init__(autocast=False, **kwargs)
        self.resolutions, self.channels = tuple(resolutions), channels

    def _layer(self, kind, name: str, *args, **kwargs):
        """A layer as an attribute. Its name is given: Keras' own would count the layers of the whole process."""
        setattr(self, name, kind(*args, name=name, **kwargs))

    def _check(self, resolution: int):
        if resolution not in self.resolutions:
            raise ValueError(f"resolution {resolution}: this network has {', '.join(map(str, self.resolutions))}.")

    def layers_at(self, resolution: int, fade: bool) -> list:
        """The layers whose weights a pass at `resolution` uses."""
        self._check(resolution)
        return [layer for layer in self._flatten_layers(include_self=False) if layer.trainable_variables]

    def variables_at(self, resolution: int, fade: bool) -> list:
        """The weights that a pass at `resolution` trains."""
        return [v for layer in self.layers_at(resolution, fade) for v in layer.trainable_variables]

    def norms(self) -> list:
        """The layers of batch normalisation."""
        return [layer for layer in self._flatten_layers(include_self=False) if isinstance(layer, BatchNorm)]

    def kept_variables(self) -> list:
        """Those that a run has to keep: all but the statistics of batch normalisation, which are measured anew."""
        measured = {id(v) for layer in self.norms() for v in layer.non_trainable_variables}
        return [v for v in self.variables if id(v) not in measured]

    def advance(self) -> None:
        """Call after every update: one step of power iteration for spectrally normalised layers."""
        for layer in self._flatten_layers(include_self=False):
            if getattr(layer, "spectral", False):
                layer.advance()

    maps = False  # whether a discriminator gives a map of logits for each image

    @property
    def sample_group(self) -> int:
        """How many neighbours of a batch one of its logits depends on: 1 for each by itself, 0 for the whole batch."""
        return 0 if self.norms() else 1

    def settle(self, inputs) -> None:
        """Makes a trained generator ready for use outside training, by what it does with these inputs [N, ...]."""
        self.measure(inputs)

    def _measured(self, some, resolution: int, first: int) -> None:
        """A pass in which batch normalisation measures its statistics, on inputs from number `first` on."""
        self(some, resolution=resolution)

    def measure(self, inputs, resolution: int | None = None) -> None:
        """Measures the statistics of batch normalisation on these inputs (those of 2 M pixels of images, or 32), for use outside
        training: of all layers that a pass at `resolution` has.

        In batches of one size, for memory's sake, each normalised by its own statistics; what is kept is the mean and the
        variance over all of them (Wu and Johnson 2021, https://arxiv.org/abs/2105.07576, section 3). What makes no whole batch,
        fewer inputs than there are batches, is left out.
        """
        norms = self.norms()
        if not norms:
            return
        resolution = resolution or self.resolutions[-1]
        inputs = inputs[: max(32, _MEASURED_PIXELS // resolution**2)]
        size = len(inputs) // math.ceil(len(inputs) / images_at_once(resolution))
        for layer in norms:
            layer.measured = collections.deque()  # a list Keras would take for state, and track
        try:
            for i in range(0, len(inputs) - size + 1, size):
                self._measured(tf.constant(inputs[i : i + size]), resolution, i)
            for layer in norms:
                layer.keep_measured()
        finally:
            for layer in norms:
                layer.measured = None

    def get_config(self):
        return {**super().get_config(), "resolutions": list(self.resolutions), "channels": self.channels}


class Tapered(Network):
    """Fewer feature maps the more pixels there are, see `width`. classes: names of what a conditional network tells apart, or
    empty."""

    def __init__(self, resolutions, channels, fmap_base: int, fmap_max: int, classes: Sequence[str] = (), **kwargs):
        super().__init__(resolutions, channels, **kwargs)
        self.fmap_base, self.fmap_max, self.classes = fmap_base, fmap_max, tuple(classes)

    def _width(self, resolution: int) -> int:
        return width(resolution, self.fmap_base, self.fmap_max)

    def get_config(self):
        own = {"fmap_base": self.fmap_base, "fmap_max": self.fmap_max, "classes": list(self.classes)}
        return {**super().get_config(), **own}


class LatentNetwork(Tapered):
    """A generator: latents [N, latent_size] ~ N(0, 1), and labels int64 [N] where it has classes -> images [N, R, R, channels],
    float32, -1..1."""

    latent_size: int
    task = "generate"

    def joined(self, latents, labels):
        """What the first layer takes: latents, and classes where there are any. [N, latent_size + classes]. A class is one-hot,
        and as long as the latent usually is: among a hundred numbers of size 1, a single 1 would hardly be heard."""
        if not self.classes:
            return latents
        if labels is None:
            raise ValueError(f"labels: this generator makes {', '.join(self.classes)}; say which, as int64 [N].")
        length = self.latent_size**0.5
        return tf.concat([latents, tf.one_hot(labels, len(self.classes), length, dtype=latents.dtype)], axis=1)

    def spread_labels(self, count: int, first: int = 0):
        """Every class equally often, int64 [count], for inputs from number `first` on; None where there are none."""
        return tf.range(first, first + count, dtype=tf.int64) % len(self.classes) if self.classes else None

    def _measured(self, some, resolution, first) -> None:
        self(some, resolution=resolution, labels=self.spread_labels(len(some), first))


class ImageNetwork(Network):
    """A generator of images from images: [N, H, W, given_channels] -> [N, H', W', channels], float32, any H and W that are
    multiples of `multiple`. task: what it was made for, see tasks.py; scale: H' / H."""

    multiple = 1
    scale = 1

    def __init__(self, resolutions, channels: int, given_channels: int, task: str, **kwargs):
        super().__init__(resolutions, channels, **kwargs)
        self.given_channels, self.task = given_channels, task

    def _measured(self, some, resolution, first) -> None:
        self(some)

    def get_config(self):
        return {**super().get_config(), "given_channels": self.given_channels, "task": self.task}
