"""A job: every image of a source through some work and into shards, on every core, whatever interrupts it.

The source is cut into chunks of consecutive images. A chunk's result follows from its images alone, and chunks are put
together in order: the shards are the same whatever the number of workers, and however often the job was stopped.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fcntl
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pggan_tf import checkpoint, pixels, shards
from pggan_tf.errors import DamagedFile, Stopped, UserError
from pggan_tf.stopping import Signals
from preprocessing import storage
from preprocessing.decode import Unreadable
from preprocessing.sources import Item, Source

UNFINISHED = ".unfinished"
REPORT, CONTACT_SHEET = "report.json", "contact.png"
TRAIN, VALIDATION = "train", "validation"
_SAVE_SECONDS = 5.0
_SHEET_IMAGES, _SHEET_PIXELS = 100, 128
# Bits of 256 in which perceptual hashes may differ: another size and JPEG at quality 70 change 0 to 14 of them, while the
# nearest two of 1,500 aligned faces differ in 40 and more.
_SAME_BITS = 12


@dataclass(frozen=True)
class Made:
    """What became of an image: a uint8 square [R, R, C], or the reason why there is none."""

    name: str
    image: np.ndarray | Unreadable
    label: int = 0
    hash: np.ndarray | None = None


@dataclass(frozen=True)
class Job:
    """work: a chunk of items -> what was made of them, any number for each. It can be sent to other processes.

    options: all that the result follows from besides the source, as the user would name it; a job that is taken up again
    must have the same. processes: whether the work is Python's own (MTCNN) rather than that of libraries that
    leave the interpreter to others (decoding, drawing). choosy: the work is meant to leave images out; otherwise a
    source of which more than half cannot be used is refused.
    """

    source: Source
    work: Callable[[list[Item]], list[Made]]
    resolutions: tuple[int, ...]
    options: dict
    channels: int = 3
    filter: str = ""
    shard_images: int | None = None
    compress: bool = False
    dedupe: bool = False
    split: float | None = None
    chunk: int = 64
    processes: bool = False
    choosy: bool = False

    @property
    def chunks(self) -> int:
        return -(-len(self.source) // self.chunk)

    def do(self, items: list[Item | None]) -> list[Made]:
        made = self.work([item for item in items if item is not None])
        return [_hashed(m) for m in made] if self.dedupe else made


@dataclass
class Summary:
    """What came of a job. dropped: kind of reason -> how many."""

    out: str
    read: int = 0
    kept: int = 0
    dropped: collections.Counter = field(default_factory=collections.Counter)
    manifests: list[shards.Manifest] = field(default_factory=list)

    def text(self) -> str:
        why = ", ".join(f"{count:,} {kind}" for kind, count in self.dropped.most_common())
        sizes = ", ".join(map(str, self.manifests[0].resolutions))
        return f"{self.read:,} images read, {self.kept:,} kept at {sizes} px" + (f", dropped: {why}" if why else "")


def _hashed(made: Made) -> Made:
    if isinstance(made.image, Unreadable):
        return made
    import imagehash
    from PIL import Image

    bits = imagehash.phash(Image.fromarray(made.image.squeeze()), hash_size=16).hash
    return Made(made.name, made.image, made.label, np.packbits(bits).view(np.uint64))


# Running chunks: each runner yields what was made of chunk `start`, then of the next, in order.


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone: a killed job leaves no orphans."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_job: Job | None = None  # of a worker process


def _begin(job: Job, parent: int) -> None:
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    _end_with(parent)


def _do(items: list[Item | None]) -> list[Made]:
    return _job.do(items)


def read_chunks(job: Job, start: int) -> Iterator[list[Item | None]]:
    items = job.source.items(start * job.chunk, len(job.source))
    while chunk := list(itertools.islice(items, job.chunk)):
        yield chunk


def run_local(job: Job, start: int, workers: int) -> Iterator[list[Made]]:
    """On this machine's cores: reading goes on here while they work."""
    if job.processes:
        # Spawned, not forked: TensorFlow's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        # Workers are handed their images: they need no source.
        initial = (dataclasses.replace(job, source=Source()), os.getpid())
        pool = ProcessPoolExecutor(workers, context, _begin, initial)
        submit = lambda chunk: pool.submit(_do, chunk)  # noqa: E731
    else:
        pool = ThreadPoolExecutor(workers)
        submit = lambda chunk: pool.submit(job.do, chunk)  # noqa: E731
    running: collections.deque[Future] = collections.deque()
    try:
        for chunk in read_chunks(job, start):
            running.append(submit(chunk))
            while len(running) > 2 * workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BrokenProcessPool:
        raise Stopped(
            "a worker process died, perhaps for want of memory. What was finished is kept: the same command goes on; try fewer --workers.",
            1,
        ) from None
    finally:
        for future in running:
            future.cancel()
        pool.shutdown(wait=not job.processes, cancel_futures=True)


