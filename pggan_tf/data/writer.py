"""Write datasets in the format that `shards` reads.

A dataset is a folder of `.npz` files, called shards, and a manifest: a JSON file that describes the
dataset.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pggan_tf import shapes
from pggan_tf.data import pixels
from pggan_tf.errors import UserError
from pggan_tf.files import atomic_write

# Shards of squares have version 1, others version 2, which versions that know only squares refuse.
FORMAT, VERSION = "pggan-tf shards", 2
MANIFEST = "manifest.json"
LABELS = "labels"
_SHARD_BYTES = 64 << 20


@dataclass(frozen=True)
class Manifest:
    """Description of a dataset, stored as manifest.json."""

    images: int  # number of images
    resolutions: tuple[int, ...]  # stored resolutions (longer sides) in pixels, rising
    # 1, 3, 2 or 4 with premultiplied alpha (see `transparency`), or 6 for pairs of pictures.
    channels: int
    classes: tuple[str, ...]  # class names, in order of label; empty without classes
    source: str  # where the images came from, as a text for the user
    filter: str  # name of the filter that reduced the images
    # For each file: {"file": name, "images": number of images, "sha256": checksum, "largest":
    # largest resolution of its images}.
    shards: tuple[dict, ...]
    skipped: int = 0  # number of images of the source that were left out
    version: int = VERSION
    format: str = FORMAT
    aspect: shapes.Aspect = shapes.SQUARE  # width and height of the images in lowest terms

    def to_json(self) -> str:
        """Return the content of manifest.json; the aspect is in it if the images are not square."""
        content = asdict(self)
        if self.aspect == shapes.SQUARE:
            del content["aspect"]
        return json.dumps(content, indent=1)

    def shape_at(self, resolution: int) -> tuple[int, int]:
        """Return the (height, width) in pixels of images at a resolution."""
        return shapes.shape_at(resolution, self.aspect)

    def name_size(self, resolution: int) -> str:
        """Return the size of images at a resolution as text, such as '64' or '48x64'."""
        return shapes.name_size(resolution, self.aspect)

    @property
    def checksum(self) -> str:
        """SHA-256 of all files, in hexadecimal: equal for the same images prepared in one way."""
        text = json.dumps([[s["images"], s["sha256"]] for s in self.shards])
        return hashlib.sha256(text.encode()).hexdigest()


def halve_resolution(full: int, aspect: shapes.Aspect = shapes.SQUARE) -> tuple[int, ...]:
    """Return a resolution and all its halvings in rising order: 96 -> (6, 12, 24, 48, 96).

    Halving stops at a number that is odd or below 8, or where a side would not be whole.

    Args:
        full: the largest resolution, in pixels.
        aspect: width and height of the images in lowest terms.
    """
    out = [full]
    while out[0] % 2 == 0 and out[0] >= 8 and shapes.fits(out[0] // 2, aspect):
        out.insert(0, out[0] // 2)
    return tuple(out)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Writer:
    """Object that writes a dataset, to which images are added one by one.

    Images stay in memory until their file is full. `close` writes the rest and the manifest.

    Args:
        folder: folder to write to; created if it does not exist.
        resolutions: stored resolutions in pixels, each a divisor of the largest. Smaller ones are
            exact block means of the image that is added.
        channels: number of channels of the images.
        classes: class names, in order of label; empty without classes.
        source: where the images come from, for the manifest.
        filter: the filter that reduced the images, for the manifest.
        shard_images: images per file; by default, as many as make about 64 MB, so that memory is
            limited for any size.
        compress: write smaller files, which cannot be mapped into memory and are slower to read.
        aspect: width and height of the images in lowest terms.

    Raises:
        UserError: if a resolution does not divide the largest, or has no whole sides.
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
        aspect: shapes.Aspect = shapes.SQUARE,
    ):
        self.folder, self.aspect = Path(folder), aspect
        self.resolutions, self.channels = tuple(sorted(resolutions)), channels
        full = self.resolutions[-1]
        if unfit := [r for r in self.resolutions if r < 1 or full % r]:
            raise UserError(
                f"resolution {unfit[0]}: not a divisor of {full}. A stage's images are exact block means of the full size."
            )
        if unfit := [r for r in self.resolutions if not shapes.fits(r, aspect)]:
            raise UserError(
                f"resolution {unfit[0]} at {shapes.name_aspect(aspect)}: it is the longer side, and the shorter one is not whole. "
                f"Expected multiples of {max(aspect)}."
            )
        self.classes, self.source, self.filter = tuple(classes), source, filter
        self.shard_images = shard_images or max(1, min(4096, _SHARD_BYTES // (math.prod(self._shape(full)))))
        self.compress = compress
        # Size of an image -> list of (image, label) that are not yet written to a file.
        self._waiting: dict[int, list[tuple[np.ndarray, int]]] = {}
        self._shards: list[dict] = []
        self.folder.mkdir(parents=True, exist_ok=True)

    def _shape(self, resolution: int) -> tuple[int, int, int]:
        """Return the (height, width, channels) of images at a resolution."""
        return (*shapes.shape_at(resolution, self.aspect), self.channels)

    @property
    def images(self) -> int:
        """Number of images added so far."""
        return sum(s["images"] for s in self._shards) + sum(map(len, self._waiting.values()))

    def add(self, image: np.ndarray, label: int = 0) -> None:
        """Add an image.

        Args:
            image: uint8 [H, W, channels], of the shape at one of the resolutions.
            label: index of its class.

        Raises:
            ValueError: if the image has another shape or type.
        """
        size = max(image.shape[:2])
        if size not in self.resolutions or image.shape != self._shape(size) or image.dtype != np.uint8:
            raise ValueError(
                f"image {image.dtype} {image.shape}: expected uint8 of {shapes.name_aspect(self.aspect)}, {self.channels} channels "
                f"and {self.resolutions} px."
            )
        waiting = self._waiting.setdefault(size, [])
        waiting.append((image, label))
        if len(waiting) == self.shard_images:
            self._flush(size)

    def _flush(self, size: int) -> None:
        """Write all waiting images of one size to a new file."""
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
        """Return everything that `restore` needs in order to continue with this dataset.

        Returns:
            (arrays of the images and labels that are not yet in a file, by name; entries of the
            finished files for `Manifest.shards`).
        """
        arrays: dict[str, np.ndarray] = {}
        for size, waiting in self._waiting.items():
            images, labels = zip(*waiting)
            arrays |= {f"{size}/images": np.stack(images), f"{size}/labels": np.array(labels, np.int64)}
        return arrays, list(self._shards)

    def restore(self, arrays: dict[str, np.ndarray], finished: list[dict]) -> None:
        """Continue with the dataset of an earlier writer of the same folder.

        arrays, finished: what the earlier writer's `state` has returned.
        """
        self._shards = list(finished)
        for name, images in arrays.items():
            if name.endswith("/images"):
                size = int(name.split("/")[0])
                self._waiting[size] = list(zip(images, arrays[f"{size}/labels"].tolist()))

    def close(self, skipped: int = 0) -> Manifest:
        """Write the remaining images and the manifest, and return the manifest.

        skipped: number of images of the source that were left out.
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
            version=1 if self.aspect == shapes.SQUARE else VERSION,
            aspect=self.aspect,
        )
        with atomic_write(self.folder / MANIFEST, only_writer=True) as partial:
            partial.write_text(manifest.to_json())
        return manifest
