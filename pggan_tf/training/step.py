"""One training step: draw a batch, update both networks, count skips, move the average.

How the gradients of both networks are computed is decided by an update rule, see `updates`. This
module prepares the batch and the context (networks and losses as functions) for the rule, and
applies the gradients. If the loss or a gradient is NaN or Inf, the network is left unchanged: the
update is skipped. All devices (replicas) run the step, each with its share of every batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from pggan_tf import losses, replicas
from pggan_tf.data import augment, transparency
from pggan_tf.layers import block_mean, lerp, repeat_pixels
from pggan_tf.schedule import Phase
from pggan_tf.training import health, updates
from pggan_tf.training.gan import GAN
from pggan_tf.training.optimizer import local_copy

# TensorFlow would merge sums of three or more gradients into one operation, which starts with the
# gradient that is ready first. The last bits would then differ when a step is repeated. Without
# this optimisation, gradients are summed in pairs.
tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})

STATS = (
    "loss_d",
    "loss_g",
    "auxiliary",
    "penalty",
    "logit_real",
    "logit_fake",
    "sign_real",
    "augment_probability",
    "skipped",
    "skipped_generator",
    "skipped_discriminator",
)
# Gradients are summed over machines in buckets of about this many bytes. The sum of a bucket begins
# when its gradients are there, those of the last layers first, while others are still computed.
_BUCKET = 25 << 20
# Streams of random numbers within a step: each use of random numbers has its own.
LATENTS, SECOND_LATENTS, MIX, LABELS, SECOND_LABELS, AUGMENT, CONDITION, DROPOUT = range(8)
_STREAMS = 8


class Clock(NamedTuple):
    """The numbers of a phase that a plan may change after its step was compiled, int64 scalars."""

    start: tf.Tensor  # images seen when the phase starts
    images: tf.Tensor  # images seen during the phase
    decay_images: tf.Tensor  # images at the end over which the learning rate falls to 0
    stage_start: tf.Tensor  # images seen when the first phase of this resolution starts

    @classmethod
    def of(cls, phase: Phase) -> Clock:
        """Return the clock of a phase."""
        values = (phase.start, phase.images, phase.decay_images, phase.stage_start)
        return cls(*(tf.constant(value, tf.int64) for value in values))


def train_step(
    gan: GAN, phase: Phase, pixels, labels, clock: Clock | None = None, penalise: Sequence | None = None
) -> dict[str, tf.Tensor]:
    """Take one training step of `phase`, and update the variables of `gan` that it trains.

    Args:
        gan: the networks, optimizers and counters.
        phase: the phase that `gan.begin` was called with.
        pixels: uint8 [K n,R,R,C], K batches for K updates of the discriminator; n is the batch
            size, or this replica's share of it.
        labels: classes of the images, int64 [K n].
        clock: the phase's numbers of images, if they may differ from those of `phase`.
        penalise: whether each of the K updates has the lazy penalty, see `updates.Batch`; by
            default this follows from the number of images seen.

    Returns:
        {name: scalar} for each name in STATS. The values of the step are their sums over all
        replicas. All values of a skipped step are 0, except the counts of skipped updates.
    """
    return TrainingStep(gan, phase, clock, penalise).run(pixels, labels)


def exchanges_statistics(gan: GAN, phase: Phase, devices: int) -> bool:
    """Tell whether a batch's statistics in the discriminator include images on other devices.

    Args:
        gan: the networks.
        phase: the phase.
        devices: number of devices (replicas) that share every batch.
    """
    if devices == 1 or not phase.adversarial or not gan.options.sync_batch:
        return False
    coupling = gan.discriminator.batch_coupling
    return coupling == 0 or phase.batch // devices % coupling > 0


class TrainingStep:
    """One training step of a phase; an object is created each time the step's graph is traced.

    Args:
        gan: the networks, optimizers and counters.
        phase: the phase.
        clock: its numbers of images (default: those of `phase`).
        penalise: see `train_step`.
    """

    def __init__(self, gan: GAN, phase: Phase, clock: Clock | None = None, penalise: Sequence | None = None):
        """Compute `alpha` (weight of the newest block) and `rate` (factor of the learning rate)."""
        self.gan, self.phase, self.clock = gan, phase, clock or Clock.of(phase)
        self.penalise = penalise
        # The same as Phase.alpha and Phase.rate, as tensors. Multiplied by reciprocals, as TensorFlow
        # did when these numbers were constants, so that older runs resume to the same bits.
        images_in_phase = tf.cast(gan.images_seen - self.clock.start, tf.float32)
        images, decay_images = (tf.cast(n, tf.float32) for n in (self.clock.images, self.clock.decay_images))
        self.alpha = tf.minimum(images_in_phase * (1 / images), 1.0) if phase.fade else None
        self.rate = tf.minimum((images - images_in_phase) * (1 / decay_images), 1.0) if phase.decay_images else 1.0
        self.objective = gan.objective_at(phase.resolution)
        self.share = phase.batch // replicas.count()  # images of a batch on this replica
        # (name of the network, whether it was updated) for every update.
        self.applied: list[tuple[str, tf.Tensor]] = []

    def run(self, pixels, labels) -> dict[str, tf.Tensor]:
        """Update networks, counters and moving average, and return the stats; see `train_step`."""
        gan, phase, n = self.gan, self.phase, self.share
        batches = [
            self._draw_batch(pixels[i * n : (i + 1) * n], labels[i * n : (i + 1) * n], i * phase.batch)
            for i in range(phase.critic_steps)
        ]
        update = gan.update if phase.adversarial else updates.generator_alone
        # Such a run is stopped after the call. Until then, its steps change nothing and are not
        # counted, so that a run stops at the same step however many of them share a call.
        in_a_row = local_copy(gan.skipped_in_a_row)
        self.going = in_a_row < health.SKIPS_IN_A_ROW
        self.scale = gan.loss_scale.read() if gan.loss_scale else None
        stats = update(self._make_context(), batches)
        good = tf.reduce_all(tf.stack([done for _, done in self.applied]))
        skip = tf.cast(self.going & ~good, tf.int64)
        skips = {"skipped": skip, **self._count_by_network()}
        local_copy(gan.skipped).assign_add(skip)
        in_a_row.assign(tf.where(self.going, (in_a_row + 1) * skip, in_a_row))
        local_copy(gan.images_seen).assign_add(tf.cast(self.going, tf.int64) * phase.images_per_step)
        if gan.loss_scale:
            gan.loss_scale.adapt(good, self.going)
        if gan.options.augment == "ada":
            sign = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, stats["sign_real"])
            probability, signs = local_copy(gan.augment_probability), local_copy(gan.augment_signs)
            summed = signs + tf.stack([sign, 1.0]) * float(phase.images_per_step)
            adapted, left = augment.adapt_probability(probability, summed, gan.options.augment_images)
            probability.assign(tf.where(good, adapted, probability))
            signs.assign(tf.where(good, left, signs))
        self._move_average()
        stats = {**stats, "augment_probability": local_copy(gan.augment_probability) / replicas.count()}
        updated = {name: tf.where(good, value, tf.zeros_like(value)) for name, value in stats.items()}
        return {**updated, **{name: tf.cast(one, tf.float32) / replicas.count() for name, one in skips.items()}}

    def _seed(self, stream: int, ahead: int = 0):
        """Return the seed, int64 [2], of a stream of random numbers.

        It depends only on the run's seed, the images seen and the stream, so that no state of a
        random number generator has to be saved.

        Args:
            stream: one of the streams above, such as LATENTS.
            ahead: number of images in the earlier batches of this step.
        """
        images = self.gan.images_seen.read_value() + ahead
        return tf.stack([images * _STREAMS + stream, tf.constant(self.gan.options.seed, tf.int64) * 65_536])

    def _pass_seed(self, stream: int, passes):
        """Return a seed, int64 [2], that differs for each forward pass of a network in this step.

        Args:
            stream: one of the streams above, such as DROPOUT.
            passes: iterator that counts the forward passes: itertools.count().
        """
        return replicas.seed_for(self._seed(stream), next(passes))

    def _draw_batch(self, pixels, labels, ahead: int) -> updates.Batch:
        """Return a batch of real images with the random numbers for one update.

        In a fade, the images are blended with their version at the previous resolution, as the
        generator's outputs are.

        Args:
            pixels: images of the data, uint8 [n,R,R,C].
            labels: their classes, int64 [n].
            ahead: number of images in the earlier batches of this step.
        """
        gan, phase = self.gan, self.phase
        reals = tf.cast(pixels, tf.float32) / 127.5 - 1
        if phase.fade:
            below = max(r for r in gan.generator.resolutions if r < phase.resolution)
            factor = phase.resolution // below
            reals = lerp(repeat_pixels(block_mean(reals, factor), factor), reals, self.alpha)
        n = pixels.shape[0]
        inputs = self._draw_inputs(reals, n, ahead)
        return updates.Batch(
            reals=gan.task.discriminator_input(inputs["condition"], gan.task.target(reals)),
            labels=labels,
            **inputs,
            mix=replicas.uniform((n, 1, 1, 1), self._seed(MIX, ahead)),
            penalise=self._penalises(ahead),
        )

    def _penalises(self, ahead: int):
        """Return whether an update includes the lazy penalty, as `updates.Batch.penalise`.

        ahead: number of images in the earlier batches of this step.
        """
        if self.penalise is not None:
            return self.penalise[ahead // self.phase.batch]
        images = self.gan.images_seen - self.clock.start + ahead
        return (images // self.phase.batch) % self.objective.penalty_every == 0

    def _draw_inputs(self, images, n: int, ahead: int) -> dict:
        """Return the generator's inputs for a batch, as fields of `updates.Batch`.

        They are random latents and classes or, if the generator converts images, conditions made
        from `images`.

        Args:
            images: reals in -1..1, [n,R,R,C].
            n: number of images.
            ahead: number of images in the earlier batches of this step.
        """
        gan, classes = self.gan, self.objective.labels
        if gan.task.from_images:
            condition = gan.task.condition(images, self._seed(CONDITION, ahead))
            return {"condition": condition, "fake_labels": None, "second_condition": None, "second_labels": None}
        shape = (n, gan.generator.latent_size)

        def draw_labels(stream):
            if not classes:
                return tf.zeros([n], tf.int64)
            return tf.cast(replicas.uniform((n,), self._seed(stream, ahead), 0, classes), tf.int64)

        return {
            "condition": replicas.normal(shape, self._seed(LATENTS, ahead)),
            "fake_labels": draw_labels(LABELS),
            "second_condition": replicas.normal(shape, self._seed(SECOND_LATENTS, ahead)),
            "second_labels": draw_labels(SECOND_LABELS),
        }

    def _make_context(self) -> updates.StepContext:
        """Return what an update rule needs: the networks and losses of the phase as functions."""
        gan, phase, share = self.gan, self.phase, self.share
        at = {"resolution": phase.resolution, "alpha": self.alpha, "training": True}
        augmentations, dropouts = itertools.count(), itertools.count()
        from_latents = not gan.task.from_images
        coupling = gan.discriminator.batch_coupling if phase.adversarial else 1

        def generate(condition, labels):
            if from_latents:
                return gan.generator(condition, labels=labels, **at)
            output = gan.generator(condition, seed=self._pass_seed(DROPOUT, dropouts), **at)
            return gan.task.discriminator_input(condition, output)

        def discriminate(x):
            x = self._augment(x, augmentations, x.shape[0] // share)
            if self.objective.content == "discriminator":
                return gan.discriminator(x, features=True, **at)
            return [gan.discriminator(x, **at)]

        def apply_discriminator(gradients, loss):
            self._apply("discriminator", gradients, loss)
            gan.discriminator.advance()

        def variables(network):
            return [local_copy(v) for v in network.variables_at(phase.resolution, phase.fade)]

        return updates.StepContext(
            generate=generate,
            discriminate=discriminate,
            generator_variables=variables(gan.generator),
            discriminator_variables=variables(gan.discriminator) if phase.adversarial else [],
            apply_generator=lambda gradients, loss: self._apply("generator", gradients, loss),
            apply_discriminator=apply_discriminator,
            objective=self.objective,
            batch_size=phase.batch,
            batch_coupling=coupling,
            auxiliary=self._make_auxiliary_losses(),
            patch_logits=gan.discriminator is not None and gan.discriminator.patch_logits,
            scale=self.scale,
        )

    def _augment(self, images, passes, parts: int):
        """Return randomly augmented images for the discriminator, [N,H,W,C].

        Args:
            images: reals or fakes, or a batch of each, [N,H,W,C].
            passes: iterator that counts the discriminator's forward passes in this step, so that
                each has its own random numbers.
            parts: number of batches that are concatenated in `images`.
        """
        gan = self.gan
        if gan.options.augment == "none":
            return images
        seed = self._pass_seed(AUGMENT, passes)
        probability = gan.augment_probability.read_value() if gan.options.augment == "ada" else None
        alpha = not gan.task.from_images and transparency.has_alpha(images.shape[-1])
        steps = augment.STEPS if gan.task.discriminator_sees_image else augment.PLACES
        return augment.augment_images(images, seed, probability, parts, augment.ALPHA_STEPS if alpha else steps)

    def _make_auxiliary_losses(self) -> Callable | None:
        """Return the part of the generator's loss that does not depend on the discriminator.

        It is a function (fakes, reals) -> loss of each image, [N]: the weighted pixel loss plus the
        content loss with VGG19's features. Returns None if there is neither. Without a
        discriminator, the pixel loss has the weight 1.
        """
        gan, objective, adversarial = self.gan, self.objective, self.phase.adversarial
        channels = gan.generator.channels
        weight = objective.pixel_weight if adversarial else 1.0
        by_pixels = objective.pixel != "none" and weight
        by_content = adversarial and objective.content == "vgg19"
        if not (by_pixels or by_content):
            return None

        def auxiliary(fakes, reals):
            total = 0.0
            if by_pixels:
                total += weight * losses.pixel_loss(objective.pixel, fakes, reals, channels)
            if by_content:
                pair = [[gan.content(x[..., -channels:])] for x in (fakes, reals)]
                total += objective.content_weight * losses.feature_distance(*pair)
            return total

        return auxiliary

    def _apply(self, name: str, gradients, loss) -> None:
        """Sum gradients over the replicas and apply them, unless any value is NaN or Inf.

        Whether they were applied is appended to `applied`.

        Args:
            name: 'generator' or 'discriminator'.
            gradients: this replica's gradients of the scaled loss, in the order of the trained
                variables.
            loss: this replica's part of the loss, a scalar.
        """
        *gradients, loss = tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.SUM, [*gradients, loss], tf.distribute.experimental.CommunicationOptions(_BUCKET)
        )
        if self.scale is not None:
            gradients = [gradient / self.scale for gradient in gradients]
        # This number is NaN or Inf if any gradient is, or if one exceeds 1e19, so that its square
        # overflows.
        good = tf.math.is_finite(loss + tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients]))
        good &= self.going
        optimizer, clip = self.gan.optimizers[name], self.gan.options.weight_clip
        optimizer.apply(gradients, self.rate, good)
        if name == "discriminator" and clip:
            for variable in map(local_copy, optimizer.trained):
                variable.assign(tf.where(good, tf.clip_by_value(variable, -clip, clip), variable))
        self.applied.append((name, good))

    def _count_by_network(self) -> dict[str, tf.Tensor]:
        """Add this step to the counters of skipped steps by network, and return what was added.

        Returns {name in COUNTS_BY_NETWORK: 1 if at least one update left this network unchanged,
        else 0}. A network that is not trained gets the count of the other network.
        """
        skips = {}
        for name, variable in self.gan.skipped_by.items():
            every = [done for _, done in self.applied]
            own = [done for network, done in self.applied if name == f"skipped_{network}"] or every
            skips[name] = tf.cast(self.going & ~tf.reduce_all(tf.stack(own)), tf.int64)
            local_copy(variable).assign_add(skips[name])
        return skips

    def _move_average(self) -> None:
        """Move the moving average towards the generator: w_ema <- keep w_ema + (1 - keep) w.

        `keep` follows from the half-life in images, see `GANOptions`.
        """
        gan, phase = self.gan, self.phase
        images = tf.cast(gan.images_seen - self.clock.stage_start, tf.float32)
        half_life = tf.minimum(float(gan.options.ema_half_life_images), images * gan.options.ema_rampup)
        keep = tf.pow(0.5, phase.images_per_step / tf.maximum(half_life, 1e-8))
        pairs = zip(
            gan.ema.variables_at(phase.resolution, phase.fade),
            gan.generator.variables_at(phase.resolution, phase.fade),
        )
        for average, weight in pairs:
            average, weight = local_copy(average), local_copy(weight)
            tf.raw_ops.ResourceApplyGradientDescent(var=average.handle, alpha=1 - keep, delta=average - weight)
