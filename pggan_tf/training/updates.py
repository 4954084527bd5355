"""Update rules: functions that compute the gradients of both networks and apply them.

G is the generator, D the discriminator; reals are images of the data, fakes are images from G. An
update rule is a function (context, batches) -> stats that is called once per training step:

- context: a `StepContext` with the networks and losses as functions. The rule calls two of them to
  apply gradients, so that it can update one network before it evaluates the other.
- batches: a `Batch` of reals for each update of D in the step.
- stats: {name: scalar tensor}, such as the losses, see `collect_stats`.

UPDATES has the rules by their value of --update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from pggan_tf import losses

# `one_stage` divides by the gradient of D's loss at the logit of a fake, which is 0 if D is certain
# of that fake. The divisor is therefore at least this number, which is too small to change D's own
# gradient in float32.
_LEAST = 1e-25


@dataclass(frozen=True)
class StepContext:
    """The networks and losses of a phase, as functions for an update rule.

    N is the number of images on this replica (device). A condition is the input of G.
    """

    # (condition, classes [N]) -> fakes [N,H,W,C]; the condition is concatenated if D sees it, too.
    generate: Callable[..., Any]
    # (images [N,H,W,C]) -> list of D's outputs: the logits, [N, 1 + number of classes] or a map
    # [N,h,w,1], followed by D's features if the objective compares those.
    discriminate: Callable[..., list]
    generator_variables: list  # the variables to train
    discriminator_variables: list  # the variables to train; empty if G learns alone
    # (gradients in the order of the variables, loss): update G, unless a value is NaN or Inf
    apply_generator: Callable[..., None]
    apply_discriminator: Callable[..., None]  # the same for D
    objective: losses.Objective  # the losses of both networks
    # Number of images in a batch on all replicas. Losses are divided by it, so that the sum of the
    # replicas' gradients is the gradient of the mean.
    batch_size: int
    # How many neighbouring images of a batch one logit of D depends on; 1: only its own image, 0:
    # the whole batch. It is not 1 if D has minibatch statistics or batch normalisation.
    batch_coupling: int
    # (fakes, reals) -> part of G's loss that does not depend on D, per image, [N]; None: no such
    # part.
    auxiliary: Callable[..., Any] | None = None
    patch_logits: bool = False  # whether D returns a map of logits per image (PatchGAN)
    # Factor of all losses before they are differentiated, so that their gradients do not vanish in
    # float16; `apply_generator` and `apply_discriminator` divide by it. None: no factor.
    scale: Any = None


@dataclass(frozen=True)
class Batch:
    """Real images of one update, and the random numbers for it."""

    reals: tf.Tensor  # [N,H,W,C], including the condition if D sees it, too
    labels: tf.Tensor  # classes of the reals, int64 [N]
    condition: tf.Tensor  # the input of G: latents [N, latent_size], or images [N,h,w,c]
    fake_labels: tf.Tensor | None  # classes of the fakes, int64 [N]; None without latents
    # Another condition for G's update in `two_stage`; None if the condition follows from the reals.
    second_condition: tf.Tensor | None
    second_labels: tf.Tensor | None  # classes of the fakes of `second_condition`, int64 [N]
    mix: tf.Tensor  # [N,1,1,1] in 0..1: weights of the reals in the points of the gradient penalty
    # Whether this update includes the (lazy) penalty: True or False, which the traced program
    # contains, or a scalar tensor, with which one program serves for both.
    penalise: bool | tf.Tensor


def discriminate_both(context: StepContext, reals, fakes, together: bool) -> tuple[list, list]:
    """Return (D's outputs for reals, D's outputs for fakes).

    Args:
        context: the networks and losses.
        reals: reals [N,H,W,C].
        fakes: fakes [N,H,W,C].
        together: whether to process both in one batch, which is faster than two small batches.

    Returns:
        two lists, each as `StepContext.discriminate` returns it.
    """
    if together:
        both = context.discriminate(tf.concat([reals, tf.cast(fakes, reals.dtype)], axis=0))
        halves = [tf.split(x, 2) for x in both]
        return [h[0] for h in halves], [h[1] for h in halves]
    return context.discriminate(reals), context.discriminate(fakes)


def _may_share_batch(context: StepContext, reals) -> bool:
    """Tell whether D's logits stay the same if it processes reals and fakes in one batch."""
    return context.batch_coupling > 0 and reals.shape[0] % context.batch_coupling == 0


