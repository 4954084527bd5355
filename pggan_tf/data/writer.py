"""Write a dataset: a folder of `.npz` files and a manifest, as `shards` describes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pggan_tf.data import pixels
from pggan_tf.errors import UserError
from pggan_tf.files import atomic_write

FORMAT, VERSION = "pggan-tf shards", 1
MANIFEST = "manifest.json"
LABELS = "labels"
_SHARD_BYTES = 64 << 20


@dataclass(frozen=True)
class Manifest:
    """What a dataset holds."""

    images: int  # how many
    resolutions: tuple[int, ...]  # stored ones in pixels, rising
    channels: int  # 1, 3, or 6 for pairs of pictures
    classes: tuple[str, ...]  # names by label, or empty
    source: str  # where the images came from, for people
    filter: str  # the filter that reduced them
    shards: tuple[dict, ...]  # per file {"file", "images", "sha256", "largest": pixels}
    skipped: int = 0  # how many images of the source were left out
    version: int = VERSION
    format: str = FORMAT

    @property
    def checksum(self) -> str:
        """A hash of all files, equal for the same images prepared in the same way."""
        text = json.dumps([[s["images"], s["sha256"]] for s in self.shards])
        return hashlib.sha256(text.encode()).hexdigest()


def halve_resolution(full: int) -> tuple[int, ...]:
    """Halve a resolution down to 4, or until it is odd or below 8: 96 -> (6, 12, 24, 48, 96)."""
    out = [full]
    while out[0] % 2 == 0 and out[0] >= 8:
        out.insert(0, out[0] // 2)
    return tuple(out)


def hash_file(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Writer:
    """Write a dataset, image by image.

    The images of one file are kept in memory, and `close` writes the manifest.

    Args:
        folder: where to write; made if it is not there.
        resolutions: pixels, each a divisor of the largest. Smaller ones are exact block means of
            the image that is added.
        channels: of the images.
        classes: names by label, or empty.
        source: where the images come from, for the manifest.
        filter: the filter that reduced them, for the manifest.
        shard_images: images per file; by default as many as make about 64 MB, so that memory is
            bounded at any size.
        compress: write smaller files, which cannot be mapped.

    Raises:
        UserError: a resolution does not divide the largest.
    """

    def __init__(
        self,
        folder: str | Path,
        resolutions: Sequence[int],
        channels: int = 3,
        classes: Sequence[str] = (),
        source: str = "",
        filter: str = "",
        shard_images: int | None = None,
        compress: bool = False,
    ):
        self.folder = Path(folder)
        self.resolutions, self.channels = tuple(sorted(resolutions)), channels
        full = self.resolutions[-1]
        if unfit := [r for r in self.resolutions if r < 1 or full % r]:
            raise UserError(
                f"resolution {unfit[0]}: not a divisor of {full}. A stage's images are exact block means of the full size."
            )
        self.classes, self.source, self.filter = tuple(classes), source, filter
        self.shard_images = shard_images or max(1, min(4096, _SHARD_BYTES // (full * full * channels)))
        self.compress = compress
        # Size of an image -> the images that wait for their file to be full, with their labels.
        self._waiting: dict[int, list[tuple[np.ndarray, int]]] = {}
        self._shards: list[dict] = []
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def images(self) -> int:
        """How many images were added."""
        return sum(s["images"] for s in self._shards) + sum(map(len, self._waiting.values()))

    def add(self, image: np.ndarray, label: int = 0) -> None:
        """Add an image uint8 [R, R, channels], of which R is one of the resolutions.

        Raises ValueError.
        """
        size = len(image)
        if image.shape != (size, size, self.channels) or image.dtype != np.uint8 or size not in self.resolutions:
            raise ValueError(
                f"image {image.dtype} {image.shape}: expected a uint8 square of {self.channels} channels and {self.resolutions} px."
            )
        waiting = self._waiting.setdefault(size, [])
        waiting.append((image, label))
        if len(waiting) == self.shard_images:
            self._flush(size)

    def _flush(self, size: int) -> None:
        images, labels = zip(*self._waiting.pop(size))
        name = f"shard-{len(self._shards):05d}.npz"
        full = np.stack(images)
        arrays = {str(r): pixels.average_blocks(full, size // r) for r in self.resolutions if r <= size}
        if self.classes:
            arrays[LABELS] = np.array(labels, np.int64)
        with atomic_write(self.folder / name, only_writer=True) as partial:
            (np.savez_compressed if self.compress else np.savez)(partial, **arrays)
            digest = hash_file(partial)
        self._shards.append({"file": name, "images": len(labels), "sha256": digest, "largest": size})

    def state(self) -> tuple[dict[str, np.ndarray], list[dict]]:
        """Return the state for `restore`.

        It is the images that wait for their file, and the manifest's entries of finished files.
        """
        arrays: dict[str, np.ndarray] = {}
        for size, waiting in self._waiting.items():
            images, labels = zip(*waiting)
            arrays |= {f"{size}/images": np.stack(images), f"{size}/labels": np.array(labels, np.int64)}
        return arrays, list(self._shards)

    def restore(self, arrays: dict[str, np.ndarray], finished: list[dict]) -> None:
        """Go on from the state of an earlier writer of the same folder."""
        self._shards = list(finished)
        for name, images in arrays.items():
            if name.endswith("/images"):
                size = int(name.split("/")[0])
                self._waiting[size] = list(zip(images, arrays[f"{size}/labels"].tolist()))

    def close(self, skipped: int = 0) -> Manifest:
        """Write the last files and the manifest.

        skipped: how many images of the source were left out.
        """
        for size in sorted(self._waiting):
            self._flush(size)
        largest = max((s["largest"] for s in self._shards), default=self.resolutions[-1])
        manifest = Manifest(
            self.images,
            tuple(r for r in self.resolutions if r <= largest),
            self.channels,
            self.classes,
            self.source,
            self.filter,
            tuple(self._shards),
            skipped,
        )
        with atomic_write(self.folder / MANIFEST, only_writer=True) as partial:
            partial.write_text(json.dumps(asdict(manifest), indent=1))
        return manifest
