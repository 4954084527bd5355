"""Seeds -> latents -> images."""

from __future__ import annotations

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


LARGEST_SEED = 2**32 - 1


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


def finish(generator, images: int = 512):
    """A float32 copy of a trained generator, made ready for use outside training.

    `typical` becomes the normalised mean of the first feature maps, for truncation. And every stage below the last gets its
    to_image layer anew: those stood still when the next stage faded in, while the blocks beneath them went on to
    learn. By least squares over `images` latents they now show what the last stage shows, at their own resolution.
    """
    import tensorflow as tf

    copy = type(generator).from_config({**generator.get_config(), "dtype": "float32"})
    copy.build()
    for mine, theirs in zip(copy.variables, generator.variables, strict=True):
        mine.assign(theirs)
    last = copy.resolutions[-1]
    z = latents(range(1 << 20, (1 << 20) + 4096), copy.latent_size)
    copy.typical.assign(copy.pixel_norm(tf.reduce_mean(copy.first_maps(tf.constant(z)), axis=0)))
    products = {r: 0.0 for r in copy.resolutions[:-1]}
    run = tf.function(lambda z: (copy.features(z, last), copy(z, resolution=last)), autograph=False)
    for i in range(0, images, 16):
        stages, picture = run(tf.constant(z[i : i + 16]))
        for r, x in zip(copy.resolutions[:-1], stages):
            x = x.numpy().reshape(-1, x.shape[-1]).astype(np.float64)
            x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
            f = last // r
            y = picture.numpy().reshape(-1, r, f, r, f, copy.channels).mean((2, 4)).reshape(-1, copy.channels)
            products[r] += np.concatenate([x.T @ x, x.T @ y], axis=1)
    for r, product in products.items():
        left, right = product[:, : -copy.channels], product[:, -copy.channels :]
        solution = np.linalg.lstsq(left + 1e-6 * np.trace(left) / len(left) * np.eye(len(left)), right, rcond=None)[0]
        getattr(copy, f"to_image_{r}").set_effective(solution[None, None, :-1], solution[-1])
    return copy


def _from_checkpoint(run: Path, report):
    """The moving average of a run that has not ended, as far as it has grown."""
    from pggan_tf import checkpoint
    from pggan_tf.networks.progressive import Generator

    arrays, meta = checkpoint.newest(run, report)
    config = configs.load(run / "config.json")
    phase = configs.schedule(config)[meta["phase"]]
    resolutions = [r for r in config.resolutions if r <= phase.resolution]
    if phase.fade and len(resolutions) > 1:
        resolutions.pop()  # a block that is still fading in is no stage yet
    generator = Generator(resolutions, config.channels, config.fmap_base, config.fmap_max, config.latent_size)
    generator.build()
    for variable in generator.variables:
        variable.assign(arrays[f"ema/{variable.path.partition('/')[2]}"])
    return finish(generator)


def load(path: str | Path, report=print):
    """A run's folder or a `.keras` file -> its generator. A run that has not ended gives what its newest checkpoint holds."""
    import keras

    from pggan_tf.networks import progressive  # noqa: F401  registers the classes that the file names

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
