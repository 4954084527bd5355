"""Conversion of photos, folders and videos with a function that takes and returns a photo.

`tasks.Task.converter` makes this function, called `change` here, from a trained network. The photo,
folder or video that is converted is called the source. Photos are `photos.Photo`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click
import numpy as np

from pggan_tf import terminal, tiles
from pggan_tf.conversion.enlargement import Enlargement
from pggan_tf.data import credentials, marks, transparency
from pggan_tf.errors import Stopped, UserError


def convert_images(images: np.ndarray, change: Callable) -> np.ndarray:
    """Convert images one by one, and return the results.

    Args:
        images: uint8 [N,H,W,C]; with 2 or 4 channels, straight alpha is the last one.
        change: function that takes a `photos.Photo` and returns the converted one.

    Returns:
        uint8 [N,H',W',C'], with alpha if the images have it.
    """
    from pggan_tf.data.photos import Photo

    if not transparency.has_alpha(images.shape[-1]):
        return np.stack([change(Photo(image)).pixels for image in images])
    changed = [change(Photo(image[..., :-1], image[..., -1:])) for image in images]
    return np.stack([np.concatenate([photo.pixels, photo.alpha], axis=-1) for photo in changed])


def _name_comparison(path: Path) -> Path:
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


def _put_side_by_side(before: np.ndarray, after: np.ndarray) -> np.ndarray:
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
    from pggan_tf.data import photos

    alpha = None if photo.alpha is None else _put_side_by_side(photo.alpha, changed.alpha)
    pair = _put_side_by_side(photo.rgb(), changed.rgb())
    return photos.Photo(pair, alpha, changed.profile, xmp=changed.xmp)


@dataclass(frozen=True)
class _Conversion:
    """The function that converts photos, and the settings for writing its results."""

    change: Callable  # converts a photo, see `convert`
    enlargement: Enlargement  # the size to which `change` enlarges a photo
    compare: bool  # whether to write before-and-after pictures, too
    mark: marks.Mark | None = None  # mark of the results; None: without one
    signer: credentials.Signer | None = None  # signs the results; None: they are not signed

    def convert_photo(self, photo, progress=tiles.ignore):
        """Return the converted photo, a `photos.Photo`, with its mark."""
        changed = self.change(photo, progress)
        return replace(changed, xmp=marks.make_packet(self.mark, photo.xmp))

    def _sign(self, file: Path, *outs: Path) -> None:
        """Sign results, if that is wanted. file: what they were made from."""
        if self.signer and self.mark:
            for out in outs:
                self.signer.sign(out, self.mark.source_type, file)

    def _find_scale(self, photo) -> float:
        """Return the factor by which the longer side of a photo grows."""
        return max(self.enlargement.find_size(*photo.size)) / max(photo.size)

    def write(self, file: Path, out: Path, named: bool, progress=tiles.ignore) -> Path:
        """Convert one file and return the path of the result.

        All pages or frames of the file are converted if the format of the result can hold several
        pictures, else only the first one.

        Args:
            file: path of the photo.
            out: path of the result.
            named: whether the user chose the name `out`; if not, .png may be added to it.
            progress: called with (tiles done, tiles in all), or with (pictures done, pictures in
                all) for a file with several pages or frames.

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
            sizes, kind = _read_sizes(file, pictures), pictures.kind
            if len(sizes) > 1 and out.suffix.lower() in sequences.KINDS[kind]:
                self._write_sequence(file, pictures, sizes, out, progress)
                self._sign(file, out, *([_name_comparison(out)] if self.compare else []))
                return out
        if len(sizes) > 1:
            names = " or ".join(sequences.KINDS[kind])
            click.echo(f"{file}: only the first of its {len(sizes)} {kind}; all of them go into {names}", err=True)
        changed = self.convert_photo(photo, progress)
        if left_out := photos.write(out, changed):
            click.echo(f"{out}: {left_out}", err=True)
        self._sign(file, out)
        if self.compare:
            pair = _pair_photos(photo, changed)
            place = _name_in_folder(_name_comparison(out), pair, 1)
            photos.write(place, pair)
            self._sign(file, place)
        return out

    def _write_sequence(self, file: Path, pictures, sizes, out: Path, progress) -> None:
        """Convert all pages or frames of a file, one by one, and write them into one file.

        Damaged pages are reported and left out. An animation ends before its first damaged frame,
        which is reported as well.

        Args:
            file: path of the source, for messages.
            pictures: `decoders.Pictures` of the opened source.
            sizes: (width, height) of every picture.
            out: path of the result.
            progress: called with (pictures done, pictures in all).
        """
        from pggan_tf.conversion import sequences
        from pggan_tf.data import photos

        with contextlib.ExitStack() as stack:
            names = [out, _name_comparison(out)] if self.compare else [out]
            sizes = [self.enlargement.find_size(height, width)[::-1] for width, height in sizes]
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
                        click.echo(f"{file}: {what}", err=True)
                        continue
                    what = f"only {number} of its {len(sizes)} frames; the rest is damaged ({reason})"
                    click.echo(f"{file}: {what}", err=True)
                    break  # later frames depend on this one
                changed = self.convert_photo(photo)
                results = [changed, _pair_photos(photo, changed)] if self.compare else [changed]
                for add, result in zip(adds, results):
                    add(result, picture.milliseconds)
            progress(len(sizes), len(sizes))

    def write_folder(self, source: Path, out: Path, skip_existing: bool = False) -> None:
        """Convert every photo of a folder into another folder, keeping relative paths.

        Photos that fail are reported, and the others are still converted.

        Args:
            source: folder of the photos.
            out: folder of the results; it is created if necessary.
            skip_existing: leave photos whose results are there. A result is never incomplete.

        Raises:
            UserError: if the folders are the same, or if there are no photos.
            Stopped: if any photo failed.
        """
        from pggan_tf.data import listing, photos

        if os.path.realpath(out) == os.path.realpath(source):
            raise UserError(f"--out {out}: is the folder of the photos. Choose another, so that none is overwritten.")
        found = listing.find_photos(source, besides=out)
        if not found.photos:
            raise listing.explain_none(str(source), found)
        files = [source / name for name in found.photos]
        if skip_existing:
            there = [name for name in found.photos if self._is_done(out / name)]
            files = [source / name for name in found.photos if name not in {*there}]
            click.echo(f"{out}: {len(there)} of {len(found.photos)} photos are there already", err=True)
        failed = []
        with terminal.show_progress("photos") as progress:
            for done, file in enumerate(files):
                progress(done, len(files))
                try:
                    self.write(file, out / file.relative_to(source), named=False)
                except photos.Unreadable as reason:
                    failed.append(file)
                    click.echo(f"{file}: {reason}", err=True)
                except photos.Unwritable as reason:
                    failed.append(file)
                    click.echo(reason, err=True)
                except (UserError, MemoryError) as reason:  # such as a photo that is too large; others may still work
                    failed.append(file)
                    click.echo(f"{file}: {reason or 'no memory'}", err=True)
        if left := listing.describe(found.ignored):
            click.echo(left, err=True)
        summary = f"{out}: {len(files) - len(failed)} of {len(files)} photos written"
        if failed:
            raise Stopped(f"{summary}; {len(failed)} could not be read or written, the first {failed[0]}.", 1)
        click.echo(summary)

    def _is_done(self, out: Path) -> bool:
        """Return whether the result of a photo is there, and signed if that is wanted.

        out: path of the result, to which .png may have been added.
        """
        there = [path for path in (out, out.with_name(f"{out.name}.png")) if path.is_file()]
        return any(self.signer is None or credentials.read(path) for path in there)

    def write_video(self, source: Path, out: Path, named: bool) -> Path:
        """Convert a video, print how many frames were written, and return the path of the result.

        Args:
            source: path of the video.
            out: path of the result.
            named: whether the user chose the name `out`; if not, .mkv is added unless the extension
                is one that can be written.

        Raises:
            UserError: if the video cannot be read or written.
        """
        from pggan_tf.conversion import video
        from pggan_tf.data import photos

        if not named and out.suffix.lower() not in video.KINDS:
            out = out.with_name(f"{out.name}.mkv")
        if self.signer:
            self.signer.check(out)

        def convert_frame(image):
            """Return a list with the converted frame and, for --compare, the frame side by side."""
            changed = self.change(photos.Photo(image)).pixels
            return [changed, _put_side_by_side(image, changed)] if self.compare else [changed]

        with terminal.show_progress("frames") as progress:
            outs = [out, _name_comparison(out)] if self.compare else [out]
            say = partial(click.echo, err=True)
            done, lost = video.rewrite(source, outs, convert_frame, progress, say, self.mark)
        self._sign(source, *outs)
        click.echo(f"{out}: {done} frames")
        if lost:
            click.echo(f"{source}: damaged; {lost} parts of its stream could not be decoded", err=True)
        return out


def _read_file(file: Path) -> bytes:
    """Return the content of a file. Raise photos.Unreadable if it is too large or unreadable."""
    from pggan_tf.data import photos

    try:
        if (size := file.stat().st_size) > photos.MAX_BYTES:
            raise photos.Unreadable(f"a file of {size >> 20:,} MB, more than {photos.MAX_BYTES >> 20:,}")
        return file.read_bytes()
    except OSError as error:
        raise photos.Unreadable(error.strerror or str(error)) from None


def _read_sizes(file: Path, pictures) -> list[tuple[int, int]]:
    """Return (width, height) in pixels of every page or frame in a file.

    If some of them are damaged, print this and return a list with the size of the first one alone.

    Args:
        file: path of the file, for the message.
        pictures: `decoders.Pictures` of the opened file.
    """
    from pggan_tf.data import decoders, photos

    try:
        with decoders.raise_unreadable():
            return pictures.sizes()
    except photos.Unreadable as reason:
        click.echo(f"{file}: only the first of its {pictures.kind}; the others cannot be read ({reason})", err=True)
        return [pictures.first_size()]


def convert(
    source: str,
    out: str,
    change: Callable,
    scale: int | Enlargement = 1,
    compare: bool = False,
    mark: marks.Mark | None = None,
    skip_existing: bool = False,
    signer: credentials.Signer | None = None,
) -> Path:
    """Convert a photo, a folder of photos or a video, and print what was written.

    Existing files are overwritten.

    Args:
        source: path of a photo, a folder or a video.
        out: path of the resulting file or folder.
        change: function that takes (photos.Photo, progress callback) and returns a photos.Photo.
            The callback is optional; see `tasks.Task.converter`.
        scale: factor by which `change` enlarges a photo, or the size to which it does.
        compare: also write NAME-compare, a picture or video that shows before and after side by
            side.
        mark: the mark of what is written; None: without one.
        skip_existing: of a folder, leave photos whose results are there.
        signer: signs what is written; None: it is not signed.

    Returns:
        The file or folder that was written.

    Raises:
        UserError: if the source is missing or unreadable, or the result cannot be written.
        Stopped: if some photos of a folder could not be read or written.
    """
    from pggan_tf.conversion import video
    from pggan_tf.data import photos

    file, target = Path(source), Path(out)
    enlargement = scale if isinstance(scale, Enlargement) else Enlargement(scale)
    conversion = _Conversion(change, enlargement, compare, mark, signer)
    if not file.exists():
        raise UserError(f"{source}: no such file or folder. Expected a photo, a folder of photos or a video.")
    if file.is_dir():
        if target.is_file() or target.suffix.lower() in (*photos.KINDS, *video.KINDS):
            raise UserError(f"--out {out}: a file, but {source} is a folder. Expected a folder.")
        conversion.write_folder(file, target, skip_existing)
        return target
    named = not target.is_dir() and target.suffix != "" and not out.endswith(("/", os.sep))
    target = target if named else target / file.name
    if target.resolve() == file.resolve():
        raise UserError(f"--out {out}: is the file itself. Choose another name, so that it is not overwritten.")
    if file.suffix.lower() in video.EXTENSIONS:
        return conversion.write_video(file, target, named)
    try:
        with terminal.show_progress("tiles") as progress:
            written = conversion.write(file, target, named, progress)
        click.echo(written)
        return written
    except photos.Unreadable as reason:
        raise UserError(f"{source}: {reason}.") from None
