"""Normalisation of features, and what a discriminator sees of the batch as a whole."""

from __future__ import annotations

import keras
import tensorflow as tf

from pggan_tf import replicas


def pixel_norm(x):
    """[..., C] -> [..., C]: every feature vector divided by its root mean square, eps 1e-8 (Karras et al. 2018, section 4.2)."""
    mean_square = tf.reduce_mean(tf.square(tf.cast(x, tf.float32)), axis=-1, keepdims=True)
    return x * tf.cast(tf.math.rsqrt(mean_square + 1e-8), x.dtype)


@keras.saving.register_keras_serializable("pggan_tf")
class PixelNorm(keras.layers.Layer):
    """`pixel_norm` as a layer."""

    def call(self, x):
        return pixel_norm(x)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("pggan_tf")
class MinibatchStddev(keras.layers.Layer):
    """[N, H, W, C] -> [N, H, W, C+1]: one more map, the spread within groups of `group` neighbours of the batch
    (Karras et al. 2018, section 3).

    Neighbours, so that reals and fakes laid one after the other in one batch never share a group (their count has to
    be a multiple of `group`). A batch smaller than `group` is one group. A group that several replicas have parts of is
    looked at as a whole, unless each is `alone`.
    """

    alone = False

    def __init__(self, group: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.group = group

    def call(self, x):
        n = x.shape[0] or tf.shape(x)[0]
        across = not self.alone and replicas.count() > 1 and n % min(self.group, n * replicas.count())
        y = replicas.all_gather(x) if across else x
        whole = y.shape[0] or tf.shape(y)[0]
        group = min(self.group, whole) if isinstance(whole, int) else tf.minimum(self.group, whole)
        _, h, w, c = x.shape
        y = tf.cast(tf.reshape(y, [-1, group, h, w, c]), tf.float32)  # [M,G,H,W,C]
        y = y - tf.reduce_mean(y, axis=1, keepdims=True)
        y = tf.sqrt(tf.reduce_mean(tf.square(y), axis=1) + 1e-8)  # [M,H,W,C] spread within a group
        y = tf.reduce_mean(y, axis=[1, 2, 3])  # [M]
        y = tf.repeat(y, group)[:, None, None, None]  # [N,1,1,1]
        y = replicas.take_own_rows(y) if across else y
        return tf.concat([x, tf.cast(tf.broadcast_to(y, [n, h, w, 1]), x.dtype)], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + 1)

    def get_config(self):
        return {**super().get_config(), "group": self.group}


@keras.saving.register_keras_serializable("pggan_tf")
class MinibatchDiscrimination(keras.layers.Layer):
    """[N, A] -> [N, A + kernels]: to each sample, how close it is to the others of its batch in `kernels` learned spaces of
    `size` dimensions: sum over the others j of exp(-|M_i - M_j|_1), M = x T (Salimans et al. 2016, section 3.2). The batch is
    that of all replicas, unless each is `alone`."""

    alone = False

    def __init__(self, kernels: int = 16, size: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.kernels, self.size = kernels, size

    def build(self, input_shape):
        self.projection = self.add_weight(
            shape=(input_shape[-1], self.kernels * self.size),
            initializer=keras.initializers.RandomNormal(stddev=0.05),
            name="projection",
            autocast=False,
        )

    def call(self, x):
        m = tf.matmul(tf.cast(x, tf.float32), self.projection)
        m = tf.reshape(m, [-1, self.kernels, self.size])  # [N,B,C]
        others = m if self.alone else replicas.all_gather(m)
        apart = tf.reduce_sum(tf.abs(m[:, None] - others[None]), axis=3)  # [N,N,B]
        near = tf.reduce_sum(tf.exp(-apart), axis=1) - 1  # [N,B], without the sample itself
        return tf.concat([x, tf.cast(near, x.dtype)], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + self.kernels)

    def get_config(self):
        return {**super().get_config(), "kernels": self.kernels, "size": self.size}


@keras.saving.register_keras_serializable("pggan_tf")
class BatchNorm(keras.layers.Layer):
    """[..., C] -> [..., C]: mean 0 and variance 1 over the batch, then scale and offset (Ioffe and Szegedy 2015, algorithm 1).

    In training the batch's own statistics, of all replicas together unless each is `alone`; otherwise those that were last
    measured: while `measured` is a deque, a call takes the batch's and adds them to it, and `keep_measured` keeps what they come
    to. No step changes them, so a skipped one cannot spoil them, and an averaged network is measured with its averaged
    weights.
    """

    EPSILON = 1e-5
    measured = None  # (mean, variance) of every batch
    alone = False

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.scale = self.add_weight(shape=shape, initializer="ones", name="scale", autocast=False)
        self.offset = self.add_weight(shape=shape, initializer="zeros", name="offset", autocast=False)
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean", autocast=False)
        self.variance = self.add_weight(
            shape=shape, initializer="ones", trainable=False, name="variance", autocast=False
        )

    def _moments(self, x):
        axes = list(range(x.shape.rank - 1))
        # Two gradients meet here and two outside of it: sums of three have no fixed order, see training/step.py.
        x = tf.identity(x)
        if self.alone or replicas.count() == 1:
            return tf.nn.moments(x, axes)
        mean = replicas.all_reduce_sum(tf.reduce_mean(x, axes)) / replicas.count()
        return mean, replicas.all_reduce_sum(tf.reduce_mean(tf.square(x - mean), axes)) / replicas.count()

    def keep_measured(self) -> None:
        """The mean and the variance of all that was measured, in batches of one size; what was not called stays as it is."""
        if self.measured:
            means, variances = (tf.stack(some) for some in zip(*self.measured, strict=True))
            self.mean.assign(tf.reduce_mean(means, axis=0))
            self.variance.assign(tf.reduce_mean(variances, axis=0) + tf.math.reduce_variance(means, axis=0))

    def call(self, x, training=False):
        if training or self.measured is not None:
            mean, variance = self._moments(tf.cast(x, tf.float32))
            if self.measured is not None:
                self.measured.append((mean, variance))
        else:
            mean, variance = tf.convert_to_tensor(self.mean), tf.convert_to_tensor(self.variance)
        factor = self.scale * tf.math.rsqrt(variance + self.EPSILON)
        return x * tf.cast(factor, x.dtype) + tf.cast(self.offset - mean * factor, x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
