"""Check and reserve the folder `out` that a job writes its shards into.

This decides whether the job may use the folder, and whether it continues unfinished work in it.
While a job is unfinished, `out` contains a folder UNFINISHED with the job's options and progress.
If the dataset is split (--split), `out` has two subfolders, TRAIN and VALIDATION, called its parts;
otherwise, the shards are in `out` itself. A fingerprint is a text that changes when the images of a
source change.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pggan_tf import files
from pggan_tf.data import shards
from pggan_tf.errors import UserError
from pggan_tf.files import PARTIAL_OF, atomic_write
from pggan_tf.runs import records
from preprocessing import storage
from preprocessing.job import Job
from preprocessing.sources import SourceList

UNFINISHED = ".unfinished"
_REPLACED = "replaced"  # folder in UNFINISHED with finished shards that a job is to replace
REPORT, CONTACT_SHEET = "report.json", "contact.png"
TRAIN, VALIDATION = "train", "validation"
_NAMES = "|".join(map(re.escape, (shards.MANIFEST, REPORT, CONTACT_SHEET)))
_OURS = re.compile(rf"({PARTIAL_OF})?(shard-\d+\.npz|{_NAMES})|{re.escape(UNFINISHED)}")


@dataclass(frozen=True)
class Existing:
    """Options that say what to do with a folder that already holds finished shards.

    By default, such a folder is an error. Unfinished work of the same job is always continued.
    """

    resume: bool = False  # keep the shards if they are those of the same job
    overwrite: bool = False  # replace the shards
    # Use the shards. If another process is making them, wait for it instead of raising UserError.
    wait: bool = False


def find_parts(out: Path) -> list[Path]:
    """Return those of the folders `out` and its two parts that hold finished shards."""
    return [f for f in (out, out / TRAIN, out / VALIDATION) if shards.is_shards(f)]


def _find_foreign(out: Path) -> list[Path]:
    """Return the paths of files and folders in `out` that were not written by a job."""
    found = []
    for path in out.iterdir():
        if path.name in (TRAIN, VALIDATION) and path.is_dir() and not path.is_symlink():
            found += [p for p in path.iterdir() if not _OURS.fullmatch(p.name)]
        elif not _OURS.fullmatch(path.name):
            found.append(path)
    return found


def _list_written(out: Path) -> Iterator[Path]:
    """Yield the files in `out` and its parts that jobs have written, but for those in UNFINISHED."""
    for folder in (out / TRAIN, out / VALIDATION, out):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if _OURS.fullmatch(path.name) and path.name != UNFINISHED:
                yield path


def _move_files(paths: Iterable[Path], out: Path, to: Path) -> None:
    """Move files in `out` or its parts to the same place below `to`; parts that become empty are removed."""
    for path in list(paths):
        target = to / path.relative_to(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    _remove_empty_parts(out)


def _remove_empty_parts(out: Path) -> None:
    for folder in (out / TRAIN, out / VALIDATION):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def give_up(out: Path) -> None:
    """Remove everything in `out` that an unfinished job has written, and bring back what it was to replace."""
    for path in _list_written(out):
        path.unlink()
    _remove_empty_parts(out)
    unfinished = out / UNFINISHED
    if (replaced := unfinished / _REPLACED).is_dir():
        _move_files(_list_written(replaced), replaced, out)
    shutil.rmtree(unfinished)
    with contextlib.suppress(OSError):
        out.rmdir()  # fails if it holds those, or is a mount point


def _describe_sources(source: SourceList) -> list[dict]:
    """Return name, fingerprint and listing (`Source.to_listing`) of each source, as JSON data."""
    return [{"name": p.name, "fingerprint": p.fingerprint(), "listing": p.to_listing()} for p in source.parts]


def list_fingerprints(source: SourceList) -> list[str]:
    """Return the fingerprint of each of the sources in a list, in order."""
    return [p.fingerprint() for p in source.parts]


def _check_apart(job: Job, out: Path, existing: Existing) -> None:
    """Raise UserError if `out` lies within a folder that is read, or such a folder within `out`.

    existing: the options; jobs that wait for others write into the cache, see `cache.open_shards`.
    """
    for part in job.source.parts:
        if storage.is_remote(part.name) or not Path(part.name).is_dir():
            continue
        source = Path(part.name).resolve()
        within = out.resolve().is_relative_to(source)
        if not within and not source.is_relative_to(out.resolve()):
            continue
        if within and existing.wait:  # in the cache, which nobody has named
            raise UserError(
                f"--data {part.name}: holds the folder that prepared images are kept in ({out.parent}). "
                "Give a folder that has nothing but photos, such as ~/Pictures, or another place for them with --cache."
            )
        where = f"lies within the source {part.name}" if within else f"holds the source {part.name}"
        raise UserError(f"{out}: {where}. Choose another folder.")


def _leave_or_put_aside(job: Job, out: Path, existing: Existing) -> bool:
    """Decide whether a job keeps or replaces what is in the folder `out`.

    Args:
        job: the job.
        out: the folder, which is not empty and holds no unfinished work.
        existing: what to do with finished shards.

    Returns:
        True if the folder holds finished shards that are kept; False if they were put aside.

    Raises:
        UserError: if the folder holds no shards, or they may neither be kept nor be overwritten.
    """
    if not find_parts(out):
        raise UserError(f"{out}: exists and is not an empty folder. Choose another, or remove it.")
    if existing.wait:
        return True
    if existing.resume and is_done(job, str(out)):
        return True
    if not existing.overwrite:
        different = " that were made in another way, or of a source that has changed since" if existing.resume else ""
        raise UserError(f"{out}: holds shards already{different}. Give --overwrite to replace them, or another folder.")
    if foreign := _find_foreign(out):
        raise UserError(f"{out}: holds {foreign[0]} besides shards, and is not overwritten. Choose another folder.")
    _move_files(_list_written(out), out, out / UNFINISHED / _REPLACED)  # until others have taken their place
    return False


def reserve_folder(
    job: Job, out: Path, existing: Existing, say: Callable[[str], None], stack: contextlib.ExitStack
) -> Job | None:
    """Reserve the folder `out` for this process with a lock.

    Args:
        job: the job.
        out: the folder, which is created if it does not exist.
        existing: what to do if it holds finished shards.
        say: called with each line for the user.
        stack: holds the lock until it is closed.

    Returns:
        The job, with its source as it was when the job was begun; None if the folder holds finished
        shards that are kept, so that nothing is left to do.

    Raises:
        UserError: if the folder holds anything else, or another process uses it.
    """
    unfinished = out / UNFINISHED
    options = json.loads(json.dumps(job.options))
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: not a folder. Choose another place.")
    _check_apart(job, out, existing)
    occupied = out.is_dir() and any(out.iterdir()) and not unfinished.is_dir()
    if occupied and _leave_or_put_aside(job, out, existing):
        return None
    unfinished.mkdir(parents=True, exist_ok=True)
    try:
        stack.enter_context(hold_lock(unfinished / "lock", out, existing.wait, say))
    except FileNotFoundError:
        # The other process has finished, and has removed its lock with the folder.
        return reserve_folder(job, out, existing, say, stack)
    if existing.wait and find_parts(out):
        return None
    now = {"options": options, "sources": _describe_sources(job.source)}
    begun = storage.read_manifest(str(unfinished), "job.json")
    if begun is not None and existing.overwrite and not _can_continue(now, begun):
        for path in (*_list_written(out), *(p for p in unfinished.iterdir() if p.name not in ("lock", _REPLACED))):
            path.unlink()
        begun = None
    if begun is None:
        with atomic_write(unfinished / "job.json", only_writer=True) as partial:
            partial.write_text(json.dumps(now))
        return job
    return _restore_job(job, out, now, begun, say)


def _can_continue(now: dict, begun: dict) -> bool:
    """Tell whether unfinished work is that of the same job; for the arguments, see `_restore_job`."""
    if begun["options"] != now["options"]:
        return False
    pairs = zip(begun["sources"], now["sources"], strict=True)
    return all(a["listing"] is not None or a["fingerprint"] == b["fingerprint"] for a, b in pairs)


def is_done(job: Job, folder: str) -> bool:
    """Tell whether the finished shards in a folder, or at a URL, are those of a job."""
    report = storage.read_manifest(folder, REPORT) or {}
    options = json.loads(json.dumps(job.options))
    if report.get("fingerprints") != list_fingerprints(job.source):
        return False
    return report.get("options") in (options, _hide_places(options))


def _hide_places(options: dict) -> dict:
    """Return a copy of a job's options with only the last part of each path and URL."""
    return {**options, "sources": records.remove_places(options.get("sources", []))}


