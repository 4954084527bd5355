"""The networks of tasks from images to images, small and with random weights whose output has the contrast of photos."""

import keras

from pggan_tf.networks import recolor, srresnet, unet


def _colorizer():
    return unet.Generator((16,), 2, 1, "colorize", width=8, fmap_max=16, generator_norm="group", dropout=0.0)


def _translator():
    return unet.Generator((16,), 3, 3, "translate", width=8, fmap_max=16, generator_norm="group", dropout=0.0)


NETWORKS = {
    "colorize": _colorizer,
    "recolor": lambda: recolor.Generator((32,), 3, 1, "recolor", width=8),
    "upscale": lambda: srresnet.Generator((32,), 3, 3, "upscale", scale=2, width=8, blocks=1),
    "translate": _translator,
}
_LOUDER = 8.0  # plain layers begin with weights of 0.02


def built(task: str):
    keras.utils.set_random_seed(1)
    network = NETWORKS[task]()
    network.build()
    if task in ("colorize", "translate"):
        for variable in network.trainable_variables:
            if variable.path.endswith("kernel"):
                variable.assign(variable * _LOUDER)
    return network
