"""Convert, resize and save images with NumPy and Pillow.

An image is an array of pixels. A picture is a file (.png, .jpg or .webp), or what will be saved as
one, and may show many images.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from pathlib import Path

import numpy as np

from pggan_tf.data import transparency
from pggan_tf.errors import UserError
from pggan_tf.files import atomic_write

# Pillow's names of filters. All but `nearest` scale their support with the reduction, so that they
# do not alias.
FILTERS = ("lanczos", "bicubic", "bilinear", "hamming", "box", "nearest")
# Formats that pictures are written in, by file extension.
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def to_float(pixels):
    """Convert an array of uint8 to float32 in -1..1 of the same shape: x / 127.5 - 1."""
    return np.asarray(pixels, np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(x):
    """Convert an array of floats in -1..1 to uint8 of the same shape.

    Values are round(127.5 x + 127.5), clipped to 0..255. For every uint8 value v,
    to_uint8(to_float(v)) is v.
    """
    return np.clip(np.rint(np.asarray(x, np.float32) * np.float32(127.5) + np.float32(127.5)), 0, 255).astype(np.uint8)


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """Convert an array of uint8 or uint16 to float32 in 0..1: divide by 255 or 65535."""
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def from_unit(x: np.ndarray, dtype) -> np.ndarray:
    """Convert an array of floats in 0..1 to uint8 or uint16 (`dtype`), rounded and clipped.

    For every value v of this type, from_unit(to_unit(v), dtype) is v.
    """
    most = np.iinfo(dtype).max
    return np.clip(np.rint(np.asarray(x, np.float32) * np.float32(most)), 0, most).astype(dtype)


def average_blocks(images: np.ndarray, factor: int) -> np.ndarray:
    """Reduce images uint8 [..., H, W, C] and return them as uint8 [..., H/factor, W/factor, C].

    Values are exact means of blocks of factor x factor pixels, rounded half up. `factor` divides H
    and W.
    """
    if factor == 1:
        return images
    # Adding whole rows, then columns, is ten times as fast as a sum over two axes, which goes pixel
    # by pixel.
    rows = images[..., ::factor, :, :].astype(np.uint16 if factor <= 257 else np.uint32)
    for i in range(1, factor):
        rows += images[..., i::factor, :, :]
    sums = rows[..., ::factor, :].astype(np.uint32)
    for i in range(1, factor):
        sums += rows[..., i::factor, :]
    area = factor * factor
    sums += area // 2
    return (sums // area).astype(np.uint8)


def resize_rows(planes: np.ndarray, size: tuple[int, int], filter: str, top: int, bottom: int) -> np.ndarray:
    """Return some rows of a resized image as float32 [bottom - top, w, C].

    Pillow resizes in floating point. With a few rows at a time, an image can be enlarged that would
    not fit into memory as floats.

    Args:
        planes: the image [H,W,C].
        size: height and width (h, w) in pixels to which the whole image would be resized.
        filter: resampling filter, one of FILTERS.
        top: first row to return.
        bottom: row after the last one to return.
    """
    from PIL import Image

    height, width = planes.shape[:2]
    box = (0, top * height / size[0], width, min(height, bottom * height / size[0]))
    rows = [
        Image.fromarray(planes[..., c].astype(np.float32)).resize(
            (size[1], bottom - top), Image.Resampling[filter.upper()], box=box
        )
        for c in range(planes.shape[2])
    ]
    return np.stack([np.asarray(row) for row in rows], -1)


def resize(image: np.ndarray, shape: tuple[int, int], filter: str) -> np.ndarray:
    """Resize an image uint8 [H, W, C] and return it as uint8 [h, w, C].

    Args:
        image: the image.
        shape: height and width (h, w) in pixels of the result.
        filter: resampling filter, one of FILTERS.
    """
    from PIL import Image

    picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    return np.asarray(picture.resize(shape[::-1], Image.Resampling[filter.upper()])).reshape(*shape, -1)


class Sheet:
    """Picture that shows several images of one size in rows, with white space between them.

    `add` puts images into `picture`, which is None before and then uint8 [height, width, C]. The
    space between images with alpha is transparent.

    Args:
        count: number of images that the sheet has room for.
        columns: number of images in a row; None makes the sheet nearly square.
        edge: width of the space between two images in pixels.
    """

    def __init__(self, count: int, columns: int | None = None, edge: int = 0):
        self.columns, self.edge, self.added = columns or math.ceil(math.sqrt(count)), edge, 0
        self.rows = math.ceil(count / self.columns)
        self.picture: np.ndarray | None = None

    def size(self, h: int, w: int) -> tuple[int, int]:
        """Return (height, width) of the sheet in pixels for images h pixels high and w wide."""
        return self.rows * (h + self.edge) - self.edge, self.columns * (w + self.edge) - self.edge

    def add(self, images: np.ndarray) -> None:
        """Put images uint8 [N, H, W, C] into the next free places, row by row."""
        _, h, w, c = images.shape
        if self.picture is None:
            self.picture = np.full((*self.size(h, w), c), 0 if transparency.has_alpha(c) else 255, np.uint8)
        for image in images:
            y, x = (n * (side + self.edge) for n, side in zip(divmod(self.added, self.columns), (h, w)))
            self.picture[y : y + h, x : x + w] = image
            self.added += 1


def tile(images: np.ndarray, columns: int | None = None, edge: int = 0) -> np.ndarray:
    """Return one picture, uint8 [height, width, C], that shows images uint8 [N, H, W, C] in rows.

    For the other arguments, see `Sheet`.
    """
    sheet = Sheet(len(images), columns, edge)
    sheet.add(images)
    assert sheet.picture is not None
    return sheet.picture


def _find_factor(shape: tuple[int, int], size: int) -> int:
    """Return the factor of `enlarge` for images of this (height, width)."""
    return max(1, math.ceil(size / min(shape)))


def find_enlarged_shape(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Return the (height, width) that images of `shape` have after `enlarge(images, size)`."""
    factor = _find_factor(shape, size)
    return factor * shape[0], factor * shape[1]


