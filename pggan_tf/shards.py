"""The on-disk dataset: a folder of `.npz` files and a manifest.

Each file holds, for a few thousand images, one uint8 array [N, R, R, C] per resolution, named "4", "8", ... and, where
there are classes, "labels" [N] int64. Images that were smaller than the rest have files of their own, which end at their size:
a stage reads the files that have its resolution. Members are stored uncompressed and mapped straight out of the zip, so a phase at
4x4 touches 4x4 pixels and nothing else. The manifest is written last: a folder without one is not a dataset.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import re
import shutil
import struct
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from pggan_tf import pixels
from pggan_tf.errors import DamagedFile, UserError
from pggan_tf.files import whole

FORMAT, VERSION = "pggan-tf shards", 1
MANIFEST = "manifest.json"
LABELS = "labels"
_SHARD_BYTES = 64 << 20


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
        with whole(self.folder / name, alone=True) as partial:
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
        with whole(self.folder / MANIFEST, alone=True) as partial:
            partial.write_text(json.dumps(asdict(manifest), indent=1))
        return manifest


class _File:
    """One opened .npz: a single memory map, shared by the arrays of every resolution."""

    def __init__(self, path: Path, images: int):
        self.path, self.images = path, images
        self._map: mmap.mmap | None = None

    def array(self, name: str) -> np.ndarray:
        """The array `name`: mapped where it lies if it is stored, read into memory if it is compressed."""
        try:
            with self.path.open("rb") as file, zipfile.ZipFile(file) as archive:
                array = self._array(name, file, archive)
        except KeyError:
            raise DamagedFile(
                f"{self.path}: has no array '{name}', which its manifest promises. Prepare the dataset again."
            ) from None
        except (OSError, zipfile.BadZipFile, ValueError, struct.error) as error:
            raise DamagedFile(f"{self.path}: cannot be read ({error}). Prepare the dataset again.") from None
        if len(array) != self.images:
            raise DamagedFile(
                f"{self.path}: array '{name}' holds {len(array)} images, the manifest says {self.images}."
            )
        return array

    def _array(self, name: str, file, archive: zipfile.ZipFile) -> np.ndarray:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            with archive.open(info) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)
        # The local header's name and extra field may differ in length from the directory's: their sizes stand at 26.
        file.seek(info.header_offset + 26)
        name_length, extra_length = struct.unpack("<HH", file.read(4))
        file.seek(info.header_offset + 30 + name_length + extra_length)
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject or fortran:
            raise ValueError(
                f"array '{name}' is {'pickled' if dtype.hasobject else 'in Fortran order'}, not plain numbers in C order"
            )
        self._map = self._map or mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.ndarray(shape, dtype, buffer=self._map, offset=file.tell())

    def give_back(self) -> None:
        """Unmaps what was read. It is the system's cache, but counts as the process's memory, up to 2 MB for every page that
        was touched, and a large dataset would look like a leak."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


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
            self._counts = [s["images"] for s in self.manifest.shards]
            self._largest = [s.get("largest", self.manifest.resolutions[-1]) for s in self.manifest.shards]
        except (TypeError, KeyError, IndexError) as error:
            raise DamagedFile(f"{self.folder / MANIFEST}: incomplete ({error}). Prepare the dataset again.") from None
        if verify and not (seen := self._seen()).exists():
            self.verify()
            with contextlib.suppress(OSError):  # then it is done again the next time
                seen.parent.mkdir(parents=True, exist_ok=True)
                seen.touch()
        self._files = [_File(self.folder / s["file"], s["images"]) for s in self.manifest.shards]
        self._arrays: dict[tuple[int, str], np.ndarray] = {}

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
            if not path.is_file():
                return f"{shard['file']} is missing"
            return None if _sha256(path) == shard["sha256"] else f"{shard['file']} is damaged"

        with ThreadPoolExecutor(4) as pool:
            if bad := [s for s in pool.map(state, self.manifest.shards) if s]:
                raise DamagedFile(
                    f"{self.folder}: {', '.join(bad[:5])}{' ...' if len(bad) > 5 else ''} (sha256 differs from {MANIFEST}). "
                    "Prepare the dataset again, or restore the file."
                )

    def _holding(self, stored: int) -> tuple[list[int], np.ndarray]:
        """Numbers of the files that hold that resolution, and where each one's images begin among theirs."""
        files = [i for i, largest in enumerate(self._largest) if largest >= stored]
        return files, np.cumsum([0, *(self._counts[i] for i in files)])

    def count(self, resolution: int) -> int:
        """How many images there are at `resolution`: all of them, but for those that came smaller."""
        return int(self._holding(self.stored_for(resolution))[1][-1])

    def open(self, stored: int) -> None:
        """Opens every array of a stored resolution. Raises DamagedFile."""
        for i in self._holding(stored)[0]:
            self._array(i, str(stored))

    def _array(self, file: int, name: str) -> np.ndarray:
        if (file, name) not in self._arrays:
            self._arrays[file, name] = self._files[file].array(name)
        return self._arrays[file, name]

    def _gather(self, name: str, stored: int, indices: np.ndarray) -> np.ndarray:
        files, starts = self._holding(stored)
        file_of = np.searchsorted(starts, indices, side="right") - 1
        first = self._array(files[0], name)
        out = np.empty((len(indices), *first.shape[1:]), first.dtype)
        for f in np.unique(file_of):
            here = file_of == f
            out[here] = self._array(files[f], name)[indices[here] - starts[f]]
            self._files[files[f]].give_back()
        return out

    @property
    def compressed(self) -> bool:
        """Whether any file has members that cannot be mapped."""
        for shard in self.manifest.shards:
            with zipfile.ZipFile(self.folder / shard["file"]) as archive:
                if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                    return True
        return False

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
