"""Resizing in TensorFlow against Pillow's."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pggan_tf.data import pixels, resampling

IMAGES = np.random.default_rng(0).random((2, 36, 60, 3)).astype(np.float32)


def pillow(image, size, filter):
    planes = [Image.fromarray(image[..., c]).resize(size[::-1], Image.Resampling[filter.upper()]) for c in range(3)]
    return np.stack([np.asarray(p) for p in planes], -1)


@pytest.mark.parametrize("filter", pixels.FILTERS)
@pytest.mark.parametrize("size", [(9, 15), (18, 30), (13, 17), (144, 240)], ids=str)
def test_it_is_pillows_own(filter, size):
    ours = resampling.resize(tf.constant(IMAGES), size, filter)
    assert ours.shape == (2, *size, 3)
    for mine, image in zip(ours.numpy(), IMAGES):
        np.testing.assert_allclose(mine, pillow(image, size, filter), atol=2e-6)


@pytest.mark.parametrize("filter", pixels.FILTERS)
def test_weights_sum_to_one(filter):
    np.testing.assert_allclose(resampling.make_matrix(96, 24, filter).sum(1), 1, atol=1e-6)


def test_a_box_is_the_mean_and_bicubic_is_keys():
    np.testing.assert_allclose(resampling.make_matrix(8, 2, "box"), np.kron(np.eye(2), np.full(4, 0.25)), atol=1e-7)
    # Keys 1981 with a = -1/2, at 1/8 of a pixel, as MATLAB and Pillow have it (OpenCV: -3/4).
    t = np.abs(np.arange(-1, 3) - 0.125)
    keys = np.where(t <= 1, 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2)
    np.testing.assert_allclose(resampling.make_matrix(16, 64, "bicubic")[30, 6:10], keys, atol=1e-6)


def test_it_is_differentiable():
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(resampling.resize(images, (9, 15), "lanczos"))
    rows, columns = resampling.make_matrix(36, 9, "lanczos").sum(0), resampling.make_matrix(60, 15, "lanczos").sum(0)
    expected = np.broadcast_to((rows[:, None] * columns[None])[None, :, :, None], IMAGES.shape)
    np.testing.assert_allclose(tape.gradient(total, images), expected, atol=1e-5)


def test_rows_of_an_enlarged_picture_are_those_of_the_whole():
    whole = pixels.resize_rows(IMAGES[0], (250, 90), "bicubic", 0, 250)
    np.testing.assert_allclose(whole, pillow(IMAGES[0], (250, 90), "bicubic"), atol=1e-6)
    parts = [pixels.resize_rows(IMAGES[0], (250, 90), "bicubic", top, min(top + 33, 250)) for top in range(0, 250, 33)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
