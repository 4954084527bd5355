"""Signatures: the functions of an exported network, with their inputs.

Callers need to know nothing about the training: value ranges, colour spaces, normalisation and
truncation are handled inside the signatures. Photos go in as values 0..255. The batch size is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pggan_tf.data import colour
from pggan_tf.lazy import tf


@dataclass(frozen=True)
class Input:
    """An input of a signature."""

    shape: tuple[int | None, ...]  # None in place of a number: any size
    dtype: str
    about: str  # description for people: unit and range


@dataclass(frozen=True)
class Signature:
    """A function of an exported file, with its inputs."""

    name: str
    function: Callable  # takes a tensor for each name in `inputs`; returns an image [1, H, W, C], float32 in -1..1
    inputs: dict[str, Input]
    about: str  # description of the output, for people
    # Takes (number, photo uint8 [S, S, 3], where S is `photo` below) and returns an example of each
    # input. If `photo` is None, it takes (number, None).
    example: Callable[[int, np.ndarray | None], dict[str, np.ndarray]]
    photo: int | None = None  # side in pixels of the photo that `example` takes; None: no photo
    oblong: tuple[int, int] | None = None  # another (height, width) to test, if the signature takes any size

    def specs(self) -> list:
        """Return a tf.TensorSpec for every input."""
        return [tf.TensorSpec(i.shape, i.dtype, name) for name, i in self.inputs.items()]


def photo_signatures(task, network, pixel_type: str) -> list[Signature]:
    """Return two signatures of a task: NAME_S for photos of S x S pixels, NAME for any size.

    Args:
        task: `tasks.Task`.
        network: a trained generator.
        pixel_type: dtype of input photos, whose values are 0..255.
    """
    size, multiple = task.tile_size(network), getattr(network, "multiple", 1)
    channels, argument, kind = (1, "gray", "gray") if task.input_channels == 1 else (3, "photo", "RGB")

    def convert(**inputs):
        condition = task.encode_photo(tf.cast(inputs[argument], tf.float32) / 255)
        return task.to_image(condition, network(condition))

    def make_example(number, photo):
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
