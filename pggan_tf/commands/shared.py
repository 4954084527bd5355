"""Command-line arguments and options that several commands have."""

from __future__ import annotations

import click

from pggan_tf.option_types import FloatRange

truncation = click.option(
    "--truncation",
    type=FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="truncation: values below 1 give less varied, more typical images",
)
stage = click.option("--stage", type=int, help="resolution to generate at, in pixels  [the highest one trained]")
no_mark = click.option(
    "--no-mark",
    is_flag=True,
    help="do not write into the metadata of pictures that a network made or changed them, and which",
)
sign = click.option(
    "--sign",
    metavar="KEY",
    help="PEM file with a key and its certificates: sign what is written, as Content Credentials of the C2PA",
)
compare = click.option(
    "--compare", is_flag=True, help="also write NAME-compare, which shows before and after side by side"
)


def photos(command):
    """Return a command with the arguments and options that all commands on photos have."""
    for parameter in (
        no_mark,
        sign,
        click.option(
            "--skip-existing",
            is_flag=True,
            help="of a folder, leave photos whose results are there: a conversion that was stopped goes on",
        ),
        click.option("--out", required=True, help="file or folder to write; existing files are overwritten"),
        click.argument("source"),
        click.argument("run"),
    ):
        command = parameter(command)
    return command
