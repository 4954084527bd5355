"""Normalisation over features and statistics over the minibatch (Karras et al. 2018, sections 3 and 4.2)."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("pggan_tf")
class PixelNorm(keras.layers.Layer):
    """[..., C] -> [..., C]: every feature vector divided by its root mean square (eps 1e-8)."""

    def call(self, x):
        mean_square = tf.reduce_mean(tf.square(tf.cast(x, tf.float32)), axis=-1, keepdims=True)
        return x * tf.cast(tf.math.rsqrt(mean_square + 1e-8), x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("pggan_tf")
class MinibatchStddev(keras.layers.Layer):
    """[N, H, W, C] -> [N, H, W, C+1]: one more map, the spread within groups of `group` neighbours of the batch.

    Neighbours, so that reals and fakes laid one after the other in one batch never share a group (their count has to
    be a multiple of `group`). A batch smaller than `group` is one group.
    """

    def __init__(self, group: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.group = group

    def call(self, x):
        n = x.shape[0] or tf.shape(x)[0]
        group = min(self.group, n) if isinstance(n, int) else tf.minimum(self.group, n)
        _, h, w, c = x.shape
        y = tf.cast(tf.reshape(x, [-1, group, h, w, c]), tf.float32)  # [M,G,H,W,C]
        y = y - tf.reduce_mean(y, axis=1, keepdims=True)
        y = tf.sqrt(tf.reduce_mean(tf.square(y), axis=1) + 1e-8)  # [M,H,W,C] spread within a group
        y = tf.reduce_mean(y, axis=[1, 2, 3])  # [M]
        y = tf.repeat(y, group)[:, None, None, None]  # [N,1,1,1]
        return tf.concat([x, tf.cast(tf.broadcast_to(y, [n, h, w, 1]), x.dtype)], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + 1)

    def get_config(self):
        return {**super().get_config(), "group": self.group}