def hide_places(folder: Path) -> None:
    """Leave only the last parts of the sources' paths in the report and the manifests in `folder`.

    What is uploaded should not show the folders of the machine.
    """
    for path in (folder / REPORT, *(part / shards.MANIFEST for part in find_parts(folder))):
        content = json.loads(path.read_text(encoding="utf-8"))
        content["source"] = records.name_source(content["source"])
        if "options" in content:
            content["options"] = _hide_places(content["options"])
        with atomic_write(path, only_writer=True) as partial:
            partial.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _restore_job(job: Job, out: Path, now: dict, begun: dict, say: Callable[[str], None]) -> Job:
    """Return the job with the same images in its source as when the job was begun.

    Args:
        job: the job.
        out: the folder that it writes into.
        now: present options and sources of the job: {"options": `Job.options`, "sources": see
            `_describe_sources`}.
        begun: options and sources when the job was begun, in the same form.
        say: called with each line for the user.

    Raises:
        UserError: if the options differ, or a source has changed and cannot be restored.
    """
    for name in now["options"] | begun["options"]:
        before, after = begun["options"].get(name), now["options"].get(name)
        if before != after:
            raise UserError(
                f"{out}: holds unfinished work of another kind: {name} was {before}, now it is {after}. "
                "Give --overwrite to begin again, or another folder."
            )
    parts = []
    for part, before, after in zip(job.source.parts, begun["sources"], now["sources"], strict=True):
        changed = before["fingerprint"] != after["fingerprint"]
        if before["listing"] is None and changed:
            raise UserError(
                f"{out}: holds unfinished work on {part.name} as it was before it changed. Give --overwrite to begin again, or choose another folder."
            )
        if before["listing"] is not None:
            part = part.with_listing(before["listing"])
            if changed:
                say(f"{part.name} has changed since; going on with the {len(part):,} images that were there")
        parts.append(part)
    return dataclasses.replace(job, source=dataclasses.replace(job.source, parts=tuple(parts)))


@contextlib.contextmanager
def hold_lock(path: Path, out: Path, wait: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Context manager that locks the file `path`, so that no other process writes into `out`.

    Args:
        path: the file to lock.
        out: the folder that the lock protects.
        wait: wait for another process that holds the lock, instead of raising UserError.
        say: called with a line for the user while waiting.
    """

    def report_busy():
        if not wait:
            raise UserError(f"{out}: another process is at work there. Wait for it, or choose another folder.")
        say(f"waiting for another process that prepares {out}")

    with files.hold_lock(path, report_busy):
        yield
    # Windows cannot remove a folder with a locked file in it.
    if os.name == "nt" and find_parts(out):
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()
