"""One photo, a folder of them or a video -> the same, changed. What `pggan colorize` and `pggan upscale` have in common."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from pggan_tf import terminal
from pggan_tf.convert import tiles
from pggan_tf.errors import Stopped, UserError


def network_for(source: str, tasks: tuple[str, ...], verb: str):
    """The generator of a run that was trained to do one of `tasks`."""
    terminal.start_tensorflow()
    from pggan_tf import synthesis

    network = synthesis.load(source)
    if network.task not in tasks:
        raise UserError(f"{source} was trained to {network.task}, not to {verb}.")
    return network


def as_function(network, channels: int, check: Callable[[], None] = lambda: None) -> Callable[[np.ndarray], np.ndarray]:
    """float32 [h,w,C] -> [h',w',D]: one image at a time, of any size, traced once.

    What is missing to sides that the network can halve is mirrored, so that the image keeps its proportions. check: is called
    before every image (of a large photo, every tile); what it raises ends the work.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, None, channels), tf.float32)]
    traced = tf.function(lambda x: network(x), input_signature=signature, autograph=False)

    def function(x):
        check()
        height, width = x.shape[:2]
        missing = [(0, -side % network.multiple) for side in (height, width)]
        try:
            y = traced(tf.constant(np.pad(x, [*missing, (0, 0)], mode="symmetric")[None])).numpy()[0]
            return y[: y.shape[0] - network.scale * missing[0][1], : y.shape[1] - network.scale * missing[1][1]]
        except tf.errors.ResourceExhaustedError:
            raise UserError(f"{width}x{height} pixels at once: no memory. Choose less by --tile or --size.") from None

    return function


def changed(images: np.ndarray, change: Callable) -> np.ndarray:
    """uint8 [N,H,W,C] -> uint8 [N,H',W',C'], one by one. change: as of `convert`."""
    from pggan_tf.data.photos import Photo

    return np.stack([change(Photo(image)).pixels for image in images])


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}-compare{path.suffix}")


def _in_folder(name: Path, photo, scale: int) -> Path:
    """The name in a folder of results: the same, or, where that kind of file would lose something, with .png after it."""
    from pggan_tf.data import photos

    return name.with_name(f"{name.name}.png") if photos.lost(photo, name.suffix.lower(), scale) else name


def _side_by_side(before: np.ndarray, after: np.ndarray, scale: int) -> np.ndarray:
    """[h,w,C], [scale h,scale w,C] -> [scale h,2 scale w,C], the pixels of the first as squares."""
    return np.concatenate([before.repeat(scale, axis=0).repeat(scale, axis=1), after], axis=1)


def _pair(photo, changed, scale: int):
    """Before and after, as one photo."""
    from pggan_tf.data import photos

    alpha = None if photo.alpha is None else _side_by_side(photo.alpha, changed.alpha, scale)
    return photos.Photo(_side_by_side(photo.rgb(), changed.rgb(), scale), alpha, changed.profile)


def _one_photo(file: Path, out: Path, named: bool, change, scale: int, compare: bool, progress=tiles.silent) -> Path:
    """named: `out` is what the user wrote, not a name made in a folder. Raises Unreadable and Unwritable."""
    from pggan_tf.convert import sequences
    from pggan_tf.data import decoders, photos

    with decoders.opened(_bytes_of(file)) as pictures:
        photo = photos.of_picture(pictures.picture(), pictures.format)
        out = out if named else _in_folder(out, photo, scale)
        if problem := photos.lost(photo, out.suffix.lower(), scale):  # before the work
            raise photos.Unwritable(f"{out}: {problem} ({file}). Choose a name that ends in .png or .tif.")
        sizes, kind = _sizes(file, pictures), pictures.kind
        if len(sizes) > 1 and out.suffix.lower() in sequences.KINDS[kind]:
            _several(file, pictures, sizes, out, change, scale, compare, progress)
            return out
    if len(sizes) > 1:
        names = " or ".join(sequences.KINDS[kind])
        click.echo(f"{file}: only the first of its {len(sizes)} {kind}; all of them go into {names}", err=True)
    changed = change(photo, progress)
    if left_out := photos.write(out, changed):
        click.echo(f"{out}: {left_out}", err=True)
    if compare:
        side_by_side = _pair(photo, changed, scale)
        photos.write(_in_folder(_beside(out), side_by_side, 1), side_by_side)
    return out


def _bytes_of(file: Path) -> bytes:
    from pggan_tf.data import photos

    try:
        if (size := file.stat().st_size) > photos.MAX_BYTES:
            raise photos.Unreadable(f"a file of {size >> 20:,} MB, more than {photos.MAX_BYTES >> 20:,}")
        return file.read_bytes()
    except OSError as error:
        raise photos.Unreadable(error.strerror or str(error)) from None


