"""The command `pggan prepare`, which turns images of any source into shards.

It makes a job (see `job.Job`) that cuts a square out of each image. With --crop tiles, an image is
instead cut into several squares of its own pixels, called tiles. With --pairs, every image consists
of two pictures side by side, whose squares are stored as one image with six channels.
"""

from __future__ import annotations

import dataclasses
import os
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click
import numpy as np

from pggan_tf.choice import Choice
from pggan_tf.data import shards
from pggan_tf.data.pixels import FILTERS
from pggan_tf.errors import Unreadable, UserError
from preprocessing import command as commands
from preprocessing.options import OutputOptions, Selection

if TYPE_CHECKING:
    from preprocessing.job import Job, Result

CROPS = ("centre", "random", "none", "tiles")
# Half of the time for a drawing is spent in Python. From this many portraits on, it is worth
# starting processes.
MANY_PORTRAITS = 2_000


@dataclass(frozen=True)
class Squares:
    """Work of a job (`Job.work`) that cuts squares out of images, and its options.

    These fields, in this order, are part of the key of every dataset in the cache. If they are
    changed, all cached datasets are prepared again.
    """

    size: int  # side of a square in pixels
    # Stored resolutions, divisors of `size`; empty: `size` and its halvings down to 4.
    resolutions: tuple[int, ...] = ()
    filter: str = "lanczos"  # filter for reducing, one of pixels.FILTERS
    channels: int = 3  # 1, 3, or 6 for two pictures side by side, three channels each
    # One of CROPS, see decode.cut_square; "tiles" cuts the whole image into tiles, see
    # decode.cut_tiles.
    crop: str = "centre"
    # What to do with an image with a side below `size`: "drop" it, "upscale" it, or "keep" it at
    # the largest of `resolutions` that it reaches.
    small: str = "drop"

    def __call__(self, items) -> list[Result]:
        """Cut squares out of a chunk of images, and return the list of Results.

        An image has a Result for each of its squares or, if it cannot be used, one with the reason.

        items: the images, a list of `sources.Item`.
        """
        from preprocessing.job import Result

        results = []
        for item in items:
            more = 0
            try:
                image, more = item.decode(self.channels, self._least_side)
                images = self._cut(image, item.name)
            except Unreadable as reason:
                images = [reason]
            results += [Result(item.name, image, item.label, more=0 if i else more) for i, image in enumerate(images)]
        return results

    @property
    def _least_side(self) -> int:
        """Shortest side of an image in pixels with which it is used."""
        return {"drop": self.size, "upscale": 1, "keep": self.resolutions[0]}[self.small]

    def _cut(self, image, name: str) -> list[np.ndarray]:
        """Cut the squares out of an image.

        Args:
            image: Pillow image of mode L or RGB; with six channels, two pictures side by side.
            name: name of the image, from which the place of a random crop is derived.

        Returns:
            List of squares uint8 [R, R, channels]: one, or one for each tile. R is `size` or, for
            a small image that is kept, the largest of `resolutions` that it reaches.

        Raises:
            Unreadable: if two pictures side by side are too small.
        """
        from pggan_tf.data.decode import cut_square, cut_tiles

        parts, least = [image], self._least_side
        if self.channels == 6:
            width, height = image.width // 2, image.height
            if min(width, height) < least:
                raise Unreadable(f"two of {width}x{height} pixels, smaller than {least}x{least}", "too small")
            parts = [image.crop((left, 0, left + width, height)) for left in (0, width)]
        if self.crop == "tiles":
            tiles = (cut_tiles(part, self.size, self.filter) for part in parts)
            return [np.concatenate(tile, axis=-1) for tile in zip(*tiles)]
        size = self.size
        if self.small == "keep":
            size = max(r for r in self.resolutions if r <= min(parts[0].size))
        # The place of a random crop is derived from the image's name, so that it does not depend on
        # other images.
        where = zlib.crc32(os.fsencode(name)) / 2**32
        squares = [cut_square(part, size, self.filter, self.crop, where) for part in parts]
        return [np.concatenate(squares, axis=-1)]

    def with_resolutions(self) -> Squares:
        """Return a copy whose `resolutions` are complete: in rising order and including `size`.

        Raise UserError if one of them does not divide `size`.
        """
        if unfit := [r for r in self.resolutions if r < 1 or self.size % r]:
            raise UserError(
                f"--resolutions {unfit[0]}: not a divisor of --size {self.size}: each is an exact mean of the full size."
            )
        full = tuple(sorted({*self.resolutions, self.size})) if self.resolutions else shards.halve_resolution(self.size)
        return dataclasses.replace(self, resolutions=full)


