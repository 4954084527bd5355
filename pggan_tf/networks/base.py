"""Base classes of all networks: how they declare, build, list and save their layers."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from pggan_tf.layers import BatchNorm

_MAX_GROUPS = 32  # groups of group normalisation (Wu and He 2018, section 4.1)
_CALIBRATION_PIXELS = 1 << 21  # pixels of all images that batch statistics are computed on
_CALIBRATION_INPUTS = 32  # or as many images, if that is more
_PASS_PIXELS = 1 << 16  # pixels of the images of one pass: in 256 feature maps they take 64 MB
_PASS_IMAGES = 8  # or as many images, if that is more
_SAVED_NAMES = {"input_channels": "given_channels"}  # arguments with another name in .keras files


def count_maps(resolution: int, fmap_base: int, fmap_max: int) -> int:
    """Return the number of feature maps of the layers at `resolution` pixels.

    It is min(fmap_base / 2^(r-1), fmap_max) for a resolution of 2^r (Karras et al. 2018, table 2).
    """
    return max(1, min(2 * fmap_base // resolution, fmap_max))


def images_per_pass(resolution: int) -> int:
    """Return how many images of `resolution` pixels a network takes at once, to bound memory."""
    return max(_PASS_IMAGES, _PASS_PIXELS // resolution**2)


class Network(keras.Model):
    """A generator or discriminator for images of `channels` channels.

    A subclass declares its layers in `__init__`, by `add_layer` and `add_norm`, uses them in `call`
    and names the constructor's arguments that it adds in ARGUMENTS. Each layer is an attribute,
    because tf.train.Checkpoint and .keras files skip layers in lists. All layers are built at once;
    a network that grows overrides `layers_at`.

    resolutions: sizes in pixels that the network runs at, in ascending order; a network that does
    not grow has one.
    """

    ARGUMENTS: tuple[str, ...] = ("resolutions", "channels")
    """Arguments of the constructor that a class adds; each is an attribute and in .keras files."""
    classes: Sequence[str] = ()
    """Names of the classes of a conditional network."""
    patch_logits = False
    """Whether a discriminator returns several logits for an image, [N, h, w, 1]."""

    def __init__(self, resolutions: Sequence[int], channels: int, **kwargs):
        # Without autocast: images and alpha enter as they are, and each layer casts for itself.
        super().__init__(autocast=False, **kwargs)
        self.resolutions, self.channels = tuple(resolutions), channels
        self._input_channels: dict[str, int] = {}  # by layer, as declared

    def add_layer(self, name: str, kind: Callable[..., Any], inputs: int, *args, **kwargs) -> Any:
        """Make the layer `kind(*args, **kwargs)`, hold it as the attribute `name` and return it.

        inputs: number of channels that the layer takes. The order of declaration is the order of
        the network's variables and, through the seed, decides their first values.
        """
        # Named here: the names that Keras makes up count all layers of the process.
        layer = kind(*args, name=name, **kwargs)
        setattr(self, name, layer)
        self._input_channels[name] = inputs
        return layer

    def add_norm(self, name: str, kind: str, channels: int) -> Any:
        """Declare the layer of --generator-norm or --discriminator-norm.

        kind: 'batch', or 'group' (Wu and He 2018), with the largest number of groups up to 32 that
        divides `channels`. Other kinds have no layer: returns None.
        """
        if kind == "batch":
            return self.add_layer(name, BatchNorm, channels, dtype=self.dtype_policy)
        if kind == "group":
            groups = next(n for n in range(min(_MAX_GROUPS, channels), 0, -1) if channels % n == 0)
            own = {"epsilon": BatchNorm.EPSILON, "dtype": self.dtype_policy}
            return self.add_layer(name, keras.layers.GroupNormalization, channels, groups, **own)
        return None

    def build(self, input_shape=None):
        """Create the weights of all layers. The shape of the input does not matter."""
        for name in self._order_layers():
            getattr(self, name).build((None, None, None, self._input_channels[name]))
        self.built = True

    def _order_layers(self) -> list[str]:
        """Return the names of all layers in the order in which their first values are drawn."""
        return list(self._input_channels)

    def _walk_layers(self) -> Iterator[Any]:
        """Yield all layers, in the order of declaration."""
        yield from self._flatten_layers(include_self=False)

    def check_resolution(self, resolution: int) -> None:
        """Raise ValueError for a resolution that this network does not run at."""
        if resolution not in self.resolutions:
            raise ValueError(f"resolution {resolution}: this network has {', '.join(map(str, self.resolutions))}.")

    def layers_at(self, resolution: int, fade: bool) -> list:
        """Return the layers whose weights a pass at `resolution` uses.

        fade: with the path that a fade-in uses besides, or without.
        """
        self.check_resolution(resolution)
        return [layer for layer in self._walk_layers() if layer.trainable_variables]

    def variables_at(self, resolution: int, fade: bool) -> list:
        """Return the weights that training at `resolution` changes. fade: as in `layers_at`."""
        return [v for layer in self.layers_at(resolution, fade) for v in layer.trainable_variables]

    def get_batch_norms(self) -> list[BatchNorm]:
        """Return the layers of batch normalisation."""
        return [layer for layer in self._walk_layers() if isinstance(layer, BatchNorm)]

    def get_checkpoint_variables(self) -> list:
        """Return the variables that a checkpoint holds.

        The statistics of batch normalisation are left out: `calibrate_batch_norm` computes them.
        """
        statistics = {id(v) for layer in self.get_batch_norms() for v in layer.non_trainable_variables}
        return [v for v in self.variables if id(v) not in statistics]

    def advance(self) -> None:
        """Take one step of power iteration in spectrally normalised layers.

        Call it after every update.
        """
        for layer in self._walk_layers():
            if getattr(layer, "spectral", False):
                layer.advance()

    @property
    def batch_coupling(self) -> int:
        """How many neighbouring images of a batch one logit depends on.

        1: each logit depends on its own image alone; 0: on the whole batch.
        """
        return 0 if self.get_batch_norms() else 1

    def finalize(self, inputs) -> None:
        """Make a trained generator ready for use outside training.

        inputs: examples of what the network takes, [N, ...], on which statistics are computed.
        """
        self.calibrate_batch_norm(inputs)

    def _run_for_calibration(self, inputs, resolution: int, first: int) -> None:
        """Run inputs [n, ...] through the network; the first one is number `first` of all."""
        self(inputs, resolution=resolution)

    def calibrate_batch_norm(self, inputs, resolution: int | None = None) -> None:
        """Compute the batch statistics for use outside training, on inputs [N, ...].

        Layers that a pass at `resolution` (default: the last) does not use keep theirs. As many
        inputs are used as have 2^21 pixels, but at least 32, in batches of one size to bound
        memory; a rest of fewer inputs than there are batches is left out. Each batch is normalised
        by its own statistics; the mean and the variance over all of them are stored (Wu and Johnson
        2021, arXiv 2105.07576, section 3).
        """
        norms = self.get_batch_norms()
        if not norms:
            return
        resolution = resolution or self.resolutions[-1]
        inputs = inputs[: max(_CALIBRATION_INPUTS, _CALIBRATION_PIXELS // resolution**2)]
        size = len(inputs) // math.ceil(len(inputs) / images_per_pass(resolution))
        for layer in norms:
            layer.batch_statistics = collections.deque()  # Keras would track a list as state
        try:
            for i in range(0, len(inputs) - size + 1, size):
                self._run_for_calibration(tf.constant(inputs[i : i + size]), resolution, i)
            for layer in norms:
                layer.store_statistics()
        finally:
            for layer in norms:
                layer.batch_statistics = None

    def get_config(self):
        """Return the constructor's arguments, as .keras files hold them."""
        config = super().get_config()
        for kind in reversed(type(self).__mro__):
            for name in vars(kind).get("ARGUMENTS", ()):
                value = getattr(self, name)
                config[name] = list(value) if isinstance(value, tuple) else value
        return config


