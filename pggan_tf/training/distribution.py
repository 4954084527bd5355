"""Where a run's variables live."""

from __future__ import annotations


def strategy():
    """Every GPU of this machine; one GPU or none needs no mirroring."""
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
