"""A folder of images and its subfolders as a source, on this machine or at any fsspec URL.

`pggan_tf.data.listing` decides which files are images, and what their classes are. Files that are
not images are ignored.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pggan_tf.data import listing
from pggan_tf.data.decode import EXTENSIONS, MAX_BYTES, Unreadable
from pggan_tf.errors import Stopped, UserError
from preprocessing import storage
from preprocessing.sources import Item, Source, list_labels

OPTIONS = ()
_BYTES_AT_ONCE = 256 << 20
_AT_ONCE = 64  # files that threads read together: remote ones mostly wait for the network


@dataclass(frozen=True)
class Folder(Source):
    """Images in a folder and its subfolders."""

    name: str
    files: tuple[str, ...]  # relative names, sorted
    classes: tuple[str, ...]
    labels: tuple[int, ...] = ()  # label of each file; empty without classes
    # (name, size in bytes, text that changes when the file does) of each file, see `storage.find`.
    marks: tuple[tuple[str, int, str], ...] = ()
    notes: tuple[str, ...] = ()  # lines for the user
    # {kind: number} of entries that are not images, see `listing.Found.ignored`.
    ignored: Mapping = field(default_factory=Counter)

    def __len__(self):
        return len(self.files)

    def _read_item(self, number: int) -> Item:
        """Read file `number` and return it as an item; if that fails, try again after a while.

        A single file that cannot be read is an item with Unreadable as its data. Raise Stopped if
        the disk or the network is lost.
        """
        name, label = self.files[number], self.labels[number] if self.classes else 0
        sizes = self._sizes
        failed: OSError
        if sizes[name] > MAX_BYTES:
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
        # Not one file but the disk or the network has failed: the rest of the job can be done
        # later.
        raise Stopped(
            f"{storage.join(self.name, name)}: cannot be read ({failed.strerror or failed}). What was done is saved; when the source is back, the same command goes on.",
            1,
        )

    @functools.cached_property
    def _sizes(self) -> Counter:
        """{name: size in bytes} of the files; a size is 0 if it is unknown."""
        return Counter({name: size for name, size, _ in self.marks})

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the images with the numbers `start` to `stop` - 1, in order, as items (`Item`)."""
        with ThreadPoolExecutor(4) as pool:
            for numbers in self._group(start, min(stop, len(self))):
                yield from pool.map(self._read_item, numbers)

    def _group(self, start: int, stop: int) -> Iterator[range]:
        """Divide the files `start` to `stop` - 1 into groups, and yield the numbers of each group.

        The files of a group are in memory together, so a group has fewer files if they are large.
        """
        while start < stop:
            end, size = start + 1, self._sizes[self.files[start]]
            while end < min(start + _AT_ONCE, stop):
                size += self._sizes[self.files[end]]
                if size > _BYTES_AT_ONCE:
                    break
                end += 1
            yield range(start, end)
            start = end

    def fingerprint(self) -> str:
        """Return a hash of the folder's name and of names, sizes, times and labels of its files."""
        return storage.digest([*((self.name, *mark) for mark in self.marks), *self._list_labels()])

    def _list_labels(self) -> list:
        """Return the result of `list_labels` for the files."""
        return list_labels(self.files, self.classes, self.labels)

    def hash_content(self) -> str:
        """Return a hash of names, classes and bytes of the files.

        It does not depend on the location of the folder. All files are read.
        """
        sha = hashlib.sha256("".join(map(json.dumps, self._list_labels())).encode())
        for item in self.items(0, len(self)):
            sha.update(os.fsencode(item.name) + b"\0")
            sha.update(b"unreadable" if isinstance(item.data, Unreadable) else hashlib.sha256(item.data).digest())
        return sha.hexdigest()

    def select(self, labels: Sequence[int]) -> Folder:
        """Return the same source with only the images whose label is in `labels`."""
        chosen = set(labels)
        numbers = [i for i, label in enumerate(self.labels) if label in chosen]
        return dataclasses.replace(
            self, **{name: tuple(getattr(self, name)[i] for i in numbers) for name in ("files", "labels", "marks")}
        )

    def list_notes(self) -> tuple[str, ...]:
        """Return lines for the user about decisions that were made when the folder was opened."""
        return self.notes

    def count_ignored(self) -> Counter:
        """Return {kind: number} of entries that are not images."""
        return Counter(self.ignored)

    def to_listing(self) -> dict:
        """Return a dict of JSON data for `with_listing`: names, classes and labels of the files."""
        return {"files": list(self.files), "classes": list(self.classes), "labels": list(self.labels)}

    def with_listing(self, listing: dict) -> Folder:
        """Return the folder with the files of an earlier listing, see `to_listing`."""
        files, classes = listing["files"], listing["classes"]
        # Listings of earlier versions have no labels; in these, the classes are the first folders
        # in the names.
        labels = listing.get("labels", [classes.index(f.partition("/")[0]) for f in files] if classes else [])
        there = set(files)
        marks = tuple(mark for mark in self.marks if mark[0] in there)  # new files are not read
        return dataclasses.replace(self, files=tuple(files), classes=tuple(classes), labels=tuple(labels), marks=marks)


def open(location: str) -> Folder:
    """Open a folder at a path or URL and return it as a source.

    Raise UserError if it does not exist, or has no images.
    """
    check_exists(location)
    found, others = storage.find(location)
    listed = listing.list_photos(
        location, (name for name, _, _ in found), others, lambda name: storage.read(storage.join(location, name))
    )
    mark_of = {mark[0]: mark for mark in found}
    return Folder(
        location if storage.is_remote(location) else str(Path(location)),
        listed.photos,
        listed.classes,
        listed.labels,
        tuple(mark_of[name] for name in listed.photos),
        listed.notes,
        listed.ignored,
    )


def check_exists(location: str) -> None:
    """Raise UserError if a path is that of no folder. Nothing is known of a URL yet."""
    if not location or not storage.is_remote(location) and not Path(location).is_dir():
        what = "not a folder" if location and Path(location).exists() else "no such file or folder"
        raise UserError(
            f"{location or repr(location)}: {what}. Expected a folder of images ({', '.join(e[1:] for e in EXTENSIONS)}), an archive (zip, "
            "tar), arrays (npz, npy) or shards."
        )
