"""Kernel distance (KID, Binkowski et al. 2018, section 4): the unbiased squared maximum mean discrepancy with the kernel
(x.y / d + 1)^3, mean and standard deviation over 100 subsets of 1,000. Lower is better; unbiased, so it may be below 0."""

from __future__ import annotations

import numpy as np

from pggan_tf.metrics import Figure

SUBSETS, SUBSET_SIZE, SEED = 100, 1000, 2020


def mmd2(x: np.ndarray, y: np.ndarray) -> float:
    """Features [M, D], [M, D] -> the unbiased estimate."""
    d, m = x.shape[1], len(x)

    def kernel(a, b):
        k = a @ b.T / d + 1
        return k * k * k  # many times faster than k**3

    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    same = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(same - 2 * xy.mean())


def kid(x: np.ndarray, y: np.ndarray, subsets: int = SUBSETS, size: int = SUBSET_SIZE) -> tuple[float, float]:
    """Features [N, D], [M, D] -> mean and standard deviation."""
    if np.array_equal(x, y):
        return 0.0, 0.0  # the estimate is for independent samples: a set against itself it would put below 0
    size = min(size, len(x), len(y))
    if size == len(x) == len(y):
        subsets = 1  # all of them are the same
    rng = np.random.RandomState(SEED)

    def some(features):
        return np.asarray(features[rng.choice(len(features), size, replace=False)], np.float64)

    values = [mmd2(some(x), some(y)) for _ in range(subsets)]
    return float(np.mean(values)), float(np.std(values))


def figures(real, fake) -> dict[str, Figure]:
    value, spread = kid(real.features, fake.features)
    count = len(fake.features)
    few = (f"one subset of {count:,} images, not many of {SUBSET_SIZE:,}",) if count < SUBSET_SIZE else ()
    return {"kid": Figure(value, spread if count > SUBSET_SIZE else None, images=count, caveats=few)}
