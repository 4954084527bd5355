"""`pggan colorize`: colour gray photos and videos."""

from __future__ import annotations

import click

from pggan_tf import tasks
from pggan_tf.api import Generator, convert
from pggan_tf.commands import shared


@click.command(tasks.Colorize.verb)
@shared.photos
@shared.compare
@click.option(
    "--size",
    type=click.IntRange(16, 4096),
    help="shorter side in pixels of the reduced photo that the network sees  [as in training]",
)
def command(run, source, out, compare, size, no_mark):
    """Colour SOURCE, a photo, a folder of photos or a video, with the network of RUN.

    RUN is a run's folder, a generator.keras or hf://USER/NAME. The network predicts colours at its
    own resolution; detail is the photo's own. Bit depth, transparency and EXIF are kept.
    """
    generator = Generator.open(run)
    generator.require_verb(tasks.Colorize.verb)
    convert(generator, source, out, compare=compare, size=size, mark=not no_mark)
