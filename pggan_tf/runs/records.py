"""Read files that a run wrote, also those of other versions and those with incomplete lines."""

from __future__ import annotations

import filecmp
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pggan_tf.errors import UserError, hide_secrets
from pggan_tf.runs import keras_files


def as_number(value) -> float | int | None:
    """Return the value if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer with hundreds of digits
        return None


def _keep_numbers(value) -> dict[str, float]:
    """Return the entries of a dict whose values are finite numbers; {} if `value` is no dict."""
    return {k: v for k, v in value.items() if as_number(v) is not None} if isinstance(value, dict) else {}


def _parse_measurement(line: dict) -> dict | None:
    """Return a measurement of metrics, a dict that has all its keys, or None if it has no metric.

    Values of a wrong type are left out.

    line: the JSON object in a line of stats.jsonl.
    """
    if not (figures := _keep_numbers(line.get("metrics"))):
        return None
    caveats = line["caveats"] if isinstance(line.get("caveats"), dict) else {}
    return {
        "images": line["images"],
        "seconds": line["seconds"],
        "resolution": as_number(line.get("resolution")),
        "measured": as_number(line.get("measured")),
        "metrics": figures,
        "details": _keep_numbers(line.get("details")),
        "caveats": {k: [c for c in v if isinstance(c, str)] for k, v in caveats.items() if isinstance(v, list)},
    }


def read_best(folder: Path) -> int | None:
    """Return the number of images that a run had seen at its best snapshot; None if it has none that can be read."""
    try:
        images = as_number(json.loads((folder / keras_files.BEST).read_text())["images"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return None if images is None else int(images)


def read_kept(folder: Path) -> int | None:
    """Return the number of images at the snapshot that a run's generator.keras is of; None: of its end.

    A run that --stop plateau ends keeps its best snapshot as generator.keras.
    """
    kept, best = folder / keras_files.GENERATOR, folder / keras_files.BEST_GENERATOR
    same = kept.is_file() and best.is_file() and filecmp.cmp(kept, best, shallow=False)
    return read_best(folder) if same else None


@dataclass(frozen=True)
class History:
    """Content of a run's stats.jsonl."""

    # {name: number} of every line with losses, in order of 'images', the number of images seen
    ticks: list[dict]
    # every line with metrics, as `_parse_measurement` returns them, in order of 'images'
    measured: list[dict]
    checks: list[dict]  # {name: number} of every check, see `training.coaching`, in order of 'images'
    unread: int  # number of lines that are none of these


def read_history(path: Path) -> History:
    """Return the content of the stats.jsonl at `path`, without values that are not finite numbers.

    A missing file has no lines. The last line may be incomplete during training; it is left out
    then.
    """
    try:
        return parse_history(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return parse_history("")


def parse_history(text: str) -> History:
    """Return the content of stats.jsonl, or of some whole lines of it; see `read_history`."""
    ticks, measured, checks, unread = [], [], [], 0
    lines = text.split("\n")
    for i, raw in enumerate(lines):
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            unread += i < len(lines) - 1
            continue
        images, seconds = (as_number(line.get(k)) if isinstance(line, dict) else None for k in ("images", "seconds"))
        placed = images is not None and images >= 0 and seconds is not None
        if placed and (found := _parse_measurement(line)):
            measured.append(found)
        elif placed and "loss_d" in line:
            ticks.append(_keep_numbers(line))
        elif placed and isinstance(line.get("check"), dict):
            checks.append(_keep_numbers({"images": images, **line["check"]}))
        else:
            # A measurement without values is not an error.
            unread += not (placed and "metrics" in line)
    for some in (ticks, measured, checks):
        some.sort(key=lambda line: line["images"])
    return History(ticks, measured, checks, unread)


def read_environment(path: Path) -> dict:
    """Return the content of the environment.json at `path`, a dict.

    Its entry `dataset` always has all its fields: folder, source and checksum are texts or None,
    images is a number or None, and classes is a list of names.

    Raises UserError if the file cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object that says where and on what a run was made.")
    written = content.get("dataset")
    written = written if isinstance(written, dict) else {}
    names = ("folder", "source", "checksum")
    dataset: dict = {name: v if isinstance(v := written.get(name), str) else None for name in names}
    dataset["images"] = as_number(written.get("images"))
    classes = written.get("classes")
    dataset["classes"] = [c for c in classes if isinstance(c, str)] if isinstance(classes, list) else []
    if not isinstance(content.get("asked", {}), dict):
        del content["asked"]  # treat it like the file of an older version, which lacks this field
    return {**content, "dataset": dataset}


# An absolute path, a path that begins with a home folder or with .., or a URL; at the start of a
# text, or after a name as in --data=/photos and pairs:/photos.
_PLACE = re.compile(
    r"(?:(?<=[=:,;'\"\s(\[])|^)(?:[a-z][a-z0-9+.-]*:/{2,3}|[A-Za-z]:[\\/]|~[\w.-]*[\\/]|\.\.[\\/]|[\\/]{1,2})(?=[^\s\\/])[^,;'\"\n]*"
)


# What says of what kind a place is, as in pairs:/photos and --data=/photos.
_KIND = re.compile(r"--[\w-]+=|[a-z]\w+:(?!//)")

# A home folder, whose name is that of its user.
_HOME = re.compile(r"(?:file:/{2,3}|[A-Za-z]:)?[\\/]*(?:home|Users)[\\/]+[^\\/]+[\\/]*|~[\w.-]*[\\/]*")


def take_last_name(place: str) -> str:
    """Return the last part of a path or URL: 's3://b/photos/?key=1' -> 'photos'.

    For a home folder it is 'home', because its name is the name of a person.
    """
    if _HOME.fullmatch(place):
        return "home"
    place = hide_secrets(place)
    parts = [part for part in re.split(r"[\\/]+", place) if part not in ("", ".", "..")]
    return parts[-1] if parts else place


def name_source(source: str) -> str:
    """Return a short name of a run's data: the last parts of its paths, separated by ', '.

    source: one path or URL, or several separated by ', ' or, as in a config, by ','.
    """
    places: list[str] = []
    for part in re.split(r", |,(?=[a-z][a-z0-9+.-]*://|[A-Za-z]:[\\/]|[~\\/])", source):
        # In '/home/jane/Berlin, 2020/photos' the comma is part of a folder's name.
        begins = _PLACE.match(part) or _KIND.match(part)
        if places and _PLACE.match(places[-1]) and re.search(r"[\\/]", part) and not begins:
            places[-1] += f", {part}"
        else:
            places.append(part)
    return ", ".join(filter(None, map(_name_place, places)))


def _name_place(place: str) -> str:
    """Return the last part of a path or URL, with its kind if one stands before it: 'pairs:/a/b' -> 'pairs:b'."""
    kind = found[0] if (found := _KIND.match(place)) else ""
    rest = place[len(kind) :]
    return kind + (take_last_name(rest) if not kind or _PLACE.match(rest) else rest)


def remove_places(value):
    """Return a copy of a JSON value in which each path or URL in a text is only its last part.

    Published files should not show the folders of the machine.
    """
    if isinstance(value, str):
        kind = found[0] if (found := _KIND.match(value)) else ""
        if "\n" not in value and _PLACE.match(value, len(kind)):  # a place as a whole, with any characters in its names
            return kind + name_source(value[len(kind) :])
        return _PLACE.sub(lambda found: take_last_name(found[0]), value)
    if isinstance(value, Mapping):
        return {remove_places(k): remove_places(v) for k, v in value.items()}
    return [remove_places(v) for v in value] if isinstance(value, list | tuple) else value
