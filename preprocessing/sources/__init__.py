"""Sources of images: a module for each kind, with a function `open(location, ...) -> Source`.

A location is a text that says where images are: the path of a folder or file, a URL, or a word such
as `portraits` or `sprites`. A source is the images of one location, as a list of items numbered
from 0. An item is one image that is not decoded yet. A job, which processes all images of some
sources, may be interrupted and continued at any number, so every source returns the same items for
the same numbers each time. A source can be pickled and sent to other processes.

Besides `open`, each module has a tuple OPTIONS with the names of the keyword arguments of `open`.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pggan_tf.data import listing
from pggan_tf.data.decode import Unreadable, decode_first
from pggan_tf.errors import UserError, hide_secrets, nearest
from preprocessing import storage


@dataclass(frozen=True)
class Item:
    """One image of a source (a numbered list of images), not decoded yet."""

    name: str  # name of the image for the user, such as the name of its file
    # The bytes of a file, pixels uint8 [H, W(, C)], a function without arguments that returns
    # pixels (called only when the image is decoded), or the reason why there is no image.
    data: bytes | np.ndarray | Callable[[], np.ndarray] | Unreadable
    label: int = 0  # index of the class

    def decode(self, channels: int = 3, least: int = 1) -> tuple[Image.Image, int, bool]:
        """Decode the item.

        For the arguments and errors, see `decode.decode_photo`.

        Returns:
            (image of a mode that `decode.decode_photo` returns, number of the item's files that
            hold several pictures, whether a part of the image is transparent). Of a file with
            several pictures, the first is decoded.
        """
        if isinstance(self.data, Unreadable):
            raise self.data
        first = decode_first(self.data() if callable(self.data) else self.data, channels, least)
        return first.image, first.more, first.clear


class Source(ABC):
    """Base class of sources. A source is a numbered list of images."""

    name: str  # name of the source, as the user wrote it
    classes: tuple[str, ...]  # class names, in order of label; empty without classes
    alike: bool = False  # whether all images have one size and one number of channels

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the images with the numbers `start` to `stop` - 1, in order, as items (`Item`).

        An image that cannot be read is an item with Unreadable as its data. Raise Stopped if the
        whole source becomes unreadable.
        """

    def pick(self, numbers: Iterable[int]) -> Iterator[Item]:
        """Yield the images with these numbers, which have to be in rising order, as items."""
        for number in numbers:
            yield from self.items(number, number + 1)

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a fingerprint: a text that changes when the images of the source change.

        If possible, the images are not read; for files, names, sizes and times are used.
        """

    @abstractmethod
    def select(self, labels: Sequence[int]) -> Source:
        """Return the same source with only the images whose label (index of class) is in `labels`.

        The images are numbered from 0 again, but keep their labels.
        """

    def hash_content(self) -> str:
        """Return a hash of the images, as a text.

        Subclasses return the same hash for the same images at another location if they can. This
        method uses the location and the fingerprint.
        """
        return storage.digest([(self.name, self.fingerprint())])

    def list_notes(self) -> tuple[str, ...]:
        """Return lines for the user about decisions made when the source was opened.

        An example is which photos were left out.
        """
        return ()

    def count_ignored(self) -> Counter:
        """Return {kind: number} of ignored entries, see `listing.Found.ignored`."""
        return Counter()

    def to_listing(self) -> dict | None:
        """Return a listing: names and classes of the images as JSON data, or None.

        With a listing, an interrupted job finds the same images again, even if others have been
        added. A source that returns a listing has a method `with_listing(listing)`, which returns
        the source with these images. A source without listings returns None; a job on it can be
        continued only if its fingerprint is still the same.
        """
        return None


# Which module opens a location: by the word before its colon (SCHEMES), by the whole location
# (WORDS), or by its ending (ENDINGS). Any other location is a folder.
SCHEMES = {"tfds": "tfds", "pairs": "pairs"}
WORDS = {"portraits": "drawings", "sprites": "drawings"}
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
    """Return the name of the module in this package that opens a location, such as 'archive'.

    location: what the user gives as a source, such as 'photos.zip' or 'tfds:cifar10'.
    """
    scheme, colon, _ = location.partition(":")
    if colon and scheme in SCHEMES and not os.path.exists(location):
        return SCHEMES[scheme]
    if location in WORDS:
        return WORDS[location]
    name = hide_secrets(location).lower()  # of https://host/photos.zip?key=1 as of photos.zip
    return next((m for e, m in ENDINGS.items() if name.endswith(e)), "folder")


def list_labels(names: Sequence[str], classes: Sequence[str], labels: Sequence[int]) -> list:
    """Return the part of a fingerprint that depends on classes and labels, for `storage.digest`.

    Args:
        names: names of the files.
        classes: class names, in order of label.
        labels: label of each file.

    Returns:
        List with one tuple, or without any if the classes are the first folders in the names. Thus
        fingerprints of versions that had only such classes are still valid.
    """
    tops = sorted({name.partition("/")[0] if "/" in name else "" for name in names})
    plain = tops if len(tops) > 1 and tops[0] else []
    if list(classes) == plain and all(classes[i] == name.partition("/")[0] for i, name in zip(labels, names)):
        return []
    return [("labels", *classes, *labels)]


def open_source(location: str, **options) -> Source:
    """Open a location and return its source.

    Raise UserError if it cannot be opened.

    Args:
        location: what the user gives as a source.
        **options: options for all modules, such as `count` and `data_dir`. Those that are not in
            OPTIONS of the location's module are not used.
    """
    module = importlib.import_module(f"preprocessing.sources.{find_module(location)}")
    return module.open(location, **{k: v for k, v in options.items() if k in module.OPTIONS})


def select_classes(source: Source, classes: Sequence[str]) -> Source:
    """Return the source with only the images of these classes; all if `classes` is empty.

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
    """Several sources, called its parts, as one numbered list of images, one part after another.

    Classes of the same name are one class. If one source has no classes, the list has none.
    """

    parts: tuple[Source, ...]
    only: tuple[str, ...] = ()  # names of the selected classes; empty for all
    limit: int | None = None  # use only this many images, from the first on

    @property
    def name(self) -> str:
        """Names of all sources, separated by commas, without passwords."""
        return ", ".join(hide_secrets(p.name) for p in self.parts)

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
        """Yield the images with the numbers `start` to `stop` - 1, in order, as items (`Item`).

        Their labels are indices into the classes of the whole list.
        """
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
        """Return a text that changes when the images of one of the sources change."""
        return storage.digest([(p.name, p.fingerprint()) for p in self.parts])

    def list_notes(self) -> list[str]:
        """Return lines for the user: about decisions for each source, and about ignored entries."""
        notes = [f"{part.name}: {note}" for part in self.parts for note in part.list_notes()]
        without = [part.name for part in self.parts if not part.classes]
        if 0 < len(without) < len(self.parts):
            notes.append(f"no classes: {', '.join(without)} has none")
        ignored = listing.describe(sum((part.count_ignored() for part in self.parts), Counter()))
        return [*notes, ignored] if ignored else notes


def open_all(locations: Sequence[str], classes: Sequence[str] = (), limit: int | None = None, **options) -> SourceList:
    """Open several locations and return them as one list of images.

    Args:
        locations: what the user gives as sources.
        classes: names of the classes to use; empty for all.
        limit: use only this many images, from the first on; None for all.
        **options: see `open_source`.

    Raises:
        UserError: if a location cannot be opened or lacks one of the classes.
    """
    classes = tuple(dict.fromkeys(classes))
    parts = tuple(select_classes(open_source(location, **options), classes) for location in locations)
    return SourceList(parts, classes, limit)
