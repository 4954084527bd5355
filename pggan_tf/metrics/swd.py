"""Sliced Wasserstein distance between the patches of two sets of images, level by level of a Laplacian pyramid (Karras et al. 2018,
section 5). Lower is better; times 1000, as there.

16,384 images; pyramid down to 16 pixels with the 5x5 binomial filter and mirrored borders, on values 0..255; 128 patches of
7x7 per image and level, normalised channel by channel over all of them; 4 x 128 random directions; mean absolute difference of
the sorted projections. The figure's spread is the standard deviation over the four sets of directions.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from pggan_tf.errors import UserError
from pggan_tf.metrics import Figure
from pggan_tf.metrics.scratch import Rows

IMAGES, PATCHES, SIZE, SMALLEST = 16_384, 128, 7, 16
REPEATS, DIRECTIONS = 4, 128
# Patches wait on disk as int16 of 1/64 grey level, at most 1/128 off: half of what float32 would take, 10 GB for two sets at 128 px.
_STEPS = 64
_IMAGES = 32  # whose patches are cut together
_ROWS = 1 << 13  # patches that are read together
_TOGETHER = 32  # directions that are sorted together


def levels(resolution: int) -> list[int]:
    """128 -> [128, 64, 32, 16]."""
    out = [resolution]
    while out[-1] // 2 >= SMALLEST and out[-1] % 2 == 0:
        out.append(out[-1] // 2)
    return out


def pyramid(image: np.ndarray, count: int) -> list[np.ndarray]:
    """[H, W, C] -> `count` levels, float32: what each size adds to the next smaller one, and the smallest itself."""
    out, current = [], image.astype(np.float32)
    for _ in range(count - 1):
        smaller = cv2.pyrDown(current).reshape(current.shape[0] // 2, current.shape[1] // 2, -1)
        out.append(current - cv2.pyrUp(smaller).reshape(current.shape))
        current = smaller
    return [*out, current]


def _positions(number: int, level: int, side: int) -> np.ndarray:
    """Corners of the patches of one image, from its number alone: [PATCHES, 2]."""
    return np.random.default_rng((number, level)).integers(0, side - SIZE + 1, (PATCHES, 2))


class Patches:
    """Those of a set of images: for every level int16 [images * PATCHES, C, 7 * 7]. The first IMAGES at most are taken."""

    def __init__(self, resolution: int, channels: int, images: int):
        if resolution < SIZE:
            raise UserError(f"swd at {resolution} px: its patches are {SIZE} x {SIZE} pixels. Take another metric.")
        self.sizes, self.images, self.number = levels(resolution), min(images, IMAGES), 0
        shape = (self.images * PATCHES, channels, SIZE * SIZE)
        self.levels = [Rows(shape, np.int16) for _ in self.sizes]
        self.detailed = [False for _ in self.sizes]  # whether there is anything but zeros

    def add(self, batch: np.ndarray) -> None:
        """uint8 [N, H, W, C]."""
        batch = batch[: self.images - self.number]
        # One after the other: these are many short calls, which two threads would spend in waiting for each other.
        for first in range(0, len(batch), _IMAGES):
            self._some(batch[first : first + _IMAGES])

    def _some(self, images: np.ndarray) -> None:
        count, channels = len(images), images.shape[-1]
        pyramids = [np.empty((count, side, side, channels), np.int16) for side in self.sizes]
        for outs, image in zip(zip(*pyramids), images):
            for out, level in zip(outs, pyramid(image, len(self.sizes))):
                np.rint(np.multiply(level, _STEPS, out=level), out=out, casting="unsafe")
        rows = slice(self.number * PATCHES, (self.number + count) * PATCHES)
        for i, (side, level) in enumerate(zip(self.sizes, pyramids)):
            corners = np.stack([_positions(self.number + n, i, side) @ (side, 1) for n in range(count)])  # [N, PATCHES]
            corners += np.arange(count)[:, None] * side**2
            window = (np.arange(SIZE)[:, None] * side + np.arange(SIZE)).reshape(1, -1) * channels + np.arange(
                channels
            )[:, None]
            found = np.take(level.reshape(-1), corners.reshape(-1, 1, 1) * channels + window)  # [N * PATCHES, C, 7 * 7]
            self.levels[i][rows] = found
            self.detailed[i] |= bool(found.any())
        self.number += count


def _normalised(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [C] over all patches and pixels; 1 for the deviation where there is none."""

    def sums(first):
        part = found[first : first + _ROWS].astype(np.float64)
        return part.sum((0, 2)), np.square(part).sum((0, 2))

    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(sums, range(0, len(found), _ROWS)))
    total, squares = (np.sum([p[i] for p in parts], axis=0) / (found.shape[0] * found.shape[2]) for i in (0, 1))
    deviation = np.sqrt(np.maximum(squares - total**2, 0))
    return total, np.where(deviation > 0, deviation, 1.0)


