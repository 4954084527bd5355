"""Peak signal-to-noise ratio, 10 log10(255^2 / mean squared error), in dB. Higher is better.

Each image is compared with the one that it should be; the figure is the mean over images.
"""

from __future__ import annotations

import numpy as np


def compute_each(truth: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the ratio [N] of images, uint8 [N, H, W, C] twice; infinite where they are equal."""
    error = np.square(truth.astype(np.float64) - images).reshape(len(truth), -1).mean(axis=1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / error)
