"""How training gets any source as shards: made once, and kept by content."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pggan_tf import shards
from pggan_tf.errors import DamagedFile, UserError
from preprocessing import build, claim, prepare, storage
from preprocessing.command import cache_folder
from preprocessing.sources import Joined
from preprocessing.sources.folder import Folder

# Raised when pixels would come out differently for the same source and options: cached shards are then made anew.
PIXELS_VERSION = 2


def _key(*parts) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _unwritable(root: Path, error: OSError) -> UserError:
    return UserError(
        f"--cache {root}: cannot be written ({error.strerror}). Choose another with --cache or PGGAN_CACHE."
    )


def _uncompressed(opened: shards.Shards, root: Path, say: Callable[[str], None]) -> shards.Shards:
    """The same dataset with its members stored as they are: compressed ones cannot be mapped, and are unpacked once."""
    if not opened.compressed:
        return opened
    out = root / "shards" / f"{opened.folder.name}-{opened.manifest.checksum[:16]}-unpacked"
    if not shards.is_shards(out):
        say(f"unpacking {opened.folder} into {out}")
        partial = out.with_name(f".{out.name}.partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            opened.unpack(partial)
            partial.rename(out)
        except OSError as error:
            if not shards.is_shards(out):
                raise _unwritable(root, error) from None
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
        say(f"fetching {location} into {out}")
        try:
            storage.download(location, [*names, shards.MANIFEST], out)
        except OSError as error:
            raise _unwritable(root, error) from None
    return out


def _content(source: Joined, root: Path) -> str:
    """What identifies the images, wherever they lie. The bytes of a folder are read once: while names, sizes and times
    stay, its content is known."""
    part = source.parts[0]
    if not isinstance(part, Folder) or storage.is_remote(part.name):
        return source.fingerprint()
    seen = root / "seen" / source.fingerprint()[:16]
    content = seen.read_text() if seen.is_file() else part.content()
    try:
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.write_text(content)
    except OSError as error:
        raise _unwritable(root, error) from None
    return content


def shards_for(
    location: str | None,
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
) -> shards.Shards:
    """Opens `location` as shards: a folder of shards as it is; every other source by way of the cache, by its content.

    check_classes: refuses classes that are of no use, before anything is prepared.
    """
    root = cache_folder(cache)
    location = location or "portraits"
    held = storage.manifest(location, shards.MANIFEST) if storage.is_remote(location) else None
    if held and held.get("format") == shards.FORMAT:
        location = str(brought_here(location, held, root, say))
    if not shards.is_shards(location) and shards.is_shards(Path(location) / claim.TRAIN):
        location = str(Path(location) / claim.TRAIN)
        say(f"training on {location}; {claim.VALIDATION} beside it stays unseen")
    if shards.is_shards(location):
        opened = shards.Shards(location)
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
        return _uncompressed(opened, root, say)
    job = prepare.job(
        [location],
        size,
        resolutions=resolutions,
        filter=filter,
        channels=channels,
        small="upscale" if upscale_small else "drop",
        crop=crop,
        count=count,
    )
    check_classes(job.source.classes)
    options = {k: v for k, v in job.options.items() if k != "sources"}  # by content, not by place
    job = dataclasses.replace(job, options=options)
    name = Path(location.rstrip("/").replace(":", "-")).name
    out = root / "shards" / f"{name}-{size}-{_key(PIXELS_VERSION, _content(job.source, root), options)}"
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
    return shards.Shards(out, verify=False)
