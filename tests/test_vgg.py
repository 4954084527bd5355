"""Features of VGG19, with weights that the test makes: their layer, their colours and their scale."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pggan_tf.errors import UserError
from pggan_tf.networks import vgg


def test_features_are_those_of_the_whole_network(tmp_path):
    keras.utils.set_random_seed(0)
    whole = keras.applications.VGG19(include_top=False, weights=None)
    whole.save_weights(tmp_path / "vgg.weights.h5")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3)).astype(np.float32)
    known = keras.applications.vgg19.preprocess_input(pixels.copy())
    known = keras.Model(whole.input, whole.get_layer("block5_conv4").output)(known) / 12.75
    made = vgg.load_features(str(tmp_path / "vgg.weights.h5"))(tf.constant(pixels / 127.5 - 1))
    assert made.shape == (2, 2, 3, 512) and float(tf.reduce_max(known)) > 0
    np.testing.assert_allclose(made, known, rtol=1e-3, atol=1e-6)


def test_a_file_that_holds_no_such_weights_is_told(tmp_path):
    (tmp_path / "vgg.h5").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="--vgg-weights FILE"):
        vgg.load_features(str(tmp_path / "vgg.h5"))
