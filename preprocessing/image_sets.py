"""Open any location as a set of images, so that metrics can be computed on it.

A location is what the user gives: the folder of a training run or a model file, whose network draws
the images; shards (a dataset written by `pggan prepare`); or photos in a folder, an archive or an
array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pggan_tf import synthesis, tasks, terminal
from pggan_tf.errors import UserError
from pggan_tf.metrics import METRICS, sets
from pggan_tf.runs import generators, keras_files
from pggan_tf.shapes import LARGEST, SQUARE, Aspect, fits, name_aspect, name_size, shape_at
from preprocessing import cache as caches
from preprocessing import storage
from preprocessing.photo_shapes import Shape, read_shapes
from preprocessing.sources import find_module


@dataclass(frozen=True)
class ImageSource:
    """A location, and what is known about its images before they are read."""

    location: str
    # Resolution (longer side) of the images in pixels; for photos, 95 % of them reach it or a larger
    # one. None if the images can be drawn at any size.
    side: int | None
    generator: Any = None  # network of a run or of a model file
    manifest: dict | None = None  # content of the manifest of shards; None if there are no shards
    shapes: list[Shape] = field(default_factory=list)  # shapes of some of the photos; else empty
    aspect: Aspect = SQUARE  # width and height of the images of the set in lowest terms

    @property
    def is_cut(self) -> bool:
        """Whether the images are cut from photos, and can have any aspect."""
        return not (self.generator or self.manifest)

    @property
    def uniform(self) -> bool:
        """Whether all images, as far as known, have the aspect of the set and one size."""
        if self.side is None or not fits(self.side, self.aspect):
            return not self.shapes
        return all(shape[:2] == shape_at(self.side, self.aspect) for shape in self.shapes)

    def cut_to(self, aspect: Aspect) -> ImageSource:
        """Return the source with its photos cut to an aspect; other images stay as they are."""
        if not self.is_cut or aspect == self.aspect:
            return self
        return replace(self, aspect=aspect, side=_find_side(self.shapes, aspect))

    @property
    def channels(self) -> int:
        """Number of channels with which the images are read: 1 for gray, 3 for colour.

        Shards may have alpha as well, 2 or 4; other images are then read without it.
        """
        if self.manifest:
            return self.manifest["channels"]
        return 1 if self.shapes and all(shape[2] == 1 for shape in self.shapes) else 3

    def open(self, size: int, filter: str, count: int, cache: str | None, say: Callable[[str], None]) -> sets.ImageSet:
        """Return the images as a set. Prepare them as shards first, if they are photos.

        Args:
            size: resolution (longer side) of the images of the set in pixels.
            filter: resampling filter, one of pixels.FILTERS.
            count: number of drawings, if the location is `portraits` or `sprites`; not used otherwise.
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
            squares = caches.Squares(size, (native,), filter, self.channels, small=small, aspect=self.aspect)
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
            kind = "squares" if self.aspect == SQUARE else name_aspect(self.aspect)
            return (
                f"{self.location}: pictures of {low} to {high} pixels a side, cut to {kind} and brought to "
                f"{name_size(size, self.aspect)} px by {filter}{smaller}"
            )
        if self.side in (None, size):
            return None
        before, after = name_size(self.side, self.aspect), name_size(size, self.aspect)
        if self.manifest and any(r % size == 0 for r in self.manifest["resolutions"]):
            return f"{self.location}: {before} px, stored or reduced to {after} px by means of blocks"
        return f"{self.location}: {before} px, brought to {after} px by {filter}"


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
            or `portraits` or `sprites` for drawings.
        count: number of drawings, if the location is `portraits` or `sprites`; not used otherwise.
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
        return ImageSource(location, generator.resolutions[-1], generator=generator, aspect=generator.aspect)
    if found := caches.find_shards(location):
        manifest = found[1]
        if manifest["channels"] == 6:
            raise UserError(
                f"{location}: holds pairs of images, which cannot be measured as one. Give a folder of one kind."
            )
        aspect = tuple(manifest.get("aspect", SQUARE))
        return ImageSource(location, manifest["resolutions"][-1], manifest=manifest, aspect=aspect)
    if find_module(location) == "folder" and not storage.is_remote(location) and not Path(location).exists():
        raise UserError(
            f"{location}: no such file or folder. Expected a run's folder, a .keras file, a folder of images, an archive "
            "(zip, tar), arrays (npz, npy) or shards."
        )
    photos = read_shapes(location, count)
    return ImageSource(location, _find_side(photos, SQUARE), shapes=photos)


def _find_side(found: Sequence[Shape], aspect: Aspect) -> int | None:
    """Return the longer side of the largest part of this aspect in 95 % of photos; None for none.

    found: shapes of the photos.
    """
    width, height = aspect
    sides = sorted(min(shape[0] * max(aspect) // height, shape[1] * max(aspect) // width) for shape in found)
    return sides[len(sides) // 20] if sides else None


def choose_aspect(sources: Sequence[ImageSource]) -> tuple[ImageSource, ...]:
    """Return the sets with one aspect: photos are cut to that of the others, or else to squares.

    Raises UserError if two sets that are not photos have different ones.
    """
    fixed = [source for source in sources if not source.is_cut]
    for source in fixed:
        if source.aspect != fixed[0].aspect:
            known = " and ".join(f"{one.location} {name_aspect(one.aspect)}" for one in (fixed[0], source))
            raise UserError(
                f"images of different shapes (width:height), {known}, cannot be compared. Give sets of one shape, or photos, "
                "which are cut to the shape of the other set."
            )
    return tuple(source.cut_to(fixed[0].aspect) for source in sources) if fixed else tuple(sources)


def choose_size(
    sources: Sequence[ImageSource], size: int | None, filter: str, names: Sequence[str]
) -> tuple[int, list[str]]:
    """Choose the size to which the images of several sets are resized before they are compared.

    Args:
        sources: the sets that are compared.
        size: resolution (longer side in pixels) that the user asks for; None for that of the set
            with the smallest images.
        filter: resampling filter, one of pixels.FILTERS.
        names: names of the metrics.

    Returns:
        (resolution in pixels, list of sentences for the user, one about each set whose images are
        resized).

    Raises:
        UserError: if the size does not fit the shape of the images; or if a metric compares pairs of
            images, and they would have to be cut, which changes its value.
    """
    pairs = [name for name in names if METRICS[name].takes == "pairs"]
    if pairs and not size and (odd := next((source for source in sources if not source.uniform), None)):
        raise UserError(
            f"--metrics {pairs[0]}: the pictures of {odd.location} are not squares of one size, and cutting and resizing "
            "them changes the figure. Give --size to have that done, or measure squares."
        )
    aspect = sources[0].aspect
    if size and not fits(size, aspect):
        raise UserError(
            f"--size {size} for images of {name_aspect(aspect)}: it is their longer side, and the shorter one is not whole. "
            f"Give a multiple of {max(aspect)}."
        )
    if not size:
        size = min((source.side for source in sources if source.side), default=64)
        # Photos of a camera would fill the disk; metrics of pairs are those of the pixels as they are.
        size = size if pairs else min(size, LARGEST)
    size = max(size // max(aspect), 1) * max(aspect)  # of photos, it may be any number
    return size, [note for source in sources if (note := source.describe_resizing(size, filter))]
