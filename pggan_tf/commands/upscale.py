"""`pggan upscale`: enlarge photos and videos."""

from __future__ import annotations

import click

from pggan_tf import tasks
from pggan_tf.api import Generator, convert
from pggan_tf.commands import shared
from pggan_tf.option_types import FloatRange


@click.command(tasks.Upscale.verb)
@shared.photos
@click.option("--scale", type=FloatRange(1, 16), help="factor of enlargement; 1 restores only  [as in training]")
@click.option("--to", metavar="WIDTHxHEIGHT", help="pixels into which the enlarged photo shall fit, such as 4000x3000")
@click.option(
    "--denoise",
    type=FloatRange(0, 1),
    help="level of SOURCE's noise: 0 keeps its grain, 1 removes the most; for a RUN that was trained with --denoise  "
    "[the network finds out itself]",
)
@click.option(
    "--tile",
    type=click.IntRange(1),
    help="side of a tile of SOURCE in pixels; smaller tiles need less memory but, as tiles overlap, more time  "
    "[256, or 4 times the network's context if that is more]",
)
@shared.compare
def command(run, source, out, scale, to, denoise, tile, compare, no_mark, sign, skip_existing):
    """Enlarge SOURCE, a photo, a folder of photos or a video, with the network of RUN.

    RUN is a run's folder, a generator.keras or hf://USER/NAME. Bit depth, transparency, colour
    profile and EXIF are kept; transparency is enlarged with a bicubic filter. The whole result is
    held in memory. To write it, .png takes up to three times that memory, .tif no more.
    """
    generator = Generator.open(run)
    generator.require_verb(tasks.Upscale.verb)
    convert(
        generator,
        source,
        out,
        compare=compare,
        tile=tile,
        scale=scale,
        to=to,
        denoise=denoise,
        mark=not no_mark,
        skip_existing=skip_existing,
        sign=sign,
    )
