"""The command line `pggan VERB`.

The module of a verb, such as train, is imported only when the verb is used, because some imports
are slow.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re

import click

from pggan_tf import entry
from pggan_tf.errors import UserError, nearest

# verb -> module that defines its click command as `command`
VERBS = {
    "train": "pggan_tf.commands.train",
    "generate": "pggan_tf.commands.generate",
    "edit": "pggan_tf.commands.edit",
    "sliders": "pggan_tf.commands.sliders",
    "faces": "preprocessing.faces",
    "prepare": "preprocessing.prepare",
    "inspect": "preprocessing.inspect",
    "colorize": "pggan_tf.commands.colorize",
    "upscale": "pggan_tf.commands.upscale",
    "translate": "pggan_tf.commands.translate",
    "report": "pggan_tf.commands.report",
    "compare": "pggan_tf.commands.compare",
    "interpolate": "pggan_tf.commands.interpolate",
    "grid": "pggan_tf.commands.grid",
    "project": "pggan_tf.commands.project",
    "neighbours": "pggan_tf.commands.neighbours",
    "whose": "pggan_tf.commands.whose",
    "evaluate": "pggan_tf.commands.evaluate",
    "export": "export.command",
    "serve": "export.serve",
    "studio": "pggan_tf.commands.studio",
    "push": "pggan_tf.commands.push",
}


class _Verbs(click.Group):
    """Click group of the commands in VERBS. It suggests the nearest verb for an unknown one."""

    def list_commands(self, ctx):
        return list(VERBS)

    def get_command(self, ctx, name):
        return importlib.import_module(VERBS[name]).command if name in VERBS else None

    def format_commands(self, ctx, formatter):
        """Write the first sentence of every verb's help, in full."""
        rows = []
        for name in self.list_commands(ctx):
            text = inspect.cleandoc(self.get_command(ctx, name).help or "")
            rows.append((name, re.split(r"\.(?=\s|$)", text, maxsplit=1)[0].replace("\n", " ")))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(self, ctx, args):
        if args and not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:  # resilient: the Tab key
            raise UserError(f"{args[0]}: no such command; {nearest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="pggan-tf")
def cli():
    """Grow a GAN on your own photos and export it to phones and browsers."""


def main(arguments: list[str] | None = None) -> int:
    """Run `pggan ARGUMENTS` in this process and return the exit code.

    arguments: words after `pggan`; None: those of this process's command line.
    """
    return entry.main(cli, arguments)


if "_PGGAN_COMPLETE" in os.environ:  # the shell asks, because somebody has pressed Tab
    from pggan_tf.commands import completion

    completion.register()
