"""The command `pggan prepare`, which turns images of any source into shards.

It makes a job (see `job.Job`) that cuts a square out of each image, or with --shape a rectangle.
With --crop tiles, an image is instead cut into several parts of its own pixels, called tiles. With
--pairs, every image consists of two pictures side by side, whose squares are stored as one image
with six channels.
"""

from __future__ import annotations

import dataclasses
import math
import os
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click
import numpy as np

from pggan_tf import shapes
from pggan_tf.data import shards
from pggan_tf.data.pixels import FILTERS
from pggan_tf.errors import Unreadable, UserError
from pggan_tf.option_types import Choice, ImageCount
from preprocessing import command as commands
from preprocessing.options import OutputOptions, Selection

if TYPE_CHECKING:
    from preprocessing.job import Job, Result

CROPS = ("centre", "random", "none", "fit", "pad", "tiles")
# Half of the time for a drawing is spent in Python. From this many drawings on, it is worth
# starting processes.
MANY_DRAWINGS = 2_000
AUTO = "auto"  # value of --shape that the photos decide


@dataclass(frozen=True)
class Squares:
    """Work of a job (`Job.work`) that cuts squares out of images, and its options.

    With another aspect they are rectangles. These fields, in this order, are part of the key of
    every dataset in the cache. If they are changed, all cached datasets are prepared again.
    """

    size: int  # longer side of a square or rectangle in pixels
    # Stored resolutions, divisors of `size`; empty: `size` and its halvings down to 4.
    resolutions: tuple[int, ...] = ()
    filter: str = "lanczos"  # filter for reducing, one of pixels.FILTERS
    # 1, 3, or with transparency 2 or 4; or 6 for two pictures side by side, three channels each.
    channels: int = 3
    # One of CROPS, see decode.cut; "tiles" cuts the whole image into tiles, see
    # decode.cut_tiles.
    crop: str = "centre"
    # What to do with an image with a side below `size`: "drop" it, "upscale" it, or "keep" it at
    # the largest of `resolutions` that it reaches.
    small: str = "drop"
    aspect: shapes.Aspect = shapes.SQUARE  # width and height in lowest terms

    def list_options(self) -> dict:
        """Return {name: value} of the fields, for `Job.options`; squares do not name their aspect."""
        options = asdict(self)
        if self.aspect == shapes.SQUARE:
            del options["aspect"]
        return options

    def __call__(self, items) -> list[Result]:
        """Cut squares or rectangles out of a chunk of images, and return the list of Results.

        An image has a Result for each of them or, if it cannot be used, one with the reason.

        items: the images, a list of `sources.Item`.
        """
        from preprocessing.job import Result

        results = []
        for item in items:
            more, clear = 0, False
            try:
                image, more, clear = item.decode(self.channels, self._least_side)
                images = self._cut(image, item.name)
            except Unreadable as reason:
                images = [reason]
            lost = clear and self.channels in (1, 3)
            for i, part in enumerate(images):
                results.append(Result(item.name, part, item.label, more=0 if i else more, clear=lost and not i))
        return results

    @property
    def _least_size(self) -> int:
        """Resolution that an image has to reach to be used, in pixels; 1 for any."""
        return {"drop": self.size, "upscale": 1, "keep": self.resolutions[0]}[self.small]

    @property
    def _least_side(self) -> int:
        """Length in pixels that no side of a usable image is below."""
        if self._least_size == 1 or self.crop in ("fit", "pad"):
            return 1
        return min(shapes.shape_at(self._least_size, self.aspect))

    def _reaches(self, width: int, height: int, size: int) -> bool:
        """Tell whether an image need not be enlarged to fill the shape at the resolution `size`.

        If it is used whole, with borders, one of its sides has to fill the shape.
        """
        h, w = shapes.shape_at(size, self.aspect)
        enough = (width >= w, height >= h)
        return any(enough) if self.crop in ("fit", "pad") else all(enough)

    def _cut(self, image, name: str) -> list[np.ndarray]:
        """Cut the squares, or rectangles, out of an image.

        Args:
            image: Pillow image of a mode that `decode.decode_photo` returns; with six channels, two
                pictures side by side.
            name: name of the image, from which the place of a random crop is derived.

        Returns:
            List of images uint8 [H, W, channels]: one, or one for each tile. Their longer side is
            `size` or, for a small image that is kept, the largest of `resolutions` that it reaches.

        Raises:
            Unreadable: if the image, or two pictures side by side, are too small.
        """
        from pggan_tf.data import decode

        parts, least = [image], self._least_size
        width, height = image.size
        if self.channels == 6:
            width //= 2
            parts = [image.crop((left, 0, left + width, height)) for left in (0, width)]
        if least > 1 and not self._reaches(width, height, least):
            what = "two of " if self.channels == 6 else ""
            h, w = shapes.shape_at(least, self.aspect)
            raise Unreadable(f"{what}{width}x{height} pixels, smaller than {w}x{h}", "too small")
        shape = shapes.shape_at(self.size, self.aspect)
        if self.crop == "tiles":
            tiles = (decode.cut_tiles(part, shape, self.filter) for part in parts)
            return [np.concatenate(tile, axis=-1) for tile in zip(*tiles)]
        if self.small == "keep":
            size = max(r for r in self.resolutions if self._reaches(width, height, r))
            shape = shapes.shape_at(size, self.aspect)
        # The place of a random crop is derived from the image's name, so that it does not depend on
        # other images.
        where = zlib.crc32(os.fsencode(name)) / 2**32
        cut = [decode.cut(part, shape, self.filter, self.crop, where) for part in parts]
        return [np.concatenate(cut, axis=-1)]

    def with_resolutions(self) -> Squares:
        """Return a copy whose `resolutions` are complete: in rising order and including `size`.

        Raise UserError if one of them does not divide `size`, or has no whole sides.
        """
        if unfit := [r for r in (self.size, *self.resolutions) if not shapes.fits(r, self.aspect)]:
            near = sorted(shapes.list_doublings(self.aspect), key=lambda r: abs(math.log(r / unfit[0])))[:2]
            raise UserError(
                f"a longer side of {unfit[0]} px with --shape {shapes.name_aspect(self.aspect)}: the shorter side is not whole. "
                f"Give a multiple of {max(self.aspect)}; stages that double reach {' and '.join(map(str, sorted(near)))} near it."
            )
        if unfit := [r for r in self.resolutions if r < 1 or self.size % r]:
            raise UserError(
                f"--resolutions {unfit[0]}: not a divisor of --size {self.size}: each is an exact mean of the full size."
            )
        full = tuple(sorted({*self.resolutions, self.size})) if self.resolutions else ()
        full = full or shards.halve_resolution(self.size, self.aspect)
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
    from preprocessing.sources import WORDS
    from preprocessing.sources.pairs import Pairs

    squares, output = squares.with_resolutions(), output or OutputOptions()
    drawn = selection.count if set(WORDS) & set(selection.places) else None
    source = selection.open(squares.size)
    if squares.channels != 6 and (pair := next((p.name for p in source.parts if isinstance(p, Pairs)), None)):
        raise UserError(
            f"{pair}: pairs, which only `prepare --pairs` and runs of --recipe translate take. Give photos."
        )
    return Job(
        source,
        squares,
        squares.resolutions,
        {
            "sources": selection.list_places(),
            "classes": list(selection.classes),
            "limit": selection.limit,
            "count": drawn,
            **squares.list_options(),
            **asdict(output),
        },
        channels=squares.channels,
        filter=squares.filter,
        output=output,
        aspect=squares.aspect,
        processes=drawn is not None and drawn >= MANY_DRAWINGS,
    )


