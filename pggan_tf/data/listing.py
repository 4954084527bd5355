"""Decide what a folder or an archive holds: which files are photos, the class of each, and what is left alone.

Everything but `walk` is a function of names, so that folders, archives and addresses are looked at in the same way. Names are
relative, with / between their parts.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pggan_tf.data import classes, photos
from pggan_tf.errors import UserError

# Folders that systems, network disks and programs keep for themselves, in small letters; besides those with a dot in front.
_SYSTEM_FOLDERS = frozenset(
    [
        "__macosx",
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "thumbs",
        "lost+found",
        "__pycache__",
    ]
) | {"system volume information"}
_SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"))
_ADVICE = {
    "photos; convert them to JPEG or PNG": ".jxl .ppm .pgm .tga .psd .exr .hdr",
    "raw photos; develop them to JPEG or TIFF": ".cr2 .cr3 .crw .nef .nrw .arw .dng .orf .rw2 .raf .pef .srw",
    "archives; unpack them first": ".zip .tar .gz .tgz .bz2 .xz .7z .rar .zst",
    "videos": ".mp4 .m4v .mov .mkv .avi .webm .mpg .mpeg .wmv .mts .3gp",
}
_ADVICE_FOR = {ending: advice for advice, endings in _ADVICE.items() for ending in endings.split()}
_ARCHIVES = _ADVICE["archives; unpack them first"].split()

# What is left alone and has no ending to be counted by: one of them, several of them.
_HIDDEN = "hidden or system file", "hidden or system files"
_OURS = "file beside shards", "files beside shards"
_LOOP = "link that leads back", "links that lead back"
_BROKEN = "broken link", "broken links"
_CLOSED = "entry that cannot be read", "entries that cannot be read"
_BARE = "without an ending", "without an ending"
SPECIAL = "special file", "special files"
_SPECIAL = {stat.S_IFIFO: ("pipe", "pipes"), stat.S_IFSOCK: ("socket", "sockets")}
_KINDS_SHOWN = 8


def normalized(name: str) -> str:
    """Write the name of an archive's member with / alone, as Windows does not, and without ./ in front."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def is_hidden(name: str) -> bool:
    """Say whether a file is hidden or lies in a folder that is, or in one of the system's."""
    *folders, last = name.split("/")
    return (
        any(part[:1] == "." and part not in (".", "..") for part in (*folders, last))
        or any(part.lower() in _SYSTEM_FOLDERS for part in folders)
        or last.lower() in _SYSTEM_FILES
    )


def is_photo(name: str) -> bool:
    return name.lower().endswith(photos.EXTENSIONS) and not is_hidden(name)


def may_hold_labels(name: str) -> bool:
    return name.rpartition("/")[2] == classes.LABELS and name.count("/") < 3 and not is_hidden(name)


def _ours(names: set[str]) -> set[str]:
    """Folders that `pggan prepare` wrote: their contact sheets are no photos."""
    out = set()
    for name in names:
        folder, _, last = name.rpartition("/")
        if last == "manifest.json" and f"{folder}/shard-00000.npz".lstrip("/") in names:
            above, _, part = folder.rpartition("/")
            out |= {folder, above} if part in ("train", "validation") else {folder}
    return out


@dataclass(frozen=True)
class Found:
    """What `sort_out` found."""

    photos: tuple[str, ...]  # in order of name
    left_alone: Counter = field(default_factory=Counter)  # ending, or (one, several) in words -> how many
    labels: tuple[str, ...] = ()  # files that may hold labels


def sort_out(names: Iterable[str], others: Mapping | Iterable = ()) -> Found:
    """Tell photos from everything else. others: what is left alone already, as `walk` returns it."""
    names = sorted(names)
    taken, labels, left, ours = [], [], Counter(others), _ours(set(names))
    for name in names:
        if is_hidden(name):
            left[_HIDDEN] += 1
        elif name.rpartition("/")[0] in ours:
            left[_OURS] += 1
        elif is_photo(name):
            taken.append(name)
        elif may_hold_labels(name):
            labels.append(name)
        else:
            left[os.path.splitext(name)[1].lower() or _BARE] += 1
    return Found(tuple(taken), left, tuple(labels))


def in_words(left_alone: Mapping) -> str:
    """Write what is left alone as one line, the kinds that something can be done about first; '' where that is nothing."""

    def described(kind, count):
        words = kind if isinstance(kind, str) else kind[count != 1]
        return f"{count:,} {words}" + (f" ({_ADVICE_FOR[kind]})" if kind in _ADVICE_FOR else "")

    kinds = sorted(left_alone.items(), key=lambda pair: (pair[0] not in _ADVICE_FOR, -pair[1], str(pair[0])))
    parts = [described(kind, count) for kind, count in kinds[:_KINDS_SHOWN]]
    if more := kinds[_KINDS_SHOWN:]:
        parts.append(f"{sum(count for _, count in more):,} of {len(more)} other kinds")
    return f"left alone: {', '.join(parts)}" if parts else ""


