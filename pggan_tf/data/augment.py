"""Augment the images that the discriminator sees, real and generated, to train on few images.

All augmentations are differentiable. Either every image is augmented (DiffAugment, Zhao et al.
2020, appendix B: colour, translation, cutout), or each step is applied to each image with a
probability that is adapted to how confident D is on real images (ADA, Karras et al. 2020b, section
3.2).

All functions that change images return images of the same shape and type. They have the arguments
of `augment_images`.
"""

from __future__ import annotations

from pggan_tf import replicas
from pggan_tf.data.resampling import full_einsum
from pggan_tf.lazy import tf

ADA_TARGET = 0.6  # target for the mean sign of D's logits on reals
ADA_BATCH = 256  # least number of images whose signs are averaged (Karras et al. 2020: four batches of 64)

_TRANSLATION = 1 / 8  # largest shift, as a share of the image's side


def _draw(seed, stream: int, x, parts: int, low: float, high: float):
    """Return a random number, uniform in low..high, for each image of x: float32 [N,1,1,1].

    stream: number that is different for every use, so that uses with the same seed have independent
    random numbers. For x, seed and parts, see `augment_images`.
    """
    seed = replicas.seed_for(seed, stream)
    shape = (x.shape[0] or tf.shape(x)[0], 1, 1, 1)
    return replicas.uniform(shape, seed, low, high, parts)


def change_brightness(x, seed, parts=1):
    """Return images with a random number in -0.5..0.5 added to all values of each image.

    For the arguments, see `augment_images`.
    """
    return x + _draw(seed, 0, x, parts, -0.5, 0.5)


def change_saturation(x, seed, parts=1):
    """Return images whose colours are faded or strengthened by a random factor in 0..2 per image.

    The distance of each pixel from its gray value is multiplied by the factor. For the arguments,
    see `augment_images`.
    """
    gray = tf.reduce_mean(x, axis=3, keepdims=True)
    return gray + (x - gray) * _draw(seed, 1, x, parts, 0.0, 2.0)


def change_contrast(x, seed, parts=1):
    """Return images whose contrast is multiplied by a random factor in 0.5..1.5 per image.

    The distance of all values from the image's mean is multiplied by the factor. For the arguments,
    see `augment_images`.
    """
    mean = tf.reduce_mean(x, axis=[1, 2, 3], keepdims=True)
    return mean + (x - mean) * _draw(seed, 2, x, parts, 0.5, 1.5)


def _draw_shifts(x, seed, stream: int, share: float, parts: int = 1):
    """Draw a random shift for each image.

    Args:
        x: images [N,H,W,C].
        seed: int64 [2].
        stream: number that is different for every use, see `_draw`; stream + 1 is used too.
        share: largest shift in all four directions, as a share of the image's side.
        parts: number of batches that are concatenated in x, see `augment_images`.

    Returns:
        (shifts down, shifts to the right), int32 [N] in pixels each; negative shifts are up and to
        the left.
    """
    h, w = x.shape[1], x.shape[2]
    down = tf.round(_draw(seed, stream, x, parts, -share * h, share * h))
    right = tf.round(_draw(seed, stream + 1, x, parts, -share * w, share * w))
    return tf.cast(down[:, 0, 0, 0], tf.int32), tf.cast(right[:, 0, 0, 0], tf.int32)


def translate(x, seed, parts=1):
    """Return images shifted at random by up to an eighth of their side along both axes.

    Gaps are filled with 0. For the arguments, see `augment_images`.
    """
    h, w = x.shape[1], x.shape[2]
    down, right = _draw_shifts(x, seed, 3, _TRANSLATION, parts)
    # [N,H] and [N,W]: the row and the column of x that each output pixel comes from.
    rows, columns = tf.range(h)[None] - down[:, None], tf.range(w)[None] - right[:, None]
    # With one-hot matrices, a shift along an axis is a matrix product, and so is its gradient.
    vertical = tf.one_hot(rows, h, dtype=x.dtype)  # [N,H,H], zero rows outside of the image
    horizontal = tf.one_hot(columns, w, dtype=x.dtype)
    return full_einsum("nhi,nijc,nwj->nhwc", vertical, x, horizontal)


