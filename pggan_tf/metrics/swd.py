"""Sliced Wasserstein distance between the patches of two sets of images, level by level of a Laplacian pyramid (Karras et al. 2018,
section 5). Lower is better; times 1000, as there.

16,384 images; pyramid down to 16 pixels with the 5x5 binomial filter and mirrored borders, on values 0..255; 128 patches of
7x7 per image and level, normalised channel by channel over all of them; 4 x 128 random directions; mean absolute difference of
the sorted projections.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

IMAGES, PATCHES, SIZE, SMALLEST = 16_384, 128, 7, 16
REPEATS, DIRECTIONS = 4, 128
_TAPS = np.array([1, 4, 6, 4, 1], np.float32) / 16
_TOGETHER = 16  # directions that are sorted together


def levels(resolution: int) -> list[int]:
    """128 -> [128, 64, 32, 16]."""
    out = [resolution]
    while out[-1] // 2 >= SMALLEST and out[-1] % 2 == 0:
        out.append(out[-1] // 2)
    return out


def _down(image: np.ndarray) -> np.ndarray:
    out = cv2.sepFilter2D(image, cv2.CV_32F, _TAPS, _TAPS, borderType=cv2.BORDER_REFLECT_101)
    return out[::2, ::2].reshape(image.shape[0] // 2, image.shape[1] // 2, -1)


def _up(image: np.ndarray) -> np.ndarray:
    h, w, c = image.shape
    wide = np.zeros((2 * h, 2 * w, c), np.float32)
    wide[::2, ::2] = image
    return cv2.sepFilter2D(wide, cv2.CV_32F, 2 * _TAPS, 2 * _TAPS, borderType=cv2.BORDER_REFLECT_101).reshape(
        wide.shape
    )


def pyramid(image: np.ndarray, count: int) -> list[np.ndarray]:
    """[H, W, C] -> `count` levels, float32: what each size adds to the next smaller one, and the smallest itself."""
    out, current = [], image.astype(np.float32)
    for _ in range(count - 1):
        smaller = _down(current)
        out.append(current - _up(smaller))
        current = smaller
    return [*out, current]


def _positions(number: int, level: int, side: int) -> np.ndarray:
    """Corners of the patches of one image, from its number alone: [PATCHES, 2]."""
    return np.random.default_rng((number, level)).integers(0, side - SIZE + 1, (PATCHES, 2))


def descriptors(
    batches: Iterable[np.ndarray], resolution: int, channels: int, images: int, folder: str
) -> list[np.ndarray]:
    """uint8 batches [N, H, W, C] -> for every level float32 [images * PATCHES, C, 7 * 7], in files of `folder`: they need not
    fit into memory."""
    sizes = levels(resolution)
    shape = (images * PATCHES, channels, SIZE * SIZE)
    out = [np.memmap(f"{folder}/level{i}", np.float32, "w+", shape=shape) for i in range(len(sizes))]

    def one(numbered):
        number, image = numbered
        for i, level in enumerate(pyramid(image, len(sizes))):
            windows = np.lib.stride_tricks.sliding_window_view(level, (SIZE, SIZE), axis=(0, 1))  # [H',W',C,7,7]
            y, x = _positions(number, i, sizes[i]).T
            out[i][number * PATCHES : (number + 1) * PATCHES] = windows[y, x].reshape(PATCHES, channels, -1)

    number = 0
    with ThreadPoolExecutor() as pool:
        for batch in batches:
            batch = batch[: images - number]
            list(pool.map(one, enumerate(batch, number)))
            number += len(batch)
            if number == images:
                break
    return out


def _normalised(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [C] over all patches and pixels."""
    sums, squares, count = 0.0, 0.0, 0
    for first in range(0, len(found), 1 << 16):
        part = np.asarray(found[first : first + (1 << 16)], np.float64)
        sums = sums + part.sum((0, 2))
        squares = squares + np.square(part).sum((0, 2))
        count += part.shape[0] * part.shape[2]
    mean = sums / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0)) + 1e-12


def sliced_distance(a: np.ndarray, b: np.ndarray, seed: int = 0) -> float:
    """Descriptors [M, C, P] of two sets -> mean |sorted projection of a - sorted projection of b|."""
    rng = np.random.default_rng(seed)
    c, p = a.shape[1:]
    scales = [_normalised(x) for x in (a, b)]

    def projected(x, mean, std, directions):  # directions: [C,P,D]; the normalisation goes into them
        weights = (directions / std[:, None, None]).astype(np.float32)
        offset = (directions * (mean / std)[:, None, None]).sum((0, 1)).astype(np.float32)
        out = np.asarray(x).reshape(len(x), -1) @ weights.reshape(c * p, -1) - offset
        return np.sort(np.ascontiguousarray(out.T), axis=1)  # [D,M]

    def part(directions):
        pair = [projected(x, *scale, directions) for x, scale in zip((a, b), scales)]
        return float(np.abs(pair[0] - pair[1]).mean())

    parts = []
    for _ in range(REPEATS):
        directions = rng.normal(size=(c, p, DIRECTIONS))
        directions /= np.sqrt(np.square(directions).sum((0, 1)))
        parts += [directions[..., i : i + _TOGETHER] for i in range(0, DIRECTIONS, _TOGETHER)]
    with ThreadPoolExecutor(2) as pool:
        return float(np.mean(list(pool.map(part, parts))))


def swd(a: Iterator[np.ndarray], b: Iterator[np.ndarray], resolution: int, channels: int, images: int = IMAGES) -> dict:
    """Batches of uint8 images of two sets -> {'swd_128': ..., 'swd_64': ..., 'swd': their mean}, times 1000."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        found = [descriptors(x, resolution, channels, images, folder) for x, folder in ((a, first), (b, second))]
        out = {f"swd_{s}": 1e3 * sliced_distance(*pair) for s, *pair in zip(levels(resolution), *found)}
    return {**out, "swd": float(np.mean(list(out.values())))}
