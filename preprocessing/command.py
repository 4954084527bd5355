"""The options that all commands that write shards share, and how they carry out a job."""

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
    """Names with commas between them."""

    name = "a,b,…"

    def convert(self, value, param, ctx):
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


_OPTIONS = (
    click.option("--classes", type=_Names(), default=(), help="only images of these classes"),
    click.option("--limit", type=click.IntRange(1), help="only so many images, from the first on"),
    click.option("--gray", is_flag=True, help="one channel instead of three"),
    click.option("--dedupe", is_flag=True, help="leave out images that look like one before them (perceptual hash)"),
    click.option(
        "--split",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="this share into OUT/train, the rest into OUT/validation",
    ),
    click.option("--shard-images", type=click.IntRange(1), help="images per file  [what makes about 64 MB]"),
    click.option("--compress", is_flag=True, help="smaller files, read slower"),
    click.option("--data-dir", help="folder of tensorflow-datasets"),
    click.option("--download", is_flag=True, help="let tensorflow-datasets fetch what is not in its folder"),
    click.option("--workers", type=click.IntRange(1), help="processes or threads  [one per core]"),
    click.option("--runner", default="local", show_default=True, help="local, or beam: as an Apache Beam pipeline"),
    click.option(
        "--beam-options", default="", help="pipeline options of Apache Beam, such as '--runner=DataflowRunner ...'"
    ),
    click.option("--resume", is_flag=True, help="go on with, or leave as it is, what is in OUT already"),
    click.option("--overwrite", is_flag=True, help="replace what is in OUT"),
    click.option("--cache", help="folder for unfinished work on a remote OUT  [$PGGAN_CACHE, else ~/.cache/pggan-tf]"),
)


def job_options(command):
    """Add the options that all commands that write shards share.

    The command receives them as a Selection, OutputOptions and RunOptions by the names `selection`,
    `output` and `running`, and besides them OUT, --gray and its own options.
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
    """Return the function that runs a job's chunks. Raises UserError."""
    if options.runner == "local":
        from preprocessing import local

        return local.run_local
    if options.runner == "beam":
        from preprocessing import beam

        return beam.make_runner(options.beam_options)
    raise UserError(f"--runner {options.runner}: not known; known are local, beam.")


def carry_out(job, out: str, options: RunOptions) -> None:
    """Do the job into `out`, a folder or a URL, and print the counts. Raises UserError."""
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
        for target in taken:  # the manifest first: half of a dataset is none
            old = storage.read_manifest(target, shards.MANIFEST)
            storage.remove(target, [shards.MANIFEST, *(s["file"] for s in old["shards"])])
        for part in dict.fromkeys(
            [*output.find_parts(folder), folder]
        ):  # of a split set, also what lies beside its parts
            storage.upload(part, out if part == folder else storage.join(out, part.name), last=shards.MANIFEST)
        shutil.rmtree(folder)
    click.echo(f"{output.REPORT} says why each was dropped; {output.CONTACT_SHEET} shows some of them")
    click.echo(out)
