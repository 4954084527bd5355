"""Structural similarity (SSIM, Wang et al. 2004, eq. 13). Higher is better.

Each image is compared with its original; the SSIM of equal images is 1. The window is a Gaussian of
11 pixels with sigma 1.5, used at all positions where it lies within the image; K1 is 0.01, K2 0.03,
and the range of values 255. The metric is the mean over positions and channels, then over images.
"""

from __future__ import annotations

import cv2
import numpy as np

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03


def compute_maps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the SSIM of two images at each position of the window.

    If the images are smaller than the window, the window shrinks to their smaller side and sigma
    shrinks in proportion.

    Args:
        a: float64 [H, W, C] with values in 0..255.
        b: Image of the same shape and range.

    Returns:
        Two arrays [H - 10, W - 10, C] ([1, 1, C] for small square images): the SSIM, and the
        product of only its contrast and structure terms.
    """
    size = min(WINDOW, *a.shape[:2])
    at = np.arange(size) - (size - 1) / 2
    taps = np.exp(-(at**2) / (2 * (SIGMA * size / WINDOW) ** 2))
    taps /= taps.sum()

    def mean(x):
        first = size // 2  # first position at which the window lies within the image
        out = cv2.sepFilter2D(x, cv2.CV_64F, taps, taps, borderType=cv2.BORDER_REFLECT_101).reshape(x.shape)
        return out[first : first + x.shape[0] - size + 1, first : first + x.shape[1] - size + 1]

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = (K1 * 255) ** 2, (K2 * 255) ** 2
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return structure * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1), structure


def compute_each(truth: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the SSIM [N] of each image.

    Args:
        truth: Originals, uint8 [N, H, W, C].
        images: Images to compare with them, uint8 [N, H, W, C].
    """
    return np.array([compute_maps(a.astype(np.float64), b.astype(np.float64))[0].mean() for a, b in zip(truth, images)])
