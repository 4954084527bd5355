"""What the commands that write shards have in common: their options, and what happens around the job."""

from __future__ import annotations

import functools
import hashlib
import shutil
from pathlib import Path

import click

from pggan_tf.data import shards
from pggan_tf.data.shards import cache_folder
from pggan_tf.errors import UserError, nearest


class _Names(click.ParamType):
    name = "a,b,…"

    def convert(self, value, param, ctx):
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Choice(click.ParamType):
    """One of a few words; an unknown one is answered with the nearest."""

    def __init__(self, choices):
        self.choices, self.name = tuple(choices), "|".join(choices)

    def convert(self, value, param, ctx):
        if value not in self.choices:
            raise UserError(f"{param.opts[0]} {value}: not known; {nearest(value, self.choices)}")
        return value


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
    return functools.reduce(lambda c, option: option(c), reversed(_OPTIONS), command)


def carry_out(job, out: str, *, workers, runner, beam_options, resume, overwrite, cache) -> None:
    """Does the job into `out`, a folder or a URL, and prints what came of it."""
    from pggan_tf import terminal
    from preprocessing import build, claim, local, storage

    runners = {"local": local.run_local}
    if runner == "beam":
        from preprocessing import beam

        runners["beam"] = beam.runner(beam_options)
    if runner not in runners:
        raise UserError(f"--runner {runner}: not known; known are local, beam.")
    folder, remote = Path(out), storage.is_remote(out)
    for note in job.source.notes():
        click.echo(note, err=True)
    if remote:
        targets = [storage.join(out, part) if part else out for part in ("", claim.TRAIN, claim.VALIDATION)]
        taken = [t for t in targets if storage.manifest(t, shards.MANIFEST)]
        if taken and not overwrite:
            raise UserError(f"{taken[0]}: holds shards already. Give --overwrite to replace them, or another address.")
        storage.check_writable(out)
        folder = cache_folder(cache) / "uploads" / hashlib.sha256(out.encode()).hexdigest()[:16]
    with terminal.show_progress() as progress:
        summary = build.build(
            job,
            folder,
            workers=workers,
            runner=runners[runner],
            resume=resume or remote,
            overwrite=overwrite,
            say=functools.partial(click.echo, err=True),
            progress=progress,
        )
    click.echo(summary.text())
    for note in summary.notes():
        click.echo(note, err=True)
    if remote:
        for target in taken:  # the manifest first: half of a dataset is none
            old = storage.manifest(target, shards.MANIFEST)
            storage.remove(target, [shards.MANIFEST, *(s["file"] for s in old["shards"])])
        for part in dict.fromkeys([*claim.parts(folder), folder]):  # of a split set, also what lies beside its parts
            storage.upload(part, out if part == folder else storage.join(out, part.name), last=shards.MANIFEST)
        shutil.rmtree(folder)
    click.echo(f"{claim.REPORT} says why each was dropped; {claim.CONTACT_SHEET} shows some of them")
    click.echo(out)
