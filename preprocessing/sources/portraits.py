"""Drawn faces: endless, free, the same for the same seed. Training has something to grow on before any photo is at hand.

Every face is drawn with anti-aliased shapes on 256 x 256 pixels, under a soft light, and reduced by area means, so that
a face is the same picture at every size. Its class is its hair colour, with or without glasses.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from pggan_tf.errors import UserError
from preprocessing.sources import Item, Source

VERSION = 1  # of the drawings: cached shards of another version are not used
LARGEST = 256
_BITS = 4  # cv2 takes coordinates in 1/16 pixel
_FULL = 1 << _BITS

SKINS = np.array(
    [(255, 224, 196), (243, 205, 172), (226, 180, 143), (198, 145, 108), (150, 102, 72), (104, 68, 48)], float
)
HAIRS = {
    "black": (34, 29, 30),
    "brown": (93, 58, 36),
    "blond": (219, 180, 107),
    "red": (172, 74, 34),
    "grey": (172, 170, 168),
}
IRISES = np.array([(92, 60, 34), (70, 102, 60), (74, 118, 160), (110, 110, 112)], float)
CLASSES = tuple(f"{hair}{glasses}" for hair in HAIRS for glasses in ("", "+glasses"))


@functools.cache
def _coordinates() -> tuple[np.ndarray, np.ndarray]:
    """x and y, -1..1, on a coarse raster: slow gradients are computed there and enlarged."""
    line = np.linspace(-1, 1, 17, dtype=np.float32)
    return line[None, :, None], line[:, None, None]


def _enlarge(raster: np.ndarray) -> np.ndarray:
    return cv2.resize(raster.astype(np.float32), (LARGEST, LARGEST), interpolation=cv2.INTER_LINEAR)


def _fixed(*values: float) -> tuple[int, ...]:
    return tuple(round(v * _FULL) for v in values)


class _Canvas:
    """Shapes on a picture, in pixels of the 256-px drawing."""

    def __init__(self, image: np.ndarray):
        self.image = image

    def ellipse(self, x, y, rx, ry, colour, angle=0.0, start=0.0, end=360.0, width=-1):
        cv2.ellipse(
            self.image,
            _fixed(x, y),
            _fixed(max(rx, 0.1), max(ry, 0.1)),
            angle,
            start,
            end,
            tuple(map(float, colour)),
            width,
            cv2.LINE_AA,
            _BITS,
        )

    def polygon(self, points, colour):
        cv2.fillPoly(
            self.image,
            [np.rint(np.asarray(points) * _FULL).astype(np.int32)],
            tuple(map(float, colour)),
            cv2.LINE_AA,
            _BITS,
        )

    def line(self, x0, y0, x1, y1, colour, width):
        cv2.line(self.image, _fixed(x0, y0), _fixed(x1, y1), tuple(map(float, colour)), width, cv2.LINE_AA, _BITS)


def _shade(colour, factor: float):
    return np.clip(np.asarray(colour, float) * factor, 0, 255)


def _look(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    """Colours of skin and hair, and the class: the first things that are drawn by lot."""
    tone = float(rng.uniform(0, len(SKINS) - 1))
    skin = SKINS[int(tone)] + (SKINS[min(int(tone) + 1, len(SKINS) - 1)] - SKINS[int(tone)]) * (tone % 1)
    hair_name = rng.integers(len(HAIRS))
    hair = np.array(list(HAIRS.values())[hair_name], float) * float(rng.uniform(0.75, 1.2)) + rng.normal(0, 4, 3)
    return skin, np.clip(hair, 0, 255), int(hair_name) * 2 + bool(rng.random() < 0.35)


def label_of(index: int, seed: int = 0) -> int:
    """The class of face number `index`, without drawing it."""
    return _look(np.random.default_rng((seed, index)))[2]


def draw(index: int, seed: int = 0) -> np.ndarray:
    """Face number `index` -> uint8 [256, 256, 3]."""
    rng = np.random.default_rng((seed, index))
    u = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    x_map, y_map = _coordinates()

    skin, hair, label = _look(rng)
    glasses = "+glasses" in CLASSES[label]
    long_hair, beard, fringe = rng.random() < 0.45, rng.random() < 0.22, u(0.0, 1.0)
    turn, lift = u(-9, 9), u(-6, 6)  # where the face looks: its features move, its outline stays
    smile, mouth_open = u(-0.25, 1.0), max(0.0, u(-0.8, 1.0))

    # Background: two colours, blended along a slanted line.
    top, bottom = rng.uniform(30, 235, (2, 3))
    slant = u(-0.6, 0.6)
    blend = np.clip(0.5 + 0.5 * (y_map + slant * x_map), 0, 1)
    image = _enlarge(top + (bottom - top) * blend).astype(np.uint8)
    c = _Canvas(image)

    cx, cy = 128 + u(-7, 7), 126 + u(-6, 6)
    rx, ry = u(54, 66), u(72, 84)
    dark, light = _shade(skin, 0.82), _shade(skin, 1.06)
    hair_dark, hair_light = _shade(hair, 0.72), np.clip(hair * 1.18 + 8, 0, 255)

    # Hair behind the head, neck, clothes.
    if long_hair:
        c.ellipse(cx, cy + 18, rx + 20, ry + u(18, 44), hair_dark)
    c.ellipse(cx, cy - 14, rx + 11, ry + 4, hair_dark)
    cloth = rng.uniform(25, 230, 3)
    c.polygon([(cx - 24, cy + 48), (cx + 24, cy + 48), (cx + 30, 262), (cx - 30, 262)], dark)
    c.ellipse(cx, 272, u(92, 116), u(44, 58), cloth)
    c.ellipse(cx, cy + ry + 20, 27, 20, _shade(skin, 0.9))

    # Ears and head: a skull and a narrower jaw.
    for side in (-1, 1):
        c.ellipse(cx + side * (rx - 1), cy + 6, 10, 17, dark)
    jaw = u(0.70, 0.86)
    c.ellipse(cx, cy - 8, rx, ry - 12, skin)
    c.ellipse(cx, cy + 26, rx * jaw, ry - 26, skin)
    c.ellipse(cx, cy + 10, rx * (0.5 + jaw / 2), ry - 18, skin)
    if beard:
        c.ellipse(cx, cy + 44, rx * jaw * 0.98, ry - 44, hair, start=0, end=180)
        c.ellipse(cx + turn * 0.5, cy + 36, rx * 0.62, 24, skin)

    fx, fy = cx + turn, cy + lift  # centre of the features
    spread, eye_y = u(23, 28), fy - 8
    # Cheeks and nose.
    blush = np.clip(skin * 0.9 + np.array([26, -6, -4]), 0, 255)
    for side in (-1, 1):
        c.ellipse(fx + side * 32, fy + 24, 13, 9, skin * 0.6 + blush * 0.4)
    nose = u(13, 19)
    c.polygon(
        [
            (fx + turn * 0.3 - 3, eye_y + 6),
            (fx + turn * 0.3 + 3, eye_y + 6),
            (fx + turn * 0.5 + 8, eye_y + 12 + nose),
            (fx + turn * 0.5 - 8, eye_y + 12 + nose),
        ],
        skin * 0.6 + light * 0.4,
    )
    c.ellipse(fx + turn * 0.5, eye_y + 12 + nose, 9, 4.5, _shade(skin, 0.76), start=0, end=180)

    # Eyes, brows.
    iris, openness, eye_w = IRISES[rng.integers(len(IRISES))], u(5.5, 9.5), u(11, 13.5)
    gaze, brow_y, brow_tilt, brow_w = u(-3, 3), u(15, 20), u(-8, 8), int(rng.integers(3, 7))
    for side in (-1, 1):
        ex = fx + side * spread
        c.ellipse(ex, eye_y - 1, eye_w + 1.5, openness + 2.5, _shade(skin, 0.7))
        c.ellipse(ex, eye_y, eye_w, openness, (246, 244, 240))
        c.ellipse(ex + gaze, eye_y, 6.3, min(6.3, openness), iris)
        c.ellipse(ex + gaze, eye_y, 3.0, min(3.0, openness), (14, 12, 12))
        c.ellipse(ex + gaze + 2, eye_y - 2.2, 1.5, 1.5, (255, 255, 255))
        c.ellipse(ex, eye_y, eye_w, openness, _shade(hair, 0.45), start=190, end=350, width=2)
        c.ellipse(
            ex,
            eye_y - brow_y + 6,
            eye_w + 3,
            8,
            _shade(hair, 0.8),
            angle=side * brow_tilt,
            start=205,
            end=335,
            width=brow_w,
        )

    # Mouth.
    my, mw, lips = fy + 42, u(17, 25), np.clip(skin * 0.72 + np.array([40, -12, -8]) * u(0.4, 1.4), 0, 255)
    curve = -9 * smile  # the corners of a smile lie higher
    bow = np.linspace(-1, 1, 13)
    upper = np.stack(
        [
            fx + turn * 0.3 + mw * bow,
            my + curve * (bow**2 - 0.5) - (4.5 - 1.5 * np.cos(3 * np.pi * bow)) * (1 - bow**2),
        ],
        1,
    )
    lower = np.stack(
        [fx + turn * 0.3 + mw * bow, my + curve * (bow**2 - 0.5) + (5.5 + 7 * mouth_open) * (1 - bow**2)], 1
    )
    c.polygon(np.concatenate([upper, lower[::-1]]), lips)
    if mouth_open > 0.15:
        inner_top = upper + [0, 3.4]
        inner_low = np.stack([lower[:, 0], np.maximum(lower[:, 1] - 4, inner_top[:, 1])], 1)
        c.polygon(
            np.concatenate([inner_top[1:-1], inner_low[1:-1][::-1]]), (240, 236, 228) if smile > 0.1 else (92, 30, 32)
        )
    else:
        middle = np.stack([upper[:, 0], my + curve * (bow**2 - 0.5)], 1)
        cv2.polylines(
            image, [np.rint(middle * _FULL).astype(np.int32)], False, tuple(_shade(lips, 0.6)), 2, cv2.LINE_AA, _BITS
        )

    # Hair in front: a cap with a parting, strands lighter along it.
    line, part = cy - ry * (0.62 - 0.24 * fringe), u(-0.5, 0.5)
    angles = np.linspace(np.pi, 2 * np.pi, 25)
    outer = np.stack([cx + (rx + 9) * np.cos(angles), cy - 14 + (ry + 3) * np.sin(angles)], 1)
    t = np.linspace(1, -1, 17)
    inner = np.stack([cx + (rx - 3) * t, line + 26 * np.abs(t) ** 2.2 - 12 * np.exp(-(((t - part) / 0.22) ** 2))], 1)
    c.polygon(np.concatenate([outer, inner]), hair)
    for strand in rng.uniform(-0.8, 0.8, 4):
        c.ellipse(
            cx + part * 20,
            cy - 20,
            (rx + 4) * abs(strand),
            ry - 8 + 6 * abs(strand),
            hair * 0.5 + hair_light * 0.5,
            start=200 if strand < 0 else 285,
            end=255 if strand < 0 else 340,
            width=2,
        )

    if glasses:
        frame, lens = _shade(rng.uniform(10, 150, 3), 0.8), u(16, 20)
        for side in (-1, 1):
            c.ellipse(fx + side * spread, eye_y + 1, lens, lens * 0.86, frame, width=3)
            c.line(fx + side * (spread + lens), eye_y - 2, cx + side * rx, eye_y - 5, frame, 3)
        c.line(fx - spread + lens, eye_y - 1, fx + spread - lens, eye_y - 1, frame, 3)

    # A soft light from one side and a small turn of the whole picture.
    angle = u(0, 2 * np.pi)
    light_map = 1 + u(0.05, 0.2) * (np.cos(angle) * x_map + np.sin(angle) * y_map)
    image = cv2.multiply(image, _enlarge(np.repeat(light_map, 3, axis=2)), dtype=cv2.CV_8U)
    turn_by = cv2.getRotationMatrix2D((128, 140), u(-7, 7), u(1.08, 1.22))
    return cv2.warpAffine(image, turn_by, (LARGEST, LARGEST), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def portrait(index: int, size: int, seed: int = 0) -> np.ndarray:
    """Face number `index` -> uint8 [size, size, 3]. size: up to 256."""
    image = draw(index, seed)
    return image if size == LARGEST else cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


OPTIONS = ("count", "seed", "size")


@dataclass(frozen=True)
class Portraits(Source):
    """`count` portraits of `seed`, drawn at `size` pixels."""

    count: int
    size: int
    seed: int = 0
    numbers: tuple[int, ...] | None = None  # of those selected, or all

    name = "portraits"
    classes = CLASSES

    def __len__(self):
        return self.count if self.numbers is None else len(self.numbers)

    def items(self, start, stop):
        for index in (range(self.count) if self.numbers is None else self.numbers)[start:stop]:
            draw_it = partial(portrait, index, self.size, self.seed)
            yield Item(f"portrait {index}", draw_it, label_of(index, self.seed))

    def fingerprint(self):
        return f"{VERSION}-{self.seed}-{self.count}"

    def notes(self):
        here = os.path.isdir("portraits")
        return ("these are drawn; for the folder of that name give ./portraits",) if here else ()

    def select(self, labels):
        numbers = (i for i in range(self.count) if label_of(i, self.seed) in labels)
        return dataclasses.replace(self, numbers=tuple(numbers))


def open(location: str, count: int, size: int, seed: int = 0) -> Portraits:
    if size > LARGEST:
        raise UserError(
            f"portraits: {size} px: they are drawn at up to {LARGEST} px. For more, give photos: --data FOLDER."
        )
    return Portraits(count, size, seed)
