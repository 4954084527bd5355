import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from pggan_tf import layers
from pggan_tf.networks import progressive
from pggan_tf.training import precision
from tests.conftest import NEEDS_BFLOAT16

LAYERS = [
    (layers.EqualizedDense(7), (2, 5)),
    (layers.EqualizedConv2D(7), (2, 6, 6, 5)),
    (layers.EqualizedConv2D(7, 1, gain=1.0), (2, 6, 6, 5)),
    (layers.EqualizedConv2D(7, up=2), (2, 6, 6, 5)),
    (layers.EqualizedConv2D(7, up=3), (2, 6, 6, 5)),
    (layers.EqualizedConv2D(7, up=2, upsampling="bilinear"), (2, 6, 6, 5)),
    (layers.EqualizedConv2D(7, down=2), (2, 6, 6, 5)),
    (layers.EqualizedConv2D(7, down=3), (2, 6, 6, 5)),
    (layers.EqualizedConv2D(7, 9, shuffled=True), (2, 6, 6, 20)),
    (layers.PixelNorm(), (2, 6, 6, 5)),
    (layers.MinibatchStddev(2), (4, 6, 6, 5)),
    (layers.EqualizedConv2D(7, spectral=True), (2, 6, 6, 5)),
    (layers.EqualizedConv2D(7, 4, stride=2, gain=None), (2, 6, 6, 5)),
    (layers.EqualizedConv2D(7, 4, stride=2, transposed=True, gain=None), (2, 6, 6, 5)),
    (layers.EqualizedDense(7, gain=None, spectral=True), (2, 5)),
    (layers.SeparableConv2D(7), (2, 6, 6, 5)),
    (layers.SeparableConv2D(7, up=2), (2, 6, 6, 5)),
    (layers.SeparableConv2D(7, up=3, upsampling="bilinear"), (2, 6, 6, 5)),
    (layers.SeparableConv2D(7, down=2, spectral=True), (2, 6, 6, 5)),
    (layers.MinibatchDiscrimination(3, 4), (4, 5)),
    (layers.BatchNorm(), (4, 6, 6, 5)),
]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("layer, shape", LAYERS, ids=lambda v: getattr(v, "name", str(v)))
def test_contract(layer, shape):
    """Config round trip, promised shape, gradient."""
    x = tf.constant(normal(*shape))
    y = layer(x)
    assert tuple(y.shape) == tuple(layer.compute_output_shape(shape))
    twin = type(layer).from_config(layer.get_config())
    twin.build(shape)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin(x), y)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x) ** 2)
    assert all(np.isfinite(g).all() for g in tape.gradient(loss, [x, *[v.value for v in layer.trainable_variables]]))