# Putting chunks together.


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
        self.hashes = np.zeros((0, 4), np.uint64)
        self.folder = out / UNFINISHED
        self.lines = (self.folder / "dropped.jsonl").open("ab+")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()

    def add(self, items: int, made: list[Made]) -> None:
        for m in made:
            image = m.image
            if m.hash is not None and self._seen(m.hash):
                image = Unreadable("looks like an image before it", "duplicate")
            if isinstance(image, Unreadable):
                self.summary.dropped[image.kind] += 1
                self.lines.write(json.dumps({"name": m.name, "why": str(image)}, ensure_ascii=False).encode() + b"\n")
            else:
                self.writers[self._part()].add(image, m.label)
                self.summary.kept += 1
        self.chunk += 1
        self.summary.read += items

    def _part(self) -> str:
        """Every image by its number: spread over the whole source, the same for the same job, whatever came before."""
        if not self.job.split:
            return ""
        number = self.summary.kept
        return TRAIN if int((number + 1) * self.job.split) > int(number * self.job.split) else VALIDATION

    def _seen(self, hash: np.ndarray) -> bool:
        if len(self.hashes) and np.bitwise_count(self.hashes ^ hash).sum(axis=1).min() <= _SAME_BITS:
            return True
        self.hashes = np.concatenate([self.hashes, hash[None]])
        return False

    def save(self) -> None:
        self.lines.flush()
        arrays, finished = {"hashes": self.hashes}, {}
        for name, writer in self.writers.items():
            waiting, finished[name] = writer.state()
            arrays |= {f"{name}:{key}": array for key, array in waiting.items()}
        meta = {
            "chunk": self.chunk,
            "read": self.summary.read,
            "kept": self.summary.kept,
            "dropped": self.summary.dropped,
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
            self.hashes = arrays["hashes"]
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
            "images_read": self.summary.read,
            "kept": self.summary.kept,
            "dropped": dict(self.summary.dropped),
        }
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(json.dumps(head, indent=1)[:-2] + ',\n "dropped_images": [')
            for i, line in enumerate(self.lines):
                file.write(("," if i else "") + "\n  " + line.decode().rstrip())
            file.write("\n ]\n}\n")
        partial.replace(path)

    def close(self) -> Summary:
        skipped = sum(self.summary.dropped.values())
        self.summary.manifests = [writer.close(skipped) for writer in self.writers.values() if writer.images]
        self.write_report(self.out / REPORT)
        opened = shards.Shards(next(w.folder for w in self.writers.values() if w.images), verify=False)
        contact_sheet(opened, self.out / CONTACT_SHEET)
        return self.summary


def contact_sheet(opened: shards.Shards, path: Path) -> None:
    """A hundred images, spread over the dataset, as one picture."""
    resolution = max(
        (r for r in opened.manifest.resolutions if r <= _SHEET_PIXELS), default=opened.manifest.resolutions[0]
    )
    count = opened.count(resolution)
    which = np.unique(np.linspace(0, count - 1, min(count, _SHEET_IMAGES)).astype(int))
    pixels.grid(path, opened.read(resolution, which), size=32)


def _finished(out: Path) -> bool:
    return shards.is_shards(out) or shards.is_shards(out / TRAIN)


