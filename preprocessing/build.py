"""Putting a job's chunks together into shards, whatever interrupts it.

The source is cut into chunks of consecutive images. A chunk's result follows from its images alone, and chunks are put
together in order: the shards are the same whatever the number of workers, and however often the job was stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pggan_tf.data import pixels, shards
from pggan_tf.data.decode import Unreadable
from pggan_tf.errors import DamagedFile, Stopped, UserError
from pggan_tf.files import atomic_write
from pggan_tf.runs import checkpoint
from pggan_tf.signals import Signals
from preprocessing import duplicates, storage
from preprocessing.claim import CONTACT_SHEET, REPORT, TRAIN, UNFINISHED, VALIDATION, claim, clear, fingerprints, parts
from preprocessing.job import Job, Made, Summary
from preprocessing.local import run_local

_SAVE_SECONDS = 5.0
_SHEET_IMAGES, _SHEET_PIXELS = 100, 128


class _Assembly:
    """The writers, the report and the counts of a job; all of it can be saved at any chunk, and restored."""

    def __init__(self, job: Job, out: Path):
        self.job, self.out = job, out
        names = (TRAIN, VALIDATION) if job.split else ("",)
        self.writers = {
            name: shards.Writer(
                out / name,
                job.resolutions,
                job.channels,
                job.source.classes,
                job.source.name,
                job.filter,
                job.shard_images,
                job.compress,
            )
            for name in names
        }
        self.summary = Summary(str(out))
        self.chunk = 0
        self.duplicates = duplicates.Index()
        self.folder = out / UNFINISHED
        self.lines = (self.folder / "dropped.jsonl").open("ab+")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()

    def add(self, items: int, made: list[Made]) -> None:
        part, last = "", None
        for m in made:
            image = m.image
            self.summary.more += m.more
            if m.hash is not None and self.duplicates.seen(m.hash):
                image = Unreadable("looks like an image before it", "duplicate")
            if isinstance(image, Unreadable):
                self.summary.dropped[image.kind] += 1
                self.lines.write(json.dumps({"name": m.title, "why": str(image)}).encode() + b"\n")
            else:
                if m.name != last:  # what comes of one photo stays together
                    part, last = self._part(), m.name
                self.writers[part].add(image, m.label)
                self.summary.kept += 1
        self.chunk += 1
        self.summary.read += items

    def _part(self) -> str:
        """Where the next photo goes, by how many there are: spread over the whole source, the same for the same job."""
        if not self.job.split:
            return ""
        enough = int((self.summary.kept + 1) * self.job.split)
        return TRAIN if self.writers[TRAIN].images < enough else VALIDATION

    def save(self) -> None:
        self.lines.flush()
        arrays, finished = {"hashes": self.duplicates.hashes}, {}
        for name, writer in self.writers.items():
            waiting, finished[name] = writer.state()
            arrays |= {f"{name}:{key}": array for key, array in waiting.items()}
        meta = {
            "chunk": self.chunk,
            "read": self.summary.read,
            "kept": self.summary.kept,
            "dropped": self.summary.dropped,
            "more": self.summary.more,
            "lines": self.lines.tell(),
            "finished": finished,
        }
        checkpoint.write(self.folder / "state.npz", arrays, meta)

    def restore(self) -> None:
        """Goes back to the last state saved, if there is one that is whole."""
        meta = {"lines": 0}
        with contextlib.suppress(DamagedFile):
            arrays, meta = checkpoint.read(self.folder / "state.npz")
            self.chunk = meta["chunk"]
            self.summary.read, self.summary.kept = meta["read"], meta["kept"]
            self.summary.dropped.update(meta["dropped"])
            self.summary.more = meta.get("more", 0)  # work begun by a version that did not count them
            self.duplicates = duplicates.Index(arrays["hashes"])
            for name, writer in self.writers.items():
                mine = {k.partition(":")[2]: a for k, a in arrays.items() if k.startswith(f"{name}:")}
                writer.restore(mine, meta["finished"][name])
        self.lines.truncate(meta["lines"])
        self.lines.seek(meta["lines"])

    def write_report(self, path: Path) -> None:
        """One line for every image that was dropped."""
        self.lines.seek(0)
        head = {
            "source": self.job.source.name,
            "options": self.job.options,
            "fingerprints": fingerprints(self.job.source),
            "images_read": self.summary.read,
            "kept": self.summary.kept,
            "dropped": dict(self.summary.dropped),
            "only_first_picture": self.summary.more,
        }
        with atomic_write(path, only_writer=True) as partial, partial.open("w", encoding="utf-8") as file:
            file.write(json.dumps(head, indent=1)[:-2] + ',\n "dropped_images": [')
            for i, line in enumerate(self.lines):
                file.write(("," if i else "") + "\n  " + line.decode().rstrip())
            file.write("\n ]\n}\n")

    def close(self) -> None:
        skipped = sum(self.summary.dropped.values())
        self.summary.manifests = [writer.close(skipped) for writer in self.writers.values() if writer.images]
        self.write_report(self.out / REPORT)
        opened = shards.Shards(next(w.folder for w in self.writers.values() if w.images), verify=False)
        contact_sheet(opened, self.out / CONTACT_SHEET)


def contact_sheet(opened: shards.Shards, path: Path) -> None:
    """A hundred images, spread over the dataset, as one picture."""
    resolution = max(
        (r for r in opened.manifest.resolutions if r <= _SHEET_PIXELS), default=opened.manifest.resolutions[0]
    )
    count = opened.count(resolution)
    which = np.unique(np.linspace(0, count - 1, min(count, _SHEET_IMAGES)).astype(int))
    pixels.grid(path, opened.read(resolution, which), size=32)


def build(
    job: Job,
    out: str | Path,
    *,
    workers: int | None = None,
    runner: Callable[[Job, int, int], Iterator[list[Made]]] = run_local,
    resume: bool = False,
    overwrite: bool = False,
    wait: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Does the job into the folder `out`, or goes on with it there. The manifest is written last.

    wait: for another process that does the same, instead of refusing. Raises UserError for what cannot be done, Stopped for
    what can be gone on with.
    """
    out = Path(out).absolute()
    workers = workers or os.cpu_count() or 1
    try:
        with contextlib.ExitStack() as stack:
            claimed = claim(job, out, resume, overwrite, wait, say, stack)
            if claimed is not None:
                return _run(claimed, out, workers, runner, say, progress)
        summary = Summary(str(out), manifests=[shards.Shards(f, verify=False).manifest for f in parts(out)])
        report = storage.manifest(str(out), REPORT) or {}
        summary.read, summary.kept = report.get("images_read", 0), report.get("kept", 0)
        summary.dropped.update(report.get("dropped", {}))
        summary.more = report.get("only_first_picture", 0)
        return summary
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written ({error.strerror or error}). Choose a folder on a disk with room and the right to write; "
            "what is finished stays, and the same command goes on with it."
        ) from None


