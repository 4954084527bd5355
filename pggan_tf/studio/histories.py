"""Read the figures of runs again and again while they are trained, each line once."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass
from pathlib import Path

from pggan_tf.runs import records

MOST_POINTS, MOST_LINES = 600, 200  # of curves; of the log
_TAIL = 64 << 10  # bytes from the end of a file that hold its last lines


@dataclass
class _Read:
    """What was read of a file so far."""

    inode: int
    size: int  # bytes of the lines that were read, all of them complete
    history: records.History


class Histories:
    """Histories of runs. Only what was added to a file since the last time is read."""

    def __init__(self):
        self._lock = threading.Lock()
        self._known: dict[Path, _Read] = {}

    def read(self, path: Path) -> records.History:
        """Return the content of a stats.jsonl, as `records.read_history` does."""
        with self._lock:
            try:
                with path.open("rb") as file:
                    return self._read(path, file)
            except OSError:
                self._known.pop(path, None)
                return records.parse_history("")

    def _read(self, path: Path, file) -> records.History:
        known, size = self._known.get(path), file.seek(0, 2)
        inode = path.stat().st_ino
        if known is None or known.inode != inode or known.size > size:  # a resumed run has written it anew
            known = self._known[path] = _Read(inode, 0, records.parse_history(""))
        file.seek(known.size)
        whole, newline, _ = file.read().rpartition(b"\n")
        if newline:
            new, old = records.parse_history((whole + newline).decode("utf-8", "replace")), known.history
            known.history = records.History(
                _join(old.ticks, new.ticks),
                _join(old.measured, new.measured),
                _join(old.checks, new.checks),
                old.unread + new.unread,
            )
            known.size += len(whole) + 1
        return known.history


def _join(old: list[dict], new: list[dict]) -> list[dict]:
    """Return lines of both lists, in order of the images seen."""
    return sorted(old + new, key=lambda line: line["images"])


def _read_tail(path: Path) -> list[str]:
    """Return the last lines of a text file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return []
    return lines[1:] if size > _TAIL else lines


def read_lines(path: Path) -> list[str]:
    """Return the last MOST_LINES lines of a text file that are not empty."""
    return [line for line in _read_tail(path) if line][-MOST_LINES:]


def read_last_tick(path: Path) -> dict:
    """Return the numbers of the last line of stats.jsonl with losses; {} if there is none."""
    for line in reversed(_read_tail(path)):
        try:
            tick = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(tick, dict) and "loss_d" in tick and records.as_number(tick.get("images")) is not None:
            return {n: v for n, v in tick.items() if records.as_number(v) is not None}
    return {}


def make_columns(ticks: list[dict]) -> dict[str, list]:
    """Return ticks as columns of at most MOST_POINTS values; None where a tick has none."""
    step = max(1, math.ceil(len(ticks) / MOST_POINTS))
    chosen = ticks[::step]
    if ticks and chosen[-1] is not ticks[-1]:
        chosen[-1] = ticks[-1]
    names = dict.fromkeys(name for tick in ticks for name in tick if name != "seconds")
    columns = {name: [tick.get(name) for tick in chosen] for name in names}
    return columns | {"minutes": [tick["seconds"] / 60 for tick in chosen]}
