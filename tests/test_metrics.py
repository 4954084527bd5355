"""Metrics against known values and slow, literal implementations."""

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage

from pggan_tf.metrics import frechet, inception_score, kernel, neighbours, swd

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(300, 6)), 1.5 * RNG.normal(size=(200, 6)) + 0.3


def moments(x):
    out = frechet.Moments(x.shape[1])
    for part in np.array_split(x, 7):
        out.add(part)
    return out


def test_moments_in_batches_are_those_of_all():
    m = moments(X + 1e6)
    np.testing.assert_allclose(m.mean, (X + 1e6).mean(0))
    np.testing.assert_allclose(m.covariance, np.cov(X.T), rtol=1e-6, atol=1e-9)


def test_frechet_of_diagonal_gaussians():
    a, b = np.diag([1.0, 4.0]), np.diag([9.0, 1.0])
    assert frechet.frechet(np.zeros(2), a, np.array([3.0, 0.0]), b) == pytest.approx(9 + (1 - 3) ** 2 + (2 - 1) ** 2)


def test_frechet_equals_its_formula_with_a_matrix_root():
    a, b = moments(X), moments(Y)
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance)
    expected = np.square(a.mean - b.mean).sum() + np.trace(a.covariance + b.covariance - 2 * root.real)
    assert frechet.frechet(a.mean, a.covariance, b.mean, b.covariance) == pytest.approx(expected, rel=1e-9)
    assert abs(frechet.frechet(a.mean, a.covariance, a.mean, a.covariance)) < 1e-6


def test_frechet_of_fewer_images_than_features_is_finite():
    few = moments(RNG.normal(size=(10, 50)))
    assert np.isfinite(frechet.frechet(few.mean, few.covariance, np.zeros(50), np.eye(50)))


def test_kernel_distance_equals_its_sums():
    x, y = X[:20], Y[:20]
    k = lambda a, b: (a @ b / 6 + 1) ** 3  # noqa: E731
    same = sum(k(x[i], x[j]) + k(y[i], y[j]) for i in range(20) for j in range(20) if i != j) / (20 * 19)
    cross = sum(k(a, b) for a in x for b in y) / 400
    assert kernel.mmd2(x, y) == pytest.approx(same - 2 * cross, rel=1e-9)
    mean, std = kernel.kid(X, Y, subsets=50, size=100)
    assert mean > 10 * std / 50**0.5 > 0 and abs(kernel.kid(X[:150], X[150:], 50, 100)[0]) < mean / 5


def test_precision_and_recall_equal_their_definition():
    def literal(manifold, points, k):
        inside = 0
        for p in points:
            for m in manifold:
                radius = np.sort(np.linalg.norm(manifold - m, axis=1))[k]
                if np.linalg.norm(p - m) <= radius:
                    inside += 1
                    break
        return inside / len(points)

    real, fake = X[:60], Y[:50]
    assert neighbours.precision_recall(real, fake) == (literal(real, fake, 3), literal(fake, real, 3))
    assert neighbours.precision_recall(real, real) == (1.0, 1.0)
    assert neighbours.precision_recall(real, real + 100) == (0.0, 0.0)


def test_inception_score_of_known_probabilities():
    sure = 50.0 * np.eye(10)[np.arange(1000) % 10]
    assert inception_score.inception_score(sure)[0] == pytest.approx(10, rel=1e-6)
    assert inception_score.inception_score(np.zeros((1000, 10)))[0] == pytest.approx(1)


def test_the_pyramid_adds_up():
    image = RNG.uniform(0, 255, (64, 64, 3)).astype(np.float32)
    levels = swd.pyramid(image, 3)
    assert [len(level) for level in levels] == [64, 32, 16] == swd.levels(64)
    again = levels[2]
    for level in levels[1::-1]:
        again = level + swd._up(again)
    np.testing.assert_allclose(again, image, atol=1e-3)


def test_the_filters_are_those_of_a_mirrored_convolution():
    image = RNG.uniform(0, 255, (16, 12, 3)).astype(np.float32)
    taps = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])[:, :, None] / 256
    np.testing.assert_allclose(
        swd._down(image), scipy.ndimage.convolve(image, taps, mode="mirror")[::2, ::2], atol=1e-3
    )
    wide = np.zeros((32, 24, 3), np.float32)
    wide[::2, ::2] = image
    np.testing.assert_allclose(swd._up(image), scipy.ndimage.convolve(wide, 4 * taps, mode="mirror"), atol=1e-3)


def test_sliced_distance_equals_a_literal_one():
    """Normalise all patches channel by channel, project each, sort, compare."""
    a, b = RNG.normal(3, 2, (500, 3, 49)), RNG.normal(1, 5, (500, 3, 49)) ** 2

    def normal(x):
        return ((x - x.mean((0, 2), keepdims=True)) / x.std((0, 2), keepdims=True)).reshape(len(x), -1)

    rng, distances = np.random.default_rng(0), []
    for _ in range(swd.REPEATS):
        directions = rng.normal(size=(3, 49, swd.DIRECTIONS))
        directions /= np.sqrt((directions**2).sum((0, 1)))
        for d in directions.reshape(-1, swd.DIRECTIONS).T:
            distances.append(np.abs(np.sort(normal(a) @ d) - np.sort(normal(b) @ d)).mean())
    ours = swd.sliced_distance(a.astype(np.float32), b.astype(np.float32))
    assert ours == pytest.approx(np.mean(distances), rel=1e-3)


def batches(images):
    return (images[i : i + 10] for i in range(0, len(images), 10))


def test_swd_orders_sets_and_is_zero_for_the_same():
    import cv2

    faces = np.stack([_portrait(i) for i in range(80)])
    others = np.stack([_portrait(i) for i in range(80, 160)])
    blurred = np.stack([cv2.GaussianBlur(i, (0, 0), 1) for i in others])
    noise = RNG.integers(0, 256, faces.shape, np.uint8)
    same, close, farther, far = (
        swd.swd(batches(faces), batches(x), 32, 3, images=80)["swd"] for x in (faces, others, blurred, noise)
    )
    assert same == 0 < close < farther < far


def _portrait(index):
    from preprocessing.sources import portraits

    return portraits.portrait(index, 32)
