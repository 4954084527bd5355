"""`pggan colorize`: colour for gray photos and videos."""

from __future__ import annotations

from collections.abc import Callable

import click
import numpy as np

from pggan_tf.convert import conversion, tiles
from pggan_tf.data import colour, pixels
from pggan_tf.errors import UserError

TASKS = ("colorize", "recolor")  # of the runs that this takes

_STRIP = 1 << 20  # pixels that are held in floating point
_LONGEST = 32  # the longer side is at most so many times the size: beyond, a strip is looked at smaller


def _reduced(photo, size: tuple[int, int]) -> np.ndarray:
    """uint8 [h,w,3]: a photo as the network has been shown photos, reduced by Lanczos in 8 bits."""
    from PIL import Image

    from pggan_tf.data import decoders

    planes = photo.pixels if photo.pixels.dtype == np.uint8 else decoders.eight_bits(photo.pixels)
    picture = Image.fromarray(planes.reshape(*photo.size, -1).squeeze(-1) if photo.pixels.shape[2] == 1 else planes)
    return np.asarray(picture.resize(size[::-1], Image.Resampling.LANCZOS).convert("RGB"))


def _network_size(height: int, width: int, size: int) -> tuple[int, int]:
    """The photo's proportions with `size` as the shorter side."""
    factor = min(size / min(height, width), _LONGEST * size / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def ab_of(network, photo, size: int) -> np.ndarray:
    """float32 [h,w,2] in -1..1: the colours that the network gives a photo at its own resolution. network: [h,w,1] -> [h,w,2].

    A panorama is looked at in windows twice as long as high: in the whole of it, a network would see nothing like what it knows.
    """
    height, width = _network_size(*photo.size, size)
    lightness, _ = colour.split_lab(pixels.to_unit(_reduced(photo, (height, width))))
    if max(height, width) <= 2 * size:
        return network(lightness)

    def sixteen_bits(part):
        return np.rint((np.clip(network(part), -1, 1) + 1) * 32767.5).astype(np.uint16)

    ab = tiles.blended(sixteen_bits, lightness, 2 * size, size // 2)
    return ab.astype(np.float32) / 32767.5 - 1


def joined(photo, ab: np.ndarray, check: Callable[[], None]):
    """A photo's own L at full resolution and bit depth, with ab [h,w,2] in -1..1 enlarged to it. check: before every strip."""
    height, width = photo.size
    out = np.empty((height, width, 3), photo.pixels.dtype)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        check()
        bottom = min(top + rows, height)
        lightness, _ = colour.split_lab(pixels.to_unit(photo.rgb()[top:bottom]))
        colours = pixels.resized_rows(ab, photo.size, "bicubic", top, bottom)
        out[top:bottom] = pixels.from_unit(colour.join_lab(lightness, colours), out.dtype)
    return photo.changed(out)


def colorizer(network, size: int | None = None, check: Callable[[], None] = lambda: None):
    """A network that was trained to colorize or to recolor -> function: photos.Photo, progress -> photos.Photo. check: as of
    `conversion.as_function`; progress: as of `tiles.tiled`."""
    function = conversion.as_function(network, 1, check)
    if network.task == "recolor":
        # Gray to RGB at the photo's own resolution.
        def recolored(part):
            return pixels.from_unit(function(colour.gray(pixels.to_unit(part))), part.dtype)

        tile = max(256, 4 * network.context)
        return lambda photo, progress=tiles.silent: photo.changed(
            tiles.tiled(recolored, photo.rgb(), tile, network.context, progress=progress)
        )
    size = size or network.resolutions[-1]
    # At the size that it was trained at there is little to wait for.
    return lambda photo, progress=tiles.silent: joined(photo, ab_of(function, photo, size), check)


@click.command("colorize")
@click.argument("run")
@click.argument("source")
@click.option("--out", required=True, help="file or folder to write; files there are overwritten")
@click.option("--compare", is_flag=True, help="also write NAME-compare: before and after, side by side")
@click.option(
    "--size", type=click.IntRange(16, 4096), help="pixels of the shorter side that the network sees  [as trained]"
)
def command(run, source, out, compare, size):
    """Colour for SOURCE, a photo, a folder of photos or a video, by RUN, a run's folder or a generator.keras.

    The network gives colours at its own resolution; detail is the photo's own. Depth, transparency and EXIF are kept.
    """
    network = conversion.network_for(run, TASKS, "colorize")
    if size and network.task == "recolor":
        raise UserError(f"--size {size}: {run} colours every pixel where it is; leave --size out.")
    conversion.convert(source, out, colorizer(network, size), compare=compare)