def make_job(selection: Selection, squares: Squares, output: OutputOptions | None = None) -> Job:
    """Return the job that cuts squares out of images, for `build.build`.

    Args:
        selection: options that say which images are read.
        squares: options of the squares.
        output: options for writing the results; None for the defaults.

    Raises:
        UserError: if the images cannot be opened or a resolution does not divide the size.
    """
    from preprocessing.job import Job

    squares, output = squares.with_resolutions(), output or OutputOptions()
    drawn = selection.count if "portraits" in selection.places else None
    return Job(
        selection.open(squares.size),
        squares,
        squares.resolutions,
        {
            "sources": list(selection.places),
            "classes": list(selection.classes),
            "limit": selection.limit,
            "count": drawn,
            **asdict(squares),
            **asdict(output),
        },
        channels=squares.channels,
        filter=squares.filter,
        output=output,
        processes=drawn is not None and drawn >= MANY_PORTRAITS,
    )


def choose_squares(*, gray: bool, pairs: bool, upscale_small: bool, keep_small: bool, **squares) -> Squares:
    """Return the squares that options of the command line describe.

    Args:
        gray: whether to store one channel.
        pairs: whether every image is two side by side.
        upscale_small: whether to enlarge small images.
        keep_small: whether to keep small images at a lower resolution.
        **squares: the other fields of `Squares`.

    Raises:
        UserError: if the options do not go together.
    """
    if squares["crop"] == "tiles" and keep_small:
        raise UserError("--crop tiles and --keep-small: tiles are of one size. Give one of them.")
    if upscale_small and keep_small:
        raise UserError("--upscale-small and --keep-small: give one of them.")
    if pairs and gray:
        raise UserError("--pairs and --gray: give one of them.")
    small = "upscale" if upscale_small else "keep" if keep_small else "drop"
    return Squares(**squares, channels=1 if gray else 6 if pairs else 3, small=small)


class _Resolutions(click.ParamType):
    """Command-line parameter type that converts '8,16,32' to a tuple of resolutions."""

    name = "a,b,…"

    def convert(self, value, param, ctx):
        from pggan_tf.config import parse

        return parse("resolutions", value)


@click.command("prepare")
@click.argument("sources", nargs=-1, required=True)
@click.argument("out")
@click.option("--size", type=click.IntRange(4, 1024), required=True, help="side of the squares in pixels")
@click.option(
    "--resolutions", type=_Resolutions(), default=(), help="resolutions to store  [halvings of --size down to 4]"
)
@click.option(
    "--filter",
    type=Choice(FILTERS),
    default="lanczos",
    show_default=True,
    help="filter that photos are reduced with",
)
@click.option(
    "--crop",
    type=Choice(CROPS),
    default="centre",
    show_default=True,
    help="which square of a photo; none: all of it, squeezed; tiles: all of it, cut into squares that are not reduced",
)
@click.option("--upscale-small", is_flag=True, help="enlarge images smaller than --size instead of leaving them out")
@click.option(
    "--keep-small",
    is_flag=True,
    help="keep images smaller than --size at the largest resolution that they reach",
)
@click.option(
    "--pairs", is_flag=True, help="every image is two side by side, for --task translate; needed for pairs:DIR too"
)
@click.option("--count", type=click.IntRange(1), default=10_000, show_default=True, help="number of portraits to draw")
@commands.job_options
def command(selection, output, running, out, **squares):
    """Turn SOURCES into shards in the new folder OUT.

    A source is a folder of images, a zip or tar archive of them, an .npz or .npy file of arrays,
    `portraits` (drawn faces), tfds:NAME[/config][:split] (a data set of tensorflow-datasets), or
    pairs:DIR (two folders with files of the same names). Several sources are joined. Sources and
    OUT may be at any fsspec URL. If the command was interrupted, run it again to continue.
    """
    commands.write_shards(make_job(selection, choose_squares(**squares), output), out, running)
