"""Colourfulness (Hasler and Suesstrunk 2003, eq. 6, M3): sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2), with means m and
deviations s of rg = R - G and yb = (R + G) / 2 - B over the pixels of an image, 0..255; mean over images. About 0 for gray, 33 for
moderately and 59 for quite colourful pictures. Good where it is what the data have."""

from __future__ import annotations

import numpy as np


def values(images: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, 3 or 1] -> [N]."""
    if images.shape[-1] == 1:
        return np.zeros(len(images))
    r, g, b = np.moveaxis(images.astype(np.float32), -1, 0)
    opponents = np.stack([r - g, (r + g) / 2 - b]).reshape(2, len(images), -1)
    spread, mean = (np.sqrt(np.square(f(axis=2)).sum(axis=0)) for f in (opponents.std, opponents.mean))
    return spread + 0.3 * mean
