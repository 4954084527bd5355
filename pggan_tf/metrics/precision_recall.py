"""Precision and recall (Kynkaanniemi et al. 2019, eq. 1 and 2). Higher is better.

Precision is the fraction of generated images that lie within the manifold of the real images,
recall the fraction of real images within the manifold of the generated images. The manifold of a
set is the union of balls around its features; the radius of each ball is the distance to the k-th
nearest neighbour, with k = 3. Both metrics depend on the number of images, 50,000 in the paper.
"""

from __future__ import annotations

import numpy as np

from pggan_tf.metrics import Figure

K = 3
_ROWS, _COLUMNS = 256, 8192  # size of the part of the distance matrix that is computed at a time


def _compute_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the squared distances [N, M] between features [N, D] and [M, D], in float64."""
    x, out = np.asarray(x, np.float64), np.empty((len(x), len(y)))
    for first in range(0, len(y), _COLUMNS):
        part = np.asarray(y[first : first + _COLUMNS], np.float64)
        out[:, first : first + _COLUMNS] = np.square(x).sum(1)[:, None] + np.square(part).sum(1) - 2 * x @ part.T
    return np.maximum(out, 0, out=out)


def _find_radii(x: np.ndarray, k: int) -> np.ndarray:
    """Return the squared distance [N] of each row of x [N, D] to its k-th nearest neighbour."""
    parts = (_compute_squares(x[i : i + _ROWS], x) for i in range(0, len(x), _ROWS))
    return np.concatenate([np.partition(d, k, axis=1)[:, k] for d in parts])  # index 0: itself


def _measure_share_within(x: np.ndarray, others: np.ndarray, radii: np.ndarray) -> float:
    """Return the fraction of x [N, D] that lies in a ball around at least one row of `others`.

    `others` is [M, D]; `radii` [M] are the squared radii of the balls.
    """
    inside = [(_compute_squares(x[i : i + _ROWS], others) <= radii).any(axis=1) for i in range(0, len(x), _ROWS)]
    return float(np.concatenate(inside).mean())


def compute_precision_recall(real: np.ndarray, fake: np.ndarray, k: int = K) -> tuple[float, float]:
    """Return precision and recall for features [N, D] of real and [M, D] of generated images."""
    return _measure_share_within(fake, real, _find_radii(real, k)), _measure_share_within(
        real, fake, _find_radii(fake, k)
    )


def compute(real, fake) -> dict[str, Figure]:
    """Compute both metrics from the features of two `sets.SetStatistics`.

    Returns {"precision": ..., "recall": ...}.
    """
    count = len(fake.features)
    k = min(K, count - 1, len(real.features) - 1)
    caveats = (f"k is {k}, not {K}: there are only {count} images",) if k < K else ()
    precision, recall = compute_precision_recall(real.features, fake.features, k)
    return {
        name: Figure(value, images=count, caveats=caveats)
        for name, value in (("precision", precision), ("recall", recall))
    }
