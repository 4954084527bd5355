"""The sources `portraits` and `sprites`: pictures that modules of `pggan_tf.data` draw.

The name of the source is that of the module, which has VERSION, LARGEST and CLASSES, and functions
`draw` and `find_label`.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType

from pggan_tf.errors import UserError
from preprocessing.sources import Item, Source

OPTIONS = ("count", "seed", "size")


def _import_module(name: str) -> ModuleType:
    """Return the module that draws the pictures of a source."""
    return importlib.import_module(f"pggan_tf.data.{name}")


@dataclass(frozen=True)
class Drawings(Source):
    """The first `count` pictures of a seed, drawn at `size` pixels."""

    name: str
    classes: tuple[str, ...]
    count: int
    size: int
    seed: int = 0
    numbers: tuple[int, ...] | None = None  # indices of the selected pictures; None for all

    def __len__(self):
        return self.count if self.numbers is None else len(self.numbers)

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the pictures with the numbers `start` to `stop` - 1, in order, as items (`Item`).

        A picture is only drawn when its item is decoded.
        """
        module = _import_module(self.name)
        for index in (range(self.count) if self.numbers is None else self.numbers)[start:stop]:
            draw_it = partial(module.draw, index, self.size, self.seed)
            yield Item(f"{self.name.removesuffix('s')} {index}", draw_it, module.find_label(index, self.seed))

    def fingerprint(self) -> str:
        """Return the version of the drawings, the seed and the number of pictures as a text."""
        return f"{_import_module(self.name).VERSION}-{self.seed}-{self.count}"

    def list_notes(self) -> tuple[str, ...]:
        """Return a line for the user if there is also a folder of the same name, else nothing."""
        here = os.path.isdir(self.name)
        return (f"these are drawn; for the folder of that name give ./{self.name}",) if here else ()

    def select(self, labels: Sequence[int]) -> Drawings:
        """Return the same source with only the pictures whose label is in `labels`."""
        module = _import_module(self.name)
        numbers = (i for i in range(self.count) if module.find_label(i, self.seed) in labels)
        return dataclasses.replace(self, numbers=tuple(numbers))


def open(location: str, count: int = 10_000, size: int = 64, seed: int = 0) -> Drawings:
    """Return the pictures as a source.

    Args:
        location: name of the module that draws them, such as 'portraits'.
        count: number of pictures.
        size: side of a picture in pixels.
        seed: every seed has different pictures.

    Raises:
        UserError: if they cannot be drawn at this size.
    """
    module = _import_module(location)
    if size > module.LARGEST:
        raise UserError(
            f"{location}: {size} px: they are drawn at up to {module.LARGEST} px. For more, give photos: --data FOLDER."
        )
    return Drawings(location, module.CLASSES, count, size, seed)
