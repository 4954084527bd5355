"""Options shared by all commands that write shards, and a function that carries out their jobs.

A job processes all images of a source (the locations that the user gives) and writes the results as
shards, see `job.Job`. OUT is the folder or URL that the shards are written to.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from dataclasses import fields
from pathlib import Path

import click

from pggan_tf.data import shards
from pggan_tf.data.shards import find_cache_folder
from pggan_tf.errors import UserError
from preprocessing.options import OutputOptions, RunOptions, Selection


class _Names(click.ParamType):
    """Command-line parameter type that converts 'a,b' to the tuple of names ('a', 'b')."""

    name = "a,b,…"

    def convert(self, value, param, ctx):
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


_OPTIONS = (
    click.option("--classes", type=_Names(), default=(), help="use only images of these classes"),
    click.option("--limit", type=click.IntRange(1), help="use only this many images, from the first on"),
    click.option("--gray", is_flag=True, help="store one channel instead of three"),
    click.option("--dedupe", is_flag=True, help="leave out images that look like an earlier one (perceptual hash)"),
    click.option(
        "--split",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="write this share of the images to OUT/train and the rest to OUT/validation",
    ),
    click.option("--shard-images", type=click.IntRange(1), help="images per file  [as many as make about 64 MB]"),
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
        def take(kind, **others):
            names = [field.name for field in fields(kind) if field.name in values]
            return kind(**others, **{name: values.pop(name) for name in names})

        selection, output, running = take(Selection, places=sources), take(OutputOptions), take(RunOptions)
        return command(selection, output, running, **values)

    return functools.reduce(lambda c, option: option(c), reversed(_OPTIONS), call)


def _find_runner(options: RunOptions):
    """Return the function that processes a job's chunks (see `build.Runner`) as --runner says.

    Raise UserError if the runner is not known or not installed.
    """
    if options.runner == "local":
        from preprocessing import local

        return local.run_local
    if options.runner == "beam":
        from preprocessing import beam

        return beam.make_runner(options.beam_options)
    raise UserError(f"--runner {options.runner}: not known; known are local, beam.")


def carry_out(job, out: str, options: RunOptions) -> None:
    """Do a job, write its shards, and print the counts of its images.

    Args:
        job: the job (`job.Job`).
        out: folder or URL for the shards.
        options: options for running the job.

    Raises:
        UserError: if the job cannot be done or `out` cannot be used.
        Stopped: if the job was interrupted.
    """
    from pggan_tf import terminal
    from preprocessing import build, output, storage

    runner = _find_runner(options)
    folder, remote = Path(out), storage.is_remote(out)
    for note in job.source.list_notes():
        click.echo(note, err=True)
    if remote:
        targets = [storage.join(out, part) if part else out for part in ("", output.TRAIN, output.VALIDATION)]
        taken = [t for t in targets if storage.read_manifest(t, shards.MANIFEST)]
        if taken and not options.overwrite:
            raise UserError(f"{taken[0]}: holds shards already. Give --overwrite to replace them, or another address.")
        storage.check_writable(out)
        folder = find_cache_folder(options.cache) / "uploads" / hashlib.sha256(out.encode()).hexdigest()[:16]
    with terminal.show_progress() as progress:
        summary = build.build(
            job,
            folder,
            workers=options.workers,
            runner=runner,
            existing=output.Existing(resume=options.resume or remote, overwrite=options.overwrite),
            say=functools.partial(click.echo, err=True),
            progress=progress,
        )
    click.echo(summary.describe())
    for note in summary.list_notes():
        click.echo(note, err=True)
    if remote:
        for target in taken:  # the manifest first, so that no incomplete dataset remains
            old = storage.read_manifest(target, shards.MANIFEST)
            storage.remove(target, [shards.MANIFEST, *(s["file"] for s in old["shards"])])
        for part in dict.fromkeys(
            [*output.find_parts(folder), folder]
        ):  # for a split set, also the files beside its parts
            storage.upload(part, out if part == folder else storage.join(out, part.name), last=shards.MANIFEST)
        shutil.rmtree(folder)
    click.echo(f"{output.REPORT} says why each was dropped; {output.CONTACT_SHEET} shows some of them")
    click.echo(out)
