"""`pggan grid`: show the same latents at every stage, or in every class, as one picture.

A latent is the vector of random numbers that a generator turns into an image; a stage is a
resolution that the generator was trained at.
"""

from __future__ import annotations

from pathlib import Path

import click

from pggan_tf import synthesis
from pggan_tf.commands import shared
from pggan_tf.data import marks, pixels
from pggan_tf.errors import UserError
from pggan_tf.runs import generators


@click.command("grid")
@click.argument("source")
@click.option("--stages", "by", flag_value="stages", help="show a row for each stage, from the first to the last")
@click.option("--classes", "by", flag_value="classes", help="show a row for each class of a conditional generator")
@click.option("--out", default="grid.png", show_default=True, help="picture to write")
@click.option("--seeds", default="0-9", show_default=True, help="seeds of the images, such as 0-9 or 1,5,7-9")
@click.option("--class", "class_name", help="with --stages: class of the images  [every class in turn]")
@shared.truncation
@shared.no_mark
def command(source, by, out, seeds, class_name, truncation, no_mark):
    """Show the same latents at every stage, or in every class, as one picture.

    SOURCE is a run's folder, a generator.keras, hf://USER/NAME or portraits.
    """
    from pggan_tf import terminal
    from pggan_tf.report import pictures

    if not by:
        raise UserError("rows of what? Give --stages or --classes. For a plain grid: pggan generate SOURCE --grid FILE")
    if by == "classes" and class_name:
        raise UserError("--class with --classes: it shows them all. Give one of them.")
    out = pixels.check_picture("--out", out)
    numbers = synthesis.parse_seeds(seeds)
    terminal.start_tensorflow()
    generator = generators.load_from_latents(source)
    if by == "classes" and not generator.classes:
        raise UserError(f"--classes: {source} was trained without classes.")
    sampler, z = synthesis.Sampler(generator), synthesis.latents(numbers, generator.latent_size)
    if by == "stages":
        _check_size(out, len(generator.resolutions), len(numbers), pictures.get_stage_shape(generator))
        labels = synthesis.choose_labels(generator, source, class_name, numbers)
        sheet = pictures.draw_stages(sampler, z, labels, truncation)
    else:
        _check_size(out, len(generator.classes), len(numbers), pictures.get_class_shape(generator))
        sheet = pictures.draw_classes(sampler, z, len(generator.classes), truncation)
        click.echo("from the top: " + ", ".join(generator.classes))
    mark = None if no_mark else generators.make_mark(source, marks.GENERATED)
    pixels.save(Path(out), sheet, marks.make_packet(mark))
    click.echo(out)


def _check_size(out: str, rows: int, columns: int, shape: tuple[int, int]) -> None:
    """Raise UserError if the picture is too large for the format of its file.

    Args:
        out: the picture's file.
        rows: number of rows of images.
        columns: number of images in a row.
        shape: height and width of an image in pixels.
    """
    pixels.check_size("--out", out, *pixels.Sheet(rows * columns, columns, edge=1).size(*shape))
