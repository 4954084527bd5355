"""Compile the training steps of a phase, so that many of them share one call of a TensorFlow graph.

Between two steps of a call nothing waits for the device: the loop counts on the host, no variable
decides what is computed, and the sums stay tensors until the call ends. The host knows which steps
have the lazy penalty, because that follows from the number of images seen.
"""

from __future__ import annotations

import contextlib
import math
import types
from collections.abc import Iterator, Mapping

import tensorflow as tf

from pggan_tf.schedule import Phase
from pggan_tf.training import precision
from pggan_tf.training.gan import GAN
from pggan_tf.training.step import STATS, Clock, exchanges_statistics, train_step


class CompiledSteps:
    """A function that takes many training steps: (iterator, steps, sums so far, phase) -> result.

    The result is (number of steps taken, new sums); sums are {name in STATS: sum over steps}. Many
    steps share a call because starting a call from Python takes time. It counts fewer steps than
    requested only if `health.SKIPS_IN_A_ROW` steps in a row are skipped. How many steps share a
    call depends on the machine's speed. If the sums of the previous call are passed on, the sums
    are the same to the last bit for any such number.

    A lazy penalty makes two kinds of steps. On GPUs, with XLA and where devices exchange statistics
    of a batch, each kind is a program of its own, and the host calls them in turn. On CPUs one
    program serves for both, in which a loop computes the penalty once or not at all: building a
    second program takes longer there than short runs can spare.

    Args:
        gan: the networks, optimizers and counters, which the steps change.
        phase: the phase to train. The function's own argument `phase` (default: this one) may have
            other numbers of images, see `step.Clock`.
        strategy: the devices that share every batch.
        xla: whether XLA compiles the step.
        tf32: whether GPUs may multiply float32 numbers in TF32, see `precision.allow_tf32`.
    """

    def __init__(self, gan: GAN, phase: Phase, strategy: tf.distribute.Strategy, xla: bool = False, tf32: bool = False):
        self.gan, self.phase, self.strategy, self.tf32 = gan, phase, strategy, tf32
        objective = gan.objective_at(phase.resolution)
        penalised = phase.adversarial and objective.penalty != "none" and objective.penalty_weight
        self.every = objective.penalty_every if penalised else 1
        devices = strategy.num_replicas_in_sync
        accelerated = any(device.device_type != "CPU" for device in tf.config.list_logical_devices())
        separate = xla or accelerated or exchanges_statistics(gan, phase, devices)
        self.separate = self.every > 1 and separate  # whether steps with and without the penalty are two programs

        def one(batch, clock, penalise):
            pixels, labels = batch
            stats = train_step(gan, phase, pixels, labels, Clock(*clock), penalise)
            # One tensor, because machines would exchange a message per tensor.
            return tf.stack([stats[k] for k in STATS])

        self._one = tf.function(one, autograph=False, jit_compile=True) if xla else one
        # A tuple of True and False is a part of the program, so that each is traced by itself.
        self._call = tf.function(self._take, autograph=False, reduce_retracing=True)

    def _take(self, iterator, steps, sums, clock, number, kind):
        """Take `steps` steps of one kind in a graph, and return the new sums.

        Args:
            iterator: the batches.
            steps: number of steps.
            sums: sums of the stats so far, float64.
            clock: the phase's numbers of images.
            number: number of the first update since the start of the phase, modulo `every`.
            kind: whether each update of a step has the penalty; None: that follows from `number`.
        """

        def penalise(i):
            if kind is not None:
                return kind
            first = number + i * self.phase.critic_steps
            return tuple((first + j) % self.every == 0 for j in range(self.phase.critic_steps))

        def body(i, sums):
            stats = self.strategy.run(self._one, args=(next(iterator), tuple(clock), penalise(i)))
            stats = self.strategy.reduce(tf.distribute.ReduceOp.SUM, stats, axis=None)
            return i + 1, sums + tf.cast(stats, tf.float64)

        return tf.while_loop(lambda i, _: i < steps, body, (tf.constant(0), sums), parallel_iterations=1)[1]

    def _kind(self, number: int) -> tuple[bool, ...] | None:
        """Return the kind of a step as `_take` has it; number: that of its first update."""
        if self.every > 1 and not self.separate:
            return None
        return tuple((number + j) % self.every == 0 for j in range(self.phase.critic_steps))

    @property
    def steps_to_build(self) -> int:
        """Number of steps, from the start of a phase, of which every kind of step is one."""
        per_step = self.phase.critic_steps
        period = self.every // math.gcd(self.every, per_step)
        kinds = [self._kind(i * per_step) for i in range(period)]
        return 1 + max(kinds.index(kind) for kind in kinds)

    def _calls(self, number: int, steps: int) -> Iterator[tuple[int, tuple[bool, ...] | None, int]]:
        """Yield (number of the first update, kind, number of steps) of all calls for `steps` steps.

        number: that of the first update since the start of the phase.
        """
        per_step = self.phase.critic_steps
        while steps:
            kind, count = self._kind(number), 1
            while count < steps and self._kind(number + count * per_step) == kind:
                count += 1
            yield number, kind, count
            number, steps = number + count * per_step, steps - count

    def _arguments(self, iterator, steps: int, sums, phase: Phase, number: int, kind) -> tuple:
        """Return the arguments of `_take`."""
        number = tf.constant(number % self.every)
        return iterator, tf.constant(steps), sums, Clock.of(phase), number, kind

    def trace(self, iterator, number: int = 0):
        """Return the program of a step as a concrete function, for tests of its structure.

        Args:
            iterator: batches.
            number: number of the step's first update since the start of the phase.
        """
        zeros = tf.zeros([len(STATS)], tf.float64)
        return self._call.get_concrete_function(
            *self._arguments(iterator, 1, zeros, self.phase, number, self._kind(number))
        )

    @property
    def programs(self) -> int:
        """Number of programs that were traced."""
        return self._call.experimental_get_tracing_count()

    def __call__(
        self,
        iterator,
        steps: int,
        sums: Mapping[str, float] = types.MappingProxyType({}),
        phase: Phase | None = None,
    ) -> tuple[int, dict[str, float]]:
        """Take steps; see the class."""
        phase = phase or self.phase
        before = int(self.gan.images_seen.numpy())
        total = tf.constant([sums.get(k, 0.0) for k in STATS], tf.float64)
        with precision.allow_tf32() if self.tf32 else contextlib.nullcontext():
            for number, kind, count in self._calls((before - phase.start) // phase.batch, steps):
                total = self._call(*self._arguments(iterator, count, total, phase, number, kind))
            values = total.numpy().tolist()  # waits for the device, which is idle afterwards
        taken = (int(self.gan.images_seen.numpy()) - before) // phase.images_per_step
        return taken, dict(zip(STATS, values))
