"""What both networks minimise: pure functions of logits, with one value per sample."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

from pggan_tf.lazy import tf


@dataclass(frozen=True)
class Loss:
    """One choice of --loss: what both networks minimise, and the penalty that it starts with.

    `discriminator` and `generator` take the discriminator's logits of reals and of fakes, both [N]
    or both maps [N,h,w,1], and return a tuple of terms of that shape, which are added sample by
    sample. A term may depend on each logit by itself, on a real and a fake as a pair, or on the
    mean of a batch.
    """

    discriminator: Callable[..., tuple]  # (real, fake) -> terms of D's loss
    # (real, fake) -> terms of G's loss; real is None unless generator_needs_reals.
    generator: Callable[..., tuple]
    adversarial: bool = True  # whether there is a discriminator
    # Whether G's loss is, up to a constant, the negative of D's loss as functions of the fakes.
    symmetric: bool = False
    generator_needs_reals: bool = False  # whether G's loss depends on the logits of reals
    # Whether a term depends on a mean of the batch, which devices do not share.
    compares_with_batch: bool = False
    # Whether the loss has no minimum unless a penalty or a norm bounds D's slope.
    needs_bounded_critic: bool = False
    # The logit of an image as likely real as fake; None: there is no such logit.
    decision_threshold: float | None = 0.0
    # (a, b, c) -> this loss with other targets, see `least_squares`.
    with_targets: Callable[..., Loss] | None = None
    # smoothing -> this loss with the target 1 - smoothing for reals.
    with_smoothing: Callable[[float], Loss] | None = None
    penalty: str = "none"  # the penalty that --loss starts with, one of PENALTIES
    penalty_weight: float = 0.0  # lambda of gp, gamma of r1 and r2
    penalty_every: int = 1  # the penalty is added at every k-th step, with k times the weight
    drift: float = 0.0  # weight of the squared logits of reals


def separate(real: Callable, fake: Callable, generator: Callable, **kwargs) -> Loss:
    """Make a loss from three functions of one logit: D's on reals, D's on fakes, G's on fakes."""
    return Loss(lambda r, f: (real(r), fake(f)), lambda r, f: (generator(f),), **kwargs)


def least_squares(a: float, b: float, c: float) -> Loss:
    """Make the loss of LSGAN (Mao et al. 2017, eq. 2), with its factor 1/2.

    D moves fakes to the target `a` and reals to `b`; G moves fakes to `c`.
    """
    return separate(
        real=lambda f: 0.5 * tf.square(f - b),
        fake=lambda f: 0.5 * tf.square(f - a),
        generator=lambda f: 0.5 * tf.square(f - c),
        decision_threshold=(a + b) / 2,
        with_targets=least_squares,
    )


def cross_entropy(saturating: bool = False, smoothing: float = 0.0) -> Loss:
    """Make the first GAN's loss (Goodfellow et al. 2014, eq. 1) or its form of section 3.

    In the non-saturating form G maximises log D(G(z)). With logits f: -log D = -log sigmoid(f) =
    softplus(-f).

    smoothing: D's target for reals is 1 - smoothing (Salimans et al. 2016, section 3.4); 0 <=
    smoothing < 1.
    """
    return separate(
        real=lambda f: (1 - smoothing) * tf.nn.softplus(-f) + smoothing * tf.nn.softplus(f),
        fake=lambda f: tf.nn.softplus(f),
        generator=(lambda f: -tf.nn.softplus(f)) if saturating else (lambda f: tf.nn.softplus(-f)),
        symmetric=saturating,
        with_smoothing=lambda smoothing: cross_entropy(saturating, smoothing),
    )


