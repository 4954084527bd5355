"""Base classes of all networks, which declare, build, list and save their layers."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from pggan_tf import shapes
from pggan_tf.layers import BatchNorm
from pggan_tf.networks.widths import count_maps

_MAX_GROUPS = 32  # groups of group normalisation (Wu and He 2018, section 4.1)
# Total pixels of the images that batch statistics are computed on, and the least number of images.
_CALIBRATION_PIXELS = 1 << 21
_CALIBRATION_INPUTS = 32
# Total pixels of the images of one forward pass (64 MB for 256 feature maps in float32), and the
# least number of images.
_PASS_PIXELS = 1 << 16
_PASS_IMAGES = 8
_SAVED_NAMES = {"input_channels": "given_channels"}  # argument -> its name in .keras files
# Arguments that earlier versions do not know, with the value that means what they did. They are not
# saved with that value, so that earlier versions can read the files.
_LATER = {"aspect": shapes.SQUARE, "upsampling": "nearest", "modulation": "none"}


def images_per_pass(resolution: int) -> int:
    """Return the batch size for images of `resolution` pixels that keeps memory use bounded."""
    return max(_PASS_IMAGES, _PASS_PIXELS // resolution**2)


class Network(keras.Model):
    """Base class of generators and discriminators.

    A subclass declares its layers in `__init__` with `add_layer` and `add_norm`, uses them in
    `call`, and lists in ARGUMENTS the arguments that it adds to the constructor. Each layer is an
    attribute, because tf.train.Checkpoint and .keras files skip layers in lists. All layers are
    built at once; a network that grows overrides `layers_at`.

    Args:
        resolutions: Resolutions (longer sides in pixels) at which the network can run, in ascending
            order; only one for a network that does not grow.
        channels: Number of channels of the images.
        aspect: Width and height of the images in lowest terms, see `pggan_tf.shapes`.
    """

    ARGUMENTS: tuple[str, ...] = ("resolutions", "channels", "aspect")
    """Constructor arguments added by this class; each is an attribute and saved in .keras files."""
    classes: Sequence[str] = ()
    """Class names of a conditional network; empty for an unconditional one."""
    patch_logits = False
    """Whether a discriminator returns a map of logits for each image, [N, h, w, 1]."""

    def __init__(self, resolutions: Sequence[int], channels: int, aspect: Sequence[int] = shapes.SQUARE, **kwargs):
        # Without autocast, images and alpha keep their dtype and each layer casts its own input.
        super().__init__(autocast=False, **kwargs)
        self.resolutions, self.channels = tuple(resolutions), channels
        self.aspect: shapes.Aspect = (aspect[0], aspect[1])
        self._input_channels: dict[str, int] = {}  # name of a layer -> its number of input channels
        self._frozen: set[str] = set()  # names of the layers that are not trained

    def add_layer(self, name: str, kind: Callable[..., Any], inputs: int, *args, **kwargs) -> Any:
        """Create a layer, store it as an attribute and return it.

        The order of these calls is the order of the network's variables. With a given seed it also
        determines their initial values.

        Args:
            name: Name of the layer and of the attribute.
            kind: Class of the layer, called as `kind(*args, name=name, **kwargs)`.
            inputs: Number of input channels of the layer.
            *args: Positional arguments of `kind`.
            **kwargs: Keyword arguments of `kind`.
        """
        # Names that Keras generates depend on how many layers the process has already created.
        layer = kind(*args, name=name, **kwargs)
        setattr(self, name, layer)
        self._input_channels[name] = inputs
        return layer

    def add_norm(self, name: str, kind: str, channels: int) -> Any:
        """Add the normalisation layer for a value of --generator-norm or --discriminator-norm.

        Args:
            name: Name of the layer and of the attribute.
            kind: 'batch' or 'group' (Wu and He 2018). Group normalisation uses the largest number
                of groups up to 32 that divides `channels`.
            channels: Number of channels that are normalised.

        Returns:
            The layer; None for other kinds, such as 'pixel' and 'none', which need no layer.
        """
        if kind == "batch":
            return self.add_layer(name, BatchNorm, channels, dtype=self.dtype_policy)
        if kind == "group":
            groups = next(n for n in range(min(_MAX_GROUPS, channels), 0, -1) if channels % n == 0)
            own = {"epsilon": BatchNorm.EPSILON, "dtype": self.dtype_policy}
            return self.add_layer(name, keras.layers.GroupNormalization, channels, groups, **own)
        return None

    def build(self, input_shape=None):
        """Create the weights of all layers. `input_shape` is ignored."""
        for name in self._order_layers():
            getattr(self, name).build((None, None, None, self._input_channels[name]))
        self.built = True

    def _order_layers(self) -> list[str]:
        """Return the names of all layers in the order in which their weights are initialised."""
        return list(self._input_channels)

    def _walk_layers(self) -> Iterator[Any]:
        """Yield all layers in the order in which they were added."""
        yield from self._flatten_layers(include_self=False)

    def shape_at(self, resolution: int) -> tuple[int, int]:
        """Return the (height, width) in pixels of images at a resolution."""
        return shapes.shape_at(resolution, self.aspect)

    def check_resolution(self, resolution: int) -> None:
        """Raise ValueError if the network cannot run at this resolution."""
        if resolution not in self.resolutions:
            raise ValueError(f"resolution {resolution}: this network has {', '.join(map(str, self.resolutions))}.")

    def layers_at(self, resolution: int, fade: bool) -> list:
        """Return the layers whose weights are used by a forward pass at `resolution`.

        Args:
            resolution: Resolution in pixels.
            fade: Whether to include the layer that is used only while this resolution fades in.
        """
        self.check_resolution(resolution)
        return [layer for layer in self._walk_layers() if layer.trainable_variables]

    def variables_at(self, resolution: int, fade: bool) -> list:
        """Return the weights that are trained at `resolution`. For `fade`, see `layers_at`."""
        layers = [layer for layer in self.layers_at(resolution, fade) if layer.name not in self._frozen]
        return [v for layer in layers for v in layer.trainable_variables]

    def freeze(self, resolution: int, stages: int) -> None:
        """Keep the weights of the `stages` stages nearest to an image of `resolution` as they are.

        This is FreezeD (Mo et al. 2020) for a discriminator. The other stages are trained.
        """
        rest = self.resolutions[self.resolutions.index(resolution) - stages]
        used, trained = ({layer.name for layer in self.layers_at(r, False)} for r in (resolution, rest))
        self._frozen = used - trained

    def get_batch_norms(self) -> list[BatchNorm]:
        """Return the batch normalisation layers."""
        return [layer for layer in self._walk_layers() if isinstance(layer, BatchNorm)]

    def get_checkpoint_variables(self) -> list:
        """Return the variables that are saved in a checkpoint.

        The statistics of batch normalisation are not saved: `calibrate_batch_norm` computes them.
        """
        statistics = {id(v) for layer in self.get_batch_norms() for v in layer.non_trainable_variables}
        return [v for v in self.variables if id(v) not in statistics]

    def advance(self) -> None:
        """Run one step of power iteration in all layers with spectral normalisation.

        Call this after every update of the weights.
        """
        for layer in self._walk_layers():
            if getattr(layer, "spectral", False):
                layer.advance()

    @property
    def batch_coupling(self) -> int:
        """Number of neighbouring images of a batch that one logit depends on.

        1 if each logit depends only on its own image, 0 if it depends on the whole batch.
        """
        return 0 if self.get_batch_norms() else 1

    def finalize(self, inputs) -> None:
        """Prepare a trained generator for use outside training.

        Args:
            inputs: Example inputs of the network, [N, ...], for computing batch statistics.
        """
        self.calibrate_batch_norm(inputs)

    def _run_for_calibration(self, inputs, resolution: int, first: int) -> None:
        """Run one batch of calibration inputs through the network.

        Args:
            inputs: The batch, [n, ...].
            resolution: Resolution in pixels.
            first: Index of the batch's first input among all inputs.
        """
        self(inputs, resolution=resolution)

    def calibrate_batch_norm(self, inputs, resolution: int | None = None) -> None:
        """Compute and store the statistics of batch normalisation for use outside training.

        Each batch is normalised with its own statistics; the mean and the variance over all batches
        are stored (Wu and Johnson 2021, arXiv 2105.07576, section 3). Layers that are not used at
        `resolution` keep their stored statistics.

        Args:
            inputs: Inputs of the network, [N, ...]. The first inputs with 2^21 pixels in total are
                used, but at least 32. To bound memory they are split into batches of equal size;
                the last few inputs, fewer than the number of batches, may be left out.
            resolution: Resolution in pixels; by default the last.
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
        """Return the constructor's arguments as they are saved in .keras files."""
        config = super().get_config()
        for kind in reversed(type(self).__mro__):
            for name in vars(kind).get("ARGUMENTS", ()):
                value = getattr(self, name)
                config[name] = list(value) if isinstance(value, tuple) else value
        for name, before in _LATER.items():
            if getattr(self, name, before) == before:
                config.pop(name, None)
        return config


