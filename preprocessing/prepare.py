"""Any source -> shards, once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pggan_tf import shards
from pggan_tf.errors import DamagedFile, UserError
from preprocessing.decode import Unreadable
from preprocessing.sources import folder, portraits

# Raised when pixels would come out differently for the same source and options: cached shards are then made anew.
PIXELS_VERSION = 1
REPORT = "skipped.txt"
_PARTIAL = ".partial-"


def _final_name(partial: Path) -> str:
    return partial.name.removeprefix(".").partition(_PARTIAL)[0]


def is_shards(location: str | Path) -> bool:
    """Whether a folder holds a manifest of ours: an app's folder of pictures may have a manifest.json too."""
    try:
        manifest = json.loads((Path(location) / shards.MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == shards.FORMAT


def _write(
    items,
    total: int,
    out: Path,
    resolutions: Sequence[int],
    channels: int,
    source: str,
    filter: str,
    classes,
    shard_images: int,
    compress: bool,
    progress: Callable[[int, int], None],
) -> shards.Manifest:
    """Writes `items`, (name, image or Unreadable, label), lists what cannot be used, and refuses if that is more than half."""
    writer = shards.Writer(out, resolutions, channels, classes, source, filter, shard_images, compress)
    skipped: list[str] = []
    for done, (name, image, label) in enumerate(items, 1):
        if isinstance(image, Unreadable):
            skipped.append(f"{name}: {image}")
        else:
            writer.add(image, label)
        progress(done, total)
    lines = "".join(f"{line}\n" for line in skipped)
    if skipped:
        (out / REPORT).write_text(lines)
    if 2 * len(skipped) > total or not writer.images:
        small = sum("smaller than" in s for s in skipped)
        advice = (
            "Give --upscale-small or a smaller size." if 2 * small > len(skipped) else "Check that the files are whole."
        )
        report = out.with_name(f"{_final_name(out)}.{REPORT}")
        report.write_text(lines)
        raise UserError(
            f"{source}: {len(skipped)} of {total} images cannot be used, more than half. The first: {skipped[0]}. {advice} All of them: {report}"
        )
    return writer.close(len(skipped))


def prepare(
    source: str,
    out: str | Path,
    size: int,
    *,
    resolutions: Sequence[int] = (),
    filter: str = "lanczos",
    channels: int = 3,
    upscale_small: bool = False,
    count: int = 10_000,
    seed: int = 0,
    shard_images: int = 4096,
    compress: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> shards.Manifest:
    """Writes `source`, a folder or 'portraits', as shards into the new folder `out`: whole or not at all.

    resolutions: those to store, divisors of `size`; by default its halvings down to 4. count, seed: for portraits.
    """
    out = Path(out)
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not an empty folder. Choose another, or remove it.")
    if unfit := [r for r in resolutions if r < 1 or size % r]:
        raise UserError(
            f"--resolutions {unfit[0]}: not a divisor of --size {size}: each is an exact mean of the full size."
        )
    resolutions = tuple(sorted({*resolutions, size})) if resolutions else shards.default_resolutions(size)
    workers = workers or os.cpu_count() or 1
    if source == "portraits":
        classes, total = portraits.CLASSES, count
        if size > portraits.LARGEST:
            raise UserError(f"portraits: {size} px: they are drawn at up to {portraits.LARGEST} px.")
        items = portraits.images(range(count), size, channels, seed, workers)
    else:
        files = folder.find(Path(source))
        classes, total = folder.classes(Path(source), files), len(files)
        items = folder.images(Path(source), files, size, filter, channels, upscale_small, workers)
    partial = out.with_name(f".{out.name}{_PARTIAL}{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        manifest = _write(
            items, total, partial, resolutions, channels, str(source), filter, classes, shard_images, compress, progress
        )
        try:
            if out.exists():
                out.rmdir()
            partial.rename(out)
        except OSError:
            if not is_shards(out):
                raise
            manifest = shards.Shards(out).manifest  # another process prepared the same meanwhile
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written ({error.strerror or error}). Choose a folder on a disk with room and the right to write."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def cache_folder(given: str | None) -> Path:
    """--cache, else $PGGAN_CACHE, else the user's cache folder."""
    return Path(
        given
        or os.environ.get("PGGAN_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pggan-tf"
    )


def _key(*parts) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _uncompressed(opened: shards.Shards, root: Path, say: Callable[[str], None]) -> shards.Shards:
    """The same dataset with its members stored as they are: compressed ones cannot be mapped, and are unpacked once."""
    if not opened.compressed:
        return opened
    out = root / "shards" / f"{opened.folder.name}-{opened.manifest.checksum[:16]}-unpacked"
    if not is_shards(out):
        say(f"unpacking {opened.folder} into {out}")
        partial = out.with_name(f".{out.name}{_PARTIAL}{os.getpid()}")
        try:
            opened.unpack(partial)
            partial.rename(out)
        except OSError as error:
            if not is_shards(out):
                raise UserError(
                    f"--cache {root}: cannot be written ({error.strerror}). Choose another with --cache or PGGAN_CACHE."
                ) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return shards.Shards(out)


def shards_for(
    source: str | None,
    cache: str | None,
    size: int,
    resolutions: Sequence[int],
    *,
    filter: str,
    channels: int,
    upscale_small: bool,
    count: int,
    say: Callable[[str], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> shards.Shards:
    """Opens `source` as shards: a folder of shards as it is; images and portraits by way of the cache, by their content."""
    if source and is_shards(source):
        opened = shards.Shards(source)
        if opened.manifest.channels != channels:
            raise UserError(
                f"--data {source}: holds images of {opened.manifest.channels} channels. Give --channels {opened.manifest.channels}."
            )
        for resolution in resolutions:
            opened.stored_for(resolution)
        return _uncompressed(opened, cache_folder(cache), say)
    root = cache_folder(cache)
    options = [PIXELS_VERSION, size, list(resolutions), channels]
    if source in (None, "portraits"):
        source, key = "portraits", _key("portraits", portraits.VERSION, count, *options)
    else:
        path = Path(source)
        files = folder.find(path)
        # The bytes of a folder are read once; while names, sizes and times stay, its content is known.
        seen = root / "seen" / f"{folder.fingerprint(path, files, content=False)[:16]}"
        content = seen.read_text() if seen.is_file() else folder.fingerprint(path, files, content=True)
        key = _key("folder", content, filter, upscale_small, *options)
        try:
            seen.parent.mkdir(parents=True, exist_ok=True)
            seen.write_text(content)
        except OSError as error:
            raise UserError(
                f"--cache {root}: cannot be written ({error.strerror}). Choose another with --cache or PGGAN_CACHE."
            ) from None
    out = root / "shards" / f"{Path(source).name}-{size}-{key}"
    if is_shards(out):
        try:
            return shards.Shards(out)
        except DamagedFile as error:
            say(f"{error} Making it again.")
            shutil.rmtree(out)
    say(f"preparing {source} at {size} px into {out}")
    manifest = prepare(
        source,
        out,
        size,
        resolutions=resolutions,
        filter=filter,
        channels=channels,
        upscale_small=upscale_small,
        count=count,
        progress=progress,
    )
    if manifest.skipped:
        say(f"{manifest.skipped} of {manifest.skipped + manifest.images} images could not be used: {out / REPORT}")
    return shards.Shards(out, verify=False)
