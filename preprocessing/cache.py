"""Open images from any location as shards, which are prepared once and kept in a cache.

A location is what the user gives with --data: a folder of shards, or photos of any kind. The cache
is a folder on this machine. Shards are found in it by a hash of the images and of the options that
they were prepared with.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pggan_tf.data import shards
from pggan_tf.errors import DamagedFile, UserError
from pggan_tf.files import atomic_write
from pggan_tf.shapes import name_aspect, name_size
from preprocessing import build, output, prepare, storage
from preprocessing.job import Job
from preprocessing.options import Selection
from preprocessing.prepare import Squares
from preprocessing.sources import Source, SourceList, find_module
from preprocessing.sources.folder import Folder

# Increase this when the same source and options would give other pixels. Cached shards are then
# prepared again. 4: colours that files state by numbers, BMPs without opacity, odd PNGs and EXIF.
PIXELS_VERSION = 4


def _make_key(*parts) -> str:
    """Return a short hash of values that JSON can store, as 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _explain_unwritable(root: Path, error: OSError) -> UserError:
    """Return a UserError (not raised here) for a cache `root` that cannot be written to."""
    return UserError(
        f"--cache {root}: cannot be written ({error.strerror or error}). Choose another with --cache or PGGAN_CACHE."
    )


@contextlib.contextmanager
def _hold_lock(out: Path, root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Context manager that holds a lock while a dataset in the cache is being made.

    Another process that wants to make the same dataset waits for the end of the block.

    Args:
        out: folder of the dataset.
        root: folder of the cache.
        say: called with a line for the user if this process has to wait.

    Raises:
        UserError: if the cache cannot be written to.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with output.hold_lock(out.with_name(f".{out.name}.lock"), out, True, say):
            yield
    except OSError as error:
        raise _explain_unwritable(root, error) from None


def _unpack(opened: shards.Shards, root: Path, say: Callable[[str], None]) -> shards.Shards:
    """Return the same dataset without compression, so that it can be mapped into memory.

    A compressed dataset is unpacked into the cache, once; any other is returned as it is.

    Args:
        opened: the dataset.
        root: folder of the cache.
        say: called with a line for the user if the dataset is unpacked.
    """
    if not opened.compressed:
        return opened
    out = root / "shards" / f"{opened.folder.name}-{opened.manifest.checksum[:16]}-unpacked"
    if not shards.is_shards(out):
        with _hold_lock(out, root, say):
            if not shards.is_shards(out):  # another process may have made it in the meantime
                say(f"unpacking {opened.folder} into {out}")
                partial = out.with_name(f".{out.name}.partial")
                try:
                    shutil.rmtree(partial, ignore_errors=True)
                    opened.unpack(partial)
                    partial.rename(out)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
    return shards.Shards(out)


def fetch(location: str, manifest: dict, root: Path, say: Callable[[str], None]) -> Path:
    """Copy shards from a URL into the cache unless they are already there.

    Args:
        location: URL of the shards.
        manifest: content of their manifest.
        root: folder of the cache.
        say: called with each line for the user.

    Returns:
        The folder in the cache that holds the shards.

    Raises:
        DamagedFile: if the manifest names unexpected files.
        UserError: if the shards cannot be copied.
    """
    names = [str(s["file"]) for s in manifest["shards"]]
    if bad := [n for n in names if not re.fullmatch(r"shard-\d+\.npz", n)]:
        raise DamagedFile(f"{location}: its manifest names a file '{bad[0]}'. Expected shard-00000.npz and so on.")
    out = root / "shards" / f"{location.rstrip('/').rpartition('/')[2]}-{_make_key(manifest)}"
    if not shards.is_shards(out):
        with _hold_lock(out, root, say):
            if not shards.is_shards(out):
                say(f"fetching {location} into {out}")
                storage.download(location, [*names, shards.MANIFEST], out)
    return out


def find_shards(location: str) -> tuple[str, dict] | None:
    """Return (location of the shards, content of their manifest), or None if there are no shards.

    The shards are at the given location or, if they were written with --split, in its subfolder for
    training.
    """
    for place in (location, storage.join(location, output.TRAIN)):
        manifest = storage.read_manifest(place, shards.MANIFEST)
        if manifest and manifest.get("format") == shards.FORMAT:
            return place, manifest
    return None


def _identify(part: Source, root: Path) -> str:
    """Return a hash of the images of a source as a text, see `Source.hash_content`.

    For a local folder, whose files all have to be read, the hash is stored in the cache `root` and
    used again while names, sizes and times of the files stay the same.
    """
    if not isinstance(part, Folder) or storage.is_remote(part.name):
        return part.hash_content()
    if content := _recall(part, root):
        return content
    content = part.hash_content()
    seen = _find_seen(part, root)
    try:
        seen.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(seen) as partial:
            partial.write_text(content)
    except OSError as error:
        raise _explain_unwritable(root, error) from None
    return content


def _find_seen(part: Source, root: Path) -> Path:
    """Return the path in the cache `root` where the hash of a folder's images is kept."""
    return root / "seen" / SourceList((part,)).fingerprint()[:16]


def _recall(part: Source, root: Path) -> str | None:
    """Return the result of `_identify` for a source if no photo has to be read for it, else None."""
    if isinstance(part, Folder):
        seen = _find_seen(part, root)
        return seen.read_text() or None if seen.is_file() else None
    return part.hash_content() if part.name.lower().endswith(".zip") else None


def _make_shards_key(job: Job, contents: Sequence[str], version: int | None = None) -> str:
    """Return the key of the shards of a job in the cache.

    Args:
        job: the job.
        contents: the hash of each source of the job, as `_identify` returns it. With it, shards do
            not depend on where the images are.
        version: the PIXELS_VERSION that the shards were made by; None: that of now.
    """
    options = {k: v for k, v in job.options.items() if k != "sources"}
    return _make_key(version or PIXELS_VERSION, contents[0] if len(contents) == 1 else list(contents), options)


def have_changed(selection: Selection, cache: str | None, squares: Squares, made: Path) -> bool:
    """Tell whether photos are others than those that shards were made from.

    No photo is read, so a file that was only written again counts as another. Only folders, pairs and
    zip archives on this machine are looked at; other sources cannot be compared as fast.

    Args:
        selection: options that say which images to open.
        cache: folder of the cache; None for the usual one, see `shards.find_cache_folder`.
        squares: how squares are cut out of the images.
        made: folder of the shards in the cache.

    Returns:
        True if they have changed; False if they have not, are gone, or cannot be compared.
    """
    with contextlib.suppress(UserError, OSError, ValueError):
        if not all(map(_is_fast, selection.places)):
            return False
        root = shards.find_cache_folder(cache)
        report = storage.read_manifest(str(made), output.REPORT) or {}
        job = prepare.make_job(selection, squares)
        if "fingerprints" not in report or report["fingerprints"] == output.list_fingerprints(job.source):
            return False
        # They may be a copy of the photos that the shards were made from, which has been read before.
        contents = [_recall(part, root) for part in job.source.parts]
        known = [content for content in contents if content is not None]
        keys = (_make_shards_key(job, known, version) for version in range(1, PIXELS_VERSION + 1))
        return len(known) < len(contents) or not made.name.endswith(tuple(f"-{key}" for key in keys))
    return False


def _is_fast(place: str) -> bool:
    """Tell whether a location is on this machine, holds no shards, and is compared without reading it."""
    kinds = ("folder", "pairs") if not place.lower().endswith(".zip") else ("archive",)
    return not storage.is_remote(place) and find_module(place) in kinds and not find_shards(place)


def _check_places(places: Sequence[str]) -> None:
    """Raise UserError if one of several locations holds shards, which cannot be joined."""
    if len(places) > 1 and (holder := next(filter(find_shards, places), None)):
        raise UserError(
            f"--data {holder}: holds shards, which are trained on alone. Give the photos that they were made of, or prepare "
            "all of them into one folder: pggan prepare A B OUT."
        )


def open_shards(
    selection: Selection,
    cache: str | None,
    squares: Squares,
    *,
    say: Callable[[str], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
    check_classes: Callable[[Sequence[str]], object] = lambda classes: None,
    check_only: bool = False,
) -> shards.Shards | None:
    """Open images as shards.

    A folder of shards is opened directly. For any other source, squares are prepared and kept in
    the cache.

    Args:
        selection: options that say which images to open.
        cache: folder of the cache; None for the usual one, see `shards.find_cache_folder`.
        squares: how squares are cut out of the images. If the images are shards already, only their
            resolutions and channels are checked.
        say: called with each line for the user.
        progress: called with the number of images that are prepared, and the number of all images.
        check_classes: called with the class names before anything is prepared; raises UserError if
            they are of no use.
        check_only: raise the errors that can be found without preparing or downloading anything,
            and return None.

    Returns:
        The shards, or None if `check_only`.

    Raises:
        UserError: if the images cannot be opened in this way.
        Stopped: if preparing was interrupted; the same call continues it.
    """
    root = shards.find_cache_folder(cache)
    _check_places(selection.places)
    if found := find_shards(selection.places[0]) if len(selection.places) == 1 else None:
        place, manifest = found
        if place != selection.places[0]:
            say(f"taking {place}; {output.VALIDATION} beside it stays unseen")
        if check_only and storage.is_remote(place):
            return None
        opened = shards.Shards(fetch(place, manifest, root, say) if storage.is_remote(place) else place)
        _check_fit(opened, selection.places[0], squares)
        check_classes(opened.manifest.classes)
        return None if check_only else _unpack(opened, root, say)
    job = prepare.make_job(selection, squares)
    for note in job.source.list_notes():
        say(note)
    check_classes(job.source.classes)
    return None if check_only else _prepare(job, root, say, progress)


def _check_fit(opened: shards.Shards, location: str, squares: Squares) -> None:
    """Raise UserError if shards do not have channels, shape and all resolutions of `squares`.

    Args:
        opened: the shards.
        location: location of the shards, for the message.
        squares: the options that the user asks for.
    """
    there, channels = opened.manifest.channels, squares.channels
    if there != channels:
        advice = (
            "Give --task translate."
            if there == 6
            else "Prepare the pairs with --pairs."
            if channels == 6
            else f"Give --channels {there}."
        )
        raise UserError(f"--data {location}: holds images of {there} channels, not {channels}. {advice}")
    if opened.manifest.aspect != squares.aspect:
        shape, asked = name_aspect(opened.manifest.aspect), name_aspect(squares.aspect)
        raise UserError(f"--data {location}: holds images of the shape {shape}, not {asked}. Give --shape {shape}.")
    for resolution in squares.resolutions:
        opened.find_stored(resolution)


def _prepare(job: Job, root: Path, say: Callable[[str], None], progress: Callable[[int, int], None]) -> shards.Shards:
    """Return the shards of a job from the cache `root`; do the job first if they are not there.

    For `say`, `progress` and the errors, see `open_shards`.
    """
    places, size = job.options["sources"], name_size(job.options["size"], job.aspect)
    job = dataclasses.replace(job, options={k: v for k, v in job.options.items() if k != "sources"})
    name = "-".join(Path(place.rstrip("/").replace(":", "-")).name for place in places)
    # File systems limit the bytes of a name, and a character may have four.
    name = os.fsencode(name)[:80].decode(errors="ignore")
    key = _make_shards_key(job, [_identify(part, root) for part in job.source.parts])
    folder = root / "shards"
    # The name is for people; only the key identifies the shards.
    out = next(folder.glob(f"*-{key}"), folder / f"{name}-{size}-{key}")
    if shards.is_shards(out):
        try:
            opened = shards.Shards(out)
            # They may have been prepared from another copy of the photos.
            opened.manifest = dataclasses.replace(opened.manifest, source=job.source.name)
            return opened
        except DamagedFile as error:
            say(f"{error} Making it again.")
            shutil.rmtree(out)
    say(f"preparing {', '.join(places)} at {size} px into {out}")
    summary = build.build(job, out, existing=output.Existing(wait=True), say=say, progress=progress)
    if dropped := sum(summary.drop_counts.values()):
        say(f"{dropped} of {summary.images_read} images could not be used: {out / output.REPORT}")
    for note in summary.list_notes():
        say(note)
    return shards.Shards(out, verify=False)
