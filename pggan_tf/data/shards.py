"""The on-disk dataset: a folder of `.npz` files and a manifest.

Each file holds, for a few thousand images, one uint8 array [N, R, R, C] per resolution, named "4", "8", ... and, where
there are classes, "labels" [N] int64. Images that were smaller than the rest have files of their own, which end at their size:
a stage reads the files that have its resolution. Members are stored uncompressed and mapped straight out of the zip, so a phase at
4x4 touches 4x4 pixels and nothing else, and all files into one range of addresses, so their number does not matter. The manifest is written last: a folder without one is not a dataset.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import threading
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from pggan_tf.data import pixels
from pggan_tf.data.mapped import MappedFiles, SeparatelyMappedFiles, check_array, explain, find_array, map_files, opened
from pggan_tf.errors import DamagedFile, UserError
from pggan_tf.files import atomic_write

FORMAT, VERSION = "pggan-tf shards", 1
MANIFEST = "manifest.json"
LABELS = "labels"
_SHARD_BYTES = 64 << 20
# In place of where an array begins.
_COMPRESSED, _NOT_THERE = -1, -2


@dataclass(frozen=True)
class Manifest:
    """What a dataset holds. shards: a list of {file, images, sha256, largest: px}; classes: names by label, or empty."""

    images: int
    resolutions: tuple[int, ...]
    channels: int
    classes: tuple[str, ...]
    source: str
    filter: str
    shards: tuple[dict, ...]
    skipped: int = 0
    version: int = VERSION
    format: str = FORMAT

    @property
    def checksum(self) -> str:
        """Of the files' content: equal for the same images, prepared in the same way, wherever they lie."""
        text = json.dumps([[s["images"], s["sha256"]] for s in self.shards])
        return hashlib.sha256(text.encode()).hexdigest()


def cache_folder(given: str | None = None) -> Path:
    """--cache, else $PGGAN_CACHE, else the user's cache folder."""
    if chosen := given or os.environ.get("PGGAN_CACHE"):
        return Path(chosen)
    usual = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
    if usual.parts[0] == "~":
        raise UserError("this user has no home folder for prepared data. Give --cache FOLDER, or set PGGAN_CACHE.")
    return usual / "pggan-tf"


