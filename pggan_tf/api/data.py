"""Turn photos into shards, the files that training reads, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pggan_tf.api import arguments
from pggan_tf.errors import UserError

if TYPE_CHECKING:
    from pggan_tf.data.shards import Shards


def prepare(sources, out: str | Path, *, size: int | str, **options) -> Shards | str:
    """Turn images into shards in the new folder `out`.

    If it was interrupted, the same call continues.

    Args:
        sources: a folder of photos, an archive, an array uint8 [N, H, W, C], `portraits`, `sprites`,
            tfds:NAME, pairs:DIR or any fsspec URL; or a list of them.
        out: folder or URL to write to.
        size: side of the squares in pixels, 4 to 1024; the longer side with a `shape` such as
            "3:4"; or width and height, "192x256".
        **options: the options of `pggan prepare` with underscores, such as `crop="centre"`,
            `classes=("cat", "dog")`, `gray=True`, `split=0.9` or `dedupe=True`.

    Returns:
        The shards, of which `len` is the number of images; the training part if `split` is given.
        For a URL, the URL.

    Raises:
        UserError: if an option is not valid, no image can be used, or `out` cannot be written.
        Stopped: if Ctrl-C or a signal interrupted it.
    """
    from preprocessing import prepare as module
    from preprocessing.options import group_options

    values = arguments.take_options(module.command, {"size": size, **options})
    selection, output, running = group_options(_list_sources(sources), values)
    return _write(module.make_job(selection, module.choose_squares(selection, **values), output), out, running)


def faces(sources, out: str | Path, *, size: int, **options) -> Shards | str:
    """Find faces in photos with MTCNN, and write them as shards into the new folder `out`.

    If it was interrupted, the same call continues.

    Args:
        sources: see `prepare`.
        out: folder or URL to write to.
        size: side of the squares in pixels, 4 to 1024.
        **options: the options of `pggan faces` with underscores, such as `align="ffhq"`,
            `margin=0.3`, `faces="all"` or `min_face=60`.

    Returns:
        See `prepare`.

    Raises:
        UserError: as `prepare`.
        Stopped: as `prepare`.
    """
    from preprocessing import faces as module
    from preprocessing.options import group_options

    values = arguments.take_options(module.command, {"size": size, **options})
    selection, output, running = group_options(_list_sources(sources), values)
    work = module.Faces(**{"channels": 1 if values.pop("gray") else 3, **values})
    return _write(module.make_job(selection, work, output), out, running)


def _list_sources(sources) -> tuple[str, ...]:
    """Return the locations of one source or a list of sources. Raise UserError if it is empty."""
    several = isinstance(sources, Sequence) and not isinstance(sources, str | bytes)
    if several and not len(sources):
        raise UserError("sources: an empty list. Give at least one folder of photos.")
    return tuple(map(arguments.as_location, sources if several else [sources]))


def _write(job, out: str | Path, running) -> Shards | str:
    """Carry out a job and return its shards; for a URL, the URL."""
    from pggan_tf.data.shards import Shards
    from preprocessing import output, storage
    from preprocessing.carry_out import carry_out

    place = arguments.expand(out)
    carry_out(job, place, running, print, print)
    if storage.is_remote(place):
        return place
    parts = output.find_parts(Path(place))
    return Shards(next((part for part in parts if part.name == output.TRAIN), Path(place)))