def batch_mean(values, context: StepContext):
    """Return this replica's part of the mean over the whole batch, a scalar.

    The sum of all replicas' parts is the mean.

    values: one value per image on this replica, [N].
    """
    return tf.reduce_sum(values) / context.batch_size


def _scaled(context: StepContext, loss):
    """Return a loss, multiplied by the context's scale, to be differentiated."""
    return loss if context.scale is None else loss * context.scale


def penalty_gradients(context: StepContext, batch: Batch, fakes) -> tuple[Any, list | None]:
    """Return (loss, gradients) of the penalty on D's gradients alone.

    The gradients are a list in the order of D's variables, or None if the objective has no penalty
    or the program is that of steps without it. In a program for both kinds of steps, loss and
    gradients are zeros at steps without the penalty. A penalty that is applied every k-th step has
    k times the weight, so that its mean over many steps stays the same.

    Args:
        context: the networks and losses.
        batch: the reals and random numbers of this update.
        fakes: fakes [N,H,W,C] for the penalties that use them.
    """
    o, variables = context.objective, context.discriminator_variables
    # The gradient at the images begins with the same number at every logit as those of the losses.
    scale = None if context.scale is None else context.scale / context.batch_size

    def critic(x):
        return losses.mean_per_sample(o.real_fake_logits(context.discriminate(x)[0]))

    def penalised():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            penalties = 0.0
            if o.penalty == "gp":
                penalties += losses.gradient_penalty(critic, batch.reals, fakes, batch.mix, o.penalty_target, scale)
            if "r1" in o.penalty:
                penalties += losses.zero_centred_penalty(critic, batch.reals, scale)
            if "r2" in o.penalty:
                penalties += losses.zero_centred_penalty(critic, tf.stop_gradient(fakes), scale)
            loss = batch_mean(penalties, context) * (o.penalty_weight * o.penalty_every)
            objective = _scaled(context, loss)
        gradients = tape.gradient(objective, variables, unconnected_gradients="zero")
        return [loss, *gradients]

    if o.penalty == "none" or not o.penalty_weight:
        return tf.zeros([], batch.reals.dtype), None
    if o.penalty_every == 1 or batch.penalise is True:
        loss, *gradients = penalised()
        return loss, gradients
    if batch.penalise is False:
        return tf.zeros([], batch.reals.dtype), None
    # A loop that is run once or not at all, because its condition is then known from a number of
    # the host; the condition of a branch would be a value of the device.
    times = tf.cast(batch.penalise, tf.int32)
    zeros = [tf.constant(0.0), *(tf.zeros(v.shape, v.dtype) for v in variables)]
    _, loss, *gradients = tf.while_loop(
        lambda done, *_: done < times,
        lambda done, *_: [done + 1, *penalised()],
        [tf.constant(0), *zeros],
        parallel_iterations=1,
    )
    return loss, gradients


def add_gradients(gradients, more):
    """Return the elementwise sum of two lists of gradients, or `gradients` if `more` is None."""
    return gradients if more is None else [a + b for a, b in zip(gradients, more)]


def generator_loss(context: StepContext, real: list, fake: list, labels):
    """Return the part of G's loss that depends on D's outputs, a scalar.

    Args:
        context: the networks and losses.
        real: D's outputs for reals, see `StepContext.discriminate`.
        fake: D's outputs for fakes.
        labels: classes of the fakes, int64 [N]; None without latents.
    """
    o = context.objective
    per_sample = o.generator(real[0], fake[0], labels)
    if len(fake) > 1:
        per_sample += o.content_weight * losses.feature_distance(fake[1:], [tf.stop_gradient(x) for x in real[1:]])
    return batch_mean(per_sample, context)


def _auxiliary(context: StepContext, fakes, reals):
    """Return (loss, gradient at the fakes) for the part of G's loss that does not depend on D.

    The loss is a scalar; the gradient, of the scaled loss, has the shape of the fakes. Without such
    a part, both are a scalar 0.

    fakes: images from G, [N,H,W,C]. reals: the images that they should equal, [N,H,W,C].
    """
    if context.auxiliary is None:
        return tf.zeros([], fakes.dtype), tf.zeros([], fakes.dtype)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(fakes)
        loss = batch_mean(context.auxiliary(fakes, reals), context)
        objective = _scaled(context, loss)
    return loss, tape.gradient(objective, fakes)


