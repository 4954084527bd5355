"""Hints: colours that are known at some places of a gray photo.

A network that colours photos is given them as three further channels of its input: a and b of CIE
Lab in -1..1 where a colour is known, 0 elsewhere, and a mask that is 1 there. In training they are
the colours of random patches (Zhang et al. 2017, arXiv 1705.02999, section 3.1); later a user gives
them. None at all is the commonest case, so the network colours alone, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pggan_tf import replicas
from pggan_tf.data import colour
from pggan_tf.errors import UserError
from pggan_tf.lazy import tf

CHANNELS = 3  # a, b and the mask
MOST = 32  # largest number of patches that training reveals in an image
ALONE = 0.3  # share of images of which it reveals nothing
_RADIUS = 1 / 32  # largest radius of a patch, as a share of the image's side
_DOT = 1 / 48  # radius of the patch that a point becomes, as a share of the shorter side
_STRETCH = 3.0  # largest factor by which a palette's transfer moves colours apart
_CHROMA = 8.0  # distance from gray in CIE Lab from which a pixel of an opaque picture is a hint


def reveal(ab, seed):
    """Return hints for training, [N,H,W,3]: the mean colours of random square patches.

    The number of patches is 0 for a share ALONE of the images; from 1 to MOST, small numbers are
    more frequent.

    Args:
        ab: the true colours, float32 [N,H,W,2] in -1..1.
        seed: int64 [2].
    """
    n, height, width = ab.shape[0] or tf.shape(ab)[0], ab.shape[1], ab.shape[2]

    def draw(stream, columns, low=0.0, most=1.0):
        return replicas.uniform((n, columns), replicas.seed_for(seed, stream), low, most)

    count = tf.floor(tf.exp(draw(30, 1) * float(np.log(MOST + 1))))
    count = tf.where(draw(31, 1) < ALONE, 0.0, count)
    revealed = tf.cast(tf.range(MOST, dtype=tf.float32)[None] < count, tf.float32)  # [N,K]
    radius = tf.floor(draw(32, MOST, 0.0, 1.0 + _RADIUS * min(height, width)))

    def cover(length, stream):
        """Return 1 for the rows or columns that lie in a patch, else 0: [N,K,length]."""
        centre = tf.floor(draw(stream, MOST, 0.0, float(length)))[..., None]
        far = tf.abs(tf.range(length, dtype=tf.float32) - centre) > radius[..., None]
        return tf.cast(~far, tf.float32)

    rows, columns = cover(height, 33) * revealed[..., None], cover(width, 34)
    area = tf.einsum("nkh,nkw->nk", rows, columns)
    means = tf.einsum("nkh,nkw,nhwc->nkc", rows, columns, ab) / tf.maximum(area, 1.0)[..., None]
    return _average(tf, tf.einsum("nkh,nkw,nkc->nhwc", rows, columns, means), tf.einsum("nkh,nkw->nhw", rows, columns))


def _average(xp, sums, counts):
    """Return hints from the sums of the colours at each place, and the number of colours there.

    Args:
        xp: the module of the arrays, np or tf.
        sums: [..., 2].
        counts: [...].
    """
    counts = counts[..., None]
    return xp.concat([sums / xp.maximum(counts, 1.0), xp.minimum(counts, 1.0)], -1)


def is_point(text: str) -> bool:
    """Tell whether a text is a hint such as `parse` takes, and not the path of a picture."""
    return "=" in text and re.fullmatch(r"[\d,\s]+", text.partition("=")[0]) is not None


def parse(text: str) -> tuple[int, int, tuple[int, int, int]]:
    """Return (x, y, (red, green, blue)) of a hint such as '120,80=#c03020'.

    x and y are in pixels from the left and the top; colours are 0..255. Raises UserError for
    another text.
    """
    found = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*=\s*#?([0-9a-fA-F]{6})\s*", text)
    if not found:
        raise UserError(f"--hint {text}: expected X,Y=#RRGGBB in pixels of the photo, such as 120,80=#c03020.")
    red, green, blue = bytes.fromhex(found[3])
    return int(found[1]), int(found[2]), (red, green, blue)


def draw_points(points, height: int, width: int) -> np.ndarray:
    """Return an RGBA picture, uint8 [height,width,4], with a square dot for each point.

    It is transparent elsewhere. Later points cover earlier ones.

    Args:
        points: list of (x, y, (red, green, blue)), see `parse`.
        height: height of the photo in pixels.
        width: width of the photo.

    Raises:
        UserError: if a point lies outside of the photo.
    """
    out = np.zeros((height, width, 4), np.uint8)
    radius = max(0, round(_DOT * min(height, width)))
    for x, y, rgb in points:
        if not (0 <= x < width and 0 <= y < height):
            raise UserError(
                f"--hint {x},{y}: outside of the photo, which has {width} x {height} pixels. Expected 0 to "
                f"{width - 1} and 0 to {height - 1}."
            )
        out[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = (*rgb, 255)
    return out


def as_rgba(picture: np.ndarray) -> np.ndarray:
    """Return a picture of hints as uint8 [H,W,4], opaque where a colour is known.

    picture: uint8 [H,W,4]; or without transparency, also [H,W,3]: then all pixels that are not gray
        are hints.
    """
    if picture.shape[-1] == 4 and picture[..., 3].min() < 128:
        return picture
    rgb = picture[..., :3]
    ab = colour.rgb_to_lab(rgb / np.float32(255))[..., 1:]
    known = np.hypot(ab[..., 0], ab[..., 1]) > _CHROMA
    return np.concatenate([rgb, np.uint8(255) * known[..., None]], -1)


def reduce_picture(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the hints of a picture at the size that a network sees, float32 [height,width,3].

    Args:
        picture: uint8 [H,W,4], opaque where a colour is known.
        height: height of the result.
        width: width of the result.
    """
    times = max(-(-height // picture.shape[0]), -(-width // picture.shape[1]))  # no pixel may fall between places
    picture = picture.repeat(times, 0).repeat(times, 1) if times > 1 else picture
    rows, columns = np.nonzero(picture[..., 3] > 127)
    ab = colour.split_lab(picture[rows, columns, :3] / np.float32(255))[1]
    place = rows * height // picture.shape[0] * width + columns * width // picture.shape[1]
    counts, *sums = (np.bincount(place, weights, height * width) for weights in (None, ab[:, 0], ab[:, 1]))
    shape = (height, width)
    found = _average(np, np.stack(sums, -1).reshape(*shape, 2), counts.reshape(shape))
    return found.astype(np.float32)


def transfer_palette(ab: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return colours whose mean and covariance are those of a reference.

    It is the linear map that moves them least (Monge-Kantorovich; Pitie and Kokaram 2007, eq. 15).
    Along no direction it stretches colours more than _STRETCH times, so that nearly gray colours
    do not become noise.

    Args:
        ab: a and b, [H,W,2] in -1..1.
        reference: a and b of the reference, [...,2] in -1..1.
    """
    here, there = ab.reshape(-1, 2).astype(np.float64), reference.reshape(-1, 2).astype(np.float64)
    floor = np.eye(2) * 1e-6

    def root(matrix, power):
        values, vectors = np.linalg.eigh(matrix)
        return (vectors * np.maximum(values, 1e-12) ** power) @ vectors.T

    a, b = (np.cov(x.T, bias=True) + floor for x in (here, there))
    moved = root(a, -0.5) @ root(root(a, 0.5) @ b @ root(a, 0.5), 0.5) @ root(a, -0.5)
    values, vectors = np.linalg.eigh(moved)
    moved = (vectors * np.minimum(values, _STRETCH)) @ vectors.T
    return ((here - here.mean(0)) @ moved + there.mean(0)).reshape(ab.shape).astype(np.float32)


@dataclass(frozen=True)
class Wishes:
    """What a user wants of the colours of a photo."""

    points: tuple[tuple[int, int, tuple[int, int, int]], ...] = ()  # colours of places, see `parse`
    picture: np.ndarray | None = None  # coloured dots, uint8 [H,W,4], of any size; see `as_rgba`
    reference: np.ndarray | None = None  # colours to take the palette of: a and b, [...,2] in -1..1
    saturation: float = 1.0  # factor of the distance from gray, 0 or more
    # Function from L [h,w,1] and the predicted colours [h,w,2] of a video's next frame to steadier
    # colours, see `conversion.steady`; None for single photos.
    steady: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def make_hints(self, height: int, width: int) -> Callable[[int, int], np.ndarray]:
        """Return a function (h, w) -> hints [h,w,3] for a photo of height x width pixels.

        Where a point covers the picture, the point counts. Raises UserError if a point lies outside
        of the photo.
        """
        pictures = [] if self.picture is None else [self.picture]
        if self.points:  # else nothing of the size of the photo is made
            pictures.append(draw_points(self.points, height, width))

        def reduce(h, w):
            out = np.zeros((h, w, CHANNELS), np.float32)
            for picture in pictures:
                hints = reduce_picture(picture, h, w)
                out = np.where(hints[..., 2:] > 0, hints, out)
            return out

        return reduce

    def apply(self, ab: np.ndarray) -> np.ndarray:
        """Return a and b [H,W,2] in -1..1 with the palette of the reference and the saturation."""
        ab = ab if self.reference is None else transfer_palette(ab, self.reference)
        return ab if self.saturation == 1 else ab * np.float32(self.saturation)


NONE = Wishes()
