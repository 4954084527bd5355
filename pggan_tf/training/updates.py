"""How both networks' gradients are taken.

An update rule is a function (players, batches) -> stats. It asks `players` for gradients' application, so that a rule
may update one network before it looks at the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from pggan_tf import losses

# Least cotangent of D on a fake that is divided by: G's gradient is D's times a ratio, and a discriminator that is sure
# of a fake learns nothing from it, but G does. This much is added to what D learns: nothing, in any float.
_LEAST = 1e-25


@dataclass(frozen=True)
class Players:
    """Two networks bound to a phase, with their variables.

    generate: (given, labels) -> [N,H,W,C], as D sees it. discriminate: [N,H,W,C] -> [logits [N, 1 + labels], or a map
    [N,h,w,1], and then, if the objective asks for them, features]. auxiliary: (fakes, reals) -> G's losses but for those that
    go through D, [N]; None where there are none.
    apply_generator, apply_discriminator: take gradients in the variables' order. `batch` is the global one: the sum of
    all replicas' gradients is then the gradient of the mean. group: how many neighbours in a batch D looks at together:
    1 for each by itself, 0 for the whole batch. across: whether it looks at images on other replicas. maps: whether it returns a
    map of logits.
    """

    generate: Callable
    discriminate: Callable
    generator_variables: list
    discriminator_variables: list
    apply_generator: Callable
    apply_discriminator: Callable
    objective: losses.Objective
    batch: int
    group: int
    auxiliary: Callable | None = None
    across: bool = False
    maps: bool = False


@dataclass(frozen=True)
class Batch:
    """reals: [N,H,W,C] with labels [N]. given with fake_labels: what G makes of them, both networks see. The second ones,
    independent, are for G's step of two_stage; None where G is given the same again, because there are no others (the
    photos of this batch). mix: [N,1,1,1] in 0..1.

    penalise: bool tensor, whether this step carries the (lazy) penalty.
    """

    reals: tf.Tensor
    labels: tf.Tensor
    given: tf.Tensor
    fake_labels: tf.Tensor
    second_given: tf.Tensor | None
    second_labels: tf.Tensor | None
    mix: tf.Tensor
    penalise: tf.Tensor


def _both_judged(players: Players, reals, fakes, together: bool):
    """What D says of reals and of fakes. In one batch where they may: one large convolution is faster than two small ones."""
    if together:
        both = players.discriminate(tf.concat([reals, tf.cast(fakes, reals.dtype)], axis=0))
        halves = [tf.split(x, 2) for x in both]
        return [h[0] for h in halves], [h[1] for h in halves]
    return players.discriminate(reals), players.discriminate(fakes)


def _may_share(players: Players, reals) -> bool:
    """Whether no sample's logit would change if reals and fakes were one batch."""
    return players.group > 0 and reals.shape[0] % players.group == 0


def _mean(losses, players: Players):
    return tf.reduce_sum(losses) / players.batch


def _penalty_gradients(players: Players, batch: Batch, fakes):
    """Loss and gradients of the penalty alone; zeros at the steps that skip it."""
    o, variables = players.objective, players.discriminator_variables

    def critic(x):
        return losses.per_sample(o.source(players.discriminate(x)[0]))

    def present():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            losses = 0.0
            if o.penalty == "gp":
                losses += losses.gradient_penalty(critic, batch.reals, fakes, batch.mix, o.penalty_target)
            if "r1" in o.penalty:
                losses += losses.zero_centred_penalty(critic, batch.reals)
            if "r2" in o.penalty:
                losses += losses.zero_centred_penalty(critic, tf.stop_gradient(fakes))
            loss = _mean(losses, players) * (o.penalty_weight * o.penalty_every)
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        return [loss, *gradients]  # so heavy, and so rarely: over many steps its mean is the penalty's

    if o.penalty == "none" or not o.penalty_weight:
        return tf.zeros([], batch.reals.dtype), None
    if o.penalty_every == 1:
        loss, *gradients = present()
        return loss, gradients

    def absent():
        return [tf.constant(0.0), *(tf.zeros(v.shape, v.dtype) for v in variables)]

    if players.across:  # replicas cannot talk within a branch: there, laziness saves nothing
        loss, *gradients = (tf.where(batch.penalise, a, b) for a, b in zip(present(), absent()))
    else:
        loss, *gradients = tf.cond(batch.penalise, present, absent)
    return loss, gradients


