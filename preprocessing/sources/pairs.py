"""Pairs of images as a source, pairs:DIR: two folders in DIR with files of the same names.

The first folder (by name) holds the inputs, the second the targets. Every pair becomes one image
with both pictures side by side, as such data sets are often published.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pggan_tf.data import classes, listing
from pggan_tf.data.decode import Unreadable, decode_first
from pggan_tf.errors import UserError
from preprocessing import storage
from preprocessing.sources import Item, Source
from preprocessing.sources import folder as folders

OPTIONS = ()
# Usual names of the two folders of a set that has others for tests: trainA and trainB.
_TRAIN_HALF = re.compile(r"train(ing)?[ _-]?[ab]", re.I)


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

    Files without a partner are left out, which is noted. Raise UserError if DIR does not contain two
    folders, or if no file in one of them has the name of a file in the other.
    """
    place = os.path.expanduser(location.partition(":")[2])
    folders.check_exists(place)
    found, others = storage.find(place)
    listed, notes = listing.sort_out((name for name, _, _ in found), others), list[str]()
    if not listed.photos:
        raise listing.explain_none(place, listed)
    prefix, halves = _find_halves(location, place, listed.photos, notes)
    by_stem = []
    for half in halves:
        names = [name for name in listed.photos if name.startswith(f"{prefix}{half}/")]
        stems: dict[str, str] = {}
        for name in names:
            stems.setdefault(name[len(prefix) + len(half) + 1 :].rpartition(".")[0], name)
        if doubled := sorted(set(names) - set(stems.values())):
            notes.append(f"names that differ only in their endings: {classes.list_some(doubled)} (left out)")
        by_stem.append(stems)
    common = sorted(by_stem[0].keys() & by_stem[1].keys())
    if not common:
        raise UserError(f"{location}: no file of {halves[0]}/ has the name of one in {halves[1]}/.")
    for half, other, stems in zip(halves, reversed(halves), by_stem):
        if alone := sorted(stems.keys() - set(common)):
            notes.append(
                f"{len(alone):,} of {half}/ without a partner of that name in {other}/: {classes.list_some(alone)} (left out)"
            )
    mark_of = {mark[0]: mark for mark in found}
    name = place if storage.is_remote(place) else str(Path(place))
    both = []
    for stems in by_stem:
        files = tuple(stems[stem] for stem in common)
        marks = tuple(mark_of[file] for file in files)
        both.append(folders.Folder(name, files, (), (), marks, tuple(notes), listed.ignored))
    return Pairs(location, *both)


def _find_halves(location: str, place: str, names: Sequence[str], notes: list[str]) -> tuple[str, list[str]]:
    """Find the two folders with inputs and targets.

    While a folder has only one subfolder, or parts for training and testing, descend into it.

    Args:
        location: pairs:DIR, for messages.
        place: DIR.
        names: names of the photos below it.
        notes: list that lines for the user are appended to.

    Returns:
        (path of the folder that holds both, with / at its end or '', the names of both, sorted).

    Raises:
        UserError: if there are not two.
    """
    prefix = ""
    while True:
        inner = (name[len(prefix) :] for name in names if name.startswith(prefix))
        tops = Counter(name.partition("/")[0] for name in inner if "/" in name)
        trains = [top for top in sorted(tops) if _TRAIN_HALF.fullmatch(top)]
        if len(trains) == 2 < len(tops):
            notes.append(
                f"the pairs of {trains[0]}/ and {trains[1]}/ are used, not {', '.join(sorted(tops.keys() - trains))}"
            )
        if len(trains) == 2:
            return prefix, trains
        chosen = next(iter(tops)) if len(tops) == 1 else None
        if len(tops) > 1:
            try:
                chosen = classes.find_train_part(f"{place}/{prefix}".rstrip("/"), tops, notes)
            except UserError:
                if len(tops) > 2:
                    raise
                # testA and testB, or "train data" and "train images", are no parts but the halves of one.
        if chosen is None and len(tops) == 2:
            return prefix, sorted(tops)
        if chosen is None:
            found = ", ".join(sorted(tops)) or "none"
            raise UserError(f"{location}: expected two folders of images in it, found {found}.")
        prefix += f"{chosen}/"
