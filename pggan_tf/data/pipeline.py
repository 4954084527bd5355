"""Shards -> tf.data batches of one resolution, in a fixed order.

The order follows from (seed, images seen) alone. The order is neither stored nor replayed: image
number `n` of a run is found by arithmetic, so a resumed run starts at the next image, and memory
does not depend on the dataset's size.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from pggan_tf.data.shards import Shards

_ROUNDS = 6  # of the Feistel network
# Several small batches are gathered at a time: below this many bytes the call costs more than the
# copy.
_GATHER_BYTES = 1 << 20
# At most this many gathers at a time. Each has its images in memory, and lets the others run while
# it copies them.
_MOST_READERS = 16


def _mix(x: np.ndarray) -> np.ndarray:
    """Mix the bits of uint64 numbers [N].

    This is the finaliser of SplitMix64 (Steele et al. 2014, figure 15).
    """
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def permute(positions: np.ndarray, count: int, key: np.ndarray) -> np.ndarray:
    """Permute positions [N] in 0..count-1 without a table.

    key: for each position, the number [N] of the permutation. A Feistel network over the next even
    power of two is applied again while its result lies outside (Black and Rogaway 2002, "Ciphers
    with arbitrary finite domains").
    """
    half = np.uint64(max(1, (max(count - 1, 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    one = bool((key == key[:1]).all())  # true for images of one epoch, as nearly always
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
    """Return the index int64 [N] of each image in a run, and whether it is mirrored, bool [N].

    numbers: of the images in the run [N]. Every epoch of `count` images has another permutation.
    """
    numbers = np.asarray(numbers, np.int64)
    epoch = (numbers // count).astype(np.uint64)
    key = _mix(epoch ^ _mix(np.full(len(numbers), seed, np.uint64)))
    flips = _mix(
        numbers.astype(np.uint64) ^ _mix(np.full(len(numbers), seed, np.uint64) ^ np.uint64(0xF11F))
    ) & np.uint64(1)
    return permute(numbers % count, count, key), flips.astype(bool)


_BLOCKS = 20


def _find_blocks(count: int, held_out: float) -> tuple[int, int]:
    """Return the images of a block, and how many of its last images are held out.

    With blocks, images from every part of the data are held out, and neighbours, which may be cut
    from one photo, mostly stay together.
    """
    size = min(count, max(math.ceil(1 / held_out), round(count / _BLOCKS)))
    return size, min(max(1, round(size * held_out)), size - 1)


def train_count(shards: Shards, resolution: int, held_out: float) -> int:
    """Return how many images are trained on, at least one.

    They are all but about the share `held_out` (0..1).
    """
    count = shards.count(resolution)
    if not held_out or count < 2:
        return count
    size, out = _find_blocks(count, held_out)
    return count - count // size * out


def train_indices(numbers: np.ndarray, count: int, held_out: float) -> np.ndarray:
    """Return the indices of training images by their numbers [N], 0..train_count-1.

    count: of all images.
    """
    if not held_out or count < 2:
        return numbers
    size, out = _find_blocks(count, held_out)
    return np.minimum(numbers // (size - out), count // size) * out + numbers


def holdout_indices(numbers: np.ndarray, count: int, held_out: float) -> np.ndarray:
    """Return the indices, among `count` images, of held-out images by their numbers [N]."""
    size, out = _find_blocks(count, held_out)
    return numbers // out * size + size - out + numbers % out


def sample_indices(some: int, count: int, start: int = 0) -> np.ndarray:
    """Return `some` of `count` indices, each once, from all over the data.

    The same call returns the same ones.
    """
    return order(np.arange(start, start + some), count, 0)[0]


def _cut_patches(pixels: np.ndarray, patch: int, numbers: np.ndarray, seed: int) -> np.ndarray:
    """Cut [N,R,R,C] -> [N,patch,patch,C] at places that follow from numbers [N]."""
    places = pixels.shape[1] - patch + 1
    bits = _mix(numbers.astype(np.uint64) ^ _mix(np.full(len(numbers), seed, np.uint64) ^ np.uint64(0xC07)))
    y, x = (bits >> np.uint64(32)) % np.uint64(places), (bits & np.uint64(0xFFFFFFFF)) % np.uint64(places)
    return np.stack([image[b : b + patch, a : a + patch] for image, b, a in zip(pixels, y.tolist(), x.tolist())])


def _mirror(images: np.ndarray) -> np.ndarray:
    """Mirror [N,R,R,C] left to right.

    Channel by channel, or NumPy would move the few bytes of a pixel at a time.
    """
    out = np.empty_like(images)
    for c in range(images.shape[-1]):
        out[..., c] = images[:, :, ::-1, c]
    return out


@dataclass(frozen=True)
class TrainingImages:
    """The images that a run trains on at one resolution, in their order."""

    shards: Shards
    resolution: int
    seed: int  # of the order
    mirror: bool = True  # half of the images, chosen at random
    # Squares of this many pixels are cut out of the images; None: whole images.
    patch: int | None = None
    held_out: float = 0.0  # share of the images that are never trained on, 0..1

    @property
    def size(self) -> int:
        """Pixels of a side of what is read."""
        return self.patch or self.resolution

    def read(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read images by their numbers [N] in the run -> uint8 [N,size,size,C], labels [N]."""
        shards, resolution = self.shards, self.resolution
        indices, flips = order(numbers, train_count(shards, resolution, self.held_out), self.seed)
        indices = train_indices(indices, shards.count(resolution), self.held_out)
        pixels = shards.read(resolution, indices)
        if self.patch:
            pixels = _cut_patches(pixels, self.patch, numbers, self.seed)
        if self.mirror:
            pixels[flips] = _mirror(pixels[flips])
        return pixels, shards.labels(resolution, indices)


def count_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_batches(
    images: TrainingImages, start: int, end: int, batch: int, times: int = 1, replicas: int = 1, mine: range = range(1)
):
    """Return a tf.data.Dataset of the images from number `start` to `end` - 1 of a run.

    As many threads as there are cores read ahead of the training.

    Args:
        images: the images in their order.
        start: number of the first image.
        end: number behind the last image.
        batch: images in a batch.
        times: batches of one training step, which are read as one.
        replicas: how many devices share every batch.
        mine: which of them read this dataset. Elements are those of each of these replicas in turn;
            no others are read.

    Returns:
        Elements (uint8 [N,R,R,C], labels int64 [N]) with N = times * batch / replicas.
    """
    import tensorflow as tf

    channels, size = images.shards.manifest.channels, images.size
    per_step = times * batch
    each = per_step // replicas
    together = max(1, min(64, _GATHER_BYTES // (each * len(mine) * size * size * channels)))
    # Which images of a step belong to which replica: [mine, each].
    parts = np.arange(per_step).reshape(times, replicas, batch // replicas).swapaxes(0, 1)[mine.start : mine.stop]

    readers = min(_MOST_READERS, count_cores())

    def gather(first):
        steps = np.arange(first, min(first + together * per_step, end), per_step)
        pixels, labels = images.read((steps[:, None] + parts.reshape(-1)).reshape(-1))
        return pixels.reshape(-1, each, *pixels.shape[1:]), labels.reshape(-1, each)

    def load(first):
        pixels, labels = tf.numpy_function(gather, [first], [tf.uint8, tf.int64], stateful=False)
        pixels.set_shape([None, each, size, size, channels])
        labels.set_shape([None, each])
        return pixels, labels

    dataset = tf.data.Dataset.range(start, end, together * per_step)
    dataset = dataset.map(load, num_parallel_calls=readers, deterministic=True).unbatch()
    # Of an unknown number of steps, all machines would ask each other before every step.
    if replicas > 1:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return dataset.prefetch(max(2, together) * len(mine))
