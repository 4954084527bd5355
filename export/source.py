"""What is exported: a finished run, or a generator.keras that somebody passed on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pggan_tf import config as configs
from pggan_tf import records, shards
from pggan_tf.errors import UserError
from pggan_tf.training import run as runs

PHOTOS = 32  # that examples are made from: 16 to measure int8's ranges on, 16 others to compare


@dataclass(frozen=True)
class Source:
    """file: its generator.keras, of which sha256 is the hash. config, environment: None where there is no run around it."""

    name: str
    network: object
    file: Path
    sha256: str
    config: configs.Config | None = None
    environment: dict | None = None
    until: int | None = None  # images seen when a best.keras was kept

    @property
    def task(self) -> str:
        return self.network.task

    @property
    def folder(self) -> Path:
        return self.file.parent

    def about(self) -> str:
        """What it learned from, in a few words."""
        if self.environment is None:
            return "data that is not known here"
        held = self.environment["dataset"]
        what = "drawn portraits" if held["source"] == "portraits" else f"'{records.last_name(held['source'])}'"
        return f"{held['images']:,} images of {what}" if held["source"] != "portraits" else f"{held['images']:,} {what}"

    def metrics(self) -> dict[str, tuple[float, int]]:
        """Name of a metric -> (its last value, images seen then), from stats.jsonl."""
        path, found = self.folder / runs.STATS, {}
        if self.config is None or not path.is_file():
            return found
        for line in path.read_text().splitlines():
            try:
                values = json.loads(line)
                if self.until is not None and values["images"] > self.until:
                    break
                found |= {name: (float(v), values["images"]) for name, v in values.get("metrics", {}).items()}
            except (ValueError, KeyError):
                continue  # the line that was being written
        return found

    def images_seen(self) -> int:
        if self.until is not None:
            return self.until
        path = self.folder / runs.STATS
        lines = path.read_text().splitlines() if path.is_file() else []
        return max((json.loads(line).get("images", 0) for line in lines[-3:]), default=0)

    def photos(self, folder: str | None) -> np.ndarray | None:
        """Photos uint8 [N, S, S, 3] for examples: of `folder` (--representative), else of the run's own data; None where that
        is gone."""
        size = self.network.resolutions[-1]
        if folder:
            return _photos(Path(folder), size)
        held = (self.environment or {}).get("dataset", {}).get("folder")
        if held is None or not shards.is_shards(held):
            return None
        opened = shards.Shards(held, verify=False)
        stored = opened.manifest.resolutions[-1]
        count = min(PHOTOS, opened.count(stored))
        images = opened.read(stored, np.linspace(0, opened.count(stored) - 1, count).astype(int))
        if images.shape[-1] == 1:
            return images.repeat(3, axis=-1)
        # Six channels are a pair, of which one is to be translated.
        return images[..., 3:] if self.config and self.config.reverse else images[..., :3]


def _photos(folder: Path, size: int) -> np.ndarray:
    from preprocessing import decode

    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in decode.EXTENSIONS and p.name[0] != ".")[:PHOTOS]
    if not files:
        raise UserError(
            f"--representative {folder}: no images found. Expected a folder of {', '.join(decode.EXTENSIONS)}."
        )

    def image(path: Path) -> np.ndarray:
        try:
            return decode.square(decode.photo(path.read_bytes()), size)
        except decode.Unreadable as error:
            raise UserError(f"--representative {folder}: {path.name} cannot be used ({error}). Remove it.") from None

    return np.stack([image(p) for p in files])


def drawn(size: int) -> np.ndarray:
    """Portraits in place of photos, for comparisons that any picture serves."""
    from preprocessing.sources import portraits

    return np.stack([portraits.portrait(i, min(size, portraits.LARGEST)) for i in range(PHOTOS)])


def open(path: str | Path) -> Source:
    """A finished run's folder, or a .keras file."""
    from pggan_tf import synthesis

    path = Path(path)
    if (path / runs.CONFIG).is_file() and not (path / runs.GENERATOR).is_file():
        raise UserError(
            f"{path}: has no {runs.GENERATOR}, so the run has not ended. Go on with: pggan train --resume {path}"
        )
    network = synthesis.load(path)
    file = path / runs.GENERATOR if path.is_dir() else path
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    run, best = file.parent, file.parent / runs.BEST
    if (run / runs.CONFIG).is_file() and file.name == runs.GENERATOR:
        return Source(run.resolve().name, network, file, digest, *runs.read(run))
    if (run / runs.CONFIG).is_file() and file.name == runs.BEST_GENERATOR and best.is_file():
        until = json.loads(best.read_text())["images"]
        return Source(f"{run.resolve().name}-best", network, file, digest, *runs.read(run), until)
    return Source(file.stem, network, file, digest)
