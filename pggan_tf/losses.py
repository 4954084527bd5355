"""Losses and penalties of the generator (G) and the discriminator (D, also called critic).

All functions are pure and return one value per sample, that is, per image of a batch. Reals are
images of the data, fakes are images from G. D returns logits: high for reals, low for fakes.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

from pggan_tf.lazy import tf


@dataclass(frozen=True)
class Loss:
    """A choice of --loss: the losses of both networks and the default penalty.

    `discriminator` and `generator` take the discriminator's logits of reals and of fakes, both [N]
    or both maps [N,h,w,1]. They return a tuple of terms of that shape; the loss is their sum. A
    term may depend on each logit alone, on a pair of a real and a fake, or on the batch's mean.
    """

    discriminator: Callable[..., tuple]  # (real, fake) -> terms of D's loss
    # (real, fake) -> terms of G's loss; real is None unless generator_needs_reals.
    generator: Callable[..., tuple]
    adversarial: bool = True  # whether there is a discriminator
    # Whether G's loss is, up to a constant, the negative of D's loss as functions of the fakes.
    symmetric: bool = False
    generator_needs_reals: bool = False  # whether G's loss depends on the logits of reals
    # Whether a term depends on the mean over the batch; devices do not exchange this mean.
    compares_with_batch: bool = False
    # Whether the loss has no minimum unless a penalty or a norm bounds D's slope.
    needs_bounded_critic: bool = False
    # The logit of an image that is as likely real as fake; None if there is no such logit.
    decision_threshold: float | None = 0.0
    # (a, b, c) -> this loss with other targets, see `least_squares`.
    with_targets: Callable[..., Loss] | None = None
    # smoothing -> this loss with the target 1 - smoothing for reals.
    with_smoothing: Callable[[float], Loss] | None = None
    penalty: str = "none"  # the default penalty, one of PENALTIES
    penalty_weight: float = 0.0  # lambda of gp, gamma of r1 and r2
    penalty_every: int = 1  # the penalty is added at every k-th step, with k times the weight
    drift: float = 0.0  # weight of the squared logits of reals


def separate(real: Callable, fake: Callable, generator: Callable, **kwargs) -> Loss:
    """Return a loss whose terms depend on one logit each.

    Args:
        real: D's loss for the logits of reals, elementwise.
        fake: D's loss for the logits of fakes, elementwise.
        generator: G's loss for the logits of fakes, elementwise.
        **kwargs: further fields of `Loss`.
    """
    return Loss(lambda r, f: (real(r), fake(f)), lambda r, f: (generator(f),), **kwargs)


def least_squares(a: float, b: float, c: float) -> Loss:
    """Return the loss of LSGAN (Mao et al. 2017, eq. 2), with its factor 1/2.

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
    """Return the loss of the original GAN (Goodfellow et al. 2014), saturating or non-saturating.

    The saturating form is their eq. 1. In the non-saturating form (their section 3), G maximises
    log D(G(z)). With logits f: -log D = -log sigmoid(f) = softplus(-f).

    Args:
        saturating: whether to use the saturating form.
        smoothing: D's target for reals is 1 - smoothing (Salimans et al. 2016, section 3.4);
            0 <= smoothing < 1.
    """
    return separate(
        real=lambda f: (1 - smoothing) * tf.nn.softplus(-f) + smoothing * tf.nn.softplus(f),
        fake=lambda f: tf.nn.softplus(f),
        generator=(lambda f: -tf.nn.softplus(f)) if saturating else (lambda f: tf.nn.softplus(-f)),
        symmetric=saturating,
        # Where (1 - smoothing) p / (p + q) of p = q: D* of Salimans et al. 2016.
        decision_threshold=math.log((1 - smoothing) / (1 + smoothing)),
        with_smoothing=lambda smoothing: cross_entropy(saturating, smoothing),
    )


