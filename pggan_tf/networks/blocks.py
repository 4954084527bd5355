"""The block that every architecture is written with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

LEAK = 0.2  # slope of LeakyReLU below zero


def leaky_relu(x):
    """Return x where it is positive and 0.2 x elsewhere."""
    return tf.nn.leaky_relu(x, LEAK)


@dataclass
class Block:
    """A layer, the normalisation of its output and an activation: activation(norm(layer(x))).

    A block is no Keras layer and only refers to layers of a network: .keras files and checkpoints
    name weights by the network's attributes ('generator/conv_4/kernel').
    """

    layer: keras.layers.Layer
    norm: keras.layers.Layer | None = None
    activation: Callable | None = None

    def __call__(self, x, training: bool = False):
        """Return the output of the block for x [N, ..., C]."""
        return self.activate(self.layer(x), training)

    def activate(self, x, training: bool = False):
        """Normalise and activate x, an output of `layer`."""
        if self.norm is not None:
            x = self.norm(x, training=training)
        return x if self.activation is None else self.activation(x)


def apply_blocks(blocks: list[Block], x, training: bool = False):
    """Return the output for x of all blocks, one after the other."""
    for block in blocks:
        x = block(x, training)
    return x
