"""Signatures: the named functions in the file of an exported network, with their inputs.

A file may hold several signatures, such as one for each resolution; they share the weights. Callers
need to know nothing about the training: value ranges, colour spaces, normalisation and truncation
are handled inside the signatures. Photos go in as values 0..255. The batch size is 1.

An *example* is a dict with an array for each input of a signature. Examples are used to compare an
exported file with Keras and to calibrate its quantisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pggan_tf.data import colour
from pggan_tf.lazy import tf


@dataclass(frozen=True)
class Input:
    """Description of an input of a signature."""

    shape: tuple[int | None, ...]  # None in place of a number: any size
    dtype: str
    about: str  # description for people: unit and range


@dataclass(frozen=True)
class Signature:
    """A function of an exported file, with its inputs."""

    name: str
    # Takes a tensor for each of `inputs`, by keyword; returns an image, float32 [1, H, W, C] in
    # -1..1.
    function: Callable
    inputs: dict[str, Input]
    about: str  # description of the returned image, for people
    # Takes (number, photo uint8 [S, S, 3], where S is `photo` below) and returns an example: input
    # name -> array. Inputs other than photos are derived from the number. If `photo` is None, it
    # takes (number, None).
    example: Callable[[int, np.ndarray | None], dict[str, np.ndarray]]
    photo: int | None = None  # side in pixels of the photo that `example` takes; None: no photo
    # If the signature takes photos of any size: a second size to test, (height, width) in pixels,
    # which is not square. Else None.
    oblong: tuple[int, int] | None = None

    def specs(self) -> list:
        """Return a list with a tf.TensorSpec for every input, in the order of `inputs`."""
        return [tf.TensorSpec(i.shape, i.dtype, name) for name, i in self.inputs.items()]


def photo_signatures(task, network, pixel_type: str) -> list[Signature]:
    """Return two signatures of a task that takes photos.

    The first one, named TASK_S, takes photos of S x S pixels, where S is `task.tile_size(network)`.
    The second one, named TASK, takes photos of any size, or of any multiple of `network.multiple`.

    Args:
        task: `tasks.Task`.
        network: a trained generator.
        pixel_type: dtype of input photos, whose values are 0..255.
    """
    size, multiple = task.tile_size(network), network.multiple
    channels, argument, kind = (1, "gray", "gray") if task.sees_gray else (3, "photo", "RGB")

    def convert(**inputs):
        """Return the image [1, H, W, C] in -1..1 for a photo in 0..255."""
        condition = task.encode_photo(tf.cast(inputs[argument], tf.float32) / 255)
        return task.to_image(condition, network(condition))

    def make_example(number, photo):
        """Return {name of the input: the photo uint8 [S, S, 3] as this input}."""
        photo = np.rint(colour.to_gray(photo)).astype(np.uint8) if channels == 1 else photo
        return {argument: photo[None].astype(pixel_type)}

    def make_signature(name: str, side: int | None, text: str) -> Signature:
        inputs = {argument: Input((1, side, side, channels), pixel_type, f"{text}, 0..255")}
        oblong = None if side else (max(multiple, size - multiple), size + multiple)
        return Signature(name, convert, inputs, task.describe_output(network), make_example, size, oblong)

    any_size = f"{kind}, sides any multiple of {multiple}" if multiple > 1 else f"{kind}, any size"
    return [
        make_signature(f"{task.name}_{size}", size, f"{kind}, {size}x{size}"),
        make_signature(task.name, None, any_size),
    ]
