"""One module per architecture, with a Generator or a Discriminator or both; this table is what --network offers.

No TensorFlow is imported before a network is built.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """tasks: what it may be trained for. grows: through several resolutions, or made for one. usual: values of config fields
    that are None. generator, discriminator: what each takes besides `resolutions`, `channels` and `dtype`, by the names of the
    config's fields. generator_module, discriminator_module: where they are; a kind without a discriminator is trained by a
    pixel loss alone. generator_norms: that it knows. largest: pixels; any_size: not only powers of two. equalized: whether the
    discriminator's weights are of size 1 and scaled as they are used (see layers), so that clipping them silences it."""

    tasks: tuple[str, ...]
    grows: bool
    usual: dict[str, str]
    generator: tuple[str, ...]
    discriminator: tuple[str, ...]
    generator_module: str
    discriminator_module: str | None
    generator_norms: tuple[str, ...]
    largest: int = 1024
    any_size: bool = False
    equalized: bool = False

    @property
    def structure(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.generator, *self.discriminator)))


_TAPERED = ("fmap_base", "fmap_max", "classes")
_IMAGES = ("given_channels", "task", "width")
VGG19_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"  # as Keras keeps it

NETWORKS: dict[str, Kind] = {
    "progressive": Kind(
        ("generate",),
        True,
        {"generator_norm": "pixel", "discriminator_norm": "none", "conv": "separable"},
        (*_TAPERED, "latent_size", "generator_norm", "conv"),
        (*_TAPERED, "stddev_group", "minibatch", "discriminator_norm", "spectral", "conv"),
        "progressive",
        "progressive",
        ("pixel", "batch", "none"),
        equalized=True,
    ),
    "dcgan": Kind(
        ("generate",),
        False,
        {"generator_norm": "batch", "discriminator_norm": "batch"},
        (*_TAPERED, "latent_size", "generator_norm"),
        (*_TAPERED, "discriminator_norm", "spectral"),
        "dcgan",
        "dcgan",
        ("batch", "none"),
        256,
    ),
    "unet": Kind(
        ("colorize", "translate"),
        False,
        {"generator_norm": "batch", "discriminator_norm": "batch"},
        (*_IMAGES, "fmap_max", "generator_norm", "dropout"),
        ("width", "discriminator_norm", "spectral"),
        "unet",
        "patchgan",
        ("batch", "group", "none"),
        512,
    ),
    "recolor": Kind(
        ("recolor",),
        False,
        {"generator_norm": "none", "discriminator_norm": "none"},
        _IMAGES,
        (),
        "recolor",
        None,
        (),
        any_size=True,
    ),
    "srresnet": Kind(
        ("upscale",),
        False,
        {"generator_norm": "none", "discriminator_norm": "batch"},
        (*_IMAGES, "scale", "blocks", "generator_norm"),
        ("patch", "width", "discriminator_norm", "spectral"),
        "srresnet",
        "srgan",
        ("batch", "none"),
        any_size=True,
        equalized=True,
    ),
}


def generator(network: str, options: dict, dtype: str = "float32", name: str = "generator"):
    """options: by the names of the config's fields, `classes`, and the channels of the task (`tasks.Task`) as
    `given_channels`, `output_channels` and `shown_channels`; those that the network does not take are left out."""
    kind = NETWORKS[network]
    module = importlib.import_module(f"pggan_tf.networks.{kind.generator_module}")
    wanted = {k: options[k] for k in ("resolutions", *kind.generator)}
    return module.Generator(**wanted, channels=options["output_channels"], dtype=dtype, name=name)


def discriminator(network: str, options: dict, dtype: str = "float32", name: str = "discriminator"):
    """None for a network that has none."""
    kind = NETWORKS[network]
    if kind.discriminator_module is None:
        return None
    module = importlib.import_module(f"pggan_tf.networks.{kind.discriminator_module}")
    wanted = {k: options[k] for k in ("resolutions", *kind.discriminator)}
    return module.Discriminator(**wanted, channels=options["shown_channels"], dtype=dtype, name=name)


def modules() -> list[str]:
    """All that define networks: importing them registers their classes."""
    return sorted({m for k in NETWORKS.values() for m in (k.generator_module, k.discriminator_module) if m})
