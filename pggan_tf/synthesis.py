"""Make images with a generator: from latents that follow from seeds, or from images of the data.

N, L, H, W and C in shapes are numbers of images, of latent dimensions, of pixels of the height and
the width, and of channels. The resolution is the longer of the two sides. A condition is the input of a generator that converts images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from pggan_tf import shapes, tasks
from pggan_tf.data import pixels, transparency
from pggan_tf.errors import UserError, nearest
from pggan_tf.networks.latents import latents

MOST_SEEDS = 1_000_000
_BATCH_PIXELS = 1 << 21  # most pixels of the images that are made at once: 32 of 256 px, 2 of 1024 px
_GRID_PIXELS = 1 << 24  # most pixels of the images in a grid of a run: 64 of 512 px, 16 of 1024 px


def parse_seeds(text: str) -> list[int]:
    """Return the seeds in the value of --seeds, such as '0-63' or '1,5,7-9'.

    Raises UserError if the text is malformed or asks for more than MOST_SEEDS images.
    """
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


def format_seeds(numbers: Sequence[int]) -> str:
    """Return seeds as a text that `parse_seeds` reads, such as '0-63' or '1,5,7-9'."""
    spans: list[list[int]] = []
    for number in map(int, numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in spans)


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return latents between two sets of latents, by spherical interpolation (Shoemake 1985).

    Directions are interpolated on the great circle between them, and lengths linearly.

    A straight line between two Gaussian latents would pass through shorter latents than the
    generator was trained on.

    Args:
        a: latents [N, L] at t = 0.
        b: latents [N, L] at t = 1.
        t: positions [T] in 0..1.

    Returns:
        latents at every position, float32 [T, N, L].
    """
    lengths = np.linalg.norm(a, axis=-1, keepdims=True), np.linalg.norm(b, axis=-1, keepdims=True)
    u, v = a / lengths[0], b / lengths[1]
    angle = np.arccos(np.clip((u * v).sum(-1, keepdims=True), -1, 1))
    t = np.asarray(t, np.float64)[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        arc = (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / np.sin(angle)
    direction = np.where(np.sin(angle) > 1e-6, arc, (1 - t) * u + t * v)  # (nearly) parallel latents
    return (direction * ((1 - t) * lengths[0] + t * lengths[1])).astype(np.float32)


def choose_labels(generator, source, class_name: str | None, numbers: Sequence[int]) -> np.ndarray:
    """Return the index of the class of each image to generate, int64 [N].

    Args:
        generator: the generator.
        source: path that the generator was loaded from, for messages.
        class_name: name of the class of all images. If None, the images take all classes in turn:
            the index is the seed modulo the number of classes.
        numbers: seeds of the N images.

    Raises:
        UserError: if the generator does not know the class.
    """
    if class_name is None:
        return np.array(numbers) % max(1, len(generator.classes))
    if class_name not in generator.classes:
        known = nearest(class_name, generator.classes) if generator.classes else "it was trained without classes."
        raise UserError(f"--class {class_name}: {source} does not make it; {known}")
    return np.full(len(numbers), generator.classes.index(class_name))


def choose_stage(generator, source, stage: int | None) -> int:
    """Return the resolution to generate at: `stage`, or the generator's last one if it is None.

    Args:
        generator: the generator.
        source: path that the generator was loaded from, for messages.
        stage: value of --stage, a resolution in pixels; or None.

    Raises:
        UserError: if the generator does not have this resolution.
    """
    stage = generator.resolutions[-1] if stage is None else stage
    if stage not in generator.resolutions:
        raise UserError(f"--stage {stage}: {source} has {', '.join(map(str, generator.resolutions))}.")
    return generator.resolutions[generator.resolutions.index(stage)]  # of 16.0, the whole number


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Convert images as a generator of latents returns them to uint8 [N, H, W, C].

    images: float [N, H, W, C] in about -1..1; with 2 or 4 channels, premultiplied alpha, which
        becomes straight.
    """
    return (transparency.to_pixels if transparency.has_alpha(images.shape[-1]) else pixels.to_uint8)(images)


class Sampler:
    """Runs a generator in batches of equal size, and returns images as uint8.

    Above 256 px batches are smaller, so that their images have no more pixels than 32 of 256 px.

    The TensorFlow function of the newest resolution is kept; another resolution traces it again.

    Args:
        generator: the generator.
        batch: largest number of images in a batch.
    """

    def __init__(self, generator, batch: int = 32):
        self.generator, self.batch = generator, batch
        self._functions: dict = {}

    def _batch_size(self, resolution: int) -> int:
        """Return the number of images in a batch at a resolution in pixels."""
        return shapes.limit_images(self.batch, self.generator.shape_at(resolution), _BATCH_PIXELS)

    def _function(self, resolution: int, fade: bool):
        """Return the traced function (latents, labels, alpha, truncation) -> images in -1..1.

        resolution: resolution of the images in pixels. fade: whether the newest block is fading in.
        """
        import tensorflow as tf

        def generate(z, labels, alpha, truncation):
            chosen = {"labels": labels} if self.generator.classes else {}
            alpha = alpha if fade else None
            return self.generator(z, resolution=resolution, alpha=alpha, truncation=truncation, **chosen)

        if (resolution, fade) not in self._functions:
            self._functions = {
                (resolution, fade): tf.function(generate, autograph=False)
            }  # only the newest: growing never goes back
        return self._functions[resolution, fade]

    def images(
        self,
        latents: np.ndarray,
        resolution: int,
        alpha: float = 1.0,
        truncation: float = 1.0,
        labels: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the images of latents [N, L] as uint8 [N, H, W, C], with straight alpha if any.

        Args:
            latents: float32, usually from `latents`.
            resolution: resolution in pixels, one of the generator's.
            alpha: weight of the newest block, 0..1.
            truncation: 0..1. Values below 1 move latents or features towards their mean, which
                gives less varied and more typical images.
            labels: index of each image's class, int64 [N], for conditional generators (default: all
                classes in turn).
        """
        import tensorflow as tf

        function = self._function(resolution, alpha < 1)
        labels = np.arange(len(latents)) % max(1, len(self.generator.classes)) if labels is None else labels
        out, size = [], self._batch_size(resolution)
        for i in range(0, len(latents), size):
            part = latents[i : i + size]
            padded = np.concatenate([part, np.zeros((size - len(part), latents.shape[1]), np.float32)])
            chosen = np.zeros(size, np.int64)
            chosen[: len(part)] = labels[i : i + size]
            settings = (tf.constant(x, tf.float32) for x in (alpha, truncation))
            image = function(tf.constant(padded), tf.constant(chosen), *settings)
            out.append(to_pixels(image.numpy())[: len(part)])
        return np.concatenate(out)

    def batches(
        self,
        seeds: Sequence[int],
        labels: np.ndarray,
        resolution: int,
        truncation: float = 1.0,
        change: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Iterator[np.ndarray]:
        """Yield the images of N seeds batch by batch, to save memory: uint8 [n, H, W, C].

        n is the batch size, or less in the last batch.

        Args:
            seeds: seeds of the latents.
            labels: index of each image's class, int64 [N].
            resolution: resolution in pixels, one of the generator's.
            truncation: see `images`.
            change: function that returns changed latents [n, L] for latents [n, L].
        """
        size = self._batch_size(resolution)
        for i in range(0, len(seeds), size):
            z = latents(seeds[i : i + size], self.generator.latent_size)
            z = z if change is None else change(z)
            yield self.images(z, resolution, truncation=truncation, labels=labels[i : i + size])


CALIBRATION_INPUTS = 4096  # number of inputs for calibrating the batch normalisation of a finished generator
_CALIBRATION_PIXELS = 1 << 22  # if the inputs are images: limit of their pixels in total


def calibration_latents(size: int, count: int = CALIBRATION_INPUTS) -> np.ndarray:
    """Return latents [count, size] for calibrating batch normalisation.

    Their seeds start at 2^20, so that users are unlikely to choose the same ones.
    """
    return latents(range(1 << 20, (1 << 20) + count), size)


def limit_grid(count: int, shape: tuple[int, int]) -> int:
    """Return how many of `count` images (height, width) a grid of a run shows."""
    return shapes.limit_images(count, shape, _GRID_PIXELS)


class FromLatents:
    """Samples of a generator that makes images from latents.

    They are the images of the seeds 0 to `count` - 1, with all classes in turn.

    Args:
        generator: the generator.
        count: number of images in a grid (a picture with many small images side by side); there are
            fewer if they are so large that they have more than _GRID_PIXELS pixels.
    """

    columns = None  # number of images in a row of the grid; None: `pixels.save_grid` chooses it

    def __init__(self, generator, count: int):
        self.shown = limit_grid(count, generator.shape_at(generator.resolutions[-1]))
        self.generator, self.latents = generator, latents(range(self.shown), generator.latent_size)
        self.sampler = Sampler(generator)

    def inputs(self, count: int) -> np.ndarray:
        """Return latents [count, L] of other seeds, for calibrating batch normalisation."""
        return calibration_latents(self.generator.latent_size, count)

    def images(self, resolution: int, alpha: float = 1.0) -> np.ndarray:
        """Return the images of a grid, uint8 [N, H, W, C].

        resolution: one of the generator's resolutions. alpha: weight of the newest block, 0..1.
        """
        return self.sampler.images(self.latents, resolution, alpha)


TRIPLES = 4  # number of triples side by side in a grid


class FromImages:
    """Samples of a generator that converts images: condition, result and original, side by side.

    They are made from held-out images, which the run is not trained on; if no images are held out,
    from images of the training set.

    Args:
        generator: the generator.
        task: the task, which makes conditions and originals from images of the data.
        shards: the data.
        resolution: resolution of the images in pixels.
        shown: largest number of images in a grid.
        held_out: share of the data that is held out, 0..1.

    Attributes:
        aspect: width and height of the images in lowest terms.
        count: number of images available.
        shown: number of these images that grids show.
        columns: number of pictures in a row of the grid.
    """

    def __init__(self, generator, task: tasks.Task, shards, resolution: int, shown: int, held_out: float):
        from pggan_tf.data import pipeline

        self.generator, self.task, self.shards, self.resolution = generator, task, shards, resolution
        self.aspect = shards.manifest.aspect
        self.held_out, everything = held_out, shards.count(resolution)
        self._kept = pipeline.train_count(everything, held_out)
        self.count = everything - self._kept or everything
        self.shown = limit_grid(min(shown, self.count), shards.manifest.shape_at(resolution))
        self.columns = 3 * min(TRIPLES, self.shown)
        self._make_parts: Any = None  # a traced function

    def _read_data(self, start: int, stop: int) -> np.ndarray:
        """Return the images number `start` to `stop` - 1 of those available, as stored.

        They are uint8 [stop - start, H, W, channels of the data].
        """
        from pggan_tf.data import pipeline

        everything, numbers = (
            self.shards.count(self.resolution),
            pipeline.sample_indices(stop - start, self.count, start),
        )
        if self.count < everything:
            numbers = pipeline.holdout_indices(numbers, everything, self.held_out)
        return self.shards.read(self.resolution, numbers)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return original images number `start` to `stop` - 1, uint8 [stop - start, H, W, 3]."""
        return self.task.select_originals(self._read_data(start, stop))

    def made(self, start: int, stop: int) -> np.ndarray:
        """Return the generator's results for these images, uint8 [stop - start, H, W, 3]."""
        return self.triples(start, stop)[1]

    def inputs(self, count: int) -> np.ndarray:
        """Return at most `count` conditions, float32 [n, h, w, c], made from training images.

        They are for calibrating batch normalisation.
        """
        import tensorflow as tf

        from pggan_tf.data import pipeline

        count = min(count, self._kept, max(8, _CALIBRATION_PIXELS // self.resolution**2))
        numbers = pipeline.train_indices(
            pipeline.sample_indices(count, self._kept), self.shards.count(self.resolution), self.held_out
        )
        images = pixels.to_float(self.shards.read(self.resolution, numbers))
        return self.task.sample_condition(tf.constant(images)).numpy()

    def triples(self, start: int, stop: int) -> list[np.ndarray]:
        """Return [conditions, results, originals], each uint8 [stop - start, H, W, 3]."""
        import tensorflow as tf

        if self._make_parts is None:

            def make_parts(x):
                condition = self.task.sample_condition(x)
                made = self.task.to_image(condition, self.generator(condition))
                original = self.task.to_image(condition, self.task.target(x))
                shape = self.shards.manifest.shape_at(self.resolution)
                return self.task.preview(condition, shape), made, original

            self._make_parts = tf.function(make_parts, autograph=False, reduce_retracing=True)
        images = self._read_data(start, stop)
        size = shapes.limit_images(8, images.shape[1:3], _BATCH_PIXELS)
        found = [
            [pixels.to_uint8(x.numpy()) for x in self._make_parts(tf.constant(pixels.to_float(images[i : i + size])))]
            for i in range(0, len(images), size)
        ]
        return [np.concatenate(column) for column in zip(*found)]

    def images(self, resolution: int, alpha: float = 1.0) -> np.ndarray:
        """Return the images of a grid, uint8 [3 N, H, W, 3].

        For each of N images these are the condition, the result and the original, in this order.
        `resolution` and `alpha` are ignored: the generator has one resolution and does not grow.
        """
        triple = np.stack(self.triples(0, self.shown), axis=1)
        return triple.reshape(-1, *triple.shape[2:])


def finish(generator, inputs: np.ndarray):
    """Return a float32 copy of a trained generator for use outside training (a "finished" one).

    Args:
        generator: the generator, which is not changed.
        inputs: latents or conditions for calibrating batch normalisation, see the network's
            `finalize`.
    """
    copy = type(generator).from_config({**generator.get_config(), "dtype": "float32"})
    copy.build()
    for mine, theirs in zip(copy.variables, generator.variables, strict=True):
        mine.assign(theirs)
    copy.finalize(inputs)
    return copy
