"""Options of jobs: which images are read, how results are written, and how a job is run.

A job processes images and writes the results as shards, see `job.Job`. OUT is the folder or URL
that it writes to.

Modules that are slow to import are imported only when needed, so that --help is fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from pggan_tf.errors import UserError, hide_secrets

if TYPE_CHECKING:
    from preprocessing.sources import SourceList


@dataclass(frozen=True)
class Selection:
    """Options that select the images that a job reads."""

    places: tuple[str, ...]  # folders, archives, arrays, `portraits`, `sprites`, tfds:NAME, pairs:DIR
    classes: tuple[str, ...] = ()  # use only images of these classes; empty for all classes
    limit: int | None = None  # use only this many images, from the first on
    count: int = 10_000  # number of portraits or sprites to draw
    data_dir: str | None = None  # folder of tensorflow-datasets
    download: bool = False  # let tensorflow-datasets download what is not in its folder

    @classmethod
    def of(cls, data: str | Sequence[str] | None, **options) -> Selection:
        """Return a selection of all images at one or several locations.

        Args:
            data: one location or several, as in `places`; if it is empty or None, `portraits`.
            **options: values of the other fields.
        """
        return cls((data,) if isinstance(data, str) else tuple(data or ("portraits",)), **options)

    def list_places(self) -> list[str]:
        """Return the locations as they are printed and stored with the images: without passwords."""
        return [hide_secrets(place) for place in self.places]

    def open(self, size: int) -> SourceList:
        """Open all locations and return them as one source.

        Raise UserError if one of them cannot be opened.

        size: side in pixels at which portraits and sprites are drawn.
        """
        from preprocessing.sources import open_all

        return open_all(
            self.places,
            self.classes,
            self.limit,
            size=size,
            count=self.count,
            data_dir=self.data_dir,
            download=self.download,
        )


@dataclass(frozen=True)
class OutputOptions:
    """Options for writing the results of a job as shards."""

    # Share of the images that goes to OUT/train; the rest goes to OUT/validation. None: all go to
    # OUT.
    split: float | None = None
    dedupe: bool = False  # leave out images that look like an earlier one
    shard_images: int | None = None  # images per file; None: as many as make about 64 MB
    compress: bool = False  # write smaller files, which are slower to read


@dataclass(frozen=True)
class RunOptions:
    """Options that say how a job is run; its results do not depend on them."""

    workers: int | None = None  # number of processes or threads; None: one per core
    runner: str = "local"  # what processes the images: local (this machine) or beam (Apache Beam)
    beam_options: str = ""  # pipeline options, as on Apache Beam's command line
    resume: bool = False  # keep finished shards as they are
    overwrite: bool = False  # replace finished shards
    cache: str | None = None  # folder for unfinished work if the output is remote


def group_options(sources: Sequence[str], values: dict) -> tuple[Selection, OutputOptions, RunOptions]:
    """Take the options that all jobs share out of `values`, and return them in groups.

    Args:
        sources: the locations of the images.
        values: {option: value}; the options of the job's own work remain in it.

    Raises:
        UserError: if they say how many images are drawn, and none are.
    """
    from preprocessing.sources import WORDS

    def take(kind, **others):
        names = [field.name for field in fields(kind) if field.name in values]
        return kind(**others, **{name: values.pop(name) for name in names})

    selection = take(Selection, places=tuple(sources))
    if selection.count != Selection.count and not set(WORDS) & set(selection.places):
        raise UserError(
            f"--count {selection.count}: is the number of portraits or sprites to draw, and these are photos. Of photos, --limit N takes the "
            "first."
        )
    return selection, take(OutputOptions), take(RunOptions)
