"""Networks that keep the contract of image-to-image tasks and whose output is known."""

import sys

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("tests")
class Upscaler(keras.Model):
    """Bilinear or, so that every pixel around counts, `depth` random 3x3 convolutions with zeros around, pixels then repeated."""

    task = "upscale"
    input_channels = 3
    multiple = 1

    def __init__(self, scale=4, depth=0, **kwargs):
        super().__init__(**kwargs)
        self.scale, self.depth, self.context = scale, depth, max(depth, 1)
        for i in range(depth):
            start = keras.initializers.RandomNormal(stddev=0.25, seed=i)
            setattr(self, f"conv_{i}", keras.layers.Conv2D(3, 3, padding="same", kernel_initializer=start))

    def call(self, low):
        x = low * 2 - 1
        for i in range(self.depth):
            x = tf.tanh(getattr(self, f"conv_{i}")(x))
        shape = tf.shape(x)[1:3] * self.scale
        return tf.image.resize(x, shape, "nearest" if self.depth else "bilinear")

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "depth": self.depth}


@keras.saving.register_keras_serializable("tests")
class Colorizer(keras.Model):
    """Reddish, the more the lighter, in blocks of `multiple` pixels; or the same ab everywhere."""

    task = "colorize"
    resolutions = (64,)
    input_channels = 1
    multiple = 16
    scale = 1

    def __init__(self, constant=None, **kwargs):
        super().__init__(**kwargs)
        self.constant = constant

    def call(self, lightness):
        if self.constant is not None:
            return tf.zeros_like(lightness) + tf.constant(self.constant, tf.float32)
        coarse = tf.nn.avg_pool2d(lightness, self.multiple, self.multiple, "VALID")
        a = tf.repeat(tf.repeat(coarse, self.multiple, 1), self.multiple, 2) * 0.4
        tf.debugging.assert_equal(tf.shape(a), tf.shape(lightness), "sides that are no multiple")
        return tf.concat([a, a / 2], -1)

    def get_config(self):
        return {**super().get_config(), "constant": self.constant}


@keras.saving.register_keras_serializable("tests")
class Obedient(Colorizer):
    """Colours a place as its hint says, and leaves the rest gray."""

    input_channels = 4
    multiple = 1

    def call(self, condition):
        return condition[..., 1:3] * condition[..., 3:]


@keras.saving.register_keras_serializable("tests")
class Recolorer(keras.Model):
    """The gray of the pixel to the right as red, half of its own as green."""

    task = "recolor"
    context = 1
    multiple = scale = 1

    def call(self, gray):
        right = tf.pad(gray, [[0, 0], [0, 0], [0, 1], [0, 0]])[:, :, 1:]
        return tf.concat([right, gray / 2, tf.zeros_like(gray)], -1)


@keras.saving.register_keras_serializable("tests")
class Translator(keras.Model):
    """A negative; `whole`: lighter by a tenth of the mean of all that it is given."""

    task = "translate"
    multiple = 16
    scale = 1

    def __init__(self, whole=False, **kwargs):
        super().__init__(**kwargs)
        self.whole = whole

    def call(self, image):
        tf.debugging.assert_equal(tf.shape(image)[1:3] % self.multiple, 0, "sides that are no multiple")
        return -image + (0.1 * tf.reduce_mean(image, [1, 2, 3], keepdims=True) if self.whole else 0.0)

    def get_config(self):
        return {**super().get_config(), "whole": self.whole}


@keras.saving.register_keras_serializable("tests")
class Generator(keras.Model):
    task = "generate"

    def call(self, z):
        return z


def saved(network, folder, example):
    """A run's folder with `network` in it."""
    network(example)
    folder.mkdir(parents=True, exist_ok=True)
    network.save(folder / "generator.keras")
    return folder


def runs(folder):
    """One run of every kind -> {name: folder}."""
    one = np.zeros((1, 64, 64, 1), np.float32)
    kinds = {
        "colorize": (Colorizer(), one),
        "recolor": (Recolorer(), one),
        "upscale": (Upscaler(depth=2), one.repeat(3, -1)),
        "translate": (Translator(), one.repeat(3, -1)),
        "generate": (Generator(), one[0, :, :, 0]),
    }
    return {name: saved(network, folder / name, example) for name, (network, example) in kinds.items()}


if __name__ == "__main__":  # the command line, in a process that knows these classes
    from pggan_tf.commands.cli import main
    from tests import stand_ins  # noqa: F401  registered under its own name

    sys.exit(main(sys.argv[1:]))