def _sizes(file: Path, pictures) -> list[tuple[int, int]]:
    """Of all pictures in a file; of the first alone, and said, where the others are damaged."""
    from pggan_tf.data import decoders, photos

    try:
        with decoders.reasons():
            return pictures.sizes()
    except photos.Unreadable as reason:
        click.echo(f"{file}: only the first of its {pictures.kind}; the others cannot be read ({reason})", err=True)
        return [pictures.first_size()]


def _several(file: Path, pictures, sizes, out: Path, change, scale: int, compare: bool, progress) -> None:
    """All pages or frames of a file, one by one. Of what is damaged, the rest is kept, and it is said."""
    from pggan_tf.convert import sequences
    from pggan_tf.data import photos

    with contextlib.ExitStack() as stack:
        names = [out, _beside(out)] if compare else [out]
        wider = [sizes, [(2 * width, height) for width, height in sizes]]
        adds = [
            stack.enter_context(sequences.writer(name, pictures.kind, each, scale, pictures.loop))
            for name, each in zip(names, wider)
        ]
        for number in range(len(sizes)):
            progress(number, len(sizes))
            try:
                picture = pictures.picture(number)
                photo = photos.of_picture(picture, pictures.format)
            except photos.Unreadable as reason:
                if pictures.kind == "pages":
                    click.echo(
                        f"{file}: without page {number + 1} of {len(sizes)}, which is damaged ({reason})", err=True
                    )
                    continue
                click.echo(
                    f"{file}: only {number} of its {len(sizes)} frames; the rest is damaged ({reason})", err=True
                )
                break  # what follows builds on it
            changed = change(photo, tiles.silent)
            results = [changed, _pair(photo, changed, scale)] if compare else [changed]
            for add, result in zip(adds, results):
                add(result, picture.milliseconds)
        progress(len(sizes), len(sizes))


def _folder(source: Path, out: Path, change, scale: int, compare: bool) -> None:
    from pggan_tf.data import listing, photos

    if os.path.realpath(out) == os.path.realpath(source):
        raise UserError(f"--out {out}: is the folder of the photos. Choose another, so that none is overwritten.")
    found = listing.photos_in(source, besides=out)
    if not found.photos:
        raise listing.none_found(str(source), found)
    files = [source / name for name in found.photos]
    failed = []
    with terminal.show_progress("photos") as progress:
        for done, file in enumerate(files):
            progress(done, len(files))
            try:
                _one_photo(file, out / file.relative_to(source), False, change, scale, compare)
            except photos.Unreadable as reason:
                failed.append(file)
                click.echo(f"{file}: {reason}", err=True)
            except photos.Unwritable as reason:
                failed.append(file)
                click.echo(reason, err=True)
            except (UserError, MemoryError) as reason:  # one that is too large, say: the others may not be
                failed.append(file)
                click.echo(f"{file}: {reason or 'no memory'}", err=True)
    if left := listing.in_words(found.left_alone):
        click.echo(left, err=True)
    summary = f"{out}: {len(files) - len(failed)} of {len(files)} photos written"
    if failed:
        raise Stopped(f"{summary}; {len(failed)} could not be read or written, the first {failed[0]}.", 1)
    click.echo(summary)


def convert(source: str, out: str, change: Callable, scale: int = 1, compare: bool = False) -> None:
    """change: photos.Photo, progress -> photos.Photo, `scale` times as large. out: a file or a folder; what is there is overwritten.

    compare: also a picture (or a video) of before and after, side by side.
    """
    from pggan_tf.convert import video
    from pggan_tf.data import photos

    given, target = Path(source), Path(out)
    if not given.exists():
        raise UserError(f"{source}: no such file or folder. Expected a photo, a folder of photos or a video.")
    if given.is_dir():
        if target.is_file() or target.suffix.lower() in (*photos.KINDS, *video.KINDS):
            raise UserError(f"--out {out}: a file, but {source} is a folder. Expected a folder.")
        _folder(given, target, change, scale, compare)
        return
    named = not target.is_dir() and target.suffix != "" and not out.endswith(("/", os.sep))
    target = target if named else target / given.name
    if target.resolve() == given.resolve():
        raise UserError(f"--out {out}: is the file itself. Choose another name, so that it is not overwritten.")
    if given.suffix.lower() in video.EXTENSIONS:
        if not named and target.suffix.lower() not in video.KINDS:
            target = target.with_name(f"{target.name}.mkv")

        def frames(image):
            changed = change(photos.Photo(image)).pixels
            return [changed, _side_by_side(image, changed, scale)] if compare else [changed]

        with terminal.show_progress("frames") as progress:
            outs = [target, _beside(target)] if compare else [target]
            done, lost = video.rewrite(given, outs, frames, progress, lambda line: click.echo(line, err=True))
        click.echo(f"{target}: {done} frames")
        if lost:
            click.echo(f"{source}: damaged; {lost} parts of its stream could not be decoded", err=True)
        return
    try:
        with terminal.show_progress("tiles") as progress:
            written = _one_photo(given, target, named, change, scale, compare, progress)
        click.echo(written)
    except photos.Unreadable as reason:
        raise UserError(f"{source}: {reason}.") from None
