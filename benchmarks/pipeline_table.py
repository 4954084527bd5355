"""Measure the time-efficient PGGAN.

Separable convolutions grow images to 64 px, and SRGAN enlarges them to 256 px. Both are compared
with real images by sliced Wasserstein distance, MS-SSIM and Inception score.

python -m benchmarks.pipeline_table DIR --minutes 60
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.pipeline_table:main"))

import time
from pathlib import Path

import click

from benchmarks import measure, page
from pggan_tf.data.shards import find_cache_folder


def trained(data: str, minutes: float, folder: str) -> tuple[Path, Path]:
    """Train both networks, or resume their runs, and return the folders of the runs.

    Finished runs are kept as they are. `train.py` refuses folders of runs with other options.
    """
    parts = ["pggan-separable", "srgan"]
    more = {} if data == "portraits" else {"--data": data, "--upscale-small": ""}
    measure.train({"--recipe": "+".join(parts), "--minutes": minutes, **more}, Path(folder))
    return tuple(Path(folder) / part for part in parts)


def sets_of(faces: Path, larger: Path, count: int):
    """Generate and enlarge images, and read twice as many real ones.

    Returns:
        For the small and for the enlarged images: (name, seconds per image, metrics.sets.ImageSet
            of these images, metrics.sets.ImageSet of real images).
    """
    import numpy as np

    from pggan_tf import synthesis, tasks
    from pggan_tf.conversion import conversion
    from pggan_tf.data import pipeline
    from pggan_tf.data.shards import Shards
    from pggan_tf.metrics import sets
    from pggan_tf.runs import folder as runs
    from pggan_tf.runs import generators

    def of_array(name, images):
        return sets.ImageSet(name, len(images), images.shape[1], 3, lambda start, stop: images[start:stop])

    generator, network = generators.load(faces), generators.load(larger)
    begun = time.perf_counter()
    z = synthesis.calibration_latents(generator.latent_size, count)
    small = synthesis.Sampler(generator).images(z, generator.resolutions[-1])
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    large = conversion.convert_images(small, tasks.Upscale().converter(network))
    second = time.perf_counter() - begun
    held = [Shards(runs.read(folder)[1]["dataset"]["folder"]) for folder in (faces, larger)]
    real = [
        s.read(i.shape[1], pipeline.order(np.arange(min(2 * count, len(s))), len(s), 0)[0])
        for s, i in zip(held, (small, large))
    ]
    return [
        ("PGGAN-separable", first / count, of_array("generated", small), of_array("real", real[0])),
        ("with SRGAN", (first + second) / count, of_array("enlarged", large), of_array("real", real[1])),
    ]


@click.command()
@click.argument("data")
@click.option("--minutes", default=60.0, show_default=True, help="minutes of training for both networks")
@click.option("--images", default=2000, show_default=True, help="number of images in each set")
@click.option(
    "--features",
    help="network for the Inception score: inception, a keras.applications network, a .keras file  [inception if its graph has "
    "been downloaded before; else the score is left out]",
)
@click.option("--inception-weights", help="file or URL of the graph, for --features inception  [downloaded once]")
@click.option(
    "--run", default="runs/pipeline", show_default=True, help="folder of the two runs; finished runs are only measured"
)
@page.out_option
def main(
    data: str,
    minutes: float,
    images: int,
    features: str | None,
    inception_weights: str | None,
    run: str,
    out: Path | None,
) -> None:
    from pggan_tf.metrics import features as known
    from pggan_tf.metrics import sets

    measure.announce(60 * minutes + 300)
    cache = find_cache_folder(None)
    if not features and (inception_weights or known.locate_weights(known.INCEPTION_URL, cache).is_file()):
        features = known.INCEPTION
    seen = known.load(features, inception_weights or known.INCEPTION_URL, cache, print) if features else None
    names = ("swd", "ms-ssim", "is") if seen else ("swd", "ms-ssim")
    known.check_features(names, seen)
    folders = trained(str(Path(data).resolve()) if Path(data).exists() else data, minutes, run)
    question = "How near to real images are those that separable convolutions grow, and those that SRGAN enlarges?"
    written, rows = page.Page(out, "Growing and enlarging", question), []
    caveats: dict[str, None] = {}
    for name, seconds, made, real in sets_of(*folders, images):
        half = min(images, real.count // 2)
        one = sets.collect_statistics(names, real, 0, half, seen, cache)
        pairs = []
        for other, begin in ((made, 0), (real, half)):
            two = sets.collect_statistics(names, other, begin, begin + half, seen, cache)
            pairs.append(list(sets.compute_figures(names, one, two, seen).values()))
        caveats |= {caveat: None for figures in pairs for figure in figures for caveat in figure.caveats}
        cells = [f"{f.value:.3g}" + (f" ± {f.spread:.2g}" if f.spread else "") for pair in zip(*pairs) for f in pair]
        rows.append((name, made.resolution, f"{half:,}", *cells, f"{1000 * seconds:.1f}"))
    titles = ("SWD", "MS-SSIM", f"IS[{seen.name}]" if seen else "")[: len(names)]
    both = (text for title in titles for text in (title, f"{title} of real images"))
    written.table(("images of", "px", "images", *both, "ms an image"), rows)
    without = (
        "the Inception score is left out: it needs classes. Give --features inception, or a classifier's .keras file"
    )
    written.notes(f"{minutes:g} minutes of training for both networks", *([] if seen else [without]), *caveats)
