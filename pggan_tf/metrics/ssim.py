"""Structural similarity (Wang et al. 2004, eq. 13), 1 for equal images. Higher is better.

Each image is compared with the one that it should be: Gaussian window of 11 pixels and sigma 1.5,
K1 .01, K2 .03, range 255, at all places where the window fits; mean over pixels and channels, then
over images.
"""

from __future__ import annotations

import cv2
import numpy as np

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03


def compute_maps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarity of two images at every place of the window, in two versions.

    The second has only the terms of contrast and structure.

    For images smaller than the window, the window shrinks to their size and its sigma in
    proportion.

    Args:
        a: float64 [H, W, C], 0..255.
        b: Likewise.

    Returns:
        Two arrays [H - 10, W - 10, C], or [1, 1, C] of small images.
    """
    size = min(WINDOW, *a.shape[:2])
    at = np.arange(size) - (size - 1) / 2
    taps = np.exp(-(at**2) / (2 * (SIGMA * size / WINDOW) ** 2))
    taps /= taps.sum()

    def mean(x):
        first = size // 2  # the first place at which the window lies inside of the image
        out = cv2.sepFilter2D(x, cv2.CV_64F, taps, taps, borderType=cv2.BORDER_REFLECT_101).reshape(x.shape)
        return out[first : first + x.shape[0] - size + 1, first : first + x.shape[1] - size + 1]

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = (K1 * 255) ** 2, (K2 * 255) ** 2
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return structure * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1), structure


def compute_each(truth: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the similarity [N] of images, uint8 [N, H, W, C] twice."""
    return np.array([compute_maps(a.astype(np.float64), b.astype(np.float64))[0].mean() for a, b in zip(truth, images)])
