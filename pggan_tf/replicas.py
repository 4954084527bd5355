"""What the replicas that share a batch tell each other. On one device, and outside of a training step, all of it is the identity.

Replica i of R holds the i-th of R equal parts of every batch. No TensorFlow is imported before something is asked.
"""

from __future__ import annotations

from pggan_tf.lazy import tf


def count() -> int:
    """How many replicas run this step."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def _index():
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def total(x):
    """The sum over all replicas; its gradient is the sum of theirs."""
    if count() == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)


def gathered(x):
    """[n, ...] of every replica -> [R n, ...], in their order."""
    if count() == 1:
        return x
    place = tf.one_hot(_index(), count(), dtype=x.dtype)  # sums with zeros: exact, and with a gradient everywhere
    whole = total(tf.tensordot(place, x, 0))  # [R,n,...]
    return tf.reshape(whole, [-1, *x.shape[1:]])


def own(whole, parts: int = 1):
    """[parts R n, ...] -> [parts n, ...]: what of every part is this replica's."""
    if count() == 1:
        return whole
    n, rest = whole.shape[0] // (parts * count()), whole.shape[1:]
    split = tf.reshape(whole, (parts, count(), n, *rest))
    return tf.reshape(split[:, _index()], (parts * n, *rest))


def seed_for(seed, number):
    """Another seed, int64 [2], for each number."""
    return tf.random.experimental.stateless_fold_in(seed, number, alg="philox")


def uniform(shape, seed, low: float = 0.0, high: float = 1.0, parts: int = 1):
    """float32 of `shape` [parts n, ...] from low up to high, high left out: this replica's rows of what one device would draw for
    all, so that the numbers do not depend on how many share the work.

    TensorFlow's own floats are other ones where XLA compiles a step; the bits that these are made from are the same.
    parts: batches that lie one after the other, each shared by itself.
    """
    whole = (count() * shape[0], *shape[1:])
    bits = tf.random.stateless_uniform(whole, seed, None, None, tf.uint32, alg="philox")
    # 23 bits behind the point of a number from 1 to 2.
    drawn = tf.bitcast(tf.bitwise.bitwise_or(tf.bitwise.right_shift(bits, 9), 0x3F800000), tf.float32) - 1
    return own(low + (high - low) * drawn, parts)


def normal(shape, seed, parts: int = 1):
    """float32 of `shape` ~ N(0, 1), as `uniform`: its inverse distribution function, up to 5.2 deviations."""
    return 2**0.5 * tf.math.erfinv(uniform(shape, seed, 2**-23 - 1, 1.0 + 2**-23, parts))
