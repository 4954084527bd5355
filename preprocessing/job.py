"""Jobs, which process every image of a source and write the results as shards.

A source is a numbered list of images, its items (see `sources`). Items are processed in chunks of
consecutive items, each of which gives a list of results.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pggan_tf import shapes
from pggan_tf.data import shards, transparency
from pggan_tf.data.decode import Unreadable
from preprocessing.options import OutputOptions
from preprocessing.sources import Item, SourceList


@dataclass(frozen=True)
class Result:
    """Result of processing one item: an image for the dataset, or the reason why there is none.

    An item may have several results, such as a photo with several faces.
    """

    name: str  # name of the item
    image: np.ndarray | Unreadable  # uint8 [H, W, C], or the reason why there is none
    label: int = 0  # index of the class
    hash: np.ndarray | None = None  # perceptual hash uint64 [4], if duplicates are looked for
    number: int | None = None  # index among several results of one item; None for a single result
    # Number of files of the item that hold several pictures, such as animations; only the first
    # picture of a file is read. An item is one file, or two for a pair. Of several results of one
    # item, only the first has a number other than 0.
    more: int = 0
    clear: bool = False  # whether white was put behind transparent parts; as `more`, once an item
    colour: tuple[float, float] = (0.0, 0.0)  # with a hash: mean of red - green and of blue - green

    @property
    def title(self) -> str:
        """Name of the item, with the number of the result if there are several: 'name#number'."""
        return self.name if self.number is None else f"{self.name}#{self.number}"


@dataclass(frozen=True)
class Job:
    """A source of images, the work to do on each of them, and options for writing the results."""

    source: SourceList
    # Function that takes the items of a chunk and returns any number of results. It can be pickled,
    # so that other processes can call it.
    work: Callable[[list[Item]], list[Result]]
    resolutions: tuple[int, ...]  # stored resolutions (longer sides) in pixels
    # {name on the command line: value} of all options that the results depend on. A job can only be
    # resumed with the same options.
    options: dict
    channels: int = 3
    filter: str = ""  # name of the filter that reduces the images, for the manifest
    output: OutputOptions = OutputOptions()
    aspect: shapes.Aspect = shapes.SQUARE  # width and height of the results in lowest terms
    chunk: int = 64  # images in a chunk
    # Whether to use processes, because the work runs in Python itself (MTCNN, drawing) and threads
    # would wait for each other.
    processes: bool = False
    # Whether the work may drop most images. Otherwise a source whose images are mostly unusable is
    # an error.
    choosy: bool = False

    @property
    def chunks(self) -> int:
        """Number of chunks that the source is divided into."""
        return -(-len(self.source) // self.chunk)

    def do(self, items: list[Item]) -> list[Result]:
        """Do the work on the items (images) of a chunk and return the results.

        If duplicates are looked for, the perceptual hashes of the results are filled in.
        """
        results = self.work(items)
        return [_add_hash(result) for result in results] if self.output.dedupe else results


@dataclass
class Summary:
    """Counts of the images of a job that were read, kept (written to shards) and dropped."""

    out: str  # the folder of the shards
    images_read: int = 0
    images_kept: int = 0
    # Reason (`Unreadable.kind`) -> number of images dropped for it.
    drop_counts: collections.Counter = field(default_factory=collections.Counter)
    more: int = 0  # number of files of which only the first picture was read
    clear: int = 0  # number of images whose transparent parts were blended with white
    # The manifest of the dataset, or with --split those of the training and the validation part.
    manifests: list[shards.Manifest] = field(default_factory=list)

    def describe(self) -> str:
        """Return a one-line summary for the user: images read, kept and dropped, with reasons."""
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.drop_counts.most_common())
        sizes = ", ".join(map(self.manifests[0].name_size, self.manifests[0].resolutions))
        line = f"{self.images_read:,} images read, {self.images_kept:,} kept at {sizes} px"
        return line + (f", dropped: {why}" if why else "")

    def list_notes(self) -> list[str]:
        """Return a list of lines for the user about what was left out of files without an error.

        There is one about files of which only the first picture was read, and one about
        transparency, if there were such files.
        """
        notes = []
        if self.clear:
            gray = self.manifests[0].channels == 1
            notes.append(
                f"{self.clear:,} of {self.images_read:,} images have transparent parts, which are blended with white; training "
                f"with --channels {2 if gray else 4} keeps them (pggan prepare: {'--gray ' if gray else ''}--alpha)"
            )
        if not self.more:
            return notes
        files, first = (
            ("animation or file", "its first picture")
            if self.more == 1
            else ("animations or files", "the first picture of each")
        )
        return [*notes, f"{self.more:,} {files} of several pages: only {first} is used"]


def _add_hash(result: Result) -> Result:
    """Return a copy of a result with its perceptual hash; without an image, the result itself."""
    if isinstance(result.image, Unreadable):
        return result
    import imagehash
    from PIL import Image

    if result.image.shape[-1] == 6:  # two pictures, side by side
        opaque = np.concatenate([result.image[..., :3], result.image[..., 3:]], axis=1)
    else:
        opaque = transparency.flatten(result.image, premultiplied=True)
    bits = imagehash.phash(Image.fromarray(opaque.squeeze(-1) if opaque.shape[-1] == 1 else opaque), hash_size=16).hash
    red, green, blue = np.broadcast_to(opaque, (*opaque.shape[:2], 3)).mean((0, 1))
    colour = float(red - green), float(blue - green)
    return dataclasses.replace(result, hash=np.packbits(bits).view(np.uint64), colour=colour)
