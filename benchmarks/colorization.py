"""Compare colorizers with the true colours, with no colour at all and with the best single colour.

python -m benchmarks.colorization DIR RUN [RUN ...]

DIR holds photos that no RUN has seen, in any form that `pggan prepare` reads. Squares are cut from
them and reduced to the size that the RUNs were trained at.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.colorization:main"))

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks import measure, page
from pggan_tf import terminal
from pggan_tf.api import Generator
from pggan_tf.data import colour, colour_hints, pixels
from pggan_tf.errors import UserError
from pggan_tf.metrics import colorfulness
from pggan_tf.option_types import FloatRange

POINTS = (1, 5, 20)  # numbers of places whose colours are told to a network that takes hints
MOST_POINTS = max(POINTS)  # with more points, the first places stay the same


def psnr(ab: np.ndarray, truth: np.ndarray) -> float:
    """Return the PSNR of colours in dB, from the mean squared error over all images.

    ab, truth: [N,H,W,2] in -1..1, which stands for a and b in -128..128. The peak is 2.
    """
    return float(10 * np.log10(4 / np.square(np.asarray(ab, np.float64) - truth).mean()))


def squares(source: str, size: int, count: int) -> np.ndarray:
    """Return the central squares of the first photos that are large enough.

    They are uint8 [N, size, size, 3], with N at most `count`.
    """
    from pggan_tf.data.decode import Unreadable, cut_square, decode_photo
    from preprocessing.sources import open_source

    opened, out = open_source(source, size=size), []
    for item in opened.items(0, len(opened)):
        try:
            if item is None or isinstance(item.data, Unreadable):
                continue
            out.append(cut_square(decode_photo(item.data() if callable(item.data) else item.data, least=size), size))
        except Unreadable:
            continue
        if len(out) == count:
            break
    if not out:
        raise UserError(f"{source}: no photo of {size} pixels or more a side.")
    return np.stack(out)


def reveal(ab: np.ndarray, points: int) -> np.ndarray:
    """Return hints as a user would give them: the true colours of random places.

    A place has 1/24 of the image's side, and its colour is its mean.

    Args:
        ab: the true colours, [N,H,W,2].
        points: number of places in each image.

    Returns:
        [N,H,W,3], see `pggan_tf.data.colour_hints`.
    """
    rng = np.random.default_rng(0)
    n, height, width, _ = ab.shape
    out, radius = np.zeros((n, height, width, colour_hints.CHANNELS), np.float32), max(0, round(height / 48))
    for image, hints in zip(ab, out):
        for y, x in rng.integers(0, (height, width), (MOST_POINTS, 2))[:points]:
            place = slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)
            hints[place] = [*image[place].mean((0, 1)), 1]
    return out


def colours(network, images: np.ndarray, points: int = 0, batch: int = 16) -> np.ndarray:
    """Return the colours that a colorizer predicts for images that are reduced to gray.

    Args:
        network: a generator of the task colorize or recolor.
        images: uint8 [N,H,W,3].
        points: number of places of each image whose colours it is told.
        batch: number of images per call of the network.

    Returns:
        a and b, [N,H,W,2] in -1..1.
    """
    import tensorflow as tf

    function = tf.function(lambda x: network(x), autograph=False)
    out = []
    for i in range(0, len(images), batch):
        rgb = pixels.to_unit(images[i : i + batch])
        if network.task == "recolor":
            out.append(colour.split_lab(function(tf.constant(colour.to_gray(rgb))).numpy())[1])
        else:
            lightness, ab = colour.split_lab(rgb)
            hints = [reveal(ab, points)] if network.input_channels > 1 else []
            out.append(function(tf.constant(np.concatenate([lightness, *hints], -1))).numpy())
    return np.concatenate(out)


def rows(networks: dict, images: np.ndarray, saturations: Sequence[float] = ()) -> dict[str, tuple[float, float]]:
    """Measure networks, beside no colour, the mean colour and the true colours.

    Args:
        networks: {name: network}.
        images: uint8 [N,H,W,3].
        saturations: factors of the colours' distance from gray. What networks of the task colorize
            predict without hints is measured once more with each.

    Returns:
        {name: (PSNR of a and b in dB, colourfulness)}. The two simple answers come first, the
            photos last.
    """
    lightness, truth = colour.split_lab(pixels.to_unit(images))
    answers = {
        "gray (a = b = 0)": np.zeros_like(truth),
        "mean colour of these photos": np.broadcast_to(truth.mean((0, 1, 2)), truth.shape),
    }
    for name, network in networks.items():
        answers[name] = colours(network, images)
        for factor in dict.fromkeys(saturations) if network.task == "colorize" else ():
            answers[f"{name}, saturation {factor:g}"] = answers[name] * np.float32(factor)
        for points in POINTS if getattr(network, "input_channels", 1) > 1 else ():
            answers[f"{name}, {points} points told"] = colours(network, images, points)
    answers["the photos"] = truth
    return {
        name: (
            np.inf if ab is truth else psnr(ab, truth),
            float(colorfulness.compute_each(255 * colour.join_lab(lightness, ab)).mean()),
        )
        for name, ab in answers.items()
    }


@click.command()
@click.argument("source")
@click.argument("runs", nargs=-1, required=True)
@click.option("--count", type=click.IntRange(1), default=500, show_default=True, help="maximum number of photos")
@click.option(
    "--saturation",
    "saturations",
    multiple=True,
    type=FloatRange(0, 4),
    help="also with colours this far from gray, as `pggan colorize --saturation` makes them",
)
@page.out_option
def main(source: str, runs: tuple[str, ...], count: int, saturations: tuple[float, ...], out: Path | None) -> None:
    terminal.start_tensorflow()
    generators = {run: Generator.open(run) for run in runs}
    for generator in generators.values():
        generator.require_verb("colorize")
    networks = {run: generator.network for run, generator in generators.items()}
    sizes = {network.resolutions[-1] for network in networks.values()}
    if len(sizes) > 1:
        raise UserError(
            f"{' '.join(runs)}: trained at {sorted(sizes)} pixels. Expected runs of one size, to be compared."
        )
    images = squares(source, sizes.pop(), count)
    measure.announce(10 + 2e-5 * images[..., 0].size * len(runs))
    question = "How near are a colorizer's colours to the true ones, beside no colour and the best single colour?"
    written = page.Page(out, "Colorization", question)
    found = {page.shorten(name): figures for name, figures in rows(networks, images, saturations).items()}
    cells = [(name, f"{near:.2f}", f"{colourful:.1f}") for name, (near, colourful) in found.items()]
    written.table(("colours", "PSNR of a and b, dB", "colourfulness"), cells)
    written.notes(f"{len(images)} photos of {images.shape[1]} pixels that no run has seen.")
