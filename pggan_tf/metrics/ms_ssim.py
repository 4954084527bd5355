"""Multi-scale structural similarity (Wang et al. 2003) between pairs of images of one set.

It measures variety (Odena et al. 2017, section 4.2; Karras et al. 2018, section 6.1): the figure to
reach is that of the real images, and a generator that has collapsed to a few images has a higher
one.

10,000 pairs; weights .0448 .2856 .3001 .2363 .1333 of five scales, each half as large as the one
before by means of 2 x 2 pixels; the window of `ssim`. As there, the window shrinks to images
smaller than it. Images below 16 pixels have fewer scales, whose weights are scaled to sum to 1.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pggan_tf.metrics import ssim

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def compute_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Return the similarity 0..1 of two images [H, W, C], 0..255."""
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
    """Return the similarity [N // 2] of the first image with the second, and so on.

    The images are uint8 [N, H, W, C].
    """
    with ThreadPoolExecutor() as pool:
        return np.array(list(pool.map(compute_similarity, images[0::2], images[1::2])))
