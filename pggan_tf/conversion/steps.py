"""The steps of converting a photo: read its file, compute the result, write it.

The function that converts photos is called `change` here, see `conversion.conversion`. Photos are
`photos.Photo`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pggan_tf.conversion.enlargement import Enlargement
from pggan_tf.conversion.folder import Say
from pggan_tf.data import captions, credentials, marks
from pggan_tf.networks import tiles


def name_comparison(path: Path) -> Path:
    """Return the path of the before-and-after picture for the result `path`: NAME-compare.EXT."""
    return path.with_name(f"{path.stem}-compare{path.suffix}")


def _name_in_folder(name: Path, photo, scale: float) -> Path:
    """Return the path of a result: `name`, plus .png if the format of `name` would lose data.

    Args:
        name: path with the extension of the source photo.
        photo: `photos.Photo` to write.
        scale: factor by which the photo will be enlarged before it is written.
    """
    from pggan_tf.data import photos

    return name.with_name(f"{name.name}.png") if photos.find_loss(photo, name.suffix.lower(), scale) else name


def put_side_by_side(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return an image [H,2 W,C] that shows two images side by side.

    Args:
        before: [h,w,C]; it is enlarged with nearest-neighbour interpolation.
        after: [H,W,C].
    """
    rows, columns = (np.arange(to) * side // to for to, side in zip(after.shape[:2], before.shape[:2]))
    return np.concatenate([before[rows][:, columns], after], axis=1)


def _pair_photos(photo, changed):
    """Return a `photos.Photo` that shows a photo and its converted version side by side.

    Args:
        photo: the original `photos.Photo`.
        changed: the converted one.
    """
    from pggan_tf.data import photos, xmp

    alpha = None if photo.alpha is None else put_side_by_side(photo.alpha, changed.alpha)
    pair = put_side_by_side(photo.rgb(), changed.rgb())
    return photos.Photo(pair, alpha, changed.profile, xmp=xmp.drop_panorama(changed.xmp))


@dataclass(frozen=True)
class Source:
    """A file that was read, and where its result goes."""

    file: Path
    out: Path
    photo: Any  # `photos.Photo` of the file, or of the first of its pages or frames
    # (width, height) of its pages or frames, if all of them go into the result; else empty.
    sizes: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class PhotoSteps:
    """The steps of a photo: read, compute, write; with the settings for writing the results."""

    change: Callable  # converts a photo, see `convert`
    enlargement: Enlargement  # the size to which `change` enlarges a photo
    compare: bool  # whether to write before-and-after pictures, too
    mark: marks.Mark | None = None  # mark of the results; None: without one
    signer: credentials.Signer | None = None  # signs the results; None: they are not signed

    def convert_photo(self, photo, progress=tiles.ignore):
        """Return the converted photo, a `photos.Photo`, with its mark."""
        return self.change(photo, progress).made_from(photo, self.mark)

    def sign(self, file: Path, *outs: Path) -> None:
        """Sign results, if that is wanted. file: what they were made from."""
        if self.signer and self.mark:
            for out in outs:
                self.signer.sign(out, self.mark.source_type, file)

    def _find_scale(self, photo) -> float:
        """Return the factor by which the longer side of a photo grows."""
        return max(self.enlargement.find_size(*photo.size)) / max(photo.size)

    def read(self, file: Path, out: Path, named: bool, say: Say) -> Source:
        """Read and decode one file, and decide how its result is written.

        All pages or frames of the file are converted if the format of the result can hold several
        pictures, else only the first one.

        Args:
            file: path of the photo.
            out: path of the result.
            named: whether the user chose the name `out`; if not, .png may be added to it.
            say: called with messages for the user.

        Raises:
            photos.Unreadable: if the file is damaged or no photo.
            photos.Unwritable: if the result cannot be written to `out`.
        """
        from pggan_tf.conversion import sequences
        from pggan_tf.data import decoders, photos

        with decoders.open_pictures(_read_file(file)) as pictures:
            photo = photos.make_photo(pictures.picture(), pictures.format)
            scale = self._find_scale(photo)
            out = out if named else _name_in_folder(out, photo, scale)
            if problem := photos.find_loss(photo, out.suffix.lower(), scale):  # check before converting
                raise photos.Unwritable(f"{out}: {problem} ({file}). Choose a name that ends in .png or .tif.")
            sizes, kind = _read_sizes(file, pictures, say), pictures.kind
        if len(sizes) == 1:
            return Source(file, out, photo)
        if out.suffix.lower() in sequences.KINDS[kind]:
            return Source(file, out, photo, sizes)
        names = " or ".join(sequences.KINDS[kind])
        say(f"{file}: only the first of its {len(sizes)} {kind}; all of them go into {names}")
        return Source(file, out, photo)

    def compute(self, source: Source, say: Say, progress=tiles.ignore):
        """Return the converted photo. Pages and frames are written at once, and None is returned.

        Args:
            source: what `read` returned.
            say: called with messages for the user.
            progress: called with (tiles done, tiles in all), or with (pictures done, pictures in
                all) for a file with several pages or frames.
        """
        if source.sizes:
            self._write_sequence(source, say, progress)
            return None
        return self.convert_photo(source.photo, progress)

    def write(self, source: Source, changed, say: Say) -> None:
        """Write what `compute` returned, and sign it.

        Raises photos.Unwritable if the result cannot be written.

        Args:
            source: what `read` returned.
            changed: what `compute` returned.
            say: called with messages for the user.
        """
        from pggan_tf.data import photos

        file, out = source.file, source.out
        if changed is None:
            self.sign(file, out, *([name_comparison(out)] if self.compare else []))
            return
        if left_out := photos.write(out, changed):
            say(f"{out}: {left_out}")
        self.sign(file, out)
        if self.compare:
            pair = _pair_photos(source.photo, changed)
            place = _name_in_folder(name_comparison(out), pair, 1)
            photos.write(place, pair)
            self.sign(file, place)

    def _write_sequence(self, source: Source, say: Say, progress) -> None:
        """Convert all pages or frames of a file, one by one, and write them into one file.

        Damaged pages are reported and left out. An animation ends before its first damaged frame,
        which is reported as well.

        Args:
            source: what `read` returned.
            say: called with messages for the user.
            progress: called with (pictures done, pictures in all).
        """
        from pggan_tf.conversion import sequences
        from pggan_tf.data import decoders, photos

        file, out = source.file, source.out
        holder = "an animation" if source.out.suffix.lower() in sequences.KINDS["frames"] else out.suffix.lower()
        if left_out := captions.keep(source.photo.captions, holder)[1]:
            say(f"{out}: {left_out}")
        if source.photo.was:
            say(f"{out}: {source.photo.was}, made sRGB")
        with decoders.open_pictures(_read_file(file)) as pictures, contextlib.ExitStack() as stack:
            names = [out, name_comparison(out)] if self.compare else [out]
            sizes = [self.enlargement.find_size(height, width)[::-1] for width, height in source.sizes]
            wider = [sizes, [(2 * width, height) for width, height in sizes]]
            adds = [
                stack.enter_context(sequences.open_writer(name, pictures.kind, each, pictures.loop))
                for name, each in zip(names, wider)
            ]
            for number in range(len(sizes)):
                progress(number, len(sizes))
                try:
                    picture = pictures.picture(number)
                    photo = photos.make_photo(picture, pictures.format)
                except photos.Unreadable as reason:
                    if pictures.kind == "pages":
                        what = f"without page {number + 1} of {len(sizes)}, which is damaged ({reason})"
                        say(f"{file}: {what}")
                        continue
                    say(f"{file}: only {number} of its {len(sizes)} frames; the rest is damaged ({reason})")
                    break  # later frames depend on this one
                changed = self.convert_photo(photo)
                results = [changed, _pair_photos(photo, changed)] if self.compare else [changed]
                for add, result in zip(adds, results):
                    add(result, picture.milliseconds)
            progress(len(sizes), len(sizes))


def _read_file(file: Path) -> bytes:
    """Return the content of a file. Raise photos.Unreadable if it is too large or unreadable."""
    from pggan_tf.data import photos

    try:
        if (size := file.stat().st_size) > photos.MAX_BYTES:
            raise photos.Unreadable(f"a file of {size >> 20:,} MB, more than {photos.MAX_BYTES >> 20:,}")
        return file.read_bytes()
    except OSError as error:
        raise photos.Unreadable(error.strerror or str(error)) from None


def _read_sizes(file: Path, pictures, say: Say) -> list[tuple[int, int]]:
    """Return (width, height) in pixels of every page or frame in a file.

    If some of them are damaged, say this and return a list with the size of the first one alone.

    Args:
        file: path of the file, for the message.
        pictures: `decoders.Pictures` of the opened file.
        say: called with the message.
    """
    from pggan_tf.data import decoders, photos

    try:
        with decoders.raise_unreadable():
            return pictures.sizes()
    except photos.Unreadable as reason:
        say(f"{file}: only the first of its {pictures.kind}; the others cannot be read ({reason})")
        return [pictures.first_size()]