def _claim(job: Job, out: Path, resume: bool, overwrite: bool, wait: bool, say, stack) -> Job | None:
    """Makes the folder ours, with a lock on `stack`: the job as it was begun, or None where it is done already.

    Raises UserError for a folder with anything else in it.
    """
    unfinished = out / UNFINISHED
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: not a folder. Choose another place.")
    if overwrite and out.is_dir():
        if any(out.iterdir()) and not _finished(out) and not unfinished.is_dir():
            raise UserError(f"{out}: holds other files than shards. They are not overwritten: choose another folder.")
        if unfinished.is_dir():
            _locked(unfinished, False, say).close()  # nobody is at work there
        shutil.rmtree(out)
    elif _finished(out) and not unfinished.is_dir():
        if wait:
            return None
        theirs = (storage.manifest(str(out), REPORT) or {}).get("options")
        if resume and theirs == json.loads(json.dumps(job.options)):
            return None
        raise UserError(
            f"{out}: holds shards already"
            + (" that were made in another way" if resume else "")
            + ". Give --overwrite to replace them, or another folder."
        )
    elif out.is_dir() and any(out.iterdir()) and not unfinished.is_dir():
        raise UserError(f"{out}: exists and is not an empty folder. Choose another, or remove it.")
    unfinished.mkdir(parents=True, exist_ok=True)
    stack.enter_context(_locked(unfinished, wait, say))
    if wait and _finished(out):
        return None
    begun = unfinished / "job.json"
    mine = {
        "options": json.loads(json.dumps(job.options)),
        "source": job.source.fingerprint(),
        "listing": job.source.listing(),
    }
    theirs = storage.manifest(str(unfinished), "job.json")
    if theirs is None:
        partial = unfinished / ".job.partial"
        partial.write_text(json.dumps(mine))
        partial.replace(begun)
        return job
    if theirs["options"] != mine["options"]:
        different = [
            k for k in mine["options"] | theirs["options"] if mine["options"].get(k) != theirs["options"].get(k)
        ]
        name = different[0]
        raise UserError(
            f"{out}: holds unfinished work of another kind: {name} was {theirs['options'].get(name)}, now it is {mine['options'].get(name)}. "
            "Give --overwrite to begin again, or another folder."
        )
    if theirs["source"] != mine["source"]:
        if theirs["listing"] is None:
            raise UserError(
                f"{out}: holds unfinished work on {job.source.name} as it was before it changed. Give --overwrite to begin again."
            )
        say(f"{job.source.name} has changed since; going on with the {len(theirs['listing']):,} images that were there")
    if theirs["listing"] is not None:
        job = dataclasses.replace(job, source=job.source.relisted(theirs["listing"]))
    return job


def _locked(folder: Path, wait: bool, say):
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            file.close()
            raise UserError(
                f"{folder.parent}: another process is at work there. Wait for it, or choose another folder."
            ) from None
        say(f"waiting for another process that prepares {folder.parent}")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


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
            claimed = _claim(job, out, resume, overwrite, wait, say, stack)
            if claimed is not None:
                return _run(claimed, out, workers, runner, say, progress)
        summary = Summary(str(out), manifests=[shards.Shards(f, verify=False).manifest for f in parts(out)])
        report = storage.manifest(str(out), REPORT) or {}
        summary.read, summary.kept = report.get("images_read", 0), report.get("kept", 0)
        summary.dropped.update(report.get("dropped", {}))
        return summary
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written ({error.strerror or error}). Choose a folder on a disk with room and the right to write; "
            "what is finished stays, and the same command goes on with it."
        ) from None


def parts(out: Path) -> list[Path]:
    """The folders of shards in a finished `out`: itself, or those that it was split into."""
    return [f for f in (out, out / TRAIN, out / VALIDATION) if shards.is_shards(f)]


def _run(job: Job, out: Path, workers: int, runner, say, progress) -> Summary:
    with _Assembly(job, out) as assembly:
        return _assemble(job, assembly, out, workers, runner, say, progress)


def _assemble(job: Job, assembly: _Assembly, out: Path, workers: int, runner, say, progress) -> Summary:
    assembly.restore()
    total = len(job.source)
    if assembly.chunk:
        say(f"going on with {out} at {assembly.summary.read:,} of {total:,} images")
    saved = time.monotonic()
    with Signals() as signals, contextlib.closing(runner(job, assembly.chunk, workers)) as results:
        progress(assembly.summary.read, total)
        for made in results:
            assembly.add(min(job.chunk, total - assembly.summary.read), made)
            progress(assembly.summary.read, total)
            if signals.received is not None:
                assembly.save()
                raise Stopped(
                    f"stopped by {signals.name} at {assembly.summary.read:,} of {total:,} images, everything is saved. The same command goes on.",
                    signals.code,
                )
            if time.monotonic() - saved > _SAVE_SECONDS:
                assembly.save()
                saved = time.monotonic()
    summary = assembly.summary
    unusable = sum(summary.dropped.values())
    if not summary.kept or (not job.choosy and 2 * unusable > summary.kept + unusable):
        report = out.with_name(f"{out.name.lstrip('.')}.{REPORT}")
        assembly.write_report(report)
        assembly.lines.seek(0)
        first = json.loads(assembly.lines.readline() or "{}")
        shutil.rmtree(out)
        share = (
            f"none of {unusable} images can be used"
            if not summary.kept
            else f"{unusable} of {summary.kept + unusable} images cannot be used, more than half"
        )
        small = 2 * summary.dropped["too small"] > unusable
        raise UserError(
            f"{job.source.name}: {share}. "
            + (f"The first: {first['name']}: {first['why']}. " if first else "")
            + ("Give --upscale-small or a smaller size. " if small else "")
            + f"All of them: {report}"
        )
    summary = assembly.close()
    shutil.rmtree(out / UNFINISHED, ignore_errors=True)
    return summary
