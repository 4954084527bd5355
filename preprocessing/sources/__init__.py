"""Sources of images: a module for each kind, with a function `open(location, ...) -> Source`.

A source is a numbered list of images. A job may be interrupted and continued at any number, so
every source returns the same items for the same numbers each time. A source can be sent to other
processes.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pggan_tf.data import listing
from pggan_tf.data.decode import Unreadable, decode_first
from pggan_tf.errors import UserError, nearest
from preprocessing import storage


@dataclass(frozen=True)
class Item:
    """One image of a source, not decoded yet."""

    name: str
    # The bytes of a file, pixels uint8 [H, W(, C)], a function that returns pixels and is called in
    # the process that needs them, or the reason why there are none.
    data: bytes | np.ndarray | Callable[[], np.ndarray] | Unreadable
    label: int = 0

    def decode(self, channels: int = 3, least: int = 1) -> tuple[Image.Image, int]:
        """Return the first picture of the item, and the number of its files that hold more.

        For the arguments and errors, see `decode.decode_photo`.
        """
        if isinstance(self.data, Unreadable):
            raise self.data
        return decode_first(self.data() if callable(self.data) else self.data, channels, least)


class Source(ABC):
    """Base class of sources: a numbered list of images."""

    name: str  # name of the source, as the user wrote it
    classes: tuple[str, ...]  # class names, in order of label; empty without classes
    alike: bool = False  # whether all images have one size and one number of channels

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the images from `start` to `stop` - 1, in order.

        Raise Stopped if the whole source becomes unreadable.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a text that changes when the images change, without reading all of them."""

    @abstractmethod
    def select(self, labels: Sequence[int]) -> Source:
        """Return the same source with only the images whose label is in `labels`.

        The images are numbered anew, but keep their labels.
        """

    def hash_content(self) -> str:
        """Return a hash of the images.

        It does not depend on the location of the images, if that takes little reading.
        """
        return storage.digest([(self.name, self.fingerprint())])

    def list_notes(self) -> tuple[str, ...]:
        """Return lines for the user about decisions that were made when the source was opened."""
        return ()

    def count_ignored(self) -> Counter:
        """Return counts of entries that are not images, by kind, see `listing.Found.ignored`."""
        return Counter()

    def to_listing(self) -> dict | None:
        """Return JSON data with which an interrupted job finds the same images again, or None.

        A source that returns a listing has a method `with_listing(listing)`, which returns the
        source as it was. Without a listing, the numbers of the images stay the same only while the
        fingerprint does.
        """
        return None


# Words before the colon, whole locations, and endings of locations -> module that opens them. Any
# other location is a folder.
SCHEMES = {"tfds": "tfds", "pairs": "pairs"}
WORDS = {"portraits": "portraits"}
ENDINGS = {
    ".zip": "archive",
    ".tar": "archive",
    ".tar.gz": "archive",
    ".tgz": "archive",
    ".tar.bz2": "archive",
    ".tar.xz": "archive",
    ".npz": "arrays",
    ".npy": "arrays",
}


def find_module(location: str) -> str:
    """Return the name of the module that opens a location."""
    scheme, colon, _ = location.partition(":")
    if colon and scheme in SCHEMES and not os.path.exists(location):
        return SCHEMES[scheme]
    if location in WORDS:
        return WORDS[location]
    return next((m for e, m in ENDINGS.items() if location.lower().endswith(e)), "folder")


def list_labels(names: Sequence[str], classes: Sequence[str], labels: Sequence[int]) -> list:
    """Return the classes and labels of files as a list of tuples, to be part of their fingerprint.

    The list is empty if the classes are the first folders in the names. Fingerprints from before
    there were other classes therefore stay the same.
    """
    tops = sorted({name.partition("/")[0] if "/" in name else "" for name in names})
    plain = tops if len(tops) > 1 and tops[0] else []
    if list(classes) == plain and all(classes[i] == name.partition("/")[0] for i, name in zip(labels, names)):
        return []
    return [("labels", *classes, *labels)]


def open_source(location: str, **options) -> Source:
    """Open the source at a location.

    options: all options of the command line; only those that the source's module knows are passed
    on.
    """
    module = importlib.import_module(f"preprocessing.sources.{find_module(location)}")
    return module.open(location, **{k: v for k, v in options.items() if k in module.OPTIONS})


def select_classes(source: Source, classes: Sequence[str]) -> Source:
    """Return the source with only the images of these classes.

    Raise UserError, which suggests the nearest names, if a class does not exist.
    """
    if not classes:
        return source
    if not source.classes:
        raise UserError(f"--classes {','.join(classes)}: {source.name} has no classes, or not for all of its images.")
    for name in classes:
        if name not in source.classes:
            raise UserError(f"--classes {name}: not in {source.name}; {nearest(name, source.classes)}")
    return source.select([source.classes.index(c) for c in classes])


@dataclass(frozen=True)
class SourceList:
    """Several sources, one after another, as one list of images.

    Classes of the same name are one class. If one source has no classes, the list has none.
    """

    parts: tuple[Source, ...]
    only: tuple[str, ...] = ()  # selected classes; empty for all
    limit: int | None = None  # use only this many images, from the first on

    @property
    def name(self) -> str:
        """Names of all sources, separated by commas."""
        return ", ".join(p.name for p in self.parts)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in order of label; empty without classes."""
        if not all(p.classes for p in self.parts):
            return ()
        names = dict.fromkeys(c for p in self.parts for c in p.classes)
        return self.only or tuple(names)

    def __len__(self):
        count = sum(map(len, self.parts))
        return count if self.limit is None else min(count, self.limit)

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the images from `start` to `stop` - 1, in order."""
        classes, first = self.classes, 0
        stop = min(stop, len(self))
        for part in self.parts:
            label_of = [classes.index(c) if c in classes else 0 for c in part.classes] if classes else None
            begin, end = max(start - first, 0), min(stop - first, len(part))
            if begin < end:
                for item in part.items(begin, end):
                    yield dataclasses.replace(item, label=label_of[item.label] if label_of else 0)
            first += len(part)

    def fingerprint(self) -> str:
        """Return a text that changes when the content of a source does."""
        return storage.digest([(p.name, p.fingerprint()) for p in self.parts])

    def list_notes(self) -> list[str]:
        """Return lines for the user about decisions for each source and about ignored entries."""
        notes = [f"{part.name}: {note}" for part in self.parts for note in part.list_notes()]
        without = [part.name for part in self.parts if not part.classes]
        if 0 < len(without) < len(self.parts):
            notes.append(f"no classes: {', '.join(without)} has none")
        ignored = listing.describe(sum((part.count_ignored() for part in self.parts), Counter()))
        return [*notes, ignored] if ignored else notes


def open_all(locations: Sequence[str], classes: Sequence[str] = (), limit: int | None = None, **options) -> SourceList:
    """Open all locations as one source.

    Raise UserError if one of them cannot be opened or lacks one of the classes.
    """
    classes = tuple(dict.fromkeys(classes))
    parts = tuple(select_classes(open_source(location, **options), classes) for location in locations)
    return SourceList(parts, classes, limit)
