"""Everything that the server of a studio holds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from pggan_tf.studio import choices, launch, machine
from pggan_tf.studio.events import Hub, Watcher
from pggan_tf.studio.folders import Folders
from pggan_tf.studio.helpers import JOB_SECONDS, Helper
from pggan_tf.studio.jobs import Jobs
from pggan_tf.studio.phones import Phones
from pggan_tf.studio.photos import Photos
from pggan_tf.studio.queue import Queue
from pggan_tf.studio.runs import Runs
from pggan_tf.studio.store import Store
from pggan_tf.version import __version__

_LOAD_SECONDS = 1.0  # what the machine is doing is not measured more often


class Studio:
    """The parts of a studio, which share one store.

    Args:
        runs: the folder of runs.
        places: folders of photos that may be opened beside the home folder; they are opened.
    """

    def __init__(self, runs: str | Path, places: Sequence[str | Path] = ()):
        self.store = Store(runs)
        self.store.create()
        self.key = self.store.read_key()
        self.queue = Queue(self.store, launch.start_worker)
        self.runs = Runs(self.store, self.queue.find_worker, self.queue.list_waiting_runs)
        self.folders = Folders(self.store, places)
        self.photos = Photos(self.folders)
        with contextlib.suppress(OSError):
            self.store.tidy([path.stem.partition("-")[2] for path, _ in self.queue.read()])
        self.phones = Phones(self.store, self.runs)
        self.hub = Hub()
        # One for what is answered at once, one for jobs, which take minutes.
        self.helper = Helper(self.store, spares_gpu=self.is_training)
        self._slow = Helper(self.store, limit=JOB_SECONDS, spares_gpu=self.is_training)
        self.jobs = Jobs(self.hub, self._slow)
        self._load, self._loaded_at = machine.Load(), 0.0
        self._loads: dict = {}
        self.watcher = Watcher(self.hub, self._look, self._tend, self.measure_load)
        for place in places:
            self.folders.open(str(Path(place).absolute()))

    def close(self) -> None:
        """End the streams of events and the helpers. Training goes on."""
        self.hub.close()
        self.phones.close()
        self.helper.close()
        self._slow.close()

    def _tend(self) -> None:
        """See to the processes, a few times a minute."""
        self.queue.start_worker()
        self.helper.end_if_idle()
        self._slow.end_if_idle()

    def is_training(self) -> bool:
        """Tell whether a run is being trained or prepared, here or from a terminal."""
        now = self.runs.look_around()
        states = (self.runs.find_state(name, folder, now)[0] for name, folder in self.runs.find_all().items())
        return now.worker is not None or "running" in states

    def measure_load(self) -> dict:
        """Return how busy the machine is, see `machine.Load.measure`."""
        if time.monotonic() - self._loaded_at > _LOAD_SECONDS:
            self._loads, self._loaded_at = self._load.measure(), time.monotonic()
        return self._loads

    def describe(self) -> dict:
        """Return what the page shows at first."""
        return {
            "version": __version__,
            "runs_folder": str(self.store.runs),
            "machine": machine.describe(),
            "folders": self.folders.list_all(),
            "recipes": choices.list_recipes(),
            "options": choices.list_options(),
            "formats": choices.list_formats(),
        }

    def _look(self) -> dict[str, dict]:
        """Return the marks of everything that open pages are told about."""
        store = self.store.folder
        queue = {p.name: _stamp(p) for p in self.store.queue.glob("*.json")}
        queue |= {name: _stamp(store / name) for name in ("worker.json", "stop.json")}
        worker = self.queue.find_worker()
        run = worker["run"] if worker else None
        marks = {name: (mark, name == run) for name, mark in self.runs.watch().items()}
        folders: dict[str, tuple] = {}
        for file in sorted((store / "folders").glob("*.json")):  # ID.json and ID.hand.json
            id = file.name.partition(".")[0]
            folders[id] = (*folders.get(id, ()), _stamp(file))
        return {"runs": marks, "queue": {"": (tuple(sorted(queue.items())), worker is None)}, "folders": folders}


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
