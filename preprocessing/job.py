"""A job: every image of a source through some work. What running it and putting it together have in common."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pggan_tf.data import shards
from pggan_tf.data.decode import Unreadable
from preprocessing.sources import Item, Joined


@dataclass(frozen=True)
class Made:
    """What became of an image: a uint8 square [R, R, C], or the reason why there is none. number: of several of one image.

    more: files that it was made of and that hold more pictures than their first, the only one looked at. Where several were
    made of one image, it stands with the first of them.
    """

    name: str
    image: np.ndarray | Unreadable
    label: int = 0
    hash: np.ndarray | None = None
    number: int | None = None
    more: int = 0

    @property
    def title(self) -> str:
        return self.name if self.number is None else f"{self.name}#{self.number}"


@dataclass(frozen=True)
class Job:
    """work: a chunk of items -> what was made of them, any number for each. It can be sent to other processes.

    options: all that the result follows from besides the source, as the user would name it; a job that is taken up again
    must have the same. processes: whether the work is Python's own (MTCNN, drawing) rather than that of libraries
    that leave the interpreter to others (decoding). choosy: the work is meant to leave images out; otherwise a
    source of which more than half cannot be used is refused.
    """

    source: Joined
    work: Callable[[list[Item]], list[Made]]
    resolutions: tuple[int, ...]
    options: dict
    channels: int = 3
    filter: str = ""
    shard_images: int | None = None
    compress: bool = False
    dedupe: bool = False
    split: float | None = None
    chunk: int = 64
    processes: bool = False
    choosy: bool = False

    @property
    def chunks(self) -> int:
        return -(-len(self.source) // self.chunk)

    def do(self, items: list[Item]) -> list[Made]:
        made = self.work(items)
        return [_hashed(m) for m in made] if self.dedupe else made


@dataclass
class Summary:
    """What came of a job. dropped: kind of reason -> how many. more: files of which only the first picture was looked at."""

    out: str
    read: int = 0
    kept: int = 0
    dropped: collections.Counter = field(default_factory=collections.Counter)
    more: int = 0
    manifests: list[shards.Manifest] = field(default_factory=list)

    def text(self) -> str:
        why = ", ".join(f"{count:,} {kind}" for kind, count in self.dropped.most_common())
        sizes = ", ".join(map(str, self.manifests[0].resolutions))
        return f"{self.read:,} images read, {self.kept:,} kept at {sizes} px" + (f", dropped: {why}" if why else "")

    def notes(self) -> list[str]:
        """Lines for the user: what was not looked at."""
        if not self.more:
            return []
        files, first = (
            ("animation or file", "its first picture")
            if self.more == 1
            else ("animations or files", "the first picture of each")
        )
        return [f"{self.more:,} {files} of several pages: only {first} is used"]


def _hashed(made: Made) -> Made:
    if isinstance(made.image, Unreadable):
        return made
    import imagehash
    from PIL import Image

    bits = imagehash.phash(Image.fromarray(made.image[..., :3].squeeze()), hash_size=16).hash
    return dataclasses.replace(made, hash=np.packbits(bits).view(np.uint64))
