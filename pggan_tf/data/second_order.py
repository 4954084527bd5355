"""Degrade photos twice, as photos that were taken, saved, sent and saved again.

This is the second-order model of Real-ESRGAN (Wang et al. 2021, sections 3.1 to 3.3): twice blur, a
random size, noise and JPEG, and a filter that rings at edges as sharpened photos do. The ranges are
those of the authors' options (train_realesrgan_x4plus.yml). Here, an image has a severity of its
own from 0 to 1 that shortens all ranges, so that some photos stay nearly clean.

Sizes differ from image to image, so images are degraded one by one, on the CPU, as JPEG is anyway.
Noise of Poisson's kind is drawn from its limit, a Gaussian whose variance grows with the light.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from pggan_tf import replicas
from pggan_tf.data.degradation import GRAY_NOISE, LEVEL
from pggan_tf.data.resampling import make_weights
from pggan_tf.lazy import tf


@dataclass(frozen=True)
class Round:
    """Ranges of one of the two rounds, for photos that are reduced 4 times."""

    blurred: float  # share of images that are blurred
    blur: float  # largest standard deviation of the blur in pixels
    smallest: float  # smallest size, relative to that of the photo or, in round 2, of the result
    largest: float  # largest size
    smaller: float  # share of images that become smaller
    larger: float  # share of images that become larger
    noise: float  # largest standard deviation of Gaussian noise, in units of 1/255
    poisson: float  # largest scale of Poisson noise


ROUNDS = (
    Round(1.0, 3.0, 0.15, 1.5, 0.7, 0.2, 30.0, 3.0),
    Round(0.8, 1.5, 0.3, 1.2, 0.4, 0.3, 25.0, 2.5),
)
JPEG = (30, 100)  # JPEG quality; 100 stands for no compression
RINGING = 0.1  # share of the blurs that ring
LAST_RINGING = 0.8  # share of images that the last filter makes ring, at severity 1
_RADIUS = 10  # radius of filters in pixels
_FILTERS = ("box", "bilinear", "bicubic")  # that change sizes, besides the filter of the run
_NUMBERS = 64  # random numbers for each image, more than are drawn
_GRAYS = 256.0  # photons of white, of Poisson noise of scale 1


@dataclass(frozen=True)
class _Dice:
    """The random numbers of an image."""

    numbers: Iterator  # scalars in 0..1
    seeds: Iterator  # int32 [2]

    def draw(self, low=0.0, most=1.0):
        """Return the next number, moved from 0..1 to low..most."""
        return low + (most - low) * next(self.numbers)

    def choose(self, share, yes, no):
        """Return `yes` for a share of the images, else `no`."""
        return tf.where(next(self.numbers) < share, yes, no)


def _grid(radius: int):
    """Return the offsets (y, x) of a filter's pixels, float32 [2 radius + 1, 1] and its transpose."""
    offset = tf.range(-radius, radius + 1, dtype=tf.float32)
    return offset[:, None], offset[None]


def make_blur(radius: int, deviations, angle, shape, plateau):
    """Return a filter that blurs, float32 [2 radius + 1, 2 radius + 1], with sum 1.

    Args:
        radius: pixels on each side of the middle.
        deviations: two standard deviations in pixels, along and across.
        angle: direction of the first one, in radians from the x axis.
        shape: exponent beta; 1 for a Gaussian (Wang et al. 2021, section 3.1).
        plateau: whether the filter has a plateau, 1 / (1 + d^beta) of the squared distance d, in
            place of exp(-d^beta / 2).
    """
    y, x = _grid(radius)
    along, across = (tf.maximum(tf.convert_to_tensor(deviation), 1e-3) for deviation in deviations)
    distance = tf.square((x * tf.cos(angle) + y * tf.sin(angle)) / along)
    distance = tf.pow(distance + tf.square((y * tf.cos(angle) - x * tf.sin(angle)) / across), shape)
    weights = tf.where(plateau, 1 / (1 + distance), tf.exp(-0.5 * distance))
    return weights / tf.reduce_sum(weights)


