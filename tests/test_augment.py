import functools

import numpy as np
import pytest
import tensorflow as tf

from pggan_tf.data import augment

SEED = tf.constant([3, 4], tf.int64)
IMAGES = tf.random.stateless_uniform((64, 16, 16, 3), (1, 2), -1.0, 1.0)


@pytest.mark.parametrize("step", augment.STEPS, ids=lambda s: s.__name__)
def test_every_step_is_repeatable_varied_and_differentiable(step):
    once, again = step(IMAGES, SEED), step(IMAGES, SEED)
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - step(IMAGES, SEED + 1)).max() > 0.1
    with tf.GradientTape() as tape:
        tape.watch(IMAGES)
        y = tf.reduce_sum(step(IMAGES, SEED) * tf.random.stateless_normal(IMAGES.shape, (5, 6)))
    gradient = tape.gradient(y, IMAGES)
    assert np.isfinite(gradient).all() and np.any(gradient)


def test_translation_moves_whole_pixels():
    down, right = augment._draw_shifts(IMAGES, SEED, 3, 1 / 8)
    assert np.abs(down).max() == 2 and len(set(down.numpy())) == 5
    moved = augment.translate(IMAGES, SEED).numpy()
    for image, out, d, r in zip(IMAGES.numpy(), moved, down.numpy(), right.numpy()):
        expected = np.zeros_like(image)
        expected[max(d, 0) : 16 + min(d, 0), max(r, 0) : 16 + min(r, 0)] = image[
            max(-d, 0) : 16 + min(-d, 0), max(-r, 0) : 16 + min(-r, 0)
        ]
        np.testing.assert_allclose(out, expected, atol=1e-6)


def test_cutout_takes_a_quarter_where_it_lies_inside():
    gone = (augment.cut_out(tf.ones((200, 16, 16, 3)), SEED).numpy() == 0).all(-1).mean((1, 2))
    assert gone.max() == 0.25 and 0.1 < gone.mean() < 0.25


def test_colours():
    gray = tf.fill((8, 4, 4, 3), 0.25)
    np.testing.assert_allclose(augment.change_saturation(gray, SEED), gray, atol=1e-6)
    np.testing.assert_allclose(augment.change_contrast(gray, SEED), gray, atol=1e-6)
    shift = (augment.change_brightness(gray, SEED) - gray).numpy()
    assert np.ptp(shift, axis=(1, 2, 3)).max() < 1e-6 and np.abs(shift).max() <= 0.5


def test_the_probability_says_how_many():
    np.testing.assert_array_equal(augment.augment_images(IMAGES, SEED, tf.constant(0.0)), IMAGES)
    np.testing.assert_allclose(
        augment.augment_images(IMAGES, SEED, tf.constant(1.0)), augment.augment_images(IMAGES, SEED)
    )
    many = tf.repeat(IMAGES, 100, axis=0)
    same = np.all(augment.augment_images(many, SEED, tf.constant(0.1)) == many, axis=(1, 2, 3)).mean()
    assert same == pytest.approx(0.9**5, abs=0.03)  # of four steps 0.66, of six 0.53


def test_the_probability_follows_the_reals():
    for before, mean, after in ((0.5, 1.0, 0.51), (0.5, 0.4, 0.49), (0.0, 0.4, 0.0)):
        found, left = augment.adapt_probability(tf.constant(before), tf.constant([5000 * mean, 5000.0]), 500_000)
        assert float(found) == pytest.approx(after) and not np.any(left)
    sooner, _ = augment.adapt_probability(tf.constant(0.5), tf.constant([5000.0, 5000.0]), 80_000)
    assert float(sooner) == pytest.approx(0.5 + 5 / 80)
    few = tf.constant([255.0, 255.0])
    found, left = augment.adapt_probability(tf.constant(0.5), few, 500_000)
    np.testing.assert_array_equal(left, few)
    assert float(found) == 0.5


@pytest.mark.parametrize("batch", [1, 4, 8])
@pytest.mark.parametrize("sign, rises", [(0.75, True), (0.45, False)])
def test_the_probability_does_not_depend_on_the_batch(batch, sign, rises):
    """The mean sign of one image is 1 or -1, whatever that of many is."""
    signs = np.where(np.random.default_rng(batch).uniform(size=(5_000, batch)) < (1 + sign) / 2, 1.0, -1.0).mean(1)
    adapt = tf.function(functools.partial(augment.adapt_probability, rise=500_000))
    probability, state = tf.constant(0.5), tf.zeros(2)
    for mean in signs.astype(np.float32):
        probability, state = adapt(probability, state + tf.constant([mean * batch, batch], tf.float32))
    moved = (float(probability) - 0.5) * 500_000 / (5_000 * batch)
    assert (moved > 0.6) if rises else (moved < -0.6)


@pytest.mark.parametrize("side, half", [(3, 2), (4, 2), (6, 3), (7, 4), (10, 5), (16, 8)])
def test_cutout_takes_half_of_any_side(side, half):
    gone = (augment.cut_out(tf.ones((200, side, side, 3)), SEED).numpy() == 0).all(-1)
    assert gone.any(1).sum(-1).max() == gone.any(2).sum(-1).max() == half
