"""Signatures of exported networks, their description, and the type of their images.

Pictures go in as 0..255 and come out as uint8 0..255 or as float32 -1..1.
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
    """Return the signatures of a network; callers that name none get the first.

    Args:
        network: a trained generator.
        truncation: fixed truncation of a generator of latents; None makes it an input.
        dynamic: whether to include signatures for pictures of any size, which runtimes without
            resizing cannot hold.
        pixels: type that pictures come in as, 0..255.
    """
    offered = tasks.task_of(network).signatures(network, pixels, truncation)
    return [s for s in offered if dynamic or all(None not in i.shape for i in s.inputs.values())]


def describe(signatures: Sequence[Signature], kind: str) -> dict:
    """Return signatures as JSON, for people and programs. kind: of the output, uint8 or float32."""
    values = "0..255" if kind == "uint8" else "-1..1"
    return {
        s.name: {
            "inputs": {n: {"shape": i.shape, "type": i.dtype, "about": i.about} for n, i in s.inputs.items()},
            "image": f"{s.about}, {kind} {values}",
        }
        for s in signatures
    }


def convert_output(image, kind: str):
    """Convert a network's image, float32 of about -1..1, to the type of a file's.

    kind: uint8, rounded and clipped to 0..255, or float32, clipped to -1..1.
    """
    if kind == "float32":
        return tf.clip_by_value(image, -1.0, 1.0)
    return tf.cast(tf.round(tf.clip_by_value(image * 127.5 + 127.5, 0.0, 255.0)), tf.uint8)
