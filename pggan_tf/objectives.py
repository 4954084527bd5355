"""What the two networks minimise. Losses are pure functions of logits, one value per sample, so any update rule can use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pggan_tf.lazy import tf


@dataclass(frozen=True)
class Adversarial:
    """A pair of losses on logits f, of any shape -> the same shape. `real` and `fake` are the discriminator's, `generator` is G's on fakes.

    symmetric: G's loss is the negative of D's on fakes, but for a constant; one backward pass then serves both.
    middle: the logit at which D takes an image for real as much as for fake, if there is one. relative: every logit is first reduced by the mean of those of the other kind; `generator_real` is G's loss on reals.
    """

    real: Callable
    fake: Callable
    generator: Callable
    generator_real: Callable | None = None
    symmetric: bool = False
    relative: bool = False
    middle: float | None = 0.0


def least_squares(a: float, b: float, c: float) -> Adversarial:
    """LSGAN (Mao et al. 2017, eq. 2): D pulls fakes to `a` and reals to `b`, G pulls fakes to `c`; each with a half."""
    return Adversarial(
        real=lambda f: 0.5 * tf.square(f - b),
        fake=lambda f: 0.5 * tf.square(f - a),
        generator=lambda f: 0.5 * tf.square(f - c),
        middle=(a + b) / 2,
    )


def cross_entropy(saturating: bool = False, smoothing: float = 0.0) -> Adversarial:
    """Goodfellow et al. 2014, eq. 1, or, not saturating, its section 3: G maximises log D(G(z)).

    -log sigmoid(f) = softplus(-f). smoothing: D's target for reals is 1 - smoothing (Salimans et al. 2016, section 3.4).
    """
    return Adversarial(
        real=lambda f: (1 - smoothing) * tf.nn.softplus(-f) + smoothing * tf.nn.softplus(f),
        fake=lambda f: tf.nn.softplus(f),
        generator=(lambda f: -tf.nn.softplus(f)) if saturating else (lambda f: tf.nn.softplus(-f)),
        symmetric=saturating,
    )


ADVERSARIAL: dict[str, Adversarial] = {
    # Arjovsky et al. 2017, eq. 2 and 3.
    "wgan": Adversarial(real=lambda f: -f, fake=lambda f: f, generator=lambda f: -f, symmetric=True, middle=None),
    "lsgan": least_squares(-1, 1, 0),
    # Mean squared error against 0 and 1, without the half.
    "mse": Adversarial(
        real=lambda f: tf.square(f - 1),
        fake=lambda f: tf.square(f),
        generator=lambda f: tf.square(f - 1),
        middle=0.5,
    ),
    "nonsaturating": cross_entropy(),
    "saturating": cross_entropy(saturating=True),
    # Lim and Ye 2017, eq. 5 to 7; Miyato et al. 2018, eq. 16 and 17.
    "hinge": Adversarial(real=lambda f: tf.nn.relu(1 - f), fake=lambda f: tf.nn.relu(1 + f), generator=lambda f: -f),
    # RaGAN (Jolicoeur-Martineau 2019, section 4.4, with cross-entropy).
    "relativistic": Adversarial(
        real=lambda f: tf.nn.softplus(-f),
        fake=lambda f: tf.nn.softplus(f),
        generator=lambda f: tf.nn.softplus(-f),
        generator_real=lambda f: tf.nn.softplus(f),
        relative=True,
        middle=None,
    ),
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


def pixel_loss(kind: str, made, wanted, channels: int):
    """'l1' or 'mse' between images [N,H,W,C] of which the last `channels` were made, the others given and alike -> [N]."""
    apart = made[..., -channels:] - wanted[..., -channels:]
    return tf.reduce_mean(tf.abs(apart) if kind == "l1" else tf.square(apart), axis=[1, 2, 3])


def feature_distance(made, wanted):
    """Mean squared difference of the features of both, lists of [N,H,W,C], over all of them -> [N] (Ledig et al. 2017, eq. 5)."""
    return sum(per_sample(tf.cast(tf.math.squared_difference(a, b), tf.float32)) for a, b in zip(made, wanted))


@dataclass(frozen=True)
class Objective:
    """A complete choice: the pair of losses, and what is added to the discriminator's and to the generator's.

    penalty: one of PENALTIES; penalty_weight: lambda of gp, gamma of r1 and r2; penalty_every: k > 1 adds the penalty at
    every k-th step, k times as heavy (lazy regularisation, Karras et al. 2020, section 3.1); drift: weight of f(real)^2
    (Karras et al. 2018, appendix A.1). labels: classes that the discriminator tells apart besides, with class_weight
    (ACGAN, Odena et al. 2017, eq. 2 and 3): its logits are then [N, 1 + labels], of which the first is f.

    adversarial_weight: of the adversarial loss in G's. pixel: G's loss by pixels, one of PIXEL, with pixel_weight.
    content: where the features come from in which G's images should be like the wanted ones, one of CONTENT, with content_weight.
    """

    adversarial: Adversarial
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
        return self.adversarial.symmetric and not self.labels

    def source(self, logits):
        """What D says about real or fake: the logits [N, 1 + labels] -> [N], or a map of logits as it is."""
        return logits[:, 0] if logits.shape.rank == 2 else logits

    def _classes(self, logits, labels):
        return self.class_weight * tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits[:, 1:])

    def _relative(self, real, fake):
        if not self.adversarial.relative:
            return real, fake
        return real - tf.reduce_mean(fake), fake - tf.reduce_mean(real)

    def discriminator(self, real_logits, fake_logits, real_labels=None, fake_labels=None):
        """D's losses without the penalty: for every pair of a real and a fake sample, [N]."""
        real, fake = self.source(real_logits), self.source(fake_logits)
        r, f = self._relative(real, fake)
        losses = per_sample(self.adversarial.real(r)) + per_sample(self.adversarial.fake(f))
        if self.drift:
            losses += self.drift * per_sample(tf.square(real))
        if self.labels:
            losses += self._classes(real_logits, real_labels) + self._classes(fake_logits, fake_labels)
        return losses

    def generator(self, real_logits, fake_logits, fake_labels=None):
        """G's losses by logits, [N]. real_logits: only looked at by relativistic losses."""
        fake = self.source(fake_logits)
        if self.adversarial.relative:
            r, fake = self._relative(self.source(real_logits), fake)
            losses = per_sample(self.adversarial.generator(fake)) + per_sample(self.adversarial.generator_real(r))
        else:
            losses = per_sample(self.adversarial.generator(fake))
        losses = self.adversarial_weight * losses
        if self.labels:
            losses += self._classes(fake_logits, fake_labels)
        return losses