def make_ringing(radius: int, cutoff, reach):
    """Return a filter that cuts frequencies off and rings at edges, with sum 1.

    It is the circular sinc filter (Wang et al. 2021, eq. 6).

    Args:
        radius: pixels on each side of the middle.
        cutoff: highest frequency that is kept, in radians for a pixel, up to pi.
        reach: pixels on each side of the middle that are not 0.
    """
    y, x = _grid(radius)
    distance = tf.sqrt(tf.square(x) + tf.square(y))
    ring = cutoff * tf.math.special.bessel_j1(cutoff * distance) / (2 * math.pi * tf.maximum(distance, 1e-6))
    weights = tf.where(distance == 0, tf.square(cutoff) / (4 * math.pi), ring)
    weights = tf.where(tf.maximum(tf.abs(x), tf.abs(y)) <= reach, weights, 0.0)
    return weights / tf.reduce_sum(weights)


def convolve(image, weights):
    """Return an image [H,W,C] filtered with weights [K,K]; its border is repeated around it."""
    shape, radius = tf.shape(image), weights.shape[0] // 2
    rows, columns = (tf.clip_by_value(tf.range(-radius, shape[i] + radius), 0, shape[i] - 1) for i in (0, 1))
    padded = tf.gather(tf.gather(image, rows), columns, axis=1)
    planes = tf.transpose(padded, (2, 0, 1))[..., None]  # [C,H,W,1]
    out = tf.nn.conv2d(planes, weights[::-1, ::-1, None, None], 1, "VALID")
    return tf.transpose(out[..., 0], (1, 2, 0))


