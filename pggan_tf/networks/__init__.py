"""The table of architectures that --network offers.

Each is a module with a class Generator, a class Discriminator or both.

A new architecture is a module in this package and a row of NETWORKS. Its classes inherit from those
in `base` and are registered with Keras; tests/test_architectures.py checks every row.

No TensorFlow is imported before a network is made.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A row of NETWORKS: which networks --network stands for, and what they can do."""

    tasks: tuple[str, ...]
    """Names of the tasks that it may be trained for, of `pggan_tf.tasks.TASKS`."""
    grows: bool
    """Whether it is trained at several resolutions, one after the other, or at a single one."""
    generator_module: str
    """Module of this package with the class Generator."""
    discriminator_module: str | None
    """Module with the class Discriminator; None: it is trained by a pixel loss alone."""
    generator_arguments: tuple[str, ...]
    """Config fields that are arguments of Generator, besides `resolutions` and `channels`."""
    discriminator_arguments: tuple[str, ...]
    """Config fields that are arguments of Discriminator, besides these two."""
    generator_norms: tuple[str, ...]
    """Values of --generator-norm that it takes; empty: it has no such option."""
    defaults: dict[str, str]
    """Values of config fields that are None by default."""
    largest: int = 1024
    """Largest resolution in pixels."""
    any_size: bool = False
    """Whether any resolution will do, or only powers of two."""
    equalized: bool = False
    """Whether the discriminator's weights have equalised learning rate: about 1, scaled when used.

    Clipping such weights at 0.01, as WGAN does, would silence it.
    """

    @property
    def structure(self) -> tuple[str, ...]:
        """The arguments of both networks, each once."""
        return tuple(dict.fromkeys((*self.generator_arguments, *self.discriminator_arguments)))


_TAPERED = ("fmap_base", "fmap_max", "classes")
_IMAGES = ("input_channels", "task", "width")
VGG19_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"  # as Keras names it

NETWORKS: dict[str, Architecture] = {
    "progressive": Architecture(
        tasks=("generate",),
        grows=True,
        generator_module="progressive",
        discriminator_module="progressive",
        generator_arguments=(*_TAPERED, "latent_size", "generator_norm", "conv"),
        discriminator_arguments=(*_TAPERED, "stddev_group", "minibatch", "discriminator_norm", "spectral", "conv"),
        generator_norms=("pixel", "batch", "none"),
        defaults={"generator_norm": "pixel", "discriminator_norm": "none", "conv": "separable"},
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
        equalized=True,
    ),
}


def make_generator(network: str, options: dict, dtype: str = "float32", name: str = "generator"):
    """Make the generator of an architecture, not built yet.

    options: `resolutions` and the architecture's arguments, by the names of the config's fields;
    `classes`; and the task's `input_channels`, `output_channels` and `discriminator_channels` (see
    `pggan_tf.tasks`). Others are ignored. dtype: a Keras policy, such as 'mixed_bfloat16'.
    """
    row = NETWORKS[network]
    module = importlib.import_module(f"pggan_tf.networks.{row.generator_module}")
    own = {k: options[k] for k in ("resolutions", *row.generator_arguments)}
    return module.Generator(**own, channels=options["output_channels"], dtype=dtype, name=name)


def make_discriminator(network: str, options: dict, dtype: str = "float32", name: str = "discriminator"):
    """Make the discriminator of an architecture, not built yet; None where it has none.

    The arguments are those of `make_generator`.
    """
    row = NETWORKS[network]
    if row.discriminator_module is None:
        return None
    module = importlib.import_module(f"pggan_tf.networks.{row.discriminator_module}")
    own = {k: options[k] for k in ("resolutions", *row.discriminator_arguments)}
    return module.Discriminator(**own, channels=options["discriminator_channels"], dtype=dtype, name=name)


def list_modules() -> list[str]:
    """Return the names of the modules that define networks.

    Importing them registers their classes with Keras.
    """
    return sorted({m for row in NETWORKS.values() for m in (row.generator_module, row.discriminator_module) if m})
