"""Frechet distance between two Gaussians; on the features of Inception 2015-12-05 it is the FID (Heusel et al. 2017, eq. 6).
Lower is better. Biased upwards with few images: 50,000 are usual, and more than there are features needed."""

from __future__ import annotations

import numpy as np

from pggan_tf.metrics import Figure

_ROWS = 4096


class Moments:
    """Mean and covariance of features, batch by batch, in float64."""

    def __init__(self, size: int):
        self.count, self.mean, self.products = 0, np.zeros(size), np.zeros((size, size))

    def add(self, features: np.ndarray) -> None:
        """[N, D]. Chan et al. 1983: no large sums are subtracted from each other."""
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
        """Unbiased: divided by N - 1."""
        return self.products / (self.count - 1)


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, D], which may lie on disk -> mean [D] and covariance [D, D]."""
    found = Moments(features.shape[1])
    for first in range(0, len(features), _ROWS):
        found.add(features[first : first + _ROWS])
    return found.mean, found.covariance


def frechet(mean_a, covariance_a, mean_b, covariance_b) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2))."""
    means = float(np.square(mean_a - mean_b).sum())
    if np.array_equal(covariance_a, covariance_b):
        return means  # by way of eigenvalues it would be 0 but for the root of their rounding
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # A^(1/2) B A^(1/2) has the eigenvalues of A B and is symmetric: none of them turns complex by rounding.
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariance_b @ root), 0)).sum()
    # Below 0 by rounding alone, for sets that are all but the same.
    return max(0.0, float(means + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross))


def figures(real, fake) -> dict[str, Figure]:
    size, count = real.features.shape[1], len(fake.features)
    few = count <= size
    caveats = (f"{count:,} images for {size:,} features: too few for their covariance, give more",) if few else ()
    return {"fid": Figure(frechet(*real.moments, *fake.moments), images=count, caveats=caveats)}
