"""`pggan translate`: convert photos with a network that was trained on pairs of images."""

from __future__ import annotations

import click

from pggan_tf import tasks
from pggan_tf.api import Generator, convert
from pggan_tf.commands import shared


@click.command(tasks.Translate.verb)
@shared.photos
@shared.compare
@click.option(
    "--tile",
    type=click.IntRange(1),
    help="side of a tile in pixels, rounded up to a multiple of the size that RUN was trained at; smaller tiles need less memory  [1024]",
)
def command(run, source, out, compare, tile, no_mark, sign, skip_existing):
    """Translate SOURCE, a photo, a folder of photos or a video, with the network of RUN.

    RUN is a run's folder, a generator.keras or hf://USER/NAME, trained on pairs of images. Photos
    of about the size that it was trained at give the best results. Photos larger than a tile are
    converted in overlapping tiles, which are blended. Bit depth, transparency, colour profile and
    EXIF are kept.
    """
    generator = Generator.open(run)
    generator.require_verb(tasks.Translate.verb)
    convert(
        generator, source, out, compare=compare, tile=tile, mark=not no_mark, skip_existing=skip_existing, sign=sign
    )