def enlarge(images: np.ndarray, size: int) -> np.ndarray:
    """Enlarge images [N, H, W, C] by repeating each pixel, and return [N, fH, fW, C].

    The factor f is the smallest whole number with which neither side is below `size`. This makes
    images of early stages of training, which have few pixels, visible.
    """
    factor = _find_factor(images.shape[1:3], size)
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def find_reduction(size: tuple[int, int], most: int) -> int:
    """Return the smallest whole factor by which a picture is reduced to have at most `most` pixels.

    size: two sides of the picture in pixels.
    """
    return max(1, math.ceil(math.sqrt(math.prod(size) / most)))


def show(images: np.ndarray, size: int) -> np.ndarray:
    """Enlarge images [N, H, W, C], see `enlarge`, and show straight alpha on a checkerboard."""
    return transparency.draw_on_checkerboard(enlarge(images, size))


def check_file(option: str, path: str | Path) -> str | Path:
    """Check that a file can be written at a path, and return the path unchanged.

    This creates the folder of the file, but not the file.

    Args:
        option: command-line option that the path was given with, such as '--out', for the message.
        path: the path to check.

    Raises:
        UserError: if no file can be written there.
    """
    file = Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        there = file.exists()
        file.open("ab").close()
        if not there:
            file.unlink()
    except OSError as error:
        why = f"cannot be written ({error.strerror or error}). Choose a folder you may write to."
        raise UserError(f"{option} {path}: {why}") from None
    return path


def check_picture(option: str, path: str) -> str:
    """Check that a picture can be written at a path, and return the path unchanged.

    For the arguments, see `check_file`. Raise UserError if the picture cannot be written or the
    name does not end in one of PICTURES.
    """
    if Path(path).suffix.lower() not in PICTURES:
        raise UserError(f"{option} {path}: expected a name that ends in {', '.join(PICTURES)}.")
    check_file(option, path)
    return path


