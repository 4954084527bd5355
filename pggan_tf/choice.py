"""Command-line options that accept one word from a fixed list."""

from __future__ import annotations

import click

from pggan_tf.errors import UserError, nearest


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
