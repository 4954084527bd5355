"""Refit the layers that turn features into images at the earlier stages of a growing generator."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pggan_tf import shapes

_IMAGES = 512  # number of images for refitting
_BATCH, _PIXELS = 16, 1 << 20  # most images and pixels of a batch


def refit_to_image(generator, latents, labels) -> None:
    """Refit the to_image layers of earlier stages to the images of the last stage.

    The to_image layer of a stage is no longer trained once the next stage has faded in, but the
    blocks before it keep changing. Its new weights are a least-squares fit from the features of
    its stage to the images of the last stage, which are reduced to the stage's resolution by
    block averages.

    Args:
        generator: The `Generator` of `pggan_tf.networks.progressive`.
        latents: [N, latent_size]; the first 512 are used.
        labels: Class indices of the latents, int64 [N]; None without classes.
    """
    latents = latents[:_IMAGES]
    *stages, last = generator.stages
    # Sum of [x' x, x' y] for each stage; x are features (with a 1 for the bias), y images.
    products: dict = {stage.resolution: 0.0 for stage in stages}
    run = tf.function(
        lambda z, y: (
            generator.compute_features(z, last.resolution, labels=y),
            generator(z, resolution=last.resolution, labels=y),
        ),
        autograph=False,
    )
    size = shapes.limit_images(_BATCH, generator.shape_at(last.resolution), _PIXELS)
    for i in range(0, len(latents), size):
        here = slice(i, i + size)
        features, images = run(tf.constant(latents[here]), None if labels is None else labels[here])
        for stage, x in zip(stages, features):
            x = x.numpy().reshape(-1, x.shape[-1]).astype(np.float64)
            x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
            r, f = stage.resolution, last.resolution // stage.resolution
            h, w = generator.shape_at(r)
            y = images.numpy().reshape(-1, h, f, w, f, generator.channels).mean((2, 4)).reshape(-1, generator.channels)
            y = np.arctanh(y.clip(-0.99, 0.99)) if generator.generator_norm == "batch" else y
            products[r] += np.concatenate([x.T @ x, x.T @ y], axis=1)
    for stage in stages:
        product = products[stage.resolution]
        left, right = product[:, : -generator.channels], product[:, -generator.channels :]
        ridge = 1e-6 * np.trace(left) / len(left) * np.eye(len(left))
        solution = np.linalg.lstsq(left + ridge, right, rcond=None)[0]
        stage.image.layer.set_kernel(solution[None, None, :-1], solution[-1])
