"""Frechet distance between two Gaussians; on the features of Inception 2015-12-05 it is the FID (Heusel et al. 2017, eq. 6).
Lower is better. Biased upwards with few images: at least ten thousand are usual, and more than there are features needed."""

from __future__ import annotations

import numpy as np


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


def frechet(mean_a, covariance_a, mean_b, covariance_b) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2))."""
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # A^(1/2) B A^(1/2) has the eigenvalues of A B and is symmetric: none of them turns complex by rounding.
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariance_b @ root), 0)).sum()
    return float(np.square(mean_a - mean_b).sum() + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross)
