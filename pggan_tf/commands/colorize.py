"""`pggan colorize`: colour gray photos and videos."""

from __future__ import annotations

import click

from pggan_tf import tasks
from pggan_tf.api import Generator, convert
from pggan_tf.commands import shared
from pggan_tf.errors import UserError
from pggan_tf.option_types import FloatRange


@click.command(tasks.Colorize.verb)
@shared.photos
@shared.compare
@click.option(
    "--size",
    type=click.IntRange(16, 4096),
    help="shorter side in pixels of the reduced photo that the network sees  [as in training]",
)
@click.option(
    "--hint", "points", multiple=True, metavar="X,Y=#RRGGBB", help="colour of a place of the photo, in pixels"
)
@click.option("--hints", "picture", metavar="FILE", help="a picture with coloured dots, transparent or gray elsewhere")
@click.option("--reference", metavar="FILE", help="a photo whose palette the colours get")
@click.option(
    "--saturation", type=FloatRange(0, 4), default=1.0, show_default=True, help="factor of the distance from gray"
)
@click.option("--no-steady", is_flag=True, help="colour every frame of a video alone, whatever the one before it got")
def command(
    run, source, out, compare, size, points, picture, reference, saturation, no_steady, no_mark, sign, skip_existing
):
    """Colour SOURCE, a photo, a folder of photos or a video, with the network of RUN.

    RUN is a run's folder, a generator.keras or hf://USER/NAME. The network predicts colours at its
    own resolution; detail is the photo's own. Bit depth, transparency and EXIF are kept.
    """
    if points and picture:
        raise UserError("--hint and --hints: give one of them.")
    generator = Generator.open(run)
    generator.require_verb(tasks.Colorize.verb)
    wishes = {"hints": picture or list(points) or None, "reference": reference, "saturation": saturation}
    convert(
        generator,
        source,
        out,
        compare=compare,
        size=size,
        steady=not no_steady,
        mark=not no_mark,
        skip_existing=skip_existing,
        sign=sign,
        **wishes,
    )
