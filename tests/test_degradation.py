import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from skimage import data

from pggan_tf.data import degradation, resampling

PHOTO = (data.astronaut()[:96, 200:296] / 255).astype(np.float32)
SEED = tf.constant([3, 4], tf.int64)


@pytest.mark.parametrize("deviation", [(0.5, 0.5), (2.0, 1.0)])
def test_blur_is_a_gaussian(deviation):
    ours = degradation.blur(tf.constant(PHOTO[None]), tf.constant([deviation]))[0].numpy()
    theirs = ndimage.gaussian_filter(PHOTO, (*deviation, 0), truncate=6)
    inside = np.s_[16:-16, 16:-16]
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=2e-3 if min(deviation) < 1 else 1e-5)
    gray = degradation.blur(tf.fill((1, 20, 20, 3), 0.3), tf.constant([[3.0, 1.0]]))
    np.testing.assert_allclose(gray, 0.3, atol=1e-6)  # the border included


def test_jpeg_is_that_of_its_quality():
    from io import BytesIO

    from PIL import Image

    out = degradation.compress_jpeg(tf.constant(np.stack([PHOTO, PHOTO])), tf.constant([30, 95])).numpy()
    errors = np.square(out - PHOTO).mean((1, 2, 3))
    assert errors[0] > 5 * errors[1] > 0
    file = BytesIO()
    Image.fromarray(np.rint(PHOTO * 255).astype(np.uint8)).save(file, "JPEG", quality=30)
    with Image.open(file) as image:
        assert np.abs(out[0] - np.asarray(image) / 255).max() < 0.03


def test_what_is_drawn_follows_from_the_seed_and_differs_between_images():
    images = tf.constant(np.stack([PHOTO] * 64))
    function = tf.function(lambda seed: degradation.degrade(images, 4, "lanczos", seed))
    low = function(SEED).numpy()
    assert low.shape == (64, 24, 24, 3) and low.dtype == np.float32 and low.min() >= 0 and low.max() <= 1
    np.testing.assert_array_equal(low, function(SEED))
    assert not np.array_equal(low, function(SEED + 1))
    clean = resampling.resize(tf.constant(PHOTO[None]), (24, 24), "lanczos").numpy()[0]
    errors = np.sqrt(np.square(low - clean).mean((1, 2, 3)))
    assert len(np.unique(errors)) == 64
    # From nearly clean to plainly not: 25/255 of noise alone is 0.1.
    assert errors.min() < 0.035 and 0.08 < errors.max() < 0.2


def test_the_mean_of_a_photo_stays():
    images = tf.constant(np.stack([PHOTO] * 64))
    low = degradation.degrade(images, 4, "box", SEED).numpy()
    np.testing.assert_allclose(low.mean(), PHOTO.mean(), atol=0.01)
