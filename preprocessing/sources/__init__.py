"""Sources of images. A module each, with `open(location, ...) -> Source`; `SCHEMES` and the ending of a name say which.

A source is a numbered list of images. What a job made of it can be interrupted and taken up again at any number, so
every source gives the same items under the same numbers each time. A source can be sent to other processes.
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
from pggan_tf.data.decode import Unreadable, first_of
from pggan_tf.errors import UserError, nearest
from preprocessing import storage


@dataclass(frozen=True)
class Item:
    """One image as it comes: the bytes of a file, pixels uint8 [H, W(, C)], a function that makes them in whichever
    process needs them, or the reason why there are none."""

    name: str
    data: bytes | np.ndarray | Callable[[], np.ndarray] | Unreadable
    label: int = 0

    def first(self, channels: int = 3, least: int = 1) -> tuple[Image.Image, int]:
        """Decode it as `decode.photo` does; and tell in how many of its files there are more pictures, which are not looked at."""
        if isinstance(self.data, Unreadable):
            raise self.data
        return first_of(self.data() if callable(self.data) else self.data, channels, least)


class Source(ABC):
    """name: what the user called it. classes: names by label, or empty."""

    name: str
    classes: tuple[str, ...]
    alike: bool = False  # whether all images have one size and one number of channels

    @abstractmethod
    def __len__(self) -> int:
        """How many numbers there are."""

    @abstractmethod
    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Those numbered start .. stop - 1, in order. Raises Stopped where the source itself is lost meanwhile."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Changes when the content does; found without reading all of it."""

    @abstractmethod
    def select(self, labels: Sequence[int]) -> Source:
        """The same source with only the images of these classes, numbered anew, under the same labels."""

    def content(self) -> str:
        """What identifies the images; wherever they lie, if that can be told without much reading."""
        return storage.digest([(self.name, self.fingerprint())])

    def notes(self) -> tuple[str, ...]:
        """Lines for the user about what was taken for what."""
        return ()

    def left_alone(self) -> Counter:
        """What is no image, as `pggan_tf.data.listing` counts it."""
        return Counter()

    def listing(self) -> dict | None:
        """What has to be kept, as JSON, so that a job that is taken up again sees the same numbers, where others may change
        them; such a source has `relisted(listing)`, itself as it was then. None: only the same content has the same numbers."""
        return None


# What stands before the colon, and what a name may end in -> the module. Any other location is a folder.
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


def module_for(location: str) -> str:
    scheme, colon, _ = location.partition(":")
    if colon and scheme in SCHEMES and not os.path.exists(location):
        return SCHEMES[scheme]
    if location in WORDS:
        return WORDS[location]
    return next((m for e, m in ENDINGS.items() if location.lower().endswith(e)), "folder")


def fingerprint_of_labels(names: Sequence[str], classes: Sequence[str], labels: Sequence[int]) -> list:
    """What a fingerprint of files needs besides their names and contents: nothing where the classes are the first folders in
    the names, as they always were."""
    tops = sorted({name.partition("/")[0] if "/" in name else "" for name in names})
    plain = tops if len(tops) > 1 and tops[0] else []
    if list(classes) == plain and all(classes[i] == name.partition("/")[0] for i, name in zip(labels, names)):
        return []
    return [("labels", *classes, *labels)]


def open_source(location: str, **options) -> Source:
    """`options` are those of the command line; every module takes what it knows of them."""
    module = importlib.import_module(f"preprocessing.sources.{module_for(location)}")
    return module.open(location, **{k: v for k, v in options.items() if k in module.OPTIONS})


def selected(source: Source, classes: Sequence[str]) -> Source:
    """Only the images of these classes. Raises UserError, with the nearest names, where one does not exist."""
    if not classes:
        return source
    if not source.classes:
        raise UserError(f"--classes {','.join(classes)}: {source.name} has no classes, or not for all of its images.")
    for name in classes:
        if name not in source.classes:
            raise UserError(f"--classes {name}: not in {source.name}; {nearest(name, source.classes)}")
    return source.select([source.classes.index(c) for c in classes])


@dataclass(frozen=True)
class Joined:
    """Several sources one after another. Classes of one name are one class; if a source has none, there are none."""

    parts: tuple[Source, ...]
    only: tuple[str, ...] = ()  # the classes selected, or all
    limit: int | None = None

    @property
    def name(self) -> str:
        return ", ".join(p.name for p in self.parts)

    @property
    def classes(self) -> tuple[str, ...]:
        if not all(p.classes for p in self.parts):
            return ()
        names = dict.fromkeys(c for p in self.parts for c in p.classes)
        return self.only or tuple(names)

    def __len__(self):
        count = sum(map(len, self.parts))
        return count if self.limit is None else min(count, self.limit)

    def items(self, start, stop):
        classes, first = self.classes, 0
        stop = min(stop, len(self))
        for part in self.parts:
            label_of = [classes.index(c) if c in classes else 0 for c in part.classes] if classes else None
            begin, end = max(start - first, 0), min(stop - first, len(part))
            if begin < end:
                for item in part.items(begin, end):
                    yield dataclasses.replace(item, label=label_of[item.label] if label_of else 0)
            first += len(part)

    def fingerprint(self):
        return storage.digest([(p.name, p.fingerprint()) for p in self.parts])

    def notes(self) -> list[str]:
        """Lines for the user: what was taken for what in each source, and what was left alone in all of them."""
        notes = [f"{part.name}: {note}" for part in self.parts for note in part.notes()]
        without = [part.name for part in self.parts if not part.classes]
        if 0 < len(without) < len(self.parts):
            notes.append(f"no classes: {', '.join(without)} has none")
        left = listing.in_words(sum((part.left_alone() for part in self.parts), Counter()))
        return [*notes, left] if left else notes


def open_all(locations: Sequence[str], classes: Sequence[str] = (), limit: int | None = None, **options) -> Joined:
    """Every location as one source."""
    classes = tuple(dict.fromkeys(classes))
    parts = tuple(selected(open_source(location, **options), classes) for location in locations)
    return Joined(parts, classes, limit)
