"""What the two networks minimise. Losses are pure functions of logits, one value per sample, so any update rule can use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class _TensorFlow:
    """Imported at first use: the command line reads this module's tables and has to answer --help at once."""

    def __getattr__(self, name):
        import tensorflow

        return getattr(tensorflow, name)


tf = _TensorFlow()


@dataclass(frozen=True)
class Adversarial:
    """A pair of losses on logits f: [N] -> [N]. `real` and `fake` are the discriminator's, `generator` is G's on fakes."""

    real: Callable
    fake: Callable
    generator: Callable


def least_squares(a: float, b: float, c: float) -> Adversarial:
    """LSGAN (Mao et al. 2017, eq. 2): D pulls fakes to `a` and reals to `b`, G pulls fakes to `c`; each with a half."""
    return Adversarial(
        real=lambda f: 0.5 * tf.square(f - b),
        fake=lambda f: 0.5 * tf.square(f - a),
        generator=lambda f: 0.5 * tf.square(f - c),
    )


ADVERSARIAL: dict[str, Adversarial] = {
    # Arjovsky et al. 2017, eq. 2 and 3.
    "wgan": Adversarial(real=lambda f: -f, fake=lambda f: f, generator=lambda f: -f),
    "lsgan": least_squares(-1, 1, 0),
    # Mean squared error against 0 and 1, without the half.
    "mse": Adversarial(
        real=lambda f: tf.square(f - 1),
        fake=lambda f: tf.square(f),
        generator=lambda f: tf.square(f - 1),
    ),
    # Goodfellow et al. 2014, section 3: G maximises log D(G(z)). -log sigmoid(f) = softplus(-f).
    "nonsaturating": Adversarial(
        real=lambda f: tf.nn.softplus(-f), fake=lambda f: tf.nn.softplus(f), generator=lambda f: tf.nn.softplus(-f)
    ),
}


def _input_gradient(critic, x):
    """[N,H,W,C] -> d critic(x) / dx in float32. critic: [N,H,W,C] -> [N]."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(critic(x))
    return tf.cast(tape.gradient(total, x), tf.float32)


def gradient_penalty(critic, real, fake, mix, target: float = 1.0):
    """WGAN-GP (Gulrajani et al. 2017, eq. 3), without lambda: (|grad| - target)^2 / target^2 at mix real + (1 - mix) fake.

    real, fake: [N,H,W,C]; mix: [N,1,1,1] in [0,1] -> [N].
    """
    gradient = _input_gradient(critic, mix * real + (1 - mix) * fake)
    # The derivative of sqrt at 0 is infinite; below the floor it is cut to 0, and NaN never starts.
    norm = tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]), 1e-12))
    return tf.square(norm - target) / target**2


def zero_centred_penalty(critic, x):
    """R1 at reals (Mescheder et al. 2018, eq. 9), without gamma: |grad|^2 / 2. x: [N,H,W,C] -> [N]."""
    return 0.5 * tf.reduce_sum(tf.square(_input_gradient(critic, x)), axis=[1, 2, 3])


@dataclass(frozen=True)
class Objective:
    """A complete choice: the pair of losses, and what is added to the discriminator's.

    penalty: 'gp', 'r1' or 'none'; penalty_weight: lambda of gp, gamma of r1; penalty_every: k > 1 adds the penalty at
    every k-th step, k times as heavy (lazy regularisation, Karras et al. 2020, section 4); drift: weight of f(real)^2.
    """

    adversarial: Adversarial
    penalty: str = "none"
    penalty_weight: float = 0.0
    penalty_every: int = 1
    penalty_target: float = 1.0
    drift: float = 0.0


PENALTIES = ("gp", "r1", "none")

# The names of --loss: a pair and the penalty that it is published with.
LOSSES: dict[str, dict] = {
    "wgan-gp": {"adversarial": "wgan", "penalty": "gp", "penalty_weight": 10.0, "penalty_every": 1, "drift": 1e-3},
    "lsgan": {"adversarial": "lsgan", "penalty": "none", "penalty_weight": 0.0, "penalty_every": 1, "drift": 0.0},
    "mse": {"adversarial": "mse", "penalty": "none", "penalty_weight": 0.0, "penalty_every": 1, "drift": 0.0},
    "nonsaturating-r1": {
        "adversarial": "nonsaturating",
        "penalty": "r1",
        "penalty_weight": 0.3,
        "penalty_every": 16,
        "drift": 0.0,
    },
}
