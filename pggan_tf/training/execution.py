"""Build the networks of a plan, compile its training steps, and read the batches for them.

A plan (`config.Plan`) has all options of a run; a phase (`schedule.Phase`) is a part of it at one
resolution, for which the training step is compiled anew.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from pggan_tf import networks
from pggan_tf.config import Plan
from pggan_tf.data import pipeline
from pggan_tf.data.shards import Shards
from pggan_tf.errors import UserError, explain_out_of_memory
from pggan_tf.schedule import Phase
from pggan_tf.training import health, precision
from pggan_tf.training.cluster import ALONE, Cluster
from pggan_tf.training.gan import GAN, GANOptions
from pggan_tf.training.step import STATS, Clock, train_step


@dataclass(frozen=True)
class Setting:
    """What a run is trained with, apart from its plan: data, devices and machines."""

    shards: Shards  # the data
    strategy: tf.distribute.Strategy  # the devices that share every batch
    policy: str  # the Keras dtype policy: 'float32' or 'mixed_bfloat16'
    cluster: Cluster = dataclasses.field(default_factory=lambda: ALONE)  # the machines
    say: Callable[[str], None] = print  # prints a message on the terminal

    @property
    def devices(self) -> int:
        """Number of devices that share every batch, on all machines."""
        return self.strategy.num_replicas_in_sync


@explain_out_of_memory(
    "the networks are built", "Give a smaller --target-res, or fewer feature maps by --fmap-max or --width."
)
def build(plan: Plan, policy: str, classes: Sequence[str] = ()) -> GAN:
    """Return the networks of a plan with new weights, which are drawn with the plan's seed.

    Args:
        plan: the plan.
        policy: the Keras dtype policy of the generator and the discriminator, 'float32' or
            'mixed_bfloat16'.
        classes: names of the classes in the data; empty if it has none.
    """
    config = plan.config
    keras.utils.set_random_seed(config.running.seed)
    network, options = config.networks.network, plan.network_options(classes)
    content = None
    if config.objective.content == "vgg19":
        from pggan_tf.networks import vgg

        content = vgg.load_features(config.objective.vgg_weights)
    discriminator = networks.make_discriminator(network, options, policy)
    if frozen := config.optimization.freeze_discriminator:
        begun = plan.phases[0]  # the weights of --init-from have completed this stage, or the one before
        first = max(r for r in plan.resolutions if r < begun.resolution or not begun.fade and r == begun.resolution)
        known = sum(r <= first for r in plan.resolutions)
        if frozen >= known:
            raise UserError(
                f"--freeze-discriminator {frozen}: the weights of --init-from have completed {known} stages, and the "
                f"one of {plan.resolutions[0]} px always learns. Expected {known - 1} at most."
            )
        discriminator.freeze(first, frozen)
    return GAN(
        networks.make_generator(network, options, policy),
        discriminator,
        networks.make_generator(network, options, "float32", "ema"),
        lambda resolution: plan.objective(resolution, len(options["classes"])),
        GANOptions(**{field.name: config.value(field.name) for field in dataclasses.fields(GANOptions)}),
        task=plan.task,
        content=content,
    )


def compile_steps(gan: GAN, phase: Phase, strategy: tf.distribute.Strategy, xla: bool = False) -> Callable:
    """Return a function that takes many training steps in one call of a TensorFlow graph.

    The function maps (iterator of batches, number of steps, sums so far, phase) to (number of steps
    taken, new sums); sums are {name in STATS: sum over steps}. Many steps share a call because
    starting a call from Python takes time. It takes fewer steps than requested only if
    health.SKIPS_IN_A_ROW steps in a row are skipped.

    How many steps share a call depends on the machine's speed. If the sums of the previous call are
    passed on, the sums are the same to the last bit for any such number.

    Args:
        gan: the networks, optimizers and counters, which the steps change.
        phase: the phase to train. The function's own argument `phase` (default: this one) may have
            other numbers of images, see `step.Clock`.
        strategy: the devices that share every batch.
        xla: whether XLA compiles the step.
    """

    def one(batch, clock):
        pixels, labels = batch
        stats = train_step(gan, phase, pixels, labels, Clock(*clock))
        return tf.stack([stats[k] for k in STATS])  # one tensor, because machines would exchange a message per tensor

    if xla:
        one = tf.function(one, autograph=False, jit_compile=True)

    @tf.function(autograph=False, reduce_retracing=True)
    def call(iterator, steps, sums, clock):
        def body(i, sums):
            stats = strategy.run(one, args=(next(iterator), tuple(clock)))
            stats = strategy.reduce(tf.distribute.ReduceOp.SUM, stats, axis=None)
            return i + 1, sums + tf.cast(stats, tf.float64)

        def goes_on(i, _):
            return (i < steps) & (gan.skipped_in_a_row < health.SKIPS_IN_A_ROW)

        return tf.while_loop(goes_on, body, (tf.constant(0), sums), parallel_iterations=1)

    def called(iterator, steps, sums: Mapping[str, float] = types.MappingProxyType({}), phase: Phase = phase):
        so_far = tf.constant([sums.get(k, 0.0) for k in STATS], tf.float64)
        count, total = call(iterator, tf.constant(steps), so_far, Clock.of(phase))
        return int(count), dict(zip(STATS, total.numpy().tolist()))

    return called


def read_batches(plan: Plan, shards: Shards, phase: Phase, start: int, strategy: tf.distribute.Strategy) -> Iterator:
    """Return an iterator over the batches of a phase: (uint8 images [n,R,R,C], labels [n]).

    Each item has the images of one step, see `step.train_step`. Every machine only reads the images
    that its own devices train on.

    Args:
        plan: the plan.
        shards: the data.
        phase: the phase.
        start: number of images that the run has seen before the first batch.
        strategy: the devices that share every batch.
    """
    images, patch = plan.config.images, plan.config.purpose.patch
    training = pipeline.TrainingImages(
        shards, phase.resolution, plan.config.running.seed, images.mirror, patch, images.held_out
    )

    def dataset(machine=None):
        replicas, mine = 1, range(1)
        if machine:
            each = machine.num_replicas_in_sync // machine.num_input_pipelines
            first = each * machine.input_pipeline_id
            replicas, mine = machine.num_replicas_in_sync, range(first, first + each)
        return pipeline.make_batches(training, start, phase.end, phase.batch, phase.critic_steps, replicas, mine)

    return iter(strategy.distribute_datasets_from_function(dataset) if strategy.num_replicas_in_sync > 1 else dataset())


class Programs:
    """The compiled training steps of a run, each of which is built once.

    A step that was built to measure its speed is the one that the run is trained with.

    Args:
        gan: the networks, optimizers and counters, which the steps change.
        setting: data, devices and machines.
    """

    def __init__(self, gan: GAN, setting: Setting):
        self.gan, self.setting = gan, setting
        self._steps: dict[tuple, Callable] = {}

    def prepare(self, plan: Plan, phase: Phase, start: int) -> tuple[Callable, Iterator]:
        """Return (function of `compile_steps`, iterator of `read_batches`) for a phase.

        Args:
            plan: the plan.
            phase: the phase, with which `GAN.begin` was called.
            start: number of images that the run has seen before the first batch.
        """
        strategy = self.setting.strategy
        # Everything of a phase that the compiled step contains.
        key = (phase.part, phase.batch, phase.critic_steps, phase.learning_rate, phase.decay_images > 0)
        with strategy.scope():
            if key not in self._steps:
                xla = precision.use_xla(plan.config, strategy)
                self._steps[key] = compile_steps(self.gan, phase, strategy, xla)
            steps = functools.partial(self._steps[key], phase=phase)
            return steps, read_batches(plan, self.setting.shards, phase, start, strategy)

    def built(self, phase: Phase) -> bool:
        """Tell whether the step of a phase was built."""
        return any(key[0] == phase.part for key in self._steps)
