"""Recipes: named configurations, each of which reproduces or adapts a published system.

A recipe is {option: value} of the options that differ from the defaults. A pipeline is several
recipes whose runs are trained one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pggan_tf.config.schema import DEFAULTS
from pggan_tf.errors import UserError, nearest

# Karras et al. 2018, appendix A; batch sizes as in the authors' code on one GPU.
_PAPER = {
    "fmap_base": 8192,
    "fmap_max": 512,
    "latent_size": 512,
    "conv": "standard",
    "loss": "wgan-gp",
    "update": "two-stage",
    "learning_rate": {4: 1e-3, 1024: 1.5e-3},
    "batch": {4: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 4},
    "fade_images": {4: 600_000},
    "stable_images": {4: 600_000},
    "ema_rampup": 1e9,
}

_DCGAN = {
    "network": "dcgan",
    "target_res": 32,
    "fmap_base": 1024,
    "fmap_max": 512,
    "latent_size": 100,
    "loss": "nonsaturating",
    "learning_rate": {4: 2e-4},
    "adam_betas": (0.5, 0.999),
    "batch": {4: 128},
    "stddev_group": 1,
    "update": "two-stage",
    "stable_images": {4: 1_000_000},
    "snapshot_epochs": 1.0,
    "metrics": ("swd", "ms-ssim"),
}
# Images are counted for the critic: it sees five for each image that the generator learns from.
_FIVE_CRITIC_STEPS = {
    "update": "two-stage",
    "critic_steps": 5,
    "batch": {4: 64},
    "stable_images": {4: 5_000_000},
    "ema_half_life_images": 50_000.0,
}

_IMAGES = {
    "channels": 3,
    "stddev_group": 1,
    "ema_half_life_images": 2_000.0,
    "held_out": 0.05,
    "grid": 48,
    "metrics": ("psnr", "ssim"),
}

# What docs/benchmarks/quality.md measured as best on faces for 5 to 20 minutes of one CPU core:
# many small updates, half the feature maps from 32 px on, a generator whose maps are interpolated and
# modulated by the latents, and a high learning rate that falls to 0 (8e-3 and 6e-3 were measured up to
# 64 px). A few photos are held out, by which the coach tells whether the others are known by heart.
_PGGAN = {
    "fmap_base": 1024,
    "upsampling": "bilinear",
    "modulation": "latents",
    "learning_rate": {4: 8e-3, 64: 6e-3, 128: 4e-3},
    "batch": {4: 16, 16: 8, 32: 4},
    "decay_share": 0.7,
    "held_out": 0.02,
}

RECIPES: dict[str, dict] = {
    "pggan": _PGGAN,
    "pggan-paper": {**_PAPER, "total_images": 12_000_000},  # the last stage gets what the others leave
    # Radford et al. 2016, section 4: learning rate 2e-4, beta1 0.5, with a non-saturating loss.
    "dcgan": _DCGAN,
    # Arjovsky et al. 2017, algorithm 1.
    "wgan": {
        **_DCGAN,
        "loss": "wgan",
        "weight_clip": 0.01,
        "optimizer": "rmsprop",
        "learning_rate": {4: 5e-5},
        "adam_betas": (0.0, 0.99),
        **_FIVE_CRITIC_STEPS,
    },
    # Gulrajani et al. 2017, algorithm 1. With this penalty, the critic has no batch normalisation.
    "wgan-gp": {
        **_DCGAN,
        "loss": "wgan-gp",
        "drift": 0.0,
        "learning_rate": {4: 1e-4},
        "adam_betas": (0.0, 0.9),
        **_FIVE_CRITIC_STEPS,
    },
    # Odena et al. 2017, with DCGAN's networks; the generator's widths are those of their table 2.
    "acgan": {**_DCGAN, "conditional": True, "fmap_base": 768, "fmap_max": 384},
    # Miyato et al. 2018, table 1, setting C.
    "sngan": {**_DCGAN, "batch": {4: 64}, "loss": "hinge", "discriminator_norm": "none", "spectral": "all"},
    # DCGAN with the targets of Mao et al. 2017, eq. 8: b - c = 1 and b - a = 2, so that G minimises
    # a Pearson chi-squared divergence.
    "lsgan": {**_DCGAN, "loss": "lsgan", "lsgan_targets": (-1.0, 1.0, 0.0)},
    # Progressive Pegasus: gray horses of CIFAR-10 and STL-10, 30 + 30 epochs of 250 batches a
    # stage.
    "pegasus": {
        "channels": 1,
        "resolutions": (4, 8, 16, 32, 96),
        "conv": "standard",
        "loss": "lsgan",
        "lsgan_targets": (-1.0, 1.0, 0.0),
        "generator_norm": "batch",
        "discriminator_norm": "batch",
        "spectral": "down",
        "minibatch": "discrimination",
        "batch": {4: 64, 32: 32, 96: 16},
        "learning_rate": {4: 1e-3},
        "update": "two-stage",
        "fade_images": {4: 30 * 250 * 64, 32: 30 * 250 * 32, 96: 30 * 250 * 16},
        "stable_images": {4: 30 * 250 * 64, 32: 30 * 250 * 32, 96: 30 * 250 * 16},
    },
    # Faces up to 256 pixels. Mean squared error without batch normalisation gave better results
    # than cross-entropy with batch normalisation. (The original averaged the statistics over
    # batches with momentum 0.8; here they are measured with the current weights, see BatchNorm.)
    "faces-mse": {
        "target_res": 256,
        "conv": "standard",
        "loss": "mse",
        "update": "two-stage",
        "learning_rate": {4: 1e-3},
    },
    "faces-bce-bn": {
        "target_res": 256,
        "conv": "standard",
        "loss": "nonsaturating",
        "generator_norm": "batch",
        "discriminator_norm": "batch",
        "update": "two-stage",
        "learning_rate": {4: 1e-3},
    },
    # Separable convolutions, as in Time-efficient PGGAN. They are the default of pggan, too; this
    # recipe keeps them if that default changes.
    "pggan-separable": {**_PGGAN, "conv": "separable"},
    # Progressive Pegasus' second network: gray to colour at full resolution.
    "recolor": {
        **_IMAGES,
        "task": "recolor",
        "network": "recolor",
        "target_res": 96,
        "loss": "none",
        "pixel": "mse",
        "batch": {4: 16},
        "stable_images": {4: 200_000},
        "decay_share": 0.5,
    },
    # Isola et al. 2017, section 3 and 6.2, in Lab. They train for 100 epochs at a constant rate and
    # 100 with linear decay, and halve D's loss, which has no effect with Adam. Group normalisation
    # as in the one-stage colorizer. At most 128 feature maps instead of 512 (--fmap-max 512): a
    # tenth of the parameters, for machines without a GPU and for phones. A tenth of their weight of
    # the discriminator, ten times their rate below 256 px, and zoom: nearer to the true colours of
    # faces of 64 px, see docs/benchmarks/colorization.md.
    "colorize": {
        **_IMAGES,
        "task": "colorize",
        "zoom": 0.2,
        "hints": True,
        "network": "unet",
        "target_res": 256,
        "loss": "nonsaturating",
        "pixel": "l1",
        "pixel_weight": 100.0,
        "adversarial_weight": 0.1,
        "generator_norm": "group",
        "discriminator_norm": "group",
        "learning_rate": {4: 2e-3, 256: 2e-4},
        "adam_betas": (0.5, 0.999),
        "batch": {4: 16, 256: 4, 512: 1},
        "stable_images": {4: 200_000},
        "decay_share": 0.5,
    },
    # pix2pix with batch normalisation, for pairs of images such as edges and photos, or labels and
    # facades (Isola et al. 2017, section 6.2). With --fmap-max 512 it is as wide as theirs.
    "translate": {
        **_IMAGES,
        "task": "translate",
        "network": "unet",
        "target_res": 256,
        "loss": "nonsaturating",
        "pixel": "l1",
        "pixel_weight": 100.0,
        "learning_rate": {4: 2e-4},
        "adam_betas": (0.5, 0.999),
        "batch": {4: 16, 256: 4, 512: 1},
        "stable_images": {4: 200_000},
        "decay_share": 0.5,
    },
    # Ledig et al. 2017, section 3.2, without batch normalisation in the generator (Wang et al.
    # 2018, ESRGAN, section 3.1). Equalised learning rates need a higher rate than their 1e-4. The
    # squared error stays in the loss when D joins, to keep the colours right.
    "srgan": {
        **_IMAGES,
        "task": "upscale",
        "network": "srresnet",
        "filter": "bicubic",
        "crop": "tiles",
        "target_res": 128,
        "patch": 96,
        "loss": "nonsaturating",
        "pixel": "mse",
        "pixel_weight": 1.0,
        "content": "discriminator",
        "adversarial_weight": 3e-4,
        "learning_rate": {4: 2e-3},
        "adam_betas": (0.9, 0.999),
        "batch": {4: 16},
        "pretrain_images": 1_000_000,
        "pretrain_share": 0.7,
        "stable_images": {4: 1_000_000},
        "decay_share": 0.5,
    },
    "pggan-cifar10": {
        **_PAPER,
        "fmap_base": 4096,
        "fmap_max": 128,
        "latent_size": 128,
        "target_res": 32,
        "batch": {4: 16},
        "fade_images": {4: 400_000},
        "stable_images": {4: 400_000, 32: 17_600_000},
        "penalty_target": 750.0,
    },
}


@dataclass(frozen=True)
class Part:
    """A part of a pipeline: one of several runs that a command trains one after the other."""

    recipe: str
    small: bool = False  # whether the side of its images is --target-res divided by --scale
    share: float = 1.0  # share of --minutes
    settings: Mapping = field(default_factory=dict)  # {option: value} in place of the recipe's own


# Recipes that are trained one after the other. A network that enlarges images replaces the costly
# last stages of growing.
PIPELINES: dict[str, tuple[Part, ...]] = {
    # SRGAN learns from the same squares as the first part, because it will only enlarge that part's
    # images.
    "pggan-separable+srgan": (
        Part("pggan-separable", True, 0.6),
        Part("srgan", False, 0.4, {name: DEFAULTS[name] for name in ("crop", "filter")}),
    ),
}
PIPELINE_RES = 256
# The published options of srgan (Ledig et al. 2017, eq. 3), used if the weights of VGG19 are
# available.
WITH_VGG19 = {"content": "vgg19", "adversarial_weight": 1e-3}


def list_said(name: str) -> set[str]:
    """Return the names of the options for which a recipe stands, with 'recipe'.

    The default recipe, and others that begin with its values, give way in these to the networks of
    --init-from. Raises UserError if there is no such recipe.
    """
    values = recipe(name)
    return {option for option, value in values.items() if _PGGAN.get(option) != value}


def recipe(name: str) -> dict:
    """Return {option: value} of the recipe `name`, including 'recipe': name.

    Raises UserError if there is no such recipe.
    """
    if name not in RECIPES:
        raise UserError(f"--recipe {name}: not known; {nearest(name, [*RECIPES, *PIPELINES])}")
    return {"recipe": name, **RECIPES[name]}
