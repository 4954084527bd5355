"""What the two networks minimise. Losses are pure functions of logits, one value per sample, so any update rule can use them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

from pggan_tf.lazy import tf


@dataclass(frozen=True)
class Loss:
    """One choice of --loss: what both networks minimise, and the penalty that it starts with.

    `discriminator` and `generator` take the discriminator's logits of reals and of fakes, [N] or maps [N,h,w,1], and return terms
    of that shape, which are added sample by sample. They may look at each logit by itself, at a real and a fake as a pair, or at the
    mean of a batch.
    """

    discriminator: Callable[..., tuple]  # (real, fake) -> terms
    generator: Callable[..., tuple]  # (real, fake) -> terms
    adversarial: bool = True  # whether there is a discriminator
    symmetric: bool = (
        False  # G's loss is the negative of D's on fakes, but for a constant: one backward pass serves both
    )
    generator_needs_reals: bool = False
    compares_with_batch: bool = (
        False  # a logit is compared with the mean of a batch, which several devices do not share
    )
    needs_bounded_critic: bool = False  # without a bound of D's slope there is no least loss
    decision_threshold: float | None = 0.0  # the logit of an image as likely real as fake; None: there is no such logit
    with_targets: Callable[..., Loss] | None = None  # (a, b, c) -> the same with other targets
    with_smoothing: Callable[[float], Loss] | None = None  # the same with the target 1 - smoothing for reals
    penalty: str = "none"  # one of PENALTIES
    penalty_weight: float = 0.0
    penalty_every: int = 1
    drift: float = 0.0


def separate(real: Callable, fake: Callable, generator: Callable, **kwargs) -> Loss:
    """Make a loss of three functions of one logit: D's on reals, D's on fakes, G's on fakes."""
    return Loss(lambda r, f: (real(r), fake(f)), lambda r, f: (generator(f),), **kwargs)


def least_squares(a: float, b: float, c: float) -> Loss:
    """LSGAN (Mao et al. 2017, eq. 2): D pulls fakes to `a` and reals to `b`, G pulls fakes to `c`; each with a half."""
    return separate(
        real=lambda f: 0.5 * tf.square(f - b),
        fake=lambda f: 0.5 * tf.square(f - a),
        generator=lambda f: 0.5 * tf.square(f - c),
        decision_threshold=(a + b) / 2,
        with_targets=least_squares,
    )


def cross_entropy(saturating: bool = False, smoothing: float = 0.0) -> Loss:
    """Goodfellow et al. 2014, eq. 1, or, not saturating, its section 3: G maximises log D(G(z)).

    -log sigmoid(f) = softplus(-f). smoothing: D's target for reals is 1 - smoothing (Salimans et al. 2016, section 3.4).
    """
    return separate(
        real=lambda f: (1 - smoothing) * tf.nn.softplus(-f) + smoothing * tf.nn.softplus(f),
        fake=lambda f: tf.nn.softplus(f),
        generator=(lambda f: -tf.nn.softplus(f)) if saturating else (lambda f: tf.nn.softplus(-f)),
        symmetric=saturating,
        with_smoothing=lambda smoothing: cross_entropy(saturating, smoothing),
    )


def relativistic_average() -> Loss:
    """RaGAN (Jolicoeur-Martineau 2019, section 4.4, with cross-entropy): every logit less the mean of those of the other kind."""

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
# The names of --loss. A penalty that is named here is the published one, or what has done best in this project (R1, lazily).
LOSSES: dict[str, Loss] = {
    "wgan-gp": replace(_WGAN, penalty="gp", penalty_weight=10.0, drift=1e-3),
    "wgan": _WGAN,
    "lsgan": least_squares(-1, 1, 0),
    # Mean squared error against 0 and 1, without the half.
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
    # The generator's pixel loss alone.
    "none": Loss(lambda real, fake: (), lambda real, fake: (), adversarial=False),
}


