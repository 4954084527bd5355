"""Multi-scale structural similarity (MS-SSIM, Wang et al. 2003) between images of one set.

The metric measures variety (Odena et al. 2017, section 4.2; Karras et al. 2018, section 6.1).
Values near that of the real images are best; if a generator has collapsed to a few images, its
value is higher.

Usually 10,000 pairs are compared. Five scales have the weights .0448 .2856 .3001 .2363 .1333; each
scale is half as large as the one before, by averaging 2 x 2 pixels. The window is that of `ssim`
and shrinks to the image size if the image is smaller. Images below 16 pixels have fewer scales,
whose weights are scaled to sum to 1.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pggan_tf.metrics import ssim

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def compute_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Return the MS-SSIM, in 0..1, of two images [H, W, C] with values in 0..255."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    scales = min(len(WEIGHTS), min(a.shape[:2]).bit_length())
    weights = WEIGHTS if scales == len(WEIGHTS) else np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    out = 1.0
    for scale, weight in enumerate(weights):
        similarity, structure = ssim.compute_maps(a, b)
        last = scale == scales - 1
        out *= max(float((similarity if last else structure).mean()), 0.0) ** weight
        if not last:
            a, b = (x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2] for x in (a, b))
            a, b = ((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4 for x in (a, b))
    return out


def compute_each(images: np.ndarray) -> np.ndarray:
    """Return the MS-SSIM [N // 2] of images 0 and 1, of images 2 and 3, and so on.

    The images are uint8 [N, H, W, C].
    """
    with ThreadPoolExecutor() as pool:
        return np.array(list(pool.map(compute_similarity, images[0::2], images[1::2])))
