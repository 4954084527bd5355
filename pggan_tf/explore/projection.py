"""Project a photo into latent space: find the latent whose image is most similar to it.

The latent is optimised with Adam to minimise the squared error of pixels at several scales. It
starts from the best of many random samples; noise and learning rate decay to zero as in Karras et
al. 2020, "Analyzing and improving the image quality of StyleGAN", appendix D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pggan_tf import synthesis
from pggan_tf.data import pixels

STARTS = 1024  # number of random samples from which the best are chosen as starting points
CANDIDATES = 4  # number of latents that are optimised in parallel; the best one is the result
RATE, NOISE = 0.1, 0.05  # largest learning rate of Adam and largest standard deviation of the noise
NORM = 0.01  # weight of the penalty that keeps the mean square of the latent near 1
_FRAMES = 120  # approximate number of frames of a video


@dataclass(frozen=True)
class Projection:
    """Result of projecting a photo into latent space."""

    latent: np.ndarray  # float32 [L]
    label: int  # class of the latent; 0 for a generator without classes
    start: np.ndarray  # best image before the optimisation, uint8 [H, W, C], with straight alpha if any
    image: np.ndarray  # best image of all, uint8 [H, W, C]
    frames: list[np.ndarray]  # images in between, uint8 [H, W, C]; empty if not requested


def _measure_error(images, target):
    """Return the mean squared error of images, averaged over the scales 1, 1/2, 1/4 and so on.

    Coarse scales guide the optimisation while details do not match yet. If a target value is -1 or
    1, values beyond it are not counted as errors.

    Args:
        images: float [N, H, W, C], roughly in -1..1.
        target: float [1, H, W, C] in -1..1.

    Returns:
        The error of each image, float [N].
    """
    import tensorflow as tf

    beyond = (tf.abs(target) >= 1) & (images * target >= 1)
    difference, scales = tf.where(beyond, 0.0, images - target), []
    while True:
        scales.append(tf.reduce_mean(tf.square(difference), axis=(1, 2, 3)))
        if any(side % 2 or side <= 4 for side in difference.shape[1:3]):
            return tf.add_n(scales) / len(scales)
        difference = tf.nn.avg_pool2d(difference, 2, 2, "VALID")


def project(
    generator,
    target: np.ndarray,
    steps: int,
    labels: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    keep_frames: bool = False,
) -> Projection:
    """Find the latent whose image is most similar to a photo.

    Args:
        generator: A generator from latents.
        target: The photo, uint8 [H, W, C], of the size of one of the generator's stages; with
            alpha, premultiplied.
        steps: Number of optimisation steps.
        labels: Class indices to try, int64 [N]; by default all classes.
        seed: First seed of the starting points, and seed of the noise.
        progress: Function called with (steps done, total steps).
        keep_frames: Whether to return about 120 images of the optimisation for a video.
    """
    import tensorflow as tf

    goal = tf.constant(pixels.to_float(target)[None])

    @tf.function(autograph=False)
    def make_images(z, y):
        return generator(z, resolution=max(target.shape[:2]), **({"labels": y} if generator.classes else {}))

    def measure(z, y):
        return _measure_error(make_images(z, y), goal).numpy()

    z, y = _choose_starts(generator, measure, labels, seed)
    latents, chosen = tf.Variable(z), tf.constant(y)
    step = _build_step(latents, lambda z: make_images(z, chosen), goal, steps, seed)
    frames = []
    for number in range(steps):
        if keep_frames and number * _FRAMES // steps != (number - 1) * _FRAMES // steps:
            frames.append(synthesis.to_pixels(make_images(latents, chosen).numpy()))
        step(tf.constant(number, tf.float32))
        progress(number + 1, steps)
    # The starts come again: of a photo that is nearly one of them, few steps may only lead away.
    # All are drawn together, since the same latent in another batch may differ in its last bits.
    ends = np.concatenate([latents.numpy(), z])
    images = make_images(tf.constant(ends), tf.concat([chosen, chosen], 0))
    errors, images = _measure_error(images, goal).numpy(), synthesis.to_pixels(images.numpy())
    winner = int(np.argmin(errors))
    way = [*(f[winner % len(z)] for f in frames), images[winner]] if keep_frames else []
    start = len(z) + int(np.argmin(errors[len(z) :]))
    return Projection(ends[winner], int(y[winner % len(z)]), images[start], images[winner], way)


def _choose_starts(generator, measure, labels: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the latents and classes of the CANDIDATES samples with the smallest error.

    Args:
        generator: A generator from latents.
        measure: Function of (latents, classes) that returns the errors [N].
        labels: Class indices to try; None for all classes.
        seed: Seed of the first of STARTS samples.
    """
    import tensorflow as tf

    classes = np.arange(max(1, len(generator.classes))) if labels is None else labels
    z = synthesis.latents(range(seed, seed + STARTS), generator.latent_size)
    y = np.resize(classes, STARTS).astype(np.int64)
    parts = [slice(i, i + 32) for i in range(0, STARTS, 32)]
    errors = np.concatenate([measure(tf.constant(z[part]), tf.constant(y[part])) for part in parts])
    best = np.argsort(errors, kind="stable")[:CANDIDATES]
    return z[best], y[best]


def _build_step(latents, make_images, goal, steps: int, seed: int):
    """Return a function that updates the latents by one step of Adam.

    The function takes the number of the step, counted from 0, as a float tensor.

    Args:
        latents: Variable with the latents [N, L].
        make_images: Function from latents to images.
        goal: The target, float [1, H, W, C] in -1..1.
        steps: Total number of steps.
        seed: Seed of the noise.
    """
    import tensorflow as tf

    first, second = tf.Variable(tf.zeros_like(latents)), tf.Variable(tf.zeros_like(latents))

    @tf.function(autograph=False)
    def step(number):
        t = (number + 0.5) / steps
        # The learning rate rises during the first 1/20 of the steps and decays along a cosine
        # during the last quarter.
        rate = RATE * tf.minimum(t / 0.05, 1) * (0.5 - 0.5 * tf.cos(np.pi * tf.minimum((1 - t) / 0.25, 1)))
        # The noise decays to zero during the first three quarters.
        noise = NOISE * tf.square(tf.maximum(0.0, 1 - t / 0.75))
        random = tf.random.stateless_normal(latents.shape, [seed, tf.cast(number, tf.int32)])
        with tf.GradientTape() as tape:
            images = make_images(latents + noise * random)
            norm = tf.square(tf.reduce_mean(tf.square(latents), axis=1) - 1)
            loss = tf.reduce_sum(_measure_error(images, goal) + NORM * norm)
        gradient = tape.gradient(loss, latents)
        first.assign(0.9 * first + 0.1 * gradient)
        second.assign(0.999 * second + 0.001 * tf.square(gradient))
        n = number + 1
        latents.assign_sub(rate * (first / (1 - 0.9**n)) / (tf.sqrt(second / (1 - 0.999**n)) + 1e-8))

    return step