def choose_squares(
    selection: Selection,
    *,
    gray: bool,
    pairs: bool,
    upscale_small: bool,
    keep_small: bool,
    size,
    shape,
    alpha: bool = False,
    **squares,
) -> Squares:
    """Return the squares, or rectangles, that options of the command line describe.

    Args:
        selection: the images, whose shape --shape auto takes.
        gray: whether to store one channel.
        pairs: whether every image is two side by side.
        upscale_small: whether to enlarge small images.
        keep_small: whether to keep small images at a lower resolution.
        size: (longer side in pixels, aspect) as --size says.
        shape: width and height in lowest terms as --shape says, 'auto', or None.
        alpha: whether to store transparency as a further channel.
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
    if pairs and alpha:
        raise UserError("--pairs and --alpha: networks for pairs take no transparency. Give one of them.")
    if pairs and shape == AUTO:
        raise UserError("--pairs and --shape auto: give the width:height of one of the two pictures, such as 3:4.")
    small = "upscale" if upscale_small else "keep" if keep_small else "drop"
    channels = (1 if gray else 6 if pairs else 3) + alpha
    return Squares(size[0], **squares, channels=channels, small=small, aspect=_choose_aspect(selection, size, shape))


def _choose_aspect(selection: Selection, size, shape) -> shapes.Aspect:
    """Return width and height in lowest terms as --size and --shape say, see `choose_squares`.

    Raises UserError if they say different ones.
    """
    if shape is None:
        return size[1]
    if size[1] not in (shapes.SQUARE, shape):
        raise UserError(
            f"--size {shapes.name_size(*size)} and --shape: its shape is {shapes.name_aspect(size[1])}. Give one of them."
        )
    if shape != AUTO:
        return shape
    from preprocessing import photo_shapes

    aspect, about = photo_shapes.choose_aspect(selection.places)
    click.echo(about, err=True)
    return aspect


class _Size(click.ParamType):
    """Command-line parameter type that converts '256' or '192x256' to (longer side, aspect)."""

    name = "number"

    def convert(self, value, param, ctx):
        """Return (longer side, aspect). Raise UserError if the value is no size."""
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], tuple):
            return value  # converted already
        resolution, aspect = shapes.parse_size(str(value), "--size")
        if not shapes.SMALLEST <= resolution <= shapes.LARGEST:
            self.fail(f"{value}: expected {shapes.SMALLEST} to {shapes.LARGEST} pixels on the longer side.", param, ctx)
        return resolution, aspect


class _Shape(click.ParamType):
    """Command-line parameter type that converts '3:4' to an aspect; 'auto' is a value too."""

    name = "width:height"

    def convert(self, value, param, ctx):
        """Return the aspect, or 'auto'. Raise UserError if the value is neither."""
        if value == AUTO:
            return value
        return shapes.parse_aspect(":".join(map(str, value)) if isinstance(value, tuple) else value)


class _Resolutions(click.ParamType):
    """Command-line parameter type that converts '8,16,32' to a tuple of resolutions."""

    name = "a,b,…"

    def convert(self, value, param, ctx):
        from pggan_tf.config import parse

        return parse("resolutions", value)


@click.command("prepare")
@click.argument("sources", nargs=-1, required=True)
@click.argument("out")
@click.option(
    "--size", type=_Size(), required=True, help="side of the squares in pixels, 4 to 1024; or 192x256: width and height"
)
@click.option(
    "--shape",
    type=_Shape(),
    help="width:height, such as 3:4, of rectangles whose longer side is --size; auto: that of most photos  [1:1]",
)
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
    help="which square, or rectangle, of a photo; none: all of it, squeezed; fit and pad: all of it, and around it its mirror "
    "image (fit) or the mean colour of its edges (pad); tiles: all of it, cut into parts that are not reduced",
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
@click.option(
    "--alpha", is_flag=True, help="store transparency as a further channel, for --channels 4, or with --gray for 2"
)
@click.option(
    "--count", type=ImageCount(1), default=10_000, show_default=True, help="number of portraits or sprites to draw"
)
@commands.job_options
def command(selection, output, running, out, **squares):
    """Turn SOURCES into shards in the new folder OUT.

    A source is a folder of images, a zip or tar archive of them, an .npz or .npy file of arrays,
    `portraits` (drawn faces), `sprites` (drawn icons), tfds:NAME[/config][:split] (a data set of tensorflow-datasets), or
    pairs:DIR (two folders with files of the same names). Several sources are joined. Sources and
    OUT may be at any fsspec URL. If the command was interrupted, run it again to continue.
    """
    commands.write_shards(make_job(selection, choose_squares(selection, **squares), output), out, running)
