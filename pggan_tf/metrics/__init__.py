"""One module per metric, and the table of them that --metrics, its help and the tests read. Features, statistics and metric
are separate steps: `features` turns images into numbers, `sets` collects what a set of images comes to, and a metric's module
compares two of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pggan_tf.errors import UserError, nearest


@dataclass(frozen=True)
class Metric:
    """module: in this package. takes: what of a set of images it is computed from, see sets.Measured; 'images' is a mean over
    the images of the second set alone, 'pairs' one over images of both in their order; '' is `time`, which has no module:
    what it took to collect the second set and to compare. better: 'lower', 'higher', or '' for what has to be compared with the
    data's own. images: of each set, in what is published. fewer: what less of them does. unit: of its figures, '' for plain numbers.
    """

    module: str
    takes: str
    better: str
    images: int
    fewer: str
    unit: str = ""


METRICS = {
    "fid": Metric("frechet", "features", "lower", 50_000, "biased upwards"),
    "kid": Metric("kernel", "features", "lower", 10_000, "noisier, but not biased"),
    "is": Metric("inception_score", "logits", "higher", 50_000, "biased downwards"),
    "swd": Metric("swd", "patches", "lower", 16_384, "biased upwards", "x 1000"),
    "ms-ssim": Metric("ms_ssim", "images", "", 20_000, "noisier, but not biased"),
    "precision": Metric("neighbours", "features", "higher", 50_000, "not to be compared with figures of more"),
    "recall": Metric("neighbours", "features", "higher", 50_000, "not to be compared with figures of more"),
    "psnr": Metric("psnr", "pairs", "higher", 0, "", "dB"),
    "ssim": Metric("ssim", "pairs", "higher", 0, ""),
    "colorfulness": Metric("colorfulness", "images", "", 0, ""),
    "time": Metric("", "", "", 0, "", "s"),
}
# What a generator from latents can be measured by: no image of its own belongs to one of the data.
WHILE_TRAINING = tuple(name for name, metric in METRICS.items() if metric.takes != "pairs")


@dataclass(frozen=True)
class Figure:
    """value, parts (what it is the mean of), spread: in the metric's unit. spread: its plus and minus, the standard deviation over
    the subsets, splits or directions of `kid`, `is` and `swd`, the standard error where it is a mean over images; else None.
    caveats: to be shown wherever it is."""

    value: float
    spread: float | None = None
    parts: dict[str, float] = field(default_factory=dict)
    images: int = 0
    caveats: tuple[str, ...] = ()


def needs_features(names: Iterable[str]) -> bool:
    return any(METRICS[name].takes in ("features", "logits") for name in names)


def full_name(name: str, features: str) -> str:
    """'fid' on 'random' -> 'fid[random]': no figure goes without what it was measured on."""
    return f"{name}[{features}]" if METRICS[name].takes in ("features", "logits") else name


def parse(text: str, known: Iterable[str] = METRICS, option: str = "--metrics") -> tuple[str, ...]:
    """'fid,swd' -> ('fid', 'swd'), whatever is known by these names."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    of_metrics = METRICS.keys() >= set(known)
    for name in names:
        if name not in known:  # a metric that is not known there is one of pairs
            why = "compares images that belong together" if of_metrics and name in METRICS else "not known"
            raise UserError(f"{option} {name}: {why}; {nearest(name, known)}")
    if not names:
        raise UserError(f"{option}: names nothing; known are {', '.join(known)}.")
    return names
