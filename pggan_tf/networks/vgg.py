"""VGG19 features (Simonyan and Zisserman 2015) for the content loss of SRGAN."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from pggan_tf.errors import UserError
from pggan_tf.networks import VGG19_FILE

LAYER = "block5_conv4"
SCALE = 12.75  # divisor: features get the scale of pixels (Ledig et al. 2017, section 3.2)
_MEAN = (103.939, 116.779, 123.68)  # mean of ImageNet in the order blue, green, red


def max_pool(x):
    """Return the maxima of x [N, H, W, C] over blocks of 2 x 2 pixels, [N, H // 2, W // 2, C].

    They and their gradients equal those of a max pool: of equal pixels, the first of a block in the
    order of rows gets the gradient. But a max pool's gradient adds numbers in no fixed order on
    GPUs, so TensorFlow refuses it in programs that are to repeat every bit.
    """
    n, (h, w, c) = tf.shape(x)[0], x.shape[1:]
    blocks = tf.reshape(x[:, : h // 2 * 2, : w // 2 * 2], [n, h // 2, 2, w // 2, 2, c])
    (a, b), (c, d) = (tf.unstack(row, axis=3) for row in tf.unstack(blocks, axis=2))
    return tf.maximum(tf.maximum(a, b), tf.maximum(c, d))


def load_features(weights: str | None) -> Callable:
    """Return a function that computes the output of VGG19's layer conv5_4 after its ReLU.

    The function maps images [N, H, W, 3] in -1..1 to features [N, H/16, W/16, 512], float32.

    Args:
        weights: Path of an .h5 file with weights without the top layers; None lets Keras download
            the ImageNet weights.

    Raises:
        UserError: The weights cannot be downloaded or loaded.
    """
    try:
        vgg = keras.applications.VGG19(include_top=False, weights=weights or "imagenet")
    except Exception as error:  # Keras raises many types: no connection, no file, invalid content
        raise UserError(
            f"--content vgg19: the weights of VGG19 cannot be had ({str(error).splitlines()[0][:150]}). "
            f"Give --vgg-weights FILE ({VGG19_FILE}), or --content discriminator."
        ) from None
    vgg.trainable = False
    names = [layer.name for layer in vgg.layers]
    layers = vgg.layers[1 : names.index(LAYER) + 1]  # without the input

    def compute_features(images):
        x = (images[..., ::-1] + 1) * 127.5 - tf.constant(_MEAN)
        for layer in layers:
            x = max_pool(x) if isinstance(layer, keras.layers.MaxPooling2D) else layer(x)
        return x / SCALE

    return compute_features
