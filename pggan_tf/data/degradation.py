"""What happens to real photos before they are small: blur, noise, JPEG. After the first-order model of Real-ESRGAN (Wang et
al. 2021, section 3.1): x = JPEG(reduce(blur(y)) + noise), of strengths drawn for every image.

`seed` int64 [2] says all that is random.
"""

from __future__ import annotations

from pggan_tf import replicas
from pggan_tf.data import resampling
from pggan_tf.lazy import tf

# Of a photo that is to be enlarged 4 times; of real photos, some are nearly clean, so every range begins near nothing.
BLUR = (0.2, 3.0)  # standard deviation in pixels of the large image, of each axis
NOISE = (0.0, 25.0)  # standard deviation in 255ths
JPEG = (30, 95)  # quality
GRAY_NOISE = 0.4  # share of images whose noise is the same in all channels


def blurred(images, deviations):
    """[N,H,W,C]; deviations [N,2]: of a Gaussian down and across, in pixels. At the border, what lies outside has no weight."""

    def weights(side, deviation):  # [N, side, side]
        distance = tf.cast(tf.range(side)[:, None] - tf.range(side)[None], images.dtype)
        weight = tf.exp(-0.5 * tf.square(distance / deviation[:, None, None]))
        return weight / tf.reduce_sum(weight, axis=2, keepdims=True)

    rows, columns = weights(images.shape[1], deviations[:, 0]), weights(images.shape[2], deviations[:, 1])
    return tf.einsum("nwj,nhjc->nhwc", columns, tf.einsum("nhi,nijc->nhjc", rows, images))


def jpeg(images, quality):
    """[N,H,W,3] in 0..1 and int32 [N] -> what is left of them. On the CPU, and without a gradient."""
    coded = tf.map_fn(
        lambda one: tf.image.adjust_jpeg_quality(*one), (images, quality), fn_output_signature=images.dtype
    )
    return tf.ensure_shape(coded, images.shape)  # what a decoder returns could have any size


def degraded(high, scale: int, filter: str, seed):
    """float32 [N,H,W,3] in 0..1 -> [N,H/scale,W/scale,3] in 0..1. filter: one of pixels.FILTERS."""
    n, height, width = high.shape[0] or tf.shape(high)[0], high.shape[1], high.shape[2]

    def stream_seed(stream):
        return replicas.seed_for(seed, stream)

    def drawn(stream, low, most):  # [N,1,1,1]
        return replicas.uniform((n, 1, 1, 1), stream_seed(stream), low, most)

    deviations = tf.concat([drawn(20, *BLUR), drawn(21, *BLUR)], 1)[:, :, 0, 0] * (scale / 4)
    low = resampling.resized(blurred(high, deviations), (height // scale, width // scale), filter)
    shape = (n, height // scale, width // scale, 3)
    noise = replicas.normal(shape, stream_seed(22))
    noise = tf.where(drawn(23, 0, 1) < GRAY_NOISE, noise[..., :1], noise)
    low = tf.clip_by_value(low + noise * drawn(24, *NOISE) / 255, 0.0, 1.0)
    quality = tf.cast(tf.round(drawn(25, *JPEG)[:, 0, 0, 0]), tf.int32)
    return jpeg(low, quality)
