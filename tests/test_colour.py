"""Colours against scikit-image, in NumPy and in TensorFlow alike."""

import numpy as np
import pytest
import tensorflow as tf
from skimage import color

from pggan_tf.data import colour

AXIS = np.linspace(0, 1, 33)
CUBE = np.stack(np.meshgrid(AXIS, AXIS, AXIS, indexing="ij"), -1).astype(np.float32)  # [33,33,33,3]
FORMS = pytest.mark.parametrize("form", [np.asarray, tf.constant], ids=["numpy", "tensorflow"])


@FORMS
def test_lab_is_that_of_scikit_image_over_the_whole_cube(form):
    lab = colour.rgb_to_lab(form(CUBE))
    assert type(lab) is type(form(CUBE)) and lab.dtype == np.float32
    np.testing.assert_allclose(lab, color.rgb2lab(CUBE.astype(np.float64)), atol=1e-3)
    np.testing.assert_allclose(colour.lab_to_rgb(lab), CUBE, atol=1e-4)


@FORMS
def test_every_dark_colour_too(form):
    dark = CUBE / 16  # about the thresholds of the curves
    np.testing.assert_allclose(colour.rgb_to_lab(form(dark)), color.rgb2lab(dark.astype(np.float64)), atol=1e-3)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")  # it says that it clips
@FORMS
def test_colours_that_srgb_does_not_have_are_clipped_as_in_scikit_image(form):
    lab = np.array(
        [[50, 128, -128], [90, -100, 60], [20, 60, 30], [60, 10, -120], [10, 0, 100], [5, -20, 90]], np.float32
    )
    np.testing.assert_allclose(colour.lab_to_rgb(form(lab)), color.lab2rgb(lab.astype(np.float64)), atol=1e-3)


def test_known_colours():
    """L, a, b of the corners of sRGB, as published (Lindbloom's calculator, D65, to the rounding of the matrix)."""
    rgb = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    known = [[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(colour.rgb_to_lab(rgb), known, atol=0.02)


def test_every_16_bit_gray_survives():
    gray = np.arange(65536)[:, None].repeat(3, 1)
    back = colour.lab_to_rgb(colour.rgb_to_lab((gray / 65535).astype(np.float32)))
    assert np.abs(np.rint(back * 65535) - gray).max() <= 1


@pytest.mark.parametrize("convert", [colour.rgb_to_lab, colour.lab_to_rgb])
def test_gradients_are_finite_everywhere(convert):
    grid = {colour.rgb_to_lab: np.r_[-1, -0.1, AXIS, 1.5], colour.lab_to_rgb: np.r_[-128:129:8.0]}[convert]
    points = tf.constant(np.stack(np.meshgrid(grid, grid, grid), -1), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(points)
        total = tf.reduce_sum(convert(points))
    assert np.isfinite(tape.gradient(total, points).numpy()).all()


@pytest.mark.slow
def test_gradients_are_those_of_finite_differences():
    points = np.random.default_rng(0).uniform(0.05, 0.95, (20, 3))
    for convert, x in (
        (colour.rgb_to_lab, points),
        (colour.lab_to_rgb, color.rgb2lab(points)),
    ):
        theory, numeric = tf.test.compute_gradient(convert, [tf.constant(x, tf.float64)], delta=1e-5)
        np.testing.assert_allclose(theory[0], numeric[0], atol=2e-3, rtol=1e-3)


@FORMS
def test_what_a_colorizer_sees_and_makes(form):
    lightness, ab = colour.split_lab(form(CUBE))
    assert lightness.shape == (33, 33, 33, 1) and ab.shape == (33, 33, 33, 2)
    assert np.min(lightness) >= -1e-6 and np.max(lightness) <= 1 + 1e-6 and np.abs(ab).max() < 0.85
    np.testing.assert_allclose(colour.join_lab(lightness, ab), CUBE, atol=1e-4)


def test_half_precision_is_computed_in_float32():
    lab = colour.rgb_to_lab(tf.constant([[0.5, 0.25, 0.75]], tf.bfloat16))
    np.testing.assert_allclose(lab, color.rgb2lab([[0.5, 0.25, 0.75]]), atol=1e-3)


@FORMS
def test_gray_and_luma(form):
    np.testing.assert_allclose(colour.to_luma(form(CUBE))[..., 0], color.rgb2ycbcr(CUBE)[..., 0], atol=1e-2)
    corners = form(np.eye(3, dtype=np.float32))
    np.testing.assert_allclose(colour.to_gray(corners)[..., 0], [0.299, 0.587, 0.114], rtol=1e-6)
    black_and_white = form(np.array([[0, 0, 0], [1, 1, 1]], np.float32))
    np.testing.assert_allclose(colour.to_luma(black_and_white)[..., 0], [16, 235], rtol=1e-6)
