"""Optimizers that update each variable with one kernel, on each replica's own copy of it.

A replica is one of the devices that train the same networks together. Each has a copy of every
variable, and the gradients are summed over the replicas before they are applied.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import MutableMapping, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf


def local_copy(variable):
    """Return this replica's copy of a Keras or TensorFlow variable.

    With one device, that is the variable itself. All replicas compute the same update from the same
    sums, so each replica can apply it to its own copy. Assigning to the mirrored variable would
    synchronise the copies.
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


class _Move(NamedTuple):
    """The numbers of one step of an optimizer, scalars."""

    rate: tf.Tensor  # the learning rate
    betas: list  # decay of both averages
    powers: list  # both betas to the power of the number of steps, for bias correction
    good: tf.Tensor | bool  # whether the step changes anything


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

    def apply(self, gradients: Sequence, factor=1.0, good=True) -> None:
        """Take one step, which changes the variables and their averages.

        A step that is not `good` leaves everything as it is. It is taken like any other, but with
        gradients and a learning rate of 0 and averages that do not decay, because a branch would
        make the host wait for the value of `good`.

        Args:
            gradients: gradients, summed over the replicas, in the order of the variables.
            factor: factor that the learning rate is multiplied by.
            good: whether the gradients are finite, a bool tensor.
        """
        step = tf.cast(local_copy(self.step).assign_add(tf.cast(good, tf.int64), read_value=True), tf.float32)
        betas = [tf.constant(beta) for beta in (self.beta1, self.beta2)]
        move = _Move(
            rate=tf.where(good, self.learning_rate * factor, 0.0),
            betas=[tf.where(good, beta, 1.0) for beta in betas],
            # Before the first good step, powers of 1 would make a division by 0.
            powers=[tf.where(good, tf.pow(beta, step), 0.0) for beta in betas],
            good=good,
        )
        for variable, slots, gradient in zip(self.trained, self.slots, gradients):
            gradient = tf.where(good, gradient, tf.zeros_like(gradient))
            self._update(local_copy(variable).handle, [local_copy(s) for s in slots], gradient, move)

    @abstractmethod
    def _update(self, variable, slots, gradient, move: _Move) -> None:
        """Update one variable and its averages.

        Args:
            variable: resource handle of the variable.
            slots: its averages, in the order of SLOTS.
            gradient: its gradient.
            move: the numbers of this step.
        """


class Adam(_Optimizer):
    """Adam optimizer (Kingma and Ba 2015), with epsilon outside the bias correction.

    That is the "epsilon hat" at the end of their section 2, as in TensorFlow 1.
    """

    SLOTS = ("m", "v")

    def _update(self, variable, slots, gradient, move):
        tf.raw_ops.ResourceApplyAdam(
            var=variable,
            m=slots[0].handle,
            v=slots[1].handle,
            beta1_power=move.powers[0],
            beta2_power=move.powers[1],
            lr=move.rate,
            beta1=move.betas[0],
            beta2=move.betas[1],
            epsilon=self.epsilon,
            grad=gradient,
        )


class RMSProp(_Optimizer):
    """RMSProp optimizer (Tieleman and Hinton 2012): w -= lr g / sqrt(E[g^2] + epsilon^2).

    The mean E[g^2] decays by the factor beta2 per step (0.99 in WGAN's code).
    """

    SLOTS = ("mean_square", "momentum")

    def _update(self, variable, slots, gradient, move):
        mean_square, momentum = slots
        before = momentum.read_value()
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable,
            ms=mean_square.handle,
            mom=momentum.handle,
            lr=move.rate,
            rho=move.betas[1],
            momentum=0.0,
            epsilon=self.epsilon**2,  # the kernel adds epsilon under the square root
            grad=gradient,
        )
        momentum.assign(tf.where(move.good, momentum, before))  # the kernel has set it to 0


OPTIMIZERS = {"adam": Adam, "rmsprop": RMSProp}
