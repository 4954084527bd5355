"""Assemble the results of a job's chunks into shards, and continue after interruptions.

A job processes all images of its source and writes the results as shards (see `job.Job`). The
source is divided into chunks of consecutive images. A runner is a function that processes the
chunks. The results of a chunk depend only on its images, and chunks are assembled in order.
Therefore the shards do not depend on the number of workers or on how often the job was stopped.

With --split, the images are divided into two parts, one for training (TRAIN) and one for validation
(VALIDATION). Each part is a dataset in a subfolder of its own. Without it, there is one part with
the name ''.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np

from pggan_tf.data import pipeline, pixels, shards, transparency
from pggan_tf.data.decode import Unreadable
from pggan_tf.errors import DamagedFile, Stopped, UserError
from pggan_tf.files import atomic_write
from pggan_tf.runs import checkpoint
from pggan_tf.signals import Signals
from preprocessing import duplicates, storage
from preprocessing.job import Job, Result, Summary
from preprocessing.local import run_local
from preprocessing.output import (
    CONTACT_SHEET,
    REPORT,
    TRAIN,
    UNFINISHED,
    VALIDATION,
    Existing,
    find_parts,
    give_up,
    list_fingerprints,
    reserve_folder,
)

# Takes (job, number of the first chunk to process, number of workers), and yields the list of the
# results of each chunk in order, from the first chunk on.
Runner = Callable[[Job, int, int], Generator[list[Result], None, None]]
Say = Callable[[str], None]  # shows a line to the user
Progress = Callable[[int, int], None]  # takes (number of images done, number of all images)

_SAVE_SECONDS = 5.0
_SHEET_IMAGES, _SHEET_PIXELS = 100, 128


class _Assembly:
    """Assembly of a job's results: the writers of its parts, its report and its counts.

    These can be saved after any chunk and restored in a later process, which then continues with
    the next chunk. Use it as a context manager, which closes the file of dropped images.

    Args:
        job: the job.
        out: folder for the shards. It contains a folder UNFINISHED already.
    """

    def __init__(self, job: Job, out: Path):
        self.job, self.out = job, out
        names = (TRAIN, VALIDATION) if job.output.split else ("",)
        self.writers = {
            name: shards.Writer(
                out / name,
                job.resolutions,
                job.channels,
                job.source.classes,
                job.source.name,
                job.filter,
                job.output.shard_images,
                job.output.compress,
                job.aspect,
            )
            for name in names
        }
        self.summary = Summary(str(out))
        self.chunk = 0  # number of chunks added
        self.duplicates = duplicates.Index()
        self.folder = out / UNFINISHED
        self.lines = (self.folder / "dropped.jsonl").open("ab+")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()

    def add(self, items: int, results: list[Result]) -> None:
        """Add the results of the next chunk: write its images to the shards and count them.

        Args:
            items: number of images in the chunk, before processing.
            results: the results of the chunk, in order.
        """
        part, last = "", None
        for result in results:
            image = result.image
            self.summary.more += result.more
            self.summary.clear += result.clear
            if result.hash is not None and self.duplicates.find_or_add(result.hash, result.colour):
                image = Unreadable("looks like an image before it", "duplicate")
            if isinstance(image, Unreadable):
                self.summary.drop_counts[image.kind] += 1
                self.lines.write(json.dumps({"name": result.title, "why": str(image)}).encode() + b"\n")
            else:
                if result.name != last:  # all results of one photo go to the same part
                    part, last = self._choose_part(), result.name
                self.writers[part].add(image, result.label)
                self.summary.images_kept += 1
        self.chunk += 1
        self.summary.images_read += items

    def _choose_part(self) -> str:
        """Return the name of the part that the next photo goes to.

        The name is TRAIN or VALIDATION with --split, and '' without it. It depends only on the
        counts of images, so both parts have images from the whole source and are always the same.
        """
        if not self.job.output.split:
            return ""
        enough = int((self.summary.images_kept + 1) * self.job.output.split)
        return TRAIN if self.writers[TRAIN].images < enough else VALIDATION

    def save(self) -> None:
        """Save the progress after the chunk that was added last, to the file state.npz."""
        self.lines.flush()
        arrays, finished = {"hashes": self.duplicates.hashes, "colours": self.duplicates.colours}, {}
        for name, writer in self.writers.items():
            waiting, finished[name] = writer.state()
            arrays |= {f"{name}:{key}": array for key, array in waiting.items()}
        meta = {
            "chunk": self.chunk,
            "read": self.summary.images_read,
            "kept": self.summary.images_kept,
            "dropped": self.summary.drop_counts,
            "more": self.summary.more,
            "clear": self.summary.clear,
            "lines": self.lines.tell(),
            "finished": finished,
        }
        checkpoint.write(self.folder / "state.npz", arrays, meta)

    def restore(self) -> None:
        """Continue from the progress that was saved last; begin anew if none can be read."""
        meta = {"lines": 0}
        with contextlib.suppress(DamagedFile):
            arrays, meta = checkpoint.read(self.folder / "state.npz")
            self.chunk = meta["chunk"]
            self.summary.images_read, self.summary.images_kept = meta["read"], meta["kept"]
            self.summary.drop_counts.update(meta["dropped"])
            # Earlier versions did not count these.
            self.summary.more, self.summary.clear = meta.get("more", 0), meta.get("clear", 0)
            self.duplicates = duplicates.Index(arrays["hashes"], arrays.get("colours"))
            for name, writer in self.writers.items():
                waiting = {k.partition(":")[2]: a for k, a in arrays.items() if k.startswith(f"{name}:")}
                writer.restore(waiting, meta["finished"][name])
        self.lines.truncate(meta["lines"])
        self.lines.seek(meta["lines"])

    def write_report(self, path: Path) -> None:
        """Write the report as JSON: options, counts, and the reason for each dropped image."""
        self.lines.seek(0)
        head = {
            "source": self.job.source.name,
            "options": self.job.options,
            "fingerprints": list_fingerprints(self.job.source),
            "images_read": self.summary.images_read,
            "kept": self.summary.images_kept,
            "dropped": dict(self.summary.drop_counts),
            "only_first_picture": self.summary.more,
            "transparent": self.summary.clear,
        }
        with atomic_write(path, only_writer=True) as partial, partial.open("w", encoding="utf-8") as file:
            file.write(json.dumps(head, indent=1)[:-2] + ',\n "dropped_images": [')
            for i, line in enumerate(self.lines):
                file.write(("," if i else "") + "\n  " + line.decode().rstrip())
            file.write("\n ]\n}\n")

    def close(self) -> None:
        """Write the remaining shards, the manifests, the report and the contact sheet."""
        skipped = sum(self.summary.drop_counts.values())
        self.summary.manifests = [writer.close(skipped) for writer in self.writers.values() if writer.images]
        self.write_report(self.out / REPORT)
        opened = shards.Shards(next(w.folder for w in self.writers.values() if w.images), verify=False)
        write_contact_sheet(opened, self.out / CONTACT_SHEET)


def write_contact_sheet(opened: shards.Shards, path: Path) -> None:
    """Save a picture that shows up to 100 images, evenly spaced over a dataset.

    Args:
        opened: the dataset.
        path: path of the picture.
    """
    resolution = max(
        (r for r in opened.manifest.resolutions if r <= _SHEET_PIXELS), default=opened.manifest.resolutions[0]
    )
    count = opened.count(resolution)
    indices = np.unique(np.linspace(0, count - 1, min(count, _SHEET_IMAGES)).astype(int))
    pixels.save_grid(path, transparency.unpremultiply(opened.read(resolution, indices)), size=32)


def build(
    job: Job,
    out: str | Path,
    *,
    workers: int | None = None,
    runner: Runner = run_local,
    existing: Existing | None = None,
    say: Say = lambda line: None,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Do a job and write its shards into the folder `out`, or continue unfinished work there.

    The manifest is written last.

    Args:
        job: the job.
        out: folder for the shards.
        workers: number of processes or threads; by default, one per core.
        runner: function that processes the chunks, see `Runner`.
        existing: what to do if the folder already holds finished shards; by default, UserError is
            raised.
        say: called with each line for the user.
        progress: called with the number of images that are done, and the number of all images.

    Returns:
        Summary with the counts of the images that were read, kept and dropped. If finished shards
        are kept, it is read from their report.

    Raises:
        UserError: if the job cannot be done.
        Stopped: if the job was interrupted; the same call continues it.
    """
    out = Path(out).absolute()
    workers = workers or pipeline.count_cores()
    try:
        with contextlib.ExitStack() as stack:
            reserved = reserve_folder(job, out, existing or Existing(), say, stack)
            if reserved is not None:
                with _Assembly(reserved, out) as assembly:
                    return _assemble(assembly, lambda chunk: runner(reserved, chunk, workers), say, progress)
        return _read_summary(out)
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written ({error.strerror or error}). Choose a folder on a disk with room and the right to write; "
            "what is finished stays, and the same command goes on with it."
        ) from None


