"""Make images with a generator: from seeds, or from images of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pggan_tf import tasks
from pggan_tf.data import pixels
from pggan_tf.errors import UserError, nearest
from pggan_tf.seeds import latents

MOST_SEEDS = 1_000_000


def parse_seeds(text: str) -> list[int]:
    """Return the numbers of --seeds, such as '0-63' or '1,5,7-9'. Raises UserError."""
    ranges: list[range] = []
    try:
        for part in text.split(","):
            low, dash, high = part.partition("-")
            ranges.append(range(int(low), int(high if dash else low) + 1))
    except ValueError:
        ranges = []
    if not ranges or not all(len(r) and r[0] >= 0 and r[-1] < 2**32 for r in ranges):
        raise UserError(f"--seeds {text}: expected numbers below 2^32 and ranges such as 0-63 or 1,5,7-9.")
    if (count := sum(map(len, ranges))) > MOST_SEEDS:
        raise UserError(f"--seeds {text}: {count:,} images at once; expected {MOST_SEEDS:,} at most.")
    return [number for r in ranges for number in r]


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Interpolate latents on the arc between them, with lengths in proportion (Shoemake 1985).

    a, b: [N, L]. t: [T] in 0..1. Returns [T, N, L].

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
    """Return the classes of images with these seeds, int64 [N]: `class_name`, or one that follows from the seed.

    Raises UserError for a class that the generator does not know.
    """
    if class_name is None:
        return np.array(numbers) % max(1, len(generator.classes))
    if class_name not in generator.classes:
        known = nearest(class_name, generator.classes) if generator.classes else "it was trained without classes."
        raise UserError(f"--class {class_name}: {source} does not make it; {known}")
    return np.full(len(numbers), generator.classes.index(class_name))


def choose_stage(generator, source, stage: int | None) -> int:
    """Return the resolution of --stage, or the last one. Raises UserError for one that `source` does not have."""
    stage = generator.resolutions[-1] if stage is None else stage
    if stage not in generator.resolutions:
        raise UserError(f"--stage {stage}: {source} has {', '.join(map(str, generator.resolutions))}.")
    return stage


class Sampler:
    """Call a generator in batches of one size, as a function that is traced once per resolution."""

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
        """Return the images of latents [N, L] as uint8 [N, R, R, C].

        Args:
            latents: float32, usually from `seeds.latents`.
            resolution: pixels R, one of the generator's.
            alpha: weight of the newest block, 0..1.
            truncation: below 1, less varied and more typical images.
            labels: classes, int64 [N], for conditional generators; by default every class in turn.
        """
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

    def batches(
        self, seeds: Sequence[int], labels: np.ndarray, resolution: int, truncation: float = 1.0
    ) -> Iterator[np.ndarray]:
        """Yield the images of seeds [N], a batch at a time: they need not all fit into memory."""
        for i in range(0, len(seeds), self.batch):
            z = latents(seeds[i : i + self.batch], self.generator.latent_size)
            yield self.images(z, resolution, truncation=truncation, labels=labels[i : i + self.batch])


CALIBRATION_INPUTS = 4096  # inputs that a finished generator is settled on
_CALIBRATION_PIXELS = 1 << 22  # or pixels of images


def calibration_latents(size: int, count: int = CALIBRATION_INPUTS) -> np.ndarray:
    """Return latents [count, size] of seeds above all that are usual, for calibrating a generator."""
    return latents(range(1 << 20, (1 << 20) + count), size)


class FromLatents:
    """Samples of a generator of latents: the images of the first seeds, of every class in turn.

    count: images in a grid.
    """

    columns = None

    def __init__(self, generator, count: int):
        self.generator, self.latents = generator, latents(range(count), generator.latent_size)
        self.sampler = Sampler(generator)

    def inputs(self, count: int) -> np.ndarray:
        """Return latents [count, L], of other seeds, on which the generator's statistics are measured."""
        return calibration_latents(self.generator.latent_size, count)

    def images(self, resolution: int, alpha: float = 1.0) -> np.ndarray:
        """Return the images of a grid, uint8 [N, R, R, C]."""
        return self.sampler.images(self.latents, resolution, alpha)