PIXEL = ("none", "l1", "mse")
# Features -> their usual weight: that of VGG19 beside an adversarial weight of 1e-3 is published (Ledig et al. 2017, eq. 3).
# With an adversarial weight of 1e-3 and 1e-2 for them, the discriminator's own bring stripes and ragged edges within minutes.
CONTENT = {"none": 1.0, "vgg19": 1.0, "discriminator": 3e-3}
PENALTIES = ("gp", "r1", "r2", "r1+r2", "none")

# The names of --loss: a pair and the penalty that it starts with: the published one, or what has done best here (R1, lazily).
_BARE = {"penalty": "none", "penalty_weight": 0.0, "penalty_every": 1, "drift": 0.0}
LOSSES: dict[str, dict] = {
    "wgan-gp": {"adversarial": "wgan", "penalty": "gp", "penalty_weight": 10.0, "penalty_every": 1, "drift": 1e-3},
    "wgan": {"adversarial": "wgan", **_BARE},
    "lsgan": {"adversarial": "lsgan", **_BARE},
    "mse": {"adversarial": "mse", **_BARE},
    "nonsaturating-r1": {
        "adversarial": "nonsaturating",
        "penalty": "r1",
        "penalty_weight": 0.3,
        "penalty_every": 16,
        "drift": 0.0,
    },
    "nonsaturating": {"adversarial": "nonsaturating", **_BARE},
    "saturating": {"adversarial": "saturating", **_BARE},
    "hinge": {"adversarial": "hinge", **_BARE},
    "relativistic": {"adversarial": "relativistic", **_BARE},
    # No discriminator: the generator's pixel loss alone.
    "none": {"adversarial": None, **_BARE},
}
