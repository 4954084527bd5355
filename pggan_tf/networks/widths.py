"""Numbers of feature maps by resolution, without TensorFlow."""

from __future__ import annotations


def count_maps(resolution: int, fmap_base: int, fmap_max: int) -> int:
    """Return the number of feature maps of the layers at `resolution` pixels.

    The number is min(fmap_base / 2^(r-1), fmap_max) at a resolution of 2^r, and at least 1 (Karras
    et al. 2018, table 2).
    """
    return max(1, min(2 * fmap_base // resolution, fmap_max))
