"""Read the figures of runs again and again while they are trained, each line once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from pggan_tf.runs import records


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
