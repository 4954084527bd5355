"""The on-disk dataset: a folder of `.npz` files and a manifest.

Each file holds, for a few thousand images, one uint8 array [N, R, R, C] per resolution, named "4", "8", ... and, where
there are classes, "labels" [N] int64. Members are stored uncompressed and mapped straight out of the zip, so a phase at
4x4 touches 4x4 pixels and nothing else. The manifest is written last: a folder without one is not a dataset.
"""

from __future__ import annotations

import hashlib
import json
import mmap
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

FORMAT, VERSION = "pggan-tf shards", 1
MANIFEST = "manifest.json"
LABELS = "labels"
_SHARD_BYTES = 64 << 20


@dataclass(frozen=True)
class Manifest:
    """What a dataset holds. shards: a list of {file, images, sha256}; classes: names by label, or empty."""

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
    """Takes images one by one, keeps one shard's worth in memory, and writes the manifest on `close`.

    resolutions: every one a divisor of the last, the full one; smaller ones are exact block means of the full image.
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
        self._images: dict[int, list[np.ndarray]] = {r: [] for r in self.resolutions}
        self._labels: list[int] = []
        self._shards: list[dict] = []
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def images(self) -> int:
        return sum(s["images"] for s in self._shards) + len(self._labels)

    def add(self, image: np.ndarray, label: int = 0) -> None:
        """image: uint8 [R, R, channels] at the full resolution."""
        full = self.resolutions[-1]
        if image.shape != (full, full, self.channels) or image.dtype != np.uint8:
            raise ValueError(f"image {image.dtype} {image.shape}: expected uint8 {(full, full, self.channels)}.")
        for r in self.resolutions:
            self._images[r].append(pixels.block_mean(image, full // r))
        self._labels.append(label)
        if len(self._labels) == self.shard_images:
            self._flush()

    def _flush(self) -> None:
        if not self._labels:
            return
        name = f"shard-{len(self._shards):05d}.npz"
        arrays = {str(r): np.stack(images) for r, images in self._images.items()}
        if self.classes:
            arrays[LABELS] = np.array(self._labels, np.int64)
        partial = self.folder / f".{name}.partial"
        with partial.open("wb") as file:
            (np.savez_compressed if self.compress else np.savez)(file, **arrays)
        digest = _sha256(partial)
        partial.replace(self.folder / name)
        self._shards.append({"file": name, "images": len(self._labels), "sha256": digest})
        self._images, self._labels = {r: [] for r in self.resolutions}, []

    def close(self, skipped: int = 0) -> Manifest:
        self._flush()
        manifest = Manifest(
            self.images,
            self.resolutions,
            self.channels,
            self.classes,
            self.source,
            self.filter,
            tuple(self._shards),
            skipped,
        )
        partial = self.folder / f".{MANIFEST}.partial"
        partial.write_text(json.dumps(asdict(manifest), indent=1))
        partial.replace(self.folder / MANIFEST)
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
    """An opened dataset. Raises UserError for a folder that holds none, DamagedFile where the content is not what was written."""

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
            self._starts = np.cumsum([0, *(s["images"] for s in self.manifest.shards)])
        except (TypeError, KeyError) as error:
            raise DamagedFile(f"{self.folder / MANIFEST}: incomplete ({error}). Prepare the dataset again.") from None
        if verify:
            self.verify()
        self._files = [_File(self.folder / s["file"], s["images"]) for s in self.manifest.shards]
        self._arrays: dict[str, list[np.ndarray]] = {}

    def __len__(self) -> int:
        return self.manifest.images

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

    def open(self, name: str) -> list[np.ndarray]:
        """The arrays of that name, "4", "8", ... or "labels", one per file. Raises DamagedFile."""
        if name not in self._arrays:
            self._arrays[name] = [file.array(name) for file in self._files]
        return self._arrays[name]

    def _gather(self, name: str, indices: np.ndarray) -> np.ndarray:
        opened = self.open(name)
        shard_of = np.searchsorted(self._starts, indices, side="right") - 1
        out = np.empty((len(indices), *opened[0].shape[1:]), opened[0].dtype)
        for s in np.unique(shard_of):
            here = shard_of == s
            out[here] = opened[s][indices[here] - self._starts[s]]
            self._files[s].give_back()
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
        """indices [N] -> uint8 [N, resolution, resolution, channels]."""
        stored = self.stored_for(resolution)
        return (
            pixels.block_mean(images, stored // resolution)
            if (images := self._gather(str(stored), indices)).shape[1] != resolution
            else images
        )

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """indices [N] -> int64 [N]; zeros where the dataset has no classes."""
        return self._gather(LABELS, indices) if self.manifest.classes else np.zeros(len(indices), np.int64)
