"""Runs as the page shows them: found in the folder of runs, read from their files alone."""

from __future__ import annotations

import dataclasses
import math
import shutil
import threading
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from pggan_tf import config as configs
from pggan_tf import files, metrics, schedule
from pggan_tf.errors import UserError, shell_path
from pggan_tf.report import runs as reports
from pggan_tf.runs import checkpoint, keras_files, pretrained
from pggan_tf.runs import folder as folders
from pggan_tf.studio import machine
from pggan_tf.studio.commands import join, list_arguments, split_advice
from pggan_tf.studio.histories import Histories, make_columns, read_last_tick, read_lines
from pggan_tf.studio.refusal import Refusal, show
from pggan_tf.studio.store import Store, read_json, write_json

PART = "~"  # in the name of a part of a pipeline, between the name of its folder and its own
OWN = "studio"  # folder in a run's folder for what the studio has made of it
_TRAINED_SHARE = 0.85  # share of --minutes that training takes
_PICTURES = (".png", ".jpg", ".webp", ".gif", ".mp4", ".svg")


@dataclass(frozen=True)
class Now:
    """What the states of runs depend on beside their own files."""

    worker: dict | None  # what is trained, see `Queue.find_worker`
    waiting: set[str]  # names of runs that wait in the queue to be gone on with
    locked: set[tuple[int, int]] | None  # the files that are locked, see `machine.list_locked_files`


