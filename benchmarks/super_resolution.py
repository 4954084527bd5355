"""Compare enlarged photos with the originals: networks, those of others, and the bicubic filter.

python -m benchmarks.super_resolution DIR                # the bicubic row alone; on Set5 x4 it is 28.43 dB
python -m benchmarks.super_resolution DIR RUN [RUN ...]  # and those of trained networks
python -m benchmarks.super_resolution set5 bsds RUN x4/model.json realesr-animevideov3-x4.param --damaged

A DIR holds photos, or pairs named ..._HR.png and ..._LR.png. `benchmarks.enlargers` says where the
networks of others come from.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.super_resolution:main"))

import time
from pathlib import Path

import click
import numpy as np

from benchmarks import enlargers, measure, page
from pggan_tf import tasks, terminal
from pggan_tf.api import Generator
from pggan_tf.data import colour, degradation, listing, photos, pixels, shards
from pggan_tf.errors import UserError
from pggan_tf.metrics import features as networks
from pggan_tf.runs import keras_files
from pggan_tf.runs.folder import CONFIG

Images = dict[str, tuple[np.ndarray, np.ndarray]]  # name -> (low, high), see `pairs`
MOST_LISTED = 8  # of more photos only the mean is shown
_PATCH, _STRIDE = 64, 32  # squares whose features are compared, in pixels of the enlarged photo


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


def pairs(folder: str, scale: int, most: int | None = None) -> Images:
    """Read pairs of a low-resolution and a high-resolution image.

    If there is no file for the low one, the high one is reduced with Pillow's bicubic filter, which
    equals MATLAB's.

    Args:
        folder: the folder of the photos.
        scale: factor of enlargement.
        most: read only so many photos, the first by name; None: all.

    Returns:
        {name: (low, high)}, uint8 [h,w,3] and [scale h, scale w, 3].
    """
    out: Images = {}
    for name in listing.find_photos(folder, besides=Path(folder) / "out").photos:
        file = Path(folder) / name
        if file.stem.endswith("_LR"):
            continue
        if most and len(out) == most:
            break
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


def damage(images: Images, scale: int) -> Images:
    """Return the same photos with low versions that are blurred, noisy and JPEG-compressed.

    How strongly is drawn for each photo, with a fixed seed, see `pggan_tf.data.degradation`.
    """
    import tensorflow as tf

    out = {}
    for i, (name, (_, high)) in enumerate(images.items()):
        low = degradation.degrade(
            tf.constant(pixels.to_unit(high[None])), scale, "bicubic", tf.constant([0, i], tf.int64)
        )
        out[name] = pixels.from_unit(low[0].numpy(), np.uint8), high
    return out


def bicubic(low: np.ndarray, scale: int) -> np.ndarray:
    return _resized(low, scale * low.shape[0], scale * low.shape[1])


def patches(image: np.ndarray) -> np.ndarray:
    """Return overlapping squares of an image, uint8 [N,64,64,3]; of a smaller image, what it has."""
    patch = min(_PATCH, *image.shape[:2])
    view = np.lib.stride_tricks.sliding_window_view(image, (patch, patch), (0, 1))[::_STRIDE, ::_STRIDE]
    return view.transpose(0, 1, 3, 4, 2).reshape(-1, patch, patch, 3)


def feature_distance(output: np.ndarray, truth: np.ndarray, features: networks.Features) -> float:
    """Return how different two images look to a network: 0 for the same image, 2 at most.

    It is the mean, over overlapping squares of 64 pixels, of 1 - the cosine of the angle between
    their features.

    Args:
        output: uint8 [H,W,3].
        truth: uint8 [H,W,3].
        features: the network.
    """
    a, b = (features.extract(patches(image))[0].astype(np.float64) for image in (output, truth))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean(1 - np.sum(a * b, axis=1) / np.maximum(norms, 1e-12)))


def figures(enlarge, images: Images, scale: int, features: networks.Features | None = None) -> dict[str, tuple]:
    """Return {name: (PSNR, SSIM)} of images that are enlarged from their low-resolution versions.

    Args:
        enlarge: function from uint8 [h,w,3] to uint8 [scale h, scale w, 3].
        images: {name: (low, high)}, as `pairs` returns them.
        scale: factor of enlargement; also the border that is left out.
        features: a network; the `feature_distance` is then the third figure.
    """
    out = {}
    for name, (low, high) in images.items():
        made = enlarge(low)
        more = (feature_distance(made, high, features),) if features else ()
        out[name] = (*luma_figures(made, high, scale), *more)
    return out


def label(place: str) -> str:
    """Return a short name for a row: of a model.json, which many packages have, its folder too."""
    path = Path(place)
    return f"{path.parent.name}/{path.name}" if path.suffix in enlargers.OPENERS else page.shorten(place)


def cells(rows: dict[str, dict]) -> list[list[str]]:
    """Return the cells of a table, with the mean in the last column.

    rows: {name of the row: result of `figures`}.
    """
    out = []
    for row, found in rows.items():
        values = [*found.values(), tuple(np.mean(list(found.values()), 0))]
        out.append([label(row), *(f"{psnr:.2f} {ssim:.4f}" for psnr, ssim, *_ in values)])
    return out


def seconds_per_megapixel(enlarge, images: Images) -> float:
    """Return the time for a megapixel of the enlarged photo, measured on the largest photo.

    The photo is enlarged once before, so that the time to build the network is not included.
    """
    low, high = max(images.values(), key=lambda pair: pair[1].size)
    enlarge(low)
    start = time.perf_counter()
    enlarge(low)
    return (time.perf_counter() - start) / (high.shape[0] * high.shape[1] / 1e6)


def open_run(run: str, scale: int) -> enlargers.Enlarger:
    """Open the network of a run, which must enlarge `scale` times.

    Raises UserError if it does not.
    """
    generator = Generator.open(run)
    generator.require_verb("upscale")
    network = generator.network
    if network.scale != scale:
        raise UserError(f"--scale {scale}: {run} was trained for {network.scale}.")
    change = tasks.Upscale().converter(network)
    return enlargers.Enlarger(lambda low: change(photos.Photo(low)).pixels, 4 * network.count_params())


def _sort(places: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return (folders of photos, networks), in the order in which they were given."""
    folders: list[str] = []
    models: list[str] = []
    for place in places:
        path = Path(place)
        network = enlargers.is_peer(place) or keras_files.is_location(place) or path.suffix == ".keras"
        network = network or any((path / name).is_file() for name in (CONFIG, keras_files.GENERATOR))
        (models if network else folders).append(place)
    if not folders:
        raise UserError(f"{' '.join(places)}: no folder of photos among them. Give one first.")
    return folders, models


