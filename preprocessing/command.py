"""Options shared by all commands that write shards.

A job processes all images of a source (the locations that the user gives) and writes the results as
shards, see `job.Job`. OUT is the folder or URL that the shards are written to.
"""

from __future__ import annotations

import functools

import click

from pggan_tf.errors import make_printable
from pggan_tf.option_types import FloatRange, ImageCount
from preprocessing.options import RunOptions, group_options


class _Names(click.ParamType):
    """Command-line parameter type that converts 'a,b' to the tuple of names ('a', 'b')."""

    name = "a,b,…"

    def convert(self, value, param, ctx):
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


_OPTIONS = (
    click.option("--classes", type=_Names(), default=(), help="use only images of these classes"),
    click.option("--limit", type=ImageCount(1), help="use only this many images, from the first on"),
    click.option("--gray", is_flag=True, help="store one channel instead of three"),
    click.option("--dedupe", is_flag=True, help="leave out images that look like an earlier one (perceptual hash)"),
    click.option(
        "--split",
        type=FloatRange(0, 1, min_open=True, max_open=True),
        help="write this share of the images to OUT/train and the rest to OUT/validation",
    ),
    click.option("--shard-images", type=ImageCount(1), help="images per file  [as many as make about 64 MB]"),
    click.option("--compress", is_flag=True, help="write smaller files, which are slower to read"),
    click.option("--data-dir", help="folder of tensorflow-datasets"),
    click.option("--download", is_flag=True, help="let tensorflow-datasets download what is not in its folder"),
    click.option("--workers", type=click.IntRange(1), help="number of processes or threads  [one per core]"),
    click.option(
        "--runner",
        default="local",
        show_default=True,
        help="local for this machine, or beam for an Apache Beam pipeline",
    ),
    click.option(
        "--beam-options", default="", help="pipeline options of Apache Beam, such as '--runner=DataflowRunner ...'"
    ),
    click.option("--resume", is_flag=True, help="continue unfinished work in OUT, and keep finished shards"),
    click.option("--overwrite", is_flag=True, help="replace what is in OUT"),
    click.option("--cache", help="folder for unfinished work if OUT is remote  [$PGGAN_CACHE, else ~/.cache/pggan-tf]"),
)


def job_options(command):
    """Decorate a command: add the options that all commands that write shards share.

    The function `command` is called with a Selection, an OutputOptions and a RunOptions as
    positional arguments, and with OUT, --gray and its own options as keyword arguments.

    Returns:
        The decorated command.
    """

    @functools.wraps(command)
    def call(sources, **values):
        selection, output, running = group_options(sources, values)
        return command(selection, output, running, **values)

    return functools.reduce(lambda c, option: option(c), reversed(_OPTIONS), call)


def write_shards(job, out: str, options: RunOptions) -> None:
    """Carry out a job, see `carry_out`, and print the counts of its images."""
    from preprocessing.carry_out import carry_out

    def say(line, err=False):
        click.echo(make_printable(line), err=err)

    carry_out(job, out, options, say, functools.partial(say, err=True))