def none_found(location: str, found: Found) -> UserError:
    """Say that there is no photo, and what there is."""
    if archives := sum(count for kind, count in found.left_alone.items() if kind in _ARCHIVES):
        what = (
            "1 archive and no images: unpack it"
            if archives == 1
            else f"{archives:,} archives and no images: unpack them"
        )
        return UserError(f"{location}: holds {what} first.")
    kinds = ", ".join(e[1:] for e in photos.EXTENSIONS)
    there = f" It has {in_words(found.left_alone).partition(': ')[2]}." if found.left_alone else ""
    return UserError(f"{location}: no images found. Expected {kinds} files, in subfolders or not.{there}")


@dataclass(frozen=True)
class Listing:
    """Photos with their classes."""

    photos: tuple[str, ...]  # those that are used, in order of name
    classes: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()  # of each photo; empty without classes
    notes: tuple[str, ...] = ()  # lines for the user about what was decided
    left_alone: Counter = field(default_factory=Counter)


def list_photos(location: str, names: Iterable[str], others: Mapping, contents: Callable[[str], bytes]) -> Listing:
    """Decide what the entries of a folder or an archive are. contents: name -> bytes, for files of labels.

    Raises UserError where there is no photo, or where it cannot be told which are meant.
    """
    found, notes = sort_out(names, others), []
    if not found.photos:
        raise none_found(location, found)
    files = {name: contents(name) for name in found.labels}
    used, known, class_of = classes.find_classes(location, found.photos, files, notes)
    if known:
        used = [name for name in used if name in class_of]
    label_of = {name: i for i, name in enumerate(known)}
    labels = tuple(label_of[class_of[name]] for name in used) if known else ()
    return Listing(tuple(used), tuple(known), labels, tuple(notes), found.left_alone)


def walk(folder: str | Path, besides: str | Path | None = None) -> tuple[list[tuple[str, int, str]], Counter]:
    """Every file below a folder of this machine: (name relative to it, bytes, time), in order of name; and what is no file.

    Links are followed, those to folders once: not back, and not out of hidden folders. Pipes and sockets are passed over, since
    opening one may wait for ever. besides: a folder that is not looked at. Raises OSError where `folder` cannot be read.
    """
    root = os.path.realpath(folder)
    seen = {_identity(os.stat(place)) for place in (root, *map(str, Path(root).parents))}
    unseen = _identity(os.stat(besides)) if besides is not None and os.path.isdir(besides) else None
    files, others = [], Counter()
    waiting, links = [""], []  # folders; links to some, which are followed when all others have been seen
    while waiting or links:
        prefix = waiting.pop() if waiting else heapq.heappop(links)
        try:
            identity = _identity(os.stat(os.path.join(root, prefix)))
            if identity == unseen:
                continue
            if prefix and identity in seen:
                others[_LOOP] += 1
                continue
            seen.add(identity)
            entries = list(os.scandir(os.path.join(root, prefix)))
        except OSError:
            if not prefix:
                raise
            others[_CLOSED] += 1
            continue
        for entry in entries:
            name = prefix + entry.name
            try:
                about = entry.stat()
            except OSError as error:
                looped = error.errno == errno.ELOOP
                others[_LOOP if looped else _BROKEN if entry.is_symlink() else _CLOSED] += 1
                continue
            if stat.S_ISREG(about.st_mode):
                files.append((name, about.st_size, str(about.st_mtime or about.st_ctime)))
            elif not stat.S_ISDIR(about.st_mode):
                others[_SPECIAL.get(stat.S_IFMT(about.st_mode), SPECIAL)] += 1
            elif not entry.is_symlink():
                waiting.append(f"{name}/")
            elif is_hidden(f"{name}/x"):
                others[_HIDDEN] += 1
            else:
                heapq.heappush(links, f"{name}/")
    return sorted(files), others


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def photos_in(folder: str | Path, besides: str | Path | None = None) -> Found:
    """Photos of a folder of this machine, nested at will, whatever their classes. besides: a folder that is not looked at."""
    files, others = walk(folder, besides)
    found = sort_out((name for name, _, _ in files), others)
    found.left_alone.update({".json": len(found.labels)} if found.labels else {})
    return found