def _add(gradients, more):
    return gradients if more is None else [a + b for a, b in zip(gradients, more)]


def _generator_loss(players: Players, real: list, fake: list, labels):
    """G's loss by what D says of reals and fakes."""
    o = players.objective
    losses = o.generator(real[0], fake[0], labels)
    if len(fake) > 1:
        losses += o.content_weight * losses.feature_distance(fake[1:], [tf.stop_gradient(x) for x in real[1:]])
    return _mean(losses, players)


def _auxiliary(players: Players, fakes, reals):
    """(G's loss besides D's, its gradient at the fakes)."""
    if players.auxiliary is None:
        return tf.zeros([], fakes.dtype), tf.zeros([], fakes.dtype)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(fakes)
        loss = _mean(players.auxiliary(fakes, reals), players)
    return loss, tape.gradient(loss, fakes)


def _stats(players, loss_d, loss_g, auxiliary, penalty, real_logits, fake_logits):
    o = players.objective
    return {
        "loss_d": loss_d,
        "loss_g": loss_g + auxiliary,
        "auxiliary": auxiliary,
        "penalty": penalty,
        "logit_real": _mean(losses.per_sample(o.source(real_logits)), players),
        "logit_fake": _mean(losses.per_sample(o.source(fake_logits)), players),
        "sign_real": _mean(
            losses.per_sample(tf.sign(o.source(real_logits) - (o.loss.decision_threshold or 0.0))), players
        ),
    }


def two_stage(players: Players, batches: Sequence[Batch]):
    """D's steps, one for every batch, on fresh fakes, then G's on others, against the D just updated (Goodfellow et al. 2014,
    algorithm 1). Nothing is backpropagated that is not applied: not D's step into G, not G's into D's weights. Where G is given
    the same photos again, its forward pass is not repeated either."""
    o = players.objective
    for batch in batches:
        with tf.GradientTape(watch_accessed_variables=False) as tape_g:
            tape_g.watch(players.generator_variables)
            fakes = players.generate(batch.given, batch.fake_labels)
        seen = tf.stop_gradient(fakes)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(players.discriminator_variables)
            real, fake = _both_judged(players, batch.reals, seen, _may_share(players, batch.reals))
            loss_d = _mean(o.discriminator(real[0], fake[0], batch.labels, batch.fake_labels), players)
        gradients = tape.gradient(loss_d, players.discriminator_variables)
        penalty, more = _penalty_gradients(players, batch, seen)
        players.apply_discriminator(_add(gradients, more), loss_d + penalty)

    labels = batch.fake_labels
    if batch.second_given is not None:
        labels = batch.second_labels
        with tf.GradientTape(watch_accessed_variables=False) as tape_g:
            tape_g.watch(players.generator_variables)
            fakes = players.generate(batch.second_given, labels)
        seen = tf.stop_gradient(fakes)
    again = players.discriminate(batch.reals) if o.loss.generator_needs_reals or len(real) > 1 else real
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(seen)
        loss_g = _generator_loss(players, again, players.discriminate(seen), labels)
    auxiliary, more = _auxiliary(players, seen, batch.reals)
    at_fakes = tape.gradient(loss_g, seen) + more
    gradients = tape_g.gradient(fakes, players.generator_variables, output_gradients=at_fakes)
    players.apply_generator(gradients, loss_g + auxiliary)
    return _stats(players, loss_d, loss_g, auxiliary, penalty, real[0], fake[0])


