"""The queue: what is to be trained, one after the other, and the process that does it.

An entry is a file in the folder `queue`, whose name begins with its place. It holds the commands
of `pggan` that do the same as the page: nothing is trained in another way than from a terminal.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pggan_tf import files
from pggan_tf.studio import machine
from pggan_tf.studio.refusal import Refusal, show
from pggan_tf.studio.store import Store, make_id, read_json, write_json

MOST_ENTRIES = 100
_RETRY = 20.0  # seconds after a worker has failed until another is started
NO_WORD = "the process that trained ended without a word, perhaps for want of memory"
_NAME = re.compile(r"(\d{4,})-([0-9a-f]{10})\.json")


class Queue:
    """The entries of a store, and its worker.

    Args:
        store: the store.
        launch: function that starts a worker, see `launch.start_worker`; None: this is the worker's.
    """

    def __init__(self, store: Store, launch: Callable[[Store], subprocess.Popen] | None = None):
        self.store, self._launch = store, launch
        self._processes: list[subprocess.Popen] = []  # workers that this process has started
        self._next = 0.0  # no worker is started before this time

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Context manager in which no other process changes the queue."""
        with files.hold_lock(self.store.folder / "queue.lock", lambda: None):
            yield

    def read(self) -> list[tuple[Path, dict]]:
        """Return (file, content) of all entries in their order."""
        try:
            paths = [p for p in self.store.queue.iterdir() if _NAME.fullmatch(p.name)]
        except OSError:
            return []
        paths.sort(key=lambda p: (int(p.name.partition("-")[0]), p.name))
        found = [(path, read_json(path, {})) for path in paths]
        return [(path, entry) for path, entry in found if isinstance(entry.get("commands"), list)]

    def list_all(self) -> list[dict]:
        """Return all entries as the page gets them."""
        entries = self.read()  # before the worker, which notes itself before it begins one
        worker = self.find_worker()
        return [self._describe(path, entry, worker) for path, entry in entries]

    @staticmethod
    def _describe(path: Path, entry: dict, worker: dict | None) -> dict:
        id = path.stem.partition("-")[2]
        running = worker is not None and worker["entry"] == id
        error, state = None if running else entry.get("error"), "waiting"
        if _is_left(path, entry, worker):  # a run shows itself that it was interrupted, and can be gone on with
            state, error = ("interrupted", None) if entry.get("run") else ("failed", f"{NO_WORD}.")
        return {
            "id": id,
            "kind": entry.get("kind", "train"),
            "title": entry.get("title", ""),
            "command": entry.get("command", ""),
            "state": "running" if running else "failed" if error else state,
            "run": (worker["run"] if running and worker else None) or entry.get("run"),
            "text": worker["text"] if running and worker else None,
            "stopping": bool(running and worker and worker["stopping"]),
            "error": error,
            "wish": entry.get("wish"),
        }

    def list_waiting_runs(self) -> set[str]:
        """Return the names of the runs that wait to be gone on with."""
        entries = self.read()
        worker = self.find_worker()
        return {
            entry["run"]
            for path, entry in entries
            if entry.get("kind") == "go-on" and not entry.get("error") and not _is_left(path, entry, worker)
        }

    def find_worker(self) -> dict | None:
        """Return what is trained: {entry, run, text, stopping, child}, or None if nothing is."""
        for process in self._processes:
            process.poll()  # so that an ended one is not a zombie
        about = read_json(self.store.folder / "worker.json", {})
        entry, child = about.get("entry"), about.get("child")
        if not isinstance(entry, str) or not (self._is_worker_alive(about) or self._is_child_alive(about)):
            return None
        text = about.get("text")
        return {
            "entry": entry,
            "run": about.get("run"),
            "text": text if isinstance(text, str) else None,
            "stopping": read_json(self.store.folder / "stop.json", {}).get("entry") == entry,
            "child": child if isinstance(child, int) and self._is_child_alive(about) else None,
        }

    @staticmethod
    def _is_worker_alive(about: dict) -> bool:
        return isinstance(about.get("pid"), int) and machine.is_alive(about["pid"], about.get("started"))

    @staticmethod
    def _is_child_alive(about: dict) -> bool:
        return isinstance(about.get("child"), int) and machine.is_alive(about["child"], about.get("child_started"))

    def add(
        self, kind: str, title: str, commands: Sequence[Sequence[str]], command: str, wish=None, run=None, named=False
    ) -> dict:
        """Add an entry at the end of the queue, and return it.

        Args:
            kind: "train" or "go-on".
            title: what the page calls it.
            commands: arguments of `pggan` of each command.
            command: the same as text to copy.
            wish: what the page has asked for.
            run: name of the run that is gone on with.
            named: whether the user has chosen the title, so that the run gets it.
        """
        with self.hold():
            entries = self.read()
            if len(entries) >= MOST_ENTRIES:
                raise Refusal(409, f"the queue has {len(entries)} entries. Wait for some of them, or take some out.")
            worker = self.find_worker()
            same = [e for p, e in entries if run and e.get("run") == run and not _is_left(p, e, worker)]
            if any(not other.get("error") for other in same):
                raise Refusal(409, f"{title}: is in the queue already.")  # such as by another window
            number = max((int(path.name.partition("-")[0]) for path, _ in entries), default=0) + 1
            id = make_id()
            path = self.store.queue / f"{number:04d}-{id}.json"
            entry = {"kind": kind, "title": title, "commands": [list(c) for c in commands], "command": command}
            write_json(path, entry | {"wish": wish, "run": run, "named": named})
        self.start_worker()
        return self._describe(path, read_json(path, entry), self.find_worker())

    def _find(self, id: str) -> tuple[Path, dict]:
        for path, entry in self.read():
            if path.stem.partition("-")[2] == id:
                return path, entry
        raise Refusal(404, f"entry {show(id)}: not in the queue. It may have ended.")

    def remove(self, id: str) -> None:
        """Take an entry out of the queue; one that is being prepared or trained is stopped."""
        with self.hold():
            path, _ = self._find(id)
            worker = self.find_worker()
            if worker is None or worker["entry"] != id:
                path.unlink(missing_ok=True)
                return
            self._stop(worker)

    def pause(self, run: str) -> None:
        """Stop the training of a run after a checkpoint. Raise Refusal if it is not trained here."""
        with self.hold():
            worker = self.find_worker()
            if worker is None or worker["run"] != run:
                raise Refusal(409, f"{run}: is not trained by the studio now, so there is nothing to pause.")
            self._stop(worker)

    def _stop(self, worker: dict) -> None:
        write_json(self.store.folder / "stop.json", {"entry": worker["entry"]})
        if worker["child"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker["child"], signal.SIGTERM)

    def move(self, id: str, to: int) -> list[dict]:
        """Move a waiting entry to another place of the queue, and return all entries."""
        with self.hold():
            path, entry = self._find(id)
            worker = self.find_worker()
            running = worker["entry"] if worker else None
            if path.stem.partition("-")[2] == running:
                raise Refusal(409, f"{entry.get('title', id)}: is being trained. Pause it instead.")
            others = [p for p, _ in self.read() if p != path]
            first = next((i + 1 for i, p in enumerate(others) if p.stem.endswith(f"-{running}")), 0) if running else 0
            others.insert(max(first, min(to, len(others))), path)
            last = max(int(p.name.partition("-")[0]) for p in others)
            for number, place in enumerate(others, last + 1):  # all behind the last, so none is overwritten
                place.rename(place.with_name(f"{number:04d}-{place.name.partition('-')[2]}"))
        return self.list_all()

    def train_again(self, id: str) -> list[dict]:
        """Put a failed entry at the end of the queue, with the same commands, and return all entries."""
        with self.hold():
            path, entry = self._find(id)
            if not entry.get("error") and not _is_left(path, entry, self.find_worker()):
                raise Refusal(
                    409, f"{entry.get('title', id)}: has not failed; it waits for its turn, or is being trained."
                )
            last = max(int(other.name.partition("-")[0]) for other, _ in self.read())
            again = {name: value for name, value in entry.items() if name not in ("error", "begun")}
            write_json(path, again)
            path.rename(path.with_name(f"{last + 1:04d}-{id}.json"))
        self.start_worker()
        return self.list_all()

    def start_worker(self) -> None:
        """Start the process that trains, if something waits and none runs."""
        about = read_json(self.store.folder / "worker.json", {})
        if self._is_worker_alive(about) or self._is_child_alive(about):
            return
        ended = [p for p in self._processes if p.poll() is not None]
        self._processes = [p for p in self._processes if p not in ended]
        if any(p.returncode for p in ended):  # such as on a full disk
            self._next = time.monotonic() + _RETRY
        if not self._launch or self._processes or time.monotonic() < self._next:
            return
        if any(not entry.get("error") for _, entry in self.read()):
            self._processes.append(self._launch(self.store))


def _is_left(path: Path, entry: dict, worker: dict | None) -> bool:
    """Tell whether an entry was begun by a worker that was killed, and was not settled by the next one yet."""
    at = worker["entry"] if worker else None
    left = entry.get("begun") and not entry.get("error") and path.stem.partition("-")[2] != at
    return bool(left) and path.is_file()  # or it has ended just now