@NEEDS_BFLOAT16
@pytest.mark.parametrize("layer, shape", LAYERS, ids=lambda v: getattr(v, "name", str(v)))
def test_bfloat16_is_near_float32(layer, shape):
    x = tf.constant(normal(*shape))
    y = layer(x)
    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    half.build(shape)
    half.set_weights(layer.get_weights())
    assert half(x).dtype == tf.bfloat16 and all(v.dtype == "float32" for v in half.variables)
    np.testing.assert_allclose(tf.cast(half(x), tf.float32), y, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("factor", [2, 3])
def test_up_and_down_equal_their_two_steps(factor):
    """The fused kernels against resampling and an ordinary convolution, borders included."""
    x = tf.constant(normal(2, 6, 6, 5))
    plain = layers.EqualizedConv2D(7)
    up, down = layers.EqualizedConv2D(7, up=factor), layers.EqualizedConv2D(7, down=factor)
    for layer in (plain, up, down):
        layer.build((None, None, None, 5))
        layer.set_weights([normal(3, 3, 5, 7), np.zeros(7, np.float32)])
    doubled = np.repeat(np.repeat(x.numpy(), factor, 1), factor, 2)
    np.testing.assert_allclose(up(x), plain(doubled), atol=1e-5)
    np.testing.assert_allclose(down(x), layers.block_mean(plain(x), factor), atol=1e-5)


def test_interpolated_pixels_known_answer():
    """A pixel's halves are a quarter of the way to its neighbours; beyond the outer centres the nearest value stays."""
    rows = tf.constant([[1.0, 3.0], [5.0, 9.0]])[None, ..., None]
    expected = [[1, 1.5, 2.5, 3], [2, 2.625, 3.875, 4.5], [4, 4.875, 6.625, 7.5], [5, 6, 8, 9]]
    np.testing.assert_array_equal(layers.interpolate_pixels(rows, 2)[0, ..., 0], expected)
    half = layers.interpolate_pixels(tf.cast(rows, tf.bfloat16), 2)
    assert half.dtype == tf.bfloat16 and layers.interpolate_pixels(rows, 1) is rows
    np.testing.assert_allclose(tf.cast(half[0, ..., 0], tf.float32), expected, rtol=0.01)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("jit", [False, True])
def test_layers_that_interpolate_are_their_two_steps(factor, jit):
    """Their gradients, too, which XLA compiles as well."""
    x = tf.constant(normal(2, 6, 5, 4))
    for kind in (layers.EqualizedConv2D, layers.SeparableConv2D):
        smooth, plain = kind(4, up=factor, upsampling="bilinear"), kind(4)
        smooth.build((None, None, None, 4)), plain.build((None, None, None, 4))
        if kind is layers.SeparableConv2D:  # across first, then within; so it is the other way round with one of them
            smooth.kernel.assign(plain._scale**-1 * np.eye(4, dtype=np.float32)[None, None])
            plain.kernel.assign(smooth.kernel), plain.within.assign(smooth.within)
        else:
            plain.set_weights(smooth.get_weights())

        @tf.function(jit_compile=jit)
        def differentiate(function, x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
                loss = tf.reduce_sum(y**3)
            return y, tape.gradient(loss, x)

        made = differentiate(smooth, x)
        expected = differentiate(lambda x, plain=plain: plain(layers.interpolate_pixels(x, factor)), x)
        for ours, theirs in zip(made, expected):
            np.testing.assert_allclose(ours, theirs, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
def test_a_convolution_before_the_shuffle_is_the_one_after_it(size):
    before, after = layers.EqualizedConv2D(3, size, shuffled=True), layers.EqualizedConv2D(3, size)
    before.build((None, None, None, 20))
    after.build((None, None, None, 5))
    before.set_kernel(after.compute_kernel(), normal(3))
    after.set_kernel(after.compute_kernel(), normal(3))
    x = normal(2, 4, 6, 20)
    shuffled = tf.nn.depth_to_space(before(x), 2)
    np.testing.assert_allclose(shuffled, after(tf.nn.depth_to_space(x, 2)), atol=1e-5)


def test_equalised_scale():
    """N(0, 1) weights, times gain / sqrt(fan_in): unit variance in, gain^2 out, whatever the width."""
    keras.utils.set_random_seed(0)
    for layer, x, gain in [
        (layers.EqualizedDense(512), normal(256, 300), 2**0.5),
        (layers.EqualizedConv2D(64, gain=1.0), normal(4, 32, 32, 48), 1.0),
    ]:
        y = layer(x).numpy()
        y = y[:, 1:-1, 1:-1] if y.ndim == 4 else y
        assert np.std(layer.kernel) == pytest.approx(1.0, abs=0.01)
        assert y.std() == pytest.approx(gain, rel=0.03)
        assert not np.any(layer.bias)


def test_pixel_norm_known_answer():
    y = layers.PixelNorm()(tf.constant([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(y, [[3 / 12.5**0.5, 4 / 12.5**0.5], [0, 0]], rtol=1e-6)


def test_minibatch_stddev_known_answer():
    # Two groups of two: values 0 and 2 have spread 1, values 5 and 5 none.
    x = np.zeros((4, 1, 1, 1), np.float32) + np.array([0, 2, 5, 5], np.float32)[:, None, None, None]
    y = layers.MinibatchStddev(2)(x).numpy()[..., 1].ravel()
    np.testing.assert_allclose(y, [1, 1, 1e-4, 1e-4], rtol=1e-4)


def test_minibatch_stddev_keeps_reals_and_fakes_apart():
    reals, fakes = normal(8, 4, 4, 3), 10 * normal(8, 4, 4, 3, seed=1)
    layer = layers.MinibatchStddev(4)
    together = layer(np.concatenate([reals, fakes])).numpy()
    np.testing.assert_array_equal(together, np.concatenate([layer(reals), layer(fakes)]))


def test_lerp_is_exact_at_its_ends():
    old, new = tf.constant(normal(5)), tf.constant(normal(5, seed=1))
    np.testing.assert_array_equal(layers.lerp(old, new, 0.0), old)
    np.testing.assert_array_equal(layers.lerp(old, new, 1.0), new)


@pytest.mark.parametrize(
    "layer",
    [
        layers.EqualizedConv2D(5, kernel_size=1),
        layers.SeparableConv2D(5),
        layers.SeparableConv2D(5, up=2, upsampling="bilinear"),
        layers.SeparableConv2D(5, down=2),
    ],
    ids=["1x1", "separable", "up", "down"],
)
def test_a_layer_in_training_computes_what_it_computes_elsewhere(layer, monkeypatch):
    """In training on CPUs, 1x1 convolutions are matrix products: for any number of images, with the same gradients."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [])
    x, found = tf.constant(normal(6, 8, 4, 3)), {}
    layer(x)
    layer.bias.assign(normal(5, seed=1))
    for training in (True, False):

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
        def compute(x, training=training):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=training)
                loss = tf.reduce_sum(y**3)
            return [y, *tape.gradient(loss, [x, *layer.trainable_variables])]

        found[training] = compute(x)
        operations = {op.type for op in compute.get_concrete_function().graph.get_operations()}
        assert ("Conv2D" in operations) is not training and ("MatMul" in operations) is training
    for ours, theirs in zip(found[True], found[False], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("device", ["CPU", "GPU"])
def test_networks_multiply_matrices_in_training_on_cpus_alone(device, monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [kind] if kind == device else [])
    generator = progressive.Generator([4, 8], latent_size=8, fmap_base=16, fmap_max=8, conv="separable")
    discriminator = progressive.Discriminator([4, 8], fmap_base=16, fmap_max=8, conv="separable")
    for training in (True, False):

        @tf.function
        def compute(latents, training=training):
            return discriminator(generator(latents, training=training), training=training)

        types = [op.type for op in compute.get_concrete_function(tf.zeros([4, 8])).graph.get_operations()]
        # Three convolutions of the generator and one to images; one from images and three of the discriminator.
        assert types.count("Conv2D") == (0 if training and device == "CPU" else 8)


@NEEDS_BFLOAT16
@pytest.mark.parametrize("shape", [(16, 4, 4, 32), (16, 64, 64, 32)])
def test_gradients_in_bfloat16_are_those_of_float32(shape):
    """But for rounding: sums over a map are not kept in bfloat16, where a large sum no longer grows.

    Where the processor lacks bfloat16, TensorFlow's own convolution rounds the kernel's gradient between parts of its sum:
    1.6 to 2.5 % off on any map, where sums kept in bfloat16 are half wrong on large ones.
    """
    most = 0.01 if precision.cpu_has_bfloat16() else 0.05
    x, cotangent = tf.random.stateless_normal(shape, (1, 2)), tf.random.stateless_normal(shape, (3, 4)) + 0.1

    def gradients(dtype):
        layer = layers.EqualizedConv2D(32, dtype=dtype)
        layer.build(shape)
        layer.kernel.assign(tf.random.stateless_normal(layer.kernel.shape, (5, 6)))
        with tf.GradientTape() as tape:
            y = layer(tf.cast(x, layer.compute_dtype))
        return tape.gradient(y, layer.trainable_variables, output_gradients=tf.cast(cotangent, y.dtype))

    for ours, exact in zip(gradients("mixed_bfloat16"), gradients("float32"), strict=True):
        assert np.linalg.norm(ours - exact) < most * np.linalg.norm(exact)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_spectral_normalisation_divides_by_the_largest_singular_value(kind):
    keras.utils.set_random_seed(0)
    layer = layers.EqualizedDense(6, spectral=True) if kind == "dense" else layers.EqualizedConv2D(6, spectral=True)
    layer.build((None, 10) if kind == "dense" else (None, 8, 8, 3))
    for _ in range(200):
        layer.advance()
    matrix = np.reshape(layer.compute_kernel(), (-1, 6))
    assert np.linalg.svd(matrix)[1][0] == pytest.approx(1, rel=1e-4)
    # Its gradient is that of W / (u' W v), with u and v fixed: none along W itself (Miyato et al. 2018, eq. 12).
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(
            tf.reshape(layer.compute_kernel(), [-1, 6])
            * tf.constant(np.arange(matrix.size).reshape(matrix.shape), tf.float32)
        )
    gradient = tape.gradient(y, layer.kernel.value)
    assert abs(float(tf.reduce_sum(gradient * layer.kernel))) < 1e-2 * float(tf.norm(gradient) * tf.norm(layer.kernel))


def test_plain_layers_are_used_as_they_are():
    keras.utils.set_random_seed(0)
    layer = layers.EqualizedDense(300, gain=None)
    layer.build((None, 200))
    assert np.std(layer.kernel) == pytest.approx(0.02, rel=0.02)
    np.testing.assert_array_equal(layer.compute_kernel(), layer.kernel)


def test_minibatch_discrimination_counts_the_near_ones():
    layer = layers.MinibatchDiscrimination(kernels=1, size=2)
    layer.build((None, 2))
    layer.projection.assign(np.eye(2))
    x = tf.constant([[0.0, 0.0], [0.0, 0.0], [1.0, 2.0]])
    far = np.exp(-3.0)
    np.testing.assert_allclose(layer(x), [[0, 0, 1 + far], [0, 0, 1 + far], [1, 2, 2 * far]], rtol=1e-6)


def test_batch_norm_in_training_and_by_stored_statistics():
    layer = layers.BatchNorm()
    x = 3 + 2 * tf.random.stateless_normal((64, 4, 4, 5), (1, 2))
    layer.build(x.shape)
    np.testing.assert_allclose(layer(x), x / np.sqrt(1 + 1e-5), rtol=1e-6)  # nothing is measured yet
    y = layer(x, training=True).numpy()
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, rtol=1e-4)
    np.testing.assert_allclose(layer.mean, 0)  # training keeps nothing
    layer.batch_statistics = collections.deque()
    np.testing.assert_allclose(layer(x), y, rtol=1e-5, atol=1e-5)
    layer.store_statistics()
    layer.batch_statistics = None
    np.testing.assert_allclose(layer(x[:1]), y[:1], rtol=1e-4, atol=1e-5)
    layer.batch_statistics = collections.deque()
    layer.mean.assign(tf.zeros(5))
    layer.variance.assign(tf.ones(5))
    for i in range(0, 64, 8):  # the same of all batches together
        layer(x[i : i + 8])
    layer.store_statistics()
    layer.batch_statistics = None
    np.testing.assert_allclose(layer(x), y, rtol=1e-4, atol=1e-5)
