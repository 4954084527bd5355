"""pairs:DIR — two folders in DIR, whose files of the same name belong together: the first (by name) is given, the second wanted.

Every pair comes as one picture, the two side by side, as such sets are often published already.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

import numpy as np

from pggan_tf.data.decode import Unreadable, first_of
from pggan_tf.errors import UserError
from preprocessing.sources import Item, Source
from preprocessing.sources import folder as folders

OPTIONS = ()


@dataclass(frozen=True)
class _Both:
    """Two files as one picture, decoded in whichever process needs it."""

    given: bytes
    wanted: bytes

    def __call__(self) -> np.ndarray:
        return self.decoded()[0]

    def decoded(self) -> tuple[np.ndarray, int]:
        """Decode both as one picture; and tell how many of the two files hold more than one."""
        (given, more_given), (wanted, more_wanted) = first_of(self.given), first_of(self.wanted)
        if given.size != wanted.size:
            raise Unreadable(
                f"{given.width}x{given.height} beside {wanted.width}x{wanted.height} pixels", "unlike sizes"
            )
        return np.concatenate([np.asarray(given), np.asarray(wanted)], axis=1), more_given + more_wanted


class _Pair(Item):
    def first(self, channels=3, least=1):
        if isinstance(self.data, Unreadable):
            raise self.data
        pixels, more = self.data.decoded()
        return first_of(pixels, channels, least)[0], more


@dataclass(frozen=True)
class Pairs(Source):
    name: str
    given: folders.Folder
    wanted: folders.Folder
    classes: tuple[str, ...] = ()

    def __len__(self):
        return len(self.given)

    def items(self, start, stop):
        for a, b in zip(self.given.items(start, stop), self.wanted.items(start, stop)):
            missing = next((item.data for item in (a, b) if isinstance(item.data, Unreadable)), None)
            yield _Pair(a.name, missing or _Both(a.data, b.data))

    def fingerprint(self):
        return self.given.fingerprint() + self.wanted.fingerprint()

    def notes(self):
        return self.given.notes()

    def left_alone(self):
        return self.given.left_alone()

    def select(self, labels):
        raise UserError(f"{self.name}: pairs have no classes.")


def open(location: str) -> Pairs:
    """Raises UserError where there are not two folders, or no file has a partner."""
    whole = folders.open(location.partition(":")[2])
    if len(whole.classes) != 2:
        raise UserError(f"{location}: expected two folders of images in it, found {len(whole.classes) or 'none'}.")
    depth = len(os.path.commonpath(whole.files))  # of the folder that both lie in
    stems = [
        {
            f[depth:].lstrip("/").partition("/")[2].rpartition(".")[0]: i
            for i, f in enumerate(whole.files)
            if whole.labels[i] == half
        }
        for half in (0, 1)
    ]
    common = sorted(stems[0].keys() & stems[1].keys())
    if not common:
        raise UserError(f"{location}: no file of {whole.classes[0]}/ has the name of one in {whole.classes[1]}/.")
    halves = []
    for numbers in ([named[stem] for stem in common] for named in stems):
        files, marks = (tuple(part[i] for i in numbers) for part in (whole.files, whole.marks))
        halves.append(dataclasses.replace(whole, files=files, classes=(), labels=(), marks=marks))
    return Pairs(location, *halves)
