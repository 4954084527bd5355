"""Every recipe trained for a few steps at tiny sizes: the figures of each step, and the state that it ends with, by its SHA-256."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.conftest import train
from tests.golden import saved

FILE = Path(__file__).parent / "trained.json"

_ALWAYS = "--grid 4 --no-report --precision float32 --snapshot-images 16 --portraits 8"
_GROWING = (
    "--resolutions 4,8 --fmap-base 16 --fmap-max 4 --latent-size 4 --batch 4 --stable-images 4=0,8=8 --fade-images 16"
)
_DCGAN = "--target-res 8 --fmap-base 8 --fmap-max 4 --latent-size 4 --batch 4 --stable-images 16 --metrics swd --metrics-images 8"
_IMAGES = "--target-res 8 --batch 4 --stable-images 16 --width 2 --held-out 0.2"
# Recipe -> shards, and what is typed besides.
RECIPES = {
    "pggan": ("classes", _GROWING),
    "pggan-paper": ("classes", _GROWING),
    "pggan-cifar10": ("classes", f"{_GROWING} --augment ada --loss nonsaturating-r1"),
    "pggan-separable": ("classes", f"{_GROWING} --augment diff --loss relativistic --penalty r1+r2"),
    "pegasus": ("gray", f"{_GROWING} --optimizer rmsprop"),
    "faces-mse": ("classes", f"{_GROWING} --critic-steps 2"),
    "faces-bce-bn": ("classes", f"{_GROWING} --conditional --loss saturating --update one-stage"),
    "dcgan": ("gray", f"{_DCGAN} --channels 1"),
    "wgan": ("classes", f"{_DCGAN} --critic-steps 2"),
    "wgan-gp": ("classes", f"{_DCGAN} --critic-steps 2 --penalty-every 2"),
    "acgan": ("classes", _DCGAN),
    "sngan": ("classes", _DCGAN),
    "lsgan": ("classes", f"{_DCGAN} --decay-share 0.5"),
    "recolor": ("classes", _IMAGES),
    "colorize": ("classes", f"{_IMAGES} --fmap-max 4 --update two-stage --no-hints"),
    "translate": ("pairs", f"{_IMAGES} --fmap-max 4 --reverse"),
    "srgan": ("classes", f"{_IMAGES} --patch 8 --blocks 1 --scale 2 --pretrain-images 8 --adversarial-weight 0.1"),
}


def result(recipe: str, folder: Path) -> dict:
    """What a training of a recipe comes to."""
    shards, options = RECIPES[recipe]
    data = saved.SHARDS / shards
    code, _, err = train("--recipe", recipe, *options.split(), *_ALWAYS.split(), "--data", data, "--run", folder)
    assert code == 0, err
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    arrays, _ = saved.last_checkpoint(folder)
    return {
        "stats": [
            saved.without_speed(line) for line in lines if "check" not in line
        ],  # those of photos held back came later
        "state": {name: list(array.shape) for name, array in arrays.items()},
        "sha256": hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest(),
        "processor": saved.processor(),
    }
