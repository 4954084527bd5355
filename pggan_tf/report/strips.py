"""Draw sliders as strips: rows of images that show what each slider changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pggan_tf import synthesis
from pggan_tf.data import pixels
from pggan_tf.explore.sliders import Slider, move

AMOUNTS = range(-4, 5)  # units of a slider from the left to the right of its strip
_SHOWN = 64  # smallest size of an image in pixels
_EDGE, _GAP, _TEXT = 1, 10, 15  # pixels between images, between strips, and of a line of text


def _load_font():
    """Return the font of the labels: DejaVu Sans, which has Latin, Greek and Cyrillic letters."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), _TEXT)


def _measure_labels(sliders: Sequence[Slider]) -> int:
    """Return the width in pixels of the column of labels."""
    font = _load_font()
    return round(max(font.getlength(slider.label) for slider in sliders)) + 2 * _GAP


def get_size(sliders: Sequence[Slider], faces: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Return height and width in pixels of the picture that `draw` returns.

    Args:
        sliders: the sliders.
        faces: number of rows of a strip.
        shape: height and width of the images in pixels.
    """
    enlarged = pixels.find_enlarged_shape(shape, _SHOWN)
    height, width = pixels.Sheet(faces * len(AMOUNTS), len(AMOUNTS), _EDGE).size(*enlarged)
    return 2 * _GAP + _TEXT + len(sliders) * (height + _GAP), _measure_labels(sliders) + width + _GAP


def draw(
    sampler: synthesis.Sampler,
    sliders: Sequence[Slider],
    z: np.ndarray,
    labels: np.ndarray,
    stage: int,
    truncation: float = 1.0,
) -> np.ndarray:
    """Draw a strip for each slider: a row for each latent, a column for each of AMOUNTS.

    Args:
        sampler: Sampler of the generator.
        sliders: the sliders, at least one.
        z: latents [N, L].
        labels: class of each latent, int64 [N].
        stage: resolution of the images in pixels.
        truncation: 1 uses latents as in training; below 1, images are more typical.

    Returns:
        The picture, uint8 [H, W, 3].
    """
    from PIL import Image, ImageDraw

    shape = sampler.generator.shape_at(stage)
    height, width = get_size(sliders, len(z), shape)
    picture = Image.new("RGB", (width, height), "white")
    pen, font, left, top = ImageDraw.Draw(picture), _load_font(), _measure_labels(sliders), _GAP
    step = pixels.find_enlarged_shape(shape, _SHOWN)[1] + _EDGE
    for i, amount in enumerate(AMOUNTS):
        pen.text((left + (i + 0.5) * step, top), f"{amount:+d}" if amount else "0", "#63636b", font, "mt")
    top += _TEXT + _GAP
    for slider in sliders:
        moved = np.stack([move(z, slider.direction[None], np.array([a])) for a in AMOUNTS], axis=1)
        images = sampler.images(
            moved.reshape(-1, z.shape[1]), stage, truncation=truncation, labels=labels.repeat(len(AMOUNTS))
        )
        strip = pixels.tile(pixels.show(images, _SHOWN), len(AMOUNTS), _EDGE)
        picture.paste(Image.fromarray(np.broadcast_to(strip, (*strip.shape[:2], 3))), (left, top))
        pen.text((_GAP, top + strip.shape[0] / 2), slider.label, "#1d1d1f", font, "lm")
        top += strip.shape[0] + _GAP
    return np.asarray(picture)
