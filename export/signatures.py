"""What an exported network offers: for every task the functions that are compiled into its file, with their inputs.

Everything a caller would have to know of the training stands inside: ranges, colour spaces, normalisation, truncation.
Pictures go in as 0..255 and come out as uint8 0..255 or as float32 -1..1. Batch 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pggan_tf import synthesis
from pggan_tf.data import colour

# Pixels along a side of what fixed-size signatures make, of networks that do not care. Browsers work tile by tile: in larger ones
# less is computed twice, and more memory is needed, 67 MB for 64 maps of an enlarged tile.
ENLARGED, RECOLORED = 512, 256


@dataclass(frozen=True)
class Input:
    """shape: None for sizes that the caller chooses. about: unit and range, for people."""

    shape: tuple[int | None, ...]
    dtype: str
    about: str


@dataclass(frozen=True)
class Signature:
    """function: tensors by the names of `inputs` -> image [1, H, W, C], float32 -1..1. example: (number, photo uint8 [S, S, 3])
    -> arrays for the inputs, where S is `photo`, or (number, None) where a signature takes no photo. oblong: height and width of
    a photo that is not square, for signatures that take any size."""

    name: str
    function: Callable
    inputs: dict[str, Input]
    about: str
    example: Callable[[int, np.ndarray | None], dict[str, np.ndarray]]
    photo: int | None = None
    oblong: tuple[int, int] | None = None

    def specs(self) -> list[tf.TensorSpec]:
        return [tf.TensorSpec(i.shape, i.dtype, name) for name, i in self.inputs.items()]


def of(network, truncation: float | None = None, dynamic: bool = True, pixels: str = "uint8") -> list[Signature]:
    """The signatures of a network; the first is what a file gives to who names none. truncation: baked in; None makes it an input. dynamic: with those that take pictures of any
    size, which runtimes without resizing cannot hold. pixels: type that pictures come in as, 0..255."""
    if network.task == "generate":
        out = _generate(network, truncation)
    else:
        out = TASKS[network.task](network, pixels)
    return [s for s in out if dynamic or all(None not in i.shape for i in s.inputs.values())]


def _generate(network, truncation):
    """gen_R: one for every resolution, the last first, over the same weights."""
    inputs = {"latents": Input((1, network.latent_size), "float32", "numbers from N(0, 1)")}
    if truncation is None:
        inputs["truncation"] = Input((1,), "float32", "0..1: below 1, less varied and more typical images")
    if network.classes:
        inputs["label"] = Input((1,), "int32", f"class: {', '.join(f'{i} {c}' for i, c in enumerate(network.classes))}")

    def example(number, _photo):
        values = {"latents": synthesis.latents([number], network.latent_size)}
        if truncation is None:
            values["truncation"] = np.array([(1.0, 0.7)[number % 2]], np.float32)
        if network.classes:
            values["label"] = np.array([number % len(network.classes)], np.int32)
        return values

    def function(resolution):
        def generate(latents, truncation=truncation, label=None):
            labels = {"labels": tf.cast(label, tf.int64)} if network.classes else {}
            return network(latents, resolution=resolution, truncation=truncation, **labels)

        return generate

    stages = network.resolutions[::-1]
    return [Signature(f"gen_{r}", function(r), inputs, f"{r}x{r} image", example) for r in stages]


def _photos(
    name: str, network, channels: int, pixels: str, function, about: str, tile: int | None = None
) -> list[Signature]:
    """`name`_S for pictures of S x S, and `name` for any size. function: float32 0..1 -> float32 -1..1."""
    size, multiple = tile or network.resolutions[-1], getattr(network, "multiple", 1)
    argument = "gray" if channels == 1 else "photo"

    def example(number, photo):
        photo = np.rint(colour.gray(photo)).astype(np.uint8) if channels == 1 else photo
        return {argument: photo[None].astype(pixels)}

    def signature(name, side, text):
        shape = Input((1, side, side, channels), pixels, f"{text}, 0..255")
        oblong = None if side else (max(multiple, size - multiple), size + multiple)
        return Signature(name, lambda **x: function(tf.cast(x[argument], tf.float32) / 255), {argument: shape}, about, example, size, oblong)  # fmt: skip

    kind = "gray" if channels == 1 else "RGB"
    text = f"{kind}, sides any multiple of {multiple}" if multiple > 1 else f"{kind}, any size"
    return [signature(f"{name}_{size}", size, f"{kind}, {size}x{size}"), signature(name, None, text)]


def _colorize(network, pixels):
    def function(gray):
        lightness, _ = colour.split_lab(tf.concat([gray, gray, gray], axis=-1))
        return 2 * colour.join_lab(lightness, network(lightness)) - 1

    return _photos("colorize", network, 1, pixels, function, "the same picture in RGB")


def _recolor(network, pixels):
    about = "the same picture in RGB"
    return _photos("recolor", network, 1, pixels, lambda gray: 2 * network(gray) - 1, about, tile=RECOLORED)


def _upscale(network, pixels):
    about = f"RGB, {network.scale} times as wide and high"
    return _photos(
        "upscale",
        network,
        3,
        pixels,
        network,
        about,
        tile=max(2 * getattr(network, "multiple", 1), ENLARGED // network.scale),
    )


def _translate(network, pixels):
    return _photos("translate", network, 3, pixels, lambda image: network(2 * image - 1), "RGB")


def described(signatures: list[Signature], kind: str) -> dict:
    """For people and programs: each signature's inputs and output. kind: of the output, uint8 or float32."""
    values = "0..255" if kind == "uint8" else "-1..1"
    return {
        s.name: {
            "inputs": {n: {"shape": i.shape, "type": i.dtype, "about": i.about} for n, i in s.inputs.items()},
            "image": f"{s.about}, {kind} {values}",
        }
        for s in signatures
    }


TASKS: dict[str, Callable] = {
    "colorize": _colorize,
    "recolor": _recolor,
    "upscale": _upscale,
    "translate": _translate,
}


def output(image, kind: str):
    """float32, about -1..1 -> what a file gives: uint8 0..255, rounded and clipped, or float32, clipped to -1..1."""
    if kind == "float32":
        return tf.clip_by_value(image, -1.0, 1.0)
    return tf.cast(tf.round(tf.clip_by_value(image * 127.5 + 127.5, 0.0, 255.0)), tf.uint8)
