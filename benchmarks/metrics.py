"""Measure the time and the peak memory of metrics at the sizes that are used in publications.

python -m benchmarks.metrics  # swd of 16,384 images at 128 px
python -m benchmarks.metrics --metrics fid,kid --count 50000 --resolution 64
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.metrics:main"))

import os
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from benchmarks import measure, page

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def images(count: int, resolution: int, seed: int):
    """Return a set of images of smooth noise.

    Only 1,024 different images exist; they are repeated to reach `count`.
    """
    from pggan_tf.metrics import sets

    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (1024, resolution // 4, resolution // 4, 3), np.uint8)
    some = small.repeat(4, axis=1).repeat(4, axis=2) // 2 + rng.integers(
        0, 64, (1024, resolution, resolution, 3), np.uint8
    )
    return sets.ImageSet(f"noise {seed}", count, resolution, 3, lambda i, j: some[np.arange(i, j) % len(some)])


@click.command()
@click.option("--metrics", "metrics_wanted", default="swd", show_default=True)
@click.option("--count", default=16_384, show_default=True, type=click.IntRange(2))
@click.option("--resolution", default=128, show_default=True, type=click.IntRange(16))
@page.out_option
def main(metrics_wanted: str, count: int, resolution: int, out: Path | None) -> None:
    import resource

    from pggan_tf import metrics
    from pggan_tf.metrics import features, sets

    measure.announce(20 + 4e-7 * count * resolution**2 * len(metrics_wanted.split(",")))
    names, seen = metrics.parse(metrics_wanted, metrics.WHILE_TRAINING), features.make_random()
    features.check_features(names, seen)
    question = "How long do metrics take, and how much memory, on as many images as publications use? Images of noise."
    written = page.Page(out, "Metrics", question)
    real, fake = images(count, resolution, 0), images(count, resolution, 1)
    with tempfile.TemporaryDirectory() as cache:
        begun = time.perf_counter()
        a, b = (sets.collect_statistics(names, x, 0, count, seen, Path(cache)) for x in (real, fake))
        collected = time.perf_counter() - begun
        figures = sets.compute_figures(names, a, b, seen)
        taken = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    row = (f"{count:,}", resolution, ", ".join(names), f"{collected:.1f}", f"{taken:.1f}", f"{peak:,.0f}")
    written.table(("images, twice", "px", "metrics", "s until all are read", "s in all", "peak memory, MB"), [row])
    written.notes(*(f"{name}: {figure.value:.4g}" for name, figure in figures.items()))
