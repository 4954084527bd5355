"""Sizes of growing networks: the values of --size, each with the source that it comes from.

A size is {option: value}. It replaces the values of the default recipe; what another recipe sets
itself stays, and typed options come before both.

The authors' run on one GPU is that of Karras et al. 2018 (arXiv 1710.10196): batches, learning
rates, 600,000 images for each phase and 12 million in total.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pggan_tf import networks
from pggan_tf.config import recipes
from pggan_tf.config.schema import DEFAULTS

# Batches of the authors' run on one GPU, {resolution: images}.
ONE_GPU_BATCH = {4: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 4}
TOTAL_IMAGES = 12_000_000  # of the authors' run; the last stage gets what the others leave


@dataclass(frozen=True)
class Size:
    """A row of SIZES: values of options, and for each of them where it comes from."""

    about: str  # what the size is for
    values: Mapping = field(default_factory=dict)  # {option: value}
    sources: Mapping[str, str] = field(default_factory=dict)  # {option: source of its value}
    memory: float = 0.0  # memory in GiB of the smallest GPU that --size auto gives the size to
    photos: int = 0  # smallest number of photos that --size auto gives the size to


_LENGTH = {"fade_images": {4: 600_000}, "stable_images": {4: 600_000}, "total_images": TOTAL_IMAGES}
_LENGTH_SOURCE = dict.fromkeys(_LENGTH, "the authors' run on one GPU")
_RULE = (
    "StyleGAN2-ADA (Karras et al. 2020), gamma = 0.0002 resolution^2 / batch, where it is above the measured default"
)

SIZES: dict[str, Size] = {
    # The values of the recipe and of `schema`, measured on CPUs (docs/benchmarks/quality.md).
    "phone": Size("phones, and training on CPUs"),
    "small": Size(
        "one usual GPU",
        {
            "fmap_base": 4096,
            "fmap_max": 256,
            "latent_size": 256,
            "conv": "standard",
            "upsampling": "nearest",
            "modulation": "none",
            "batch": {4: 128, 64: 64, 128: 32, 256: 16, 512: 8, 1024: 4},
            "learning_rate": {4: 2.5e-3, 1024: 2e-3},
            "penalty_weight": {4: 0.3, 256: 0.8, 512: 6.5, 1024: 52.0},
            **_LENGTH,
        },
        {
            "fmap_base": "half of Karras et al. 2018",
            "fmap_max": "half of Karras et al. 2018",
            "latent_size": "half of Karras et al. 2018",
            "conv": "Karras et al. 2018",
            "upsampling": "Karras et al. 2018",
            "modulation": "Karras et al. 2018",
            "batch": "twice the authors' on one GPU from 32 px on: half the feature maps, so the memory is the same; "
            "theirs at 1024 px, where 8 GiB would not be enough",
            "learning_rate": "StyleGAN2-ADA (Karras et al. 2020), for equalised weights and R1",
            "penalty_weight": _RULE,
            **_LENGTH_SOURCE,
        },
        memory=4.0,
        photos=1_000,
    ),
    "paper": Size(
        "large GPUs and many photos",
        {
            "fmap_base": 8192,
            "fmap_max": 512,
            "latent_size": 512,
            "conv": "standard",
            "upsampling": "nearest",
            "modulation": "none",
            "batch": ONE_GPU_BATCH,
            "learning_rate": {4: 1e-3, 1024: 1.5e-3},
            "penalty_weight": {4: 0.3, 256: 1.6, 512: 13.0, 1024: 52.0},
            **_LENGTH,
        },
        {
            "fmap_base": "Karras et al. 2018",
            "fmap_max": "Karras et al. 2018",
            "latent_size": "Karras et al. 2018",
            "conv": "Karras et al. 2018",
            "upsampling": "Karras et al. 2018",
            "modulation": "Karras et al. 2018",
            "batch": "the authors' run on one GPU",
            "learning_rate": "the authors' run on one GPU",
            "penalty_weight": _RULE,
            **_LENGTH_SOURCE,
        },
        memory=15.0,
        photos=10_000,
    ),
}


def find_values(size: str | None, below: Mapping, asked: Mapping) -> dict:
    """Return {option: value} of a size, without the values that the recipe sets itself.

    Args:
        size: a key of SIZES, or None.
        below: {option: value} of all options of the recipe, with the defaults.
        asked: {option: value} of the requested options, with the name of the recipe.
    """
    if size not in SIZES or not networks.NETWORKS[asked.get("network", below["network"])].grows:
        return {}
    own = set_by_recipe(asked.get("recipe", DEFAULTS["recipe"]))
    if below["loss"] != DEFAULTS["loss"] or below["penalty"] != DEFAULTS["penalty"]:
        own.add("penalty_weight")  # it is the gamma of the default loss
    return {name: value for name, value in SIZES[size].values.items() if name not in own}


def set_by_recipe(recipe: str) -> set[str]:
    """Return the names of the options that a recipe sets itself, so that no size does."""
    default, own = recipes.RECIPES[DEFAULTS["recipe"]], recipes.RECIPES.get(recipe, {})
    names = {name for name, value in own.items() if default.get(name) != value}
    return names | {*_LENGTH} if names & {*_LENGTH} else names
