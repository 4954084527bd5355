"""Files of several pictures, written one by one: the pages of a TIFF, the frames of an animation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pggan_tf.data import photos
from pggan_tf.files import atomic_write

# What pictures of one file are written to: by what they are.
KINDS = {"pages": (".tif", ".tiff"), "frames": (".webp", ".png")}

Add = Callable[[photos.Photo, int], None]  # a photo, and for how many milliseconds it is shown


@contextlib.contextmanager
def writer(path: Path, kind: str, sizes: list[tuple[int, int]], scale: int, loop: int):
    """Yields a function of type Add. The file is there whole or not at all. Raises photos.Unwritable.

    Pages may have different sizes, and are written as they come. An animation is held until its end, so that its size is bounded:
    sizes, (width, height), are those of what is read; what is written is `scale` times as large.
    """
    pixels = scale * scale * sum(width * height for width, height in sizes)
    if kind == "frames" and pixels > photos.MAX_PIXELS:
        raise photos.Unwritable(
            f"{path}: {len(sizes)} frames, {pixels // 10**6:,} million pixels in all; an animation may have "
            f"{photos.MAX_PIXELS // 10**6}. Make it a video, or give fewer frames."
        )
    with photos.told_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        if kind == "pages":
            with contextlib.ExitStack() as stack:
                add = stack.enter_context(photos.tiff_writer(partial, 8 * pixels))
                yield _told(path, lambda photo, milliseconds: add(photo))
                with photos.told_unwritable(path):  # EXIF's tables come last
                    stack.close()
        else:
            frames: list[tuple[photos.Photo, int]] = []
            yield lambda photo, milliseconds: frames.append((photo, milliseconds))
            with photos.told_unwritable(path):
                _save(partial, frames, loop)


def _told(path: Path, add: Add) -> Add:
    def told(photo, milliseconds):
        with photos.told_unwritable(path):
            add(photo, milliseconds)

    return told


def _save(path: Path, frames: list[tuple[photos.Photo, int]], loop: int) -> None:
    clear = any(photo.alpha is not None for photo, _ in frames)
    pictures = [_picture(photo, clear) for photo, _ in frames]
    first = frames[0][0]
    kept = {"icc_profile": first.profile, "exif": first.exif and b"Exif\0\0" + first.exif}
    options = {"format": "WEBP", "quality": 95} if path.suffix.lower() == ".webp" else {"format": "PNG"}
    if (
        clear and options["format"] == "WEBP"
    ):  # of frames that are only what changes, libwebp loses transparency that comes late
        options |= {"kmin": 1, "kmax": 1}
    pictures[0].save(
        path,
        **options,
        **{name: block for name, block in kept.items() if block},
        save_all=True,
        append_images=pictures[1:],
        duration=[milliseconds for _, milliseconds in frames],
        loop=loop,
    )


def _picture(photo: photos.Photo, clear: bool) -> Image.Image:
    planes = [photo.rgb()]
    if clear:
        planes.append(np.full((*photo.size, 1), 255, np.uint8) if photo.alpha is None else photo.alpha)
    return Image.fromarray(np.concatenate(planes, axis=2))
