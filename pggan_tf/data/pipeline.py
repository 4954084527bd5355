"""Read shards as tf.data batches of one resolution, in a fixed random order.

The order depends only on the seed and the number of images seen. It is neither stored nor replayed:
the image at position `n` of a run is computed, so a resumed run starts at the next image, and
memory does not depend on the dataset's size.

Three kinds of numbers are used. The position of an image in a run counts all images that the run
has trained on, epoch after epoch. The position among the training images is 0..train_count-1. The
index of an image is its number in the dataset, which also has held-out images: images that are
never trained on, so that metrics can be computed on them.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from pggan_tf.data.shards import Shards

_ROUNDS = 6  # rounds of the Feistel network
# Several small batches are read with one call, because below this many bytes the call costs more
# than the copy.
_GATHER_BYTES = 1 << 20
# Largest number of parallel reads. Each has its images in memory, and lets the others run while it
# copies them.
_MOST_READERS = 16
# OpenCV mirrors images of at least this many bytes.
_CV_BYTES = 1 << 13


def _mix(x: np.ndarray) -> np.ndarray:
    """Hash each of the uint64 numbers [N] by mixing its bits, and return uint64 [N].

    This is the finaliser of SplitMix64 (Steele et al. 2014, figure 15).
    """
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def permute(positions: np.ndarray, count: int, key: np.ndarray) -> np.ndarray:
    """Map positions [N] to indices by a random permutation of 0..count-1, without a table.

    A Feistel network over the next power of four is applied repeatedly until its result is below
    `count` (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").

    Args:
        positions: [N] in 0..count-1.
        count: number of elements.
        key: uint64 [N]. Every key gives another permutation; it is given for each position.

    Returns:
        Indices int64 [N] in 0..count-1. Different positions with the same key have different
        indices.
    """
    half = np.uint64(max(1, (max(count - 1, 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    one = bool((key == key[:1]).all())  # all images are of one epoch, as is nearly always so
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
    """Return which image is at each position of a run.

    Every epoch has a different permutation.

    Args:
        numbers: positions in the run [N].
        count: number of images in an epoch.
        seed: seed of the order.

    Returns:
        (numbers of the images among the images of an epoch, int64 [N] in 0..count-1; whether each
        image is mirrored, bool [N]).
    """
    numbers = np.asarray(numbers, np.int64)
    epoch = (numbers // count).astype(np.uint64)
    key = _mix(epoch ^ _mix(np.full(len(numbers), seed, np.uint64)))
    flips = _mix(
        numbers.astype(np.uint64) ^ _mix(np.full(len(numbers), seed, np.uint64) ^ np.uint64(0xF11F))
    ) & np.uint64(1)
    return permute(numbers % count, count, key), flips.astype(bool)


_BLOCKS = 20
LEAST_HELD_OUT = 8  # fewer photos than this tell nothing about a discriminator


def _find_blocks(count: int, held_out: float) -> tuple[int, int]:
    """Divide the images of a dataset into blocks; the last images of every block are held out.

    With blocks, images from all parts of the data are held out, and neighbouring images, which may
    be cut from one photo, are mostly held out together or trained on together.

    Args:
        count: number of images in the dataset, at least 2.
        held_out: approximate share of the images that are held out, above 0 and below 1.

    Returns:
        (number of images in a block, number of held-out images in a block).
    """
    size = min(count, max(math.ceil(1 / held_out), round(count / _BLOCKS)))
    return size, min(max(1, round(size * held_out)), size - 1)


def train_count(count: int, held_out: float) -> int:
    """Return how many of `count` images are trained on, at least one.

    Args:
        count: number of all images.
        held_out: approximate share of the images that are held out, 0..1.
    """
    if not held_out or count < 2:
        return count
    size, out = _find_blocks(count, held_out)
    return count - count // size * out


def train_indices(numbers: np.ndarray, count: int, held_out: float) -> np.ndarray:
    """Return the indices in the dataset, int64 [N], of training images.

    Args:
        numbers: positions [N] among the training images, 0..train_count-1.
        count: number of all images.
        held_out: approximate share of the images that are held out, 0..1.
    """
    if not held_out or count < 2:
        return numbers
    size, out = _find_blocks(count, held_out)
    return np.minimum(numbers // (size - out), count // size) * out + numbers


def holdout_indices(numbers: np.ndarray, count: int, held_out: float) -> np.ndarray:
    """Return the indices in the dataset, int64 [N], of held-out images.

    Args:
        numbers: positions [N] among the held-out images, from 0.
        count: number of all images.
        held_out: approximate share of the images that are held out, 0..1.
    """
    size, out = _find_blocks(count, held_out)
    return numbers // out * size + size - out + numbers % out


def sample_indices(some: int, count: int, start: int = 0) -> np.ndarray:
    """Return `some` different indices in 0..count-1, int64 [some], spread over all the data.

    The same arguments always give the same indices.

    Args:
        some: number of indices.
        count: number of all images.
        start: how many indices of the fixed order are skipped before the first.
    """
    return order(np.arange(start, start + some), count, 0)[0]


def _cut_patches(pixels: np.ndarray, patch: int, numbers: np.ndarray, seed: int) -> np.ndarray:
    """Cut a square out of each image, and return the squares [N,patch,patch,C].

    Args:
        pixels: images [N,H,W,C].
        patch: side of a square in pixels.
        numbers: positions of the images in the run [N]. With `seed`, they decide the place of the
            square.
        seed: seed of the order.
    """
    down, right = (np.uint64(side - patch + 1) for side in pixels.shape[1:3])
    bits = _mix(numbers.astype(np.uint64) ^ _mix(np.full(len(numbers), seed, np.uint64) ^ np.uint64(0xC07)))
    y, x = (bits >> np.uint64(32)) % down, (bits & np.uint64(0xFFFFFFFF)) % right
    return np.stack([image[b : b + patch, a : a + patch] for image, b, a in zip(pixels, y.tolist(), x.tolist())])


def _zoom_in(pixels: np.ndarray, zoom: float, numbers: np.ndarray, seed: int) -> np.ndarray:
    """Enlarge a random part of each image to the size of all of it, and return the images [N,H,W,C].

    A part has 1 - `zoom` to 1 of the image's sides, so its shape is the image's. It is like the random
    jitter of Isola et al. 2017, section 6.2, which always cuts off a tenth of the sides. OpenCV's exact
    bilinear filter gives the same bits on every processor.

    Args:
        pixels: images uint8 [N,H,W,C].
        zoom: largest share of the sides that is cut off, above 0 and below 1.
        numbers: positions of the images in the run [N]. With `seed`, they decide size and place.
        seed: seed of the order.
    """
    import cv2

    height, width = pixels.shape[1:3]
    bits = _mix(numbers.astype(np.uint64) ^ _mix(np.full(len(numbers), seed, np.uint64) ^ np.uint64(0x2003)))
    shares = np.stack([(bits >> np.uint64(k)) % np.uint64(1 << 20) for k in (0, 20, 40)]).T / (1 << 20)
    out = np.empty_like(pixels)
    for image, zoomed, (cut, down, right) in zip(pixels, out, shares.tolist()):
        h, w = (max(1, round(side * (1 - zoom * cut))) for side in (height, width))
        y, x = int(down * (height - h + 1)), int(right * (width - w + 1))
        part = cv2.resize(image[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        zoomed[...] = part.reshape(image.shape)
    return out


def _mirror(images: np.ndarray, which: np.ndarray) -> None:
    """Mirror some of the images [N,H,W,C] left to right, in place.

    OpenCV mirrors an image twenty times as fast as NumPy and lets other threads run meanwhile, but
    takes one image at a time, which does not pay off for small ones.

    Args:
        images: the images, contiguous.
        which: whether each image is mirrored, bool [N].
    """
    if images[0].nbytes < _CV_BYTES:
        images[which] = images[which][:, :, ::-1]
        return
    import cv2

    for i in np.flatnonzero(which).tolist():
        cv2.flip(images[i], 1, images[i])


@dataclass(frozen=True)
class TrainingImages:
    """Images that a run trains on at one resolution, in the order of training."""

    shards: Shards
    resolution: int
    seed: int  # seed of the order
    mirror: bool = True  # mirror half of the images, chosen at random
    # Side in pixels of squares that are cut out of the images; None for whole images.
    patch: int | None = None
    held_out: float = 0.0  # share of the images that are never trained on, 0..1
    zoom: float = 0.0  # largest share of an image's sides that zooming in cuts off, 0..1

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images that are read, in pixels."""
        return (self.patch, self.patch) if self.patch else self.shards.manifest.shape_at(self.resolution)

    def read(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read the images at some positions of the run.

        numbers: positions [N] in the run, which count all images that it trains on.

        Returns:
            (pixels uint8 [N,H,W,C], labels int64 [N]).
        """
        shards, resolution = self.shards, self.resolution
        count = shards.count(resolution)
        indices, flips = order(numbers, train_count(count, self.held_out), self.seed)
        indices = train_indices(indices, count, self.held_out)
        pixels = shards.read(resolution, indices)
        if self.zoom and len(pixels):
            pixels = _zoom_in(pixels, self.zoom, numbers, self.seed)
        if self.patch:
            pixels = _cut_patches(pixels, self.patch, numbers, self.seed)
        if self.mirror and len(pixels):
            _mirror(pixels, flips)
        return pixels, shards.labels(resolution, indices)


def count_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_batches(
    images: TrainingImages, start: int, end: int, batch: int, times: int = 1, replicas: int = 1, mine: range = range(1)
):
    """Return a tf.data.Dataset of the images at positions `start` to `end` - 1 of a run.

    Images are read ahead of the training with one thread per core, but at most 16.

    Args:
        images: the images to read.
        start: position of the first image.
        end: position after the last image.
        batch: images in a batch, of all devices together.
        times: number of batches in one training step. They are concatenated in one element of the
            dataset.
        replicas: number of devices (replicas of the networks) that share every batch.
        mine: indices of the replicas that read this dataset. Elements belong to each of these
            replicas in turn; images of other replicas are not read.

    Returns:
        A dataset of (pixels uint8 [N,H,W,C], labels int64 [N]) with N = times * batch / replicas.
    """
    import tensorflow as tf

    shape = (*images.shape, images.shards.manifest.channels)
    per_step = times * batch
    each = per_step // replicas
    together = max(1, min(64, _GATHER_BYTES // (each * len(mine) * math.prod(shape))))
    # Positions in a step of the images of each replica: [mine, times, batch / replicas].
    parts = np.arange(per_step).reshape(times, replicas, batch // replicas).swapaxes(0, 1)[mine.start : mine.stop]

    readers = min(_MOST_READERS, count_cores())

    def gather(first):
        steps = np.arange(first, min(first + together * per_step, end), per_step)
        pixels, labels = images.read((steps[:, None] + parts.reshape(-1)).reshape(-1))
        return pixels.reshape(-1, each, *pixels.shape[1:]), labels.reshape(-1, each)

    def load(first):
        pixels, labels = tf.numpy_function(gather, [first], [tf.uint8, tf.int64], stateful=False)
        pixels.set_shape([None, each, *shape])
        labels.set_shape([None, each])
        return pixels, labels

    dataset = tf.data.Dataset.range(start, end, together * per_step)
    dataset = dataset.map(load, num_parallel_calls=readers, deterministic=True).unbatch()
    # If the number of elements were unknown, all machines would communicate before every step.
    if replicas > 1:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    # Readers have threads of their own. They would else take those that start a step's operations,
    # of which there is one per core.
    threads = tf.data.Options()
    threads.threading.private_threadpool_size = readers
    return dataset.prefetch(max(2, together) * len(mine)).with_options(threads)
