"""Writers of files that hold several pictures: the pages of a TIFF, the frames of an animation.

The pictures are added one by one. A file of this kind is called a sequence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pggan_tf.data import photos, xmp
from pggan_tf.files import atomic_write

# The extensions of files that can hold several pictures, by the kind of the pictures.
KINDS = {"pages": (".tif", ".tiff"), "frames": (".webp", ".png")}

Add = Callable[[photos.Photo, int], None]  # takes a photo and the milliseconds for which it is shown


@contextlib.contextmanager
def open_writer(path: Path, kind: str, sizes: list[tuple[int, int]], loop: int):
    """Context manager that writes a file with several pictures.

    It yields a function of type `Add`, which is called once for every picture. If anything fails,
    no file is left behind. Pages may have different sizes, and each is written as soon as it is
    added. The frames of an animation are held in memory until all have been added; therefore an
    animation may have at most `photos.MAX_PIXELS` pixels in all frames together.

    Args:
        path: the file to write.
        kind: kind of the pictures, a key of KINDS.
        sizes: (width, height) of every picture that is written.
        loop: how many times an animation is shown; 0 means for ever.

    Raises:
        photos.Unwritable: if the animation is too large, or the file cannot be written.
    """
    pixels = sum(width * height for width, height in sizes)
    if kind == "frames" and pixels > photos.MAX_PIXELS:
        raise photos.Unwritable(
            f"{path}: {len(sizes)} frames, {pixels // 10**6:,} million pixels in all; an animation may have "
            f"{photos.MAX_PIXELS // 10**6}. Make it a video, or give fewer frames."
        )
    with photos.raise_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        if kind == "pages":
            with contextlib.ExitStack() as stack:
                add = stack.enter_context(photos.open_tiff(partial, 8 * pixels))
                yield _report_errors(path, lambda photo, milliseconds: add(photo))
                with photos.raise_unwritable(path):  # closing the file writes its EXIF data
                    stack.close()
        else:
            frames: list[tuple[photos.Photo, int]] = []
            yield lambda photo, milliseconds: frames.append((photo, milliseconds))
            with photos.raise_unwritable(path):
                _save(partial, frames, loop)


def _report_errors(path: Path, add: Add) -> Add:
    """Return a function that calls `add` and raises photos.Unwritable if writing fails.

    path: the file that `add` writes to, for the message.
    """

    def add_and_report(photo, milliseconds):
        with photos.raise_unwritable(path):
            add(photo, milliseconds)

    return add_and_report


def _save(path: Path, frames: list[tuple[photos.Photo, int]], loop: int) -> None:
    """Write an animation.

    Args:
        path: the file to write; .webp, else it is written as PNG.
        frames: (photo, milliseconds for which it is shown) of every frame.
        loop: how many times the animation is shown; 0 means for ever.
    """
    clear = any(photo.alpha is not None for photo, _ in frames)
    pictures = [_make_picture(photo, clear) for photo, _ in frames]
    first = frames[0][0]
    blocks = {"icc_profile": first.profile, "exif": first.exif and b"Exif\0\0" + first.exif}
    options: dict[str, Any] = {"format": "WEBP", "quality": 95} if path.suffix.lower() == ".webp" else {"format": "PNG"}
    if clear and options["format"] == "WEBP":
        # Store every frame as a whole. In frames that are stored as differences, libwebp loses
        # transparency that only occurs in later frames.
        options |= {"kmin": 1, "kmax": 1}
    pictures[0].save(
        path,
        **options,
        **{name: block for name, block in blocks.items() if block},
        **xmp.make_pillow_options(options["format"], first.xmp),
        save_all=True,
        append_images=pictures[1:],
        duration=[milliseconds for _, milliseconds in frames],
        loop=loop,
    )


def _make_picture(photo: photos.Photo, clear: bool) -> Image.Image:
    """Convert a photo to a Pillow image, in mode RGB or RGBA.

    clear: whether to include an alpha channel. For a photo without alpha it is opaque.
    """
    planes = [photo.rgb()]
    if clear:
        planes.append(np.full((*photo.size, 1), 255, np.uint8) if photo.alpha is None else photo.alpha)
    return Image.fromarray(np.concatenate(planes, axis=2))
