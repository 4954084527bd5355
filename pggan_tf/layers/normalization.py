"""Normalisation layers, and layers that give a discriminator information on the whole batch."""

from __future__ import annotations

import collections

import keras
import tensorflow as tf

from pggan_tf import replicas


def pixel_norm(x):
    """Divide every feature vector of x [..., C] by its root mean square.

    1e-8 is added to the mean square (Karras et al. 2018, section 4.2).
    """
    mean_square = tf.reduce_mean(tf.square(tf.cast(x, tf.float32)), axis=-1, keepdims=True)
    return x * tf.cast(tf.math.rsqrt(mean_square + 1e-8), x.dtype)


@keras.saving.register_keras_serializable("pggan_tf")
class PixelNorm(keras.layers.Layer):
    """Keras layer that applies `pixel_norm`."""

    def call(self, x):
        """Normalise the feature vectors of x [..., C] to a mean square of 1."""
        return pixel_norm(x)

    def compute_output_shape(self, input_shape):
        """Return the shape of the output for Keras."""
        return input_shape


@keras.saving.register_keras_serializable("pggan_tf")
class MinibatchStddev(keras.layers.Layer):
    """Minibatch standard deviation layer: [N, H, W, C] -> [N, H, W, C+1].

    The layer appends a feature map with the standard deviation within a group of images, averaged
    over features and pixels (Karras et al. 2018, section 3). A group consists of `group`
    neighbouring images of the batch. If real images are followed by generated ones in one batch and
    the number of each is a multiple of `group`, no group contains both. A batch smaller than
    `group` is a single group.
    """

    cross_replica = True  # whether a group may contain images of several replicas

    def __init__(self, group: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.group = group

    def call(self, x):
        """Append to x [N, H, W, C] a map with the standard deviation of each image's group."""
        n = x.shape[0] or tf.shape(x)[0]
        across = self.cross_replica and replicas.count() > 1 and n % min(self.group, n * replicas.count())
        y = replicas.all_gather(x) if across else x
        whole = y.shape[0] or tf.shape(y)[0]
        group = min(self.group, whole) if isinstance(whole, int) else tf.minimum(self.group, whole)
        _, h, w, c = x.shape
        y = tf.cast(tf.reshape(y, [-1, group, h, w, c]), tf.float32)  # [M,G,H,W,C]
        y = y - tf.reduce_mean(y, axis=1, keepdims=True)
        y = tf.sqrt(tf.reduce_mean(tf.square(y), axis=1) + 1e-8)  # [M,H,W,C], deviation in a group
        y = tf.reduce_mean(y, axis=[1, 2, 3])  # [M]
        y = tf.repeat(y, group)[:, None, None, None]  # [N,1,1,1]
        y = replicas.take_own_rows(y) if across else y
        return tf.concat([x, tf.cast(tf.broadcast_to(y, [n, h, w, 1]), x.dtype)], axis=-1)

    def compute_output_shape(self, input_shape):
        """Return the shape of the output for Keras."""
        return (*input_shape[:-1], input_shape[-1] + 1)

    def get_config(self):
        """Return the constructor's arguments for Keras."""
        return {**super().get_config(), "group": self.group}


@keras.saving.register_keras_serializable("pggan_tf")
class MinibatchDiscrimination(keras.layers.Layer):
    """Minibatch discrimination layer: [N, A] -> [N, A + kernels].

    The layer appends to each sample i its closeness to the other samples of the batch, in each of
    `kernels` learned spaces of `size` dimensions. Closeness is the sum over all other samples j of
    exp(-|M_i - M_j|_1) with M = x T (Salimans et al. 2016, section 3.2).
    """

    cross_replica = True  # whether the batch includes the samples of all replicas

    def __init__(self, kernels: int = 16, size: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.kernels, self.size = kernels, size

    def build(self, input_shape):
        """Create the matrix T, [A, kernels * size], for inputs [N, A]."""
        self.projection = self.add_weight(
            shape=(input_shape[-1], self.kernels * self.size),
            initializer=keras.initializers.RandomNormal(stddev=0.05),
            name="projection",
            autocast=False,
        )

    def call(self, x):
        """Append to x [N, A] the closeness of each sample to the others: [N, A + kernels]."""
        m = tf.matmul(tf.cast(x, tf.float32), self.projection)
        m = tf.reshape(m, [-1, self.kernels, self.size])  # [N,B,C]
        others = replicas.all_gather(m) if self.cross_replica else m
        apart = tf.reduce_sum(tf.abs(m[:, None] - others[None]), axis=3)  # [N,N,B]
        near = tf.reduce_sum(tf.exp(-apart), axis=1) - 1  # [N,B], without the sample itself
        return tf.concat([x, tf.cast(near, x.dtype)], axis=-1)

    def compute_output_shape(self, input_shape):
        """Return the shape of the output for Keras."""
        return (*input_shape[:-1], input_shape[-1] + self.kernels)

    def get_config(self):
        """Return the constructor's arguments for Keras."""
        return {**super().get_config(), "kernels": self.kernels, "size": self.size}


@keras.saving.register_keras_serializable("pggan_tf")
class BatchNorm(keras.layers.Layer):
    """Batch normalisation layer for x [..., C] (Ioffe and Szegedy 2015, algorithm 1).

    In training the layer uses the statistics of the batch, otherwise the stored `mean` and
    `variance`. Training does not change the stored statistics. So skipped steps cannot spoil them,
    and a network with averaged weights gets statistics computed with these weights. To compute
    them, set `batch_statistics` to an empty deque, call the layer on several batches, then call
    `store_statistics`.
    """

    EPSILON = 1e-5
    batch_statistics: collections.deque | None = None  # (mean, variance) of each batch
    cross_replica = True  # whether a batch in training includes the samples of all replicas

    def build(self, input_shape):
        """Create scale, offset, mean and variance, [C] each, for inputs [..., C]."""
        shape = (input_shape[-1],)
        self.scale = self.add_weight(shape=shape, initializer="ones", name="scale", autocast=False)
        self.offset = self.add_weight(shape=shape, initializer="zeros", name="offset", autocast=False)
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean", autocast=False)
        self.variance = self.add_weight(
            shape=shape, initializer="ones", trainable=False, name="variance", autocast=False
        )

    def _compute_moments(self, x):
        """Return mean and variance of the batch, [C] each.

        The batch is that of all replicas if `cross_replica` is true, otherwise that of this one.
        """
        axes = list(range(x.shape.rank - 1))
        # With `identity`, gradients are added in pairs: a sum of three has no fixed order.
        x = tf.identity(x)
        if not self.cross_replica or replicas.count() == 1:
            return tf.nn.moments(x, axes)
        mean = replicas.all_reduce_sum(tf.reduce_mean(x, axes)) / replicas.count()
        return mean, replicas.all_reduce_sum(tf.reduce_mean(tf.square(x - mean), axes)) / replicas.count()

    def store_statistics(self) -> None:
        """Store the mean and variance over all batches in `batch_statistics`.

        The batches must have the same size. Without batches, the stored statistics stay unchanged.
        """
        if self.batch_statistics:
            means, variances = (tf.stack(values) for values in zip(*self.batch_statistics, strict=True))
            self.mean.assign(tf.reduce_mean(means, axis=0))
            self.variance.assign(tf.reduce_mean(variances, axis=0) + tf.math.reduce_variance(means, axis=0))

    def call(self, x, training=False):
        """Normalise x [..., C] with the statistics of the batch or with the stored ones.

        Args:
            x: The features.
            training: Whether to use the statistics of the batch. They are also used while
                `batch_statistics` is set, and are then appended to it.
        """
        if training or self.batch_statistics is not None:
            mean, variance = self._compute_moments(tf.cast(x, tf.float32))
            if self.batch_statistics is not None:
                self.batch_statistics.append((mean, variance))
        else:
            mean, variance = tf.convert_to_tensor(self.mean), tf.convert_to_tensor(self.variance)
        factor = self.scale * tf.math.rsqrt(variance + self.EPSILON)
        return x * tf.cast(factor, x.dtype) + tf.cast(self.offset - mean * factor, x.dtype)

    def compute_output_shape(self, input_shape):
        """Return the shape of the output for Keras."""
        return input_shape
