"""Images in memory that a notebook shows as a picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from pggan_tf.api import arguments
from pggan_tf.data import credentials, marks, pixels
from pggan_tf.errors import UserError


class Images(np.ndarray):
    """A NumPy array of images, uint8 [N, H, W, C], which a notebook shows as a grid.

    C is 3 for colour and 1 for gray, 4 and 2 with alpha. One image of it, [H, W, C], is shown as a
    picture.

    Attributes:
        mark: what a saved picture says about itself, a `marks.Mark`, or None. A part of the images,
            or what is computed from them, loses the seeds in it.
    """

    mark: marks.Mark | None = None

    @classmethod
    def of(cls, images: np.ndarray, mark: marks.Mark | None = None) -> Images:
        """Return an array of images, uint8 [N, H, W, C], as Images, without copying it.

        mark: what a picture of all of them says about itself; None: it says nothing.
        """
        out = np.asarray(images).view(cls)
        out.mark = mark
        return out

    def __array_finalize__(self, source) -> None:
        mark = getattr(source, "mark", None)
        self.mark = mark.without_seeds() if mark else None

    def grid(self, columns: int | None = None):
        """Return all images side by side as one Pillow image, with their alpha if they have it.

        Images below 64 pixels are enlarged by a whole factor, so that they can be seen.

        Args:
            columns: number of images in a row (default: about as many as there are rows).

        Raises:
            UserError: if this is no array of images, or `columns` is below 1.
        """
        from PIL import Image

        images = np.asarray(self)
        images = images[None] if images.ndim == 3 else images
        if images.dtype != np.uint8 or images.ndim != 4 or not 1 <= images.shape[-1] <= 4 or not images.size:
            raise UserError(
                f"an array of {self.dtype} {list(self.shape)} is no grid; expected uint8 [N, H, W, 1 to 4]."
            )
        columns = None if columns is None else arguments.check_whole("columns", columns, 1)
        sheet = pixels.tile(pixels.enlarge(images, pixels.VISIBLE), columns, edge=1)
        return Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)

    def _as_batch(self) -> np.ndarray:
        """Return the images as a plain array, uint8 [N, H, W, C]; N is 1 for one image.

        Raise UserError if this is no array of images.
        """
        images = np.asarray(self)
        images = images[None] if images.ndim == 3 else images
        if images.dtype != np.uint8 or images.ndim != 4 or not 1 <= images.shape[-1] <= 4 or not images.size:
            raise UserError(
                f"an array of {self.dtype} {list(self.shape)}: no images; expected uint8 [N, H, W, 1 to 4]."
            )
        return images

    def save(self, file: str | Path, mark: bool = True, sign: str | Path | None = None) -> Path:
        """Write the images to a file, and return its path.

        Args:
            file: an .npz, which holds them as 'images'; or a picture such as .png, which shows them
                as a grid. A .jpg has white behind transparent parts.
            mark: write into the metadata of a picture that a trained network made it, and which.
            sign: PEM file with a key and its certificates, which sign a picture, as Content
                Credentials of the C2PA.

        Raises:
            UserError: if the file cannot be written.
        """
        path = Path(arguments.expand(file))
        if path.suffix == ".npz":
            if sign is not None:
                raise UserError("sign: an array cannot be signed. Save a picture, or leave out sign.")
            pixels.check_file("file", path)
            images = self._as_batch()
            with pixels.write_npz(str(path), len(images)) as write:
                write(images)
            return path
        pixels.check_picture("file", str(path))
        grid = np.asarray(self.grid())
        grid = grid[..., None] if grid.ndim == 2 else grid
        pixels.check_size("file", str(path), *grid.shape[:2])
        if sign is not None and self.mark is None:
            raise UserError("sign: nothing is known of what made these images. Sign what a generator made.")
        signer = credentials.open_signer(None if sign is None else arguments.expand(sign), mark)
        pixels.save(path, grid, marks.make_packet(self.mark if mark else None))
        if signer and self.mark:
            signer.sign(path, self.mark.source_type)
        return path

    def _repr_png_(self) -> bytes | None:
        """Return the grid as PNG for a notebook; None if this is no array of images.

        Transparent parts show a checkerboard.
        """
        try:
            grid = Images.of(pixels.show(self._as_batch(), pixels.VISIBLE)).grid()
        except UserError:
            return None
        out = io.BytesIO()
        grid.save(out, "PNG")
        return out.getvalue()
