"""Named configurations: what differs from the defaults of `config.Config`. One entry for every published system."""

from __future__ import annotations

import dataclasses

from pggan_tf.config import Config
from pggan_tf.errors import UserError, nearest

# Karras et al. 2018, appendix A; batch sizes as the authors' code uses them on one GPU.
_PAPER = {
    "fmap_base": 8192,
    "fmap_max": 512,
    "latent_size": 512,
    "loss": "wgan-gp",
    "update": "two-stage",
    "learning_rate": {4: 1e-3, 1024: 1.5e-3},
    "batch": {4: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 4},
    "fade_images": {4: 600_000},
    "stable_images": {4: 600_000},
    "ema_rampup": 1e9,
}

RECIPES: dict[str, dict] = {
    "pggan": {},
    "pggan-paper": _PAPER,
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


def recipe(name: str) -> Config:
    if name not in RECIPES:
        raise UserError(f"--recipe {name}: not known; {nearest(name, RECIPES)}")
    return dataclasses.replace(Config(), recipe=name, **RECIPES[name])
