"""Seeds -> latents -> images."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pggan_tf import config as configs
from pggan_tf import pixels
from pggan_tf.errors import UserError


def _hash32(x: np.ndarray) -> np.ndarray:
    """uint32 -> uint32, the finaliser of MurmurHash3: a few multiplications, the same in every language."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        return x ^ (x >> np.uint32(16))


def latents(seeds: Sequence[int], size: int) -> np.ndarray:
    """seeds [N] -> N(0, 1) float32 [N, size]. A seed's latent does not depend on the others, on NumPy or on the machine.

    Number i of seed s is Box-Muller's of two hashes, so that a phone or a browser can draw the same.
    """
    with np.errstate(over="ignore"):
        s = _hash32(np.asarray(seeds, np.int64).astype(np.uint32) + np.uint32(0x9E3779B9))[:, None]
        i = np.arange(2 * size, dtype=np.uint32)[None]
        bits = _hash32(s ^ _hash32(i * np.uint32(0x9E3779B1) + np.uint32(1)))  # [N, 2 size]
    uniform = (bits.astype(np.float64) + 0.5) / 2**32
    radius, turn = np.sqrt(-2 * np.log(uniform[:, :size])), 2 * np.pi * uniform[:, size:]
    return (radius * np.cos(turn)).astype(np.float32)


class Sampler:
    """A generator as a plain function, traced once per resolution."""

    def __init__(self, generator, batch: int = 32):
        self.generator, self.batch = generator, batch
        self._functions: dict = {}

    def _function(self, resolution: int, fade: bool):
        import tensorflow as tf

        def generate(z, labels, alpha, truncation):
            chosen = {"labels": labels} if self.generator.classes else {}
            alpha = alpha if fade else None
            return self.generator(z, resolution=resolution, alpha=alpha, truncation=truncation, **chosen)

        if (resolution, fade) not in self._functions:
            self._functions = {
                (resolution, fade): tf.function(generate, autograph=False)
            }  # one: growing leaves the old behind
        return self._functions[resolution, fade]

    def images(
        self,
        latents: np.ndarray,
        resolution: int,
        alpha: float = 1.0,
        truncation: float = 1.0,
        labels: np.ndarray | None = None,
    ) -> np.ndarray:
        """latents [N, L] -> uint8 [N, R, R, C]. labels: int64 [N], for conditional generators; by default every class in turn."""
        import tensorflow as tf

        function = self._function(resolution, alpha < 1)
        labels = np.arange(len(latents)) % max(1, len(self.generator.classes)) if labels is None else labels
        out = []
        for i in range(0, len(latents), self.batch):
            part = latents[i : i + self.batch]
            padded = np.concatenate([part, np.zeros((self.batch - len(part), latents.shape[1]), np.float32)])
            chosen = np.zeros(self.batch, np.int64)
            chosen[: len(part)] = labels[i : i + self.batch]
            settings = (tf.constant(x, tf.float32) for x in (alpha, truncation))
            image = function(tf.constant(padded), tf.constant(chosen), *settings)
            out.append(pixels.to_uint8(image.numpy())[: len(part)])
        return np.concatenate(out)


SETTLING = 4096  # latents that a finished generator is settled on


def finish(generator, images: int = SETTLING):
    """A float32 copy of a trained generator, made ready for use outside training: see the network's `settle`."""
    copy = type(generator).from_config({**generator.get_config(), "dtype": "float32"})
    copy.build()
    for mine, theirs in zip(copy.variables, generator.variables, strict=True):
        mine.assign(theirs)
    copy.settle(latents(range(1 << 20, (1 << 20) + images), copy.latent_size))
    return copy


def _from_checkpoint(run: Path, report):
    """The moving average of a run that has not ended, as far as it has grown."""
    from pggan_tf import checkpoint, networks

    arrays, meta = checkpoint.newest(run, report)
    config = configs.load(run / "config.json")
    phase = configs.schedule(config)[meta["phase"]]
    resolutions = [r for r in config.resolutions if r <= phase.resolution]
    if phase.fade and len(resolutions) > 1:
        resolutions.pop()  # a block that is still fading in is no stage yet
    classes = json.loads((run / "environment.json").read_text())["dataset"].get("classes", ())
    options = {**configs.network_options(config, classes), "resolutions": tuple(resolutions)}
    generator = networks.generator(config.network, options)
    generator.build()
    for variable in generator.kept_variables():
        variable.assign(arrays[f"ema/{variable.path.partition('/')[2]}"])
    return finish(generator)


def load(path: str | Path, report=print):
    """A run's folder or a `.keras` file -> its generator. A run that has not ended gives what its newest checkpoint holds."""
    import keras

    from pggan_tf.networks import NETWORKS

    for network in NETWORKS:  # registers the classes that the file may name
        importlib.import_module(f"pggan_tf.networks.{network}")
    path = Path(path)
    file = path / "generator.keras" if path.is_dir() else path
    if path.is_dir() and not file.is_file() and (path / "config.json").is_file():
        return _from_checkpoint(path, report)
    if not file.is_file():
        raise UserError(f"{path}: no generator.keras. Expected a run's folder or a .keras file.")
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a file that is not what it says
        raise UserError(f"{file}: not a generator that can be loaded ({str(error).splitlines()[0][:150]}).") from None