def check_size(option: str, path: str, height: int, width: int) -> None:
    """Check the size of a picture before the picture is computed.

    Args:
        option: command-line option that the path was given with, such as '--out', for the message.
        path: path of the picture.
        height: height in pixels.
        width: width in pixels.

    Raises:
        UserError: if the file format does not allow this height or width, or if there are more
            pixels than this program reads from a file (photos.MAX_PIXELS).
    """
    from pggan_tf.data import photos

    suffix = Path(path).suffix.lower()
    longest, most = photos.KINDS[suffix][2], photos.MAX_PIXELS
    if max(height, width) > longest or height * width > most:
        raise UserError(
            f"{option} {path}: would be {width:,} x {height:,} pixels; expected {longest:,} a side at most as {suffix}, "
            f"and {most // 10**6} million in all. Take fewer images, or smaller ones{'' if suffix == '.png' else ', or .png'}."
        )


def encode(file, image: np.ndarray, format: str, packet: bytes | None = None) -> None:
    """Write a picture uint8 [H, W, C] with Pillow.

    Args:
        file: path or open file to write to.
        image: the picture; with 2 or 4 channels straight alpha, behind which is white in a JPEG.
        format: one of the values of PICTURES.
        packet: XMP packet of the picture, or None.
    """
    from PIL import Image

    from pggan_tf.data import xmp

    image = transparency.flatten(image) if format == "JPEG" else image
    picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    picture.save(file, format=format, **xmp.make_pillow_options(format, packet))


def save(path: str | Path, image: np.ndarray, packet: bytes | None = None) -> None:
    """Write a picture uint8 [H, W, C], gray or RGB, or either with alpha, completely or not at all.

    The file extension, one of PICTURES, decides the format. Raise OSError with the path and the
    reason if the picture cannot be written.

    packet: XMP packet of the picture, such as from `marks.make_packet`.
    """
    path = Path(path)
    try:
        with atomic_write(path) as partial:
            encode(partial, image, PICTURES[path.suffix.lower()], packet)
    except (OSError, ValueError) as error:
        # Pillow's errors about unsupported content have neither errno nor strerror.
        why = getattr(error, "strerror", None) or str(error)
        raise OSError(getattr(error, "errno", None), why, str(path)) from error


@contextlib.contextmanager
def write_npz(path: str | Path, count: int):
    """Context manager that writes an .npz file with 'images' uint8 [count, H, W, C].

    The file appears when the block ends without an exception, otherwise not at all.

    Args:
        path: path of the file.
        count: number of images that will be written.

    Yields:
        A function that takes images uint8 [N, H, W, C] and appends them. N may differ between
        calls.
    """
    begun = False
    with (
        atomic_write(path) as partial,
        zipfile.ZipFile(partial, "w") as archive,
        archive.open("images.npy", "w", force_zip64=True) as file,
    ):

        def add(images: np.ndarray) -> None:
            nonlocal begun
            if not begun:
                header = {"descr": "|u1", "fortran_order": False, "shape": (count, *images.shape[1:])}
                np.lib.format.write_array_header_1_0(file, header)
                begun = True
            file.write(np.ascontiguousarray(images))

        yield add


# Side in pixels that smaller images are enlarged to in grids, so that a 4-px stage can be seen.
VISIBLE = 64


def save_grid(
    path: str | Path,
    images: np.ndarray,
    columns: int | None = None,
    size: int = 1,
    packet: bytes | None = None,
) -> None:
    """Save images uint8 [N, H, W, C] as one picture to look at.

    Images with six channels (pairs of RGB images) are shown as two images side by side, and images
    with straight alpha on a checkerboard.

    Args:
        path: path of the picture.
        images: the images, uint8 [N, H, W, C].
        columns: number of images in a row; None makes the picture nearly square.
        size: images with a shorter side are enlarged to a side of at least this many pixels. From
            32 on, there is also white space of one pixel between images.
        packet: XMP packet of the picture, or None.
    """
    if images.shape[-1] == 6:
        images = np.concatenate([images[..., :3], images[..., 3:]], axis=2)
    save(path, tile(show(images, size), columns, edge=1 if size >= 32 else 0), packet)
