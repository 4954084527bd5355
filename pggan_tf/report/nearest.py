"""Find the training images nearest to samples, to check whether a generator copies its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pggan_tf import synthesis
from pggan_tf.data import pipeline, pixels, transparency
from pggan_tf.data.shards import Shards
from pggan_tf.errors import UserError, shell_path
from pggan_tf.metrics.features import Features
from pggan_tf.report.runs import RunSummary
from pggan_tf.shapes import Aspect, fits, name_aspect

COMPARED = 32  # target size in pixels at which images are compared
_BLOCK = 2048  # number of training images of this size that are compared at a time
_SHOWN, _EDGE = 64, 2  # smallest size of an image in a picture, and space between images, in pixels


def open_training_data(run: RunSummary, folder: str | Path | None = None) -> Shards:
    """Open the data set in `folder`; by default the one that the run was trained on.

    Raises UserError if the data set does not exist, its folder is not known, or its images are of
    another shape or kind than those of the run.
    """
    own, folder = folder is None, folder or run.environment["dataset"]["folder"]
    if own and folder and not Path(folder).exists():
        raise UserError(
            f"{run.folder}: its prepared data are gone from {folder}. They are made again by: pggan train --resume "
            f"{shell_path(run.folder)}. Or give --data SHARDS."
        )
    if folder is None:
        raise UserError(f"{run.folder / 'environment.json'}: does not say where its data are. Give --data FOLDER.")
    shards, plan = Shards(folder, verify=False), run.plan
    found = shards.manifest.aspect, shards.manifest.channels
    if found != (plan.aspect, plan.data_channels):
        raise UserError(
            f"{shards.folder}: has images of {_describe(*found)}, and {run.folder} was trained on images of "
            f"{_describe(plan.aspect, plan.data_channels)}. Give --data FOLDER with the shards of the run."
        )
    return shards


def _describe(aspect: Aspect, channels: int) -> str:
    return f"the shape {name_aspect(aspect)} with {channels} channel{'s' * (channels > 1)}"


def _keep_pixels(images: np.ndarray) -> np.ndarray:
    return images


def find_nearest(
    images: np.ndarray,
    shards: Shards,
    k: int,
    mirror: bool,
    own: Sequence[int] | np.ndarray | None = None,
    embed: Callable[[np.ndarray], np.ndarray] = _keep_pixels,
    held_out: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest images of a data set for each image, by root mean square difference.

    Args:
        images: uint8 [N, H, W, C], as the data set has them: with premultiplied alpha if any.
        shards: The data set; all of its images of this size are read once.
        k: Number of nearest images to find for each image.
        mirror: Whether to compare with mirrored images of the data set too.
        own: Index of each image in the data set, [N], if `images` are part of it. An image is then
            not compared with itself.
        embed: Function from images, uint8 [N, H, W, C], to numbers [N, ...] that are compared. By
            default the pixels, 0..255.
        held_out: Share of the data set that was not trained on, 0..1, and is left out.

    Returns:
        Indices in the data set [N, k] and distances [N, k], nearest first.
    """

    def flatten(some):
        # In float64, squared distances of pixels are exact: they are integers below 2^53.
        return embed(some).reshape(len(some), -1).astype(np.float64)

    size = max(images.shape[1:3])
    count = shards.count(size)
    trained = pipeline.train_indices(np.arange(pipeline.train_count(count, held_out)), count, held_out)
    queries = flatten(images)
    best, found = np.full((len(images), 0), np.inf), np.zeros((len(images), 0), np.int64)
    block_size = max(16, _BLOCK * COMPARED**2 // max(COMPARED, size) ** 2)
    for first in range(0, len(trained), block_size):
        numbers = trained[first : first + block_size]
        block = shards.read(size, numbers)
        squares = _compute_squares(queries, flatten(block))
        if mirror:
            squares = np.minimum(squares, _compute_squares(queries, flatten(block[:, :, ::-1])))
        if own is not None:
            squares[np.asarray(own)[:, None] == numbers] = np.inf
        best = np.concatenate([best, squares], axis=1)
        found = np.concatenate([found, np.broadcast_to(numbers, squares.shape)], axis=1)
        keep = np.argsort(best, axis=1, kind="stable")[:, :k]
        best, found = np.take_along_axis(best, keep, 1), np.take_along_axis(found, keep, 1)
    return found, np.sqrt(best / queries.shape[1])


def _compute_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the squared distances [N, M] between vectors [N, D] and [M, D]."""
    return np.maximum(np.square(x).sum(1)[:, None] + np.square(y).sum(1)[None] - 2 * x @ y.T, 0)


def _halves(shards: Shards, size: int, count: int) -> bool:
    """Tell whether a data set has the same `count` images at half of the resolution `size`."""
    return size % 2 == 0 and fits(size // 2, shards.manifest.aspect) and shards.count(size // 2) == count


@dataclass(frozen=True)
class NearestImages:
    """Samples and their nearest training images, sorted by the distance to the nearest one."""

    samples: np.ndarray  # uint8 [N, H, W, C], with straight alpha if any
    near: np.ndarray  # nearest training images, uint8 [N, k, H, W, C], nearest first; likewise
    numbers: np.ndarray  # indices of `near` in the data set, [N, k]
    distances: np.ndarray  # distances of `near` to the samples, [N, k]
    among_data: np.ndarray  # distances of M training images to their nearest other one, [M]
    seeds: np.ndarray  # seeds of the samples, [N]
    measure: str  # description of the distance in words

    def draw(self, rows: int) -> np.ndarray:
        """Draw one row for each of the first `rows` samples, and return uint8 [H, W, C].

        A row shows the sample, a gap, then its nearest training images.
        """
        # [rows, 1 + k, H, W, C]
        cells = np.concatenate([self.samples[:rows, None], self.near[:rows]], axis=1)
        sheet = pixels.tile(pixels.show(cells.reshape(-1, *cells.shape[2:]), _SHOWN), cells.shape[1], _EDGE)
        _, width = pixels.find_enlarged_shape(cells.shape[2:4], _SHOWN)
        gap = np.full((len(sheet), width // 8, sheet.shape[2]), 128, np.uint8)
        return np.concatenate([sheet[:, : width + _EDGE], gap, sheet[:, width + _EDGE :]], axis=1)

    def describe(self, rows: int) -> str:
        """Return a description of the picture of `draw`, with median distances for comparison."""
        return (
            f"Left: of {len(self.samples)} samples the {min(rows, len(self.samples))} that come nearest to a training image; "
            f"right: the training images nearest to them. Median distance of a sample to its nearest training image: "
            f"{np.median(self.distances[:, 0]):.3g}; of a training image to its nearest other: {np.median(self.among_data):.3g} "
            f"({self.measure}). Copies would be far nearer than training images are to each other."
        )


def get_picture_size(shape: tuple[int, int], rows: int, k: int) -> tuple[int, int]:
    """Return height and width in pixels of the picture that `NearestImages.draw` returns.

    Args:
        shape: Height and width of the samples in pixels.
        rows: Number of samples that are drawn.
        k: Number of training images for each sample.
    """
    enlarged = pixels.find_enlarged_shape(shape, _SHOWN)
    height, width = pixels.Sheet(rows * (1 + k), 1 + k, _EDGE).size(*enlarged)
    return height, width + enlarged[1] // 8


def compare_samples(
    sampler: synthesis.Sampler,
    shards: Shards,
    seeds: Sequence[int],
    k: int,
    mirror: bool,
    *,
    labels: np.ndarray | None = None,
    truncation: float = 1.0,
    features: Features | None = None,
    held_out: float = 0.0,
) -> NearestImages:
    """Find the nearest training images of samples.

    For comparison, the same number of training images, if there are as many, is compared with the
    other training images.

    Args:
        sampler: Sampler of the generator; samples are made at its last resolution.
        shards: The training data.
        seeds: One seed for each sample.
        k: Number of training images to find for each sample.
        mirror: Whether to compare with mirrored training images too; true if the run was trained
            with them.
        labels: Class of each sample, int64 [N]; by default the seed modulo the number of classes.
        truncation: 1 uses latents as in training; below 1, samples are more typical.
        features: Network whose features are compared; by default pixels are compared.
        held_out: Share of the data set that was not trained on, 0..1.
    """
    generator = sampler.generator
    stage, all_seeds = generator.resolutions[-1], np.asarray(seeds)
    z = synthesis.latents(seeds, generator.latent_size)
    if labels is None:
        labels = all_seeds % max(1, len(generator.classes))
    samples = sampler.images(z, stage, truncation=truncation, labels=labels)
    everything, size = shards.count(stage), stage
    count = pipeline.train_count(everything, held_out)
    measure, embed = "root mean square of pixels, 0 to 255", _keep_pixels
    if features:
        extract, measure = features.extract, f"root mean square of features '{features.name}'"
        embed = lambda images: extract(transparency.flatten(images, premultiplied=True))[0]  # noqa: E731
    else:
        # Compare at a smaller resolution if the data set has the same images there. If it also
        # contains smaller photos, indices differ between resolutions.
        while size > COMPARED and _halves(shards, size, everything):
            size //= 2
    reduced, k = pixels.average_blocks(transparency.premultiply(samples), stage // size), min(k, count)
    numbers, distances = find_nearest(reduced, shards, k, mirror, embed=embed, held_out=held_out)
    some = np.unique(np.linspace(0, count - 1, min(len(seeds), count)).astype(int))
    some = pipeline.train_indices(some, everything, held_out)
    among_data = np.zeros(1)
    if count > 1:
        _, among = find_nearest(shards.read(size, some), shards, 1, mirror, own=some, embed=embed, held_out=held_out)
        among_data = among[:, 0]
    order = np.argsort(distances[:, 0], kind="stable")
    near = transparency.unpremultiply(shards.read(stage, numbers.ravel())).reshape(*numbers.shape, *samples.shape[1:])
    return NearestImages(
        samples=samples[order],
        near=near[order],
        numbers=numbers[order],
        distances=distances[order],
        among_data=among_data,
        seeds=all_seeds[order],
        measure=measure,
    )
