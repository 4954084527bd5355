"""Measure super-resolution as in publications: PSNR and SSIM of Y, for networks and bicubic filter.

python -m benchmarks.super_resolution DIR                # the bicubic row alone; on Set5 x4 it is 28.43 dB
python -m benchmarks.super_resolution DIR RUN [RUN ...]  # and those of trained networks

DIR holds photos, or pairs named ..._HR.png and ..._LR.png.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.super_resolution:main"))

from pathlib import Path

import click
import numpy as np

from benchmarks import measure, page
from pggan_tf import tasks, terminal
from pggan_tf.api import Generator
from pggan_tf.data import colour, listing, photos, pixels
from pggan_tf.errors import UserError


def luma_figures(output: np.ndarray, truth: np.ndarray, border: int) -> tuple[float, float]:
    """Return PSNR in dB and SSIM of the luma Y of two images.

    This is the protocol of published results on Set5 and Set14: Y of BT.601 (16..235, not rounded,
    against a peak of 255), without `border` pixels on every side. SSIM: Wang et al. 2004, with an
    11x11 Gaussian window.

    Args:
        output: uint8 [H,W,3].
        truth: uint8 [H,W,3].
        border: pixels to leave out on every side.
    """
    import tensorflow as tf

    inside = np.s_[border : truth.shape[0] - border, border : truth.shape[1] - border]
    a, b = (colour.to_luma(pixels.to_unit(x))[inside].astype(np.float64) for x in (output, truth))
    psnr = 10 * np.log10(255**2 / np.square(a - b).mean())
    return float(psnr), float(tf.image.ssim(a.astype(np.float32), b.astype(np.float32), 255))


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.clip(np.rint(pixels.resize_rows(image, (height, width), "bicubic", 0, height)), 0, 255).astype(np.uint8)


def _read(file: Path) -> np.ndarray:
    try:
        return photos.read(file.read_bytes()).rgb()
    except photos.Unreadable as reason:
        raise UserError(f"{file}: {reason}. Mend or remove it: figures are of all photos.") from None


def pairs(folder: str, scale: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read pairs of a low-resolution and a high-resolution image.

    If there is no file for the low one, the high one is reduced with Pillow's bicubic filter, which
    equals MATLAB's.

    Returns:
        {name: (low, high)}, uint8 [h,w,3] and [scale h, scale w, 3].
    """
    out = {}
    for name in listing.find_photos(folder, besides=Path(folder) / "out").photos:
        file = Path(folder) / name
        if file.stem.endswith("_LR"):
            continue
        high = _read(file)
        height, width = (side - side % scale for side in high.shape[:2])
        high = np.ascontiguousarray(high[:height, :width])
        given = file.with_name(f"{file.stem.removesuffix('_HR')}_LR{file.suffix}")
        if given.is_file():
            low = np.ascontiguousarray(_read(given))
            if low.shape[:2] != (height // scale, width // scale):
                raise UserError(
                    f"{given}: {low.shape[1]}x{low.shape[0]} pixels, not {scale} times fewer than {file.name}."
                )
        else:
            low = _resized(high, height // scale, width // scale)
        out[file.stem.removesuffix("_HR")] = low, high
    if not out:
        raise UserError(f"{folder}: no photos to enlarge.")
    return out


def bicubic(low: np.ndarray, scale: int) -> np.ndarray:
    return _resized(low, scale * low.shape[0], scale * low.shape[1])


def figures(enlarge, images: dict, scale: int) -> dict[str, tuple[float, float]]:
    """Return {name: (PSNR, SSIM)} of images that are enlarged from their low-resolution versions.

    Args:
        enlarge: function from uint8 [h,w,3] to uint8 [scale h, scale w, 3].
        images: {name: (low, high)}, as `pairs` returns them.
        scale: factor of enlargement; also the border that is left out.
    """
    return {name: luma_figures(enlarge(low), high, scale) for name, (low, high) in images.items()}


def cells(rows: dict[str, dict]) -> list[list[str]]:
    """Return the cells of a table, with the mean in the last column.

    rows: {name of the row: result of `figures`}.
    """
    out = []
    for row, found in rows.items():
        values = [*found.values(), tuple(np.mean(list(found.values()), 0))]
        out.append([page.shorten(row), *(f"{psnr:.2f} {ssim:.4f}" for psnr, ssim in values)])
    return out


@click.command()
@click.argument("folder")
@click.argument("runs", nargs=-1)
@click.option("--scale", type=click.IntRange(2), default=4, show_default=True)
@page.out_option
def main(folder: str, runs: tuple[str, ...], scale: int, out: Path | None) -> None:
    images = pairs(folder, scale)
    measure.announce(10 + 5e-6 * len(runs) * sum(high[..., 0].size for _, high in images.values()))
    question = (
        f"How near are photos that are enlarged {scale} times to the originals, by networks and by the bicubic filter?"
    )
    written = page.Page(out, "Super-resolution", question)
    terminal.start_tensorflow()
    rows = {"bicubic": figures(lambda low: bicubic(low, scale), images, scale)}
    for run in runs:
        generator = Generator.open(run)
        generator.require_verb("upscale")
        network = generator.network
        if network.scale != scale:
            raise UserError(f"--scale {scale}: {run} was trained for {network.scale}.")
        change = tasks.Upscale().converter(network)
        rows[run] = figures(lambda low, change=change: change(photos.Photo(low)).pixels, images, scale)
    written.table(("PSNR of Y in dB, SSIM", *images, "mean"), cells(rows))
    written.notes(f"Y of BT.601 without {scale} pixels on every side. Published, bicubic on Set5 x4: 28.43 dB.")
