"""`pggan upscale`: enlarge photos and videos."""

from __future__ import annotations

import click

from pggan_tf import tasks
from pggan_tf.api import Generator, convert
from pggan_tf.commands import shared
from pggan_tf.errors import UserError


@click.command(tasks.Upscale.verb)
@shared.photos
@click.option(
    "--scale", type=click.IntRange(1), help="factor of enlargement; it must be the one that RUN was trained for"
)
@click.option(
    "--tile",
    type=click.IntRange(1),
    help="side of a tile of SOURCE in pixels; smaller tiles need less memory but, as tiles overlap, more time  "
    "[256, or 4 times the network's context if that is more]",
)
@shared.compare
def command(run, source, out, scale, tile, compare, no_mark):
    """Enlarge SOURCE, a photo, a folder of photos or a video, with the network of RUN.

    RUN is a run's folder, a generator.keras or hf://USER/NAME. Bit depth, transparency, colour
    profile and EXIF are kept; transparency is enlarged with a bicubic filter. The whole result is
    held in memory. To write it, .png takes up to three times that memory, .tif no more.
    """
    generator = Generator.open(run)
    generator.require_verb(tasks.Upscale.verb)
    if scale not in (None, generator.scale):
        raise UserError(
            f"--scale {scale}: {run} was trained for {generator.scale}. Leave --scale out, or train another."
        )
    convert(generator, source, out, compare=compare, tile=tile, mark=not no_mark)