class Tapered(Network):
    """Base class of networks with fewer feature maps at higher resolutions, see `count_maps`.

    Args:
        resolutions: See `Network`.
        channels: Number of channels of the images.
        fmap_base: Factor of the number of feature maps, see `count_maps`.
        fmap_max: Largest number of feature maps.
        classes: Class names of a conditional network; empty for an unconditional one.
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
    """Base class of generators that turn latents into images.

    Latents are [N, latent_size] ~ N(0, 1); a conditional generator also takes labels, int64 [N]
    (int32 in exported files, because GPUs of phones take no int64). Images are float32
    [N, H, W, channels], roughly in -1..1; for H and W, see `Network.shape_at`.
    """

    ARGUMENTS: tuple[str, ...] = ("latent_size",)
    task = "generate"

    def __init__(self, resolutions: Sequence[int], channels: int = 3, *, latent_size: int, **kwargs):
        super().__init__(resolutions, channels, **kwargs)
        self.latent_size = latent_size

    @property
    def label_latent_size(self) -> int:
        """Length of the vectors that `concat_label` returns."""
        return self.latent_size + len(self.classes)

    @property
    def latent_layers(self) -> list:
        """The affine layers that the latents enter; empty if the network has none.

        They have a method `compute_kernel`, which returns [label_latent_size, units].
        """
        return []

    def concat_label(self, latents, labels):
        """Concatenate latents with their one-hot labels: [N, latent_size + classes].

        The one-hot vector is scaled to the norm sqrt(latent_size), the expected norm of a latent;
        an unscaled 1 would have little effect among a hundred numbers of the same size. Without
        classes the latents are returned unchanged.

        Args:
            latents: [N, latent_size].
            labels: Class indices, int64 [N]; ignored without classes.

        Raises:
            ValueError: `labels` is None although the network has classes.
        """
        if not self.classes:
            return latents
        if labels is None:
            raise ValueError(f"labels: this generator makes {', '.join(self.classes)}; say which, as int64 [N].")
        length = self.latent_size**0.5
        return tf.concat([latents, tf.one_hot(labels, len(self.classes), length, dtype=latents.dtype)], axis=1)

    def cycle_labels(self, count: int, first: int = 0):
        """Return labels that cycle through the classes, int64 [count]; None without classes.

        Label number n is n modulo the number of classes; the first label has the number `first`.
        """
        return tf.range(first, first + count, dtype=tf.int64) % len(self.classes) if self.classes else None

    def _run_for_calibration(self, inputs, resolution, first) -> None:
        self(inputs, resolution=resolution, labels=self.cycle_labels(len(inputs), first))


class ImageNetwork(Network):
    """Base class of generators that turn images into images.

    Maps float32 [N, H, W, input_channels] to float32 [N, s H, s W, channels], where s is `scale`.

    Args:
        resolutions: See `Network`.
        channels: Number of output channels.
        input_channels: Number of input channels.
        task: Task that the network is trained for, a key of `pggan_tf.tasks.TASKS`.
    """

    ARGUMENTS: tuple[str, ...] = ("input_channels", "task")
    multiple = 1
    """Number that H and W must be multiples of."""
    scale = 1
    """Factor s by which images are enlarged."""

    def __init__(self, resolutions: Sequence[int], channels: int, input_channels: int, task: str, **kwargs):
        super().__init__(resolutions, channels, **kwargs)
        self.input_channels, self.task = input_channels, task

    def _run_for_calibration(self, inputs, resolution, first) -> None:
        self(inputs)

    def get_config(self):
        """Return the constructor's arguments as they are saved in .keras files."""
        return {_SAVED_NAMES.get(name, name): value for name, value in super().get_config().items()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Create a network from the dict that `get_config` returned."""
        names = {saved: name for name, saved in _SAVED_NAMES.items()}
        return super().from_config({names.get(n, n): value for n, value in config.items()}, custom_objects)
