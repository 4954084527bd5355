"""Seeds -> latents -> images."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pggan_tf import config as configs
from pggan_tf import pixels
from pggan_tf.errors import UserError, nearest


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


def parse_seeds(text: str) -> list[int]:
    """'0-63' or '1,5,7-9' -> numbers."""
    numbers: list[int] = []
    try:
        for part in text.split(","):
            low, dash, high = part.partition("-")
            numbers += range(int(low), int(high) + 1) if dash else [int(low)]
    except ValueError:
        numbers = []
    if not numbers or not 0 <= min(numbers) <= max(numbers) < 2**32:
        raise UserError(f"--seeds {text}: expected numbers below 2^32 and ranges such as 0-63 or 1,5,7-9.")
    return numbers


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Latents [N, L] and [N, L], t [T] in 0..1 -> [T, N, L] on the arc between them (Shoemake 1985), lengths in proportion.

    Between two Gaussian latents a straight line would pass through shorter ones than any that was trained on.
    """
    lengths = np.linalg.norm(a, axis=-1, keepdims=True), np.linalg.norm(b, axis=-1, keepdims=True)
    u, v = a / lengths[0], b / lengths[1]
    angle = np.arccos(np.clip((u * v).sum(-1, keepdims=True), -1, 1))
    t = np.asarray(t, np.float64)[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        arc = (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / np.sin(angle)
    direction = np.where(np.sin(angle) > 1e-6, arc, (1 - t) * u + t * v)  # parallel latents: nothing to turn
    return (direction * ((1 - t) * lengths[0] + t * lengths[1])).astype(np.float32)


def choose_labels(generator, source, class_name: str | None, numbers: Sequence[int]) -> np.ndarray:
    """The classes of images with these seeds, int64 [N]: that of `class_name`, or by the seed, whatever else is drawn."""
    if class_name is None:
        return np.array(numbers) % max(1, len(generator.classes))
    if class_name not in generator.classes:
        known = nearest(class_name, generator.classes) if generator.classes else "it was trained without classes."
        raise UserError(f"--class {class_name}: {source} does not make it; {known}")
    return np.full(len(numbers), generator.classes.index(class_name))


def choose_stage(generator, source, stage: int | None) -> int:
    """The resolution asked for, or the last."""
    stage = stage or generator.resolutions[-1]
    if stage not in generator.resolutions:
        raise UserError(f"--stage {stage}: {source} has {', '.join(map(str, generator.resolutions))}.")
    return stage


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


def load_from_latents(path: str | Path, report=print):
    """As `load`, and refuses networks that turn images into images."""
    generator = load(path, report)
    if not hasattr(generator, "latent_size"):
        raise UserError(f"{path}: turns images into images; this needs a generator that makes them from latents.")
    return generator
