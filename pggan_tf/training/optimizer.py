"""Adam as one kernel per variable, on every replica's own copy."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf


def local(variable):
    """The copy of a (Keras or TensorFlow) variable that lies on this replica; the variable itself where there is one device.

    Replicas that compute the same update from the same sums may each apply it to their own copy, without the
    synchronisation that assigning to a mirrored variable would start (and which cannot stand inside a tf.cond).
    """
    variable = variable.value if isinstance(variable, keras.Variable) else variable
    copies = getattr(variable, "values", None)  # of a distributed variable
    if copies is None:
        return variable
    replica = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
    return copies[replica % len(copies)]


class Adam:
    """Kingma and Ba 2015, with epsilon outside the bias correction ("epsilon hat", end of section 2), as TensorFlow 1 did.

    State: first and second moments per variable and the number of steps.
    """

    def __init__(self, variables: Sequence, learning_rate: float, betas: tuple[float, float], epsilon: float):
        self.trained = list(variables)
        self.learning_rate, (self.beta1, self.beta2), self.epsilon = learning_rate, betas, epsilon
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.moments = [tuple(tf.Variable(tf.zeros(v.shape), trainable=False) for _ in range(2)) for v in self.trained]

    def state(self) -> dict[str, tf.Variable]:
        """Name -> variable; names come from the paths of the trained variables."""
        named = {"step": self.step}
        for variable, pair in zip(self.trained, self.moments):
            named |= {f"{variable.path.partition('/')[2]}/{name}": m for name, m in zip(("m", "v"), pair)}
        return named

    def apply(self, gradients: Sequence) -> None:
        """gradients: already summed over the replicas, in the order of the variables."""
        step = local(self.step).assign_add(1, read_value=True)
        power = tf.cast(step, tf.float32)
        for variable, (m, v), gradient in zip(self.trained, self.moments, gradients):
            tf.raw_ops.ResourceApplyAdam(
                var=local(variable).handle,
                m=local(m).handle,
                v=local(v).handle,
                beta1_power=tf.pow(tf.constant(self.beta1), power),
                beta2_power=tf.pow(tf.constant(self.beta2), power),
                lr=self.learning_rate,
                beta1=self.beta1,
                beta2=self.beta2,
                epsilon=self.epsilon,
                grad=gradient,
            )
