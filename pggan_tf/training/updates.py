"""How both networks' gradients are taken from one batch of reals.

An update rule is a function (players, batch) -> stats. It asks `players` for gradients' application, so that a rule
may update one network before it looks at the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from pggan_tf import objectives


@dataclass(frozen=True)
class Players:
    """Two networks bound to a phase: `generate` [N,L] -> [N,H,W,C], `discriminate` [N,H,W,C] -> [N], with their variables.

    apply_generator, apply_discriminator: take gradients in the variables' order. `batch` is the global one: the sum of
    all replicas' gradients is then the gradient of the mean. joint: whether reals and fakes may go through D in one
    batch, that is, whether no group of its minibatch statistics would hold both.
    """

    generate: Callable
    discriminate: Callable
    generator_variables: list
    discriminator_variables: list
    apply_generator: Callable
    apply_discriminator: Callable
    objective: objectives.Objective
    batch: int
    joint: bool


@dataclass(frozen=True)
class Batch:
    """reals: [N,H,W,C] in -1..1. latents: a second, independent draw is only needed by two_stage. mix: [N,1,1,1] in 0..1.

    penalise: bool tensor, whether this step carries the (lazy) penalty.
    """

    reals: tf.Tensor
    latents: tf.Tensor
    second_latents: tf.Tensor
    mix: tf.Tensor
    penalise: tf.Tensor


def _both_logits(players: Players, reals, fakes):
    """Reals and fakes in one batch through D where they may: one large convolution is faster than two small ones."""
    fakes = tf.cast(fakes, reals.dtype)
    if players.joint:
        return tf.split(players.discriminate(tf.concat([reals, fakes], axis=0)), 2)
    return players.discriminate(reals), players.discriminate(fakes)


def _mean(losses, players: Players):
    return tf.reduce_sum(losses) / players.batch


def _penalty_gradients(players: Players, batch: Batch, fakes):
    """Gradients of the penalty alone; zeros at the steps that skip it."""
    o, variables = players.objective, players.discriminator_variables

    def present():
        with tf.GradientTape() as tape:
            if o.penalty == "gp":
                losses = objectives.gradient_penalty(
                    players.discriminate, batch.reals, fakes, batch.mix, o.penalty_target
                )
            else:
                losses = objectives.zero_centred_penalty(players.discriminate, batch.reals)
            loss = _mean(losses, players) * (o.penalty_weight * o.penalty_every)
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        return [loss / o.penalty_every, *gradients]

    if o.penalty == "none" or not o.penalty_weight:
        return tf.constant(0.0), None
    if o.penalty_every == 1:
        loss, *gradients = present()
        return loss, gradients
    loss, *gradients = tf.cond(
        batch.penalise, present, lambda: [tf.constant(0.0), *(tf.zeros(v.shape, v.dtype) for v in variables)]
    )
    return loss, gradients


def _discriminator_loss(players: Players, real_logits, fake_logits):
    o = players.objective
    loss = _mean(o.adversarial.real(real_logits), players) + _mean(o.adversarial.fake(fake_logits), players)
    if o.drift:
        loss += o.drift * _mean(tf.square(real_logits), players)
    return loss


def _add(gradients, more):
    return gradients if more is None else [a + b for a, b in zip(gradients, more)]


def _stats(players, loss_d, loss_g, penalty, real_logits, fake_logits):
    return {
        "loss_d": loss_d,
        "loss_g": loss_g,
        "penalty": penalty,
        "logit_real": _mean(real_logits, players),
        "logit_fake": _mean(fake_logits, players),
    }


def two_stage(players: Players, batch: Batch):
    """D's step on fresh fakes, then G's on others, against the D just updated (Goodfellow et al. 2014, algorithm 1)."""
    fakes = players.generate(batch.latents)  # no tape: D's step does not backpropagate into G
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(players.discriminator_variables)
        real_logits, fake_logits = _both_logits(players, batch.reals, fakes)
        loss_d = _discriminator_loss(players, real_logits, fake_logits)
    gradients = tape.gradient(loss_d, players.discriminator_variables)
    penalty, more = _penalty_gradients(players, batch, fakes)
    players.apply_discriminator(_add(gradients, more), loss_d + penalty)

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(players.generator_variables)
        loss_g = _mean(
            players.objective.adversarial.generator(players.discriminate(players.generate(batch.second_latents))),
            players,
        )
    players.apply_generator(tape.gradient(loss_g, players.generator_variables), loss_g)
    return _stats(players, loss_d, loss_g, penalty, real_logits, fake_logits)


def one_stage(players: Players, batch: Batch):
    """Both updates out of one forward pass of each network (Shen et al. 2021, OSGAN), exact for every loss and every D.

    D's logits on the fakes are pulled back to the fakes a second time with G's own cotangent. No ratio of losses is
    formed, so no logit overflows, and a D that mixes the samples of a batch is served as well.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape_g:
        tape_g.watch(players.generator_variables)
        fakes = players.generate(batch.latents)
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape_d:
        tape_d.watch(players.discriminator_variables)
        tape_d.watch(fakes)
        real_logits = players.discriminate(batch.reals)
        fake_logits = players.discriminate(fakes)
        loss_d = _discriminator_loss(players, real_logits, fake_logits)
        loss_g = _mean(players.objective.adversarial.generator(fake_logits), players)
    gradients_d = tape_d.gradient(loss_d, players.discriminator_variables)
    at_fakes = tape_d.gradient(loss_g, fakes)
    del tape_d
    gradients_g = tape_g.gradient(fakes, players.generator_variables, output_gradients=at_fakes)
    penalty, more = _penalty_gradients(players, batch, fakes)
    players.apply_discriminator(_add(gradients_d, more), loss_d + penalty)
    players.apply_generator(gradients_g, loss_g)
    return _stats(players, loss_d, loss_g, penalty, real_logits, fake_logits)


UPDATES = {"two-stage": two_stage, "one-stage": one_stage}
