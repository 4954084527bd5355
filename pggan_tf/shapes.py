"""Compute the height and width of images from their resolution and their aspect.

The resolution of images is their longer side in pixels: one whole number, by which tables of
options, feature maps and files are named. The aspect is the ratio (width, height) in lowest terms,
such as (3, 4) for 48x64 pixels; squares have (1, 1). Sizes are written as width x height.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pggan_tf.errors import UserError

Aspect = tuple[int, int]  # width and height in lowest terms
SQUARE: Aspect = (1, 1)
SMALLEST, LARGEST = 4, 1024  # longer sides in pixels that a run of doubling stages may have
# Largest number in an aspect. The first stage has at least as many pixels on its longer side, and
# a network that begins with many has little to grow.
LARGEST_TERM = 16


def reduce_aspect(width: int, height: int) -> Aspect:
    """Return the aspect of an image: its width and height in lowest terms."""
    divisor = math.gcd(width, height)
    return width // divisor, height // divisor


def name_aspect(aspect: Sequence[int]) -> str:
    """Return an aspect as text: (3, 4) -> '3:4'."""
    return f"{aspect[0]}:{aspect[1]}"


def fits(resolution: int, aspect: Aspect) -> bool:
    """Tell whether both sides of images with this longer side and aspect are whole numbers."""
    return resolution * min(aspect) % max(aspect) == 0


def shape_at(resolution: int, aspect: Aspect) -> tuple[int, int]:
    """Return the (height, width) in pixels of images with this longer side and aspect.

    Raises ValueError if a side is not a whole number.
    """
    if not fits(resolution, aspect):
        raise ValueError(f"{resolution} px at {name_aspect(aspect)}: the shorter side is not a whole number.")
    width, height = aspect
    return resolution * height // max(aspect), resolution * width // max(aspect)


def name_size(resolution: int, aspect: Aspect = SQUARE) -> str:
    """Return the size of images as text: '64' for a square, else width x height, such as '48x64'."""
    if aspect == SQUARE:
        return str(resolution)
    height, width = shape_at(resolution, aspect)
    return f"{width}x{height}"


def find_first_resolution(aspect: Aspect) -> int:
    """Return the longer side of the first stage: the smallest from 4 on with whole sides."""
    return next(resolution for resolution in range(SMALLEST, LARGEST) if fits(resolution, aspect))


def list_doublings(aspect: Aspect) -> list[int]:
    """Return the resolutions of stages that double from the first one on, up to LARGEST."""
    out = [find_first_resolution(aspect)]
    while 2 * out[-1] <= LARGEST:
        out.append(2 * out[-1])
    return out


def parse_aspect(text: str, option: str = "--shape") -> Aspect:
    """Return the aspect in a text such as '3:4' or '1080:1920'.

    Args:
        text: width:height.
        option: the option that it is the value of, for messages.

    Raises:
        UserError: if the text is no such ratio, or its lowest terms are larger than LARGEST_TERM.
    """
    found = re.fullmatch(r"([1-9]\d{0,5}):([1-9]\d{0,5})", text.strip())
    if not found:
        raise UserError(f"{option} {text}: expected width:height in whole numbers, such as 3:4 or 16:9.")
    aspect = reduce_aspect(int(found[1]), int(found[2]))
    if max(aspect) > LARGEST_TERM:
        near = " and ".join(map(name_aspect, _find_nearest_aspects(aspect)))
        raise UserError(
            f"{option} {text}: expected numbers up to {LARGEST_TERM} in lowest terms. The nearest are {near}."
        )
    return aspect


def limit_images(count: int, shape: tuple[int, int], pixels: int, least: int = 1) -> int:
    """Return how many of `count` images are handled at once: as many as have `pixels` pixels in all.

    Whatever draws, makes or reads many images keeps its memory so, at any resolution.

    Args:
        count: the most images.
        shape: height and width of each image in pixels.
        pixels: the budget, a number of pixels.
        least: the fewest images, even if they exceed the budget.
    """
    return max(min(count, least), min(count, pixels // math.prod(shape)))


def parse_size(text: str, option: str) -> tuple[int, Aspect]:
    """Return (longer side, aspect) of a size such as '192x256' or '64'.

    Args:
        text: width x height in pixels, or one number for a square.
        option: the option that it is the value of, for messages.

    Raises:
        UserError: if the text is no size, or its aspect has too large terms.
    """
    found = re.fullmatch(r"([1-9]\d{0,5})(?:x([1-9]\d{0,5}))?", text.strip().lower())
    if not found:
        raise UserError(f"{option} {text}: expected a number of pixels, or WIDTHxHEIGHT such as 192x256.")
    width, height = int(found[1]), int(found[2] or found[1])
    aspect = reduce_aspect(width, height)
    if max(aspect) > LARGEST_TERM:
        near = " and ".join(_find_nearest_sizes(width, height))
        raise UserError(
            f"{option} {text}: its sides are as {name_aspect(aspect)}; expected numbers up to {LARGEST_TERM}. "
            f"The nearest are {near}."
        )
    return max(width, height), aspect


def _list_aspects() -> list[Aspect]:
    """Return all aspects with terms up to LARGEST_TERM."""
    terms = range(1, LARGEST_TERM + 1)
    return [(w, h) for w in terms for h in terms if math.gcd(w, h) == 1]


def _find_nearest_aspects(aspect: Aspect) -> list[Aspect]:
    """Return the two aspects, of those that can be given, that are most like this one."""
    logarithm = math.log(aspect[0] / aspect[1])
    return sorted(_list_aspects(), key=lambda a: (abs(math.log(a[0] / a[1]) - logarithm), max(a)))[:2]


def _find_nearest_sizes(width: int, height: int) -> list[str]:
    """Return the two sizes nearest to this one that stages which double reach."""
    sizes = [shape_at(r, aspect) for aspect in _list_aspects() for r in list_doublings(aspect)]
    nearest = sorted(sizes, key=lambda s: (abs(s[1] - width) + abs(s[0] - height), s))[:2]
    return [f"{w}x{h}" for h, w in nearest]
