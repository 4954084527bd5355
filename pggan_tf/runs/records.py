"""What a run wrote about itself, read with care: other versions, other programs and cut lines are met, and none may end a report."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pggan_tf.errors import UserError


def number(value) -> float | int | None:
    """The value, where it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number with hundreds of digits
        return None


def _numbers(value) -> dict[str, float]:
    return {k: v for k, v in value.items() if number(v) is not None} if isinstance(value, dict) else {}


def _measurement(line: dict) -> dict | None:
    """A line of metrics with every key that there may be, or None where it holds no figure."""
    if not (figures := _numbers(line.get("metrics"))):
        return None
    caveats = line["caveats"] if isinstance(line.get("caveats"), dict) else {}
    return {
        "images": line["images"],
        "seconds": line["seconds"],
        "resolution": number(line.get("resolution")),
        "measured": number(line.get("measured")),
        "metrics": figures,
        "details": _numbers(line.get("details")),
        "caveats": {k: [c for c in v if isinstance(c, str)] for k, v in caveats.items() if isinstance(v, list)},
    }


@dataclass(frozen=True)
class History:
    """ticks, measured: the lines of stats.jsonl with losses and with metrics, in order of images; unread: lines that are neither."""

    ticks: list[dict]
    measured: list[dict]
    unread: int


def history(path: Path) -> History:
    """Reads stats.jsonl. Of a line, what is not a finite number is left out. Its last line may be half written: somebody is training."""
    ticks, measured, unread = [], [], 0
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    lines = text.split("\n")
    for i, raw in enumerate(lines):
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            unread += i < len(lines) - 1
            continue
        images, seconds = (number(line.get(k)) if isinstance(line, dict) else None for k in ("images", "seconds"))
        placed = images is not None and images >= 0 and seconds is not None
        if placed and (found := _measurement(line)):
            measured.append(found)
        elif placed and "loss_d" in line:
            ticks.append(_numbers(line))
        else:
            unread += not (placed and "metrics" in line)  # a measurement of nothing is no mistake
    for some in (ticks, measured):
        some.sort(key=lambda line: line["images"])
    return History(ticks, measured, unread)


def environment(path: Path) -> dict:
    """environment.json, in which `dataset` has all of its fields, each of its kind or None."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from None
    if not isinstance(held, dict):
        raise UserError(f"{path}: expected a JSON object that says where and on what a run was made.")
    given = held.get("dataset")
    given = given if isinstance(given, dict) else {}
    dataset = {name: v if isinstance(v := given.get(name), str) else None for name in ("folder", "source", "checksum")}
    dataset["images"] = number(given.get("images"))
    classes = given.get("classes")
    dataset["classes"] = [c for c in classes if isinstance(c, str)] if isinstance(classes, list) else []
    if not isinstance(held.get("asked", {}), dict):
        del held["asked"]  # as of runs that did not note what was asked for
    return {**held, "dataset": dataset}


# An absolute path, a path that begins in a home folder or climbs out of this one, or an address, where one begins: at the start of a
# text, or behind what names it, as in --data=/photos and pairs:/photos.
_PLACE = re.compile(
    r"(?:(?<=[=:,;'\"\s(\[])|^)(?:[a-z][a-z0-9+.-]*:/{2,3}|[A-Za-z]:[\\/]|~[\w.-]*[\\/]|\.\.[\\/]|[\\/]{1,2})(?=[^\s\\/])[^,;'\"\n]*"
)


def last_name(place: str) -> str:
    """What a path or an address ends in, without what is asked of the address: 's3://b/photos/?key=1' -> 'photos'."""
    if "://" in place:
        place = re.split(r"[?#]", place)[0]
    parts = [part for part in re.split(r"[\\/]+", place) if part not in ("", ".", "..")]
    return parts[-1] if parts else place


def source_name(source: str) -> str:
    """Name a run's data by their last names; several, given by several --data, stand in `source` with commas between them."""
    return ", ".join(filter(None, map(last_name, source.split(", "))))


def without_places(value):
    """The value, in whose texts each path of a machine is its last name: whose disk it was, and where on it, is not for others."""
    if isinstance(value, str):
        return _PLACE.sub(lambda found: last_name(found[0]), value)
    if isinstance(value, Mapping):
        return {without_places(k): without_places(v) for k, v in value.items()}
    return [without_places(v) for v in value] if isinstance(value, list | tuple) else value