def _read_summary(out: Path) -> Summary:
    """Return the summary of a finished job from its manifests and its report in `out`."""
    summary = Summary(str(out), manifests=[shards.Shards(f, verify=False).manifest for f in find_parts(out)])
    report = storage.read_manifest(str(out), REPORT) or {}
    summary.images_read, summary.images_kept = report.get("images_read", 0), report.get("kept", 0)
    summary.drop_counts.update(report.get("dropped", {}))
    summary.more, summary.clear = report.get("only_first_picture", 0), report.get("transparent", 0)
    return summary


def _assemble(
    assembly: _Assembly, run_from: Callable[[int], Generator[list[Result], None, None]], say: Say, progress: Progress
) -> Summary:
    """Process and add all chunks that are not yet added, write the rest, and return the summary.

    Args:
        assembly: the assembly, which is first restored.
        run_from: function that takes the number of a chunk and yields the list of results of this
            chunk and of each later one.
        say: called with each line for the user.
        progress: called with the number of images that are done, and the number of all images.

    Raises:
        Stopped: if the job was interrupted; everything is saved.
        UserError: if no image was kept or most are unusable, see `_refuse_if_useless`.
    """
    assembly.restore()
    job, out, summary = assembly.job, assembly.out, assembly.summary
    total = len(job.source)
    if assembly.chunk:
        say(f"going on with {out} at {summary.images_read:,} of {total:,} images")
    saved = time.monotonic()
    with Signals() as signals, contextlib.closing(run_from(assembly.chunk)) as chunks:
        progress(summary.images_read, total)
        try:
            for results in chunks:
                assembly.add(min(job.chunk, total - summary.images_read), results)
                progress(summary.images_read, total)
                if signals.received is not None:
                    break
                if time.monotonic() - saved > _SAVE_SECONDS:
                    assembly.save()
                    saved = time.monotonic()
        except Stopped:  # the source is unreachable, or a worker process died
            assembly.save()
            if signals.received is None:
                raise
        if signals.received is not None:
            assembly.save()
            raise Stopped(
                f"stopped by {signals.name} at {summary.images_read:,} of {total:,} images, everything is saved. The same command goes on.",
                signals.code,
            )
    _refuse_if_useless(job, assembly, out)
    assembly.close()
    shutil.rmtree(out / UNFINISHED, ignore_errors=True)
    return summary


