"""Seeds -> latents -> images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

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

        def generate(z, alpha, truncation):
            return self.generator(z, resolution=resolution, alpha=alpha if fade else None, truncation=truncation)

        if (resolution, fade) not in self._functions:
            self._functions = {
                (resolution, fade): tf.function(generate, autograph=False)
            }  # one: growing leaves the old behind
        return self._functions[resolution, fade]

    def images(self, latents: np.ndarray, resolution: int, alpha: float = 1.0, truncation: float = 1.0) -> np.ndarray:
        """latents [N, L] -> uint8 [N, R, R, C]."""
        import tensorflow as tf

        function = self._function(resolution, alpha < 1)
        out = []
        for i in range(0, len(latents), self.batch):
            part = latents[i : i + self.batch]
            padded = np.concatenate([part, np.zeros((self.batch - len(part), latents.shape[1]), np.float32)])
            image = function(tf.constant(padded), tf.constant(alpha, tf.float32), tf.constant(truncation, tf.float32))
            out.append(pixels.to_uint8(image.numpy())[: len(part)])
        return np.concatenate(out)


def load(path: str | Path):
    """A run's folder or a `.keras` file -> its generator."""
    import keras

    from pggan_tf.networks import progressive  # noqa: F401  registers the classes that the file names

    path = Path(path)
    file = path / "generator.keras" if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"{path}: no generator.keras"
            + (
                " in it; it is written when training ends. To finish: pggan train --resume " + str(path)
                if path.is_dir()
                else ". Expected a run's folder or a .keras file."
            )
        )
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a file that is not what it says
        raise UserError(f"{file}: not a generator that can be loaded ({str(error).splitlines()[0][:150]}).") from None
