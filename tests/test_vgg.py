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


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (1, 7, 9, 2)], ids=["even", "odd"])
def test_max_pools_without_scatters(shape):
    """The values and gradients of TensorFlow's own, of equal pixels too; and the gradient's operations have a fixed order."""
    x = tf.constant(np.random.default_rng(0).integers(0, 3, shape), tf.float32)  # most blocks have equal pixels
    weights = tf.random.stateless_normal((shape[0], shape[1] // 2, shape[2] // 2, shape[3]), (1, 2))
    found = []
    for pool in (vgg.max_pool, lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID")):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = pool(x)
            total = tf.reduce_sum(y * weights)
        found.append((y, tape.gradient(total, x)))
    for ours, theirs in zip(*found):
        np.testing.assert_array_equal(ours, theirs)
    slope = tf.function(lambda x: tf.gradients(vgg.max_pool(x), x), autograph=False)
    types = {op.type for op in slope.get_concrete_function(tf.TensorSpec(shape)).graph.get_operations()}
    assert not [name for name in types if "Scatter" in name or "Pool" in name or "Segment" in name]


def test_a_file_that_holds_no_such_weights_is_told(tmp_path):
    (tmp_path / "vgg.h5").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="--vgg-weights FILE"):
        vgg.load_features(str(tmp_path / "vgg.h5"))
