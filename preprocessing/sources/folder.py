"""A folder of images, nested at will. Where all lie in two or more first-level folders, those are the classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from pggan_tf.errors import UserError
from preprocessing.decode import EXTENSIONS, Unreadable, decode


def find(folder: Path) -> list[Path]:
    """Image files in a fixed order."""
    if not folder.is_dir():
        raise UserError(
            f"--data {folder}: not a folder. Expected a folder of images ({', '.join(e[1:] for e in EXTENSIONS)}) or of shards."
        )
    files = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and not p.name.startswith(".") and p.is_file()
    )
    if not files:
        raise UserError(
            f"--data {folder}: no images found. Expected {', '.join(e[1:] for e in EXTENSIONS)} files, in subfolders or not."
        )
    return files


def classes(folder: Path, files: list[Path]) -> list[str]:
    tops = {p.relative_to(folder).parts[0] if len(p.relative_to(folder).parts) > 1 else None for p in files}
    return sorted(tops) if None not in tops and len(tops) > 1 else []


def fingerprint(folder: Path, files: list[Path], content: bool) -> str:
    """Of names and bytes, or, much faster, of names, sizes and times."""
    digest = hashlib.sha256(b"" if content else str(folder.resolve()).encode())
    for p in files:
        digest.update(p.relative_to(folder).as_posix().encode() + b"\0")
        try:
            stat = p.stat()
            if content:
                with p.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            else:
                digest.update(f"{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        except OSError:
            digest.update(b"unreadable\0")  # it will be listed among those that cannot be used
    return digest.hexdigest()


def images(
    folder: Path, files: list[Path], size: int, filter: str, channels: int, upscale_small: bool, workers: int
) -> Iterator[tuple[str, np.ndarray | Unreadable, int]]:
    """(name, uint8 square or the reason why not, label) in the order of `files`. Decoding leaves the GIL: threads do."""
    names = classes(folder, files)

    def load(path: Path):
        name = path.relative_to(folder).as_posix()
        try:
            image = decode(path.read_bytes(), size, filter, channels, upscale_small)
        except Unreadable as reason:
            image = reason
        except OSError as error:
            image = Unreadable(error.strerror or str(error))
        return name, image, names.index(name.split("/")[0]) if names else 0

    with ThreadPoolExecutor(workers) as pool:
        # In windows: `map` over everything would hold every decoded image at once.
        rest = iter(files)
        while window := list(islice(rest, 64 * workers)):
            yield from pool.map(load, window)
