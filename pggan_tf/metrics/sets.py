"""Sets of images and what they come to: one pass over each collects whatever the metrics that were asked for take. Nothing that
grows with the number of images stays in memory: features and patches lie in files, those of a data set in the cache."""

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
from pggan_tf.metrics import METRICS, Figure, frechet, full_name, scratch, swd
from pggan_tf.metrics.features import INCEPTION, Features

_PIXELS = 1 << 21  # of a batch
_STATISTICS_VERSION = 2  # raised when the same images and weights would come to other features


@dataclass(frozen=True)
class Images:
    """A set of images. read: start, stop -> uint8 [stop - start, resolution, resolution, channels], the same ones each time.

    count: how many there are; None where they are generated. content: the same for the same images; None: not to be cached.
    """

    name: str
    count: int | None
    resolution: int
    channels: int
    read: Callable[[int, int], np.ndarray]
    content: str | None = None

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        size = max(2, min(256, _PIXELS // self.resolution**2) // 2 * 2)  # even: some metrics look at pairs
        for first in range(start, stop, size):
            yield self.read(first, min(first + size, stop))


def of_shards(shards: Shards, resolution: int, name: str = "data") -> Images:
    """A data set at one of its resolutions, in an order that mixes its classes and is the same for sets of one size."""
    count, stored = shards.count(resolution), shards.manifest

    def read(start, stop):
        return shards.read(resolution, pipeline.order(np.arange(start, stop), count, 0)[0])

    return Images(name, count, resolution, stored.channels, read, f"{stored.checksum}@{resolution}")


def of_sampler(
    sampler: synthesis.Sampler, resolution: int, alpha: float = 1.0, first_seed: int = 0, name: str = "generator"
) -> Images:
    """What a generator makes of the seeds from `first_seed` on."""
    generator = sampler.generator

    def read(start, stop):
        z = synthesis.latents(range(first_seed + start, first_seed + stop), generator.latent_size)
        # Of an image's number alone, and not in turn: some metrics look at neighbours.
        classes = max(1, len(generator.classes))
        labels = np.array([np.random.default_rng((first_seed, i)).integers(classes) for i in range(start, stop)])
        return sampler.images(z, resolution, alpha, labels=labels)

    return Images(name, None, resolution, generator.channels, read)


def of_originals(samples: synthesis.FromImages) -> Images:
    """The images that a generator from images is shown a part of: those held out, if any were."""
    content = f"{samples.shards.manifest.checksum}@{samples.resolution}/{samples.held_out}{samples.task.originals_key}"
    return Images("originals", samples.count, samples.resolution, 3, samples.read, content)


def of_pairs(samples: synthesis.FromImages) -> Images:
    """What the generator makes of each of `of_originals`."""
    return Images("generator", samples.count, samples.resolution, 3, samples.made)


@dataclass
class Measured:
    """What some images of a set come to. features: [N, D] and logits: [N, K], float32, on disk; patches: swd.Patches;
    values: name -> a number for each image or pair. seconds: that it took."""

    images: int
    features: np.ndarray | None = None
    logits: np.ndarray | None = None
    patches: swd.Patches | None = None
    values: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    moments_file: Path | None = None

    def give_back(self) -> None:
        scratch.give_back(self.features, self.logits)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean [D] and covariance [D, D] of the features."""
        if self.moments_file and self.moments_file.is_file():
            with np.load(self.moments_file) as kept:
                return kept["mean"], kept["covariance"]
        mean, covariance = frechet.moments(self.features)
        self.give_back()
        if self.moments_file:
            with atomic_write(self.moments_file) as partial:
                np.savez(partial, mean=mean, covariance=covariance)
        return mean, covariance


def resized(images: Images, resolution: int, filter: str) -> Images:
    """The same set with every image brought to `resolution` pixels by one of pixels.FILTERS."""

    def read(start, stop):
        return np.stack([pixels.resize(image, resolution, filter) for image in images.read(start, stop)])

    content = images.content and f"{images.content} {filter} {resolution}"
    return replace(images, resolution=resolution, read=read, content=content)


def grayed(images: Images) -> Images:
    """A set of one or three channels as luma of BT.601 in three, so that missing colour alone makes no difference."""
    content = images.content and f"{images.content} gray"

    def read(start, stop):
        pixels = images.read(start, stop)
        gray = pixels if images.channels == 1 else np.rint(colour.gray(pixels)).astype(np.uint8)
        return np.repeat(gray, 3, axis=-1)

    return replace(images, channels=3, read=read, content=content)


class _FeatureTable:
    """Features and logits of images that come in batches: in files that begin with `stem`, there whole or not at all, or, without
    it, for this process alone."""

    def __init__(self, features: Features, count: int, stem: Path | None):
        self.features, self.at = features, 0
        parts = ("features", "logits")
        self.shapes = {p: (count, n) for p, n in zip(parts, (features.size, features.classes)) if n}
        self.files = {p: stem.with_name(f"{stem.name}-{p}.npy") for p in self.shapes} if stem else {}
        self.there = bool(stem) and all(file.is_file() for file in self.files.values())
        self.partials = {part: make_partial_path(file) for part, file in self.files.items()}
        self.arrays = {}

    def add(self, batch: np.ndarray) -> None:
        """uint8 [N, R, R, C]."""
        for part, found in zip(self.shapes, self.features.of(batch)):
            if not self.at:
                shape = self.shapes[part]
                if self.files:
                    with self.partials[part].open("w+b") as file:
                        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                        np.lib.format.write_array_header_1_0(file, header)
                        file.flush()
                        scratch.reserve(file, 4 * math.prod(shape), str(self.files[part].parent))
                        self.arrays[part] = np.memmap(file, "<f4", "r+", file.tell(), shape)
                else:
                    with tempfile.TemporaryFile() as file:
                        scratch.reserve(file, 4 * math.prod(shape), tempfile.gettempdir())
                        self.arrays[part] = np.memmap(file, "<f4", "r+", 0, shape)
            self.arrays[part][self.at : self.at + len(batch)] = found
            scratch.give_back(self.arrays[part])
        self.at += len(batch)

    def discard(self) -> None:
        for partial in self.partials.values():
            partial.unlink(missing_ok=True)

    def close(self) -> dict[str, np.ndarray]:
        for part, file in self.files.items():
            if not self.there:
                self.arrays[part].flush()
                self.partials[part].replace(file)
            self.arrays[part] = np.load(file, mmap_mode="r")
        return self.arrays


def _key(images: Images, features: Features, start: int, stop: int) -> str:
    parts = [_STATISTICS_VERSION, images.content, features.name, features.key, start, stop]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def check(names: Iterable[str], features: Features | None) -> None:
    """Refuses what can't be measured on these features."""
    for name in names:
        if METRICS[name].takes == "logits" and features and not features.classes:
            raise UserError(
                f"{name} on --features {features.name}: it gives no classes. Take {INCEPTION}, or a classifier."
            )


def collect(
    names: Iterable[str],
    images: Images,
    start: int,
    stop: int,
    features: Features | None,
    cache: Path,
    alone: bool = True,
) -> Measured:
    """Images start .. stop - 1 of a set. cache: folder for the features of sets that have a `content`. alone: also what metrics
    of one set say of it."""
    begun, takes = time.perf_counter(), {METRICS[n].takes for n in names}
    out, todo, table = Measured(stop - start), [], None
    if features and takes & {"features", "logits"}:
        stem = None
        if images.content:
            stem = cache / "statistics" / _key(images, features, start, stop)
            stem.parent.mkdir(parents=True, exist_ok=True)
            out.moments_file = stem.with_name(f"{stem.name}-moments.npz")
        table = _FeatureTable(features, stop - start, stem)
        todo += [] if table.there else [table.add]
    if "patches" in takes:
        out.patches = swd.Patches(images.resolution, images.channels, stop - start)
        todo.append(out.patches.add)
    values = {n: [] for n in names if METRICS[n].takes == "images" and alone}
    for name, found in values.items():
        todo.append(_appending(found, _module(name).values))
    try:
        low, high = 255, -1  # none seen
        for batch in images.batches(start, stop) if todo else ():
            low, high = min(low, batch.min()), max(high, batch.max())
            for add in todo:
                add(batch)
        if low == high:
            raise UserError(
                f"{images.name}: every pixel of its {stop - start:,} images is {low}: there is nothing to measure."
            )
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


def _appending(found: list, values: Callable) -> Callable:
    return lambda batch: found.append(values(batch))


def collect_pairs(names: Iterable[str], truth: Images, images: Images, start: int, stop: int) -> dict[str, np.ndarray]:
    """What metrics of pairs say of the images of two sets that belong together."""
    values = {n: [] for n in names if METRICS[n].takes == "pairs"}
    for a, b in zip(truth.batches(start, stop), images.batches(start, stop)) if values else ():
        for name, found in values.items():
            found.append(_module(name).values(a, b))
    return {name: np.concatenate(found) for name, found in values.items()}


def _module(name: str):
    return importlib.import_module(f"pggan_tf.metrics.{METRICS[name].module}")


def compare(names: Iterable[str], real: Measured, fake: Measured, features: Features | None) -> dict[str, Figure]:
    """The figures of two sets by their full names, such as 'fid[random]', each with its caveats."""
    begun, found = time.perf_counter(), {}
    for name in names:
        if name == "time" or name in found:
            continue
        if name in fake.values:
            each = fake.values[name]
            spread = float(each.std() / len(each) ** 0.5) if np.isfinite(each).all() else None
            found[name] = Figure(float(each.mean()), spread, images=fake.images)
        else:
            found |= _module(name).figures(real, fake)
            real.give_back(), fake.give_back()
    found["time"] = Figure(fake.seconds + time.perf_counter() - begun, images=fake.images)
    out = {}
    for name in names:
        metric, figure = METRICS[name], found[name]
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
        full = full_name(name, features.name) if features else name
        out[full] = replace(figure, caveats=tuple(caveats))
    return out
