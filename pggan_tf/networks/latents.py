"""Draw latents from seeds: the same seed gives the same latent in Python, browsers and phones.

A latent is the vector of random numbers from which a generator makes an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def _hash32(x: np.ndarray) -> np.ndarray:
    """Return the hash of each number with the finaliser of MurmurHash3: uint32 to uint32."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        return x ^ (x >> np.uint32(16))


def latents(seeds: Sequence[int], size: int) -> np.ndarray:
    """Return the latents of N seeds, float32 [N, size], drawn from N(0, 1).

    The latent of a seed does not depend on the other seeds, on NumPy or on the machine: number i of
    seed s is the Box-Muller transform of two hashes of (s, i), which phones and browsers can
    compute, too.
    """
    with np.errstate(over="ignore"):
        s = _hash32(np.asarray(seeds, np.int64).astype(np.uint32) + np.uint32(0x9E3779B9))[:, None]
        i = np.arange(2 * size, dtype=np.uint32)[None]
        bits = _hash32(s ^ _hash32(i * np.uint32(0x9E3779B1) + np.uint32(1)))  # [N, 2 size]
    uniform = (bits.astype(np.float64) + 0.5) / 2**32
    radius, turn = np.sqrt(-2 * np.log(uniform[:, :size])), 2 * np.pi * uniform[:, size:]
    return (radius * np.cos(turn)).astype(np.float32)
