"""Find the photos in a folder or an archive, the class of each, and the entries to ignore.

All functions except `walk` and `find_photos` look only at names, so that folders, archives and URLs
are treated alike. Names are relative paths with / between their parts. An entry is anything that a
folder or an archive contains. Entries that are neither photos nor label files are ignored; for the
message to the user, they are counted by kind: by file extension or, for entries such as broken
links, by a pair (singular, plural) of words.
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

# Names of system folders in lower case, from operating systems, network disks and programs. Folders
# whose name starts with a dot are hidden too.
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

# Kinds of ignored entries that are not counted by file extension: (singular, plural).
_HIDDEN = "hidden or system file", "hidden or system files"
_OURS = "file beside shards", "files beside shards"
_OF_RUNS = "file of a run", "files of runs"
_LOOP = "link that leads back", "links that lead back"
_BROKEN = "broken link", "broken links"
_CLOSED = "entry that cannot be read", "entries that cannot be read"
_BARE = "without an ending", "without an ending"
SPECIAL = "special file", "special files"
_SPECIAL = {stat.S_IFIFO: ("pipe", "pipes"), stat.S_IFSOCK: ("socket", "sockets")}
_KINDS_SHOWN = 8


def normalize(name: str) -> str:
    """Return the name of an archive's member with / between its parts and without a leading './'.

    Archives made on Windows may use backslashes.
    """
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def is_hidden(name: str) -> bool:
    """Return whether a file is hidden, is a system file, or lies in a hidden or system folder."""
    *folders, last = name.split("/")
    return (
        any(part[:1] == "." and part not in (".", "..") for part in (*folders, last))
        or any(part.lower() in _SYSTEM_FOLDERS for part in folders)
        or last.lower() in _SYSTEM_FILES
    )


def is_photo(name: str) -> bool:
    """Return whether a name has the extension of a photo and is not hidden."""
    return name.lower().endswith(photos.EXTENSIONS) and not is_hidden(name)


def may_hold_labels(name: str) -> bool:
    """Return whether a name is that of a label file, at most two folders deep and not hidden."""
    return name.rpartition("/")[2] == classes.LABELS and name.count("/") < 3 and not is_hidden(name)


def _find_shards(names: set[str]) -> set[str]:
    """Return the names of folders that `pggan prepare` has written.

    Such folders contain contact sheets (pictures of many images), which are not photos.
    """
    out = set()
    for name in names:
        folder, _, last = name.rpartition("/")
        if last == "manifest.json" and f"{folder}/shard-00000.npz".lstrip("/") in names:
            above, _, part = folder.rpartition("/")
            out |= {folder, above} if part in ("train", "validation") else {folder}
    return out


def _find_runs(names: set[str]) -> set[str]:
    """Return the names of folders that training has written, each with a / at its end.

    Such folders contain grids of images that a network has made, and of the photos it learned from.
    The folder or archive itself is not among them: whoever names a run's folder means what it holds.
    """
    folders = {name.removesuffix("config.json") for name in names if name.endswith("/config.json")}
    return {folder for folder in folders if f"{folder}environment.json" in names}


@dataclass(frozen=True)
class Found:
    """Entries of a folder or an archive: photos, label files, and counts of ignored entries."""

    photos: tuple[str, ...]  # sorted by name
    # Kind -> number of ignored entries, see the module's docstring.
    ignored: Counter = field(default_factory=Counter)
    labels: tuple[str, ...] = ()  # label files


def sort_out(names: Iterable[str], others: Mapping | Iterable = ()) -> Found:
    """Sort names into photos, label files and ignored entries.

    Args:
        names: names of all files.
        others: {kind: number} of entries that are not files, as `walk` returns them.
    """
    names = sorted(names)
    found, labels, ignored = [], [], Counter(others)
    shard_folders, runs = _find_shards(set(names)), tuple(_find_runs(set(names)))
    for name in names:
        if is_hidden(name):
            ignored[_HIDDEN] += 1
        elif name.startswith(runs):
            ignored[_OF_RUNS] += 1
        elif name.rpartition("/")[0] in shard_folders:
            ignored[_OURS] += 1
        elif is_photo(name):
            found.append(name)
        elif may_hold_labels(name):
            labels.append(name)
        else:
            ignored[os.path.splitext(name)[1].lower() or _BARE] += 1
    return Found(tuple(found), ignored, tuple(labels))


def describe(ignored: Mapping) -> str:
    """Return a line for the user that lists ignored entries by kind, or '' if there are none.

    Kinds that the user can do something about come first. ignored: see `Found.ignored`.
    """

    def describe_kind(kind, count):
        words = kind if isinstance(kind, str) else kind[count != 1]
        return f"{count:,} {words}" + (f" ({_ADVICE_FOR[kind]})" if kind in _ADVICE_FOR else "")

    kinds = sorted(ignored.items(), key=lambda pair: (pair[0] not in _ADVICE_FOR, -pair[1], str(pair[0])))
    parts = [describe_kind(kind, count) for kind, count in kinds[:_KINDS_SHOWN]]
    if more := kinds[_KINDS_SHOWN:]:
        parts.append(f"{sum(count for _, count in more):,} of {len(more)} other kinds")
    return f"left alone: {', '.join(parts)}" if parts else ""


def explain_none(location: str, found: Found) -> UserError:
    """Return a UserError (not raised here) for a location without photos.

    Its message says what was found instead.

    Args:
        location: the folder or archive, as the user wrote it.
        found: the entries of the location.
    """
    if archives := sum(count for kind, count in found.ignored.items() if kind in _ARCHIVES):
        what = (
            "1 archive and no images: unpack it"
            if archives == 1
            else f"{archives:,} archives and no images: unpack them"
        )
        return UserError(f"{location}: holds {what} first.")
    kinds = ", ".join(e[1:] for e in photos.EXTENSIONS)
    there = f" It has {describe(found.ignored).partition(': ')[2]}." if found.ignored else ""
    return UserError(f"{location}: no images found. Expected {kinds} files, in subfolders or not.{there}")


@dataclass(frozen=True)
class Listing:
    """Photos of a folder or an archive with their classes."""

    photos: tuple[str, ...]  # sorted by name
    classes: tuple[str, ...] = ()  # class names, in order of label; empty without classes
    labels: tuple[int, ...] = ()  # label of each photo; empty without classes
    notes: tuple[str, ...] = ()  # lines for the user about the decisions made
    ignored: Counter = field(default_factory=Counter)  # see `Found`


def list_photos(location: str, names: Iterable[str], others: Mapping, contents: Callable[[str], bytes]) -> Listing:
    """Find the photos among the entries of a folder or an archive, and return them with classes.

    Args:
        location: the folder or archive, as the user wrote it.
        names: names of all files.
        others: {kind: number} of entries that are not files, as `walk` returns them.
        contents: function that takes the name of a file and returns its bytes; called for label
            files.

    Raises:
        UserError: if there is no photo, or it is unclear which photos are meant.
    """
    found, notes = sort_out(names, others), list[str]()
    if not found.photos:
        raise explain_none(location, found)
    files = {name: contents(name) for name in found.labels}
    used, known, class_of = classes.find_classes(location, found.photos, files, notes)
    if known:
        used = [name for name in used if name in class_of]
    label_of = {name: i for i, name in enumerate(known)}
    labels = tuple(label_of[class_of[name]] for name in used) if known else ()
    return Listing(tuple(used), tuple(known), labels, tuple(notes), found.ignored)


def walk(folder: str | Path, besides: str | Path | None = None) -> tuple[list[tuple[str, int, str]], Counter]:
    """List all files in a folder and its subfolders, and count the entries that are not files.

    Links are followed, but each folder is visited only once, and hidden links to folders are not
    followed. Pipes and sockets are skipped, since opening them may block forever.

    Args:
        folder: the folder.
        besides: a subfolder to skip; None to skip none.

    Returns:
        (list of (name relative to `folder`, size in bytes, modification time as text), sorted by
        name; {kind: number} of the other entries, see `Found.ignored`).

    Raises:
        OSError: if `folder` cannot be read.
    """
    root = os.path.realpath(folder)
    seen = {_identity(os.stat(place)) for place in (root, *map(str, Path(root).parents))}
    unseen = _identity(os.stat(besides)) if besides is not None and os.path.isdir(besides) else None
    files, others = [], Counter[object]()
    # Folders to visit, and links to folders, which are followed after all folders have been
    # visited.
    waiting, links = [""], list[str]()
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
    """Return (device, inode), which are equal for two paths of the same folder."""
    return about.st_dev, about.st_ino


def find_photos(folder: str | Path, besides: str | Path | None = None) -> Found:
    """Find the photos in a folder and its subfolders, without deciding their classes.

    besides: a subfolder to skip; None to skip none.
    """
    files, others = walk(folder, besides)
    found = sort_out((name for name, _, _ in files), others)
    found.ignored.update({".json": len(found.labels)} if found.labels else {})
    return found
