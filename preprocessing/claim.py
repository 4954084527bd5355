"""The folder that a job writes into: whether it may, and whether it goes on with what is there."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

from pggan_tf import files
from pggan_tf.data import shards
from pggan_tf.errors import UserError
from pggan_tf.files import PARTIAL_OF, atomic_write
from preprocessing import storage
from preprocessing.job import Job
from preprocessing.sources import Joined

UNFINISHED = ".unfinished"
REPORT, CONTACT_SHEET = "report.json", "contact.png"
TRAIN, VALIDATION = "train", "validation"
_NAMES = "|".join(map(re.escape, (shards.MANIFEST, REPORT, CONTACT_SHEET)))
_OURS = re.compile(rf"({PARTIAL_OF})?(shard-\d+\.npz|{_NAMES})|{re.escape(UNFINISHED)}")


def parts(out: Path) -> list[Path]:
    """The folders of shards in `out`: itself, or those that it was split into. Empty where nothing is finished."""
    return [f for f in (out, out / TRAIN, out / VALIDATION) if shards.is_shards(f)]


def _foreign(out: Path) -> list[Path]:
    """What lies in `out` and is not ours."""
    found = []
    for path in out.iterdir():
        if path.name in (TRAIN, VALIDATION) and path.is_dir() and not path.is_symlink():
            found += [p for p in path.iterdir() if not _OURS.fullmatch(p.name)]
        elif not _OURS.fullmatch(path.name):
            found.append(path)
    return found


def clear(out: Path) -> None:
    """Removes what a job wrote into `out`, and nothing else."""
    for folder in (out / TRAIN, out / VALIDATION, out):
        for path in folder.iterdir() if folder.is_dir() else ():
            if _OURS.fullmatch(path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if folder != out and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _sources(source: Joined) -> list[dict]:
    return [{"name": p.name, "fingerprint": p.fingerprint(), "listing": p.listing()} for p in source.parts]


def fingerprints(source: Joined) -> list[str]:
    return [p.fingerprint() for p in source.parts]


def _check_apart(job: Job, out: Path) -> None:
    for part in job.source.parts:
        if storage.is_remote(part.name) or not Path(part.name).is_dir():
            continue
        source = Path(part.name).resolve()
        if out.resolve().is_relative_to(source) or source.is_relative_to(out.resolve()):
            raise UserError(
                f"{out}: lies within the source {part.name}, or the other way round. Choose another folder."
            )


def claim(job: Job, out: Path, resume: bool, overwrite: bool, wait: bool, say, stack) -> Job | None:
    """Makes the folder ours, with a lock on `stack`: the job as it was begun, or None where it is done already.

    Raises UserError for a folder with anything else in it.
    """
    unfinished = out / UNFINISHED
    options = json.loads(json.dumps(job.options))
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: not a folder. Choose another place.")
    _check_apart(job, out)
    if out.is_dir() and any(out.iterdir()) and not unfinished.is_dir():
        if not parts(out):
            raise UserError(f"{out}: exists and is not an empty folder. Choose another, or remove it.")
        if wait:
            return None
        report = storage.manifest(str(out), REPORT) or {}
        if resume and (report.get("options"), report.get("fingerprints")) == (options, fingerprints(job.source)):
            return None
        if not overwrite:
            different = " that were made in another way, or of a source that has changed since" if resume else ""
            raise UserError(
                f"{out}: holds shards already{different}. Give --overwrite to replace them, or another folder."
            )
        if foreign := _foreign(out):
            raise UserError(f"{out}: holds {foreign[0]} besides shards, and is not overwritten. Choose another folder.")
        clear(out)
    unfinished.mkdir(parents=True, exist_ok=True)
    try:
        stack.enter_context(locked(unfinished / "lock", out, wait, say))
    except FileNotFoundError:  # the other process has finished, and has removed its lock with the folder
        return claim(job, out, resume, overwrite, wait, say, stack)
    if wait and parts(out):
        return None
    mine = {"options": options, "sources": _sources(job.source)}
    theirs = storage.manifest(str(unfinished), "job.json")
    if theirs is not None and overwrite and theirs["options"] != options:
        for path in unfinished.iterdir():
            if path.name != "lock":
                path.unlink()
        theirs = None
    if theirs is None:
        with atomic_write(unfinished / "job.json", only_writer=True) as partial:
            partial.write_text(json.dumps(mine))
        return job
    return _as_begun(job, out, mine, theirs, say)


def _as_begun(job: Job, out: Path, mine: dict, theirs: dict, say) -> Job:
    """The job on the source as it was listed when it was begun."""
    for name in mine["options"] | theirs["options"]:
        before, now = theirs["options"].get(name), mine["options"].get(name)
        if before != now:
            raise UserError(
                f"{out}: holds unfinished work of another kind: {name} was {before}, now it is {now}. "
                "Give --overwrite to begin again, or another folder."
            )
    then = []
    for part, was, now in zip(job.source.parts, theirs["sources"], mine["sources"], strict=True):
        if was["listing"] is None and was["fingerprint"] != now["fingerprint"]:
            raise UserError(
                f"{out}: holds unfinished work on {part.name} as it was before it changed. Remove {out} to begin again, or choose another folder."
            )
        if was["listing"] is not None:
            part = part.relisted(was["listing"])
            if was["fingerprint"] != now["fingerprint"]:
                say(f"{part.name} has changed since; going on with the {len(part):,} images that were there")
        then.append(part)
    return dataclasses.replace(job, source=dataclasses.replace(job.source, parts=tuple(then)))


@contextlib.contextmanager
def locked(path: Path, out: Path, wait: bool, say):
    """Holds a lock on the file `path` while `out` is made: no other process makes it meanwhile."""

    def busy():
        if not wait:
            raise UserError(f"{out}: another process is at work there. Wait for it, or choose another folder.")
        say(f"waiting for another process that prepares {out}")

    with files.hold_lock(path, busy):
        yield
    if os.name == "nt" and parts(out):  # a file that is locked cannot be removed there with its folder
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()
