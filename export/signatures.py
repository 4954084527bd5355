"""Signatures of exported networks, their descriptions, and the types of their outputs.

A signature is a named function in an exported file, with its inputs; see
`pggan_tf.tasks.signatures`. Photos go in as values 0..255. Images come out as uint8 in 0..255 or as
float32 in -1..1.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from pggan_tf import tasks
from pggan_tf.tasks.signatures import Input, Signature

__all__ = ["Input", "Signature", "convert_output", "describe", "network_signatures"]


def network_signatures(
    network, truncation: float | None = None, dynamic: bool = True, pixels: str = "uint8"
) -> list[Signature]:
    """Return the signatures of a network. Callers that name no signature get the first one.

    Args:
        network: a trained generator.
        truncation: constant truncation of a generator of latents, 0..1; None makes it an input of
            the signatures.
        dynamic: whether to include signatures for photos of any size, which need a runtime that can
            resize inputs.
        pixels: dtype of input photos, whose values are 0..255.
    """
    offered = tasks.task_of(network).signatures(network, pixels, truncation)
    return [s for s in offered if dynamic or all(None not in i.shape for i in s.inputs.values())]


def describe(signatures: Sequence[Signature], kind: str) -> dict:
    """Return a description of signatures for JSON, to be read by people and programs.

    kind: dtype of the output images, uint8 or float32.

    Returns:
        dict: name of a signature -> {"inputs": {name: {"shape", "type", "about"}}, "image": text}.
    """
    values = "0..255" if kind == "uint8" else "-1..1"
    return {
        s.name: {
            "inputs": {n: {"shape": i.shape, "type": i.dtype, "about": i.about} for n, i in s.inputs.items()},
            "image": f"{s.about}, {kind} {values}",
        }
        for s in signatures
    }


def convert_output(image, kind: str):
    """Convert a network's image to the dtype that a file returns, and return it as a tensor.

    Args:
        image: float32 in about -1..1, of any shape.
        kind: uint8 (rounded and clipped to 0..255) or float32 (clipped to -1..1).
    """
    if kind == "float32":
        return tf.clip_by_value(image, -1.0, 1.0)
    return tf.cast(tf.round(tf.clip_by_value(image * 127.5 + 127.5, 0.0, 255.0)), tf.uint8)
