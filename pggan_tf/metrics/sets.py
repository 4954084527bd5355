"""Collect the statistics of sets of images in one pass, whichever metrics need them.

Nothing that grows with the number of images stays in memory: features and patches lie in files, and
the features of a data set are kept in the cache.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from pggan_tf import synthesis
from pggan_tf.data import colour, pipeline, pixels
from pggan_tf.data.shards import Shards
from pggan_tf.errors import UserError
from pggan_tf.files import atomic_write, make_partial_path
from pggan_tf.metrics import METRICS, Figure, fid, full_name, scratch, swd
from pggan_tf.metrics.features import INCEPTION, Features

_PIXELS = 1 << 21  # of a batch
_STATISTICS_VERSION = 2  # raised when the same images and weights would give other features


@dataclass(frozen=True)
class ImageSet:
    """Images of one size that are read or made when they are needed."""

    name: str  # for messages
    count: int | None  # how many there are; None where they are generated without end
    resolution: int  # pixels a side
    channels: int
    # (start, stop) -> uint8 [stop - start, resolution, resolution, channels], the same images each
    # time
    read: Callable[[int, int], np.ndarray]
    # Equal for sets of the same images, whose features are kept under it; None: do not keep them.
    content: str | None = None
    skipped: int = 0  # images of the source that could not be used

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Read images start .. stop - 1, some at a time."""
        size = max(2, min(256, _PIXELS // self.resolution**2) // 2 * 2)  # even: some metrics look at pairs
        for first in range(start, stop, size):
            yield self.read(first, min(first + size, stop))


def read_shards(shards: Shards, resolution: int, name: str = "data") -> ImageSet:
    """Return a data set at one of its resolutions.

    Its order mixes the classes and is the same for all data sets of one size.
    """
    count, manifest = shards.count(resolution), shards.manifest

    def read(start, stop):
        return shards.read(resolution, pipeline.order(np.arange(start, stop), count, 0)[0])

    content = f"{manifest.checksum}@{resolution}"
    return ImageSet(name, count, resolution, manifest.channels, read, content, manifest.skipped)


def generate(
    sampler: synthesis.Sampler, resolution: int, alpha: float = 1.0, first_seed: int = 0, name: str = "generator"
) -> ImageSet:
    """Return what a generator makes of the seeds from `first_seed` on.

    The stage of `resolution` pixels is faded in by `alpha`, 0..1.
    """
    generator = sampler.generator

    def read(start, stop):
        z = synthesis.latents(range(first_seed + start, first_seed + stop), generator.latent_size)
        # A label depends on its image's number alone. Labels do not come in turn: MS-SSIM compares
        # neighbours, which would then never be of one class.
        classes = max(1, len(generator.classes))
        labels = np.array([np.random.default_rng((first_seed, i)).integers(classes) for i in range(start, stop)])
        return sampler.images(z, resolution, alpha, labels=labels)

    return ImageSet(name, None, resolution, generator.channels, read)


def read_originals(samples: synthesis.FromImages) -> ImageSet:
    """Return the images that a generator from images is to restore.

    They are those held out from training, if any were.
    """
    content = f"{samples.shards.manifest.checksum}@{samples.resolution}/{samples.held_out}{samples.task.originals_key}"
    return ImageSet("originals", samples.count, samples.resolution, 3, samples.read, content)


def convert_originals(samples: synthesis.FromImages) -> ImageSet:
    """Return what the generator makes of each image of `read_originals`."""
    return ImageSet("generator", samples.count, samples.resolution, 3, samples.made)


def resize(images: ImageSet, resolution: int, filter: str) -> ImageSet:
    """Return the set with every image resized to `resolution` pixels a side.

    The filter is one of pixels.FILTERS.
    """

    def read(start, stop):
        return np.stack([pixels.resize(image, resolution, filter) for image in images.read(start, stop)])

    content = images.content and f"{images.content} {filter} {resolution}"
    return replace(images, resolution=resolution, read=read, content=content)


def convert_to_gray(images: ImageSet) -> ImageSet:
    """Return a set of one or three channels as luma of BT.601 in three equal channels."""
    content = images.content and f"{images.content} gray"

    def read(start, stop):
        pixels = images.read(start, stop)
        gray = pixels if images.channels == 1 else np.rint(colour.to_gray(pixels)).astype(np.uint8)
        return np.repeat(gray, 3, axis=-1)

    return replace(images, channels=3, read=read, content=content)


@dataclass
class SetStatistics:
    """What metrics need to know of some images of a set."""

    images: int  # how many
    features: np.ndarray | None = None  # float32 [images, D], on disk
    logits: np.ndarray | None = None  # float32 [images, K], on disk
    patches: swd.Patches | None = None
    values: dict[str, np.ndarray] = field(default_factory=dict)  # of each metric of images or pairs: [N]
    seconds: float = 0.0  # that it took to collect all this
    moments_file: Path | None = None  # where mean and covariance of the features are kept

    def release(self) -> None:
        """Give back the memory that was used to read what lies on disk."""
        scratch.release(self.features, self.logits)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean [D] and covariance [D, D] of the features."""
        if self.moments_file and self.moments_file.is_file():
            with np.load(self.moments_file) as file:
                return file["mean"], file["covariance"]
        mean, covariance = fid.compute_moments(self.features)
        self.release()
        if self.moments_file:
            with atomic_write(self.moments_file) as partial:
                np.savez(partial, mean=mean, covariance=covariance)
        return mean, covariance


class _FeatureTable:
    """Features and logits of images that come in batches, in files whose names begin with `stem`.

    The files appear when all images are in them. Without a stem they have no names and are gone
    when the process ends.
    """

    def __init__(self, features: Features, count: int, stem: Path | None):
        self.features, self.filled = features, 0
        parts = ("features", "logits")
        self.shapes = {p: (count, n) for p, n in zip(parts, (features.size, features.classes)) if n}
        self.files = {p: stem.with_name(f"{stem.name}-{p}.npy") for p in self.shapes} if stem else {}
        self.exists = bool(stem) and all(file.is_file() for file in self.files.values())
        self.partials = {part: make_partial_path(file) for part, file in self.files.items()}
        self.arrays: dict[str, np.memmap] = {}

    def add(self, batch: np.ndarray) -> None:
        """Compute and store the features of images, uint8 [N, R, R, C]."""
        for part, found in zip(self.shapes, self.features.extract(batch)):
            if not self.filled:
                self.arrays[part] = self._create(part)
            self.arrays[part][self.filled : self.filled + len(batch)] = found
            scratch.release(self.arrays[part])
        self.filled += len(batch)

    def _create(self, part: str) -> np.memmap:
        """Reserve the disk space of features or logits, and map it."""
        shape = self.shapes[part]
        if self.files:
            with self.partials[part].open("w+b") as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                file.flush()
                scratch.reserve(file, 4 * math.prod(shape), str(self.files[part].parent))
                return np.memmap(file, "<f4", "r+", file.tell(), shape)
        with tempfile.TemporaryFile() as file:
            scratch.reserve(file, 4 * math.prod(shape), tempfile.gettempdir())
            return np.memmap(file, "<f4", "r+", 0, shape)

    def discard(self) -> None:
        """Remove unfinished files."""
        for partial in self.partials.values():
            partial.unlink(missing_ok=True)

    def close(self) -> dict[str, np.memmap]:
        """Give the files their names, and return the arrays by name, mapped for reading."""
        for part, file in self.files.items():
            if not self.exists:
                self.arrays[part].flush()
                self.partials[part].replace(file)
            self.arrays[part] = np.load(file, mmap_mode="r")
        return self.arrays


def _make_key(images: ImageSet, features: Features, start: int, stop: int) -> str:
    parts = [_STATISTICS_VERSION, images.content, features.name, features.key, start, stop]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def check_features(names: Iterable[str], features: Features | None) -> None:
    """Refuse metrics that cannot be computed from these features."""
    for name in names:
        if METRICS[name].takes == "logits" and features and not features.classes:
            raise UserError(
                f"{name} on --features {features.name}: it gives no classes. Take {INCEPTION}, or a classifier."
            )


def collect_statistics(
    names: Iterable[str],
    images: ImageSet,
    start: int,
    stop: int,
    features: Features | None,
    cache: Path,
    alone: bool = True,
) -> SetStatistics:
    """Collect in one pass what metrics need to know of images start .. stop - 1 of a set.

    Args:
        names: The metrics; those of pairs are left to `compare_pairs`.
        images: The set.
        start: Number of the first image.
        stop: Number behind the last image.
        features: The network that gives features and logits; None where no metric needs it.
        cache: Folder in which features of sets that have a `content` are kept.
        alone: Whether metrics of single images are computed too.

    Raises:
        UserError: All pixels of all images are equal, or there is no space on disk.
    """
    begun, takes = time.perf_counter(), {METRICS[n].takes for n in names}
    out, table = SetStatistics(stop - start), None
    consumers: list[Callable[[np.ndarray], None]] = []
    if features and takes & {"features", "logits"}:
        stem = None
        if images.content:
            stem = cache / "statistics" / _make_key(images, features, start, stop)
            stem.parent.mkdir(parents=True, exist_ok=True)
            out.moments_file = stem.with_name(f"{stem.name}-moments.npz")
        table = _FeatureTable(features, stop - start, stem)
        consumers += [] if table.exists else [table.add]
    if "patches" in takes:
        out.patches = swd.Patches(images.resolution, images.channels, stop - start)
        consumers.append(out.patches.add)
    values: dict[str, list] = {n: [] for n in names if METRICS[n].takes == "images" and alone}
    consumers += [_make_consumer(_import(name).compute_each, found) for name, found in values.items()]
    try:
        _pass_on(images, start, stop, consumers)
    except BaseException:
        if table:
            table.discard()
        raise
    if table:
        arrays = table.close()
        out.features, out.logits = arrays["features"], arrays.get("logits")
    out.values = {name: np.concatenate(found) for name, found in values.items()}
    out.seconds = time.perf_counter() - begun
    return out


def _make_consumer(compute_each: Callable, found: list) -> Callable[[np.ndarray], None]:
    return lambda batch: found.append(compute_each(batch))


def _pass_on(images: ImageSet, start: int, stop: int, consumers: list[Callable]) -> None:
    """Read images once and hand every batch to all consumers.

    Raises UserError where all pixels are equal.
    """
    low, high = 255, -1
    for batch in images.batches(start, stop) if consumers else ():
        low, high = min(low, batch.min()), max(high, batch.max())
        for consume in consumers:
            consume(batch)
    if low == high:
        raise UserError(
            f"{images.name}: every pixel of its {stop - start:,} images is {low}: there is nothing to measure."
        )


def compare_pairs(
    names: Iterable[str], truth: ImageSet, images: ImageSet, start: int, stop: int
) -> dict[str, np.ndarray]:
    """Compute the metrics of pairs for images start .. stop - 1 of two sets.

    Returns each metric's numbers [stop - start] by its name.
    """
    values: dict[str, list] = {n: [] for n in names if METRICS[n].takes == "pairs"}
    for a, b in zip(truth.batches(start, stop), images.batches(start, stop)) if values else ():
        for name, found in values.items():
            found.append(_import(name).compute_each(a, b))
    return {name: np.concatenate(found) for name, found in values.items()}


def _import(name: str):
    """Import the module of a metric."""
    return importlib.import_module(f"pggan_tf.metrics.{METRICS[name].module}")


def compute_figures(
    names: Iterable[str], real: SetStatistics, fake: SetStatistics, features: Features | None
) -> dict[str, Figure]:
    """Compute metrics from the statistics of two sets.

    Returns:
        The figures by full name, such as 'fid[random]', each with its caveats.

    Raises:
        UserError: A metric of whole sets comes to NaN or infinity.
    """
    begun, found = time.perf_counter(), {}
    for name in names:
        if name == "time" or name in found:
            continue
        if name in fake.values:
            each = fake.values[name]
            spread = float(each.std() / len(each) ** 0.5) if np.isfinite(each).all() else None
            found[name] = Figure(float(each.mean()), spread, images=fake.images)
        else:
            found |= _import(name).compute(real, fake)
            real.release()
            fake.release()
    found["time"] = Figure(fake.seconds + time.perf_counter() - begun, images=fake.images)
    return {
        full_name(name, features.name) if features else name: _add_caveats(name, found[name], features)
        for name in names
    }


def _add_caveats(name: str, figure: Figure, features: Features | None) -> Figure:
    """Add what has to be said of any metric's figure.

    Raises UserError for one that has no value.
    """
    metric = METRICS[name]
    if not np.isfinite(figure.value) and metric.takes != "pairs":
        why = (
            "Some images' features are out of all bounds"
            if metric.takes in ("features", "logits")
            else "It has no value for these images"
        )
        raise UserError(f"{name}: comes to {figure.value}. {why}.")
    caveats = list(figure.caveats)
    if figure.images < metric.images:
        caveats.append(f"{figure.images:,} images, {metric.images:,} are usual: {metric.fewer}")
    if features and metric.takes in ("features", "logits") and features.caveat:
        caveats.append(features.caveat)
    if np.isinf(figure.value):
        caveats.append("infinite: some images are equal")
    return replace(figure, caveats=tuple(caveats))
