"""Scale the losses of training in float16, in which small gradients would be 0.

The losses of both networks are multiplied by a scale before they are differentiated, and their
gradients are divided by it. The scale is as large as float16 allows: a gradient that is too large
for it is Inf, so that its step is skipped, which halves the scale; after many good steps in a row
it is doubled (Micikevicius et al. 2018, section 3.2).
"""

from __future__ import annotations

import tensorflow as tf

from pggan_tf.training.optimizer import local_copy

# The scale of a run's first step and the number of good steps, as in TensorFlow's and NVIDIA's
# tools. Powers of two change no digit of a gradient.
FIRST_SCALE = 2.0**15
STEPS_PER_DOUBLING = 2000


class LossScale:
    """The scale and the number of good steps since it last changed, as variables."""

    def __init__(self):
        self.scale = tf.Variable(FIRST_SCALE, trainable=False, name="loss_scale")
        self.good_steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="good_steps")

    def read(self) -> tf.Tensor:
        """Return the scale, a scalar."""
        return local_copy(self.scale).read_value()

    def adapt(self, good, going) -> None:
        """Change the scale after a step.

        Args:
            good: whether the step updated both networks.
            going: whether the step counts at all; if not, nothing changes.
        """
        scale, count = local_copy(self.scale), local_copy(self.good_steps)
        steps = tf.where(good, count + 1, tf.where(going, tf.zeros_like(count), count))
        grows = steps >= STEPS_PER_DOUBLING
        halved = tf.where(going, tf.maximum(scale / 2, 1.0), scale)
        scale.assign(tf.where(good, tf.where(grows, scale * 2, scale), halved))
        count.assign(tf.where(grows, tf.zeros_like(steps), steps))
