"""Sources of an export: trained networks, with what is known about their training.

A source is loaded from the folder of a finished run, an exported folder, a .keras file or a hub. For a .keras file alone, nothing is known about the training.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pggan_tf import tasks
from pggan_tf.config import Plan, load
from pggan_tf.data import marks, shards
from pggan_tf.errors import UserError, shell_path
from pggan_tf.runs import folder as runs
from pggan_tf.runs import hub, keras_files, pretrained, records

REPORT, RUN = keras_files.REPORT, keras_files.RUN
# Number of photos for examples, which are inputs of an exported network: 16 to calibrate its
# quantisation to int8, 16 others to compare it with Keras.
PHOTOS = 32
# Sources of data that pggan-tf draws itself, with their descriptions in a model card.
DRAWN = {"portraits": "drawn portraits (no real person)", "sprites": "drawn sprites, such as fish, gems and robots"}


@dataclass(frozen=True)
class Source:
    """A trained generator, and what is known about it."""

    name: str  # name of its run, of the exported folder's source, or of its file
    network: Any  # the generator
    file: Path  # generator.keras, or the weights in a folder that Keras wrote
    sha256: str  # hash of the file
    plan: Plan | None = None  # its run's options and what follows from them; None: unknown
    environment: dict | None = None  # content of environment.json; None: unknown, as for exported folders
    until: int | None = None  # images seen when it was saved, if it is the best snapshot; None: the end of the run
    licence: str | None = None  # licence of the weights, if a report.json states it

    @functools.cached_property
    def task(self) -> tasks.Task:
        """The network's task, with the settings of the run if they are known."""
        known = self.plan is not None and self.plan.config.purpose.task == self.network.task
        return self.plan.task if known else tasks.task_of(self.network)

    @property
    def mark(self) -> marks.Mark:
        """What pictures by the network say about themselves."""
        alone = self.name == Path(runs.GENERATOR).stem  # such a file is called by its folder
        name = self.folder.resolve().name if alone else self.name
        if self.until is not None and self.file.name == runs.BEST_GENERATOR:
            name = name.removesuffix("-best")
        return marks.Mark(self.task.source_type, name, self.sha256)

    @property
    def folder(self) -> Path:
        """The folder of the file."""
        return self.file.parent

    @property
    def config_file(self) -> Path | None:
        """The run's configuration, or None if there is none.

        This is config.json, or run.json in an exported folder.
        """
        if (self.folder / RUN).is_file():
            return self.folder / RUN
        old = self.folder / runs.CONFIG
        return old if old.is_file() and not keras_files.is_model(self.folder) else None

    def describe_data(self) -> str:
        """Return a short description of the training data, such as "1,000 images of 'cats'"."""
        if self.environment is None:
            return "data that is not known here"
        held = self.environment["dataset"]
        images = "unknown many" if held["images"] is None else f"{held['images']:,}"
        if held["source"] in DRAWN:
            return f"{images} drawn {held['source']}"
        return f"{images} images of '{records.name_source(held['source'])}'" if held["source"] else f"{images} images"

    @functools.cached_property
    def _history(self) -> records.History:
        """The losses and metrics in the run's stats.jsonl; empty if there is no such file."""
        return records.read_history(self.folder / runs.STATS)

    def read_metrics(self) -> dict[str, tuple[float, int]]:
        """Return the last value of each metric in the run's stats.jsonl.

        Returns:
            dict: name of the metric -> (value, images seen by the run when it was measured). It is
            empty if nothing is known.
        """
        if self.plan is None:
            return {}
        lines = [m for m in self._history.measured if self.until is None or m["images"] <= self.until]
        return {name: (value, line["images"]) for line in lines for name, value in line["metrics"].items()}

    def count_images_seen(self) -> int:
        """Return the number of images seen by the run until the network was saved."""
        if self.until is not None:
            return self.until
        return max((line["images"] for line in (*self._history.ticks, *self._history.measured)), default=0)

    def load_photos(self, folder: str | None) -> np.ndarray | None:
        """Return at most PHOTOS photos that are like the network's input, for examples.

        folder: folder of photos that the user gave with --representative; None: take images from
            the training data of the run.

        Returns:
            uint8 [N, S, S, 3], or None if `folder` is None and the training data is no longer
            available.

        Raises:
            UserError: if the folder has no photos, or if one of them cannot be read.
        """
        size = self.network.resolutions[-1]
        if folder:
            return _load_folder(Path(folder), size)
        held = (self.environment or {}).get("dataset", {}).get("folder")
        if held is None or not shards.is_shards(held):
            return None
        opened = shards.Shards(held, verify=False)
        stored = opened.manifest.resolutions[-1]
        count = min(PHOTOS, opened.count(stored))
        images = opened.read(stored, np.linspace(0, opened.count(stored) - 1, count).astype(int))
        images = self.task.select_inputs(images)
        return images.repeat(3, axis=-1) if images.shape[-1] == 1 else images