def relativistic_average() -> Loss:
    """Return the loss of RaGAN (Jolicoeur-Martineau 2019, section 4.4) with cross-entropy.

    The batch mean of the fakes' logits is subtracted from each real's logit, and the batch mean of
    the reals' logits from each fake's.
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
# The choices of --loss. The penalty is the published one, or the one that worked best in this
# project (lazy R1).
LOSSES: dict[str, Loss] = {
    "wgan-gp": replace(_WGAN, penalty="gp", penalty_weight=10.0, drift=1e-3),
    "wgan": _WGAN,
    "lsgan": least_squares(-1, 1, 0),
    # Mean squared error from the targets 0 and 1, without the factor 1/2.
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


def _input_gradient(critic, x, scale=None):
    """Return the gradient of each image's critic value at the image: d critic(x) / dx, [N,H,W,C].

    critic: function from images [N,H,W,C] to one value per image, [N]. x: images [N,H,W,C].
    scale: factor of the gradient while it is computed in float16, a scalar; None: no factor.
    """
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(critic(x))
        total = total if scale is None else total * scale
    gradient = tape.gradient(total, x)
    return gradient if scale is None else gradient / scale


def gradient_penalty(critic, real, fake, mix, target: float = 1.0, scale=None):
    """Return the gradient penalty of WGAN-GP (Gulrajani et al. 2017, eq. 3) per sample: [N].

    It is (|gradient| - target)^2 / target^2 at the points mix * real + (1 - mix) * fake; the weight
    lambda is not included.

    Args:
        critic: function from images [N,H,W,C] to one value per image, [N].
        real: reals [N,H,W,C].
        fake: fakes [N,H,W,C].
        mix: weights of the reals, [N,1,1,1] in 0..1.
        target: the gradient norm that has no penalty, > 0.
        scale: see `_input_gradient`.
    """
    gradient = _input_gradient(critic, mix * real + (1 - mix) * fake, scale)
    # The derivative of the square root is infinite at 0. Below 1e-12 it is replaced by 0, so that
    # no NaN arises.
    norm = tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]), 1e-12))
    return tf.square(norm - target) / target**2


def zero_centred_penalty(critic, x, scale=None):
    """Return the penalty R1 if x are reals, or R2 if they are fakes, per sample: [N].

    It is |gradient|^2 / 2 (Mescheder et al. 2018, eq. 9 and 10); the weight gamma is not included.

    Args:
        critic: function from images [N,H,W,C] to one value per image, [N].
        x: images [N,H,W,C].
        scale: see `_input_gradient`.
    """
    return 0.5 * tf.reduce_sum(tf.square(_input_gradient(critic, x, scale)), axis=[1, 2, 3])


def mean_per_sample(values):
    """Return the mean of all values of each sample: [N, ...] -> [N].

    A sample has several values if D returns a map of logits, as PatchGAN does.
    """
    return tf.reduce_mean(tf.reshape(values, [tf.shape(values)[0], -1]), axis=1) if values.shape.rank > 1 else values


def _sum_terms(terms):
    """Return the sum of the terms of a `Loss`, each [N, ...], averaged for each sample: [N]."""
    return functools.reduce(operator.add, map(mean_per_sample, terms))


def pixel_loss(kind: str, output, target, channels: int):
    """Return the mean absolute ('l1') or squared ('mse') difference of images, per sample: [N].

    Args:
        kind: 'l1' or 'mse'.
        output: images from the generator, [N,H,W,C].
        target: the images that they should equal, [N,H,W,C].
        channels: number of last channels to compare. The channels before them are the condition
            (the generator's input), which is the same in both.
    """
    difference = output[..., -channels:] - target[..., -channels:]
    return tf.reduce_mean(tf.abs(difference) if kind == "l1" else tf.square(difference), axis=[1, 2, 3])


def feature_distance(output, target):
    """Return the mean squared difference of features (Ledig et al. 2017, eq. 5), per sample: [N].

    Args:
        output: list of feature maps [N,H,W,C] of the generator's images. The differences of all
            maps are summed.
        target: list of feature maps of the images that they should resemble, of the same shapes.
    """
    return sum(mean_per_sample(tf.cast(tf.math.squared_difference(a, b), tf.float32)) for a, b in zip(output, target))


@dataclass(frozen=True)
class Objective:
    """What both networks minimise at one resolution: a loss, its penalty and all further terms."""

    loss: Loss
    penalty: str = "none"  # one of PENALTIES
    penalty_weight: float = 0.0  # lambda of gp, gamma of r1 and r2
    # The penalty is added at every k-th step, with k times the weight (lazy regularisation, Karras
    # et al. 2020, section 3.1).
    penalty_every: int = 1
    penalty_target: float = 1.0  # the gradient norm that gp pulls towards, > 0
    drift: float = 0.0  # weight of the squared logits of reals (Karras et al. 2018, appendix A.1)
    # Number of classes that D also predicts (ACGAN, Odena et al. 2017, eq. 2 and 3). D's logits are
    # [N, 1 + labels]: first real or fake, then one logit for each class.
    labels: int = 0
    class_weight: float = 1.0  # weight of the classes' cross-entropy in both losses
    adversarial_weight: float = 1.0  # weight of the adversarial loss in G's loss
    pixel: str = "none"  # G's pixel loss, one of PIXEL
    pixel_weight: float = 1.0
    # The features in which G's images should resemble the target, one of CONTENT.
    content: str = "none"
    content_weight: float = 1.0

    @property
    def symmetric(self) -> bool:
        """Whether the gradients of G's and D's losses at the fakes are opposite, up to a weight.

        With classes they are not, because both networks minimise the same class loss.
        """
        return self.loss.symmetric and not self.labels

    def real_fake_logits(self, logits):
        """Return D's logits for 'real or fake' without those of the classes.

        logits: [N, 1 + labels], of which [N] is returned; or a map [N,h,w,1], returned unchanged.
        """
        return logits[:, 0] if logits.shape.rank == 2 else logits

    def _class_loss(self, logits, labels):
        """Return the weighted cross-entropy of the classes per sample: [N].

        logits: D's output [N, 1 + labels]. labels: true classes, int64 [N].
        """
        return self.class_weight * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits[:, 1:])

    def discriminator(self, real_logits, fake_logits, real_labels=None, fake_labels=None):
        """Return D's loss without the penalty for every pair of a real and a fake sample: [N].

        Args:
            real_logits: [N, 1 + labels], or a map [N,h,w,1].
            fake_logits: the same for fakes.
            real_labels: classes of the reals, int64 [N]; None without classes.
            fake_labels: classes of the fakes, int64 [N]; None without classes.
        """
        real, fake = self.real_fake_logits(real_logits), self.real_fake_logits(fake_logits)
        losses = _sum_terms(self.loss.discriminator(real, fake))
        if self.drift:
            losses += self.drift * mean_per_sample(tf.square(real))
        if self.labels:
            losses += self._class_loss(real_logits, real_labels) + self._class_loss(fake_logits, fake_labels)
        return losses

    def generator(self, real_logits, fake_logits, fake_labels=None):
        """Return G's adversarial and class losses per sample: [N].

        Args:
            real_logits: see `discriminator`; may be None unless `loss.generator_needs_reals`.
            fake_logits: see `discriminator`.
            fake_labels: classes of the fakes, int64 [N]; None without classes.
        """
        real = self.real_fake_logits(real_logits) if self.loss.generator_needs_reals else None
        losses = _sum_terms(self.loss.generator(real, self.real_fake_logits(fake_logits)))
        losses = self.adversarial_weight * losses
        if self.labels:
            losses += self._class_loss(fake_logits, fake_labels)
        return losses


PIXEL = ("none", "l1", "mse")
# Features -> default weight of their loss. For VGG19, the published setting is 1.0 with an
# adversarial weight of 1e-3 (Ledig et al. 2017, eq. 3). With the same adversarial weight, the
# discriminator's own features at 1e-2 cause stripes and ragged edges within minutes.
CONTENT = {"none": 1.0, "vgg19": 1.0, "discriminator": 3e-3}
PENALTIES = ("gp", "r1", "r2", "r1+r2", "none")
