"""Images in one NumPy file: `.npy`, or `.npz` with an array of images and perhaps one of labels. No pickle is loaded."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pggan_tf.errors import UserError
from preprocessing import storage
from preprocessing.sources import Item, Source

OPTIONS = ()


@dataclass(frozen=True)
class Arrays(Source):
    name: str
    images: np.ndarray  # uint8 [N, H, W(, C)]
    labels: np.ndarray | None
    classes: tuple[str, ...]
    numbers: Sequence[int]

    def __len__(self):
        return len(self.numbers)

    def items(self, start, stop):
        for i in self.numbers[start:stop]:
            yield Item(f"image {i}", np.asarray(self.images[i]), int(self.labels[i]) if self.classes else 0)

    def fingerprint(self):
        sha = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        for first in range(0, len(self.images), 1024):
            sha.update(np.ascontiguousarray(self.images[first : first + 1024]))
        if self.labels is not None:
            sha.update(np.ascontiguousarray(self.labels, np.int64))
        return sha.hexdigest()

    content = fingerprint

    def select(self, labels):
        return dataclasses.replace(self, numbers=[i for i in self.numbers if self.labels[i] in set(labels)])


def _load(location: str) -> dict[str, np.ndarray]:
    if location.lower().endswith(".npy") and not storage.is_remote(location):
        return {"images": np.load(location, mmap_mode="r", allow_pickle=False)}
    file = io.BytesIO(storage.read(location)) if storage.is_remote(location) else location
    loaded = np.load(file, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return {"images": loaded}
    with loaded:
        return {name: loaded[name] for name in loaded.files}


def open(location: str) -> Arrays:
    try:
        arrays = _load(location)
    except Exception as error:  # NumPy raises many kinds for what is not a file of its own
        raise UserError(f"{location}: cannot be read as NumPy arrays ({str(error)[:150]}).") from None
    pictures = {n: a for n, a in arrays.items() if a.ndim == 4 or (a.ndim == 3 and a.dtype == np.uint8)}
    name = next((n for n in ("images", "x", "data", "arr_0") if n in pictures), next(iter(pictures), None))
    found = ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in arrays.items())
    if name is None:
        raise UserError(f"{location}: no array of images in it ({found}). Expected uint8 [N, H, W, 3], or [N, H, W].")
    images = pictures[name]
    if images.dtype != np.uint8:
        raise UserError(
            f"{location}: '{name}' is {images.dtype}. Expected uint8, 0 to 255: scale it and save it again."
        )
    if images.ndim == 4 and images.shape[-1] not in (1, 3, 4):
        hint = " It looks like [N, C, H, W]: transpose it with (0, 2, 3, 1)." if images.shape[1] in (1, 3) else ""
        raise UserError(f"{location}: '{name}' is {list(images.shape)}. Expected [N, H, W, 1, 3 or 4].{hint}")
    labels = next((arrays[n].ravel() for n in ("labels", "label", "y") if n in arrays), None)
    if labels is None or len(labels) != len(images) or labels.dtype.kind not in "iuU":
        return Arrays(location, images, None, (), range(len(images)))
    values, numbers = np.unique(labels, return_inverse=True)
    return Arrays(location, images, numbers, tuple(map(str, values)), range(len(images)))
