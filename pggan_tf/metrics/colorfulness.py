"""Colourfulness (Hasler and Suesstrunk 2003, eq. 6, M3).

The colourfulness of an image is sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2), where m and s
are the mean and standard deviation of rg = R - G and yb = (R + G) / 2 - B over the pixels, with R,
G and B in 0..255. The metric is the mean over images: about 0 for gray, 33 for moderately and 59
for quite colourful images. Values near that of the real images are best.
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
