"""Build the networks of a plan, compile its training steps, and read the batches for them.

A plan (`config.Plan`) has all options of a run; a phase (`schedule.Phase`) is a part of it at one
resolution, for which the training step is compiled anew.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from pggan_tf import networks
from pggan_tf.config import Plan
from pggan_tf.data.pipeline import TrainingImages, make_batches
from pggan_tf.data.shards import Shards
from pggan_tf.errors import UserError, explain_out_of_memory
from pggan_tf.schedule import Phase
from pggan_tf.training.cluster import ALONE, Cluster
from pggan_tf.training.compiled import CompiledSteps
from pggan_tf.training.gan import GAN, GANOptions
from pggan_tf.training.precision import Arithmetic

_ON_DEVICE = 2  # steps whose images wait in the memory of a GPU


@dataclass(frozen=True)
class Setting:
    """What a run is trained with, apart from its plan: data, devices and machines."""

    shards: Shards  # the data
    strategy: tf.distribute.Strategy  # the devices that share every batch
    arithmetic: Arithmetic  # how these devices compute
    cluster: Cluster = dataclasses.field(default_factory=lambda: ALONE)  # the machines
    say: Callable[[str], None] = print  # prints a message on the terminal

    @property
    def devices(self) -> int:
        """Number of devices that share every batch, on all machines."""
        return self.strategy.num_replicas_in_sync


def find_completed_stage(plan: Plan) -> int:
    """Return the resolution of the last stage that the weights of --init-from must have completed for this plan."""
    begun = plan.phases[0]
    return max(r for r in plan.resolutions if r < begun.resolution or not begun.fade and r == begun.resolution)


@explain_out_of_memory(
    "the networks are built", "Give a smaller --target-res, or fewer feature maps by --fmap-max or --width."
)
def build(plan: Plan, policy: str, classes: Sequence[str] = ()) -> GAN:
    """Return the networks of a plan with new weights, which are drawn with the plan's seed.

    Args:
        plan: the plan.
        policy: the Keras dtype policy of the generator and the discriminator, such as 'float32'.
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
        first = find_completed_stage(plan)
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


def read_batches(images: TrainingImages, phase: Phase, start: int, strategy: tf.distribute.Strategy) -> Iterator:
    """Return an iterator over the batches of a phase: (uint8 images [n,R,R,C], labels [n]).

    Each item has the images of one step, see `step.train_step`. Every machine only reads the images
    that its own devices train on.

    Args:
        images: the images of the phase.
        phase: the phase.
        start: number of images that the run has seen before the first batch.
        strategy: the devices that share every batch.
    """

    def dataset(machine=None):
        replicas, mine = 1, range(1)
        if machine:
            each = machine.num_replicas_in_sync // machine.num_input_pipelines
            first = each * machine.input_pipeline_id
            replicas, mine = machine.num_replicas_in_sync, range(first, first + each)
        return make_batches(images, start, phase.end, phase.batch, phase.critic_steps, replicas, mine)

    if strategy.num_replicas_in_sync > 1:
        return iter(strategy.distribute_datasets_from_function(dataset))  # copies ahead to each device
    return iter(copy_ahead(dataset(), tf.config.list_logical_devices("GPU")))


def copy_ahead(dataset: tf.data.Dataset, gpus: Sequence) -> tf.data.Dataset:
    """Return a dataset whose next elements are copied to the first GPU while a step runs.

    gpus: the logical GPUs; without any, the dataset is returned as it is.
    """
    if not gpus:
        return dataset
    return dataset.apply(tf.data.experimental.prefetch_to_device(gpus[0].name, _ON_DEVICE))


class Programs:
    """The compiled training steps of a run, each of which is built once.

    A step that was built to measure its speed is the one that the run is trained with.

    Args:
        gan: the networks, optimizers and counters, which the steps change.
        setting: data, devices and machines.
    """

    def __init__(self, gan: GAN, setting: Setting):
        self.gan, self.setting = gan, setting
        self._steps: dict[tuple, CompiledSteps] = {}

    def prepare(self, phase: Phase, images: TrainingImages, start: int) -> tuple[Callable, Iterator]:
        """Return (function that takes steps of a phase, iterator of `read_batches`).

        The function takes many steps in one call, see `CompiledSteps`.

        Args:
            phase: the phase, with which `GAN.begin` was called.
            images: the images to train on.
            start: number of images that the run has seen before the first batch.
        """
        strategy, arithmetic, key = self.setting.strategy, self.setting.arithmetic, self._key(phase)
        with strategy.scope():
            if key not in self._steps:
                self._steps[key] = CompiledSteps(self.gan, phase, strategy, arithmetic.xla, tf32=not arithmetic.exact)
            steps = functools.partial(self._steps[key], phase=phase)
            return steps, read_batches(images, phase, start, strategy)

    def _key(self, phase: Phase) -> tuple:
        """Return everything of a phase that the compiled step contains."""
        return (phase.part, phase.batch, phase.critic_steps, phase.learning_rate, phase.decay_images > 0)

    def steps_to_build(self, phase: Phase) -> int:
        """Return how many steps from the start of a prepared phase build all of its programs."""
        return self._steps[self._key(phase)].steps_to_build

    def built(self, phase: Phase) -> bool:
        """Tell whether the step of a phase was built."""
        return any(key[0] == phase.part for key in self._steps)
