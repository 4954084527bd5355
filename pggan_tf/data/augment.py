"""Augment the images that the discriminator sees, real and generated, to train on few images.

All augmentations are differentiable. Either every image is augmented (DiffAugment, Zhao et al.
2020, appendix B: colour, translation, cutout), or each step is applied to each image with a
probability that is adapted to how confident D is on real images (ADA, Karras et al. 2020b, section
3.2).

Images are [N,H,W,C] in about -1..1. All random numbers are derived from `seed`, int64 [2]. For
`parts`, see `replicas.uniform`.
"""

from __future__ import annotations

from pggan_tf import replicas
from pggan_tf.lazy import tf

ADA_TARGET = 0.6  # target for the mean sign of D's logits on reals
ADA_IMAGES = 500_000  # images over which the probability can rise from 0 to 1

_TRANSLATION = 1 / 8  # largest shift, as a share of the image's side


def _draw(seed, stream: int, x, parts: int, low: float, high: float):
    """Draw one uniform random number in low..high for each image of x: [N,1,1,1].

    Every use has its own `stream` number, which makes its random numbers independent of the others.
    """
    seed = replicas.seed_for(seed, stream)
    shape = (x.shape[0] or tf.shape(x)[0], 1, 1, 1)
    return replicas.uniform(shape, seed, low, high, parts)


def change_brightness(x, seed, parts=1):
    """Add a random number in -0.5..0.5 to all values of each image."""
    return x + _draw(seed, 0, x, parts, -0.5, 0.5)


def change_saturation(x, seed, parts=1):
    """Scale the distance of each pixel from its gray value by a random factor in 0..2."""
    gray = tf.reduce_mean(x, axis=3, keepdims=True)
    return gray + (x - gray) * _draw(seed, 1, x, parts, 0.0, 2.0)


def change_contrast(x, seed, parts=1):
    """Scale the distance of all values from the image's mean by a random factor in 0.5..1.5."""
    mean = tf.reduce_mean(x, axis=[1, 2, 3], keepdims=True)
    return mean + (x - mean) * _draw(seed, 2, x, parts, 0.5, 1.5)


def _draw_shifts(x, seed, stream: int, share: float, parts: int = 1):
    """Draw random shifts in pixels, downwards and to the right: int32 [N] each.

    share: largest shift in both directions, as a share of the image's side.
    """
    h, w = x.shape[1], x.shape[2]
    down = tf.round(_draw(seed, stream, x, parts, -share * h, share * h))
    right = tf.round(_draw(seed, stream + 1, x, parts, -share * w, share * w))
    return tf.cast(down[:, 0, 0, 0], tf.int32), tf.cast(right[:, 0, 0, 0], tf.int32)


def translate(x, seed, parts=1):
    """Shift each image by up to an eighth of its side along both axes, and fill the gap with 0."""
    h, w = x.shape[1], x.shape[2]
    down, right = _draw_shifts(x, seed, 3, _TRANSLATION, parts)
    # [N,H] and [N,W]: the row and the column of x that each output pixel comes from.
    rows, columns = tf.range(h)[None] - down[:, None], tf.range(w)[None] - right[:, None]
    # With one-hot matrices, a shift along an axis is a matrix product, and so is its gradient.
    vertical = tf.one_hot(rows, h, dtype=x.dtype)  # [N,H,H], zero rows outside of the image
    horizontal = tf.one_hot(columns, w, dtype=x.dtype)
    return tf.einsum("nhi,nijc,nwj->nhwc", vertical, x, horizontal)


def cut_out(x, seed, parts=1):
    """Set a square of half the image's side, at a random position, to 0."""
    h, w = x.shape[1], x.shape[2]
    down, right = _draw_shifts(x, seed, 5, 0.5, parts)

    def find_inside(side, shift):  # [N, side]: True in the half side around the shifted middle
        offset = tf.range(side)[None] - (side // 2 + shift)[:, None]
        return (offset >= -(side // 4)) & (offset < side // 4)

    rows, columns = find_inside(h, down), find_inside(w, right)
    return x * tf.cast(~(rows[:, :, None] & columns[:, None]), x.dtype)[..., None]


STEPS = (change_brightness, change_saturation, change_contrast, translate, cut_out)
# The steps that do not change pixel values, for images that are not plain RGB: lightness, or pairs
# of images.
PLACES = (translate, cut_out)


def augment_images(x, seed, probability=None, parts: int = 1, steps=STEPS):
    """Apply all steps to every image, or each step to each image with a probability.

    Args:
        x: images [N,H,W,C] in about -1..1.
        seed: int64 [2].
        probability: scalar tensor; None applies all steps to every image.
        parts: number of batches that are concatenated in x.
        steps: augmentation functions, applied in this order.
    """
    for number, step in enumerate(steps):
        changed = step(x, seed, parts)
        if probability is not None:
            chance = _draw(seed, 10 + number, x, parts, 0.0, 1.0)
            changed = tf.where(chance < probability, changed, x)
        x = changed
    return x


def adapt_probability(probability, sign, images: int):
    """Return the augmentation probability, 0..1, after `images` more images.

    It rises while `sign`, the mean sign of D's logits on real images, is above ADA_TARGET, and
    falls while it is below.
    """
    return tf.clip_by_value(probability + tf.sign(sign - ADA_TARGET) * (images / ADA_IMAGES), 0.0, 1.0)
