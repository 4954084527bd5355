"""`pggan translate`: photos to what they were paired with in training."""

from __future__ import annotations

import click

from pggan_tf import tasks
from pggan_tf.convert import conversion


@click.command(tasks.Translate.verb)
@click.argument("run")
@click.argument("source")
@click.option("--out", required=True, help="file or folder to write; files there are overwritten")
@click.option("--compare", is_flag=True, help="also write NAME-compare: before and after, side by side")
@click.option(
    "--tile",
    type=click.IntRange(1),
    help="pixels a side that are worked on at once, made a multiple of what RUN was trained at; less needs less memory  [1024]",
)
def command(run, source, out, compare, tile):
    """SOURCE, a photo, a folder of photos or a video, turned by RUN into what it was taught by pairs.

    Photos of about the size that RUN was trained at come out best. Larger ones than a tile are made of tiles that overlap and
    are blended. Depth, transparency, colour profile and EXIF are kept.
    """
    network = conversion.load_network(run, tasks.Translate.verb)
    conversion.convert(source, out, tasks.task_of(network).converter(network, tile), compare=compare)
