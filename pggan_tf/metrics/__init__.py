"""Metrics of image quality: METRICS lists them, and each is computed by a module of this package.

Metrics are computed in three steps: `features` computes a network's features of images, `sets`
collects the statistics of a set of images in one pass, and the module of a metric computes its
value from the statistics of two sets.

To add a metric, add a module to this package and a row to METRICS. Depending on the row's `takes`,
the module defines one of these functions:

- `compute(real, fake) -> dict[str, Figure]` for "features", "logits" and "patches": takes two
  `sets.SetStatistics` and returns values by the short name of the metric;
- `compute_each(images) -> [N]` for "images": takes uint8 [N, H, W, C] and returns one number for
  each image (`ms_ssim`: for each two images);
- `compute_each(truth, images) -> [N]` for "pairs": takes two arrays uint8 [N, H, W, C] and returns
  one number for each pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pggan_tf.errors import UserError, nearest

# Values of `Metric.takes`, the input that a metric is computed from. "images": the images of the
# second set only; "pairs": corresponding images of both sets; "": only for `time`, the time taken
# to collect the second set's statistics and to compute the metrics.
TAKES = ("features", "logits", "patches", "images", "pairs", "")


@dataclass(frozen=True)
class Metric:
    """A row of METRICS: how a metric is computed and how its values are interpreted."""

    module: str  # name of the module in this package; empty for `time`, which `sets` measures
    takes: str  # input of the metric, one of TAKES
    better: str  # "lower" or "higher"; empty if values near that of the real images are best
    images: int  # images per set in published results; 0 if the number does not matter
    fewer: str  # effect of fewer images on the value, in words
    unit: str = ""  # unit of the values; empty for plain numbers
    # Whether blurry images get better values than sharp ones with small errors.
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
# Shorter side in pixels: while a run trains, smaller images are not measured, as they contain less than a patch.
SMALLEST = 8
# Metrics for generators from latents: all but those of pairs, since no image of the data
# corresponds to a generated one.
WHILE_TRAINING = tuple(name for name, metric in METRICS.items() if metric.takes != "pairs")


@dataclass(frozen=True)
class Figure:
    """Result of computing a metric."""

    value: float  # in the metric's unit
    # Standard deviation over subsets (kid), splits (is) or sets of directions (swd), or standard
    # error of the mean over images; in the metric's unit.
    spread: float | None = None
    parts: dict[str, float] = field(default_factory=dict)  # values whose mean is `value`, by name
    images: int = 0  # number of images of the second set that were used
    caveats: tuple[str, ...] = ()  # sentences to print wherever the value is printed


def needs_features(names: Iterable[str]) -> bool:
    """Return whether any of the named metrics is computed from a network's features or logits."""
    return any(METRICS[name].takes in ("features", "logits") for name in names)


def select(*takes: str) -> list[str]:
    """Return the names of the metrics whose input is one of `takes`, which are values of TAKES."""
    return [name for name, metric in METRICS.items() if metric.takes in takes]


def full_name(name: str, features: str) -> str:
    """Return the full name of a metric: 'fid[random]' for the metric 'fid' and features 'random'.

    Values on different features cannot be compared, so the name always includes the features. The
    names of metrics that use no features are returned unchanged.
    """
    return f"{name}[{features}]" if METRICS[name].takes in ("features", "logits") else name


def strip_features(name: str) -> str:
    """Return the short name of a metric, its key in METRICS: 'fid' for 'fid[random]'."""
    return name.partition("[")[0]


def choose_judge(names: Iterable[str], adversarial: bool) -> str | None:
    """Return the metric that decides which generator is saved as best.keras, or None.

    It is the first one of which less or more is always better. PSNR and SSIM reward blurry outputs:
    they decide nothing if the loss is adversarial.

    Args:
        names: names of metrics, such as 'fid[random]'.
        adversarial: whether a generator that converts images is trained with a discriminator.
    """
    found = {name: METRICS[strip_features(name)] for name in names}
    return next((n for n, m in found.items() if m.better and not (m.rewards_blur and adversarial)), None)


def parse(text: str, known: Iterable[str] = METRICS, option: str = "--metrics") -> tuple[str, ...]:
    """Split comma-separated names, such as 'fid,swd', into a tuple without duplicates.

    Args:
        text: The names.
        known: Allowed names.
        option: Name of the command-line option, for error messages.

    Raises:
        UserError: A name is not in `known`, or `text` has no names.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    of_metrics = METRICS.keys() >= set(known)
    for name in names:
        if name not in known:  # the only metrics that `known` may lack are those of pairs
            why = "compares images that belong together" if of_metrics and name in METRICS else "not known"
            raise UserError(f"{option} {name}: {why}; {nearest(name, known)}")
    if not names:
        raise UserError(f"{option}: names nothing; known are {', '.join(known)}.")
    return names
