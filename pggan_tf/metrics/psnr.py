"""Peak signal-to-noise ratio (PSNR), 10 log10(255^2 / mean squared error), in dB.

Higher is better. Each image is compared with its original; the metric is the mean over images.
"""

from __future__ import annotations

import numpy as np


def compute_each(truth: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the PSNR [N] of each image, which is infinite if the image equals its original.

    Args:
        truth: Originals, uint8 [N, H, W, C].
        images: Images to compare with them, uint8 [N, H, W, C].
    """
    error = np.square(truth.astype(np.float64) - images).reshape(len(truth), -1).mean(axis=1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / error)
