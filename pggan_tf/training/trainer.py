"""The GAN as one object: networks, their averages, optimisers, the clock, and the training step of a phase."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import tensorflow as tf

from pggan_tf import replicas
from pggan_tf.data import augment
from pggan_tf.layers import block_mean, lerp, repeat_pixels
from pggan_tf.losses import Objective
from pggan_tf.schedule import Phase
from pggan_tf.tasks import Generate, Task
from pggan_tf.training import updates
from pggan_tf.training.optimizer import OPTIMIZERS, local

# TensorFlow would gather sums of gradients into one operation for three and more, which begins with whichever is there first:
# a step repeated would differ in the last bits. Without that, sums are taken in pairs.
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
# Steps in which one network was left as it was; `skipped` counts those in which any was.
COUNTS_BY_NETWORK = ("skipped_generator", "skipped_discriminator")
# Streams of randomness within a step.
LATENTS, SECOND_LATENTS, MIX, LABELS, SECOND_LABELS, AUGMENT, GIVEN, DROPOUT = range(8)
_STREAMS = 8


SAID_OF_CONTENT = {  # in the log
    "vgg19": "; images should look alike to VGG19",
    "discriminator": "; images should look alike to the discriminator's own features, there being no others",
}


class GAN:
    """Everything that training changes lives here, as variables; `state()` names them all.

    generator, discriminator: networks that take (x, resolution=, alpha=), see networks; without a discriminator all phases are
    the generator's alone. task: what images are turned into; content: images [N,H,W,3] in -1..1 -> features, for an objective
    whose content is 'vgg19'. discriminator_rate: its learning rate relative to the generator's. augment: 'none', 'diff' or 'ada',
    see augment.py. weight_clip: the discriminator's trained weights stay within plus and minus this (Arjovsky et al. 2017,
    algorithm 1). sync_batch: layers that look at a batch look at that of
    all replicas, see `replicas`. objective_at: the objective of a resolution.
    ema: a second generator, the moving average (Karras et al. 2018, appendix A.1: 0.999 per step; here as a half-life in
    images, so that it does not depend on the batch).
    """

    def __init__(
        self,
        generator,
        discriminator,
        ema,
        objective_at: Callable[[int], Objective],
        update: str,
        *,
        seed: int,
        task: Task,
        content: Callable | None = None,
        optimizer: str = "adam",
        adam_betas: tuple[float, float],
        adam_epsilon: float,
        ema_half_life_images: float,
        ema_rampup: float,
        discriminator_rate: float = 1.0,
        weight_clip: float | None = None,
        augment: str = "none",
        sync_batch: bool = True,
    ):
        self.generator, self.discriminator, self.ema = generator, discriminator, ema
        self.task, self.content = task, content
        self.networks = {"generator": generator, "discriminator": discriminator, "ema": ema}
        if discriminator is None:
            del self.networks["discriminator"]
        for network in self.networks.values():
            network.build()
        for average, weight in zip(ema.variables, generator.variables, strict=True):
            average.assign(weight)
        self.objective_at, self.update = objective_at, updates.UPDATES[update]
        self.seed, self.adam_betas, self.adam_epsilon = seed, adam_betas, adam_epsilon
        self.ema_half_life_images, self.ema_rampup = ema_half_life_images, ema_rampup
        self.optimizer = OPTIMIZERS[optimizer]
        self.rates, self.weight_clip = {"generator": 1.0, "discriminator": discriminator_rate}, weight_clip
        self.images_seen = tf.Variable(0, dtype=tf.int64, trainable=False, name="images_seen")
        self.skipped = tf.Variable(0, dtype=tf.int64, trainable=False, name="skipped")
        self.skipped_in_a_row = tf.Variable(0, dtype=tf.int64, trainable=False, name="skipped_in_a_row")
        self.skipped_by = {
            name: tf.Variable(0, dtype=tf.int64, trainable=False, name=name) for name in COUNTS_BY_NETWORK
        }
        self.augment = augment
        self.sync_batch = sync_batch
        for network in (generator, discriminator) if discriminator else (generator,):
            for layer in network._flatten_layers(include_self=False):
                if hasattr(layer, "alone"):
                    layer.alone = not sync_batch
        self.augment_probability = tf.Variable(0.0, trainable=False, name="augment_probability")
        self.optimizers: dict = {}

    def state(self) -> dict[str, tf.Variable]:
        """name -> variable, for everything that a resumed run needs."""
        own = [self.images_seen, self.skipped, self.skipped_in_a_row, *self.skipped_by.values()]
        own += [self.augment_probability] if self.augment == "ada" else []
        named = {variable.name.partition(":")[0]: variable for variable in own}
        for prefix, network in self.networks.items():
            for variable in network.kept_variables():
                # path: 'generator/conv_4/kernel'; its first part counts instances and is left out.
                named[f"{prefix}/{variable.path.partition('/')[2]}"] = variable
        for prefix, optimizer in self.optimizers.items():
            named |= {f"optimizer_{prefix}/{name}": variable for name, variable in optimizer.state().items()}
        return named

    def how_updated(self, resolution: int) -> str:
        """For the log: the update rule, and what it comes to with this loss and discriminator."""
        objective = self.objective_at(resolution)
        if self.discriminator is None or not objective.loss.adversarial:
            return "the generator alone, by its pixel loss"
        content = SAID_OF_CONTENT.get(objective.content, "")
        if self.update is not updates.one_stage:
            return f"two-stage: the discriminator's steps, then the generator's{content}"
        way = updates.one_stage_by(objective, self.discriminator.sample_group, self.discriminator.maps)
        return f"one-stage: the generator is trained on {updates.WAYS[way]}{content}"

    def begin(self, phase: Phase) -> None:
        """Fresh optimisers over the variables that `phase` trains.

        The paper resets their state whenever a block is added or has finished fading in.
        """
        self.optimizers = {}
        for name in ("generator", "discriminator") if phase.adversarial else ("generator",):
            network = self.networks[name]
            variables = network.variables_at(phase.resolution, phase.fade)
            rate = phase.learning_rate * self.rates[name]
            self.optimizers[name] = self.optimizer(variables, rate, self.adam_betas, self.adam_epsilon)

    def _apply(self, name: str, gradients, loss, rate):
        """Applies the gradients, unless one of them or the loss is NaN or Inf on any replica; returns whether it did."""
        *gradients, loss = tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.SUM, [*gradients, loss]
        )
        # One number that is NaN or Inf as soon as any gradient is (or is beyond 1e19, which is no gradient to follow).
        good = tf.math.is_finite(loss + tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients]))

        def apply():
            self.optimizers[name].apply(gradients, rate)
            if name == "discriminator" and self.weight_clip:
                for variable in map(local, self.optimizers[name].trained):
                    variable.assign(tf.clip_by_value(variable, -self.weight_clip, self.weight_clip))
            return tf.constant(True)

        return tf.cond(good, apply, lambda: tf.constant(False))

    def _seed(self, stream: int, ahead: int = 0):
        """Random numbers follow from (seed, images seen, stream) alone: there is no generator's state to save. ahead: images of
        this step that come before."""
        images = self.images_seen.read_value() + ahead
        return tf.stack([images * _STREAMS + stream, tf.constant(self.seed, tf.int64) * 65_536])

    def _seed_of_pass(self, stream: int, calls):
        return replicas.seed_for(self._seed(stream), next(calls))

    def _augmented(self, images, calls, parts: int):
        """What D sees of images [N,H,W,C], so many batches in one; calls: counts the passes of a step, each draws its own."""
        if self.augment == "none":
            return images
        seed = self._seed_of_pass(AUGMENT, calls)
        probability = self.augment_probability.read_value() if self.augment == "ada" else None
        steps = augment.STEPS if self.task.shows_an_image else augment.PLACES
        return augment.augmented(images, seed, probability, parts, steps)

    def _batch(self, phase: Phase, objective: Objective, pixels, labels, alpha, ahead: int) -> updates.Batch:
        """Reals, faded as the networks are, and all that is random."""
        reals = tf.cast(pixels, tf.float32) / 127.5 - 1
        if phase.fade:
            below = max(r for r in self.generator.resolutions if r < phase.resolution)
            factor = phase.resolution // below
            reals = lerp(repeat_pixels(block_mean(reals, factor), factor), reals, alpha)
        n = pixels.shape[0]
        given = self._given(reals, n, objective, ahead)
        if not isinstance(self.task, Generate):
            reals = self.task.shown(given["given"], self.task.wanted(reals))
        return updates.Batch(
            reals=reals,
            labels=labels,
            **given,
            mix=replicas.uniform((n, 1, 1, 1), self._seed(MIX, ahead)),
            penalise=((self.images_seen - phase.start + ahead) // phase.batch) % objective.penalty_every == 0,
        )

    def _given(self, images, n: int, objective: Objective, ahead: int) -> dict:
        """What G is given: latents and classes, or what the task makes of the images."""
        if not isinstance(self.task, Generate):
            given = self.task.given(images, self._seed(GIVEN, ahead))
            return {"given": given, "fake_labels": None, "second_given": None, "second_labels": None}
        latents = (n, self.generator.latent_size)

        def random_labels(stream):
            if not objective.labels:
                return tf.zeros([n], tf.int64)
            return tf.cast(replicas.uniform((n,), self._seed(stream, ahead), 0, objective.labels), tf.int64)

        return {
            "given": replicas.normal(latents, self._seed(LATENTS, ahead)),
            "fake_labels": random_labels(LABELS),
            "second_given": replicas.normal(latents, self._seed(SECOND_LATENTS, ahead)),
            "second_labels": random_labels(SECOND_LABELS),
        }

    def _players(self, phase: Phase, objective: Objective, alpha, rate, applied: list) -> updates.Players:
        """The networks bound to a phase. applied: takes whether each update was, with the network's name."""
        at = {"resolution": phase.resolution, "alpha": alpha, "training": True}
        augmentations, dropouts = itertools.count(), itertools.count()
        from_latents = isinstance(self.task, Generate)
        share = phase.batch // replicas.count()
        group = self.discriminator.sample_group if phase.adversarial else 1

        def generate(given, labels):
            if from_latents:
                return self.generator(given, labels=labels, **at)
            output = self.generator(given, seed=self._seed_of_pass(DROPOUT, dropouts), **at)
            return self.task.shown(given, output)

        def discriminate(x):
            x = self._augmented(x, augmentations, x.shape[0] // share)
            if objective.content == "discriminator":
                return self.discriminator(x, features=True, **at)
            return [self.discriminator(x, **at)]

        def apply(name, gradients, loss):
            applied.append((name, self._apply(name, gradients, loss, rate)))

        def apply_discriminator(gradients, loss):
            apply("discriminator", gradients, loss)
            self.discriminator.advance()

        def variables(network):
            return [local(v) for v in network.variables_at(phase.resolution, phase.fade)]

        return updates.Players(
            generate=generate,
            discriminate=discriminate,
            generator_variables=variables(self.generator),
            discriminator_variables=variables(self.discriminator) if phase.adversarial else [],
            apply_generator=lambda g, loss: apply("generator", g, loss),
            apply_discriminator=apply_discriminator,
            objective=objective,
            batch=phase.batch,
            group=group,
            auxiliary=self._auxiliary(objective, phase.adversarial),
            across=self.sync_batch and share < phase.batch and (group == 0 or share % group > 0),
            maps=self.discriminator is not None and self.discriminator.maps,
        )

    def _auxiliary(self, objective: Objective, adversarial: bool) -> Callable | None:
        """G's losses besides the adversarial one. Alone, G learns from the pixel loss as it is."""
        channels = self.generator.channels
        weight = objective.pixel_weight if adversarial else 1.0
        by_pixels = objective.pixel != "none" and weight
        by_content = adversarial and objective.content == "vgg19"
        if not (by_pixels or by_content):
            return None

        def losses(fakes, reals):
            total = 0.0
            if by_pixels:
                total += weight * losses.pixel_loss(objective.pixel, fakes, reals, channels)
            if by_content:
                pair = [[self.content(x[..., -channels:])] for x in (fakes, reals)]
                total += objective.content_weight * losses.feature_distance(*pair)
            return total

        return losses

    def step(self, phase: Phase, pixels, labels):
        """One training step of `phase` on uint8 [K N,R,R,C] and int64 [K N], for K updates of D, or on this replica's share of
        each batch of N: changes every variable, returns a dict of scalars that the replicas' sum up to the step's; but for
        `skipped` and what is counted by network, 0 where it was skipped."""
        # Phase.alpha and Phase.rate, as tensors.
        images_in_phase = tf.cast(self.images_seen - phase.start, tf.float32)
        alpha = tf.minimum(images_in_phase / phase.images, 1.0) if phase.fade else None
        rate = tf.minimum((phase.images - images_in_phase) / phase.decay_images, 1.0) if phase.decay_images else 1.0
        objective = self.objective_at(phase.resolution)
        n = phase.batch // replicas.count()
        batches = [
            self._batch(
                phase, objective, pixels[i * n : (i + 1) * n], labels[i * n : (i + 1) * n], alpha, i * phase.batch
            )
            for i in range(phase.critic_steps)
        ]
        applied: list = []
        update = self.update if phase.adversarial else updates.generator_alone
        stats = update(self._players(phase, objective, alpha, rate, applied), batches)
        good = tf.reduce_all(tf.stack([done for _, done in applied]))
        skip = tf.cast(~good, tf.int64)
        skips = {"skipped": skip, **self._count_by_network(applied)}
        local(self.skipped).assign_add(skip)
        local(self.skipped_in_a_row).assign((self.skipped_in_a_row + 1) * skip)
        local(self.images_seen).assign_add(phase.images_per_step)
        if self.augment == "ada":
            sign = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, stats["sign_real"])
            next_one = augment.adapted(local(self.augment_probability), sign, phase.images_per_step)
            local(self.augment_probability).assign(tf.where(good, next_one, local(self.augment_probability)))
        self._average(phase)
        stats = {**stats, "augment_probability": local(self.augment_probability) / replicas.count()}
        taken = {name: tf.where(good, value, tf.zeros_like(value)) for name, value in stats.items()}
        return {**taken, **{name: tf.cast(one, tf.float32) / replicas.count() for name, one in skips.items()}}

    def _count_by_network(self, applied: list) -> dict:
        """Counts which networks a step has left as they were, in one of its updates at least: name -> 0 or 1. One that is not trained
        counts as the other."""
        skips = {}
        for name, variable in self.skipped_by.items():
            done = [done for network, done in applied if name == f"skipped_{network}"] or [done for _, done in applied]
            skips[name] = tf.cast(~tf.reduce_all(tf.stack(done)), tf.int64)
            local(variable).assign_add(skips[name])
        return skips

    def _average(self, phase: Phase) -> None:
        images = tf.cast(self.images_seen - phase.stage_start, tf.float32)
        half_life = tf.minimum(float(self.ema_half_life_images), images * self.ema_rampup)
        keep = tf.pow(0.5, phase.images_per_step / tf.maximum(half_life, 1e-8))
        pairs = zip(
            self.ema.variables_at(phase.resolution, phase.fade),
            self.generator.variables_at(phase.resolution, phase.fade),
        )
        for average, weight in pairs:
            average, weight = local(average), local(weight)
            tf.raw_ops.ResourceApplyGradientDescent(var=average.handle, alpha=1 - keep, delta=average - weight)
