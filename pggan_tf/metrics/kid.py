"""Kernel distance (KID, Binkowski et al. 2018, section 4). Lower is better.

It is the unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 of features with
d numbers: mean and standard deviation over 100 subsets of 1,000. As it is unbiased, it may be below
0.
"""

from __future__ import annotations

import numpy as np

from pggan_tf.metrics import Figure

SUBSETS, SUBSET_SIZE, SEED = 100, 1000, 2020


def estimate_mmd2(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased estimate of the squared discrepancy of features [M, D] and [M, D]."""
    d, m = x.shape[1], len(x)

    def kernel(a, b):
        k = a @ b.T / d + 1
        return k * k * k  # many times faster than k**3

    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    same = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(same - 2 * xy.mean())


def compute_kid(x: np.ndarray, y: np.ndarray, subsets: int = SUBSETS, size: int = SUBSET_SIZE) -> tuple[float, float]:
    """Return mean and standard deviation over subsets of features [N, D] and [M, D]."""
    if np.array_equal(x, y):
        return 0.0, 0.0  # the estimate is for independent samples, and below 0 for a set against itself
    size = min(size, len(x), len(y))
    if size == len(x) == len(y):
        subsets = 1  # all subsets would be the same
    rng = np.random.RandomState(SEED)

    def draw(features):
        return np.asarray(features[rng.choice(len(features), size, replace=False)], np.float64)

    values = [estimate_mmd2(draw(x), draw(y)) for _ in range(subsets)]
    return float(np.mean(values)), float(np.std(values))


def compute(real, fake) -> dict[str, Figure]:
    """Compute the distance of two `sets.SetStatistics`, by their features."""
    value, spread = compute_kid(real.features, fake.features)
    count = len(fake.features)
    few = (f"one subset of {count:,} images, not many of {SUBSET_SIZE:,}",) if count < SUBSET_SIZE else ()
    return {"kid": Figure(value, spread if count > SUBSET_SIZE else None, images=count, caveats=few)}
