"""Kernel distance (KID, Binkowski et al. 2018, section 4): the unbiased squared maximum mean discrepancy with the kernel
(x.y / d + 1)^3, mean and standard deviation over subsets. Lower is better; unbiased, so it may be below 0."""

from __future__ import annotations

import numpy as np

SUBSETS, SUBSET_SIZE, SEED = 100, 1000, 2020


def mmd2(x: np.ndarray, y: np.ndarray) -> float:
    """Features [M, D], [M, D] -> the unbiased estimate."""
    d, m = x.shape[1], len(x)
    xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    same = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(same - 2 * xy.mean())


def kid(x: np.ndarray, y: np.ndarray, subsets: int = SUBSETS, size: int = SUBSET_SIZE) -> tuple[float, float]:
    """Features [N, D], [M, D] -> mean and standard deviation."""
    size = min(size, len(x), len(y))
    rng = np.random.RandomState(SEED)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    values = [
        mmd2(x[rng.choice(len(x), size, replace=False)], y[rng.choice(len(y), size, replace=False)])
        for _ in range(subsets)
    ]
    return float(np.mean(values)), float(np.std(values))
