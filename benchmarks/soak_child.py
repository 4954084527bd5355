"""The processes of benchmarks.soak: training sessions, whose clock may jump and whose memory is sampled."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Used without libfaketime: patches time.time, so that it jumps by the seconds written in a file.
PATCHED_CLOCK = """
import sys, time, pathlib
real, file = time.time, pathlib.Path(sys.argv.pop(1))
time.time = lambda: real() + float(file.read_text() or 0)
from pggan_tf.commands import cli
sys.exit(cli.main(["train", *sys.argv[1:]]))
"""


@dataclasses.dataclass
class Clock:
    """A clock for a child process, which jumps when `jump` is called."""

    file: Path
    preloaded: str | None  # path of libfaketime; None: not installed

    @property
    def kind(self) -> str:
        return (
            f"libfaketime, {self.preloaded}"
            if self.preloaded
            else "time.time patched in the child; libfaketime is not installed"
        )

    def jump(self, seconds: float) -> None:
        partial = self.file.with_suffix(".partial")
        partial.write_text(f"{seconds:+.0f}\n")
        partial.replace(self.file)

    def command(self, arguments: list[str]) -> tuple[list[str], dict[str, str]]:
        if self.preloaded is None:
            return [sys.executable, "-c", PATCHED_CLOCK, str(self.file), *arguments], {}
        # Timers are not faked, because setting a real clock does not change them either.
        environment = {
            "LD_PRELOAD": self.preloaded,
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return [sys.executable, "train.py", *arguments], environment


class Child:
    """A training process whose memory and open files are recorded.

    It runs in a session of its own, so that all processes that it starts can be found.
    """

    def __init__(self, arguments: list, clock: Clock, steady: Callable[[], bool] = lambda: True):
        import psutil

        command, environment = clock.command([str(a) for a in arguments])
        self.output = clock.file.with_name("output")
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.watched = psutil.Process(self.process.pid)
        self.steady = steady
        self.samples: list[tuple[float, int]] = []  # MB, open files; one a second while `steady`
        self._next = 0.0

    def alive(self) -> bool:
        import psutil

        if self.process.poll() is not None:
            return False
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1
            with contextlib.suppress(psutil.Error):
                if self.steady():
                    self.samples.append((self.watched.memory_info().rss / 2**20, self.watched.num_fds()))
        time.sleep(0.05)
        return True

    def wait(self, seconds: float = 1e9) -> int | None:
        end = time.monotonic() + seconds
        while self.alive() and time.monotonic() < end:
            pass
        return self.process.poll()

    def said(self) -> str:
        return self.output.read_text()[-3000:]

    def orphans(self) -> list[int]:
        """Return the processes of its session that still exist after it has ended."""
        end = time.monotonic() + 3
        while (left := _session(self.process.pid)) and time.monotonic() < end:
            time.sleep(0.1)
        return left

    def end(self) -> None:
        for pid in [self.process.pid, *_session(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def _session(leader: int) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if int(name) != leader and os.getsid(int(name)) == leader:
                found.append(int(name))
    return found