def cut_out(x, seed, parts=1):
    """Return images in which a part of half their height and width, at a random place, is 0.

    For the arguments, see `augment_images`.
    """
    h, w = x.shape[1], x.shape[2]
    down, right = _draw_shifts(x, seed, 5, 0.5, parts)

    def find_inside(side, shift):  # [N, side]: True in the half side around the shifted middle
        half = int(side * 0.5 + 0.5)
        offset = tf.range(side)[None] - (side // 2 + shift)[:, None]
        return (offset >= -(half // 2)) & (offset < half - half // 2)

    rows, columns = find_inside(h, down), find_inside(w, right)
    return x * tf.cast(~(rows[:, :, None] & columns[:, None]), x.dtype)[..., None]


STEPS = (change_brightness, change_saturation, change_contrast, translate, cut_out)
# The steps that only move or remove pixels, for images that are not plain RGB: lightness, or pairs
# of images.
PLACES = (translate, cut_out)


# The same steps for premultiplied images with alpha, in -1..1 like their colours. A colour of the
# opaque image changes as in images without alpha, and alpha only with places: what is moved in from
# outside or cut out is transparent, which is -1 in all channels.


def _split(x):
    """Return (colours in 0..1, alpha in 0..1), both premultiplied, of images [N,H,W,C] in -1..1."""
    unit = 0.5 * x + 0.5
    return unit[..., :-1], unit[..., -1:]


def _join(colour, opacity):
    """Return images [N,H,W,C] in -1..1; the inverse of `_split`."""
    return 2.0 * tf.concat([colour, opacity], axis=3) - 1.0


def change_brightness_under_alpha(x, seed, parts=1):
    """Do what `change_brightness` does, in proportion to alpha."""
    colour, opacity = _split(x)
    return _join(colour + 0.5 * _draw(seed, 0, x, parts, -0.5, 0.5) * opacity, opacity)


def change_saturation_under_alpha(x, seed, parts=1):
    """Do what `change_saturation` does, without alpha."""
    return tf.concat([change_saturation(x[..., :-1], seed, parts), x[..., -1:]], axis=3)


def change_contrast_under_alpha(x, seed, parts=1):
    """Do what `change_contrast` does; the mean is that of the visible part of an image."""
    colour, opacity = _split(x)
    area = tf.reduce_sum(opacity, axis=[1, 2, 3], keepdims=True) * (x.shape[3] - 1)
    # Generated images may be transparent everywhere, and alpha slightly below 0.
    mean = tf.reduce_sum(colour, axis=[1, 2, 3], keepdims=True) / tf.maximum(area, 1.0) * opacity
    return _join(mean + (colour - mean) * _draw(seed, 2, x, parts, 0.5, 1.5), opacity)


def translate_transparent(x, seed, parts=1):
    """Do what `translate` does, and fill gaps with transparency."""
    return translate(x + 1.0, seed, parts) - 1.0


def cut_out_transparent(x, seed, parts=1):
    """Do what `cut_out` does, and make the part transparent."""
    return cut_out(x + 1.0, seed, parts) - 1.0


ALPHA_STEPS = (
    change_brightness_under_alpha,
    change_saturation_under_alpha,
    change_contrast_under_alpha,
    translate_transparent,
    cut_out_transparent,
)


def augment_images(x, seed, probability=None, parts: int = 1, steps=STEPS):
    """Apply all steps to every image, or each step to each image with a probability.

    Args:
        x: images [N,H,W,C] in about -1..1.
        seed: int64 [2], from which all random numbers are derived.
        probability: scalar tensor in 0..1, with which each step is applied to each image; None
            applies all steps to every image.
        parts: number of batches that are concatenated in x. If several devices share the training,
            each needs this number to draw the random numbers that belong to its own images.
        steps: functions of this module that change images, applied in this order.

    Returns:
        The augmented images [N,H,W,C].
    """
    for number, step in enumerate(steps):
        changed = step(x, seed, parts)
        if probability is not None:
            chance = _draw(seed, 10 + number, x, parts, 0.0, 1.0)
            changed = tf.where(chance < probability, changed, x)
        x = changed
    return x


def adapt_probability(probability, signs, rise: int):
    """Adapt the augmentation probability once enough images have been seen.

    It rises if the mean sign of D's logits on real images is above ADA_TARGET, and falls if it is below.
    The sign of few images says little: of one, it is always above or below.

    Args:
        probability: the probability so far, a scalar tensor in 0..1.
        signs: sum of the signs and number of the images since it was last adapted, [2].
        rise: number of images over which it can rise from 0 to 1.

    Returns:
        (the probability, [0, 0]) if there are at least ADA_BATCH images, else (probability, signs).
    """
    total, images = tf.unstack(signs)
    enough, mean = images >= ADA_BATCH, total / tf.maximum(images, 1.0)
    adapted = tf.clip_by_value(probability + tf.sign(mean - ADA_TARGET) * (images / rise), 0.0, 1.0)
    return tf.where(enough, adapted, probability), tf.where(enough, tf.zeros_like(signs), signs)
