"""Make the pictures of the studio: `python -m docs.make_studio_pictures ADDRESS --out docs/pictures`.

ADDRESS is what `pggan studio` printed. Every panel is opened in light and dark, on a desktop and on
a phone, and kept as WebP. `--tasks FILE` draws the small pictures of the recipes instead, from drawn
portraits. Nothing in them is a photo. Chromium and playwright are needed for the first.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageFilter, ImageOps

SIDE = 120  # of a small picture, pixels
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


def _shrink(image: Image.Image, side: int) -> Image.Image:
    """Return an image as it looks at fewer pixels."""
    return image.resize((side, side), Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)


def draw_tasks() -> Image.Image:
    """Return a row of four small pictures for each task: what goes in, what comes out."""
    from pggan_tf.data import portraits

    faces = [Image.fromarray(portraits.draw(i, SIDE, 5)) for i in (0, 7, 2, 9, 4, 11)]
    gray = [ImageOps.grayscale(face).convert("RGB") for face in faces]
    outlines = [ImageOps.invert(g.convert("L").filter(ImageFilter.FIND_EDGES)) for g in gray]
    lines = [ImageOps.autocontrast(o.crop((2, 2, SIDE - 2, SIDE - 2)).resize((SIDE, SIDE))).convert("RGB") for o in outlines]
    rows = [
        [_shrink(faces[0], 4), _shrink(faces[0], 10), _shrink(faces[0], 30), faces[0]],
        [gray[1], faces[1], gray[2], faces[2]],
        [ImageOps.invert(gray[3]), faces[3], ImageOps.invert(gray[5]), faces[5]],
        [_shrink(faces[2], 15), faces[2], _shrink(faces[4], 15), faces[4]],
        [lines[4], faces[4], lines[1], faces[1]],
        [_shrink(face, 30) for face in (faces[5], faces[3], faces[4], faces[1])],
    ]
    return Image.fromarray(np.concatenate([np.concatenate([np.asarray(p) for p in row], 1) for row in rows]))
