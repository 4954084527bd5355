"""Build the networks of a plan, compile its training steps, and read the batches for them."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from pggan_tf import networks
from pggan_tf.config import Plan
from pggan_tf.data import pipeline
from pggan_tf.data.shards import Shards
from pggan_tf.errors import explain_out_of_memory
from pggan_tf.schedule import Phase
from pggan_tf.training import health, precision
from pggan_tf.training.cluster import ALONE, Cluster
from pggan_tf.training.gan import GAN, GANOptions
from pggan_tf.training.step import STATS, train_step


@dataclass(frozen=True)
class Setting:
    """Data, devices and machines that a run is trained with."""

    shards: Shards
    strategy: tf.distribute.Strategy
    policy: str  # the Keras dtype policy: 'float32' or 'mixed_bfloat16'
    cluster: Cluster = dataclasses.field(default_factory=lambda: ALONE)
    say: Callable[[str], None] = print  # prints a message on the terminal

    @property
    def devices(self) -> int:
        return self.strategy.num_replicas_in_sync


@explain_out_of_memory(
    "the networks are built", "Give a smaller --target-res, or fewer feature maps by --fmap-max or --width."
)
def build(plan: Plan, policy: str, classes: Sequence[str] = ()) -> GAN:
    """Return the networks of a plan with new weights, which are drawn with the plan's seed.

    Args:
        plan: the plan.
        policy: the Keras dtype policy of the generator and the discriminator.
        classes: names of the classes in the data.
    """
    config = plan.config
    keras.utils.set_random_seed(config.running.seed)
    network, options = config.networks.network, plan.network_options(classes)
    content = None
    if config.objective.content == "vgg19":
        from pggan_tf.networks import vgg

        content = vgg.load_features(config.objective.vgg_weights)
    return GAN(
        networks.make_generator(network, options, policy),
        networks.make_discriminator(network, options, policy),
        networks.make_generator(network, options, "float32", "ema"),
        lambda resolution: plan.objective(resolution, len(options["classes"])),
        GANOptions(**{field.name: config.value(field.name) for field in dataclasses.fields(GANOptions)}),
        task=plan.task,
        content=content,
    )


def compile_steps(gan: GAN, phase: Phase, strategy: tf.distribute.Strategy, xla: bool = False) -> Callable:
    """Return a function that takes many training steps in one call.

    It maps (iterator of batches, number of steps, sums so far) to (steps done, new sums); sums are
    {name in STATS: sum over steps}. Many steps share a call because each call has to wait for
    Python. Fewer steps are done only if too many in a row are skipped. Passing the sums of the
    previous call keeps them equal to the last bit, however many steps share a call; that number
    depends on the machine's speed.

    Args:
        gan: the networks, optimizers and counters.
        phase: the phase to train.
        strategy: the devices.
        xla: whether XLA compiles the step.
    """

    def one(batch):
        stats = train_step(gan, phase, *batch)
        return tf.stack([stats[k] for k in STATS])  # one tensor, because machines would exchange a message per tensor

    if xla:
        one = tf.function(one, autograph=False, jit_compile=True)

    @tf.function(autograph=False, reduce_retracing=True)
    def call(iterator, steps, sums):
        def body(i, sums):
            stats = strategy.run(one, args=(next(iterator),))
            stats = strategy.reduce(tf.distribute.ReduceOp.SUM, stats, axis=None)
            return i + 1, sums + tf.cast(stats, tf.float64)

        def goes_on(i, _):
            return (i < steps) & (gan.skipped_in_a_row < health.SKIPS_IN_A_ROW)

        return tf.while_loop(goes_on, body, (tf.constant(0), sums), parallel_iterations=1)

    def called(iterator, steps, sums: Mapping[str, float] = types.MappingProxyType({})):
        so_far = tf.constant([sums.get(k, 0.0) for k in STATS], tf.float64)
        count, total = call(iterator, tf.constant(steps), so_far)
        return int(count), dict(zip(STATS, total.numpy().tolist()))

    return called


def read_batches(plan: Plan, shards: Shards, phase: Phase, start: int, strategy: tf.distribute.Strategy) -> Iterator:
    """Return an iterator over the batches of `phase`, starting at image number `start` of the run.

    Every machine only reads the images that its own replicas train on.
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


def prepare(plan: Plan, gan: GAN, phase: Phase, start: int, setting: Setting) -> tuple[Callable, Iterator]:
    """Return (compiled steps, iterator of batches) of a phase, from image `start` of the run on."""
    with setting.strategy.scope():
        xla = precision.use_xla(plan.config, setting.strategy)
        steps = compile_steps(gan, phase, setting.strategy, xla)
        return steps, read_batches(plan, setting.shards, phase, start, setting.strategy)
