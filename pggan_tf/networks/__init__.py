"""One module per architecture, each with a Generator and a Discriminator; this table is what --network offers.

No TensorFlow is imported before a network is built.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """grows: through several resolutions, or made for one. usual: values of config fields that are None. generator,
    discriminator: what each takes besides resolutions, channels, fmap_base, fmap_max and classes, by the names of the
    config's fields."""

    grows: bool
    usual: dict[str, str]
    generator: tuple[str, ...]
    discriminator: tuple[str, ...]

    @property
    def structure(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.generator, *self.discriminator)))


NETWORKS: dict[str, Kind] = {
    "progressive": Kind(
        True,
        {"generator_norm": "pixel", "discriminator_norm": "none"},
        ("latent_size", "generator_norm", "conv"),
        ("stddev_group", "minibatch", "discriminator_norm", "spectral", "conv"),
    ),
    "dcgan": Kind(
        False,
        {"generator_norm": "batch", "discriminator_norm": "batch"},
        ("latent_size", "generator_norm"),
        ("discriminator_norm", "spectral"),
    ),
}
SHARED = ("resolutions", "channels", "fmap_base", "fmap_max")


def _build(network: str, player: str, options: dict, dtype: str, name: str):
    module = importlib.import_module(f"pggan_tf.networks.{network}")
    wanted = (*SHARED, *getattr(NETWORKS[network], player.lower()), "classes")
    return getattr(module, player)(**{k: options[k] for k in wanted}, dtype=dtype, name=name)


def generator(network: str, options: dict, dtype: str = "float32", name: str = "generator"):
    """options: by the names of the config's fields, and `classes`; those that the network does not take are left out."""
    return _build(network, "Generator", options, dtype, name)


def discriminator(network: str, options: dict, dtype: str = "float32", name: str = "discriminator"):
    return _build(network, "Discriminator", options, dtype, name)
