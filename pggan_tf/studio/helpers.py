"""Use helpers: processes that have imported TensorFlow, and end when they are not used."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from pggan_tf.studio import launch, machine
from pggan_tf.studio.refusal import Refusal
from pggan_tf.studio.store import Store

IDLE = 60.0  # seconds without a request after which a helper ends, and gives its memory back
WAITING = 48  # requests that wait; any further one is refused
_STOP_SECONDS = 5.0
ANSWER_SECONDS, JOB_SECONDS = 600.0, 3600.0  # without a word, after which an answer or a job is given up


class Helper:
    """One helper, which answers one request at a time. It is started when it is needed.

    Args:
        store: the store.
        idle: seconds without a request after which the process ends.
        limit: seconds without a word of the process, after which a request is given up.
        spares_gpu: function that tells whether GPUs are to be left alone now, as something is trained.
    """

    def __init__(
        self,
        store: Store,
        idle: float = IDLE,
        limit: float = ANSWER_SECONDS,
        spares_gpu: Callable[[], bool] = lambda: False,
    ):
        self.store, self.idle, self.limit, self._spares_gpu = store, idle, limit, spares_gpu
        self._has_gpu = False
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._process: subprocess.Popen | None = None
        self._waiting, self._number, self._used_at, self._closed = 0, 0, 0.0, False

    @property
    def pid(self) -> int | None:
        """Process id, or None if none runs."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def call(self, verb: str, args: dict, progress: Callable[[int, int, str], None] = lambda *_: None):
        """Return the answer of the helper, from any thread.

        Args:
            verb: one of `helper.VERBS`.
            args: its arguments.
            progress: called with (done, total, text).

        Raises:
            Refusal: if the helper refuses, has died or says nothing for too long, or too many
                requests wait.
        """
        with self._lock:
            if self._waiting >= WAITING:
                raise Refusal(429, f"{self._waiting} requests wait already. Try again in a moment.")
            self._waiting += 1
        try:
            with self._turn:
                try:
                    return self._ask(verb, args, progress)
                finally:
                    self._used_at = time.monotonic()
        finally:
            with self._lock:
                self._waiting -= 1

    def _ask(self, verb: str, args: dict, progress):
        process = self._start()
        self._number += 1
        assert process.stdin and process.stdout
        heard, ended, late = [time.monotonic()], threading.Event(), threading.Event()
        threading.Thread(target=self._watch, args=(process, heard, ended, late), daemon=True).start()
        try:
            process.stdin.write(json.dumps({"id": self._number, "verb": verb, "args": args}).encode() + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                heard[0] = time.monotonic()
                said = json.loads(line)
                if said.get("id") != self._number:
                    continue
                if "progress" in said:
                    progress(*said["progress"])
                elif "error" in said:
                    raise Refusal(said["status"], said["error"])
                else:
                    return said["result"]
        except (BrokenPipeError, ValueError):
            pass
        finally:
            ended.set()
        self._reap(process)
        if late.is_set():
            raise Refusal(
                409,
                f"the process that makes pictures said nothing for {_name_time(self.limit)}, and was ended. "
                "Try again, with less; the next request starts a new one.",
            )
        raise Refusal(
            409, "the process that makes pictures has ended, perhaps for want of memory. Try again, with less."
        )

    def _watch(self, process: subprocess.Popen, heard: list[float], ended: threading.Event, late: threading.Event):
        """Kill a process that says nothing for too long.

        Args:
            process: the process.
            heard: [the time at which it has said something].
            ended: is set when it has answered.
            late: is set here if it was killed.
        """
        while not ended.wait(max(0.0, heard[0] + self.limit - time.monotonic())):
            if time.monotonic() - heard[0] >= self.limit:
                late.set()
                _kill(process)
                return

    def _start(self) -> subprocess.Popen:
        if self._closed:
            raise Refusal(409, "the studio is being closed. Open it again.")
        spared = self._spares_gpu()
        if self._process and (self._process.poll() is not None or (spared and self._has_gpu)):
            self._reap(self._process)
            self._process = None
        if self._process is None:
            self._process = launch.start_helper(self.store, not spared)
            self._has_gpu = not spared and bool(machine.describe()["gpus"])
        return self._process

    @staticmethod
    def _reap(process: subprocess.Popen) -> None:
        """End a process and release its pipes."""
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe:
                    pipe.close()
            except OSError:
                pass
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.wait()

    def end_if_idle(self) -> None:
        """End the process if it was not used for a while, or has a GPU that training needs now."""
        if self._is_to_end() and self._turn.acquire(blocking=False):
            try:
                if self._process and self._is_to_end():
                    self._reap(self._process)
                    self._process = None
            finally:
                self._turn.release()

    def _is_to_end(self) -> bool:
        if self._process is None:
            return False
        return time.monotonic() - self._used_at > self.idle or (self._has_gpu and self._spares_gpu())

    def stop(self) -> None:
        """Kill the process, whatever it does; the next request starts another."""
        if (process := self._process) and process.poll() is None:
            _kill(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)  # so that the next request does not find it still there

    def close(self) -> None:
        """Kill the process for good."""
        self._closed = True
        self.stop()
        if self._turn.acquire(timeout=_STOP_SECONDS):
            if self._process:
                self._reap(self._process)
                self._process = None
            self._turn.release()


def _kill(process: subprocess.Popen) -> None:
    """Kill a helper and the programs that it has started."""
    with contextlib.suppress(OSError, AttributeError):  # there are no groups on Windows
        os.killpg(process.pid, signal.SIGKILL)  # it leads a group of its own
    process.kill()


def _name_time(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds:g} seconds"
