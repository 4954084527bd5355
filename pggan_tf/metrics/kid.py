"""Kernel Inception Distance (KID, Binkowski et al. 2018, section 4). Lower is better.

KID is the unbiased estimate of the squared maximum mean discrepancy (MMD) with the kernel
(x.y / d + 1)^3 on features of dimension d. Its mean and standard deviation over 100 subsets of
1,000 images are reported. As the estimate is unbiased, it can be negative.
"""

from __future__ import annotations

import numpy as np

from pggan_tf.metrics import Figure

SUBSETS, SUBSET_SIZE, SEED = 100, 1000, 2020


def estimate_mmd2(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased estimate of the squared MMD between features x and y, [M, D] each."""
    d, m = x.shape[1], len(x)

    def kernel(a, b):
        k = a @ b.T / d + 1
        return k * k * k  # many times faster than k**3

    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    same = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(same - 2 * xy.mean())


def compute_kid(x: np.ndarray, y: np.ndarray, subsets: int = SUBSETS, size: int = SUBSET_SIZE) -> tuple[float, float]:
    """Return the mean and standard deviation of the KID over random subsets of features.

    Args:
        x: Features [N, D] of the first set.
        y: Features [M, D] of the second set.
        subsets: Number of subsets.
        size: Number of images in a subset; fewer if a set is smaller.
    """
    if np.array_equal(x, y):
        return 0.0, 0.0  # the estimate assumes independent samples; for equal sets it is negative
    size = min(size, len(x), len(y))
    if size == len(x) == len(y):
        subsets = 1  # all subsets would be the same
    rng = np.random.RandomState(SEED)

    def draw(features):
        return np.asarray(features[rng.choice(len(features), size, replace=False)], np.float64)

    values = [estimate_mmd2(draw(x), draw(y)) for _ in range(subsets)]
    return float(np.mean(values)), float(np.std(values))


def compute(real, fake) -> dict[str, Figure]:
    """Compute the KID of two `sets.SetStatistics` from their features, as {"kid": ...}."""
    value, spread = compute_kid(real.features, fake.features)
    count = len(fake.features)
    few = (f"one subset of {count:,} images, not many of {SUBSET_SIZE:,}",) if count < SUBSET_SIZE else ()
    return {"kid": Figure(value, spread if count > SUBSET_SIZE else None, images=count, caveats=few)}
