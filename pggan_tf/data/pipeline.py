"""Shards -> tf.data batches of one resolution, in an order that follows from (seed, images seen) alone.

The order is never stored and never replayed: image number `n` of a run is found by arithmetic, so a resumed run starts
at the next image, and memory does not depend on the dataset's size.
"""

from __future__ import annotations

import math
import os

import numpy as np

from pggan_tf.data.shards import Shards

_ROUNDS = 6
# Several small batches are gathered at a time: below this many bytes the call costs more than the copy.
_GATHER_BYTES = 1 << 20
# Gathers at a time. Each holds its images in memory, and copies them while it leaves Python to the others.
_MOST_READERS = 16


def _mix(x: np.ndarray) -> np.ndarray:
    """uint64 array -> well mixed uint64: the finaliser of SplitMix64 (Steele et al. 2014, figure 15)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def permute(positions: np.ndarray, count: int, key: np.ndarray) -> np.ndarray:
    """positions [N] in 0..count-1 -> their places under the permutation that `key` [N] names, without a table.

    A Feistel network over the next even power of two that walks on while it lands outside (Black and Rogaway 2002,
    "Ciphers with arbitrary finite domains").
    """
    half = np.uint64(max(1, (max(count - 1, 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    one = bool((key == key[:1]).all())  # nearly always: it is that of an epoch
    keys = [_mix((key[:1] if one else key) ^ np.uint64(r)) for r in range(_ROUNDS)]
    x = positions.astype(np.uint64)
    todo = np.arange(len(x))
    while len(todo):
        left, right = x[todo] >> half, x[todo] & low
        for k in keys:
            left, right = right, left ^ (_mix(right ^ (k if one else k[todo])) & low)
        x[todo] = (left << half) | right
        todo = todo[x[todo] >= np.uint64(count)]
    return x.astype(np.int64)


def order(numbers: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of images in a run [N] -> (which image of the dataset, whether mirrored), every epoch another permutation."""
    numbers = np.asarray(numbers, np.int64)
    epoch = (numbers // count).astype(np.uint64)
    key = _mix(epoch ^ _mix(np.full(len(numbers), seed, np.uint64)))
    flips = _mix(
        numbers.astype(np.uint64) ^ _mix(np.full(len(numbers), seed, np.uint64) ^ np.uint64(0xF11F))
    ) & np.uint64(1)
    return permute(numbers % count, count, key), flips.astype(bool)


_BLOCKS = 20


def _blocks(count: int, held_out: float) -> tuple[int, int]:
    """(images of a block, how many of them, the last ones, are held out). Blocks, so that every part of the data is among them,
    and that neighbours, which may be cut from one photo, mostly stay together."""
    size = min(count, max(math.ceil(1 / held_out), round(count / _BLOCKS)))
    return size, min(max(1, round(size * held_out)), size - 1)


def kept(shards: Shards, resolution: int, held_out: float) -> int:
    """How many images are trained on: all but about the share `held_out`, and but one at least."""
    count = shards.count(resolution)
    if not held_out or count < 2:
        return count
    size, out = _blocks(count, held_out)
    return count - count // size * out


def trained(numbers: np.ndarray, count: int, held_out: float) -> np.ndarray:
    """Numbers [N] in 0..kept-1 -> which image of `count`."""
    if not held_out or count < 2:
        return numbers
    size, out = _blocks(count, held_out)
    return np.minimum(numbers // (size - out), count // size) * out + numbers


def held(numbers: np.ndarray, count: int, held_out: float) -> np.ndarray:
    """Numbers [N] of those that are held out -> which image of `count`."""
    size, out = _blocks(count, held_out)
    return numbers // out * size + size - out + numbers % out


def spread(some: int, count: int, start: int = 0) -> np.ndarray:
    """`some` of `count` numbers, each once, from all over: the same ones each time."""
    return order(np.arange(start, start + some), count, 0)[0]


def _patches(pixels: np.ndarray, patch: int, numbers: np.ndarray, seed: int) -> np.ndarray:
    """[N,R,R,C] -> [N,patch,patch,C], cut out at places that follow from the images' numbers."""
    places = pixels.shape[1] - patch + 1
    drawn = _mix(numbers.astype(np.uint64) ^ _mix(np.full(len(numbers), seed, np.uint64) ^ np.uint64(0xC07)))
    y, x = (drawn >> np.uint64(32)) % np.uint64(places), (drawn & np.uint64(0xFFFFFFFF)) % np.uint64(places)
    return np.stack([image[b : b + patch, a : a + patch] for image, b, a in zip(pixels, y.tolist(), x.tolist())])


def _mirrored(images: np.ndarray) -> np.ndarray:
    """[N,R,R,C] -> the same, left and right exchanged. Channel by channel, or NumPy would move the few bytes of a pixel at a time."""
    out = np.empty_like(images)
    for c in range(images.shape[-1]):
        out[..., c] = images[:, :, ::-1, c]
    return out


def read(
    shards: Shards,
    resolution: int,
    seed: int,
    numbers: np.ndarray,
    mirror: bool,
    patch: int | None = None,
    held_out: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Images of these numbers [N] of a run: uint8 [N,R,R,C], or patches of them, and labels int64 [N]."""
    indices, flips = order(numbers, kept(shards, resolution, held_out), seed)
    indices = trained(indices, shards.count(resolution), held_out)
    pixels = shards.read(resolution, indices)
    if patch:
        pixels = _patches(pixels, patch, numbers, seed)
    if mirror:
        pixels[flips] = _mirrored(pixels[flips])
    return pixels, shards.labels(resolution, indices)


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def batches(
    shards: Shards,
    resolution: int,
    seed: int,
    start: int,
    end: int,
    batch: int,
    mirror: bool = True,
    patch: int | None = None,
    held_out: float = 0.0,
    times: int = 1,
    replicas: int = 1,
    mine: range = range(1),
):
    """A tf.data.Dataset of (uint8 [N,R,R,C], int64 [N]) for images start .. end - 1 of a run, read ahead of the training by as
    many threads as there are cores: for every step `times` batches in one.

    patch: squares of this size are cut out of the images. held_out: the share of the images that is left out, see `kept`.
    replicas: how many share every batch; the elements are those of each replica in `mine` in turn, and no others are read.
    """
    import tensorflow as tf

    channels = shards.manifest.channels
    size = patch or resolution
    images = times * batch  # of a step
    each = images // replicas
    together = max(1, min(64, _GATHER_BYTES // (each * len(mine) * size * size * channels)))
    # Which images of a step are whose: [mine, each].
    parts = np.arange(images).reshape(times, replicas, batch // replicas).swapaxes(0, 1)[mine.start : mine.stop]

    readers = min(_MOST_READERS, cores())

    def gather(first):
        steps = np.arange(first, min(first + together * images, end), images)
        numbers = (steps[:, None] + parts.reshape(-1)).reshape(-1)
        pixels, labels = read(shards, resolution, seed, numbers, mirror, patch, held_out)
        return pixels.reshape(-1, each, *pixels.shape[1:]), labels.reshape(-1, each)

    def load(first):
        pixels, labels = tf.numpy_function(gather, [first], [tf.uint8, tf.int64], stateful=False)
        pixels.set_shape([None, each, size, size, channels])
        labels.set_shape([None, each])
        return pixels, labels

    dataset = tf.data.Dataset.range(start, end, together * images)
    dataset = dataset.map(load, num_parallel_calls=readers, deterministic=True).unbatch()
    if replicas > 1:  # else the machines would ask each other before every step whether there is one
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return dataset.prefetch(max(2, together) * len(mine))
