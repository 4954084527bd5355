"""Pairs of images as a source, pairs:DIR: two folders in DIR with files of the same names.

The first folder (by name) holds the inputs, the second the targets. Every pair becomes one image
with both pictures side by side, as such data sets are often published.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pggan_tf.data.decode import Unreadable, decode_first
from pggan_tf.errors import UserError
from preprocessing.sources import Item, Source
from preprocessing.sources import folder as folders

OPTIONS = ()


@dataclass(frozen=True)
class _Both:
    """The bytes of two files, which are decoded to one picture only when the object is called.

    It is the `data` of an item, so the worker process that needs the picture decodes the files.
    """

    condition: bytes  # bytes of the input's file
    target: bytes  # bytes of the target's file

    def __call__(self) -> np.ndarray:
        """Return both pictures side by side, uint8 [H, W, 3]."""
        return self.decode()[0]

    def decode(self) -> tuple[np.ndarray, int]:
        """Decode both files.

        Returns:
            (both pictures side by side, uint8 [H, W, 3]; number of the two files, 0..2, that hold
            more pictures than the first).

        Raise Unreadable if one of them cannot be decoded, or their sizes differ.
        """
        (condition, more_left, _), (target, more_right, _) = decode_first(self.condition), decode_first(self.target)
        if condition.size != target.size:
            raise Unreadable(
                f"{condition.width}x{condition.height} beside {target.width}x{target.height} pixels", "unlike sizes"
            )
        return np.concatenate([np.asarray(condition), np.asarray(target)], axis=1), more_left + more_right


class _Pair(Item):
    """Item that is made of two files; its `data` is a _Both or Unreadable."""

    def decode(self, channels: int = 3, least: int = 1) -> tuple[Image.Image, int, bool]:
        """Decode both files.

        For the arguments, see `decode.decode_photo`. `least` applies to both pictures as one image.

        Returns:
            (both pictures side by side as one image of mode L or RGB; number of files, 0..2, that
            hold more pictures than the first; False, because white is behind both).

        Raises:
            Unreadable: if a file cannot be decoded, or the sizes of the pictures differ.
        """
        if isinstance(self.data, Unreadable):
            raise self.data
        assert isinstance(self.data, _Both)
        pixels, more = self.data.decode()
        return decode_first(pixels, channels, least).image, more, False


@dataclass(frozen=True)
class Pairs(Source):
    """Pairs of images from two folders. Item n is made of image n of each folder."""

    name: str
    conditions: folders.Folder  # the inputs
    targets: folders.Folder  # the targets, in the same order
    classes: tuple[str, ...] = ()

    def __len__(self):
        return len(self.conditions)

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the pairs with the numbers `start` to `stop` - 1, in order, as items."""
        for a, b in zip(self.conditions.items(start, stop), self.targets.items(start, stop)):
            missing = next((item.data for item in (a, b) if isinstance(item.data, Unreadable)), None)
            yield _Pair(a.name, missing or _Both(a.data, b.data))

    def fingerprint(self) -> str:
        """Return the fingerprints of both folders, one after the other, as one text."""
        return self.conditions.fingerprint() + self.targets.fingerprint()

    def list_notes(self) -> tuple[str, ...]:
        """Return lines for the user about decisions that were made when the folders were opened."""
        return self.conditions.list_notes()

    def count_ignored(self) -> Counter:
        """Return {kind: number} of entries in both folders that are not images."""
        return self.conditions.count_ignored()

    def select(self, labels) -> Source:
        """Raise UserError in any case, because pairs have no classes that could be selected."""
        raise UserError(f"{self.name}: pairs have no classes.")


def open(location: str) -> Pairs:
    """Open a location pairs:DIR and return it as a source.

    Raise UserError if DIR does not contain two folders, or if no file in one of them has the name
    of a file in the other.
    """
    both = folders.open(location.partition(":")[2])
    if len(both.classes) != 2:
        raise UserError(f"{location}: expected two folders of images in it, found {len(both.classes) or 'none'}.")
    depth = len(os.path.commonpath(both.files))  # length of the path that both share
    numbers_of = [
        {
            f[depth:].lstrip("/").partition("/")[2].rpartition(".")[0]: i
            for i, f in enumerate(both.files)
            if both.labels[i] == half
        }
        for half in (0, 1)
    ]
    common = sorted(numbers_of[0].keys() & numbers_of[1].keys())
    if not common:
        raise UserError(f"{location}: no file of {both.classes[0]}/ has the name of one in {both.classes[1]}/.")
    halves = []
    for numbers in ([number_of[name] for name in common] for number_of in numbers_of):
        files, marks = (tuple(values[i] for i in numbers) for values in (both.files, both.marks))
        halves.append(dataclasses.replace(both, files=files, classes=(), labels=(), marks=marks))
    return Pairs(location, *halves)
