"""`pggan upscale`: larger photos and videos."""

from __future__ import annotations

import click

from pggan_tf import tasks
from pggan_tf.convert import conversion
from pggan_tf.errors import UserError


@click.command(tasks.Upscale.verb)
@click.argument("run")
@click.argument("source")
@click.option("--out", required=True, help="file or folder to write; files there are overwritten")
@click.option("--scale", type=click.IntRange(1), help="how many times as large; what RUN was trained for  [that]")
@click.option(
    "--tile",
    type=click.IntRange(1),
    help="pixels of SOURCE a side that are worked on at once; less needs less memory and more time, for tiles overlap  [256, or 4 times "
    "what the network looks around]",
)
@click.option("--compare", is_flag=True, help="also write NAME-compare: before and after, side by side")
def command(run, source, out, scale, tile, compare):
    """SOURCE, a photo, a folder of photos or a video, enlarged by RUN, a run's folder or a generator.keras.

    Depth, transparency, colour profile and EXIF are kept; transparency is enlarged by a cubic filter. The result is held
    whole: as .tif it is written from there, as .png it takes up to three times its memory.
    """
    network = conversion.load_network(run, tasks.Upscale.verb)
    if scale not in (None, network.scale):
        raise UserError(f"--scale {scale}: {run} was trained for {network.scale}. Leave --scale out, or train another.")
    change = tasks.task_of(network).converter(network, tile)
    conversion.convert(source, out, change, network.scale, compare)
