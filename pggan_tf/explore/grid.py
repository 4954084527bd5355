"""`pggan grid`: the same latents at every stage, or in every class, as one picture."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from pggan_tf import synthesis
from pggan_tf.data import pixels
from pggan_tf.errors import UserError

_SHOWN = 64  # pixels at least, of an image


def _shown(generator, by: str) -> int:
    """Pixels a side of an image in a grid of stages or of classes."""
    last = generator.resolutions[-1]
    return max(_SHOWN, last) if by == "stages" else pixels.enlarged_side(last, _SHOWN)


def stages(sampler, z: np.ndarray, labels: np.ndarray, truncation: float = 1.0) -> np.ndarray:
    """Latents [N, L] -> a picture with one row for each stage, all as large as the last."""
    from PIL import Image

    size = _shown(sampler.generator, "stages")
    sheet = pixels.Sheet(len(z) * len(sampler.generator.resolutions), len(z), edge=1)
    for stage in sampler.generator.resolutions:
        images = sampler.images(z, stage, truncation=truncation, labels=labels)
        factor = size // stage
        images = images.repeat(factor, axis=1).repeat(factor, axis=2)
        if images.shape[1] < size:  # stages that do not divide the last one
            images = np.stack([
                np.asarray(Image.fromarray(i.squeeze()).resize((size, size), Image.Resampling.NEAREST)).reshape(size, size, -1)
                for i in images
            ])  # fmt: skip
        sheet.add(images)
    return sheet.picture


def classes(sampler, z: np.ndarray, count: int, truncation: float = 1.0) -> np.ndarray:
    """Latents [N, L] -> a picture with one row for each of the first `count` classes, and the same latent down each column."""
    images = sampler.images(
        np.tile(z, (count, 1)),
        sampler.generator.resolutions[-1],
        truncation=truncation,
        labels=np.repeat(np.arange(count), len(z)),
    )
    return pixels.tile(pixels.enlarge(images, _SHOWN), len(z), edge=1)


@click.command("grid")
@click.argument("source")
@click.option("--stages", "by", flag_value="stages", help="a row for each stage, from the first to the last")
@click.option("--classes", "by", flag_value="classes", help="a row for each class of a conditional generator")
@click.option("--out", default="grid.png", show_default=True, help="picture to write")
@click.option("--seeds", default="0-9", show_default=True, help="which images, such as 0-9 or 1,5,7-9")
@click.option("--class", "class_name", help="with --stages: images of this class  [every class in turn]")
@click.option(
    "--truncation", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="below 1: more typical images"
)
def command(source, by, out, seeds, class_name, truncation):
    """The same latents at every stage, or in every class, of SOURCE, a run's folder or a generator.keras."""
    from pggan_tf import terminal

    if not by:
        raise UserError("rows of what? Give --stages or --classes. For a plain grid: pggan generate SOURCE --grid FILE")
    if by == "classes" and class_name:
        raise UserError("--class with --classes: it shows them all. Give one of them.")
    out = pixels.check_picture("--out", out)
    numbers = synthesis.parse_seeds(seeds)
    terminal.start_tensorflow()
    generator = synthesis.load_from_latents(source)
    if by == "classes" and not generator.classes:
        raise UserError(f"--classes: {source} was trained without classes.")
    rows, side = len(generator.resolutions if by == "stages" else generator.classes), _shown(generator, by)
    pixels.check_size("--out", out, *pixels.Sheet(rows * len(numbers), len(numbers), edge=1).size(side, side))
    sampler, z = synthesis.Sampler(generator), synthesis.latents(numbers, generator.latent_size)
    if by == "stages":
        sheet = stages(sampler, z, synthesis.choose_labels(generator, source, class_name, numbers), truncation)
    else:
        sheet = classes(sampler, z, len(generator.classes), truncation)
        click.echo("from the top: " + ", ".join(generator.classes))
    pixels.save(Path(out), sheet)
    click.echo(out)
