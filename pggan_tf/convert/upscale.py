"""`pggan upscale`: larger photos and videos."""

from __future__ import annotations

from collections.abc import Callable

import click
import numpy as np

from pggan_tf.convert import conversion, tiles
from pggan_tf.data import colour, pixels
from pggan_tf.errors import UserError

TASKS = ("upscale",)  # of the runs that this takes


def _enlarged(alpha: np.ndarray, scale: int) -> np.ndarray:
    """[h,w,1] -> [scale h, scale w, 1] of the same type, bicubic."""

    def bicubic(part):
        size = (scale * part.shape[0], scale * part.shape[1])
        values = pixels.resized_rows(part, size, "bicubic", 0, size[0])
        return np.clip(np.rint(values), 0, np.iinfo(part.dtype).max).astype(part.dtype)

    return tiles.tiled(bicubic, alpha, 1024, 4, scale)


def upscaler(network, tile: int | None = None, check: Callable[[], None] = lambda: None):
    """A network that was trained to upscale -> function: photos.Photo, progress -> photos.Photo; gray stays gray. check: as of
    `conversion.as_function`; progress: as of `tiles.tiled`."""
    function = conversion.as_function(network, 3, check)
    if tile and tile <= 2 * network.context:
        raise UserError(
            f"--tile {tile}: too small, as the network looks {network.context} pixels around. Expected more than "
            f"{2 * network.context}; {4 * network.context} and more waste less work."
        )
    tile = tile or max(256, 4 * network.context)

    def enlarged(part):  # uint [h,w,1|3]
        low = np.broadcast_to(pixels.to_unit(part), (*part.shape[:2], 3))
        high = (function(low) + 1) / 2
        return pixels.from_unit(colour.gray(high) if part.shape[2] == 1 else high, part.dtype)

    def change(photo, progress=tiles.silent):
        high = tiles.tiled(enlarged, photo.pixels, tile, network.context, network.scale, progress)
        return photo.changed(high, None if photo.alpha is None else _enlarged(photo.alpha, network.scale))

    return change


@click.command("upscale")
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
    network = conversion.network_for(run, TASKS, "upscale")
    if scale not in (None, network.scale):
        raise UserError(f"--scale {scale}: {run} was trained for {network.scale}. Leave --scale out, or train another.")
    conversion.convert(source, out, upscaler(network, tile), network.scale, compare)
