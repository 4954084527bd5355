"""Read what a user wants of the colours of a photo: hints, a reference and a saturation."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pggan_tf import tasks
from pggan_tf.api import arguments
from pggan_tf.data import colour, colour_hints
from pggan_tf.errors import UserError


def read_wishes(
    generator, source, hints: Iterable[str] | str | Path | None, reference, saturation: float, steady: bool
) -> colour_hints.Wishes | None:
    """Return what the user wants of the colours, or None if nothing; see `convert`.

    Raises UserError if the network cannot do it, or a picture cannot be read.
    """
    if isinstance(hints, str) and colour_hints.is_point(hints):
        hints = [hints]
    if hints is not None and not isinstance(hints, str | os.PathLike):
        hints = list(hints) if isinstance(hints, Iterable) else [hints]
        if not all(isinstance(hint, str) for hint in hints):
            raise UserError('hints: expected texts such as "120,80=#c03020", or the path of a picture.')
    hints = hints or None
    saturation = arguments.check_number("--saturation", saturation, 0, 4)
    from pggan_tf.conversion import video

    task = tasks.task_of(generator.network)
    of_video = arguments.as_path(source).suffix.lower() in video.EXTENSIONS
    steady = steady and of_video and isinstance(task, tasks.Colorize)
    if hints is None and reference is None and saturation == 1 and not steady:
        return None
    if not isinstance(task, tasks.Colorize):
        raise UserError(
            f"{generator.name}: was trained to {generator.task}; --hint, --hints, --reference and --saturation are for colorize."
        )
    points: tuple = ()
    picture = palette = None
    if hints is not None:
        if not task.hints:
            raise UserError(f"{generator.name}: was trained without hints. Train it with --hints, or leave --hint out.")
        if of_video or arguments.as_path(source).is_dir():
            raise UserError(f"{source}: hints are for a single photo. Leave them out, or give a photo.")
        if isinstance(hints, str | os.PathLike):
            picture = colour_hints.as_rgba(_read_picture(arguments.as_path(hints)))
        else:
            points = tuple(map(colour_hints.parse, hints))
    if reference is not None:
        rgb = _read_picture(arguments.as_path(reference))[..., :3]
        palette = colour.split_lab(rgb[:: -(-len(rgb) // 512), :: -(-rgb.shape[1] // 512)] / np.float32(255))[1]
    if not steady:
        return colour_hints.Wishes(points, picture, palette, saturation)
    from pggan_tf.conversion.steady import Steadier

    return colour_hints.Wishes(points, picture, palette, saturation, Steadier())


def _read_picture(file: Path) -> np.ndarray:
    """Return the pixels of a photo as uint8 [H,W,3], or [H,W,4] with its transparency.

    Raises UserError if it cannot be read.
    """
    from pggan_tf.data import decoders, photos

    try:
        photo = photos.read(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}.") from None
    except photos.Unreadable as reason:
        raise UserError(f"{file}: {reason}.") from None
    planes = [photo.rgb()] if photo.alpha is None else [photo.rgb(), photo.alpha]
    whole = np.concatenate(planes, -1)
    return whole if whole.dtype == np.uint8 else decoders.to_eight_bits(whole)