def collect_stats(context, loss_d, loss_g, auxiliary, penalty, real_logits, fake_logits) -> dict:
    """Return {name: scalar} of a step's stats: losses, penalty and means of D's logits.

    They are this replica's parts; the sum over all replicas is the value for the whole batch.
    `sign_real` is the mean of sign(logit - decision threshold of the loss) over the reals, in
    -1..1; adaptive augmentation needs it.

    Args:
        context: the networks and losses.
        loss_d: D's loss without the penalty.
        loss_g: G's loss without the auxiliary loss.
        auxiliary: the part of G's loss that does not depend on D.
        penalty: the penalty on D's gradients.
        real_logits: D's logits of reals.
        fake_logits: D's logits of fakes.
    """
    o = context.objective
    return {
        "loss_d": loss_d,
        "loss_g": loss_g + auxiliary,
        "auxiliary": auxiliary,
        "penalty": penalty,
        "logit_real": batch_mean(losses.mean_per_sample(o.real_fake_logits(real_logits)), context),
        "logit_fake": batch_mean(losses.mean_per_sample(o.real_fake_logits(fake_logits)), context),
        "sign_real": batch_mean(
            losses.mean_per_sample(tf.sign(o.real_fake_logits(real_logits) - (o.loss.decision_threshold or 0.0))),
            context,
        ),
    }


def two_stage(context: StepContext, batches: Sequence[Batch]) -> dict:
    """Update D once with every batch, then G once against the updated D; return the stats.

    This is algorithm 1 of Goodfellow et al. 2014. Only gradients that are applied are computed: D's
    loss is not backpropagated into G, nor G's loss into D's weights. If G's condition follows from
    the reals, G's update uses the fakes of D's update, and the forward pass is not repeated.
    """
    o = context.objective
    for batch in batches:
        with tf.GradientTape(watch_accessed_variables=False) as tape_g:
            tape_g.watch(context.generator_variables)
            fakes = context.generate(batch.condition, batch.fake_labels)
        seen = tf.stop_gradient(fakes)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(context.discriminator_variables)
            real, fake = discriminate_both(context, batch.reals, seen, _may_share_batch(context, batch.reals))
            loss_d = batch_mean(o.discriminator(real[0], fake[0], batch.labels, batch.fake_labels), context)
            objective = _scaled(context, loss_d)
        gradients = tape.gradient(objective, context.discriminator_variables)
        penalty, more = penalty_gradients(context, batch, seen)
        context.apply_discriminator(add_gradients(gradients, more), loss_d + penalty)

    labels = batch.fake_labels
    if batch.second_condition is not None:
        labels = batch.second_labels
        with tf.GradientTape(watch_accessed_variables=False) as tape_g:
            tape_g.watch(context.generator_variables)
            fakes = context.generate(batch.second_condition, labels)
        seen = tf.stop_gradient(fakes)
    again = context.discriminate(batch.reals) if o.loss.generator_needs_reals or len(real) > 1 else real
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(seen)
        loss_g = generator_loss(context, again, context.discriminate(seen), labels)
        objective = _scaled(context, loss_g)
    auxiliary, more = _auxiliary(context, seen, batch.reals)
    at_fakes = tape.gradient(objective, seen) + more
    gradients = tape_g.gradient(fakes, context.generator_variables, output_gradients=at_fakes)
    context.apply_generator(gradients, loss_g + auxiliary)
    return collect_stats(context, loss_d, loss_g, auxiliary, penalty, real[0], fake[0])


# The ways in which `one_stage` computes the gradient of G's loss at the fakes -> text for the log.
METHODS = {
    "reversed": "the discriminator's gradient, reversed",
    "scaled": "the discriminator's gradient, scaled for each image",
    "second product": "a gradient of its own, since this discriminator compares images or judges parts of them",
}