# How one_stage gets G's gradient at the fakes.
WAYS = {
    "reversed": "the discriminator's gradient at the fakes, reversed",
    "scaled": "the discriminator's gradient at the fakes, scaled sample by sample",
    "second product": "a second product through the discriminator, which looks at samples together or gives several logits for each",
}


def one_stage_by(objective: losses.Objective, group: int, maps: bool) -> str:
    """One of WAYS: the cheapest that is exact. group: see Players; maps: whether D returns several logits for a sample."""
    if objective.content == "discriminator":
        return "second product"
    if objective.symmetric:
        return "reversed"
    return "scaled" if group == 1 and not maps and not objective.labels else "second product"


def one_stage(players: Players, batches: Sequence[Batch]):
    """Both updates out of one forward pass of each network (Shen et al. 2021, OSGAN, section 3), exact for every loss and D.

    G's gradient at the fakes is D's, reversed for symmetric losses (their eq. 9, gamma = -1); or times the ratio of the
    two losses' derivatives, sample by sample (eq. 8), where D sees each sample by itself; or, where it mixes them or
    returns several logits for each, D's logits are pulled back to the fakes a second time.
    """
    (batch,) = batches
    o = players.objective
    way = one_stage_by(o, players.group, players.maps)
    with tf.GradientTape(watch_accessed_variables=False) as tape_g:
        tape_g.watch(players.generator_variables)
        fakes = players.generate(batch.given, batch.fake_labels)
    seen = tf.stop_gradient(fakes)
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape_d:
        tape_d.watch(players.discriminator_variables)
        tape_d.watch(seen)
        # Where the batch is pulled back twice, reals had better stay out of it.
        together = way != "second product" and _may_share(players, batch.reals)
        real, fake = _both_judged(players, batch.reals, seen, together)

    # The derivatives of both losses by what D says.
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([real[0], *fake])
        loss_d = _mean(o.discriminator(real[0], fake[0], batch.labels, batch.fake_labels), players)
        loss_g = _generator_loss(players, real, fake, batch.fake_labels)
    d_real, d_fake = tape.gradient(loss_d, [real[0], fake[0]])
    g_fake = tape.gradient(loss_g, fake)
    del tape

    if way == "scaled":
        least = tf.cast(_LEAST, d_fake.dtype)
        d_fake = tf.where(tf.abs(d_fake) < least, tf.where(d_fake < 0, -least, least), d_fake)
    *gradients_d, at_fakes = tape_d.gradient(
        [real[0], fake[0]], [*players.discriminator_variables, seen], output_gradients=[d_real, d_fake]
    )
    if way == "reversed":
        at_fakes = -o.adversarial_weight * at_fakes
    elif way == "scaled":
        at_fakes = at_fakes * tf.cast((g_fake[0] / d_fake)[:, :, None, None], at_fakes.dtype)
    else:
        at_fakes = tape_d.gradient(fake, seen, output_gradients=g_fake)
    del tape_d
    auxiliary, more = _auxiliary(players, seen, batch.reals)
    gradients_g = tape_g.gradient(fakes, players.generator_variables, output_gradients=at_fakes + more)
    penalty, more = _penalty_gradients(players, batch, seen)
    players.apply_discriminator(_add(gradients_d, more), loss_d + penalty)
    players.apply_generator(gradients_g, loss_g + auxiliary)
    return _stats(players, loss_d, loss_g, auxiliary, penalty, real[0], fake[0])


def generator_alone(players: Players, batches: Sequence[Batch]):
    """G's step by its auxiliary losses; D is left as it is."""
    batch = batches[-1]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(players.generator_variables)
        loss = _mean(players.auxiliary(players.generate(batch.given, batch.fake_labels), batch.reals), players)
    players.apply_generator(tape.gradient(loss, players.generator_variables), loss)
    nothing = tf.zeros([])
    names = ("loss_d", "penalty", "logit_real", "logit_fake", "sign_real")
    return {**dict.fromkeys(names, nothing), "loss_g": loss, "auxiliary": loss}


UPDATES = {"two-stage": two_stage, "one-stage": one_stage}
