"""Find the class of each photo from its folder or from a label file (dataset.json).

The functions look only at names and at the contents of label files, so the photos may be in a
folder, in an archive or at a URL. Names are paths relative to the folder or archive, with / between
their parts. `notes` is a list of lines for the user: for every decision that is not obvious (such
as which photos are left out), the functions append a line to it.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pggan_tf.errors import UserError

# Name of StyleGAN's label file: {"labels": [["00000/img00000000.png", 6], ...]}.
LABELS = "dataset.json"
# Folders that are named after parts of a data set (train and test, train2017 and val2017, seg_train
# and seg_test) or after sizes (128x128) are not classes. Nor are numbered folders (FFHQ's 01000),
# see `_is_numbered`.
_PART = re.compile(
    r"(?P<before>.*[ _-])?(?P<part>train|test|val|valid|validation|dev|eval|holdout)(ing)?"
    r"(?P<after>[ _-]?(set|data|images|[ab]|\d+))?",
    re.I,
)
_SIZE = re.compile(r"(?:.*\D)?(\d+)x\1")
_FEW = 10  # photos outside the class folders are left out if they are at most 1/10 of all


def find_classes(
    location: str, names: Sequence[str], files: Mapping[str, bytes], notes: list[str]
) -> tuple[Sequence[str], list[str], dict[str, str]]:
    """Find the class of each photo.

    Args:
        location: the folder or archive, as the user wrote it.
        names: names of the photos, sorted.
        files: contents of the label files, by name.
        notes: list that lines for the user are appended to.

    Returns:
        (names of the photos to use, sorted class names, {name of photo: class name} for the photos
        that have a class). The last two are empty if there are no classes.

    Raises:
        UserError: if it is unclear which photos are meant.
    """
    names, prefix, tops = _choose_part(location, names, notes)
    class_of = _classify_by_labels(names, files, notes)
    if class_of is None:
        class_of = _classify_by_folders(names, prefix, tops, notes)
        return names, sorted(set(class_of.values())), class_of
    # Numeric labels are sorted as numbers, 9 before 10, other labels by name.
    return names, sorted(set(class_of.values()), key=lambda c: (int(c) if c.isdecimal() else -1, c)), class_of


def _are_few(count: int, total: int) -> bool:
    """Return whether `count` photos are at most a tenth of `total`, so that they are left out."""
    return _FEW * count <= total


def _choose_part(location: str, names: Sequence[str], notes: list[str]) -> tuple[Sequence[str], str, list[str]]:
    """Choose the folder whose subfolders may be classes, and the photos to use.

    While a folder has only one subfolder, descend into it. Of the parts of a data set (train, test,
    ...), choose the one for training; of several sizes of the same photos, the largest.

    For the arguments and errors, see `find_classes`.

    Returns:
        (names of the photos to use, path of the folder with / at its end or '', sorted names of its
        subfolders).
    """
    prefix = ""
    while True:
        inner = [name[len(prefix) :] for name in names if name.startswith(prefix)]
        tops = Counter(name.partition("/")[0] for name in inner if "/" in name)
        if len(tops) == 1:
            prefix += f"{next(iter(tops))}/"
            continue
        place, chosen = f"{location}/{prefix}".rstrip("/"), None
        if tops and _are_few(len(names) - tops.total(), len(names)):
            chosen = find_train_part(place, tops, notes) or _find_largest_size(place, inner, tops, notes)
        if chosen is None:
            return names, prefix, sorted(tops)
        if outside := [name for name in names if not _find_folder(name, prefix)]:
            notes.append(f"{_count_photos(outside)} outside these folders: {list_some(outside)} (left out)")
        prefix += f"{chosen}/"
        names = [name for name in names if name.startswith(prefix)]


def find_train_part(location: str, tops: Counter, notes: list[str]) -> str | None:
    """Return the name of the folder with the training part of a data set.

    Args:
        location: path of the folder above, for messages.
        tops: number of photos in each of its subfolders, by name.
        notes: list that a line for the user is appended to if a training part is found.

    Returns:
        The name of one of the subfolders, or None if they are not parts of a data set.

    Raises:
        UserError: if there are other folders besides the parts, or not exactly one training part.
    """
    parts = _find_parts(filter(None, map(_PART.fullmatch, sorted(tops))))
    if len(parts) < 2:
        return None
    trains = [top for top, part in parts.items() if part == "train"]
    if len(parts) < len(tops) or len(trains) != 1:
        raise UserError(
            f"{location}: {', '.join(parts)} look like parts of one set, not like classes"
            f"{' beside others' if len(parts) < len(tops) else ''}. Give one of them alone, or the photos that are meant in a "
            "folder of their own."
        )
    rest = ", ".join(f"{tops[top]:,} of {top}/" for top in parts if top != trains[0])
    notes.append(f"parts of one set: the {tops[trains[0]]:,} photos of {trains[0]}/ are used, not the {rest}")
    return trains[0]


def _find_parts(matches: Iterable[re.Match]) -> dict[str, str]:
    """Find the folders that are parts of one data set.

    All parts have the same words in front of the part's name. If there are such words, or numbers
    after it, folders count as parts only if their part names differ: test1 and test2, or
    freight-train and steam-train, may be classes.

    matches: matches of _PART with the names of folders.

    Returns:
        {name of folder: name of part in lower case}, such as {"train2017": "train"}; empty if no
        folders are parts.
    """
    found: dict[str, dict[str, str]] = {}
    plain = True
    for match in matches:
        found.setdefault((match["before"] or "").lower(), {})[match[0]] = match["part"].lower()
        plain = plain and not (match["after"] or "").strip(" _-").isdecimal()
    several = [p for before, p in found.items() if len(set(p.values())) > 1 or plain and not before]
    return max(several, key=len, default={})


def _find_largest_size(location: str, inner: Sequence[str], tops: Counter, notes: list[str]) -> str | None:
    """Return the name of the folder with the largest photos, if all folders are named after sizes.

    Args:
        location: path of the folder above, for messages.
        inner: names of the photos, relative to the folder above.
        tops: number of photos in each of its subfolders, by name.
        notes: list that a line for the user is appended to if the folders are sizes.

    Returns:
        The name of one of the subfolders, or None if they are not all named after sizes.

    Raises:
        UserError: if they are, but the largest size lacks some of the photos.
    """
    sizes = {top: int(match[1]) for top in tops if (match := _SIZE.fullmatch(top))}
    if len(sizes) < len(tops):
        return None
    stems: dict[str, set[str]] = {top: set() for top in tops}
    for name in inner:
        top, _, rest = name.partition("/")
        stems.get(top, set()).add(os.path.splitext(rest)[0])
    largest = max(sizes, key=lambda top: sizes[top])
    if any(stems[top] - stems[largest] for top in tops):
        raise UserError(
            f"{location}: {', '.join(sorted(tops))} look like sizes, not like classes, and do not hold the same photos. "
            "Give one of them alone."
        )
    notes.append(f"the same photos in several sizes: those of {largest}/ are used")
    return largest


def _classify_by_folders(names: Sequence[str], prefix: str, tops: Sequence[str], notes: list[str]) -> dict[str, str]:
    """Return {name of photo: class name}, where the class is the subfolder that holds the photo.

    The result is empty if the folders are not classes.

    Args:
        names: names of the photos.
        prefix: path of the folder above the classes, with / at its end or ''.
        tops: names of its subfolders.
        notes: list that lines for the user are appended to.
    """
    if len(tops) < 2:
        return {}
    class_of = {name: top for name in names if (top := _find_folder(name, prefix))}
    outside = [name for name in names if name not in class_of]
    if not _are_few(len(outside), len(names)):
        notes.append(
            f"no classes: {len(outside):,} of {len(names):,} photos lie outside of the folders {list_some(tops)}"
        )
        return {}
    if all(top.isdecimal() and len(top) > 3 for top in tops) and all(_is_numbered(n, class_of[n]) for n in class_of):
        notes.append(f"no classes: the folders {list_some(tops)} hold photos by their numbers")
        return {}
    if outside:
        them = "it" if len(outside) == 1 else "them"
        notes.append(
            f"{_count_photos(outside)} outside the class folders: {list_some(outside)} "
            f"(left out; to train on {them}, move {them} into one of the folders)"
        )
    return class_of


def _is_numbered(name: str, folder: str) -> bool:
    """Return whether a folder's name is the thousand of a photo's number, so is not a class.

    Examples are 01000/01234.png of FFHQ and 00001/img00001234.png of StyleGAN.
    """
    number = re.search(r"(\d+)\.\w+$", name)
    return number is not None and int(folder) in (int(number[1]) // 1000, int(number[1]) // 1000 * 1000)


def _classify_by_labels(names: Sequence[str], files: Mapping[str, bytes], notes: list[str]) -> dict[str, str] | None:
    """Return {name of photo: class name} from label files.

    Names in a label file are relative to its folder.

    Args:
        names: names of the photos.
        files: contents of the label files, by name.
        notes: list that lines for the user are appended to.

    Returns:
        The classes of the photos; empty if there are fewer than two different labels or if more
        than a tenth of the photos have none; None if there is no label file for these photos.
    """
    labels: dict[str, str] = {}
    known = False
    for file, content in files.items():
        try:
            rows = json.loads(content)["labels"]
            above = file.rpartition("/")[0]
            labels |= {f"{above}/{name}".lstrip("/"): _parse_label(value) for name, value in rows or ()}
            known = True
        except (ValueError, TypeError, KeyError, RecursionError):
            notes.append(f'{file}: not labels as expected ({{"labels": [[name, number], ...]}}), left alone')
    named = {name: labels[name] for name in names if name in labels}
    if not known or labels and not named:
        if labels:
            notes.append(f"{LABELS} names none of the photos, left alone")
        return None
    missing = [name for name in names if name not in named]
    if len(set(named.values())) < 2 or not _are_few(len(missing), len(names)):
        different = len(set(named.values()))
        has = f"{different} different label{'s' * (different != 1)}, of {len(named):,} of {len(names):,} photos"
        notes.append(f"no classes: {LABELS} has {has if named else 'no labels'}")
        return {}
    if missing:
        notes.append(f"{len(missing):,} without a label in {LABELS}: {list_some(missing)} (left out)")
    return named


def _parse_label(value) -> str:
    """Return the class name of a label, which is a number, a word or a one-hot list in JSON.

    Of a one-hot list, the class name is the index of the 1. Raise ValueError or TypeError if the
    label is anything else.
    """
    if isinstance(value, list):
        if sorted(value) != [0] * (len(value) - 1) + [1]:
            raise ValueError
        value = value.index(1)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    return str(value)


def _find_folder(name: str, prefix: str) -> str:
    """Return the name of the subfolder of `prefix` that contains a photo, or '' if none does.

    Args:
        name: path of the photo.
        prefix: path of a folder, with / at its end or ''.
    """
    top, slash, _ = name[len(prefix) :].partition("/")
    return top if slash and name.startswith(prefix) else ""


def _count_photos(names: Sequence[str]) -> str:
    """Return subject and verb of a sentence, such as '12 photos lie'."""
    return "1 photo lies" if len(names) == 1 else f"{len(names):,} photos lie"


def list_some(names: Sequence[str]) -> str:
    """Return up to three of the names as a text, with commas between them."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
