"""`pggan prepare`: photos, archives, arrays, data sets or portraits -> shards."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import click
import numpy as np

from pggan_tf.data import shards
from pggan_tf.data.pixels import FILTERS
from pggan_tf.errors import UserError
from preprocessing import command as commands


@dataclass(frozen=True)
class Squares:
    """The work: an image -> a square of `size` pixels.

    channels: 1, 3, or 6 for two pictures side by side, which become three channels each. crop: see decode.square; 'tiles': all of the image in squares at its own resolution. small: images with a side below `size` are dropped, enlarged, or kept at the largest of
    `resolutions` that they reach.
    """

    size: int
    resolutions: tuple[int, ...]
    filter: str
    channels: int
    crop: str
    small: str

    def __call__(self, items):
        from pggan_tf.data.decode import Unreadable
        from preprocessing.job import Made

        made = []
        for item in items:
            more = 0
            try:
                image, more = item.first(self.channels, self._least)
                images = self._squares(image, item.name)
            except Unreadable as reason:
                images = [reason]
            made += [Made(item.name, image, item.label, more=0 if i else more) for i, image in enumerate(images)]
        return made

    @property
    def _least(self) -> int:
        return {"drop": self.size, "upscale": 1, "keep": self.resolutions[0]}[self.small]

    def _squares(self, image, name: str) -> list[np.ndarray]:
        """Cut the squares out. Raises Unreadable where two pictures side by side are too small."""
        from pggan_tf.data.decode import Unreadable, square, tiles

        parts, least = [image], self._least
        if self.channels == 6:
            width, height = image.width // 2, image.height
            if min(width, height) < least:
                raise Unreadable(f"two of {width}x{height} pixels, smaller than {least}x{least}", "too small")
            parts = [image.crop((left, 0, left + width, height)) for left in (0, width)]
        if self.crop == "tiles":
            return [np.concatenate(t, axis=-1) for t in zip(*(tiles(part, self.size, self.filter) for part in parts))]
        size = self.size
        if self.small == "keep":
            size = max(r for r in self.resolutions if r <= min(parts[0].size))
        # Where a random crop lies follows from the image's name: the same each time, whatever was done before.
        where = zlib.crc32(os.fsencode(name)) / 2**32
        squares = [square(part, size, self.filter, self.crop, where) for part in parts]
        return [np.concatenate(squares, axis=-1)]


MANY_PORTRAITS = 2_000  # half of a drawing is Python's own work: so many are worth the start of processes


def job(
    sources: Sequence[str],
    size: int,
    *,
    resolutions: Sequence[int] = (),
    filter: str = "lanczos",
    channels: int = 3,
    crop: str = "centre",
    small: str = "drop",
    classes: Sequence[str] = (),
    limit: int | None = None,
    count: int = 10_000,
    seed: int = 0,
    split: float | None = None,
    dedupe: bool = False,
    shard_images: int | None = None,
    compress: bool = False,
    data_dir: str | None = None,
    download: bool = False,
):
    """The job that `build.build` does. resolutions: those to store, divisors of `size`; by default its halvings down to 4.
    count, seed: for portraits."""
    from preprocessing.job import Job
    from preprocessing.sources import open_all

    if unfit := [r for r in resolutions if r < 1 or size % r]:
        raise UserError(
            f"--resolutions {unfit[0]}: not a divisor of --size {size}: each is an exact mean of the full size."
        )
    resolutions = tuple(sorted({*resolutions, size})) if resolutions else shards.default_resolutions(size)
    source = open_all(sources, classes, limit, size=size, count=count, seed=seed, data_dir=data_dir, download=download)
    return Job(
        source,
        Squares(size, resolutions, filter, channels, crop, small),
        resolutions,
        {
            "sources": list(sources),
            "classes": list(classes),
            "limit": limit,
            "count": count if "portraits" in sources else None,
            "size": size,
            "resolutions": list(resolutions),
            "filter": filter,
            "channels": channels,
            "crop": crop,
            "small": small,
            "split": split,
            "dedupe": dedupe,
            "shard_images": shard_images,
            "compress": compress,
        },
        channels=channels,
        filter=filter,
        shard_images=shard_images,
        compress=compress,
        dedupe=dedupe,
        split=split,
        processes="portraits" in sources and count >= MANY_PORTRAITS,
    )


class _Resolutions(click.ParamType):
    name = "a,b,…"

    def convert(self, value, param, ctx):
        from pggan_tf.config import parse

        return parse("resolutions", value)


@click.command("prepare")
@click.argument("sources", nargs=-1, required=True)
@click.argument("out")
@click.option("--size", type=click.IntRange(4, 1024), required=True, help="pixels of a side")
@click.option(
    "--resolutions", type=_Resolutions(), default=(), help="resolutions to store  [halvings of --size down to 4]"
)
@click.option(
    "--filter",
    type=commands.Choice(FILTERS),
    default="lanczos",
    show_default=True,
    help="filter that photos are reduced with",
)
@click.option(
    "--crop",
    type=commands.Choice(("centre", "random", "none", "tiles")),
    default="centre",
    show_default=True,
    help="which square of a photo; none: all of it, out of proportion; tiles: all of it, in squares that are not reduced",
)
@click.option("--upscale-small", is_flag=True, help="enlarge images smaller than --size instead of leaving them out")
@click.option(
    "--keep-small",
    is_flag=True,
    help="keep images smaller than --size for the lower resolutions, at the largest they reach",
)
@click.option("--pairs", is_flag=True, help="every image is two side by side, for --task translate; also of pairs:DIR")
@click.option("--count", type=click.IntRange(1), default=10_000, show_default=True, help="how many portraits")
@commands.job_options
def command(
    sources, out, size, resolutions, filter, crop, upscale_small, keep_small, pairs, count, classes, limit, gray, dedupe, split,
    shard_images, compress, data_dir, download, **around,
):  # fmt: skip
    """Turns SOURCES into shards in the new folder OUT.

    A source is a folder of images, a zip or tar of them, a .npz or .npy of arrays, `portraits` (drawn), or
    tfds:NAME[/config][:split] of tensorflow-datasets, or pairs:DIR, two folders with files of the same names; several are joined. Files may lie at any fsspec URL, and OUT too.
    Started again after an interruption, the same command goes on.
    """
    if crop == "tiles" and keep_small:
        raise UserError("--crop tiles and --keep-small: tiles are of one size. Give one of them.")
    if upscale_small and keep_small:
        raise UserError("--upscale-small and --keep-small: give one of them.")
    if pairs and gray:
        raise UserError("--pairs and --gray: give one of them.")
    work = job(
        sources,
        size,
        resolutions=resolutions,
        filter=filter,
        channels=1 if gray else 6 if pairs else 3,
        crop=crop,
        small="upscale" if upscale_small else "keep" if keep_small else "drop",
        classes=classes,
        limit=limit,
        count=count,
        split=split,
        dedupe=dedupe,
        shard_images=shard_images,
        compress=compress,
        data_dir=data_dir,
        download=download,
    )
    commands.carry_out(work, out, **around)
