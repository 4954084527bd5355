"""Carry out a job and write its results as shards to a folder or a URL."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from pggan_tf import terminal
from pggan_tf.data import shards
from pggan_tf.data.shards import find_cache_folder
from pggan_tf.errors import UserError
from preprocessing import build, output, storage
from preprocessing.options import RunOptions


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


def carry_out(job, out: str, options: RunOptions, say: Callable[[str], None], note: Callable[[str], None]) -> None:
    """Do a job, write its shards, and say the counts of its images.

    Args:
        job: the job (`job.Job`).
        out: folder or URL for the shards.
        options: options for running the job.
        say: called with a line about the result.
        note: called with a line about the images that were found, or the progress.

    Raises:
        UserError: if the job cannot be done or `out` cannot be used.
        Stopped: if the job was interrupted.
    """
    runner = _find_runner(options)
    folder, remote = Path(out), storage.is_remote(out)
    for line in job.source.list_notes():
        note(line)
    if remote:
        targets = [storage.join(out, part) if part else out for part in ("", output.TRAIN, output.VALIDATION)]
        taken = [t for t in targets if storage.read_manifest(t, shards.MANIFEST)]
        if taken and options.resume and output.is_done(job, out):
            say(f"{out}: finished already")
            return
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
            say=note,
            progress=progress,
        )
    say(summary.describe())
    for line in summary.list_notes():
        note(line)
    if remote:
        for target in taken:  # the manifest first, so that no incomplete dataset remains
            old = storage.read_manifest(target, shards.MANIFEST)
            storage.remove(target, [shards.MANIFEST, *(s["file"] for s in old["shards"])])
        output.hide_places(folder)
        for part in dict.fromkeys(
            [*output.find_parts(folder), folder]
        ):  # for a split set, also the files beside its parts
            storage.upload(part, out if part == folder else storage.join(out, part.name), last=shards.MANIFEST)
        shutil.rmtree(folder)
    say(f"{output.REPORT} says why each was dropped; {output.CONTACT_SHEET} shows some of them")
    say(out)
