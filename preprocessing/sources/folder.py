"""A folder of images, nested at will, here or at any fsspec URL. Where all lie in two or more first-level folders, those are the classes."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pggan_tf.errors import Stopped, UserError
from preprocessing import storage
from preprocessing.decode import EXTENSIONS, MAX_BYTES, Unreadable
from preprocessing.sources import Item, Source

OPTIONS = ()
_KINDS = ", ".join(e[1:] for e in EXTENSIONS)
_AT_ONCE = 64  # files read together, by threads: a remote one waits mostly for the network


def is_photo(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.rpartition("/")[2].startswith(".")


def classes_of(names: list[str]) -> tuple[str, ...]:
    tops = {name.partition("/")[0] if "/" in name else None for name in names}
    return tuple(sorted(tops)) if None not in tops and len(tops) > 1 else ()


@dataclass(frozen=True)
class Folder(Source):
    name: str
    files: tuple[str, ...]  # relative names, in order
    classes: tuple[str, ...]
    marks: tuple[tuple[str, int, str], ...] = ()  # (name, bytes, time) of every one

    def __len__(self):
        return len(self.files)

    def _read(self, name: str) -> Item:
        label = self.classes.index(name.partition("/")[0]) if self.classes else 0
        sizes = self._sizes
        if sizes.get(name, 0) > MAX_BYTES:
            return Item(name, Unreadable(f"a file of {sizes[name] >> 20} MB, more than {MAX_BYTES >> 20}"), label)
        for wait in (0.5, 2.0, None):
            try:
                return Item(name, storage.read(storage.join(self.name, name)), label)
            except (FileNotFoundError, PermissionError) as error:
                if storage.exists(self.name):
                    gone = isinstance(error, FileNotFoundError)
                    return Item(
                        name, Unreadable("gone since the folder was listed" if gone else "may not be read"), label
                    )
                failed = error
            except OSError as error:
                failed = error
            if wait:
                time.sleep(wait)
        # Not one bad file but the disk or the network: what is left of the job can be done later.
        raise Stopped(
            f"{storage.join(self.name, name)}: cannot be read ({failed.strerror or failed}). What was done is saved; when the source is back, the same command goes on.",
            1,
        )

    @functools.cached_property
    def _sizes(self) -> dict[str, int]:
        return {name: size for name, size, _ in self.marks}

    def items(self, start, stop) -> Iterator[Item]:
        with ThreadPoolExecutor(4) as pool:
            for first in range(start, stop, _AT_ONCE):
                yield from pool.map(self._read, self.files[first : min(first + _AT_ONCE, stop)])

    def fingerprint(self):
        return storage.digest([(self.name, *mark) for mark in self.marks])

    def content(self) -> str:
        """Of names and bytes, wherever the folder lies. Reads all of it."""
        sha = hashlib.sha256()
        for item in self.items(0, len(self)):
            sha.update(os.fsencode(item.name) + b"\0")
            sha.update(b"unreadable" if isinstance(item.data, Unreadable) else hashlib.sha256(item.data).digest())
        return sha.hexdigest()

    def select(self, labels):
        wanted = {self.classes[i] for i in labels}
        return dataclasses.replace(
            self,
            files=tuple(f for f in self.files if f.partition("/")[0] in wanted),
            marks=tuple(m for m in self.marks if m[0].partition("/")[0] in wanted),
        )

    def listing(self):
        return {"files": list(self.files), "classes": list(self.classes)}

    def relisted(self, listing):
        return dataclasses.replace(self, files=tuple(listing["files"]), classes=tuple(listing["classes"]))


def _ours(names: set[str]) -> set[str]:
    """Folders that `pggan prepare` wrote: their contact sheets are no photos."""
    out = set()
    for name in names:
        folder, _, last = name.rpartition("/")
        if last == "manifest.json" and f"{folder}/shard-00000.npz".lstrip("/") in names:
            above, _, part = folder.rpartition("/")
            out |= {folder, above} if part in ("train", "validation") else {folder}
    return out


def open(location: str) -> Folder:
    """Raises UserError where there is no folder, or no image in it."""
    if not storage.is_remote(location) and not Path(location).is_dir():
        raise UserError(
            f"{location}: not a folder. Expected a folder of images ({_KINDS}), an archive (zip, tar), arrays (npz, npy) or shards."
        )
    found = storage.find(location)
    ours = _ours({name for name, _, _ in found})
    marks = tuple(mark for mark in found if is_photo(mark[0]) and mark[0].rpartition("/")[0] not in ours)
    if not marks:
        raise UserError(f"{location}: no images found. Expected {_KINDS} files, in subfolders or not.")
    files = tuple(name for name, _, _ in marks)
    return Folder(
        location if storage.is_remote(location) else str(Path(location)), files, classes_of(list(files)), marks
    )
