"""Numbers of images, which may be written as 600k or 12M."""

from __future__ import annotations

import click

SUFFIXES = {"k": 1_000, "m": 1_000_000}


def parse_count(text) -> float:
    """Return a text or number as a number: '600k' -> 600000.0, '12M' -> 12000000.0, '250' -> 250.0.

    Raises ValueError or TypeError if it is none.
    """
    word = text.strip().lower() if isinstance(text, str) else ""
    factor = SUFFIXES.get(word[-1:])
    return float(text) if factor is None else round(float(word[:-1]) * factor, 6)


class ImageCount(click.IntRange):
    """Command-line parameter type for a number of images."""

    def convert(self, value, param, ctx):
        """Return the number of images as int; the bounds are those of `click.IntRange`."""
        try:
            number = parse_count(value)
        except (TypeError, ValueError):
            return super().convert(value, param, ctx)  # says what is wrong
        return super().convert(int(number) if number == int(number) else value, param, ctx)
