"""Options of the command line that take one of a few words."""

from __future__ import annotations

import click

from pggan_tf.errors import UserError, nearest


class Choice(click.ParamType):
    """One of a few words. The error for an unknown one names the nearest."""

    def __init__(self, choices):
        self.choices, self.name = tuple(choices), "|".join(choices)

    def convert(self, value, param, ctx):
        """Return the word. Raises UserError for an unknown one."""
        if value not in self.choices:
            raise UserError(f"{param.opts[0]} {value}: not known; {nearest(value, self.choices)}")
        return value
