"""`pggan neighbours`: the training images that come nearest to samples. Has the generator learned by heart?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from pggan_tf import synthesis
from pggan_tf.data import pixels
from pggan_tf.errors import UserError

COMPARED = 32  # pixels: images are compared at the largest stage up to this
_BLOCK = 2048  # training images of COMPARED pixels at a time
_SHOWN, _EDGE = 64, 2  # pixels at least, in pictures; and between them


def training_data(run, folder: str | None = None):
    """The shards that a run (report.Run) was trained on; UserError where they are gone."""
    from pggan_tf.data.shards import Shards

    folder = folder or run.environment["dataset"]["folder"]
    if folder is None:
        raise UserError(f"{run.folder / 'environment.json'}: does not say where its data are. Give --data FOLDER.")
    return Shards(folder, verify=False)


def nearest(
    images: np.ndarray,
    shards,
    k: int,
    mirror: bool,
    own: Sequence[int] | None = None,
    describe: Callable[[np.ndarray], np.ndarray] = lambda images: images,
) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, R, R, C] -> (numbers [N, k] of the nearest images of the dataset, their distances [N, k]), nearest first.

    Distance: root mean square of the difference of pixels, 0..255, or of what `describe` makes of images. mirror: whether
    the dataset's images count mirrored too. own: number of each image itself in the dataset, which is then left out.
    """

    def numbers_of(some):
        return describe(some).reshape(len(some), -1).astype(np.float64)  # exact for pixels: whole numbers below 2^53

    size, count = images.shape[1], shards.count(images.shape[1])
    queries = numbers_of(images)
    best, found = np.full((len(images), 0), np.inf), np.zeros((len(images), 0), np.int64)
    together = max(16, _BLOCK * COMPARED**2 // max(COMPARED, size) ** 2)
    for first in range(0, count, together):
        numbers = np.arange(first, min(first + together, count))
        block = shards.read(size, numbers)
        squares = _squares(queries, numbers_of(block))
        if mirror:
            squares = np.minimum(squares, _squares(queries, numbers_of(block[:, :, ::-1])))
        if own is not None:
            inside = (np.asarray(own) >= first) & (np.asarray(own) < first + len(numbers))
            squares[inside, np.asarray(own)[inside] - first] = np.inf
        best = np.concatenate([best, squares], axis=1)
        found = np.concatenate([found, np.broadcast_to(numbers, squares.shape)], axis=1)
        keep = np.argsort(best, axis=1, kind="stable")[:, :k]
        best, found = np.take_along_axis(best, keep, 1), np.take_along_axis(found, keep, 1)
    return found, np.sqrt(best / queries.shape[1])


def _squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[N, D], [M, D] -> squared distances [N, M]."""
    return np.maximum(np.square(x).sum(1)[:, None] + np.square(y).sum(1)[None] - 2 * x @ y.T, 0)


@dataclass(frozen=True)
class Check:
    """Samples, the nearest first, beside their nearest training images; and how near training images are to each other.

    samples: uint8 [N, R, R, C]; near: uint8 [N, k, R, R, C]; distances: [N, k]; among: [M], of training images to their
    nearest other.
    """

    samples: np.ndarray
    near: np.ndarray
    numbers: np.ndarray
    distances: np.ndarray
    among: np.ndarray
    seeds: np.ndarray
    measure: str

    def picture(self, count: int) -> np.ndarray:
        """A row for each of the first `count` samples: itself, a gap, its nearest training images."""
        rows = np.concatenate([self.samples[:count, None], self.near[:count]], axis=1)  # [count, 1 + k, R, R, C]
        sheet = pixels.tile(pixels.enlarge(rows.reshape(-1, *rows.shape[2:]), _SHOWN), rows.shape[1], _EDGE)
        side = pixels.enlarged_side(rows.shape[2], _SHOWN)
        gap = np.full((len(sheet), side // 8, sheet.shape[2]), 128, np.uint8)
        return np.concatenate([sheet[:, : side + _EDGE], gap, sheet[:, side + _EDGE :]], axis=1)

    def text(self, count: int) -> str:
        return (
            f"Left: of {len(self.samples)} samples the {min(count, len(self.samples))} that come nearest to a training image; "
            f"right: the training images nearest to them. Median distance of a sample to its nearest training image: "
            f"{np.median(self.distances[:, 0]):.3g}; of a training image to its nearest other: {np.median(self.among):.3g} "
            f"({self.measure}). Copies would be far nearer than training images are to each other."
        )


def check(
    sampler, stage: int, shards, seeds: Sequence[int], k: int, mirror: bool, labels=None, truncation=1.0, features=None
) -> Check:
    """Compares the images of `seeds` with the whole dataset, and as many of its images with the others.

    features: metrics.features.Features to compare by; without them, pixels.
    """
    seeds = np.asarray(seeds)
    z = synthesis.latents(seeds, sampler.generator.latent_size)
    labels = seeds % max(1, len(sampler.generator.classes)) if labels is None else labels
    samples = sampler.images(z, stage, truncation=truncation, labels=labels)
    count = shards.count(stage)
    if features is None:
        size = stage
        # Where smaller images were kept besides, they are counted among those of fewer pixels.
        while size > COMPARED and size % 2 == 0 and shards.count(size // 2) == count:
            size //= 2
        measure, describe = "root mean square of pixels, 0 to 255", {}
    else:
        size, measure = stage, f"root mean square of features '{features.name}'"
        describe = {"describe": lambda images: features.of(images)[0]}
    k = min(k, count)
    numbers, distances = nearest(pixels.block_mean(samples, stage // size), shards, k, mirror, **describe)
    some = np.unique(np.linspace(0, count - 1, min(len(seeds), count)).astype(int))
    among = np.zeros(1)
    if count > 1:
        among = nearest(shards.read(size, some), shards, 1, mirror, some, **describe)[1][:, 0]
    order = np.argsort(distances[:, 0], kind="stable")
    near = shards.read(stage, numbers.ravel()).reshape(*numbers.shape, *samples.shape[1:])
    return Check(samples[order], near[order], numbers[order], distances[order], among, seeds[order], measure)


@click.command("neighbours")
@click.argument("run")
@click.option("--out", default="neighbours.png", show_default=True, help="picture: each sample beside its nearest")
@click.option("--seeds", default="0-255", show_default=True, help="samples to compare with the training images")
@click.option(
    "--rows", type=click.IntRange(1), default=8, show_default=True, help="samples shown: those that come nearest"
)
@click.option("-k", "k", type=click.IntRange(1), default=6, show_default=True, help="training images shown of each")
@click.option("--class", "class_name", help="samples of this class  [every class in turn]")
@click.option("--truncation", type=click.FloatRange(0, 1), default=1.0, show_default=True)
@click.option("--features", help="compare by these features, as in `pggan evaluate`  [pixels]")
@click.option("--inception-weights", help="file or address of the graph, for --features inception  [fetched once]")
@click.option("--data", help="the run's shards, if they are no longer where it found them")
def command(run, out, seeds, rows, k, class_name, truncation, features, inception_weights, data):
    """Shows the training images that come nearest to samples of RUN: has it learned by heart?"""
    from pggan_tf import report, terminal

    out = pixels.check_picture("--out", out)
    numbers = synthesis.parse_seeds(seeds)
    read = report.read(run)
    shards = training_data(read, data)
    terminal.start_tensorflow()
    generator = synthesis.load_from_latents(run)
    labels = synthesis.choose_labels(generator, run, class_name, numbers)
    if features:
        from pggan_tf.metrics import features as known
        from preprocessing import command as commands

        features = known.load(features, inception_weights or known.INCEPTION_URL, commands.cache_folder(), click.echo)
    sampler, stage = synthesis.Sampler(generator), generator.resolutions[-1]
    columns, side = 1 + min(k, shards.count(stage)), pixels.enlarged_side(stage, _SHOWN)
    height, width = pixels.Sheet(min(rows, len(numbers)) * columns, columns, _EDGE).size(side, side)
    pixels.check_size("--out", out, height, width + side // 8)
    found = check(sampler, stage, shards, numbers, k, read.config.images.mirror, labels, truncation, features)
    for seed, nearest_to_it, distances in list(zip(found.seeds, found.numbers, found.distances))[:rows]:
        near = ", ".join(f"{n} ({d:.3g})" for n, d in zip(nearest_to_it, distances))
        click.echo(f"seed {seed}: training images {near}")
    click.echo(found.text(rows))
    pixels.save(Path(out), found.picture(rows))
    click.echo(out)