class Tapered(Network):
    """A network with fewer feature maps the more pixels there are, see `count_maps`.

    classes: names of the classes of a conditional network; empty for any other.
    """

    ARGUMENTS: tuple[str, ...] = ("fmap_base", "fmap_max", "classes")

    def __init__(
        self,
        resolutions: Sequence[int],
        channels: int = 3,
        *,
        fmap_base: int,
        fmap_max: int = 512,
        classes: Sequence[str] = (),
        **kwargs,
    ):
        super().__init__(resolutions, channels, **kwargs)
        self.fmap_base, self.fmap_max, self.classes = fmap_base, fmap_max, tuple(classes)

    def count_maps(self, resolution: int) -> int:
        """Return the number of feature maps at `resolution` pixels."""
        return count_maps(resolution, self.fmap_base, self.fmap_max)


class LatentNetwork(Tapered):
    """A generator of images from latents [N, latent_size] ~ N(0, 1).

    A conditional one takes labels, int64 [N], besides. Images are float32 [N, R, R, channels],
    about -1..1.
    """

    ARGUMENTS: tuple[str, ...] = ("latent_size",)
    task = "generate"

    def __init__(self, resolutions: Sequence[int], channels: int = 3, *, latent_size: int, **kwargs):
        super().__init__(resolutions, channels, **kwargs)
        self.latent_size = latent_size

    @property
    def label_latent_size(self) -> int:
        """The number of channels that `concat_label` returns."""
        return self.latent_size + len(self.classes)

    def concat_label(self, latents, labels):
        """Concatenate latents with the one-hot label: [N, latent_size + classes].

        The label is scaled to sqrt(latent_size), the usual norm of a latent: an unscaled 1 would be
        lost among a hundred numbers of the same size. Without classes the latents are returned.
        """
        if not self.classes:
            return latents
        if labels is None:
            raise ValueError(f"labels: this generator makes {', '.join(self.classes)}; say which, as int64 [N].")
        length = self.latent_size**0.5
        return tf.concat([latents, tf.one_hot(labels, len(self.classes), length, dtype=latents.dtype)], axis=1)

    def cycle_labels(self, count: int, first: int = 0):
        """Return labels that take the classes in turn, int64 [count]; None without classes.

        first: number of the first label; label number n is n modulo the number of classes.
        """
        return tf.range(first, first + count, dtype=tf.int64) % len(self.classes) if self.classes else None

    def _run_for_calibration(self, inputs, resolution, first) -> None:
        self(inputs, resolution=resolution, labels=self.cycle_labels(len(inputs), first))


class ImageNetwork(Network):
    """A generator of images from images, float32.

    [N, H, W, input_channels] -> [N, s H, s W, channels]. task: what the network is trained for, one
    of `pggan_tf.tasks.TASKS`.
    """

    ARGUMENTS: tuple[str, ...] = ("input_channels", "task")
    multiple = 1
    """H and W have to be multiples of it."""
    scale = 1
    """The factor s by which images are enlarged."""

    def __init__(self, resolutions: Sequence[int], channels: int, input_channels: int, task: str, **kwargs):
        super().__init__(resolutions, channels, **kwargs)
        self.input_channels, self.task = input_channels, task

    def _run_for_calibration(self, inputs, resolution, first) -> None:
        self(inputs)

    def get_config(self):
        """Return the constructor's arguments, as .keras files hold them."""
        return {_SAVED_NAMES.get(name, name): value for name, value in super().get_config().items()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make the network of a config as `get_config` returns it."""
        names = {saved: name for name, saved in _SAVED_NAMES.items()}
        return super().from_config({names.get(n, n): value for n, value in config.items()}, custom_objects)
