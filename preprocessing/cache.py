"""How training gets any source as shards: made once, and kept by content."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pggan_tf.data import shards
from pggan_tf.errors import DamagedFile, UserError
from pggan_tf.files import atomic_write
from preprocessing import build, claim, prepare, storage
from preprocessing.sources import Joined, Source
from preprocessing.sources.folder import Folder

# Raised when pixels would come out differently for the same source and options: cached shards are then made anew.
PIXELS_VERSION = 3


def _key(*parts) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _unwritable(root: Path, error: OSError) -> UserError:
    return UserError(
        f"--cache {root}: cannot be written ({error.strerror or error}). Choose another with --cache or PGGAN_CACHE."
    )


@contextlib.contextmanager
def _making(out: Path, root: Path, say: Callable[[str], None]):
    """Other processes that would make the same folder of the cache wait meanwhile."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with claim.locked(out.with_name(f".{out.name}.lock"), out, True, say):
            yield
    except OSError as error:
        raise _unwritable(root, error) from None


def _uncompressed(opened: shards.Shards, root: Path, say: Callable[[str], None]) -> shards.Shards:
    """The same dataset with its members stored as they are: compressed ones cannot be mapped, and are unpacked once."""
    if not opened.compressed:
        return opened
    out = root / "shards" / f"{opened.folder.name}-{opened.manifest.checksum[:16]}-unpacked"
    if not shards.is_shards(out):
        with _making(out, root, say):
            if not shards.is_shards(out):  # by another process, meanwhile
                say(f"unpacking {opened.folder} into {out}")
                partial = out.with_name(f".{out.name}.partial")
                try:
                    shutil.rmtree(partial, ignore_errors=True)
                    opened.unpack(partial)
                    partial.rename(out)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
    return shards.Shards(out)


def brought_here(location: str, manifest: dict, root: Path, say: Callable[[str], None]) -> Path:
    """Shards at a URL -> the same in the cache."""
    names = [str(s["file"]) for s in manifest["shards"]]
    if bad := [n for n in names if not re.fullmatch(r"shard-\d+\.npz", n)]:
        raise DamagedFile(f"{location}: its manifest names a file '{bad[0]}'. Expected shard-00000.npz and so on.")
    out = root / "shards" / f"{location.rstrip('/').rpartition('/')[2]}-{_key(manifest)}"
    if not shards.is_shards(out):
        with _making(out, root, say):
            if not shards.is_shards(out):
                say(f"fetching {location} into {out}")
                storage.download(location, [*names, shards.MANIFEST], out)
    return out


def shards_at(location: str) -> tuple[str, dict] | None:
    """Where the shards of a location lie, here or at a URL, and their manifest: there itself or, of a set that was split, in
    its part for training. None where there are none."""
    for place in (location, storage.join(location, claim.TRAIN)):
        manifest = storage.manifest(place, shards.MANIFEST)
        if manifest and manifest.get("format") == shards.FORMAT:
            return place, manifest
    return None


def _content(part: Source, root: Path) -> str:
    """What identifies the images, wherever they lie. The bytes of a folder are read once: while names, sizes and times
    stay, its content is known."""
    if not isinstance(part, Folder) or storage.is_remote(part.name):
        return part.content()
    seen = root / "seen" / Joined((part,)).fingerprint()[:16]
    if seen.is_file() and (content := seen.read_text()):
        return content
    content = part.content()
    try:
        seen.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(seen) as partial:
            partial.write_text(content)
    except OSError as error:
        raise _unwritable(root, error) from None
    return content


def _one_or_several(location: str | Sequence[str] | None) -> tuple[str, ...]:
    """Places of data as they are given. Raises UserError where shards are among several."""
    locations = (location,) if isinstance(location, str) else tuple(location or ("portraits",))
    if len(locations) > 1 and (shards_there := next(filter(shards_at, locations), None)):
        raise UserError(
            f"--data {shards_there}: holds shards, which are trained on alone. Give the photos that they were made of, or prepare "
            "all of them into one folder: pggan prepare A B OUT."
        )
    return locations


def shards_for(
    location: str | Sequence[str] | None,
    cache: str | None,
    size: int,
    resolutions: Sequence[int],
    *,
    filter: str,
    channels: int,
    upscale_small: bool,
    count: int,
    crop: str = "centre",
    say: Callable[[str], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
    check_classes: Callable[[Sequence[str]], object] = lambda classes: None,
    check_only: bool = False,
) -> shards.Shards | None:
    """Opens `location` as shards: a folder of shards as it is; every other source, or several of them one after another, by way
    of the cache, by their content.

    check_classes: refuses classes that are of no use, before anything is prepared. check_only: refuses what can be refused by then,
    prepares and fetches nothing, and returns None.
    """
    root = shards.cache_folder(cache)
    locations = _one_or_several(location)
    location = ", ".join(locations)
    if found := len(locations) == 1 and shards_at(location):
        place, manifest = found
        if place != location:
            say(f"training on {place}; {claim.VALIDATION} beside it stays unseen")
        if check_only and storage.is_remote(place):
            return None
        opened = shards.Shards(brought_here(place, manifest, root, say) if storage.is_remote(place) else place)
        if opened.manifest.channels != channels:
            raise UserError(
                f"--data {location}: holds images of {opened.manifest.channels} channels, not {channels}. "
                + (
                    "Give --task translate."
                    if opened.manifest.channels == 6
                    else "Prepare the pairs with --pairs."
                    if channels == 6
                    else f"Give --channels {opened.manifest.channels}."
                )
            )
        for resolution in resolutions:
            opened.stored_for(resolution)
        check_classes(opened.manifest.classes)
        return None if check_only else _uncompressed(opened, root, say)
    job = prepare.job(
        locations,
        size,
        resolutions=resolutions,
        filter=filter,
        channels=channels,
        small="upscale" if upscale_small else "drop",
        crop=crop,
        count=count,
    )
    for note in job.source.notes():
        say(note)
    check_classes(job.source.classes)
    if check_only:
        return None
    options = {k: v for k, v in job.options.items() if k != "sources"}  # by content, not by place
    job = dataclasses.replace(job, options=options)
    name = "-".join(Path(place.rstrip("/").replace(":", "-")).name for place in locations)
    name = os.fsencode(name)[:80].decode(errors="ignore")  # file systems count bytes, of which a letter may have four
    contents = [_content(part, root) for part in job.source.parts]
    key = _key(PIXELS_VERSION, contents[0] if len(contents) == 1 else contents, options)
    folder = root / "shards"
    out = next(folder.glob(f"*-{key}"), folder / f"{name}-{size}-{key}")  # its name is for the eye
    if shards.is_shards(out):
        try:
            return shards.Shards(out)
        except DamagedFile as error:
            say(f"{error} Making it again.")
            shutil.rmtree(out)
    say(f"preparing {location} at {size} px into {out}")
    summary = build.build(job, out, wait=True, say=say, progress=progress)
    if dropped := sum(summary.dropped.values()):
        say(f"{dropped} of {summary.read} images could not be used: {out / claim.REPORT}")
    for note in summary.notes():
        say(note)
    return shards.Shards(out, verify=False)