def _input_gradient(critic, x):
    """[N,H,W,C] -> d critic(x) / dx. critic: [N,H,W,C] -> [N]."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(critic(x))
    return tape.gradient(total, x)


def gradient_penalty(critic, real, fake, mix, target: float = 1.0):
    """WGAN-GP (Gulrajani et al. 2017, eq. 3), without lambda: (|grad| - target)^2 / target^2 at mix real + (1 - mix) fake.

    real, fake: [N,H,W,C]; mix: [N,1,1,1] in [0,1] -> [N].
    """
    gradient = _input_gradient(critic, mix * real + (1 - mix) * fake)
    # The derivative of sqrt at 0 is infinite; below the floor it is cut to 0, and NaN never starts.
    norm = tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]), 1e-12))
    return tf.square(norm - target) / target**2


def zero_centred_penalty(critic, x):
    """R1 at reals, R2 at fakes (Mescheder et al. 2018, eq. 9 and 10), without gamma: |grad|^2 / 2. x: [N,H,W,C] -> [N]."""
    return 0.5 * tf.reduce_sum(tf.square(_input_gradient(critic, x)), axis=[1, 2, 3])


def per_sample(values):
    """[N, ...] -> [N]: the mean over a map of logits (PatchGAN); [N] stays as it is."""
    return tf.reduce_mean(tf.reshape(values, [tf.shape(values)[0], -1]), axis=1) if values.shape.rank > 1 else values


def _added(terms):
    """Terms [N, ...] -> the sum of their means per sample, [N]."""
    return functools.reduce(operator.add, map(per_sample, terms))


def pixel_loss(kind: str, made, wanted, channels: int):
    """'l1' or 'mse' between images [N,H,W,C] of which the last `channels` were made, the others given and alike -> [N]."""
    apart = made[..., -channels:] - wanted[..., -channels:]
    return tf.reduce_mean(tf.abs(apart) if kind == "l1" else tf.square(apart), axis=[1, 2, 3])


def feature_distance(made, wanted):
    """Mean squared difference of the features of both, lists of [N,H,W,C], over all of them -> [N] (Ledig et al. 2017, eq. 5)."""
    return sum(per_sample(tf.cast(tf.math.squared_difference(a, b), tf.float32)) for a, b in zip(made, wanted))


@dataclass(frozen=True)
class Objective:
    """A complete choice: the loss, and what is added to the discriminator's and to the generator's.

    penalty: one of PENALTIES; penalty_weight: lambda of gp, gamma of r1 and r2; penalty_every: k > 1 adds the penalty at
    every k-th step, k times as heavy (lazy regularisation, Karras et al. 2020, section 3.1); drift: weight of f(real)^2
    (Karras et al. 2018, appendix A.1). labels: classes that the discriminator tells apart besides, with class_weight
    (ACGAN, Odena et al. 2017, eq. 2 and 3): its logits are then [N, 1 + labels], of which the first is f.

    adversarial_weight: of the adversarial loss in G's. pixel: G's loss by pixels, one of PIXEL, with pixel_weight.
    content: where the features come from in which G's images should be like the wanted ones, one of CONTENT, with content_weight.
    """

    loss: Loss
    penalty: str = "none"
    penalty_weight: float = 0.0
    penalty_every: int = 1
    penalty_target: float = 1.0
    drift: float = 0.0
    labels: int = 0
    class_weight: float = 1.0
    adversarial_weight: float = 1.0
    pixel: str = "none"
    pixel_weight: float = 1.0
    content: str = "none"
    content_weight: float = 1.0

    @property
    def symmetric(self) -> bool:
        """Whether G's adversarial gradient at the fakes is the negative of D's, but for the weight: not so with classes, which
        both want to be told apart."""
        return self.loss.symmetric and not self.labels

    def source(self, logits):
        """What D says about real or fake: the logits [N, 1 + labels] -> [N], or a map of logits as it is."""
        return logits[:, 0] if logits.shape.rank == 2 else logits

    def _classes(self, logits, labels):
        return self.class_weight * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits[:, 1:])

    def discriminator(self, real_logits, fake_logits, real_labels=None, fake_labels=None):
        """D's losses without the penalty: for every pair of a real and a fake sample, [N]."""
        real, fake = self.source(real_logits), self.source(fake_logits)
        losses = _added(self.loss.discriminator(real, fake))
        if self.drift:
            losses += self.drift * per_sample(tf.square(real))
        if self.labels:
            losses += self._classes(real_logits, real_labels) + self._classes(fake_logits, fake_labels)
        return losses

    def generator(self, real_logits, fake_logits, fake_labels=None):
        """G's losses by logits, [N]. real_logits: may be None where `loss.generator_needs_reals` is false."""
        real = self.source(real_logits) if self.loss.generator_needs_reals else None
        losses = _added(self.loss.generator(real, self.source(fake_logits)))
        losses = self.adversarial_weight * losses
        if self.labels:
            losses += self._classes(fake_logits, fake_labels)
        return losses


PIXEL = ("none", "l1", "mse")
# Features -> their usual weight: that of VGG19 beside an adversarial weight of 1e-3 is published (Ledig et al. 2017, eq. 3).
# With an adversarial weight of 1e-3 and 1e-2 for them, the discriminator's own bring stripes and ragged edges within minutes.
CONTENT = {"none": 1.0, "vgg19": 1.0, "discriminator": 3e-3}
PENALTIES = ("gp", "r1", "r2", "r1+r2", "none")
