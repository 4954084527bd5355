"""The base class of tasks: the interface through which the rest of the project uses a task.

A task is a problem that a generator is trained for, such as enlarging photos. It defines

- the *condition*, which is the input of the generator (a small image),
- the *target*, which is the output that the generator should give (the large image),
- the *preview*, an RGB image that shows a condition in grids of samples,
- the *signatures*, which are the functions of an exported network (see `tasks.signatures`),
- the *converter*, a function that applies a trained generator to a photo of any size.

TensorFlow is only imported when a task is used.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pggan_tf.data import colour, marks, pixels
from pggan_tf.lazy import tf
from pggan_tf.networks import tiles
from pggan_tf.tasks import signatures

if TYPE_CHECKING:
    from pggan_tf.data.photos import Photo

_TILE = 1024  # default side of a converter's tiles in pixels


@dataclass(frozen=True)
class Card:
    """Texts about a task for MODEL_CARD.md, the description that is exported with a network."""

    pipeline_tag: str  # the task's name on model hubs
    sentence: str  # what the network does; continues "A network that ..."
    intended_use: str  # what the results are suitable for, and what not


@dataclass(frozen=True)
class Page:
    """Texts and settings of a task for the web page of `pggan export --to web`.

    In `title`, `tab` and `short`, {0} is replaced by a noun for what a generator draws, such as
    Face.
    """

    title: str  # heading of the page
    tab: str  # label of the task's tab
    short: str  # name of the installed page on a phone's home screen, one or two words
    instruction: str = ""  # sentence above the button that opens a photo
    tags: tuple[str, str] = ("Before", "After")  # labels of the photo and of the result
    method: str = "square"  # how export/web/photo.js converts a photo: a key of its METHODS
    longest: int | None = None  # limit of a photo's longer side in pixels; None: the device's limit


class Task(ABC):
    """Base class of tasks. A task defines what a network takes, returns and is trained for.

    Register a subclass in `TASKS` under its name. Its constructor must work without arguments.

    Images are float32 [N, H, W, C] in -1..1. A condition is the input of the generator, an output
    is what the generator returns; each task chooses their value range and colour space.
    """

    config_fields: ClassVar[tuple[str, ...]] = ()  # config fields that are passed to `__init__` by name
    options: ClassVar[tuple[str, ...]] = ()  # those `config_fields` that other tasks reject
    from_images: ClassVar[bool] = True  # whether the generator takes images; if not, it takes latents
    # What pictures by its networks say about themselves (IPTC digital source type): by default, that
    # a trained network has changed a photo.
    source_type: ClassVar[str] = marks.CHANGED
    served: ClassVar[bool] = True  # whether `pggan serve` supports the task
    input_channels: int | None = None  # channels of a condition; None: a condition is no image
    sees_gray: ClassVar[bool] = False  # whether `encode_photo` takes gray photos, with one channel
    output_channels: ClassVar[int | None] = 3  # channels of an output; None: as many as the data has
    discriminator_channels: ClassVar[int | None] = 3  # channels of its input; None: as many as the data has
    data_channels: ClassVar[int | None] = None  # channels of the data; None: as given by --channels
    rgb_output: ClassVar[bool] = False  # whether an output is an RGB image in -1..1, as VGG19's features need
    # Whether the discriminator's input is an image in -1..1. If so, augmentation may change its
    # colours.
    discriminator_sees_image: ClassVar[bool] = True
    may_zoom: ClassVar[bool] = False  # whether it may learn from parts of photos that were enlarged (--zoom)
    # Part of the keys under which statistics of original images are cached. Tasks whose
    # `select_originals` differ need different values.
    originals_key: str = ""

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

    @classmethod
    def of_network(cls, network) -> Task:
        """Return the task that a generator was trained for, as far as the generator tells it."""
        return cls()

    # Training.

    @abstractmethod
    def condition(self, images, seed):
        """Return the generator's input for a batch of images.

        Args:
            images: training images, float32 [N, H, W, C] in -1..1.
            seed: int64 [2], seed of all random operations.

        Returns:
            float32 [N, h, w, `input_channels`], in the value range of the task.
        """

    def sample_condition(self, images):
        """Return the conditions for samples and metrics of a run; see `condition`."""
        return self.condition(images, tf.zeros([2], tf.int64))

    @abstractmethod
    def target(self, images):
        """Return the output that a perfect generator would give for the condition of `images`.

        images: float32 [N, H, W, C] in -1..1. The result has the value range and the channels of
        outputs.
        """

    def discriminator_input(self, condition, output):
        """Return the input of the discriminator, [N, H, W, `discriminator_channels`].

        By default it is the output alone, without the condition.

        Args:
            condition: input of the generator.
            output: the generator's output for real or fake samples; for real ones, the target.
        """
        return output

    @abstractmethod
    def to_image(self, condition, output):
        """Convert an output of the generator to images, float32 [N, H, W, C] in -1..1.

        Args:
            condition: input of the generator, for tasks whose output is only a part of the image,
                such as its colours.
            output: what the generator returned for this condition.
        """

    @abstractmethod
    def preview(self, condition, shape: tuple[int, int]):
        """Return RGB images that show conditions in grids of samples.

        Args:
            condition: input of the generator, [N, h, w, C].
            shape: height and width (H, W) in pixels of the generator's outputs, beside which the
                previews are shown.

        Returns:
            float32 [N, H, W, 3] in -1..1.
        """

    def check_size(self, size: int) -> None:  # noqa: B027  by default any size is valid
        """Raise UserError if the task cannot train on images with a side of `size` pixels."""

    def select_inputs(self, images):
        """Return the channels of images [N, H, W, C] that conditions are made from."""
        return images

    def select_originals(self, images):
        """Return the channels of images [N, H, W, C] that metrics compare results with."""
        return images

    # Use of a trained network.

    def encode_photo(self, photo):
        """Return the condition for a photo: [..., `input_channels`], in the range of conditions.

        photo: [..., C] in 0..1; gray (C = 1) if `sees_gray`, else RGB.
        """
        return photo

    def describe_output(self, network) -> str:
        """Return a short description of an exported network's output, such as 'RGB'."""
        return "RGB"

    def tile_size(self, network) -> int:
        """Return the side in pixels of the square photos that the signature of fixed size takes.

        An exported network has this signature for runtimes that cannot resize inputs.
        """
        return network.resolutions[-1]

    def signatures(
        self, network, pixel_type: str = "uint8", truncation: float | None = None
    ) -> list[signatures.Signature]:
        """Return the functions of an exported network. The first one is the default of its file.

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
        """Return a function that converts a photo of any size with a trained generator.

        Photos larger than a tile are converted in overlapping tiles. These are blended, because
        the output of a network such as a U-Net depends on its whole input.

        Args:
            network: a trained generator.
            size: side of a tile in pixels (default 1024), rounded up to a multiple of
                `network.multiple`, the number that the network's input sides must be multiples of.
                In some subclasses `size` has another meaning.
            check: called before every tile; an exception that it raises ends the conversion.

        Returns:
            function (photo, progress) -> photo. Both photos are `photos.Photo`; the result has the
            size of the input, or is enlarged if the task enlarges. `progress` is optional and is
            called with (tiles done, tiles in all).
        """
        function = tiles.trace_network(network, self.input_channels, check)
        tile = math.ceil((size or _TILE) / network.multiple) * network.multiple

        def convert_tile(part):
            photo = pixels.to_unit(part)
            condition = self.encode_photo(colour.to_gray(photo) if self.sees_gray else photo)
            return pixels.from_unit((self.to_image(condition, function(condition)) + 1) / 2, part.dtype)

        return lambda photo, progress=tiles.ignore: photo.with_pixels(
            tiles.blend_tiles(convert_tile, photo.rgb(), tile, tile // 4, progress)
        )

    def sample_code(self, network) -> tuple[list[str], list[str]]:
        """Return Python code for the model card, which shows how to use a network.

        The code may use the variable `network`, which holds the loaded network.

        Args:
            network: a trained generator, whose sizes are written into the code.

        Returns:
            (lines of imports, other lines); both are empty by default.
        """
        return [], []
