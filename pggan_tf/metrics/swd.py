"""Sliced Wasserstein distance between patches (SWD, Karras et al. 2018, section 5).

Lower is better. The metric is the mean over the levels of a Laplacian pyramid, times 1000 as in the
paper. It uses the first 16,384 images of each set with values in 0..255. The pyramid goes down to
16 pixels and uses the 5x5 binomial filter with mirrored borders. 128 patches of 7x7 pixels are
taken from each image and level; each channel is normalised over all patches of a set. The patches
are projected onto 4 sets of 128 random directions, and the distance is the mean absolute difference
between the sorted projections of both sets. The spread is the standard deviation over the four sets
of directions.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from pggan_tf.errors import UserError
from pggan_tf.metrics import Figure
from pggan_tf.metrics.scratch import DiskArray

IMAGES, PATCHES, SIZE, SMALLEST = 16_384, 128, 7, 16
REPEATS, DIRECTIONS = 4, 128
# Patches are stored on disk as int16 in units of 1/64 grey level, with an error of at most 1/128.
# That takes half the space of float32: 10 GB for two sets at 128 pixels.
_STEPS = 64
_IMAGES = 32  # number of images whose patches are extracted at a time
_ROWS = 1 << 13  # number of patches that are read at a time
_TOGETHER = 32  # number of directions whose projections are sorted at a time


def list_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the height and width of each pyramid level: of 32 and 16 pixels for (32, 32)."""
    out = [shape]
    while min(out[-1]) // 2 >= SMALLEST and out[-1][0] % 2 == out[-1][1] % 2 == 0:
        out.append((out[-1][0] // 2, out[-1][1] // 2))
    return out


def build_pyramid(image: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the Laplacian pyramid of an image [H, W, C]: `count` levels, float32 [h, w, C].

    Each level is the difference between the image at this size and the enlarged image of the next
    smaller size. The last level is the smallest image itself.
    """
    out: list[np.ndarray] = []
    current: np.ndarray = image.astype(np.float32)
    for _ in range(count - 1):
        smaller = cv2.pyrDown(current).reshape(current.shape[0] // 2, current.shape[1] // 2, -1)
        out.append(current - cv2.pyrUp(smaller).reshape(current.shape))
        current = smaller
    return [*out, current]


def _draw_corners(number: int, level: int, shape: tuple[int, int]) -> np.ndarray:
    """Draw the top left corners [PATCHES, 2] of the patches of one image at one pyramid level.

    Args:
        number: Index of the image, which seeds the random numbers together with `level`.
        level: Index of the level.
        shape: Height and width of the level in pixels.
    """
    ends = shape[0] - SIZE + 1, shape[1] - SIZE + 1
    # NumPy draws other numbers for one bound than for two equal ones.
    bound = ends[0] if ends[0] == ends[1] else ends
    return np.random.default_rng((number, level)).integers(0, bound, (PATCHES, 2))


class Patches:
    """Patches of the first IMAGES images of a set at all pyramid levels, stored on disk.

    Args:
        shape: Height and width of the images in pixels.
        channels: Number of channels of the images.
        images: Number of images that will be added.

    Raises:
        UserError: The images are smaller than a patch.
    """

    def __init__(self, shape: tuple[int, int], channels: int, images: int):
        if min(shape) < SIZE:
            raise UserError(f"swd at {min(shape)} px: its patches are {SIZE} x {SIZE} pixels. Take another metric.")
        self.shapes, self.images, self.number = list_shapes(shape), min(images, IMAGES), 0
        self.sizes = [max(level) for level in self.shapes]  # resolution of each level
        rows = (self.images * PATCHES, channels, SIZE * SIZE)
        self.levels = [DiskArray(rows, np.int16) for _ in self.sizes]  # in units of 1 / _STEPS
        self.detailed = [False for _ in self.sizes]  # whether a level has any value but zero

    def add(self, batch: np.ndarray) -> None:
        """Extract and store the patches of images, uint8 [N, H, W, C].

        Images beyond the first IMAGES are ignored.
        """
        batch = batch[: self.images - self.number]
        # In one thread: with so many short calls, threads would mostly wait for each other.
        for first in range(0, len(batch), _IMAGES):
            self._add_together(batch[first : first + _IMAGES])

    def _add_together(self, images: np.ndarray) -> None:
        count, channels = len(images), images.shape[-1]
        pyramids = [np.empty((count, *shape, channels), np.int16) for shape in self.shapes]
        for outs, image in zip(zip(*pyramids), images):
            for out, level in zip(outs, build_pyramid(image, len(self.sizes))):
                np.rint(np.multiply(level, _STEPS, out=level), out=out, casting="unsafe")
        rows = slice(self.number * PATCHES, (self.number + count) * PATCHES)
        for i, ((height, width), level) in enumerate(zip(self.shapes, pyramids)):
            numbers = range(self.number, self.number + count)
            # [N, PATCHES]
            corners = np.stack([_draw_corners(n, i, (height, width)) @ (width, 1) for n in numbers])
            corners += np.arange(count)[:, None] * (height * width)
            window = (np.arange(SIZE)[:, None] * width + np.arange(SIZE)).reshape(1, -1)  # [1, 7 * 7]
            offsets = window * channels + np.arange(channels)[:, None]  # [C, 7 * 7]
            found = np.take(level.reshape(-1), corners.reshape(-1, 1, 1) * channels + offsets)
            self.levels[i][rows] = found  # [N * PATCHES, C, 7 * 7]
            self.detailed[i] |= bool(found.any())
        self.number += count


def _measure_channels(patches: np.ndarray | DiskArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation [C] of each channel over patches [M, C, P].

    A standard deviation of 0 is replaced by 1.
    """

    def add_up(first):
        part = patches[first : first + _ROWS].astype(np.float64)
        return part.sum((0, 2)), np.square(part).sum((0, 2))

    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(add_up, range(0, len(patches), _ROWS)))
    total, squares = (np.sum([p[i] for p in parts], axis=0) / (patches.shape[0] * patches.shape[2]) for i in (0, 1))
    deviation = np.sqrt(np.maximum(squares - total**2, 0))
    return total, np.where(deviation > 0, deviation, 1.0)


class _Projector:
    """Projects patches [M, C, P] onto directions and sorts the projections.

    The buffers are allocated once and reused, because allocating them in each call takes longer
    than the matrix products.
    """

    def __init__(self, patches: np.ndarray | DiskArray, pool: ThreadPoolExecutor):
        self.patches, self.pool = patches, pool
        self.out = np.empty((_TOGETHER, len(patches)), np.float32)
        self.buffers = threading.local()

    def _read(self, first: int) -> np.ndarray:
        """Return up to _ROWS patches, starting at index `first`, as float32 [rows, C P].

        The array is a buffer that the next call in the same thread overwrites.
        """
        shape, own = self.patches.shape[1:], self.buffers
        if not hasattr(own, "raw"):
            own.raw = np.empty((_ROWS, *shape), self.patches.dtype)
            own.floats = np.empty((_ROWS, shape[0] * shape[1]), np.float32)
        count = min(_ROWS, len(self.patches) - first)
        if isinstance(self.patches, DiskArray):
            part = self.patches.read(first, own.raw[:count])
        else:
            part = self.patches[first : first + count]
        np.copyto(own.floats[:count], part.reshape(count, -1))
        return own.floats[:count]

    def sort_projections(self, weights: np.ndarray) -> np.ndarray:
        """Return the sorted projections [D, M] of all patches onto directions [D, C P].

        The array is a buffer that the next call overwrites.
        """

        def project(first):
            part = self._read(first)
            np.matmul(weights, part.T, out=self.out[:, first : first + len(part)])

        list(self.pool.map(project, range(0, len(self.patches), _ROWS)))
        list(self.pool.map(np.ndarray.sort, self.out))
        return self.out


def _measure_difference(x: np.ndarray, y: np.ndarray, offset: np.float32) -> float:
    """Return the mean of |x - y - offset|. x is overwritten."""
    x -= y
    x -= offset
    return float(np.abs(x, out=x).mean())


def compute_distances(a: np.ndarray | DiskArray, b: np.ndarray | DiskArray, seed: int = 0) -> list[float]:
    """Compute the sliced Wasserstein distance between two sets of patches.

    The distance is the mean absolute difference between the sorted projections of a and b.

    Args:
        a: Patches of one set, [M, C, P] with P pixels each.
        b: Patches of the other set, of the same shape.
        seed: Random seed of the directions.

    Returns:
        REPEATS distances, one for each set of random directions.
    """
    rng = np.random.default_rng(seed)
    c, p = a.shape[1:]
    scales = [_measure_channels(x) for x in (a, b)]
    distances = []
    # The pool has a thread for each core, so matrix products must not start threads of their own.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor() as pool:
        projectors = [_Projector(x, pool) for x in (a, b)]
        for _ in range(REPEATS):
            directions = rng.normal(size=(c, p, DIRECTIONS))
            directions /= np.sqrt(np.square(directions).sum((0, 1)))
            total = 0.0
            for i in range(0, DIRECTIONS, _TOGETHER):
                some = directions[..., i : i + _TOGETHER]
                # Dividing the directions by the standard deviation has the same effect as dividing
                # the patches. Subtracting the mean shifts a projection but keeps its order, so this
                # is done at the end.
                weights = [
                    (some / std[:, None, None]).reshape(c * p, -1).T.astype(np.float32, order="C") for _, std in scales
                ]
                means = [(some * (mean / std)[:, None, None]).sum((0, 1)) for mean, std in scales]
                pair = [projector.sort_projections(w) for projector, w in zip(projectors, weights)]
                total += sum(pool.map(_measure_difference, *pair, (means[0] - means[1]).astype(np.float32)))
            distances.append(total / DIRECTIONS)
    return distances


def compute(real, fake) -> dict[str, Figure]:
    """Compute the SWD of two `sets.SetStatistics` from their patches, as {"swd": ...}.

    The `parts` of the result are the distances of the pyramid levels.
    """
    a, b = real.patches, fake.patches
    each = 1e3 * np.array([compute_distances(*pair) for pair in zip(a.levels, b.levels)])  # [levels, REPEATS]
    parts = {f"swd_{size}": float(value) for size, value in zip(a.sizes, each.mean(axis=1))}
    flat = [size for size, *both in zip(a.sizes, a.detailed, b.detailed) if not all(both)]
    caveats = tuple(f"images without any detail at {size} px" for size in flat)
    return {"swd": Figure(float(each.mean()), float(each.mean(axis=0).std()), parts, b.images, caveats)}