class Runs:
    """The runs in the folder of a store.

    Args:
        store: the store.
        worker: function that returns what the worker is at: {entry, run, stopping}, or None.
        waiting: function that returns the names of runs that wait in the queue to be gone on with.
    """

    def __init__(self, store: Store, worker=lambda: None, waiting=set):
        self.store, self._worker, self._waiting = store, worker, waiting
        self._lock = threading.Lock()
        self._cached: dict[tuple, tuple] = {}
        self._histories = Histories()

    def find_all(self) -> dict[str, Path]:
        """Return {name: folder} of all runs, the newest first."""
        found = {}
        for folder in _list_folders(self.store.runs):
            if keras_files.is_run(folder):
                found[folder.name] = folder
                continue
            for part in _list_folders(folder):
                if keras_files.is_run(part):
                    found[f"{folder.name}{PART}{part.name}"] = part
        return dict(sorted(found.items(), reverse=True))

    def find(self, name: str) -> Path:
        """Return the folder of a run. Raise Refusal if there is none of this name.

        The name is looked for among those that are there, and is no part of a path.
        """
        found = self.find_all().get(name)
        if found is None and name in pretrained.list_names():
            return pretrained.FOLDER / name
        if found is None:
            raise Refusal(404, f"run {show(name)}: not there. It may have been deleted or moved.")
        return found

    def place_own(self, name: str, folder: Path) -> Path:
        """Return where the studio writes what it makes of a run: not into the installed package."""
        if pretrained.is_inside(folder):
            return self.store.folder / "pretrained" / name
        return folder / OWN

    def place_within(self, name: str, folder: Path, *parts: str) -> Path:
        """Return a folder within `place_own`, which is written to or shown to others.

        Raise Refusal if it, or one that it is in, is a link: in a run of a stranger it may lead anywhere.
        """
        place = self.place_own(name, folder)
        for part in ("", *parts):
            place = place / part
            if place.is_symlink():
                raise Refusal(409, f"{name}: its folder {place.name} is a link. Remove it: it may lead elsewhere.")
        return place

    def _find_to_change(self, name: str) -> Path:
        """Return the folder of a run. Raise Refusal if it comes with the package."""
        folder = self.find(name)
        if pretrained.is_inside(folder):
            raise Refusal(409, f"{name}: comes with pggan-tf, and stays as it is.")
        return folder

    def name_of(self, folder: Path) -> str | None:
        """Return the name of the run in a folder; None if it is not among the runs."""
        return next((name for name, place in self.find_all().items() if place == folder), None)

    def _remember(self, key: tuple, mark, make):
        """Return `make()`, or what it returned before if `mark` is the same."""
        with self._lock:
            if key in self._cached and self._cached[key][0] == mark:
                return self._cached[key][1]
        made = make()
        with self._lock:
            self._cached[key] = mark, made
        return made

    def _plan(self, folder: Path):
        file = folder / folders.CONFIG
        return self._remember(("plan", folder), _stamp(file), lambda: configs.load(file))

    def _read(self, folder: Path) -> reports.RunSummary:
        """Return all that the report tells of a run."""
        files = (folders.CONFIG, folders.ENVIRONMENT, folders.GENERATOR, checkpoint.FOLDER)
        mark = tuple(_stamp(folder / file) for file in files)
        run = self._remember(("run", folder), mark, lambda: reports.read_run(folder))
        history = self._histories.read(folder / folders.STATS)
        return dataclasses.replace(
            run,
            ticks=history.ticks,
            measurements=history.measured,
            checks=history.checks,
            grids=reports.find_grids(folder, run.phases),
            unread_lines=history.unread,
        )

    def look_around(self) -> Now:
        """Return what is trained, what waits, and which files are locked."""
        return Now(self._worker(), self._waiting(), machine.list_locked_files())

    def find_state(self, name: str, folder: Path, now: Now) -> tuple[str, str | None]:
        """Return (state, error) of a run."""
        lock = _identify(folder / ".lock")
        if (now.worker and now.worker["run"] == name) or (now.locked and lock in now.locked):
            return "running", None
        if (folder / folders.GENERATOR).is_file():
            return "done", None
        if name in now.waiting:
            return "waiting", None
        about = read_json(self.store.about_run(name), {})
        state, error = about.get("state"), about.get("error")
        if state == "paused":
            return "paused", None
        return ("failed", str(error)) if state == "failed" else ("interrupted", None)

    def find_title(self, name: str) -> str:
        """Return the title that the user gave to a run, or its name."""
        title = read_json(self.store.folder / "titles.json", {}).get(name)
        title = title or read_json(self.store.about_run(name), {}).get("title")
        return title if isinstance(title, str) else name

    def rename(self, name: str, title: str) -> None:
        """Give a run a title; "" takes it away."""
        self._find_to_change(name)
        self._write_title(name, title)

    def _write_title(self, name: str, title: str) -> None:
        with self._lock:
            titles = read_json(self.store.folder / "titles.json", {})
            if titles.pop(name, None) is None and not title.strip():
                return
            if title.strip():
                titles[name] = title.strip()
            write_json(self.store.folder / "titles.json", titles)

    def delete(self, name: str) -> None:
        """Delete a run with all its files. Raise Refusal while it is trained."""

        def refuse():
            raise Refusal(409, f"{name}: is being trained. Pause it first.")

        folder = self._find_to_change(name)
        if self.find_state(name, folder, self.look_around())[0] == "running":
            refuse()
        if name in self._waiting():
            raise Refusal(409, f"{name}: waits in the queue to be gone on with. Take it out first.")
        if folder.is_symlink() or (PART in name and folder.parent.is_symlink()):
            raise Refusal(409, f"{name}: is a link to a folder elsewhere. Remove the link by hand.")
        with files.hold_lock(folder / ".lock", refuse):  # training holds it; not every system tells who holds one
            shutil.rmtree(folder)
        if PART in name and not any(folder.parent.iterdir()):
            folder.parent.rmdir()
        self.store.about_run(name).unlink(missing_ok=True)
        self._write_title(name, "")  # a later run may get the same name

    def list_all(self) -> list[dict]:
        """Return all runs in short, the newest first. One that cannot be read says why.

        Without any, those that come with the package are shown, so that there is one to play with.
        """
        now = self.look_around()
        if found := self.find_all():
            return [self.summarize(name, folder, now) for name, folder in found.items()]
        return [self.summarize(name, pretrained.FOLDER / name, now) for name in pretrained.list_names()]

    def summarize(self, name: str, folder: Path, now: Now) -> dict:
        """Return a run in short."""
        state, error = self.find_state(name, folder, now)
        worker = now.worker
        out: dict = {"name": name, "title": self.find_title(name), "state": state, "error": error}
        out["stopping"] = bool(worker and worker["run"] == name and worker["stopping"])
        out["pretrained"] = pretrained.is_inside(folder)
        out["place"] = name if out["pretrained"] else shell_path(folder)  # as commands to copy name it
        try:
            plan = self._plan(folder)
            phases = plan.phases
        except UserError as reason:
            return out | _UNREADABLE | {"state": "failed", "error": str(reason)}
        tick = read_last_tick(folder / folders.STATS)
        images = int(tick.get("images", 0))
        grid = _find_last_grid(folder)
        return out | {
            "recipe": plan.config.recipe,
            "task": plan.task.name,
            "size": plan.size,
            "images": images,
            "of": phases[-1].end,
            "resolution": int(tick.get("resolution", phases[0].resolution)),
            "seconds_left": self._estimate(folder, plan, tick) if state == "running" else None,
            "minutes": round(tick.get("seconds", 0.0) / 60, 4),  # to the second
            "picture": f"/api/runs/{quote_name(name)}/files/{grid}" if grid else None,
        }

    def _estimate(self, folder: Path, plan, tick: dict) -> float | None:
        """Return the seconds to the end of a run, or None if nothing tells."""
        speed, images = tick.get("images_per_second"), tick.get("images", 0)
        if not speed:
            return None
        phase = schedule.phase_at(plan.phases, int(images)) or plan.phases[-1]
        left = (phase.end - images) / speed
        for later in plan.phases[phase.index + 1 :]:
            left += later.images / speed * (later.resolution / phase.resolution) ** 2
        minutes = read_json(folder / folders.ENVIRONMENT, {}).get("planned_for_minutes")
        if isinstance(minutes, int | float) and phase.index + 1 < len(plan.phases):
            left = max((phase.end - images) / speed, 60 * _TRAINED_SHARE * minutes - tick.get("seconds", 0.0))
        return round(left, 1) if math.isfinite(left) else None

    def describe(self, name: str) -> dict:
        """Return all about a run, as on the panel Watch."""
        folder = self.find(name)
        short = self.summarize(name, folder, self.look_around())
        try:
            run = self._read(folder)
        except UserError as reason:
            return short | {"state": "failed", "error": str(reason), "log": read_lines(folder / folders.LOG)}
        phase = schedule.phase_at(run.phases, max(0, run.images - 1)) or run.phases[-1]
        address = f"/api/runs/{quote_name(name)}/files/"
        written = run.plan.to_json()
        asked = {n: v for n, v in run.plan.asked.items() if v is not None}
        return short | {
            "folder": str(folder),
            "config": make_plain({n: v for n, v in run.config.values().items() if v is not None}),
            "asked": make_plain(written["asked"]),
            "command": join([["train", *list_arguments(asked), "--runs", str(self.store.runs)]]),
            "saved": bool(checkpoint.list_checkpoints(folder)),
            "stages": list(dict.fromkeys(p.resolution for p in run.phases)),  # not those that are skipped
            "phase": {"resolution": phase.resolution, "fade": phase.fade, "alpha": round(phase.alpha(run.images), 4)},
            "phases": [
                {"resolution": p.resolution, "fade": p.fade, "start": p.start, "images": p.images} for p in run.phases
            ],
            "parameters": run.parameters or None,
            "data": f"{run.data}, {run.data_images} images",
            "aspect": list(run.plan.aspect),
            "grids": [
                {"images": g.images, "resolution": g.resolution, "title": g.title, "url": address + g.path.name}
                for g in run.grids
            ],
            "reals": [{"resolution": run.plan.target_res, "url": f"{address}reals.png"}]
            if (folder / "reals.png").is_file()
            else [],
            "ticks": make_columns(run.ticks),
            "metrics": {
                metric: [{"images": i, "minutes": s / 60, "value": v} for i, s, v in values]
                for metric, values in run.metrics.items()
            },
            "better": {metric: _find_better(metric) for metric in run.metrics},
            "coach": [_describe_advice(advice) for advice in run.advice],
            "caveats": [{"metric": metric, "sentence": text} for metric, text in run.caveats],
            "log": read_lines(folder / folders.LOG),
        }

    def find_file(self, name: str, file: str) -> Path:
        """Return a picture of a run, or a file that the studio has made of it.

        The name is looked for among those that are there, and is no part of a path.
        """
        folder = self.find(name)
        known = {p.name: p for p in folder.glob("*.png") if p.name == "reals.png" or p.name.startswith("fakes-")}
        own = self.place_own(name, folder)
        if not own.is_symlink():
            known |= {f"{OWN}/{p.relative_to(own).as_posix()}": p for p in own.rglob("*") if p.is_file()}
        if file not in known or known[file].is_symlink():  # a run may come from elsewhere
            raise Refusal(404, f"file {show(file)}: {name} has none of this name.")
        return known[file]

    def watch(self) -> dict[str, tuple]:
        """Return {name: mark} of all runs; a mark changes when something of the run does."""
        marks = {}
        for name, folder in self.find_all().items():
            files = (folders.STATS, folders.LOG, folders.GENERATOR, ".", OWN, f"{OWN}/export")
            marks[name] = (*(_stamp(folder / file) for file in files), _stamp(self.store.about_run(name)))
        return marks


