"""Building blocks that all architectures share: a layer with normalisation and activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

LEAK = 0.2  # slope of LeakyReLU below zero


def leaky_relu(x):
    """Apply LeakyReLU with slope 0.2: x if x > 0, else 0.2 x."""
    return tf.nn.leaky_relu(x, LEAK)


@dataclass
class Block:
    """Callable that computes activation(norm(layer(x))); `norm` and `activation` are optional.

    A block is not a Keras layer; it only references layers that are attributes of a network. So
    .keras files and checkpoints name the weights by these attributes ('generator/conv_4/kernel').
    """

    layer: keras.layers.Layer
    norm: keras.layers.Layer | None = None
    activation: Callable | None = None

    def __call__(self, x, training: bool = False):
        """Apply the layer, the normalisation and the activation to x [N, ..., C]."""
        return self.activate(self.layer(x), training)

    def activate(self, x, training: bool = False):
        """Apply only the normalisation and the activation to x, the output of `layer`."""
        if self.norm is not None:
            x = self.norm(x, training=training)
        return x if self.activation is None else self.activation(x)


def apply_blocks(blocks: list[Block], x, training: bool = False):
    """Apply the blocks to x in sequence and return the output of the last one."""
    for block in blocks:
        x = block(x, training)
    return x
