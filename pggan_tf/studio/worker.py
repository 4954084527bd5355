"""Train the entries of a queue, one after the other.

It is started as `python -m pggan_tf.studio.worker RUNS`. Each entry is trained by commands of
`pggan` in processes of their own. Their output goes to files, so they go on even if this process is
killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from pggan_tf.studio import machine
from pggan_tf.studio.environment import make_environment
from pggan_tf.studio.queue import NO_WORD, Queue
from pggan_tf.studio.runs import Runs
from pggan_tf.studio.store import Store, read_json, write_json

_SECONDS = 0.3  # between two looks at what a command has printed
_TEXT = 300  # characters of a line that is shown
_SAID = 32_768  # characters of what a command has printed last that are kept
_RUN = re.compile(r"^run (.+)$", re.M)  # the line with which training begins


class Worker:
    """Trains the entries of a queue.

    Args:
        store: the store.
    """

    def __init__(self, store: Store):
        self.store, self.queue, self.runs = store, Queue(store), Runs(store)
        self.about: dict = {"pid": os.getpid(), "started": machine.find_start(os.getpid())}

    def _note(self, **values) -> None:
        """Write down what this process is at."""
        self.about |= values
        with contextlib.suppress(OSError):  # on a full disk, training itself says so
            write_json(self.store.folder / "worker.json", self.about)

    def run(self) -> None:
        """Train all entries, and end when none waits."""
        while True:
            with self.queue.hold():
                self._bury()
                waiting = [(path, entry) for path, entry in self.queue.read() if not entry.get("error")]
                (self.store.folder / "stop.json").unlink(missing_ok=True)
                if not waiting:
                    self._note(entry=None, child=None, run=None, pid=None)
                    return
                path, entry = waiting[0]
                id = path.stem.partition("-")[2]
                # At first who is at it: an entry that was begun by nobody is one of a killed worker.
                self._note(entry=id, run=entry.get("run"), child=None, text="begins")
                entry["begun"] = True
                write_json(path, entry)
                if entry.get("run"):  # is gone on with: neither paused nor failed any more
                    self._note_run(entry["run"], entry, state=None, error=None)
            self._train(id, entry)
            self._tidy()

    def _tidy(self) -> None:
        """Remove what commands have printed long ago."""
        with contextlib.suppress(OSError):
            self.store.tidy([path.stem.partition("-")[2] for path, _ in self.queue.read()])

    def _bury(self) -> None:
        """Settle the entries that a killed worker has begun."""
        for path, entry in self.queue.read():
            if not entry.get("begun") or entry.get("error"):
                continue
            id = path.stem.partition("-")[2]
            run, stopped = entry.get("run") or self._find_run(id), self._is_stopped(id)
            if run:  # the run itself shows that it was interrupted, or has been trained to its end
                self._note_run(run, entry, **({"state": "paused"} if stopped else {}))
            if run or stopped:
                path.unlink(missing_ok=True)
            else:
                write_json(path, entry | {"error": f"{NO_WORD}. Its output is in {self.store.folder}/work."})

    def _find_run(self, id: str) -> str | None:
        """Return the run that the output of an entry's commands names; None if there is none yet."""
        with contextlib.suppress(OSError):
            if found := _RUN.findall((self.store.work / f"{id}.log").read_text("utf-8", "replace")):
                return self.runs.name_of(Path(found[-1]))
        return None

    def _note_run(self, run: str, entry: dict, **values) -> None:
        """Write down what is known of a run: `values`, and the title if the user has chosen it."""
        about = read_json(self.store.about_run(run), {}) | values
        if entry.get("named"):
            about["title"] = entry["title"]
        with contextlib.suppress(OSError):  # on a full disk, the run is called interrupted
            write_json(self.store.about_run(run), about)

    def _train(self, id: str, entry: dict) -> None:
        """Train one entry, and settle it."""
        log = self.store.work / f"{id}.log"
        code, said = 0, ""
        for command in entry["commands"]:
            code, said = self._call(id, command, log)
            if code or self._is_stopped(id):
                break
        self._settle(id, code, said)

    def _is_stopped(self, id: str) -> bool:
        """Tell whether the user has stopped an entry."""
        return read_json(self.store.folder / "stop.json", {}).get("entry") == id

    def _call(self, id: str, command: list[str], log: Path) -> tuple[int, str]:
        """Run one command of `pggan`. Return (exit code, what it has printed last).

        Args:
            id: the entry.
            command: arguments of `pggan`.
            log: file for the output.
        """
        with log.open("ab") as output:
            begin = output.tell()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pggan_tf", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.store.runs,
                env=make_environment(),
            )
        self._note(child=process.pid, child_started=machine.find_start(process.pid))
        if self._is_stopped(id):  # before this process was known
            process.terminate()
        said, at = "", begin
        while True:
            ended = process.poll() is not None
            with contextlib.suppress(OSError), log.open("rb") as file:
                file.seek(at)
                if new := file.read():
                    at += len(new)
                    said = (said + new.decode("utf-8", "replace"))[-_SAID:]
                    self._tell(id, said)
            if ended:
                return process.returncode, said
            time.sleep(_SECONDS)

    def _tell(self, id: str, said: str) -> None:
        """Note the newest line of a command, and the run that it trains."""
        lines = [line for line in said.splitlines() if line.strip()]
        run: str | None = self.about.get("run")
        if found := _RUN.findall(said):
            run = self.runs.name_of(Path(found[-1])) or run
        if run and run != self.about.get("run"):
            with self.queue.hold():  # or a move of the entry would leave two of it
                for path, entry in self.queue.read():
                    if path.stem.partition("-")[2] == id:
                        write_json(path, entry | {"run": run})
                        if entry.get("named"):
                            self._note_run(run, entry)
        text = lines[-1][:_TEXT] if lines else None
        if (text, run) != (self.about.get("text"), self.about.get("run")):
            self._note(text=text, run=run)

    def _settle(self, id: str, code: int, said: str) -> None:
        """Note how an entry has ended, and take it out of the queue unless it failed at its start.

        Args:
            id: the entry.
            code: exit code of its last command.
            said: what that command has printed.
        """
        run, stopped = self.about.get("run"), self._is_stopped(id)
        with self.queue.hold():
            found = [(p, e) for p, e in self.queue.read() if p.stem.partition("-")[2] == id]
            error = None if code == 0 or stopped else _find_error(code, said)
            if run:
                # 143: training has ended after a checkpoint because the process was asked to.
                state = (
                    "paused"
                    if stopped
                    else "done"
                    if code == 0
                    else "interrupted"
                    if code < 0 or code == 143
                    else "failed"
                )
                about = read_json(self.store.about_run(run), {})
                with contextlib.suppress(OSError):  # on a full disk, the run is called interrupted
                    write_json(self.store.about_run(run), about | {"state": state, "error": error})
            for path, entry in found:
                if run or not error:
                    path.unlink(missing_ok=True)
                else:
                    write_json(path, entry | {"error": error})
            self._note(entry=None, child=None, run=None, text=None)


def _find_error(code: int, said: str) -> str:
    """Return the sentence with which a command has ended."""
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if errors:
        return errors[-1]
    if code < 0 or not lines:
        return f"{NO_WORD} (signal {-code})." if code < 0 else f"{NO_WORD}."
    return lines[-1][:500]


def main() -> None:
    """Train the queue of the folder of runs that the command line names."""
    from pggan_tf import files

    store = Store(sys.argv[1])

    def leave():
        sys.exit(0)  # another worker is at it

    with files.hold_lock(store.folder / "worker.lock", leave):
        Worker(store).run()


if __name__ == "__main__":
    main()