@click.command()
@click.argument("places", metavar="DIR... [RUN|FILE]...", nargs=-1, required=True)
@click.option("--scale", type=click.IntRange(2), default=4, show_default=True)
@click.option("--damaged", is_flag=True, help="also of photos that were blurred, made noisy and compressed")
@click.option("--count", type=click.IntRange(1), help="only so many photos of each DIR  [default: all]")
@click.option("--features", help="also a distance on the features of: random, inception, a network of Keras, a .keras")
@page.out_option
def main(places, scale: int, damaged: bool, count: int | None, features: str | None, out: Path | None) -> None:
    folders, models = _sort(places)
    if len({Path(folder).name for folder in folders}) < len(folders):
        raise UserError(f"{' '.join(folders)}: give folders of different names, by which they stand in the table.")
    sets = {Path(folder).name: pairs(folder, scale, count) for folder in folders}
    pixels_in_all = sum(high[..., 0].size for images in sets.values() for _, high in images.values())
    measure.announce(10 + 5e-6 * (1 + damaged) * (len(models) + 2 * bool(features)) * pixels_in_all)
    question = (
        f"How near are photos that are enlarged {scale} times to the originals, by networks and by the bicubic filter?"
    )
    written = page.Page(out, "Super-resolution", question)
    terminal.start_tensorflow()
    judge = networks.load(features, networks.INCEPTION_URL, shards.find_cache_folder(None)) if features else None
    rows = {"bicubic": enlargers.Enlarger(lambda low: bicubic(low, scale), 0)}
    for place in models:
        rows[place] = enlargers.open_peer(place) if enlargers.is_peer(place) else open_run(place, scale)
    for name, clean in sets.items():
        for title, images in [(name, clean), *([(f"{name}, damaged", damage(clean, scale))] if damaged else [])]:
            found = {row: figures(rows[row].enlarge, images, scale, judge) for row in rows}
            if len(images) <= MOST_LISTED and title == name:
                written.table((f"{name}: PSNR of Y in dB, SSIM", *images, "mean"), cells(found))
            if judge or len(images) > MOST_LISTED or title != name:
                heads = (
                    f"{title}: {len(images)} photos",
                    "PSNR of Y, dB",
                    "SSIM",
                    *(["feature distance"] if judge else []),
                )
                means = {row: np.mean(list(values.values()), 0) for row, values in found.items()}
                written.table(heads, [[label(row), *_format(mean)] for row, mean in means.items()])
    if models:
        costs = [
            [
                label(row),
                f"{seconds_per_megapixel(rows[row].enlarge, clean):.2f}",
                f"{rows[row].bytes / 1e6:.2f}",
            ]
            for row in models
        ]
        written.table(("cost", "seconds for a megapixel made", "MB of weights"), costs)
    notes = [f"Y of BT.601 without {scale} pixels on every side. Published, bicubic on Set5 x4: 28.43 dB."]
    if judge:
        notes.append(
            f"Feature distance: 1 - cosine of features of '{judge.name}', mean over squares of {_PATCH} pixels; less is nearer."
        )
    written.notes(*notes)


def _format(mean) -> list[str]:
    psnr, ssim, *distance = mean
    return [f"{psnr:.2f}", f"{ssim:.4f}", *(f"{1000 * d:.2f} / 1000" for d in distance)]
