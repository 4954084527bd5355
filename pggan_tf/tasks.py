"""What a batch of images is turned into: what the generator is given, and what the discriminator is shown.

No TensorFlow is imported before a task is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from pggan_tf.data import colour, degradation, resampling
from pggan_tf.lazy import tf


class Task(ABC):
    """Images are [N, H, W, C] in -1..1. given_channels, output_channels, shown_channels: of what the generator takes, of what
    it makes, and of what the discriminator sees of it. None: those of the data. shows_an_image: what the discriminator sees is
    one image in -1..1, whose colours may be changed as an image's."""

    given_channels: int | None = None
    output_channels: int | None = 3
    shown_channels: int | None = 3
    shows_an_image = True
    reverse = False  # whether `original` takes another part of the same data

    @abstractmethod
    def given(self, images, seed):
        """What the generator takes, for the images that it is to come up with. seed: int64 [2], for what is random."""

    @abstractmethod
    def wanted(self, images):
        """What the generator is to make of `given(images)`, in its own space."""

    def original(self, images):
        """Of the data [N, H, W, C], any type, the images that outputs are measured against."""
        return images

    def shown(self, given, output):
        """What the discriminator sees of an output: with the condition, where it is to judge whether they go together."""
        return output

    @abstractmethod
    def picture(self, given, output):
        """An output as an image in -1..1."""

    @abstractmethod
    def before(self, given, size: int):
        """What was given, as an image [N, size, size, 3] in -1..1."""


class Generate(Task):
    """Latents to images. The latents are drawn by the training step, whose seeds and classes they follow from."""

    output_channels = shown_channels = None

    def given(self, images, seed):
        raise TypeError("latents do not follow from images")

    def wanted(self, images):
        return images

    def picture(self, given, output):
        return output

    def before(self, given, size):
        raise TypeError("latents cannot be shown")


class Colorize(Task):
    """Lightness to colour: L of CIE Lab in 0..1 to a and b in -1..1 (Isola et al. 2017, section 3; the ranges of the one-stage
    colorizer). The discriminator sees all three."""

    given_channels, output_channels = 1, 2
    shows_an_image = False

    def given(self, images, seed):
        return colour.split_lab(images * 0.5 + 0.5)[0]

    def wanted(self, images):
        return colour.split_lab(images * 0.5 + 0.5)[1]

    def shown(self, given, output):
        return tf.concat([given, output], axis=-1)

    def picture(self, given, output):
        return colour.join_lab(given, output) * 2 - 1

    def before(self, given, size):
        return self.picture(given, tf.zeros_like(tf.repeat(given, 2, axis=-1)))


class Recolor(Task):
    """Gray in 0..1 (luma of BT.601) to red, green and blue in 0..1."""

    given_channels = 1

    def given(self, images, seed):
        return colour.gray(images * 0.5 + 0.5)

    def wanted(self, images):
        return images * 0.5 + 0.5

    def picture(self, given, output):
        return output * 2 - 1

    def before(self, given, size):
        return tf.repeat(given, 3, axis=-1) * 2 - 1


class Upscale(Task):
    """Images reduced by `scale`, in 0..1, to the images (Ledig et al. 2017, section 3). filter: as in preprocessing. degrade:
    blurred, noisy and compressed besides, as real photos are."""

    given_channels = 3

    def __init__(self, scale: int, filter: str, degrade: bool):
        self.scale, self.filter, self.degrade = scale, filter, degrade

    def given(self, images, seed):
        x = images * 0.5 + 0.5
        if self.degrade:
            return degradation.degraded(x, self.scale, self.filter, seed)
        x = resampling.resized(x, (images.shape[1] // self.scale, images.shape[2] // self.scale), self.filter)
        return tf.round(tf.clip_by_value(x, 0, 1) * 255) / 255  # what a file would hold

    def wanted(self, images):
        return images

    def picture(self, given, output):
        return output

    def before(self, given, size):
        return tf.image.resize(given, (size, size), "nearest") * 2 - 1


class Translate(Task):
    """One image to another: the data has six channels, of which the first three are given, or, in reverse, the others."""

    given_channels, shown_channels = 3, 6
    shows_an_image = False

    def __init__(self, reverse: bool):
        self.reverse = reverse

    def given(self, images, seed):
        return images[..., 3:] if self.reverse else images[..., :3]

    def wanted(self, images):
        return images[..., :3] if self.reverse else images[..., 3:]

    original = wanted

    def shown(self, given, output):
        return tf.concat([given, output], axis=-1)

    def picture(self, given, output):
        return output

    def before(self, given, size):
        return given


TASKS = ("generate", "colorize", "recolor", "upscale", "translate")


def task(name: str, scale: int = 4, filter: str = "lanczos", degrade: bool = False, reverse: bool = False) -> Task:
    """One of TASKS. scale, filter and degrade belong to upscale, reverse to translate."""
    if name == "upscale":
        return Upscale(scale, filter, degrade)
    if name == "translate":
        return Translate(reverse)
    return {"generate": Generate, "colorize": Colorize, "recolor": Recolor}[name]()
