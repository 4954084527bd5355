"""A job: every image of a source goes through some work, and the results become shards."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pggan_tf.data import shards
from pggan_tf.data.decode import Unreadable
from preprocessing.options import OutputOptions
from preprocessing.sources import Item, SourceList


@dataclass(frozen=True)
class Result:
    """What the work made of one image. A photo with several faces has several results."""

    name: str  # of the image
    image: np.ndarray | Unreadable  # uint8 square [R, R, C], or the reason why there is none
    label: int = 0
    hash: np.ndarray | None = None  # perceptual hash uint64 [4], where duplicates are looked for
    number: int | None = None  # among several results of one image
    # Files of this image with more pictures than the first, which are not read. Of several results
    # of one image, only the first has a number other than 0.
    more: int = 0

    @property
    def title(self) -> str:
        """The name of the image, and the number of the result where there are several."""
        return self.name if self.number is None else f"{self.name}#{self.number}"


@dataclass(frozen=True)
class Job:
    """A source, the work on its images, and how the results are written."""

    source: SourceList
    # Takes a chunk of images, returns any number of results. It can be sent to other processes.
    work: Callable[[list[Item]], list[Result]]
    resolutions: tuple[int, ...]  # of the shards
    # Everything besides the source that the results depend on, in the user's words. A job that is
    # resumed must have the same.
    options: dict
    channels: int = 3
    filter: str = ""  # name of the filter that reduces the images, for the manifest
    output: OutputOptions = OutputOptions()
    chunk: int = 64  # images in a chunk
    # Whether the work is Python's own (MTCNN, drawing), so that threads would wait for each other.
    processes: bool = False
    # Whether the work may drop most images; otherwise a source of mostly unusable ones is refused.
    choosy: bool = False

    @property
    def chunks(self) -> int:
        """How many chunks the source has."""
        return -(-len(self.source) // self.chunk)

    def do(self, items: list[Item]) -> list[Result]:
        """Do the work on a chunk, and hash the results where duplicates are looked for."""
        results = self.work(items)
        return [_add_hash(result) for result in results] if self.output.dedupe else results


@dataclass
class Summary:
    """Counts of what became of a job's images."""

    out: str  # the folder of the shards
    images_read: int = 0
    images_kept: int = 0
    # Reason -> how many images.
    drop_counts: collections.Counter = field(default_factory=collections.Counter)
    more: int = 0  # files of which only the first picture was read
    # One, or those of the two parts of a split.
    manifests: list[shards.Manifest] = field(default_factory=list)

    def describe(self) -> str:
        """Return the counts as a line for the user."""
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.drop_counts.most_common())
        sizes = ", ".join(map(str, self.manifests[0].resolutions))
        line = f"{self.images_read:,} images read, {self.images_kept:,} kept at {sizes} px"
        return line + (f", dropped: {why}" if why else "")

    def list_notes(self) -> list[str]:
        """Return lines for the user about pictures that were not read."""
        if not self.more:
            return []
        files, first = (
            ("animation or file", "its first picture")
            if self.more == 1
            else ("animations or files", "the first picture of each")
        )
        return [f"{self.more:,} {files} of several pages: only {first} is used"]


def _add_hash(result: Result) -> Result:
    if isinstance(result.image, Unreadable):
        return result
    import imagehash
    from PIL import Image

    bits = imagehash.phash(Image.fromarray(result.image[..., :3].squeeze()), hash_size=16).hash
    return dataclasses.replace(result, hash=np.packbits(bits).view(np.uint64))
