"""The source `portraits`: artificial faces, which `pggan_tf.data.portraits` draws."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from pggan_tf.data import portraits
from pggan_tf.errors import UserError
from preprocessing.sources import Item, Source

OPTIONS = ("count", "seed", "size")


@dataclass(frozen=True)
class Portraits(Source):
    """The first `count` portraits of a seed, drawn at `size` pixels."""

    count: int
    size: int
    seed: int = 0
    numbers: tuple[int, ...] | None = None  # indices of the selected portraits; None for all

    name = "portraits"
    classes = portraits.CLASSES

    def __len__(self):
        return self.count if self.numbers is None else len(self.numbers)

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the images with the numbers `start` to `stop` - 1, in order, as items (`Item`).

        An item holds a function that draws its portrait, so the process that decodes the item does
        the drawing.
        """
        for index in (range(self.count) if self.numbers is None else self.numbers)[start:stop]:
            draw_it = partial(portraits.draw, index, self.size, self.seed)
            yield Item(f"portrait {index}", draw_it, portraits.find_label(index, self.seed))

    def fingerprint(self) -> str:
        """Return the version of the drawings, the seed and the count as a text."""
        return f"{portraits.VERSION}-{self.seed}-{self.count}"

    def list_notes(self) -> tuple[str, ...]:
        """Return a line for the user if a folder has the same name as this source."""
        here = os.path.isdir("portraits")
        return ("these are drawn; for the folder of that name give ./portraits",) if here else ()

    def select(self, labels) -> Portraits:
        """Return the same source with only the portraits whose label is in `labels`."""
        numbers = (i for i in range(self.count) if portraits.find_label(i, self.seed) in labels)
        return dataclasses.replace(self, numbers=tuple(numbers))


def open(location: str, count: int, size: int, seed: int = 0) -> Portraits:
    """Return the source.

    Args:
        location: 'portraits'.
        count: number of portraits.
        size: side of a portrait in pixels.
        seed: every seed has different portraits.

    Raises:
        UserError: if portraits cannot be drawn at this size.
    """
    if size > portraits.LARGEST:
        raise UserError(
            f"portraits: {size} px: they are drawn at up to {portraits.LARGEST} px. For more, give photos: --data FOLDER."
        )
    return Portraits(count, size, seed)
