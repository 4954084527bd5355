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
    network = keras.Model(vgg.input, vgg.get_layer(LAYER).output)

    def compute_features(images):
        return network((images[..., ::-1] + 1) * 127.5 - tf.constant(_MEAN)) / SCALE

    return compute_features
