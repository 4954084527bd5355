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
    the images of the second set alone, 'pairs' one over images of both in their order. better: 'lower', 'higher', or '' for
    what has to be compared with the data's own. images: of each set, in what is published. fewer: what less of them does.
    """

    module: str
    takes: str
    better: str
    images: int
    fewer: str


METRICS = {
    "fid": Metric("frechet", "features", "lower", 50_000, "biased upwards"),
    "kid": Metric("kernel", "features", "lower", 10_000, "noisier, but not biased"),
    "is": Metric("inception_score", "logits", "higher", 50_000, "biased downwards"),
    "swd": Metric("swd", "patches", "lower", 16_384, "biased upwards"),
    "ms-ssim": Metric("ms_ssim", "images", "", 20_000, "noisier, but not biased"),
    "precision": Metric("neighbours", "features", "higher", 50_000, "not to be compared with figures of more"),
    "recall": Metric("neighbours", "features", "higher", 50_000, "not to be compared with figures of more"),
    "psnr": Metric("psnr", "pairs", "higher", 0, ""),
    "ssim": Metric("ssim", "pairs", "higher", 0, ""),
    "colorfulness": Metric("colorfulness", "images", "", 0, ""),
    "time": Metric("", "", "", 0, ""),
}
# What a generator from latents can be measured by: no image of its own belongs to one of the data.
WHILE_TRAINING = tuple(name for name, metric in METRICS.items() if metric.takes != "pairs")


@dataclass(frozen=True)
class Figure:
    """spread: its plus and minus, see the module. parts: what it is the mean of. caveats: to be shown wherever it is."""

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
    """'fid,swd' -> ('fid', 'swd')."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in known:
            raise UserError(
                f"{option} {name}: "
                + ("compares images that belong together" if name in METRICS else "not known")
                + f"; {nearest(name, known)}"
            )
    if not names:
        raise UserError(f"{option}: names no metric; known are {', '.join(known)}.")
    return names
