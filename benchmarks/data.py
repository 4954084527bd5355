"""Measure the images per second that `pipeline.make_batches` reads, mirrors and batches.

It reads small and large images, from one shard file and from many.

python -m benchmarks.data  # 4 px from 1 and from 1,200 files, 64 px, 256 px
python -m benchmarks.data --files 5000
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.data:main"))

import os
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from benchmarks import measure, page

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

_ROUNDS = 3


def write(folder: Path, files: int, images: int, size: int) -> Path:
    """Write shards of random images, `images` in each file.

    The images are random so that no file system can compress them.
    """
    from pggan_tf.data import shards

    writer = shards.Writer(folder, shards.halve_resolution(size), source="noise", shard_images=images)
    rng = np.random.default_rng(0)
    for _ in range(files):
        for image in rng.integers(0, 256, (images, size, size, 3), np.uint8):
            writer.add(image)
    writer.close()
    return folder


def rate(folder: Path, resolution: int, batch: int, seconds: float) -> tuple[int, float, float, float]:
    """Measure the speed of reading.

    Returns:
        (images, wall seconds, processor seconds) of the fastest of a few rounds, and the seconds
            for opening all files.
    """
    import tensorflow as tf

    from pggan_tf.data import pipeline
    from pggan_tf.data.shards import Shards

    begun = time.perf_counter()
    opened = Shards(folder, verify=False)
    opened.open(opened.find_stored(resolution))
    opening = time.perf_counter() - begun

    def read(images: int) -> tuple[int, float, float]:
        wall, processor = time.perf_counter(), time.process_time()
        batches = pipeline.make_batches(pipeline.TrainingImages(opened, resolution, 0), 0, images, batch)
        count = batches.reduce(np.int64(0), lambda n, element: n + tf.shape(element[0], tf.int64)[0])
        return int(count), time.perf_counter() - wall, time.process_time() - processor

    # Find the number of images that can be read in `seconds`. The first call starts TensorFlow and
    # loads the files into memory.
    images = batch * 16
    read(images)
    while (found := read(images))[1] < seconds / 4:
        images *= 2
    images = max(1, int(images * seconds / found[1] / batch)) * batch
    return *min((read(images) for _ in range(_ROUNDS)), key=lambda found: found[1]), opening


@click.command()
@click.option(
    "--files",
    default=1200,
    show_default=True,
    type=page.AT_LEAST_ONE,
    help="number of shard files in the set with many files",
)
@click.option(
    "--seconds",
    default=3.0,
    show_default=True,
    type=page.POSITIVE,
    help="seconds for each of the three rounds of a row",
)
@page.out_option
def main(files: int, seconds: float, out: Path | None) -> None:
    from pggan_tf import terminal
    from pggan_tf.data import pipeline

    sets = ((1, 32 * files, 4, 64), (files, 32, 4, 64), (3, 4096, 64, 16), (4, 300, 256, 16))
    drawn = "draws 600 MB of random images into a temporary folder, then reads them"
    measure.announce(30 + len(sets) * (_ROUNDS + 2) * seconds, f"{drawn}; {pipeline.count_cores()} cores here")
    terminal.start_tensorflow()
    question = (
        "How many images a second are read from shards, mirrored and put in batches? Random images, cached in memory."
    )
    written, rows = page.Page(out, "Reading images", question), []
    with tempfile.TemporaryDirectory() as folder:
        for number, (count, images, size, batch) in enumerate(sets):
            data = write(Path(folder) / str(number), count, images, size)
            read, wall, processor, opening = rate(data, size, batch, seconds)
            figures = (f"{read / wall:,.0f}", f"{read / processor:,.0f}", f"{wall:.2f}", f"{processor:.2f}")
            rows.append((size, f"{count:,}", f"{batch}", *figures, f"{opening:.3f}"))
    heads = ("px", "files", "batch", "images/s", "a processor second", "wall s", "processor s", "opening s")
    written.table(heads, rows)
    written.notes(f"The fastest of {_ROUNDS} rounds. `opening s`: opening and checking the headers of all files.")
