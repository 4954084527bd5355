"""The table of the time-efficient PGGAN: separable growing to 64 px, and its images enlarged to 256 px by SRGAN, each against real
images by sliced Wasserstein distance, MS-SSIM and Inception score.

python -m benchmarks.pipeline_table DIR --minutes 60
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from pggan_tf.shards import cache_folder

METRICS = ("swd", "ms-ssim", "is")


def trained(data: str, minutes: float, runs: str) -> tuple[Path, Path]:
    """The folders of both runs."""
    command = [
        sys.executable,
        "train.py",
        "--recipe",
        "pggan-separable+srgan",
        "--data",
        data,
        "--minutes",
        str(minutes),
    ]
    subprocess.run([*command, "--runs", runs, "--upscale-small"], check=True, cwd=Path(__file__).parents[1])
    faces, larger = sorted(Path(runs).iterdir())
    return faces, larger


def sets_of(faces: Path, larger: Path, count: int):
    """(name, seconds an image, metrics.sets.Images) of the generator's images, small and enlarged, and of the real ones."""
    import numpy as np

    from pggan_tf import pipeline, synthesis
    from pggan_tf.convert import conversion, upscale
    from pggan_tf.metrics import sets
    from pggan_tf.shards import Shards
    from pggan_tf.training import run as runs

    def of_array(name, images):
        return sets.Images(name, len(images), images.shape[1], 3, lambda start, stop: images[start:stop])

    generator, network = synthesis.load(faces), synthesis.load(larger)
    begun = time.perf_counter()
    z = synthesis.settling_latents(generator.latent_size, count)
    small = synthesis.Sampler(generator).images(z, generator.resolutions[-1])
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    large = conversion.changed(small, upscale.upscaler(network))
    second = time.perf_counter() - begun
    held = [Shards(runs.read(folder)[1]["dataset"]["folder"]) for folder in (faces, larger)]
    real = [
        s.read(i.shape[1], pipeline.order(np.arange(min(count, len(s))), len(s), 0)[0])
        for s, i in zip(held, (small, large))
    ]
    return [
        ("PGGAN-separable", first / count, of_array("generated", small), of_array("real", real[0])),
        ("with SRGAN", (first + second) / count, of_array("enlarged", large), of_array("real", real[1])),
    ]


@click.command()
@click.argument("data", type=click.Path(exists=True))
@click.option("--minutes", default=60.0, show_default=True, help="of training, for both networks")
@click.option("--images", default=2000, show_default=True, help="of each set")
@click.option("--features", default="random", show_default=True, help="what the Inception score's classes are told by")
@click.option(
    "--runs", "given", nargs=2, type=click.Path(exists=True), help="two trained runs, instead of training them"
)
def main(data: str, minutes: float, images: int, features: str, given) -> None:
    from rich.console import Console
    from rich.table import Table

    from pggan_tf.metrics import features as known
    from pggan_tf.metrics import sets

    seen = known.load(features, known.INCEPTION_URL, cache_folder(None), print)
    table = Table(box=None)
    for name in (
        "",
        "px",
        "images",
        "SWD",
        "of real",
        "MS-SSIM",
        "of real",
        f"IS[{features}]",
        "of real",
        "ms an image",
    ):
        table.add_column(name, justify="left" if not name else "right")
    with tempfile.TemporaryDirectory() as runs:
        folders = [Path(g) for g in given] or trained(str(Path(data).resolve()), minutes, runs)
        for name, seconds, made, real in sets_of(*folders, images):
            count = min(images, real.count // 2 * 2)
            half = count // 2
            cache = cache_folder(None)

            def figures(truth, start, other, begin, number, cache=cache):
                one = sets.collect(METRICS, truth, start, start + number, seen, cache)
                two = sets.collect(METRICS, other, begin, begin + number, seen, cache)
                return list(sets.compare(METRICS, one, two, seen).values())

            ours, floor = figures(real, 0, made, 0, half), figures(real, 0, real, half, half)
            cells = []
            for a, b in zip(ours, floor):
                cells += [f"{f.value:.3g}" + (f" ± {f.spread:.2g}" if f.spread else "") for f in (a, b)]
            table.add_row(name, str(made.resolution), f"{half:,}", *cells, f"{1000 * seconds:.1f}")
    console = Console(width=150, highlight=False)
    console.print(
        f"{minutes:g} minutes of training for both networks; real images against other real ones beside every figure"
    )
    console.print(table)


if __name__ == "__main__":
    main()
