"""Draw pictures with a generator: walks through its latent space, its stages and its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pggan_tf import synthesis, terminal
from pggan_tf.config.schema import ImageOptions
from pggan_tf.data import pixels, transparency
from pggan_tf.data.shards import Shards
from pggan_tf.errors import UserError
from pggan_tf.explore import walks
from pggan_tf.report import nearest
from pggan_tf.report.runs import RunSummary
from pggan_tf.runs import generators
from pggan_tf.shapes import limit_images

_SHOWN = 64  # smallest size in pixels of an image in a picture
_WALKS, _KEYFRAMES, _FRAMES = 3, 4, 12  # walks in a report, keyframes of a walk, images of a walk
_SAMPLES, _ROWS, _NEAREST = 256, 6, 5  # samples compared, rows drawn, training images in a row
_SAMPLE_PIXELS = 1 << 24  # most pixels of the samples that are compared: 256 of 256 px, 16 of 1024 px
_CLASS_COLUMNS, _MOST_CLASSES = 8, 20  # columns and largest number of rows in a picture of classes
# Errors raised for a generator of another version and for a damaged one. The page is then written
# without its pictures.
_BROKEN = (UserError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Picture:
    """Picture on a page, with its title and description."""

    title: str
    image: np.ndarray  # uint8 [H, W, 1 or 3]
    text: str  # description of the picture


def draw_pictures(folder: str | Path, shards: Shards | None, images: ImageOptions) -> list[Picture]:
    """Draw the pictures of a report: latent walks and the training images nearest to samples.

    Args:
        folder: The run's folder.
        shards: The run's training data; None omits the nearest training images.
        images: The run's options of images: whether it was trained on mirrored ones, and which share was held out.

    Returns:
        The pictures. The list is empty for a generator from images, for which the report's grids
        are enough.
    """
    generator = generators.load(folder)
    if not hasattr(generator, "latent_size"):
        return []
    sampler = synthesis.Sampler(generator)
    out = [_draw_walks(sampler)]
    if shards is not None:
        count = limit_images(_SAMPLES, generator.shape_at(generator.resolutions[-1]), _SAMPLE_PIXELS)
        found = nearest.compare_samples(
            sampler, shards, range(count), _NEAREST, images.mirror, held_out=images.held_out
        )
        out.append(Picture("Nearest training images", found.draw(_ROWS), found.describe(_ROWS)))
    return out


def try_pictures(run: RunSummary, data: str | None = None) -> tuple[list[Picture], list[str]]:
    """Call `draw_pictures` for a run, but omit what cannot be drawn instead of failing.

    Args:
        run: The run. There are no pictures before its first tick or without a generator.
        data: Folder of the training data; by default the one that the run was trained on.

    Returns:
        The pictures, and a sentence for each part that is omitted because of an error.

    Raises:
        UserError: `data` is given but is not a data set.
    """
    if not (run.ticks and run.has_generator):
        return [], []
    terminal.start_tensorflow()
    shards, omissions = None, []
    try:
        shards = nearest.open_training_data(run, data)
    except UserError as error:
        if data:
            raise
        omissions.append(f"without the nearest training images: {error}")
    try:
        return draw_pictures(run.folder, shards, run.config.images), omissions
    except _BROKEN as error:
        return [], [*omissions, f"without pictures from its generator: {error}"]


def _draw_walks(sampler: synthesis.Sampler) -> Picture:
    """Draw one row of images for each of _WALKS walks through the latent space."""
    generator = sampler.generator
    keys = synthesis.latents(range(_WALKS * _KEYFRAMES), generator.latent_size).reshape(_KEYFRAMES, _WALKS, -1)
    frames = walks.interpolate(keys, _FRAMES, loop=False)
    labels = np.repeat(np.arange(_WALKS) % max(1, len(generator.classes)), _FRAMES)
    z = np.swapaxes(frames, 0, 1).reshape(-1, generator.latent_size)
    images = sampler.images(z, generator.resolutions[-1], labels=labels)
    return Picture(
        "Between two images",
        pixels.tile(pixels.show(images, _SHOWN), _FRAMES, edge=1),
        "Three walks from latent to latent, on arcs. A generator that has learned a space changes smoothly on its way.",
    )


def get_stage_shape(generator) -> tuple[int, int]:
    """Return height and width in pixels of each image in the picture of `draw_stages`."""
    last = generator.resolutions[-1]
    height, width = (round(side * max(_SHOWN, last) / last) for side in generator.shape_at(last))
    return height, width


def get_class_shape(generator) -> tuple[int, int]:
    """Return height and width in pixels of each image in the picture of `draw_classes`."""
    return pixels.find_enlarged_shape(generator.shape_at(generator.resolutions[-1]), _SHOWN)


def draw_stages(sampler: synthesis.Sampler, z: np.ndarray, labels: np.ndarray, truncation: float = 1.0) -> np.ndarray:
    """Draw one row of images for each stage, enlarged to the size of the last stage or 64 pixels.

    Args:
        sampler: Sampler of the generator.
        z: Latents [N, L].
        labels: Class of each latent, int64 [N].
        truncation: 1 uses latents as in training; below 1, images are more typical.

    Returns:
        The picture, uint8 [H, W, C].
    """
    shape = get_stage_shape(sampler.generator)
    sheet = pixels.Sheet(len(z) * len(sampler.generator.resolutions), len(z), edge=1)
    for stage in sampler.generator.resolutions:
        images = sampler.images(z, stage, truncation=truncation, labels=labels)
        factor = max(shape) // stage
        images = images.repeat(factor, axis=1).repeat(factor, axis=2)
        if images.shape[1:3] != shape:  # the size is not a multiple of the stage's
            images = np.stack([pixels.resize(image, shape, "nearest") for image in images])
        sheet.add(transparency.draw_on_checkerboard(images))
    return sheet.picture


def draw_classes(sampler: synthesis.Sampler, z: np.ndarray, count: int, truncation: float = 1.0) -> np.ndarray:
    """Draw one row of images for each of the first `count` classes.

    Args:
        sampler: Sampler of the generator.
        z: Latents [N, L], the same for each row.
        count: Number of classes.
        truncation: 1 uses latents as in training; below 1, images are more typical.

    Returns:
        The picture, uint8 [H, W, C].
    """
    images = sampler.images(
        np.tile(z, (count, 1)),
        sampler.generator.resolutions[-1],
        truncation=truncation,
        labels=np.repeat(np.arange(count), len(z)),
    )
    return pixels.tile(pixels.show(images, _SHOWN), len(z), edge=1)


def draw_class_pictures(runs: Sequence[RunSummary]) -> tuple[dict[Path, Picture], list[str]]:
    """Draw a picture of the classes for each run that has classes and a generator.

    Returns:
        The pictures by run folder, and a sentence for each run whose generator cannot be loaded.
    """
    pictures, omissions = {}, []
    if any(run.config.networks.conditional for run in runs):
        terminal.start_tensorflow()
    for run in runs:
        if run.config.networks.conditional and run.has_generator:
            try:
                generator = generators.load_from_latents(run.folder)
            except _BROKEN as error:
                omissions.append(f"without a grid of classes: {error}")
                continue
            z = synthesis.latents(range(_CLASS_COLUMNS), generator.latent_size)
            names = generator.classes[:_MOST_CLASSES]
            sheet = draw_classes(synthesis.Sampler(generator), z, count=len(names))
            pictures[run.folder] = Picture("Classes", sheet, "from the top: " + ", ".join(names))
    return pictures, omissions