_UNREADABLE = {
    "recipe": None, "task": None, "size": None, "images": 0, "of": 0, "resolution": 0, "seconds_left": None,
    "minutes": 0.0, "picture": None,
}  # fmt: skip


def _find_better(metric: str) -> str | None:
    """Return which side of a metric is better, "lower" or "higher"; None if neither is."""
    row = metrics.METRICS.get(metrics.strip_features(metric))
    return row.better or None if row else None


def _describe_advice(advice) -> dict:
    options, others = split_advice(advice.commands)
    return {"state": advice.illness, "sentence": advice.text, "options": options, "others": others}


def _list_folders(parent: Path) -> list[Path]:
    """Return the folders in a folder whose names are not hidden; none if it cannot be read."""
    try:
        return sorted(p for p in parent.iterdir() if not p.name.startswith(".") and p.is_dir())
    except OSError:
        return []


def _stamp(path: Path) -> int:
    """Return the time of a file's last change in ns, 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def quote_name(name: str, safe: str = "") -> str:
    """Return a name as a part of an address. safe: signs that stay beside ~."""
    return urllib.parse.quote(name, safe=f"~{safe}", errors="surrogateescape")


def make_plain(value):
    """Return a value as JSON can hold it, with None in place of what is no finite number."""
    if isinstance(value, dict):
        return {str(name): make_plain(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [make_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _find_last_grid(folder: Path) -> str | None:
    """Return the name of the newest grid of a run."""
    return max((p.name for p in folder.glob("fakes-*px-*.png")), default=None)
