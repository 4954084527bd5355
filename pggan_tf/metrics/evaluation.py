"""Measure one set of images against another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pggan_tf.data import shards
from pggan_tf.errors import UserError
from pggan_tf.metrics import METRICS, Figure, sets
from pggan_tf.metrics.features import Features
from pggan_tf.metrics.sets import ImageSet


@dataclass(frozen=True)
class Evaluation:
    """How far one set of images is from another."""

    resolution: int  # pixels a side at which images were compared
    images: int  # of each set
    figures: dict[str, Figure]  # by full name, such as 'fid[random]'
    floors: dict[str, Figure]  # of one half of the real images against the other; empty where not asked for
    features: Features | None  # what features were computed by; None where no metric needs them
    notes: tuple[str, ...]  # sentences on how the images were compared


def check_pairs(names: Iterable[str], generated: bool, floor: bool) -> None:
    """Refuse metrics of pairs for images that do not belong together in pairs.

    Args:
        names: All metrics that are asked for.
        generated: Whether one of the sets is made by a generator from latents.
        floor: Whether halves of one set are to be compared.
    """
    for name in names:
        if METRICS[name].takes == "pairs" and generated:
            raise UserError(
                f"--metrics {name}: compares each image of B with the same one of A; a generator makes others."
            )
        if METRICS[name].takes == "pairs" and floor:
            raise UserError(f"--metrics {name} with --floor: images of one set do not belong together in pairs.")


def evaluate(
    real: ImageSet,
    fake: ImageSet,
    names: Sequence[str] = ("fid", "kid", "swd"),
    *,
    images: int = 10_000,
    features: Features | None = None,
    floor: bool = False,
    cache: str | Path | None = None,
) -> Evaluation:
    """Measure a set of images against the real ones.

    Metrics of single images are about `fake`; as a floor, about `real`. Where one set is gray, both
    are compared as gray.

    Args:
        real: The real images.
        fake: The images to measure, at the same resolution.
        names: Metrics, of metrics.METRICS.
        images: How many of each set to compare, at most.
        features: The network for metrics that need one, from `features.load`.
        floor: Also measure one half of the real images against the other: what no set can be
            expected to beat.
        cache: Folder in which statistics of data sets are kept; by default that of
            `shards.find_cache_folder`.

    Raises:
        UserError: There are too few images, the sets do not belong together in pairs, or a metric
            has no value.
    """
    check_pairs(names, fake.count is None or real.count is None, floor)
    sets.check_features(names, features)
    folder, notes = shards.find_cache_folder(str(cache) if cache else None), []
    if real.channels != fake.channels:
        notes.append("one set is gray: both are compared as gray")
        real, fake = sets.convert_to_gray(real), sets.convert_to_gray(fake)
    count = _count_images(real, fake, images, floor)
    _check_order(names, real, fake)
    if _are_same(real, fake):
        notes.append("A and B are the same images")
    first = sets.collect_statistics(names, real, 0, count, features, folder, alone=False)
    second = sets.collect_statistics(names, fake, 0, count, features, folder)
    second.values |= sets.compare_pairs(names, real, fake, 0, count)
    figures, floors = sets.compute_figures(names, first, second, features), {}
    if floor:
        other_half = sets.collect_statistics(names, real, count, 2 * count, features, folder)
        floors = sets.compute_figures(names, first, other_half, features)
    return Evaluation(real.resolution, count, figures, floors, features, tuple(notes))


def _count_images(real: ImageSet, fake: ImageSet, most: int, floor: bool) -> int:
    """Return how many images of each set to compare. Raises UserError for fewer than two."""
    count = min(most, fake.count or most, (real.count or 2 * most) // (1 + floor))
    if count < 2:
        raise UserError(
            f"{real.name} and {fake.name}: only {count} image of each can be compared. "
            f"Give at least 2{' (4 with --floor)' * floor}."
        )
    return count


def _check_order(names: Iterable[str], real: ImageSet, fake: ImageSet) -> None:
    """Refuse metrics of pairs for sets in which an image is missing."""
    pairs = [name for name in names if METRICS[name].takes == "pairs"]
    if pairs and (real.count != fake.count or real.skipped or fake.skipped):
        raise UserError(
            f"--metrics {pairs[0]}: A has {real.count:,} images ({real.skipped} could not be used), B has {fake.count:,} "
            f"({fake.skipped}). Expected as many in both, in the same order."
        )


def _are_same(real: ImageSet, fake: ImageSet) -> bool:
    """Return whether both sets hold the same images, by their content or else by their place."""
    if real.content:
        return real.content == fake.content
    return Path(real.name).resolve() == Path(fake.name).resolve()
