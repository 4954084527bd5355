"""The base class of tasks: all that the rest of the project asks of what a network learns.

No TensorFlow is imported before a task is used.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pggan_tf import tiles
from pggan_tf.data import colour, pixels
from pggan_tf.tasks import signatures

if TYPE_CHECKING:
    from pggan_tf.data.photos import Photo

_TILE = 1024  # pixels a side of the tiles of a converter


@dataclass(frozen=True)
class Card:
    """A task's texts in MODEL_CARD.md."""

    pipeline_tag: str  # the task's name on model hubs
    sentence: str  # what a network does; it follows "A network that"
    intended_use: str  # what the results are good for, and what not


@dataclass(frozen=True)
class Page:
    """A task's texts in the web page. {0} is replaced by what a generator draws, such as Face."""

    title: str  # heading of the page
    tab: str  # name of the tab
    short: str  # name of the installed page on a phone's home screen: a word or two
    instruction: str = ""  # sentence above the button that opens a photo
    tags: tuple[str, str] = ("Before", "After")  # labels of a photo and of its result
    method: str = "square"  # how photo.js converts a photo: a key of its METHODS
    longest: int | None = None  # pixels of a photo's longer side; None: as many as the device can hold


class Task(ABC):
    """What a network learns.

    A subclass is added to `TASKS` by its name, and needs no argument to be made.

    Images are float32 [N, H, W, C] in -1..1. A *condition* is the generator's input, an *output*
    what the generator returns; each task chooses their range and colour space. Photos are
    `photos.Photo`.
    """

    config_fields: ClassVar[tuple[str, ...]] = ()  # fields of the config that `__init__` takes, by name
    options: ClassVar[tuple[str, ...]] = ()  # those of them that nothing else reads: refused with other tasks
    from_images: ClassVar[bool] = True  # False: the generator's input is latents
    served: ClassVar[bool] = True  # whether `pggan serve` offers it, under its verb
    input_channels: ClassVar[int | None] = None  # of a condition; None: it is no image
    output_channels: ClassVar[int | None] = 3  # of an output; None: those of the data
    discriminator_channels: ClassVar[int | None] = 3  # of the discriminator's input; None: those of the data
    data_channels: ClassVar[int | None] = None  # of the shards that it trains on; None: those of --channels
    rgb_output: ClassVar[bool] = False  # whether an output is an RGB image in -1..1, as VGG19's features need
    discriminator_sees_image: ClassVar[bool] = True  # an image in -1..1, whose colours augmentation may change
    originals_key: str = ""  # tells `select_originals` of the same data apart in the keys of caches

    @property
    @abstractmethod
    def name(self) -> str:
        """The value of --task; the key in `TASKS`."""

    @property
    @abstractmethod
    def verb(self) -> str:
        """The command that uses such a network: `pggan VERB`. Also its address in `pggan serve`."""

    @property
    @abstractmethod
    def card(self) -> Card:
        """The texts of the model card."""

    @property
    @abstractmethod
    def page(self) -> Page:
        """The texts of the web page."""

    # Training.

    @abstractmethod
    def condition(self, images, seed):
        """Return the generator's input for images. seed: int64 [2], for what is random."""

    @abstractmethod
    def target(self, images):
        """Return the output that a perfect generator gives for `condition(images)`."""

    def discriminator_input(self, condition, output):
        """Return what the discriminator judges: the output, by default without its condition."""
        return output

    @abstractmethod
    def to_image(self, condition, output):
        """Return an output as an image in -1..1."""

    @abstractmethod
    def preview(self, condition, size: int):
        """Return a condition as an image [N, size, size, 3] in -1..1, for grids of samples."""

    def check_size(self, size: int) -> None:  # noqa: B027  by default any size will do
        """Raise UserError if the task cannot train on squares of `size` pixels."""

    def select_inputs(self, images):
        """Return the part of the data [N, H, W, C], of any type, that conditions are made from."""
        return images

    def select_originals(self, images):
        """Return the part of the data [N, H, W, C], of any type, that results are compared with."""
        return images

    # Use of a trained network.

    def encode_photo(self, photo):
        """Return the condition for a photo in 0..1: gray if `input_channels` is 1, else RGB."""
        return photo

    def describe_output(self, network) -> str:
        """Return what comes out of an exported network, in a few words."""
        return "RGB"

    def tile_size(self, network) -> int:
        """Return the side, in pixels, of the photos that a signature of fixed size takes."""
        return network.resolutions[-1]

    def signatures(
        self, network, pixel_type: str = "uint8", truncation: float | None = None
    ) -> list[signatures.Signature]:
        """Return the functions of an exported network; the first is the default of its file.

        Args:
            network: a trained generator.
            pixel_type: type in which photos come in, 0..255.
            truncation: fixed truncation of a generator of latents; None makes it an input.
        """
        return signatures.photo_signatures(self, network, pixel_type)

    def converter(
        self, network, size: int | None = None, check: Callable[[], None] = tiles.accept
    ) -> Callable[..., Photo]:
        """Return a function from (photo, progress) to the converted photo, of the same size.

        Photos larger than a tile are converted in overlapping tiles that are blended, because the
        output of a network such as a U-Net depends on all of its input.

        Args:
            network: a trained generator.
            size: of what the network sees at a time, in pixels. Here: the side of a tile, 1024 by
                default, rounded up to a multiple of `network.multiple`.
            check: called before every tile; what it raises ends the conversion.
        """
        function = tiles.trace_network(network, self.input_channels, check)
        tile = math.ceil((size or _TILE) / network.multiple) * network.multiple

        def convert_tile(part):
            photo = pixels.to_unit(part)
            condition = self.encode_photo(colour.to_gray(photo) if self.input_channels == 1 else photo)
            return pixels.from_unit((self.to_image(condition, function(condition)) + 1) / 2, part.dtype)

        return lambda photo, progress=tiles.ignore: photo.with_pixels(
            tiles.blend_tiles(convert_tile, photo.rgb(), tile, tile // 4, progress)
        )

    def sample_code(self, network) -> tuple[list[str], list[str]]:
        """Return (imports, lines) of Python for the model card that use a loaded `network`."""
        return [], []
