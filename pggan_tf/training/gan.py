"""The GAN as one object: networks, the generator's moving average, optimizers and counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from pggan_tf.errors import UserError
from pggan_tf.losses import Objective
from pggan_tf.runs import checkpoint
from pggan_tf.schedule import Phase
from pggan_tf.tasks import Task
from pggan_tf.training import updates
from pggan_tf.training.loss_scaling import LossScale
from pggan_tf.training.optimizer import OPTIMIZERS

# Counters of the steps that left the generator or the discriminator unchanged; `skipped` counts the
# steps that left any network unchanged.
COUNTS_BY_NETWORK = ("skipped_generator", "skipped_discriminator")
NEWER_STATE = (*COUNTS_BY_NETWORK, "augment_signs")  # variables that checkpoints of earlier versions lack
# Notes for the log about the features with which images are compared.
CONTENT_NOTES = {
    "vgg19": "; images should look alike to VGG19",
    "discriminator": "; images should look alike to the discriminator's own features, there being no others",
}


@dataclass(frozen=True)
class GANOptions:
    """Options for updating the networks of a GAN, the same at all resolutions."""

    seed: int  # all random numbers of training follow from it; 0 to 2^31 - 1
    update: str  # one of updates.UPDATES
    adam_betas: tuple[float, float]  # decay per step of Adam's two averages, each 0 <= beta < 1
    adam_epsilon: float  # added to the denominator of Adam and RMSProp, > 0
    ema_half_life_images: float  # half-life of the generator's moving average in images, >= 0
    ema_rampup: float  # largest half-life as a share of the images since the stage began, >= 0
    optimizer: str = "adam"  # one of optimizer.OPTIMIZERS
    discriminator_rate: float = 1.0  # D's learning rate as a multiple of G's, > 0
    # Bound of the absolute values of D's trained weights (Arjovsky et al. 2017, algorithm 1).
    weight_clip: float | None = None
    augment: str = "none"  # 'none', 'diff' or 'ada', see augment.py
    augment_images: int = 500_000  # images over which the probability of 'ada' can rise from 0 to 1
    sync_batch: bool = True  # whether batch statistics are computed over the shares of all replicas


class GAN:
    """Contains everything that training changes, as variables; `state()` returns all of them.

    These are the networks, the optimizers' averages and counters of images and skipped steps.

    The moving average is a second generator (Karras et al. 2018, appendix A.1). The paper uses a
    decay of 0.999 per step; here it is a half-life in images, which has the same effect at every
    batch size.
    """

    def __init__(
        self,
        generator,
        discriminator,
        ema,
        objective_at: Callable[[int], Objective],
        options: GANOptions,
        *,
        task: Task,
        content: Callable | None = None,
    ):
        """Build the networks and set the moving average to the generator's weights.

        Args:
            generator: network called with (x, resolution=, alpha=), see `networks`.
            discriminator: network called with (x, resolution=, alpha=), or None if no phase is
                adversarial.
            ema: the moving average, a network like `generator` in float32.
            objective_at: function from a resolution to the losses and penalties at it.
            options: how the networks are updated.
            task: the task, which makes conditions (inputs of G) and targets from images.
            content: function from images [N,H,W,3] in -1..1 to the features that the content loss
                compares; required if an objective's content is 'vgg19'.
        """
        self.generator, self.discriminator, self.ema = generator, discriminator, ema
        self.objective_at, self.options, self.task, self.content = objective_at, options, task, content
        self.networks = {"generator": generator, "discriminator": discriminator, "ema": ema}
        if discriminator is None:
            del self.networks["discriminator"]
        for network in self.networks.values():
            network.build()
        for average, weight in zip(ema.variables, generator.variables, strict=True):
            average.assign(weight)
        self.update = updates.UPDATES[options.update]
        self.images_seen = tf.Variable(0, dtype=tf.int64, trainable=False, name="images_seen")
        self.skipped = tf.Variable(0, dtype=tf.int64, trainable=False, name="skipped")
        self.skipped_in_a_row = tf.Variable(0, dtype=tf.int64, trainable=False, name="skipped_in_a_row")
        self.skipped_by = {
            name: tf.Variable(0, dtype=tf.int64, trainable=False, name=name) for name in COUNTS_BY_NETWORK
        }
        for network in (generator, discriminator) if discriminator else (generator,):
            for layer in network._flatten_layers(include_self=False):
                if hasattr(layer, "cross_replica"):
                    layer.cross_replica = options.sync_batch
        self.augment_probability = tf.Variable(0.0, trainable=False, name="augment_probability")
        # Since the probability changed last: sum of the signs of D's logits of reals, and their number.
        self.augment_signs = tf.Variable([0.0, 0.0], trainable=False, name="augment_signs")
        self.loss_scale = LossScale() if generator.dtype_policy.compute_dtype == "float16" else None
        self.optimizers: dict[str, Any] = {}  # those of the current phase, see `begin`
        self._made: dict[tuple, Any] = {}  # every optimizer that was made, by the phase's properties
        self._slots: dict[str, dict] = {name: {} for name in self.networks}

    def state(self) -> dict[str, tf.Variable]:
        """Return {name: variable} of every variable that a resumed run needs.

        Names start with 'generator/', 'discriminator/', 'ema/' (the moving average) or
        'optimizer_', or are those of counters.
        """
        own = [self.images_seen, self.skipped, self.skipped_in_a_row, *self.skipped_by.values()]
        own += [self.augment_probability, self.augment_signs] if self.options.augment == "ada" else []
        own += [self.loss_scale.scale, self.loss_scale.good_steps] if self.loss_scale else []
        named = {variable.name.partition(":")[0]: variable for variable in own}
        for prefix, network in self.networks.items():
            for variable in network.get_checkpoint_variables():
                # path: 'generator/conv_4/kernel'; its first part counts instances and is left out.
                named[f"{prefix}/{variable.path.partition('/')[2]}"] = variable
        for prefix, optimizer in self.optimizers.items():
            named |= {f"optimizer_{prefix}/{name}": variable for name, variable in optimizer.state().items()}
        return named

    def load_weights(self, arrays: Mapping[str, np.ndarray], source: str) -> None:
        """Copy the weights of another run's checkpoint into the layers with the same names.

        Args:
            arrays: {variable name: array} of the checkpoint.
            source: folder of the other run, for the message.

        Raises:
            UserError: if a weight is missing here or has another shape.
        """

        def networks(state: Mapping) -> dict:
            return {name: value for name, value in state.items() if name.split("/")[0] in checkpoint.NETWORKS}

        mine, theirs = networks(self.state()), networks(arrays)
        if self.discriminator is None:
            theirs = {name: array for name, array in theirs.items() if not name.startswith("discriminator/")}
        if mine.keys() < theirs.keys():  # the other run grew further
            theirs = {name: theirs[name] for name in mine}
        for name, array in theirs.items():
            shape = tuple(mine[name].shape) if name in mine else "absent"
            if shape != array.shape:
                raise UserError(
                    f"--init-from {source}: {name} is {array.shape} there and {shape} here. "
                    "Give the same options of the networks, and resolutions that begin alike."
                )
        for name, array in theirs.items():
            mine[name].assign(array)

    def describe_update(self, resolution: int) -> str:
        """Return a text for the log about how the generator is updated at a resolution."""
        objective = self.objective_at(resolution)
        if self.discriminator is None or not objective.loss.adversarial:
            return "the generator alone, by its pixel loss"
        note = CONTENT_NOTES.get(objective.content, "")
        if self.update is not updates.one_stage:
            return f"two-stage update: the discriminator's steps, then the generator's{note}"
        network, scaled = self.discriminator, self.loss_scale is not None
        method = updates.one_stage_method(objective, network.batch_coupling, network.patch_logits, scaled)
        return (
            f"one-stage update: both networks learn from one pass, the generator from {updates.METHODS[method]}{note}"
        )

    def begin(self, phase: Phase) -> None:
        """Set `optimizers` to those for the variables that `phase` trains, with averages of zero.

        Karras et al. 2018 also reset the optimizers' state whenever a block is added or has
        finished fading in. Phases with the same properties get the same objects, so that a compiled
        step can be used again.
        """
        self.optimizers = {}
        rates = {"generator": 1.0, "discriminator": self.options.discriminator_rate}
        for name in ("generator", "discriminator") if phase.adversarial else ("generator",):
            key = (name, phase.part, phase.learning_rate)
            if key not in self._made:
                self._made[key] = OPTIMIZERS[self.options.optimizer](
                    self.networks[name].variables_at(phase.resolution, phase.fade),
                    phase.learning_rate * rates[name],
                    self.options.adam_betas,
                    self.options.adam_epsilon,
                    self._slots[name],
                )
            self.optimizers[name] = self._made[key]
            self.optimizers[name].reset()