def relativistic_average() -> Loss:
    """Make the loss of RaGAN (Jolicoeur-Martineau 2019, section 4.4) with cross-entropy.

    The mean logit of the other kind, over the batch, is subtracted from every logit.
    """

    def relative(real, fake):
        return real - tf.reduce_mean(fake), fake - tf.reduce_mean(real)

    def discriminator(real, fake):
        r, f = relative(real, fake)
        return tf.nn.softplus(-r), tf.nn.softplus(f)

    def generator(real, fake):
        r, f = relative(real, fake)
        return tf.nn.softplus(-f), tf.nn.softplus(r)

    return Loss(discriminator, generator, generator_needs_reals=True, compares_with_batch=True, decision_threshold=None)


# Arjovsky et al. 2017, eq. 2 and 3.
_WGAN = separate(
    real=lambda f: -f,
    fake=lambda f: f,
    generator=lambda f: -f,
    symmetric=True,
    needs_bounded_critic=True,
    decision_threshold=None,
)
# The choices of --loss. A row's penalty is the published one, or the one that has done best in this
# project (R1, lazily).
LOSSES: dict[str, Loss] = {
    "wgan-gp": replace(_WGAN, penalty="gp", penalty_weight=10.0, drift=1e-3),
    "wgan": _WGAN,
    "lsgan": least_squares(-1, 1, 0),
    # Mean squared error against 0 and 1, without the factor 1/2.
    "mse": separate(
        real=lambda f: tf.square(f - 1),
        fake=lambda f: tf.square(f),
        generator=lambda f: tf.square(f - 1),
        decision_threshold=0.5,
    ),
    "nonsaturating-r1": replace(cross_entropy(), penalty="r1", penalty_weight=0.3, penalty_every=16),
    "nonsaturating": cross_entropy(),
    "saturating": cross_entropy(saturating=True),
    # Lim and Ye 2017, eq. 5 to 7; Miyato et al. 2018, eq. 16 and 17.
    "hinge": separate(real=lambda f: tf.nn.relu(1 - f), fake=lambda f: tf.nn.relu(1 + f), generator=lambda f: -f),
    "relativistic": relativistic_average(),
    # No discriminator: the generator minimises its pixel loss alone.
    "none": Loss(lambda real, fake: (), lambda real, fake: (), adversarial=False),
}


