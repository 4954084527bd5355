"""Read the files in a run's folder for its report, without building or loading a network."""

from __future__ import annotations

import dataclasses
import math
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pggan_tf import schedule, shapes
from pggan_tf.config import Config, Plan, load
from pggan_tf.data import pipeline
from pggan_tf.errors import UserError
from pggan_tf.report import coach, words
from pggan_tf.runs import checkpoint, keras_files, pretrained, records

MOST_COMPARED = 8  # largest number of runs on a page: base.html defines 8 colours for curves
# Last part of the names of variables that are not trained: averages and singular vectors.
_NOT_TRAINED = ("typical", "mean", "variance", "singular")


@dataclass(frozen=True)
class Grid:
    """File with a grid of samples that was written during training."""

    path: Path
    resolution: int  # height and width of one image in pixels
    images: int  # images seen by the run when the grid was drawn
    title: str


@dataclass(frozen=True)
class RunSummary:
    """Content of a run's folder."""

    folder: Path
    plan: Plan
    environment: dict  # environment.json, as `records.read_environment` returns it
    ticks: list[dict]  # lines of stats.jsonl with losses, in order of images seen
    measurements: list[dict]  # lines of stats.jsonl with metrics, in order of images seen
    checks: list[dict]  # checks of the training, see `training.coaching`, in order of images seen
    grids: list[Grid]  # in order of images seen
    parameters: dict[str, int]  # "generator", "discriminator" -> number; empty if not known
    unread_lines: int = 0  # number of lines of stats.jsonl with neither losses nor metrics
    kept: int | None = None  # images seen at the snapshot that generator.keras is of; None: at the end
    parents: int = 0  # number of parent folders in the name, to distinguish runs of the same name

    @property
    def config(self) -> Config:
        """All options of the run."""
        return self.plan.config

    @property
    def phases(self) -> tuple[schedule.Phase, ...]:
        """Phases of the training schedule, in order."""
        return self.plan.phases

    @property
    def name(self) -> str:
        """Name of the folder, preceded by the names of `parents` parent folders: 'runs/faces'."""
        return "/".join(self.folder.resolve().parts[-1 - self.parents :])

    @property
    def images(self) -> int:
        """Number of images seen by the run so far."""
        return self.ticks[-1]["images"] if self.ticks else 0

    @property
    def seconds(self) -> float:
        """Training time so far in seconds."""
        return self.ticks[-1]["seconds"] if self.ticks else 0.0

    @property
    def ended(self) -> bool:
        """Whether the run has written its final generator."""
        return (self.folder / "generator.keras").is_file()

    @property
    def has_generator(self) -> bool:
        """Whether a generator can be loaded, from generator.keras or from a checkpoint."""
        return self.ended or bool(self.parameters)

    @property
    def metrics(self) -> dict[str, list[tuple[int, float, float]]]:
        """Measurements in order, by the metric's full name: (images seen, seconds, value)."""
        out: dict[str, list] = {}
        for line in self.measurements:
            for name, value in line["metrics"].items():
                out.setdefault(name, []).append((line["images"], line["seconds"], value))
        return out

    @property
    def final(self) -> list[dict]:
        """The measurements up to the one of generator.keras, in order of images seen."""
        return [line for line in self.measurements if self.kept is None or line["images"] <= self.kept]

    @property
    def final_metrics(self) -> dict[str, float]:
        """The last value of each metric that is of generator.keras or of before it, by its full name."""
        return {name: value for line in self.final for name, value in line["metrics"].items()}

    @property
    def caveats(self) -> list[tuple[str, str]]:
        """Caveats of the last measurement, as pairs of the names of the metrics and a sentence.

        Metric values of the data themselves, if recorded, follow as pairs of a name and the value.
        """
        names_by_caveat: dict[str, list] = {}
        for name, caveats in (self.final[-1]["caveats"] if self.final else {}).items():
            for caveat in caveats:
                names_by_caveat.setdefault(caveat, []).append(name)
        out = [(", ".join(names), caveat) for caveat, names in names_by_caveat.items()]
        details = self.final[-1]["details"] if self.final else {}
        return out + [(name, f"{value:.4g}") for name, value in details.items() if name.endswith(" of the data")]

    @property
    def advice(self) -> list[coach.Advice]:
        """What goes wrong in the run and what to do; empty for a healthy run."""
        photos = self.environment["dataset"]["images"]
        photos = photos and pipeline.train_count(photos, self.config.images.held_out)
        return coach.advise(coach.Figures(self.plan, self.ticks, self.checks, self.measurements, photos))

    @property
    def data(self) -> str:
        """Name of the training data, without the path of its folder."""
        return records.name_source(self.environment["dataset"]["source"] or "") or "data that is not known"

    @property
    def data_images(self) -> str:
        """Number of training images as text, such as '70,000', or 'unknown many'."""
        images = self.environment["dataset"]["images"]
        return "unknown many" if images is None else f"{images:,}"

    @property
    def skipped(self) -> str:
        """Number of steps skipped so far as text, see `words.format_skips`; '-' if not known."""
        last = self.ticks[-1] if self.ticks else {}
        steps = last.get("skipped_total")
        if steps is None:
            return "-"
        # Older runs did not count skipped steps for each network.
        return words.format_skips(
            steps, *(last.get(f"skipped_{n}_total", steps) for n in ("generator", "discriminator"))
        )

    def interpolate_seconds(self, images: float) -> float:
        """Return the training time in seconds at `images` images seen, linear between ticks."""
        seen, seconds = [0, *(line["images"] for line in self.ticks)], [0.0, *(line["seconds"] for line in self.ticks)]
        return float(np.interp(images, seen, seconds))

    def get_series(self, name: str) -> tuple[list[int], list[float]]:
        """Return the values of an entry of the ticks, such as 'loss_d', as (images seen, values).

        Ticks without this entry are left out.
        """
        lines = [line for line in self.ticks if line.get(name) is not None]
        return [line["images"] for line in lines], [line[name] for line in lines]


