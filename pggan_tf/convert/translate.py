"""`pggan translate`: photos to what they were paired with in training."""

from __future__ import annotations

import math

import click

from pggan_tf.convert import conversion, tiles
from pggan_tf.data import pixels

TASKS = ("translate",)  # of the runs that this takes


_TILE = 1024  # pixels a side


def translator(network, tile: int | None = None):
    """A network that was trained to translate -> function: photos.Photo, progress -> photos.Photo, of the same size.
    progress: as of `tiles.tiled`."""
    function = conversion.as_function(network, 3)
    tile = math.ceil((tile or _TILE) / network.multiple) * network.multiple

    def translated(part):
        return pixels.from_unit((function(pixels.to_unit(part) * 2 - 1) + 1) / 2, part.dtype)

    # A U-Net looks at all that it is given: tiles differ a little, whatever they share, and are blended where they do.
    return lambda photo, progress=tiles.silent: photo.changed(
        tiles.blended(translated, photo.rgb(), tile, tile // 4, progress)
    )


@click.command("translate")
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
    network = conversion.network_for(run, TASKS, "translate")
    conversion.convert(source, out, translator(network, tile), compare=compare)
