"""Precision and recall by k nearest neighbours (Kynkaanniemi et al. 2019, eq. 1 and 2): the share of fakes that lie within the
manifold of the reals, and of reals within that of the fakes. Higher is better."""

from __future__ import annotations

import numpy as np

K = 3
_ROWS = 2048


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared, [N, M]."""
    return np.maximum(np.square(x).sum(1)[:, None] + np.square(y).sum(1)[None] - 2 * x @ y.T, 0)


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each feature to its k-th nearest other, [N]."""
    parts = (_distances(x[i : i + _ROWS], x) for i in range(0, len(x), _ROWS))
    return np.concatenate([np.partition(d, k, axis=1)[:, k] for d in parts])  # the nearest is itself


def _share_within(x: np.ndarray, others: np.ndarray, radii: np.ndarray) -> float:
    """How many of x lie within the ball of at least one of the others."""
    inside = [(_distances(x[i : i + _ROWS], others) <= radii).any(axis=1) for i in range(0, len(x), _ROWS)]
    return float(np.concatenate(inside).mean())


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = K) -> tuple[float, float]:
    """Features [N, D], [M, D]."""
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    return _share_within(fake, real, _radii(real, k)), _share_within(real, fake, _radii(fake, k))
