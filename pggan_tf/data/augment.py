"""Differentiable augmentation of what the discriminator sees, reals and fakes alike, for few images.

Fixed (DiffAugment, Zhao et al. 2020, appendix B: colour, translation, cutout), or with a probability that follows how sure
D is of the reals (ADA, Karras et al. 2020b, section 3.2). Images [N,H,W,C] in about -1..1; `seed` int64 [2] says all that is
random.
"""

from __future__ import annotations

from pggan_tf import replicas
from pggan_tf.lazy import tf

ADA_TARGET = 0.6  # of the mean sign of D's logits on reals
ADA_IMAGES = 500_000  # in which the probability can go from 0 to 1

_TRANSLATION = 1 / 8  # of the image's side


def _uniform(seed, stream: int, x, parts: int, low: float, high: float):
    """[N,1,1,1] in low..high, for x [N,...]."""
    seed = replicas.seed_for(seed, stream)
    shape = (x.shape[0] or tf.shape(x)[0], 1, 1, 1)
    return replicas.uniform(shape, seed, low, high, parts)


def brightness(x, seed, parts=1):
    return x + _uniform(seed, 0, x, parts, -0.5, 0.5)


def saturation(x, seed, parts=1):
    gray = tf.reduce_mean(x, axis=3, keepdims=True)
    return gray + (x - gray) * _uniform(seed, 1, x, parts, 0.0, 2.0)


def contrast(x, seed, parts=1):
    mean = tf.reduce_mean(x, axis=[1, 2, 3], keepdims=True)
    return mean + (x - mean) * _uniform(seed, 2, x, parts, 0.5, 1.5)


def _shifts(x, seed, stream: int, share: float, parts: int = 1):
    """Whole pixels down and right, int32 [N] each, up to `share` of a side in both directions."""
    h, w = x.shape[1], x.shape[2]
    down = tf.round(_uniform(seed, stream, x, parts, -share * h, share * h))
    right = tf.round(_uniform(seed, stream + 1, x, parts, -share * w, share * w))
    return tf.cast(down[:, 0, 0, 0], tf.int32), tf.cast(right[:, 0, 0, 0], tf.int32)


def translation(x, seed, parts=1):
    """Moved by up to an eighth of a side; what comes in is 0."""
    h, w = x.shape[1], x.shape[2]
    down, right = _shifts(x, seed, 3, _TRANSLATION, parts)
    rows, columns = tf.range(h)[None] - down[:, None], tf.range(w)[None] - right[:, None]  # [N,H], [N,W]: where from
    # One-hot matrices: a move along each side is a product, and so is its gradient.
    vertical = tf.one_hot(rows, h, dtype=x.dtype)  # [N,H,H], zero rows for what lies outside
    horizontal = tf.one_hot(columns, w, dtype=x.dtype)
    return tf.einsum("nhi,nijc,nwj->nhwc", vertical, x, horizontal)


def cutout(x, seed, parts=1):
    """A square of half a side, anywhere, is 0."""
    h, w = x.shape[1], x.shape[2]
    down, right = _shifts(x, seed, 5, 0.5, parts)

    def within(side, shift):  # [N, side]: half a side around the shifted middle
        offset = tf.range(side)[None] - (side // 2 + shift)[:, None]
        return (offset >= -(side // 4)) & (offset < side // 4)

    rows, columns = within(h, down), within(w, right)
    return x * tf.cast(~(rows[:, :, None] & columns[:, None]), x.dtype)[..., None]


STEPS = (brightness, saturation, contrast, translation, cutout)
PLACES = (translation, cutout)  # of whatever has a place: lightness, pairs of images


def augmented(x, seed, probability=None, parts: int = 1, steps=STEPS):
    """Every step for every image, or each with `probability` (a scalar tensor). parts: batches in x, see replicas.uniform."""
    for number, step in enumerate(steps):
        changed = step(x, seed, parts)
        if probability is not None:
            chance = _uniform(seed, 10 + number, x, parts, 0.0, 1.0)
            changed = tf.where(chance < probability, changed, x)
        x = changed
    return x


def adapted(probability, sign, images: int):
    """The probability `images` further on: up where the mean sign of D's logits on reals is above the target, else down."""
    return tf.clip_by_value(probability + tf.sign(sign - ADA_TARGET) * (images / ADA_IMAGES), 0.0, 1.0)
