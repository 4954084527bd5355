"""Compare filters for reducing photos: `python -m preprocessing.resample_study SOURCE`.

For every filter of Pillow and OpenCV, this measures the time per image, PSNR and MS-SSIM of a photo
that is reduced and enlarged again (with the same cubic filter for all), and the aliasing: the share
of the reduced picture's energy (sum of squares) that comes from frequencies that it cannot
represent. A plane is one colour channel of a square photo, float32 [H, H].
"""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("preprocessing.resample_study:command"))

import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import cv2
import numpy as np
from PIL import Image

# OpenCV's filters read the same number of pixels however far they reduce, and therefore alias; only
# INTER_AREA does not.
OPENCV = {
    "nearest": cv2.INTER_NEAREST,
    "box": cv2.INTER_AREA,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}
PILLOW = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")


def _make_pillow(name: str) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return a function that reduces a plane with one of Pillow's filters, see `list_filters`."""
    kind = Image.Resampling[name.upper()]

    def reduce(plane: np.ndarray, size: int) -> np.ndarray:
        return np.asarray(Image.fromarray(plane, "F").resize((size, size), kind))

    return reduce


def _make_opencv(name: str) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return a function that reduces a plane with one of OpenCV's filters, see `list_filters`."""
    return lambda plane, size: cv2.resize(plane, (size, size), interpolation=OPENCV[name])


def list_filters() -> dict[tuple[str, str], Callable[[np.ndarray, int], np.ndarray]]:
    """Return {(library, filter): function that reduces a plane}, such as ("OpenCV", "box").

    A function takes a plane float32 [H, H] and a size in pixels, and returns float32 [size, size].
    """
    return {("Pillow", n): _make_pillow(n) for n in PILLOW} | {("OpenCV", n): _make_opencv(n) for n in OPENCV}


def extract_high_frequencies(plane: np.ndarray, size: int) -> np.ndarray:
    """Return the high frequencies of a plane [H, H], as float32 [H, H].

    These are the frequencies of size / 2 and more cycles per side, which a plane of size x size
    pixels cannot represent.
    """
    spectrum = np.fft.fft2(plane)
    frequency = np.abs(np.fft.fftfreq(len(plane), 1 / len(plane)))
    spectrum[np.maximum(frequency[:, None], frequency[None, :]) < size / 2] = 0
    return np.fft.ifft2(spectrum).real.astype(np.float32)


def measure_aliasing(reduce: Callable, plane: np.ndarray, size: int) -> float:
    """Return the share of aliasing in the energy of a reduced plane, 0 for none.

    The energy does not include the mean. Aliasing comes from frequencies that the reduced plane
    cannot represent. Because reducing is linear, reducing only these frequencies gives the
    aliasing.

    Args:
        reduce: function that reduces a plane, see `list_filters`.
        plane: the plane before reducing, float32 [H, H].
        size: side of the reduced plane in pixels.
    """
    reduced = reduce(plane, size)
    alias = reduce(extract_high_frequencies(plane, size), size)
    return float(np.square(alias).sum() / np.square(reduced - reduced.mean()).sum())


def study(photos: Sequence[np.ndarray], size: int) -> list[dict]:
    """Measure all filters on photos.

    Args:
        photos: uint8 [H, H, 3], with sides H larger than `size`.
        size: side in pixels to which photos are reduced.

    Returns:
        List with a dict for each filter. Its keys are library, filter, ms (median time per photo
        in milliseconds), and psnr_db, ms_ssim and aliasing_percent (means over the photos).
    """
    import tensorflow as tf

    rows = []
    for (library, name), reduce in list_filters().items():
        seconds, psnr, similarity, alias = [], [], [], []
        for photo in photos:
            planes = [np.ascontiguousarray(photo[..., c], np.float32) for c in range(3)]
            begun = time.perf_counter()
            small = [reduce(p, size) for p in planes]
            seconds.append(time.perf_counter() - begun)
            back = np.stack([cv2.resize(p, photo.shape[:2], interpolation=cv2.INTER_CUBIC) for p in small], -1)
            back = np.clip(back, 0, 255)
            psnr.append(10 * np.log10(255**2 / np.square(back - photo).mean()))
            similarity.append(float(tf.image.ssim_multiscale(photo.astype(np.float32), back, 255)))
            alias.append(np.mean([measure_aliasing(reduce, p, size) for p in planes]))
        rows.append(
            {
                "library": library,
                "filter": name,
                "ms": 1000 * float(np.median(seconds)),
                "psnr_db": float(np.mean(psnr)),
                "ms_ssim": float(np.mean(similarity)),
                "aliasing_percent": 100 * float(np.mean(alias)),
            }
        )
    return rows


