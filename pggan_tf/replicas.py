"""Exchange values between the replicas that share a batch, and draw random numbers for them.

A replica is one of several devices that train the same networks together (see tf.distribute).
Replica i of R holds the i-th of R equal parts of every batch. On one device, and outside of a
training step, there is one replica, and the functions that exchange values return their argument.
TensorFlow is imported when a function is first called.
"""

from __future__ import annotations

from pggan_tf.lazy import tf


def count() -> int:
    """Return the number of replicas that run this step."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def _index():
    """Return the number of this replica, from 0."""
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def all_reduce_sum(x):
    """Return the sum of x over all replicas. Its gradient is summed over all replicas, too."""
    if count() == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)


def all_gather(x):
    """Return the tensors x [n, ...] of all R replicas, concatenated in their order: [R n, ...]."""
    if count() == 1:
        return x
    # Adding zeros is exact, and the sum is differentiable.
    place = tf.one_hot(_index(), count(), dtype=x.dtype)
    whole = all_reduce_sum(tf.tensordot(place, x, 0))  # [R,n,...]
    return tf.reshape(whole, [-1, *x.shape[1:]])


def take_own_rows(whole, parts: int = 1):
    """Return this replica's rows of each batch: [parts R n, ...] -> [parts n, ...].

    Args:
        whole: rows of all R replicas, of `parts` batches one after the other.
        parts: number of batches that are concatenated in `whole`.
    """
    if count() == 1:
        return whole
    n, rest = whole.shape[0] // (parts * count()), whole.shape[1:]
    split = tf.reshape(whole, (parts, count(), n, *rest))
    return tf.reshape(split[:, _index()], (parts * n, *rest))


def seed_for(seed, number):
    """Return a new seed, int64 [2], that follows from a seed, int64 [2], and a number."""
    return tf.random.experimental.stateless_fold_in(seed, number, alg="philox")


def uniform(shape, seed, low: float = 0.0, high: float = 1.0, parts: int = 1):
    """Return random float32 numbers of `shape` [parts n, ...] that are uniform in [low, high).

    Each replica gets its rows of the numbers that one device would draw for the whole batch, so
    that they do not depend on the number of replicas. They are made from random bits, because
    TensorFlow's own random floats differ if XLA compiles the step; the bits do not.

    Args:
        shape: shape of this replica's numbers.
        seed: int64 [2].
        low: smallest number.
        high: upper bound, which is never drawn.
        parts: number of batches along the first axis. Each replica has n rows of each batch.
    """
    whole = (count() * shape[0], *shape[1:])
    bits = tf.random.stateless_uniform(whole, seed, None, None, tf.uint32, alg="philox")
    # 23 random bits are the mantissa of a number from 1 to 2.
    drawn = tf.bitcast(tf.bitwise.bitwise_or(tf.bitwise.right_shift(bits, 9), 0x3F800000), tf.float32) - 1
    return take_own_rows(low + (high - low) * drawn, parts)


def normal(shape, seed, parts: int = 1):
    """Return random float32 numbers of `shape` from N(0, 1).

    They are numbers from `uniform`, transformed with the inverse normal CDF. Their absolute values
    are at most 5.2. For the arguments, see `uniform`.
    """
    return 2**0.5 * tf.math.erfinv(uniform(shape, seed, 2**-23 - 1, 1.0 + 2**-23, parts))
