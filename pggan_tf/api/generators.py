"""Use a trained generator: make images from seeds, and convert photos."""

from __future__ import annotations

import dataclasses
import functools
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pggan_tf import synthesis, tasks, terminal
from pggan_tf.api import arguments
from pggan_tf.api.images import Images
from pggan_tf.data import marks
from pggan_tf.errors import UserError, explain_out_of_memory


class Generator:
    """A trained generator.

    It makes images from seeds (`sample`) or, depending on its task, converts photos (`convert`).

    Attributes:
        network: the Keras model, which has a `summary()` and can be saved as any other.
        name: where it was loaded from, as it was given.
        location: the same as an absolute path; hf://USER/NAME as it is.
    """

    def __init__(self, network, name: str):
        """Make a Generator from a Keras model that pggan-tf trained; see `open`."""
        self.network, self.name = network, name
        self.location = os.path.abspath(name) if os.path.exists(name) else name
        self._task = tasks.task_of(network)
        self._sampler: synthesis.Sampler | None = None
        self._converters: dict[int | None, Callable] = {}

    @classmethod
    def open(cls, source, report: Callable[[str], None] = print) -> Generator:
        """Load a generator.

        Args:
            source: folder of a run (its generator.keras or, if it has not ended, the moving average
                in its newest checkpoint), an exported folder, a .keras file or hf://USER/NAME.
            report: called with messages, for example about damaged checkpoints.

        Raises:
            UserError: if no generator can be loaded from there.
        """
        terminal.start_tensorflow()
        from pggan_tf.runs import generators

        location = arguments.as_location(source)
        return cls(generators.load(location, report), location)

    def __repr__(self) -> str:
        return f"Generator({self.name!r}, task={self.task!r}, stages={self.stages})"

    @property
    def task(self) -> str:
        """Name of the task that it was trained for, a key of `pggan_tf.TASKS`."""
        return self._task.name

    @property
    def stages(self) -> tuple[int, ...]:
        """Resolutions in pixels at which it makes images, in ascending order."""
        return tuple(self.network.resolutions)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that it makes images of; empty if it was trained without classes."""
        return tuple(getattr(self.network, "classes", ()) or ())

    @property
    def latent_size(self) -> int | None:
        """Length of a latent, the random vector of an image; None if it converts photos."""
        return None if self._task.from_images else self.network.latent_size

    @property
    def scale(self) -> int:
        """Factor by which it enlarges a photo that it converts; 1 for most tasks."""
        return getattr(self.network, "scale", 1)

    def require_latents(self) -> None:
        """Raise UserError if it converts photos instead of making images from latents."""
        if self._task.from_images:
            raise UserError(
                f"{self.name}: was trained to {self.task}, not to generate from latents. "
                f"Give it photos: pggan {self._task.verb}."
            )

    def require_verb(self, verb: str) -> None:
        """Raise UserError if it was trained for the task of another command.

        verb: the `pggan` command, such as upscale.
        """
        if self._task.verb != verb:
            raise UserError(f"{self.name} was trained to {self.task}, not to {verb}.")

    @functools.cached_property
    def mark(self) -> marks.Mark:
        """What its pictures say about themselves: that a network made or changed them, and which."""
        from pggan_tf.runs import generators

        try:
            return generators.make_mark(self.location, self._task.source_type)
        except UserError:  # it was not loaded from a file
            return marks.Mark(self._task.source_type)

    def mark_samples(
        self, numbers: Sequence[int], layout: str, stage: int | None, truncation: float, class_name: str | None
    ) -> marks.Mark:
        """Return the mark of a picture of seeds.

        Args:
            numbers: the seeds.
            layout: how the picture arranges them, one of `marks.LAYOUTS`.
            stage: see `sample`.
            truncation: see `sample`.
            class_name: see `sample`.
        """
        if layout == marks.IMAGE and self.classes and class_name is None:
            class_name = self.classes[numbers[0] % len(self.classes)]
        seeds = synthesis.format_seeds(numbers)
        return self.mark.for_seeds(seeds, self.choose_stage(stage), float(truncation), class_name, layout)

    def choose_stage(self, stage: int | None = None) -> int:
        """Return `stage`, or the last stage for None. Raise UserError if it is not in `stages`."""
        return synthesis.choose_stage(self.network, self.name, stage)

    def batches(
        self,
        seeds: str | Iterable[int],
        *,
        stage: int | None = None,
        truncation: float = 1.0,
        class_name: str | None = None,
    ) -> Iterator[np.ndarray]:
        """Return an iterator over the images of seeds in batches, which saves memory.

        Each batch is uint8 [n, R, R, C]. For the arguments and errors, see `sample`.
        """
        self.require_latents()
        numbers = _parse_seeds(seeds)
        stage = self.choose_stage(stage)
        labels = synthesis.choose_labels(self.network, self.name, class_name, numbers)
        if not isinstance(truncation, int | float | np.number) or not 0 <= truncation <= 1:
            raise UserError(f"--truncation {truncation}: expected a number from 0 to 1.")
        self._sampler = self._sampler or synthesis.Sampler(self.network)
        return self._sampler.batches(numbers, labels, stage, truncation)

    @explain_out_of_memory("images are made", "Take fewer seeds, a smaller stage, or `batches`.")
    def sample(
        self,
        seeds: str | Iterable[int] = range(16),
        *,
        stage: int | None = None,
        truncation: float = 1.0,
        class_name: str | None = None,
    ) -> Images:
        """Make images from seeds. A seed gives the same image on every machine.

        Args:
            seeds: whole numbers from 0 to 2^32 - 1, one for each image, such as `range(64)`, or as
                text such as '0-63'.
            stage: resolution R in pixels, one of `stages` (default: the last). Every stage shows
                the same images at its own resolution.
            truncation: 0..1. Values below 1 give less varied and more typical images.
            class_name: class of all images, one of `classes` (default: all classes in turn).

        Returns:
            uint8 [N, R, R, C], shown as a grid in a notebook; C is 3, or 1 for gray.

        Raises:
            UserError: if an argument is not valid, or it converts photos.
        """
        made = self.batches(seeds, stage=stage, truncation=truncation, class_name=class_name)
        images = np.concatenate(list(made))
        mark = self.mark_samples(_parse_seeds(seeds), marks.GRID, stage, truncation, class_name)
        return Images.of(images, mark)

    def converter(self, side: int | None = None) -> Callable:
        """Return the function that converts a `data.photos.Photo`; see `tasks.Task.converter`.

        Args:
            side: for colorize, the shorter side in pixels at which the network sees a photo; for
                other tasks, the side of a tile in pixels (default: the task's).

        Raises:
            UserError: if it makes images from latents.
        """
        if not self._task.from_images:
            raise UserError(f"{self.name}: makes images from latents, not from photos. Take its samples.")
        if side not in self._converters:
            self._converters[side] = self._task.converter(self.network, side)
        return self._converters[side]

    def convert(self, images: np.ndarray) -> Images:
        """Convert images of any size in memory.

        Args:
            images: uint8 [N, H, W, C]; C is 3, or 1 for gray.

        Returns:
            uint8 [N, H', W', C'], enlarged by `scale`.

        Raises:
            UserError: if it makes images from latents, or `images` has another type or shape.
        """
        from pggan_tf.conversion import conversion

        mark = getattr(images, "mark", None)
        images, change = np.asarray(images), self.converter()
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
            raise UserError(
                f"images: an array of {images.dtype} {list(images.shape)}; expected uint8 [N, H, W, C] with C of 1 or 3."
            )
        generated = mark is not None and mark.source_type == marks.GENERATED
        mark = dataclasses.replace(self.mark, source_type=marks.GENERATED) if generated else self.mark
        return Images.of(conversion.convert_images(images, change), mark)


def _parse_seeds(seeds: str | Iterable[int]) -> list[int]:
    """Return seeds as a list of numbers. Raise UserError if one is no seed, or there are none."""
    if isinstance(seeds, str):
        return synthesis.parse_seeds(seeds)
    if isinstance(seeds, int | np.integer):
        raise UserError(f"seeds {seeds}: expected a list: range({seeds}) for the first, [{seeds}] for this one.")
    try:
        numbers = [operator.index(number) for number in seeds]
    except TypeError:
        numbers = []
    if not numbers or not all(0 <= number < 2**32 for number in numbers):
        raise UserError(f"seeds {seeds}: expected one or more whole numbers from 0 to 2^32 - 1.")
    return numbers


def convert(
    generator,
    source: str | Path,
    out: str | Path,
    *,
    compare: bool = False,
    size: int | None = None,
    tile: int | None = None,
    mark: bool = True,
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
        mark: write into the metadata that a trained network changed the photo, and which.

    Returns:
        The file or folder that was written.

    Raises:
        UserError: if an argument does not fit the network, or files cannot be read or written.
        Stopped: if some photos of a folder could not be converted; the others were.
    """
    from pggan_tf.conversion import conversion

    generator = as_generator(generator)
    sees_reduced = isinstance(generator._task, tasks.Colorize)
    if size is not None and not sees_reduced:
        if isinstance(generator._task, tasks.Recolor):
            raise UserError(f"--size {size}: {generator.name} colours every pixel where it is; leave --size out.")
        raise UserError(f"--size {size}: {generator.name} was trained to {generator.task}; only colorize has it.")
    if tile is not None and sees_reduced:
        raise UserError(f"--tile {tile}: {generator.name} colours photos whole, without tiles; leave --tile out.")
    if size is not None and not 16 <= size <= 4096:
        raise UserError(f"--size {size}: expected 16 to 4096.")
    if tile is not None and tile < 1:
        raise UserError(f"--tile {tile}: expected a number from 1 on.")
    change = generator.converter(size or tile)
    paths = arguments.expand(source), arguments.expand(out)
    return conversion.convert(*paths, change, generator.scale, compare, generator.mark if mark else None)


def as_generator(source) -> Generator:
    """Return a Generator for a Generator, a Run, or a location to load it from."""
    if isinstance(source, Generator):
        return source
    return source.generator if hasattr(source, "generator") else Generator.open(source)
