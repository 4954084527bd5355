"""What the replicas that share a batch tell each other. On one device, and outside of a training step, all of it is the identity.

Replica i of R holds the i-th of R equal parts of every batch. No TensorFlow is imported before something is asked.
"""

from __future__ import annotations

from pggan_tf.objectives import tf


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


def drawn(draw, shape, seed, parts: int = 1, **kwargs):
    """`draw(shape, seed=seed)`, shape [parts n, ...], as this replica's rows of what one device would draw for all. So the
    numbers do not depend on how many share the work; nor, by the generator that is named, on whether XLA compiles it.
    parts: batches that lie one after the other, each shared by itself.
    """
    kwargs["alg"] = "philox"
    if count() == 1:
        return draw(shape, seed=seed, **kwargs)
    return own(draw((count() * shape[0], *shape[1:]), seed=seed, **kwargs), parts)
