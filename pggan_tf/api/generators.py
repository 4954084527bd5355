"""Use a trained generator: make images from seeds, and convert photos."""

from __future__ import annotations

import dataclasses
import functools
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pggan_tf import synthesis, tasks, terminal
from pggan_tf.api import arguments
from pggan_tf.api.images import Images
from pggan_tf.data import colour_hints, marks
from pggan_tf.errors import UserError, explain_out_of_memory
from pggan_tf.explore import sliders as latent_sliders


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

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_sampler": None, "_converters": {}}  # compiled functions, which are made again

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
        sliders: Mapping[int | str, float] | None = None,
    ) -> Iterator[np.ndarray]:
        """Return an iterator over the images of seeds in batches, which saves memory.

        Each batch is uint8 [n, H, W, C]. For the arguments and errors, see `sample`.
        """
        self.require_latents()
        numbers = _parse_seeds(seeds)
        stage = self.choose_stage(stage)
        labels = synthesis.choose_labels(self.network, self.name, class_name, numbers)
        _check_truncation(truncation)
        self._sampler = self._sampler or synthesis.Sampler(self.network)
        return self._sampler.batches(numbers, labels, stage, truncation, self._make_move(sliders or {}))

    def _make_move(self, asked: Mapping[int | str, float]) -> Callable[[np.ndarray], np.ndarray] | None:
        """Return the function that moves latents as sliders are set; None if none is.

        asked: number or name of a slider -> amount, see `sample`.
        """
        if not asked:
            return None
        if not isinstance(asked, Mapping):
            raise UserError(f"sliders {asked}: expected {{number or name: amount}}, such as {{2: 3}}.")
        sliders = self.sliders
        amounts = latent_sliders.resolve_amounts(sliders, asked, self.name)
        directions = np.stack([slider.direction for slider in sliders])
        return lambda latents: latent_sliders.move(latents, directions, amounts)

    @property
    def sliders(self) -> list[latent_sliders.Slider]:
        """Directions in which its images can be changed, the strongest first.

        Each has a `number` (from 1 on), a `name` (if `Run.rename_slider` gave it one), a `strength`
        (1 for an average direction) and a `direction`. Raise UserError if it converts photos, or
        if its architecture has no sliders.
        """
        from pggan_tf.runs import slider_names

        self.require_latents()
        kernel = latent_sliders.read_kernel(self.network, self.name)
        place = Path(self.location)
        folder = place if place.is_dir() else place.parent if place.is_file() else None
        return latent_sliders.make_sliders(
            kernel, slider_names.read_names(folder, latent_sliders.compute_digest(kernel))
        )

    @explain_out_of_memory("images are made", "Take fewer seeds, a smaller stage, or a smaller `count`.")
    def draw_sliders(
        self,
        seeds: str | Iterable[int] = range(2),
        *,
        count: int = 6,
        stage: int | None = None,
        truncation: float = 1.0,
        class_name: str | None = None,
    ):
        """Draw what sliders change: a strip from -4 to +4 units for each, with a row for each seed.

        Args:
            seeds: seeds of the images, as in `sample`.
            count: number of sliders, the strongest ones.
            stage: as in `sample`.
            truncation: as in `sample`.
            class_name: as in `sample`.

        Returns:
            A Pillow image.

        Raises:
            UserError: if an argument is not valid, or it has no sliders.
        """
        from PIL import Image

        from pggan_tf.report import strips

        sliders, numbers = self.choose_sliders(count), _parse_seeds(seeds)
        stage, z = self.choose_stage(stage), synthesis.latents(numbers, self.network.latent_size)
        labels = synthesis.choose_labels(self.network, self.name, class_name, numbers)
        _check_truncation(truncation)
        self._sampler = self._sampler or synthesis.Sampler(self.network)
        return Image.fromarray(strips.draw(self._sampler, sliders, z, labels, stage, truncation))

    def choose_sliders(self, count: int) -> list[latent_sliders.Slider]:
        """Return the `count` strongest sliders. Raise UserError if it does not have so many."""
        sliders = self.sliders
        count = arguments.check_whole("--count", count, 1)
        if count > len(sliders):
            raise UserError(f"--count {count}: {self.name} has {len(sliders)} sliders; expected 1 to {len(sliders)}.")
        return sliders[:count]

    @explain_out_of_memory("images are made", "Take fewer seeds, a smaller stage, or `batches`.")
    def sample(
        self,
        seeds: str | Iterable[int] = range(16),
        *,
        stage: int | None = None,
        truncation: float = 1.0,
        class_name: str | None = None,
        sliders: Mapping[int | str, float] | None = None,
    ) -> Images:
        """Make images from seeds. A seed gives the same image on every machine.

        Args:
            seeds: whole numbers from 0 to 2^32 - 1, one for each image, such as `range(64)`, or as
                text such as '0-63'.
            stage: resolution in pixels, one of `stages` (default: the last). Every stage shows the
                same images at its own resolution, which is the longer side.
            truncation: 0..1. Values below 1 give less varied and more typical images.
            class_name: class of all images, one of `classes` (default: all classes in turn).
            sliders: changes of all images: number or name of one of `sliders` -> amount, -10 to 10,
                such as {2: 3, "smile": -1.5}. A unit is one standard deviation of a latent along
                the slider's direction.

        Returns:
            uint8 [N, H, W, C], shown as a grid in a notebook; C is 3, or 1 for gray. With 4 or 2,
            the last channel is alpha, and colours are straight (not multiplied with it).

        Raises:
            UserError: if an argument is not valid, or it converts photos.
        """
        numbers = _parse_seeds(seeds)  # once, as an iterator can be read
        made = self.batches(numbers, stage=stage, truncation=truncation, class_name=class_name, sliders=sliders)
        images = np.concatenate(list(made))
        # A seed alone does not make an edited image again.
        mark = self.mark if sliders else self.mark_samples(numbers, marks.GRID, stage, truncation, class_name)
        return Images.of(images, mark)

    def converter(
        self,
        side: int | None = None,
        wishes: colour_hints.Wishes | None = None,
        denoise: float | None = None,
    ) -> Callable:
        """Return the function that converts a `data.photos.Photo`; see `tasks.Task.converter`.

        Args:
            side: for colorize, the shorter side in pixels at which the network sees a photo; for
                other tasks, the side of a tile in pixels (default: the task's).
            wishes: for colorize, what the user wants of the colours.
            denoise: for upscale, trained with --denoise, the level of noise, 0..1.

        Raises:
            UserError: if it makes images from latents.
        """
        if not self._task.from_images:
            raise UserError(f"{self.name}: makes images from latents, not from photos. Take its samples.")
        if wishes is not None and isinstance(self._task, tasks.Colorize):
            return self._task.converter(self.network, side, wishes=wishes)
        if denoise is not None and isinstance(self._task, tasks.Upscale):
            return self._task.converter(self.network, side, denoise=denoise)
        if side not in self._converters:
            self._converters[side] = self._task.converter(self.network, side)
        return self._converters[side]

    def convert(self, images: np.ndarray) -> Images:
        """Convert images of any size in memory.

        Args:
            images: uint8 [N, H, W, C]; C is 3, or 1 for gray, or 4 or 2 with alpha.

        Returns:
            uint8 [N, H', W', C'], enlarged by `scale`, with alpha if `images` have it.

        Raises:
            UserError: if it makes images from latents, or `images` has another type or shape.
        """
        from pggan_tf.conversion import conversion

        mark = getattr(images, "mark", None)
        images, change = np.asarray(images), self.converter()
        if images.dtype != np.uint8 or images.ndim != 4 or not 1 <= images.shape[-1] <= 4 or not images.size:
            raise UserError(
                f"images: an array of {images.dtype} {list(images.shape)}; expected uint8 [N, H, W, C] with C of 1 to 4."
            )
        generated = mark is not None and mark.source_type == marks.GENERATED
        mark = dataclasses.replace(self.mark, source_type=marks.GENERATED) if generated else self.mark
        return Images.of(conversion.convert_images(images, change), mark)


def _check_truncation(truncation: float) -> None:
    """Raise UserError if a truncation is not a number from 0 to 1."""
    arguments.check_number("--truncation", truncation, 0, 1)


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


def as_generator(source) -> Generator:
    """Return a Generator for a Generator, a Run, or a location to load it from."""
    if isinstance(source, Generator):
        return source
    return source.generator if hasattr(source, "generator") else Generator.open(source)