def _input_gradient(critic, x):
    """Return d critic(x) / dx, [N,H,W,C]. critic: [N,H,W,C] -> [N]."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(critic(x))
    return tape.gradient(total, x)


def gradient_penalty(critic, real, fake, mix, target: float = 1.0):
    """Return the gradient penalty of WGAN-GP (Gulrajani et al. 2017, eq. 3) per sample: [N].

    Without its weight lambda, it is (|gradient| - target)^2 / target^2 at the points mix * real +
    (1 - mix) * fake.

    critic: [N,H,W,C] -> [N]; real, fake: [N,H,W,C]; mix: [N,1,1,1] in 0..1; target > 0.
    """
    gradient = _input_gradient(critic, mix * real + (1 - mix) * fake)
    # The derivative of the root is infinite at 0. Below the smallest value it is cut to 0, so that
    # no NaN arises.
    norm = tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]), 1e-12))
    return tf.square(norm - target) / target**2


def zero_centred_penalty(critic, x):
    """Return R1 at reals, R2 at fakes (Mescheder et al. 2018, eq. 9 and 10), per sample: [N].

    Without its weight gamma, it is |gradient|^2 / 2. critic: [N,H,W,C] -> [N]; x: [N,H,W,C].
    """
    return 0.5 * tf.reduce_sum(tf.square(_input_gradient(critic, x)), axis=[1, 2, 3])


def mean_per_sample(values):
    """Average values per sample, such as a map of logits (PatchGAN): [N, ...] -> [N]."""
    return tf.reduce_mean(tf.reshape(values, [tf.shape(values)[0], -1]), axis=1) if values.shape.rank > 1 else values


def _sum_terms(terms):
    """Sum terms [N, ...], each averaged per sample: [N]."""
    return functools.reduce(operator.add, map(mean_per_sample, terms))


def pixel_loss(kind: str, output, target, channels: int):
    """Return the mean absolute ('l1') or squared ('mse') difference of images, per sample: [N].

    output, target: [N,H,W,C]. Only their last `channels` are compared; those before are a condition
    that both share.
    """
    difference = output[..., -channels:] - target[..., -channels:]
    return tf.reduce_mean(tf.abs(difference) if kind == "l1" else tf.square(difference), axis=[1, 2, 3])


def feature_distance(output, target):
    """Return the mean squared difference of features (Ledig et al. 2017, eq. 5), per sample: [N].

    output, target: lists of features [N,H,W,C], over which the differences are added.
    """
    return sum(mean_per_sample(tf.cast(tf.math.squared_difference(a, b), tf.float32)) for a, b in zip(output, target))


@dataclass(frozen=True)
class Objective:
    """A loss with its penalty, and what is added to the losses of both networks."""

    loss: Loss
    penalty: str = "none"  # one of PENALTIES
    penalty_weight: float = 0.0  # lambda of gp, gamma of r1 and r2
    # The penalty is added at every k-th step, with k times the weight (lazy regularisation, Karras
    # et al. 2020, section 3.1).
    penalty_every: int = 1
    penalty_target: float = 1.0  # the slope that gp asks for, > 0
    drift: float = 0.0  # weight of the squared logits of reals (Karras et al. 2018, appendix A.1)
    # Classes that D tells apart besides (ACGAN, Odena et al. 2017, eq. 2 and 3). Its logits are [N,
    # 1 + labels]: real or fake, then one of each class.
    labels: int = 0
    class_weight: float = 1.0  # weight of the classes' cross-entropy in both losses
    adversarial_weight: float = 1.0  # weight of the adversarial loss in G's
    pixel: str = "none"  # G's loss by pixels, one of PIXEL
    pixel_weight: float = 1.0
    # The features in which G's images should resemble the target, one of CONTENT.
    content: str = "none"
    content_weight: float = 1.0

    @property
    def symmetric(self) -> bool:
        """Whether the gradients of G's and D's losses at the fakes are opposite, up to a weight.

        They are not with classes, which both networks want to be told apart.
        """
        return self.loss.symmetric and not self.labels

    def real_fake_logits(self, logits):
        """Return the logits of real or fake: [N, 1 + labels] -> [N]; maps stay as they are."""
        return logits[:, 0] if logits.shape.rank == 2 else logits

    def _class_loss(self, logits, labels):
        return self.class_weight * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits[:, 1:])

    def discriminator(self, real_logits, fake_logits, real_labels=None, fake_labels=None):
        """Return D's loss without the penalty for every pair of a real and a fake sample: [N].

        Logits: [N, 1 + labels], or maps [N,h,w,1]; labels: int64 [N], None without classes.
        """
        real, fake = self.real_fake_logits(real_logits), self.real_fake_logits(fake_logits)
        losses = _sum_terms(self.loss.discriminator(real, fake))
        if self.drift:
            losses += self.drift * mean_per_sample(tf.square(real))
        if self.labels:
            losses += self._class_loss(real_logits, real_labels) + self._class_loss(fake_logits, fake_labels)
        return losses

    def generator(self, real_logits, fake_logits, fake_labels=None):
        """Return G's loss by logits: [N].

        real_logits: may be None unless `loss.generator_needs_reals`.
        """
        real = self.real_fake_logits(real_logits) if self.loss.generator_needs_reals else None
        losses = _sum_terms(self.loss.generator(real, self.real_fake_logits(fake_logits)))
        losses = self.adversarial_weight * losses
        if self.labels:
            losses += self._class_loss(fake_logits, fake_labels)
        return losses


PIXEL = ("none", "l1", "mse")
# Features -> their default weight. That of VGG19 beside an adversarial weight of 1e-3 is published
# (Ledig et al. 2017, eq. 3). The discriminator's own features with a weight of 1e-2 beside the same
# 1e-3 bring stripes and ragged edges within minutes.
CONTENT = {"none": 1.0, "vgg19": 1.0, "discriminator": 3e-3}
PENALTIES = ("gp", "r1", "r2", "r1+r2", "none")
