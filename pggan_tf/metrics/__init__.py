"""Metrics of sets of images: one module for each, and one table of them.

Three steps follow each other: `features` turns images into numbers, `sets` collects the statistics
of a set of images in one pass, and a metric's module compares the statistics of two sets.

A new metric is a module of this package and a row of METRICS. Its module has one of these
functions:

- `compute(real, fake) -> dict[str, Figure]`, of two `sets.SetStatistics`, where the row takes
  features, logits or patches;
- `compute_each(images) -> [N]`, of uint8 [N, H, W, C], a number for each image, where it takes
  images;
- `compute_each(truth, images) -> [N]`, of uint8 [N, H, W, C] twice, a number for each pair, where
  it takes pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pggan_tf.errors import UserError, nearest

# What a metric may be computed from. "images" are those of the second set alone; "pairs" are images
# of both sets in their order; "" is `time`: how long it took to collect the second set's statistics
# and to compute the metrics.
TAKES = ("features", "logits", "patches", "images", "pairs", "")


@dataclass(frozen=True)
class Metric:
    """One metric: where it is computed, and how its figures are to be read."""

    module: str  # in this package; empty for `time`, which `sets` measures
    takes: str  # one of TAKES
    better: str  # "lower" or "higher"; empty where the real images' own figure is the one to reach
    images: int  # images of each set that published figures are computed on; 0 where any number will do
    fewer: str  # what fewer images do to the figure
    unit: str = ""  # of its figures; empty for plain numbers
    # Whether blurry images have better figures than sharp ones with small faults.
    rewards_blur: bool = False


METRICS = {
    "fid": Metric("fid", "features", "lower", 50_000, "biased upwards"),
    "kid": Metric("kid", "features", "lower", 10_000, "noisier, but not biased"),
    "is": Metric("inception_score", "logits", "higher", 50_000, "biased downwards"),
    "swd": Metric("swd", "patches", "lower", 16_384, "biased upwards", unit="x 1000"),
    "ms-ssim": Metric("ms_ssim", "images", "", 20_000, "noisier, but not biased"),
    "precision": Metric("precision_recall", "features", "higher", 50_000, "not to be compared with figures of more"),
    "recall": Metric("precision_recall", "features", "higher", 50_000, "not to be compared with figures of more"),
    "psnr": Metric("psnr", "pairs", "higher", 0, "", unit="dB", rewards_blur=True),
    "ssim": Metric("ssim", "pairs", "higher", 0, "", rewards_blur=True),
    "colorfulness": Metric("colorfulness", "images", "", 0, ""),
    "time": Metric("", "", "", 0, "", unit="s"),
}
# What a generator from latents can be measured by: its images belong to no image of the data.
WHILE_TRAINING = tuple(name for name, metric in METRICS.items() if metric.takes != "pairs")


@dataclass(frozen=True)
class Figure:
    """What a metric comes to."""

    value: float  # in the metric's unit
    # In the same unit: the standard deviation over subsets (kid), splits (is) or directions (swd),
    # or the standard error of a mean over images.
    spread: float | None = None
    parts: dict[str, float] = field(default_factory=dict)  # figures that the value is the mean of, by name
    images: int = 0  # how many of the second set it is computed on
    caveats: tuple[str, ...] = ()  # sentences to print wherever the figure is printed


def needs_features(names: Iterable[str]) -> bool:
    """Return whether any of these metrics is computed from a network's features or logits."""
    return any(METRICS[name].takes in ("features", "logits") for name in names)


def select(*takes: str) -> list[str]:
    """Return the names of the metrics that are computed from one of `takes`."""
    return [name for name, metric in METRICS.items() if metric.takes in takes]


def full_name(name: str, features: str) -> str:
    """Add the features' name where a metric depends on them: 'fid' on 'random' is 'fid[random]'.

    Figures on different features cannot be compared, so no figure goes without it.
    """
    return f"{name}[{features}]" if METRICS[name].takes in ("features", "logits") else name


def strip_features(name: str) -> str:
    """Return the short name of a metric, by which METRICS has it: 'fid' of 'fid[random]'."""
    return name.partition("[")[0]


def parse(text: str, known: Iterable[str] = METRICS, option: str = "--metrics") -> tuple[str, ...]:
    """Split 'fid,swd' into ('fid', 'swd').

    Raises UserError for names that are not `known`, and for none at all.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    of_metrics = METRICS.keys() >= set(known)
    for name in names:
        if name not in known:  # of METRICS, `known` may lack only those of pairs
            why = "compares images that belong together" if of_metrics and name in METRICS else "not known"
            raise UserError(f"{option} {name}: {why}; {nearest(name, known)}")
    if not names:
        raise UserError(f"{option}: names nothing; known are {', '.join(known)}.")
    return names