def one_stage_method(objective: losses.Objective, batch_coupling: int, patch_logits: bool, scaled: bool = False) -> str:
    """Return the key of the cheapest of METHODS that is exact.

    Args:
        objective: the losses of both networks.
        batch_coupling: see `StepContext`.
        patch_logits: see `StepContext`.
        scaled: whether losses are scaled for float16. In float16, what D's loss sends back from the logit of a
            fake of which D is certain is 0, and so is any multiple of it.
    """
    if objective.content == "discriminator":
        return "second product"
    if objective.symmetric:
        return "reversed"
    alone = batch_coupling == 1 and not patch_logits and not objective.labels and not scaled
    return "scaled" if alone else "second product"


def one_stage(context: StepContext, batches: Sequence[Batch]) -> dict:
    """Update both networks after one forward pass of each (OSGAN, Shen et al. 2021, section 3).

    `batches` must contain one batch. Returns the stats.

    This is exact for every loss and D. The gradient of G's loss at the fakes is computed in one of
    three ways:
    - For symmetric losses, it is the gradient of D's loss, reversed (their eq. 9, gamma = -1).
    - If D processes each sample independently, and not in float16, it is the gradient of D's loss, multiplied for each
      sample by the ratio of the derivatives of both losses (eq. 8).
    - If D mixes samples or returns several logits for each, it takes a second backward pass from
      D's logits to the fakes.
    """
    (batch,) = batches
    o = context.objective
    method = one_stage_method(o, context.batch_coupling, context.patch_logits, context.scale is not None)
    with tf.GradientTape(watch_accessed_variables=False) as tape_g:
        tape_g.watch(context.generator_variables)
        fakes = context.generate(batch.condition, batch.fake_labels)
    seen = tf.stop_gradient(fakes)
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape_d:
        tape_d.watch(context.discriminator_variables)
        tape_d.watch(seen)
        # The second backward pass through a joint batch would include the reals, but it only needs
        # the fakes.
        together = method != "second product" and _may_share_batch(context, batch.reals)
        real, fake = discriminate_both(context, batch.reals, seen, together)

    # The derivatives of both losses with respect to D's outputs.
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([real[0], *fake])
        loss_d = batch_mean(o.discriminator(real[0], fake[0], batch.labels, batch.fake_labels), context)
        loss_g = generator_loss(context, real, fake, batch.fake_labels)
        objective_d, objective_g = _scaled(context, loss_d), _scaled(context, loss_g)
    d_real, d_fake = tape.gradient(objective_d, [real[0], fake[0]])
    g_fake = tape.gradient(objective_g, fake)
    del tape

    if method == "scaled":
        least = tf.cast(_LEAST, d_fake.dtype)
        d_fake = tf.where(tf.abs(d_fake) < least, tf.where(d_fake < 0, -least, least), d_fake)
    *gradients_d, at_fakes = tape_d.gradient(
        [real[0], fake[0]], [*context.discriminator_variables, seen], output_gradients=[d_real, d_fake]
    )
    if method == "reversed":
        at_fakes = -o.adversarial_weight * at_fakes
    elif method == "scaled":
        at_fakes = at_fakes * tf.cast((g_fake[0] / d_fake)[:, :, None, None], at_fakes.dtype)
    else:
        at_fakes = tape_d.gradient(fake, seen, output_gradients=g_fake)
    del tape_d
    auxiliary, more = _auxiliary(context, seen, batch.reals)
    gradients_g = tape_g.gradient(fakes, context.generator_variables, output_gradients=at_fakes + more)
    penalty, more = penalty_gradients(context, batch, seen)
    context.apply_discriminator(add_gradients(gradients_d, more), loss_d + penalty)
    context.apply_generator(gradients_g, loss_g + auxiliary)
    return collect_stats(context, loss_d, loss_g, auxiliary, penalty, real[0], fake[0])


def generator_alone(context: StepContext, batches: Sequence[Batch]) -> dict:
    """Update G with its auxiliary losses on the last batch, leave D unchanged; return the stats."""
    batch = batches[-1]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(context.generator_variables)
        loss = batch_mean(context.auxiliary(context.generate(batch.condition, batch.fake_labels), batch.reals), context)
        objective = _scaled(context, loss)
    context.apply_generator(tape.gradient(objective, context.generator_variables), loss)
    zero = tf.zeros([])
    names = ("loss_d", "penalty", "logit_real", "logit_fake", "sign_real")
    return {**dict.fromkeys(names, zero), "loss_g": loss, "auxiliary": loss}


UPDATES = {"two-stage": two_stage, "one-stage": one_stage}