def is_shards(location: str | Path) -> bool:
    """Whether a folder holds a manifest of ours: an app's folder of pictures may have a manifest.json too."""
    try:
        manifest = json.loads((Path(location) / MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def default_resolutions(full: int) -> tuple[int, ...]:
    """Halvings of `full` down to 4 (or to the last even one): 96 -> 6, 12, 24, 48, 96."""
    out = [full]
    while out[0] % 2 == 0 and out[0] >= 8:
        out.insert(0, out[0] // 2)
    return tuple(out)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Writer:
    """Takes images one by one, keeps one file's worth in memory, and writes the manifest on `close`.

    resolutions: every one a divisor of the last, the full one; smaller ones are exact block means of the image as it came.
    shard_images: per file; by default what makes about 64 MB, so that memory does not depend on the images' size.
    """

    def __init__(
        self,
        folder: str | Path,
        resolutions: Sequence[int],
        channels: int = 3,
        classes: Sequence[str] = (),
        source: str = "",
        filter: str = "",
        shard_images: int | None = None,
        compress: bool = False,
    ):
        self.folder = Path(folder)
        self.resolutions, self.channels = tuple(sorted(resolutions)), channels
        full = self.resolutions[-1]
        if unfit := [r for r in self.resolutions if r < 1 or full % r]:
            raise UserError(
                f"resolution {unfit[0]}: not a divisor of {full}. A stage's images are exact block means of the full size."
            )
        self.classes, self.source, self.filter = tuple(classes), source, filter
        self.shard_images = shard_images or max(1, min(4096, _SHARD_BYTES // (full * full * channels)))
        self.compress = compress
        # Size of an image -> those that wait for their file to be full, with their labels.
        self._waiting: dict[int, list[tuple[np.ndarray, int]]] = {}
        self._shards: list[dict] = []
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def images(self) -> int:
        return sum(s["images"] for s in self._shards) + sum(map(len, self._waiting.values()))

    def add(self, image: np.ndarray, label: int = 0) -> None:
        """image: uint8 [R, R, channels], R one of the resolutions."""
        size = len(image)
        if image.shape != (size, size, self.channels) or image.dtype != np.uint8 or size not in self.resolutions:
            raise ValueError(
                f"image {image.dtype} {image.shape}: expected a uint8 square of {self.channels} channels and {self.resolutions} px."
            )
        waiting = self._waiting.setdefault(size, [])
        waiting.append((image, label))
        if len(waiting) == self.shard_images:
            self._flush(size)

    def _flush(self, size: int) -> None:
        images, labels = zip(*self._waiting.pop(size))
        name = f"shard-{len(self._shards):05d}.npz"
        full = np.stack(images)
        arrays = {str(r): pixels.block_mean(full, size // r) for r in self.resolutions if r <= size}
        if self.classes:
            arrays[LABELS] = np.array(labels, np.int64)
        with atomic_write(self.folder / name, only_writer=True) as partial:
            (np.savez_compressed if self.compress else np.savez)(partial, **arrays)
            digest = _sha256(partial)
        self._shards.append({"file": name, "images": len(labels), "sha256": digest, "largest": size})

    def state(self) -> tuple[dict[str, np.ndarray], list[dict]]:
        """What a later writer goes on from: the images that wait for their file, and the files that are finished."""
        arrays = {}
        for size, waiting in self._waiting.items():
            images, labels = zip(*waiting)
            arrays |= {f"{size}/images": np.stack(images), f"{size}/labels": np.array(labels, np.int64)}
        return arrays, list(self._shards)

    def restore(self, arrays: dict[str, np.ndarray], finished: list[dict]) -> None:
        self._shards = list(finished)
        for name, images in arrays.items():
            if name.endswith("/images"):
                size = int(name.split("/")[0])
                self._waiting[size] = list(zip(images, arrays[f"{size}/labels"].tolist()))

    def close(self, skipped: int = 0) -> Manifest:
        for size in sorted(self._waiting):
            self._flush(size)
        largest = max((s["largest"] for s in self._shards), default=self.resolutions[-1])
        manifest = Manifest(
            self.images,
            tuple(r for r in self.resolutions if r <= largest),
            self.channels,
            self.classes,
            self.source,
            self.filter,
            tuple(self._shards),
            skipped,
        )
        with atomic_write(self.folder / MANIFEST, only_writer=True) as partial:
            partial.write_text(json.dumps(asdict(manifest), indent=1))
        return manifest


class Shards:
    """An opened dataset. Raises UserError for a folder that holds none, DamagedFile where the content is not what was written.

    verify: every file is compared with its checksum; once on each machine, while its size and time stay what they are.
    """

    def __init__(self, folder: str | Path, verify: bool = True):
        self.folder = Path(folder)
        try:
            raw = json.loads((self.folder / MANIFEST).read_text())
        except FileNotFoundError:
            raise UserError(
                f"{folder}: no {MANIFEST}, so not a folder of shards. Make one with: pggan prepare SOURCE {folder}"
            ) from None
        except json.JSONDecodeError as error:
            raise DamagedFile(f"{self.folder / MANIFEST}: not JSON ({error}). Prepare the dataset again.") from None
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise UserError(f"{self.folder / MANIFEST}: not the manifest of a folder of shards.")
        if raw["version"] > VERSION:
            raise UserError(
                f"{folder}: written by a newer version (format {raw['version']}, this one reads up to {VERSION}). Update pggan-tf."
            )
        try:
            self.manifest = Manifest(**{k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()})
            if bad := [s["file"] for s in self.manifest.shards if not re.fullmatch(r"shard-\d+\.npz", s["file"])]:
                raise DamagedFile(
                    f"{self.folder / MANIFEST}: names a file '{bad[0]}'. Expected shard-00000.npz and so on."
                )
            full = self.manifest.resolutions[-1]
            self._counts = np.array([s["images"] for s in self.manifest.shards], np.int64)
            self._largest = np.array([s.get("largest", full) for s in self.manifest.shards], np.int64)
        except (TypeError, KeyError, IndexError, ValueError, OverflowError) as error:
            raise DamagedFile(f"{self.folder / MANIFEST}: incomplete ({error}). Prepare the dataset again.") from None
        if verify and not (seen := self._seen()).exists():
            self.verify()
            with contextlib.suppress(OSError):  # then it is done again the next time
                seen.parent.mkdir(parents=True, exist_ok=True)
                seen.touch()
        self._holding: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._maps: MappedFiles | SeparatelyMappedFiles | None = None
        self._last_unpacked: tuple[tuple[str, int], np.ndarray] | None = None
        self._lock = threading.Lock()  # images are read by several threads

    def __len__(self) -> int:
        return self.manifest.images

    def _seen(self) -> Path:
        """The file that says that just these files have been verified."""
        files = []
        for shard in self.manifest.shards:
            with contextlib.suppress(OSError):  # what is missing is told by `verify`
                about = (self.folder / shard["file"]).stat()
                files.append([shard["sha256"], about.st_size, about.st_mtime_ns, about.st_ino])
        key = json.dumps([str(self.folder.resolve()), self.manifest.checksum, files])
        return cache_folder(None) / "seen" / f"verified-{hashlib.sha256(key.encode()).hexdigest()[:24]}"

    def verify(self) -> None:
        """Compares every shard with its checksum; names the damaged ones."""

        def state(shard):
            path = self.folder / shard["file"]
            try:
                return None if _sha256(path) == shard["sha256"] else f"{shard['file']} is damaged"
            except FileNotFoundError:
                return f"{shard['file']} is missing"
            except OSError as error:
                raise explain(path, error) from None

        with ThreadPoolExecutor(4) as pool:
            if bad := [s for s in pool.map(state, self.manifest.shards) if s]:
                raise DamagedFile(
                    f"{self.folder}: {', '.join(bad[:5])}{' ...' if len(bad) > 5 else ''} (sha256 differs from {MANIFEST}). "
                    "Prepare the dataset again, or restore the file."
                )

    def _held_by(self, stored: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the files that hold that resolution, and where each one's images begin among theirs."""
        if stored not in self._holding:
            files = np.flatnonzero(self._largest >= stored)
            self._holding[stored] = files, np.concatenate([[0], np.cumsum(self._counts[files])])
        return self._holding[stored]

    def count(self, resolution: int) -> int:
        """How many images there are at `resolution`: all of them, but for those that came smaller."""
        return int(self._held_by(self.stored_for(resolution))[1][-1])

    def open(self, stored: int) -> None:
        """Opens every array of a stored resolution. Raises DamagedFile."""
        self._locate(self._held_by(stored)[0])

    def _path(self, file: int) -> Path:
        return self.folder / self.manifest.shards[file]["file"]

    def _layout(self, name: str, file: int) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array of a file."""
        count = int(self._counts[file])
        if name == LABELS:
            return (count,), np.dtype(np.int64)
        return (count, int(name), int(name), self.manifest.channels), np.dtype(np.uint8)

    def _locate(self, files: np.ndarray) -> None:
        """Maps those of these files that are not mapped yet, and notes where their arrays lie."""
        with self._lock:
            if self._maps is None:
                self._reserve()
            for file in np.unique(files[~self._located[files]]).tolist():
                with opened(self._path(file)) as (stream, archive):
                    for name, first in self._first.items():
                        if name == LABELS or int(name) <= self._largest[file]:
                            at = find_array(stream, archive, name, *self._layout(name, file))
                            first[file] = _COMPRESSED if at is None else self._maps.starts[file] + at
                    self._maps.map(file, stream)
                self._located[file] = True

    def _reserve(self) -> None:
        sizes = []
        for file in range(len(self._counts)):
            try:
                sizes.append(self._path(file).stat().st_size)
            except OSError as error:
                raise explain(self._path(file), error) from None
        names = [*map(str, self.manifest.resolutions), *([LABELS] if self.manifest.classes else [])]
        self._located = np.zeros(len(sizes), bool)
        self._first = {name: np.full(len(sizes), _NOT_THERE, np.int64) for name in names}
        self._maps = map_files(sizes)

    def _unpacked(self, name: str, file: int) -> np.ndarray:
        """A compressed array in memory. The last one is kept, for images that are asked for in the order of the files."""
        last = self._last_unpacked
        if last is None or last[0] != (name, file):
            with opened(self._path(file)) as (_, archive), archive.open(f"{name}.npy") as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
                check_array(name, array.shape, array.dtype, not array.flags.c_contiguous, *self._layout(name, file))
            self._last_unpacked = last = (name, file), array
        return last[1]

    def _gather(self, name: str, stored: int, indices: np.ndarray) -> np.ndarray:
        files, begins = self._held_by(stored)
        if len(indices) and not 0 <= indices.min() <= indices.max() < begins[-1]:
            raise IndexError(f"image {indices.min()} to {indices.max()} of {begins[-1]}")
        place = np.searchsorted(begins, indices, side="right") - 1
        file_of, number = files[place], indices - begins[place]
        if self._maps is None or not self._located[file_of].all():
            self._locate(file_of)
        (_, *shape), dtype = self._layout(name, 0)
        first = self._first[name][file_of]
        if (first != _COMPRESSED).all():
            size = dtype.itemsize * math.prod(shape)
            return self._maps.read(first + number * size, size).view(dtype).reshape(-1, *shape)
        out = np.empty((len(indices), *shape), dtype)
        for file in np.unique(file_of).tolist():
            here = file_of == file
            out[here] = self._unpacked(name, file)[number[here]]
        return out

    @property
    def compressed(self) -> bool:
        """Whether any file has members that cannot be mapped."""
        self._locate(np.arange(len(self._counts)))
        return any((first == _COMPRESSED).any() for first in self._first.values())

    def unpack(self, out: Path) -> None:
        """Writes the same dataset with stored members into the new folder `out`, a piece at a time."""
        out.mkdir(parents=True)
        files = []
        for shard in self.manifest.shards:
            with (
                zipfile.ZipFile(self.folder / shard["file"]) as archive,
                zipfile.ZipFile(out / shard["file"], "w", zipfile.ZIP_STORED) as stored,
            ):
                for info in archive.infolist():
                    with archive.open(info) as source, stored.open(info.filename, "w", force_zip64=True) as target:
                        shutil.copyfileobj(source, target, 1 << 20)
            files.append({**shard, "sha256": _sha256(out / shard["file"])})
        (out / MANIFEST).write_text(json.dumps(asdict(replace(self.manifest, shards=tuple(files))), indent=1))

    def stored_for(self, resolution: int) -> int:
        """The smallest stored resolution that `resolution` is an exact block mean of."""
        fit = [r for r in self.manifest.resolutions if r % resolution == 0]
        if not fit:
            raise UserError(
                f"{self.folder}: holds {', '.join(map(str, self.manifest.resolutions))} px, and {resolution} px divides none of them. "
                f"Prepare the dataset with --resolutions that include {resolution}."
            )
        return min(fit)

    def read(self, resolution: int, indices: np.ndarray) -> np.ndarray:
        """indices [N] in 0..count(resolution)-1 -> uint8 [N, resolution, resolution, channels]."""
        stored = self.stored_for(resolution)
        return pixels.block_mean(self._gather(str(stored), stored, indices), stored // resolution)

    def labels(self, resolution: int, indices: np.ndarray) -> np.ndarray:
        """The classes of the same images, int64 [N]; zeros where the dataset has none."""
        if not self.manifest.classes:
            return np.zeros(len(indices), np.int64)
        return self._gather(LABELS, self.stored_for(resolution), indices)