def read_run(folder: str | Path) -> RunSummary:
    """Read a run's folder.

    Raises UserError if it is not a run's folder or its config or environment cannot be read.
    """
    folder = Path(pretrained.locate(folder))
    keras_files.check_run(folder)
    plan = load(folder / "config.json")
    environment = records.read_environment(folder / "environment.json")
    history = records.read_history(folder / "stats.jsonl")
    return RunSummary(
        folder=folder,
        plan=plan,
        environment=environment,
        ticks=history.ticks,
        measurements=history.measured,
        checks=history.checks,
        grids=find_grids(folder, plan.phases),
        parameters=_count_parameters(folder),
        unread_lines=history.unread,
        kept=records.read_kept(folder),
    )


def read_runs(folders: Sequence[str | Path]) -> list[RunSummary]:
    """Read the folders of 2 to MOST_COMPARED runs and give the runs unique names.

    Raises UserError if there are fewer or more folders, if a folder is given twice or if it cannot
    be read as a run.
    """
    if not 2 <= len(folders) <= MOST_COMPARED:
        raise UserError(f"{len(folders)} run{'s' * (len(folders) != 1)}: give 2 to {MOST_COMPARED} folders of runs.")
    places = [Path(folder).resolve() for folder in folders]
    for i, folder in enumerate(folders):
        if places[i] in places[:i]:
            raise UserError(f"{folder}: given twice.")
    runs = [read_run(folder) for folder in folders]
    while len({run.name for run in runs}) < len(runs):  # such as the parts of two pipelines
        runs = [dataclasses.replace(run, parents=run.parents + 1) for run in runs]
    return runs


def find_grids(folder: Path, phases: Sequence[schedule.Phase]) -> list[Grid]:
    """Return the grids in a run's folder, in order of images seen.

    Args:
        folder: the run's folder.
        phases: the phases of its plan.
    """
    out = []
    for path in folder.glob("fakes-*px-*.png"):
        if found := re.fullmatch(r"fakes-\d+-(\d+)px-(\d+)\.png", path.name):
            resolution, images = map(int, found.groups())
            phase = schedule.phase_at(phases, images - 1) or phases[-1]
            alpha = phase.alpha(images)
            fading = f", the new stage at {alpha:.0%}" if phase.fade and alpha < 1 else ""
            size = shapes.name_size(resolution, phase.aspect)
            out.append(Grid(path, resolution, images, f"{size} px, {images:,} images{fading}"))
    return sorted(out, key=lambda grid: grid.images)


def find_kept_grid(grids: Sequence[Grid], kept: int | None) -> Grid | None:
    """Return the newest of the grids, in order of images seen, that was drawn before generator.keras was kept.

    kept: images seen at the snapshot that generator.keras is of; None: at the end of the run.
    """
    return next((grid for grid in reversed(grids) if kept is None or grid.images <= kept), None)


def _count_parameters(folder: Path) -> dict[str, int]:
    """Return the number of parameters of both networks, from the newest checkpoint's headers.

    Returns an empty dict if there is no checkpoint or it cannot be read.
    """
    for path in checkpoint.list_checkpoints(folder)[:1]:
        counts = dict.fromkeys(("generator", "discriminator"), 0)
        try:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    player, _, rest = name.removesuffix(".npy").partition("/")
                    if player in counts and rest.rpartition("/")[2] not in _NOT_TRAINED:
                        with archive.open(name) as member:
                            np.lib.format.read_magic(member)
                            counts[player] += math.prod(np.lib.format.read_array_header_1_0(member)[0])
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError):
            return {}  # the checkpoint is damaged, or the running training has just removed it
        return counts
    return {}