def _blur(image, dice: _Dice, severity, ranges: Round, scale: int):
    """Return an image that was blurred with a random filter."""
    radius, most = _RADIUS * max(1, scale // 4), severity * ranges.blur * scale / 4
    first, second = dice.draw(0.0, most), dice.draw(0.0, most)
    second = dice.choose(0.6, first, second)  # the same in all directions; 0.69 in the authors' options
    kind, generalized, plateau = dice.draw(), dice.draw(0.5, 4.0), dice.draw(1.0, 2.0)
    shape = tf.where(kind < 0.7, 1.0, tf.where(kind < 0.85, generalized, plateau))
    soft = make_blur(radius, (first, second), dice.draw(0.0, math.pi), shape, kind >= 0.85)
    rings = _draw_ringing(dice, severity, radius)
    weights = dice.choose(RINGING * severity, rings, soft)
    nothing = tf.pad(tf.ones((1, 1)), [[radius, radius]] * 2)
    return convolve(image, dice.choose(ranges.blurred, weights, nothing))


def _draw_ringing(dice: _Dice, severity, radius: int):
    """Return a random filter that rings; at severity 1 it cuts off up to two thirds of the frequencies."""
    return make_ringing(radius, math.pi * (1 - 2 / 3 * severity * dice.draw()), tf.floor(dice.draw(3.0, 11.0)))


def _draw_factor(dice: _Dice, severity, ranges: Round):
    """Return the random factor of a size."""
    smaller = dice.draw(1 - severity * (1 - ranges.smallest), 1.0)
    larger = dice.draw(1.0, 1 + severity * (ranges.largest - 1))
    kind = dice.draw()
    return tf.where(kind < ranges.smaller, smaller, tf.where(kind < ranges.smaller + ranges.larger, larger, 1.0))


def _resize(image, size, dice: _Dice, severity, filter: str):
    """Return an image [H,W,C] resized to `size`, two numbers, with a random filter.

    The filter is the run's own, or, more often the more severe, one of _FILTERS.
    """
    kind = dice.choose(severity, tf.floor(dice.draw(0.0, float(len(_FILTERS)))), -1.0)

    def weigh(source, target):
        weights = make_weights(source, target, filter)
        for number, name in enumerate(_FILTERS):
            weights = tf.where(kind == number, make_weights(source, target, name), weights)
        return weights

    shape = tf.shape(image)
    rows, columns = weigh(shape[0], size[0]), weigh(shape[1], size[1])
    return tf.einsum("wj,hjc->hwc", columns, tf.einsum("hi,ijc->hjc", rows, image))


def _add_noise(image, dice: _Dice, severity, ranges: Round):
    """Return (image with Gaussian or Poisson noise, standard deviation of the noise)."""
    noise = tf.random.stateless_normal(tf.shape(image), next(dice.seeds), alg="philox")
    noise = dice.choose(GRAY_NOISE, noise[..., :1] + tf.zeros_like(noise), noise)
    gaussian = dice.draw(0.0, severity * ranges.noise) / 255
    light = tf.clip_by_value(image, 0.0, 1.0)
    poisson = dice.draw(0.0, severity * ranges.poisson) * tf.sqrt(light / _GRAYS)
    deviation = dice.choose(0.5, gaussian + tf.zeros_like(image), poisson)
    return tf.clip_by_value(image + noise * deviation, 0.0, 1.0), tf.sqrt(tf.reduce_mean(tf.square(deviation)))


def _compress(image, dice: _Dice, severity):
    """Return an image that was saved as JPEG of a random quality; of quality 100, as it is."""
    quality = tf.cast(tf.round(JPEG[1] - severity * dice.draw(0.0, float(JPEG[1] - JPEG[0]))), tf.int32)
    image = tf.clip_by_value(image, 0.0, 1.0)
    return tf.where(quality < 100, tf.image.adjust_jpeg_quality(image, quality), image)


def _degrade_one(image, scale: int, filter: str, strength: float, numbers, seeds):
    """Return (photo [H/scale,W/scale,3] in 0..1, level of its noise) of a photo [H,W,3] in 0..1."""
    dice = _Dice(iter(tf.unstack(numbers)), iter(tf.unstack(seeds)))
    height, width = image.shape[0], image.shape[1]
    severity = strength * dice.draw()

    def find_size(factor):
        return [tf.maximum(tf.cast(tf.round(side * factor), tf.int32), 1) for side in (float(height), float(width))]

    first, second = ROUNDS
    x = _blur(image, dice, severity, first, scale)
    before = _draw_factor(dice, severity, first)
    x, noise = _add_noise(_resize(x, find_size(before), dice, severity, filter), dice, severity, first)
    x = _blur(_compress(x, dice, severity), dice, severity, second, scale)
    after = _draw_factor(dice, severity, second) / scale
    x, more = _add_noise(_resize(x, find_size(after), dice, severity, filter), dice, severity, second)
    # A smaller photo has less noise, for its pixels are means of others.
    noise = tf.minimum(after / before, 1.0) * noise
    level = tf.sqrt(tf.square(noise) + tf.square(more)) * tf.minimum(1 / (scale * after), 1.0) * 255 / LEVEL

    rings = _draw_ringing(dice, severity, _RADIUS)
    nothing = tf.pad(tf.ones((1, 1)), [[_RADIUS, _RADIUS]] * 2)
    rings = dice.choose(LAST_RINGING * severity, rings, nothing)
    compressed_first = dice.draw() < 0.5
    x = tf.where(compressed_first, _compress(x, dice, severity), x)
    x = convolve(_resize(x, (height // scale, width // scale), dice, severity, filter), rings)
    x = tf.where(compressed_first, tf.clip_by_value(x, 0.0, 1.0), _compress(x, dice, severity))
    return tf.round(x * 255) / 255, tf.minimum(level, 1.0)


@functools.cache
def _trace(scale: int, filter: str, strength: float, height: int, width: int):
    """Return `_degrade_one` for batches as a graph, for one operation after the other takes seconds.

    It is traced once for all numbers of images.
    """

    def degrade_each(high, numbers, seeds):
        return tf.map_fn(
            lambda one: _degrade_one(one[0], scale, filter, strength, one[1], tf.reshape(one[2], (2, 2))),
            (high, numbers, seeds),
            fn_output_signature=(tf.float32, tf.float32),
        )

    sizes = (
        tf.TensorSpec((None, height, width, 3)),
        tf.TensorSpec((None, _NUMBERS)),
        tf.TensorSpec((None, 4), tf.int32),
    )
    return tf.function(degrade_each, input_signature=sizes, autograph=False)


def degrade(high, scale: int, filter: str, seed, strength: float = 1.0):
    """Reduce and degrade photos twice.

    Args:
        high: the photos, float32 [N,H,W,3] in 0..1.
        scale: factor by which the photos are reduced.
        filter: resampling filter for reducing, one of pixels.FILTERS.
        seed: int64 [2].
        strength: factor of all ranges; 0 only reduces the photos.

    Returns:
        (degraded photos, float32 [N,H/scale,W/scale,3] in 0..1; level of their noise, float32 [N]),
        see `degradation.degrade_once`.
    """
    n = high.shape[0] or tf.shape(high)[0]
    with tf.device("/CPU:0"):
        numbers = replicas.uniform((n, _NUMBERS), replicas.seed_for(seed, 50))
        # As many bits as a float32 holds.
        seeds = tf.cast(replicas.uniform((n, 4), replicas.seed_for(seed, 51), 0.0, float(1 << 23)), tf.int32)
        low, level = _trace(scale, filter, strength, *high.shape[1:3])(high, numbers, seeds)
    return tf.ensure_shape(low, (high.shape[0], high.shape[1] // scale, high.shape[2] // scale, 3)), level
