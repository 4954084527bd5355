"""Read a dataset on disk: a folder of `.npz` files, called shards, and a manifest.

The manifest is a JSON file that describes the dataset (see `writer.Manifest`). It is written last:
a folder without a manifest is not a dataset.

Each shard holds up to a few thousand images: one uint8 array [N, H, W, C] for each resolution,
which is the longer of H and W, named "4", "8", ..., and, if there are classes, an int64 array [N]
named "labels". These resolutions are called stored resolutions. Images that were smaller than the rest are in separate shards, which
lack the larger resolutions. Training at a resolution uses only the shards that have it.

Arrays are usually not compressed. They are then mapped into memory (see `mapped`), so training at
4x4 pixels reads the array "4" and nothing else from the disk. All shards are mapped into one range
of addresses, so it does not matter how many there are.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from pggan_tf.data import pixels
from pggan_tf.data.mapped import (
    MappedFiles,
    SeparatelyMappedFiles,
    check_array,
    explain_error,
    find_array,
    map_files,
    open_npz,
)
from pggan_tf.data.writer import FORMAT, LABELS, MANIFEST, VERSION, Manifest, Writer, halve_resolution, hash_file  # noqa: F401
from pggan_tf.errors import DamagedFile, UserError

# Values in place of the offset of an array that cannot be mapped, or that a file does not have.
_COMPRESSED, _NOT_THERE = -1, -2


def find_cache_folder(option: str | None = None) -> Path:
    """Return the cache: the folder where prepared datasets are kept.

    Args:
        option: the folder given with --cache. If it is None, $PGGAN_CACHE is used, or else the
            folder pggan-tf in the user's cache folder.

    Raises:
        UserError: if none is given and the user has no home folder.
    """
    if chosen := option or os.environ.get("PGGAN_CACHE"):
        return Path(chosen)
    usual = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
    if usual.parts[0] == "~":
        raise UserError("this user has no home folder for prepared data. Give --cache FOLDER, or set PGGAN_CACHE.")
    return usual / "pggan-tf"


def is_shards(location: str | Path) -> bool:
    """Return whether a folder on this machine holds a dataset.

    The content of its manifest decides, because other programs also write files named
    manifest.json.
    """
    try:
        manifest = json.loads((Path(location) / MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


class Shards:
    """Dataset that is open for reading. Several threads may read from it.

    Args:
        folder: the folder with the manifest.
        verify: compare every file with its checksum, unless this was done before on this machine
            and sizes and times of the files are still the same.

    Raises:
        UserError: if the folder holds no dataset.
        DamagedFile: if the content of the folder is not what was written.
    """

    def __init__(self, folder: str | Path, verify: bool = True):
        self.folder = Path(folder)
        try:
            raw = json.loads((self.folder / MANIFEST).read_text())
        except FileNotFoundError:
            place, what = (folder, "SHARDS") if self.folder.is_dir() else ("PHOTOS", folder)
            raise UserError(
                f"{folder}: no {MANIFEST}, so not a folder of shards. Make one with: pggan prepare {place} {what} --size N"
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
        if verify and not (seen := self._verified_marker()).exists():
            self.verify()
            # Without the marker, all files are compared again the next time.
            with contextlib.suppress(OSError):
                seen.parent.mkdir(parents=True, exist_ok=True)
                seen.touch()
        self._files_of: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._maps: MappedFiles | SeparatelyMappedFiles | None = None
        self._last_unpacked: tuple[tuple[str, int], np.ndarray] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Shards({str(self.folder)!r}, {len(self):,} images)"

    @property
    def location(self) -> str:
        """Path of the folder as text."""
        return str(self.folder)

    def __len__(self) -> int:
        return self.manifest.images

    def _verified_marker(self) -> Path:
        """Return the path of an empty file that exists if the dataset's files were verified before.

        The path depends on sizes, times and checksums of the files.
        """
        files = []
        for shard in self.manifest.shards:
            with contextlib.suppress(OSError):  # `verify` reports a missing file
                about = (self.folder / shard["file"]).stat()
                files.append([shard["sha256"], about.st_size, about.st_mtime_ns, about.st_ino])
        key = json.dumps([str(self.folder.resolve()), self.manifest.checksum, files])
        return find_cache_folder(None) / "seen" / f"verified-{hashlib.sha256(key.encode()).hexdigest()[:24]}"

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raise DamagedFile with the names of files that are damaged or missing.
        """

        def find_damage(shard):
            path = self.folder / shard["file"]
            try:
                return None if hash_file(path) == shard["sha256"] else f"{shard['file']} is damaged"
            except FileNotFoundError:
                return f"{shard['file']} is missing"
            except OSError as error:
                raise explain_error(path, error) from None

        with ThreadPoolExecutor(4) as pool:
            if bad := [s for s in pool.map(find_damage, self.manifest.shards) if s]:
                raise DamagedFile(
                    f"{self.folder}: {', '.join(bad[:5])}{' ...' if len(bad) > 5 else ''} (sha256 differs from {MANIFEST}). "
                    "Prepare the dataset again, or restore the file."
                )

    def _find_files(self, stored: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the files that have a stored resolution.

        Returns:
            (indices of these F files in the manifest, int64 [F]; bounds, int64 [F + 1]). Of all
            images with this resolution, numbers bounds[i] to bounds[i + 1] - 1 are in the i-th of
            the files.
        """
        if stored not in self._files_of:
            files = np.flatnonzero(self._largest >= stored)
            self._files_of[stored] = files, np.concatenate([[0], np.cumsum(self._counts[files])])
        return self._files_of[stored]

    def count(self, resolution: int) -> int:
        """Return the number of images at a resolution, without those that were prepared smaller."""
        return int(self._find_files(self.find_stored(resolution))[1][-1])

    def open(self, stored: int) -> None:
        """Map all files that have the stored resolution `stored`, before any image is read.

        Otherwise, a file is mapped when the first of its images is read. Raise DamagedFile if one
        of the files is missing or not as expected.
        """
        self._locate(self._find_files(stored)[0])

    def _path(self, file: int) -> Path:
        return self.folder / self.manifest.shards[file]["file"]

    def _layout(self, name: str, file: int) -> tuple[tuple[int, ...], np.dtype]:
        """Return (shape, type) that the manifest requires of the array `name` in a file.

        Args:
            name: a stored resolution, such as "8", or LABELS.
            file: index of the file in the manifest.
        """
        count = int(self._counts[file])
        if name == LABELS:
            return (count,), np.dtype(np.int64)
        return (count, *self.manifest.shape_at(int(name)), self.manifest.channels), np.dtype(np.uint8)

    def _locate(self, files: np.ndarray) -> None:
        """Map the files that are not mapped yet, and store the offsets of their arrays.

        files: indices of files in the manifest, int64 [F]; they may occur several times.
        """
        with self._lock:
            if self._maps is None:
                self._reserve_addresses()
            for file in np.unique(files[~self._located[files]]).tolist():
                with open_npz(self._path(file)) as (stream, archive):
                    for name, first in self._first.items():
                        if name == LABELS or int(name) <= self._largest[file]:
                            at = find_array(stream, archive, name, *self._layout(name, file))
                            first[file] = _COMPRESSED if at is None else self._maps.starts[file] + at
                    self._maps.map(file, stream)
                self._located[file] = True

    def _reserve_addresses(self) -> None:
        """Reserve memory addresses for all files according to their sizes, without mapping them."""
        sizes = []
        for file in range(len(self._counts)):
            try:
                sizes.append(self._path(file).stat().st_size)
            except OSError as error:
                raise explain_error(self._path(file), error) from None
        names = [*map(str, self.manifest.resolutions), *([LABELS] if self.manifest.classes else [])]
        self._located = np.zeros(len(sizes), bool)
        self._first = {name: np.full(len(sizes), _NOT_THERE, np.int64) for name in names}
        self._maps = map_files(sizes)

    def _unpack_array(self, name: str, file: int) -> np.ndarray:
        """Unpack the compressed array `name` of the file at index `file`, and return it.

        The last array stays in memory, so that images in the order of the files are read quickly.
        """
        last = self._last_unpacked
        if last is None or last[0] != (name, file):
            with open_npz(self._path(file)) as (_, archive), archive.open(f"{name}.npy") as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
                check_array(name, array.shape, array.dtype, not array.flags.c_contiguous, *self._layout(name, file))
            self._last_unpacked = last = (name, file), array
        return last[1]

    def _gather(self, name: str, stored: int, indices: np.ndarray) -> np.ndarray:
        """Read the rows of some images from the arrays called `name` of all files.

        Args:
            name: a stored resolution, such as "8", or LABELS.
            stored: stored resolution whose images are counted.
            indices: numbers of the images [N] among all images with this resolution.

        Returns:
            Array [N, ...]: pixels or labels.
        """
        files, begins = self._find_files(stored)
        indices = np.asarray(indices)
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
            out[here] = self._unpack_array(name, file)[number[here]]
        return out

    @property
    def compressed(self) -> bool:
        """Whether any array is compressed and therefore cannot be mapped."""
        self._locate(np.arange(len(self._counts)))
        return any((first == _COMPRESSED).any() for first in self._first.values())

    def unpack(self, out: Path) -> None:
        """Write a copy of the dataset with uncompressed arrays into the new folder `out`."""
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
            files.append({**shard, "sha256": hash_file(out / shard["file"])})
        (out / MANIFEST).write_text(replace(self.manifest, shards=tuple(files)).to_json())

    def find_stored(self, resolution: int) -> int:
        """Return the smallest stored resolution that is a multiple of `resolution`.

        Raise UserError if there is none.
        """
        fit = [r for r in self.manifest.resolutions if r % resolution == 0]
        if not fit:
            raise UserError(
                f"{self.folder}: holds {', '.join(map(self.manifest.name_size, self.manifest.resolutions))} px, and {resolution} px divides none of them. "
                + (
                    f"Prepare the dataset with --resolutions that include {resolution}."
                    if resolution < self.manifest.resolutions[-1]
                    else f"Give --target-res {self.manifest.name_size(self.manifest.resolutions[-1])}, or prepare the photos again with a larger --size."
                )
            )
        return min(fit)

    def read(self, resolution: int, indices: np.ndarray) -> np.ndarray:
        """Read images and return them as uint8 [N, H, W, channels].

        Args:
            resolution: longer side in pixels. If it is not stored, images of a stored multiple are reduced
                by averaging blocks of pixels.
            indices: indices [N] of the images, in 0..count(resolution)-1.

        Raises:
            UserError: if no stored resolution is a multiple of `resolution`.
        """
        stored = self.find_stored(resolution)
        return pixels.average_blocks(self._gather(str(stored), stored, indices), stored // resolution)

    def labels(self, resolution: int, indices: np.ndarray) -> np.ndarray:
        """Return the labels of images as int64 [N]: indices into the manifest's list of classes.

        All labels are 0 if there are no classes. For the arguments, see `read`.
        """
        if not self.manifest.classes:
            return np.zeros(len(indices), np.int64)
        return self._gather(LABELS, self.find_stored(resolution), indices)
