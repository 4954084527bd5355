"""Types of command-line parameters: a word from a fixed list, a number of images such as 600k, a number."""

from __future__ import annotations

import math
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from pggan_tf.errors import UserError, nearest

SUFFIXES = {"k": 1_000, "m": 1_000_000}


class Choice(click.ParamType):
    """Command-line parameter type (see click) that accepts one word from a fixed list.

    The error message for an unknown word suggests the most similar ones.

    Args:
        choices: the allowed words.
    """

    def __init__(self, choices):
        self.choices, self.name = tuple(choices), "|".join(choices)

    def convert(self, value, param, ctx):
        """Return `value` unchanged, or raise UserError if it is not in the list.

        click calls this method. param: the click option, for the message; ctx: not used.
        """
        parts = [part.strip() for part in value.split(",")]
        if len(parts) > 1 and set(parts) <= {*self.choices}:
            each = " ".join(f"{param.opts[0]} {part}" for part in parts)
            raise UserError(f"{param.opts[0]} {value}: takes one word at a time, as in: {each}")
        if value not in self.choices:
            raise UserError(f"{param.opts[0]} {value}: not known; {nearest(value, self.choices)}")
        return value

    def shell_complete(self, ctx, param, incomplete):
        """Return the words that begin with what was typed, for the Tab key."""
        return complete_words(self.choices, incomplete)


def complete_words(words: Iterable[str], incomplete: str, several: bool = False) -> list[CompletionItem]:
    """Return the words that begin with what was typed, for the Tab key.

    several: whether words may be separated by commas; those that were typed already are left out.
    """
    before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
    typed = before.split(",")
    return [CompletionItem(before + comma + word) for word in words if word.startswith(last) and word not in typed]


def parse_count(text) -> float:
    """Return a text or number as a number: '600k' -> 600000.0, '12M' -> 12000000.0, '250' -> 250.0.

    Raises ValueError or TypeError if it is none.
    """
    word = text.strip().lower() if isinstance(text, str) else ""
    factor = SUFFIXES.get(word[-1:])
    return float(text) if factor is None else round(float(word[:-1]) * factor, 6)


class FloatRange(click.FloatRange):
    """Command-line parameter type for a finite number between bounds."""

    def convert(self, value, param, ctx):
        """Return the number as float; the bounds are those of `click.FloatRange`."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class ImageCount(click.IntRange):
    """Command-line parameter type for a number of images."""

    def convert(self, value, param, ctx):
        """Return the number of images as int; the bounds are those of `click.IntRange`."""
        try:
            number = parse_count(value)
        except (TypeError, ValueError):
            return super().convert(value, param, ctx)  # says what is wrong
        return super().convert(int(number) if number == int(number) else value, param, ctx)
