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

from benchmarks import measure

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
@click.option("--files", default=1200, show_default=True, help="number of shard files in the set with many files")
@click.option("--seconds", default=3.0, show_default=True, help="seconds for each of the three rounds of a row")
def main(files, seconds):
    from pggan_tf import terminal
    from pggan_tf.data import pipeline

    rows = (
        (f"4 px, {1:5,} file ", 1, 32 * files, 4, 64),
        (f"4 px, {files:5,} files", files, 32, 4, 64),
        ("64 px", 3, 4096, 64, 16),
        ("256 px", 4, 300, 256, 16),
    )
    drawn = "draws 600 MB of random images into a temporary folder, then reads them"
    measure.announce(30 + len(rows) * (_ROUNDS + 2) * seconds, f"{drawn}; {pipeline.count_cores()} cores here")
    terminal.start_tensorflow()
    print(f"{'':18}{'images/s':>12}{'a processor second':>20}{'wall s':>8}{'processor s':>13}{'opening s':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, count, images, size, batch) in enumerate(rows):
            data = write(Path(folder) / str(number), count, images, size)
            read, wall, processor, opening = rate(data, size, batch, seconds)
            print(
                f"{name:18}{read / wall:12,.0f}{read / processor:20,.0f}{wall:8.2f}{processor:13.2f}{opening:11.3f}",
                flush=True,
            )