def sliced_distances(a: np.ndarray, b: np.ndarray, seed: int = 0) -> list[float]:
    """Patches [M, C, P] of two sets -> mean |sorted projection of a - sorted projection of b|, for each set of directions."""
    rng = np.random.default_rng(seed)
    c, p = a.shape[1:]
    scales = [_normalised(x) for x in (a, b)]
    # Memory that is used again: asking the system for it at every turn takes longer than the products.
    outs = [np.empty((_TOGETHER, len(x)), np.float32) for x in (a, b)]
    own = threading.local()

    def floats(x, first):  # [_ROWS or fewer, CP], until the thread's next call
        if not hasattr(own, "read"):
            own.read, own.floats = np.empty((_ROWS, c, p), a.dtype), np.empty((_ROWS, c * p), np.float32)
        count = min(_ROWS, len(x) - first)
        part = x.read(first, own.read[:count]) if isinstance(x, Rows) else x[first : first + count]
        np.copyto(own.floats[:count], part.reshape(count, -1))
        return own.floats[:count]

    def projected(x, out, weights):  # weights: [D,CP]
        def rows(first):
            part = floats(x, first)
            np.matmul(weights, part.T, out=out[:, first : first + len(part)])

        list(pool.map(rows, range(0, len(x), _ROWS)))
        list(pool.map(np.ndarray.sort, out))
        return out

    def difference(x, y, offset):
        x -= y
        x -= offset
        return float(np.abs(x, out=x).mean())

    found = []
    # A thread for each core already: products that bring threads of their own would wait for each other.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor() as pool:
        for _ in range(REPEATS):
            directions = rng.normal(size=(c, p, DIRECTIONS))
            directions /= np.sqrt(np.square(directions).sum((0, 1)))
            total = 0.0
            for i in range(0, DIRECTIONS, _TOGETHER):
                some = directions[..., i : i + _TOGETHER]
                # The normalisation goes into the directions; its mean moves a whole projection, whose order it leaves alone.
                weights = [
                    (some / std[:, None, None]).reshape(c * p, -1).T.astype(np.float32, order="C") for _, std in scales
                ]
                means = [(some * (mean / std)[:, None, None]).sum((0, 1)) for mean, std in scales]
                pair = [projected(*three) for three in zip((a, b), outs, weights)]
                total += sum(pool.map(difference, *pair, (means[0] - means[1]).astype(np.float32)))
            found.append(total / DIRECTIONS)
    return found


def figures(real, fake) -> dict[str, Figure]:
    a, b = real.patches, fake.patches
    each = 1e3 * np.array([sliced_distances(*pair) for pair in zip(a.levels, b.levels)])  # [levels, REPEATS]
    parts = {f"swd_{size}": float(value) for size, value in zip(a.sizes, each.mean(axis=1))}
    flat = [size for size, *both in zip(a.sizes, a.detailed, b.detailed) if not all(both)]
    caveats = tuple(f"images without any detail at {size} px" for size in flat)
    return {"swd": Figure(float(each.mean()), float(each.mean(axis=0).std()), parts, b.images, caveats)}
