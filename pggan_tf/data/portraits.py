"""Draw artificial faces (portraits), so that training can be tried without any photos.

There is one face for every pair of a seed and an index, and it is always the same. Every face is
drawn with anti-aliased shapes on 256 x 256 pixels and under a soft light. Smaller pictures are area
means of that drawing, so that a face looks the same at every size. The class of a face is its hair
colour, with or without glasses.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

VERSION = 1  # version of the drawings; data prepared with another version is not used
LARGEST = 256  # side of a drawing in pixels
_BITS = 4  # bits of a fraction: cv2 takes coordinates in units of 1/16 pixel
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
def _make_coordinates() -> tuple[np.ndarray, np.ndarray]:
    """Return (x [1, 17, 1], y [17, 1, 1]): coordinates in -1..1 of a coarse grid on the picture.

    Smooth changes of colour and light are computed on this grid and then enlarged with `_enlarge`.
    """
    line = np.linspace(-1, 1, 17, dtype=np.float32)
    return line[None, :, None], line[:, None, None]


def _enlarge(raster: np.ndarray) -> np.ndarray:
    """Enlarge an array [17, 17, C] smoothly to float32 [256, 256, C]."""
    return cv2.resize(raster.astype(np.float32), (LARGEST, LARGEST), interpolation=cv2.INTER_LINEAR)


def _to_fixed_point(*values: float) -> tuple[int, ...]:
    """Convert coordinates in pixels to whole numbers of 1/16 pixel, as cv2 takes them."""
    return tuple(round(v * _FULL) for v in values)


def _shade(colour, factor: float) -> np.ndarray:
    """Return a colour [3] multiplied by `factor`: darker below 1, lighter above."""
    return np.clip(np.asarray(colour, float) * factor, 0, 255)


class _Canvas:
    """Image uint8 [256, 256, 3] with methods that draw anti-aliased shapes on it.

    Points are (x, y) in pixels, radii are (horizontal, vertical) in pixels, and colours are RGB,
    three numbers in 0..255.
    """

    def __init__(self, image: np.ndarray):
        self.image = image

    def ellipse(self, centre, radii, colour, *, angle: float = 0.0, arc=(0.0, 360.0), width: int = -1) -> None:
        """Draw an ellipse, or a part of its outline or sector.

        Args:
            centre: centre of the ellipse.
            radii: the two radii.
            colour: colour of the shape.
            angle: clockwise rotation in degrees.
            arc: begin and end of the part to draw in degrees, clockwise from the right.
            width: width of the outline in pixels; -1 fills the shape.
        """
        radii = [max(radius, 0.1) for radius in radii]
        colour = tuple(map(float, colour))
        centre, radii = _to_fixed_point(*centre), _to_fixed_point(*radii)
        cv2.ellipse(self.image, centre, radii, angle, arc[0], arc[1], colour, width, cv2.LINE_AA, _BITS)

    def polygon(self, points, colour) -> None:
        """Draw a filled polygon with corners `points` [N, 2]."""
        points = np.rint(np.asarray(points) * _FULL).astype(np.int32)
        cv2.fillPoly(self.image, [points], tuple(map(float, colour)), cv2.LINE_AA, _BITS)

    def polyline(self, points, colour, width: int) -> None:
        """Draw a line through points [N, 2] in their order; `width` is in pixels."""
        points = np.rint(np.asarray(points) * _FULL).astype(np.int32)
        cv2.polylines(self.image, [points], False, tuple(map(float, colour)), width, cv2.LINE_AA, _BITS)

    def line(self, begin, end, colour, width: int) -> None:
        """Draw a straight line between two points; `width` is in pixels."""
        begin, end = _to_fixed_point(*begin), _to_fixed_point(*end)
        cv2.line(self.image, begin, end, tuple(map(float, colour)), width, cv2.LINE_AA, _BITS)


def _choose_look(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    """Choose skin, hair and class at random.

    Returns:
        (colour of the skin [3], colour of the hair [3], class as an index into CLASSES).

    This uses the first random numbers of a face, so the class is known without drawing the face.
    """
    tone = float(rng.uniform(0, len(SKINS) - 1))
    skin = SKINS[int(tone)] + (SKINS[min(int(tone) + 1, len(SKINS) - 1)] - SKINS[int(tone)]) * (tone % 1)
    hair_name = rng.integers(len(HAIRS))
    hair = np.array(list(HAIRS.values())[hair_name], float) * float(rng.uniform(0.75, 1.2)) + rng.normal(0, 4, 3)
    return skin, np.clip(hair, 0, 255), int(hair_name) * 2 + bool(rng.random() < 0.35)


class _Face:
    """One face. The method `draw` calls the other methods, each of which draws a part of it.

    Every method takes the next random numbers from `rng`. Therefore the order of the calls must not
    change; otherwise, the same index would give another face than in earlier versions.

    Args:
        rng: generator of random numbers, which decides everything about the face.
    """

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        uniform = self._uniform
        self.skin, self.hair, label = _choose_look(rng)
        self.has_glasses = "+glasses" in CLASSES[label]
        self.has_long_hair, self.has_beard, self.fringe = rng.random() < 0.45, rng.random() < 0.22, uniform(0.0, 1.0)
        # Direction in which the face looks: its features move, its outline stays.
        self.turn, lift = uniform(-9, 9), uniform(-6, 6)
        self.smile, self.mouth_open = uniform(-0.25, 1.0), max(0.0, uniform(-0.8, 1.0))
        self.canvas = _Canvas(self._make_background())
        # Centre and radii of the head; centre of the features.
        self.x, self.y = 128 + uniform(-7, 7), 126 + uniform(-6, 6)
        self.rx, self.ry = uniform(54, 66), uniform(72, 84)
        self.feature_x, self.feature_y = self.x + self.turn, self.y + lift
        self.dark, self.light = _shade(self.skin, 0.82), _shade(self.skin, 1.06)

    def _uniform(self, low: float, high: float) -> float:
        """Return a random number in low..high."""
        return float(self.rng.uniform(low, high))

    def _make_background(self) -> np.ndarray:
        """Return an image uint8 [256, 256, 3] that changes gradually between two random colours."""
        x_map, y_map = _make_coordinates()
        top, bottom = self.rng.uniform(30, 235, (2, 3))
        slant = self._uniform(-0.6, 0.6)
        blend = np.clip(0.5 + 0.5 * (y_map + slant * x_map), 0, 1)
        return _enlarge(top + (bottom - top) * blend).astype(np.uint8)

    def draw(self) -> np.ndarray:
        """Draw the whole face and return it as uint8 [256, 256, 3]."""
        self._draw_shoulders()
        self._draw_head()
        # Half the distance between the eyes, and their height.
        self.eye_distance, self.eye_y = self._uniform(23, 28), self.feature_y - 8
        self._draw_cheeks_and_nose()
        self._draw_eyes()
        self._draw_mouth()
        self._draw_front_hair()
        if self.has_glasses:
            self._draw_glasses()
        return self._light_and_turn()

    def _draw_shoulders(self) -> None:
        """Draw everything behind the head: hair, neck, and shoulders in clothes of one colour."""
        c, x, y = self.canvas, self.x, self.y
        hair_dark = _shade(self.hair, 0.72)
        if self.has_long_hair:
            c.ellipse((x, y + 18), (self.rx + 20, self.ry + self._uniform(18, 44)), hair_dark)
        c.ellipse((x, y - 14), (self.rx + 11, self.ry + 4), hair_dark)
        cloth = self.rng.uniform(25, 230, 3)
        c.polygon([(x - 24, y + 48), (x + 24, y + 48), (x + 30, 262), (x - 30, 262)], self.dark)
        c.ellipse((x, 272), (self._uniform(92, 116), self._uniform(44, 58)), cloth)
        c.ellipse((x, y + self.ry + 20), (27, 20), _shade(self.skin, 0.9))

    def _draw_head(self) -> None:
        """Draw the ears, the head with a narrower jaw and, if the face has one, the beard."""
        c, x, y, rx, ry = self.canvas, self.x, self.y, self.rx, self.ry
        for side in (-1, 1):
            c.ellipse((x + side * (rx - 1), y + 6), (10, 17), self.dark)
        jaw = self._uniform(0.70, 0.86)
        c.ellipse((x, y - 8), (rx, ry - 12), self.skin)
        c.ellipse((x, y + 26), (rx * jaw, ry - 26), self.skin)
        c.ellipse((x, y + 10), (rx * (0.5 + jaw / 2), ry - 18), self.skin)
        if self.has_beard:
            c.ellipse((x, y + 44), (rx * jaw * 0.98, ry - 44), self.hair, arc=(0, 180))
            c.ellipse((x + self.turn * 0.5, y + 36), (rx * 0.62, 24), self.skin)

    def _draw_cheeks_and_nose(self) -> None:
        c, x, eye_y, turn = self.canvas, self.feature_x, self.eye_y, self.turn
        blush = np.clip(self.skin * 0.9 + np.array([26, -6, -4]), 0, 255)
        for side in (-1, 1):
            c.ellipse((x + side * 32, self.feature_y + 24), (13, 9), self.skin * 0.6 + blush * 0.4)
        tip = eye_y + 12 + self._uniform(13, 19)
        bridge, wings = x + turn * 0.3, x + turn * 0.5
        nose = [(bridge - 3, eye_y + 6), (bridge + 3, eye_y + 6), (wings + 8, tip), (wings - 8, tip)]
        c.polygon(nose, self.skin * 0.6 + self.light * 0.4)
        c.ellipse((wings, tip), (9, 4.5), _shade(self.skin, 0.76), arc=(0, 180))

    def _draw_eyes(self) -> None:
        """Draw eyes and brows."""
        c, eye_y, uniform = self.canvas, self.eye_y, self._uniform
        iris, openness, width = IRISES[self.rng.integers(len(IRISES))], uniform(5.5, 9.5), uniform(11, 13.5)
        gaze, brow_y, brow_tilt = uniform(-3, 3), uniform(15, 20), uniform(-8, 8)
        brow_width = int(self.rng.integers(3, 7))
        for side in (-1, 1):
            x = self.feature_x + side * self.eye_distance
            c.ellipse((x, eye_y - 1), (width + 1.5, openness + 2.5), _shade(self.skin, 0.7))
            c.ellipse((x, eye_y), (width, openness), (246, 244, 240))
            c.ellipse((x + gaze, eye_y), (6.3, min(6.3, openness)), iris)
            c.ellipse((x + gaze, eye_y), (3.0, min(3.0, openness)), (14, 12, 12))
            c.ellipse((x + gaze + 2, eye_y - 2.2), (1.5, 1.5), (255, 255, 255))
            c.ellipse((x, eye_y), (width, openness), _shade(self.hair, 0.45), arc=(190, 350), width=2)
            brow, brow_radii, brow_colour = (x, eye_y - brow_y + 6), (width + 3, 8), _shade(self.hair, 0.8)
            c.ellipse(brow, brow_radii, brow_colour, angle=side * brow_tilt, arc=(205, 335), width=brow_width)

    def _draw_mouth(self) -> None:
        y, half_width = self.feature_y + 42, self._uniform(17, 25)
        lips = np.clip(self.skin * 0.72 + np.array([40, -12, -8]) * self._uniform(0.4, 1.4), 0, 255)
        curve = -9 * self.smile  # the corners of a smiling mouth are higher
        bow = np.linspace(-1, 1, 13)
        x, middle = self.feature_x + self.turn * 0.3 + half_width * bow, y + curve * (bow**2 - 0.5)
        upper = np.stack([x, middle - (4.5 - 1.5 * np.cos(3 * np.pi * bow)) * (1 - bow**2)], 1)
        lower = np.stack([x, middle + (5.5 + 7 * self.mouth_open) * (1 - bow**2)], 1)
        self.canvas.polygon(np.concatenate([upper, lower[::-1]]), lips)
        if self.mouth_open > 0.15:
            inner_top = upper + [0, 3.4]
            inner_low = np.stack([lower[:, 0], np.maximum(lower[:, 1] - 4, inner_top[:, 1])], 1)
            inside = (240, 236, 228) if self.smile > 0.1 else (92, 30, 32)  # teeth, or a dark mouth
            self.canvas.polygon(np.concatenate([inner_top[1:-1], inner_low[1:-1][::-1]]), inside)
        else:
            self.canvas.polyline(np.stack([x, middle], 1), _shade(lips, 0.6), 2)

    def _draw_front_hair(self) -> None:
        """Draw the hair on the forehead, with a parting and four lighter strands."""
        c, x, y, rx, ry = self.canvas, self.x, self.y, self.rx, self.ry
        line, parting = y - ry * (0.62 - 0.24 * self.fringe), self._uniform(-0.5, 0.5)
        angles = np.linspace(np.pi, 2 * np.pi, 25)
        outer = np.stack([x + (rx + 9) * np.cos(angles), y - 14 + (ry + 3) * np.sin(angles)], 1)
        t = np.linspace(1, -1, 17)
        height = line + 26 * np.abs(t) ** 2.2 - 12 * np.exp(-(((t - parting) / 0.22) ** 2))
        inner = np.stack([x + (rx - 3) * t, height], 1)
        c.polygon(np.concatenate([outer, inner]), self.hair)
        strand_colour = self.hair * 0.5 + np.clip(self.hair * 1.18 + 8, 0, 255) * 0.5
        for strand in self.rng.uniform(-0.8, 0.8, 4):
            radii = (rx + 4) * abs(strand), ry - 8 + 6 * abs(strand)
            arc = (200, 255) if strand < 0 else (285, 340)
            c.ellipse((x + parting * 20, y - 20), radii, strand_colour, arc=arc, width=2)

    def _draw_glasses(self) -> None:
        c, x, eye_y, distance = self.canvas, self.feature_x, self.eye_y, self.eye_distance
        frame, lens = _shade(self.rng.uniform(10, 150, 3), 0.8), self._uniform(16, 20)
        for side in (-1, 1):
            c.ellipse((x + side * distance, eye_y + 1), (lens, lens * 0.86), frame, width=3)
            c.line((x + side * (distance + lens), eye_y - 2), (self.x + side * self.rx, eye_y - 5), frame, 3)
        c.line((x - distance + lens, eye_y - 1), (x + distance - lens, eye_y - 1), frame, 3)

    def _light_and_turn(self) -> np.ndarray:
        """Return the drawing, uint8 [256, 256, 3], with soft light from a random side.

        The drawing is also rotated by up to 7 degrees and enlarged by 8 to 22 %.
        """
        x_map, y_map = _make_coordinates()
        angle = self._uniform(0, 2 * np.pi)
        light = 1 + self._uniform(0.05, 0.2) * (np.cos(angle) * x_map + np.sin(angle) * y_map)
        image = cv2.multiply(self.canvas.image, _enlarge(np.repeat(light, 3, axis=2)), dtype=cv2.CV_8U)
        matrix = cv2.getRotationMatrix2D((128, 140), self._uniform(-7, 7), self._uniform(1.08, 1.22))
        size = (LARGEST, LARGEST)
        return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def find_label(index: int, seed: int = 0) -> int:
    """Return the class of a face, as an index into CLASSES, without drawing the face.

    For the arguments, see `draw`.
    """
    return _choose_look(np.random.default_rng((seed, index)))[2]


def draw(index: int, size: int = LARGEST, seed: int = 0) -> np.ndarray:
    """Draw a face and return it as uint8 [size, size, 3].

    Args:
        index: number of the face, from 0.
        size: side of the picture in pixels, at most 256.
        seed: every seed has different faces.
    """
    image = _Face(np.random.default_rng((seed, index))).draw()
    return image if size == LARGEST else cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
