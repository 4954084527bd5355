"""Architectures that --network offers: NETWORKS lists them, and two functions make the networks.

Each architecture is implemented by modules of this package that define a class Generator, a class
Discriminator or both.

To add an architecture, add a module to this package and a row to NETWORKS. Its classes inherit from
those in `base` and are registered with Keras; tests/test_architectures.py checks every row.

TensorFlow is imported only when a network is made.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass

from pggan_tf.shapes import SQUARE


@dataclass(frozen=True)
class Architecture:
    """A row of NETWORKS: an architecture's modules, arguments, options and limits."""

    tasks: tuple[str, ...]
    """Tasks that the architecture can be trained for: keys of `pggan_tf.tasks.TASKS`."""
    grows: bool
    """Whether training goes through several resolutions in ascending order, not just one."""
    generator_module: str
    """Module of this package with the class Generator."""
    discriminator_module: str | None
    """Module of this package with the class Discriminator; None if only a pixel loss is used."""
    generator_arguments: tuple[str, ...]
    """Config fields passed to Generator in addition to `resolutions` and `channels`."""
    discriminator_arguments: tuple[str, ...]
    """Config fields passed to Discriminator in addition to `resolutions` and `channels`."""
    generator_norms: tuple[str, ...]
    """Allowed values of --generator-norm; empty if the architecture does not have this option."""
    defaults: dict[str, str]
    """Values for config fields that are None unless the user sets them."""
    largest: int = 1024
    """Largest supported resolution, in pixels."""
    any_size: bool = False
    """Whether any resolution is supported; if not, only powers of two are."""
    rectangles: bool = False
    """Whether images may have another shape than square, see `pggan_tf.shapes`."""
    equalized: bool = False
    """Whether the discriminator uses equalised learning rate.

    Its stored weights are then about 1 and are scaled in the forward pass, so clipping them at
    0.01, as WGAN does, would make its output almost constant.
    """

    @property
    def structure(self) -> tuple[str, ...]:
        """Names of the arguments of both networks, without duplicates."""
        return tuple(dict.fromkeys((*self.generator_arguments, *self.discriminator_arguments)))

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the config fields that the networks are built with."""
        return tuple(name for name in self.structure if name not in _OF_DATA)

    @property
    def options_of_weights(self) -> tuple[str, ...]:
        """Names of the config fields that two runs must share to use the same weights.

        Image sizes are not among them.
        """
        names = [name for name in self.options if name not in ("patch", "dropout")]
        names += ["shape"] if self.grows else []  # of the first layer's maps
        return tuple(dict.fromkeys(("task", "network", "conditional", "channels", "hints", "denoise", *names)))


_OF_DATA = ("classes", "input_channels")  # arguments that follow from the data and the task, not from an option
_TAPERED = ("fmap_base", "fmap_max", "classes")
_IMAGES = ("input_channels", "task", "width")
VGG19_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"  # as Keras names it

NETWORKS: dict[str, Architecture] = {
    "progressive": Architecture(
        tasks=("generate",),
        grows=True,
        generator_module="progressive",
        discriminator_module="progressive",
        generator_arguments=(*_TAPERED, "latent_size", "generator_norm", "conv", "upsampling", "modulation"),
        discriminator_arguments=(*_TAPERED, "stddev_group", "minibatch", "discriminator_norm", "spectral", "conv"),
        generator_norms=("pixel", "batch", "none"),
        defaults={"generator_norm": "pixel", "discriminator_norm": "none", "conv": "separable"},
        rectangles=True,
        equalized=True,
    ),
    "dcgan": Architecture(
        tasks=("generate",),
        grows=False,
        generator_module="dcgan",
        discriminator_module="dcgan",
        generator_arguments=(*_TAPERED, "latent_size", "generator_norm"),
        discriminator_arguments=(*_TAPERED, "discriminator_norm", "spectral"),
        generator_norms=("batch", "none"),
        defaults={"generator_norm": "batch", "discriminator_norm": "batch"},
        largest=256,
    ),
    "unet": Architecture(
        tasks=("colorize", "translate"),
        grows=False,
        generator_module="unet",
        discriminator_module="patchgan",
        generator_arguments=(*_IMAGES, "fmap_max", "generator_norm", "dropout"),
        discriminator_arguments=("width", "discriminator_norm", "spectral"),
        generator_norms=("batch", "group", "none"),
        defaults={"generator_norm": "batch", "discriminator_norm": "batch"},
        largest=512,
    ),
    "recolor": Architecture(
        tasks=("recolor",),
        grows=False,
        generator_module="recolor",
        discriminator_module=None,
        generator_arguments=_IMAGES,
        discriminator_arguments=(),
        generator_norms=(),
        defaults={"generator_norm": "none", "discriminator_norm": "none"},
        any_size=True,
        rectangles=True,
    ),
    "srresnet": Architecture(
        tasks=("upscale",),
        grows=False,
        generator_module="srresnet",
        discriminator_module="srgan",
        generator_arguments=(*_IMAGES, "scale", "blocks", "generator_norm"),
        discriminator_arguments=("patch", "width", "discriminator_norm", "spectral"),
        generator_norms=("batch", "none"),
        defaults={"generator_norm": "none", "discriminator_norm": "batch"},
        any_size=True,
        rectangles=True,
        equalized=True,
    ),
}


def _select_arguments(names: Iterable[str], options: dict) -> dict:
    """Return {argument: value} of `resolutions`, of the named ones, and of `aspect` if not square."""
    shape = {} if options.get("aspect", SQUARE) == SQUARE else {"aspect": options["aspect"]}
    return {name: options[name] for name in ("resolutions", *names)} | shape


def make_generator(network: str, options: dict, dtype: str = "float32", name: str = "generator"):
    """Make the generator of an architecture. It has no weights until its `build` is called.

    Args:
        network: Name of the architecture, a key of NETWORKS.
        options: Values by the name of the config field: `resolutions`, the architecture's arguments
            and `classes`; the `aspect` of images that are not square (see `pggan_tf.shapes`); also
            the task's `input_channels`, `output_channels` and `discriminator_channels` (see
            `pggan_tf.tasks`). Other entries are ignored.
        dtype: Name of a Keras dtype policy, such as 'mixed_bfloat16'.
        name: Name of the Keras model.
    """
    row = NETWORKS[network]
    module = importlib.import_module(f"pggan_tf.networks.{row.generator_module}")
    own = _select_arguments(row.generator_arguments, options)
    return module.Generator(**own, channels=options["output_channels"], dtype=dtype, name=name)


def make_discriminator(network: str, options: dict, dtype: str = "float32", name: str = "discriminator"):
    """Make the discriminator of an architecture, or return None if it does not have one.

    The discriminator has no weights until its `build` is called. For the arguments, see
    `make_generator`.
    """
    row = NETWORKS[network]
    if row.discriminator_module is None:
        return None
    module = importlib.import_module(f"pggan_tf.networks.{row.discriminator_module}")
    own = _select_arguments(row.discriminator_arguments, options)
    return module.Discriminator(**own, channels=options["discriminator_channels"], dtype=dtype, name=name)


def list_modules() -> list[str]:
    """Return the sorted names of the modules of this package that define networks.

    Importing these modules registers their classes with Keras.
    """
    return sorted({m for row in NETWORKS.values() for m in (row.generator_module, row.discriminator_module) if m})