def _refuse_if_useless(job: Job, assembly: _Assembly, out: Path) -> None:
    """Raise UserError if no image was kept, none is left to train, or more than half are unusable.

    Duplicates do not count as unusable, and the second condition does not apply to jobs that may
    drop most images (`Job.choosy`). Before the error is raised, everything that the job has written
    to `out` is removed, and shards that it was to replace come back. The report of unusable images is written beside `out`.
    """
    kept, dropped = assembly.summary.images_kept, assembly.summary.drop_counts
    if kept and job.output.split and not assembly.writers[TRAIN].images:
        give_up(out)
        raise UserError(
            f"--split {job.output.split:g}: of {kept} images none would be left to train. Give more images, or a larger share."
        )
    unusable = dropped.total() - dropped["duplicate"]
    if kept and (job.choosy or 2 * unusable <= dropped.total() + kept):
        return
    report = out.with_name(f"{out.name.lstrip('.')}.{REPORT}")
    assembly.write_report(report)
    assembly.lines.seek(0)
    first = json.loads(assembly.lines.readline() or "{}")
    give_up(out)
    share = f"{unusable} of {kept + dropped.total()} images cannot be used, more than half"
    raise UserError(
        f"{job.source.name}: {share if kept else f'none of {dropped.total()} images can be used'}. "
        + (f"The first: {first['name']}: {first['why']}. " if first else "")
        + ("Give --upscale-small or a smaller size. " if 2 * dropped["too small"] > unusable else "")
        + f"All of them: {report}"
    )
