"""Precision and recall by k = 3 nearest neighbours (Kynkaanniemi et al. 2019, eq. 1 and 2): the share of fakes that lie within
the manifold of the reals, and of reals within that of the fakes. Higher is better. They depend on the number of images, 50,000
in the paper."""

from __future__ import annotations

import numpy as np

from pggan_tf.metrics import Figure

K = 3
_ROWS, _COLUMNS = 256, 8192  # of the matrix of distances that is in memory at a time


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared, [N, M], in float64."""
    x, out = np.asarray(x, np.float64), np.empty((len(x), len(y)))
    for first in range(0, len(y), _COLUMNS):
        part = np.asarray(y[first : first + _COLUMNS], np.float64)
        out[:, first : first + _COLUMNS] = np.square(x).sum(1)[:, None] + np.square(part).sum(1) - 2 * x @ part.T
    return np.maximum(out, 0, out=out)


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
    return _share_within(fake, real, _radii(real, k)), _share_within(real, fake, _radii(fake, k))


def figures(real, fake) -> dict[str, Figure]:
    count = len(fake.features)
    k = min(K, count - 1, len(real.features) - 1)
    caveats = (f"k is {k}, not {K}: there are only {count} images",) if k < K else ()
    precision, recall = precision_recall(real.features, fake.features, k)
    return {
        name: Figure(value, images=count, caveats=caveats)
        for name, value in (("precision", precision), ("recall", recall))
    }