def _load_folder(folder: Path, size: int) -> np.ndarray:
    """Return the first PHOTOS photos of a folder, cut to squares: uint8 [N, size, size, 3].

    Raise UserError if there are no photos, or if one of them cannot be read.
    """
    from pggan_tf.data import decode, listing

    if not folder.is_dir():
        raise UserError(f"--representative {folder}: not a folder. Expected a folder of photos.")
    found = listing.find_photos(folder)
    if not found.photos:
        raise listing.explain_none(f"--representative {folder}", found)
    files = [folder / name for name in found.photos[:PHOTOS]]

    def image(path: Path) -> np.ndarray:
        """Return a photo, cut to a square: uint8 [size, size, 3]."""
        try:
            return decode.cut_square(decode.decode_photo(path.read_bytes()), size)
        except decode.Unreadable as error:
            raise UserError(f"--representative {folder}: {path.name} cannot be used ({error}). Remove it.") from None

    return np.stack([image(p) for p in files])


def draw_portraits(size: int) -> np.ndarray:
    """Draw PHOTOS portraits, which replace photos in comparisons with Keras if there are none.

    size: side of a portrait in pixels, limited to portraits.LARGEST.

    Returns:
        uint8 [PHOTOS, size, size, 3].
    """
    from pggan_tf.data import portraits

    return np.stack([portraits.draw(i, min(size, portraits.LARGEST)) for i in range(PHOTOS)])


def open_source(path: str | Path) -> Source:
    """Load a network from the folder of a finished run, an exported folder, a .keras file or a hub.

    In its name, what is no Unicode is replaced by a question mark: most formats take nothing else.

    Raises:
        UserError: if the run has not ended, or if the file holds no generator.
    """
    source = _open(path)
    return replace(source, name=source.name.encode("utf-8", "replace").decode())


def _open(path: str | Path) -> Source:
    from pggan_tf.runs import generators

    if keras_files.is_location(path):
        folder, (repository, _) = hub.download(path), hub.parse(path)
        return replace(open_source(folder / keras_files.GENERATOR), name=repository.partition("/")[2])
    path = Path(pretrained.locate(path))
    if keras_files.is_run(path) and not (path / runs.GENERATOR).is_file():
        raise UserError(
            f"{path}: has no {runs.GENERATOR}, so the run has not ended. Go on with: pggan train --resume {shell_path(path)}"
        )
    network = generators.load(path)
    file = keras_files.find(path)
    file = file / keras_files.WEIGHTS if file.is_dir() else file
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    folder = file.parent
    if keras_files.is_run(folder) and file.name == runs.GENERATOR:
        until = records.read_kept(folder)
        return Source(folder.resolve().name, network, file, digest, *runs.read(folder), until)
    until = records.read_best(folder)
    if keras_files.is_run(folder) and file.name == runs.BEST_GENERATOR and until is not None:
        return Source(f"{folder.resolve().name}-best", network, file, digest, *runs.read(folder), until)
    if keras_files.is_exported(folder) and file.name in (runs.GENERATOR, keras_files.WEIGHTS):
        return _open_exported(network, file, digest)
    return Source(folder.resolve().name if path.is_dir() else file.stem, network, file, digest)


def _open_exported(network, file: Path, digest: str) -> Source:
    """Return the source for an exported folder, with the facts in its report.json and run.json.

    Args:
        network: the loaded network.
        file: its file in the folder.
        digest: sha256 of the file, in hexadecimal.
    """
    try:
        report = json.loads((file.parent / REPORT).read_text())
    except (OSError, ValueError, RecursionError):
        report = {}
    said = {k: str(v).split("\n")[0] for k, v in report.items() if v} if isinstance(report, dict) else {}
    name = said.get("source", file.parent.resolve().name)
    source = Source(name, network, file, digest, licence=said.get("licence"))
    return replace(source, plan=load(source.config_file)) if source.config_file else source
