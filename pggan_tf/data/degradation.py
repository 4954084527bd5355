"""Degrade photos with random blur, noise and JPEG compression, like typical small photos.

This makes small, imperfect photos to train super-resolution on. The strengths of the degradations
are drawn at random for every image. The model is the first-order one of Real-ESRGAN
(Wang et al. 2021, section 3.1): x = JPEG(reduce(blur(y)) + noise), where y is the
photo and x the degraded photo; `second_order` has that of twice. All random numbers are derived from `seed`, int64 [2].
"""

from __future__ import annotations

from pggan_tf import replicas
from pggan_tf.data import resampling
from pggan_tf.lazy import tf

# Ranges for photos that are reduced 4 times. Some real photos are nearly clean, so every range
# starts close to no degradation.
BLUR = (0.2, 3.0)  # standard deviation along each axis, in pixels of the large image
NOISE = (0.0, 25.0)  # standard deviation in units of 1/255
JPEG = (30, 95)  # JPEG quality
LEVEL = 25.0  # standard deviation of noise, in units of 1/255, whose level is 1
GRAY_NOISE = 0.4  # share of images whose noise is the same in all channels


def blur(images, deviations):
    """Return images [N,H,W,C] blurred with Gaussian filters.

    Pixels outside of the image have no weight.

    Args:
        images: [N,H,W,C].
        deviations: standard deviations [N,2] in pixels, vertical and horizontal.
    """

    def make_weights(side, deviation):  # [N, side, side]
        distance = tf.cast(tf.range(side)[:, None] - tf.range(side)[None], images.dtype)
        weight = tf.exp(-0.5 * tf.square(distance / deviation[:, None, None]))
        return weight / tf.reduce_sum(weight, axis=2, keepdims=True)

    rows, columns = make_weights(images.shape[1], deviations[:, 0]), make_weights(images.shape[2], deviations[:, 1])
    return resampling.full_einsum("nwj,nhjc->nhwc", columns, resampling.full_einsum("nhi,nijc->nhjc", rows, images))


def compress_jpeg(images, quality):
    """Compress images as JPEG, decode them again, and return them, [N,H,W,3] in 0..1.

    This runs on the CPU and has no gradient.

    Args:
        images: [N,H,W,3] in 0..1.
        quality: JPEG quality of each image, int32 [N].
    """
    coded = tf.map_fn(
        lambda one: tf.image.adjust_jpeg_quality(*one), (images, quality), fn_output_signature=images.dtype
    )
    # TensorFlow cannot infer the size of decoded images.
    return tf.ensure_shape(coded, images.shape)


def degrade(high, scale: int, filter: str, seed):
    """Reduce and degrade photos, and return them as float32 [N,H/scale,W/scale,3] in 0..1.

    For the arguments, see `degrade_once`.
    """
    return degrade_once(high, scale, filter, seed)[0]


def degrade_once(high, scale: int, filter: str, seed):
    """Reduce and degrade photos.

    Args:
        high: the photos, float32 [N,H,W,3] in 0..1.
        scale: factor by which the photos are reduced.
        filter: resampling filter for reducing, one of pixels.FILTERS.
        seed: int64 [2].

    Returns:
        (degraded photos, float32 [N,H/scale,W/scale,3] in 0..1; level of their noise, float32 [N]: 0
        without noise, 1 with a standard deviation of LEVEL or more).
    """
    n, height, width = high.shape[0] or tf.shape(high)[0], high.shape[1], high.shape[2]

    def make_seed(stream):
        return replicas.seed_for(seed, stream)

    def draw(stream, low, most):  # [N,1,1,1]
        return replicas.uniform((n, 1, 1, 1), make_seed(stream), low, most)

    deviations = tf.concat([draw(20, *BLUR), draw(21, *BLUR)], 1)[:, :, 0, 0] * (scale / 4)
    low = resampling.resize(blur(high, deviations), (height // scale, width // scale), filter)
    shape = (n, height // scale, width // scale, 3)
    noise = replicas.normal(shape, make_seed(22))
    noise = tf.where(draw(23, 0, 1) < GRAY_NOISE, noise[..., :1], noise)
    deviation = draw(24, *NOISE)
    low = tf.clip_by_value(low + noise * deviation / 255, 0.0, 1.0)
    quality = tf.cast(tf.round(draw(25, *JPEG)[:, 0, 0, 0]), tf.int32)
    return compress_jpeg(low, quality), tf.minimum(deviation[:, 0, 0, 0] / LEVEL, 1.0)
