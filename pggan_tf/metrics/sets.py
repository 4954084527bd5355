"""Sets of images, and the statistics of a set that metrics need, collected in one pass.

Memory use does not grow with the number of images: features and patches are stored in files. The
features of data sets are kept in the cache.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from pggan_tf import shapes, synthesis
from pggan_tf.data import colour, pipeline, pixels, transparency
from pggan_tf.data.shards import Shards
from pggan_tf.errors import UserError
from pggan_tf.files import atomic_write, make_partial_path
from pggan_tf.metrics import METRICS, Figure, fid, full_name, scratch, swd
from pggan_tf.metrics.features import Features

_PIXELS = 1 << 21  # total pixels of the images of a batch
_STATISTICS_VERSION = 2  # increased when a change of the code changes the features


@dataclass(frozen=True)
class ImageSet:
    """Set of images of one size, read or generated on demand; alpha is blended with white."""

    name: str  # name of the set in messages
    count: int | None  # number of images; None if any number can be generated
    resolution: int  # longer side in pixels
    channels: int
    # Maps (start, stop) to images start .. stop - 1, uint8 [stop - start, H, W, channels]. Every
    # call returns the same images.
    read: Callable[[int, int], np.ndarray]
    # Identifies the images: the key of their features in the cache. None: do not cache them.
    content: str | None = None
    skipped: int = 0  # number of images of the source that could not be used
    aspect: shapes.Aspect = shapes.SQUARE  # width and height in lowest terms

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return shapes.shape_at(self.resolution, self.aspect)

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield images start .. stop - 1 in batches, uint8 [n, H, W, C]."""
        size = max(2, min(256, _PIXELS // math.prod(self.shape)) // 2 * 2)  # even for ms_ssim
        for first in range(start, stop, size):
            yield self.read(first, min(first + size, stop))


def read_shards(shards: Shards, resolution: int, name: str = "data") -> ImageSet:
    """Return the images of a data set at one of its resolutions.

    The images are shuffled, so that classes are mixed. The order depends only on their number.
    """
    count, manifest = shards.count(resolution), shards.manifest

    def read(start, stop):
        images = shards.read(resolution, pipeline.order(np.arange(start, stop), count, 0)[0])
        return transparency.flatten(images, premultiplied=True)

    content, channels = f"{manifest.checksum}@{resolution}", transparency.count_colours(manifest.channels)
    return ImageSet(name, count, resolution, channels, read, content, manifest.skipped, aspect=manifest.aspect)


def generate(
    sampler: synthesis.Sampler, resolution: int, alpha: float = 1.0, first_seed: int = 0, name: str = "generator"
) -> ImageSet:
    """Return the unlimited set of images that a generator makes from consecutive seeds.

    Args:
        sampler: The generator.
        resolution: Resolution in pixels, one of the generator's.
        alpha: Weight in 0..1 of the stage of this resolution while it fades in.
        first_seed: Seed of the first image.
        name: Name of the set in messages.
    """
    generator = sampler.generator

    def read(start, stop):
        z = synthesis.latents(range(first_seed + start, first_seed + stop), generator.latent_size)
        # A label depends only on the number of its image. Labels are random instead of cycling
        # through the classes: MS-SSIM compares neighbours, which would never be of the same class.
        classes = max(1, len(generator.classes))
        labels = np.array([np.random.default_rng((first_seed, i)).integers(classes) for i in range(start, stop)])
        return transparency.flatten(sampler.images(z, resolution, alpha, labels=labels))

    channels = transparency.count_colours(generator.channels)
    return ImageSet(name, None, resolution, channels, read, aspect=generator.aspect)


def read_originals(samples: synthesis.FromImages) -> ImageSet:
    """Return the original images, which a generator from images should reproduce.

    These are the images held out from training or, if none were held out, the training images.
    """
    content = f"{samples.shards.manifest.checksum}@{samples.resolution}/{samples.held_out}{samples.task.originals_key}"
    return ImageSet("originals", samples.count, samples.resolution, 3, samples.read, content, aspect=samples.aspect)


def convert_originals(samples: synthesis.FromImages) -> ImageSet:
    """Return the generator's outputs for the images of `read_originals`, in the same order."""
    return ImageSet("generator", samples.count, samples.resolution, 3, samples.made, aspect=samples.aspect)


def resize(images: ImageSet, resolution: int, filter: str) -> ImageSet:
    """Return the set with all images resized.

    Args:
        images: The set.
        resolution: New longer side in pixels.
        filter: Name of the interpolation, one of pixels.FILTERS.
    """
    shape = shapes.shape_at(resolution, images.aspect)

    def read(start, stop):
        return np.stack([pixels.resize(image, shape, filter) for image in images.read(start, stop)])

    content = images.content and f"{images.content} {filter} {resolution}"
    return replace(images, resolution=resolution, read=read, content=content)


def convert_to_gray(images: ImageSet) -> ImageSet:
    """Return the set converted to gray (BT.601 luma), stored in three equal channels.

    The images of the given set have one or three channels.
    """
    content = images.content and f"{images.content} gray"

    def read(start, stop):
        pixels = images.read(start, stop)
        gray = pixels if images.channels == 1 else np.rint(colour.to_gray(pixels)).astype(np.uint8)
        return np.repeat(gray, 3, axis=-1)

    return replace(images, channels=3, read=read, content=content)


@dataclass
class SetStatistics:
    """Statistics of some images of a set, from which metrics are computed."""

    images: int  # number of images
    features: np.ndarray | None = None  # float32 [images, D], on disk
    logits: np.ndarray | None = None  # float32 [images, K], on disk
    patches: swd.Patches | None = None
    values: dict[str, np.ndarray] = field(default_factory=dict)  # metric -> its numbers [N]
    seconds: float = 0.0  # time taken to collect the statistics
    moments_file: Path | None = None  # file in which mean and covariance of the features are kept

    def release(self) -> None:
        """Release the memory used for reading features and logits from disk."""
        scratch.release(self.features, self.logits)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean [D] and covariance [D, D] of the features, read from `moments_file` if it exists."""
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
    """Features and logits of images, which are added in batches and stored in files.

    Args:
        features: Network that computes the features and logits.
        count: Number of images.
        stem: Path that the names of the files start with. The files get these names when all images
            have been added. None uses unnamed temporary files.
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
        """Compute and store the features and logits of images, uint8 [N, H, W, C]."""
        for part, found in zip(self.shapes, self.features.extract(batch)):
            if not self.filled:
                self.arrays[part] = self._create(part)
            self.arrays[part][self.filled : self.filled + len(batch)] = found
            scratch.release(self.arrays[part])
        self.filled += len(batch)

    def _create(self, part: str) -> np.memmap:
        """Create the file for `part`, "features" or "logits", and return it as a mapped array."""
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
        """Give the files their final names and return the arrays by name, mapped for reading."""
        for part, file in self.files.items():
            if not self.exists:
                self.arrays[part].flush()
                self.partials[part].replace(file)
            self.arrays[part] = np.load(file, mmap_mode="r")
        return self.arrays


def _make_key(images: ImageSet, features: Features, start: int, stop: int) -> str:
    parts = [_STATISTICS_VERSION, images.content, features.name, features.key, start, stop]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def collect_statistics(
    names: Iterable[str],
    images: ImageSet,
    start: int,
    stop: int,
    features: Features | None,
    cache: Path,
    alone: bool = True,
) -> SetStatistics:
    """Collect in one pass the statistics of images start .. stop - 1 that metrics need.

    Args:
        names: Metrics to collect statistics for; metrics of pairs are ignored, see `compare_pairs`.
        images: The set of images.
        start: Index of the first image.
        stop: Index after the last image.
        features: Network that computes features and logits; None if no metric needs it.
        cache: Folder in which the features of sets with a `content` are kept.
        alone: Whether to compute the metrics of single images too.

    Raises:
        UserError: All pixels of all images are equal, or there is not enough space on disk.
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
        out.patches = swd.Patches(images.shape, images.channels, stop - start)
        consumers.append(out.patches.add)
    values: dict[str, list] = {n: [] for n in names if METRICS[n].takes == "images" and alone}
    consumers += _make_consumers(values)
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


def collect_values(names: Iterable[str], images: ImageSet, start: int, stop: int) -> dict[str, np.ndarray]:
    """Return {metric of single images: value of each image} of images start .. stop - 1."""
    values: dict[str, list] = {name: [] for name in names}
    if values:
        _pass_on(images, start, stop, _make_consumers(values))
    return {name: np.concatenate(found) for name, found in values.items()}


def _make_consumers(values: Mapping[str, list]) -> list[Callable[[np.ndarray], None]]:
    def make(compute_each: Callable, found: list) -> Callable[[np.ndarray], None]:
        return lambda batch: found.append(compute_each(batch))

    return [make(_import(name).compute_each, found) for name, found in values.items()]


def _pass_on(images: ImageSet, start: int, stop: int, consumers: list[Callable]) -> None:
    """Read images start .. stop - 1 once and pass every batch to all consumers.

    Raises UserError if all pixels of all images are equal.
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

    Returns {metric: one number for each pair, [stop - start]}. Other metrics are ignored.
    """
    values: dict[str, list] = {n: [] for n in names if METRICS[n].takes == "pairs"}
    for a, b in zip(truth.batches(start, stop), images.batches(start, stop)) if values else ():
        for name, found in values.items():
            found.append(_import(name).compute_each(a, b))
    return {name: np.concatenate(found) for name, found in values.items()}


def _import(name: str):
    """Import and return the module of a metric."""
    return importlib.import_module(f"pggan_tf.metrics.{METRICS[name].module}")


def compute_figures(
    names: Iterable[str], real: SetStatistics, fake: SetStatistics, features: Features | None
) -> dict[str, Figure]:
    """Compute metrics from the statistics of two sets.

    Args:
        names: Metrics to compute.
        real: Statistics of the real images.
        fake: Statistics of the images to evaluate.
        features: Network that computed the features; None if no metric needs one.

    Returns:
        The results by the full name of the metric, such as 'fid[random]'.

    Raises:
        UserError: A metric other than one of pairs is NaN or infinite.
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
    """Return the result of a metric with the caveats that apply to all metrics added.

    Raises UserError if the value is NaN or infinite, unless the metric is one of pairs.
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
