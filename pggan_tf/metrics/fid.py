"""Frechet distance between Gaussians fitted to features (Heusel et al. 2017, eq. 6).

Lower is better. On the features of Inception 2015-12-05 the distance is the Frechet Inception
Distance (FID). It is biased upwards for few images: 50,000 are usual, and there must be more images
than features.
"""

from __future__ import annotations

import numpy as np

from pggan_tf.metrics import Figure

_ROWS = 4096  # features that are read at a time


class Moments:
    """Running mean and covariance of features that are added in batches, in float64."""

    def __init__(self, size: int):
        self.count, self.mean, self.products = 0, np.zeros(size), np.zeros((size, size))

    def add(self, features: np.ndarray) -> None:
        """Add features [N, D] to the statistics.

        The method (Chan et al. 1983) is numerically stable: it does not subtract large sums.
        """
        x = np.asarray(features, np.float64)
        mean, n = x.mean(axis=0), len(x)
        apart = mean - self.mean
        total = self.count + n
        x = x - mean
        self.products += x.T @ x + np.outer(apart, apart) * (self.count * n / total)
        self.mean += apart * (n / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance [D, D] of all added features."""
        return self.products / (self.count - 1)


def compute_moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean [D] and covariance [D, D] of features [N, D], which may be on disk."""
    found = Moments(features.shape[1])
    for first in range(0, len(features), _ROWS):
        found.add(features[first : first + _ROWS])
    return found.mean, found.covariance


def compute_distance(mean_a, covariance_a, mean_b, covariance_b) -> float:
    """Return the Frechet distance |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)) of two Gaussians.

    The means m_a and m_b have shape [D], the covariances A and B [D, D].
    """
    means = float(np.square(mean_a - mean_b).sum())
    if np.array_equal(covariance_a, covariance_b):
        return means  # the formula below would add rounding errors of the eigenvalues
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # A^(1/2) B A^(1/2) has the same eigenvalues as A B but is symmetric, so that rounding cannot
    # make them complex.
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariance_b @ root), 0)).sum()
    # Rounding may make the distance negative if the sets are nearly the same.
    return max(0.0, float(means + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross))


def compute(real, fake) -> dict[str, Figure]:
    """Compute the Frechet distance of two `sets.SetStatistics` as {"fid": ...}."""
    size, count = real.features.shape[1], len(fake.features)
    few = count <= size
    caveats = (f"{count:,} images for {size:,} features: too few for their covariance, give more",) if few else ()
    return {"fid": Figure(compute_distance(*real.moments, *fake.moments), images=count, caveats=caveats)}
