"""Optimisers as one kernel per variable, on every replica's own copy."""

from __future__ import annotations

from abc import ABC, abstractmethod
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
    if replica is None:  # on TPUs one program runs for all: what it assigns is its own copy
        return variable
    return copies[replica % len(copies)]  # of a machine's devices; the replicas are counted over all machines


class _Optimizer(ABC):
    """Slots of zeros for every variable, and the number of steps."""

    SLOTS: tuple[str, ...]

    def __init__(self, variables: Sequence, learning_rate: float, betas: tuple[float, float], epsilon: float):
        self.trained = list(variables)
        self.learning_rate, (self.beta1, self.beta2), self.epsilon = learning_rate, betas, epsilon
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.slots = [[tf.Variable(tf.zeros(v.shape), trainable=False) for _ in self.SLOTS] for v in self.trained]

    def state(self) -> dict[str, tf.Variable]:
        """Name -> variable; names come from the paths of the trained variables."""
        named = {"step": self.step}
        for variable, slots in zip(self.trained, self.slots):
            named |= {f"{variable.path.partition('/')[2]}/{name}": s for name, s in zip(self.SLOTS, slots)}
        return named

    def apply(self, gradients: Sequence, factor=1.0) -> None:
        """gradients: already summed over the replicas, in the order of the variables. factor: the learning rate is multiplied
        with it."""
        step = tf.cast(local(self.step).assign_add(1, read_value=True), tf.float32)
        powers = [tf.pow(tf.constant(beta), step) for beta in (self.beta1, self.beta2)]
        rate = self.learning_rate * factor
        for variable, slots, gradient in zip(self.trained, self.slots, gradients):
            self._update(local(variable).handle, [local(s).handle for s in slots], gradient, powers, rate)

    @abstractmethod
    def _update(self, variable, slots, gradient, powers, rate) -> None:
        """One variable's update, by its resource handles. powers: each beta to the number of steps."""


class Adam(_Optimizer):
    """Kingma and Ba 2015, with epsilon outside the bias correction ("epsilon hat", end of section 2), as TensorFlow 1 did."""

    SLOTS = ("m", "v")

    def _update(self, variable, slots, gradient, powers, rate):
        tf.raw_ops.ResourceApplyAdam(
            var=variable,
            m=slots[0],
            v=slots[1],
            beta1_power=powers[0],
            beta2_power=powers[1],
            lr=rate,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class RMSProp(_Optimizer):
    """Tieleman and Hinton 2012: w -= lr g / sqrt(E[g^2] + epsilon^2), the mean with decay beta2 (0.99 in WGAN's code)."""

    SLOTS = ("mean_square", "momentum")

    def _update(self, variable, slots, gradient, powers, rate):
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable,
            ms=slots[0],
            mom=slots[1],
            lr=rate,
            rho=self.beta2,
            momentum=0.0,
            epsilon=self.epsilon**2,  # it stands within the root here
            grad=gradient,
        )


OPTIMIZERS = {"adam": Adam, "rmsprop": RMSProp}
