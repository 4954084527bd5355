"""The base class of tasks: the interface through which the rest of the project uses a task.

TensorFlow is only imported when a task is used.
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

_TILE = 1024  # default side of a converter's tiles in pixels


@dataclass(frozen=True)
class Card:
    """Texts about a task for MODEL_CARD.md."""

    pipeline_tag: str  # the task's name on model hubs
    sentence: str  # what the network does; continues "A network that ..."
    intended_use: str  # what the results are suitable for, and what not


@dataclass(frozen=True)
class Page:
    """Texts about a task for the web page. {0} stands for what a generator draws, such as Face."""

    title: str  # heading of the page
    tab: str  # name of the tab
    short: str  # name of the installed page on a phone's home screen, one or two words
    instruction: str = ""  # sentence above the button that opens a photo
    tags: tuple[str, str] = ("Before", "After")  # labels of the photo and of the result
    method: str = "square"  # how photo.js converts a photo: a key of its METHODS
    longest: int | None = None  # most pixels of a photo's longer side; None: as many as the device allows


class Task(ABC):
    """Base class of tasks. A task defines what a network takes, returns and is trained for.

    Register a subclass in `TASKS` under its name. Its constructor must work without arguments.

    Images are float32 [N, H, W, C] in -1..1. A *condition* is the input of the generator, an
    *output* is what the generator returns; each task chooses their value range and colour space.
    Photos are `photos.Photo`.
    """

    config_fields: ClassVar[tuple[str, ...]] = ()  # config fields that are passed to `__init__` by name
    options: ClassVar[tuple[str, ...]] = ()  # the config fields among them that other tasks reject
    from_images: ClassVar[bool] = True  # whether the generator takes images; if not, it takes latents
    served: ClassVar[bool] = True  # whether `pggan serve` supports the task
    input_channels: ClassVar[int | None] = None  # channels of a condition; None: a condition is no image
    output_channels: ClassVar[int | None] = 3  # channels of an output; None: as many as the data has
    discriminator_channels: ClassVar[int | None] = 3  # channels of its input; None: as many as the data has
    data_channels: ClassVar[int | None] = None  # channels of the training data; None: as --channels says
    rgb_output: ClassVar[bool] = False  # whether an output is an RGB image in -1..1, as VGG19's features need
    discriminator_sees_image: ClassVar[bool] = True  # in -1..1; if so, augmentation may change its colours
    originals_key: str = ""  # part of cache keys; differs if `select_originals` differs

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the task: its value of --task and its key in `TASKS`."""

    @property
    @abstractmethod
    def verb(self) -> str:
        """The command that uses a network of this task: `pggan VERB`.

        It is also the path under which `pggan serve` offers the network.
        """

    @property
    @abstractmethod
    def card(self) -> Card:
        """The texts for the model card."""

    @property
    @abstractmethod
    def page(self) -> Page:
        """The texts for the web page."""

    # Training.

    @abstractmethod
    def condition(self, images, seed):
        """Return the generator's input for a batch of images.

        Args:
            images: float32 [N, H, W, C] in -1..1.
            seed: int64 [2], seed of all random operations.
        """

    @abstractmethod
    def target(self, images):
        """Return the output that a perfect generator gives for `condition(images)`."""

    def discriminator_input(self, condition, output):
        """Return the input of the discriminator.

        By default it is the output alone, without the condition.
        """
        return output

    @abstractmethod
    def to_image(self, condition, output):
        """Convert an output of the generator, with its condition, to an image in -1..1."""

    @abstractmethod
    def preview(self, condition, size: int):
        """Return an image that shows the condition in grids of samples.

        The image is [N, size, size, 3] in -1..1.
        """

    def check_size(self, size: int) -> None:  # noqa: B027  by default any size is valid
        """Raise UserError if the task cannot train on squares of `size` pixels."""

    def select_inputs(self, images):
        """Return the channels of images [N, H, W, C] that conditions are made from."""
        return images

    def select_originals(self, images):
        """Return the channels of images [N, H, W, C] that results are compared with."""
        return images

    # Use of a trained network.

    def encode_photo(self, photo):
        """Return the condition for a photo.

        photo: [..., C] in 0..1; gray (C = 1) if `input_channels` is 1, else RGB.
        """
        return photo

    def describe_output(self, network) -> str:
        """Return a short description of an exported network's output, such as 'RGB'."""
        return "RGB"

    def tile_size(self, network) -> int:
        """Return the side in pixels of the photos that the signature of fixed size takes."""
        return network.resolutions[-1]

    def signatures(
        self, network, pixel_type: str = "uint8", truncation: float | None = None
    ) -> list[signatures.Signature]:
        """Return the signatures of an exported network. The first one is the default of its file.

        Args:
            network: a trained generator.
            pixel_type: dtype of input photos, whose values are 0..255.
            truncation: constant truncation of a generator of latents; None makes it an input of the
                signatures.
        """
        return signatures.photo_signatures(self, network, pixel_type)

    def converter(
        self, network, size: int | None = None, check: Callable[[], None] = tiles.accept
    ) -> Callable[..., Photo]:
        """Return a function that takes (photo, progress) and returns the converted photo.

        The result has the size of the photo. Photos larger than a tile are converted in overlapping
        tiles. These are blended, because the output of a network such as a U-Net depends on its
        whole input.

        Args:
            network: a trained generator.
            size: side of a tile in pixels (default 1024), rounded up to a multiple of
                `network.multiple`. In some subclasses it has another meaning.
            check: called before every tile; an exception that it raises ends the conversion.
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
        """Return Python code for the model card that uses a loaded network named `network`.

        Returns:
            (lines of imports, other lines); both are empty by default.
        """
        return [], []
