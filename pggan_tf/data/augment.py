"""Augment what the discriminator is trained on, reals and fakes alike, so that few images suffice.

Differentiable.

Either every image is augmented (DiffAugment, Zhao et al. 2020, appendix B: colour, translation,
cutout), or each with a probability that follows from how certain D is of the reals (ADA, Karras et
al. 2020b, section 3.2). Images are [N,H,W,C] in about -1..1, and all random numbers follow from
`seed`, int64 [2]. `parts` is explained in replicas.uniform.
"""

from __future__ import annotations

from pggan_tf import replicas
from pggan_tf.lazy import tf

ADA_TARGET = 0.6  # target for the mean sign of D's logits on reals
ADA_IMAGES = 500_000  # images over which the probability can rise from 0 to 1

_TRANSLATION = 1 / 8  # of the image's side


def _draw(seed, stream: int, x, parts: int, low: float, high: float):
    """Draw [N,1,1,1] in low..high for x [N,...]. stream: a number of its own for each use."""
    seed = replicas.seed_for(seed, stream)
    shape = (x.shape[0] or tf.shape(x)[0], 1, 1, 1)
    return replicas.uniform(shape, seed, low, high, parts)


def change_brightness(x, seed, parts=1):
    """Add up to 0.5 in both directions."""
    return x + _draw(seed, 0, x, parts, -0.5, 0.5)


def change_saturation(x, seed, parts=1):
    """Scale the distance from gray by 0 to 2."""
    gray = tf.reduce_mean(x, axis=3, keepdims=True)
    return gray + (x - gray) * _draw(seed, 1, x, parts, 0.0, 2.0)


def change_contrast(x, seed, parts=1):
    """Scale the distance from the image's mean by 0.5 to 1.5."""
    mean = tf.reduce_mean(x, axis=[1, 2, 3], keepdims=True)
    return mean + (x - mean) * _draw(seed, 2, x, parts, 0.5, 1.5)


def _draw_shifts(x, seed, stream: int, share: float, parts: int = 1):
    """Draw shifts down and right in pixels, int32 [N] each, up to `share` of a side both ways."""
    h, w = x.shape[1], x.shape[2]
    down = tf.round(_draw(seed, stream, x, parts, -share * h, share * h))
    right = tf.round(_draw(seed, stream + 1, x, parts, -share * w, share * w))
    return tf.cast(down[:, 0, 0, 0], tf.int32), tf.cast(right[:, 0, 0, 0], tf.int32)


def translate(x, seed, parts=1):
    """Move images by up to an eighth of a side, and fill the gap with 0."""
    h, w = x.shape[1], x.shape[2]
    down, right = _draw_shifts(x, seed, 3, _TRANSLATION, parts)
    # [N,H], [N,W]: the row and the column that each pixel comes from.
    rows, columns = tf.range(h)[None] - down[:, None], tf.range(w)[None] - right[:, None]
    # By one-hot matrices, a move along each side is a product, and so is its gradient.
    vertical = tf.one_hot(rows, h, dtype=x.dtype)  # [N,H,H], zero rows for what lies outside
    horizontal = tf.one_hot(columns, w, dtype=x.dtype)
    return tf.einsum("nhi,nijc,nwj->nhwc", vertical, x, horizontal)


def cut_out(x, seed, parts=1):
    """Set a square of half a side, anywhere in the image, to 0."""
    h, w = x.shape[1], x.shape[2]
    down, right = _draw_shifts(x, seed, 5, 0.5, parts)

    def find_inside(side, shift):  # [N, side]: half a side around the shifted middle
        offset = tf.range(side)[None] - (side // 2 + shift)[:, None]
        return (offset >= -(side // 4)) & (offset < side // 4)

    rows, columns = find_inside(h, down), find_inside(w, right)
    return x * tf.cast(~(rows[:, :, None] & columns[:, None]), x.dtype)[..., None]


STEPS = (change_brightness, change_saturation, change_contrast, translate, cut_out)
# For images whose values are no plain colours: lightness, pairs of images.
PLACES = (translate, cut_out)


def augment_images(x, seed, probability=None, parts: int = 1, steps=STEPS):
    """Apply every step to every image, or with a probability.

    probability: a scalar tensor, drawn for each step and image. parts: how many batches x is made
    of.
    """
    for number, step in enumerate(steps):
        changed = step(x, seed, parts)
        if probability is not None:
            chance = _draw(seed, 10 + number, x, parts, 0.0, 1.0)
            changed = tf.where(chance < probability, changed, x)
        x = changed
    return x


def adapt_probability(probability, sign, images: int):
    """Return the probability `images` later.

    It rises where the mean sign of D's logits on reals is above the target, and falls where it is
    below.
    """
    return tf.clip_by_value(probability + tf.sign(sign - ADA_TARGET) * (images / ADA_IMAGES), 0.0, 1.0)
