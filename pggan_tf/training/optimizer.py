"""Optimizers that update each variable with one kernel, on each replica's own copy of it.

A replica is one of the devices that train the same networks together. Each has a copy of every
variable, and the gradients are summed over the replicas before they are applied.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import MutableMapping, Sequence

import keras
import tensorflow as tf


def local_copy(variable):
    """Return this replica's copy of a Keras or TensorFlow variable.

    With one device, that is the variable itself. All replicas compute the same update from the same
    sums, so each replica can apply it to its own copy. Assigning to the mirrored variable would
    synchronise the copies, which is not possible inside a tf.cond.
    """
    variable = variable.value if isinstance(variable, keras.Variable) else variable
    copies = getattr(variable, "values", None)  # only a distributed variable has them
    if copies is None:
        return variable
    replica = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
    if replica is None:  # on TPUs, one program for all replicas assigns to the replica's own copy
        return variable
    # Copies are those of this machine's devices; replicas are counted over all machines.
    return copies[replica % len(copies)]


class _Optimizer(ABC):
    """Base class of optimizers; it has averages for every trained variable, and counts the steps.

    The averages of gradients ("slots") start at zero.

    Args:
        variables: the variables to train.
        learning_rate: the learning rate.
        betas: decay per step of the two averages, each 0 <= beta < 1.
        epsilon: added to the denominator of a step.
        shared: {path of a variable: its slots}, to which missing ones are added. Optimizers of
            different phases share the slots of their common variables, as one of them is used at a
            time. By default, an optimizer has its own slots.
    """

    SLOTS: tuple[str, ...]  # names of a variable's averages in checkpoints

    def __init__(
        self,
        variables: Sequence,
        learning_rate: float,
        betas: tuple[float, float],
        epsilon: float,
        shared: MutableMapping[str, list] | None = None,
    ):
        self.trained = list(variables)
        self.learning_rate, (self.beta1, self.beta2), self.epsilon = learning_rate, betas, epsilon
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        shared = {} if shared is None else shared
        for v in self.trained:
            if v.path not in shared:
                shared[v.path] = [tf.Variable(tf.zeros(v.shape), trainable=False) for _ in self.SLOTS]
        self.slots = [shared[v.path] for v in self.trained]

    def reset(self) -> None:
        """Set all averages and the number of steps to zero."""
        for variable in (self.step, *(slot for slots in self.slots for slot in slots)):
            variable.assign(tf.zeros(variable.shape, variable.dtype))

    def state(self) -> dict[str, tf.Variable]:
        """Return {name: variable} of all averages and of the number of steps.

        The averages are named after the paths of their variables.
        """
        named = {"step": self.step}
        for variable, slots in zip(self.trained, self.slots):
            named |= {f"{variable.path.partition('/')[2]}/{name}": s for name, s in zip(self.SLOTS, slots)}
        return named

    def apply(self, gradients: Sequence, factor=1.0) -> None:
        """Take one step, which changes the variables and their averages.

        Args:
            gradients: gradients, summed over the replicas, in the order of the variables.
            factor: factor that the learning rate is multiplied by.
        """
        step = tf.cast(local_copy(self.step).assign_add(1, read_value=True), tf.float32)
        powers = [tf.pow(tf.constant(beta), step) for beta in (self.beta1, self.beta2)]
        rate = self.learning_rate * factor
        for variable, slots, gradient in zip(self.trained, self.slots, gradients):
            self._update(local_copy(variable).handle, [local_copy(s).handle for s in slots], gradient, powers, rate)

    @abstractmethod
    def _update(self, variable, slots, gradient, powers, rate) -> None:
        """Update one variable and its averages.

        Args:
            variable: resource handle of the variable.
            slots: resource handles of its averages, in the order of SLOTS.
            gradient: its gradient.
            powers: both betas to the power of the number of steps, for bias correction.
            rate: the learning rate of this step.
        """


class Adam(_Optimizer):
    """Adam optimizer (Kingma and Ba 2015), with epsilon outside the bias correction.

    That is the "epsilon hat" at the end of their section 2, as in TensorFlow 1.
    """

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
    """RMSProp optimizer (Tieleman and Hinton 2012): w -= lr g / sqrt(E[g^2] + epsilon^2).

    The mean E[g^2] decays by the factor beta2 per step (0.99 in WGAN's code).
    """

    SLOTS = ("mean_square", "momentum")

    def _update(self, variable, slots, gradient, powers, rate):
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable,
            ms=slots[0],
            mom=slots[1],
            lr=rate,
            rho=self.beta2,
            momentum=0.0,
            epsilon=self.epsilon**2,  # the kernel adds epsilon under the square root
            grad=gradient,
        )


OPTIMIZERS = {"adam": Adam, "rmsprop": RMSProp}
