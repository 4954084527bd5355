"""Exchange values between the replicas that share a batch, and draw their random numbers.

Replica i of R holds the i-th of R equal parts of every batch. On one device, and outside of a
training step, there is one replica, and exchanges return their argument. TensorFlow is not imported
before a function is called.
"""

from __future__ import annotations

from pggan_tf.lazy import tf


def count() -> int:
    """Count the replicas that run this step."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def _index():
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def all_reduce_sum(x):
    """Sum x over all replicas; its gradient is the sum of their gradients."""
    if count() == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)


def all_gather(x):
    """Concatenate x [n, ...] of every replica, in their order: [R n, ...]."""
    if count() == 1:
        return x
    # Sums with zeros are exact, and have a gradient everywhere.
    place = tf.one_hot(_index(), count(), dtype=x.dtype)
    whole = all_reduce_sum(tf.tensordot(place, x, 0))  # [R,n,...]
    return tf.reshape(whole, [-1, *x.shape[1:]])


def take_own_rows(whole, parts: int = 1):
    """Take this replica's rows of every part: [parts R n, ...] -> [parts n, ...]."""
    if count() == 1:
        return whole
    n, rest = whole.shape[0] // (parts * count()), whole.shape[1:]
    split = tf.reshape(whole, (parts, count(), n, *rest))
    return tf.reshape(split[:, _index()], (parts * n, *rest))


def seed_for(seed, number):
    """Return another seed, int64 [2], for each number. seed: int64 [2]."""
    return tf.random.experimental.stateless_fold_in(seed, number, alg="philox")


def uniform(shape, seed, low: float = 0.0, high: float = 1.0, parts: int = 1):
    """Draw float32 numbers of `shape` [parts n, ...], uniform from `low` up to but without `high`.

    A replica gets its rows of what one device would draw for all, so that the numbers do not depend
    on the number of replicas. TensorFlow's own floats differ where XLA compiles a step; the bits
    that these are made from do not.

    seed: int64 [2]; parts: batches that lie one after the other, each shared by itself.
    """
    whole = (count() * shape[0], *shape[1:])
    bits = tf.random.stateless_uniform(whole, seed, None, None, tf.uint32, alg="philox")
    # 23 random bits are the mantissa of a number from 1 to 2.
    drawn = tf.bitcast(tf.bitwise.bitwise_or(tf.bitwise.right_shift(bits, 9), 0x3F800000), tf.float32) - 1
    return take_own_rows(low + (high - low) * drawn, parts)


def normal(shape, seed, parts: int = 1):
    """Draw float32 numbers of `shape` from N(0, 1), up to 5.2 deviations, as `uniform` does.

    They are uniform numbers put through the inverse distribution function.
    """
    return 2**0.5 * tf.math.erfinv(uniform(shape, seed, 2**-23 - 1, 1.0 + 2**-23, parts))
