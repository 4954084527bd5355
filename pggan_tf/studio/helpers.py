"""Use helpers: processes that have imported TensorFlow, and end when they are not used."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable

from pggan_tf.studio import launch
from pggan_tf.studio.refusal import Refusal
from pggan_tf.studio.store import Store

IDLE = 60.0  # seconds without a request after which a helper ends, and gives its memory back
WAITING = 48  # requests that wait; any further one is refused
_STOP_SECONDS = 5.0


class Helper:
    """One helper, which answers one request at a time. It is started when it is needed.

    Args:
        store: the store.
        idle: seconds without a request after which the process ends.
    """

    def __init__(self, store: Store, idle: float = IDLE):
        self.store, self.idle = store, idle
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
            Refusal: if the helper refuses, has died, or too many requests wait.
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
        try:
            process.stdin.write(json.dumps({"id": self._number, "verb": verb, "args": args}).encode() + b"\n")
            process.stdin.flush()
            for line in process.stdout:
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
        self._reap(process)
        raise Refusal(
            409, "the process that makes pictures has ended, perhaps for want of memory. Try again, with less."
        )

    def _start(self) -> subprocess.Popen:
        if self._closed:
            raise Refusal(409, "the studio is being closed. Open it again.")
        if self._process is None or self._process.poll() is not None:
            if self._process:
                self._reap(self._process)
            self._process = launch.start_helper(self.store)
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
            process.kill()
            process.wait()

    def end_if_idle(self) -> None:
        """End the process if it was not used for a while."""
        if self._process and time.monotonic() - self._used_at > self.idle and self._turn.acquire(blocking=False):
            try:
                if self._process and time.monotonic() - self._used_at > self.idle:
                    self._reap(self._process)
                    self._process = None
            finally:
                self._turn.release()

    def stop(self) -> None:
        """Kill the process, whatever it does; the next request starts another."""
        if (process := self._process) and process.poll() is None:
            process.kill()

    def close(self) -> None:
        """Kill the process for good."""
        self._closed = True
        self.stop()
        if self._turn.acquire(timeout=_STOP_SECONDS):
            if self._process:
                self._reap(self._process)
                self._process = None
            self._turn.release()
