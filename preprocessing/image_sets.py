"""Open any location as a set of images, so that metrics can be computed on it.

A location is what the user gives: the folder of a training run or a model file, whose network draws
the images; shards (a dataset written by `pggan prepare`); or photos in a folder, an archive or an
array.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pggan_tf import synthesis, tasks, terminal
from pggan_tf.data import decoders
from pggan_tf.errors import Unreadable, UserError
from pggan_tf.metrics import METRICS, sets
from pggan_tf.runs import generators, keras_files
from preprocessing import cache as caches
from preprocessing import sources

_SAMPLED = 64  # number of pictures that are sampled to find the size and colours of a folder
# Formats whose files state size and colours before the pixels.
_WITH_HEADER = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "JPEG2000")
_GRAY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")  # Pillow's modes without colour

Shape = tuple[int, int, int]  # height, width, channels (1 for gray, 3 for colour)


@dataclass(frozen=True)
class ImageSource:
    """A location, and what is known about its images before they are read."""

    location: str
    # Side of the images in pixels; for photos, 95 % of them have this side or a longer one. None if
    # the images can be drawn at any size.
    side: int | None
    generator: Any = None  # network of a run or of a model file
    manifest: dict | None = None  # content of the manifest of shards; None if there are no shards
    shapes: list[Shape] = field(default_factory=list)  # shapes of some of the photos; else empty

    @property
    def uniform(self) -> bool:
        """Whether all images, as far as known, are squares of one size."""
        return all(shape[:2] == (self.side, self.side) for shape in self.shapes)

    @property
    def channels(self) -> int:
        """Number of channels with which the images are read: 1 for gray, 3 for colour."""
        if self.manifest:
            return self.manifest["channels"]
        return 1 if self.shapes and all(shape[2] == 1 for shape in self.shapes) else 3

    def open(self, size: int, filter: str, count: int, cache: str | None, say: Callable[[str], None]) -> sets.ImageSet:
        """Return the images as a set. Prepare them as shards first, if they are photos.

        Args:
            size: side of the images of the set in pixels.
            filter: resampling filter, one of pixels.FILTERS.
            count: number of portraits to draw, if the location is `portraits`; not used otherwise.
            cache: folder for prepared data; None for the default.
            say: called with a line for the user when data are prepared.
        """
        if self.generator:
            images = sets.generate(
                synthesis.Sampler(self.generator), self.generator.resolutions[-1], name=self.location
            )
        else:
            stored = self.manifest["resolutions"] if self.manifest else (size,)
            native = size if any(r % size == 0 for r in stored) else stored[-1]
            small = "upscale" if self.side and self.side < size else "drop"
            squares = caches.Squares(size, (native,), filter, self.channels, small=small)
            selection = caches.Selection.of(self.location, count=count)
            with terminal.show_progress() as progress:
                shards = caches.open_shards(selection, cache, squares, say=say, progress=progress)
            assert shards is not None  # None is returned only with check_only
            images = sets.read_shards(shards, native, name=self.location)
        return images if images.resolution == size else sets.resize(images, size, filter)

    def describe_resizing(self, size: int, filter: str) -> str | None:
        """Return a sentence for the user on how images are resized, or None if they are not.

        Args:
            size: side in pixels to which images are resized.
            filter: resampling filter, one of pixels.FILTERS.
        """
        if not self.uniform:
            low, high = (f([side for shape in self.shapes for side in shape[:2]]) for f in (min, max))
            smaller = "" if self.side and self.side < size else "; smaller ones are left out"
            return (
                f"{self.location}: pictures of {low} to {high} pixels a side, cut to squares and brought to {size} px "
                f"by {filter}{smaller}"
            )
        if self.side in (None, size):
            return None
        if self.manifest and any(r % size == 0 for r in self.manifest["resolutions"]):
            return f"{self.location}: {self.side} px, stored or reduced to {size} px by means of blocks"
        return f"{self.location}: {self.side} px, brought to {size} px by {filter}"


def is_network(location: str) -> bool:
    """Return whether a location holds a network: a run's folder, an exported folder or a model.

    The network of a location on a hub is not downloaded for this.
    """
    folder = Path(location)
    if keras_files.is_location(location) or location.endswith(".keras") or (folder / keras_files.GENERATOR).is_file():
        return True
    return keras_files.is_run(folder) or keras_files.is_model(folder) or keras_files.is_exported(folder)


def inspect_location(location: str, count: int, say: Callable[[str], None]) -> ImageSource:
    """Find out what a location holds without reading all of its images, and return an ImageSource.

    Args:
        location: a run's folder, a model file, shards, photos in a folder, an archive or an array,
            or `portraits` for drawn faces.
        count: number of portraits to draw, if the location is `portraits`; not used otherwise.
        say: called with a line for the user if a run's newest checkpoint is damaged.

    Raises:
        UserError: if nothing can be read there, or the location is not one set of images.
    """
    if is_network(location):
        generator = generators.load(location, say)
        if tasks.task_of(generator).from_images:
            raise UserError(
                f"{location}: its network makes images of images ({generator.task}). Save what it makes of some, and "
                "give that folder."
            )
        return ImageSource(location, generator.resolutions[-1], generator=generator)
    if found := caches.find_shards(location):
        manifest = found[1]
        if manifest["channels"] == 6:
            raise UserError(
                f"{location}: holds pairs of images, which cannot be measured as one. Give a folder of one kind."
            )
        return ImageSource(location, manifest["resolutions"][-1], manifest=manifest)
    shapes = read_shapes(location, count)
    sides = sorted(min(shape[:2]) for shape in shapes)
    return ImageSource(location, sides[len(sides) // 20] if sides else None, shapes=shapes)


def choose_size(
    sources: Sequence[ImageSource], size: int | None, filter: str, names: Sequence[str]
) -> tuple[int, list[str]]:
    """Choose the size to which the images of several sets are resized before they are compared.

    Args:
        sources: the sets that are compared.
        size: side in pixels that the user asks for; None for that of the set with the smallest
            images.
        filter: resampling filter, one of pixels.FILTERS.
        names: names of the metrics.

    Returns:
        (side in pixels, list of sentences for the user, one about each set whose images are
        resized).

    Raises:
        UserError: if a metric compares pairs of images, and they would have to be cut to squares,
            which changes its value.
    """
    pairs = [name for name in names if METRICS[name].takes == "pairs"]
    if pairs and not size and (odd := next((source for source in sources if not source.uniform), None)):
        raise UserError(
            f"--metrics {pairs[0]}: the pictures of {odd.location} are not squares of one size, and cutting and resizing "
            "them changes the figure. Give --size to have that done, or measure squares."
        )
    size = size or min((source.side for source in sources if source.side), default=64)
    return size, [note for source in sources if (note := source.describe_resizing(size, filter))]


def read_shapes(location: str, count: int) -> list[Shape]:
    """Return the shapes of some pictures of a location with photos.

    The list is empty if pictures can be drawn at any size. Raise UserError if none of the pictures
    can be read.

    For the arguments, see `inspect_location`.
    """
    if location in sources.WORDS:
        return []
    source = sources.open_source(location, count=count)
    shapes, sampled = [], 1 if source.alike else _SAMPLED
    for number in np.unique(np.linspace(0, max(0, len(source) - 1), sampled).astype(int)):
        for item in source.items(int(number), int(number) + 1):
            # Pictures that cannot be used are reported later, when all are read.
            with contextlib.suppress(Unreadable):
                data = item.data() if callable(item.data) else item.data
                if isinstance(data, np.ndarray):
                    shapes.append((*data.shape[:2], 1 if data.ndim == 2 or data.shape[2] == 1 else 3))
                elif isinstance(data, bytes):
                    shapes.append(_read_shape(data))
    if not shapes:
        raise UserError(f"{location}: none of its pictures can be read.")
    return shapes


def _read_shape(data: bytes) -> Shape:
    """Return the shape of a picture, given the bytes of its file.

    Only the header is decoded if it states the shape. Raise Unreadable if the file cannot be
    decoded.
    """
    from PIL import Image

    with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=_WITH_HEADER) as picture:
        return (*picture.size[::-1], 1 if picture.mode in _GRAY else 3)
    with decoders.open_pictures(data) as pictures:  # header without the shape
        height, width, channels = pictures.picture().planes().shape
        return height, width, 1 if channels < 3 else 3
