"""`pggan translate`: photos to what they were paired with in training."""

from __future__ import annotations

import math

import click
import numpy as np

from pggan_tf import pixels
from pggan_tf.convert import conversion

TASKS = ("translate",)  # of the runs that this takes


def translator(network):
    """A network that was trained to translate -> function: photos.Photo -> photos.Photo, of the same size."""
    function = conversion.as_function(network, 3)

    def change(photo):
        height, width = photo.size
        # What is missing to sides that it can halve is mirrored, so that the photo keeps its proportions.
        missing = [(0, math.ceil(side / network.multiple) * network.multiple - side) for side in (height, width)]
        given = np.pad(pixels.to_unit(photo.rgb()), [*missing, (0, 0)], mode="symmetric")
        made = function(given * 2 - 1)[:height, :width]
        return photo.changed(pixels.from_unit((made + 1) / 2, photo.pixels.dtype))

    return change


@click.command("translate")
@click.argument("run")
@click.argument("source")
@click.option("--out", required=True, help="file or folder to write; files there are overwritten")
@click.option("--compare", is_flag=True, help="also write NAME-compare: before and after, side by side")
def command(run, source, out, compare):
    """SOURCE, a photo, a folder of photos or a video, turned by RUN into what it was taught by pairs.

    Photos of about the size that RUN was trained at come out best.
    """
    conversion.convert(source, out, translator(conversion.network_for(run, TASKS, "translate")), compare=compare)
