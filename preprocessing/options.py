"""Options of jobs: which images are read, how the results are written, and how a job is run.

Modules that take long to import are imported only when they are needed, so that --help is fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preprocessing.sources import SourceList


@dataclass(frozen=True)
class Selection:
    """Which images a job reads."""

    places: tuple[str, ...]  # folders, archives, arrays, `portraits`, tfds:NAME, pairs:DIR
    classes: tuple[str, ...] = ()  # images of these classes only; empty: of all classes
    limit: int | None = None  # this many images only, from the first on
    count: int = 10_000  # how many portraits are drawn
    data_dir: str | None = None  # folder of tensorflow-datasets
    download: bool = False  # lets tensorflow-datasets fetch what is not in its folder

    @classmethod
    def of(cls, data: str | Sequence[str] | None, **options) -> Selection:
        """Select the images of one place, of several, or of drawn portraits if `data` is empty."""
        return cls((data,) if isinstance(data, str) else tuple(data or ("portraits",)), **options)

    def open(self, size: int) -> SourceList:
        """Open all places as one source. Portraits are drawn at `size` pixels. Raises UserError."""
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
    """How the results of a job are written."""

    # This share goes into OUT/train and the rest into OUT/validation; None: all into OUT.
    split: float | None = None
    dedupe: bool = False  # leave out images that look like one before them
    shard_images: int | None = None  # images per file; None: as many as make about 64 MB
    compress: bool = False  # smaller files that are read more slowly


@dataclass(frozen=True)
class RunOptions:
    """How a job is run."""

    workers: int | None = None  # processes or threads; None: one for each core
    runner: str = "local"  # local or beam
    beam_options: str = ""  # as on Apache Beam's command line
    resume: bool = False  # leave what is finished as it is
    overwrite: bool = False  # replace what is finished
    cache: str | None = None  # folder for unfinished work on a remote folder