def _run(job: Job, out: Path, workers: int, runner, say, progress) -> Summary:
    with _Assembly(job, out) as assembly:
        return _assemble(job, assembly, out, workers, runner, say, progress)


def _assemble(job: Job, assembly: _Assembly, out: Path, workers: int, runner, say, progress) -> Summary:
    assembly.restore()
    total, summary = len(job.source), assembly.summary
    if assembly.chunk:
        say(f"going on with {out} at {summary.read:,} of {total:,} images")
    saved = time.monotonic()
    with Signals() as signals, contextlib.closing(runner(job, assembly.chunk, workers)) as results:
        progress(summary.read, total)
        try:
            for made in results:
                assembly.add(min(job.chunk, total - summary.read), made)
                progress(summary.read, total)
                if signals.received is not None:
                    break
                if time.monotonic() - saved > _SAVE_SECONDS:
                    assembly.save()
                    saved = time.monotonic()
        except Stopped:  # a lost source, a dead worker
            assembly.save()
            if signals.received is None:
                raise
        if signals.received is not None:
            assembly.save()
            raise Stopped(
                f"stopped by {signals.name} at {summary.read:,} of {total:,} images, everything is saved. The same command goes on.",
                signals.code,
            )
    _refuse_if_useless(job, assembly, out)
    assembly.close()
    shutil.rmtree(out / UNFINISHED, ignore_errors=True)
    return summary


def _refuse_if_useless(job: Job, assembly: _Assembly, out: Path) -> None:
    """Raises UserError, and leaves nothing but the report beside `out`, where nothing was kept or most of it is unusable."""
    kept, dropped = assembly.summary.kept, assembly.summary.dropped
    unusable = dropped.total() - dropped["duplicate"]
    if kept and (job.choosy or 2 * unusable <= dropped.total() + kept):
        return
    report = out.with_name(f"{out.name.lstrip('.')}.{REPORT}")
    assembly.write_report(report)
    assembly.lines.seek(0)
    first = json.loads(assembly.lines.readline() or "{}")
    clear(out)
    with contextlib.suppress(OSError):
        out.rmdir()  # unless it was there before as a mount
    share = f"{unusable} of {kept + dropped.total()} images cannot be used, more than half"
    raise UserError(
        f"{job.source.name}: {share if kept else f'none of {dropped.total()} images can be used'}. "
        + (f"The first: {first['name']}: {first['why']}. " if first else "")
        + ("Give --upscale-small or a smaller size. " if 2 * dropped["too small"] > unusable else "")
        + f"All of them: {report}"
    )
