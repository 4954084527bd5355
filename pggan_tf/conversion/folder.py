"""Work through many files: the next is read and the last is written while one is computed.

Reading and writing, which decode and encode pictures, have a thread each. Networks are only called
by the thread that calls `work_through`. Three files at most are held in memory.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import click

from pggan_tf import terminal
from pggan_tf.terminal import format_duration

# Seconds before the first line that says how long it takes, and the most between two of them.
_FIRST_LINE, _LONGEST_PAUSE = 30.0, 600.0

Say = Callable[[str], None]  # takes a message for people


class Steps(Protocol):
    """The three steps of a file. Messages go to `say`, so that they keep the order of the files."""

    def read(self, file: Path, say: Say) -> Any:
        """Return what is read of a file."""

    def is_large(self, read: Any) -> bool:
        """Tell whether it shall have the memory to itself: nothing is read or written meanwhile."""

    def compute(self, file: Path, read: Any, say: Say) -> Any:
        """Return what is to be written."""

    def write(self, file: Path, read: Any, computed: Any, say: Say) -> None:
        """Write it, completely or not at all."""


@dataclass
class _Job:
    """A file on its way through the steps."""

    file: Path
    future: Future  # of the step that another thread does
    lines: list[str]  # messages to print when it is done


class Pace:
    """Says how many files are done and how long the others will take, where no bar shows it.

    A line comes after half a minute, and then in intervals that double up to ten minutes.

    Args:
        total: number of files.
        what: what they are.
        clock: returns seconds.
    """

    def __init__(self, total: int, what: str, clock: Callable[[], float] = time.monotonic):
        self.total, self.what, self.clock = total, what, clock
        self.started, self.pause = clock(), _FIRST_LINE
        self.next = self.started + self.pause

    def describe(self, done: int) -> str | None:
        """Return the line for `done` files, or None if it is not time for one."""
        now = self.clock()
        if not 0 < done < self.total or now < self.next:
            return None
        self.pause = min(2 * self.pause, _LONGEST_PAUSE)
        self.next = now + self.pause
        left = (now - self.started) / done * (self.total - done)
        return f"{done:,} of {self.total:,} {self.what}; about {format_duration(left)} left"


@dataclass
class _Work:
    """The work on all files: its arguments (see `work_through`) and what is under way."""

    files: Sequence[Path]
    steps: Steps
    explain: Callable[[Path, Exception], str | None]
    reader: ThreadPoolExecutor
    writer: ThreadPoolExecutor
    progress: Callable[[int, int], None]  # takes (files done, files in all)
    ahead: _Job | None = None  # the next file, which is being read
    behind: _Job | None = None  # the last file, which is being written
    done: int = 0
    failed: list[Path] = field(default_factory=list)
    fatal: BaseException | None = None  # what ends the work

    def run(self) -> None:
        """Do all steps of all files."""
        self.progress(0, len(self.files))
        for number in range(len(self.files)):
            job, self.ahead = self.ahead or self._start_reading(number), None
            try:
                self._advance(job, number)
            except Exception as error:
                if error is self.fatal:  # of an earlier file, which has been told
                    raise
                self._finish_writing()
                self._finish(job, error)
        self._finish_writing()

    def _start_reading(self, number: int) -> _Job:
        """Return the job of a file, which is read from now on."""
        file = self.files[number]
        lines: list[str] = []
        return _Job(file, self.reader.submit(self.steps.read, file, lines.append), lines)

    def _advance(self, job: _Job, number: int) -> None:
        """Compute a file that is being read, and start to write it."""
        read = job.future.result()
        large = self.steps.is_large(read)
        if large:
            self._finish_writing()
        elif number + 1 < len(self.files):
            self.ahead = self._start_reading(number + 1)
        computed = self.steps.compute(job.file, read, job.lines.append)
        self._finish_writing()
        job.future = self.writer.submit(self.steps.write, job.file, read, computed, job.lines.append)
        self.behind = job
        if large:
            self._finish_writing()

    def _finish_writing(self) -> None:
        """Wait until the last file is written, and say what there is to say of it."""
        if self.behind:
            error = self.behind.future.exception()
            job, self.behind = self.behind, None
            self._finish(job, error)

    def _finish(self, job: _Job, error: BaseException | None) -> None:
        """Print the messages of a file, which is done. error: why it failed."""
        for line in job.lines:
            click.echo(line, err=True)
        if error:
            message = self.explain(job.file, error) if isinstance(error, Exception) else None
            if message is None:
                self.fatal = error
                raise error
            self.failed.append(job.file)
            click.echo(message, err=True)
        self.done += 1
        self.progress(self.done, len(self.files))


def work_through(
    files: Sequence[Path], steps: Steps, explain: Callable[[Path, Exception], str | None], what: str = "photos"
) -> list[Path]:
    """Read, compute and write files, and return those that failed.

    Results and messages have the order of `files`. If the work is stopped, such as by Ctrl-C, the
    file that is being written is completed first.

    Args:
        files: the files.
        steps: what is done with each of them.
        explain: returns the message for a file and the exception that its steps raised, or None if
            this exception shall end the work.
        what: what the files are, for messages.
    """
    pace = Pace(len(files), what)
    with (
        terminal.show_progress(what) as show,
        ThreadPoolExecutor(1, "read") as reader,
        ThreadPoolExecutor(1, "write") as writer,
    ):

        def progress(done: int, total: int) -> None:
            show(done, total)
            if not sys.stderr.isatty() and (line := pace.describe(done)):
                click.echo(line, err=True)

        work = _Work(files, steps, explain, reader, writer, progress)
        work.run()
    return work.failed
