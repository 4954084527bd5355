"""The command `pggan inspect`, which shows statistics and pictures of a folder of shards."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from pggan_tf.data import transparency
from pggan_tf.errors import UserError, make_printable

_SAMPLE = 20_000  # images for the mean and the histogram
_BINS = 16


def compute_statistics(opened, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean image and a histogram of brightness.

    They are computed from up to 20,000 images, evenly spaced over the dataset.

    Args:
        opened: the dataset (`shards.Shards`).
        resolution: resolution in pixels at which images are read.

    Returns:
        (mean image uint8 [H, W, C]; number of images in each of 16 equal ranges of brightness, int
        [16]). The brightness of an image is the mean of its values, 0..255, on white if it has
        alpha.
    """
    count = opened.count(resolution)
    indices = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(int))
    total, bins = 0.0, np.zeros(_BINS, int)
    for first in range(0, len(indices), 512):
        images = opened.read(resolution, indices[first : first + 512])
        total = total + images.sum(axis=0, dtype=np.float64)
        means = transparency.flatten(images, premultiplied=True).reshape(len(images), -1).mean(axis=1)
        bins += np.bincount((means * _BINS / 256).astype(int), minlength=_BINS)
    return np.rint(total / len(indices)).astype(np.uint8), bins


@click.command("inspect")
@click.argument("folder")
@click.option("--verify", is_flag=True, help="compare every file with its checksum")
@click.option("--out", help="folder to write contact.png and mean.png to  [not written]")
def command(folder, verify, out):
    """Show statistics of FOLDER, a folder of shards."""
    from rich.console import Console
    from rich.table import Table

    from pggan_tf.data import pixels, shards
    from preprocessing import build, cache, output, storage

    if found := cache.find_shards(folder):
        place, content = found
        if place != folder:
            raise UserError(f"{folder}: split into {output.TRAIN} and {output.VALIDATION}: inspect {place}.")
        if storage.is_remote(folder):
            folder = cache.fetch(folder, content, shards.find_cache_folder(), click.echo)
    opened = shards.Shards(folder, verify=False)
    if verify:
        opened.verify()
    manifest = opened.manifest
    resolution = max((r for r in manifest.resolutions if r <= 64), default=manifest.resolutions[0])
    mean, bins = compute_statistics(opened, resolution)
    labels = opened.labels(manifest.resolutions[0], np.arange(len(opened)))
    console = Console(highlight=False, markup=False)
    table = Table(show_header=False, box=None)
    rows = {
        "images": f"{manifest.images:,}"
        + "".join(
            f"\n{opened.count(r):,} of them at {manifest.name_size(r)} px"
            for r in manifest.resolutions
            if opened.count(r) < len(opened)
        ),
        "resolutions": ", ".join(map(manifest.name_size, manifest.resolutions)),
        "channels": str(manifest.channels),
        "classes": "\n".join(f"{name}: {(labels == i).sum():,}" for i, name in enumerate(manifest.classes)) or "none",
        "source": manifest.source,
        "filter": manifest.filter,
        "left out": f"{manifest.skipped:,}",
        "files": f"{len(manifest.shards):,}" + (", all as they were written" if verify else ""),
        "checksum": manifest.checksum,
        "brightness": "\n".join(
            f"{i * 256 // _BINS:3d} - {(i + 1) * 256 // _BINS - 1:3d}  {'█' * round(40 * n / max(1, bins.max()))} {n:,}"
            for i, n in enumerate(bins)
        ),
    }
    for name, text in rows.items():
        table.add_row(name, make_printable(text))
    console.print(table, soft_wrap=True)
    if out:
        Path(out).mkdir(parents=True, exist_ok=True)
        build.write_contact_sheet(opened, Path(out) / output.CONTACT_SHEET)
        pixels.save_grid(Path(out) / "mean.png", transparency.unpremultiply(mean[None]), size=128)
        click.echo(out)
