"""Degradation of second order: known answers of its parts, and what it does to photos."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from skimage import data

from pggan_tf import tasks
from pggan_tf.config import parsing, resolve
from pggan_tf.data import degradation, pixels, resampling, second_order
from pggan_tf.errors import UserError

PHOTO = (data.astronaut()[:64, 200:264] / 255).astype(np.float32)
SEED = tf.constant([3, 4], tf.int64)
NEVER = tf.constant(False)


def reduced(photo, filter="bicubic"):
    low = resampling.resize(tf.constant(photo[None]), (photo.shape[0] // 4, photo.shape[1] // 4), filter)
    return np.round(np.clip(low[0].numpy(), 0, 1) * 255) / 255


@pytest.mark.parametrize("filter", pixels.FILTERS)
def test_sizes_that_are_drawn_are_resized_like_pillows(filter):
    make = tf.function(lambda source, target: resampling.make_weights(source, target, filter))
    for source, target in ((96, 24), (24, 96), (37, 50), (64, 64), (97, 24), (7, 3)):
        weights = make(tf.constant(source), tf.constant(target))
        np.testing.assert_allclose(weights, resampling.make_matrix(source, target, filter), atol=1e-6)


@pytest.mark.parametrize("deviation", [(2.0, 1.0), (1.5, 1.5)])
def test_blur_is_a_gaussian_along_its_axes(deviation):
    weights = second_order.make_blur(10, deviation, np.float32(np.pi / 2), 1.0, NEVER)
    ours = second_order.convolve(tf.constant(PHOTO), weights).numpy()
    theirs = ndimage.gaussian_filter(PHOTO, (*deviation, 0), mode="nearest", truncate=5)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_blur_turns_and_other_shapes_are_flatter():
    offset = np.arange(-10, 11)
    y, x = np.meshgrid(offset, offset, indexing="ij")
    weights = second_order.make_blur(10, (3.0, 0.7), np.float32(np.pi / 4), 1.0, NEVER).numpy()
    assert abs(weights.sum() - 1) < 1e-6 and (weights * x * y).sum() > 3, "long along the diagonal"
    for shape in (1.0, 4.0, 0.5):  # exp(-d^shape / 2) of the squared distance d = (1 / 2)^2
        round_ = second_order.make_blur(10, (2.0, 2.0), 0.0, shape, NEVER).numpy()
        np.testing.assert_allclose(round_[10, 11] / round_[10, 10], np.exp(-0.5 * 0.25**shape), rtol=1e-5)
    plateau = second_order.make_blur(10, (2.0, 2.0), 0.0, 2.0, tf.constant(True)).numpy()
    np.testing.assert_allclose(plateau[10, 12] / plateau[10, 10], 0.5, atol=1e-6)  # 1 / (1 + 1^2)
    one = second_order.make_blur(10, (0.0, 0.0), 0.0, 4.0, NEVER).numpy()
    assert one[10, 10] == 1 and one.sum() == 1, "without a width nothing is blurred"


def test_a_filter_that_rings_keeps_low_frequencies():
    """A wave below the cutoff stays, one above it goes, and an edge overshoots."""
    weights = second_order.make_ringing(20, np.float32(np.pi / 2), 20.0)
    across = np.arange(80, dtype=np.float32)
    for frequency, low, most in ((0.25, 0.9, 1.1), (0.75, 0.0, 0.1)):
        wave = np.tile(np.cos(np.pi * frequency * across)[None, :, None], (80, 1, 1))
        kept = second_order.convolve(tf.constant(wave), weights).numpy()[30:50, 30:50]
        assert low <= np.abs(kept).max() <= most
    edge = np.tile((across > 40).astype(np.float32)[None, :, None], (80, 1, 1))
    assert second_order.convolve(tf.constant(edge), weights).numpy().max() > 1.05


@pytest.mark.parametrize("filter", ["bicubic", "lanczos"])
def test_strength_0_is_a_plain_reduction(filter):
    low, level = second_order.degrade(tf.constant(PHOTO[None]), 4, filter, SEED, 0.0)
    np.testing.assert_allclose(low[0], reduced(PHOTO, filter), atol=1.01 / 255)
    assert np.abs(low[0] - reduced(PHOTO, filter)).mean() < 1e-4 and float(level[0]) == 0


def test_what_is_drawn_follows_from_the_seed_and_differs_between_images():
    function = tf.function(lambda x, seed: second_order.degrade(x, 4, "bicubic", seed))
    images = tf.constant(np.stack([PHOTO] * 48))
    low, level = (x.numpy() for x in function(images, SEED))
    again, same = function(images, SEED)
    np.testing.assert_array_equal(low, again)
    np.testing.assert_array_equal(level, same)
    assert low.shape == (48, 16, 16, 3) and low.dtype == np.float32 and low.min() >= 0 and low.max() <= 1
    np.testing.assert_allclose(low * 255, np.rint(low * 255), atol=1e-4, err_msg="8 bits")
    errors = np.sqrt(np.square(low - reduced(PHOTO)).mean((1, 2, 3)))
    assert len(np.unique(errors)) == 48, "every image has a degradation of its own"
    assert np.sort(errors)[2] < 0.02 and 0.06 < errors.max() < 0.3, "from nearly clean to plainly not"
    assert level.min() >= 0 and level.max() <= 1 and np.ptp(level) > 0.3 and np.sort(level)[2] < 0.1
    other = function(images, SEED + 1)[0].numpy()
    assert not np.array_equal(low, other)
    np.testing.assert_allclose(low.mean(), PHOTO.mean(), atol=0.02)


def test_the_level_is_the_noise_that_was_added():
    """On gray without detail, noise is all that differs; JPEG and later sizes take a part of it."""
    gray = tf.fill((48, 64, 64, 3), 0.5)
    twice = tf.function(lambda x: second_order.degrade(x, 4, "bicubic", SEED))
    low, level = (x.numpy() for x in twice(gray))
    found = np.minimum(low.std((1, 2, 3)) * 255 / degradation.LEVEL, 1.0)
    assert np.corrcoef(found, level)[0, 1] > 0.85
    low, level = (x.numpy() for x in degradation.degrade_once(gray, 4, "bicubic", SEED))
    assert np.corrcoef(low.std((1, 2, 3)), level)[0, 1] > 0.8
    np.testing.assert_array_equal(low, degradation.degrade(gray, 4, "bicubic", SEED))


def test_configs_of_before_say_the_same_and_are_written_as_before():
    for old, new in ((False, "none"), (True, "once")):
        assert parsing.parse("degrade", old) == new
        asked = {"recipe": "srgan", "target_res": 32, "patch": 16, "degrade": new}
        written = resolve(asked).to_json()
        assert written["purpose"]["degrade"] is old and written["asked"]["degrade"] is old
        assert not {"denoise", "degrade_strength"} & written["purpose"].keys()
        assert parsing.from_json(written).config.purpose.degrade == new
    plan = resolve({"recipe": "srgan", "degrade": "twice", "degrade_strength": 0.5, "denoise": True})
    again = parsing.from_json(plan.to_json()).config
    assert again == plan.config and again.purpose.degrade == "twice" and again.purpose.denoise
    assert tasks.from_config(again).degrade_strength == 0.5
    with pytest.raises(UserError, match="known are none, once, twice"):
        parsing.parse("degrade", "often")
