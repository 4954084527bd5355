"""Compare a set of images with a set of real images by metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pggan_tf.data import shards
from pggan_tf.errors import UserError
from pggan_tf.metrics import METRICS, Figure, sets
from pggan_tf.metrics.features import Features, check_features
from pggan_tf.metrics.sets import ImageSet


@dataclass(frozen=True)
class Evaluation:
    """Result of comparing two sets of images."""

    resolution: int  # longer side of the compared images in pixels
    images: int  # number of images of each set
    figures: dict[str, Figure]  # full name of a metric, such as 'fid[random]' -> its value
    floors: dict[str, Figure]  # same for two halves of the real images; empty if not requested
    features: Features | None  # network that computed the features; None if no metric needs one
    notes: tuple[str, ...]  # sentences on how the images were compared


def check_pairs(names: Iterable[str], generated: bool, floor: bool) -> None:
    """Raise UserError if a metric that compares pairs is requested for sets that are not paired.

    Args:
        names: All requested metrics.
        generated: Whether one of the sets is generated from latents.
        floor: Whether two halves of one set are also compared.
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
    """Compare a set of images with real images.

    Metrics of single images are computed on `fake`; for the floor, on the second half of `real`. If
    one set is gray, both are compared as gray, but metrics of single images see each as it is.

    Args:
        real: The real images.
        fake: The images to evaluate, of the same size.
        names: Metrics to compute, keys of metrics.METRICS.
        images: Largest number of images of each set to compare.
        features: Network for metrics that need one, from `features.load`.
        floor: Whether to compute the metrics also between two halves of the real images. No set can
            be expected to get better values than these.
        cache: Folder for the statistics of data sets; by default that of
            `shards.find_cache_folder`.

    Raises:
        UserError: There are too few images, a metric of pairs is requested for sets that are not
            paired, or a metric is NaN or infinite.
    """
    check_pairs(names, fake.count is None or real.count is None, floor)
    check_features(names, features)
    folder, notes = shards.find_cache_folder(str(cache) if cache else None), []
    alone, coloured = [n for n in names if METRICS[n].takes == "images"], (real, fake)
    if real.channels != fake.channels:
        notes.append("one set is gray: both are compared as gray" + f", but not by {', '.join(alone)}" * bool(alone))
        real, fake = sets.convert_to_gray(real), sets.convert_to_gray(fake)
    count = _count_images(real, fake, images, floor)
    _check_order(names, real, fake)
    if _are_same(real, fake):
        notes.append("A and B are the same images")
    first = sets.collect_statistics(names, real, 0, count, features, folder, alone=False)
    second = sets.collect_statistics(names, fake, 0, count, features, folder, alone=fake is coloured[1])
    if fake is not coloured[1]:
        second.values |= sets.collect_values(alone, coloured[1], 0, count)
    second.values |= sets.compare_pairs(names, real, fake, 0, count)
    figures, floors = sets.compute_figures(names, first, second, features), {}
    if floor:
        other_half = sets.collect_statistics(names, real, count, 2 * count, features, folder, alone=real is coloured[0])
        if real is not coloured[0]:
            other_half.values |= sets.collect_values(alone, coloured[0], count, 2 * count)
        floors = sets.compute_figures(names, first, other_half, features)
    return Evaluation(real.resolution, count, figures, floors, features, tuple(notes))


def _count_images(real: ImageSet, fake: ImageSet, most: int, floor: bool) -> int:
    """Return the number of images of each set to compare. Raise UserError if it is below 2."""
    count = min(most, fake.count or most, (real.count or 2 * most) // (1 + floor))
    if count < 2:
        raise UserError(
            f"{real.name} and {fake.name}: only {count} image of each can be compared. "
            f"Give at least 2{' (4 with --floor)' * floor}."
        )
    return count


def _check_order(names: Iterable[str], real: ImageSet, fake: ImageSet) -> None:
    """Raise UserError if a metric of pairs is requested and the sets may not match in order.

    This is the case if the sets differ in size or if images of one set were skipped.
    """
    pairs = [name for name in names if METRICS[name].takes == "pairs"]
    if pairs and (real.count != fake.count or real.skipped or fake.skipped):
        raise UserError(
            f"--metrics {pairs[0]}: A has {real.count:,} images ({real.skipped} could not be used), B has {fake.count:,} "
            f"({fake.skipped}). Expected as many in both, in the same order."
        )


def _are_same(real: ImageSet, fake: ImageSet) -> bool:
    """Return whether both sets are the same images.

    The sets are compared by content, or by path if the content of `real` is not known.
    """
    if real.content:
        return real.content == fake.content
    return Path(real.name).resolve() == Path(fake.name).resolve()