def save_picture(photo: np.ndarray, size: int, path: Path) -> None:
    """Save a picture that shows a photo reduced by each filter and enlarged.

    Pillow's filters are in the first row, OpenCV's in the second.

    Args:
        photo: uint8 [H, H, 3].
        size: side in pixels to which the photo is reduced.
        path: path of the picture.
    """
    from pggan_tf.data import pixels

    rows = []
    for library in ("Pillow", "OpenCV"):
        for name in PILLOW:
            reduce = list_filters().get((library, name))
            image = np.full((size, size, 3), 255, np.uint8)
            if reduce:
                planes = [reduce(np.ascontiguousarray(photo[..., c], np.float32), size) for c in range(3)]
                image = np.clip(np.rint(np.stack(planes, -1)), 0, 255).astype(np.uint8)
            image = pixels.enlarge(image[None], 256)[0]
            label = f"{library} {name}" if reduce else f"{library}: no {name}"
            strip = np.full((28, image.shape[1], 3), 255, np.uint8)
            cv2.putText(strip, label, (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
            rows.append(np.concatenate([strip, image]))
    pixels.save(path, pixels.tile(np.stack(rows), columns=len(PILLOW), edge=4))


@click.command()
@click.argument("source")
@click.option(
    "--size", type=click.IntRange(4), default=64, show_default=True, help="side of the reduced photos in pixels"
)
@click.option("--images", type=click.IntRange(1), default=50, show_default=True, help="number of photos")
@click.option("--out", default="resample_study", show_default=True, help="folder for table.csv and filters.png")
def command(source, size, images, out):
    """Compare filters for reducing photos, measured on the photos of SOURCE."""
    from rich.console import Console
    from rich.table import Table

    from pggan_tf import terminal
    from pggan_tf.data.decode import Unreadable, cut_square
    from pggan_tf.errors import UserError
    from preprocessing.sources import open_source

    opened = open_source(source, size=256, count=images)
    photos: list[np.ndarray] = []
    least = max(176, 2 * size)  # MS-SSIM needs five octaves of 11 pixels
    for item in opened.items(0, len(opened)):
        try:
            image, *_ = item.decode(least=least)
            photos.append(cut_square(image, min(image.size)))
        except Unreadable:
            continue
        if len(photos) == images:
            break
    if not photos:
        raise UserError(f"{source}: no photo of {least} pixels or more a side, so nothing to reduce to {size}.")
    terminal.start_tensorflow()
    rows = study(photos, size)
    table = Table(box=None)
    for name in ("library", "filter", "ms an image", "PSNR dB", "MS-SSIM", "aliasing %"):
        table.add_column(name, justify="left" if name in ("library", "filter") else "right")
    for row in rows:
        table.add_row(
            row["library"], row["filter"], f"{row['ms']:.2f}", f"{row['psnr_db']:.2f}", f"{row['ms_ssim']:.4f}", f"{row['aliasing_percent']:.2f}"
        )  # fmt: skip
    console = Console(width=100, highlight=False)
    console.print(f"{len(photos)} photos reduced to {size} px, and enlarged again by a cubic filter")
    console.print(table)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    save_picture(photos[0], size, folder / "filters.png")
    click.echo(out)
