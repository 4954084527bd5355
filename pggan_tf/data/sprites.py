"""Draw sprites: small creatures and things with an outline on a transparent background.

With them, training with transparency can be tried without any pictures. There is one sprite for
every pair of a seed and an index, and it is always the same. Every sprite is drawn with
anti-aliased shapes on 256 x 256 pixels. Smaller pictures are area means of that drawing, taken of
premultiplied colours. Glass and slime are translucent. The class of a sprite is its kind.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from pggan_tf.data import transparency

VERSION = 1  # version of the drawings; data prepared with another version is not used
LARGEST = 256  # side of a drawing in pixels
CLASSES = ("ghost", "slime", "fish", "mushroom", "potion", "gem", "flower", "robot")
_BITS = 4  # bits of a fraction: cv2 takes coordinates in units of 1/16 pixel
_UNIT = 96  # pixels from the middle of a sprite to the side of its space, in coordinates 1
_LINE = 10  # width of outlines in pixels
_DARK, _WHITE = (38, 30, 46), (250, 250, 245)


def _ellipse(x: float, y: float, rx: float, ry: float, begin: float = 0.0, end: float = 360.0) -> np.ndarray:
    """Return points [N, 2] of an ellipse, or of its arc between two angles in degrees.

    Angles are clockwise from the right.

    Args:
        x: centre.
        y: centre, downwards.
        rx: horizontal radius.
        ry: vertical radius.
        begin: first angle.
        end: last angle.
    """
    angles = np.radians(np.linspace(begin, end, 49))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1)


def _flip(points: np.ndarray) -> np.ndarray:
    """Return points [N, 2] mirrored left to right."""
    return points * [-1, 1]


class _Sprite:
    """One sprite, which the method of its kind draws.

    Every method takes the next random numbers from `rng`. Therefore the order of the calls must not
    change; otherwise, the same index would give another sprite than in earlier versions.

    Coordinates are (x, y) in -1..1, with y downwards. Colours are RGB, three numbers in 0..255.

    Args:
        rng: generator of random numbers, which decides everything about the sprite.
    """

    def __init__(self, rng: np.random.Generator):
        self.rng, self.kind = rng, CLASSES[rng.integers(len(CLASSES))]
        self.hue = self._uniform(0, 1)
        # Turned by up to 10 degrees, and wider or higher by up to 12 %.
        angle, scale, stretch = self._uniform(-0.17, 0.17), self._uniform(0.92, 1.08), self._uniform(-0.12, 0.12)
        c, s = np.cos(angle), np.sin(angle)
        self.matrix = scale * _UNIT * np.array([[c, -s], [s, c]]) @ np.diag([1 + stretch, 1 - stretch])
        self.middle = 128 + self.rng.uniform(-10, 10, 2)
        self.image = np.zeros((LARGEST, LARGEST, 4), np.uint8)  # premultiplied

    def _uniform(self, low: float, high: float) -> float:
        """Return a random number in low..high."""
        return float(self.rng.uniform(low, high))

    def _colour(self, shift: float = 0.0, saturation: float = 0.75, value: float = 0.9) -> tuple[float, ...]:
        """Return a colour near to the sprite's; shift: change of the hue, where 1 is the circle."""
        saturation, value = saturation + self._uniform(-0.12, 0.12), value + self._uniform(-0.1, 0.1)
        return tuple(255 * c for c in colorsys.hsv_to_rgb((self.hue + shift) % 1, min(saturation, 1), min(value, 1)))

    def fill(self, *shapes: np.ndarray, colour, opacity: float = 1.0, outline: bool = True) -> None:
        """Draw polygons of one colour, with one outline around all of them.

        Args:
            *shapes: corners of each polygon, [N, 2].
            colour: colour of the polygons.
            opacity: 0..1; what lies below is replaced, not seen through them.
            outline: whether to draw the outline, which is dark.
        """
        points = [np.rint((self.middle + p @ self.matrix.T) * (1 << _BITS)).astype(np.int32) for p in shapes]
        if outline:
            cv2.polylines(self.image, points, True, (*_DARK, 255), _LINE, cv2.LINE_AA, _BITS)
        premultiplied = (*(round(c * opacity) for c in colour), round(255 * opacity))
        for polygon in points:
            cv2.fillPoly(self.image, [polygon], premultiplied, cv2.LINE_AA, _BITS)

    def dot(self, x: float, y: float, radius: float, colour, ratio: float = 1.0) -> None:
        """Draw an ellipse without an outline; ratio: height divided by width."""
        self.fill(_ellipse(x, y, radius, radius * ratio), colour=colour, outline=False)

    def draw_face(self, y: float, distance: float, size: float) -> None:
        """Draw two eyes and a mouth.

        Args:
            y: height of the eyes.
            distance: half of their distance.
            size: their radius.
        """
        wide, gaze, happy = self.rng.random() < 0.5, self._uniform(-0.3, 0.3), self._uniform(-0.4, 1.0)
        for x in (-distance, distance):
            if wide:
                self.dot(x, y, size, _WHITE, 1.2)
            self.dot(x + gaze * size, y, size * (0.55 if wide else 0.8), _DARK, 1.2)
            self.dot(x + gaze * size - 0.2 * size, y - 0.3 * size, size * 0.2, _WHITE)
        bow = np.linspace(-1, 1, 13)
        line = np.stack([0.6 * distance * bow, y + 1.9 * size + 0.6 * size * happy * (1 - bow**2)], 1)
        self.fill(np.concatenate([line, line[::-1] + [0, 0.05]]), colour=_DARK, outline=False)

    def draw_ghost(self) -> None:
        """Draw a dome with a wavy hem."""
        waves, deep = int(self.rng.integers(3, 6)), self._uniform(0.1, 0.22)
        x = np.linspace(0.72, -0.72, 41)
        hem = np.stack([x, 0.72 + deep * np.cos(np.pi * waves * (x / 0.72 + 1))], 1)
        body = np.concatenate([_ellipse(0, -0.12, 0.72, 0.8, 180, 360), hem])
        self.fill(body, colour=self._colour(0, 0.15, 0.95), opacity=self._uniform(0.8, 1.0))
        self.draw_face(-0.2, 0.28, self._uniform(0.11, 0.17))
        for cheek in (-0.46, 0.46):
            self.dot(cheek, 0.08, 0.1, (250, 150, 160), 0.6)

    def draw_slime(self) -> None:
        """Draw a translucent drop with a highlight."""
        tip, width = self._uniform(0.0, 0.5), self._uniform(0.72, 0.9)
        x = np.linspace(-1, 1, 41)
        top = np.stack([width * x, 0.45 - 0.95 * (1 - x**2) ** 0.6 - tip * np.exp(-((x / 0.16) ** 2))], 1)
        body = np.concatenate([top, _ellipse(0, 0.45, width, 0.3, 0, 180)])
        self.fill(body, colour=self._colour(), opacity=self._uniform(0.7, 0.9))
        self.fill(
            _ellipse(-0.38, -0.08, 0.12, 0.2, 90, 290), colour=self._colour(0, 0.2, 1), opacity=0.95, outline=False
        )
        self.draw_face(0.12, self._uniform(0.2, 0.34), self._uniform(0.1, 0.15))

    def draw_fish(self) -> None:
        """Draw a fish that looks to the left or the right, with stripes."""
        if self.rng.random() < 0.5:
            self.matrix = self.matrix @ np.diag([-1, 1])
        body, fin, high = self._colour(), self._colour(self._uniform(0.1, 0.5)), self._uniform(0.42, 0.62)
        tail = np.array([(0.45, 0), (0.95, -0.5), (0.82, 0), (0.95, 0.5)])
        back = np.array([(-0.25, -0.3), (0.1, -high - 0.3), (0.4, -0.2)])
        self.fill(tail, back, colour=fin)
        self.fill(_ellipse(-0.15, 0, 0.72, high), colour=body)
        for x in np.linspace(-0.1, 0.36, int(self.rng.integers(0, 4))):
            long = 0.75 * high * np.sqrt(1 - ((x + 0.15) / 0.72) ** 2)
            self.fill(_ellipse(x, 0, 0.06, long), colour=fin, outline=False)
        self.fill(np.array([(-0.02, 0.1), (0.26, 0.32), (0.1, 0.02)]), colour=fin)
        self.dot(-0.5, -0.12, 0.14, _WHITE)
        self.dot(-0.53, -0.12, 0.075, _DARK)

    def draw_mushroom(self) -> None:
        """Draw a stem with a face and a cap with spots."""
        low, wide = self._uniform(0.0, 0.16), self._uniform(0.28, 0.4)
        self.fill(np.concatenate([_ellipse(0, 0.6, wide, 0.24, 0, 180), [(-0.8 * wide, -0.1), (0.8 * wide, -0.1)]]),
                  colour=self._colour(0.1, 0.2, 0.95))  # fmt: skip
        cap = np.concatenate([_ellipse(0, low, 0.88, self._uniform(0.7, 0.95), 180, 360), [(0.88, low + 0.1)]])
        self.fill(np.concatenate([cap, [(-0.88, low + 0.1)]]), colour=self._colour())
        spots = self._colour(0, 0.05, 1)
        size = self._uniform(0.11, 0.18)
        self.dot(0, low - 0.45, size, spots)
        for side in (-1, 1):
            self.dot(side * 0.5, low - 0.2, 0.8 * size, spots)
            self.dot(side * 0.28, low - 0.02, 0.4 * size, spots)
        self.draw_face(low + 0.3, 0.15, 0.075)

    def draw_potion(self) -> None:
        """Draw a bottle of glass, with a liquid in it and a cork."""
        shape, level, liquid = self.rng.integers(3), self._uniform(-0.05, 0.3), self._colour()
        self.fill(np.array([(-0.17, -0.95), (0.17, -0.95), (0.17, -0.62), (-0.17, -0.62)]), colour=(176, 124, 76))
        neck = np.array([(-0.2, -0.7), (0.2, -0.7), (0.2, -0.1), (-0.2, -0.1)])
        belly = (
            _ellipse(0, 0.25, 0.68, 0.62),
            np.array([(-0.2, -0.3), (0.2, -0.3), (0.75, 0.8), (-0.75, 0.8)]),
            np.array([(-0.48, -0.25), (0.48, -0.25), (0.48, 0.85), (-0.48, 0.85)]),
        )[shape]
        self.fill(neck, belly, colour=(215, 235, 245), opacity=0.4)
        inside = 0.84 * (belly - [0, 0.28]) + [0, 0.28]
        self.fill(np.stack([inside[:, 0], np.maximum(inside[:, 1], level)], 1), colour=liquid, outline=False)
        for _ in range(int(self.rng.integers(0, 5))):
            x, y = self.rng.uniform((-0.25, level + 0.12), (0.25, 0.62))
            self.dot(x, y, 0.06, self._colour(0, 0.3, 1))
        self.fill(np.array([(-0.1, -0.62), (-0.04, -0.62), (-0.04, -0.2), (-0.1, -0.2)]), colour=_WHITE, outline=False)

    def draw_gem(self) -> None:
        """Draw a cut stone with facets."""
        top, girdle, wide = self._uniform(0.3, 0.55), self._uniform(-0.35, -0.15), self._uniform(0.75, 0.92)
        right = np.array([(top, -0.7), (wide, girdle), (0, 0.88)])
        self.fill(np.concatenate([right, _flip(right)[1::-1]]), colour=self._colour())
        light, dark = self._colour(0, 0.35, 1.0), self._colour(0, 0.9, 0.65)
        self.fill(np.array([(-top, -0.7), (0, girdle), (-wide, girdle)]), colour=light, outline=False)
        self.fill(np.array([(wide, girdle), (0.35 * wide, girdle), (0, 0.88)]), colour=dark, outline=False)
        self.fill(np.array([(top, -0.7), (wide, girdle), (0.35 * wide, girdle)]),
                  colour=self._colour(0, 0.75, 0.8), outline=False)  # fmt: skip
        self.fill(np.array([(-0.5, -0.58), (-0.32, -0.62), (-0.55, -0.38)]), colour=_WHITE, outline=False)

    def draw_flower(self) -> None:
        """Draw petals around a face, on a stem with two leaves."""
        count, long = int(self.rng.integers(5, 9)), self._uniform(0.2, 0.3)
        green = (70, 160 + self._uniform(-30, 30), 80)
        self.fill(np.array([(-0.06, 0), (0.06, 0), (0.06, 0.95), (-0.06, 0.95)]), colour=green)
        leaf = np.array([(0.03, 0.85), (0.3, 0.45), (0.55, 0.5), (0.4, 0.8)])
        self.fill(leaf, _flip(leaf), colour=green)
        angles = 2 * np.pi * (np.arange(count) + 0.5) / count
        petals = [_ellipse(0.42 * np.sin(a), -0.25 - 0.42 * np.cos(a), long, long) for a in angles]
        self.fill(*petals, colour=self._colour())
        self.fill(_ellipse(0, -0.25, 0.34, 0.34), colour=self._colour(self._uniform(0.3, 0.7), 0.6, 1.0))
        self.draw_face(-0.32, 0.14, 0.075)

    def draw_robot(self) -> None:
        """Draw a head with an antenna on a body with arms."""
        metal, other = self._colour(0, 0.25, 0.8), self._colour(self._uniform(0.3, 0.6))
        wide, jaw = self._uniform(0.4, 0.6), self._uniform(-0.05, 0.1)
        self.fill(np.array([(-0.04, -0.95), (0.04, -0.95), (0.04, -0.6), (-0.04, -0.6)]), colour=metal)
        self.fill(_ellipse(0, -0.92, 0.1, 0.1), colour=other)
        arm = np.array([(0.4, 0.25), (0.78, 0.35), (0.74, 0.7), (0.6, 0.68), (0.6, 0.5), (0.4, 0.45)])
        foot = np.array([(0.08, 0.75), (0.34, 0.75), (0.38, 0.97), (0.08, 0.97)])
        self.fill(arm, _flip(arm), foot, _flip(foot), colour=self._colour(0, 0.2, 0.6))
        self.fill(np.array([(-0.42, jaw), (0.42, jaw), (0.36, 0.8), (-0.36, 0.8)]), colour=metal)
        self.fill(np.array([(-0.2, 0.3), (0.2, 0.3), (0.2, 0.55), (-0.2, 0.55)]), colour=other)
        self.fill(np.array([(-wide, -0.65), (wide, -0.65), (wide, jaw), (-wide, jaw)]), colour=metal)
        self.draw_face(-0.38, 0.5 * wide, self._uniform(0.1, 0.14))

    def draw(self) -> np.ndarray:
        """Draw the whole sprite and return it, premultiplied, as uint8 [256, 256, 4].

        It is lit from above: its colours change by 10 % to either side.
        """
        getattr(self, f"draw_{self.kind}")()
        light = np.linspace(282, 230, LARGEST).astype(np.uint32)[:, None, None]  # of 256
        lit = (self.image[..., :3] * light + 128) // 256
        return np.concatenate([np.minimum(lit, self.image[..., 3:]).astype(np.uint8), self.image[..., 3:]], -1)


def find_label(index: int, seed: int = 0) -> int:
    """Return the class of a sprite, as an index into CLASSES, without drawing the sprite.

    For the arguments, see `draw`.
    """
    return CLASSES.index(_Sprite(np.random.default_rng((seed, index))).kind)


def draw(index: int, size: int = LARGEST, seed: int = 0) -> np.ndarray:
    """Draw a sprite and return it, with straight alpha, as uint8 [size, size, 4].

    Args:
        index: number of the sprite, from 0.
        size: side of the picture in pixels, at most 256.
        seed: every seed has different sprites.
    """
    image = _Sprite(np.random.default_rng((seed, index))).draw()
    if size < LARGEST:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return transparency.unpremultiply(image)
