"""Conversion of photos, folders and videos with a function that takes and returns a photo.

`tasks.Task.converter` makes this function, called `change` here, from a trained network. The photo,
folder or video that is converted is called the source. Photos are `photos.Photo`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np

from pggan_tf import terminal
from pggan_tf.conversion import folder
from pggan_tf.conversion.enlargement import Enlargement
from pggan_tf.conversion.folder import Say
from pggan_tf.conversion.steps import PhotoSteps, Source, name_comparison, put_side_by_side
from pggan_tf.data import credentials, marks, transparency
from pggan_tf.errors import Stopped, UserError

_LARGE = 1 << 26  # pixels of a result beside which no other photo of a folder is held in memory


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


class _Conversion(PhotoSteps):
    """The steps of a photo, and what is made of them for a folder and for a video."""

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
        from pggan_tf.data import listing

        if os.path.realpath(out) == os.path.realpath(source):
            raise UserError(f"--out {out}: is the folder of the photos. Choose another, so that none is overwritten.")
        found = listing.find_photos(source, besides=out)
        if not found.photos:
            raise listing.explain_none(str(source), found)
        self._spare_photos(source, out, found.photos)
        files, names = [source / name for name in found.photos], frozenset(out / name for name in found.photos)
        if skip_existing:
            there = [name for name in found.photos if self._is_done(out / name, names)]
            files = [source / name for name in found.photos if name not in {*there}]
            click.echo(f"{out}: {len(there)} of {len(found.photos)} photos are there already", err=True)
        failed = folder.work_through(files, _InFolder(self, source, out, names), _explain)
        if left := listing.describe(found.ignored):
            click.echo(left, err=True)
        summary = f"{out}: {len(files) - len(failed)} of {len(files)} photos written"
        if failed:
            raise Stopped(f"{summary}; {len(failed)} could not be read or written, the first {failed[0]}.", 1)
        click.echo(summary)

    def list_results(self, out: Path, *endings: str) -> list[Path]:
        """Return all paths that may be written for a result.

        Args:
            out: path of the result.
            *endings: what may be added to its name.
        """
        paths = [out, *(out.with_name(f"{out.name}{ending}") for ending in endings)]
        if self.compare:
            beside = [name_comparison(path) for path in paths]
            paths += [*beside, *(path.with_name(f"{path.name}.png") for path in beside)]
        return paths

    def _spare_photos(self, source: Path, out: Path, names: Sequence[str]) -> None:
        """Raise UserError if a result would be written over a photo of the source, which lies below `out`.

        names: names of the photos in `source`.
        """
        inner, above = os.path.realpath(source), os.path.realpath(out)
        if not Path(inner).is_relative_to(above):
            return
        prefix = Path(inner).relative_to(above)
        photos = {prefix / name for name in names}
        taken = (path for name in names for path in self.list_results(Path(name), ".png") if path in photos)
        if path := next(taken, None):
            raise UserError(
                f"--out {out}: {out / path} is one of the photos, and would be overwritten. Choose another folder."
            )

    def _is_done(self, out: Path, names: Set[Path]) -> bool:
        """Return whether the results of a photo are there, and signed if that is wanted.

        Args:
            out: path of the result, to which .png may have been added.
            names: paths of the results of all photos, without such an addition.
        """
        other = out.with_name(f"{out.name}.png")
        # Not Path.is_file, which fails where a name with .png would be too long.
        there = [path for path in (out, *([] if other in names else [other])) if os.path.isfile(path)]
        if self.compare:
            there = [path for path in there if any(map(os.path.isfile, self.list_results(path)[1:]))]
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
            return [changed, put_side_by_side(image, changed)] if self.compare else [changed]

        with terminal.show_progress("frames") as progress:
            outs = [out, name_comparison(out)] if self.compare else [out]
            say = partial(click.echo, err=True)
            done, lost = video.rewrite(source, outs, convert_frame, progress, say, self.mark)
        self.sign(source, *outs)
        click.echo(f"{out}: {done} frames")
        if lost:
            click.echo(f"{source}: damaged; {lost} parts of its stream could not be decoded", err=True)
        return out


@dataclass(frozen=True)
class _InFolder:
    """The steps of the photos of a folder, see `folder.Steps`."""

    conversion: _Conversion
    source: Path  # folder of the photos
    out: Path  # folder of the results
    names: Set[Path]  # paths of the results of all photos, if nothing is added to a name

    def read(self, file: Path, say: Say) -> Source:
        """Read and decode a photo.

        Raises photos.Unwritable if its result would have the name of another photo's.
        """
        from pggan_tf.data import photos

        name = self.out / file.relative_to(self.source)
        read = self.conversion.read(file, name, False, say)
        made = {read.out}
        if self.conversion.compare:  # which gets .png if it is too large for its format
            beside = name_comparison(read.out)
            made |= {beside, beside.with_name(f"{beside.name}.png")}
        if taken := (made - {name}) & self.names:
            raise photos.Unwritable(
                f"{file}: {min(taken)} would be written for it, which is the result of another photo. Rename one of the two."
            )
        return read

    def is_large(self, read: Source) -> bool:
        """Tell whether the result fills so much memory that no other photo is to be held beside it."""
        height, width = self.conversion.enlargement.find_size(*read.photo.size)
        return height * width > _LARGE or bool(read.sizes)

    def compute(self, file: Path, read: Source, say: Say):
        """Return the converted photo."""
        return self.conversion.compute(read, say)

    def write(self, file: Path, read: Source, computed, say: Say) -> None:
        """Write the converted photo."""
        self.conversion.write(read, computed, say)


def _explain(file: Path, error: Exception) -> str | None:
    """Return why a photo of a folder failed, or None for an error that shall end the work."""
    from pggan_tf.data import photos

    if isinstance(error, photos.Unwritable):
        return str(error)
    # Such as a photo that is too large; others may still work.
    if isinstance(error, photos.Unreadable | UserError | MemoryError):
        return f"{file}: {str(error) or 'no memory'}"
    return None


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
    if not out:
        raise UserError("--out: no name. Give the file or folder to write.")
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
    for result in conversion.list_results(target, *([] if named else [".png", ".mkv"])):
        if result.resolve() == file.resolve():
            itself = "is the file itself" if result == target else f"{result.name} would be the file itself"
            raise UserError(f"--out {out}: {itself}. Choose another name, so that it is not overwritten.")
    if file.suffix.lower() in video.EXTENSIONS:
        return conversion.write_video(file, target, named)
    try:
        with terminal.show_progress("tiles") as progress:
            say = partial(click.echo, err=True)
            read = conversion.read(file, target, named, say)
            conversion.write(read, conversion.compute(read, say, progress), say)
        click.echo(read.out)
        return read.out
    except photos.Unreadable as reason:
        raise UserError(f"{source}: {reason}.") from None
