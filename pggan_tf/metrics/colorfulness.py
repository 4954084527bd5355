"""Colourfulness (Hasler and Suesstrunk 2003, eq. 6, M3).

It is sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2).

m and s are mean and standard deviation of rg = R - G and yb = (R + G) / 2 - B over the pixels of an
image, 0..255; the figure is the mean over images. It is about 0 for gray, 33 for moderately and 59
for quite colourful pictures. The figure to reach is that of the real images.
"""

from __future__ import annotations

import numpy as np


def compute_each(images: np.ndarray) -> np.ndarray:
    """Return the colourfulness [N] of images, uint8 [N, H, W, 1 or 3]."""
    if images.shape[-1] == 1:
        return np.zeros(len(images))
    r, g, b = np.moveaxis(images.astype(np.float32), -1, 0)
    opponents = np.stack([r - g, (r + g) / 2 - b]).reshape(2, len(images), -1)
    spread, mean = (np.sqrt(np.square(f(axis=2)).sum(axis=0)) for f in (opponents.std, opponents.mean))
    return spread + 0.3 * mean