TRIPLES = 4  # side by side in a grid


class FromImages:
    """Samples of a generator from images: condition, result and original of images that are not trained on.

    Where no images were held out, they are of those that are trained on.

    count: how many such images there are. shown: how many of them grids show.
    """

    def __init__(self, generator, task: tasks.Task, shards, resolution: int, shown: int, held_out: float):
        from pggan_tf.data import pipeline

        self.generator, self.task, self.shards, self.resolution = generator, task, shards, resolution
        self.held_out, everything = held_out, shards.count(resolution)
        self._kept = pipeline.train_count(shards, resolution, held_out)
        self.count = everything - self._kept or everything
        self.shown = min(shown, self.count)
        self.columns = 3 * min(TRIPLES, self.shown)
        self._make_parts: Any = None  # a traced function

    def _read_data(self, start: int, stop: int) -> np.ndarray:
        """Return images of the data, uint8 [stop - start, R, R, data channels]."""
        from pggan_tf.data import pipeline

        everything, numbers = (
            self.shards.count(self.resolution),
            pipeline.sample_indices(stop - start, self.count, start),
        )
        if self.count < everything:
            numbers = pipeline.holdout_indices(numbers, everything, self.held_out)
        return self.shards.read(self.resolution, numbers)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return originals, uint8 [stop - start, R, R, 3]."""
        return self.task.select_originals(self._read_data(start, stop))

    def made(self, start: int, stop: int) -> np.ndarray:
        """Return what the generator makes of them, uint8 [stop - start, R, R, 3]."""
        return self.triples(start, stop)[1]

    def inputs(self, count: int) -> np.ndarray:
        """Return conditions of images that are trained on, on which the generator's statistics are measured."""
        import tensorflow as tf

        from pggan_tf.data import pipeline

        count = min(count, self._kept, max(8, _CALIBRATION_PIXELS // self.resolution**2))
        numbers = pipeline.train_indices(
            pipeline.sample_indices(count, self._kept), self.shards.count(self.resolution), self.held_out
        )
        images = pixels.to_float(self.shards.read(self.resolution, numbers))
        return self.task.condition(tf.constant(images), tf.zeros([2], tf.int64)).numpy()

    def triples(self, start: int, stop: int) -> list[np.ndarray]:
        """Return conditions, results and originals, each uint8 [stop - start, R, R, 3]."""
        import tensorflow as tf

        if self._make_parts is None:

            def make_parts(x):
                condition = self.task.condition(x, tf.zeros([2], tf.int64))
                made = self.task.to_image(condition, self.generator(condition))
                original = self.task.to_image(condition, self.task.target(x))
                return self.task.preview(condition, self.resolution), made, original

            self._make_parts = tf.function(make_parts, autograph=False, reduce_retracing=True)
        images = self._read_data(start, stop)
        found = [
            [pixels.to_uint8(x.numpy()) for x in self._make_parts(tf.constant(pixels.to_float(images[i : i + 8])))]
            for i in range(0, len(images), 8)
        ]
        return [np.concatenate(column) for column in zip(*found)]

    def images(self, resolution: int, alpha: float = 1.0) -> np.ndarray:
        """Return the images of a grid, uint8 [3 N, R, R, 3]: condition, result and original of each of N images."""
        triple = np.stack(self.triples(0, self.shown), axis=1)
        return triple.reshape(-1, *triple.shape[2:])


def finish(generator, inputs: np.ndarray):
    """Return a float32 copy of a trained generator for use outside training.

    inputs: what its batch normalisation is calibrated on, see `finalize` of the network.
    """
    copy = type(generator).from_config({**generator.get_config(), "dtype": "float32"})
    copy.build()
    for mine, theirs in zip(copy.variables, generator.variables, strict=True):
        mine.assign(theirs)
    copy.finalize(inputs)
    return copy
