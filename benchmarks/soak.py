"""Train for an hour under all kinds of failures, and compare with the same run left undisturbed.

python -m benchmarks.soak --minutes 60

A run at 16 and 32 px is trained twice. One run is undisturbed. The other is killed, stopped, given
a full disk and a jumping clock, in a random order that a seed determines. At the end, both must be
equal to the last bit, memory and open files must not have grown, and no process may be left over.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.soak:main"))

import contextlib
import dataclasses
import errno
import glob
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from benchmarks import measure, page
from benchmarks.soak_child import ROOT, Child, Clock

QUIET_SHARE = 0.8  # share of the minutes that the undisturbed run is planned for; restarts take the rest
CHECKPOINT_MINUTES = 0.1
PATIENCE = 600.0  # seconds until a session has to have written a checkpoint
EVENTS = ("SIGKILL", "SIGTERM", "SIGKILL at the start", "disk", "clock")
MEMORY_MB, HANDLES = 40.0, 2  # accepted growth of memory and open files
LIBFAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[str | None]:
    """Mount a small disk at `folder`.

    Yield None, or the reason if mounting fails.
    """
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    try:
        yield done.stderr.strip() or "mount failed" if done.returncode else None
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write to a file until the disk is full."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def newest(run: Path | None) -> str:
    from pggan_tf.runs import checkpoint

    return max((p.name for p in checkpoint.list_checkpoints(run)), default="") if run else ""


def only_run(runs: Path) -> Path | None:
    return next(iter(runs.glob("0*")), None)


def differences(a: Path, b: Path) -> list[str]:
    """Return the names of what differs between two finished runs, compared to the last bit.

    Weights, optimisers, grids and the lines of stats.jsonl are compared, except for timings.
    """
    from pggan_tf.runs import checkpoint

    found = []
    (ours, meta), (theirs, their_meta) = checkpoint.read_newest(a), checkpoint.read_newest(b)
    if ours.keys() != theirs.keys() or meta["images_seen"] != their_meta["images_seen"]:
        found.append("the last checkpoint's contents")
    found += [name for name in ours if name in theirs and ours[name].tobytes() != theirs[name].tobytes()]
    grids = [{p.name: p.read_bytes() for p in run.glob("*.png")} for run in (a, b)]
    found += [f"{name}" for name in grids[0].keys() | grids[1].keys() if grids[0].get(name) != grids[1].get(name)]
    ticks = [[json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()] for run in (a, b)]
    timing = ("seconds", "images_per_second")
    ticks = [[{k: v for k, v in line.items() if k not in timing} for line in lines] for lines in ticks]
    if unlike := [pair for pair in itertools.zip_longest(*ticks) if pair[0] != pair[1]]:
        found.append(f"{len(unlike)} lines of stats.jsonl, the first {unlike[0][0]} there and {unlike[0][1]} here")
    return found


def steady(run: Path | None) -> bool:
    """Return whether a run is within its last phase, in which nothing new is built."""
    from pggan_tf.config import load

    with contextlib.suppress(OSError, IndexError, ValueError, TypeError):
        end = load(run / "config.json").phases[-1]
        line = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])
        return end.start < line["images"] < end.end
    return False


def grown(samples: list[tuple[float, int]]) -> tuple[float, float]:
    """Return the growth of (memory in MB, number of open files).

    It is the median of the last third of the samples minus that of the middle third, or 0 if there
    are fewer than three samples.
    """
    third = len(samples) // 3
    if not third:
        return 0.0, 0.0
    early, late = samples[third : 2 * third], samples[-third:]
    return tuple(statistics.median(s[i] for s in late) - statistics.median(s[i] for s in early) for i in (0, 1))


# event -> exit codes that it may cause
KILLED = dict.fromkeys(("SIGKILL", "SIGKILL at the start", "clock"), (-9,))
EXPECTED = KILLED | {"SIGTERM": (143, -15), "disk": (1, 75)}


def _undisturbed(network: list, minutes: float, clock: Clock, folder: Path) -> tuple[Child, int]:
    """Train the undisturbed run; return its process and the processes that it left behind."""
    # Prepare the data without libfaketime: with it, Python threads that wait for each other keep the
    # processor busy.
    drawn = subprocess.run(
        [sys.executable, "train.py", *map(str, network), "--dry-run", "--probe"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert drawn.returncode == 0, drawn.stderr
    quiet = Child(
        [*network, "--stage-growth", 6, "--fade-share", 0.2]
        + ["--minutes", f"{QUIET_SHARE * minutes:.2f}", "--runs", folder / "quiet"],
        clock,
        lambda: steady(only_run(folder / "quiet")),
    )
    try:
        code = quiet.wait()
        assert code == 0, quiet.said()
        return quiet, quiet.orphans()
    finally:
        quiet.end()


@dataclasses.dataclass
class Disturbed:
    """The same run, trained in sessions that are disturbed by events in a random order."""

    reference: Path  # the undisturbed run
    disk: Path  # folder of its runs, on a small disk
    clock: Clock
    kinds: list[str]  # kinds of events
    minutes: float
    rng: random.Random
    say: Callable
    events: Counter = dataclasses.field(default_factory=Counter)
    sessions: list[Child] = dataclasses.field(default_factory=list)
    orphans: list[int] = dataclasses.field(default_factory=list)
    turn: list[str] = dataclasses.field(default_factory=list)

    def run(self) -> float:
        """Disturb the run for `minutes`, then let it finish.

        Return the minutes that it took in all.
        """
        begun, run = time.monotonic(), None
        while True:
            run = run or only_run(self.disk)
            begin = ["--config", self.reference / "config.json", "--runs", self.disk]
            arguments = ["--resume", run] if newest(run) else begin
            child = Child(["--checkpoint-minutes", CHECKPOINT_MINUTES, *arguments], self.clock)
            self.sessions.append(child)
            try:
                code = self._session(child, begun)
            finally:
                child.end()
            if code == 0:
                return (time.monotonic() - begun) / 60

    def _session(self, child: Child, begun: float) -> int:
        self.turn = self.turn or self.rng.sample(self.kinds, len(self.kinds))
        event = self.turn.pop() if time.monotonic() - begun < 60 * self.minutes else "none"
        code = disturb(child, event, self.clock, self.disk, self.rng, 60 * self.minutes / 12)
        self.say(f"{(time.monotonic() - begun) / 60:5.1f} min  {event}: exit {code} at {newest(only_run(self.disk))}")
        self.events[event] += event != "none"
        assert code == 0 or code in EXPECTED.get(event, ()), f"{event}: exit {code}\n{child.said()}"
        assert event != "disk" or code == 0 or "no space left" in child.said().lower(), child.said()
        self.orphans += child.orphans()
        return code


def soak(minutes: float, seed: int, folder: Path, library: str | None, say=print) -> dict:
    """Run the whole test, and return the results.

    Raise AssertionError if a session behaves otherwise than expected.

    Args:
        minutes: how long the disturbed run is disturbed.
        seed: seed of the run and of the events.
        folder: a folder for the runs, the clock and the cache.
        library: path of libfaketime; None: Python's own clock is patched.
        say: called with messages about the progress.
    """
    (folder / "clock").write_text("+0\n")
    clock = Clock(folder / "clock", library)
    os.environ.setdefault("PGGAN_CACHE", str(folder / "cache"))
    network = ["--resolutions", "16,32", "--portraits", 2000, "--grid", 16, "--no-report", "--seed", seed]
    quiet, orphans = _undisturbed(network, minutes, clock, folder)
    reference = only_run(folder / "quiet")
    memory, handles = grown(quiet.samples)
    say(
        f"undisturbed: {newest(reference)}, {memory:+.1f} MB and {handles:+.0f} open files in the last third of its last phase"
    )
    sizes = [p.stat().st_size for p in reference.rglob("*") if p.is_file()]
    disk_mb = (sum(sizes) + 2 * max(sizes)) // 2**20 + 8
    with small_disk(folder / "disk", disk_mb) as why:
        kinds = [e for e in EVENTS if e != "disk" or why is None]
        say(f"disk of {disk_mb} MB" if why is None else f"no disk that fills: {why}")
        say(f"clock: {clock.kind}")
        disturbed = Disturbed(reference, folder / "disk", clock, kinds, minutes, random.Random(seed), say)
        took = disturbed.run()
        different = differences(reference, only_run(folder / "disk"))
    peaks = [max((s[0] for s in child.samples), default=0.0) for child in (quiet, *disturbed.sessions)]
    return {
        "minutes": took,
        "events": dict(disturbed.events),
        "sessions": len(disturbed.sessions),
        "different": different,
        "memory_grown_mb": memory,
        "handles_grown": handles,
        "peak_mb": [peaks[0], max(peaks[1:])],
        "orphans": orphans + disturbed.orphans,
        "clock": clock.kind,
        "no_disk": why,
    }


def disturb(child: Child, event: str, clock: Clock, disk: Path, rng: random.Random, pause: float) -> int:
    """Let a session train for a while, disturb it with `event`, and return its exit code.

    Args:
        child: the session.
        event: one of EVENTS, or "none".
        clock: the clock of the session.
        disk: folder of the disturbed run.
        rng: source of the random times.
        pause: average seconds from a checkpoint to the event.
    """
    if event == "SIGKILL at the start":
        if child.wait(rng.uniform(0, 15)) is None:
            child.process.kill()
        return child.wait()
    before, deadline = newest(only_run(disk)), time.monotonic() + PATIENCE
    while child.alive() and newest(only_run(disk)) <= before:
        assert time.monotonic() < deadline, f"no checkpoint within {PATIENCE:g} s\n{child.said()}"
    if event == "none" or child.wait(rng.uniform(0, 2 * pause)) is not None:
        return child.wait()
    if event == "disk":
        balloon = disk / "balloon"
        fill(balloon)
        child.wait(120)
        balloon.unlink()
        return child.wait()
    if event == "clock":  # kill the process at another time of its clock than it started at
        for _ in range(4):
            clock.jump(rng.uniform(-1, 1) * 3e7)
            child.wait(rng.uniform(1, 8))
        if child.process.poll() is None:
            child.process.kill()
        return child.wait()
    child.process.send_signal(signal.Signals[event])
    return child.wait()


def verdict(result: dict) -> list[str]:
    """Return a list of what is wrong with a result of `soak`; empty if nothing is."""
    wrong = []
    if result["different"]:
        wrong.append(f"the disturbed run differs: {', '.join(result['different'][:5])}")
    if result["memory_grown_mb"] > MEMORY_MB or result["handles_grown"] > HANDLES:
        wrong.append(f"grew by {result['memory_grown_mb']:.0f} MB and {result['handles_grown']:.0f} open files")
    if result["orphans"]:
        wrong.append(f"processes left over: {result['orphans']}")
    return wrong


@click.command()
@click.option(
    "--minutes",
    default=60.0,
    show_default=True,
    type=page.POSITIVE,
    help="minutes for which the disturbed run is disturbed",
)
@click.option("--seed", default=0, show_default=True, help="seed of the run and of the events")
@click.option("--libfaketime", help="path of libfaketime, if it is not where Debian installs it")
@page.out_option
def main(minutes: float, seed: int, libfaketime: str | None, out: Path | None) -> None:
    measure.announce(60 * minutes * 2.1 + 120)
    question = "Does a run that is killed, stopped, out of disk and out of time come to the same as one left in peace?"
    written = page.Page(out, "Failures", question)
    library = libfaketime or next(iter(glob.glob(LIBFAKETIME)), None)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        result = soak(minutes, seed, folder, library, say=lambda line: click.echo(line))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    written.table(("result", "value"), ((name, json.dumps(value)) for name, value in result.items()))
    wrong = verdict(result) or ["the same to the last bit; memory and open files flat; no process left over"]
    written.notes(*wrong, *([f"not tried: a disk that fills ({result['no_disk']})"] if result["no_disk"] else []))
    sys.exit(bool(verdict(result)))
