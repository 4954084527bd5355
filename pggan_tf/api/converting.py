"""Convert photos, folders of photos and videos with a trained network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pggan_tf import tasks
from pggan_tf.api import arguments, colours
from pggan_tf.api.generators import as_generator
from pggan_tf.data import credentials
from pggan_tf.errors import UserError


def convert(
    generator,
    source: str | Path,
    out: str | Path,
    *,
    compare: bool = False,
    size: int | None = None,
    tile: int | None = None,
    hints: Iterable[str] | str | Path | None = None,
    reference: str | Path | None = None,
    saturation: float = 1.0,
    steady: bool = True,
    scale: float | None = None,
    to: str | None = None,
    denoise: float | None = None,
    mark: bool = True,
    skip_existing: bool = False,
    sign: str | Path | None = None,
) -> Path:
    """Convert a photo, a folder of photos or a video with a trained network.

    Bit depth, transparency, colour profile, EXIF and XMP of photos are kept. Existing files are
    overwritten.

    Args:
        generator: a Generator or a Run, or where to load it from, see `load`.
        source: path of a photo, a folder or a video.
        out: file or folder to write.
        compare: also write NAME-compare, which shows before and after side by side.
        size: for colorize: shorter side in pixels of the reduced photo that the network sees, 16 to
            4096 (default: as in training).
        tile: for other tasks: side of a tile in pixels; smaller tiles need less memory (default:
            the task's).
        hints: for colorize, trained with --hints, and a single photo: colours of places, such as
            ['120,80=#c03020'] with X,Y in pixels; or the path of a picture of any size, whose
            opaque pixels (or, without transparency, whose pixels that are not gray) are the colours
            of these places.
        reference: for colorize: path of a photo, whose palette the colours get.
        saturation: for colorize: factor of the colours' distance from gray, 0 to 4.
        steady: for colorize of a video: keep colours from frame to frame, along the motion; False
            colours every frame alone.
        scale: for upscale: factor of the enlargement, 1 to 16 (default: that of training). 1 keeps
            the size, for a network that restores damaged photos.
        to: for upscale: WIDTHxHEIGHT in pixels, such as '4000x3000', into which the enlarged photo
            shall fit.
        denoise: for upscale, trained with --denoise: level of the photo's noise, from 0, which keeps
            its grain, to 1, which removes the most (default: the network finds out itself).
        mark: write into the metadata that a trained network changed the photo, and which.
        skip_existing: of a folder, leave photos whose results are there, so that a conversion that
            was stopped goes on.
        sign: PEM file with a key and its certificates, which sign what is written, as Content
            Credentials of the C2PA.

    Returns:
        The file or folder that was written.

    Raises:
        UserError: if an argument does not fit the network, or files cannot be read or written.
        Stopped: if some photos of a folder could not be converted; the others were.
    """
    from pggan_tf.conversion import conversion
    from pggan_tf.conversion.enlargement import LARGEST_FACTOR, Enlargement

    signer = credentials.open_signer(None if sign is None else arguments.expand(sign), mark)
    generator = as_generator(generator)
    sees_reduced = isinstance(generator._task, tasks.Colorize)
    if size is not None and not sees_reduced:
        if isinstance(generator._task, tasks.Recolor):
            raise UserError(f"--size {size}: {generator.name} colours every pixel where it is; leave --size out.")
        raise UserError(f"--size {size}: {generator.name} was trained to {generator.task}; only colorize has it.")
    if tile is not None and sees_reduced:
        raise UserError(f"--tile {tile}: {generator.name} colours photos whole, without tiles; leave --tile out.")
    size = None if size is None else arguments.check_whole("--size", size, 16, 4096)
    tile = None if tile is None else arguments.check_whole("--tile", tile, 1)
    scale = None if scale is None else arguments.check_number("--scale", scale, 1, LARGEST_FACTOR)
    wishes = colours.read_wishes(generator, source, hints, reference, saturation, steady)
    _check_denoise(generator, denoise)
    change, enlargement = generator.converter(size or tile, wishes, denoise), Enlargement(generator.scale)
    if scale is not None or to is not None:
        if generator.scale == 1:
            raise UserError(f"--scale and --to: {generator.name} was trained to {generator.task}, not to upscale.")
        enlargement = Enlargement.of_options(scale, to)
        # What the network has enlarged has no noise left: it is told that if it is told a level at all.
        again = change if denoise is None else generator.converter(tile, wishes, 0.0)
        change = enlargement.wrap(change, again)
    paths, said = (arguments.expand(source), arguments.expand(out)), generator.mark if mark else None
    return conversion.convert(*paths, change, enlargement, compare, said, skip_existing, signer)


def _check_denoise(generator, denoise: float | None) -> None:
    """Raise UserError if a level of noise is not valid, or the network takes none."""
    if denoise is None:
        return
    if not isinstance(denoise, int | float | np.number):
        raise UserError(f"--denoise {denoise}: expected a number from 0 to 1.")
    if not isinstance(generator._task, tasks.Upscale):
        raise UserError(f"--denoise {denoise:g}: {generator.name} was trained to {generator.task}, not to upscale.")
    if not generator._task.denoise:
        raise UserError(
            f"--denoise {denoise:g}: {generator.name} was trained without levels of noise. Leave it out, or train a run with "
            "pggan train --recipe srgan --degrade once --denoise."
        )
    if not 0 <= denoise <= 1:
        raise UserError(f"--denoise {denoise:g}: expected 0 (keep the grain) to 1 (remove the most).")
